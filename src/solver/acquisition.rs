//! Which candidate to measure next: constrained expected improvement, in logarithms.

use super::normal::log_expected_positive_part;
use super::{Bounds, Forecast, SolverError, argmax, check, log_probability_feasible};
use crate::surrogate::Prediction;

/// How much measuring a candidate promises, as a natural logarithm; only comparable at the same `incumbent`.
///
/// Without an incumbent (the best objective value measured at a feasible design) this is the log probability of
/// feasibility, afterwards that plus the log expected improvement of the objective over the incumbent (Gardner et al.,
/// "Bayesian optimization with inequality constraints", ICML 2014). −∞ where no improvement or no feasibility is possible,
/// which takes a standard deviation of zero or some 1e154 standard deviations.
pub fn acquisition(f: &Forecast, bounds: &Bounds, incumbent: Option<f64>) -> f64 {
    let feasible = log_probability_feasible(f, bounds);
    match incumbent {
        None => feasible,
        Some(best) => feasible + log_expected_improvement(&f.objective, best),
    }
}

/// `ln E[max(objective − best, 0)]`.
fn log_expected_improvement(objective: &Prediction, best: f64) -> f64 {
    let gain = objective.mean - best;
    let z = gain / objective.sd;
    if objective.sd == 0.0 || z > 1e8 {
        // Certain: the chance of getting less than `best` adds nothing that a float can hold. NaN stays NaN.
        if gain <= 0.0 { f64::NEG_INFINITY } else { gain.ln() }
    } else {
        objective.sd.ln() + log_expected_positive_part(z)
    }
}

/// The admitted candidate of the highest [`acquisition`], with it; `None` where none is admitted.
///
/// `admit` leaves out candidates by index, such as those that have been measured. Ties go to the lowest index, also where
/// every acquisition is −∞. Runs on all threads, with the same answer on any number of them.
///
/// # Errors
/// As for [`solve`](super::solve), or an incumbent that isn't finite.
pub fn propose(
    forecasts: &[Forecast],
    bounds: &Bounds,
    incumbent: Option<f64>,
    admit: impl Fn(usize) -> bool + Sync,
) -> Result<Option<(usize, f64)>, SolverError> {
    check(forecasts, bounds)?;
    if let Some(best) = incumbent
        && !best.is_finite()
    {
        return Err(SolverError::Incumbent(best));
    }
    Ok(argmax(forecasts.len(), |index| admit(index).then(|| acquisition(&forecasts[index], bounds, incumbent))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solver::Bound;

    fn forecast(objective: (f64, f64), constraint: (f64, f64)) -> Forecast {
        let prediction = |(mean, sd)| Prediction { mean, sd };
        Forecast { objective: prediction(objective), constraints: vec![prediction(constraint)] }
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
            let value = acquisition(&forecast(objective, constraint), &at_most(limit), Some(best));
            let error = (value / expected - 1.0).abs();
            assert!(error < 1e-12, "{value} against {expected}");
        }
    }

    #[test]
    fn without_incumbent_it_is_the_probability_of_feasibility() {
        let f = forecast((5.0, 1.0), (2.0, 1.0));
        assert_eq!(acquisition(&f, &at_most(1.0), None), log_probability_feasible(&f, &at_most(1.0)));
    }

    #[test]
    fn exact_objectives_improve_by_their_difference_or_not_at_all() {
        let at = |objective| acquisition(&forecast(objective, (0.0, 0.0)), &at_most(0.0), Some(2.0));
        assert_eq!(at((5.0, 0.0)), 3f64.ln());
        assert_eq!(at((5.0, 1e-320)), 3f64.ln());
        assert_eq!(at((2.0, 0.0)), f64::NEG_INFINITY);
        assert_eq!(at((1.0, 0.0)), f64::NEG_INFINITY);
        assert!(at((f64::NAN, 0.0)).is_nan());
    }

    #[test]
    fn propose_takes_the_admitted_maximum_and_distinguishes_hopeless_candidates() {
        // All probabilities of feasibility underflow, and still the order is known.
        let forecasts: Vec<Forecast> = [60.0, 50.0, 55.0, 50.0].map(|mean| forecast((0.0, 1.0), (mean, 1.0))).to_vec();
        let bounds = at_most(0.0);
        let chosen = |incumbent, admit: fn(usize) -> bool| {
            propose(&forecasts, &bounds, incumbent, admit).unwrap().map(|(index, _)| index)
        };
        assert_eq!(chosen(None, |_| true), Some(1));
        assert_eq!(chosen(None, |i| i != 1), Some(3));
        assert_eq!(chosen(Some(100.0), |i| i % 2 == 0), Some(2));
        assert_eq!(chosen(None, |_| false), None);
        assert_eq!(
            propose(&forecasts, &bounds, Some(f64::INFINITY), |_| true),
            Err(SolverError::Incumbent(f64::INFINITY))
        );
    }
}
