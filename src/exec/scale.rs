//! How far a search's own work reaches: the real executor and study, and made-up workers on a clock of their own.
//!
//! [`simulate`] has measurements made by workers that only draw how long each takes and whether it fails. Nobody sleeps: their clock
//! jumps from one result to the next. Everything else is what a study does: [`Executor::measure`] hands out, results go through
//! [`Round::deliver`] into a [`Study`] on disk, synced one by one, failures are tried again. What the driver's work takes in truth
//! is put on the clock as well, and a worker gets its next measurement only once the driver has taken its last: a driver that is too
//! slow shows as workers that wait.
//!
//! A measurement takes a minute (log-normal, 0.2 the standard deviation of the logarithm), one try in a hundred three times as long;
//! one try in twenty fails, at any moment of its time, and is tried again twice at most. All figures are of two cores of a server on
//! which others compiled (a load of ten).
//!
//! # One driver, 1 to 10,000 workers
//! 100,000 measurements asked for at once, as `tabulate` and an exhaustive search do, on a file system in memory, where syncing costs
//! nothing (`TMPDIR=/dev/shm privynet bench --workers 1,10,100,1000,10000 --measurements 100000`):
//!
//! | workers | wall clock | workers busy | before the last was handed out | driver, of a core |
//! |---|---|---|---|---|
//! | 1 | 1779 h | 100.0 % | 100.0 % | 0.00 % |
//! | 10 | 177.9 h | 100.0 % | 100.0 % | 0.00 % |
//! | 100 | 17.8 h | 99.9 % | 100.0 % | 0.01 % |
//! | 1,000 | 1.8 h | 97.4 % | 100.0 % | 0.10 % |
//! | 10,000 | 14.5 min | 73.6 % | 100.0 % | 0.79 % |
//!
//! The processor works 0.04 to 0.13 ms on a result of 25 rows, 4.5 kB of journal. What is missing at 10,000 workers is the wait for
//! the last ones: ten measurements a worker, and any straggler among the last takes three minutes of fourteen.
//!
//! # What the disk allows
//! Each result is synced before it counts. On the server's disk a sync takes 1 to 3 ms, with a file of reconstructions beside it
//! there are three (the file, its folder, the journal):
//!
//! | 1,000 workers | driver, a result | so many a second | workers of a minute that this feeds |
//! |---|---|---|---|
//! | no side files (`privynet bench --workers 1000 --measurements 20000`) | 1.05 ms | 950 | 57,000 |
//! | 80 KiB each (`… --measurements 5000 --side-file "80 KiB"`) | 2.43 ms | 410 | 25,000 |
//!
//! A shared file system of a cluster syncs more slowly; at 10 ms a result one driver feeds 6,000 such workers.
//!
//! # Memory
//! 100,000 results of 25 rows take 429 MB while the search holds them, its own copies and the driver's: 4.3 kB each. (638 MB before
//! an evaluation's rows shared its id.) Opening the finished study again reads 492 MB of journal in 5 to 13 s; with that the process held
//! 770 MB at most (`TMPDIR=/dev/shm privynet bench --workers 1000 --measurements 100000 --json`).
//!
//! # Rounds
//! The model strategy proposes a round, waits for all of it and learns from it. Workers whose measurement is done meanwhile wait for the
//! round's last: its stragglers and its second tries. As many at a time as there are workers, a hundred rounds (`TMPDIR=/dev/shm privynet
//! bench --workers N --round N --measurements 100·N`): busy 79 % of the time with 4 workers, 59 % with 16, 40 % with 64, 31 % with 256, 26 %
//! with 1,024. 64 workers and a round of so many times 64 (`--workers 64 --round … --measurements 6400`): 40 % (1), 55 % (2), 71 % (4), 82 %
//! (8), 89 % (16).
//!
//! What larger rounds cost the search, as the share of the best answer that 20 seeds found, mean and worst (`privynet replay TABLE
//! --budget BUDGET --evaluations E --round N --strategy model --seed $(seq -s, 0 19)`; C2-DTLZ2 by `tests/replay_cases.py`, a hypervolume; the
//! others are `spaces/cifar10-vgg16/table`, accuracies):
//!
//! | round | C2-DTLZ2, 64 lookups | `private.yaml`, 22 lookups | `usual.yaml`, 22 lookups |
//! |---|---|---|---|
//! | 1 | 0.9999 (0.9973) | 1.0000 (1.0000) | 1.0000 (1.0000) |
//! | 2 | – | 1.0000 (1.0000) | 1.0000 (1.0000) |
//! | 4 | 0.9923 (0.8778) | 1.0000 (1.0000) | 1.0000 (1.0000) |
//! | 8 | – | 1.0000 (1.0000) | 0.9999 (0.9971) |
//! | 11 | – | 1.0000 (1.0000) | 1.0000 (1.0000) |
//! | 16 | 0.8963 (0.7262) | – | – |
//! | all at once | 0.6673 (0.2669) | 0.9985 (0.9698) | 0.9993 (0.9971) |
//! | random | 0.7018 (0.4312) | 0.8819 (0.6616) | 0.9386 (0.8204) |
//!
//! Split nets are an easy case: closed-form figures tell nearly all, and half of the lookups may come at once. Where the front must be
//! felt for, sixteen at a time cost a tenth, and nothing learnt at all is no better than chance.
//!
//! # Trying again at once
//! A failed measurement is tried again on the lane or worker that is free, ahead of those that were never tried. Before, it waited for the
//! end of its round, and the next round was of second tries alone. The test `trying_again_at_once_keeps_workers_busy` does it both ways.
//!
//! # Limits
//! - A measurement is handed over alone: nothing is synced for several at once.
//! - A study's events are in memory as a whole, as is its journal while it is opened.
//! - The clock has no queue of a cluster: that its scheduler starts a task in no time is an assumption.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::{ExecError, Executor, Job, Measured, Observer, Pending, Round, Workers, gallery_name};
use crate::backbone::Architecture;
use crate::config::PrecisionEntry;
use crate::measurement::{Evaluation, Failure, Fidelity, Measurement, Metric, Outcome};
use crate::space::{Candidate, ChannelChoice, Cost, Design, Selection};
use crate::store::{Header, Inputs, Study};

