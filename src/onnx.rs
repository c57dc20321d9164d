//! ONNX files: graphs read from them, and written to them.
//!
//! What is read becomes a [`Graph`](crate::nn::Graph): constants are folded, inference-only nodes dropped. An operation that
//! the graph has no node for is kept as a place where it ends, so that a net with an unknown head can still be split before it.
//!
//! A [`Runtime`] runs files independently of the code that reads them.
//!
//! Files come from others: the protobuf decoder allocates no more than the file holds, subgraphs are not even decoded, external
//! data is refused, and every tensor's shape is held against its bytes.

mod constant;
mod error;
mod fold;
mod import;
mod node;
mod proto;
mod runtime;
#[cfg(test)]
mod tests;

pub use error::OnnxError;
pub use import::{Imported, Layout, import, read};
pub use runtime::{Difference, Output, Runtime, RuntimeError};
