//! The search's state, and which designs it measures.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use crate::config::Strategy;
use crate::exec::{Executor, Job};
use crate::measurement::{DesignId, Evaluation, Fidelity, Metric, Outcome};
use crate::solver::{self, Bounds, Forecasts, Front, Solution};
use crate::space::{Candidate, Candidates, Place};
use crate::surrogate::Points;
use crate::verify::MetricBound;

use super::beliefs::Beliefs;
use super::gain::{Gain, Openness};
use super::level::{Allowance, Level, Tried};
use super::model::{self, Models, PredictedFigure};
use super::strategy::{Ground, Incumbent, Judged, Learner, Proposal};
use super::{Problem, SearchError, refine};

/// Numbers the candidates' combinations of split and depth.
fn groups(candidates: &Candidates<'_>) -> Vec<usize> {
    let mut known = BTreeMap::new();
    let mut groups = Vec::with_capacity(candidates.len());
    for (place, range) in candidates.places() {
        let next = known.len();
        let number = *known.entry((place.split_index, place.depth)).or_insert(next);
        groups.resize(range.end, number);
    }
    groups
}

/// The search's state: what was measured so far.
pub(super) struct Search<'a> {
    pub(super) problem: &'a Problem<'a>,
    /// All candidates, the refined ones last.
    pub(super) points: Points,
    pub(super) bounds: Bounds,
    pub(super) refined: Vec<Candidate>,
    /// Designs measured in full before the answer is sought, those of other studies included; a screening of this study
    /// counts as its share of one.
    pub(super) evaluations: usize,
    pub(super) measured: Vec<(usize, Evaluation)>,
    pub(super) screened: Vec<(usize, Evaluation)>,
    pub(super) tried: Tried,
    /// Screenings that other studies made.
    adopted_screenings: usize,
    /// Share of a full measurement that a screening costs, where there are screenings.
    screening: Option<f64>,
    pub(super) last_failure: Option<String>,
}

