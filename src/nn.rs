//! The trainable nets, their optimiser and the training loop; and the runner of frozen nets.
//!
//! A net is a *description* ([`NetSpec`]) with named weights ([`Params`]). Three executors run it behind the
//! object-safe trait [`Network`], chosen by [`build`]:
//!
//! - `engine`: this crate's own CPU engine. Winograd and direct 3×3 convolutions on zero-padded channels-last buffers with
//!   register-blocked kernels (AVX-512, AVX2 or portable, chosen at run time); each shard of the batch runs forward
//!   and backward while its activations are in cache. Results are bit-identical for any number of threads.
//! - `gemm`: candle tensors with a backward pass of our own, every affine layer one matrix product. It is what runs on
//!   CUDA, each net on a stream of its own. Products are TF32 (ten bits of fraction) and their order of summation is the
//!   library's: a seed fixes weights, batches and dropout, but not the last digits of a figure.
//! - `reference`: candle tensors with candle's operations and autograd: the independent implementation that the other two
//!   are tested against, on the CPU.
//!
//! Frozen nets that come as a [`Graph`] run where `graph_executor` says: on the engine's kernels, or on candle tensors on CUDA and
//! where the engine has no kernel.
//!
//! Activations are `f32`, channels-last (`[n, height, width, channels]`). Threads come from the current rayon pool.
//! No candle type leaves this module.

mod engine;
mod error;
mod fit;
mod frozen;
mod gemm;
mod graph;
mod graph_executor;
mod inverse;
mod loss;
mod network;
mod optim;
mod params;
mod peak;
mod random;
#[cfg(test)]
mod reference;
mod spec;
mod tensors;

pub use error::NnError;
pub use fit::{AVERAGE_EVERY, Dataset, FitOptions, FitReport, Progress, Stop, Targets, evaluate, fit};
pub use frozen::{Frozen, Sink, SinkError};
#[cfg(test)]
pub(crate) use graph::tests::outputs as graph_outputs;
pub use graph::{
    Activation, Calibration, Conv, Cut, Graph, GraphCost, GraphError, Int8, Keep, Node, Op as GraphOp, Padding, Pool,
    PoolKind, Values,
};
pub use inverse::Inverse;
pub use loss::{Target, loss};
pub use network::{BuildOptions, Device, Network, build};
pub use optim::{Adam, Averaged, Schedule, Step};
pub use params::{Param, Params, initialise};
pub use peak::gemm_rate;
pub use random::shuffle_rows;
pub use spec::{Layer, NetSpec, ParamShape, Shape};
