//! Where measurements run and how they become durable.
//!
//! [`Executor::measure`] answers from the study's journal where it can, so that a resumed study proposes and
//! receives exactly what the interrupted one did; otherwise it runs the estimators and appends each evaluation
//! to the journal as soon as it is there. Several jobs run side by side in [`Lanes`]; no figure depends on that.

mod lanes;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::estimate::{EstimateError, Estimator, Request, Verifying, Watch};
use crate::measurement::{DesignId, Evaluation, Fidelity, Outcome};
use crate::protocol::Protocol;
use crate::space::Candidate;
use crate::store::{Event, StoreError, Study, Verification};

pub use lanes::{Beside, Lanes};

/// One measurement to be made.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// What to measure.
    pub candidate: &'a Candidate,
    /// With how much data and training.
    pub fidelity: Fidelity,
    /// Seed of the trainings.
    pub seed: u64,
    /// What a verification needs besides.
    pub verifying: Option<Verifying>,
    /// Why this design, in words for the reader of the report.
    pub reason: String,
}

/// Follows a study and can interrupt it. A job's `number` counts the study's jobs from 1; several run at once.
pub trait Observer: Sync {
    /// A job begins; `planned` of them are foreseen.
    fn started(&self, job: &Job<'_>, number: usize, planned: usize);
    /// A job proceeds: `what` is a short label, `done` a fraction of it in [0, 1]. `Break` interrupts the study.
    fn progress(&self, number: usize, what: &str, done: f64) -> ControlFlow<()>;
    /// A job ended, or its result was found in the journal (`fresh` is false).
    fn finished(&self, job: &Job<'_>, evaluation: &Evaluation, number: usize, fresh: bool);
}

/// Why a study can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The user asked to stop. What was measured is on disk.
    #[error("interrupted: every finished measurement is kept, and the same command resumes")]
    Interrupted,
    /// The journal can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Key = (DesignId, Fidelity, u64);

/// What was measured, in memory and on disk.
struct Ledger {
    study: Study,
    known: HashMap<Key, Evaluation>,
    asked_seconds: f64,
}

/// Runs measurements on this machine.
pub struct Executor<'a> {
    ledger: Mutex<Ledger>,
    verifications: Vec<Verification>,
    estimators: Vec<Box<dyn Estimator + 'a>>,
    observer: &'a dyn Observer,
    lanes: Lanes,
    jobs: usize,
    planned: usize,
}

/// A job that the journal has no result of.
struct Pending<'j, 'a> {
    /// Its place among the jobs asked for.
    index: usize,
    number: usize,
    job: &'j Job<'a>,
}

impl<'a> Executor<'a> {
    /// An executor on `study`, whose journal held `recovered`.
    pub fn new(
        study: Study,
        recovered: &[Event],
        estimators: Vec<Box<dyn Estimator + 'a>>,
        observer: &'a dyn Observer,
        planned: usize,
        lanes: Lanes,
    ) -> Self {
        let known: HashMap<Key, Evaluation> = recovered
            .iter()
            .filter_map(|event| match event {
                Event::Evaluation(e) => Some(((e.design.clone(), e.fidelity, e.seed), e.clone())),
                Event::Verification(_) => None,
            })
            .collect();
        let verifications = recovered
            .iter()
            .filter_map(|event| match event {
                Event::Verification(v) => Some(v.clone()),
                Event::Evaluation(_) => None,
            })
            .collect();
        // Those of other studies come first in the order of this one's.
        let jobs = known.values().filter(|evaluation| evaluation.from.is_some()).count();
        let ledger = Mutex::new(Ledger { study, known, asked_seconds: 0.0 });
        Self { ledger, verifications, estimators, observer, lanes, jobs, planned }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic while it was held can't have left it half changed: each change is one insertion.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The study that measurements go to.
    pub fn study(&mut self) -> &mut Study {
        &mut self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner).study
    }

    /// Seconds that all measurements of this study took, those of earlier runs included, those of other studies not.
    pub fn spent_seconds(&self) -> f64 {
        self.ledger().known.values().filter(|e| e.from.is_none()).map(|e| e.seconds).sum()
    }

    /// Seconds that the measurements asked for so far took, whether made now or found in the journal: what a limit on
    /// time is compared with, so that a resumed study stops where the interrupted one did.
    pub fn asked_seconds(&self) -> f64 {
        self.ledger().asked_seconds
    }

    /// Every evaluation of the study, in the order in which they were asked for.
    pub fn evaluations(&self) -> Vec<Evaluation> {
        let mut all: Vec<_> = self.ledger().known.values().cloned().collect();
        all.sort_by_key(|e| e.order);
        all
    }

    /// What other studies measured for this one, in its order.
    pub fn adopted(&self) -> Vec<Evaluation> {
        self.evaluations().into_iter().filter(|evaluation| evaluation.from.is_some()).collect()
    }

