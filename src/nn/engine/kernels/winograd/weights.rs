//! Transformed filters.

use super::POSITIONS;
use crate::nn::engine::kernels::Panels;
use crate::nn::engine::simd::{Kernel, Level, Simd};

/// Fills in `panels.tiles`, `[panel, position, input, panel width]`, if the channels fill whole registers.
pub(in crate::nn::engine) fn transform_weights(level: Level, panels: &mut Panels) {
    let width = level.panel();
    let inputs = panels.run / 3;
    let suits = panels.runs == 3 && inputs.is_multiple_of(width / 2) && panels.channels.is_multiple_of(width);
    if !suits {
        panels.tiles.resize(0);
        return;
    }
    let block = inputs * width;
    panels.tiles.resize(panels.data.len() / (9 * block) * POSITIONS * block);
    level.run(Weights { taps: &panels.data, tiles: &mut panels.tiles, block });
}

/// `G g Gᵀ` of every filter; a tap's, and a position's, weights of a panel are `block` consecutive values.
struct Weights<'a> {
    taps: &'a [f32],
    tiles: &'a mut [f32],
    block: usize,
}

impl Kernel for Weights<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const PIXELS: usize, const ROWS: usize>(self) {
        let block = self.block;
        assert!(block.is_multiple_of(S::LANES));
        for (taps, tiles) in self.taps.chunks_exact(9 * block).zip(self.tiles.chunks_exact_mut(POSITIONS * block)) {
            for at in (0..block).step_by(S::LANES) {
                // SAFETY: `at` and the values after it lie within each of the chunks' blocks.
                unsafe {
                    let mut columns = [[S::splat(0.0); 4]; 3];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let tap = taps.as_ptr().add(x * block + at);
                        *column = widen::<S>(S::load(tap), S::load(tap.add(3 * block)), S::load(tap.add(6 * block)));
                    }
                    let [a, b, c] = columns;
                    for (y, ((a, b), c)) in a.into_iter().zip(b).zip(c).enumerate() {
                        for (x, value) in widen::<S>(a, b, c).into_iter().enumerate() {
                            S::store(tiles.as_mut_ptr().add((4 * y + x) * block + at), value);
                        }
                    }
                }
            }
        }
    }
}

/// `[a, (a + b + c)/2, (a − b + c)/2, c]`: G times a column.
#[inline(always)]
unsafe fn widen<S: Simd>(a: S::V, b: S::V, c: S::V) -> [S::V; 4] {
    // SAFETY: the caller has the instruction set, as `Simd` asks.
    unsafe {
        let (half, outer) = (S::splat(0.5), S::add(a, c));
        [a, S::mul(half, S::add(outer, b)), S::mul(half, S::sub(outer, b)), c]
    }
}
