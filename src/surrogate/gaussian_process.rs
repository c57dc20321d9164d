//! The exact Gaussian process: fitting, predicting, conditioning.

use super::cholesky::{Cholesky, dot};
use super::covariance::{Hyperparameters, Input};
use super::leave_one_out::LeaveOneOut;
use super::standardise::{Scales, check};
use super::{FitOptions, Prediction, Row, SurrogateError, map};

/// An exact Gaussian process over continuous features and one category, fitted to one metric.
///
/// The [module documentation](super) states the model. Fitting costs O(n³) per step of the optimiser, a prediction O(n²).
#[derive(Debug, Clone)]
pub struct GaussianProcess {
    scales: Scales,
    hyper: Hyperparameters,
    /// Standardised inputs, shape `[n]`.
    inputs: Vec<Input>,
    /// Standardised targets, shape `[n]`.
    targets: Vec<f64>,
    /// Known variances in squared standardised units, shape `[n]`.
    variances: Vec<f64>,
    /// Factor of the covariance of the noisy targets.
    factor: Cholesky,
    /// That covariance's inverse times the targets, shape `[n]`.
    alpha: Vec<f64>,
}

impl GaussianProcess {
    /// Fits scales and hyperparameters to `rows`; deterministic for a given seed.
    ///
    /// Any number of rows from one on will do, as will constant targets and repeated designs. A feature with the same
    /// value in all rows is dropped: nothing can be learned of its influence, and predictions ignore it.
    ///
    /// # Errors
    /// [`SurrogateError`] where there is no row, a row has another number of features than the first, a number isn't
    /// finite, or a variance is negative.
    pub fn fit(rows: &[Row], options: &FitOptions) -> Result<Self, SurrogateError> {
        let first = rows.first().ok_or(SurrogateError::NoRows)?;
        check(rows, first.features.len(), 0)?;
        let scales = Scales::fit(rows);
        let (inputs, targets, variances) = standardise(&scales, rows);
        let hyper = map::maximise(&inputs, &targets, &variances, options);
        Self::factorised(scales, hyper, inputs, targets, variances)
    }

    /// A process of given hyperparameters (in standardised units), which are not fitted; `rows` must have been checked.
    #[cfg(test)]
    pub(super) fn with_hyperparameters(rows: &[Row], hyper: Hyperparameters) -> Result<Self, SurrogateError> {
        let scales = Scales::fit(rows);
        let (inputs, targets, variances) = standardise(&scales, rows);
        Self::factorised(scales, hyper, inputs, targets, variances)
    }

    fn factorised(
        scales: Scales,
        hyper: Hyperparameters,
        inputs: Vec<Input>,
        targets: Vec<f64>,
        variances: Vec<f64>,
    ) -> Result<Self, SurrogateError> {
        let n = inputs.len();
        let factor = Cholesky::with_jitter(&hyper.matrix(&inputs, &variances), n)
            .ok_or(SurrogateError::NotPositiveDefinite { rows: n })?;
        let alpha = factor.solve(&targets);
        Ok(Self { scales, hyper, inputs, targets, variances, factor, alpha })
    }

    /// Posterior of the noise-free value at `features`, shape `[d]`, of a design of `category`.
    ///
    /// A category that no row has is correlated with all others by the fitted ρ, so that its prediction follows the
    /// linear mean with a wide standard deviation. Mean and standard deviation are NaN where `features` has another
    /// length than the rows or holds a NaN, which the solver reports with the candidate's index.
    pub fn predict(&self, features: &[f64], category: usize) -> Prediction {
        let Some(x) = self.scales.features(features) else {
            return Prediction { mean: f64::NAN, sd: f64::NAN };
        };
        let input = Input { x, category };
        let mut cross: Vec<f64> = self.inputs.iter().map(|row| self.hyper.covariance(row, &input)).collect();
        let mean = dot(&cross, &self.alpha);
        self.factor.solve_lower(&mut cross);
        let variance = self.hyper.covariance(&input, &input) - dot(&cross, &cross);
        let scale = self.scales.target;
        // `f64::max` would turn NaN into zero, that is: into certainty.
        let variance = if variance < 0.0 { 0.0 } else { variance };
        Prediction { mean: scale.mean + scale.sd * mean, sd: scale.sd * variance.sqrt() }
    }

