//! What can be wrong with a graph.

/// A graph that can't be built or run. Every message names the node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A node that contradicts itself.
    #[error("node `{node}`: {reason}")]
    Node {
        /// The node's name.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// An operation that is not known.
    #[error(
        "node `{node}` is a `{op}`, which this program does not run: split before it, or cut the file there \
         (onnx.utils.extract_model)"
    )]
    Unsupported {
        /// The node's name.
        node: String,
        /// The operation.
        op: String,
    },
    /// A map that a node can't take.
    #[error("node `{node}` can't take {shape}: {reason}")]
    Shape {
        /// The node's name.
        node: String,
        /// What reaches it.
        shape: String,
        /// What it needs.
        reason: String,
    },
}
