//! What is believed of the candidates, figure by figure.

use crate::surrogate::Prediction;

/// What is believed of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The metrics to be maximised: one, or two for a front.
    pub objectives: Vec<Prediction>,
    /// The constrained metrics, in the order of the [`Bounds`](super::Bounds).
    pub constraints: Vec<Prediction>,
}

/// What is believed of all candidates: for each figure a list as long as there are candidates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forecasts {
    /// The metrics to be maximised.
    pub objectives: Vec<Vec<Prediction>>,
    /// The constrained metrics, in the order of the [`Bounds`](super::Bounds).
    pub constraints: Vec<Vec<Prediction>>,
}

impl Forecasts {
    /// Number of candidates.
    pub fn len(&self) -> usize {
        self.objectives.first().map_or(0, Vec::len)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first objective of a candidate.
    pub fn objective(&self, index: usize) -> Prediction {
        self.objectives[0][index]
    }

    /// The constrained metrics of a candidate.
    pub fn constraints(&self, index: usize) -> impl ExactSizeIterator<Item = Prediction> + '_ {
        self.constraints.iter().map(move |metric| metric[index])
    }

    /// These candidates alone, in this order.
    pub fn select(&self, indices: &[usize]) -> Self {
        let pick = |metrics: &[Vec<Prediction>]| -> Vec<Vec<Prediction>> {
            metrics.iter().map(|metric| indices.iter().map(|&index| metric[index]).collect()).collect()
        };
        Self { objectives: pick(&self.objectives), constraints: pick(&self.constraints) }
    }
}

impl FromIterator<Forecast> for Forecasts {
    /// The candidates' forecasts, which must all be of the same metrics.
    fn from_iter<I: IntoIterator<Item = Forecast>>(forecasts: I) -> Self {
        let mut all = Self::default();
        for forecast in forecasts {
            let grow = |metrics: &mut Vec<Vec<Prediction>>, of: Vec<Prediction>| {
                metrics.resize_with(of.len().max(metrics.len()), Vec::new);
                metrics.iter_mut().zip(of).for_each(|(metric, prediction)| metric.push(prediction));
            };
            grow(&mut all.objectives, forecast.objectives);
            grow(&mut all.constraints, forecast.constraints);
        }
        all
    }
}
