//! Sums of outer products over pixels: weight gradients.

use super::contract::load_part;
use super::winograd;
use crate::nn::engine::map::Map;
use crate::nn::engine::simd::{Kernel, Level, Simd};

/// The operands of [`outer()`].
pub(in crate::nn::engine) struct OuterProducts<'a> {
    /// Images to do.
    pub images: usize,
    /// The layer's inputs, with slack.
    pub input: &'a [f32],
    /// Layout of the inputs.
    pub input_map: Map,
    /// Gradient by the layer's outputs, with slack.
    pub gradient: &'a [f32],
    /// Layout of the gradient: same height and width as the inputs.
    pub gradient_map: Map,
    /// Runs per window: 3, or 1 for a linear layer.
    pub runs: usize,
    /// Whether the sums are added to what `sums` holds, or take its place.
    pub add: bool,
    /// Receives the sums: `[run, value, channel]`, or `[channel, run, value]` if `by_channel`.
    pub sums: &'a mut [f32],
    /// Order of the sums. `true` is meant for few channels and needs at most 4.
    pub by_channel: bool,
}

/// Puts into `sums`, over all pixels, the product of each value of the window with the gradient of each channel.
pub(in crate::nn::engine) fn outer(level: Level, job: OuterProducts<'_>) {
    let (from, by) = (job.input_map, job.gradient_map);
    let slack = super::super::map::SLACK;
    assert!(job.input.len() >= job.images * from.image() + slack);
    assert!(job.gradient.len() >= job.images * by.image() + slack);
    assert!((from.shape.height, from.shape.width) == (by.shape.height, by.shape.width));
    assert!(
        matches!(job.runs, 1 | 3) && job.sums.len() >= job.runs * job.runs * from.shape.channels * by.shape.channels
    );
    assert!(job.runs == 1 || from.border > 0);
    assert!(!job.by_channel || by.shape.channels <= 4);
    if winograd::correlates(level, &job) {
        winograd::correlate(level, job);
    } else {
        level.run(job);
    }
}

/// Pixels that are summed in registers before the sums are added to memory.
const PIXELS_TOGETHER: usize = 128;

impl Kernel for OuterProducts<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const PIXELS: usize, const ROWS: usize>(self) {
        let (from, by) = (self.input_map, self.gradient_map);
        let runs = self.runs;
        let corner = if runs == 1 { from.origin() } else { 0 };
        let run = runs * from.shape.channels;
        let channels = by.shape.channels;
        // Of single pixels, the images make one row.
        let single = from.shape.height * from.shape.width == 1;
        let (images, height, width) =
            if single { (1, 1, self.images) } else { (self.images, from.shape.height, from.shape.width) };
        let rows = images * height;
        let together = (PIXELS_TOGETHER / width).max(1);
        let mut row = 0;
        while row < rows {
            let walk = Walk { row, rows: together.min(rows - row), height, width, add: self.add || row > 0 };
            for window in 0..runs {
                // SAFETY: `outer` checked the lengths, and reads past the last value stay within the slack.
                unsafe {
                    let input = self.input.as_ptr().add(corner + window * from.row());
                    let gradient = self.gradient.as_ptr().add(by.origin());
                    if self.by_channel {
                        let sums = self.sums.as_mut_ptr().add(window * run);
                        let (a, b) = (Rows::new(gradient, &by, single), Rows::new(input, &from, single));
                        products::<S, 4>(walk, a, channels, b, run, sums, runs * run);
                    } else {
                        let sums = self.sums.as_mut_ptr().add(window * run * channels);
                        let (a, b) = (Rows::new(input, &from, single), Rows::new(gradient, &by, single));
                        products::<S, ROWS>(walk, a, run, b, channels, sums, channels);
                    }
                }
            }
            row += together;
        }
    }
}

/// Some consecutive rows of pixels, counted over all images.
#[derive(Clone, Copy)]
struct Walk {
    row: usize,
    rows: usize,
    height: usize,
    width: usize,
    /// Whether to add to the sums that are there.
    add: bool,
}

/// One factor's values at the pixels of a row.
#[derive(Clone, Copy)]
struct Rows {
    start: *const f32,
    pixel: usize,
    row: usize,
    image: usize,
}

impl Rows {
    #[inline(always)]
    fn new(start: *const f32, map: &Map, single: bool) -> Self {
        Self { start, pixel: if single { map.image() } else { map.pixel() }, row: map.row(), image: map.image() }
    }

    #[inline(always)]
    unsafe fn at(&self, row: usize, height: usize) -> *const f32 {
        // SAFETY: the caller asks for a row that the map has.
        unsafe { self.start.add(row / height * self.image + row % height * self.row) }
    }
}

/// `sums[i · stride + j] = Σ over pixels a[i] · b[j]` for `i < m`, `j < n`; added to the old sums if `walk.add`.
#[inline(always)]
unsafe fn products<S: Simd, const ROWS: usize>(
    walk: Walk,
    a: Rows,
    m: usize,
    b: Rows,
    n: usize,
    sums: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller has `m` and `n` values at each of the walk's pixels; reads past the last end within the slack, and sums are stored where they fit.
    unsafe {
        let width = 2 * S::LANES;
        for i in (0..m).step_by(ROWS) {
            for j in (0..n).step_by(width) {
                let mut tile = [[S::splat(0.0); 2]; ROWS];
                for row in walk.row..walk.row + walk.rows {
                    let mut left = a.at(row, walk.height).add(i);
                    let mut right = b.at(row, walk.height).add(j);
                    for _ in 0..walk.width {
                        let (low, high) = (S::load(right), S::load(right.add(S::LANES)));
                        for (r, tile) in tile.iter_mut().enumerate() {
                            let value = S::splat(*left.add(r));
                            tile[0] = S::fma(value, low, tile[0]);
                            tile[1] = S::fma(value, high, tile[1]);
                        }
                        left = left.add(a.pixel);
                        right = right.add(b.pixel);
                    }
                }
                for (r, tile) in tile.iter().enumerate().take(m - i) {
                    let at = sums.add((i + r) * stride + j);
                    let full = n - j >= width;
                    let mut tile = *tile;
                    if walk.add {
                        let old =
                            if full { [S::load(at), S::load(at.add(S::LANES))] } else { load_part::<S>(at, n - j) };
                        tile = [S::add(old[0], tile[0]), S::add(old[1], tile[1])];
                    }
                    if full {
                        S::store(at, tile[0]);
                        S::store(at.add(S::LANES), tile[1]);
                    } else {
                        let mut values = [0f32; 64];
                        S::store(values.as_mut_ptr(), tile[0]);
                        S::store(values.as_mut_ptr().add(S::LANES), tile[1]);
                        for (channel, &value) in values.iter().enumerate().take(n - j) {
                            *at.add(channel) = value;
                        }
                    }
                }
            }
        }
    }
}
