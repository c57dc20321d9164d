//! The CPU engine.
//!
//! The batch is cut into shards of a few images. A shard runs forward and backward through the whole net while its
//! activations are in cache; its weight gradients go to the accumulator of its *lane*, one of a fixed number of equal
//! parts of the batch. Lanes run in parallel; their accumulators are then added in order. What is computed in which
//! order depends on the batch alone, so the weights are bit-identical for any number of threads.
//!
//! Frozen graphs (`graph`) run on the same kernels, and on some of their own.

mod affine;
mod aligned;
#[cfg(test)]
mod golden;
mod graph;
mod inverse;
mod kernels;
mod map;
mod network;
mod plan;
mod runner;
mod simd;
#[cfg(test)]
mod tests;
mod workspace;

pub(super) use graph::{GraphEngine, Purpose};
pub(super) use inverse::Inverse;
pub(super) use network::EngineNetwork;
pub(super) use runner::Runner;
