//! One round on its way through the queue: what was sent out, what came back, what is sent out again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::folder::{self, Sent};
use super::tracker::{Next, Place, Tracked};
use super::{Array, Batch, LARGEST_ARRAY, NAP, Options, Queue, Refusal, Row, SlurmError, SlurmWorkers, State};
use crate::exec::{ExecError, Measured, Pending, Round};
use crate::measurement::{Failure, Outcome};

/// One round on its way.
pub(super) struct Driver<'w, 'r, Q> {
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
    /// Looks, one after the other, at which something held the round up.
    held_up: u32,
    /// What was told of that: each once.
    told: BTreeSet<String>,
}

/// Rows of one answer, by array and place in it.
struct Answer(HashMap<String, HashMap<u32, Vec<Row>>>);

impl Answer {
    fn of<'a>(&'a self, places: &'a [Place]) -> impl Iterator<Item = &'a Row> {
        places.iter().filter_map(|place| self.0.get(&place.token)?.get(&place.index)).flatten()
    }

    /// What the answer says of a measurement: all of the array that it went out in last, and of earlier ones what still lives.
    fn of_measurement<'a>(&'a self, places: &'a [Place]) -> Vec<&'a Row> {
        let (older, newest) = places.split_at(places.len().saturating_sub(1));
        self.of(newest).chain(self.of(older).filter(|row| row.state.is_alive())).collect()
    }

    fn running(&self) -> usize {
        self.0.values().flat_map(HashMap::values).flatten().filter(|row| row.state == State::Running).count()
    }
}

/// Looks after which a hindrance is worth a line: a busy controller fails to answer now and then.
const LASTING: u32 = 3;

/// Measurements to be sent out, by the nodes that they are to keep away from.
type Out = BTreeMap<BTreeSet<String>, Vec<usize>>;

impl<'w, 'r, Q: Queue> Driver<'w, 'r, Q> {
    /// A driver of `round` that knows what an earlier one sent out of it.
    ///
    /// # Errors
    /// [`SlurmError`] where the folder can't be read.
    pub(super) fn new(workers: &'w SlurmWorkers<Q>, round: &'r Round<'r>) -> Result<Self, SlurmError> {
        let mut driver = Self {
            workers,
            round,
            pending: round.pending.to_vec(),
            open: (0..round.pending.len()).collect(),
            names: round.pending.iter().enumerate().map(|(index, pending)| (pending.task.name(), index)).collect(),
            tracked: round.pending.iter().map(|_| Tracked::default()).collect(),
            jobs: HashMap::new(),
            tokens: BTreeSet::new(),
            running: 0,
            trouble: None,
            held_up: 0,
            told: BTreeSet::new(),
        };
        driver.find_sent()?;
        Ok(driver)
    }

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

    pub(super) fn drive(&mut self) -> Result<(), ExecError> {
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
                self.tell_hindrance();
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
        let Some(answer) = self.ask()? else {
            return Ok(true);
        };
        // What ended before the answer has its result in the folder by now.
        self.collect()?;
        self.running = answer.running();
        let out = self.judge(&answer)?;
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

    /// What the queue says of this round's arrays; nothing where it is silent, from which nothing is concluded.
    fn ask(&mut self) -> Result<Option<Answer>, ExecError> {
        let rows = match self.workers.queue.rows() {
            Ok(rows) => rows,
            Err(Refusal::Away(said) | Refusal::Refused(said)) => {
                self.trouble = Some(format!("the queue does not answer: {said}"));
                return Ok(None);
            }
        };
        self.trouble = None;
        let mut answer = HashMap::<String, HashMap<u32, Vec<Row>>>::new();
        for row in rows.into_iter().filter(|row| self.tokens.contains(&row.token)) {
            // A batch whose driver died before it learnt the job's id.
            if !self.jobs.contains_key(&row.token) {
                self.workers.folder.save_job(&row.token, row.job)?;
                self.jobs.insert(row.token.clone(), row.job);
            }
            if self.jobs.get(&row.token) == Some(&row.job) {
                answer.entry(row.token.clone()).or_default().entry(row.index).or_default().push(row);
            }
        }
        Ok(Some(Answer(answer)))
    }

    /// Concludes from an answer what became of each measurement; returns those that are to be sent out.
    fn judge(&mut self, answer: &Answer) -> Result<Out, ExecError> {
        let Options { grace, resubmissions, .. } = self.workers.options;
        let now = Instant::now();
        let mut out = Out::new();
        for index in self.open.clone() {
            let places = self.tracked[index].places().to_vec();
            let rows = answer.of_measurement(&places);
            let heard = places.last().is_none_or(|place| self.jobs.contains_key(&place.token));
            if rows.iter().any(|row| row.state == State::Running) {
                self.start(index);
            }
            let next = self.tracked[index].judge(&rows, heard, now, grace, resubmissions);
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
                Next::Broken(row) => self.broken(index, row)?,
            }
        }
        Ok(out)
    }

    /// A measurement's command fails by itself wherever it runs.
    fn broken(&mut self, index: usize, row: Row) -> Result<(), ExecError> {
        let (log, last) = self.workers.folder.last_words(&row.token, row.index);
        let error = SlurmError::Worker { node: row.node, last, log };
        // Others were measured, so it is this measurement's own failure and not the cluster's.
        if self.workers.measured.load(Ordering::Relaxed) {
            return self.fail(index, Outcome::failed(Failure::Other, error.to_string()));
        }
        // What runs would fail as well; that it can't be cancelled is the lesser news.
        let _ = self.cancel();
        Err(error.into())
    }

    /// Says once what holds the round up, and that it is over.
    fn tell_hindrance(&mut self) {
        let Some(what) = self.hindrance() else {
            self.held_up = 0;
            if !self.told.is_empty() {
                self.told.clear();
                self.round.observer.notice("the cluster goes on");
            }
            return;
        };
        self.held_up += 1;
        if self.held_up >= LASTING && self.told.insert(what.clone()) {
            self.round.observer.notice(&what);
        }
    }

    /// What holds measurements up, other than the queue's order.
    fn hindrance(&self) -> Option<String> {
        if let Some(trouble) = &self.trouble {
            return Some(trouble.clone());
        }
        let last = self.open.iter().filter_map(|&index| self.tracked[index].last.as_ref());
        let held = last.filter(|row| row.is_held_up());
        let reasons: BTreeSet<&str> = held.map(|row| row.reason.as_str()).collect();
        let first = reasons.first()?;
        Some(format!("the cluster does not start measurements: {first} (`man squeue` explains it)"))
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
        // Nothing went out.
        if self.tokens.is_empty() {
            return ExecError::Interrupted;
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
pub(super) fn script(program: &Path, batch: &Path) -> String {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    format!("#!/bin/sh\nexec {} worker {} --task \"$SLURM_ARRAY_TASK_ID\"\n", quoted(program), quoted(batch))
}
