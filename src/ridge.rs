//! Convolutional ridge regression: the best linear map from a neighbourhood of features to the pixels under its centre.
//!
//! The attack that needs no training (He et al., *Model inversion attacks against collaborative inference*, 2019, have
//! trained ones only): with the features of a k×k neighbourhood, zero beyond the border, and a constant as `x`, and the
//! pixels of the block under the centre as `y`, weights shared over positions minimise
//!
//! ```text
//! Σ |W x − y|² + λ · n · Σ W²            (n pairs of x and y, the constant not penalised)
//! ```
//!
//! in closed form, `W = (E[x xᵀ] + λ)⁻¹ E[x yᵀ]`. One pass over the images accumulates both moments for *all* channels that
//! are given; any subset of them is then a sub-matrix solve, without another look at an image.
//!
//! Features are expected to be standardised, so that λ is a share of their variance. Sums are formed in single precision
//! within a block of rows and in double precision between blocks, in one order whatever the number of threads.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::solvers::{Llt, Solve};
use faer::{Accum, Mat, MatRef, Par, Side};
use rayon::prelude::*;

/// Side of the neighbourhood.
const KERNEL: usize = 3;

/// Shapes of features, neighbourhoods and pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Height and width of the features.
    pub side: usize,
    /// Channels of the features.
    pub depth: usize,
    /// Height and width of the images: a multiple of `side`.
    pub image_side: usize,
}

impl Geometry {
    /// Pixels of a block's side.
    fn block(&self) -> usize {
        self.image_side / self.side
    }

    /// Values of `y`.
    fn outputs(&self) -> usize {
        3 * self.block() * self.block()
    }

    /// Values of `x`: the neighbourhood, position by position, and the constant.
    fn inputs(&self) -> usize {
        KERNEL * KERNEL * self.depth + 1
    }

    fn positions(&self) -> usize {
        self.side * self.side
    }

    fn features(&self) -> usize {
        self.positions() * self.depth
    }

    fn pixels(&self) -> usize {
        3 * self.image_side * self.image_side
    }

    /// The neighbourhood of a position of one image's features `[side, side, depth]`, and the constant.
    fn gather(&self, features: &[f32], position: usize, out: &mut [f32]) {
        let (row, column) = (position / self.side, position % self.side);
        let (taps, constant) = out.split_at_mut(KERNEL * KERNEL * self.depth);
        constant.fill(1.0);
        for (tap, out) in taps.chunks_exact_mut(self.depth).enumerate() {
            let (y, x) = (row + tap / KERNEL, column + tap % KERNEL);
            // One more than the position, so that the row before the first is 0.
            match (1..=self.side).contains(&y) && (1..=self.side).contains(&x) {
                true => {
                    let at = ((y - 1) * self.side + x - 1) * self.depth;
                    out.copy_from_slice(&features[at..at + self.depth]);
                }
                false => out.fill(0.0),
            }
        }
    }

    /// Calls `visit(index in y, index in the image)` for the pixels under a position.
    fn under(&self, position: usize, mut visit: impl FnMut(usize, usize)) {
        let (row, column, block) = (position / self.side, position % self.side, self.block());
        for dy in 0..block {
            let start = ((row * block + dy) * self.image_side + column * block) * 3;
            for i in 0..3 * block {
                visit(dy * 3 * block + i, start + i);
            }
        }
    }
}

/// Second moments of neighbourhoods and pixels, accumulated over images.
#[derive(Debug, Clone)]
pub struct RidgeMoments {
    geometry: Geometry,
    pairs: usize,
    /// Σ x xᵀ, the lower half.
    gram: Mat<f64>,
    /// Σ x yᵀ.
    cross: Mat<f64>,
    /// Σ |y|².
    pixel_square: f64,
}

impl RidgeMoments {
    /// Those of no images.
    pub fn new(geometry: Geometry) -> Self {
        let (inputs, outputs) = (geometry.inputs(), geometry.outputs());
        Self {
            geometry,
            pairs: 0,
            gram: Mat::zeros(inputs, inputs),
            cross: Mat::zeros(inputs, outputs),
            pixel_square: 0.0,
        }
    }

    /// Images to be added at a time, where there are many: enough that every thread has a block of its own.
    pub fn batch(&self) -> usize {
        Self::block_images(self.geometry) * rayon::current_num_threads()
    }

