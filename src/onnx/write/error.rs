//! Why a graph can't be written.

use crate::nn::{GraphError, NnError};

/// A graph that can't be written as an ONNX file. Every message names the node or the offending value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// It can't run on these images.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A trained net that is no graph.
    #[error(transparent)]
    Net(#[from] NnError),
    /// A vector where a map is needed.
    #[error("node `{node}` ({op}) works on a vector in a way that ONNX has no operation for")]
    Vector {
        /// The node.
        node: String,
        /// What it does.
        op: String,
    },
    /// Weights that are no multiples of a scale.
    #[error("the weights of node `{node}` are not rounded to eight bits: quantise the graph before it is measured")]
    NotQuantised {
        /// The node.
        node: String,
    },
    /// A number that half precision doesn't reach.
    #[error("node `{node}` has the weight {value}, beyond the ±65504 of half precision: write float32")]
    Overflow {
        /// The node.
        node: String,
        /// The weight.
        value: f32,
    },
    /// An image that doesn't fit.
    #[error(
        "an RGB image of {}×{} can't be centred in a net's input of {side}×{side} with {channels} channels",
        content[0], content[1]
    )]
    Image {
        /// Rows and columns of the image.
        content: [usize; 2],
        /// Rows and columns of the input.
        side: usize,
        /// Channels of the input.
        channels: usize,
    },
    /// Standardisation of another number of channels.
    #[error("means of {means} and scales of {scales} channels for a net that takes {channels}")]
    Standardisation {
        /// Number of means.
        means: usize,
        /// Number of scales.
        scales: usize,
        /// Channels of the net's input.
        channels: usize,
    },
    /// More than protobuf allows.
    #[error("the file would have {0} bytes; a protobuf message has at most 2 GiB")]
    TooLarge(usize),
}
