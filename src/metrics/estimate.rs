//! A mean with its standard error, over images and over seeds, and what can be claimed from it.

use super::MetricsError;
use super::special::incomplete_beta;

/// A mean and how well it is known. `mean` and `std_error` have the unit of the figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub std_error: f64,
    /// Degrees of freedom of the standard error, for Student's t; not a whole number if pooled.
    pub degrees_of_freedom: f64,
    /// How many values the mean is over (images, times seeds).
    pub n: u64,
}

impl Estimate {
    /// A mean whose standard error was estimated from `n` values, as a measurement states it.
    pub fn new(mean: f64, std_error: f64, n: u64) -> Self {
        Estimate { mean, std_error, degrees_of_freedom: n.saturating_sub(1).max(1) as f64, n }
    }

    /// The mean of values and its standard error, the sample standard deviation over `√n`.
    ///
    /// # Errors
    /// [`MetricsError::TooFew`] for fewer than two values, [`MetricsError::Value`] for one that is not finite.
    pub fn of_values(values: &[f64]) -> Result<Self, MetricsError> {
        if values.len() < 2 {
            return Err(MetricsError::TooFew { found: values.len(), needed: 2 });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(MetricsError::Value { index, value: values[index] });
        }
        let (mean, variance) = mean_and_variance(values);
        let n = values.len();
        Ok(Estimate::new(mean, (variance / n as f64).sqrt(), n as u64))
    }

    /// The mean over seeds of estimates that were taken **on the same images**.
    ///
    /// Which images were drawn moves all seeds alike, so that part of the error, the mean of the squared standard
    /// errors, does not shrink with the number of seeds; what the seeds add does:
    /// `SE² = mean(SEᵢ²) + var(meanᵢ) / k`, degrees of freedom by Welch and Satterthwaite. A single seed is returned as
    /// it is: how much seeds differ cannot be known from one.
    ///
    /// # Errors
    /// [`MetricsError::TooFew`] if there is no seed.
    pub fn over_seeds(seeds: &[Estimate]) -> Result<Self, MetricsError> {
        let [first, _, ..] = seeds else {
            return seeds.first().copied().ok_or(MetricsError::TooFew { found: 0, needed: 1 });
        };
        let k = seeds.len() as f64;
        let means: Vec<f64> = seeds.iter().map(|seed| seed.mean).collect();
        let (mean, variance) = mean_and_variance(&means);
        let of_images = seeds.iter().map(|seed| seed.std_error.powi(2)).sum::<f64>() / k;
        let image_freedom = seeds.iter().map(|seed| seed.degrees_of_freedom).sum::<f64>() / k;
        let of_seeds = variance / k;
        let total = of_images + of_seeds;
        let spread = of_images.powi(2) / image_freedom + of_seeds.powi(2) / (k - 1.0);
        Ok(Estimate {
            mean,
            std_error: total.sqrt(),
            degrees_of_freedom: if spread > 0.0 { total.powi(2) / spread } else { first.degrees_of_freedom },
            n: seeds.iter().map(|seed| seed.n).sum(),
        })
    }

    /// Upper end of the one-sided Student-t interval: the true mean is below it with this confidence.
    ///
    /// # Errors
    /// [`MetricsError::Probability`] unless `confidence` is strictly between 0 and 1.
    pub fn upper_bound(&self, confidence: f64) -> Result<f64, MetricsError> {
        Ok(self.mean + student_t_quantile(confidence, self.degrees_of_freedom)? * self.std_error)
    }

    /// Lower end of the one-sided Student-t interval: the true mean is above it with this confidence.
    ///
    /// # Errors
    /// As [`upper_bound`](Self::upper_bound).
    pub fn lower_bound(&self, confidence: f64) -> Result<f64, MetricsError> {
        Ok(self.mean - student_t_quantile(confidence, self.degrees_of_freedom)? * self.std_error)
    }
}

/// Share of predictions that equal their label, with its binomial standard error.
///
/// The error uses `(hits + 1) / (n + 2)` for the unknown share (Laplace's rule of succession), so that no finite sample
/// is claimed to be certain; for a share away from 0 and 1 that is `√(p (1 - p) / n)`.
///
/// # Errors
/// [`MetricsError::Mismatch`] if the lengths differ, [`MetricsError::TooFew`] for fewer than two labels.
pub fn accuracy<T: PartialEq>(predictions: &[T], labels: &[T]) -> Result<Estimate, MetricsError> {
    if predictions.len() != labels.len() {
        return Err(MetricsError::Mismatch { left: vec![predictions.len()], right: vec![labels.len()] });
    }
    if labels.len() < 2 {
        return Err(MetricsError::TooFew { found: labels.len(), needed: 2 });
    }
    let n = labels.len() as f64;
    let hits = predictions.iter().zip(labels).filter(|(p, l)| p == l).count() as f64;
    let share = (hits + 1.0) / (n + 2.0);
    let std_error = (share * (1.0 - share) / n).sqrt();
    Ok(Estimate::new(hits / n, std_error, labels.len() as u64))
}

