//! The constrained problem over an enumerated list of candidates, on predictions.
//!
//! ```text
//! maximise  E[objective(i)]   over candidates i
//! subject to  P(metric₁(i) ≤ limit₁ and … and metric_m(i) ≤ limit_m) ≥ confidence
//! ```
//!
//! Metrics are independent Gaussians, one per [`GaussianProcess`](crate::surrogate::GaussianProcess), so that the joint
//! probability is a product. A standard deviation of zero is an exactly known value. [`solve`] answers the problem,
//! [`relaxations`] says what each limit costs, [`propose`] says what to measure next, [`best_subset`] searches sets of channels, [`spread`] what to measure first,
//! and [`pareto_front`] and [`hypervolume`] judge a set of measurements.
//!
//! With two objectives the aim is the front of those that keep the bounds: [`propose`] then counts the expected improvement of
//! its hypervolume ([`Best::Front`]).
//!
//! Every choice is deterministic and independent of the number of threads: ties go to the lowest index.

mod acquisition;
mod feasibility;
mod forecast;
mod front;
mod normal;
mod pareto;
mod spread;
mod subset;

pub use acquisition::{Best, acquisition, propose};
pub use feasibility::{Relaxed, Solution, log_probability_feasible, probability_feasible, relaxations, solve};
pub use forecast::{Forecast, Forecasts};
pub use front::Front;
pub use pareto::{hypervolume, pareto_front};
pub use spread::spread;
pub use subset::{Annealing, Moves, best_subset};

use rayon::prelude::*;

use crate::surrogate::Prediction;

/// One constraint: metric ≤ limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// Name of the metric.
    pub name: String,
    /// Largest value allowed, in the metric's unit; infinity for no limit.
    pub limit: f64,
}

/// All constraints, in the order of [`Forecasts::constraints`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bounds(pub Vec<Bound>);

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SolverError {
    /// The list of candidates is empty.
    #[error("there is no candidate: widen the space or loosen the exact budgets")]
    NoCandidates,
    /// There are forecasts of another number of constraints than there are bounds.
    #[error("{found} constraints are forecast for {expected} bounds: forecast every bounded metric of every candidate")]
    ConstraintCount {
        /// Number of bounds.
        expected: usize,
        /// Number of forecasts.
        found: usize,
    },
    /// The forecast of the objective isn't finite or its standard deviation is negative.
    #[error(
        "the objective of candidate {candidate} is forecast as {mean} ± {sd}: both must be finite, the sd not negative"
    )]
    Objective {
        /// Index of the candidate.
        candidate: usize,
        /// Forecast mean.
        mean: f64,
        /// Forecast standard deviation.
        sd: f64,
    },
    /// The forecast of a constraint isn't finite or its standard deviation is negative.
    #[error(
        "constraint {bound} of candidate {candidate} is forecast as {mean} ± {sd}: both must be finite, the sd not negative"
    )]
    Constraint {
        /// Index of the candidate.
        candidate: usize,
        /// Index of the bound.
        bound: usize,
        /// Forecast mean.
        mean: f64,
        /// Forecast standard deviation.
        sd: f64,
    },
    /// A limit is NaN.
    #[error("the limit of bound {bound} ({name}) is NaN: give a number")]
    Limit {
        /// Index of the bound.
        bound: usize,
        /// Name of the bounded metric.
        name: String,
    },
    /// The confidence isn't a probability.
    #[error("the confidence is {0}: give a probability from 0 to 1")]
    Confidence(f64),
    /// The fraction by which limits are relaxed is negative or not finite.
    #[error("the fraction to relax limits by is {0}: give a finite number that is not negative, such as 0.1")]
    Fraction(f64),
    /// The best value so far isn't finite.
    #[error("the incumbent's objective is {0}: give the finite value of a feasible design, or none")]
    Incumbent(f64),
    /// A front is asked for, but not two objectives are forecast.
    #[error("a front needs forecasts of 2 objectives, there are {0}")]
    ObjectiveCount(usize),
    /// A coordinate of a point to spread over is NaN or infinite.
    #[error("coordinate {axis} of point {point} is {value}: give a finite number")]
    Coordinate {
        /// Index of the point.
        point: usize,
        /// Index of the coordinate.
        axis: usize,
        /// The offending value.
        value: f64,
    },
}

