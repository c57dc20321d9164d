//! Labelled images in three disjoint parts.
//!
//! The cloud net and the attacker learn from the *training* part, the attacker stops and chooses by the
//! *validation* part, and every reported figure comes from the *evaluation* part. [`load`] lists the images of class
//! folders, IDX, CIFAR, NumPy or Parquet files with their labels, chooses (or draws) those of each part, reads only these, refuses
//! (or removes) images that are in two parts, pads, and puts each part into an order in which every prefix is nearly
//! class-balanced, so that a cheaper measurement is one on the first n.
//!
//! What files say is not believed before it is checked: sizes are compared with limits and with what is there before memory is
//! asked for.

mod cifar;
mod decode;
mod error;
mod folder;
mod idx;
mod images;
mod listing;
mod npy;
mod npz;
mod parquet;
mod place;
mod prepare;
mod select;
mod spec;
mod survey;

use std::fmt;
use std::path::Path;

pub use decode::{Fit, Resize, RgbImage, read_rgb};
pub use error::{ArrayProblem, DataError, ParquetProblem};
pub use folder::image_files;
pub use images::{ImageSet, Region};
pub use place::Place;
pub use spec::{ArrayNames, CifarLabels, Division, Duplicates, PartSource, PartsSpec, Source, Split};
pub use survey::{Found, Survey};

use listing::Listing;
use prepare::Raw;

/// Sides must be a multiple of this: three pools in VGG-16 up to conv4_3, and one in the smallest cloud net.
pub const SIDE_MULTIPLE: usize = 16;

/// Pixel bytes that one part may take in memory.
const MAX_PART_BYTES: usize = 4 << 30;

/// Bytes that a packed file may always unpack to.
const FREE_UNPACKED: u64 = 512 << 20;

/// How many times its size a packed file may unpack to beyond that; images are packed to a tenth.
const MOST_RATIO: u64 = 64;

/// Refuses a packed file that says of itself that it unpacks to many times its size, before memory is asked for.
fn refuse_bomb(path: &Path, packed: u64, unpacked: u64) -> Result<(), DataError> {
    if unpacked > FREE_UNPACKED && unpacked / MOST_RATIO > packed {
        return Err(DataError::Bomb { path: path.to_path_buf(), packed, unpacked });
    }
    Ok(())
}

/// One of the three disjoint parts of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The cloud net's and the attacker's training images.
    Training,
    /// Early stopping and model choice.
    Validation,
    /// The victims: every reported figure is measured on these.
    Evaluation,
}

impl Part {
    /// All three, in the order of their use.
    pub const ALL: [Self; 3] = [Part::Training, Part::Validation, Part::Evaluation];

    /// The part's name, as in file names and messages.
    pub fn name(self) -> &'static str {
        match self {
            Part::Training => "training",
            Part::Validation => "validation",
            Part::Evaluation => "evaluation",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Images that [`Duplicates::Drop`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Training images that are also in validation or evaluation.
    pub training: usize,
    /// Validation images that are also in evaluation.
    pub validation: usize,
}

/// The three parts, with the same classes and the same side, and no image in two of them.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The training images.
    pub training: ImageSet,
    /// The validation images.
    pub validation: ImageSet,
    /// The evaluation images.
    pub evaluation: ImageSet,
    /// Names of the classes in the order of their labels.
    pub class_names: Vec<String>,
    /// Images removed because they were in two parts.
    pub dropped: Dropped,
    /// BLAKE3 of all pixels and labels, in hexadecimal.
    pub hash: String,
}

impl Parts {
    /// Puts three sets together that are known to belong together: [`load`] is what checks files.
    pub fn new(training: ImageSet, validation: ImageSet, evaluation: ImageSet, class_names: Vec<String>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"privynet parts 1");
        for set in [&training, &validation, &evaluation] {
            hasher.update(set.hash().as_bytes());
            hasher.update(&(set.len() as u64).to_le_bytes());
            for label in set.labels() {
                hasher.update(&label.to_le_bytes());
            }
        }
        let hash = hasher.finalize().to_hex().to_string();
        let dropped = Dropped::default();
        Parts { training, validation, evaluation, class_names, dropped, hash }
    }

