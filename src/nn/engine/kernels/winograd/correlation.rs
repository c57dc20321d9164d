//! Weight gradients: correlations of transformed tiles of inputs with transformed tiles of gradients.

use super::{POSITIONS, TOGETHER, Tiles, apart, tiles_together, transform_inputs, whole_tiles, with_scratch};
use crate::nn::engine::kernels::OuterProducts;
use crate::nn::engine::map::Map;
use crate::nn::engine::simd::{Kernel, Level, Simd};

/// Tiles from which a weight gradient is worth the transform of its sums.
const WORTHWHILE: usize = 16;

/// Whether [`correlate`] can do a job, and sooner than the direct sum.
pub(in crate::nn::engine::kernels) fn correlates(level: Level, job: &OuterProducts<'_>) -> bool {
    let (inputs, outputs) = (job.input_map.shape.channels, job.gradient_map.shape.channels);
    let tiles = job.images * Tiles::of(job.input_map).per_image();
    let lanes = level.panel() / 2;
    job.runs == 3
        && !job.by_channel
        && whole_tiles(job.input_map)
        && inputs.is_multiple_of(lanes)
        && inputs.is_multiple_of(TOGETHER)
        && outputs.is_multiple_of(level.panel())
        && tiles >= WORTHWHILE
}

/// Does what [`super::outer()`] does, which has checked the operands.
pub(in crate::nn::engine::kernels) fn correlate(level: Level, job: OuterProducts<'_>) {
    let inputs = job.input_map.shape.channels;
    let block = tiles_together(inputs);
    let width = level.panel();
    // Transformed inputs and gradients of a block, and the sums of a panel.
    let len = POSITIONS * (apart(block, inputs) + apart(block, width) + apart(inputs, width));
    with_scratch(len, |scratch| level.run(Correlation { job, block, scratch }));
}

struct Correlation<'a, 'b> {
    job: OuterProducts<'a>,
    block: usize,
    scratch: &'b mut [f32],
}

impl Kernel for Correlation<'_, '_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const PIXELS: usize, const ROWS: usize>(self) {
        let Self { job, block, scratch } = self;
        let (from, by) = (job.input_map, job.gradient_map);
        let (inputs, outputs, width) = (from.shape.channels, by.shape.channels, 2 * S::LANES);
        let tiles = Tiles::of(from);
        let all = job.images * tiles.per_image();
        let strides = (apart(block, inputs), apart(block, width), apart(inputs, width));
        let (left, rest) = scratch.split_at_mut(POSITIONS * strides.0);
        let (right, sums) = rest.split_at_mut(POSITIONS * strides.1);
        assert!(sums.len() >= POSITIONS * strides.2);
        for panel in (0..outputs).step_by(width) {
            for first in (0..all).step_by(block) {
                let count = block.min(all - first);
                // SAFETY: `outer` checked the maps' lengths; the scratch holds a block and a panel's sums.
                unsafe {
                    for tile in 0..count {
                        let corner = job.input.as_ptr().add(tiles.corner(first + tile, from, 1));
                        transform_inputs::<S>(corner, from, left.as_mut_ptr().add(tile * inputs), strides.0);
                        let corner = by.origin() + tiles.corner(first + tile, by, 1) + panel;
                        let gradient = job.gradient.as_ptr().add(corner);
                        transform_gradients::<S>(gradient, by, right.as_mut_ptr().add(tile * width), strides.1);
                    }
                    for position in 0..POSITIONS {
                        let left = left.as_ptr().add(position * strides.0);
                        let right = right.as_ptr().add(position * strides.1);
                        let sums = sums.as_mut_ptr().add(position * strides.2);
                        for row in (0..inputs).step_by(TOGETHER) {
                            accumulate::<S>(left.add(row), inputs, right, count, sums.add(row * width), first > 0);
                        }
                    }
                }
            }
            for input in 0..inputs {
                for half in [0, S::LANES] {
                    // SAFETY: `outer` checked that there is room for every tap of every input and output.
                    unsafe {
                        let from = sums.as_ptr().add(input * width + half);
                        let to = job.sums.as_mut_ptr().add(input * outputs + panel + half);
                        collect::<S>(from, strides.2, to, inputs * outputs, job.add);
                    }
                }
            }
        }
    }
}

