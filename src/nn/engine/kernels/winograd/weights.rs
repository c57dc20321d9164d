//! Transformed filters.

use super::{POSITIONS, transposed};
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
                    let tap = |y: usize, x: usize| S::load(taps.as_ptr().add((3 * y + x) * block + at));
                    let half = S::splat(0.5);
                    let widen = |a: [S::V; 3]| {
                        let outer = S::add(a[0], a[2]);
                        let [plus, minus] = [S::add(outer, a[1]), S::sub(outer, a[1])];
                        [a[0], S::mul(half, plus), S::mul(half, minus), a[2]]
                    };
                    let columns: [[S::V; 4]; 3] = [0, 1, 2].map(|x| widen([tap(0, x), tap(1, x), tap(2, x)]));
                    for (y, row) in transposed(columns).into_iter().enumerate() {
                        for (x, value) in widen(row).into_iter().enumerate() {
                            S::store(tiles.as_mut_ptr().add((4 * y + x) * block + at), value);
                        }
                    }
                }
            }
        }
    }
}
