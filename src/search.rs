//! The loop "measure → model → propose → measure", then solve and verify.
//!
//! This module owns the order of things and computes nothing itself: [`crate::exec`] measures,
//! [`crate::surrogate`] predicts, [`crate::solver`] decides, [`crate::verify`] judges. Every decision is a
//! function of the problem and of the figures measured so far, so a study that is killed and started again
//! proposes the same designs and ends with the same answer.

mod beliefs;
mod conclude;
mod explore;
mod gain;
mod level;
mod listing;
mod model;
mod monotone;
mod pace;
mod refine;
pub mod replay;
mod strategy;

use serde::{Deserialize, Serialize};

use crate::config::{Objective, Strategy};
use crate::exec::{ExecError, Executor};
use crate::measurement::{DesignId, Evaluation, Fidelity, Metric};
use crate::protocol::Plan;
use crate::solver::{self, Bound, Bounds};
use crate::space::{Candidate, Candidates, ChannelSets, Place};
use crate::surrogate::SurrogateError;
use crate::verify::{MetricBound, Verdict};

use explore::Search;

pub use gain::{Gain, Openness};
pub use listing::Listing;
pub use model::{Diagnostics, Models, PredictedFigure};

/// What is to be solved.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// Every design that the exact budgets admit.
    pub candidates: &'a Candidates<'a>,
    /// What is known of other sets of channels: where the model strategy looks beyond the candidates.
    pub sets: &'a dyn ChannelSets,
    /// Bounds on leakage.
    pub bounds: &'a [MetricBound],
    /// Joint probability with which the bounds must hold.
    pub confidence: f64,
    /// Mean PSNR of the mean image, which needs no features at all, dB.
    pub floor: f64,
    /// Whether the attacker can invert the local net.
    pub inverted: bool,
    /// The study's seed.
    pub seed: u64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// What is sought.
    pub objective: Objective,
    /// Which designs are measured.
    pub strategy: Strategy,
    /// What may be spent.
    pub plan: Plan,
    /// Seconds that the study's measurements may take, its first verification included. Which designs are measured then depends
    /// on how long measurements take, and so on the machine.
    pub seconds: Option<f64>,
    /// Work of measuring a candidate of a place at a fidelity, in any unit: what its time is in proportion to.
    pub work: &'a (dyn Fn(&Place, Fidelity) -> f64 + Sync),
}

/// How a study ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The chosen design met every bound in verification.
    Verified,
    /// The allowance was spent before a design was verified.
    Unverified,
    /// No design can be expected to meet the bounds.
    Infeasible,
}

/// What relaxing one bound by a tenth would bring, by the models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relaxation {
    /// The bound.
    pub metric: Metric,
    /// Its limit, relaxed.
    pub limit: f64,
    /// The design that would be chosen then.
    pub design: DesignId,
    /// Predicted gain in accuracy.
    pub gain: f64,
}

/// What the search found.
#[derive(Debug, Clone)]
pub struct Findings {
    /// How it ended.
    pub status: Status,
    /// Sets of channels that the search found beyond the problem's candidates: they are numbered after those.
    pub refined: Vec<Candidate>,
    /// Index of the chosen design: verified, or the best unverified, or the nearest to feasible.
    pub chosen: Option<usize>,
    /// Joint probability that the chosen design meets the bounds, before its verification.
    pub probability: f64,
    /// Every verification, in order; the last one is the chosen design's where it is verified.
    pub verdicts: Vec<Verdict>,
    /// The bound that keeps the designs from being feasible, or the tightest on the chosen one.
    pub binding: Option<Metric>,
    /// The models at the end.
    pub models: Models,
    /// What verification adds to the models' predictions, as learnt from the verdicts.
    pub gain: Gain,
    /// Index and evaluation of every search measurement that succeeded.
    pub measured: Vec<(usize, Evaluation)>,
    /// Index and evaluation of every screening that succeeded.
    pub screened: Vec<(usize, Evaluation)>,
    /// What relaxing bounds would bring.
    pub relaxations: Vec<Relaxation>,
    /// What a reader must know.
    pub warnings: Vec<String>,
}

impl Findings {
    /// Design `index` of the problem's candidates and the refined ones.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn candidate(&self, problem: &Problem<'_>, index: usize) -> Candidate {
        let candidates = problem.candidates;
        if index < candidates.len() { candidates.get(index) } else { self.refined[index - candidates.len()].clone() }
    }
}

impl Problem<'_> {
    /// The bounds as the solver takes them.
    pub fn solver_bounds(&self) -> Bounds {
        let bound = |b: &MetricBound| Bound { name: b.metric.to_string(), limit: b.limit };
        Bounds(self.bounds.iter().map(bound).collect())
    }

    /// Share of a full measurement's work that a screening is, of all candidates the median; `None` where the plan screens
    /// nothing, the strategy is a baseline, or there is no more to measure than the allowance anyway.
    fn screening_share(&self) -> Option<f64> {
        let fidelity = self.plan.screening.filter(|_| self.strategy == Strategy::Model)?;
        let share = |place: &Place| (self.work)(place, fidelity) / (self.work)(place, self.plan.search);
        let share = pace::median(self.sample().map(share))?;
        (share < 1.0 && self.candidates.len() > self.plan.evaluations).then_some(share)
    }

    /// The places of some of the candidates: a thousand of them tell the median of a million.
    fn sample(&self) -> impl Iterator<Item = &Place> {
        (0..self.candidates.len()).step_by(self.candidates.len() / 1000 + 1).map(|index| self.candidates.place(index))
    }
}

/// Why a search can't go on.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// Interrupted, or the disk is full.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The models can't be fitted.
    #[error("the predictive models can't be fitted: {0}")]
    Surrogate(#[from] SurrogateError),
    /// A forecast is not a number.
    #[error(transparent)]
    Solver(#[from] solver::SolverError),
    /// Not one measurement succeeded.
    #[error("all {attempts} measurements failed; the last one: {reason}")]
    NothingMeasured {
        /// How many were tried.
        attempts: usize,
        /// Why the last one failed.
        reason: String,
    },
}

/// Runs the search on `problem`.
///
/// # Errors
/// [`SearchError`]; everything measured before stays on disk.
pub fn run(problem: &Problem<'_>, executor: &mut Executor<'_>) -> Result<Findings, SearchError> {
    let mut search = Search::new(problem, executor);
    search.explore(executor)?;
    search.refine(executor)?;
    search.conclude(executor)
}

#[cfg(test)]
mod tests;
