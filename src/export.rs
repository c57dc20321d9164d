//! The deployable package of a study's chosen design, and its use.
//!
//! A package is a folder that needs neither the study nor the space: `manifest.json`, `local_net.safetensors` (what
//! runs on the device) and `cloud_net.safetensors` (what was trained on its features). [`Package::open`] reads it back
//! and [`Package::features`] runs it.

mod manifest;
mod package;
mod tensors;

use std::path::PathBuf;

pub use manifest::{Claim, CloudNetRecord, MANIFEST_FILE, MANIFEST_VERSION, Manifest, Preprocessing, claims};
pub use package::{CLOUD_NET_FILE, LOCAL_NET_FILE, Package, features_path, npy, withdraw, write};
pub use tensors::encode_cloud_net;

use crate::backbone::BackboneError;
use crate::nn::NnError;

/// Why a package can't be written, read or run.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder holds something already.
    #[error("{}: is not an empty folder: give `--out` a new one", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A file can't be read or written.
    #[error("{}: cannot be {action}: check the path and your permissions", path.display())]
    Io {
        /// `read` or `written`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that is not what a package holds.
    #[error("{}: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// An image that can't be read.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// An image that the local net can't take.
    #[error("{}: {problem}", path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// What is wrong and what is accepted.
        problem: String,
    },
    /// Weights that don't fit.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The net can't run.
    #[error(transparent)]
    Net(#[from] NnError),
}

impl ExportError {
    fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
