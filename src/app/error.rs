//! Every way in which a command can fail, and the exit code that says so.

use std::path::PathBuf;

use crate::backbone::BackboneError;
use crate::config::ConfigError;
use crate::data::DataError;
use crate::estimate::EstimateError;
use crate::exec::ExecError;
use crate::export::ExportError;
use crate::features::FeatureError;
use crate::metrics::MetricsError;
use crate::nn::NnError;
use crate::profile::ProfileError;
use crate::report::ReportError;
use crate::search::SearchError;
use crate::space::Interrupted;
use crate::store::StoreError;
use crate::table::TableError;

/// Exit codes of the program.
pub mod exit {
    /// Done; for `optimize`: a verified design.
    pub const DONE: u8 = 0;
    /// Bad input.
    pub const BAD_INPUT: u8 = 2;
    /// No feasible design.
    pub const INFEASIBLE: u8 = 3;
    /// Ended without a verified design.
    pub const UNVERIFIED: u8 = 4;
    /// Interrupted by the user.
    pub const INTERRUPTED: u8 = 130;
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A budget or space file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The images.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The backbone or its weights.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The features or their cache.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// An enumeration of designs that the user stopped.
    #[error(transparent)]
    Enumeration(#[from] Interrupted),
    /// A training or the device.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// Scores that can't be computed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A measurement.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// Measurements that can't go on.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The search.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The study on disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The export.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A profile of this machine.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A table of designs.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A study that is not there, or not concluded.
    #[error("{}: {problem}", path.display())]
    Study {
        /// The study's folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A flag's value.
    #[error("--{flag} {value}: {problem}")]
    Flag {
        /// The flag's name.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What is accepted.
        problem: String,
    },
}

impl AppError {
    /// The exit code that the program ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Search(SearchError::Exec(
                ExecError::Interrupted
                | ExecError::Detached { .. }
                | ExecError::LeftOut
                | ExecError::NotCancelled { .. },
            ))
            | Self::Exec(
                ExecError::Interrupted
                | ExecError::Detached { .. }
                | ExecError::LeftOut
                | ExecError::NotCancelled { .. },
            )
            | Self::Estimate(EstimateError::Interrupted)
            | Self::Features(FeatureError::Interrupted)
            | Self::Profile(ProfileError::Interrupted)
            | Self::Enumeration(Interrupted) => exit::INTERRUPTED,
            _ => exit::BAD_INPUT,
        }
    }
}
