//! 3×3 convolutions by Winograd's minimal filtering F(2×2, 3×3) (Lavin and Gray, arXiv 1509.09308): a tile of 2×2
//! outputs takes 16 products where the direct sum takes 36.
//!
//! With `d` a 4×4 tile of inputs, `g` a 3×3 filter and `y` the 2×2 outputs, `y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A`, and the
//! gradient by the filter is `Gᵀ[(A ∂y Aᵀ) ⊙ (Bᵀ d B)]G`. Over channels each of the 16 positions is a product of
//! matrices. (Here no closure touches a register: it would be compiled without the instruction set, and called.) Tiles are taken in blocks whose transforms stay in the second-level cache. All coefficients are 0, ±1
//! and ±½, so in f32 the error is a few times that of the direct sum.

mod convolution;
mod correlation;
mod weights;

use std::cell::RefCell;

pub(super) use convolution::{convolve, convolves};
pub(super) use correlation::{correlate, correlates};
pub(in crate::nn::engine) use weights::transform_weights;

use crate::nn::engine::aligned::Aligned;
use crate::nn::engine::map::Map;
use crate::nn::engine::simd::Simd;

/// Products per tile.
const POSITIONS: usize = 16;

/// Most tiles of a block, and fewest.
const TILES: (usize, usize) = (64, 16);

/// Values of transformed inputs per position that a block aims at.
const BLOCK_VALUES: usize = 4096;

/// Rows of a register tile of weight gradients.
const TOGETHER: usize = 8;

fn tiles_together(channels: usize) -> usize {
    (BLOCK_VALUES / channels).clamp(TILES.1, TILES.0) / TOGETHER * TOGETHER
}

/// From a position to the next in a block of `rows · columns` values: a cache line more than these, or all positions of
/// a tile would fall into the same few sets of the cache.
const fn apart(rows: usize, columns: usize) -> usize {
    rows * columns + 16
}

thread_local! {
    /// Transformed tiles and sums of the kernel that runs on this thread.
    static SCRATCH: RefCell<Aligned> = RefCell::new(Aligned::default());
}

/// Lends `work` at least `len` floats, of whatever value.
fn with_scratch(len: usize, work: impl FnOnce(&mut [f32])) {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len);
        }
        work(&mut scratch[..len]);
    });
}

/// Whether maps of this size are cut into whole tiles.
fn whole_tiles(map: Map) -> bool {
    map.shape.height.is_multiple_of(2) && map.shape.width.is_multiple_of(2)
}

/// The tiles of some images in order.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    columns: usize,
}

impl Tiles {
    fn of(map: Map) -> Self {
        Self { rows: map.shape.height / 2, columns: map.shape.width / 2 }
    }

    fn per_image(self) -> usize {
        self.rows * self.columns
    }

    /// Offset of a tile's upper left output, in a map with `factor` pixels per output.
    fn corner(self, tile: usize, map: Map, factor: usize) -> usize {
        let (image, within) = (tile / self.per_image(), tile % self.per_image());
        let (y, x) = (2 * factor * (within / self.columns), 2 * factor * (within % self.columns));
        image * map.image() + y * map.row() + x * map.pixel()
    }
}

/// `[a0 − a2, a1 + a2, a2 − a1, a1 − a3]`: Bᵀ times a column.
#[inline(always)]
unsafe fn spread<S: Simd>(a: [S::V; 4]) -> [S::V; 4] {
    // SAFETY: the caller has the instruction set, as `Simd` asks.
    unsafe { [S::sub(a[0], a[2]), S::add(a[1], a[2]), S::sub(a[2], a[1]), S::sub(a[1], a[3])] }
}

/// `Bᵀ d B` of the tile whose upper left value is at `corner`, for all channels; position `p` goes to
/// `target[p · stride ..]`.
#[inline(always)]
unsafe fn transform_inputs<S: Simd>(corner: *const f32, map: Map, target: *mut f32, stride: usize) {
    // SAFETY: the caller has four rows of four pixels at `corner`, border included, and sixteen positions of room; channels fill whole registers.
    unsafe {
        for channel in (0..map.shape.channels).step_by(S::LANES) {
            let mut d = [[S::splat(0.0); 4]; 4];
            for (y, row) in d.iter_mut().enumerate() {
                for (x, value) in row.iter_mut().enumerate() {
                    *value = S::load(corner.add(y * map.row() + x * map.pixel() + channel));
                }
            }
            let mut columns = [[S::splat(0.0); 4]; 4];
            for (x, column) in columns.iter_mut().enumerate() {
                *column = spread::<S>([d[0][x], d[1][x], d[2][x], d[3][x]]);
            }
            let [a, b, c, d] = columns;
            for (y, ((a, b), (c, d))) in a.into_iter().zip(b).zip(c.into_iter().zip(d)).enumerate() {
                for (x, value) in spread::<S>([a, b, c, d]).into_iter().enumerate() {
                    S::store(target.add((4 * y + x) * stride + channel), value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
