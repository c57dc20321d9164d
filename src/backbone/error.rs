//! What can be wrong with a layer's name or a file of weights.

use std::path::PathBuf;

use super::Architecture;
use crate::suggest::question;

/// A layer or a weight file that cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// No layer has this name.
    #[error(
        "{architecture} has no layer `{layer}`{}; its layers are {}{}",
        suggestion.map(question).unwrap_or_default(),
        names(*architecture),
        ends.as_ref().map(|node| format!("; nothing behind {node}, can be run")).unwrap_or_default()
    )]
    UnknownLayer {
        /// The name as given.
        layer: String,
        /// The net.
        architecture: Architecture,
        /// The name that was probably meant.
        suggestion: Option<&'static str>,
        /// The operation that ends what can be run of it.
        ends: Option<String>,
    },
    /// No architecture has this name.
    #[error(
        "no architecture is called `{architecture}`: known are {}; any other net comes as an .onnx file, without `architecture`",
        Architecture::names().join(", ")
    )]
    UnknownArchitecture {
        /// The name as given.
        architecture: String,
    },
    /// Weights alone don't say what net they are of.
    #[error(
        "the weights `{}` need `architecture` beside them: known are {}; or give the net as an .onnx file",
        path.display(), Architecture::names().join(", ")
    )]
    NoArchitecture {
        /// The file.
        path: PathBuf,
    },
    /// An ONNX file doesn't say how bytes become its input.
    #[error(
        "the net `{}` needs `preprocess` beside it: how were its images prepared in training? One of imagenet, caffe, unit, \
         symmetric, bytes, or {{mean: [R, G, B], std: [R, G, B]}} of pixels from 0 to 1",
        path.display()
    )]
    Preprocess {
        /// The file.
        path: PathBuf,
    },
    /// No tensor of a net has all data flow through it.
    #[error("the net `{}` can't be split: no feature map has all data flow through it{reason}", path.display())]
    NoSplit {
        /// The file.
        path: PathBuf,
        /// Where it ends, if that is why.
        reason: String,
    },
    /// Combinations of channels have nowhere to be folded into.
    #[error(
        "the channels of `{layer}` can't be mixed: it is no ordinary convolution; leave `mixed` and `mixed-relu` out of the \
         selections, or split at convolutions alone"
    )]
    Unmixable {
        /// The layer.
        layer: &'static str,
    },
    /// A net of the hub that can't be had.
    #[error(transparent)]
    Hub(#[from] super::HubError),
    /// What is wrong with an ONNX file.
    #[error(transparent)]
    Onnx(#[from] crate::onnx::OnnxError),
    /// What is wrong with a net's operations.
    #[error(transparent)]
    Graph(#[from] crate::nn::GraphError),
    /// Why a net can't run.
    #[error(transparent)]
    Net(#[from] crate::nn::NnError),
    /// The layer exists, but its weights were not read.
    #[error("the weights of `{layer}` were not read, only those up to `{last}`: read the file up to `{layer}`")]
    NotLoaded {
        /// The layer.
        layer: &'static str,
        /// The last layer read.
        last: &'static str,
    },
    /// The pools before a layer cannot halve the images.
    #[error(
        "images of {side}×{side} cannot reach `{layer}`: {}",
        match multiple {
            Some(multiple) => format!("the side must be a multiple of {multiple}"),
            None => "its maps must be the images halved some times, and no side makes them so".to_owned(),
        }
    )]
    Side {
        /// The layer.
        layer: &'static str,
        /// The side of the images in pixels.
        side: usize,
        /// What it must be a multiple of, where any side fits.
        multiple: Option<usize>,
    },
    /// A file is missing or may not be read.
    #[error("cannot read the weights `{}`: check that the file exists and may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file ends before the data that its header announces.
    #[error(
        "the weights `{}` are truncated: expected {expected} bytes, found {found}; fetch the file \
         again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the header announces, itself included.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The file is of another format, or damaged.
    #[error("the weights `{}` are not a safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is not in the file.
    #[error(
        "the weights `{}` have no tensor `{tensor}` (found: {found}): use a file with the layers up to \
         the deepest split, or name the architecture that it is of",
        path.display()
    )]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Some of the names found instead.
        found: String,
    },
    /// A tensor has another shape than the net needs.
    #[error(
        "the weights `{}`: tensor `{tensor}` has the shape {found:?}, expected {expected:?} ([out, in, \
         3, 3] or [out])",
        path.display()
    )]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The shape that the net needs.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A tensor of another number type.
    #[error("the weights `{}`: tensor `{tensor}` is of type {found}, expected F16, BF16 or F32", path.display())]
    NumberType {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The type found.
        found: String,
    },
    /// A weight that is no number.
    #[error(
        "the weights `{}`: tensor `{tensor}` holds {value} at position {index}; only finite numbers \
         are accepted, fetch the file again",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Position in the flattened tensor, from 0.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Weights given in memory do not fit the architecture.
    #[error("these are not the first layers of {architecture}, with their weights")]
    Weights {
        /// The net.
        architecture: Architecture,
    },
}

fn names(architecture: Architecture) -> String {
    let names: Vec<&str> = architecture.layers().iter().map(|layer| layer.name).collect();
    names.join(", ")
}
