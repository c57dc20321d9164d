//! Convolutions of transformed tiles with transformed filters.

use super::{POSITIONS, Tiles, apart, tiles_together, transform_inputs, whole_tiles, with_scratch};
use crate::nn::engine::kernels::{Contraction, Epilogue, Windows};
use crate::nn::engine::simd::{Kernel, Level, Simd};

/// Whether [`convolve`] can do a job.
pub(in crate::nn::engine::kernels) fn convolves(job: &Contraction<'_>) -> bool {
    let (from, to) = (job.input_map, job.output_map);
    let factor = if job.weights.groups == 4 { 2 } else { 1 };
    let each_pixel = job.windows == Windows { start: 0, stride: 1 }
        && from.border == 1
        && (factor * from.shape.height, factor * from.shape.width) == (to.shape.height, to.shape.width);
    !job.weights.tiles.is_empty() && each_pixel && whole_tiles(from)
}

/// Does what [`super::contract()`] does, which has checked the operands.
pub(in crate::nn::engine::kernels) fn convolve(level: Level, job: Contraction<'_>) {
    let channels = job.input_map.shape.channels;
    let block = tiles_together(channels);
    let len = POSITIONS * (apart(block, channels) + apart(block, level.panel()));
    with_scratch(len, |scratch| level.run(Convolution { job, block, scratch }));
}

struct Convolution<'a, 'b> {
    job: Contraction<'a>,
    block: usize,
    scratch: &'b mut [f32],
}

impl Kernel for Convolution<'_, '_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const PIXELS: usize, const ROWS: usize>(self) {
        let Self { job, block, scratch } = self;
        let (from, to, weights) = (job.input_map, job.output_map, job.weights);
        let (channels, width) = (from.shape.channels, 2 * S::LANES);
        let factor = if weights.groups == 4 { 2 } else { 1 };
        let tiles = Tiles::of(from);
        let all = job.images * tiles.per_image();
        let per_group = weights.channels / width;
        let (input_stride, product_stride) = (apart(block, channels), apart(block, width));
        let (inputs, products) = scratch.split_at_mut(POSITIONS * input_stride);
        assert!(products.len() >= POSITIONS * product_stride && block % PIXELS == 0);
        for first in (0..all).step_by(block) {
            let count = block.min(all - first);
            // SAFETY: `contract` checked the maps' lengths; the scratch holds a block, whose size is a multiple of `PIXELS`.
            unsafe {
                let source = job.input.as_ptr();
                for tile in 0..count {
                    let corner = source.add(tiles.corner(first + tile, from, 1));
                    let target = inputs.as_mut_ptr().add(tile * channels);
                    transform_inputs::<S>(corner, from, target, input_stride);
                }
                for panel in 0..weights.groups * per_group {
                    let size = channels * width;
                    let panel_weights = weights.tiles.as_ptr().add(panel * POSITIONS * size);
                    for position in 0..POSITIONS {
                        let left = inputs.as_ptr().add(position * input_stride);
                        let right = panel_weights.add(position * size);
                        let out = products.as_mut_ptr().add(position * product_stride);
                        for tile in (0..count).step_by(PIXELS) {
                            multiply::<S, PIXELS>(left.add(tile * channels), channels, right, out.add(tile * width));
                        }
                    }
                    let (group, start) = (panel / per_group, panel % per_group * width);
                    let shift = (group / 2) * to.row() + (group % 2) * to.pixel();
                    let origin = to.origin() + shift + start;
                    let bias = weights.bias.get(panel * width..).map_or(std::ptr::null(), <[f32]>::as_ptr);
                    let bias = if weights.bias.is_empty() { std::ptr::null() } else { bias };
                    for tile in 0..count {
                        let at = origin + tiles.corner(first + tile, to, factor);
                        let from = products.as_ptr().add(tile * width);
                        let place = Place { at, row: factor * to.row(), pixel: factor * to.pixel() };
                        for half in [0, S::LANES] {
                            let bias = if bias.is_null() { S::splat(0.0) } else { S::load(bias.add(half)) };
                            let place = Place { at: at + half, ..place };
                            let out = job.output.as_mut_ptr();
                            finish::<S>(from.add(half), product_stride, bias, job.epilogue, out, place);
                        }
                    }
                }
            }
        }
    }
}

/// Where the outputs of a tile go.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    row: usize,
    pixel: usize,
}

/// One position of `PIXELS` tiles times a panel.
#[inline(always)]
unsafe fn multiply<S: Simd, const PIXELS: usize>(left: *const f32, depth: usize, right: *const f32, out: *mut f32) {
    // SAFETY: the caller has `PIXELS` tiles of `depth` values at `left`, as many panels at `right`, and room for the products.
    unsafe {
        let mut sums = [[S::splat(0.0); 2]; PIXELS];
        let mut right = right;
        for k in 0..depth {
            let (low, high) = (S::load(right), S::load(right.add(S::LANES)));
            for (tile, sums) in sums.iter_mut().enumerate() {
                let value = S::splat(*left.add(tile * depth + k));
                sums[0] = S::fma(value, low, sums[0]);
                sums[1] = S::fma(value, high, sums[1]);
            }
            right = right.add(2 * S::LANES);
        }
        for (tile, sums) in sums.iter().enumerate() {
            S::store(out.add(tile * 2 * S::LANES), sums[0]);
            S::store(out.add(tile * 2 * S::LANES + S::LANES), sums[1]);
        }
    }
}

/// `Aᵀ m A` with the epilogue: the four outputs of a tile.
#[inline(always)]
unsafe fn finish<S: Simd>(
    products: *const f32,
    stride: usize,
    bias: S::V,
    epilogue: Epilogue<'_>,
    out: *mut f32,
    place: Place,
) {
    // SAFETY: the caller has sixteen positions of products, `stride` apart, and the tile's four pixels lie within the maps.
    unsafe {
        let mut rows = [[S::splat(0.0); 4]; 2];
        let [upper, lower] = &mut rows;
        for (x, (upper, lower)) in upper.iter_mut().zip(lower.iter_mut()).enumerate() {
            let a = S::load(products.add(x * stride));
            let b = S::load(products.add((4 + x) * stride));
            let c = S::load(products.add((8 + x) * stride));
            let d = S::load(products.add((12 + x) * stride));
            *upper = S::add(S::add(a, b), c);
            *lower = S::sub(S::sub(b, c), d);
        }
        for (y, [a, b, c, d]) in rows.into_iter().enumerate() {
            let outputs = [S::add(S::add(a, b), S::add(c, bias)), S::add(S::sub(S::sub(b, c), d), bias)];
            for (x, mut value) in outputs.into_iter().enumerate() {
                let at = place.at + y * place.row + x * place.pixel;
                if let Some(add) = epilogue.add {
                    value = S::add(value, S::load(add.as_ptr().add(at)));
                }
                if epilogue.relu {
                    value = S::relu(value);
                }
                if let Some(mask) = epilogue.mask {
                    value = S::where_positive(value, S::load(mask.as_ptr().add(at)));
                }
                S::store(out.add(at), value);
            }
        }
    }
}
