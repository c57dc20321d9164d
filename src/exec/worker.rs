//! One measurement from its task to its rows: the same on this machine and on a cluster's node.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::Task;
use crate::estimate::{EstimateError, Estimator, Request, Watch};
use crate::guard;
use crate::measurement::{DesignId, Failure, Fidelity, Outcome};
use crate::units;

/// Runs the estimators on one task after the other, or on several at once.
pub struct Worker<'a> {
    estimators: Vec<Box<dyn Estimator + 'a>>,
    limit: Option<Duration>,
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Its rows, or why there are none.
    pub outcome: Outcome,
    /// Wall time that it took, seconds.
    pub seconds: f64,
    /// Side files of the study, by name.
    pub files: Vec<(String, Vec<u8>)>,
}

/// The watch asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl<'a> Worker<'a> {
    /// A worker that measures by `estimators`, and gives up what takes longer than `limit`.
    pub fn new(estimators: Vec<Box<dyn Estimator + 'a>>, limit: Option<Duration>) -> Self {
        Self { estimators, limit }
    }

    /// Measures; what fails, panics or takes too long is an outcome as well.
    ///
    /// # Errors
    /// [`Interrupted`] where `watch` asked for it.
    pub fn measure(&self, task: &Task, watch: &dyn Watch) -> Result<Measured, Interrupted> {
        let start = Instant::now();
        let watch = Timed { watch, end: self.limit.map(|limit| start + limit), over: Cell::new(false) };
        let mut files = Vec::new();
        let outcome = match self.run(task, &watch, &mut files) {
            Ok(outcome) => outcome,
            Err(Interrupted) if watch.over.get() => {
                let limit = self.limit.unwrap_or_default().as_secs_f64();
                let reason = format!("it took longer than the {} that a measurement may take", units::Duration(limit));
                Outcome::timed_out(Some(limit), reason)
            }
            Err(Interrupted) => return Err(Interrupted),
        };
        if matches!(outcome, Outcome::Failed { .. }) {
            files.clear();
        }
        Ok(Measured { outcome, seconds: start.elapsed().as_secs_f64(), files })
    }

    fn run(&self, task: &Task, watch: &dyn Watch, files: &mut Vec<(String, Vec<u8>)>) -> Result<Outcome, Interrupted> {
        let Task { design, fidelity, seed, verifying, attempt } = task;
        let (fidelity, seed, id) = (*fidelity, *seed, design.id());
        let request = Request {
            design,
            fidelity,
            protocol: task.protocol(),
            seed,
            attempt: attempt.failures,
            verifying: *verifying,
            guess: None,
        };
        let mut measurements = Vec::new();
        for estimator in &self.estimators {
            let result = catch_unwind(AssertUnwindSafe(|| estimator.estimate(&request, watch)));
            let estimate = match result {
                Ok(Ok(estimate)) => estimate,
                Ok(Err(EstimateError::Interrupted)) => return Err(Interrupted),
                Ok(Err(error)) => return Ok(Outcome::failed(error.failure(), error.to_string())),
                Err(panic) => {
                    let reason = format!("{} panicked: {}", estimator.name(), guard::message(panic.as_ref()));
                    return Ok(Outcome::failed(Failure::Panicked, reason));
                }
            };
            measurements.extend(estimate.measurements);
            if let Some(gallery) = &estimate.gallery {
                files.push((gallery_name(&id, fidelity, seed), gallery.to_bytes()));
            }
            if let Some(net) = &estimate.cloud_net {
                match crate::export::encode_cloud_net(net) {
                    Ok(bytes) => files.push((cloud_net_name(&id, fidelity, seed), bytes)),
                    Err(error) => return Ok(Outcome::failed(Failure::Other, error.to_string())),
                }
            }
        }
        Ok(Outcome::Done(measurements))
    }
}

/// A watch with an end.
struct Timed<'a> {
    watch: &'a dyn Watch,
    end: Option<Instant>,
    over: Cell<bool>,
}

impl Watch for Timed<'_> {
    fn progress(&self, what: &str, done: f64) -> ControlFlow<()> {
        if self.end.is_some_and(|end| Instant::now() > end) {
            self.over.set(true);
            return ControlFlow::Break(());
        }
        self.watch.progress(what, done)
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
