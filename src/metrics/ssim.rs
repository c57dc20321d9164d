//! Structural similarity (Wang, Bovik, Sheikh and Simoncelli, IEEE Transactions on Image Processing 13(4), 2004).

use rayon::prelude::*;

use super::{Images, MetricsError};

const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
/// `(K₁ L)²` and `(K₂ L)²` for `K = (0.01, 0.03)` and a data range `L` of 1.
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;
/// Windowed sums of the reconstruction, the original, their squares and their product.
const MOMENTS: usize = 5;

/// SSIM of each image, the reconstruction clamped to `[0, 1]`: 1 for equal images, about 0 for unrelated ones.
///
/// Gaussian window of 11×11 with σ = 1.5, K = (0.01, 0.03), data range 1, biased covariances, only windows that lie
/// wholly inside the image; per channel, then averaged. That is scikit-image's `structural_similarity` with
/// `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, win_size=11, data_range=1, channel_axis=-1`.
///
/// # Errors
/// [`MetricsError::TooSmall`] if an image is smaller than the window; else as [`mean_squared_errors`](super::mean_squared_errors).
pub fn ssim(reconstructions: &Images<'_>, originals: &Images<'_>) -> Result<Vec<f64>, MetricsError> {
    reconstructions.same_shape(originals)?;
    let (height, width) = (originals.height(), originals.width());
    if height < WINDOW || width < WINDOW {
        return Err(MetricsError::TooSmall { height, width, window: WINDOW });
    }
    let window = gaussian_window();
    let scores: Vec<_> = (0..originals.count())
        .into_par_iter()
        .map_init(Scratch::default, |scratch, image| {
            originals.check_original(image)?;
            reconstructions.check_reconstruction(image)?;
            scratch.load(reconstructions, originals, image);
            Ok(scratch.mean_ssim(&window, width * originals.channels(), originals.channels()))
        })
        .collect();
    scores.into_iter().collect()
}

