//! Probability of feasibility, the best candidate that is confidently feasible, and what each limit costs.

use super::normal::log_cdf;
use super::{Bound, Bounds, Forecasts, SolverError, argmax, check};
use crate::surrogate::Prediction;

/// The answer of [`solve`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Solution {
    /// The candidate of the best objective mean among those that are feasible with the asked confidence.
    Best {
        /// Index of the candidate.
        index: usize,
        /// Its joint probability of feasibility.
        probability: f64,
    },
    /// No candidate is feasible with the asked confidence.
    Infeasible {
        /// Index of the candidate that is feasible with the highest probability.
        nearest: usize,
        /// Its joint probability of feasibility.
        probability: f64,
        /// Index of the bound that this candidate is least likely to keep; of equals, the one it exceeds by the larger
        /// fraction of the limit.
        binding: usize,
        /// Forecast mean − limit of that bound, in the metric's unit. Negative where the mean keeps the limit, but not
        /// with the asked confidence.
        excess: f64,
    },
}

/// What relaxing one limit would bring.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relaxed {
    /// Index of the bound.
    pub bound: usize,
    /// The relaxed limit, in the metric's unit.
    pub limit: f64,
    /// Index of the best candidate under it, if any is feasible.
    pub best: Option<usize>,
}

/// `ln P(metric ≤ limit)`; a step function where the standard deviation is zero.
fn log_probability_within(prediction: &Prediction, bound: &Bound) -> f64 {
    let slack = bound.limit - prediction.mean;
    if prediction.sd == 0.0 {
        if slack >= 0.0 {
            0.0
        } else {
            // NaN stays NaN.
            slack * f64::INFINITY
        }
    } else {
        log_cdf(slack / prediction.sd)
    }
}

/// Natural logarithm of the joint probability that all bounds are kept; finite far beyond the underflow of the
/// probability itself.
pub fn log_probability_feasible(constraints: impl Iterator<Item = Prediction>, bounds: &Bounds) -> f64 {
    constraints.zip(&bounds.0).map(|(prediction, bound)| log_probability_within(&prediction, bound)).sum()
}

/// Joint probability that all bounds are kept, the metrics being independent; 1 without bounds.
pub fn probability_feasible(constraints: impl Iterator<Item = Prediction>, bounds: &Bounds) -> f64 {
    log_probability_feasible(constraints, bounds).exp()
}

/// The best objective mean subject to a joint probability of feasibility of at least `confidence`.
///
/// Without such a candidate, the answer is the one of the highest probability; where that is exactly zero for all (metrics
/// known exactly), the one that exceeds its limits the least, in fractions of the limit. Ties go to the lowest index.
///
/// # Errors
/// No candidates, a confidence outside [0, 1], a forecast with another number of constraints than there are bounds, or one
/// that is NaN, infinite or has a negative standard deviation, or a limit that is NaN.
pub fn solve(forecasts: &Forecasts, bounds: &Bounds, confidence: f64) -> Result<Solution, SolverError> {
    check_problem(forecasts, bounds, confidence)?;
    Ok(solve_checked(forecasts, bounds, confidence))
}

fn check_problem(forecasts: &Forecasts, bounds: &Bounds, confidence: f64) -> Result<(), SolverError> {
    check(forecasts, bounds)?;
    if (0.0..=1.0).contains(&confidence) { Ok(()) } else { Err(SolverError::Confidence(confidence)) }
}

fn solve_checked(forecasts: &Forecasts, bounds: &Bounds, confidence: f64) -> Solution {
    let probability = |index| probability_feasible(forecasts.constraints(index), bounds);
    let best =
        argmax(forecasts.len(), |index| (probability(index) >= confidence).then(|| forecasts.objective(index).mean));
    if let Some((index, _)) = best {
        return Solution::Best { index, probability: probability(index) };
    }
    let nearest = argmax(forecasts.len(), |index| {
        let log_probability = log_probability_feasible(forecasts.constraints(index), bounds);
        let hopeless = log_probability == f64::NEG_INFINITY;
        let excess = if hopeless { worst_relative_excess(forecasts.constraints(index), bounds) } else { 0.0 };
        Some((log_probability, -excess))
    })
    .map_or(0, |(index, _)| index);
    let binding = argmax(bounds.0.len(), |k| {
        let (prediction, bound) = (&forecasts.constraints[k][nearest], &bounds.0[k]);
        let log_probability = log_probability_within(prediction, bound);
        Some((-log_probability, relative_excess(prediction, bound)))
    })
    .map_or(0, |(bound, _)| bound);
    Solution::Infeasible {
        nearest,
        probability: probability(nearest),
        binding,
        excess: forecasts.constraints[binding][nearest].mean - bounds.0[binding].limit,
    }
}

