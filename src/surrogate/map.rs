//! Maximum a posteriori hyperparameters by multi-start L-BFGS.

use std::cell::RefCell;

use argmin::core::{ArgminError, CostFunction, Error, Executor, Gradient};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::FitOptions;
use super::cholesky::{Cholesky, dot};
use super::covariance::{Hyperparameters, Input};

/// Number of past steps that L-BFGS remembers.
const MEMORY: usize = 7;
const MAX_ITERATIONS: u64 = 60;
/// Tolerances on the mean (per row) negative log posterior and on its gradient's norm.
const COST_TOLERANCE: f64 = 1e-7;
const GRADIENT_TOLERANCE: f64 = 1e-5;

/// Normal prior of one unconstrained parameter.
#[derive(Debug, Clone, Copy)]
struct Normal {
    mean: f64,
    sd: f64,
}

/// Priors of `[ln ℓ₁ … ln ℓ_d, ln s², ln (σ² − floor), logit ρ]`.
///
/// Distances grow with √d, hence so do the lengthscales (Hvarfner et al., "Vanilla Bayesian optimization performs great
/// in high dimensions", ICML 2024). The linear mean carries a part of the signal, hence `s²` is around one half. The noise
/// is around a tenth of the target's standard deviation, with room for a factor of twenty either way.
fn priors(d: usize) -> Vec<Normal> {
    let lengthscale = Normal { mean: 2f64.ln() + 0.5 * (d.max(1) as f64).ln(), sd: 1.0 };
    let mut priors = vec![lengthscale; d];
    priors.push(Normal { mean: 0.5f64.ln(), sd: 1.0 });
    priors.push(Normal { mean: 0.01f64.ln(), sd: 2.0 });
    priors.push(Normal { mean: 0.0, sd: 1.5 });
    priors
}

/// Cost, gradient and the parameters they belong to.
#[derive(Debug, Clone)]
struct Evaluation {
    theta: Vec<f64>,
    cost: f64,
    gradient: Vec<f64>,
}

/// The negative log posterior of the hyperparameters, divided by the number of rows.
struct Posterior<'a> {
    inputs: &'a [Input],
    targets: &'a [f64],
    variances: &'a [f64],
    priors: Vec<Normal>,
    /// The last evaluation: a line search asks for the cost and the gradient at the same point one after the other.
    last: RefCell<Option<Evaluation>>,
    /// The best evaluation of all starts, which survives a failed line search.
    best: RefCell<Option<Evaluation>>,
}

impl Posterior<'_> {
    /// Rasmussen and Williams, equations 5.8 and 5.9, plus the log priors without their constants.
    ///
    /// `None` where the covariance can't be factorised or the result isn't finite.
    fn evaluate(&self, theta: &[f64]) -> Option<Evaluation> {
        let n = self.targets.len();
        let hyper = Hyperparameters::from_unconstrained(theta);
        let factor = Cholesky::with_jitter(&hyper.matrix(self.inputs, self.variances), n)?;
        let alpha = factor.solve(self.targets);
        let mut cost = 0.5 * (dot(self.targets, &alpha) + factor.log_determinant());

        let mut weights = factor.inverse();
        for i in 0..n {
            for j in 0..n {
                weights[i * n + j] -= alpha[i] * alpha[j];
            }
        }
        let mut gradient = hyper.contract_gradient(self.inputs, &weights);
        for ((prior, &t), slope) in self.priors.iter().zip(theta).zip(&mut gradient) {
            let z = (t - prior.mean) / prior.sd;
            cost += 0.5 * z * z;
            *slope += z / prior.sd;
        }
        cost /= n as f64;
        gradient.iter_mut().for_each(|slope| *slope /= n as f64);
        let finite = cost.is_finite() && gradient.iter().all(|slope| slope.is_finite());
        finite.then(|| Evaluation { theta: theta.to_vec(), cost, gradient })
    }

    fn visit(&self, theta: &[f64]) -> Result<Evaluation, Error> {
        if let Some(last) = self.last.borrow().as_ref()
            && last.theta == theta
        {
            return Ok(last.clone());
        }
        let evaluation = self.evaluate(theta).ok_or_else(|| ArgminError::ConditionViolated {
            text: "the covariance can't be factorised at this trial point".to_owned(),
        })?;
        let mut best = self.best.borrow_mut();
        if best.as_ref().is_none_or(|b| evaluation.cost < b.cost) {
            *best = Some(evaluation.clone());
        }
        *self.last.borrow_mut() = Some(evaluation.clone());
        Ok(evaluation)
    }

    /// Descends from `start`. Whatever stops the descent, `best` holds the best point seen.
    fn descend(&self, start: Vec<f64>) -> Result<(), Error> {
        let line_search = MoreThuenteLineSearch::new().with_c(1e-4, 0.9)?;
        let solver = LBFGS::new(line_search, MEMORY)
            .with_tolerance_cost(COST_TOLERANCE)?
            .with_tolerance_grad(GRADIENT_TOLERANCE)?;
        Executor::new(Shared(self), solver).configure(|state| state.param(start).max_iters(MAX_ITERATIONS)).run()?;
        Ok(())
    }
}

