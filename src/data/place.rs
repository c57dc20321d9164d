//! Where one image is, for messages.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One image: a file of its own, or one of many in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file that holds this image alone.
    File(PathBuf),
    /// An image among others.
    Item {
        /// The file that holds them.
        file: Arc<Path>,
        /// Its position in the file, from 0.
        index: usize,
    },
}

impl Place {
    /// The image at position `index`, from 0, of a file.
    pub fn item(file: &Arc<Path>, index: usize) -> Self {
        Self::Item { file: Arc::clone(file), index }
    }

    /// The file that the image is in.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Item { file, .. } => file,
        }
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::File(path.to_path_buf())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Item { file, index } => write!(f, "image {index} of `{}`", file.display()),
        }
    }
}
