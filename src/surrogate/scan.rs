//! Predictions of very many designs at once: [`GaussianProcess::predict_all`].
//!
//! Designs go through in tiles. Per tile and measured row one pass computes the row's covariance with every design of the tile
//! (distance, Matérn, exponential), then forward substitution with the Cholesky factor gives all variances: loops over
//! the tile without branches or calls, which the compiler turns into vector code for the instruction sets named below.

// Several arrays are walked side by side: indices say so more plainly than nested zips.
#![allow(clippy::needless_range_loop)]

use rayon::prelude::*;

use super::covariance::{CONSTANT_VARIANCE, WEIGHT_VARIANCE};
use super::gaussian_process::GaussianProcess;
use super::{Points, Prediction};

/// Designs that are predicted together: their numbers for one row fill a few vector registers.
const TILE: usize = 64;

/// Tiles that one thread takes at a time.
const TILES_PER_TASK: usize = 64;

type Lane = [f64; TILE];

impl GaussianProcess {
    /// [`predict`](Self::predict) for every one of `points`, in their order, on all threads.
    ///
    /// A million designs and sixty rows take some tenths of a second on two cores. No prediction depends on the others or
    /// on the number of threads.
    pub fn predict_all(&self, points: &Points) -> Vec<Prediction> {
        let mut predictions = vec![Prediction { mean: f64::NAN, sd: f64::NAN }; points.len()];
        if points.width() != self.scales().width {
            return predictions;
        }
        let level = Level::best();
        predictions.par_chunks_mut(TILE * TILES_PER_TASK).enumerate().for_each(|(task, predictions)| {
            let mut tile = Tile::new(self);
            for (at, predictions) in predictions.chunks_mut(TILE).enumerate() {
                tile.fill(points, (task * TILES_PER_TASK + at) * TILE, predictions.len());
                level.run(&mut tile);
                for (t, prediction) in predictions.iter_mut().enumerate() {
                    *prediction = tile.prediction(t);
                }
            }
        });
        predictions
    }
}

