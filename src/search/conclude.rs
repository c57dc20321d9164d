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
use super::model::{self, Models};
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

/// What verification has come to.
struct Progress {
    models: Models,
    /// Whether the models may choose designs that were not measured.
    trusted: bool,
    gain: Gain,
    /// Designs that were put to verification.
    judged: BTreeSet<usize>,
    /// Of designs that could be judged.
    verdicts: Vec<Verdict>,
    /// The most accurate design that held.
    held: Option<Held>,
    attempts_left: usize,
    /// Measurements beyond the allowance, one per attempt at most.
    measurements_left: usize,
    warnings: Vec<String>,
}

impl Progress {
    fn ends_verified(&self, held: &Held) -> Next {
        Next::End(Ending {
            status: Status::Verified,
            chosen: Some(held.index),
            probability: held.probability,
            binding: tightest(&self.verdicts[held.verdict]),
        })
    }
}

/// What follows from the forecasts.
enum Next {
    /// A design that is known by prediction only is measured first: that may change the choice, and the verifying attack can be
    /// held against it.
    Measure(usize),
    Verify(Best),
    End(Ending),
}

/// The solver's answer.
#[derive(Clone, Copy)]
struct Best {
    index: usize,
    /// That it meets all bounds.
    probability: f64,
    /// The bound that leaves no design, if none can be expected to meet all.
    binding: Option<Metric>,
}

impl Best {
    fn ends(self, status: Status) -> Next {
        Next::End(Ending { status, chosen: Some(self.index), probability: self.probability, binding: self.binding })
    }
}

