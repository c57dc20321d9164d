//! What to read, as a space says it.

use std::path::PathBuf;

use super::Resize;

/// Where the images of one part are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Two IDX files, plain or gzip: grey images `[n, height, width]` and labels `[n]`, both of bytes.
    Idx {
        /// The image file.
        images: PathBuf,
        /// The label file.
        labels: PathBuf,
    },
    /// A folder `CLASS/IMAGE` of JPEG, PNG or WebP files; classes and files are taken in the order of their names.
    ImageFolder {
        /// The folder that holds one folder per class.
        root: PathBuf,
        /// Images of each class to leave out first.
        skip_per_class: usize,
        /// Images of each class to take then; all if absent.
        take_per_class: Option<usize>,
        /// How images of any size become squares; where absent, all must be squares of one size.
        resize: Option<Resize>,
    },
}

/// What to do with an image that is in two parts, pixel for pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// Refuse the data.
    #[default]
    Error,
    /// Remove it from training (or validation) and count it in [`Parts::dropped`](super::Parts::dropped).
    Drop,
}

/// What [`load`](super::load) reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartsSpec {
    /// The training images.
    pub training: Source,
    /// The validation images.
    pub validation: Source,
    /// The evaluation images.
    pub evaluation: Source,
    /// Side to pad to with black, centred; a multiple of [`SIDE_MULTIPLE`](super::SIDE_MULTIPLE).
    pub pad_to: Option<usize>,
    /// Names of the classes in the order of their labels; class folders must be called so.
    /// Absent: the folders' names, or the numbers of the labels.
    pub class_names: Option<Vec<String>>,
    /// What to do with images that are in two parts.
    pub duplicates: Duplicates,
}
