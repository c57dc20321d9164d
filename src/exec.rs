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
    /// The same, while the cluster did not answer.
    #[error(
        "detached: what is out stays queued or running on the cluster, which does not answer at the moment; the same command picks it up"
    )]
    LeftOut,
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

    /// Whether some of these were begun by an earlier run of the study and may have results: a run takes them, whatever
    /// [`Round::more`] says.
    fn has_begun(&self, _pending: &[Pending<'_>]) -> bool {
        false
    }

    /// Ends what an earlier run began and nobody asked for any more: the study needs no further measurement.
    fn finish(&self) {}
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

/// How long a measurement may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeLimit {
    /// Seconds; `None` where as long as it takes.
    pub seconds: Option<f64>,
    /// Whether a cluster's own limit holds as well, which nobody here knows.
    pub of_cluster: bool,
}

impl TimeLimit {
    /// Whether what was ended at `limit`, a [`Failed`](Outcome::Failed) measurement's, has more time now.
    fn exceeds(self, limit: Option<f64>) -> bool {
        match limit {
            Some(limit) => self.seconds.is_none_or(|seconds| seconds > limit),
            None => !self.of_cluster,
        }
    }
}

/// A try that failed.
#[derive(Debug, Clone, Copy)]
struct FailedTry {
    kind: Failure,
    limit: Option<f64>,
    /// Whether an earlier run made it.
    earlier: bool,
}

/// What is known of a measurement.
struct Known {
    /// Its last try's.
    evaluation: Evaluation,
    failed: Vec<FailedTry>,
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
    /// Where it is known how long a measurement may take: what earlier runs gave less time doesn't count.
    time_limit: Option<TimeLimit>,
}

impl Ledger {
    /// Takes note of a try that is in the journal.
    fn learn(&mut self, evaluation: &Evaluation, earlier: bool) {
        let key = (evaluation.design.clone(), evaluation.fidelity, evaluation.seed);
        let before = self.known.remove(&key);
        let was_asked = before.as_ref().is_some_and(|known| known.asked);
        let (mut failed, seconds) = before.map_or_else(Default::default, |known| (known.failed, known.seconds));
        if let Outcome::Failed { kind, limit, .. } = evaluation.outcome {
            failed.push(FailedTry { kind, limit, earlier });
        }
        let seconds = seconds + evaluation.seconds;
        let asked = was_asked || evaluation.from.is_some();
        self.known.insert(key, Known { evaluation: evaluation.clone(), failed, seconds, asked });
    }

    /// The tries of a measurement that failed, without those of earlier runs that had less time than there is now.
    fn attempt(&self, key: &Key) -> Attempt {
        let forgiven = |failed: &&FailedTry| {
            let has_more = self.time_limit.is_some_and(|now| now.exceeds(failed.limit));
            failed.earlier && failed.kind == Failure::TimedOut && has_more
        };
        let mut attempt = Attempt::default();
        for failed in self.known.get(key).iter().flat_map(|known| &known.failed).filter(|failed| !forgiven(failed)) {
            attempt.failures += 1;
            attempt.halvings += u32::from(failed.kind == Failure::OutOfMemory);
        }
        attempt
    }

    /// A measurement's result, unless there is none yet or it is to be tried again.
    fn result(&self, key: &Key, retries: u32) -> Option<&Known> {
        let settled = |known: &&Known| {
            matches!(known.evaluation.outcome, Outcome::Done(_)) || self.attempt(key).failures > retries
        };
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
        let mut ledger = Ledger { study, known: HashMap::new(), asked_seconds: 0.0, time_limit: None };
        let mut verifications = Vec::new();
        for event in recovered {
            match event {
                Event::Evaluation(evaluation) => ledger.learn(evaluation, true),
                Event::Verification(verification) => verifications.push(verification.clone()),
            }
        }
        // Those of other studies come first in the order of this one's.
        let jobs = ledger.known.values().filter(|known| known.evaluation.from.is_some()).count();
        Self { ledger: Mutex::new(ledger), verifications, workers, observer, retries, jobs, planned }
    }

    /// The same where a measurement may take so long: what earlier runs gave less time is tried again.
    #[must_use]
    pub fn allowing(mut self, limit: TimeLimit) -> Self {
        self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner).time_limit = Some(limit);
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
        all.sort_by(in_order);
        all
    }

    /// Those that this run has asked for so far, and those of other studies: what an uninterrupted run knows at this point.
    pub fn asked(&self) -> Vec<Evaluation> {
        let ledger = self.ledger();
        let mut asked: Vec<_> =
            ledger.known.values().filter(|known| known.asked).map(|k| k.evaluation.clone()).collect();
        drop(ledger);
        asked.sort_by(in_order);
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
        for round in 0.. {
            let pending = self.pending(jobs, first);
            if pending.is_empty() || !(more() || round == 0 && self.workers.has_begun(&pending)) {
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
        let pending = |(index, job): (usize, &'j Job<'j>)| Pending {
            number: first + index,
            job,
            task: Task::new(job, ledger.attempt(&job.key())),
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
        ledger.learn(&evaluation, false);
        let settled = ledger.result(&job.key(), self.retries).is_some();
        let attempt = ledger.attempt(&job.key());
        drop(ledger);
        if settled {
            self.observer.finished(job, &evaluation, *number, true);
            return Ok(None);
        }
        self.observer.failed(job, &evaluation, *number);
        Ok(Some(Pending { number: *number, job, task: Task::new(job, attempt) }))
    }

    /// Ends what is out and nobody asked for any more: the study is concluded.
    pub fn finish(&self) {
        self.workers.finish();
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

/// The order of the search. A study that was killed while it adopted others' may have given a place twice.
fn in_order(a: &Evaluation, b: &Evaluation) -> std::cmp::Ordering {
    let key = |e: &Evaluation| (e.order, e.fidelity, e.seed);
    key(a).cmp(&key(b)).then_with(|| a.design.cmp(&b.design))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_time_is_more_than_there_was() {
        let limit = |seconds, of_cluster| TimeLimit { seconds, of_cluster };
        assert!(limit(None, false).exceeds(Some(60.0)) && limit(Some(61.0), true).exceeds(Some(60.0)));
        assert!(!limit(Some(60.0), false).exceeds(Some(60.0)));
        // A cluster's own limit may be the same as it was.
        assert!(!limit(Some(60.0), true).exceeds(None) && limit(Some(60.0), false).exceeds(None));
    }
}
