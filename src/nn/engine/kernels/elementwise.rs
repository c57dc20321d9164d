//! What touches each value once: pooling, masks, sums, the optimiser.

use crate::nn::engine::map::Map;
use crate::nn::engine::simd::{Kernel, Level, Simd};
use crate::nn::optim::AdamStep;

/// Runs a closure's loops compiled for an instruction set. The closure must be `#[inline(always)]`, and is called by
/// reference because a call by value goes through a function of the standard library's that isn't.
struct Loops<F>(F);

impl<F: FnMut()> Kernel for Loops<F> {
    #[inline(always)]
    unsafe fn run<S: Simd, const PIXELS: usize, const ROWS: usize>(mut self) {
        (self.0)();
    }
}

/// Maximum over 2×2 windows, from one bordered map to another.
pub(in crate::nn::engine) fn max_pool(
    level: Level,
    images: usize,
    input: &[f32],
    from: Map,
    output: &mut [f32],
    to: Map,
) {
    let (channels, row) = (from.shape.channels, from.row());
    level.run(Loops(
        #[inline(always)]
        || {
            for (upper, out) in corners(images, from, to) {
                for x in 0..to.shape.width {
                    let a = &input[upper + 2 * x * channels..][..2 * channels];
                    let b = &input[upper + row + 2 * x * channels..][..2 * channels];
                    let out = &mut output[out + x * channels..][..channels];
                    let ((a, aa), (b, bb)) = (a.split_at(channels), b.split_at(channels));
                    for c in 0..channels {
                        // Comparisons that keep a NaN of the first operand, like PyTorch's.
                        let top = if aa[c] > a[c] { aa[c] } else { a[c] };
                        let bottom = if bb[c] > b[c] { bb[c] } else { b[c] };
                        out[c] = if bottom > top { bottom } else { top };
                    }
                }
            }
        },
    ));
}

/// The gradient by the inputs of [`max_pool`]: each window's gradient goes to its first maximum, and with `mask`
/// only where that is positive.
#[expect(clippy::too_many_arguments, reason = "two maps with values and gradients")]
pub(in crate::nn::engine) fn max_pool_gradient(
    level: Level,
    images: usize,
    input: &[f32],
    from: Map,
    gradient: &[f32],
    to: Map,
    mask: bool,
    out: &mut [f32],
) {
    let (channels, row) = (from.shape.channels, from.row());
    let threshold = if mask { 0.0 } else { f32::NEG_INFINITY };
    level.run(Loops(
        #[inline(always)]
        || {
            for (upper, at) in corners(images, from, to) {
                for x in 0..to.shape.width {
                    let corner = upper + 2 * x * channels;
                    let (a, aa) = input[corner..][..2 * channels].split_at(channels);
                    let (b, bb) = input[corner + row..][..2 * channels].split_at(channels);
                    let g = &gradient[at + x * channels..][..channels];
                    let (top, bottom) = out[corner..].split_at_mut(row);
                    let (oa, oaa) = top[..2 * channels].split_at_mut(channels);
                    let (ob, obb) = bottom[..2 * channels].split_at_mut(channels);
                    for c in 0..channels {
                        let upper_right = aa[c] > a[c];
                        let top = if upper_right { aa[c] } else { a[c] };
                        let lower_right = bb[c] > b[c];
                        let bottom = if lower_right { bb[c] } else { b[c] };
                        let lower = bottom > top;
                        let most = if lower { bottom } else { top };
                        let g = if most > threshold { g[c] } else { 0.0 };
                        oa[c] = if !lower && !upper_right { g } else { 0.0 };
                        oaa[c] = if !lower && upper_right { g } else { 0.0 };
                        ob[c] = if lower && !lower_right { g } else { 0.0 };
                        obb[c] = if lower && lower_right { g } else { 0.0 };
                    }
                }
            }
        },
    ));
}

/// Offsets of the windows' first row and of their result, for each row of results.
fn corners(images: usize, from: Map, to: Map) -> impl Iterator<Item = (usize, usize)> {
    (0..images * to.shape.height).map(move |row| {
        let (image, y) = (row / to.shape.height, row % to.shape.height);
        (from.origin() + image * from.image() + 2 * y * from.row(), to.origin() + image * to.image() + y * to.row())
    })
}

/// Undoes a pixel shuffle: pixel (2y + i, 2x + j) of `input` becomes channels `(2i + j) · c ..` of pixel (y, x).
pub(in crate::nn::engine) fn unshuffle(images: usize, input: &[f32], from: Map, output: &mut [f32], to: Map) {
    let channels = from.shape.channels;
    for (upper, at) in corners(images, from, to) {
        for i in 0..2 {
            let line = &input[upper + i * from.row()..][..2 * to.shape.width * channels];
            for (x, pair) in line.chunks_exact(2 * channels).enumerate() {
                output[at + x * 4 * channels + i * 2 * channels..][..2 * channels].copy_from_slice(pair);
            }
        }
    }
}

/// Zeroes `values` where `by` isn't positive.
pub(in crate::nn::engine) fn keep_positive(level: Level, values: &mut [f32], by: &[f32]) {
    level.run(Loops(
        #[inline(always)]
        || {
            for (value, by) in values.iter_mut().zip(by) {
                *value = if *by > 0.0 { *value } else { 0.0 };
            }
        },
    ));
}

/// Adds to `sums`, per channel, the values of all pixels.
pub(in crate::nn::engine) fn column_sums(level: Level, images: usize, values: &[f32], map: Map, sums: &mut [f32]) {
    let channels = map.shape.channels;
    level.run(Loops(
        #[inline(always)]
        || {
            for row in map.rows(images) {
                for pixel in values[row].chunks_exact(channels) {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += value;
                    }
                }
            }
        },
    ));
}

/// One Adam update of the weights `p` (moments `m`, `v`) from the gradients' `parts`, added up in their order.
/// `start` is where in the parts these weights begin.
pub(in crate::nn::engine) fn sum_and_update(
    level: Level,
    adam: AdamStep,
    parts: &[&[f32]],
    start: usize,
    p: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    const CHUNK: usize = 1024;
    level.run(Loops(
        #[inline(always)]
        || {
            let mut gradient = [0f32; CHUNK];
            let mut start = start;
            for ((p, m), v) in p.chunks_mut(CHUNK).zip(m.chunks_mut(CHUNK)).zip(v.chunks_mut(CHUNK)) {
                let gradient = &mut gradient[..p.len()];
                gradient.fill(0.0);
                for part in parts {
                    for (sum, value) in gradient.iter_mut().zip(&part[start..]) {
                        *sum += value;
                    }
                }
                adam.apply(p, m, v, gradient);
                start += p.len();
            }
        },
    ));
}
