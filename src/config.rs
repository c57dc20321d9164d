//! What the user writes: `space.yaml` and `budget.yaml`, parsed and validated.
//!
//! Parsing touches nothing but the file itself. Every error names the file, the line or field, the value
//! and what would have been accepted. The YAML library is used in `yaml` and nowhere else.

mod backbone_entry;
mod budget_file;
mod data_entry;
mod profile_file;
mod replay_file;
mod schema;
mod space_file;
mod splits;
mod yaml;

use std::path::{Path, PathBuf};

pub use backbone_entry::{BackboneEntry, ColoursEntry, PreprocessEntry, PreprocessName, StandardisingEntry};
pub use budget_file::{
    Attacker, BudgetFile, Effort, EffortLevel, LatencyBudget, Objective, PrivacyBudget, PsnrBudget, Strategy,
};
pub use data_entry::{ArraysEntry, DataEntry, DataFormat, DuplicatesEntry, LabelsEntry, PartEntry, SplitEntry};
pub use profile_file::{LatencyCurve, MachineEntry, ProfileFile, SpreadEntry};
pub use replay_file::{ConstraintEntry, Goal, ObjectiveEntry, ReplayFile, Scale};
pub use schema::{FileKind, schema};
pub use space_file::{FloatPrecision, MOST_WEIGHT, PrecisionEntry, SelectionsEntry, SpaceFile, WeightsPrecision};

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: cannot be read: check that it exists and may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not YAML, an unknown key, a missing key or a malformed value.
    #[error("{}{}: {message}", path.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, where the parser knows it.
        line: Option<usize>,
        /// The field, the value and what is accepted.
        message: String,
    },
    /// Well-formed, but its value can't be right.
    #[error("{}: {field}: {value}: {problem}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, as a dotted path.
        field: String,
        /// The offending value.
        value: String,
        /// What is wrong and what is accepted.
        problem: String,
    },
    /// The net that it names can't be used.
    #[error("{}: {}: {error}", path.display(), backbone_entry::field(error))]
    Backbone {
        /// The file.
        path: PathBuf,
        /// What is wrong with the net.
        error: Box<crate::backbone::BackboneError>,
    },
}

impl ConfigError {
    /// A semantic error in `field` of the file `path`.
    pub fn field(path: &Path, field: impl Into<String>, value: impl ToString, problem: impl Into<String>) -> Self {
        Self::Field { path: path.to_owned(), field: field.into(), value: value.to_string(), problem: problem.into() }
    }
}

/// A path written in a configuration file, relative to that file.
fn relative_to(file: &Path, written: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if written.is_relative() => folder.join(written),
        _ => written.to_owned(),
    }
}
