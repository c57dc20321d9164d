//! The `data:` part of `space.yaml`: how the images are stored, and which of them are which part.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::data::{
    ArrayNames, CifarLabels, Division, Duplicates, PartSource, PartsSpec, Resize, SIDE_MULTIPLE, Source, Split,
};

/// Largest side that images are padded to.
const MOST_PADDED: usize = 4096;

/// Largest side that images are resized to.
const MOST_SIDE: usize = 1024;

/// How images are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// Pairs of IDX files (images, labels), plain or gzip.
    Idx,
    /// Folders `CLASS/*.jpg`, `*.png` or `*.webp`.
    ImageFolder,
    /// The binary version of CIFAR-10.
    Cifar10,
    /// The binary version of CIFAR-100.
    Cifar100,
    /// An archive of NumPy arrays, or a pair of `.npy` files.
    Npz,
    /// Parquet files as the Hugging Face hub stores images.
    Parquet,
}

/// Which of CIFAR-100's labels are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LabelsEntry {
    /// A hundred classes.
    Fine,
    /// Twenty superclasses.
    Coarse,
}

/// The images of a space: three disjoint parts that are named, or drawn from one source by `split`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "keys and values such as {format: image-folder, path: FOLDER}")]
#[schemars(extend("oneOf" = [{"required": ["split"]}, {"required": ["training", "validation", "evaluation"]}]))]
pub struct DataEntry {
    /// How images are stored.
    pub format: DataFormat,
    /// The folder that the parts' paths start from, or the file or folder of all images; the space's own folder where absent.
    #[serde(default = "here")]
    pub path: PathBuf,
    /// How images of any size become squares (image folder, Parquet); where absent, they must be.
    pub resize: Option<Resize>,
    /// Images are padded to squares of this side, centred, in black.
    #[schemars(range(min = 1))]
    pub pad_to: Option<usize>,
    /// Names of the classes, in the order of their labels; those of the folders or files otherwise.
    pub classes: Option<Vec<String>>,
    /// Which labels are taken (CIFAR-100): `fine` (default) or `coarse`.
    pub labels: Option<LabelsEntry>,
    /// The column of images (Parquet): `image` where absent.
    pub image_column: Option<String>,
    /// The column of labels (Parquet): `label` where absent.
    pub label_column: Option<String>,
    /// What to do with evaluation images that also stand in another part: `error` (default) or `drop` there.
    #[serde(default)]
    pub duplicates: DuplicatesEntry,
    /// Trains the cloud net and the attacker's decoder.
    pub training: Option<PartEntry>,
    /// The attacker's and the cloud's validation images.
    pub validation: Option<PartEntry>,
    /// The victims: no training sees them.
    pub evaluation: Option<PartEntry>,
    /// Draws the three parts from one source.
    pub split: Option<SplitEntry>,
    /// That source; what `path` names where absent.
    pub whole: Option<PartEntry>,
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

/// What happens to images that stand in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DuplicatesEntry {
    /// Refuse the data.
    #[default]
    Error,
    /// Drop them from the training and validation parts.
    Drop,
}

/// Where the images of a part are (`folder`, `files`, or `images` and `labels`, by the format), and which are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "keys and values such as {folder: FOLDER}")]
pub struct PartEntry {
    /// IDX or NumPy file of images.
    pub images: Option<PathBuf>,
    /// IDX or NumPy file of labels.
    pub labels: Option<PathBuf>,
    /// Folder that holds one folder a class.
    pub folder: Option<PathBuf>,
    /// CIFAR, `.npz` or Parquet files, or folders of them; `data.path` itself where absent.
    pub files: Option<Vec<PathBuf>>,
    /// Names of two arrays (`.npz`).
    pub arrays: Option<ArraysEntry>,
    /// Images to skip in each class, in the order of the files.
    #[serde(default)]
    pub skip_per_class: usize,
    /// Images to take of each class; all where absent.
    pub per_class: Option<usize>,
}

/// Names of two arrays in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArraysEntry {
    /// The images'.
    pub images: String,
    /// The labels'.
    pub labels: String,
}

/// How many images of one source each part gets, classes balanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "keys and values such as {training: 4000, validation: 1000, evaluation: 2000}"
)]
pub struct SplitEntry {
    /// Training images.
    pub training: usize,
    /// Validation images.
    pub validation: usize,
    /// Evaluation images.
    pub evaluation: usize,
    /// Of the draw.
    #[serde(default)]
    pub seed: u64,
}

