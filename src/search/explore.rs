//! The search's state, and which designs it measures.

use std::collections::{BTreeSet, HashMap};

use crate::config::Strategy;
use crate::exec::{Executor, Job};
use crate::measurement::{DesignId, Evaluation, Metric, Outcome};
use crate::solver::{self, Bounds, Forecasts, Front, Solution};
use crate::space::Candidate;
use crate::surrogate::Points;
use crate::verify::MetricBound;

use super::beliefs::Beliefs;
use super::model::{self, Gain, Models, PredictedFigure};
use super::strategy::{Ground, Incumbent, Judged, Learner};
use super::{Problem, SearchError, refine};

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
pub(super) struct Search<'a> {
    pub(super) problem: &'a Problem<'a>,
    /// All candidates, the refined ones last.
    pub(super) points: Points,
    pub(super) bounds: Bounds,
    pub(super) refined: Vec<Candidate>,
    /// Designs measured before the answer is sought, those of other studies included.
    pub(super) evaluations: usize,
    pub(super) measured: Vec<(usize, Evaluation)>,
    pub(super) tried: BTreeSet<usize>,
    pub(super) last_failure: Option<String>,
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
                solver::probability_feasible(forecasts.constraints(*index), &self.bounds) >= self.problem.confidence
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
        Ok(match solver::solve(forecasts, &self.bounds, self.problem.confidence)? {
            Solution::Best { index, .. } => Incumbent::Value(forecasts.objective(index).mean),
            Solution::Infeasible { .. } => Incumbent::None,
        })
    }
}

impl<'a> Search<'a> {
    /// A search that knows what other studies measured for it.
    pub(super) fn new(problem: &'a Problem<'a>, executor: &Executor<'_>) -> Self {
        let mut points = Points::new(Candidate::FEATURES.len());
        problem.candidates.iter().for_each(|candidate| points.push(&candidate.features(), candidate.split_index));
        let number: HashMap<&DesignId, usize> =
            problem.candidates.iter().enumerate().map(|(i, c)| (&c.id, i)).collect();
        let adopted = executor.adopted().into_iter();
        let measured: Vec<(usize, Evaluation)> =
            adopted.filter_map(|evaluation| Some((*number.get(&evaluation.design)?, evaluation))).collect();
        let tried = measured.iter().map(|&(index, _)| index).collect();
        // What other studies measured needs no measuring, but a little of this one's own always goes where its bounds are.
        let own = problem.plan.evaluations.saturating_sub(measured.len()).max(problem.plan.evaluations.div_ceil(8));
        let evaluations = (measured.len() + own).min(problem.candidates.len());
        Self {
            problem,
            points,
            bounds: problem.solver_bounds(),
            evaluations,
            refined: Vec::new(),
            measured,
            tried,
            last_failure: None,
        }
    }

    /// The problem's candidates, then the refined ones.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        self.problem.candidates.iter().chain(&self.refined)
    }

    pub(super) fn candidate(&self, index: usize) -> &Candidate {
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

    /// Measures candidates at the search's fidelity, side by side; each with why.
    pub(super) fn measure(
        &mut self,
        executor: &mut Executor<'_>,
        chosen: Vec<(usize, String)>,
    ) -> Result<(), SearchError> {
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
    pub(super) fn explore(&mut self, executor: &mut Executor<'_>) -> Result<(), SearchError> {
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
                bounds: &self.bounds,
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
    pub(super) fn refine(&mut self, executor: &mut Executor<'_>) -> Result<(), SearchError> {
        let spent = self.tried.len() >= self.evaluations || self.out_of_time(executor) || self.measured.is_empty();
        if self.problem.strategy != Strategy::Model || spent {
            return Ok(());
        }
        let beliefs = self.beliefs()?;
        let forecasts = beliefs.forecasts();
        let incumbent = self.incumbent(&forecasts)?;
        let fresh = |index: usize| !self.tried.contains(&index);
        let next = solver::propose(&forecasts, &self.bounds, incumbent.best(), fresh, |_| 0.0)?;
        let base = match solver::solve(&forecasts, &self.bounds, self.problem.confidence)? {
            Solution::Best { index, .. } => index,
            Solution::Infeasible { nearest, .. } => nearest,
        };
        let (sets, seed) = (self.problem.sets, self.problem.seed);
        let refined = match self.fit()?.trusted(&mut Vec::new()) {
            true => refine::refine(self.candidate(base), sets, &beliefs, &self.bounds, incumbent.best(), seed)?,
            // Swaps look for what the models say; models that have learnt nothing lead them anywhere.
            false => None,
        };
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

    pub(super) fn fit(&self) -> Result<Models, SearchError> {
        let rows: Vec<_> =
            self.measured.iter().map(|(index, evaluation)| (self.candidate(*index), evaluation)).collect();
        Ok(Models::fit(&rows, self.problem.bounds, self.problem.seed)?)
    }
}
