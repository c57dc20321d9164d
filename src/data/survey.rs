//! What a user's images look like, for a first space: read from names, labels and headers, without decoding a pixel.

use std::path::{Path, PathBuf};

use super::cifar::{self, has_ending};
use super::folder::{file_name, visible};
use super::listing::Store;
use super::npz::Archive;
use super::{ArrayNames, CifarLabels, DataError, Part, SIDE_MULTIPLE, Source, list, parquet};

/// Images of each class whose headers are read.
const LOOKED_AT: usize = 20;

/// Names that folders and files of the three parts go by, or begin with.
const NAMES: [&[&str]; 3] = [
    &["train", "training", "data_batch"],
    &["val", "valid", "validation", "dev"],
    &["test", "testing", "evaluation", "eval"],
];

/// Images that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where they are.
    pub source: Source,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Images of the smallest class.
    pub least: usize,
    /// Whether they are encoded files, which may have any size.
    pub is_encoded: bool,
    /// Shorter and longer side of the images that were looked at.
    sizes: Vec<[usize; 2]>,
}

/// How images are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survey {
    /// As training and evaluation images, perhaps as validation images.
    Parted {
        /// Training images.
        training: Box<Found>,
        /// Validation images, where they are apart.
        validation: Option<Box<Found>>,
        /// Evaluation images.
        evaluation: Box<Found>,
    },
    /// All together.
    Whole(Box<Found>),
}

impl Survey {
    /// Looks at `root`: a folder with `train/CLASS`, `test/CLASS` and perhaps `val/CLASS`, or `CLASS` alone; a folder of CIFAR's
    /// `.bin` files or of `.parquet` files (perhaps in its folder `data`); an `.npz` archive; or one of these files.
    ///
    /// # Errors
    /// [`DataError`] where there are no classes, a class has no image, or files can't be read.
    pub fn of(root: &Path) -> Result<Self, DataError> {
        if !root.is_dir() {
            return match () {
                () if has_ending(root, "npz") => Self::of_archive(root),
                () if has_ending(root, "parquet") => Self::of_files(vec![root.to_path_buf()], hub),
                () if has_ending(root, "bin") => Self::of_files(vec![root.to_path_buf()], batches),
                () => Err(DataError::NoImages { path: root.to_path_buf() }),
            };
        }
        let entries = visible(root)?;
        let nested = root.join("data");
        let nested = if nested.is_dir() { visible(&nested)? } else { Vec::new() };
        let with = |files: &[PathBuf], ending| -> Vec<PathBuf> {
            files.iter().filter(|path| has_ending(path, ending) && path.is_file()).cloned().collect()
        };
        for files in [with(&entries, "parquet"), with(&nested, "parquet")] {
            if !files.is_empty() {
                return Self::of_files(files, hub);
            }
        }
        let batch_files = with(&entries, "bin");
        if !batch_files.is_empty() {
            return Self::of_files(batch_files, batches);
        }
        if let [archive] = &with(&entries, "npz")[..] {
            return Self::of_archive(archive);
        }
        let folders: Vec<PathBuf> = entries.into_iter().filter(|path| path.is_dir()).collect();
        let named =
            |names: &[&str]| folders.iter().find(|folder| names.contains(&file_name(folder).to_lowercase().as_str()));
        let found = |root: &Path| Found::of(Source::ImageFolder { root: root.to_path_buf() });
        let [training, validation, evaluation] = NAMES.map(named);
        Ok(match (training, evaluation) {
            (Some(training), Some(evaluation)) => Self::Parted {
                training: found(training)?,
                validation: validation.map(|folder| found(folder)).transpose()?,
                evaluation: found(evaluation)?,
            },
            _ => Self::Whole(found(root)?),
        })
    }

    /// Files that hold many images each, in parts where their names say so.
    fn of_files(files: Vec<PathBuf>, source: fn(Vec<PathBuf>) -> Result<Source, DataError>) -> Result<Self, DataError> {
        let begins = |path: &Path, names: &[&str]| {
            let name = file_name(path).to_lowercase();
            names.iter().any(|known| {
                name.strip_prefix(known).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
            })
        };
        let named =
            |names: &[&str]| -> Vec<PathBuf> { files.iter().filter(|path| begins(path, names)).cloned().collect() };
        let [training, validation, evaluation] = NAMES.map(named);
        let found = |files| Found::of(source(files)?);
        if training.is_empty() || evaluation.is_empty() {
            return Ok(Self::Whole(found(files)?));
        }
        Ok(Self::Parted {
            training: found(training)?,
            validation: (!validation.is_empty()).then(|| found(validation)).transpose()?,
            evaluation: found(evaluation)?,
        })
    }