/// `WINDOW` weights of a Gaussian, summing to 1.
fn gaussian_window() -> [f64; WINDOW] {
    let centre = (WINDOW / 2) as f64;
    let weights: [f64; WINDOW] = std::array::from_fn(|i| {
        let distance = (i as f64 - centre) / SIGMA;
        (-0.5 * distance * distance).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// Buffers of one thread, for one image at a time.
#[derive(Default)]
struct Scratch {
    /// Reconstruction and original, `height × row` values each.
    reconstruction: Vec<f64>,
    original: Vec<f64>,
    /// For one row of windows, each moment summed over the window's rows; `row` values each.
    columns: [Vec<f64>; MOMENTS],
}

impl Scratch {
    fn load(&mut self, reconstructions: &Images<'_>, originals: &Images<'_>, image: usize) {
        self.reconstruction.clear();
        for row in reconstructions.rows_of(image) {
            self.reconstruction.extend(row.iter().map(|&v| f64::from(v.clamp(0.0, 1.0))));
        }
        self.original.clear();
        for row in originals.rows_of(image) {
            self.original.extend(row.iter().map(|&v| f64::from(v)));
        }
    }

    /// The Gaussian is separable: each row of windows is summed over its rows, then along the row.
    fn mean_ssim(&mut self, window: &[f64; WINDOW], row: usize, channels: usize) -> f64 {
        let window_rows = self.original.len() / row - (WINDOW - 1);
        let window_values = row - (WINDOW - 1) * channels;
        let mut total = 0.0;
        for top in 0..window_rows {
            self.sum_rows(window, top, row);
            let mut moments = [[0.0; MOMENTS]; LANES];
            for first in (0..window_values).step_by(LANES) {
                let lanes = LANES.min(window_values - first);
                self.sum_along(window, first, lanes, channels, &mut moments);
                total += moments[..lanes].iter().map(similarity).sum::<f64>();
            }
        }
        total / (window_rows * window_values) as f64
    }

    fn sum_rows(&mut self, window: &[f64; WINDOW], top: usize, row: usize) {
        for column in &mut self.columns {
            column.clear();
            column.resize(row, 0.0);
        }
        let [sum_r, sum_o, sum_rr, sum_oo, sum_ro] = &mut self.columns;
        for (k, &weight) in window.iter().enumerate() {
            let start = (top + k) * row;
            let reconstruction = &self.reconstruction[start..start + row];
            let original = &self.original[start..start + row];
            for i in 0..row {
                let (r, o) = (reconstruction[i], original[i]);
                let (weighted_r, weighted_o) = (weight * r, weight * o);
                sum_r[i] += weighted_r;
                sum_o[i] += weighted_o;
                sum_rr[i] += weighted_r * r;
                sum_oo[i] += weighted_o * o;
                sum_ro[i] += weighted_r * o;
            }
        }
    }

    fn sum_along(
        &self,
        window: &[f64; WINDOW],
        first: usize,
        lanes: usize,
        channels: usize,
        moments: &mut [[f64; MOMENTS]; LANES],
    ) {
        for (moment, column) in self.columns.iter().enumerate() {
            let mut sums = [0.0; LANES];
            for (k, &weight) in window.iter().enumerate() {
                let start = first + k * channels;
                for (sum, &value) in sums.iter_mut().zip(&column[start..start + lanes]) {
                    *sum += weight * value;
                }
            }
            for (lane, sum) in moments.iter_mut().zip(sums) {
                lane[moment] = sum;
            }
        }
    }
}

/// Windows handled at once, so that the compiler can keep their sums in vector registers.
const LANES: usize = 8;

fn similarity(&[mean_r, mean_o, mean_rr, mean_oo, mean_ro]: &[f64; MOMENTS]) -> f64 {
    let variances = (mean_rr - mean_r * mean_r) + (mean_oo - mean_o * mean_o);
    let covariance = mean_ro - mean_r * mean_o;
    ((2.0 * mean_r * mean_o + C1) * (2.0 * covariance + C2))
        / ((mean_r * mean_r + mean_o * mean_o + C1) * (variances + C2))
}

#[cfg(test)]
pub(in crate::metrics) mod tests {
    use super::*;

    // Golden numbers by scikit-image 0.26:
    //
    //   y, x, c = np.meshgrid(np.arange(24), np.arange(20), np.arange(3), indexing="ij")
    //   a = 0.5 + 0.4 * np.sin(0.7 * x + 0.3 * y + c) * np.cos(0.2 * y - 0.1 * x * c)
    //   b = np.clip(0.6 * a + 0.15 + 0.2 * np.sin(1.9 * x - 1.3 * y + 2 * c), 0, 1)
    //   S = partial(structural_similarity, gaussian_weights=True, sigma=1.5, win_size=11,
    //               use_sample_covariance=False, channel_axis=2)
    //   S(a, b, data_range=1)                          0.5472763449497268
    //   S(a[2:22, 3:17], b[2:22, 3:17], data_range=1)  0.5361593336397547
    //   uniform window of 7                            0.6131001284034464
    //   zero padding, all windows                      0.6747761229899553
    //   data range 255                                 0.9989947065962904
    //   d = 0.35 + 0.3 * b
    //   S(a, d, data_range=1)                          0.34235034697737426
    //   S(a, d, data_range=d.max() - d.min())          0.31865491997909806

    /// The pair `a`, `b` of the script.
    pub(in crate::metrics) fn pair() -> (Vec<f32>, Vec<f32>) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for y in 0..24 {
            for x in 0..20 {
                for c in 0..3 {
                    let (y, x, c) = (f64::from(y), f64::from(x), f64::from(c));
                    let wave = (0.7 * x + 0.3 * y + c).sin() * (0.2 * y - 0.1 * x * c).cos();
                    let v = 0.5 + 0.4 * wave;
                    let noise = 0.2 * (1.9 * x - 1.3 * y + 2.0 * c).sin();
                    a.push(v as f32);
                    b.push((0.6 * v + 0.15 + noise).clamp(0.0, 1.0) as f32);
                }
            }
        }
        (a, b)
    }

    const SHAPE: [usize; 4] = [1, 24, 20, 3];

    fn score(reconstruction: &[f32], original: &[f32]) -> f64 {
        let reconstructions = Images::new(reconstruction, SHAPE).unwrap();
        ssim(&reconstructions, &Images::new(original, SHAPE).unwrap()).unwrap()[0]
    }

    #[test]
    fn equals_scikit_image() {
        // A uniform window, zero padding or another data range is off by 0.06 or more.
        let (a, b) = pair();
        assert!((score(&b, &a) - 0.5472763449497268).abs() < 1e-6);
    }

    #[test]
    fn the_data_range_is_not_that_of_the_reconstruction() {
        let (a, b) = pair();
        let dull: Vec<f32> = b.iter().map(|v| 0.35 + 0.3 * v).collect();
        assert!((score(&dull, &a) - 0.34235034697737426).abs() < 1e-6);
    }

    #[test]
    fn a_crop_equals_scikit_image_on_the_crop() {
        let (a, b) = pair();
        let crop = |pixels| Images::new(pixels, SHAPE).unwrap().crop(2..22, 3..17).unwrap();
        let found = ssim(&crop(&b), &crop(&a)).unwrap()[0];
        assert!((found - 0.5361593336397547).abs() < 1e-6);
    }

    #[test]
    fn equal_images_score_one_and_overshoot_is_clamped() {
        let (a, b) = pair();
        assert!((score(&a, &a) - 1.0).abs() < 1e-12);
        let sharp: Vec<f32> = b.iter().map(|v| 3.0 * v - 1.0).collect();
        let clamped: Vec<f32> = sharp.iter().map(|v| v.clamp(0.0, 1.0)).collect();
        assert_eq!(score(&sharp, &a), score(&clamped, &a));
    }

    #[test]
    fn images_smaller_than_the_window_are_refused() {
        let pixels = [0.5; 10 * 20 * 3];
        let images = Images::new(&pixels, [1, 10, 20, 3]).unwrap();
        assert!(matches!(ssim(&images, &images), Err(MetricsError::TooSmall { height: 10, .. })));
    }

    #[test]
    fn images_do_not_disturb_each_other() {
        let (a, b) = pair();
        let both = [a.clone(), b.clone()].concat();
        let swapped = [b.clone(), b.clone()].concat();
        let shape = [2, 24, 20, 3];
        let found = ssim(&Images::new(&swapped, shape).unwrap(), &Images::new(&both, shape).unwrap());
        assert_eq!(found.unwrap(), [score(&b, &a), score(&b, &b)]);
    }
}