    /// Correlation, by what is known so far, between the noise-free value at `target` and one measurement, noise included, at
    /// `source`; both of shape `[d]` and of one category.
    ///
    /// Its square is the share of the doubt about the target that the measurement would remove: what a cheap measurement of a
    /// design tells of an expensive one, where fidelity is among the features. 0 where nothing is left to be learnt, or a
    /// feature is NaN or missing.
    pub fn correlation(&self, source: &[f64], target: &[f64], category: usize) -> f64 {
        let input = |features| self.scales.features(features).map(|x| Input { x, category });
        let (Some(source), Some(target)) = (input(source), input(target)) else {
            return 0.0;
        };
        let known = |input: &Input| {
            let mut cross: Vec<f64> = self.inputs.iter().map(|row| self.hyper.covariance(row, input)).collect();
            self.factor.solve_lower(&mut cross);
            cross
        };
        let (by_source, by_target) = (known(&source), known(&target));
        let left = |a: &Input, b: &Input, x: &[f64], y: &[f64]| self.hyper.covariance(a, b) - dot(x, y);
        let shared = left(&source, &target, &by_source, &by_target);
        let source = left(&source, &source, &by_source, &by_source) + self.hyper.noise;
        let target = left(&target, &target, &by_target, &by_target);
        let correlation = shared / (source * target).sqrt();
        if correlation.is_finite() { correlation.clamp(-1.0, 1.0) } else { 0.0 }
    }

    pub(super) fn scales(&self) -> &Scales {
        &self.scales
    }

    pub(super) fn hyper(&self) -> &Hyperparameters {
        &self.hyper
    }

    pub(super) fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    pub(super) fn alpha(&self) -> &[f64] {
        &self.alpha
    }

    pub(super) fn factor(&self) -> &Cholesky {
        &self.factor
    }

    /// Standard deviation of the estimated noise, in the target's unit; the rows' known variances come on top.
    pub fn noise_sd(&self) -> f64 {
        self.scales.target.sd * self.hyper.noise.sqrt()
    }

    /// Closed-form leave-one-out predictions and what they say of the model.
    ///
    /// Row i is predicted by a process of the same scales and hyperparameters that has seen all other rows:
    /// `μᵢ = yᵢ − αᵢ / K⁻¹ᵢᵢ`, `σᵢ² = 1 / K⁻¹ᵢᵢ` (Rasmussen and Williams, equation 5.12).
    pub fn leave_one_out(&self) -> LeaveOneOut {
        self.leave_one_out_of(self.targets.len())
    }

    /// The same of the first `count` rows only, each predicted from all others, those behind them included: how well the
    /// measurements that matter are predicted with the help of cheaper ones.
    pub fn leave_one_out_of(&self, count: usize) -> LeaveOneOut {
        let (n, scale) = (self.targets.len(), self.scales.target);
        let inverse = self.factor.inverse();
        let counted = count.min(n);
        let predictions = (0..counted)
            .map(|i| {
                let precision = inverse[i * n + i];
                Prediction {
                    mean: scale.mean + scale.sd * (self.targets[i] - self.alpha[i] / precision),
                    sd: scale.sd / precision.sqrt(),
                }
            })
            .collect();
        let values: Vec<f64> = self.targets[..counted].iter().map(|target| scale.mean + scale.sd * target).collect();
        LeaveOneOut::new(predictions, &values)
    }

    /// The process after one more row, with the same scales and hyperparameters.
    ///
    /// With the process's own prediction as the row's value this is the Kriging believer, by which several designs are
    /// proposed at once (Ginsbourger, Le Riche and Carraro, 2010).
    ///
    /// # Errors
    /// As for [`fit`](Self::fit), of the added row.
    pub fn condition(&self, row: Row) -> Result<Self, SurrogateError> {
        let rows = [row];
        check(&rows, self.scales.width, self.inputs.len())?;
        let (inputs, targets, variances) = standardise(&self.scales, &rows);
        Self::factorised(
            self.scales.clone(),
            self.hyper.clone(),
            [&self.inputs[..], &inputs].concat(),
            [&self.targets[..], &targets].concat(),
            [&self.variances[..], &variances].concat(),
        )
    }
}