impl DataFormat {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idx => "idx",
            Self::ImageFolder => "image-folder",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::Npz => "npz",
            Self::Parquet => "parquet",
        }
    }

    /// Whether images are stored as encoded files, which may have any size.
    fn is_encoded(self) -> bool {
        matches!(self, Self::ImageFolder | Self::Parquet)
    }

    /// What a part of this format names.
    fn accepted(self) -> &'static str {
        match self {
            Self::Idx => {
                "format idx takes `images: FILE` and `labels: FILE`, with optional `skip_per_class` and `per_class`"
            }
            Self::ImageFolder => {
                "format image-folder takes `folder: FOLDER`, with optional `skip_per_class` and `per_class`"
            }
            Self::Cifar10 | Self::Cifar100 => {
                "formats cifar10 and cifar100 take `files: [FILE or FOLDER, …]`, with optional `skip_per_class` and `per_class`"
            }
            Self::Npz => {
                "format npz takes `files: [FILE.npz]`, perhaps with `arrays: {images: NAME, labels: NAME}`, or `images: FILE.npy` \
                 and `labels: FILE.npy`, with optional `skip_per_class` and `per_class`"
            }
            Self::Parquet => {
                "format parquet takes `files: [FILE or FOLDER, …]`, with optional `skip_per_class` and `per_class`"
            }
        }
    }

    /// Whether a part names what this format needs, and nothing else.
    fn suits(self, part: &PartEntry, is_whole: bool) -> bool {
        let PartEntry { images, labels, folder, files, arrays, .. } = part;
        let pair = images.is_some() && labels.is_some();
        let no_pair = images.is_none() && labels.is_none();
        let listed = files.as_ref().is_none_or(|files| !files.is_empty());
        match self {
            Self::Idx => pair && folder.is_none() && files.is_none() && arrays.is_none(),
            Self::ImageFolder => no_pair && (folder.is_some() || is_whole) && files.is_none() && arrays.is_none(),
            Self::Npz if pair => folder.is_none() && files.is_none() && arrays.is_none(),
            Self::Npz => no_pair && folder.is_none() && files.as_ref().is_none_or(|files| files.len() == 1),
            Self::Cifar10 | Self::Cifar100 | Self::Parquet => no_pair && folder.is_none() && arrays.is_none() && listed,
        }
    }
}

impl DataEntry {
    /// What the data loader is to read.
    pub fn parts(&self) -> PartsSpec {
        let part = |part: &Option<PartEntry>| {
            let part = part.clone().unwrap_or_default();
            PartSource {
                source: self.source(&part),
                skip_per_class: part.skip_per_class,
                take_per_class: part.per_class,
            }
        };
        let division = match self.split {
            Some(SplitEntry { training, validation, evaluation, seed }) => Division::Drawn {
                whole: self.source(&self.whole.clone().unwrap_or_default()),
                split: Split { training, validation, evaluation, seed },
            },
            None => Division::Named {
                training: part(&self.training),
                validation: part(&self.validation),
                evaluation: part(&self.evaluation),
            },
        };
        PartsSpec {
            division,
            resize: self.resize,
            pad_to: self.pad_to,
            class_names: self.classes.clone(),
            duplicates: match self.duplicates {
                DuplicatesEntry::Error => Duplicates::Error,
                DuplicatesEntry::Drop => Duplicates::Drop,
            },
        }
    }

    fn source(&self, part: &PartEntry) -> Source {
        let path = |written: &Option<PathBuf>| match written {
            Some(written) => self.path.join(written),
            None => self.path.clone(),
        };
        let files = || match &part.files {
            Some(files) => files.iter().map(|file| self.path.join(file)).collect(),
            None => vec![self.path.clone()],
        };
        let column = |written: &Option<String>, usual: &str| written.clone().unwrap_or_else(|| usual.to_owned());
        match self.format {
            DataFormat::Idx => Source::Idx { images: path(&part.images), labels: path(&part.labels) },
            DataFormat::ImageFolder => Source::ImageFolder { root: path(&part.folder) },
            DataFormat::Cifar10 => Source::Cifar { files: files(), labels: CifarLabels::Ten },
            DataFormat::Cifar100 => Source::Cifar {
                files: files(),
                labels: match self.labels {
                    Some(LabelsEntry::Coarse) => CifarLabels::Coarse,
                    Some(LabelsEntry::Fine) | None => CifarLabels::Fine,
                },
            },
            DataFormat::Npz if part.images.is_some() => {
                Source::Npy { images: path(&part.images), labels: path(&part.labels) }
            }
            DataFormat::Npz => {
                let arrays = part.arrays.as_ref();
                let arrays = arrays.map(|ArraysEntry { images, labels }| ArrayNames {
                    images: images.clone(),
                    labels: labels.clone(),
                });
                Source::Npz { file: path(&part.files.as_ref().and_then(|files| files.first().cloned())), arrays }
            }
            DataFormat::Parquet => Source::Parquet {
                files: files(),
                image_column: column(&self.image_column, "image"),
                label_column: column(&self.label_column, "label"),
            },
        }
    }