    /// Images of one block: about a thousand pairs.
    fn block_images(geometry: Geometry) -> usize {
        (1024 / geometry.positions()).max(1)
    }

    /// Adds images: `features` are `[n, side, side, depth]`, `pixels` `[n, image_side, image_side, 3]` in [0, 1].
    ///
    /// # Panics
    /// If there is another number of pixels than of features.
    pub fn add(&mut self, features: &[f32], pixels: &[f32]) {
        let geometry = self.geometry;
        let n = features.len() / geometry.features();
        assert_eq!(pixels.len(), n * geometry.pixels(), "an image for all features");
        let images = Self::block_images(geometry);
        let blocks: Vec<[Mat<f32>; 2]> = features
            .par_chunks(images * geometry.features())
            .zip(pixels.par_chunks(images * geometry.pixels()))
            .map(|(features, pixels)| products(geometry, features, pixels))
            .collect();
        for [gram, cross] in &blocks {
            for j in 0..gram.ncols() {
                for i in j..gram.nrows() {
                    self.gram[(i, j)] += f64::from(gram[(i, j)]);
                }
            }
            for j in 0..cross.ncols() {
                for i in 0..cross.nrows() {
                    self.cross[(i, j)] += f64::from(cross[(i, j)]);
                }
            }
        }
        for block in pixels.chunks(images * geometry.pixels()) {
            self.pixel_square += block.iter().map(|&p| f64::from(p) * f64::from(p)).sum::<f64>();
        }
        self.pairs += n * geometry.positions();
    }

    /// The map from the channels `subset` (indices into those given) with a penalty of `lambda` times their mean square.
    /// `None` where the system can't be solved, as with features that are not numbers.
    pub fn solve(&self, subset: &[usize], lambda: f64) -> Option<LinearMap> {
        let system = self.system(subset, lambda);
        let weights = Llt::new(system.matrix.as_ref(), Side::Lower).ok()?.solve(&system.cross);
        let finite = weights.col_iter().all(|column| column.iter().all(|w| w.is_finite()));
        finite.then(|| LinearMap {
            geometry: Geometry { depth: subset.len(), ..self.geometry },
            weights: Mat::from_fn(weights.ncols(), weights.nrows(), |i, j| weights[(j, i)] as f32),
        })
    }

    /// Mean squared error, over all pixels of the images that were added, of [`solve`](Self::solve)'s map: without applying
    /// it, for scoring many subsets.
    pub fn error(&self, subset: &[usize], lambda: f64) -> Option<f64> {
        let system = self.system(subset, lambda);
        let weights = Llt::new(system.matrix.as_ref(), Side::Lower).ok()?.solve(&system.cross);
        // With (G + Λ) W = C: Σ|y|² − 2 tr(WᵀC) + tr(WᵀGW) = Σ|y|² − tr(WᵀC) − tr(WᵀΛW).
        let mut explained = 0.0;
        for j in 0..weights.ncols() {
            for i in 0..weights.nrows() {
                let penalty = if i + 1 < weights.nrows() { system.penalty * weights[(i, j)] } else { 0.0 };
                explained += weights[(i, j)] * (system.cross[(i, j)] + penalty);
            }
        }
        let error = (self.pixel_square - explained) / (self.pairs * self.geometry.outputs()) as f64;
        error.is_finite().then(|| error.max(0.0))
    }

    fn system(&self, subset: &[usize], lambda: f64) -> System {
        let depth = self.geometry.depth;
        let mut rows: Vec<usize> =
            (0..KERNEL * KERNEL).flat_map(|tap| subset.iter().map(move |&c| tap * depth + c)).collect();
        let mean = rows.iter().map(|&i| self.gram[(i, i)]).sum::<f64>() / rows.len().max(1) as f64;
        // Silent features have no weight, rather than any.
        let penalty = (lambda * mean).max(1e-9 * self.pairs as f64);
        rows.push(KERNEL * KERNEL * depth);
        let last = rows.len() - 1;
        let matrix = Mat::from_fn(rows.len(), rows.len(), |i, j| {
            // Channels may come in any order; their moments stand below the diagonal.
            let (a, b) = (rows[i], rows[j]);
            self.gram[(a.max(b), a.min(b))] + if i == j && i < last { penalty } else { 0.0 }
        });
        let cross = Mat::from_fn(rows.len(), self.geometry.outputs(), |i, j| self.cross[(rows[i], j)]);
        System { matrix, cross, penalty }
    }
}