/// (mean − limit) / |limit|, or in the metric's unit where the limit is zero.
fn relative_excess(prediction: &Prediction, bound: &Bound) -> f64 {
    let scale = if bound.limit == 0.0 || bound.limit.is_infinite() { 1.0 } else { bound.limit.abs() };
    (prediction.mean - bound.limit) / scale
}

fn worst_relative_excess(constraints: impl Iterator<Item = Prediction>, bounds: &Bounds) -> f64 {
    constraints
        .zip(&bounds.0)
        .map(|(prediction, bound)| relative_excess(&prediction, bound))
        .fold(f64::NEG_INFINITY, f64::max)
}

/// The best candidate with each limit `l` in turn relaxed to `l + fraction·|l|` and all others as they are.
///
/// # Errors
/// As for [`solve`], or a fraction that is negative or not finite.
pub fn relaxations(
    forecasts: &Forecasts,
    bounds: &Bounds,
    confidence: f64,
    fraction: f64,
) -> Result<Vec<Relaxed>, SolverError> {
    if !(fraction >= 0.0 && fraction.is_finite()) {
        return Err(SolverError::Fraction(fraction));
    }
    check_problem(forecasts, bounds, confidence)?;
    let mut relaxed = bounds.clone();
    let outcomes = bounds.0.iter().enumerate().map(|(bound, strict)| {
        // An infinite limit times a fraction of zero would be NaN.
        let limit = if strict.limit.is_finite() { strict.limit + fraction * strict.limit.abs() } else { strict.limit };
        relaxed.0[bound].limit = limit;
        let solution = solve_checked(forecasts, &relaxed, confidence);
        relaxed.0[bound].limit = strict.limit;
        let best = match solution {
            Solution::Best { index, .. } => Some(index),
            Solution::Infeasible { .. } => None,
        };
        Relaxed { bound, limit, best }
    });
    Ok(outcomes.collect())
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::solver::Forecast;

    fn bounds(limits: &[f64]) -> Bounds {
        let bound = |&limit: &f64| Bound { name: "leakage".to_owned(), limit };
        Bounds(limits.iter().map(bound).collect())
    }

    fn forecast(objective: f64, constraints: &[(f64, f64)]) -> Forecast {
        Forecast {
            objectives: vec![Prediction { mean: objective, sd: 1.0 }],
            constraints: constraints.iter().map(|&(mean, sd)| Prediction { mean, sd }).collect(),
        }
    }

    #[test]
    fn joint_probability_is_the_product_and_zero_sd_is_a_step() {
        // Φ(1) Φ(−0.5) = 0.8413447460685429 · 0.3085375387259869 (scipy.stats.norm.cdf).
        let probability = |constraints: &[(f64, f64)], limits: &[f64]| {
            probability_feasible(forecast(0.0, constraints).constraints.into_iter(), &bounds(limits))
        };
        let p = probability(&[(1.0, 2.0), (4.0, 2.0)], &[3.0, 3.0]);
        assert!((p - 0.841_344_746_068_542_9 * 0.308_537_538_725_986_9).abs() < 1e-14);
        assert_eq!(probability(&[(3.0, 0.0)], &[3.0]), 1.0);
        assert_eq!(probability(&[(3.0, 0.0)], &[2.999]), 0.0);
        assert_eq!(probability(&[(3.0, 0.0)], &[f64::INFINITY]), 1.0);
        assert_eq!(probability(&[], &[]), 1.0);
    }

    /// The definition, word by word, on one thread.
    fn by_definition(forecasts: &Forecasts, bounds: &Bounds, confidence: f64) -> Solution {
        let probability = |i: usize| probability_feasible(forecasts.constraints(i), bounds);
        let log_probability = |i: usize| log_probability_feasible(forecasts.constraints(i), bounds);
        let mut best: Option<usize> = None;
        let mut nearest = 0;
        for i in 0..forecasts.len() {
            let mean = forecasts.objective(i).mean;
            if probability(i) >= confidence && best.is_none_or(|b| mean > forecasts.objective(b).mean) {
                best = Some(i);
            }
            if log_probability(i) > log_probability(nearest) {
                nearest = i;
            }
        }
        if let Some(index) = best {
            return Solution::Best { index, probability: probability(index) };
        }
        let mut binding = 0;
        let within = |k: usize| {
            let Prediction { mean, sd } = forecasts.constraints[k][nearest];
            let alone = Bounds(vec![bounds.0[k].clone()]);
            let excess = relative_excess(&Prediction { mean, sd }, &bounds.0[k]);
            (log_probability_feasible([Prediction { mean, sd }].into_iter(), &alone), -excess)
        };
        for k in 1..bounds.0.len() {
            if within(k) < within(binding) {
                binding = k;
            }
        }
        Solution::Infeasible {
            nearest,
            probability: probability(nearest),
            binding,
            excess: forecasts.constraints[binding][nearest].mean - bounds.0[binding].limit,
        }
    }

    #[test]
    fn solve_equals_its_definition_on_random_problems() {
        let (mut solved, mut infeasible) = (0, 0);
        for seed in 0..400 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            // Coarse numbers, so that ties occur.
            let mut draw = |levels: u64| (rng.next_u64() % levels) as f64 / 4.0;
            let m = 1 + seed as usize % 3;
            let forecasts: Forecasts = (0..1 + seed as usize % 60)
                .map(|_| {
                    let constraints: Vec<_> = (0..m).map(|_| (draw(40), draw(6) + 0.25)).collect();
                    forecast(draw(12), &constraints)
                })
                .collect();
            let limits: Vec<f64> = (0..m).map(|_| draw(24)).collect();
            let bounds = bounds(&limits);
            for confidence in [0.5, 0.9, 0.99] {
                let solution = solve(&forecasts, &bounds, confidence).unwrap();
                assert_eq!(solution, by_definition(&forecasts, &bounds, confidence), "seed {seed}");
                match solution {
                    Solution::Best { .. } => solved += 1,
                    Solution::Infeasible { .. } => infeasible += 1,
                }
            }
        }
        assert!(solved > 100 && infeasible > 100, "{solved} solved, {infeasible} infeasible");
    }

    #[test]
    fn infeasibility_is_explained_even_where_every_probability_underflows() {
        let tight = bounds(&[10.0, 1.0]);
        let noisy = [
            forecast(9.0, &[(9.0, 0.1), (90.0, 0.1)]),
            forecast(1.0, &[(9.0, 0.1), (50.0, 0.1)]),
            forecast(5.0, &[(9.0, 0.1), (70.0, 0.1)]),
        ];
        let Solution::Infeasible { nearest, probability, binding, excess } =
            solve(&noisy.into_iter().collect(), &tight, 0.9).unwrap()
        else {
            panic!("nothing is feasible");
        };
        assert_eq!((nearest, probability, binding), (1, 0.0, 1));
        assert!((excess - 49.0).abs() < 1e-12);

        // Known exactly: all probabilities are zero, the smallest excess wins.
        let exact = [forecast(9.0, &[(20.0, 0.0), (0.0, 0.0)]), forecast(1.0, &[(12.0, 0.0), (0.0, 0.0)])];
        assert_eq!(
            solve(&exact.into_iter().collect(), &tight, 0.9).unwrap(),
            Solution::Infeasible { nearest: 1, probability: 0.0, binding: 0, excess: 2.0 }
        );
    }

    #[test]
    fn relaxing_a_limit_of_either_sign_loosens_it() {
        let forecasts = [
            forecast(1.0, &[(9.0, 0.0), (-10.5, 0.0)]),
            forecast(2.0, &[(10.9, 0.0), (-10.5, 0.0)]),
            forecast(3.0, &[(9.0, 0.0), (-9.1, 0.0)]),
        ];
        let hopeless: Forecasts = forecasts[..1].iter().cloned().collect();
        let forecasts: Forecasts = forecasts.into_iter().collect();
        let relaxed = relaxations(&forecasts, &bounds(&[10.0, -10.0]), 0.9, 0.1).unwrap();
        assert_eq!(
            relaxed,
            [Relaxed { bound: 0, limit: 11.0, best: Some(1) }, Relaxed { bound: 1, limit: -9.0, best: Some(2) },]
        );
        let hopeless = relaxations(&hopeless, &bounds(&[1.0, 0.0]), 0.9, 0.1).unwrap();
        assert_eq!(hopeless.iter().find_map(|r| r.best), None);
    }

    #[test]
    fn nonsensical_requests_are_errors() {
        let forecasts: Forecasts = [forecast(1.0, &[(1.0, 1.0)])].into_iter().collect();
        let one = bounds(&[1.0]);
        assert_eq!(solve(&Forecasts::default(), &one, 0.9), Err(SolverError::NoCandidates));
        assert_eq!(solve(&forecasts, &one, 1.1), Err(SolverError::Confidence(1.1)));
        assert!(solve(&forecasts, &one, f64::NAN).is_err());
        assert_eq!(relaxations(&forecasts, &one, 0.9, -0.1), Err(SolverError::Fraction(-0.1)));
    }
}