/// Rows of a measurement, as many as the quick protocol's.
const ROWS: usize = 25;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plant {
    /// Workers, each with one measurement at a time.
    pub workers: usize,
    /// Measurements to be made.
    pub measurements: usize,
    /// How many the search asks for at a time; all where absent, as `tabulate` does.
    pub round: Option<usize>,
    /// What a measurement takes, seconds: the median.
    pub seconds: f64,
    /// Standard deviation of its logarithm.
    pub spread: f64,
    /// Share of tries that fail, at any moment of their time.
    pub failures: f64,
    /// Share of tries that take [`delay`](Self::delay) times as long.
    pub stragglers: f64,
    /// How much longer stragglers take.
    pub delay: f64,
    /// Bytes of each measurement's side file, 0 for none.
    pub side_file: usize,
    /// Whether a failed measurement is tried again at once, or when the others of its round are done.
    pub again_at_once: bool,
    /// Seed of all draws.
    pub seed: u64,
}

impl Plant {
    /// Measurements of a minute on a cluster with some bad luck: one try in twenty fails, one in a hundred takes three times as long.
    pub fn new(workers: usize, measurements: usize) -> Self {
        Self {
            workers: workers.max(1),
            measurements,
            round: None,
            seconds: 60.0,
            spread: 0.2,
            failures: 0.05,
            stragglers: 0.01,
            delay: 3.0,
            side_file: 0,
            again_at_once: true,
            seed: 1,
        }
    }
}

/// What a simulation came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Course {
    /// Tries that the workers made.
    pub tries: usize,
    /// Measurements that failed to the last try.
    pub lost: usize,
    /// From the first hand-out to the last result on disk, seconds on the workers' clock.
    pub wall_seconds: f64,
    /// Share of that time in which the workers measured, mean over workers.
    pub utilisation: f64,
    /// The same until nothing was left to be handed out for the first time: without the wait for the last ones.
    pub utilisation_before_last: f64,
    /// What the driver took to make results durable, in truth, seconds.
    pub driver_seconds: f64,
    /// The journal's size, bytes.
    pub journal_bytes: u64,
    /// What opening the finished study again takes, in truth, seconds.
    pub reopen_seconds: f64,
    /// Memory of this process while it held all results, bytes, where the system tells.
    pub resident_bytes: Option<u64>,
}

