//! Which candidate to measure next: constrained expected improvement, in logarithms.

use super::normal::log_expected_positive_part;
use super::{Bounds, Forecasts, Front, SolverError, argmax, check, log_probability_feasible};
use crate::surrogate::Prediction;

/// What a new measurement must improve on.
#[derive(Debug, Clone, Copy)]
pub enum Best<'a> {
    /// Nothing feasible is known.
    None,
    /// The best value of the one objective at a feasible design.
    Value(f64),
    /// The feasible designs that no other dominates, in two objectives.
    Front(&'a Front),
}

/// How much measuring candidate `index` promises, as a natural logarithm; only comparable at the same `best`.
///
/// Without a feasible design this is the log probability of feasibility, afterwards that plus the log expected improvement
/// of the objective over the best value (Gardner et al., "Bayesian optimization with inequality constraints", ICML 2014), or
/// of the front's hypervolume. −∞ where no improvement or no feasibility is possible, which takes a standard deviation of
/// zero or some 1e154 standard deviations.
pub fn acquisition(forecasts: &Forecasts, index: usize, bounds: &Bounds, best: Best<'_>) -> f64 {
    let feasible = log_probability_feasible(forecasts.constraints(index), bounds);
    match best {
        Best::None => feasible,
        Best::Value(best) => feasible + log_expected_improvement(&forecasts.objective(index), best),
        Best::Front(front) => {
            feasible + front.log_expected_improvement(&forecasts.objectives[0][index], &forecasts.objectives[1][index])
        }
    }
}

/// `ln E[max(objective − best, 0)]`.
pub(super) fn log_expected_improvement(objective: &Prediction, best: f64) -> f64 {
    let gain = objective.mean - best;
    let z = gain / objective.sd;
    if objective.sd == 0.0 || z > 1e8 {
        // Certain: the chance of getting less than `best` adds nothing that a float can hold. NaN stays NaN.
        if gain <= 0.0 { f64::NEG_INFINITY } else { gain.ln() }
    } else {
        objective.sd.ln() + log_expected_positive_part(z)
    }
}

