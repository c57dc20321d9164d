//! The trainable nets, their optimiser and the training loop; and the runner of frozen nets.
//!
//! A net is a *description* ([`NetSpec`]) with named weights ([`Params`]). Two executors run it behind the
//! object-safe trait [`Network`], chosen by [`build`]:
//!
//! - `engine`: this crate's own CPU engine. Winograd and direct 3×3 convolutions on zero-padded channels-last buffers with
//!   register-blocked kernels (AVX-512, AVX2 or portable, chosen at run time); each shard of the batch runs forward
//!   and backward while its activations are in cache. Results are bit-identical for any number of threads.
//! - `reference`: the same description as candle tensors with autograd, on any candle device. It is what runs on
//!   CUDA, and on the CPU it is the independent implementation that the engine is tested against.
//!
//! Activations are `f32`, channels-last (`[n, height, width, channels]`). Threads come from the current rayon pool.
//! No candle type leaves this module.

mod engine;
mod error;
mod fit;
mod frozen;
mod loss;
mod network;
mod optim;
mod params;
mod peak;
mod random;
mod reference;
mod spec;

pub use error::NnError;
pub use fit::{AVERAGE_EVERY, Dataset, FitOptions, FitReport, Progress, Stop, Targets, evaluate, fit};
pub use frozen::{Frozen, Sink, SinkError};
pub use loss::{Target, loss};
pub use network::{BuildOptions, Device, Network, build};
pub use optim::{Adam, Averaged, Schedule, Step};
pub use params::{Param, Params, initialise};
pub use peak::gemm_rate;
pub use spec::{Layer, NetSpec, ParamShape, Shape};
