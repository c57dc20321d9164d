//! Pre-trained convolutional nets whose first layers make the local net.
//!
//! What is known of a net without its weights (splits, shapes, costs) is an [`Architecture`]; a [`Backbone`] is that with
//! weights. Nets come from tables of known architectures with weights from safetensors, or whole from ONNX files;
//! either is a file, or comes from the hub ([`HubFile`]).

mod architecture;
mod error;
mod file;
mod hub;
mod preprocess;
mod safetensors_file;
mod tables;
mod weights;

pub use architecture::{Architecture, Layer, LayerShape};
pub use error::BackboneError;
pub use file::BackboneFile;
pub use hub::{BadName, HubError, HubFile};
pub use preprocess::Preprocess;
pub use weights::Backbone;
#[cfg(test)]
pub(crate) use weights::tests::vgg16_with;
