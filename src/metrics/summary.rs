//! Mean, tail and extremes of one figure over the images of a set.

use super::special::incomplete_beta;
use super::{Estimate, MetricsError};

/// What one figure (PSNR in dB, SSIM, …) is over a set of images. All fields but `n` have the figure's unit.
///
/// The mean alone hides a tail: some images may leak far more than the average one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Number of images.
    pub n: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard error of the mean over images.
    pub std_error: f64,
    /// 95th percentile, by linear interpolation of order statistics.
    pub p95: f64,
    /// Standard error of the 95th percentile (Maritz and Jarrett 1978).
    pub p95_std_error: f64,
    /// Largest value.
    pub max: f64,
    /// Smallest value.
    pub min: f64,
}

impl Summary {
    /// Summarises one value per image.
    ///
    /// # Errors
    /// [`MetricsError::TooFew`] for fewer than two values, [`MetricsError::Value`] for one that is not finite.
    pub fn of(values: &[f64]) -> Result<Self, MetricsError> {
        let Estimate { mean, std_error, n, .. } = Estimate::of_values(values)?;
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        Ok(Summary {
            n,
            mean,
            std_error,
            p95: quantile(&sorted, 0.95)?,
            p95_std_error: quantile_std_error(&sorted, 0.95),
            max: sorted[sorted.len() - 1],
            min: sorted[0],
        })
    }
}

/// Quantile of ascending values at `probability` in `[0, 1]`, interpolated linearly as `numpy.quantile` does.
///
/// # Errors
/// [`MetricsError::TooFew`] if there are none, [`MetricsError::Probability`] outside `[0, 1]`.
pub fn quantile(sorted: &[f64], probability: f64) -> Result<f64, MetricsError> {
    let Some(last) = sorted.len().checked_sub(1) else {
        return Err(MetricsError::TooFew { found: 0, needed: 1 });
    };
    if !(0.0..=1.0).contains(&probability) {
        return Err(MetricsError::Probability(probability));
    }
    let position = probability * last as f64;
    let below = position as usize;
    let above = (below + 1).min(last);
    Ok(sorted[below] + (position - below as f64) * (sorted[above] - sorted[below]))
}

/// Values from which [`quantile_upper`] exists: with fewer, even the largest lies below the quantile with a chance of more than
/// `error_rate`. Both are in `(0, 1)`.
pub fn values_for_upper(probability: f64, error_rate: f64) -> usize {
    (error_rate.ln() / probability.ln()).ceil() as usize
}

/// Distribution-free upper confidence limit of the quantile at `probability`: the smallest order statistic that lies
/// below the true quantile with a chance of at most `error_rate`, whatever the values' distribution; `None` where even
/// the largest value may, for which `n ≥ ln(error_rate) / ln(probability)` values are needed.
///
/// # Errors
/// [`MetricsError::Probability`] for either outside `(0, 1)`, [`MetricsError::Value`] for a value that is not finite.
pub fn quantile_upper(values: &[f64], probability: f64, error_rate: f64) -> Result<Option<f64>, MetricsError> {
    for p in [probability, error_rate] {
        if !(p > 0.0 && p < 1.0) {
            return Err(MetricsError::Probability(p));
        }
    }
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(MetricsError::Value { index, value: values[index] });
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    // The k-th value is below the quantile when at least k values are: P(Bin(n, p) ≥ k) = I_p(k, n − k + 1).
    let exceeds = |k: usize| incomplete_beta(k as f64, (n - k + 1) as f64, probability) > error_rate;
    let (mut low, mut high) = (0, n + 1);
    while low + 1 < high {
        let k = low.midpoint(high);
        if exceeds(k) { low = k } else { high = k }
    }
    Ok(sorted.get(high.wrapping_sub(1)).copied())
}