    /// Refuses what can't be meant; `file` is the space's.
    pub(super) fn validate(&self, file: &Path) -> Result<(), ConfigError> {
        let error = |field: &str, value: &dyn ToString, problem: &str| {
            Err(ConfigError::field(file, format!("data.{field}"), value.to_string(), problem))
        };
        let format = self.format.name();
        if let Some(resize) = self.resize {
            if !self.format.is_encoded() {
                return error("resize", &resize.to, "only images of an image-folder or of parquet can be resized");
            }
            if resize.to == 0
                || resize.to > MOST_SIDE
                || !resize.to.is_multiple_of(SIDE_MULTIPLE) && self.pad_to.is_none()
            {
                let accepted =
                    format!("`to` must be a multiple of {SIDE_MULTIPLE} from {SIDE_MULTIPLE} to {MOST_SIDE}");
                return error("resize", &resize.to, &accepted);
            }
        }
        if let Some(side) = self.pad_to
            && (side == 0 || side > MOST_PADDED || !side.is_multiple_of(SIDE_MULTIPLE))
        {
            let accepted = format!("must be a multiple of {SIDE_MULTIPLE}, as nets take it, up to {MOST_PADDED}");
            return error("pad_to", &side, &accepted);
        }
        if self.labels.is_some() && self.format != DataFormat::Cifar100 {
            return error(
                "labels",
                &format,
                "only cifar100 has `fine` and `coarse` labels: remove it, or use that format",
            );
        }
        for (field, column) in [("image_column", &self.image_column), ("label_column", &self.label_column)] {
            if let Some(column) = column.as_ref().filter(|_| self.format != DataFormat::Parquet) {
                return error(field, column, "only parquet has columns: remove it, or use that format");
            }
        }
        let named = [("training", &self.training), ("validation", &self.validation), ("evaluation", &self.evaluation)];
        if self.split.is_some() {
            if let Some((name, _)) = named.iter().find(|(_, part)| part.is_some()) {
                let problem = "`split` draws all parts from one source: remove one of the two (`whole` says where that source is)";
                return error(name, &"beside `split`", problem);
            }
            let whole = self.whole.clone().unwrap_or_default();
            if whole.skip_per_class > 0 || whole.per_class.is_some() {
                let problem = "`split` says how many images are taken: remove `skip_per_class` and `per_class`";
                return error("whole", &"limited", problem);
            }
            if !self.format.suits(&whole, true) {
                return error("whole", &"incomplete", self.format.accepted());
            }
            return Ok(());
        }
        if self.whole.is_some() {
            let problem = "it needs `split: {training: N, validation: N, evaluation: N, seed: N}` beside it";
            return error("whole", &"without `split`", problem);
        }
        for (name, part) in named {
            match part {
                None => {
                    let problem = "name `training`, `validation` and `evaluation`, or draw them from one source by `split: \
                                   {training: N, validation: N, evaluation: N, seed: N}`";
                    return error(name, &"missing", problem);
                }
                Some(part) if !self.format.suits(part, false) => {
                    return error(name, &"incomplete", self.format.accepted());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(yaml: &str) -> DataEntry {
        super::super::yaml::parse(Path::new("space.yaml"), yaml).unwrap()
    }

    fn message(yaml: &str) -> String {
        let parsed = super::super::yaml::parse::<DataEntry>(Path::new("space.yaml"), yaml);
        parsed.and_then(|entry| entry.validate(Path::new("space.yaml"))).unwrap_err().to_string()
    }

    const SPLIT: &str = "split: {training: 4000, validation: 1000, evaluation: 2000, seed: 1}";

    #[test]
    fn a_split_draws_from_what_path_names() {
        let split = Split { training: 4000, validation: 1000, evaluation: 2000, seed: 1 };
        let root = || PathBuf::from("there");
        for (format, whole) in [
            ("image-folder", Source::ImageFolder { root: root() }),
            ("cifar10", Source::Cifar { files: vec![root()], labels: CifarLabels::Ten }),
            ("cifar100\nlabels: coarse", Source::Cifar { files: vec![root()], labels: CifarLabels::Coarse }),
            ("npz", Source::Npz { file: root(), arrays: None }),
            (
                "parquet\nlabel_column: fine_label",
                Source::Parquet {
                    files: vec![root()],
                    image_column: "image".to_owned(),
                    label_column: "fine_label".to_owned(),
                },
            ),
            ("idx\nwhole: {images: i, labels: l}", Source::Idx { images: root().join("i"), labels: root().join("l") }),
        ] {
            let entry = entry(&format!("format: {format}\npath: there\n{SPLIT}"));
            entry.validate(Path::new("space.yaml")).unwrap();
            assert_eq!(entry.parts().division, Division::Drawn { whole, split });
        }
    }

    #[test]
    fn parts_name_files_arrays_and_counts() {
        let entry = entry(
            "format: npz\npath: there\ntraining: {files: [a.npz], per_class: 3}\nvalidation: {images: x.npy, labels: y.npy}\n\
             evaluation: {files: [a.npz], arrays: {images: p, labels: q}, skip_per_class: 2}",
        );
        entry.validate(Path::new("space.yaml")).unwrap();
        let Division::Named { training, validation, evaluation } = entry.parts().division else { panic!("named") };
        let file = PathBuf::from("there/a.npz");
        let source = Source::Npz { file: file.clone(), arrays: None };
        assert_eq!(training, PartSource { take_per_class: Some(3), ..source.into() });
        let source = Source::Npy { images: "there/x.npy".into(), labels: "there/y.npy".into() };
        assert_eq!(validation, source.into());
        let arrays = Some(ArrayNames { images: "p".to_owned(), labels: "q".to_owned() });
        assert_eq!(evaluation, PartSource { skip_per_class: 2, ..Source::Npz { file, arrays }.into() });
    }

    #[test]
    fn mistakes_name_field_value_and_remedy() {
        for (yaml, expected) in [
            (
                "format: tar",
                "space.yaml:1:9: format: unknown value `tar`, expected one of `idx`, `image-folder`, `cifar10`",
            ),
            ("format: npz", "data.training: missing: name `training`, `validation` and `evaluation`, or draw them"),
            (
                &format!("format: npz\ntraining: {{}}\n{SPLIT}"),
                "data.training: beside `split`: `split` draws all parts",
            ),
            ("format: npz\nwhole: {}", "data.whole: without `split`: it needs `split: {training: N"),
            (&format!("format: npz\n{SPLIT}\nwhole: {{per_class: 2}}"), "data.whole: limited: `split` says how many"),
            (&format!("format: idx\n{SPLIT}"), "data.whole: incomplete: format idx takes `images: FILE` and"),
            (
                &format!("format: npz\n{SPLIT}\nwhole: {{files: [a, b]}}"),
                "data.whole: incomplete: format npz takes `files: [FILE.npz]`",
            ),
            (
                &format!("format: parquet\n{SPLIT}\nwhole: {{files: []}}"),
                "format parquet takes `files: [FILE or FOLDER",
            ),
            (&format!("format: cifar10\nlabels: fine\n{SPLIT}"), "data.labels: cifar10: only cifar100 has"),
            (&format!("format: npz\nimage_column: img\n{SPLIT}"), "data.image_column: img: only parquet has columns"),
            (
                &format!("format: npz\nresize: {{to: 32}}\n{SPLIT}"),
                "data.resize: 32: only images of an image-folder or of parquet",
            ),
            (
                "format: npz\nsplit: {training: 4, validation: 1, evaluation: 1, sede: 3}",
                "space.yaml:2:52: split: unknown field `sede` (did you mean `seed`?)",
            ),
            (
                "format: npz\nsplit: {training: -4, validation: 1, evaluation: 1}",
                "space.yaml:2:19: split.training: invalid type: integer `-4`",
            ),
        ] {
            let found = message(yaml);
            assert!(found.contains(expected), "{yaml}: `{found}` lacks `{expected}`");
        }
    }
}
