//! The driver on a cluster that is made up, and goes wrong as real ones do.

mod ends;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::driver::script;
use super::*;
use crate::backbone::Architecture;
use crate::config::PrecisionEntry;
use crate::estimate::mock::MockEstimator;
use crate::estimate::{Estimator, Unwatched};
use crate::exec::{Executor, Job, Measured, Observer, Task, Worker, cloud_net_name, gallery_name};
use crate::measurement::{DesignId, Evaluation, Failure, Fidelity, Outcome};
use crate::space::{Candidate, ChannelChoice, Cost, Design, Selection};
use crate::store::{Event, Header, Inputs, Study, StudyReader};

/// What becomes of a task that runs.
#[derive(Debug, Clone)]
enum Fate {
    Done,
    /// It ends so, without a result.
    Ends(State),
    /// Nobody hears of it again.
    Vanishes,
    /// Its result is damaged on its way.
    Damaged,
    /// It waits for ever, and why.
    Waits(&'static str),
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Good,
    /// The array goes out, but nobody says so.
    Unheard,
    /// The controller is down.
    Away,
    /// The user has as much out as he may.
    Full,
}

/// An array: its id, its token, its tasks, and what became of each.
struct FakeJob(u64, String, Vec<Task>, Vec<Option<State>>);

#[derive(Default)]
struct Inside {
    jobs: Vec<FakeJob>,
    next: u64,
    fates: VecDeque<Fate>,
    submissions: VecDeque<Answer>,
    questions: VecDeque<Answer>,
    submitted: usize,
    cancelled: Vec<String>,
    /// Tasks that ran, by name.
    ran: Vec<String>,
    /// Why those wait that do.
    reason: &'static str,
}

/// A controller and its nodes: tasks run while it is asked for its queue.
#[derive(Clone)]
struct FakeCluster {
    folder: Folder,
    state: Arc<Mutex<Inside>>,
}

impl FakeCluster {
    fn new(dir: &Path) -> Self {
        Self { folder: Folder::of(dir), state: Arc::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.state.lock().unwrap()
    }

    fn run(&self, task: &Task, damaged: bool) {
        let estimators: Vec<Box<dyn Estimator>> = vec![Box::new(mock())];
        let measured = Worker::new(estimators, None).measure(task, &Unwatched).unwrap();
        self.folder.write_part(STUDY, task, &measured, "node1").unwrap();
        if damaged {
            let path = self.folder.part(&task.name());
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

impl Queue for FakeCluster {
    fn submit(&self, array: &Array<'_>) -> Result<u64, Refusal> {
        let mut state = self.state();
        let answer = state.submissions.pop_front().unwrap_or(Answer::Good);
        match answer {
            Answer::Away => return Err(Refusal::Away("down".to_owned())),
            Answer::Full => return Err(Refusal::Refused("job submit limit".to_owned())),
            Answer::Good | Answer::Unheard => {}
        }
        let batch = Batch::read(&self.folder.batches().join(format!("{}.json", array.token))).unwrap();
        assert_eq!(batch.tasks.len(), array.tasks);
        state.submitted += 1;
        state.next += 1;
        let id = state.next;
        let waiting = vec![None; batch.tasks.len()];
        state.jobs.push(FakeJob(id, array.token.to_owned(), batch.tasks, waiting));
        if answer == Answer::Unheard { Err(Refusal::Away("no answer".to_owned())) } else { Ok(id) }
    }

    fn rows(&self) -> Result<Vec<Row>, Refusal> {
        let mut state = self.state();
        if state.questions.pop_front() == Some(Answer::Away) {
            return Err(Refusal::Away("down".to_owned()));
        }
        let mut rows = Vec::new();
        let mut fates = std::mem::take(&mut state.fates);
        let (mut ran, mut reason) = (Vec::new(), state.reason);
        for FakeJob(job, token, tasks, states) in &mut state.jobs {
            for (index, (task, state)) in tasks.iter().zip(states).enumerate() {
                let now = state.get_or_insert_with(|| {
                    ran.push(task.name());
                    match fates.pop_front().unwrap_or(Fate::Done) {
                        Fate::Done => {
                            self.run(task, false);
                            State::Completed
                        }
                        Fate::Damaged => {
                            self.run(task, true);
                            State::Completed
                        }
                        Fate::Ends(state) => state,
                        Fate::Vanishes => State::Unknown("VANISHED".to_owned()),
                        Fate::Waits(why) => {
                            reason = why;
                            State::Pending
                        }
                    }
                });
                if *now != State::Unknown("VANISHED".to_owned()) {
                    rows.push(Row {
                        job: *job,
                        index: index as u32,
                        state: now.clone(),
                        reason: reason.to_owned(),
                        exit_code: "0:0".to_owned(),
                        node: "node1".to_owned(),
                        token: token.clone(),
                    });
                }
            }
        }
        state.fates = fates;
        state.reason = reason;
        state.ran.extend(ran);
        Ok(rows)
    }

    fn cancel(&self, jobs: &[String]) -> Result<(), Refusal> {
        let mut state = self.state();
        for FakeJob(job, _, _, states) in &mut state.jobs {
            for (index, state) in states.iter_mut().enumerate() {
                let named = jobs.contains(&job.to_string()) || jobs.contains(&format!("{job}_{index}"));
                if named && !matches!(state, Some(State::Completed)) {
                    *state = Some(State::Cancelled);
                }
            }
        }
        state.cancelled.extend(jobs.iter().cloned());
        Ok(())
    }
}

const STUDY: &str = "0123";

fn mock() -> MockEstimator {
    MockEstimator { noise: 0.1, gain: 3.0, converges: true, linear: -2.0, open_from: usize::MAX }
}

fn candidates(count: u16) -> Vec<Candidate> {
    let vgg = Architecture::vgg16();
    let layer = vgg.layer("conv1_2").unwrap();
    let candidate = |n: u16| {
        let design = Design { split: layer.name.to_owned(), channels: ChannelChoice::set(vec![n, n + 1]) };
        Candidate {
            id: design.id(),
            split_index: 1,
            selections: vec![Selection::First],
            cost: Cost::new(vgg, layer, 32, 2, PrecisionEntry::default()).unwrap(),
            linear_attack: 20.0,
            class_separation: 1.0,
            design,
        }
    };
    (0..count).map(candidate).collect()
}

/// One of its measurements.
fn job(candidate: &Candidate) -> Job<'_> {
    Job { candidate, fidelity: Fidelity::Quick, seed: 7, verifying: None, reason: String::new() }
}

/// Counts, and interrupts once told to.
#[derive(Default)]
struct Counter {
    fresh: AtomicUsize,
    failed: AtomicUsize,
    stop: AtomicBool,
    notices: Mutex<Vec<String>>,
    /// A notice that is reason enough to stop.
    stop_at: Option<&'static str>,
}

impl Observer for Counter {
    fn started(&self, _: &Job<'_>, _: usize, _: usize) {}
    fn notice(&self, text: &str) {
        self.notices.lock().unwrap().push(text.to_owned());
    }
    fn progress(&self, _: usize, _: &str, _: f64) -> ControlFlow<()> {
        let stops = self.stop.load(Ordering::Relaxed)
            || self.stop_at.is_some_and(|text| self.notices.lock().unwrap().iter().any(|notice| notice.contains(text)));
        if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn failed(&self, _: &Job<'_>, _: &Evaluation, _: usize) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
    fn finished(&self, _: &Job<'_>, _: &Evaluation, _: usize, fresh: bool) {
        self.fresh.fetch_add(usize::from(fresh), Ordering::Relaxed);
    }
}

fn workers(cluster: &FakeCluster, detach: bool) -> SlurmWorkers<FakeCluster> {
    let setting = Setting {
        study: STUDY.to_owned(),
        budget: "/b.yaml".into(),
        data: None,
        weights: None,
        device: "cpu".to_owned(),
        threads: 1,
        results: "/r".into(),
        feature_cache: None,
        scratch: None,
    };
    let options = Options {
        program: "/bin/it's".into(),
        name: "test".to_owned(),
        resubmissions: 3,
        poll: Duration::ZERO,
        grace: Duration::ZERO,
        seconds: Some(7200.0),
        detach,
    };
    SlurmWorkers::new(cluster.clone(), cluster.folder.clone(), setting, options)
}

fn study(dir: &Path) -> (Study, Vec<Event>) {
    let inputs = Inputs {
        budget: String::new(),
        space: String::new(),
        data: String::new(),
        weights: String::new(),
        protocols: String::new(),
    };
    let (study, recovered) = Study::open(dir, &Header::new("t", inputs, serde_json::Value::Null)).unwrap();
    (study, recovered.events)
}

/// Measures `count` designs on `cluster`; what each came to.
fn measure(
    dir: &Path,
    cluster: &FakeCluster,
    count: u16,
    counter: &Counter,
    detach: bool,
) -> Result<Vec<Evaluation>, ExecError> {
    let (study, events) = study(dir);
    let mut executor = Executor::new(study, &events, Box::new(workers(cluster, detach)), counter, 0, 2);
    let candidates = candidates(count);
    let jobs: Vec<Job<'_>> = candidates.iter().map(job).collect();
    Ok(executor.measure(&jobs, None)?.into_iter().map(Option::unwrap).collect())
}

/// Every measurement that is in the journal as done.
fn journal(dir: &Path) -> Vec<DesignId> {
    let reader = StudyReader::open(dir).unwrap();
    let done = reader.events().iter().filter_map(|event| match event {
        Event::Evaluation(evaluation) if matches!(evaluation.outcome, Outcome::Done(_)) => {
            Some(evaluation.design.clone())
        }
        _ => None,
    });
    done.collect()
}

/// Runs five measurements through these fates and answers; nothing may be lost or counted twice.
fn survives(fates: &[Fate], submissions: &[Answer], questions: &[Answer]) -> FakeCluster {
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(dir.path());
    {
        let mut state = cluster.state();
        state.fates = fates.to_vec().into();
        state.submissions = submissions.to_vec().into();
        state.questions = questions.to_vec().into();
    }
    let counter = Counter::default();
    let found = measure(dir.path(), &cluster, 5, &counter, false).unwrap();
    assert!(found.iter().all(|evaluation| matches!(evaluation.outcome, Outcome::Done(_))), "{found:?}");
    let mut done = journal(dir.path());
    done.sort();
    let mut expected: Vec<DesignId> = candidates(5).into_iter().map(|candidate| candidate.id).collect();
    expected.sort();
    assert_eq!(done, expected);
    assert_eq!(counter.fresh.load(Ordering::Relaxed), 5);
    // Nothing stays behind.
    assert!(cluster.folder.sent().unwrap().is_empty() && cluster.folder.names().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(cluster.folder.logs()).unwrap().count(), 0, "nothing was printed");
    cluster
}

#[test]
fn a_round_is_one_array_and_its_figures_are_the_workers_own() {
    let cluster = survives(&[], &[], &[]);
    assert_eq!(cluster.state().submitted, 1);
    assert_eq!(cluster.state().ran.len(), 5);
}

#[test]
fn tasks_that_nodes_lose_or_people_cancel_go_out_again() {
    let lost = || Fate::Ends(State::NodeLost("NODE_FAIL".to_owned()));
    let fates =
        [lost(), Fate::Ends(State::Cancelled), Fate::Vanishes, Fate::Damaged, Fate::Ends(State::Failed), lost()];
    let cluster = survives(&fates, &[], &[]);
    assert_eq!(cluster.state().ran.len(), 11);
}

#[test]
fn a_controller_that_is_down_is_waited_for() {
    let away = [Answer::Away; 5];
    survives(&[], &away[..1], &away);
}

#[test]
fn what_holds_a_round_up_is_told_once_and_that_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(dir.path());
    cluster.state().questions = vec![Answer::Away; 6].into();
    let counter = Counter::default();
    measure(dir.path(), &cluster, 2, &counter, false).unwrap();
    assert_eq!(*counter.notices.lock().unwrap(), ["the queue does not answer: down", "the cluster goes on"]);
    // A controller that fails to answer now and then is none's concern.
    let other = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(other.path());
    cluster.state().questions = vec![Answer::Away, Answer::Away, Answer::Good, Answer::Away].into();
    let counter = Counter::default();
    measure(other.path(), &cluster, 2, &counter, false).unwrap();
    assert!(counter.notices.lock().unwrap().is_empty());
    // Its turn is what a job waits for; this one will never come.
    let third = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(third.path());
    cluster.state().fates = vec![Fate::Waits("PartitionTimeLimit")].into();
    let counter = Counter { stop_at: Some("PartitionTimeLimit"), ..Counter::default() };
    assert!(matches!(measure(third.path(), &cluster, 1, &counter, false), Err(ExecError::Interrupted)));
}

#[test]
fn an_array_that_went_out_unheard_is_recognised_by_its_token() {
    let cluster = survives(&[], &[Answer::Unheard], &[Answer::Good, Answer::Away]);
    assert_eq!(cluster.state().submitted, 1);
}

#[test]
fn memory_that_does_not_suffice_halves_the_batch() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(dir.path());
    cluster.state().fates = VecDeque::from([Fate::Ends(State::OutOfMemory), Fate::Ends(State::TimedOut)]);
    let counter = Counter::default();
    let found = measure(dir.path(), &cluster, 1, &counter, false).unwrap();
    assert!(matches!(found[0].outcome, Outcome::Done(_)) && found[0].reason.contains("halved 1 times"), "{found:?}");
    assert_eq!(counter.failed.load(Ordering::Relaxed), 2);
    let kinds: Vec<(Failure, Option<f64>)> = (StudyReader::open(dir.path()).unwrap().events().iter())
        .filter_map(|event| match event {
            Event::Evaluation(Evaluation { outcome: Outcome::Failed { kind, limit, .. }, .. }) => Some((*kind, *limit)),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [(Failure::OutOfMemory, None), (Failure::TimedOut, Some(7200.0))]);
}

#[test]
fn what_is_lost_again_and_again_is_a_failure_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(dir.path());
    cluster.state().fates = vec![Fate::Ends(State::NodeLost("NODE_FAIL".to_owned())); 12].into();
    let found = measure(dir.path(), &cluster, 1, &Counter::default(), false).unwrap();
    let Outcome::Failed { kind, reason, .. } = &found[0].outcome else { panic!("{found:?}") };
    assert_eq!(*kind, Failure::Lost);
    assert!(reason.contains("4 times") && reason.contains("node1"), "{reason}");
}

#[test]
fn an_interrupt_cancels_and_a_detached_study_is_picked_up() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(dir.path());
    cluster.state().fates = vec![Fate::Waits("Resources"); 3].into();
    let interrupting = Interrupting { counter: Counter::default(), cluster: cluster.clone() };
    let run = |detach| {
        let (study, events) = study(dir.path());
        let mut executor = Executor::new(study, &events, Box::new(workers(&cluster, detach)), &interrupting, 0, 2);
        let candidates = candidates(3);
        let jobs: Vec<Job<'_>> = candidates.iter().map(job).collect();
        executor.measure(&jobs, None).map(|found| found.len())
    };
    assert!(matches!(run(true), Err(ExecError::Detached { running: 3 })));
    assert!(cluster.state().cancelled.is_empty());
    // Meanwhile they are measured, and the driver's own note of the job is lost.
    let tasks = cluster.state().jobs[0].2.clone();
    tasks.iter().for_each(|task| cluster.run(task, false));
    cluster.state().jobs[0].3 = vec![Some(State::Completed); 3];
    let seen = survey(dir.path(), Some(&cluster)).unwrap();
    assert!(seen.tasks.len() == 3 && seen.tasks.iter().all(|task| task.measured), "{seen:?}");
    assert_eq!(run(true).unwrap(), 3);
    assert_eq!(cluster.state().submitted, 1);
    assert_eq!(journal(dir.path()).len(), 3);

    let other = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(other.path());
    cluster.state().fates = vec![Fate::Waits("Resources"); 3].into();
    let counter = Counter::default();
    counter.stop.store(true, Ordering::Relaxed);
    assert!(matches!(measure(other.path(), &cluster, 3, &counter, false), Err(ExecError::Interrupted)));
}

/// Interrupts while something waits in the queue.
struct Interrupting {
    counter: Counter,
    cluster: FakeCluster,
}

impl Observer for Interrupting {
    fn started(&self, _: &Job<'_>, _: usize, _: usize) {}
    fn progress(&self, _: usize, _: &str, _: f64) -> ControlFlow<()> {
        let waits = self.cluster.state().jobs.iter().any(|job| job.3.contains(&Some(State::Pending)));
        if waits { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn failed(&self, _: &Job<'_>, _: &Evaluation, _: usize) {}
    fn finished(&self, job: &Job<'_>, evaluation: &Evaluation, number: usize, fresh: bool) {
        self.counter.finished(job, evaluation, number, fresh);
    }
}

#[test]
fn a_part_of_another_study_task_or_try_is_none_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::of(dir.path());
    folder.create().unwrap();
    let candidate = &candidates(1)[0];
    let job = job(candidate);
    let task = Task::new(&job, Default::default());
    let (id, fidelity) = (&candidate.id, Fidelity::Quick);
    let files = vec![(gallery_name(id, fidelity, 7), vec![1, 2, 3]), (cloud_net_name(id, fidelity, 7), Vec::new())];
    let measured = Measured { outcome: Outcome::Done(Vec::new()), seconds: 1.5, files };
    folder.write_part(STUDY, &task, &measured, "node1").unwrap();
    assert_eq!(folder.take_part(STUDY, &task).unwrap(), Some(measured.clone()));
    assert_eq!(folder.take_part("4567", &task).unwrap(), None);
    let foreign = Measured { files: vec![("study.json".to_owned(), Vec::new())], ..measured.clone() };
    folder.write_part(STUDY, &task, &foreign, "node1").unwrap();
    assert_eq!(folder.take_part(STUDY, &task).unwrap(), None);
    assert!(folder.names().unwrap().is_empty(), "what can't be read is removed, so that it is measured again");

    let whole = {
        folder.write_part(STUDY, &task, &measured, "node1").unwrap();
        std::fs::read(folder.part(&task.name())).unwrap()
    };
    for position in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[position] ^= 1 << (position % 8);
        for damaged in [&flipped[..], &whole[..position]] {
            std::fs::write(folder.part(&task.name()), damaged).unwrap();
            assert_eq!(folder.take_part(STUDY, &task).unwrap(), None, "byte {position}");
        }
    }
}

#[test]
fn paths_with_quotes_reach_the_node_as_they_are() {
    let text = script(Path::new("/bin/it's"), Path::new("/shared/a b.json"));
    assert!(text.contains(r"'/bin/it'\''s' worker '/shared/a b.json' --task"), "{text}");
}