/// Maritz-Jarrett standard error of a quantile: the standard deviation that the nearest order statistic has when each
/// uniform order statistic is mapped through the empirical distribution.
///
/// Maritz and Jarrett, "A note on estimating the variance of the sample median", JASA 73 (1978).
fn quantile_std_error(sorted: &[f64], probability: f64) -> f64 {
    let n = sorted.len() as f64;
    let rank = (n * probability + 0.5).floor().clamp(1.0, n);
    let (mut mean, mut mean_square, mut below) = (0.0, 0.0, 0.0);
    // Measured from the largest value, lest the difference of squares cancels.
    let origin = sorted[sorted.len() - 1];
    for (i, value) in sorted.iter().enumerate() {
        let up_to = incomplete_beta(rank, n - rank + 1.0, (i + 1) as f64 / n);
        let weight = up_to - below;
        let offset = value - origin;
        mean += weight * offset;
        mean_square += weight * offset * offset;
        below = up_to;
    }
    (mean_square - mean * mean).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-10 * expected.abs().max(1.0), "{found} {expected}");
    }

    #[test]
    fn equals_numpy_and_the_beta_weights() {
        // v = np.array([((i*37) % 101)/10 + (i % 7)**2/5 for i in range(40)]); s = np.sort(v); n, p = 40, .95
        // v.mean(), v.std(ddof=1)/np.sqrt(n), np.quantile(v, p)
        // m = int(n*p + .5); i = np.arange(1, n+1)
        // w = scipy.special.betainc(m, n-m+1, i/n) - scipy.special.betainc(m, n-m+1, (i-1)/n)
        // np.sqrt((w*s*s).sum() - (w*s).sum()**2)
        let values: Vec<f64> =
            (0..40).map(|i| f64::from((i * 37) % 101) / 10.0 + f64::from((i % 7) * (i % 7)) / 5.0).collect();
        let found = Summary::of(&values).unwrap();
        assert_eq!(found.n, 40);
        close(found.mean, 7.41);
        close(found.std_error, 0.6258307299614669);
        close(found.p95, 14.71);
        close(found.p95_std_error, 1.5367050125700448);
        assert_eq!((found.max, found.min), (16.2, 0.0));
    }

    #[test]
    fn a_tail_shows_beside_the_mean() {
        // 94 images at 14 dB and six at 25 dB: the mean says "nothing leaks".
        let values: Vec<f64> = (0..100).map(|i| if i % 17 == 0 { 25.0 } else { 14.0 }).collect();
        let found = Summary::of(&values).unwrap();
        assert!(found.mean < 15.0 && found.p95 == 25.0 && found.max == 25.0);
    }

    #[test]
    fn a_mean_without_an_error_is_refused() {
        assert_eq!(Summary::of(&[1.0]), Err(MetricsError::TooFew { found: 1, needed: 2 }));
        assert!(matches!(Summary::of(&[1.0, f64::NAN, 2.0]), Err(MetricsError::Value { index: 1, .. })));
    }

    #[test]
    fn the_upper_limit_of_a_quantile_is_an_order_statistic() {
        // from scipy.stats import binom; min(k for k in range(n + 2) if binom.sf(k - 1, n, .95) <= a)
        let ranks = |n: u32| (1..=n).map(f64::from).collect::<Vec<_>>();
        for (n, error_rate, k) in [(1000, 0.05 / 6.0, 967.0), (1000, 0.05, 962.0), (200, 0.05 / 6.0, 198.0)] {
            assert_eq!(quantile_upper(&ranks(n), 0.95, error_rate), Ok(Some(k)));
        }
        // 0.95⁹³ > 0.05/6 > 0.95⁹⁴
        assert_eq!(quantile_upper(&ranks(93), 0.95, 0.05 / 6.0), Ok(None));
        assert_eq!(quantile_upper(&ranks(94), 0.95, 0.05 / 6.0), Ok(Some(94.0)));
        assert_eq!(quantile_upper(&[], 0.95, 0.05), Ok(None));
        assert!(quantile_upper(&[1.0], 0.95, 0.0).is_err() && quantile_upper(&[f64::NAN], 0.95, 0.1).is_err());
    }

    #[test]
    fn quantiles_interpolate_and_refuse_nonsense() {
        close(quantile(&[1.0, 2.0, 4.0], 0.75).unwrap(), 3.0);
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 1.0), Ok(4.0));
        assert_eq!(quantile(&[7.0], 0.3), Ok(7.0));
        assert!(quantile(&[], 0.5).is_err());
        assert!(quantile(&[1.0], 1.5).is_err());
        assert!(quantile(&[1.0], f64::NAN).is_err());
    }
}
