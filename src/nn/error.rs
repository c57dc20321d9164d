//! What can go wrong when a net is described, built or trained.

use super::spec::Shape;

/// An error of the `nn` module. Every message names the offending value and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// A layer can't take the shape that reaches it.
    #[error("layer {layer} ({name}) can't take an input of shape {input}: {reason}")]
    Layer {
        /// Index of the layer in [`NetSpec::layers`](super::NetSpec::layers).
        layer: usize,
        /// The layer, as its `Debug` prints it.
        name: String,
        /// The shape that reaches it.
        input: Shape,
        /// What it needs.
        reason: String,
    },
    /// A named net can't be built for the sizes asked for.
    #[error("no {net} for an input of {input} and images of side {image_side}: {reason}")]
    Sizes {
        /// Which net.
        net: &'static str,
        /// Its input.
        input: Shape,
        /// Side of the image it should produce, or of the input for a classifier.
        image_side: usize,
        /// What would be accepted.
        reason: String,
    },
    /// Weights don't belong to the net they are given to.
    #[error("parameter `{name}`: {reason}; the weights must come from a net of the same description")]
    Param {
        /// Name of the parameter (or of the one that is missing).
        name: String,
        /// What differs.
        reason: String,
    },
    /// A batch has the wrong length, target kind or size.
    #[error("batch of {n} images: {reason}")]
    Batch {
        /// Images in the batch, as given.
        n: usize,
        /// What differs from what is needed.
        reason: String,
    },
    /// The data set failed.
    #[error("the training data can't be read")]
    Data(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An option lies outside its domain.
    #[error("option `{option}` is {value}: it must be {accepted}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What would be accepted.
        accepted: &'static str,
    },
    /// The loss is no longer a finite number.
    #[error(
        "training diverged: the loss is {loss} at step {step}; lower the learning rate or check the inputs for NaN"
    )]
    Diverged {
        /// Steps taken by this network before, counted from 0.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// The device can't be used.
    #[error("device `{device}`: {reason}")]
    Device {
        /// The device as written.
        device: String,
        /// Why not, and the remedy.
        reason: String,
    },
    /// The tensor library failed (out of device memory, driver error, …).
    #[error("the {device} back-end failed: {message}")]
    Backend {
        /// The device.
        device: String,
        /// What the library said.
        message: String,
    },
    /// A graph that can't run.
    #[error(transparent)]
    Graph(#[from] super::graph::GraphError),
    /// The sink of [`Frozen::forward_taps`](super::Frozen::forward_taps) failed.
    #[error("the receiver of the features of layer {tap} failed")]
    Sink {
        /// Index of the layer whose output was being handed over.
        tap: usize,
        /// The receiver's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl NnError {
    /// Whether a device's memory did not suffice. The tensor library passes on what the driver says (`CUDA_ERROR_OUT_OF_MEMORY`, "out
    /// of memory").
    pub fn is_out_of_memory(&self) -> bool {
        let Self::Backend { message, .. } = self else { return false };
        let message = message.to_ascii_lowercase().replace('_', " ");
        message.contains("out of memory") || message.contains("alloc failed")
    }
}
