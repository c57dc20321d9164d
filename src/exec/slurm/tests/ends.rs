//! How rounds end: what is given up, and what is left on the cluster.

use super::*;

#[test]
fn a_worker_that_fails_by_its_own_words_ends_the_study_and_is_no_measurements_failure() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(dir.path());
    // Others were measured before; then somebody changed what workers read.
    measure(dir.path(), &cluster, 2, &Counter::default(), false).unwrap();
    cluster.state().fates = vec![Fate::Ends(State::Failed); 20].into();
    let counter = Counter::default();
    let found = measure(dir.path(), &cluster, 3, &counter, false);
    assert!(matches!(found, Err(ExecError::Slurm(SlurmError::Worker { .. }))), "{found:?}");
    assert_eq!(counter.failed.load(Ordering::Relaxed), 0);
    assert_eq!(study(dir.path()).1.len(), 2);
    // Mended, it goes on.
    cluster.state().fates.clear();
    assert_eq!(measure(dir.path(), &cluster, 3, &Counter::default(), false).unwrap().len(), 3);
}

#[test]
fn a_cluster_that_takes_no_more_is_asked_again_and_leaves_nothing_behind() {
    let full = [Answer::Full, Answer::Full, Answer::Good, Answer::Full, Answer::Full, Answer::Full];
    let cluster = survives(&[], &full, &[]);
    assert_eq!(cluster.state().ran.len(), 5);

    // What refuses the first array of all won't take another.
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(dir.path());
    cluster.state().submissions = vec![Answer::Full; 9].into();
    let refused = measure(dir.path(), &cluster, 2, &Counter::default(), false);
    assert!(matches!(refused, Err(ExecError::Slurm(SlurmError::Refused { .. }))), "{refused:?}");
}

#[test]
fn copies_of_what_is_measured_are_cancelled() {
    let other = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(other.path());
    cluster.state().fates = vec![Fate::Ends(State::NodeLost("NODE_FAIL".to_owned()))].into();
    let reviving = Reviving { cluster: cluster.clone() };
    let (study, events) = study(other.path());
    let mut executor = Executor::new(study, &events, Box::new(workers(&cluster, false)), &reviving, 0, 2);
    let candidates = candidates(1);
    executor.measure(&[job(&candidates[0])], None).unwrap();
    // The lost node came back and the scheduler began its task again, beside the one that was measured.
    assert_eq!(cluster.state().cancelled, ["1_0"]);
}

/// Has a lost task begin again as soon as its measurement is done elsewhere.
struct Reviving {
    cluster: FakeCluster,
}

impl Observer for Reviving {
    fn started(&self, _: &Job<'_>, _: usize, _: usize) {}
    fn progress(&self, _: usize, _: &str, _: f64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    fn failed(&self, _: &Job<'_>, _: &Evaluation, _: usize) {}
    fn finished(&self, _: &Job<'_>, _: &Evaluation, _: usize, _: bool) {
        self.cluster.state().jobs[0].3[0] = Some(State::Running);
    }
}

#[test]
fn what_is_out_when_time_is_up_is_still_taken_and_what_nobody_asks_for_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(dir.path());
    cluster.state().fates = vec![Fate::Waits("Resources"); 3].into();
    let interrupting = Interrupting { counter: Counter::default(), cluster: cluster.clone() };
    let candidates = candidates(4);
    let jobs: Vec<Job<'_>> = candidates.iter().map(job).collect();
    let executor = || {
        let (study, events) = study(dir.path());
        Executor::new(study, &events, Box::new(workers(&cluster, true)), &interrupting, 0, 2)
    };
    assert!(matches!(executor().measure(&jobs[..3], None), Err(ExecError::Detached { running: 3 })));
    // Two are measured meanwhile, of the third the study changes its mind; no second is left.
    let tasks = cluster.state().jobs[0].2.clone();
    tasks[..2].iter().for_each(|task| cluster.run(task, false));
    cluster.state().jobs[0].3 = vec![Some(State::Completed), Some(State::Completed), Some(State::Running)];
    let mut again = executor();
    let found = again.measure(&[jobs[0].clone(), jobs[1].clone(), jobs[3].clone()], Some(0.0)).unwrap();
    assert_eq!(found.iter().filter(|found| found.is_some()).count(), 2);
    assert_eq!(cluster.state().submitted, 1, "nothing new went out");
    assert_eq!(cluster.state().cancelled, ["1_2"], "what the study no longer asks for");
    drop(again);

    // A batch that no round asks for.
    let setting = workers(&cluster, true).setting;
    cluster.folder.create().unwrap();
    let batch = Batch { token: "privynet-stale".to_owned(), setting, tasks: vec![tasks[2].clone()] };
    cluster.folder.save(&batch).unwrap();
    let stale = FakeJob(9, batch.token.clone(), batch.tasks, vec![Some(State::Running)]);
    cluster.state().jobs.push(stale);
    executor().finish();
    assert_eq!(cluster.state().cancelled, ["1_2", "9"]);
    assert!(!cluster.folder.has_batches());
}

#[test]
fn an_earlier_runs_time_out_is_sent_out_again_and_counts_as_no_try() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = FakeCluster::new(dir.path());
    cluster.state().fates = vec![Fate::Waits("Resources")].into();
    let interrupting = Interrupting { counter: Counter::default(), cluster: cluster.clone() };
    let candidates = candidates(1);
    let executor = || {
        let (study, events) = study(dir.path());
        Executor::new(study, &events, Box::new(workers(&cluster, true)), &interrupting, 0, 0)
    };
    let jobs = [job(&candidates[0])];
    assert!(matches!(executor().measure(&jobs, None), Err(ExecError::Detached { running: 1 })));
    cluster.state().jobs[0].3 = vec![Some(State::TimedOut)];
    let found = executor().measure(&jobs, None).unwrap();
    assert!(matches!(found[0].as_ref().unwrap().outcome, Outcome::Done(_)), "{found:?}");
    assert_eq!((cluster.state().submitted, study(dir.path()).1.len()), (2, 1));
}

#[test]
fn what_was_measured_side_by_side_shares_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::of(dir.path());
    folder.create().unwrap();
    assert_eq!(folder.beside(STUDY).unwrap(), 1.0);
    // Four that took an hour each, and ended together.
    for candidate in &candidates(4) {
        let job = job(candidate);
        let measured = Measured { outcome: Outcome::Done(Vec::new()), seconds: 3600.0, files: Vec::new() };
        folder.write_part(STUDY, &Task::new(&job, Default::default()), &measured, "node1").unwrap();
    }
    let beside = folder.beside(STUDY).unwrap();
    assert!((3.9..=4.0).contains(&beside), "{beside}");
    assert_eq!(folder.beside("another").unwrap(), 1.0);
}