/// Mean and unbiased variance of at least two values.
fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / (n - 1.0))
}

/// Degrees of freedom above this count as this many: there the 95 % quantile is within 2e-6 of a normal distribution's,
/// and far above it rounding would be worse.
const NEARLY_NORMAL: f64 = 1e6;

/// The `t` below which Student's distribution has the given probability.
///
/// # Errors
/// [`MetricsError::Probability`] unless `probability` is strictly between 0 and 1,
/// [`MetricsError::DegreesOfFreedom`] unless they are positive.
pub fn student_t_quantile(probability: f64, degrees_of_freedom: f64) -> Result<f64, MetricsError> {
    if !(probability > 0.0 && probability < 1.0) {
        return Err(MetricsError::Probability(probability));
    }
    if degrees_of_freedom.is_nan() || degrees_of_freedom <= 0.0 {
        return Err(MetricsError::DegreesOfFreedom(degrees_of_freedom));
    }
    let freedom = degrees_of_freedom.min(NEARLY_NORMAL);
    // The distribution is symmetric: find |t|, whose two-sided probability is 2 |p - 1/2|.
    let two_sided = 2.0 * (probability - 0.5).abs();
    let within = |t: f64| incomplete_beta(0.5, freedom / 2.0, t * t / (freedom + t * t));
    let mut high = 1.0;
    while within(high) < two_sided && high < f64::MAX / 4.0 {
        high *= 2.0;
    }
    let mut low = 0.0;
    while high - low > 1e-13 * high {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if within(middle) < two_sided {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(if two_sided == 0.0 { 0.0 } else { high.copysign(probability - 0.5) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_equal_scipy() {
        // scipy.stats.t.ppf(p, df), scipy 1.17
        let golden = [
            (0.95, 1.0, 6.313751514675037),
            (0.95, 2.0, 2.9199855803537242),
            (0.95, 4.0, 2.1318467863266495),
            (0.975, 10.0, 2.228138851986274),
            (0.99, 999.0, 2.330086419039457),
            (0.6, 3.0, 0.2766706623326898),
            (0.5, 7.0, 0.0),
            (0.05, 5.0, -2.015048373333024),
            (0.999, 2.5, 13.82219311086596),
            (0.95, 1e5, 1.6448688647849696),
        ];
        for (probability, freedom, expected) in golden {
            let found = student_t_quantile(probability, freedom).unwrap();
            assert!((found - expected).abs() < 1e-7, "{probability} {freedom}: {found}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for probability in [0.0, 1.0, -1.0, f64::NAN] {
            assert!(student_t_quantile(probability, 3.0).is_err());
        }
        for freedom in [0.0, -1.0, f64::NAN] {
            assert!(student_t_quantile(0.9, freedom).is_err());
        }
    }

    #[test]
    fn seeds_on_the_same_images_do_not_average_the_images_away() {
        // means = np.array([19.8, 20.1, 19.95]); ses = np.array([.09, .1, .095]); n, k = 1000, 3
        // img = (ses**2).mean(); seed = means.var(ddof=1)/k; se = np.sqrt(img + seed)
        // df = se**4/(img**2/(n-1) + seed**2/(k-1)); means.mean() + scipy.stats.t.ppf(.95, df)*se
        let seeds = [(19.8, 0.09), (20.1, 0.1), (19.95, 0.095)];
        let seeds = seeds.map(|(mean, error)| Estimate::new(mean, error, 1000));
        let found = Estimate::over_seeds(&seeds).unwrap();
        assert!((found.mean - 19.95).abs() < 1e-12);
        assert!((found.std_error - 0.1286144108048033).abs() < 1e-12);
        assert!((found.degrees_of_freedom - 9.700725018820547).abs() < 1e-9);
        assert_eq!(found.n, 3000);
        assert!((found.upper_bound(0.95).unwrap() - 20.18384050431335).abs() < 1e-7);
        assert!((found.lower_bound(0.95).unwrap() - 19.71615949568665).abs() < 1e-7);

        assert_eq!(Estimate::over_seeds(&seeds[..1]), Ok(seeds[0]));
        assert!(Estimate::over_seeds(&[]).is_err());
        let exact = Estimate::over_seeds(&[Estimate::new(1.0, 0.0, 5); 3]).unwrap();
        assert_eq!(exact.upper_bound(0.99), Ok(1.0));
    }

    #[test]
    fn accuracy_has_a_binomial_error() {
        let labels = [3_u16; 1000];
        let mut predictions = labels;
        predictions[..400].fill(5);
        let found = accuracy(&predictions, &labels).unwrap();
        assert_eq!(found.mean, 0.6);
        assert!((found.std_error - (0.6 * 0.4 / 1000.0_f64).sqrt()).abs() < 1e-5);
        assert!(accuracy(&labels, &labels).unwrap().std_error > 0.0);
        assert!(accuracy(&labels[1..], &labels).is_err());
        assert!(accuracy::<u16>(&[], &[]).is_err());
    }
}