/// Inputs, targets and variances in standardised units; the rows have been checked to be as wide as `scales`.
fn standardise(scales: &Scales, rows: &[Row]) -> (Vec<Input>, Vec<f64>, Vec<f64>) {
    let inputs = rows
        .iter()
        .map(|row| Input { x: scales.features(&row.features).unwrap_or_default(), category: row.category })
        .collect();
    let targets = rows.iter().map(|row| scales.target.apply(row.value)).collect();
    let variances = rows.iter().map(|row| row.variance / scales.target.sd / scales.target.sd).collect();
    (inputs, targets, variances)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    fn row(features: &[f64], category: usize, value: f64, variance: f64) -> Row {
        Row { features: features.to_vec(), category, value, variance }
    }

    fn fit(rows: &[Row]) -> GaussianProcess {
        GaussianProcess::fit(rows, &FitOptions::default()).unwrap()
    }

    fn six_rows() -> Vec<Row> {
        vec![
            row(&[1.0, 10.0], 0, 1.0, 0.0),
            row(&[2.0, 30.0], 0, 2.5, 0.01),
            row(&[4.0, 20.0], 1, 3.0, 0.0),
            row(&[3.0, 50.0], 1, 2.0, 0.04),
            row(&[6.0, 40.0], 2, 4.5, 0.01),
            row(&[5.0, 10.0], 0, 3.5, 0.0),
        ]
    }

    fn fixed() -> Hyperparameters {
        Hyperparameters { lengthscales: vec![0.8, 1.7], signal: 0.6, correlation: 0.3, noise: 0.02 }
    }

    /// Uniform in [−1, 1).
    fn symmetric(rng: &mut ChaCha8Rng) -> f64 {
        (rng.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Golden values of
    ///
    /// ```python
    /// import numpy as np
    /// X = np.array([[1, 10], [2, 30], [4, 20], [3, 50], [6, 40], [5, 10.0]])
    /// c = np.array([0, 0, 1, 1, 2, 0])
    /// y = np.array([1, 2.5, 3, 2, 4.5, 3.5])
    /// v = np.array([0, 0.01, 0, 0.04, 0.01, 0])
    /// l, s2, rho, noise = np.array([0.8, 1.7]), 0.6, 0.3, 0.02
    /// m, s = X.mean(0), X.std(0)
    /// ym, ys = y.mean(), y.std()
    ///
    /// def k(A, ca, B, cb):
    ///     A, B = (A - m) / s, (B - m) / s
    ///     r = np.sqrt(5 * ((A[:, None] - B[None]) ** 2 / l**2).sum(-1))
    ///     between = np.where(ca[:, None] == cb[None], 1, rho)
    ///     return 10 + A @ B.T + s2 * (1 + r + r * r / 3) * np.exp(-r) * between
    ///
    /// K = k(X, c, X, c) + np.diag(noise + v / ys**2)
    /// P, q = np.array([[2.5, 20], [8, 60], [4, 20.0]]), np.array([1, 7, 1])
    /// C = k(P, q, X, c)
    /// mean = ym + ys * C @ np.linalg.solve(K, (y - ym) / ys)
    /// var = np.diag(k(P, q, P, q) - C @ np.linalg.solve(K, C.T))
    /// print(*(f"({a:.14}, {b:.14})," for a, b in zip(mean, ys * np.sqrt(var))))
    /// ```
    #[test]
    fn posterior_equals_numpy_at_fixed_hyperparameters() {
        let process = GaussianProcess::with_hyperparameters(&six_rows(), fixed()).unwrap();
        let golden = [
            (2.0729669325813, 0.76133602892107),
            (5.5330140293675, 1.4094796060243),
            (2.9939528437733, 0.154351602155),
        ];
        let queries = [([2.5, 20.0], 1), ([8.0, 60.0], 7), ([4.0, 20.0], 1)];
        for ((features, category), (mean, sd)) in queries.into_iter().zip(golden) {
            let prediction = process.predict(&features, category);
            assert!((prediction.mean - mean).abs() < 1e-8, "{prediction:?}");
            assert!((prediction.sd - sd).abs() < 1e-8, "{prediction:?}");
        }
    }

    #[test]
    fn correlation_is_the_root_of_the_doubt_that_a_measurement_removes() {
        let process = GaussianProcess::with_hyperparameters(&six_rows(), fixed()).unwrap();
        let (source, target) = ([2.5, 25.0], [3.0, 20.0]);
        let correlation = process.correlation(&source, &target, 1);
        let (before, known) = (process.predict(&target, 1), process.predict(&source, 1));
        let after = process.condition(row(&source, 1, known.mean, 0.0)).unwrap().predict(&target, 1);
        let removed = 1.0 - (after.sd / before.sd).powi(2);
        assert!(correlation > 0.5 && (correlation * correlation - removed).abs() < 1e-9, "{correlation}, {removed}");
        // A second measurement of the same design tells less.
        let again = process.condition(row(&source, 1, known.mean, 0.0)).unwrap().correlation(&source, &target, 1);
        assert!(again < 0.8 * correlation, "{again}");
        assert_eq!(process.correlation(&[1.0], &target, 1), 0.0);
    }

    #[test]
    fn cheap_rows_help_to_predict_the_ones_that_are_judged() {
        // A function without any trend, measured at fidelity −1 with an offset, at 0 only here and there.
        let truth = |x: f64| 4.0 * (3.0 * x).sin();
        let at = |i: u32| f64::from(i) / 6.0;
        let full: Vec<Row> = (0..18).step_by(3).map(|i| row(&[at(i), 0.0], 0, truth(at(i)), 0.0)).collect();
        let cheap = (0..18).map(|i| row(&[at(i), -1.0], 0, truth(at(i)) - 2.0 + 0.2 * at(i), 0.0));
        let both: Vec<Row> = full.iter().cloned().chain(cheap).collect();
        let (alone, helped) = (fit(&full).leave_one_out(), fit(&both).leave_one_out_of(full.len()));
        assert_eq!(helped.predictions.len(), full.len());
        assert!(helped.r2 > 0.95 && alone.r2 < 0.5, "{} {}", helped.r2, alone.r2);
    }

    #[test]
    fn closed_form_leave_one_out_equals_leaving_rows_out() {
        let rows = six_rows();
        let process = GaussianProcess::with_hyperparameters(&rows, fixed()).unwrap();
        let loo = process.leave_one_out();
        let scales = Scales::fit(&rows);
        for (i, left_out) in rows.iter().enumerate() {
            let mut rest = rows.clone();
            rest.remove(i);
            let (inputs, targets, variances) = standardise(&scales, &rest);
            let without = GaussianProcess::factorised(scales.clone(), fixed(), inputs, targets, variances).unwrap();
            let latent = without.predict(&left_out.features, left_out.category);
            let noise = without.noise_sd().powi(2) + left_out.variance;
            let sd = (latent.sd.powi(2) + noise).sqrt();
            assert!((loo.predictions[i].mean - latent.mean).abs() < 1e-10);
            assert!((loo.predictions[i].sd - sd).abs() < 1e-10);
        }
    }

    #[test]
    fn conditioning_equals_fitting_the_longer_table_at_fixed_hyperparameters() {
        let rows = six_rows();
        let scales = Scales::fit(&rows);
        let (inputs, targets, variances) = standardise(&scales, &rows[..5]);
        let five = GaussianProcess::factorised(scales, fixed(), inputs, targets, variances).unwrap();
        let six = GaussianProcess::with_hyperparameters(&rows, fixed()).unwrap();
        let conditioned = five.condition(rows[5].clone()).unwrap();
        let query = (&[4.5, 22.0], 2);
        let (a, b) = (conditioned.predict(query.0, query.1), six.predict(query.0, query.1));
        assert!((a.mean - b.mean).abs() < 1e-12 && (a.sd - b.sd).abs() < 1e-12);
        assert!(a.sd < five.predict(query.0, query.1).sd);

        let short = six.condition(row(&[1.0], 0, 1.0, 0.0)).unwrap_err();
        assert_eq!(short, SurrogateError::FeatureCount { row: 6, expected: 2, found: 1 });
    }

    #[test]
    fn recovers_a_noisy_smooth_function_and_is_calibrated() {
        let truth = |x: &[f64]| 20.0 + 3.0 * (2.0 * x[0]).sin() + 2.0 * x[1];
        for seed in 0..5 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let rows: Vec<Row> = (0..25)
                .map(|i| {
                    let x = [symmetric(&mut rng), symmetric(&mut rng), symmetric(&mut rng)];
                    // Uniform noise of standard deviation 0.2.
                    let noise = 0.2 * 3f64.sqrt() * symmetric(&mut rng);
                    row(&x, i % 2, truth(&x) + noise, 0.0)
                })
                .collect();
            let process = fit(&rows);
            let (mut error, mut spread, mut inside) = (0.0, 0.0, 0);
            for _ in 0..200 {
                let x = [symmetric(&mut rng), symmetric(&mut rng), symmetric(&mut rng)];
                let prediction = process.predict(&x, 0);
                error += (prediction.mean - truth(&x)).powi(2);
                spread += (truth(&x) - 20.0).powi(2);
                inside += i32::from((prediction.mean - truth(&x)).abs() < 3.0 * prediction.sd);
            }
            let r2 = 1.0 - error / spread;
            assert!(r2 > 0.9, "seed {seed}: R² {r2}");
            assert!(inside >= 180, "seed {seed}: {inside} of 200 within 3 sd");
            let noise = process.noise_sd();
            assert!((0.08..0.4).contains(&noise), "seed {seed}: noise {noise}");
            let loo = process.leave_one_out();
            assert!(loo.r2 > 0.9, "seed {seed}: {loo:?}");
            assert!(loo.coverage_90 > 0.7 && loo.mean_standardised_error.abs() < 0.5);
        }
    }

    #[test]
    fn pure_noise_earns_no_r2() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let rows: Vec<Row> = (0..40)
            .map(|i| {
                let x = [symmetric(&mut rng), symmetric(&mut rng)];
                row(&x, i % 3, symmetric(&mut rng), 0.0)
            })
            .collect();
        let loo = fit(&rows).leave_one_out();
        assert!(loo.r2 < 0.2, "{}", loo.r2);
    }

    #[test]
    fn known_variances_are_not_estimated_a_second_time() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let rows = |variance: f64, rng: &mut ChaCha8Rng| -> Vec<Row> {
            (0..40)
                .map(|i| {
                    let x = f64::from(i) / 20.0 - 1.0;
                    let noise = 0.5 * 3f64.sqrt() * symmetric(rng);
                    row(&[x], 0, (3.0 * x).sin() + noise, variance)
                })
                .collect()
        };
        let unknown = fit(&rows(0.0, &mut rng)).noise_sd();
        let known = fit(&rows(0.25, &mut rng)).noise_sd();
        assert!(unknown > 0.3 && known < 0.5 * unknown, "{unknown}, {known}");
    }

    #[test]
    fn few_constant_and_repeated_rows_predict_finite_numbers() {
        let tables = [
            vec![row(&[1.0], 3, 7.0, 0.0)],
            vec![row(&[1.0], 3, 7.0, 0.0), row(&[2.0], 4, 9.0, 0.1)],
            vec![row(&[1.0], 3, 7.0, 0.0); 3],
            vec![row(&[], 0, 1.0, 0.0), row(&[], 0, 2.0, 0.0)],
            (0..5).map(|i| row(&[f64::from(i)], 0, -4.0, 0.0)).collect(),
            // Every row twice, without noise.
            (0..20).map(|i| row(&[f64::from(i / 2)], 0, f64::from(i / 2), 0.0)).collect(),
            // Two features that are the same, and huge units.
            (0..12).map(|i| row(&[1e12 * f64::from(i); 2], i as usize, 1e-9 * f64::from(i), 0.0)).collect(),
            // A variance next to which the values don't differ.
            vec![row(&[1.0], 0, 1.0, 1e12), row(&[2.0], 0, 1.0 + 1e-6, 1e12)],
        ];
        for (index, rows) in tables.iter().enumerate() {
            let process = fit(rows);
            let far: Vec<f64> = rows[0].features.iter().map(|x| 3.0 * x + 1.0).collect();
            for prediction in [process.predict(&rows[0].features, rows[0].category), process.predict(&far, 999)] {
                let finite = prediction.mean.is_finite() && prediction.sd.is_finite();
                assert!(finite && prediction.sd > 0.0, "table {index}: {prediction:?}");
            }
            let loo = process.leave_one_out();
            for number in [loo.r2, loo.rmse, loo.coverage_90, loo.mean_standardised_error] {
                assert!(number.is_finite(), "table {index}: {loo:?}");
            }
            assert!(process.condition(rows[0].clone()).is_ok(), "table {index}");
        }
        assert_eq!(fit(&tables[1]).leave_one_out().r2, 0.0);
        assert_eq!(fit(&tables[4]).leave_one_out().r2, 0.0);
    }

    #[test]
    fn an_unseen_category_and_extrapolation_are_less_certain_and_follow_the_trend() {
        let rows: Vec<Row> = (0..24)
            .map(|i| {
                let (x, category) = (f64::from(i % 8), i as usize / 8);
                let shift = [0.0, 1.5, -1.5][category];
                row(&[x], category, 2.0 * x + shift, 0.0)
            })
            .collect();
        let process = fit(&rows);
        let (seen, unseen) = (process.predict(&[3.5], 0), process.predict(&[3.5], 8));
        assert!((seen.mean - 7.0).abs() < 0.3, "{seen:?}");
        assert!((unseen.mean - 7.0).abs() < 2.0, "{unseen:?}");
        assert!(unseen.sd > 3.0 * seen.sd, "{seen:?} {unseen:?}");
        let (far, farther) = (process.predict(&[14.0], 0), process.predict(&[28.0], 0));
        assert!((far.mean - 28.0).abs() < 4.0, "{far:?}");
        assert!(farther.sd > far.sd && far.sd > seen.sd, "{seen:?} {far:?} {farther:?}");
    }

    #[test]
    fn bad_input_is_an_error_or_nan_and_never_a_panic() {
        let options = FitOptions::default();
        assert_eq!(GaussianProcess::fit(&[], &options).unwrap_err(), SurrogateError::NoRows);
        let ragged = [row(&[1.0], 0, 1.0, 0.0), row(&[], 0, 1.0, 0.0)];
        assert!(GaussianProcess::fit(&ragged, &options).is_err());
        let process = fit(&six_rows());
        assert!(process.predict(&[1.0], 0).mean.is_nan());
        let poisoned = process.predict(&[1.0, f64::NAN], 0);
        assert!(poisoned.mean.is_nan() && poisoned.sd.is_nan());
    }

    #[test]
    fn the_same_seed_gives_the_same_model_and_sixty_rows_are_quick() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let rows: Vec<Row> = (0..60)
            .map(|i| {
                let x: Vec<f64> = (0..8).map(|_| symmetric(&mut rng)).collect();
                let value = (2.0 * x[0]).sin() + x[1] * x[2] + 0.1 * symmetric(&mut rng);
                row(&x, i % 5, value, 0.001)
            })
            .collect();
        let start = std::time::Instant::now();
        let process = fit(&rows);
        let seconds = start.elapsed().as_secs_f64();
        // Some 0.05 s on an idle core; the margin is for busy machines and unoptimised builds.
        assert!(seconds < 5.0, "{seconds} s");
        let again = fit(&rows);
        assert_eq!(process.predict(&rows[3].features, 9), again.predict(&rows[3].features, 9));
    }
}
