//! Kernel ridge regression: what a smooth function of all of an image's features recovers, in closed form.
//!
//! Where the map of [`ridge`](crate::ridge) is linear, local and the same everywhere, this one is none of these, and needs no
//! training either: with the kernel `k(a, b) = exp(−|a − b|² / 2s²)` of two images' features and the pixels `Y` of the examples
//! less their mean image, reconstructions of features `x` are `mean + k(x, examples) (K + λ)⁻¹ Y`. It has one weight per example
//! and pixel, so that it wants few features and a few thousand examples: the case that decoders find hard.
//!
//! Sums have one order whatever the number of threads.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::{Llt, Solve};
use faer::{Accum, Mat, MatRef, Par, Side};
use rayon::prelude::*;

/// Columns that one task works on.
const COLUMNS: usize = 256;

/// Vectors of features, an image each.
#[derive(Debug, Clone)]
pub struct Examples {
    /// Column-major `[d, n]`: an image's features are neighbours.
    values: Vec<f32>,
    squares: Vec<f32>,
    dimensions: usize,
}

impl Examples {
    /// From `[n, dimensions]` values.
    pub fn new(values: Vec<f32>, dimensions: usize) -> Self {
        let squares = values.par_chunks_exact(dimensions).map(|v| v.iter().map(|x| x * x).sum()).collect();
        Self { values, squares, dimensions }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.squares.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.squares.is_empty()
    }

    /// The first `n`.
    pub fn first(&self, n: usize) -> Self {
        let n = n.min(self.len());
        let (values, squares) = (self.values[..n * self.dimensions].to_vec(), self.squares[..n].to_vec());
        Self { values, squares, dimensions: self.dimensions }
    }

    /// Squared distances `[self, others]` to other images.
    pub fn distances(&self, others: &Examples) -> Mat<f32> {
        let own = MatRef::from_column_major_slice(&self.values, self.dimensions, self.len());
        let columns: Vec<Mat<f32>> = others
            .values
            .par_chunks(COLUMNS * self.dimensions)
            .zip(others.squares.par_chunks(COLUMNS))
            .map(|(values, squares)| {
                let block = MatRef::from_column_major_slice(values, self.dimensions, squares.len());
                let mut products = Mat::zeros(self.len(), squares.len());
                matmul(&mut products, Accum::Replace, own.transpose(), block, 1.0, Par::Seq);
                for (j, square) in squares.iter().enumerate() {
                    for (product, own) in products.col_mut(j).iter_mut().zip(&self.squares) {
                        let distance = own + square - 2.0 * *product;
                        // Rounding may take it below zero; what is no number stays so.
                        *product = if distance < 0.0 { 0.0 } else { distance };
                    }
                }
                products
            })
            .collect();
        joined(self.len(), &columns)
    }
}

/// Matrices of `rows` rows side by side.
fn joined(rows: usize, columns: &[Mat<f32>]) -> Mat<f32> {
    let starts: Vec<(usize, usize)> = columns
        .iter()
        .enumerate()
        .flat_map(|(block, matrix)| (0..matrix.ncols()).map(move |column| (block, column)))
        .collect();
    Mat::from_fn(rows, starts.len(), |i, j| columns[starts[j].0][(i, starts[j].1)])
}

/// Width and penalty of the kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// `s²` as a multiple of the examples' mean squared distance.
    pub width: f32,
    /// λ.
    pub penalty: f64,
}

/// A fitted map.
#[derive(Debug)]
pub struct KernelMap {
    /// `[examples, outputs]`.
    weights: Mat<f32>,
    mean: Vec<f32>,
    /// `−1 / 2s²`.
    factor: f32,
}

