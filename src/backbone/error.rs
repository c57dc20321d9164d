//! What can be wrong with a layer's name or a file of weights.

use std::path::PathBuf;

use super::Architecture;

/// A layer or a weight file that cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// No layer has this name.
    #[error(
        "{architecture} has no layer `{layer}`{}; its layers are {}",
        suggestion.map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default(),
        names(*architecture)
    )]
    UnknownLayer {
        /// The name as given.
        layer: String,
        /// The net.
        architecture: Architecture,
        /// The name that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// The layer exists, but its weights were not read.
    #[error("the weights of `{layer}` were not read, only those up to `{last}`: read the file up to `{layer}`")]
    NotLoaded {
        /// The layer.
        layer: &'static str,
        /// The last layer read.
        last: &'static str,
    },
    /// The pools before a layer cannot halve the images.
    #[error("images of {side}×{side} cannot reach `{layer}`: the side must be a multiple of {multiple}")]
    Side {
        /// The layer.
        layer: &'static str,
        /// The side of the images in pixels.
        side: usize,
        /// What it must be a multiple of.
        multiple: usize,
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
         the deepest split",
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
    #[error("layer {index} of {architecture} needs {expected:?} weights and biases, found {found:?}")]
    Weights {
        /// The net.
        architecture: Architecture,
        /// Place of the layer.
        index: usize,
        /// Numbers of weights and biases that it needs.
        expected: [usize; 2],
        /// Numbers given.
        found: [usize; 2],
    },
}

fn names(architecture: Architecture) -> String {
    let names: Vec<&str> = architecture.layers().iter().map(|layer| layer.name).collect();
    names.join(", ")
}
