//! What to read, as a space says it.

use std::path::PathBuf;

use super::Resize;

/// Where labelled images are, and how they are stored.
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
    },
    /// The binary version of CIFAR-10 or CIFAR-100: labels and 32×32 RGB planes, row by row.
    Cifar {
        /// The files in order; a folder stands for its `.bin` files in the order of their names.
        files: Vec<PathBuf>,
        /// Which labels they hold, and which are taken.
        labels: CifarLabels,
    },
    /// Two arrays of a NumPy archive, images and labels.
    Npz {
        /// The archive.
        file: PathBuf,
        /// Names of the two arrays; where absent, the first usual pair that the archive holds.
        arrays: Option<ArrayNames>,
    },
    /// Two NumPy files.
    Npy {
        /// The array of images.
        images: PathBuf,
        /// The array of labels.
        labels: PathBuf,
    },
    /// Parquet files with encoded images, as the Hugging Face hub stores them.
    Parquet {
        /// The files in order; a folder stands for its `.parquet` files in the order of their names.
        files: Vec<PathBuf>,
        /// The column of images: bytes, or a struct with the field `bytes`.
        image_column: String,
        /// The column of integer labels.
        label_column: String,
    },
}

/// The labels of a CIFAR file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CifarLabels {
    /// CIFAR-10: one of ten.
    Ten,
    /// CIFAR-100: one of a hundred.
    Fine,
    /// CIFAR-100: one of twenty superclasses.
    Coarse,
}

/// Names of two arrays in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayNames {
    /// The images'.
    pub images: String,
    /// The labels'.
    pub labels: String,
}

/// One part of a source: of each class, the images after the first few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartSource {
    /// The images to choose from.
    pub source: Source,
    /// Images of each class to leave out first.
    pub skip_per_class: usize,
    /// Images of each class to take then; all if absent.
    pub take_per_class: Option<usize>,
}

impl From<Source> for PartSource {
    /// All images.
    fn from(source: Source) -> Self {
        Self { source, skip_per_class: 0, take_per_class: None }
    }
}

/// How the three parts come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Division {
    /// Each names its images.
    Named {
        /// The training images.
        training: PartSource,
        /// The validation images.
        validation: PartSource,
        /// The evaluation images.
        evaluation: PartSource,
    },
    /// They are drawn from one source: see [`Split`].
    Drawn {
        /// The images to draw from.
        whole: Source,
        /// How many go where.
        split: Split,
    },
}

/// Three disjoint class-balanced parts of one source.
///
/// A part of n images from k classes holds ⌊n/k⌋ or ⌈n/k⌉ of each. Which ones is drawn from a ChaCha stream of the seed
/// and the class: the same on every machine, and for one class whatever the others hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Training images.
    pub training: usize,
    /// Validation images.
    pub validation: usize,
    /// Evaluation images.
    pub evaluation: usize,
    /// Of the draw.
    pub seed: u64,
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
    /// Where the parts are.
    pub division: Division,
    /// How encoded images (in folders and Parquet files) of any size become squares; where absent, all must be squares of one
    /// size.
    pub resize: Option<Resize>,
    /// Side to pad to with black, centred; a multiple of [`SIDE_MULTIPLE`](super::SIDE_MULTIPLE).
    pub pad_to: Option<usize>,
    /// Names of the classes in the order of their labels; where the files name classes, the same names.
    /// Absent: the files' names, or the numbers of the labels.
    pub class_names: Option<Vec<String>>,
    /// What to do with images that are in two parts.
    pub duplicates: Duplicates,
}
