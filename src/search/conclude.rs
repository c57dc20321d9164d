//! Solving and verifying, and what a reader of the answer must know.

use std::collections::BTreeSet;

use crate::config::Objective;
use crate::exec::Executor;
use crate::measurement::{DesignId, Evaluation, Metric};
use crate::solver::{self, Forecasts, Solution};
use crate::space::Design;
use crate::verify::{self, Verdict};

use super::explore::Search;
use super::gain::Gain;
use super::model;
use super::strategy::Proposal;
use super::{Findings, Relaxation, SearchError, Status, monotone};

/// Below this joint probability of feasibility a design is not worth a verification.
const HOPELESS: f64 = 0.05;

/// A design that verification confirmed.
#[derive(Clone, Copy)]
struct Held {
    index: usize,
    /// As verified.
    accuracy: f64,
    probability: f64,
    /// Its place among the verdicts.
    verdict: usize,
}

impl Search<'_> {
    /// Solves and verifies, until a design holds or the attempts are spent.
    pub(super) fn conclude(&mut self, executor: &mut Executor<'_>) -> Result<Findings, SearchError> {
        if self.measured.is_empty() {
            return Err(SearchError::NothingMeasured {
                attempts: self.tried.designs(),
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
        let mut attempts = 0;
        // Designs that were put to verification, and the best of those that held.
        let mut judged = BTreeSet::new();
        let mut held: Option<Held> = None;
        let mut forecasts;
        let (status, chosen, probability, binding) = loop {
            forecasts = models.beliefs(&self.points, Objective::Accuracy, problem.bounds, &gain).forecasts();
            gain.add_surprises(&mut forecasts, problem.bounds, self.places());
            let admitted: Vec<usize> = (0..forecasts.len())
                .filter(|i| !judged.contains(i) && (trusted || self.tried.full.contains(i)))
                .collect();
            let left = problem.plan.verification_attempts.saturating_sub(attempts);
            if let Some(held) = &held
                && (left == 0 || !self.may_improve(held, &forecasts, &admitted))
            {
                break (Status::Verified, Some(held.index), held.probability, tightest(&verdicts[held.verdict]));
            }
            let subset = forecasts.select(&admitted);
            if subset.is_empty() {
                // Everything that may be believed was refuted, for reasons that the verdicts give.
                let last = verdicts.last().and_then(|v| self.index_of(&v.design));
                break (Status::Unverified, last, 0.0, None);
            }
            let (index, probability, binding) = match solver::solve(&subset, &self.bounds, self.wanted(left))? {
                Solution::Best { index, probability } => (admitted[index], probability, None),
                Solution::Infeasible { nearest, probability, binding, .. } => {
                    (admitted[nearest], probability, problem.bounds.get(binding).map(|b| b.metric))
                }
            };
            let spent = problem.seconds.is_some_and(|limit| {
                attempts > 0 && executor.asked_seconds() + self.verification_seconds(Some(index)) > limit
            });
            if let Some(held) = held.filter(|_| spent) {
                break (Status::Verified, Some(held.index), held.probability, tightest(&verdicts[held.verdict]));
            }
            if probability < HOPELESS {
                let open: Vec<usize> = (0..forecasts.len()).filter(|i| !self.tried.full.contains(i)).collect();
                let chance = |&i: &usize| solver::probability_feasible(forecasts.constraints(i), &self.bounds);
                let foretold = || models.foretells_leakage() && open.iter().map(chance).all(|chance| chance < HOPELESS);
                if open.is_empty() || self.is_below_floor() || foretold() {
                    break (Status::Infeasible, Some(index), probability, binding);
                }
                warnings.push(format!(
                    "none of the {} designs that were measured can be expected to meet the budget, and {} others were not judged: allow more \
                     evaluations (`effort: {{evaluations: N}}`)",
                    self.tried.full.len(),
                    open.len()
                ));
                break (Status::Unverified, Some(index), probability, binding);
            }
            if spent {
                warnings.push("the time was spent before a design was verified: allow more minutes".to_owned());
            }
            if spent || left == 0 {
                break (Status::Unverified, Some(index), probability, binding);
            }
            // A design that is known by prediction only is measured first: that may change the choice, and the
            // verifying attack can be held against it.
            if !self.tried.full.contains(&index) && extra > 0 && !self.out_of_time(executor) {
                extra -= 1;
                let reason = "chosen by the models: measured before its verification";
                self.measure(executor, &[Proposal::full(index, reason)])?;
                models = self.fit()?;
                continue;
            }
            let candidate = self.candidate(index);
            // Of parts that were never tried nothing is known.
            let known: BTreeSet<usize> =
                self.tried.full.iter().chain(&self.tried.screened).chain(&judged).copied().collect();
            let known = known.into_iter().map(|index| self.candidate(index));
            let parts: Vec<DesignId> =
                known.filter(|part| candidate.design.contains(&part.design)).map(|part| part.id).collect();
            let terms = verify::Terms {
                bounds: problem.bounds,
                confidence: problem.confidence,
                floor: problem.floor,
                inverted: problem.inverted,
                parts: &parts,
            };
            let verdict = verify::verify(executor, &candidate, &terms, &problem.plan, problem.seed)?;
            judged.insert(index);
            attempts += 1;
            if verdict.failed {
                let why = verdict.objections.join("; ");
                warnings
                    .push(format!("{} could not be verified, so that nothing is known of it: {why}", verdict.design));
                continue;
            }
            gain.learn(&models, &candidate, &verdict);
            let accuracy = verdict.figure(Metric::Accuracy).map_or(0.0, |figure| figure.value);
            if verdict.holds && held.as_ref().is_none_or(|held| accuracy > held.accuracy) {
                held = Some(Held { index, accuracy, probability, verdict: verdicts.len() });
            }
            verdicts.push(verdict);
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
            screened: std::mem::take(&mut self.screened),
            relaxations,
            warnings,
        })
    }

    /// Whether a bound is below what an attacker reaches without any features.
    fn is_below_floor(&self) -> bool {
        let mut bounds = self.problem.bounds.iter();
        bounds.any(|bound| bound.metric == Metric::PsnrMean && bound.limit < self.problem.floor)
    }

    /// The probability of feasibility that a design must have to be put to verification with so many attempts `left`. It is
    /// verification that keeps the promise, at the user's confidence: while there are attempts, the plan says which chance is worth
    /// one. The last goes to a design that is sure by the models.
    fn wanted(&self, left: usize) -> f64 {
        let worth_it = self.problem.plan.attempted_from;
        if left > 1 { worth_it.min(self.problem.confidence) } else { self.problem.confidence }
    }

    /// Whether another attempt is likely to verify a design that is noticeably more accurate than the one that holds.
    fn may_improve(&self, held: &Held, forecasts: &Forecasts, admitted: &[usize]) -> bool {
        /// In logits of accuracy: half a point at 85 %.
        const NOTICEABLE: f64 = 0.04;
        let least = forecasts.objective(held.index).mean + NOTICEABLE;
        self.problem.plan.improves
            && admitted.iter().any(|&index| {
                forecasts.objective(index).mean > least
                    && solver::probability_feasible(forecasts.constraints(index), &self.bounds) >= self.wanted(2)
            })
    }

    /// Mean PSNR of every measured design, with its standard error, dB.
    fn leakage(&self) -> Vec<(Design, f64, f64)> {
        let of = |(index, evaluation): &(usize, Evaluation)| {
            let row = evaluation.measurements().iter().find(|row| row.metric == Metric::PsnrMean)?;
            Some((self.candidate(*index).design, row.value, row.std_error))
        };
        self.measured.iter().filter_map(of).collect()
    }

    fn relaxations(&self, forecasts: &Forecasts, chosen: Option<usize>) -> Result<Vec<Relaxation>, SearchError> {
        let Some(chosen) = chosen else {
            return Ok(Vec::new());
        };
        let accuracy = |index: usize| model::from_logit(forecasts.objective(index).mean);
        let now = accuracy(chosen);
        let relaxed = solver::relaxations(forecasts, &self.bounds, self.problem.confidence, 0.1)?;
        Ok(relaxed
            .into_iter()
            .filter_map(|r| {
                let index = r.best?;
                let metric = self.problem.bounds[r.bound].metric;
                Some(Relaxation {
                    metric,
                    limit: r.limit,
                    design: self.candidate(index).id,
                    gain: accuracy(index) - now,
                })
            })
            .collect())
    }
}

/// The bound that a verified design comes nearest to, counted in standard errors: decibels and SSIM have no common unit.
fn tightest(verdict: &Verdict) -> Option<Metric> {
    let slack = |f: &verify::VerifiedFigure| Some((f.metric, (f.limit? - f.upper?) / f.std_error.max(1e-9)));
    let mut all: Vec<_> = verdict.figures.iter().filter_map(slack).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all.first().map(|&(metric, _)| metric)
}
