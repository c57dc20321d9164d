//! The predictive models of a study: one Gaussian process per figure, and what verification adds to it.

use serde::{Deserialize, Serialize};

use super::beliefs::{Belief, Beliefs};
use super::gain::Gain;
use super::level::Level;
use crate::config::Objective;
use crate::measurement::{Evaluation, Measurement, Metric, Outcome};
use crate::space::{Candidate, Candidates};
use crate::surrogate::{FitOptions, GaussianProcess, LeaveOneOut, Points, Prediction, Row, SurrogateError};
use crate::verify::MetricBound;

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
pub(super) fn natural(metric: Metric, prediction: Prediction) -> (f64, f64) {
    match metric {
        Metric::Accuracy => {
            let p = from_logit(prediction.mean);
            (p, prediction.sd * p * (1.0 - p))
        }
        _ => (prediction.mean, prediction.sd),
    }
}

/// All candidates as the models see them: as what full measurements of them would be.
pub(super) fn points(candidates: &Candidates<'_>) -> Points {
    let mut points = Points::with_capacity(WIDTH, candidates.len());
    for (place, range) in candidates.places() {
        range.for_each(|index| points.push(&Level::Full.of(&candidates.features(index)), place.split_index));
    }
    points
}

/// One candidate as the models see it.
pub(super) fn point(candidate: &Candidate) -> Points {
    let mut point = Points::new(WIDTH);
    push(&mut point, candidate);
    point
}

/// Adds a candidate.
pub(super) fn push(points: &mut Points, candidate: &Candidate) {
    points.push(&Level::Full.of(&candidate.features()), candidate.split_index);
}

/// Features of a design and the level of its measurement.
const WIDTH: usize = Candidate::FEATURES.len() + 1;

impl Models {
    /// Fits every modelled figure and every bounded one to the measured designs, by their index among `points`: those measured
    /// in full first, then those that were screened.
    ///
    /// # Errors
    /// [`SurrogateError`] where a fit is impossible (no rows, not a number).
    pub(super) fn fit(
        points: &Points,
        measured: &[(usize, Level, &Evaluation)],
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
            for &(index, level, evaluation) in measured {
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
                let features = level.instead(points.features(index));
                rows.push(Row { features, category: points.category(index), value, variance });
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

    pub(super) fn predict(&self, metric: Metric, candidate: &Candidate) -> Option<Prediction> {
        let (_, process) = self.processes.iter().find(|(m, _)| *m == metric)?;
        Some(process.predict(&Level::Full.of(&candidate.features()), candidate.split_index))
    }

    /// A figure of all `points`, on its natural scale; `None` where it is not modelled.
    pub(super) fn figures_of(&self, metric: Metric, points: &Points) -> Option<Vec<PredictedFigure>> {
        let (_, process) = self.processes.iter().find(|(m, _)| *m == metric)?;
        let figure = |prediction| {
            let (value, sd) = natural(metric, prediction);
            PredictedFigure { metric, value, sd }
        };
        Some(process.predict_all(points).into_iter().map(figure).collect())
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
    /// verification is expected to find for each bounded figure, by what is expected of all designs.
    pub(super) fn beliefs<'p>(
        &self,
        points: &'p Points,
        objective: Objective,
        bounds: &[MetricBound],
        gain: &Gain,
    ) -> Beliefs<'p> {
        let process = |metric| self.processes.iter().find(|(m, _)| *m == metric).map(|(_, process)| process.clone());
        let leakage = |metric: Metric| Belief { process: process(metric), shift: gain.shared(metric), sign: 1.0 };
        let accuracy = process(Metric::Accuracy);
        let mut objectives = vec![Belief { process: accuracy, shift: Prediction { mean: 0.0, sd: 0.0 }, sign: 1.0 }];
        if objective == Objective::Front {
            objectives.push(Belief { sign: -1.0, ..leakage(Metric::PsnrMean) });
        }
        Beliefs { points, objectives, constraints: bounds.iter().map(|bound| leakage(bound.metric)).collect() }
    }

    /// Whether what the model foretells of the leakage of designs that weren't measured can be believed.
    pub fn foretells_leakage(&self) -> bool {
        self.diagnostics.iter().filter(|d| d.metric == Metric::PsnrMean).all(|d| d.r2 >= TRUSTED_R2)
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
