//! Estimators that run out of memory, diverge, panic and never end: a study records it, tries again and completes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::estimate::{Estimate, EstimateError, Request};
use crate::exec::TimeLimit;
use crate::measurement::{DesignId, Failure};
use crate::nn::{Device, NnError};
use crate::store::Event;

/// What befalls designs of 64 channels.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    OutOfMemory,
    Diverged,
    NoNumber,
    Panicked,
    Endless,
}

impl Fault {
    const ALL: [Self; 5] = [Self::OutOfMemory, Self::Diverged, Self::NoNumber, Self::Panicked, Self::Endless];

    /// What the journal must say of it.
    fn recorded(self) -> (Failure, &'static str) {
        match self {
            Self::OutOfMemory => (Failure::OutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"),
            Self::Diverged => (Failure::Diverged, "attack of"),
            Self::NoNumber => (Failure::Diverged, "psnr_mean is NaN"),
            Self::Panicked => (Failure::Panicked, "faulty panicked: an index"),
            Self::Endless => (Failure::TimedOut, "it took longer than the"),
        }
    }
}

/// One try, as the estimator saw it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    attempt: u32,
    batch: usize,
    stream: u64,
}

type Key = (DesignId, Fidelity, u64);

/// By measurement, one for each try.
type Tries<T> = BTreeMap<Key, Vec<T>>;

/// The mock; designs of 64 channels meet a fault as often as `times` says.
struct Faulty<'a> {
    fault: Fault,
    times: u32,
    seen: &'a Mutex<Tries<Seen>>,
}

impl Estimator for Faulty<'_> {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let (attempt, batch) = (request.attempt, request.protocol.attack.batch);
        let key = (request.design.id(), request.fidelity, request.seed);
        let seen = Seen { attempt, batch, stream: request.stream("faulty") };
        self.seen.lock().unwrap().entry(key).or_default().push(seen);
        if request.design.channels.depth() != 64 || attempt >= self.times {
            return honest().estimate(request, watch);
        }
        let design = request.design.id().to_string();
        let training = |source| Err(EstimateError::Training { what: "attack", design, source });
        match self.fault {
            Fault::OutOfMemory => training(NnError::Backend {
                device: Device::Cpu.to_string(),
                message: "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".to_owned(),
            }),
            Fault::Diverged => training(NnError::Diverged { step: 3, loss: f32::NAN }),
            Fault::NoNumber => {
                let mut estimate = honest().estimate(request, watch)?;
                let psnr = estimate.measurements.iter_mut().find(|row| row.metric == Metric::PsnrMean);
                psnr.unwrap().value = f64::NAN;
                // Nothing of a diverged training is kept.
                estimate.gallery = Some(crate::estimate::Gallery::default());
                Ok(estimate)
            }
            Fault::Panicked => panic!("an index beyond the end"),
            Fault::Endless => loop {
                watch.tell("attack", 0.5)?;
                std::thread::yield_now();
            },
        }
    }
}

/// Measures every candidate, and the answer's verification.
fn study_with(dir: &Path, fault: Fault, times: u32, retries: u32) -> (Findings, Tries<Seen>, Tries<Outcome>) {
    let seen = Mutex::new(BTreeMap::new());
    let candidates: Candidates<'_> = candidates().into_iter().collect();
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 26.5 }];
    let plan = Plan { evaluations: 200, ..problem().plan };
    let strategy = Strategy::Exhaustive;
    let problem = Problem { candidates: &candidates, bounds: &bounds, strategy, plan, ..problem() };
    let (study, recovered) = study(dir);
    // Only what never ends is to meet the limit.
    let limit = (fault == Fault::Endless).then(|| Duration::from_millis(200));
    let worker = Worker::new(vec![Box::new(Faulty { fault, times, seen: &seen })], limit);
    let counter = Counter::default();
    let workers = Box::new(LocalWorkers::new(worker, Lanes::new(Some(1))));
    let mut executor = Executor::new(study, &recovered, workers, &counter, 18, retries);
    let findings = run(&problem, &mut executor).unwrap();
    drop(executor);
    (findings, seen.into_inner().unwrap(), recorded(dir))
}

/// What the journal says of each measurement, try after try.
fn recorded(dir: &Path) -> Tries<Outcome> {
    let mut all: Tries<Outcome> = BTreeMap::new();
    for event in study(dir).1 {
        if let Event::Evaluation(e) = event {
            all.entry((e.design, e.fidelity, e.seed)).or_default().push(e.outcome);
        }
    }
    all
}

fn is(outcome: &Outcome, fault: Fault) -> bool {
    let (expected, text) = fault.recorded();
    matches!(outcome, Outcome::Failed { kind, reason, .. } if *kind == expected && reason.contains(text))
}

