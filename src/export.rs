//! The deployable package of a study's chosen design, and its use.
//!
//! A package is a folder that needs neither the study nor the space: `manifest.json`, `local_net.onnx` (what runs on the
//! device) and `cloud_net.onnx` (what was trained on its features), and the weights of both as safetensors. [`Package::open`]
//! reads it back, [`Package::features`] runs it, and [`self_test`] holds it against the study and an ONNX runtime.

mod manifest;
mod package;
mod self_test;
mod tensors;

use std::path::PathBuf;

pub use manifest::{Claim, CloudNetRecord, MANIFEST_FILE, MANIFEST_VERSION, Manifest, Preprocessing, claims};
pub use package::{
    CLOUD_NET_FILE, CLOUD_WEIGHTS_FILE, CloudNetFiles, LOCAL_NET_FILE, LOCAL_WEIGHTS_FILE, Package, features_path, npy,
    withdraw, write,
};
pub use self_test::{SelfTest, self_test};
pub use tensors::{decode_cloud_net, encode_cloud_net};

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
    /// The net has no place in an ONNX file.
    #[error(transparent)]
    Write(#[from] crate::onnx::WriteError),
    /// An ONNX runtime can't run what was written.
    #[error(transparent)]
    Runtime(#[from] crate::onnx::RuntimeError),
    /// The package computes something else than was measured.
    #[error(
        "{}: the package's features differ from the study's by {:.1e} and from an ONNX runtime's by {:.1e} of the largest: don't \
         deploy it, report this",
        path.display(), test.from_study, test.from_runtime
    )]
    SelfTest {
        /// The package.
        path: PathBuf,
        /// What was found.
        test: SelfTest,
    },
}

impl ExportError {
    fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
