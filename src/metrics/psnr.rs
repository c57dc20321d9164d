//! Peak signal-to-noise ratio of images in `[0, 1]`.

use rayon::prelude::*;

use super::{Estimate, Images, MetricsError};

/// PSNR of a perfect reconstruction, dB: mean squared errors below 1e-10 count as 1e-10.
pub const MAX_PSNR: f64 = 100.0;

const SMALLEST_MSE: f64 = 1e-10;

/// PSNR in dB of a mean squared error of images whose peak is 1; NaN for NaN.
pub fn psnr_from_mse(mse: f64) -> f64 {
    // Not `f64::max`, which would turn the NaN of a diverged decoder into a perfect reconstruction.
    let floored = if mse < SMALLEST_MSE { SMALLEST_MSE } else { mse };
    -10.0 * floored.log10()
}

/// Mean squared error of each image over its pixels and channels, the reconstruction clamped to `[0, 1]`.
///
/// # Errors
/// [`MetricsError::Mismatch`] if the shapes differ, [`MetricsError::Range`] if an original leaves `[0, 1]`,
/// [`MetricsError::NotFinite`] if a reconstruction holds a NaN or an infinity.
pub fn mean_squared_errors(reconstructions: &Images<'_>, originals: &Images<'_>) -> Result<Vec<f64>, MetricsError> {
    reconstructions.same_shape(originals)?;
    let values = (originals.height() * originals.width() * originals.channels()) as f64;
    let errors: Vec<_> = (0..originals.count())
        .into_par_iter()
        .map(|image| {
            originals.check_original(image)?;
            reconstructions.check_reconstruction(image)?;
            let rows = reconstructions.rows_of(image).zip(originals.rows_of(image));
            Ok(rows.map(|(row, original)| squared_error(row, original)).sum::<f64>() / values)
        })
        .collect();
    // Collected first, so that of several errors the first image's is always the one reported.
    errors.into_iter().collect()
}

fn squared_error(row: &[f32], original: &[f32]) -> f64 {
    row.iter()
        .zip(original)
        .map(|(&r, &o)| {
            let error = f64::from(r.clamp(0.0, 1.0)) - f64::from(o);
            error * error
        })
        .sum()
}

/// PSNR of each image in dB, from 0 to [`MAX_PSNR`].
///
/// # Errors
/// As [`mean_squared_errors`].
pub fn psnr(reconstructions: &Images<'_>, originals: &Images<'_>) -> Result<Vec<f64>, MetricsError> {
    let errors = mean_squared_errors(reconstructions, originals)?;
    Ok(errors.into_iter().map(psnr_from_mse).collect())
}

/// PSNR of the mean squared error pooled over all images, dB.
///
/// Bad reconstructions weigh more here than in the mean of [`psnr`], so it is never above that mean, typically 0.3 to
/// 0.7 dB lower. The standard error follows from that of the pooled error by the delta method.
///
/// # Errors
/// [`MetricsError::TooFew`] for fewer than two images, [`MetricsError::Value`] for an error that is no number.
pub fn pooled_psnr(mean_squared_errors: &[f64]) -> Result<Estimate, MetricsError> {
    let pooled = Estimate::of_values(mean_squared_errors)?;
    let decibel_per_relative_error = 10.0 / std::f64::consts::LN_10;
    Ok(Estimate {
        mean: psnr_from_mse(pooled.mean),
        std_error: decibel_per_relative_error * pooled.std_error / pooled.mean.max(SMALLEST_MSE),
        ..pooled
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Summary;
    use crate::metrics::ssim::tests::pair;

    fn flat(value: f32, count: usize) -> Vec<f32> {
        vec![value; count * 4 * 4 * 3]
    }

    const SHAPE: [usize; 4] = [2, 4, 4, 3];

    #[test]
    fn equals_the_definition_on_a_smooth_pair() {
        // The script beside `ssim`'s tests: -10·log10(((a - b)**2).mean())
        let (original, reconstruction) = pair();
        let shape = [1, 24, 20, 3];
        let found = psnr(&Images::new(&reconstruction, shape).unwrap(), &Images::new(&original, shape).unwrap());
        assert!((found.unwrap()[0] - 15.338763001103153).abs() < 1e-5);
    }

    #[test]
    fn the_peak_is_one() {
        // An error of 0.1 everywhere is 20 dB; with a peak of 255 it would be 68.13 dB.
        let (original, reconstruction) = (flat(0.5, 2), flat(0.6, 2));
        let found = psnr(&Images::new(&reconstruction, SHAPE).unwrap(), &Images::new(&original, SHAPE).unwrap());
        assert!(found.unwrap().iter().all(|db| (db - 20.0).abs() < 1e-5));
    }

    #[test]
    fn originals_outside_the_unit_range_are_refused() {
        for value in [128.0, -1.7, f32::NAN] {
            let mut original = flat(0.5, 2);
            original[60] = value;
            let images = Images::new(&original, SHAPE).unwrap();
            let error = psnr(&images, &images).unwrap_err();
            assert!(matches!(error, MetricsError::Range { image: 1, .. }), "{error}");
        }
    }

    #[test]
    fn a_diverged_decoder_is_no_perfect_reconstruction() {
        let original = flat(0.5, 2);
        for value in [f32::NAN, f32::INFINITY] {
            let mut reconstruction = original.clone();
            reconstruction[3] = value;
            let error = psnr(&Images::new(&reconstruction, SHAPE).unwrap(), &Images::new(&original, SHAPE).unwrap());
            assert!(matches!(error.unwrap_err(), MetricsError::NotFinite { image: 0, .. }));
        }
        assert!(psnr_from_mse(f64::NAN).is_nan());
    }

    #[test]
    fn reconstructions_are_clamped_and_not_quantised() {
        let original = flat(1.0, 1);
        let shape = [1, 4, 4, 3];
        let score = |value| {
            let reconstruction = flat(value, 1);
            psnr(&Images::new(&reconstruction, shape).unwrap(), &Images::new(&original, shape).unwrap()).unwrap()[0]
        };
        assert_eq!(score(3.0), MAX_PSNR);
        assert!(score(-2.0).abs() < 1e-9);
        // Rounded to bytes 0.999 would be 255/255: a perfect score.
        assert!((score(0.999) - 60.0).abs() < 0.01);
    }

    #[test]
    fn padding_does_not_count() {
        // Four of sixteen pixels are content; the padding is reconstructed perfectly.
        let original = flat(0.0, 1);
        let mut reconstruction = original.clone();
        for (y, x) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            reconstruction[(y * 4 + x) * 3..][..3].fill(0.1);
        }
        let shape = [1, 4, 4, 3];
        let crop = |pixels| Images::new(pixels, shape).unwrap().crop(1..3, 1..3).unwrap();
        let found = psnr(&crop(&reconstruction), &crop(&original)).unwrap();
        assert!((found[0] - 20.0).abs() < 1e-5);
    }

    #[test]
    fn pooled_is_below_the_mean_and_carries_its_error() {
        let errors = [0.01, 0.0001];
        let pooled = pooled_psnr(&errors).unwrap();
        assert!((pooled.mean - psnr_from_mse(0.00505)).abs() < 1e-12);
        let per_image: Vec<f64> = errors.iter().map(|&e| psnr_from_mse(e)).collect();
        assert!(Summary::of(&per_image).unwrap().mean - pooled.mean > 7.0);
        // The standard error of the two errors is 0.00495.
        assert!((pooled.std_error - 4.342944819 * 0.00495 / 0.00505).abs() < 1e-6);
    }
}
