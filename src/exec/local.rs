//! Measurements on this machine, several side by side.

use std::ops::ControlFlow;

use super::{Beside, ExecError, Interrupted, Lanes, Observer, Pending, Round, Worker, Workers};
use crate::estimate::Watch;

/// This machine's [`Lanes`].
pub struct LocalWorkers<'a> {
    worker: Worker<'a>,
    lanes: Lanes,
}

impl<'a> LocalWorkers<'a> {
    /// As many measurements at once as there are lanes.
    pub fn new(worker: Worker<'a>, lanes: Lanes) -> Self {
        Self { worker, lanes }
    }
}

impl Workers for LocalWorkers<'_> {
    fn run(&self, round: &Round<'_>) -> Result<(), ExecError> {
        let run = |pending: &Pending<'_>, beside: Beside<'_>| -> Result<(), ExecError> {
            let mut again = self.attempt(round, pending, beside)?;
            // At once, on the same lane: the others would else wait for it at the round's end.
            while let Some(pending) = again.take_if(|_| (round.more)()) {
                again = self.attempt(round, &pending, beside)?;
            }
            Ok(())
        };
        self.lanes.run(round.pending, round.more, run)?;
        Ok(())
    }
}

impl LocalWorkers<'_> {
    /// One try; the next one where there is to be one.
    fn attempt<'p>(
        &self,
        round: &Round<'_>,
        pending: &Pending<'p>,
        beside: Beside<'_>,
    ) -> Result<Option<Pending<'p>>, ExecError> {
        (round.started)(pending);
        let watch = JobWatch { observer: round.observer, number: pending.number, beside };
        let mut measured = self.worker.measure(&pending.task, &watch).map_err(|Interrupted| ExecError::Interrupted)?;
        // Lanes share the machine: what one took alone is its part of it.
        measured.seconds /= beside.lanes as f64;
        (round.deliver)(pending, measured)
    }
}

/// What one job's estimators are watched by.
struct JobWatch<'a> {
    observer: &'a dyn Observer,
    number: usize,
    beside: Beside<'a>,
}

impl Watch for JobWatch<'_> {
    fn progress(&self, what: &str, done: f64) -> ControlFlow<()> {
        match self.beside.failed() {
            true => ControlFlow::Break(()),
            false => self.observer.progress(self.number, what, done),
        }
    }
}
