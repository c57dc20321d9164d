//! One measurement: as the search asks for it, and as a worker receives it.

use serde::{Deserialize, Serialize};

use crate::estimate::Verifying;
use crate::measurement::{DesignId, Fidelity};
use crate::protocol::Protocol;
use crate::space::{Candidate, Design};

/// One measurement to be made.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// What to measure.
    pub candidate: &'a Candidate,
    /// With how much data and training.
    pub fidelity: Fidelity,
    /// Seed of the trainings.
    pub seed: u64,
    /// What a verification needs besides.
    pub verifying: Option<Verifying>,
    /// Why this design, in words for the reader of the report.
    pub reason: String,
}

/// What tells measurements of a study apart.
pub(super) type Key = (DesignId, Fidelity, u64);

impl Job<'_> {
    pub(super) fn key(&self) -> Key {
        (self.candidate.id.clone(), self.fidelity, self.seed)
    }
}

/// How often a measurement failed before, and what that changes of the next try.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Failures before this try: a try draws initial weights and batches of its own.
    pub failures: u32,
    /// How often the batch is halved, for want of memory.
    pub halvings: u32,
}

/// All that a worker must know of a job, wherever it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The local net.
    pub design: Design,
    /// With how much data and training.
    pub fidelity: Fidelity,
    /// Seed of the trainings.
    pub seed: u64,
    /// What a verification needs besides.
    pub verifying: Option<Verifying>,
    /// Which try it is.
    pub attempt: Attempt,
}

impl Task {
    pub(super) fn new(job: &Job<'_>, attempt: Attempt) -> Self {
        let Job { candidate, fidelity, seed, verifying, .. } = *job;
        Self { design: candidate.design.clone(), fidelity, seed, verifying, attempt }
    }

    /// The protocol of this try.
    pub fn protocol(&self) -> Protocol {
        Protocol::of(self.fidelity).in_smaller_batches(self.attempt.halvings)
    }

    /// A name that this try of the study's measurement has to itself, made of what file names are made of.
    pub fn name(&self) -> String {
        let Self { fidelity, seed, attempt, .. } = self;
        format!("{}-{fidelity}-{seed}-{}", self.design.id(), attempt.failures)
    }
}
