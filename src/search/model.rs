//! The predictive models of a study: one Gaussian process per figure, and what verification adds to it.

use serde::{Deserialize, Serialize};

use super::beliefs::{Belief, Beliefs};
use super::level::Level;
use crate::config::Objective;
use crate::measurement::{Evaluation, Measurement, Metric, Outcome};
use crate::protocol::Plan;
use crate::space::Candidate;
use crate::surrogate::{FitOptions, GaussianProcess, LeaveOneOut, Points, Prediction, Row, SurrogateError};
use crate::verify::{MetricBound, Verdict};

/// Figures that are modelled, whether bounded or not.
const MODELLED: [Metric; 5] = [Metric::Accuracy, Metric::PsnrMean, Metric::PsnrP95, Metric::PsnrMax, Metric::SsimMean];

/// A model whose leave-one-out R² is lower has learnt nothing: only measured designs are then believed.
const TRUSTED_R2: f64 = 0.1;

/// Accuracy is modelled in logits, so that predictions stay between 0 and 1.
pub(super) fn to_logit(p: f64) -> f64 {
    let p = p.clamp(1e-4, 1.0 - 1e-4);
    (p / (1.0 - p)).ln()
}

/// The inverse of [`to_logit`].
pub(super) fn from_logit(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A predicted figure on its natural scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PredictedFigure {
    /// Which figure.
    pub metric: Metric,
    /// Posterior mean (median, for the accuracy).
    pub value: f64,
    /// Posterior standard deviation (by the delta method, for the accuracy).
    pub sd: f64,
}

/// How well a model predicts what it has not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Which figure.
    pub metric: Metric,
    /// Measured values, on the natural scale.
    pub measured: Vec<f64>,
    /// Leave-one-out predictions of them, with their standard deviations.
    pub predicted: Vec<(f64, f64)>,
    /// Leave-one-out R².
    pub r2: f64,
    /// Leave-one-out root mean squared error, on the natural scale.
    pub rmse: f64,
    /// Share of measured values inside their 90 % interval.
    pub coverage_90: f64,
}

/// One Gaussian process per figure.
#[derive(Debug, Clone)]
pub struct Models {
    processes: Vec<(Metric, GaussianProcess)>,
    diagnostics: Vec<Diagnostics>,
}

/// The value and the variance that are modelled for a row.
fn modelled(row: &Measurement) -> (f64, f64) {
    let variance = row.std_error * row.std_error;
    match row.metric {
        Metric::Accuracy => {
            let p = row.value.clamp(0.01, 0.99);
            let slope = 1.0 / (p * (1.0 - p));
            (to_logit(row.value), variance * slope * slope)
        }
        _ => (row.value, variance),
    }
}

/// A prediction of `metric` on its natural scale.
fn natural(metric: Metric, prediction: Prediction) -> (f64, f64) {
    match metric {
        Metric::Accuracy => {
            let p = from_logit(prediction.mean);
            (p, prediction.sd * p * (1.0 - p))
        }
        _ => (prediction.mean, prediction.sd),
    }
}

/// No design yet; each will be described as the models see it.
pub(super) fn points() -> Points {
    Points::new(Candidate::FEATURES.len() + 1)
}

/// Adds a candidate, as what a full measurement of it would be.
pub(super) fn push(points: &mut Points, candidate: &Candidate) {
    points.push(&Level::Full.of(&candidate.features()), candidate.split_index);
}

