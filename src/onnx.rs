//! ONNX files: graphs read from them, and written to them.
//!
//! What is read becomes a [`Graph`](crate::nn::Graph): constants are folded, inference-only nodes dropped. An operation that
//! the graph has no node for is kept as a place where it ends, so that a net with an unknown head can still be split before it.
//!
//! What is written ([`local_net`], [`cloud_net`], any graph by [`write()`]) is of operator set 13, with the preprocessing of images
//! inside; a [`Runtime`] runs files independently of the code that wrote them.
//!
//! Files come from others: what they hold is counted before it is decoded, subgraphs are not even decoded, external data is refused,
//! every tensor's shape is held against its bytes, and numbers that are named again and again are not copied without end.

mod constant;
mod count;
mod deploy;
mod error;
mod fold;
mod import;
mod node;
mod proto;
mod runtime;
#[cfg(test)]
mod tests;
mod write;

pub use deploy::{FEATURES, IMAGE, LOGITS, cloud_net, local_net};
pub use error::{OnnxError, Problem};
pub use import::{Imported, Layout, import, read};
pub use runtime::{Difference, Output, Runtime, RuntimeError};
pub use write::{Batch, ImageInput, PixelType, WeightPrecision, WriteError, WriteOptions, write};
