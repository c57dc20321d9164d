//! What a journal records.

use serde::{Deserialize, Serialize};

use crate::measurement::{DesignId, Evaluation, InvalidEvaluation};

/// One record of a study. A new kind of record is a new variant and a new schema version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A piece of work on a design ended.
    Evaluation(Evaluation),
    /// A claim about a design was checked.
    Verification(Verification),
}

/// The end of a check of one design against the whole budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// The design.
    pub design: DesignId,
    /// How the check ended.
    pub verdict: Verdict,
    /// The bounds that were compared, for a person.
    pub explanation: String,
}

/// How the check of a design ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every constraint holds with the confidence asked for.
    Verified,
    /// A constraint is broken.
    Refuted,
    /// The allowance was spent before either was clear.
    Unverified,
}

impl Event {
    pub(super) fn check(&self) -> Result<(), InvalidEvaluation> {
        match self {
            Event::Evaluation(evaluation) => evaluation.check(),
            Event::Verification(_) => Ok(()),
        }
    }
}