/// Instruction sets that the kernel is compiled for.
#[derive(Clone, Copy)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Level {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    #[allow(unsafe_code, reason = "instructions that not every machine has")]
    fn run(self, tile: &mut Tile<'_>) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `best` has seen that the machine has the instruction set.
            Self::Avx512 => unsafe { avx512(tile) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `best` has seen that the machine has the instruction set.
            Self::Avx2 => unsafe { avx2(tile) },
            Self::Portable => tile.run::<false>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn avx512(tile: &mut Tile<'_>) {
    tile.run::<true>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(tile: &mut Tile<'_>) {
    tile.run::<true>();
}

/// Some designs on their way through the model.
struct Tile<'a> {
    process: &'a GaussianProcess,
    /// Standardised features, shape `[d]` of lanes.
    x: Vec<Lane>,
    categories: Lane,
    /// Covariances with the rows, then the factor's solution, shape `[n]` of lanes.
    cross: Vec<Lane>,
    mean: Lane,
    variance: Lane,
}

impl<'a> Tile<'a> {
    fn new(process: &'a GaussianProcess) -> Self {
        let d = process.scales().features.len();
        Self {
            process,
            x: vec![[0.0; TILE]; d],
            categories: [0.0; TILE],
            cross: vec![[0.0; TILE]; process.inputs().len()],
            mean: [0.0; TILE],
            variance: [0.0; TILE],
        }
    }

    /// Takes in `count` designs from `first` on; the last of them fills the rest.
    fn fill(&mut self, points: &Points, first: usize, count: usize) {
        for t in 0..TILE {
            let index = first + t.min(count - 1);
            let features = points.features(index);
            for (lane, (feature, scale)) in self.x.iter_mut().zip(&self.process.scales().features) {
                lane[t] = scale.apply(features[*feature]);
            }
            self.categories[t] = points.category(index) as f64;
        }
    }

    #[inline(always)]
    fn run<const FMA: bool>(&mut self) {
        let hyper = self.process.hyper();
        let (inputs, alpha) = (self.process.inputs(), self.process.alpha());
        let inverse_squares: Vec<f64> = hyper.lengthscales.iter().map(|l| 5.0 / (l * l)).collect();
        self.mean = [0.0; TILE];
        for (row, (input, cross)) in inputs.iter().zip(&mut self.cross).enumerate() {
            let (mut squared, mut linear) = ([0.0; TILE], [CONSTANT_VARIANCE; TILE]);
            for ((lane, &x), &scale) in self.x.iter().zip(&input.x).zip(&inverse_squares) {
                let weight = x * WEIGHT_VARIANCE;
                for t in 0..TILE {
                    let apart = lane[t] - x;
                    squared[t] = fused::<FMA>(apart * apart, scale, squared[t]);
                    linear[t] = fused::<FMA>(lane[t], weight, linear[t]);
                }
            }
            let (category, signal, correlated) =
                (input.category as f64, hyper.signal, hyper.signal * hyper.correlation);
            for t in 0..TILE {
                let far = squared[t].sqrt();
                let matern = fused::<FMA>(squared[t], 1.0 / 3.0, 1.0 + far) * exp_of_negative::<FMA>(far);
                let scale = if self.categories[t] == category { signal } else { correlated };
                cross[t] = fused::<FMA>(scale, matern, linear[t]);
            }
            for t in 0..TILE {
                self.mean[t] = fused::<FMA>(cross[t], alpha[row], self.mean[t]);
            }
        }
        self.variances::<FMA>();
    }

    /// Prior variance less what the rows explain: forward substitution, and the sum of the squares of its solution.
    #[inline(always)]
    fn variances<const FMA: bool>(&mut self) {
        let hyper = self.process.hyper();
        self.variance = [CONSTANT_VARIANCE + hyper.signal; TILE];
        for lane in &self.x {
            for t in 0..TILE {
                self.variance[t] = fused::<FMA>(lane[t] * lane[t], WEIGHT_VARIANCE, self.variance[t]);
            }
        }
        for i in 0..self.cross.len() {
            let factors = self.process.factor().row(i);
            let (solved, rest) = self.cross.split_at_mut(i);
            let mut own = rest[0];
            for (solved, &factor) in solved.iter().zip(factors) {
                for t in 0..TILE {
                    own[t] = fused::<FMA>(solved[t], -factor, own[t]);
                }
            }
            let inverse = 1.0 / factors[i];
            for t in 0..TILE {
                own[t] *= inverse;
                self.variance[t] = fused::<FMA>(own[t], -own[t], self.variance[t]);
            }
            rest[0] = own;
        }
    }

    fn prediction(&self, t: usize) -> Prediction {
        let scale = self.process.scales().target;
        let variance = self.variance[t];
        // `f64::max` would turn NaN into zero, that is: into certainty.
        let variance = if variance < 0.0 { 0.0 } else { variance };
        Prediction { mean: scale.mean + scale.sd * self.mean[t], sd: scale.sd * variance.sqrt() }
    }
}

/// `a · b + c`, in one instruction where there is one.
#[inline(always)]
fn fused<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `e^−x` for x ≥ 0, to some units in the last place, 0 beyond the smallest normal numbers; without branches.
///
/// `x = −(k ln 2 + r)` with |r| ≤ ½ ln 2; `e^r` by its Taylor polynomial, `2^k` by the exponent's bits. NaN stays NaN.
#[inline(always)]
fn exp_of_negative<const FMA: bool>(x: f64) -> f64 {
    /// Adding it leaves an integer in the low bits.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
    const COEFFICIENTS: [f64; 12] = [
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
    ];
    let within = if x > 708.0 { 708.0 } else { x };
    let shifted = fused::<FMA>(-within, std::f64::consts::LOG2_E, SHIFT);
    let k = shifted - SHIFT;
    let r = fused::<FMA>(k, -LN_2[1], fused::<FMA>(k, -LN_2[0], -within));
    let mut sum = COEFFICIENTS[0];
    for coefficient in &COEFFICIENTS[1..] {
        sum = fused::<FMA>(sum, r, *coefficient);
    }
    let sum = fused::<FMA>(sum, r, 1.0);
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    let value = sum * power;
    if x > 708.0 { 0.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surrogate::{FitOptions, Row};

    #[test]
    fn exponential_equals_the_standard_librarys() {
        for i in 0..70_000 {
            let x = f64::from(i) * 0.010_007;
            for value in [exp_of_negative::<false>(x), exp_of_negative::<true>(x)] {
                let error = (value / (-x).exp() - 1.0).abs();
                assert!(error < 2e-15, "{x}: {error:e}");
            }
        }
        assert_eq!(exp_of_negative::<true>(1e9), 0.0);
        assert_eq!(exp_of_negative::<true>(f64::INFINITY), 0.0);
        assert!(exp_of_negative::<true>(f64::NAN).is_nan());
    }

    #[test]
    fn many_predictions_at_once_equal_one_by_one() {
        let at = |i: usize, k: usize| ((i * (2 * k + 3)) as f64 * 0.37).sin() * [1.0, 40.0, 5.0][k];
        let features = |i: usize| vec![at(i, 0), at(i, 1), at(i, 2)];
        let rows: Vec<Row> = (0..33)
            .map(|i| Row {
                features: features(i),
                category: i % 4,
                value: 20.0 + at(i, 0) * 2.0 + (i % 4) as f64,
                variance: 0.01,
            })
            .collect();
        let process = GaussianProcess::fit(&rows, &FitOptions::default()).unwrap();
        let mut points = Points::new(3);
        (0..TILE * TILES_PER_TASK + 77).for_each(|i| points.push(&features(7 * i + 1), i % 6));
        let all = process.predict_all(&points);
        assert_eq!(all.len(), points.len());
        for (i, prediction) in all.iter().enumerate() {
            let one = process.predict(points.features(i), points.category(i));
            assert!((prediction.mean - one.mean).abs() < 1e-9, "{i}: {prediction:?} {one:?}");
            assert!((prediction.sd - one.sd).abs() < 1e-7, "{i}: {prediction:?} {one:?}");
        }
        let mut poisoned = Points::new(3);
        poisoned.push(&[f64::NAN, 0.0, 0.0], 0);
        assert!(process.predict_all(&poisoned)[0].mean.is_nan());
        assert!(process.predict_all(&Points::new(2)).is_empty());
    }
}
