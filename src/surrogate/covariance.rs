//! The covariance function, its hyperparameters and its derivatives, in standardised units.

use super::cholesky::dot;

/// Prior variance of the constant of the mean function, in squared standard deviations of the target.
pub(super) const CONSTANT_VARIANCE: f64 = 10.0;
/// Prior variance of each linear weight: standard deviations of the target per standard deviation of the feature.
pub(super) const WEIGHT_VARIANCE: f64 = 1.0;

/// Least variance of the estimated noise: a thousandth of the target's standard deviation. Keeps noise-free tables well
/// conditioned and never lets a measured design look exactly known.
const NOISE_FLOOR: f64 = 1e-6;

/// A standardised input: the features that vary, and the category.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Input {
    pub(super) x: Vec<f64>,
    pub(super) category: usize,
}

/// Hyperparameters in natural units (standardised features and target).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hyperparameters {
    /// Lengthscale ℓ of each feature, shape `[d]`, in standard deviations of the feature.
    pub(super) lengthscales: Vec<f64>,
    /// Variance s² of the Matérn part.
    pub(super) signal: f64,
    /// Correlation ρ of the Matérn part between different categories, in (0, 1).
    pub(super) correlation: f64,
    /// Variance σ² of the estimated noise.
    pub(super) noise: f64,
}

impl Hyperparameters {
    /// From unconstrained parameters `[ln ℓ₁ … ln ℓ_d, ln s², ln (σ² − floor), logit ρ]`, shape `[d + 3]`.
    pub(super) fn from_unconstrained(theta: &[f64]) -> Self {
        let d = theta.len() - 3;
        Self {
            lengthscales: theta[..d].iter().map(|t| t.exp()).collect(),
            signal: theta[d].exp(),
            noise: NOISE_FLOOR + theta[d + 1].exp(),
            correlation: 1.0 / (1.0 + (-theta[d + 2]).exp()),
        }
    }

    /// Matérn-5/2 correlation at scaled distance `r`, and the factor by which its derivative with respect to `ln ℓᵢ` is
    /// `(Δᵢ / ℓᵢ)²` times it. Rasmussen and Williams, equation 4.17.
    fn matern(r_squared: f64) -> (f64, f64) {
        let t = (5.0 * r_squared).sqrt();
        let decay = (-t).exp();
        ((1.0 + t + t * t / 3.0) * decay, 5.0 / 3.0 * (1.0 + t) * decay)
    }

    /// Squared distance in lengthscales.
    fn distance_squared(&self, a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).zip(&self.lengthscales).map(|((x, y), l)| ((x - y) / l).powi(2)).sum()
    }

    fn between(&self, a: &Input, b: &Input) -> f64 {
        if a.category == b.category { 1.0 } else { self.correlation }
    }

    /// Prior covariance of the noise-free values at two inputs: linear mean and Matérn part.
    pub(super) fn covariance(&self, a: &Input, b: &Input) -> f64 {
        let (matern, _) = Self::matern(self.distance_squared(&a.x, &b.x));
        CONSTANT_VARIANCE + WEIGHT_VARIANCE * dot(&a.x, &b.x) + self.signal * matern * self.between(a, b)
    }

    /// Covariance matrix of noisy values, row-major, shape `[n, n]`; `variances` are the rows' known variances, shape `[n]`.
    pub(super) fn matrix(&self, inputs: &[Input], variances: &[f64]) -> Vec<f64> {
        let n = inputs.len();
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let value = self.covariance(&inputs[i], &inputs[j]);
                matrix[i * n + j] = value;
                matrix[j * n + i] = value;
            }
            matrix[i * n + i] += self.noise + variances[i];
        }
        matrix
    }

    /// `½ Σᵢⱼ weightsᵢⱼ ∂Kᵢⱼ/∂θ` for each unconstrained parameter θ, shape `[d + 3]`.
    ///
    /// `weights` is symmetric, row-major, shape `[n, n]`.
    pub(super) fn contract_gradient(&self, inputs: &[Input], weights: &[f64]) -> Vec<f64> {
        let (n, d) = (inputs.len(), self.lengthscales.len());
        let mut gradient = vec![0.0; d + 3];
        for (i, a) in inputs.iter().enumerate() {
            gradient[d] += 0.5 * weights[i * n + i] * self.signal;
            gradient[d + 1] += 0.5 * weights[i * n + i] * (self.noise - NOISE_FLOOR);
            for (j, b) in inputs[..i].iter().enumerate() {
                let (matern, slope) = Self::matern(self.distance_squared(&a.x, &b.x));
                // Each pair stands for (i, j) and (j, i), which cancels the ½.
                let weight = weights[i * n + j] * self.signal;
                let between = self.between(a, b);
                gradient[d] += weight * matern * between;
                if a.category != b.category {
                    gradient[d + 2] += weight * matern * self.correlation * (1.0 - self.correlation);
                }
                let common = weight * slope * between;
                for (k, l) in self.lengthscales.iter().enumerate() {
                    gradient[k] += common * ((a.x[k] - b.x[k]) / l).powi(2);
                }
            }
        }
        gradient
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matern_is_one_at_zero_and_matches_its_formula_at_one() {
        // numpy: s = 5**.5; (1 + s + 5/3) * exp(-s)  ->  0.52399411...
        let (at_one, _) = Hyperparameters::matern(1.0);
        assert!((at_one - (1.0 + 5f64.sqrt() + 5.0 / 3.0) * (-(5f64.sqrt())).exp()).abs() < 1e-15);
        assert_eq!(Hyperparameters::matern(0.0).0, 1.0);
    }

    #[test]
    fn categories_differ_by_the_correlation_only_in_the_matern_part() {
        let hyper = Hyperparameters::from_unconstrained(&[0.0, 2f64.ln(), 0.01f64.ln(), 0.0]);
        let at = |category| Input { x: vec![0.5], category };
        let same = hyper.covariance(&at(1), &at(1));
        let other = hyper.covariance(&at(1), &at(2));
        assert!((same - (10.0 + 0.25 + 2.0)).abs() < 1e-12);
        assert!((other - (10.0 + 0.25 + 1.0)).abs() < 1e-12);
    }
}