/// Lends one posterior to several executors, each of which wants to own its problem.
struct Shared<'a, 'b>(&'a Posterior<'b>);

impl CostFunction for Shared<'_, '_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, theta: &Vec<f64>) -> Result<f64, Error> {
        Ok(self.0.visit(theta)?.cost)
    }
}

impl Gradient for Shared<'_, '_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, theta: &Vec<f64>) -> Result<Vec<f64>, Error> {
        Ok(self.0.visit(theta)?.gradient)
    }
}

/// Hyperparameters of the highest posterior density found; the prior's mode where nothing could be evaluated.
///
/// `inputs`, `targets` (standardised) and `variances` (in squared standardised units) have shape `[n]`, n ≥ 1. The first
/// start is the prior's mode, the others are drawn from the prior. The posterior is a density over the unconstrained
/// parameters.
pub(super) fn maximise(inputs: &[Input], targets: &[f64], variances: &[f64], options: &FitOptions) -> Hyperparameters {
    let priors = priors(inputs.first().map_or(0, |input| input.x.len()));
    let mode: Vec<f64> = priors.iter().map(|prior| prior.mean).collect();
    let posterior =
        Posterior { inputs, targets, variances, priors, last: RefCell::new(None), best: RefCell::new(None) };
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut start = mode.clone();
    for _ in 0..=options.restarts {
        // A failed line search is no failure of the fit: the best point seen is kept.
        let _ = posterior.descend(start);
        start = posterior.priors.iter().map(|prior| prior.mean + prior.sd * standard_normal(&mut rng)).collect();
    }
    let best = posterior.best.into_inner();
    Hyperparameters::from_unconstrained(&best.map_or(mode, |evaluation| evaluation.theta))
}

/// A standard normal variate by the Box-Muller transform.
fn standard_normal(rng: &mut impl Rng) -> f64 {
    let mut uniform = || ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let (u, v) = (uniform(), uniform());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(n: usize, d: usize) -> (Vec<Input>, Vec<f64>, Vec<f64>) {
        let inputs: Vec<Input> = (0..n)
            .map(|i| Input { x: (0..d).map(|k| ((i * (k + 2)) as f64 * 0.7).sin() * 1.4).collect(), category: i % 3 })
            .collect();
        let targets = inputs.iter().map(|input| (input.x[0] * 1.5).sin() + 0.3 * input.category as f64 - 0.3).collect();
        (inputs, targets, vec![0.01; n])
    }

    #[test]
    fn gradient_equals_central_differences() {
        let (inputs, targets, variances) = problem(12, 3);
        let posterior = Posterior {
            inputs: &inputs,
            targets: &targets,
            variances: &variances,
            priors: priors(3),
            last: RefCell::new(None),
            best: RefCell::new(None),
        };
        for theta in [[0.3, -0.2, 1.1, -0.5, -3.0, 0.4], [-0.8, 0.9, 2.0, 0.7, -1.0, -1.3]] {
            let gradient = posterior.evaluate(&theta).unwrap().gradient;
            for k in 0..theta.len() {
                let at = |step: f64| {
                    let mut moved = theta;
                    moved[k] += step;
                    posterior.evaluate(&moved).unwrap().cost
                };
                let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (gradient[k] - numeric).abs() < 1e-7 * (1.0 + numeric.abs()),
                    "parameter {k}: {} against {numeric}",
                    gradient[k]
                );
            }
        }
    }

    #[test]
    fn the_best_point_is_stationary_and_better_than_the_mode() {
        let (inputs, targets, variances) = problem(20, 2);
        let posterior = Posterior {
            inputs: &inputs,
            targets: &targets,
            variances: &variances,
            priors: priors(2),
            last: RefCell::new(None),
            best: RefCell::new(None),
        };
        let mode: Vec<f64> = posterior.priors.iter().map(|prior| prior.mean).collect();
        let at_mode = posterior.evaluate(&mode).unwrap().cost;
        posterior.descend(mode).unwrap();
        let best = posterior.best.into_inner().unwrap();
        assert!(best.cost < at_mode - 0.01);
        let norm = dot(&best.gradient, &best.gradient).sqrt();
        assert!(norm < 1e-3, "gradient norm {norm}");
    }
}
