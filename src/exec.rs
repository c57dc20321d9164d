//! Where measurements run and how they become durable.
//!
//! [`Executor::measure`] answers from the study's journal where it can, so that a resumed study proposes and
//! receives exactly what the interrupted one did; otherwise [`Workers`] measure, and each evaluation is in the journal as
//! soon as it is there. No figure depends on where it was measured, nor on what ran beside it.
//!
//! | workers | where |
//! |---|---|
//! | [`LocalWorkers`] | this machine, in [`Lanes`] |
//! | [`slurm::SlurmWorkers`] | a cluster's nodes: tasks of job arrays run this program's `worker` |
//!
//! # Faults
//! A measurement that fails, panics, diverges or takes too long is recorded with its reason, and tried again with initial weights and
//! batches of its own as often as the [`Executor`] is told; after running out of memory with half the batch. The last try's failure is
//! the measurement's result: the study goes on without it. Tries of earlier runs count.
//!
//! How many workers one driver can keep busy, [`scale`] says.

mod lanes;
mod local;
pub mod scale;
pub mod slurm;
mod task;
mod worker;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::measurement::{Evaluation, Failure, Outcome};
use crate::store::{Event, StoreError, Study, Verification, checksum};

pub use lanes::{Beside, Lanes};
pub use local::LocalWorkers;
pub use task::{Attempt, Job, Task};
pub use worker::{Interrupted, Measured, Worker, cloud_net_name, gallery_name};

use task::Key;

/// Follows a study and can interrupt it. A job's `number` counts the study's jobs from 1; several run at once.
pub trait Observer: Sync {
    /// A job begins; `planned` of them are foreseen.
    fn started(&self, job: &Job<'_>, number: usize, planned: usize);
    /// A job proceeds: `what` is a short label, `done` a fraction of it in [0, 1]. `Break` interrupts the study.
    fn progress(&self, number: usize, what: &str, done: f64) -> ControlFlow<()>;
    /// A job failed and will be tried again.
    fn failed(&self, job: &Job<'_>, evaluation: &Evaluation, number: usize);
    /// A job ended, or its result was found in the journal (`fresh` is false).
    fn finished(&self, job: &Job<'_>, evaluation: &Evaluation, number: usize, fresh: bool);
    /// Something that concerns no job in particular: what holds all of them up, for example.
    fn notice(&self, _text: &str) {}
}

/// Why a study can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The user asked to stop. What was measured is on disk.
    #[error("interrupted: every finished measurement is kept, and the same command resumes")]
    Interrupted,
    /// The user asked to stop, and left measurements running elsewhere.
    #[error(
        "detached: {running} measurements stay queued or running on the cluster; the same command picks them up, and \
         `privynet status` says how far they are"
    )]
    Detached {
        /// How many.
        running: usize,
    },
    /// The user asked to stop, and the cluster did not take its jobs back.
    #[error(
        "interrupted, but the cluster did not take its jobs back ({said}): they go on, the same command picks them up, and `scancel --name \
         {name}` ends them; every finished measurement is kept"
    )]
    NotCancelled {
        /// What the cluster said.
        said: String,
        /// Name of the jobs.
        name: String,
    },
    /// The journal can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cluster can't be used.
    #[error(transparent)]
    Slurm(#[from] slurm::SlurmError),
}

/// Where measurements are made.
pub trait Workers: Sync {
    /// Makes a round's measurements, in any order, and hands each over as soon as it is there. None begins once [`Round::more`] says
    /// no.
    ///
    /// # Errors
    /// [`ExecError`] where the observer interrupts, a result can't be handed over, or nothing can be measured at all.
    fn run(&self, round: &Round<'_>) -> Result<(), ExecError>;
}

/// A job that the journal has no result of.
#[derive(Debug, Clone)]
pub struct Pending<'a> {
    /// Its number in the study, from 1.
    pub number: usize,
    /// The job.
    pub job: &'a Job<'a>,
    /// The same for a worker.
    pub task: Task,
}

/// Receives what a worker measured; answers with the next try where there is to be one.
type Deliver<'a> = &'a (dyn for<'p> Fn(&Pending<'p>, Measured) -> Result<Option<Pending<'p>>, ExecError> + Sync);

/// Measurements to be made side by side.
pub struct Round<'a> {
    /// Which.
    pub pending: &'a [Pending<'a>],
    /// To be told how each proceeds.
    pub observer: &'a dyn Observer,
    /// Whether another may begin.
    pub more: &'a (dyn Fn() -> bool + Sync),
    /// To be told when one begins.
    pub started: &'a (dyn Fn(&Pending<'_>) + Sync),
    /// Makes a result durable. Where it is a failure that is to be tried again, the next try comes back: workers that make it at
    /// once lose no time, and it is in the next round otherwise.
    pub deliver: Deliver<'a>,
}

