//! The CPU engine.
//!
//! The batch is cut into shards of a few images. A shard runs forward and backward through the whole net while its
//! activations are in cache; its weight gradients go to the accumulator of its *lane*, one of a fixed number of equal
//! parts of the batch. Lanes run in parallel; their accumulators are then added in order. What is computed in which
//! order depends on the batch alone, so the weights are bit-identical for any number of threads.
//!
//! Frozen graphs (`graph`) run on the same kernels, and on some of their own.

mod affine;
#[allow(unsafe_code, reason = "vectors of aligned lines are looked at as floats")]
mod aligned;
#[cfg(test)]
mod golden;
mod graph;
mod inverse;
#[allow(unsafe_code, reason = "inner loops read and write registers through pointers, once lengths are checked")]
mod kernels;
mod map;
mod network;
mod plan;
mod runner;
#[allow(unsafe_code, reason = "instructions that not every machine has")]
mod simd;
#[cfg(test)]
mod tests;
mod workspace;

pub(super) use graph::{GraphEngine, Purpose};
pub(super) use inverse::Inverse;
pub(super) use network::EngineNetwork;
pub(super) use runner::Runner;