impl Learner for Search<'_> {
    fn beliefs(&self) -> Result<Beliefs<'_>, SearchError> {
        let gain = Gain::prior(&self.problem.plan);
        Ok(self.fit()?.beliefs(&self.points, self.problem.objective, self.problem.bounds, &gain))
    }

    /// Only where time is limited: which designs are measured would else depend on the machine.
    fn log_seconds(&self, level: Level) -> Option<Vec<f64>> {
        self.problem.seconds?;
        let (problem, pace) = (self.problem, self.pace()?);
        let fidelity = self.fidelity(level)?;
        let seconds = |place: &Place| (pace * (problem.work)(place, fidelity)).ln();
        let mut all = Vec::with_capacity(self.points.len());
        self.places().for_each(|(place, range)| all.resize(range.end, seconds(&place)));
        Some(all)
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
        let points = model::points(problem.candidates);
        let (mut measured, mut screened, mut tried) = (Vec::new(), Vec::new(), Tried::default());
        for evaluation in executor.adopted() {
            if let Some(index) = problem.candidates.index_of(&evaluation.design) {
                match evaluation.fidelity == problem.plan.search {
                    true => {
                        tried.insert(index, Level::Full);
                        measured.push((index, evaluation));
                    }
                    false => {
                        tried.insert(index, Level::Screening);
                        screened.push((index, evaluation));
                    }
                }
            }
        }
        // What other studies measured needs no measuring, but a little of this one's own always goes where its bounds are.
        let own = problem.plan.evaluations.saturating_sub(measured.len()).max(problem.plan.evaluations.div_ceil(4));
        let evaluations = (measured.len() + own).min(problem.candidates.len());
        Self {
            problem,
            points,
            bounds: problem.solver_bounds(),
            evaluations,
            refined: Vec::new(),
            adopted_screenings: screened.len(),
            screening: problem.screening_share(),
            measured,
            screened,
            tried,
            last_failure: None,
        }
    }

    /// The fidelity behind a level, where the plan has one.
    fn fidelity(&self, level: Level) -> Option<Fidelity> {
        match level {
            Level::Screening => self.problem.plan.screening,
            Level::Full => Some(self.problem.plan.search),
        }
    }

    /// A candidate, refined ones included.
    pub(super) fn candidate(&self, index: usize) -> Candidate {
        let candidates = self.problem.candidates;
        if index < candidates.len() { candidates.get(index) } else { self.refined[index - candidates.len()].clone() }
    }

    /// Its place.
    pub(super) fn place(&self, index: usize) -> Cow<'_, Place> {
        let candidates = self.problem.candidates;
        match index < candidates.len() {
            true => Cow::Borrowed(candidates.place(index)),
            false => Cow::Owned(self.refined[index - candidates.len()].place()),
        }
    }

    /// All places, each with its candidates' indices; then those of refined candidates.
    pub(super) fn places(&self) -> impl Iterator<Item = (Cow<'_, Place>, Range<usize>)> {
        let known = self.problem.candidates.places().map(|(place, range)| (Cow::Borrowed(place), range));
        let refined = (self.problem.candidates.len()..).zip(&self.refined);
        known.chain(refined.map(|(index, candidate)| (Cow::Owned(candidate.place()), index..index + 1)))
    }

    /// The candidate of an id, refined ones included.
    pub(super) fn index_of(&self, id: &DesignId) -> Option<usize> {
        let refined = || self.refined.iter().position(|candidate| candidate.id == *id);
        self.problem.candidates.index_of(id).or_else(|| Some(self.problem.candidates.len() + refined()?))
    }

    /// Designs measured before the search refines, for which the model strategy keeps one measurement of more than a few.
    fn explored(&self) -> usize {
        self.evaluations - usize::from(self.problem.strategy == Strategy::Model && self.evaluations > 4)
    }

    /// What is left of `evaluations` full measurements.
    fn left(&self, evaluations: usize) -> f64 {
        let screenings = (self.tried.screened.len() - self.adopted_screenings) as f64;
        evaluations as f64 - self.tried.full.len() as f64 - screenings * self.screening.unwrap_or(0.0)
    }

    fn allowance(&self, evaluations: usize) -> Allowance {
        let left = self.left(evaluations);
        Allowance { count: self.problem.plan.round.min(left.ceil().max(0.0) as usize), left }
    }

    /// Whether the allowance of search measurements is spent, but for the one that refines.
    fn spent(&self, executor: &Executor<'_>) -> bool {
        !self.allowance(self.explored()).affords_full() || self.out_of_time(executor)
    }

    /// Measures candidates side by side.
    pub(super) fn measure(&mut self, executor: &mut Executor<'_>, chosen: &[Proposal]) -> Result<(), SearchError> {
        let problem = self.problem;
        let candidates: Vec<Candidate> = chosen.iter().map(|proposal| self.candidate(proposal.index)).collect();
        let job = |(proposal, candidate): (&Proposal, _)| Job {
            candidate,
            fidelity: self.fidelity(proposal.level).unwrap_or(problem.plan.search),
            seed: problem.seed,
            verifying: None,
            reason: proposal.reason.clone(),
        };
        let jobs: Vec<Job<'_>> = chosen.iter().zip(&candidates).map(job).collect();
        let evaluations = executor.measure(&jobs, self.search_seconds())?;
        for (&Proposal { index, level, .. }, evaluation) in chosen.iter().zip(evaluations) {
            let Some(evaluation) = evaluation else {
                continue;
            };
            self.tried.insert(index, level);
            match (&evaluation.outcome, level) {
                (Outcome::Done(_), Level::Full) => self.measured.push((index, evaluation)),
                (Outcome::Done(_), Level::Screening) => self.screened.push((index, evaluation)),
                (Outcome::Failed { reason, .. }, _) => self.last_failure = Some(reason.clone()),
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
            if self.measured.is_empty() && self.screened.is_empty() && self.tried.designs() >= initial {
                break;
            }
            let ground = Ground {
                points: &self.points,
                groups: &groups,
                bounds: &self.bounds,
                strategy: problem.strategy,
                evaluations: self.evaluations,
                initial,
                screening: self.screening,
                seed: problem.seed,
            };
            let allowed = self.allowance(self.explored());
            let mut proposals = ground.propose(&self.tried, &self.judged(), allowed, self)?;
            if problem.seconds.is_some() {
                // Few at a time, so that the first ones' time tells how many there may be.
                proposals.truncate(plan.round);
            }
            if proposals.is_empty() {
                break;
            }
            self.measure(executor, &proposals)?;
        }
        Ok(())
    }

    /// The last measurement of the model strategy goes to a set of channels that is none of the candidates: what swaps make of
    /// the best of them, where the models promise more of it.
    pub(super) fn refine(&mut self, executor: &mut Executor<'_>) -> Result<(), SearchError> {
        let spent =
            !self.allowance(self.evaluations).affords_full() || self.out_of_time(executor) || self.measured.is_empty();
        if self.problem.strategy != Strategy::Model || spent {
            return Ok(());
        }
        let beliefs = self.beliefs()?;
        let forecasts = beliefs.forecasts();
        let incumbent = self.incumbent(&forecasts)?;
        let fresh = |index: usize| !self.tried.full.contains(&index);
        let next = solver::propose(&forecasts, &self.bounds, incumbent.best(), fresh, |_| 0.0)?;
        let base = match solver::solve(&forecasts, &self.bounds, self.problem.confidence)? {
            Solution::Best { index, .. } => index,
            Solution::Infeasible { nearest, .. } => nearest,
        };
        let (sets, seed) = (self.problem.sets, self.problem.seed);
        let refined = match self.fit()?.trusted(&mut Vec::new()) {
            true => refine::refine(&self.candidate(base), sets, &beliefs, &self.bounds, incumbent.best(), seed)?,
            // Swaps look for what the models say; models that have learnt nothing lead them anywhere.
            false => None,
        };
        let refined = refined.filter(|(candidate, found)| {
            next.is_none_or(|(_, score)| *found > score) && self.index_of(&candidate.id).is_none()
        });
        let proposal = match (refined, next) {
            (Some((candidate, score)), _) => {
                model::push(&mut self.points, &candidate);
                self.refined.push(candidate);
                let base = self.candidate(base).id;
                let reason = format!("local search over the channels of {base}: log acquisition {score:.2}");
                Proposal::full(self.points.len() - 1, reason)
            }
            (None, Some((index, score))) => {
                Proposal::full(index, format!("log expected constrained improvement {score:.2}"))
            }
            (None, None) => return Ok(()),
        };
        self.measure(executor, &[proposal])
    }

    /// What was measured, against the bounds on the scale of verification.
    fn judged(&self) -> Vec<Judged> {
        let gain = Gain::prior(&self.problem.plan);
        let judge = |(index, evaluation): &(usize, Evaluation)| {
            let design = Openness::of(&self.place(*index));
            let value = |metric: Metric| evaluation.measurements().iter().find(|row| row.metric == metric);
            let expected = |bound: &MetricBound| {
                let row = value(bound.metric)?;
                let figure = PredictedFigure { metric: row.metric, value: row.value, sd: row.std_error };
                Some((gain.expected(figure, design).value - bound.limit) / bound.limit.abs().max(1e-9))
            };
            let violation = self.problem.bounds.iter().filter_map(expected).fold(0.0, f64::max);
            let objective = value(Metric::Accuracy).map_or(0.0, |row| row.value);
            Judged { index: *index, objective, violation }
        };
        self.measured.iter().map(judge).collect()
    }

    pub(super) fn fit(&self) -> Result<Models, SearchError> {
        let full = self.measured.iter().map(|(index, evaluation)| (*index, Level::Full, evaluation));
        let screened = self.screened.iter().map(|(index, evaluation)| (*index, Level::Screening, evaluation));
        let rows: Vec<_> = full.chain(screened).collect();
        Ok(Models::fit(&self.points, &rows, self.problem.bounds, self.problem.seed)?)
    }
}
