//! What can be wrong with an ONNX file.

use std::path::PathBuf;

use crate::nn::GraphError;

/// A file that can't be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("the ONNX file `{}` {problem}", path.display())]
pub struct OnnxError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an ONNX file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is missing or may not be read.
    #[error("cannot be read ({0}): check that it exists and may be read")]
    Read(std::io::Error),
    /// More than protobuf allows.
    #[error("has {0} bytes; a protobuf message has at most 2 GiB")]
    TooLarge(u64),
    /// More than any net of images has.
    #[error("holds more than {0} nodes, attributes, names and tensors: export a net of images, without what trains it")]
    TooManyParts(usize),
    /// More nodes than any net of images has.
    #[error("has {found} nodes, at most {most} are taken: simplify it (onnxsim), or export a smaller net")]
    TooManyNodes {
        /// Its nodes.
        found: usize,
        /// The limit.
        most: usize,
    },
    /// The same numbers, named again and again.
    #[error("makes {0} numbers or more of those that it holds, many times as many: it is no net that was trained")]
    Repetition(usize),
    /// It is not a message of this kind.
    #[error("is damaged or no ONNX model ({0}): fetch or export it again")]
    NotOnnx(String),
    /// Operations of another age.
    #[error("uses operator set {0}; {first} to {last} are read: export it with opset_version=17", first = super::import::OPERATOR_SETS.start(), last = super::import::OPERATOR_SETS.end())]
    OperatorSet(i64),
    /// It has not one image as its input.
    #[error("{0}: a net that takes one image, [N, 3, height, width] or [N, height, width, 3], is needed")]
    Inputs(String),
    /// Its weights are elsewhere.
    #[error(
        "keeps the tensor `{0}` in another file: save it with its weights inside (torch.onnx.export with external_data=False, or onnx.save with save_as_external_data=False)"
    )]
    External(String),
    /// A tensor contradicts itself.
    #[error("holds a damaged tensor `{name}`: {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Control flow.
    #[error(
        "has control flow: node `{node}` is a `{op}` with a graph of its own; export it without loops and conditions"
    )]
    ControlFlow {
        /// The node.
        node: String,
        /// The operation.
        op: String,
    },
    /// A node's input is made by none before it.
    #[error("is damaged: node `{node}` takes `{input}`, which no node before it makes")]
    Dangling {
        /// The node.
        node: String,
        /// What it takes.
        input: String,
    },
    /// An attribute that the operation can't have.
    #[error("node `{node}` ({op}): {reason}")]
    Attribute {
        /// The node.
        node: String,
        /// The operation.
        op: String,
        /// What is wrong.
        reason: String,
    },
    /// The graph's own rules are broken.
    #[error("{0}")]
    Graph(#[from] GraphError),
}
