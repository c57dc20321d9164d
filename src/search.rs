//! The loop "measure → model → propose → measure", then solve and verify.
//!
//! This module owns the order of things and computes nothing itself: [`crate::exec`] measures,
//! [`crate::surrogate`] predicts, [`crate::solver`] decides, [`crate::verify`] judges. Every decision is a
//! function of the problem and of the figures measured so far, so a study that is killed and started again
//! proposes the same designs and ends with the same answer.

mod beliefs;
mod model;
mod monotone;
mod refine;
pub mod replay;
mod strategy;

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::config::{Objective, Strategy};
use crate::exec::{ExecError, Executor, Job};
use crate::measurement::{DesignId, Evaluation, Fidelity, Metric, Outcome};
use crate::protocol::Plan;
use crate::solver::{self, Bound, Bounds, Forecasts, Front, Solution};
use crate::space::{Candidate, ChannelSets, Design};
use crate::surrogate::{Points, SurrogateError};
use crate::verify::{self, MetricBound, Verdict};

use beliefs::Beliefs;
use strategy::{Ground, Incumbent, Judged, Learner};

pub use model::{Diagnostics, Gain, Models, PredictedFigure};

/// Below this joint probability of feasibility a design is not worth a verification.
const HOPELESS: f64 = 0.05;

/// What is to be solved.
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// Every design that the exact budgets admit.
    pub candidates: &'a [Candidate],
    /// What is known of other sets of channels: where the model strategy looks beyond the candidates.
    pub sets: &'a dyn ChannelSets,
    /// Bounds on leakage.
    pub bounds: &'a [MetricBound],
    /// Joint probability with which the bounds must hold.
    pub confidence: f64,
    /// Mean PSNR of the mean image, which needs no features at all, dB.
    pub floor: f64,
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
    /// Work of measuring a candidate at a fidelity, in any unit: what its time is in proportion to.
    pub work: &'a (dyn Fn(&Candidate, Fidelity) -> f64 + Sync),
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
    /// What relaxing bounds would bring.
    pub relaxations: Vec<Relaxation>,
    /// What a reader must know.
    pub warnings: Vec<String>,
}

impl Problem<'_> {
    /// The bounds as the solver takes them.
    pub fn solver_bounds(&self) -> Bounds {
        let bound = |b: &MetricBound| Bound { name: b.metric.to_string(), limit: b.limit };
        Bounds(self.bounds.iter().map(bound).collect())
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
    let mut points = Points::new(Candidate::FEATURES.len());
    problem.candidates.iter().for_each(|candidate| points.push(&candidate.features(), candidate.split_index));
    let bounds = problem.solver_bounds();
    let number: HashMap<&DesignId, usize> = problem.candidates.iter().enumerate().map(|(i, c)| (&c.id, i)).collect();
    let adopted = executor.adopted().into_iter();
    let measured: Vec<(usize, Evaluation)> =
        adopted.filter_map(|evaluation| Some((*number.get(&evaluation.design)?, evaluation))).collect();
    let tried = measured.iter().map(|&(index, _)| index).collect();
    // What other studies measured needs no measuring, but a little of this one's own always goes where its bounds are.
    let own = problem.plan.evaluations.saturating_sub(measured.len()).max(problem.plan.evaluations.div_ceil(8));
    let evaluations = (measured.len() + own).min(problem.candidates.len());
    let mut search = Search {
        problem,
        points,
        bounds: &bounds,
        evaluations,
        refined: Vec::new(),
        measured,
        tried,
        last_failure: None,
    };
    search.explore(executor)?;
    search.refine(executor)?;
    search.conclude(executor)
}

/// Numbers the candidates' combinations of split and depth.
fn groups(candidates: &[Candidate]) -> Vec<usize> {
    let mut known = std::collections::BTreeMap::new();
    let mut number = |candidate: &Candidate| {
        let next = known.len();
        *known.entry((candidate.split_index, candidate.design.channels.depth())).or_insert(next)
    };
    candidates.iter().map(&mut number).collect()
}

