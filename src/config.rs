//! What the user writes: `space.yaml` and `budget.yaml`, parsed and validated.
//!
//! Parsing touches nothing but the file itself. Every error names the file, the place, the field, the value
//! and what would have been accepted. The YAML libraries are used in `yaml` and nowhere else.
//!
//! ```
//! use privynet::config::BudgetFile;
//!
//! let budget = BudgetFile::read("spaces/fashion-mnist-vgg16/tight.yaml".as_ref())?;
//! assert_eq!(budget.privacy.psnr.mean.map(|limit| limit.to_string()), Some("20.5 dB".to_owned()));
//!
//! // An error names its place, and shows it.
//! let error = BudgetFile::read("spaces/fashion-mnist-vgg16/space.yaml".as_ref()).unwrap_err();
//! assert!(error.to_string().contains("unknown field"));
//! assert!(error.place().is_some_and(|place| place.to_string().contains('^')));
//! # Ok::<(), privynet::config::ConfigError>(())
//! ```

mod attacker;
mod backbone_entry;
mod budget_file;
mod data_entry;
mod executor_entry;
mod place;
mod profile_file;
mod replay_file;
mod schema;
mod space_file;
mod splits;
mod suggestion;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};

pub use attacker::Attacker;
pub use backbone_entry::{BackboneEntry, ColoursEntry, PreprocessEntry, PreprocessName, StandardisingEntry};
pub use budget_file::{BudgetFile, Effort, EffortLevel, LatencyBudget, Objective, PrivacyBudget, PsnrBudget, Strategy};
pub use data_entry::{ArraysEntry, DataEntry, DataFormat, DuplicatesEntry, LabelsEntry, PartEntry, SplitEntry};
pub use executor_entry::{ExecutorEntry, SlurmEntry, Time};
pub use place::Place;
pub use profile_file::{LatencyCurve, MachineEntry, ProfileFile, SpreadEntry};
pub use replay_file::{ConstraintEntry, Goal, ObjectiveEntry, ReplayFile, Scale};
pub use schema::{FileKind, schema};
pub use space_file::{FloatPrecision, MOST_WEIGHT, PrecisionEntry, SelectionsEntry, SpaceFile, WeightsPrecision};

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: cannot be read{hint}: check that it exists and may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The file that was probably meant, where another one beside it has such a name.
        hint: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not YAML, an unknown key, a missing key or a malformed value.
    #[error("{}: {message}", At(path, place))]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where in it, where that is known.
        place: Option<Box<Place>>,
        /// The field, the value and what is accepted.
        message: String,
    },
    /// Well-formed, but its value can't be right.
    #[error("{}: {field}: {value}: {problem}", At(path, place))]
    Field {
        /// The file.
        path: PathBuf,
        /// Where in it, where that is known.
        place: Option<Box<Place>>,
        /// The field, as a dotted path.
        field: String,
        /// The offending value.
        value: String,
        /// What is wrong and what is accepted.
        problem: String,
    },
    /// The net that it names can't be used.
    #[error("{}: {}: {error}{}", At(path, place), backbone_entry::field(error), backbone_entry::hint(error))]
    Backbone {
        /// The file.
        path: PathBuf,
        /// Where in it, where that is known.
        place: Option<Box<Place>>,
        /// What is wrong with the net.
        error: Box<crate::backbone::BackboneError>,
    },
}

/// `FILE`, or `FILE:LINE:COLUMN`, as editors and terminals follow it.
struct At<'a>(&'a Path, &'a Option<Box<Place>>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.display())?;
        match self.1 {
            Some(place) => write!(f, ":{}:{}", place.line, place.column),
            None => Ok(()),
        }
    }
}

impl ConfigError {
    /// A semantic error in `field` of the file `path`.
    pub fn field(path: &Path, field: impl Into<String>, value: impl ToString, problem: impl Into<String>) -> Self {
        let (field, value, problem) = (field.into(), value.to_string(), problem.into());
        Self::Field { path: path.to_owned(), place: None, field, value, problem }
    }

    /// The same with the place of its field in the file's `text`.
    #[must_use]
    pub fn located(mut self, text: &str) -> Self {
        match &mut self {
            Self::Field { place, field, value, .. } => *place = yaml::locate(text, field, Some(value)).map(Box::new),
            Self::Backbone { place, error, .. } => {
                *place = yaml::locate(text, backbone_entry::field(error), None).map(Box::new);
            }
            Self::Read { .. } | Self::Yaml { .. } => {}
        }
        self
    }

    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Yaml { path, .. }
            | Self::Field { path, .. }
            | Self::Backbone { path, .. } => path,
        }
    }

    /// Where in the file, where that is known; shows as the line with carets.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Read { .. } => None,
            Self::Yaml { place, .. } | Self::Field { place, .. } | Self::Backbone { place, .. } => place.as_deref(),
        }
    }
}

/// A path written in a configuration file, relative to that file.
fn relative_to(file: &Path, written: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if written.is_relative() => folder.join(written),
        _ => written.to_owned(),
    }
}