struct Ending {
    status: Status,
    chosen: Option<usize>,
    probability: f64,
    binding: Option<Metric>,
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
        let mut progress = self.begin_verification()?;
        let (ending, forecasts) = loop {
            let forecasts = self.forecasts(&progress);
            match self.next(&mut progress, &forecasts, executor)? {
                Next::End(ending) => break (ending, forecasts),
                Next::Measure(index) => {
                    progress.measurements_left -= 1;
                    let reason = "chosen by the models: measured before its verification";
                    self.measure(executor, &[Proposal::full(index, reason)])?;
                    progress.models = self.fit()?;
                }
                Next::Verify(best) => self.verify(&mut progress, best, executor)?,
            }
        };
        let relaxations = self.relaxations(&forecasts, ending.chosen)?;
        Ok(Findings {
            status: ending.status,
            refined: std::mem::take(&mut self.refined),
            chosen: ending.chosen,
            probability: ending.probability,
            verdicts: progress.verdicts,
            binding: ending.binding,
            models: progress.models,
            gain: progress.gain,
            measured: std::mem::take(&mut self.measured),
            screened: std::mem::take(&mut self.screened),
            relaxations,
            warnings: progress.warnings,
        })
    }

    fn begin_verification(&self) -> Result<Progress, SearchError> {
        let plan = &self.problem.plan;
        let models = self.fit()?;
        let mut warnings = monotone::warnings(&self.leakage());
        Ok(Progress {
            trusted: models.trusted(&mut warnings),
            models,
            gain: Gain::prior(plan),
            judged: BTreeSet::new(),
            verdicts: Vec::new(),
            held: None,
            attempts_left: plan.verification_attempts,
            measurements_left: plan.verification_attempts,
            warnings,
        })
    }

    /// What verification is expected to find of every design.
    fn forecasts(&self, progress: &Progress) -> Forecasts {
        let Progress { models, gain, .. } = progress;
        let bounds = self.problem.bounds;
        let mut forecasts = models.beliefs(&self.points, Objective::Accuracy, bounds, gain).forecasts();
        gain.add_surprises(&mut forecasts, bounds, self.places());
        forecasts
    }

    fn next(
        &self,
        progress: &mut Progress,
        forecasts: &Forecasts,
        executor: &Executor<'_>,
    ) -> Result<Next, SearchError> {
        let is_admitted = |i: &usize| !progress.judged.contains(i) && (progress.trusted || self.tried.full.contains(i));
        let admitted: Vec<usize> = (0..forecasts.len()).filter(is_admitted).collect();
        if let Some(held) = &progress.held
            && (progress.attempts_left == 0 || !self.may_improve(held, forecasts, &admitted))
        {
            return Ok(progress.ends_verified(held));
        }
        let Some(best) = self.best(progress, forecasts, &admitted)? else {
            // Everything that may be believed was refuted, for reasons that the verdicts give.
            let chosen = progress.verdicts.last().and_then(|verdict| self.index_of(&verdict.design));
            return Ok(Next::End(Ending { status: Status::Unverified, chosen, probability: 0.0, binding: None }));
        };
        let attempted = progress.attempts_left < self.problem.plan.verification_attempts;
        let spent = attempted
            && self
                .problem
                .seconds
                .is_some_and(|limit| executor.asked_seconds() + self.verification_seconds(Some(best.index)) > limit);
        if let Some(held) = progress.held.filter(|_| spent) {
            return Ok(progress.ends_verified(&held));
        }
        if best.probability < HOPELESS {
            return Ok(self.give_up(progress, forecasts, best));
        }
        if spent {
            progress.warnings.push("the time was spent before a design was verified: allow more minutes".to_owned());
        }
        if spent || progress.attempts_left == 0 {
            return Ok(best.ends(Status::Unverified));
        }
        let is_known = self.tried.full.contains(&best.index);
        if !is_known && progress.measurements_left > 0 && !self.out_of_time(executor) {
            return Ok(Next::Measure(best.index));
        }
        Ok(Next::Verify(best))
    }

    /// The best of the designs that are `admitted`, or the nearest to the bounds; none if there are no designs.
    fn best(
        &self,
        progress: &Progress,
        forecasts: &Forecasts,
        admitted: &[usize],
    ) -> Result<Option<Best>, SearchError> {
        let subset = forecasts.select(admitted);
        if subset.is_empty() {
            return Ok(None);
        }
        Ok(Some(match solver::solve(&subset, &self.bounds, self.wanted(progress.attempts_left))? {
            Solution::Best { index, probability } => Best { index: admitted[index], probability, binding: None },
            Solution::Infeasible { nearest, probability, binding, .. } => {
                let binding = self.problem.bounds.get(binding).map(|bound| bound.metric);
                Best { index: admitted[nearest], probability, binding }
            }
        }))
    }

    /// Whether nothing can meet the bounds, or too little is known to say so.
    fn give_up(&self, progress: &mut Progress, forecasts: &Forecasts, best: Best) -> Next {
        let open: Vec<usize> = (0..forecasts.len()).filter(|i| !self.tried.full.contains(i)).collect();
        let chance = |&i: &usize| solver::probability_feasible(forecasts.constraints(i), &self.bounds);
        let foretold =
            || progress.models.foretells_leakage() && open.iter().map(chance).all(|chance| chance < HOPELESS);
        if open.is_empty() || self.is_below_floor() || foretold() {
            return best.ends(Status::Infeasible);
        }
        progress.warnings.push(format!(
            "none of the {} designs that were measured can be expected to meet the budget, and {} others were not judged: allow more \
             evaluations (`effort: {{evaluations: N}}`)",
            self.tried.full.len(),
            open.len()
        ));
        best.ends(Status::Unverified)
    }

    fn verify(&self, progress: &mut Progress, best: Best, executor: &mut Executor<'_>) -> Result<(), SearchError> {
        let problem = self.problem;
        let candidate = self.candidate(best.index);
        // Of parts that were never tried nothing is known.
        let known: BTreeSet<usize> =
            self.tried.full.iter().chain(&self.tried.screened).chain(&progress.judged).copied().collect();
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
        progress.judged.insert(best.index);
        progress.attempts_left -= 1;
        if verdict.failed {
            let why = verdict.objections.join("; ");
            let warning = format!("{} could not be verified, so that nothing is known of it: {why}", verdict.design);
            progress.warnings.push(warning);
            return Ok(());
        }
        progress.gain.learn(&progress.models, &candidate, &verdict);
        let accuracy = verdict.figure(Metric::Accuracy).map_or(0.0, |figure| figure.value);
        if verdict.holds && progress.held.is_none_or(|held| accuracy > held.accuracy) {
            let verdict = progress.verdicts.len();
            progress.held = Some(Held { index: best.index, accuracy, probability: best.probability, verdict });
        }
        progress.verdicts.push(verdict);
        Ok(())
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