/// The admitted candidate of the highest [`acquisition`] less `handicap`, with that; `None` where none is admitted.
///
/// The handicap is the logarithm of what a measurement costs, so that gain per cost decides; 0 where all cost the same.
/// `admit` leaves out candidates by index, such as those that have been measured. Ties go to the lowest index, also where
/// every acquisition is −∞. Runs on all threads, with the same answer on any number of them.
///
/// # Errors
/// As for [`solve`](super::solve), a best value that isn't finite, or a front without a second objective.
pub fn propose(
    forecasts: &Forecasts,
    bounds: &Bounds,
    best: Best<'_>,
    admit: impl Fn(usize) -> bool + Sync,
    handicap: impl Fn(usize) -> f64 + Sync,
) -> Result<Option<(usize, f64)>, SolverError> {
    check(forecasts, bounds)?;
    match best {
        Best::Value(value) if !value.is_finite() => return Err(SolverError::Incumbent(value)),
        Best::Front(_) if forecasts.objectives.len() != 2 => {
            return Err(SolverError::ObjectiveCount(forecasts.objectives.len()));
        }
        _ => {}
    }
    Ok(argmax(forecasts.len(), |index| {
        admit(index).then(|| acquisition(forecasts, index, bounds, best) - handicap(index))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::{Bound, Forecast};

    fn forecast(objective: (f64, f64), constraint: (f64, f64)) -> Forecast {
        let prediction = |(mean, sd)| Prediction { mean, sd };
        Forecast { objectives: vec![prediction(objective)], constraints: vec![prediction(constraint)] }
    }

    /// The acquisition of a single candidate.
    fn alone(objective: (f64, f64), constraint: (f64, f64), limit: f64, best: Best<'_>) -> f64 {
        acquisition(&[forecast(objective, constraint)].into_iter().collect(), 0, &at_most(limit), best)
    }

    fn at_most(limit: f64) -> Bounds {
        Bounds(vec![Bound { name: "psnr".to_owned(), limit }])
    }

    #[test]
    fn acquisition_equals_high_precision_numbers_in_the_body_and_the_tails() {
        // mpmath, 400 digits, with phi and Phi as in normal.rs: z = (m - best) / s,
        // log(s * (phi(z) + z * Phi(z))) + log(Phi((limit - c) / t))
        for (objective, constraint, limit, best, expected) in [
            ((1.0, 0.5), (20.0, 2.0), 21.0, 0.75, -1.4219212795936655),
            ((-30.0, 1.0), (20.0, 2.0), 21.0, 0.0, -458.09360017588666),
            ((2.0, 0.25), (90.0, 1.0), 21.0, 1.0, -2385.6532531812187),
            ((0.0, 0.01), (0.0, 0.5), 20.0, 5.0, -125017.95333691586),
            ((1000000.0, 3.0), (1.0, 1.0), 0.0, 0.5, 11.974488412954886),
        ] {
            let value = alone(objective, constraint, limit, Best::Value(best));
            let error = (value / expected - 1.0).abs();
            assert!(error < 1e-12, "{value} against {expected}");
        }
    }

    #[test]
    fn without_incumbent_it_is_the_probability_of_feasibility() {
        let within = log_probability_feasible([Prediction { mean: 2.0, sd: 1.0 }].into_iter(), &at_most(1.0));
        assert_eq!(alone((5.0, 1.0), (2.0, 1.0), 1.0, Best::None), within);
    }

    #[test]
    fn exact_objectives_improve_by_their_difference_or_not_at_all() {
        let at = |objective| alone(objective, (0.0, 0.0), 0.0, Best::Value(2.0));
        assert_eq!(at((5.0, 0.0)), 3f64.ln());
        assert_eq!(at((5.0, 1e-320)), 3f64.ln());
        assert_eq!(at((2.0, 0.0)), f64::NEG_INFINITY);
        assert_eq!(at((1.0, 0.0)), f64::NEG_INFINITY);
        assert!(at((f64::NAN, 0.0)).is_nan());
    }

    #[test]
    fn what_costs_twice_as_much_must_promise_twice_as_much() {
        let rows = [(1.0, 0.0), (1.9, 0.0), (2.1, 0.0)].map(|objective| forecast(objective, (0.0, 0.0)));
        let forecasts: Forecasts = rows.into_iter().collect();
        let chosen = |costs: [f64; 3]| {
            let found = propose(&forecasts, &at_most(0.0), Best::Value(0.0), |_| true, |index| costs[index].ln());
            found.unwrap().map(|(index, _)| index)
        };
        assert_eq!(chosen([1.0, 1.0, 1.0]), Some(2));
        assert_eq!(chosen([1.0, 2.0, 2.0]), Some(2));
        assert_eq!(chosen([1.0, 1.0, 2.2]), Some(1));
        assert_eq!(chosen([1.0, 2.0, 2.2]), Some(0));
    }

    #[test]
    fn propose_takes_the_admitted_maximum_and_distinguishes_hopeless_candidates() {
        // All probabilities of feasibility underflow, and still the order is known.
        let rows = [60.0, 50.0, 55.0, 50.0].map(|mean| forecast((0.0, 1.0), (mean, 1.0)));
        let forecasts: Forecasts = rows.into_iter().collect();
        let bounds = at_most(0.0);
        let chosen = |best, admit: fn(usize) -> bool| {
            propose(&forecasts, &bounds, best, admit, |_| 0.0).unwrap().map(|(index, _)| index)
        };
        assert_eq!(chosen(Best::None, |_| true), Some(1));
        assert_eq!(chosen(Best::None, |i| i != 1), Some(3));
        assert_eq!(chosen(Best::Value(100.0), |i| i % 2 == 0), Some(2));
        assert_eq!(chosen(Best::None, |_| false), None);
        assert_eq!(
            propose(&forecasts, &bounds, Best::Value(f64::INFINITY), |_| true, |_| 0.0),
            Err(SolverError::Incumbent(f64::INFINITY))
        );
    }
}