    /// Measures `jobs` side by side, or finds their results in the journal; the results in the jobs' order.
    ///
    /// A measurement that fails or panics is recorded as failed and does not stop the study. No measurement starts once
    /// those asked for took `seconds`: the jobs left then have no result.
    ///
    /// # Errors
    /// [`ExecError`] where the observer interrupts or the journal can't be written.
    pub fn measure(&mut self, jobs: &[Job<'_>], seconds: Option<f64>) -> Result<Vec<Option<Evaluation>>, ExecError> {
        let mut results = vec![None; jobs.len()];
        let mut pending = Vec::new();
        for (index, job) in jobs.iter().enumerate() {
            let number = self.jobs + 1 + index;
            match self.found(job) {
                Some(evaluation) => {
                    self.observer.finished(job, &evaluation, number, false);
                    results[index] = Some(evaluation);
                }
                None => pending.push(Pending { index, number, job }),
            }
        }
        self.jobs += jobs.len();
        self.planned = self.planned.max(self.jobs);
        let more = || seconds.is_none_or(|limit| self.asked_seconds() < limit);
        let made = self.lanes.run(&pending, more, |pending, beside| self.run(pending, beside))?;
        for (pending, evaluation) in pending.iter().zip(made) {
            results[pending.index] = evaluation;
        }
        Ok(results)
    }

    /// The journal's result of `job`, which counts as asked for.
    fn found(&self, job: &Job<'_>) -> Option<Evaluation> {
        let mut ledger = self.ledger();
        let found = ledger.known.get(&(job.candidate.id.clone(), job.fidelity, job.seed)).cloned()?;
        ledger.asked_seconds += found.seconds;
        Some(found)
    }

    /// Runs one job and makes its evaluation durable.
    fn run(&self, pending: &Pending<'_, '_>, beside: Beside<'_>) -> Result<Evaluation, ExecError> {
        let Pending { number, job, .. } = *pending;
        self.observer.started(job, number, self.planned);
        let start = Instant::now();
        let outcome = self.estimate(job, &JobWatch { observer: self.observer, number, beside })?;
        let evaluation = Evaluation {
            design: job.candidate.id.clone(),
            fidelity: job.fidelity,
            seed: job.seed,
            order: number as u64 - 1,
            reason: job.reason.clone(),
            outcome,
            seconds: start.elapsed().as_secs_f64() / beside.lanes as f64,
            from: None,
        };
        let mut ledger = self.ledger();
        ledger.study.append(&Event::Evaluation(evaluation.clone()))?;
        ledger.asked_seconds += evaluation.seconds;
        ledger.known.insert((evaluation.design.clone(), evaluation.fidelity, evaluation.seed), evaluation.clone());
        drop(ledger);
        self.observer.finished(job, &evaluation, number, true);
        Ok(evaluation)
    }

    /// Records how the verification of a design ended, unless the journal says so already.
    ///
    /// # Errors
    /// [`ExecError::Store`].
    pub fn record(&mut self, verification: Verification) -> Result<(), ExecError> {
        if !self.verifications.contains(&verification) {
            self.study().append(&Event::Verification(verification.clone()))?;
            self.verifications.push(verification);
        }
        Ok(())
    }

    /// Runs every estimator on the job's design; side products are stored before the evaluation is.
    fn estimate(&self, job: &Job<'_>, watch: &dyn Watch) -> Result<Outcome, ExecError> {
        let request = Request {
            design: &job.candidate.design,
            fidelity: job.fidelity,
            protocol: Protocol::of(job.fidelity),
            seed: job.seed,
            verifying: job.verifying,
            guess: None,
        };
        let mut measurements = Vec::new();
        for estimator in &self.estimators {
            let result = catch_unwind(AssertUnwindSafe(|| estimator.estimate(&request, watch)));
            let estimate = match result {
                Ok(Ok(estimate)) => estimate,
                Ok(Err(EstimateError::Interrupted)) => return Err(ExecError::Interrupted),
                Ok(Err(error)) => return Ok(Outcome::Failed { reason: error.to_string() }),
                Err(panic) => {
                    let reason = panic_message(panic.as_ref());
                    return Ok(Outcome::Failed { reason: format!("{} panicked: {reason}", estimator.name()) });
                }
            };
            measurements.extend(estimate.measurements);
            let save = |name: String, bytes: &[u8]| self.ledger().study.save_blob(&name, bytes);
            if let Some(gallery) = &estimate.gallery {
                save(gallery_name(&job.candidate.id, job.fidelity, job.seed), &gallery.to_bytes())?;
            }
            if let Some(net) = &estimate.cloud_net {
                let bytes = match crate::export::encode_cloud_net(net) {
                    Ok(bytes) => bytes,
                    Err(error) => return Ok(Outcome::Failed { reason: error.to_string() }),
                };
                save(cloud_net_name(&job.candidate.id, job.fidelity, job.seed), &bytes)?;
            }
        }
        Ok(Outcome::Done(measurements))
    }
}

/// What one job's estimators are watched by.
struct JobWatch<'a> {
    observer: &'a dyn Observer,
    number: usize,
    beside: Beside<'a>,
}

impl Watch for JobWatch<'_> {
    fn progress(&self, what: &str, done: f64) -> ControlFlow<()> {
        match self.beside.failed() {
            true => ControlFlow::Break(()),
            false => self.observer.progress(self.number, what, done),
        }
    }
}

/// The study's file that holds the reconstructions of one attack.
pub fn gallery_name(design: &DesignId, fidelity: Fidelity, seed: u64) -> String {
    format!("gallery-{design}-{fidelity}-{seed}.json")
}

/// The study's file that holds a trained cloud net.
pub fn cloud_net_name(design: &DesignId, fidelity: Fidelity, seed: u64) -> String {
    format!("cloud-net-{design}-{fidelity}-{seed}.safetensors")
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