impl Models {
    /// Fits every modelled figure and every bounded one to the measured designs: those measured in full first, then those
    /// that were screened.
    ///
    /// # Errors
    /// [`SurrogateError`] where a fit is impossible (no rows, not a number).
    pub(super) fn fit(
        measured: &[(&Candidate, Level, &Evaluation)],
        bounds: &[MetricBound],
        seed: u64,
    ) -> Result<Self, SurrogateError> {
        let mut metrics = MODELLED.to_vec();
        metrics.extend(bounds.iter().map(|b| b.metric));
        metrics.sort_unstable();
        metrics.dedup();
        let mut processes = Vec::new();
        let mut diagnostics = Vec::new();
        for metric in metrics {
            let mut rows = Vec::new();
            let mut values = Vec::new();
            for &(candidate, level, evaluation) in measured {
                let Outcome::Done(measurements) = &evaluation.outcome else {
                    continue;
                };
                let Some(row) = measurements.iter().find(|m| m.metric == metric) else {
                    continue;
                };
                let (value, variance) = modelled(row);
                if level == Level::Full {
                    values.push(row.value);
                }
                let features = level.of(&candidate.features());
                rows.push(Row { features, category: candidate.split_index, value, variance });
            }
            if rows.is_empty() && !bounds.iter().any(|b| b.metric == metric) && metric != Metric::Accuracy {
                continue;
            }
            let process = GaussianProcess::fit(&rows, &FitOptions { seed, ..FitOptions::default() })?;
            let left_out = process.leave_one_out_of(values.len());
            diagnostics.push(diagnose(metric, values, &left_out));
            processes.push((metric, process));
        }
        Ok(Self { processes, diagnostics })
    }

    /// How well each model predicts what it has not seen.
    pub fn diagnostics(&self) -> &[Diagnostics] {
        &self.diagnostics
    }

    fn predict(&self, metric: Metric, candidate: &Candidate) -> Option<Prediction> {
        let (_, process) = self.processes.iter().find(|(m, _)| *m == metric)?;
        Some(process.predict(&Level::Full.of(&candidate.features()), candidate.split_index))
    }

    /// Every modelled figure of `candidate`, at the search's protocol.
    pub fn figures(&self, candidate: &Candidate) -> Vec<PredictedFigure> {
        let features = Level::Full.of(&candidate.features());
        (self.processes.iter())
            .map(|&(metric, ref process)| {
                let prediction = process.predict(&features, candidate.split_index);
                let (value, sd) = natural(metric, prediction);
                PredictedFigure { metric, value, sd }
            })
            .collect()
    }

    /// What the solver sees: accuracy in logits, for a front also less mean PSNR, and the upper confidence limit that
    /// verification is expected to find for each bounded figure.
    pub(super) fn beliefs<'p>(
        &self,
        points: &'p Points,
        objective: Objective,
        bounds: &[MetricBound],
        gain: &Gain,
    ) -> Beliefs<'p> {
        let process = |metric| self.processes.iter().find(|(m, _)| *m == metric).map(|(_, process)| process.clone());
        let leakage = |metric: Metric| Belief { process: process(metric), shift: gain.of(metric), sign: 1.0 };
        let accuracy = process(Metric::Accuracy);
        let mut objectives = vec![Belief { process: accuracy, shift: Prediction { mean: 0.0, sd: 0.0 }, sign: 1.0 }];
        if objective == Objective::Front {
            objectives.push(Belief { sign: -1.0, ..leakage(Metric::PsnrMean) });
        }
        Beliefs { points, objectives, constraints: bounds.iter().map(|bound| leakage(bound.metric)).collect() }
    }

    /// Whether the models may choose designs that were not measured; says why not in `warnings`.
    pub fn trusted(&self, warnings: &mut Vec<String>) -> bool {
        let mut trusted = true;
        for d in self.diagnostics.iter().filter(|d| matches!(d.metric, Metric::Accuracy | Metric::PsnrMean)) {
            if d.r2 < TRUSTED_R2 {
                trusted = false;
                warnings.push(format!(
                    "the model of {} has a leave-one-out R² of {:.2}: only measured designs were considered",
                    d.metric, d.r2
                ));
            }
        }
        trusted
    }
}

fn diagnose(metric: Metric, measured: Vec<f64>, loo: &LeaveOneOut) -> Diagnostics {
    Diagnostics {
        metric,
        predicted: loo.predictions.iter().map(|&p| natural(metric, p)).collect(),
        r2: loo.r2,
        rmse: {
            let errors = measured.iter().zip(&loo.predictions).map(|(m, &p)| (m - natural(metric, p).0).powi(2));
            (errors.sum::<f64>() / measured.len().max(1) as f64).sqrt()
        },
        measured,
        coverage_90: loo.coverage_90,
    }
}

