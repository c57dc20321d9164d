//! What the models say of every candidate, in the terms of the solver.

use crate::solver::Forecasts;
use crate::surrogate::{GaussianProcess, Points, Prediction, Row, SurrogateError};

use super::level::Level;

/// One figure's model, and what is added to its predictions.
#[derive(Debug, Clone)]
pub(super) struct Belief {
    /// `None` where the figure was never measured: then anything is believed possible.
    pub(super) process: Option<GaussianProcess>,
    /// Normal shift between what is modelled and what is decided by.
    pub(super) shift: Prediction,
    /// −1 where the smaller is the better of a figure that is an objective.
    pub(super) sign: f64,
}

impl Belief {
    /// A figure that is decided by as it is modelled.
    pub(super) fn plain(process: GaussianProcess) -> Self {
        Self { process: Some(process), shift: Prediction { mean: 0.0, sd: 0.0 }, sign: 1.0 }
    }

    fn forecast(&self, points: &Points) -> Vec<Prediction> {
        let Some(process) = &self.process else {
            return vec![Prediction { mean: 0.0, sd: 1e6 }; points.len()];
        };
        let mut predictions = process.predict_all(points);
        for prediction in &mut predictions {
            let Prediction { mean, sd } = *prediction;
            *prediction = Prediction { mean: self.sign * (mean + self.shift.mean), sd: sd.hypot(self.shift.sd) };
        }
        predictions
    }

    fn believing(&self, features: &[f64], category: usize) -> Result<Self, SurrogateError> {
        let believe = |process: &GaussianProcess| {
            let value = process.predict(features, category).mean;
            process.condition(Row { features: features.to_vec(), category, value, variance: 0.0 })
        };
        Ok(Self { process: self.process.as_ref().map(believe).transpose()?, shift: self.shift, sign: self.sign })
    }
}

/// The figures that decide, each with its model.
#[derive(Debug, Clone)]
pub(super) struct Beliefs<'a> {
    pub(super) points: &'a Points,
    /// To be maximised: one, or two for a front.
    pub(super) objectives: Vec<Belief>,
    /// In the order of the bounds.
    pub(super) constraints: Vec<Belief>,
}

impl Beliefs<'_> {
    /// What is believed of every candidate.
    pub(super) fn forecasts(&self) -> Forecasts {
        self.forecasts_of(self.points)
    }

    /// What is believed of other designs.
    pub(super) fn forecasts_of(&self, points: &Points) -> Forecasts {
        let all = |beliefs: &[Belief]| beliefs.iter().map(|belief| belief.forecast(points)).collect();
        Forecasts { objectives: all(&self.objectives), constraints: all(&self.constraints) }
    }

    /// The models after candidate `index` was measured to be what they predict of it: less uncertain there, and of the same
    /// hyperparameters (Kriging believer).
    ///
    /// # Errors
    /// [`SurrogateError`] where a candidate's features are not numbers.
    pub(super) fn believing(&self, index: usize, level: Level) -> Result<Self, SurrogateError> {
        let (features, category) = (level.instead(self.points.features(index)), self.points.category(index));
        let all = |beliefs: &[Belief]| {
            beliefs.iter().map(|belief| belief.believing(&features, category)).collect::<Result<_, _>>()
        };
        Ok(Self { points: self.points, objectives: all(&self.objectives)?, constraints: all(&self.constraints)? })
    }

    /// Logarithm of the share of the doubt about candidate `index` that a screening of it would remove, in the mean of all
    /// figures; at most 0.
    pub(super) fn log_worth_of_screening(&self, index: usize) -> f64 {
        let (full, category) = (self.points.features(index), self.points.category(index));
        let screened = Level::Screening.instead(full);
        let processes = self.objectives.iter().chain(&self.constraints).filter_map(|belief| belief.process.as_ref());
        let logs: Vec<f64> = processes
            .map(|process| 2.0 * process.correlation(&screened, full, category).abs().max(f64::MIN_POSITIVE).ln())
            .collect();
        logs.iter().sum::<f64>() / logs.len().max(1) as f64
    }
}
