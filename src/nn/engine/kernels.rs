//! The compute kernels, each behind a safe function that checks its operands' lengths.
//!
//! A 3×3 convolution needs no im2col here: in a bordered channels-last [`Map`](super::map::Map) the window of a pixel
//! is three contiguous runs. So forward and input-gradient passes are products of *pixel pointers* with packed weight
//! panels ([`contract()`]), and weight gradients sum outer products along rows of pixels ([`outer()`]), straight from
//! the activations. Where the channels fill whole registers and the map whole tiles, both hand over to [`winograd`], which
//! needs 2.25 times fewer products. A linear layer is the same with one run and one pixel.

mod contract;
mod depthwise;
mod dots;
mod elementwise;
mod outer;
mod winograd;

pub(super) use contract::{Contraction, Epilogue, Panels, Windows, contract};
pub(super) use depthwise::{Depthwise, depthwise};
pub(super) use dots::{Dots, dots};
pub(super) use elementwise::{column_sums, keep_positive, max_pool, max_pool_gradient, sum_and_update, unshuffle};
pub(super) use outer::{OuterProducts, outer};
pub(super) use winograd::transform_weights;
