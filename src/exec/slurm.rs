//! Measurements on the nodes of a Slurm cluster.
//!
//! A round's measurements go out as a job array whose tasks run `privynet worker`, the same function as on one machine. What they
//! measure comes back through the study's folder, which all machines share, as one file each; a measurement is done when it is in
//! the journal, and only then. The queue is asked what became of those of which no file comes.
//!
//! # Invariants
//! - A measurement counts once, however many copies of it run: results are named by measurement and try.
//! - A batch is on disk before it goes out, so a driver that died and is started again finds what is out, by the token in each job's
//!   comment *and* its job id; it sends out nothing twice that may still bring a result.
//! - Nothing is concluded from a controller that does not answer.
//! - No accounting database is needed: what the controller has forgotten and no file was written of goes out again.

mod folder;
mod queue;
mod survey;
#[cfg(test)]
mod tests;
mod tracker;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{ExecError, Measured, Pending, Round, Workers};
use crate::measurement::{Failure, Outcome};
use crate::store::StoreError;

pub use folder::{Batch, Folder, Setting};
pub use queue::{Array, Queue, Refusal, Row, SlurmCommands, State};
pub use survey::{Survey, TaskStatus, survey};
pub use tracker::GRACE;

use folder::Sent;
use tracker::{Next, Place, Tracked};

/// Tasks of an array at most: what a controller accepts that nobody configured (`MaxArraySize`) is a thousand and one.
const LARGEST_ARRAY: usize = 1000;

/// How long the driver sleeps between two looks at the folder and at the user's wishes.
const NAP: Duration = Duration::from_millis(100);

/// Why a cluster can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// Slurm is not installed here.
    #[error(
        "`{command}` is not there: start the study where jobs can be submitted, or measure here with `--executor local`"
    )]
    NoCommand {
        /// The command.
        command: &'static str,
    },
    /// The cluster does not take the jobs.
    #[error("the cluster refuses: {said}; correct `executor.slurm` in the budget")]
    Refused {
        /// What it said.
        said: String,
    },
    /// The command of a task fails wherever it runs.
    #[error(
        "the worker fails on the cluster's nodes, lastly on {node}: {last} (more in {}); program, images, weights and the study's folder \
         must be there as they are here", log.display()
    )]
    Worker {
        /// Where.
        node: String,
        /// What it printed last.
        last: String,
        /// All that it printed.
        log: PathBuf,
    },
    /// A file of the shared folder.
    #[error("cannot {action} `{}`: check permissions and the space on its disk", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A batch that can't be read.
    #[error("`{}` is no batch of measurements: {problem}; remove it, its measurements go out again", path.display())]
    Batch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A part that can't be written.
    #[error(transparent)]
    Store(StoreError),
}

impl SlurmError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The nodes of a cluster.
pub struct SlurmWorkers<Q> {
    queue: Q,
    folder: Folder,
    setting: Setting,
    options: Options,
    /// Whether an array was ever accepted: what is refused later will pass.
    accepted: AtomicBool,
    /// Whether a worker ever measured: what fails later is one measurement's own.
    measured: AtomicBool,
}

/// How the driver deals with the cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that nodes run.
    pub program: PathBuf,
    /// Name of the jobs.
    pub name: String,
    /// How often a measurement goes out again that ended without a result.
    pub resubmissions: u32,
    /// Between two looks at the queue.
    pub poll: Duration,
    /// How long a result may be on its way after its task ended.
    pub grace: Duration,
    /// Whether an interrupt leaves what is queued and running.
    pub detach: bool,
}

impl<Q: Queue> SlurmWorkers<Q> {
    /// Measures through `queue`, with the study's own `folder` shared by all nodes.
    pub fn new(queue: Q, folder: Folder, setting: Setting, options: Options) -> Self {
        Self { queue, folder, setting, options, accepted: AtomicBool::new(false), measured: AtomicBool::new(false) }
    }
}

