//! One round on its way through the queue: what was sent out, what came back, what is sent out again.

mod telling;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::cancel::{cancel, is_left};
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
    /// Measurements that are to go out, and the nodes that they are to keep away from.
    waiting: BTreeMap<usize, BTreeSet<String>>,
    /// Until when nothing goes out, since the cluster takes no more, and what it said.
    held: Option<(Instant, String)>,
    /// Where the round's measurements were sent to, and where copies run of those that are done.
    places: BTreeSet<Place>,
    spare: BTreeSet<Place>,
    /// Batches that this driver sent out, under the limits that hold now.
    own: BTreeSet<String>,
    /// Job id of each token, where it is known.
    jobs: HashMap<String, u64>,
    /// Batches that a measurement of this round is in.
    tokens: BTreeSet<String>,
    /// Tasks that ran at once at the last look.
    beside: f64,
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

/// A cluster that takes no more is asked again after so many looks.
const HOLDING: u32 = 12;

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
            waiting: BTreeMap::new(),
            held: None,
            places: BTreeSet::new(),
            spare: BTreeSet::new(),
            own: BTreeSet::new(),
            jobs: HashMap::new(),
            tokens: BTreeSet::new(),
            beside: 1.0,
            trouble: None,
            held_up: 0,
            told: BTreeSet::new(),
        };
        driver.find_sent()?;
        driver.beside = workers.folder.beside(&workers.setting.study)?;
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
                    self.sent_as(index, Place { token: batch.token.clone(), index: place as u32 });
                }
            }
            if useful {
                if job.is_some() {
                    self.workers.accepted.store(true, Ordering::Relaxed);
                }
                self.jobs.extend(job.map(|job| (batch.token.clone(), job)));
                self.tokens.insert(batch.token);
            }
        }
        Ok(())
    }

    fn sent_as(&mut self, index: usize, place: Place) {
        self.places.insert(place.clone());
        self.tracked[index].sent_as(place);
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
        self.end_copies();
        self.tokens.iter().for_each(|token| self.workers.folder.forget(token));
        Ok(())
    }

    /// Cancels what would measure again: all but those that end by themselves, having measured.
    fn end_copies(&self) {
        let Ok(rows) = self.workers.queue.rows() else { return };
        let is_spare = |row: &&Row| {
            let place = Place { token: row.token.clone(), index: row.index };
            self.tokens.contains(&row.token)
                && is_left(row)
                && (row.state != State::Running || self.spare.contains(&place) || !self.places.contains(&place))
        };
        let copies: Vec<String> =
            rows.iter().filter(is_spare).map(|row| format!("{}_{}", row.job, row.index)).collect();
        // One that goes on costs time alone.
        let _ = self.workers.queue.cancel(&copies);
    }

    /// Hands over the results that are there.
    fn collect(&mut self) -> Result<(), ExecError> {
        for name in self.workers.folder.names()? {
            let Some(&index) = self.names.get(&name).filter(|index| self.open.contains(index)) else {
                continue;
            };
            let task = &self.pending[index].task;
            if let Some(measured) = self.workers.folder.take_part(&self.workers.setting.study, task)? {
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
        self.waiting.remove(&index);
        let avoid = self.tracked[index].to_avoid_after(&measured.outcome);
        if let places @ [_, _, ..] = self.tracked[index].places() {
            self.spare.extend(places.iter().cloned());
        }
        let pending = &self.pending[index];
        // Those that run beside it share the study's time.
        measured.seconds /= self.beside.max(1.0);
        let again = (self.round.deliver)(pending, measured)?;
        self.workers.folder.remove_part(&pending.task);
        match again.filter(|_| (self.round.more)()) {
            // It goes out with the next answer of the queue, beside those that still run.
            Some(again) => {
                self.names.insert(again.task.name(), index);
                self.tracked[index] = Tracked::avoiding(avoid);
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
        self.beside = answer.running() as f64;
        self.judge(&answer)?;
        if self.waiting.is_empty() {
            self.held = None;
            return Ok(true);
        }
        if !(self.round.more)() {
            // What is out may still end.
            for index in std::mem::take(&mut self.waiting).into_keys() {
                self.open.remove(&index);
            }
            return Ok(!self.open.is_empty());
        }
        self.send_waiting()?;
        Ok(true)
    }

    /// Sends out what waits, as far as the cluster takes it and until the user asks to stop.
    fn send_waiting(&mut self) -> Result<(), ExecError> {
        if self.held.as_ref().is_some_and(|(until, _)| Instant::now() < *until) {
            return Ok(());
        }
        self.held = None;
        let mut out = BTreeMap::<BTreeSet<String>, Vec<usize>>::new();
        for (&index, avoid) in &self.waiting {
            out.entry(avoid.clone()).or_default().push(index);
        }
        for (avoid, tasks) in out {
            let avoid: Vec<String> = avoid.into_iter().collect();
            for tasks in tasks.chunks(LARGEST_ARRAY) {
                if self.held.is_some() || self.tell(1).is_break() {
                    return Ok(());
                }
                self.send(tasks, &avoid)?;
            }
        }
        Ok(())
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
                self.workers.accepted.store(true, Ordering::Relaxed);
                self.jobs.insert(row.token.clone(), row.job);
            }
            if self.jobs.get(&row.token) == Some(&row.job) {
                answer.entry(row.token.clone()).or_default().entry(row.index).or_default().push(row);
            }
        }
        Ok(Some(Answer(answer)))
    }

    /// Concludes from an answer what became of each measurement; those that are to be sent out wait for that.
    fn judge(&mut self, answer: &Answer) -> Result<(), ExecError> {
        let Options { grace, resubmissions, .. } = self.workers.options;
        let now = Instant::now();
        for index in self.open.clone() {
            if self.waiting.contains_key(&index) {
                continue;
            }
            let places = self.tracked[index].places().to_vec();
            let rows = answer.of_measurement(&places);
            let heard = places.last().is_none_or(|place| self.jobs.contains_key(&place.token));
            if rows.iter().any(|row| row.state == State::Running) {
                self.start(index);
            }
            let next = self.tracked[index].judge(&rows, heard, now, grace, resubmissions);
            let send_out = match next {
                Next::Wait => false,
                Next::Send => true,
                Next::Replace(row) => {
                    // One that stays in the queue does no harm.
                    let _ = self.workers.queue.cancel(&[format!("{}_{}", row.job, row.index)]);
                    true
                }
                // An earlier run sent it out, perhaps with less time than there is now.
                Next::Fail(Outcome::Failed { kind: Failure::TimedOut, .. }) if !self.is_own(index) => true,
                Next::Fail(outcome) => {
                    self.fail(index, outcome)?;
                    false
                }
                Next::Broken(row) => return Err(self.broken(row)),
            };
            if send_out {
                self.waiting.insert(index, self.tracked[index].avoid.clone());
            }
        }
        Ok(())
    }

    /// Whether this driver sent the measurement out that was last spoken of.
    fn is_own(&self, index: usize) -> bool {
        self.tracked[index].last.as_ref().is_some_and(|row| self.own.contains(&row.token))
    }

    /// A worker fails by its own words wherever it runs. What a measurement itself comes to, a failure too, is a result, so something
    /// is wrong with what all of them read: none of it is the measurement's.
    fn broken(&mut self, row: Row) -> ExecError {
        let (log, last) = self.workers.folder.last_words(&row.token, row.index);
        // What runs may have begun before that, and is picked up later. That the rest can't be cancelled is the lesser news.
        if self.beside < 1.0 {
            let _ = self.cancel();
        }
        SlurmError::Worker { node: row.node, last, log }.into()
    }

    fn fail(&mut self, index: usize, mut outcome: Outcome) -> Result<(), ExecError> {
        if let Outcome::Failed { kind: Failure::TimedOut, limit, .. } = &mut outcome {
            *limit = self.workers.options.seconds;
        }
        self.hand_over(index, Measured { outcome, seconds: 0.0, files: Vec::new() })
    }

    /// Sends measurements out as one array, on other nodes than those to `avoid`.
    fn send(&mut self, indices: &[usize], avoid: &[String]) -> Result<(), ExecError> {
        let workers = self.workers;
        let (token, path) = self.write_batch(indices)?;
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
        let said = match answer {
            Ok(job) => {
                workers.accepted.store(true, Ordering::Relaxed);
                workers.folder.save_job(&token, job)?;
                self.jobs.insert(token, job);
                self.went_out(indices);
                return Ok(());
            }
            // It may have gone out: the queue will say.
            Err(Refusal::Away(said)) => {
                self.trouble = Some(said);
                self.went_out(indices);
                return Ok(());
            }
            Err(Refusal::Refused(said)) => said,
        };
        self.take_back(&token, indices);
        // A site may take no arrays as large, or not as many jobs.
        if let (first @ [_, ..], second @ [_, ..]) = indices.split_at(indices.len() / 2)
            && is_about_size(&said)
        {
            self.send(first, avoid)?;
            return if self.held.is_some() { Ok(()) } else { self.send(second, avoid) };
        }
        if !workers.accepted.load(Ordering::Relaxed) {
            return Err(SlurmError::Refused { said }.into());
        }
        // It took others, so it will take this once it may.
        let until = Instant::now() + HOLDING * workers.options.poll;
        self.held = Some((until, format!("the cluster takes no more: {said}")));
        Ok(())
    }

    /// Writes the batch of what is to go out; its token and its file.
    fn write_batch(&mut self, indices: &[usize]) -> Result<(String, PathBuf), SlurmError> {
        let token = format!("privynet-{:016x}", folder::unique_bits());
        let tasks = indices.iter().map(|&index| self.pending[index].task.clone()).collect();
        let batch = Batch { token: token.clone(), setting: self.workers.setting.clone(), tasks };
        let path = self.workers.folder.save(&batch)?;
        for (place, &index) in indices.iter().enumerate() {
            self.sent_as(index, Place { token: token.clone(), index: place as u32 });
        }
        self.tokens.insert(token.clone());
        self.own.insert(token.clone());
        Ok((token, path))
    }

    /// Forgets a batch that the cluster refused.
    fn take_back(&mut self, token: &str, indices: &[usize]) {
        self.workers.folder.forget(token);
        self.tokens.remove(token);
        indices.iter().for_each(|&index| self.tracked[index].not_sent());
    }

    fn went_out(&mut self, indices: &[usize]) {
        for index in indices {
            self.waiting.remove(index);
        }
    }

    /// Ends the round at the user's wish.
    fn stop(&self) -> ExecError {
        let out = self.open.iter().filter(|index| !self.tracked[**index].places().is_empty());
        let running = out.filter(|index| !self.waiting.contains_key(index)).count();
        if self.workers.options.detach && running > 0 {
            return ExecError::Detached { running };
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

    /// Cancels what is out.
    fn cancel(&self) -> Result<(), Refusal> {
        cancel(&self.workers.queue, &self.tokens)?;
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
