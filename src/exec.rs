//! Where measurements run and how they become durable.
//!
//! [`Executor::measure`] answers from the study's journal where it can, so that a resumed study proposes and
//! receives exactly what the interrupted one did; otherwise it runs the estimators and appends the evaluation
//! to the journal before it returns.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::estimate::{EstimateError, Estimator, Request, Watch};
use crate::measurement::{DesignId, Evaluation, Fidelity, Outcome};
use crate::protocol::Protocol;
use crate::space::Candidate;
use crate::store::{Event, StoreError, Study, Verification};

/// One measurement to be made.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// What to measure.
    pub candidate: &'a Candidate,
    /// With how much data and training.
    pub fidelity: Fidelity,
    /// Seed of the trainings.
    pub seed: u64,
    /// An attack that exceeds this mean PSNR need not be trained further.
    pub settled_above: Option<f64>,
    /// The chance of error of upper confidence limits, where such are wanted.
    pub error_rate: Option<f64>,
    /// Why this design, in words for the reader of the report.
    pub reason: String,
}

/// Follows a study and can interrupt it.
pub trait Observer: Watch {
    /// A job begins; `number` counts the study's jobs from 1, `planned` of them are foreseen.
    fn started(&self, job: &Job<'_>, number: usize, planned: usize);
    /// A job ended, or its result was found in the journal (`fresh` is false).
    fn finished(&self, evaluation: &Evaluation, fresh: bool);
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

/// Runs measurements one after the other on this machine (each uses all cores or the GPU).
pub struct Executor<'a> {
    study: Study,
    known: HashMap<Key, Evaluation>,
    verifications: Vec<Verification>,
    estimators: Vec<Box<dyn Estimator + 'a>>,
    observer: &'a dyn Observer,
    jobs: usize,
    planned: usize,
    asked_seconds: f64,
}

impl<'a> Executor<'a> {
    /// An executor on `study`, whose journal held `recovered`.
    pub fn new(
        study: Study,
        recovered: &[Event],
        estimators: Vec<Box<dyn Estimator + 'a>>,
        observer: &'a dyn Observer,
        planned: usize,
    ) -> Self {
        let known = recovered
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
        Self { study, known, verifications, estimators, observer, jobs: 0, planned, asked_seconds: 0.0 }
    }

    /// The study that measurements go to.
    pub fn study(&mut self) -> &mut Study {
        &mut self.study
    }

    /// Seconds that all measurements of this study took, those of earlier runs included.
    pub fn spent_seconds(&self) -> f64 {
        self.known.values().map(|e| e.seconds).sum()
    }

    /// Seconds that the measurements asked for so far took, whether made now or found in the journal: what a limit on
    /// time is compared with, so that a resumed study stops where the interrupted one did.
    pub fn asked_seconds(&self) -> f64 {
        self.asked_seconds
    }

    /// Every evaluation of the study, in the order in which they were made.
    pub fn evaluations(&self) -> Vec<Evaluation> {
        let mut all: Vec<_> = self.known.values().cloned().collect();
        all.sort_by_key(|e| e.order);
        all
    }

    /// Measures `job`, or finds its result in the journal.
    ///
    /// A measurement that fails or panics is recorded as failed and does not stop the study.
    ///
    /// # Errors
    /// [`ExecError`] where the observer interrupts or the journal can't be written.
    pub fn measure(&mut self, job: &Job<'_>) -> Result<Evaluation, ExecError> {
        self.jobs += 1;
        self.planned = self.planned.max(self.jobs);
        let key = (job.candidate.id.clone(), job.fidelity, job.seed);
        if let Some(evaluation) = self.known.get(&key) {
            self.asked_seconds += evaluation.seconds;
            self.observer.finished(evaluation, false);
            return Ok(evaluation.clone());
        }
        self.observer.started(job, self.jobs, self.planned);
        let start = Instant::now();
        let outcome = self.run(job)?;
        let evaluation = Evaluation {
            design: job.candidate.id.clone(),
            fidelity: job.fidelity,
            seed: job.seed,
            order: self.known.len() as u64,
            reason: job.reason.clone(),
            outcome,
            seconds: start.elapsed().as_secs_f64(),
        };
        self.study.append(&Event::Evaluation(evaluation.clone()))?;
        self.asked_seconds += evaluation.seconds;
        self.known.insert(key, evaluation.clone());
        self.observer.finished(&evaluation, true);
        Ok(evaluation)
    }

    /// Records how the verification of a design ended, unless the journal says so already.
    ///
    /// # Errors
    /// [`ExecError::Store`].
    pub fn record(&mut self, verification: Verification) -> Result<(), ExecError> {
        if !self.verifications.contains(&verification) {
            self.study.append(&Event::Verification(verification.clone()))?;
            self.verifications.push(verification);
        }
        Ok(())
    }

    /// Runs every estimator on the job's design; side products are stored before the evaluation is.
    fn run(&mut self, job: &Job<'_>) -> Result<Outcome, ExecError> {
        let request = Request {
            design: &job.candidate.design,
            fidelity: job.fidelity,
            protocol: Protocol::of(job.fidelity),
            seed: job.seed,
            settled_above: job.settled_above,
            error_rate: job.error_rate,
        };
        let mut measurements = Vec::new();
        for estimator in &mut self.estimators {
            let watch: &dyn Watch = self.observer;
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
            if let Some(gallery) = &estimate.gallery {
                self.study.save_blob(&gallery_name(&job.candidate.id, job.fidelity, job.seed), &gallery.to_bytes())?;
            }
            if let Some(net) = &estimate.cloud_net {
                let bytes = match crate::export::encode_cloud_net(net) {
                    Ok(bytes) => bytes,
                    Err(error) => return Ok(Outcome::Failed { reason: error.to_string() }),
                };
                self.study.save_blob(&cloud_net_name(&job.candidate.id, job.fidelity, job.seed), &bytes)?;
            }
        }
        Ok(Outcome::Done(measurements))
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