/// The search's state: what was measured so far.
struct Search<'a> {
    problem: &'a Problem<'a>,
    /// All candidates, the refined ones last.
    points: Points,
    bounds: &'a Bounds,
    refined: Vec<Candidate>,
    /// Designs measured before the answer is sought, those of other studies included.
    evaluations: usize,
    measured: Vec<(usize, Evaluation)>,
    tried: BTreeSet<usize>,
    last_failure: Option<String>,
}

impl Learner for Search<'_> {
    fn beliefs(&self) -> Result<Beliefs<'_>, SearchError> {
        let gain = Gain::prior(&self.problem.plan);
        Ok(self.fit()?.beliefs(&self.points, self.problem.objective, self.problem.bounds, &gain))
    }

    /// Only where time is limited: which designs are measured would else depend on the machine.
    fn log_seconds(&self) -> Option<Vec<f64>> {
        use rayon::prelude::*;
        self.problem.seconds?;
        let (problem, pace) = (self.problem, self.pace()?);
        let seconds = |candidate: &Candidate| (pace * (problem.work)(candidate, problem.plan.search)).ln();
        Some(problem.candidates.par_iter().chain(&self.refined).map(seconds).collect())
    }

    fn incumbent(&self, forecasts: &Forecasts) -> Result<Incumbent, SearchError> {
        if let [accuracy, privacy] = &forecasts.objectives[..] {
            let feasible = |index: &usize| {
                solver::probability_feasible(forecasts.constraints(*index), self.bounds) >= self.problem.confidence
            };
            let measured: Vec<usize> = self.measured.iter().map(|&(index, _)| index).filter(feasible).collect();
            let value = |&index: &usize| (accuracy[index].mean, privacy[index].mean);
            // Where mean PSNR isn't bounded, what leaks more than all that was measured is worth nothing.
            let limit = self.problem.bounds.iter().find(|bound| bound.metric == Metric::PsnrMean).map(|b| -b.limit);
            let least = self.measured.iter().map(|&(index, _)| privacy[index].mean).fold(f64::INFINITY, f64::min);
            let reference = (model::to_logit(self.problem.chance), limit.unwrap_or(least - 1.0));
            return Ok(match measured.is_empty() {
                true => Incumbent::None,
                false => Incumbent::Front(Front::new(measured.iter().map(value), reference)),
            });
        }
        Ok(match solver::solve(forecasts, self.bounds, self.problem.confidence)? {
            Solution::Best { index, .. } => Incumbent::Value(forecasts.objective(index).mean),
            Solution::Infeasible { .. } => Incumbent::None,
        })
    }
}