/// What is known of a measurement.
struct Known {
    /// Its last try's.
    evaluation: Evaluation,
    /// Tries that failed.
    attempt: Attempt,
    /// Seconds that all tries took.
    seconds: f64,
    /// Whether this run asked for it, or another study measured it.
    asked: bool,
}

/// What was measured, in memory and on disk.
struct Ledger {
    study: Study,
    known: HashMap<Key, Known>,
    asked_seconds: f64,
}

impl Ledger {
    /// Takes note of a try that is in the journal.
    fn learn(&mut self, evaluation: &Evaluation) {
        let key = (evaluation.design.clone(), evaluation.fidelity, evaluation.seed);
        let before = self.known.get(&key);
        let (mut attempt, mut seconds) = before.map_or_else(Default::default, |known| (known.attempt, known.seconds));
        if let Outcome::Failed { kind, .. } = evaluation.outcome {
            attempt.failures += 1;
            attempt.halvings += u32::from(kind == Failure::OutOfMemory);
        }
        seconds += evaluation.seconds;
        let asked = evaluation.from.is_some() || before.is_some_and(|known| known.asked);
        self.known.insert(key, Known { evaluation: evaluation.clone(), attempt, seconds, asked });
    }

    /// A measurement's result, unless there is none yet or it is to be tried again.
    fn result(&self, key: &Key, retries: u32) -> Option<&Known> {
        let settled =
            |known: &&Known| matches!(known.evaluation.outcome, Outcome::Done(_)) || known.attempt.failures > retries;
        self.known.get(key).filter(settled)
    }
}

/// Has measurements made, and remembers them.
pub struct Executor<'a> {
    ledger: Mutex<Ledger>,
    verifications: Vec<Verification>,
    workers: Box<dyn Workers + 'a>,
    observer: &'a dyn Observer,
    retries: u32,
    jobs: usize,
    planned: usize,
}

impl<'a> Executor<'a> {
    /// How often a measurement that failed is tried again, where nobody asks for a number.
    pub const RETRIES: u32 = 2;

    /// An executor on `study`, whose journal held `recovered`; what fails is tried again `retries` times.
    pub fn new(
        study: Study,
        recovered: &[Event],
        workers: Box<dyn Workers + 'a>,
        observer: &'a dyn Observer,
        planned: usize,
        retries: u32,
    ) -> Self {
        let mut ledger = Ledger { study, known: HashMap::new(), asked_seconds: 0.0 };
        let mut verifications = Vec::new();
        for event in recovered {
            match event {
                Event::Evaluation(evaluation) => ledger.learn(evaluation),
                Event::Verification(verification) => verifications.push(verification.clone()),
            }
        }
        // Those of other studies come first in the order of this one's.
        let jobs = ledger.known.values().filter(|known| known.evaluation.from.is_some()).count();
        Self { ledger: Mutex::new(ledger), verifications, workers, observer, retries, jobs, planned }
    }