/// Runs `plant` with a study in the empty or new folder `dir`; `go_on` is asked before each result.
///
/// # Errors
/// [`ExecError`] where the study can't be written, [`ExecError::Interrupted`] where `go_on` says no.
pub fn simulate(plant: &Plant, dir: &Path, go_on: &(dyn Fn() -> bool + Sync)) -> Result<Course, ExecError> {
    let Some(candidate) = candidate() else { return Ok(Course::default()) };
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
    let inputs = Inputs {
        budget: hash("simulated"),
        space: hash("simulated"),
        data: hash("none"),
        weights: hash("none"),
        protocols: hash("simulated"),
    };
    let header = Header::new("simulated", inputs, serde_json::Value::Null);
    let (study, recovered) = Study::open(dir, &header)?;
    let clock = Mutex::new(Clock::default());
    let onlooker = Onlooker(go_on);
    let workers = Box::new(VirtualWorkers { plant, clock: &clock });
    let planned = plant.measurements;
    let mut executor = Executor::new(study, &recovered.events, workers, &onlooker, planned, Executor::RETRIES);
    let job = |seed: usize| Job {
        candidate: &candidate,
        fidelity: Fidelity::Quick,
        seed: seed as u64,
        verifying: None,
        reason: "simulated".to_owned(),
    };
    let jobs: Vec<Job<'_>> = (0..plant.measurements).map(job).collect();
    let mut results = Vec::with_capacity(jobs.len());
    for round in jobs.chunks(plant.round.unwrap_or(jobs.len()).max(1)) {
        results.extend(executor.measure(round, None)?);
    }
    let resident_bytes = resident();
    let done = |result: &Option<Evaluation>| matches!(result, Some(Evaluation { outcome: Outcome::Done(_), .. }));
    let lost = results.iter().filter(|result| !done(result)).count();
    drop((results, executor));
    let journal_bytes = std::fs::metadata(dir.join("journal.jsonl")).map_or(0, |file| file.len());
    let start = Instant::now();
    drop(Study::open(dir, &header)?);
    let reopen_seconds = start.elapsed().as_secs_f64();
    let course = Course { lost, journal_bytes, reopen_seconds, resident_bytes, ..Course::default() };
    Ok(clock.into_inner().unwrap_or_else(PoisonError::into_inner).course(plant.workers, course))
}

/// A design that a study may hold; its measurements differ by their seed.
fn candidate() -> Option<Candidate> {
    let architecture = Architecture::vgg16();
    let layer = architecture.layer("conv3_1").ok()?;
    let design = Design { split: "conv3_1".to_owned(), channels: ChannelChoice::set((0..16).collect()) };
    Some(Candidate {
        id: design.id(),
        split_index: 4,
        selections: vec![Selection::First],
        cost: Cost::new(architecture, layer, 32, 16, PrecisionEntry::default()).ok()?,
        linear_attack: 0.0,
        class_separation: 0.0,
        design,
    })
}

/// Asks on whether to go on, and cares for nothing else.
struct Onlooker<'a>(&'a (dyn Fn() -> bool + Sync));

impl Observer for Onlooker<'_> {
    fn started(&self, _: &Job<'_>, _: usize, _: usize) {}

    fn progress(&self, _: usize, _: &str, _: f64) -> ControlFlow<()> {
        if (self.0)() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    fn failed(&self, _: &Job<'_>, _: &Evaluation, _: usize) {}

    fn finished(&self, _: &Job<'_>, _: &Evaluation, _: usize, _: bool) {}
}

/// The workers' clock, and what happened by it.
#[derive(Debug, Default)]
struct Clock {
    /// When the driver has made the last result durable.
    now: f64,
    /// When each try began and ended.
    tries: Vec<(f64, f64)>,
    /// When nothing was left to be handed out for the first time.
    exhausted: f64,
    driver_seconds: f64,
}

impl Clock {
    fn course(self, workers: usize, known: Course) -> Course {
        let share = |end: f64| {
            let busy: f64 = self.tries.iter().map(|&(from, to)| (to.min(end) - from).max(0.0)).sum();
            if end > 0.0 { busy / (workers as f64 * end) } else { 0.0 }
        };
        Course {
            tries: self.tries.len(),
            wall_seconds: self.now,
            utilisation: share(self.now),
            utilisation_before_last: share(self.exhausted),
            driver_seconds: self.driver_seconds,
            ..known
        }
    }
}

/// Workers that take no time but on the clock.
struct VirtualWorkers<'a> {
    plant: &'a Plant,
    clock: &'a Mutex<Clock>,
}

/// A try that waits for a worker or is with one.
enum Try<'r, 'p> {
    First(&'r Pending<'p>),
    Again(Pending<'p>),
}

impl<'p> Try<'_, 'p> {
    fn pending(&self) -> &Pending<'p> {
        match self {
            Self::First(pending) => pending,
            Self::Again(pending) => pending,
        }
    }
}

impl Workers for VirtualWorkers<'_> {
    fn run(&self, round: &Round<'_>) -> Result<(), ExecError> {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting: VecDeque<Try<'_, '_>> = round.pending.iter().map(Try::First).collect();
        let mut running: Vec<Option<(Try<'_, '_>, Drawn)>> = Vec::new();
        // By their bits, moments are in order: none is negative.
        let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        let mut idle = self.plant.workers;
        loop {
            while idle > 0 && !waiting.is_empty() && (round.more)() {
                let Some(next) = waiting.pop_front() else { break };
                (round.started)(next.pending());
                let drawn = self.plant.draw(next.pending());
                let now = clock.now;
                clock.tries.push((now, now + drawn.seconds));
                ends.push(Reverse(((now + drawn.seconds).to_bits(), running.len())));
                running.push(Some((next, drawn)));
                idle -= 1;
            }
            if waiting.is_empty() && clock.exhausted == 0.0 {
                clock.exhausted = clock.now;
            }
            let Some(Reverse((end, number))) = ends.pop() else { break };
            let Some((tried, drawn)) = running[number].take() else { continue };
            if round.observer.progress(tried.pending().number, "simulated", 1.0).is_break() {
                return Err(ExecError::Interrupted);
            }
            let start = Instant::now();
            let again = (round.deliver)(tried.pending(), self.plant.measured(tried.pending(), &drawn))?;
            let took = start.elapsed().as_secs_f64();
            clock.driver_seconds += took;
            clock.now = clock.now.max(f64::from_bits(end)) + took;
            // Before those that were never tried: what is left for last should be no second try.
            if let Some(again) = again.filter(|_| self.plant.again_at_once) {
                waiting.push_front(Try::Again(again));
            }
            idle += 1;
        }
        Ok(())
    }
}