    /// The set of one part.
    pub fn part(&self, part: Part) -> &ImageSet {
        match part {
            Part::Training => &self.training,
            Part::Validation => &self.validation,
            Part::Evaluation => &self.evaluation,
        }
    }

    /// The first images of each part, nearly class-balanced. Features of the whole parts serve them too: they are
    /// the first rows.
    ///
    /// # Errors
    /// [`DataError::TooFewImages`] if a part has fewer.
    pub fn subset(&self, training: usize, validation: usize, evaluation: usize) -> Result<Parts, DataError> {
        Ok(Parts::new(
            self.training.first(training)?,
            self.validation.first(validation)?,
            self.evaluation.first(evaluation)?,
            self.class_names.clone(),
        ))
    }
}

/// Reads, checks, pads and orders the three parts.
///
/// # Errors
/// Every way in which the files can be unusable: see [`DataError`].
pub fn load(spec: &PartsSpec) -> Result<Parts, DataError> {
    let (raws, class_names) = match &spec.division {
        Division::Named { training, validation, evaluation } => named([training, validation, evaluation], spec)?,
        Division::Drawn { whole, split } => drawn(whole, *split, spec)?,
    };
    let [mut training, mut validation, evaluation] = raws;
    let frame = prepare::frame([&training, &validation, &evaluation], spec.pad_to)?;
    let dropped = prepare::separate(&mut training, &mut validation, &evaluation, spec.duplicates)?;
    for raw in [&training, &validation, &evaluation] {
        prepare::require_every_class(raw.part, &raw.labels, &class_names)?;
    }

    let finish = |raw: Raw| prepare::finish(raw, frame, class_names.len());
    let parts = Parts::new(finish(training)?, finish(validation)?, finish(evaluation)?, class_names.clone());
    Ok(Parts { dropped, ..parts })
}

/// The parts that each name their images, and the classes.
fn named(parts: [&PartSource; 3], spec: &PartsSpec) -> Result<([Raw; 3], Vec<String>), DataError> {
    let [training, validation, evaluation] = [0, 1, 2].map(|at| list(&parts[at].source, Some(Part::ALL[at])));
    let listings = [training?, validation?, evaluation?];
    let sources = [0, 1, 2].map(|at| (Part::ALL[at], &listings[at]));
    let class_names = prepare::class_names(spec.class_names.as_deref(), &sources)?;
    for (part, listing) in sources {
        prepare::require_every_class(part, &listing.labels, &class_names)?;
    }
    let [training, validation, evaluation] = [0, 1, 2].map(|at| {
        let (part, listing) = sources[at];
        let PartSource { skip_per_class, take_per_class, .. } = *parts[at];
        let chosen = select::per_class(listing, &class_names, skip_per_class, take_per_class)?;
        listing.read(part, &chosen, spec.resize)
    });
    Ok(([training?, validation?, evaluation?], class_names))
}

/// The parts that are drawn from one source, and the classes.
fn drawn(whole: &Source, split: Split, spec: &PartsSpec) -> Result<([Raw; 3], Vec<String>), DataError> {
    let listing = list(whole, None)?;
    let class_names = prepare::class_names(spec.class_names.as_deref(), &[(Part::Training, &listing)])?;
    let chosen = select::draw(&listing, &class_names, split)?;
    let [training, validation, evaluation] = [0, 1, 2].map(|at| listing.read(Part::ALL[at], &chosen[at], spec.resize));
    Ok(([training?, validation?, evaluation?], class_names))
}

/// The images of a source, which is that of one part, or of all.
fn list(source: &Source, part: Option<Part>) -> Result<Listing, DataError> {
    match source {
        Source::Idx { images, labels } => idx::read(images, labels),
        Source::ImageFolder { root } => folder::list(root),
        Source::Cifar { files, labels } => cifar::read(files, *labels),
        Source::Npz { file, arrays } => npz::read(file, arrays.as_ref(), part),
        Source::Npy { images, labels } => npy::read_pair(images, labels),
        Source::Parquet { files, image_column, label_column } => parquet::list(files, image_column, label_column),
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