    /// The same where a measurement may take `seconds` (or any time): what earlier runs ended for taking less is tried again.
    #[must_use]
    pub fn allowing(mut self, seconds: Option<f64>) -> Self {
        // A try is ended a little after its time.
        const LATE: f64 = 1.05;
        let ledger = self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner);
        for known in ledger.known.values_mut() {
            let in_time = seconds.is_none_or(|seconds| seconds > LATE * known.evaluation.seconds);
            if in_time && matches!(known.evaluation.outcome, Outcome::Failed { kind: Failure::TimedOut, .. }) {
                known.attempt.failures = 0;
            }
        }
        self
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
        self.ledger().known.values().filter(|known| known.evaluation.from.is_none()).map(|known| known.seconds).sum()
    }

    /// Seconds that the measurements asked for so far took, whether made now or found in the journal: what a limit on
    /// time is compared with, so that a resumed study stops where the interrupted one did.
    pub fn asked_seconds(&self) -> f64 {
        self.ledger().asked_seconds
    }

    /// Every evaluation of the study, in the order in which they were asked for; of one that was tried again the last.
    pub fn evaluations(&self) -> Vec<Evaluation> {
        let mut all: Vec<_> = self.ledger().known.values().map(|known| known.evaluation.clone()).collect();
        all.sort_by_key(|e| e.order);
        all
    }

    /// Those that this run has asked for so far, and those of other studies: what an uninterrupted run knows at this point.
    pub fn asked(&self) -> Vec<Evaluation> {
        let ledger = self.ledger();
        let mut asked: Vec<_> =
            ledger.known.values().filter(|known| known.asked).map(|k| k.evaluation.clone()).collect();
        drop(ledger);
        asked.sort_by_key(|e| e.order);
        asked
    }

    /// What other studies measured for this one, in its order.
    pub fn adopted(&self) -> Vec<Evaluation> {
        self.evaluations().into_iter().filter(|evaluation| evaluation.from.is_some()).collect()
    }

    /// Has `jobs` measured side by side, or finds their results in the journal; the results in the jobs' order.
    ///
    /// A measurement that fails to the last try is a result as well and does not stop the study. No measurement starts once
    /// those asked for took `seconds`: the jobs left then have no result.
    ///
    /// # Errors
    /// [`ExecError`] where the observer interrupts, the journal can't be written or the workers can't be used.
    pub fn measure(&mut self, jobs: &[Job<'_>], seconds: Option<f64>) -> Result<Vec<Option<Evaluation>>, ExecError> {
        let first = self.jobs + 1;
        self.jobs += jobs.len();
        self.planned = self.planned.max(self.jobs);
        for (index, job) in jobs.iter().enumerate() {
            let mut ledger = self.ledger();
            if let Some(known) = ledger.result(&job.key(), self.retries) {
                let (evaluation, seconds) = (known.evaluation.clone(), known.seconds);
                ledger.asked_seconds += seconds;
                drop(ledger);
                self.observer.finished(job, &evaluation, first + index, false);
            } else if let Some(known) = ledger.known.get(&job.key()) {
                // Tries of an earlier run count as well.
                ledger.asked_seconds += known.seconds;
            }
        }
        let more = || seconds.is_none_or(|limit| self.asked_seconds() < limit);
        loop {
            let pending = self.pending(jobs, first);
            if pending.is_empty() || !more() {
                break;
            }
            self.workers.run(&Round {
                pending: &pending,
                observer: self.observer,
                more: &more,
                started: &|pending| self.observer.started(pending.job, pending.number, self.planned),
                deliver: &|pending, measured| self.deliver(pending, measured),
            })?;
        }
        let mut ledger = self.ledger();
        for job in jobs {
            if let Some(known) = ledger.known.get_mut(&job.key()) {
                known.asked = true;
            }
        }
        // Of one that no time is left to try again, the failure.
        let result = |job: &Job<'_>| ledger.known.get(&job.key()).map(|known| known.evaluation.clone());
        Ok(jobs.iter().map(result).collect())
    }

    /// The jobs without a result.
    fn pending<'j>(&self, jobs: &'j [Job<'j>], first: usize) -> Vec<Pending<'j>> {
        let ledger = self.ledger();
        let open = jobs.iter().enumerate().filter(|(_, job)| ledger.result(&job.key(), self.retries).is_none());
        let pending = |(index, job): (usize, &'j Job<'j>)| {
            let attempt = ledger.known.get(&job.key()).map(|known| known.attempt).unwrap_or_default();
            Pending { number: first + index, job, task: Task::new(job, attempt) }
        };
        open.map(pending).collect()
    }

    /// Makes what was measured durable.
    fn deliver<'p>(&self, pending: &Pending<'p>, measured: Measured) -> Result<Option<Pending<'p>>, ExecError> {
        let Pending { number, job, task, .. } = pending;
        let mut reason = job.reason.clone();
        if task.attempt.halvings > 0 {
            reason += &format!(" (batches halved {} times for want of memory)", task.attempt.halvings);
        }
        let mut evaluation = Evaluation {
            design: job.candidate.id.clone(),
            fidelity: job.fidelity,
            seed: job.seed,
            order: *number as u64 - 1,
            reason,
            outcome: measured.outcome,
            seconds: measured.seconds,
            from: None,
            files: measured.files.iter().map(|(name, bytes)| (name.clone(), checksum(bytes))).collect(),
        };
        evaluation.share_id();
        if let Err(invalid) = evaluation.check() {
            evaluation.outcome = Outcome::failed(Failure::Diverged, invalid.to_string());
            evaluation.files.clear();
        }
        let mut ledger = self.ledger();
        // The side files first: an evaluation in the journal has them.
        for (name, bytes) in measured.files.iter().filter(|(name, _)| evaluation.files.contains_key(name)) {
            ledger.study.save_blob(name, bytes)?;
        }
        ledger.study.append(&Event::Evaluation(evaluation.clone()))?;
        ledger.asked_seconds += evaluation.seconds;
        ledger.learn(&evaluation);
        let settled = ledger.result(&job.key(), self.retries).is_some();
        let attempt = ledger.known.get(&job.key()).map(|known| known.attempt).unwrap_or_default();
        drop(ledger);
        if settled {
            self.observer.finished(job, &evaluation, *number, true);
            return Ok(None);
        }
        self.observer.failed(job, &evaluation, *number);
        Ok(Some(Pending { number: *number, job, task: Task::new(job, attempt) }))
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
}
