//! What a folder of images looks like, for a first space: read from names and headers, without decoding a pixel.

use std::path::{Path, PathBuf};

use super::decode::dimensions;
use super::folder::{file_name, image_files, visible};
use super::{DataError, SIDE_MULTIPLE};

/// Images of each class whose headers are read.
const LOOKED_AT: usize = 20;

/// Names that folders of the three parts go by.
const NAMES: [&[&str]; 3] =
    [&["train", "training"], &["val", "valid", "validation", "dev"], &["test", "testing", "evaluation", "eval"]];

/// Folders of classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassFolders {
    /// The folder that holds one folder per class.
    pub root: PathBuf,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Images of the smallest class.
    pub least: usize,
    /// Shorter and longer side of the images that were looked at.
    sizes: Vec<[usize; 2]>,
}

/// How a folder keeps its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survey {
    /// In folders of training and evaluation images, perhaps of validation images.
    Parted {
        /// Training images.
        training: ClassFolders,
        /// Validation images, where they have a folder.
        validation: Option<ClassFolders>,
        /// Evaluation images.
        evaluation: ClassFolders,
    },
    /// In one folder per class.
    Whole(ClassFolders),
}

impl Survey {
    /// Looks at `root`: `train/CLASS`, `test/CLASS` and perhaps `val/CLASS`, or `CLASS` alone.
    ///
    /// # Errors
    /// [`DataError`] where there are no classes, a class has no image, or a header can't be read.
    pub fn of(root: &Path) -> Result<Self, DataError> {
        let folders: Vec<PathBuf> = visible(root)?.into_iter().filter(|path| path.is_dir()).collect();
        let named =
            |names: &[&str]| folders.iter().find(|folder| names.contains(&file_name(folder).to_lowercase().as_str()));
        let [training, validation, evaluation] = NAMES.map(named);
        Ok(match (training, evaluation) {
            (Some(training), Some(evaluation)) => Self::Parted {
                training: ClassFolders::of(training)?,
                validation: validation.map(|folder| ClassFolders::of(folder)).transpose()?,
                evaluation: ClassFolders::of(evaluation)?,
            },
            _ => Self::Whole(ClassFolders::of(root)?),
        })
    }

    /// The folders that were found.
    fn folders(&self) -> Vec<&ClassFolders> {
        match self {
            Self::Parted { training, validation, evaluation } => {
                [Some(training), validation.as_ref(), Some(evaluation)].into_iter().flatten().collect()
            }
            Self::Whole(folders) => vec![folders],
        }
    }

    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.folders()[0].classes
    }

    /// The side of all images that were looked at, where they are squares of one size that nets take as it is.
    pub fn side(&self) -> Option<usize> {
        let folders = self.folders();
        let mut sizes = folders.iter().flat_map(|folders| &folders.sizes);
        let first = sizes.next()?;
        let fits = first[0] == first[1] && first[0].is_multiple_of(SIDE_MULTIPLE) && sizes.all(|size| size == first);
        fits.then_some(first[0])
    }

    /// The median of the shorter sides.
    pub fn median_side(&self) -> usize {
        let mut sides: Vec<usize> = self.folders().iter().flat_map(|of| of.sizes.iter().map(|size| size[0])).collect();
        sides.sort_unstable();
        sides.get(sides.len() / 2).copied().unwrap_or(SIDE_MULTIPLE)
    }
}

impl ClassFolders {
    fn of(root: &Path) -> Result<Self, DataError> {
        let folders: Vec<PathBuf> = visible(root)?.into_iter().filter(|path| path.is_dir()).collect();
        if folders.is_empty() {
            return Err(DataError::NoClasses { root: root.to_path_buf() });
        }
        let (mut least, mut sizes) = (usize::MAX, Vec::new());
        for folder in &folders {
            let images = image_files(folder)?;
            least = least.min(images.len());
            if images.is_empty() {
                return Err(DataError::TooFewInClass { folder: folder.clone(), found: 0, skip: 0, take: 1 });
            }
            for image in images.iter().take(LOOKED_AT) {
                let [width, height] = dimensions(image)?;
                sizes.push([width.min(height), width.max(height)]);
            }
        }
        let classes = folders.iter().map(|folder| file_name(folder)).collect();
        Ok(Self { root: root.to_path_buf(), classes, least, sizes })
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
        assert!(matches!(&survey, Survey::Whole(folders) if folders.least == 2 && folders.classes == ["a", "train"]));
        assert_eq!((survey.side(), survey.median_side()), (None, 20));
        std::fs::create_dir(root.path().join("b")).unwrap();
        assert!(Survey::of(root.path()).unwrap_err().to_string().contains("holds 0 images"));
    }
}
