//! PrivyNet finds the local net that keeps a cloud model accurate and leaks the least.
//!
//! A pre-trained net is split: its first layers, frozen, run on a device (the *local net*); only the features of its
//! last layer's kept channels leave; a *cloud net* is trained on them. An attacker who holds (feature, image) pairs
//! trains a *decoder*; the quality of its reconstructions is the *leakage* (Li et al. 2017, arXiv 1709.06161). This
//! crate searches split layer, output channel count and channel selection for the design that is most accurate within
//! a budget of compute, storage and leakage, and verifies it.
//!
//! # What flows through the program
//!
//! ```text
//! budget.yaml + space.yaml (+ device.yaml, which profile measured on the device)
//!    └─ config ─► space ─► features ─► estimate ─► store ─► surrogate ─► solver ─► verify ─► report, export
//! ```
//!
//! One way only: nothing upstream imports downstream. The loop "measure → model → propose → measure" belongs to
//! [`search`], which calls the others and computes nothing itself.
//!
//! README, "From Rust", measures a design in twenty lines.
//! [`estimate::CloudAccuracy`] and [`estimate::AttackLadder`] measure in the same way by training, [`exec::Executor`] makes what they
//! find durable, [`search::run`] chooses what they measure, and [`search::replay`] does so in a table.
//!
//! # Invariants
//!
//! - [`metrics`], [`surrogate`] and [`solver`] do no I/O and know no tensor library.
//! - candle's types stop at [`nn`]; polars' types stop at [`store`] and [`table`], parquet's there and at [`data`], zip's at [`data`].
//! - [`report`] never trains; [`export`] never measures.
//! - A [`measurement::Measurement`] is one long-format row: a new attack adds rows, not columns.
//! - Every training's randomness comes from a ChaCha stream of (seed, design, estimator).
//! - No figure comes from images that a training saw; no statistic is taken from evaluation images.
//! - What needs no training ([`ridge`]) is a floor for what was trained: an attack below it is never believed.
//! - What a user is told to rely on is verified: fresh seeds, all training data, attacks that converged.

/// The README's Rust runs with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod app;
pub mod audit;
pub mod backbone;
mod bounded;
pub mod cli;
pub mod config;
pub mod data;
pub mod estimate;
pub mod exec;
pub mod export;
pub mod features;
mod guard;
pub mod identify;
pub mod kernel;
pub mod measurement;
pub mod metrics;
pub mod mixing;
pub mod nn;
pub mod onnx;
mod parquet_file;
mod plain;
pub mod profile;
pub mod protocol;
pub mod proxy;
pub mod record;
pub mod report;
pub mod ridge;
pub mod search;
pub mod solver;
pub mod space;
pub mod store;
pub mod suggest;
pub mod surrogate;
pub mod table;
pub mod units;
pub mod verify;