/// One round on its way.
struct Driver<'w, 'r, Q> {
    workers: &'w SlurmWorkers<Q>,
    round: &'r Round<'r>,
    /// The round's measurements, each at the try that it has come to.
    pending: Vec<Pending<'r>>,
    /// Measurements without a result.
    open: BTreeSet<usize>,
    /// Which measurement is called so.
    names: HashMap<String, usize>,
    tracked: Vec<Tracked>,
    /// Job id of each token, where it is known.
    jobs: HashMap<String, u64>,
    /// Batches that a measurement of this round is in.
    tokens: BTreeSet<String>,
    /// Tasks that ran at the last look.
    running: usize,
    /// Why the cluster takes nothing at the moment.
    trouble: Option<String>,
}

impl<Q: Queue> Workers for SlurmWorkers<Q> {
    fn run(&self, round: &Round<'_>) -> Result<(), ExecError> {
        self.folder.create()?;
        let mut driver = Driver {
            workers: self,
            round,
            pending: round.pending.to_vec(),
            open: (0..round.pending.len()).collect(),
            names: round.pending.iter().enumerate().map(|(index, pending)| (pending.task.name(), index)).collect(),
            tracked: round.pending.iter().map(|_| Tracked::default()).collect(),
            jobs: HashMap::new(),
            tokens: BTreeSet::new(),
            running: 0,
            trouble: None,
        };
        driver.find_sent()?;
        driver.drive()
    }
}

impl<Q: Queue> Driver<'_, '_, Q> {
    /// Learns what an earlier driver sent out of this round.
    fn find_sent(&mut self) -> Result<(), SlurmError> {
        for Sent { batch, job } in self.workers.folder.sent()? {
            let mut useful = false;
            for (place, task) in batch.tasks.iter().enumerate() {
                if let Some(&index) = self.names.get(&task.name())
                    && self.pending[index].task == *task
                {
                    useful = true;
                    self.tracked[index].sent_as(Place { token: batch.token.clone(), index: place as u32 });
                }
            }
            if useful {
                self.jobs.extend(job.map(|job| (batch.token.clone(), job)));
                self.tokens.insert(batch.token);
            }
        }
        Ok(())
    }

    fn drive(&mut self) -> Result<(), ExecError> {
        let mut looked: Option<Instant> = None;
        while !self.open.is_empty() {
            self.collect()?;
            if self.open.is_empty() {
                break;
            }
            let is_due = looked.is_none_or(|looked| looked.elapsed() >= self.workers.options.poll);
            if is_due {
                looked = Some(Instant::now());
                // An array that was just sent out is in the next answer.
                if !self.look()? {
                    break;
                }
            }
            // Between two answers there is nothing new to say, but perhaps to hear.
            if self.tell(if is_due { usize::MAX } else { 1 }).is_break() {
                return Err(self.stop());
            }
            std::thread::sleep(NAP);
        }
        self.tokens.iter().for_each(|token| self.workers.folder.forget(token));
        Ok(())
    }

    /// Says how the first `count` open measurements are doing.
    fn tell(&self, count: usize) -> ControlFlow<()> {
        for &index in self.open.iter().take(count) {
            let text = match &self.tracked[index].last {
                None => self.trouble.clone().unwrap_or_else(|| "sent out".to_owned()),
                Some(row) if row.node.is_empty() && row.reason.is_empty() => row.state.to_string(),
                Some(row) if row.node.is_empty() => format!("{} ({})", row.state, row.reason),
                Some(row) => format!("{} on {}", row.state, row.node),
            };
            self.round.observer.progress(self.pending[index].number, &text, 0.0)?;
        }
        ControlFlow::Continue(())
    }

