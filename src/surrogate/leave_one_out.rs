//! Leave-one-out diagnostics: may this model be believed?

use super::Prediction;

/// Half width of a central 90 % interval of the standard normal distribution.
const Z_90: f64 = 1.644_853_626_951_472_7;

/// How well each row is predicted from all the others.
#[derive(Debug, Clone)]
pub struct LeaveOneOut {
    /// Prediction of each row's measured value, noise included, in the order of the rows.
    pub predictions: Vec<Prediction>,
    /// Coefficient of determination: 1 − squared errors / squared deviations from the mean. Negative for a model worse
    /// than the mean; 0 by definition for fewer than three rows and for constant targets.
    pub r2: f64,
    /// Root mean squared error, in the target's unit.
    pub rmse: f64,
    /// Fraction of rows inside their central 90 % interval; near 0.9 for a calibrated model.
    pub coverage_90: f64,
    /// Mean of (value − mean) / standard deviation; near 0 for an unbiased model.
    pub mean_standardised_error: f64,
}

impl LeaveOneOut {
    /// Diagnostics of `predictions` of `values`, both of shape `[n]`; all 0 of none.
    pub(super) fn new(predictions: Vec<Prediction>, values: &[f64]) -> Self {
        let n = values.len().max(1) as f64;
        let average = |f: &dyn Fn(&Prediction, f64) -> f64| {
            predictions.iter().zip(values).map(|(prediction, &value)| f(prediction, value)).sum::<f64>() / n
        };
        let mean = values.iter().sum::<f64>() / n;
        let squared_error = average(&|prediction, value| (value - prediction.mean).powi(2));
        let spread = average(&|_, value| (value - mean).powi(2));
        let largest = values.iter().fold(0.0f64, |m, value| m.max(value.abs()));
        // Rounding leaves a spread of about ε² of the magnitude squared in constant targets.
        let varies = values.len() >= 3 && spread.sqrt() > 1e-10 * largest;
        let r2 = if varies { 1.0 - squared_error / spread } else { 0.0 };
        Self {
            r2,
            rmse: squared_error.sqrt(),
            coverage_90: average(&|prediction, value| {
                f64::from(u8::from((value - prediction.mean).abs() <= Z_90 * prediction.sd))
            }),
            mean_standardised_error: average(&|prediction, value| (value - prediction.mean) / prediction.sd),
            predictions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diagnostics_of_three_rows() {
        let predictions = [(1.0, 1.0), (2.0, 0.5), (5.0, 1.0)].map(|(mean, sd)| Prediction { mean, sd }).to_vec();
        let loo = LeaveOneOut::new(predictions, &[1.0, 3.0, 5.0]);
        assert!((loo.r2 - (1.0 - 1.0 / 8.0)).abs() < 1e-12);
        assert!((loo.rmse - (1.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((loo.coverage_90 - 2.0 / 3.0).abs() < 1e-12);
        assert!((loo.mean_standardised_error - 2.0 / 3.0).abs() < 1e-12);
    }
}