impl Search<'_> {
    /// The problem's candidates, then the refined ones.
    fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.problem.candidates.iter().chain(&self.refined)
    }

    fn candidate(&self, index: usize) -> &Candidate {
        let candidates = self.problem.candidates;
        candidates.get(index).unwrap_or_else(|| &self.refined[index - candidates.len()])
    }

    /// Designs measured before the search refines, for which the model strategy keeps one measurement of more than a few.
    fn explored(&self) -> usize {
        self.evaluations - usize::from(self.problem.strategy == Strategy::Model && self.evaluations > 4)
    }

    /// Whether the allowance of search measurements is spent, but for the one that refines.
    fn spent(&self, executor: &Executor<'_>) -> bool {
        self.tried.len() >= self.explored() || self.out_of_time(executor)
    }

    /// Whether the allowance of time is spent, but for one verification.
    fn out_of_time(&self, executor: &Executor<'_>) -> bool {
        self.search_seconds().is_some_and(|limit| executor.asked_seconds() >= limit)
    }

    /// Seconds that the search may take: of the allowance what one verification leaves.
    fn search_seconds(&self) -> Option<f64> {
        Some((self.problem.seconds? - self.verification_seconds(None)).max(0.0))
    }

    /// Seconds that verifying a candidate is expected to take at most, of all candidates the median; 0 while no time is known.
    fn verification_seconds(&self, index: Option<usize>) -> f64 {
        let problem = self.problem;
        let Some(pace) = self.pace() else {
            return 0.0;
        };
        let work = |candidate| (problem.work)(candidate, problem.plan.verification);
        let work = match index {
            Some(index) => Some(work(self.candidate(index))),
            // A thousand of them tell the median of a million.
            None => median(problem.candidates.iter().step_by(problem.candidates.len() / 1000 + 1).map(work)),
        };
        pace * work.unwrap_or(0.0) * problem.plan.verification_seeds as f64
    }

    /// Seconds per unit of work, by the median of this study's own measurements; `None` before there are any.
    fn pace(&self) -> Option<f64> {
        let own = self.measured.iter().filter(|(_, evaluation)| evaluation.from.is_none());
        let pace = |(index, evaluation): &(usize, Evaluation)| {
            evaluation.seconds / (self.problem.work)(self.candidate(*index), evaluation.fidelity)
        };
        median(own.map(pace).filter(|pace| pace.is_finite() && *pace > 0.0))
    }

    /// Measures candidates at the search's fidelity, side by side; each with why.
    fn measure(&mut self, executor: &mut Executor<'_>, chosen: Vec<(usize, String)>) -> Result<(), SearchError> {
        let problem = self.problem;
        let (indices, reasons): (Vec<usize>, Vec<String>) = chosen.into_iter().unzip();
        let job = |(&index, reason): (&usize, String)| Job {
            candidate: self.candidate(index),
            fidelity: problem.plan.search,
            seed: problem.seed,
            verifying: None,
            reason,
        };
        let jobs: Vec<Job<'_>> = indices.iter().zip(reasons).map(job).collect();
        let evaluations = executor.measure(&jobs, self.search_seconds())?;
        for (index, evaluation) in indices.into_iter().zip(evaluations) {
            let Some(evaluation) = evaluation else {
                continue;
            };
            self.tried.insert(index);
            match &evaluation.outcome {
                Outcome::Done(_) => self.measured.push((index, evaluation)),
                Outcome::Failed { reason } => self.last_failure = Some(reason.clone()),
            }
        }
        Ok(())
    }

    /// Measures what the strategy proposes, round after round, until the allowance is spent.
    fn explore(&mut self, executor: &mut Executor<'_>) -> Result<(), SearchError> {
        let problem = self.problem;
        let plan = &problem.plan;
        let groups = groups(problem.candidates);
        let initial = plan.initial().min(problem.candidates.len());
        while !self.spent(executor) {
            // The models need something to learn from; where every first measurement failed there is nothing.
            if self.measured.is_empty() && self.tried.len() >= initial {
                break;
            }
            let count = plan.round.min(self.explored() - self.tried.len());
            let ground = Ground {
                points: &self.points,
                groups: &groups,
                bounds: self.bounds,
                strategy: problem.strategy,
                evaluations: self.evaluations,
                initial,
                seed: problem.seed,
            };
            let mut proposals = ground.propose(&self.tried, &self.judged(), count, self)?;
            if problem.seconds.is_some() {
                // Few at a time, so that the first ones' time tells how many there may be.
                proposals.truncate(plan.round);
            }
            if proposals.is_empty() {
                break;
            }
            self.measure(executor, proposals)?;
        }
        Ok(())
    }

    /// The last measurement of the model strategy goes to a set of channels that is none of the candidates: what swaps make of
    /// the best of them, where the models promise more of it.
    fn refine(&mut self, executor: &mut Executor<'_>) -> Result<(), SearchError> {
        let spent = self.tried.len() >= self.evaluations || self.out_of_time(executor) || self.measured.is_empty();
        if self.problem.strategy != Strategy::Model || spent {
            return Ok(());
        }
        let beliefs = self.beliefs()?;
        let forecasts = beliefs.forecasts();
        let incumbent = self.incumbent(&forecasts)?;
        let fresh = |index: usize| !self.tried.contains(&index);
        let next = solver::propose(&forecasts, self.bounds, incumbent.best(), fresh, |_| 0.0)?;
        let base = match solver::solve(&forecasts, self.bounds, self.problem.confidence)? {
            Solution::Best { index, .. } => index,
            Solution::Infeasible { nearest, .. } => nearest,
        };
        let (sets, seed) = (self.problem.sets, self.problem.seed);
        let refined = refine::refine(self.candidate(base), sets, &beliefs, self.bounds, incumbent.best(), seed)?;
        let refined = refined.filter(|(candidate, found)| {
            next.is_none_or(|(_, score)| *found > score) && self.candidates().all(|known| known.id != candidate.id)
        });
        let proposal = match (refined, next) {
            (Some((candidate, score)), _) => {
                self.points.push(&candidate.features(), candidate.split_index);
                self.refined.push(candidate);
                let base = &self.candidate(base).id;
                (self.points.len() - 1, format!("local search over the channels of {base}: log acquisition {score:.2}"))
            }
            (None, Some((index, score))) => (index, format!("log expected constrained improvement {score:.2}")),
            (None, None) => return Ok(()),
        };
        self.measure(executor, vec![proposal])
    }

    /// What was measured, against the bounds on the scale of verification.
    fn judged(&self) -> Vec<Judged> {
        let gain = Gain::prior(&self.problem.plan);
        let judge = |(index, evaluation): &(usize, Evaluation)| {
            let value = |metric: Metric| evaluation.measurements().iter().find(|row| row.metric == metric);
            let expected = |bound: &MetricBound| {
                let row = value(bound.metric)?;
                let figure = PredictedFigure { metric: row.metric, value: row.value, sd: row.std_error };
                Some((gain.expected(figure).value - bound.limit) / bound.limit.abs().max(1e-9))
            };
            let violation = self.problem.bounds.iter().filter_map(expected).fold(0.0, f64::max);
            let objective = value(Metric::Accuracy).map_or(0.0, |row| row.value);
            Judged { index: *index, objective, violation }
        };
        self.measured.iter().map(judge).collect()
    }

    /// Solves and verifies, until a design holds or the attempts are spent.
    fn conclude(&mut self, executor: &mut Executor<'_>) -> Result<Findings, SearchError> {
        if self.measured.is_empty() {
            return Err(SearchError::NothingMeasured {
                attempts: self.tried.len(),
                reason: self.last_failure.clone().unwrap_or_else(|| "none was made".to_owned()),
            });
        }
        let problem = self.problem;
        let mut models = self.fit()?;
        let mut warnings = monotone::warnings(&self.leakage());
        let trusted = models.trusted(&mut warnings);
        // Measurements beyond the allowance, one per attempt at most.
        let mut extra = problem.plan.verification_attempts;
        let mut gain = Gain::prior(&problem.plan);
        let mut verdicts: Vec<Verdict> = Vec::new();
        let mut refuted = BTreeSet::new();
        let mut forecasts;
        let (status, chosen, probability, binding) = loop {
            forecasts = models.beliefs(&self.points, Objective::Accuracy, problem.bounds, &gain).forecasts();
            let admitted: Vec<usize> =
                (0..forecasts.len()).filter(|i| !refuted.contains(i) && (trusted || self.tried.contains(i))).collect();
            let subset = forecasts.select(&admitted);
            if subset.is_empty() {
                // Everything that may be believed was refuted, for reasons that the verdicts give.
                let last = verdicts.last().and_then(|v| self.candidates().position(|c| c.id == v.design));
                break (Status::Unverified, last, 0.0, None);
            }
            let (index, probability, binding) = match solver::solve(&subset, self.bounds, problem.confidence)? {
                Solution::Best { index, probability } => (admitted[index], probability, None),
                Solution::Infeasible { nearest, probability, binding, .. } => {
                    (admitted[nearest], probability, problem.bounds.get(binding).map(|b| b.metric))
                }
            };
            if probability < HOPELESS {
                break (Status::Infeasible, Some(index), probability, binding);
            }
            let spent = problem.seconds.is_some_and(|limit| {
                !verdicts.is_empty() && executor.asked_seconds() + self.verification_seconds(Some(index)) > limit
            });
            if spent {
                warnings.push("the time was spent before a design was verified: allow more minutes".to_owned());
            }
            if spent || verdicts.len() >= problem.plan.verification_attempts {
                break (Status::Unverified, Some(index), probability, binding);
            }
            // A design that is known by prediction only is measured first: that may change the choice, and the
            // verifying attack can be held against it.
            if !self.tried.contains(&index) && extra > 0 && !self.out_of_time(executor) {
                extra -= 1;
                let reason = "chosen by the models: measured before its verification";
                self.measure(executor, vec![(index, reason.to_owned())])?;
                models = self.fit()?;
                continue;
            }
            let candidate = self.candidate(index);
            let within = self.candidates().filter(|part| candidate.design.contains(&part.design));
            let terms = verify::Terms {
                bounds: problem.bounds,
                confidence: problem.confidence,
                floor: problem.floor,
                parts: &within.map(|part| part.id.clone()).collect::<Vec<_>>(),
            };
            let verdict = verify::verify(executor, candidate, &terms, &problem.plan, problem.seed)?;
            gain.learn(&models, self.candidate(index), &verdict);
            let holds = verdict.holds;
            verdicts.push(verdict);
            if holds {
                let tightest = tightest(&verdicts[verdicts.len() - 1]);
                break (Status::Verified, Some(index), probability, tightest);
            }
            refuted.insert(index);
        };
        let relaxations = self.relaxations(&forecasts, chosen)?;
        Ok(Findings {
            status,
            refined: std::mem::take(&mut self.refined),
            chosen,
            probability,
            verdicts,
            binding,
            models,
            gain,
            measured: std::mem::take(&mut self.measured),
            relaxations,
            warnings,
        })
    }

    /// Mean PSNR of every measured design, with its standard error, dB.
    fn leakage(&self) -> Vec<(&Design, f64, f64)> {
        let of = |(index, evaluation): &(usize, Evaluation)| {
            let row = evaluation.measurements().iter().find(|row| row.metric == Metric::PsnrMean)?;
            Some((&self.candidate(*index).design, row.value, row.std_error))
        };
        self.measured.iter().filter_map(of).collect()
    }

    fn fit(&self) -> Result<Models, SearchError> {
        let rows: Vec<_> =
            self.measured.iter().map(|(index, evaluation)| (self.candidate(*index), evaluation)).collect();
        Ok(Models::fit(&rows, self.problem.bounds, self.problem.seed)?)
    }

    fn relaxations(&self, forecasts: &Forecasts, chosen: Option<usize>) -> Result<Vec<Relaxation>, SearchError> {
        let Some(chosen) = chosen else {
            return Ok(Vec::new());
        };
        let accuracy = |index: usize| model::from_logit(forecasts.objective(index).mean);
        let now = accuracy(chosen);
        let relaxed = solver::relaxations(forecasts, self.bounds, self.problem.confidence, 0.1)?;
        Ok(relaxed
            .into_iter()
            .filter_map(|r| {
                let index = r.best?;
                let metric = self.problem.bounds[r.bound].metric;
                Some(Relaxation {
                    metric,
                    limit: r.limit,
                    design: self.candidate(index).id.clone(),
                    gain: accuracy(index) - now,
                })
            })
            .collect())
    }
}

/// The middle value; `None` of none.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The bound that a verified design comes nearest to, counted in standard errors: decibels and SSIM have no common unit.
fn tightest(verdict: &Verdict) -> Option<Metric> {
    let slack = |f: &verify::VerifiedFigure| Some((f.metric, (f.limit? - f.upper?) / f.std_error.max(1e-9)));
    let mut all: Vec<_> = verdict.figures.iter().filter_map(slack).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all.first().map(|&(metric, _)| metric)
}

#[cfg(test)]
mod tests;