    /// Hands over the results that are there.
    fn collect(&mut self) -> Result<(), ExecError> {
        for name in self.workers.folder.names()? {
            let Some(&index) = self.names.get(&name).filter(|index| self.open.contains(index)) else {
                continue;
            };
            let task = &self.pending[index].task;
            if let Some(measured) = self.workers.folder.take_part(&self.workers.setting.study, task)? {
                self.workers.measured.store(true, Ordering::Relaxed);
                self.hand_over(index, measured)?;
                // A thousand results take seconds to write.
                if self.tell(1).is_break() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, index: usize, mut measured: Measured) -> Result<(), ExecError> {
        self.start(index);
        let pending = &self.pending[index];
        // Those that run beside it share the study's time.
        measured.seconds /= self.running.max(1) as f64;
        let again = (self.round.deliver)(pending, measured)?;
        self.workers.folder.remove_part(&pending.task);
        match again.filter(|_| (self.round.more)()) {
            // It goes out with the next answer of the queue, beside those that still run.
            Some(again) => {
                self.names.insert(again.task.name(), index);
                self.tracked[index] = Tracked::default();
                self.pending[index] = again;
            }
            None => {
                self.open.remove(&index);
            }
        }
        Ok(())
    }

    fn start(&mut self, index: usize) {
        if !std::mem::replace(&mut self.tracked[index].started, true) {
            (self.round.started)(&self.pending[index]);
        }
    }

    /// Asks the queue and does what is to be done; `false` where nothing is out and nothing more may go.
    fn look(&mut self) -> Result<bool, ExecError> {
        let rows = match self.workers.queue.rows() {
            Ok(rows) => rows,
            // Nothing is concluded from silence, whatever its reason.
            Err(Refusal::Away(said) | Refusal::Refused(said)) => {
                self.trouble = Some(format!("the queue does not answer: {said}"));
                return Ok(true);
            }
        };
        self.trouble = None;
        // What ended before the answer has its result in the folder by now.
        self.collect()?;
        let mut by_place: HashMap<&str, HashMap<u32, Vec<&Row>>> = HashMap::new();
        for row in &rows {
            if !self.tokens.contains(&row.token) {
                continue;
            }
            // A batch whose driver died before it learnt the job's id.
            if !self.jobs.contains_key(&row.token) {
                self.workers.folder.save_job(&row.token, row.job)?;
                self.jobs.insert(row.token.clone(), row.job);
            }
            if self.jobs.get(&row.token) == Some(&row.job) {
                by_place.entry(&row.token).or_default().entry(row.index).or_default().push(row);
            }
        }
        let now = Instant::now();
        let mut out: BTreeMap<BTreeSet<String>, Vec<usize>> = BTreeMap::new();
        self.running =
            by_place.values().flat_map(HashMap::values).flatten().filter(|row| row.state == State::Running).count();
        for index in self.open.clone() {
            let places = self.tracked[index].places();
            let (older, newest) = places.split_at(places.len().saturating_sub(1));
            let of = |places: &[Place]| -> Vec<&Row> {
                let rows =
                    |place: &Place| by_place.get(place.token.as_str()).and_then(|of| of.get(&place.index)).cloned();
                places.iter().filter_map(rows).flatten().collect()
            };
            let mut own = of(newest);
            own.extend(of(older).into_iter().filter(|row| row.state.is_alive()));
            let heard = newest.iter().all(|place| self.jobs.contains_key(&place.token));
            if own.iter().any(|row| row.state == State::Running) {
                self.start(index);
            }
            let Options { grace, resubmissions, .. } = self.workers.options;
            let next = self.tracked[index].judge(&own, heard, now, grace, resubmissions);
            let mut send = |tracked: &Tracked| out.entry(tracked.avoid.clone()).or_default().push(index);
            match next {
                Next::Wait => {}
                Next::Send => send(&self.tracked[index]),
                Next::Replace(row) => {
                    // One that stays in the queue does no harm.
                    let _ = self.workers.queue.cancel(&[format!("{}_{}", row.job, row.index)]);
                    send(&self.tracked[index]);
                }
                Next::Fail(outcome) => self.fail(index, outcome)?,
                Next::Broken(row) => {
                    let (log, last) = self.workers.folder.last_words(&row.token, row.index);
                    let error = SlurmError::Worker { node: row.node, last, log };
                    // Others were measured, so it is this measurement's own failure and not the cluster's.
                    if self.workers.measured.load(Ordering::Relaxed) {
                        self.fail(index, Outcome::failed(Failure::Other, error.to_string()))?;
                        continue;
                    }
                    // What runs would fail as well; that it can't be cancelled is the lesser news.
                    let _ = self.cancel();
                    return Err(error.into());
                }
            }
        }
        if out.is_empty() {
            return Ok(true);
        }
        if !(self.round.more)() {
            // What is out may still end.
            out.values().flatten().for_each(|index| {
                self.open.remove(index);
            });
            return Ok(!self.open.is_empty());
        }
        for (avoid, tasks) in out {
            let avoid: Vec<String> = avoid.into_iter().collect();
            for tasks in tasks.chunks(LARGEST_ARRAY) {
                self.send(tasks, &avoid)?;
            }
        }
        Ok(true)
    }

    fn fail(&mut self, index: usize, outcome: Outcome) -> Result<(), ExecError> {
        self.hand_over(index, Measured { outcome, seconds: 0.0, files: Vec::new() })
    }

    /// Sends measurements out as one array, on other nodes than those to `avoid`.
    fn send(&mut self, indices: &[usize], avoid: &[String]) -> Result<(), ExecError> {
        let Self { workers, .. } = *self;
        let token = format!("privynet-{:016x}", folder::unique_bits());
        let tasks = indices.iter().map(|&index| self.pending[index].task.clone()).collect();
        let batch = Batch { token: token.clone(), setting: workers.setting.clone(), tasks };
        let path = workers.folder.save(&batch)?;
        for (place, &index) in indices.iter().enumerate() {
            self.tracked[index].sent_as(Place { token: token.clone(), index: place as u32 });
        }
        self.tokens.insert(token.clone());
        let logs = workers.folder.create_logs(&token)?;
        let script = workers.folder.save_script(&token, &script(&workers.options.program, &path))?;
        let array = Array {
            name: &workers.options.name,
            token: &token,
            tasks: indices.len(),
            avoid,
            logs: &logs,
            script: &script,
        };
        let mut answer = workers.queue.submit(&array);
        if matches!(answer, Err(Refusal::Refused(_))) && !avoid.is_empty() {
            // Nodes that are kept away from may be all there are.
            answer = workers.queue.submit(&Array { avoid: &[], ..array });
        }
        match answer {
            Ok(job) => {
                workers.accepted.store(true, Ordering::Relaxed);
                workers.folder.save_job(&token, job)?;
                self.jobs.insert(token, job);
                Ok(())
            }
            // It may have gone out: the queue will say.
            Err(Refusal::Away(said)) => {
                self.trouble = Some(said);
                Ok(())
            }
            // A site may take no arrays as large, or not as many jobs.
            Err(Refusal::Refused(said)) if indices.len() > 1 && is_about_size(&said) => {
                workers.folder.forget(&token);
                self.tokens.remove(&token);
                indices.iter().for_each(|&index| self.tracked[index].not_sent());
                let (first, second) = indices.split_at(indices.len() / 2);
                self.send(first, avoid)?;
                self.send(second, avoid)
            }
            // It took others, so it will take this once it may.
            Err(Refusal::Refused(said)) if workers.accepted.load(Ordering::Relaxed) => {
                self.trouble = Some(format!("the cluster takes no more: {said}"));
                Ok(())
            }
            Err(Refusal::Refused(said)) => {
                workers.folder.forget(&token);
                Err(SlurmError::Refused { said }.into())
            }
        }
    }

    /// Ends the round at the user's wish.
    fn stop(&self) -> ExecError {
        if self.workers.options.detach {
            return ExecError::Detached { running: self.open.len() };
        }
        match self.cancel() {
            Ok(()) => ExecError::Interrupted,
            Err(Refusal::Away(said) | Refusal::Refused(said)) => {
                ExecError::NotCancelled { said, name: self.workers.options.name.clone() }
            }
        }
    }

    /// Cancels what is out: jobs that carry a token of ours, since an id alone may have been given to another's.
    fn cancel(&self) -> Result<(), Refusal> {
        let rows = self.workers.queue.rows()?;
        let own = rows.iter().filter(|row| row.state.is_alive() && self.tokens.contains(&row.token));
        let jobs: BTreeSet<u64> = own.map(|row| row.job).collect();
        self.workers.queue.cancel(&jobs.iter().map(u64::to_string).collect::<Vec<_>>())?;
        self.tokens.iter().for_each(|token| self.workers.folder.forget(token));
        Ok(())
    }
}

/// Whether an array is refused for how large it is, or for how much its user has out.
fn is_about_size(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    said.contains("array") || said.contains("limit")
}

/// What a node runs: the task's number comes from the scheduler.
fn script(program: &Path, batch: &Path) -> String {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    format!("#!/bin/sh\nexec {} worker {} --task \"$SLURM_ARRAY_TASK_ID\"\n", quoted(program), quoted(batch))
}