/// Checks forecasts and bounds; of several offences of a metric the one of the lowest index is named.
fn check(forecasts: &Forecasts, bounds: &Bounds) -> Result<(), SolverError> {
    let n = forecasts.len();
    if n == 0 {
        return Err(SolverError::NoCandidates);
    }
    if let Some((bound, offender)) = (bounds.0.iter().enumerate()).find(|(_, b)| b.limit.is_nan()) {
        return Err(SolverError::Limit { bound, name: offender.name.clone() });
    }
    let (expected, found) = (bounds.0.len(), forecasts.constraints.iter().filter(|metric| metric.len() == n).count());
    if expected != found || forecasts.constraints.len() != expected {
        return Err(SolverError::ConstraintCount { expected, found });
    }
    let offender = |metric: &[Prediction]| {
        let usable = |p: &Prediction| p.mean.is_finite() && p.sd.is_finite() && p.sd >= 0.0;
        metric.par_iter().enumerate().find_first(|(_, p)| !usable(p)).map(|(candidate, &p)| (candidate, p))
    };
    for metric in &forecasts.objectives {
        if let Some((candidate, Prediction { mean, sd })) = offender(metric) {
            return Err(SolverError::Objective { candidate, mean, sd });
        }
    }
    for (bound, metric) in forecasts.constraints.iter().enumerate() {
        if let Some((candidate, Prediction { mean, sd })) = offender(metric) {
            return Err(SolverError::Constraint { candidate, bound, mean, sd });
        }
    }
    Ok(())
}

/// The index in `0..n` of the largest score, the lowest of equals, with that score; `None` scores take no part.
///
/// Runs on all threads; the total order on (score, index) makes the answer independent of how the work is divided.
fn argmax<S: Copy + PartialOrd + Send>(n: usize, score: impl Fn(usize) -> Option<S> + Sync) -> Option<(usize, S)> {
    (0..n).into_par_iter().filter_map(|index| score(index).map(|value| (index, value))).reduce_with(|a, b| {
        let (first, second) = if a.0 < b.0 { (a, b) } else { (b, a) };
        if second.1 > first.1 { second } else { first }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(objective: f64, constraints: &[f64]) -> Forecast {
        let exact = |mean| Prediction { mean, sd: 1.0 };
        Forecast { objectives: vec![exact(objective)], constraints: constraints.iter().copied().map(exact).collect() }
    }

    fn bounds(limits: &[f64]) -> Bounds {
        let bound = |&limit: &f64| Bound { name: "leakage".to_owned(), limit };
        Bounds(limits.iter().map(bound).collect())
    }

    #[test]
    fn bad_input_is_named_by_index() {
        let good = forecast(1.0, &[2.0, 3.0]);
        let two = bounds(&[1.0, 2.0]);
        let all = |rows: &[Forecast]| rows.iter().cloned().collect::<Forecasts>();
        let at = |bad: Forecast| check(&all(&[good.clone(), bad.clone(), bad]), &two).unwrap_err();
        assert_eq!(check(&all(&[]), &two), Err(SolverError::NoCandidates));
        assert_eq!(check(&all(std::slice::from_ref(&good)), &two), Ok(()));
        assert_eq!(at(forecast(0.0, &[1.0])), SolverError::ConstraintCount { expected: 2, found: 1 });
        assert!(matches!(at(forecast(f64::NAN, &[1.0, 2.0])), SolverError::Objective { candidate: 1, .. }));
        assert!(matches!(at(forecast(0.0, &[1.0, f64::NAN])), SolverError::Constraint { candidate: 1, bound: 1, .. }));
        let mut negative = good.clone();
        negative.constraints[0].sd = -1.0;
        assert!(matches!(at(negative), SolverError::Constraint { candidate: 1, bound: 0, .. }));
        assert!(matches!(check(&all(&[good]), &bounds(&[1.0, f64::NAN])), Err(SolverError::Limit { bound: 1, .. })));
    }

    #[test]
    fn argmax_prefers_the_lowest_index_of_equals() {
        let scores = [1.0, 3.0, f64::NEG_INFINITY, 3.0, 2.0];
        assert_eq!(argmax(5, |i| Some(scores[i])), Some((1, 3.0)));
        assert_eq!(argmax(5, |i| (i != 1).then_some(scores[i])), Some((3, 3.0)));
        assert_eq!(argmax(5, |_| None::<f64>), None);
        assert_eq!(argmax(100_000, |i| Some(i / 50_000)), Some((50_000, 1)));
    }
}