#[test]
fn what_fails_once_is_recorded_with_its_kind_and_measured_at_the_second_try() {
    for fault in Fault::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (findings, seen, recorded) = study_with(folder.path(), fault, 1, 2);
        assert_eq!(findings.status, Status::Verified, "{fault:?}");
        assert_eq!(findings.measured.len(), candidates().len(), "{fault:?}: every design has its figures");
        let tried_again: Vec<_> = seen.iter().filter(|(_, tries)| tries.len() > 1).collect();
        assert!(tried_again.len() >= 6, "{fault:?}: all designs of 64 channels");
        for (key, tries) in tried_again {
            let [first, second] = &tries[..] else { panic!("{fault:?}: {tries:?}") };
            assert_eq!((first.attempt, second.attempt), (0, 1), "{fault:?}");
            assert_ne!(first.stream, second.stream, "{fault:?}: initial weights and batches of its own");
            let halved = fault == Fault::OutOfMemory;
            assert_eq!(second.batch, if halved { first.batch / 2 } else { first.batch }, "{fault:?}");
            let [failed, done] = &recorded[key][..] else { panic!("{fault:?}: {:?}", recorded[key]) };
            assert!(is(failed, fault), "{fault:?}: {failed:?}");
            assert!(matches!(done, Outcome::Done(_)), "{fault:?}");
        }
    }
}

#[test]
fn what_fails_at_every_try_is_left_and_a_resumed_study_does_not_try_again() {
    for fault in Fault::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (findings, seen, recorded) = study_with(folder.path(), fault, u32::MAX, 2);
        assert_eq!(findings.status, Status::Verified, "{fault:?}: the others have an answer");
        let failed: Vec<_> = recorded.iter().filter(|(_, tries)| tries.len() > 1).collect();
        assert!(failed.len() >= 6, "{fault:?}");
        for (key, tries) in failed {
            assert_eq!(tries.len(), 3, "{fault:?}: one try and two more");
            assert!(tries.iter().all(|outcome| is(outcome, fault)), "{fault:?}: {tries:?}");
            let mut streams: Vec<u64> = seen[key].iter().map(|seen| seen.stream).collect();
            streams.dedup();
            assert_eq!(streams.len(), 3, "{fault:?}");
        }
        let (again, seen, unchanged) = study_with(folder.path(), fault, u32::MAX, 2);
        assert_eq!((again.chosen, &again.verdicts), (findings.chosen, &findings.verdicts), "{fault:?}");
        assert!(seen.is_empty(), "{fault:?}: {seen:?}");
        assert_eq!(unchanged, recorded, "{fault:?}");
    }
}

#[test]
fn tries_of_an_earlier_run_count() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, whole) = study_with(folder.path(), Fault::OutOfMemory, u32::MAX, 2);
    let journal = folder.path().join("journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let failures: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].contains("\"failed\"")).collect();
    // Killed after the first, the second and the third try of the first design that fails.
    for (tried, &failure) in failures[..3].iter().enumerate() {
        let end: usize = lines[..=failure].iter().map(|line| line.len()).sum();
        std::fs::write(&journal, &text[..end]).unwrap();
        let before = recorded(folder.path());
        let key = before.iter().find(|(_, tries)| matches!(tries[0], Outcome::Failed { .. })).unwrap().0.clone();
        assert_eq!(before[&key].len(), tried + 1, "each try follows the last at once");
        let (_, seen, after) = study_with(folder.path(), Fault::OutOfMemory, u32::MAX, 2);
        assert_eq!(after, whole);
        let attempts: Vec<u32> = seen.get(&key).map_or(Vec::new(), |tries| tries.iter().map(|s| s.attempt).collect());
        assert_eq!(attempts, (tried as u32 + 1..3).collect::<Vec<_>>());
    }
}

/// The mock, whose verifications end only where they are in time.
struct Slow {
    in_time: bool,
}

impl Estimator for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        while request.verifying.is_some() && !self.in_time {
            watch.tell("attack", 0.5)?;
            std::thread::yield_now();
        }
        honest().estimate(request, watch)
    }
}

#[test]
fn a_verification_without_time_is_no_verdict_and_one_with_more_time_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let candidates: Candidates<'_> = candidates().into_iter().collect();
    let bounds = [MetricBound { metric: Metric::PsnrMean, limit: 26.5 }];
    let problem = Problem { candidates: &candidates, bounds: &bounds, ..problem() };
    let with = |seconds: Option<f64>, in_time: bool| {
        let (study, recovered) = study(folder.path());
        let worker = Worker::new(vec![Box::new(Slow { in_time })], seconds.map(Duration::from_secs_f64));
        let counter = Counter::default();
        let workers = Box::new(LocalWorkers::new(worker, Lanes::new(Some(1))));
        let mut executor = Executor::new(study, &recovered, workers, &counter, 18, 0)
            .allowing(TimeLimit { seconds, of_cluster: false });
        let findings = run(&problem, &mut executor).unwrap();
        drop(executor);
        let events = self::study(folder.path()).1;
        let judged = events.iter().filter(|event| matches!(event, Event::Verification(_))).count();
        (findings, judged, events.len())
    };
    let (findings, judged, events) = with(Some(0.2), false);
    assert_eq!((findings.status, judged, findings.verdicts.len()), (Status::Unverified, 0, 0));
    let told = findings.warnings.iter().find(|text| text.contains("could not be verified")).unwrap();
    assert!(told.contains("it took longer than"), "{told}");
    let (again, judged, unchanged) = with(Some(0.2), true);
    assert_eq!((again.status, judged, unchanged), (Status::Unverified, 0, events), "the same time is not tried again");
    let (findings, judged, _) = with(None, true);
    assert_eq!((findings.status, judged), (Status::Verified, 1));
}
