//! What was measured: one row per design, metric, fidelity and seed.
//!
//! A [`Measurement`] is one row in long format, so a new attack adds rows, not columns. An [`Evaluation`] is one atomic
//! piece of work on one design: it yields all its rows or a reason why it failed, and the study on disk records it whole.

mod design_id;
mod metric;
mod name;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use design_id::{DesignId, InvalidDesignId};
pub use metric::Metric;
pub use name::UnknownName;
use name::named_enum;

named_enum! {
    /// Protocol under which a measurement was taken. Figures of different fidelities are not comparable as they are.
    pub enum Fidelity ("fidelity") {
        /// Shortest training, for a search on a slow machine.
        Quick = "quick",
        /// Training that ranks designs reliably.
        Standard = "standard",
        /// Training to convergence.
        Thorough = "thorough",
        /// The published peer script's protocol, for figures laid side by side with its table.
        Reference = "reference",
        /// A fresh seed, all images, a deep decoder trained until its curve tells its end: the claim of a quick study.
        QuickVerification = "quick_verification",
        /// The same with several seeds, a wider decoder and longer training: the claim of a standard study.
        StandardVerification = "standard_verification",
        /// As standard, with the largest decoder and the longest training: the claim of a thorough study.
        ThoroughVerification = "thorough_verification",
    }
}

named_enum! {
    /// How a measurement failed.
    #[derive(Default)]
    pub enum Failure ("failure") {
        /// A loss or a figure is no number.
        Diverged = "diverged",
        /// The program broke.
        Panicked = "panicked",
        /// Memory of the device, or of the machine, did not suffice.
        OutOfMemory = "out of memory",
        /// It took longer than it may.
        TimedOut = "timed out",
        /// The machine that it ran on is gone, as often as it was sent out.
        Lost = "lost",
        /// Anything else: its reason says what.
        #[default]
        Other = "other",
    }
}

impl Failure {
    /// Whether nothing more is known than its reason: the journal need not say so.
    fn is_other(&self) -> bool {
        *self == Self::Other
    }
}

impl Fidelity {
    /// Whether it is one that claims are made by.
    pub fn is_verification(self) -> bool {
        matches!(self, Self::QuickVerification | Self::StandardVerification | Self::ThoroughVerification)
    }
}

/// One row: one metric of one design under one fidelity and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The design measured.
    pub design: DesignId,
    /// What was measured.
    pub metric: Metric,
    /// The figure, in the metric's unit.
    pub value: f64,
    /// Its standard error over images, in the same unit.
    pub std_error: f64,
    /// How many images (or other samples) it is over.
    pub n: u64,
    /// How it was measured.
    pub fidelity: Fidelity,
    /// Seed of the training and of every draw.
    pub seed: u64,
    /// Wall time that the measurement took, seconds; shared by the rows of one evaluation.
    pub seconds: f64,
}

/// What came of an [`Evaluation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It finished, with these rows.
    Done(Vec<Measurement>),
    /// It panicked, diverged, ran out of memory or of time.
    Failed {
        /// Why, for a person.
        reason: String,
        /// Why, for the next try.
        #[serde(default, skip_serializing_if = "Failure::is_other")]
        kind: Failure,
        /// Of one that took too long, the seconds that it had; `None` where only the cluster knows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<f64>,
    },
}

impl Outcome {
    /// A failure with its reason.
    pub fn failed(kind: Failure, reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), kind, limit: None }
    }

    /// The failure of what took longer than `limit` seconds, or than somebody else's limit.
    pub fn timed_out(limit: Option<f64>, reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), kind: Failure::TimedOut, limit }
    }
}

/// One atomic piece of work on one design.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The design evaluated.
    pub design: DesignId,
    /// How it was measured.
    pub fidelity: Fidelity,
    /// Seed of the training and of every draw.
    pub seed: u64,
    /// Place in the order in which the search proposed its evaluations, from 0.
    pub order: u64,
    /// Why the search proposed it, for a person.
    pub reason: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Wall time that it took, seconds.
    pub seconds: f64,
    /// The study that measured it, where that was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its side files in the study, each with its [`checksum`](crate::store::checksum).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// An [`Evaluation`] that must not be recorded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidEvaluation {
    /// A figure is NaN, infinite or, where that makes no sense, negative.
    #[error("design {design}: {field} is {value}")]
    Figure {
        /// The design.
        design: DesignId,
        /// Which figure, as `psnr_mean` or `standard error of psnr_mean`.
        field: String,
        /// The figure.
        value: f64,
    },
    /// A row belongs to another design, fidelity or seed than its evaluation.
    #[error("design {design}: its row {metric} is of design {row_design}, {row_fidelity}, seed {row_seed}")]
    ForeignRow {
        /// The evaluation's design.
        design: DesignId,
        /// The row's metric.
        metric: Metric,
        /// The row's design.
        row_design: DesignId,
        /// The row's fidelity.
        row_fidelity: Fidelity,
        /// The row's seed.
        row_seed: u64,
    },
}

impl Evaluation {
    /// The rows, none if it failed.
    pub fn measurements(&self) -> &[Measurement] {
        match &self.outcome {
            Outcome::Done(measurements) => measurements,
            Outcome::Failed { .. } => &[],
        }
    }

    /// Lets the rows share the evaluation's id: a study in memory holds it once for each, not for every row.
    pub(crate) fn share_id(&mut self) {
        if let Outcome::Done(rows) = &mut self.outcome {
            rows.iter_mut().filter(|row| row.design == self.design).for_each(|row| row.design = self.design.clone());
        }
    }

    /// Refuses figures that are no numbers, and rows of another evaluation.
    ///
    /// # Errors
    /// [`InvalidEvaluation`] names the first offender.
    pub fn check(&self) -> Result<(), InvalidEvaluation> {
        let figure = |field: String, value: f64, accepted: bool| {
            if value.is_finite() && accepted {
                return Ok(());
            }
            Err(InvalidEvaluation::Figure { design: self.design.clone(), field, value })
        };
        figure("seconds".into(), self.seconds, self.seconds >= 0.0)?;
        for row in self.measurements() {
            let metric = row.metric;
            figure(metric.to_string(), row.value, true)?;
            figure(format!("standard error of {metric}"), row.std_error, row.std_error >= 0.0)?;
            figure(format!("seconds of {metric}"), row.seconds, row.seconds >= 0.0)?;
            if (&row.design, row.fidelity, row.seed) != (&self.design, self.fidelity, self.seed) {
                return Err(InvalidEvaluation::ForeignRow {
                    design: self.design.clone(),
                    metric,
                    row_design: row.design.clone(),
                    row_fidelity: row.fidelity,
                    row_seed: row.seed,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