/// `A ∂y Aᵀ` of the 2×2 gradients at `corner`, for a panel; position `p` goes to `target[p · stride ..]`.
#[inline(always)]
unsafe fn transform_gradients<S: Simd>(corner: *const f32, map: Map, target: *mut f32, stride: usize) {
    // SAFETY: the caller has a whole tile of a panel's gradients at `corner`, and sixteen positions of room at `target`.
    unsafe {
        for half in [0, S::LANES] {
            let corner = corner.add(half);
            let left = widen::<S>(S::load(corner), S::load(corner.add(map.row())));
            let corner = corner.add(map.pixel());
            let right = widen::<S>(S::load(corner), S::load(corner.add(map.row())));
            for (y, (left, right)) in left.into_iter().zip(right).enumerate() {
                for (x, value) in widen::<S>(left, right).into_iter().enumerate() {
                    S::store(target.add((4 * y + x) * stride + half), value);
                }
            }
        }
    }
}

/// Adds to `TOGETHER` rows of a position's sums, over `count` tiles, the products of inputs and gradients.
#[inline(always)]
unsafe fn accumulate<S: Simd>(
    left: *const f32,
    inputs: usize,
    right: *const f32,
    count: usize,
    sums: *mut f32,
    add: bool,
) {
    // SAFETY: the caller has `count` tiles of inputs and gradients, and room for `TOGETHER` rows of sums.
    unsafe {
        let width = 2 * S::LANES;
        let mut tile = [[S::splat(0.0); 2]; TOGETHER];
        let (mut left, mut right) = (left, right);
        for _ in 0..count {
            let (low, high) = (S::load(right), S::load(right.add(S::LANES)));
            for (row, tile) in tile.iter_mut().enumerate() {
                let value = S::splat(*left.add(row));
                tile[0] = S::fma(value, low, tile[0]);
                tile[1] = S::fma(value, high, tile[1]);
            }
            left = left.add(inputs);
            right = right.add(width);
        }
        for (row, tile) in tile.iter().enumerate() {
            for (half, &value) in tile.iter().enumerate() {
                let at = sums.add(row * width + half * S::LANES);
                S::store(at, if add { S::add(S::load(at), value) } else { value });
            }
        }
    }
}

/// `Gᵀ s G` of the sums of one input and `LANES` outputs: the gradients of nine taps, `tap` apart.
#[inline(always)]
unsafe fn collect<S: Simd>(sums: *const f32, stride: usize, to: *mut f32, tap: usize, add: bool) {
    // SAFETY: the caller has sixteen positions of sums, `stride` apart, and nine taps of room.
    unsafe {
        let mut columns = [[S::splat(0.0); 3]; 4];
        for (x, column) in columns.iter_mut().enumerate() {
            let from = sums.add(x * stride);
            let (a, b) = (S::load(from), S::load(from.add(4 * stride)));
            let (c, d) = (S::load(from.add(8 * stride)), S::load(from.add(12 * stride)));
            *column = gather::<S>([a, b, c, d]);
        }
        let [a, b, c, d] = columns;
        for (y, ((a, b), (c, d))) in a.into_iter().zip(b).zip(c.into_iter().zip(d)).enumerate() {
            for (x, value) in gather::<S>([a, b, c, d]).into_iter().enumerate() {
                let at = to.add((3 * y + x) * tap);
                S::store(at, if add { S::add(S::load(at), value) } else { value });
            }
        }
    }
}

/// `[a, a + b, a − b, −b]`: A times a column.
#[inline(always)]
unsafe fn widen<S: Simd>(a: S::V, b: S::V) -> [S::V; 4] {
    // SAFETY: the caller has the instruction set, as `Simd` asks.
    unsafe { [a, S::add(a, b), S::sub(a, b), S::sub(S::splat(0.0), b)] }
}

/// `[a + (b + c)/2, (b − c)/2, (b + c)/2 + d]`: Gᵀ times a column.
#[inline(always)]
unsafe fn gather<S: Simd>([a, b, c, d]: [S::V; 4]) -> [S::V; 3] {
    // SAFETY: the caller has the instruction set, as `Simd` asks.
    unsafe {
        let (half, sum) = (S::splat(0.5), S::add(b, c));
        [S::fma(half, sum, a), S::mul(half, S::sub(b, c)), S::fma(half, sum, d)]
    }
}