/// The normal equations of one subset.
struct System {
    matrix: Mat<f64>,
    cross: Mat<f64>,
    /// What was added to the diagonal, but not for the constant.
    penalty: f64,
}

/// Σ x xᵀ (the lower half) and Σ x yᵀ over a few images.
fn products(geometry: Geometry, features: &[f32], pixels: &[f32]) -> [Mat<f32>; 2] {
    let (inputs, outputs, positions) = (geometry.inputs(), geometry.outputs(), geometry.positions());
    let images = features.len() / geometry.features();
    let pairs = images * positions;
    // Column by column, which is the order of the matrices' memory.
    let (mut x, mut y) = (vec![0.0_f32; pairs * inputs], vec![0.0_f32; pairs * outputs]);
    for (pair, (x, y)) in x.chunks_exact_mut(inputs).zip(y.chunks_exact_mut(outputs)).enumerate() {
        let (image, position) = (pair / positions, pair % positions);
        geometry.gather(&features[image * geometry.features()..][..geometry.features()], position, x);
        let pixels = &pixels[image * geometry.pixels()..][..geometry.pixels()];
        geometry.under(position, |at, pixel| y[at] = pixels[pixel]);
    }
    let x = MatRef::from_column_major_slice(&x, inputs, pairs);
    let y = MatRef::from_column_major_slice(&y, outputs, pairs);
    let (mut gram, mut cross) = (Mat::zeros(inputs, inputs), Mat::zeros(inputs, outputs));
    let (lower, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
    triangular::matmul(&mut gram, lower, Accum::Replace, x, whole, x.transpose(), whole, 1.0, Par::Seq);
    matmul(&mut cross, Accum::Replace, x, y.transpose(), 1.0, Par::Seq);
    [gram, cross]
}

/// A linear map from neighbourhoods to blocks of pixels.
#[derive(Debug, Clone)]
pub struct LinearMap {
    geometry: Geometry,
    /// `[outputs, inputs]`.
    weights: Mat<f32>,
}

impl LinearMap {
    /// Reconstructs images, `[n, image_side, image_side, 3]`, from features of the subset, `[n, side, side, depth]`; not
    /// clamped to [0, 1].
    pub fn apply(&self, features: &[f32]) -> Vec<f32> {
        let geometry = self.geometry;
        let n = features.len() / geometry.features();
        let (inputs, outputs, positions) = (geometry.inputs(), geometry.outputs(), geometry.positions());
        let mut images = vec![0.0; n * geometry.pixels()];
        images.par_chunks_exact_mut(geometry.pixels()).zip(features.par_chunks_exact(geometry.features())).for_each(
            |(image, features)| {
                let mut x = vec![0.0_f32; positions * inputs];
                for (position, x) in x.chunks_exact_mut(inputs).enumerate() {
                    geometry.gather(features, position, x);
                }
                let x = MatRef::from_column_major_slice(&x, inputs, positions);
                let mut y = Mat::<f32>::zeros(outputs, positions);
                matmul(&mut y, Accum::Replace, &self.weights, x, 1.0, Par::Seq);
                for position in 0..positions {
                    geometry.under(position, |at, pixel| image[pixel] = y[(at, position)]);
                }
            },
        );
        images
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Geometry = Geometry { side: 3, depth: 2, image_side: 6 };

    /// Numbers in [−1, 1) that look random.
    fn noise(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    /// Pixels that are a known linear function of the neighbourhood: the feature to the right, channel 1, in the block's
    /// upper left pixel, the one above, channel 0, in the lower right one, and a constant elsewhere.
    fn pairs(n: usize) -> (Vec<f32>, Vec<f32>) {
        let features = noise(n * GEOMETRY.features(), 1);
        let mut pixels = vec![0.25; n * GEOMETRY.pixels()];
        for image in 0..n {
            for position in 0..9 {
                let (row, column) = (position / 3, position % 3);
                let feature = |row: usize, column: usize, channel: usize| {
                    features[image * GEOMETRY.features() + (row * 3 + column) * 2 + channel]
                };
                let right = if column < 2 { feature(row, column + 1, 1) } else { 0.0 };
                let above = if row > 0 { feature(row - 1, column, 0) } else { 0.0 };
                let pixel = |y: usize, x: usize| image * GEOMETRY.pixels() + (y * 6 + x) * 3;
                pixels[pixel(2 * row, 2 * column)] = 0.5 + 0.2 * right;
                pixels[pixel(2 * row + 1, 2 * column + 1) + 2] = 0.5 - 0.3 * above;
            }
        }
        (features, pixels)
    }

    fn mean_square(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64
    }

    #[test]
    fn a_linear_image_is_recovered_exactly_and_a_channel_alone_recovers_its_part() {
        let (features, pixels) = pairs(200);
        let mut moments = RidgeMoments::new(GEOMETRY);
        moments.add(&features, &pixels);
        let map = moments.solve(&[0, 1], 1e-9).unwrap();
        assert!(mean_square(&map.apply(&features), &pixels) < 1e-9);
        assert!(moments.error(&[0, 1], 1e-9).unwrap() < 1e-7);
        // Without channel 0 what is above stays unknown: a variance of 0.09/3, at 6 of 9 positions, in 1 of 12 pixels.
        let error = moments.error(&[1], 1e-9).unwrap();
        assert!((error / (0.09 / 3.0 * 6.0 / 9.0 / 12.0) - 1.0).abs() < 0.1, "{error}");
        // Given in another order, the channels are the same ones.
        let swapped: Vec<f32> = features.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        let map = moments.solve(&[1, 0], 1e-9).unwrap();
        assert!(mean_square(&map.apply(&swapped), &pixels) < 1e-9);
    }

    #[test]
    fn the_error_without_applying_the_map_is_the_one_with() {
        let (features, mut pixels) = pairs(120);
        pixels.iter_mut().zip(noise(120 * GEOMETRY.pixels(), 9)).for_each(|(p, noise)| *p += 0.1 * noise);
        let mut moments = RidgeMoments::new(GEOMETRY);
        moments.add(&features, &pixels);
        for (subset, lambda) in [(vec![0, 1], 0.0), (vec![1], 0.01), (vec![0], 3.0)] {
            let kept: Vec<f32> = features.chunks(2).flat_map(|pair| subset.iter().map(|&c| pair[c])).collect();
            let applied = mean_square(&moments.solve(&subset, lambda).unwrap().apply(&kept), &pixels);
            let error = moments.error(&subset, lambda).unwrap();
            assert!((applied / error - 1.0).abs() < 1e-4, "{subset:?}: {error} {applied}");
        }
    }

    #[test]
    fn parts_and_threads_change_nothing() {
        let (features, pixels) = pairs(700);
        let moments = |threads, part: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut moments = RidgeMoments::new(GEOMETRY);
                let images = part.max(1);
                for (f, p) in
                    features.chunks(images * GEOMETRY.features()).zip(pixels.chunks(images * GEOMETRY.pixels()))
                {
                    moments.add(f, p);
                }
                moments.error(&[0, 1], 1e-3).unwrap()
            })
        };
        let block = RidgeMoments::block_images(GEOMETRY);
        assert_eq!(moments(1, 700).to_bits(), moments(3, block).to_bits());
        assert_eq!(moments(1, block).to_bits(), moments(2, 3 * block).to_bits());
    }

    #[test]
    fn silent_channels_give_the_mean_or_nothing() {
        let (features, pixels) = pairs(50);
        let silent = vec![0.0; features.len()];
        let mut moments = RidgeMoments::new(GEOMETRY);
        moments.add(&silent, &pixels);
        let variance = {
            let outputs = GEOMETRY.outputs();
            let mut y = vec![Vec::new(); outputs];
            for image in pixels.chunks(GEOMETRY.pixels()) {
                (0..9).for_each(|position| GEOMETRY.under(position, |at, pixel| y[at].push(f64::from(image[pixel]))));
            }
            let variance = |v: &Vec<f64>| {
                let mean = v.iter().sum::<f64>() / v.len() as f64;
                v.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / v.len() as f64
            };
            y.iter().map(variance).sum::<f64>() / outputs as f64
        };
        let error = moments.error(&[0, 1], 1e-3).unwrap();
        assert!((error / variance - 1.0).abs() < 1e-3, "{error} {variance}");
    }
}