    fn of_archive(path: &Path) -> Result<Self, DataError> {
        let archive = Archive::open(path)?;
        let source = |arrays: Option<ArrayNames>| Source::Npz { file: path.to_path_buf(), arrays };
        let [training, validation, evaluation] = Part::ALL.map(|part| archive.named(part));
        let found = |arrays| Found::of(source(Some(arrays)));
        Ok(match (training, evaluation) {
            (Some(training), Some(evaluation)) => Self::Parted {
                training: found(training)?,
                validation: validation.map(found).transpose()?,
                evaluation: found(evaluation)?,
            },
            _ => Self::Whole(Found::of(source(archive.usual(None)))?),
        })
    }

    /// The images that were found, part by part.
    fn found(&self) -> Vec<&Found> {
        match self {
            Self::Parted { training, validation, evaluation } => {
                [Some(&**training), validation.as_deref(), Some(&**evaluation)].into_iter().flatten().collect()
            }
            Self::Whole(all) => vec![all.as_ref()],
        }
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.found()[0].classes
    }

    /// Whether images are encoded files, which may have any size.
    pub fn is_encoded(&self) -> bool {
        self.found()[0].is_encoded
    }

    /// The side of all images that were looked at, where they are squares of one size that nets take as it is.
    pub fn side(&self) -> Option<usize> {
        let found = self.found();
        let mut sizes = found.iter().flat_map(|found| &found.sizes);
        let first = sizes.next()?;
        let fits = first[0] == first[1] && first[0].is_multiple_of(SIDE_MULTIPLE) && sizes.all(|size| size == first);
        fits.then_some(first[0])
    }

    /// The median of the shorter sides.
    pub fn median_side(&self) -> usize {
        let mut sides: Vec<usize> = self.found().iter().flat_map(|of| of.sizes.iter().map(|size| size[0])).collect();
        sides.sort_unstable();
        sides.get(sides.len() / 2).copied().unwrap_or(SIDE_MULTIPLE)
    }
}

/// Files of the hub's kind, with their columns by their usual names.
fn hub(files: Vec<PathBuf>) -> Result<Source, DataError> {
    let [image_column, label_column] = parquet::usual_columns(&files[0])?;
    Ok(Source::Parquet { files, image_column, label_column })
}

/// CIFAR's files, of the data set that their length suits.
fn batches(files: Vec<PathBuf>) -> Result<Source, DataError> {
    let labels = if cifar::suits(&files[0], CifarLabels::Ten)? { CifarLabels::Ten } else { CifarLabels::Fine };
    Ok(Source::Cifar { files, labels })
}

impl Found {
    fn of(source: Source) -> Result<Box<Self>, DataError> {
        let listing = list(&source, None)?;
        let classes = super::prepare::class_names(None, &[(Part::Training, &listing)])?;
        let mut counts = vec![0; classes.len()];
        listing.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        let least = counts.iter().min().copied().unwrap_or_default();
        if let Some((class, _)) = classes.iter().zip(&counts).find(|(_, count)| **count == 0) {
            let (root, class) = (listing.root.clone(), class.clone());
            return Err(DataError::TooFewInClass { root, class, found: 0, skip: 0, take: 1 });
        }
        let sizes = listing.sizes(LOOKED_AT)?;
        let sizes = sizes.into_iter().map(|[width, height]| [width.min(height), width.max(height)]).collect();
        let is_encoded = !matches!(listing.store, Store::Memory(_));
        Ok(Box::new(Self { source, classes, least, is_encoded, sizes }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, folder: &str, count: usize, size: [u32; 2]) {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        for index in 0..count {
            image::RgbImage::new(size[0], size[1]).save(folder.join(format!("{index}.png"))).unwrap();
        }
    }

    #[test]
    fn parts_and_sizes_are_found_by_name_and_header() {
        let root = tempfile::tempdir().unwrap();
        for (folder, count) in [("train/cat", 5), ("train/dog", 3), ("Test/cat", 2), ("Test/dog", 4)] {
            write(root.path(), folder, count, [32, 32]);
        }
        let survey = Survey::of(root.path()).unwrap();
        assert_eq!((survey.classes(), survey.side()), (&["cat".to_owned(), "dog".to_owned()][..], Some(32)));
        let Survey::Parted { training, validation: None, evaluation } = &survey else {
            panic!("{survey:?}");
        };
        assert_eq!((training.least, evaluation.least), (3, 2));
        write(root.path(), "val/cat", 1, [40, 60]);
        let survey = Survey::of(root.path()).unwrap();
        assert_eq!((survey.side(), survey.median_side()), (None, 32));
    }

    #[test]
    fn classes_alone_are_one_whole() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a", 4, [24, 20]);
        write(root.path(), "train", 2, [24, 20]);
        let survey = Survey::of(root.path()).unwrap();
        assert!(matches!(&survey, Survey::Whole(found) if found.least == 2 && found.classes == ["a", "train"]));
        assert_eq!((survey.side(), survey.median_side()), (None, 20));
        std::fs::create_dir(root.path().join("b")).unwrap();
        assert!(Survey::of(root.path()).unwrap_err().to_string().contains("holds 0 images"));
    }
}