impl KernelMap {
    /// The map from examples with these squared distances between them to their pixels `[n, outputs]`; `None` where the
    /// system can't be solved, as with features that are not numbers.
    pub fn fit(distances: &Mat<f32>, pixels: &[f32], shape: Shape) -> Option<Self> {
        let n = distances.ncols();
        let outputs = pixels.len() / n.max(1);
        let typical = (0..n).map(|j| distances.col(j).iter().map(|&d| f64::from(d)).sum::<f64>()).sum::<f64>()
            / (n * n).max(1) as f64;
        let factor = -0.5 / (shape.width * typical as f32).max(f32::MIN_POSITIVE);
        let kernel = Mat::from_fn(n, n, |i, j| {
            f64::from((distances[(i, j)] * factor).exp()) + if i == j { shape.penalty } else { 0.0 }
        });
        let llt = Llt::new(kernel.as_ref(), Side::Lower).ok()?;
        let mut mean = vec![0.0f32; outputs];
        for (output, mean) in mean.iter_mut().enumerate() {
            *mean = ((0..n).map(|i| f64::from(pixels[i * outputs + output])).sum::<f64>() / n as f64) as f32;
        }
        let starts: Vec<usize> = (0..outputs).step_by(COLUMNS).collect();
        let columns: Vec<Mat<f32>> = starts
            .par_iter()
            .map(|&start| {
                let width = COLUMNS.min(outputs - start);
                let right = Mat::from_fn(n, width, |i, j| f64::from(pixels[i * outputs + start + j] - mean[start + j]));
                let solved = llt.solve(&right);
                Mat::from_fn(n, width, |i, j| solved[(i, j)] as f32)
            })
            .collect();
        let weights = joined(n, &columns);
        let finite = weights.col_iter().all(|column| column.iter().all(|w| w.is_finite()));
        finite.then_some(Self { weights, mean, factor })
    }

    /// Pixels `[images, outputs]` of images with these squared distances `[images, examples]` to the examples; not clamped.
    pub fn apply(&self, distances: &Mat<f32>) -> Vec<f32> {
        let images: Vec<usize> = (0..distances.nrows()).collect();
        let outputs = self.mean.len();
        let blocks: Vec<Vec<f32>> = images
            .par_chunks(COLUMNS)
            .map(|images| {
                let kernel = Mat::from_fn(images.len(), distances.ncols(), |i, j| {
                    (distances[(images[i], j)] * self.factor).exp()
                });
                let mut found = Mat::zeros(images.len(), outputs);
                matmul(&mut found, Accum::Replace, &kernel, &self.weights, 1.0, Par::Seq);
                (0..images.len() * outputs)
                    .map(|at| found[(at / outputs, at % outputs)] + self.mean[at % outputs])
                    .collect()
            })
            .collect();
        blocks.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(n: usize, phase: f32) -> (Examples, Vec<f32>) {
        let values: Vec<f32> = (0..n * 3).map(|i| (i as f32 * 0.61 + phase).sin()).collect();
        // A smooth function of the features that is not linear, and one that is constant.
        let pixels = values.chunks_exact(3).flat_map(|v| [v[0] * v[1] + 0.3 * v[2].cos(), 0.7]).collect();
        (Examples::new(values, 3), pixels)
    }

    #[test]
    fn distances_are_those_of_the_vectors() {
        let (a, b) = (examples(5, 0.0).0, examples(300, 1.0).0);
        let found = a.distances(&b);
        for (i, j) in [(0, 0), (4, 299), (2, 256)] {
            let expected: f32 = (0..3).map(|d| (a.values[i * 3 + d] - b.values[j * 3 + d]).powi(2)).sum();
            assert!((found[(i, j)] - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn smooth_functions_are_learnt_from_examples() {
        let (train, pixels) = examples(400, 0.0);
        let (test, expected) = examples(50, 0.37);
        let shape = Shape { width: 0.5, penalty: 1e-4 };
        let map = KernelMap::fit(&train.distances(&train), &pixels, shape).unwrap();
        let found = map.apply(&test.distances(&train));
        let error: f32 = found.iter().zip(&expected).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / 100.0;
        assert!(error < 1e-4, "{error}");
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (train, pixels) = examples(700, 0.0);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let distances = train.distances(&train);
                KernelMap::fit(&distances, &pixels, Shape { width: 0.5, penalty: 1e-3 }).unwrap().apply(&distances)
            })
        };
        assert!(run(1) == run(5));
    }

    #[test]
    fn features_that_are_no_numbers_give_no_map() {
        let train = Examples::new(vec![f32::NAN; 6], 3);
        assert!(KernelMap::fit(&train.distances(&train), &[0.5; 4], Shape { width: 1.0, penalty: 1e-3 }).is_none());
    }
}