/// What befalls a try.
struct Drawn {
    seconds: f64,
    fails: bool,
}

impl Plant {
    /// The same whichever worker has it, and when.
    fn draw(&self, pending: &Pending<'_>) -> Drawn {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&pending.task.seed.to_le_bytes());
        hasher.update(&pending.task.attempt.failures.to_le_bytes());
        let mut random = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
        // In (0, 1]: its logarithm is finite.
        let mut unit = || (f64::from(random.next_u32()) + 1.0) / (f64::from(u32::MAX) + 1.0);
        let normal = (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos();
        let delay = if unit() <= self.stragglers { self.delay } else { 1.0 };
        let seconds = self.seconds * (self.spread * normal).exp() * delay;
        let fails = unit() <= self.failures;
        Drawn { seconds: if fails { seconds * unit() } else { seconds }, fails }
    }

    fn measured(&self, pending: &Pending<'_>, drawn: &Drawn) -> Measured {
        let (design, fidelity, seed) = (&pending.job.candidate.id, pending.job.fidelity, pending.job.seed);
        // Those that run beside it share the study's time.
        let seconds = drawn.seconds / self.workers as f64;
        if drawn.fails {
            let outcome = Outcome::failed(Failure::Lost, "its node is gone");
            return Measured { outcome, seconds, files: Vec::new() };
        }
        let row = |(at, &metric): (usize, &Metric)| Measurement {
            design: design.clone(),
            metric,
            // With all its digits, as a measured one.
            value: 20.0 + (seed as f64 + at as f64).sin(),
            std_error: 0.1 + 0.05 * (seed as f64).cos(),
            n: 1000,
            fidelity,
            seed,
            seconds: drawn.seconds,
        };
        let rows = Metric::ALL.iter().take(ROWS).enumerate().map(row).collect();
        let file = (gallery_name(design, fidelity, seed), vec![b'x'; self.side_file]);
        let files = if self.side_file > 0 { vec![file] } else { Vec::new() };
        Measured { outcome: Outcome::Done(rows), seconds, files }
    }
}

/// Memory that this process holds, bytes.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(plant: Plant) -> Course {
        let folder = tempfile::tempdir().unwrap();
        simulate(&plant, folder.path(), &|| true).unwrap()
    }

    #[test]
    fn the_clock_is_that_of_the_workers() {
        // Nothing is random, and the driver's own time is small beside a day.
        let day = 86_400.0;
        let plant = Plant { seconds: day, spread: 0.0, failures: 0.0, stragglers: 0.0, ..Plant::new(4, 12) };
        let found = course(plant);
        assert_eq!((found.tries, found.lost), (12, 0));
        assert!((found.wall_seconds / day - 3.0).abs() < 1e-2, "{found:?}");
        assert!(found.utilisation > 0.99 && found.utilisation_before_last > 0.99, "{found:?}");
        // Three rounds of four, each of which waits for its straggler.
        let slow = Plant { round: Some(4), ..plant };
        assert!((course(slow).wall_seconds / day - 3.0).abs() < 1e-2);
    }

    #[test]
    fn what_fails_is_tried_again_and_its_time_counts() {
        let found = course(Plant { failures: 0.3, ..Plant::new(10, 200) });
        assert!(found.tries > 240, "{found:?}");
        // 0.3³ of 200.
        assert!((1..20).contains(&found.lost), "{found:?}");
    }

    #[test]
    fn trying_again_at_once_keeps_workers_busy() {
        let plant = Plant { failures: 0.3, ..Plant::new(50, 200) };
        let [at_once, later] = [true, false].map(|again_at_once| course(Plant { again_at_once, ..plant }));
        assert_eq!((at_once.tries, at_once.lost), (later.tries, later.lost), "the same measurements");
        assert!(at_once.utilisation > later.utilisation, "{at_once:?} {later:?}");
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let stopped = simulate(&Plant::new(2, 10), folder.path(), &|| false);
        assert!(matches!(stopped, Err(ExecError::Interrupted)));
    }
}