/// What verification (more data, longer training, extension of the learning curve, a confidence margin) adds to a
/// model's prediction: a normal belief per figure, which each verified design corrects.
#[derive(Debug, Clone, PartialEq)]
pub struct Gain {
    /// On the modelled scale: logits of accuracy, dB, SSIM.
    beliefs: Vec<(Metric, Prediction)>,
}

impl Gain {
    /// The plan's belief before any design was verified.
    pub fn prior(plan: &Plan) -> Self {
        let (mean, sd) = plan.expected_gain;
        // Per decibel of the mean PSNR, from the quick search to the upper limits of verification, at conv3_1 of Fashion-MNIST.
        const P95_PER_DB: f64 = 1.4;
        const SSIM_PER_DB: f64 = 0.05;
        const LOGIT_PER_DB: f64 = 0.1;
        let scaled = |metric, factor: f64| (metric, Prediction { mean: mean * factor, sd: sd * factor });
        Self {
            beliefs: vec![
                scaled(Metric::Accuracy, LOGIT_PER_DB),
                scaled(Metric::PsnrMean, 1.0),
                scaled(Metric::PsnrP95, P95_PER_DB),
                scaled(Metric::PsnrMax, P95_PER_DB),
                scaled(Metric::SsimMean, SSIM_PER_DB),
            ],
        }
    }

    /// What is added to a figure, on the modelled scale.
    fn of(&self, metric: Metric) -> Prediction {
        let known = self.beliefs.iter().find(|(m, _)| *m == metric);
        known.map_or(Prediction { mean: 0.0, sd: 0.0 }, |&(_, gain)| gain)
    }

    /// The forecast of a figure's verification, on the modelled scale.
    fn apply(&self, metric: Metric, prediction: Prediction) -> Prediction {
        let gain = self.of(metric);
        Prediction { mean: prediction.mean + gain.mean, sd: prediction.sd.hypot(gain.sd) }
    }

    /// What verification would find of a figure, on its natural scale: of a bounded one its upper confidence limit.
    pub fn expected(&self, figure: PredictedFigure) -> PredictedFigure {
        let modelled = match figure.metric {
            Metric::Accuracy => {
                let p = figure.value.clamp(0.01, 0.99);
                Prediction { mean: to_logit(p), sd: figure.sd / (p * (1.0 - p)) }
            }
            _ => Prediction { mean: figure.value, sd: figure.sd },
        };
        let (value, sd) = natural(figure.metric, self.apply(figure.metric, modelled));
        // No reconstruction is better than the image itself.
        let value = if figure.metric == Metric::SsimMean { value.min(1.0) } else { value };
        PredictedFigure { metric: figure.metric, value, sd }
    }

    /// Corrects the beliefs by what verification found (normal prior, normal observation).
    pub fn learn(&mut self, models: &Models, candidate: &Candidate, verdict: &Verdict) {
        for (metric, belief) in &mut self.beliefs {
            let (Some(figure), Some(prediction)) = (verdict.figure(*metric), models.predict(*metric, candidate)) else {
                continue;
            };
            let found = match *metric {
                Metric::Accuracy => to_logit(figure.value),
                _ => figure.upper.or(figure.extended).unwrap_or(figure.value),
            };
            // An attack that was stopped shows a lower bound: it can raise a belief, never lower it.
            let found = match verdict.converged {
                true => found,
                false => found.max(prediction.mean + belief.mean),
            };
            let noise = (prediction.sd * prediction.sd + figure.std_error * figure.std_error).max(1e-12);
            let prior = belief.sd * belief.sd;
            let weight = prior / (prior + noise);
            // Designs differ in how much they gain: what one of them shows never makes the belief certain.
            *belief = Prediction {
                mean: belief.mean + weight * (found - prediction.mean - belief.mean),
                sd: (prior * (1.0 - weight)).sqrt().max(0.5 * belief.sd),
            };
        }
    }
}
