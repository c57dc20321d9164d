//! The binary version of CIFAR-10 and CIFAR-100: rows of one or two labels and three planes of 32×32 bytes.
//!
//! A row of CIFAR-10 is `label, red[1024], green[1024], blue[1024]`; CIFAR-100 has the label of the superclass first, then the
//! class's. Names are read from the text file that comes with them, where it lies beside the first file.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::folder::visible;
use super::listing::{Listing, Order, Pixels, Store, require_room};
use super::{CifarLabels, DataError};

pub(super) const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;

/// Longest file of names: a hundred names have about a kilobyte.
const MOST_NAME_BYTES: u64 = 1 << 16;

impl CifarLabels {
    /// The data set's name.
    fn name(self) -> &'static str {
        match self {
            Self::Ten => "CIFAR-10",
            Self::Fine | Self::Coarse => "CIFAR-100",
        }
    }

    fn classes(self) -> usize {
        match self {
            Self::Ten => 10,
            Self::Fine => 100,
            Self::Coarse => 20,
        }
    }

    /// Bytes of a row before its pixels.
    fn bytes(self) -> usize {
        match self {
            Self::Ten => 1,
            Self::Fine | Self::Coarse => 2,
        }
    }

    /// Which of these bytes is taken.
    fn position(self) -> usize {
        match self {
            Self::Ten | Self::Coarse => 0,
            Self::Fine => 1,
        }
    }

    /// The file of names.
    fn names(self) -> &'static str {
        match self {
            Self::Ten => "batches.meta.txt",
            Self::Fine => "fine_label_names.txt",
            Self::Coarse => "coarse_label_names.txt",
        }
    }
}

/// Reads all images of some files.
pub(super) fn read(files: &[PathBuf], kind: CifarLabels) -> Result<Listing, DataError> {
    let root = files.first().cloned().unwrap_or_default();
    let files = expand(files, "bin")?;
    let row = kind.bytes() + PIXELS;
    let (mut bytes, mut labels, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for path in &files {
        let fail = |source| DataError::Read { path: path.clone(), source };
        let file = File::open(path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let count = usize::try_from(len / row as u64).unwrap_or(usize::MAX);
        require_room(path, count.saturating_add(labels.len()), SIDE, SIDE)?;
        if count == 0 || !len.is_multiple_of(row as u64) {
            return Err(not_rows(path, &mut reader, len, kind));
        }
        let mut buffer = vec![0; row];
        for index in 0..count {
            reader.read_exact(&mut buffer).map_err(fail)?;
            let label = buffer[kind.position()];
            if usize::from(label) >= kind.classes() {
                return Err(DataError::Label {
                    path: path.clone(),
                    index,
                    label: label.into(),
                    classes: kind.classes(),
                });
            }
            labels.push(u16::from(label));
            bytes.extend_from_slice(&buffer[kind.bytes()..]);
        }
        counts.push((Arc::from(path.as_path()), count));
    }
    let class_names = match files.first() {
        Some(first) => names(&first.with_file_name(kind.names()), kind.classes())?,
        None => None,
    };
    let store = Store::Memory(Pixels { side: SIDE, order: Order::Planar, bytes, files: counts });
    Ok(Listing { root, labels, class_names, label_file: None, store })
}

/// Whether a file's length suits.
pub(super) fn suits(path: &Path, kind: CifarLabels) -> Result<bool, DataError> {
    let len = std::fs::metadata(path).map_err(|source| DataError::Read { path: path.to_path_buf(), source })?.len();
    Ok(len > 0 && len.is_multiple_of((kind.bytes() + PIXELS) as u64))
}

/// The files that `written` names, folders replaced by their files with the given ending.
pub(super) fn expand(written: &[PathBuf], ending: &'static str) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for path in written {
        if path.is_dir() {
            let before = files.len();
            files.extend(visible(path)?.into_iter().filter(|path| has_ending(path, ending) && path.is_file()));
            if files.len() == before {
                return Err(DataError::NoFiles { root: path.clone(), ending });
            }
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

pub(super) fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

/// Why a file's length does not suit.
fn not_rows(path: &Path, reader: &mut impl Read, len: u64, kind: CifarLabels) -> DataError {
    let mut start = [0; 2];
    let path = path.to_path_buf();
    if reader.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b] {
        return DataError::Archive { path };
    }
    let (expected, row) = (kind.name(), kind.bytes() + PIXELS);
    DataError::CifarLength { path, expected, row, len }
}

/// The names in a text file, one a line; none where there is no such file.
fn names(path: &Path, classes: usize) -> Result<Option<Vec<String>>, DataError> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    let mut text = String::new();
    file.take(MOST_NAME_BYTES)
        .read_to_string(&mut text)
        .map_err(|source| DataError::Read { path: path.to_path_buf(), source })?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if names.len() != classes {
        return Err(DataError::NameCount { path: path.to_path_buf(), found: names.len(), classes });
    }
    Ok(Some(names))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::Part;

    /// Rows with the given labels; plane p of image i holds 10·i + p, its last pixel 200.
    pub(in crate::data) fn rows(labels: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (index, label) in labels.iter().enumerate() {
            bytes.extend_from_slice(label);
            for plane in 0..3 {
                bytes.extend([10 * index as u8 + plane; 1023]);
                bytes.push(200 + plane);
            }
        }
        bytes
    }

    fn written(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        folder
    }

    #[test]
    fn planes_become_pixels_and_names_come_from_the_file_beside() {
        let names = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
        let [first, second] = [rows(&[&[3], &[9]]), rows(&[&[0]])];
        let files: [(&str, &[u8]); 3] =
            [("data_batch_1.bin", &first), ("data_batch_2.bin", &second), ("batches.meta.txt", names.as_bytes())];
        let folder = written(&files);
        let listing = read(&[folder.path().to_owned()], CifarLabels::Ten).unwrap();
        assert_eq!(listing.labels, [3, 9, 0]);
        assert_eq!(listing.class_names.as_ref().unwrap()[9], "truck");
        assert!(listing.place(2).to_string().starts_with("image 0 of `"), "{}", listing.place(2));
        let raw = listing.read(Part::Training, &[1, 2], None).unwrap();
        assert_eq!((raw.side, &raw.labels[..]), (32, &[9, 0][..]));
        assert_eq!((&raw.pixels[..3], &raw.pixels[3069..3075]), (&[10, 11, 12][..], &[200, 201, 202, 0, 1, 2][..]));
    }

    #[test]
    fn a_hundred_classes_have_two_labels() {
        let folder = written(&[("train.bin", &rows(&[&[4, 72], &[19, 99]]))]);
        let files = [folder.path().join("train.bin")];
        assert_eq!(read(&files, CifarLabels::Fine).unwrap().labels, [72, 99]);
        let coarse = read(&files, CifarLabels::Coarse).unwrap();
        assert_eq!((&coarse.labels[..], coarse.class_names), (&[4, 19][..], None));
    }

    #[test]
    fn mistakes_name_file_row_and_remedy() {
        let message = |bytes: &[u8], kind| {
            let folder = written(&[("x.bin", bytes)]);
            let message = read(&[folder.path().join("x.bin")], kind).unwrap_err().to_string();
            message.replace(&folder.path().display().to_string(), "F")
        };
        let good = rows(&[&[1], &[2]]);
        assert_eq!(
            message(&good[..4000], CifarLabels::Ten),
            "`F/x.bin` has 4000 bytes, which are no whole rows of 3073 as CIFAR-10's binary version has them: it is \
             truncated or another file; fetch it again"
        );
        assert!(message(&[], CifarLabels::Ten).contains("has 0 bytes"));
        assert!(message(&good, CifarLabels::Fine).contains("no whole rows of 3074 as CIFAR-100's"));
        assert_eq!(
            message(&rows(&[&[1], &[10]]), CifarLabels::Ten),
            "`F/x.bin`: label 10 of image 1 (counted from 0) is not one of the 10 classes 0 to 9"
        );
        assert!(message(&rows(&[&[20, 1]]), CifarLabels::Coarse).contains("label 20 of image 0"));
        assert_eq!(
            message(&crate::data::tests::gzip(&good), CifarLabels::Ten),
            "`F/x.bin` is a packed archive: unpack it (`tar xzf`) and name the folder or the files in it"
        );
        let folder = written(&[("batches.meta.txt", b"cat\ndog\n"), ("x.bin", &good)]);
        let found = read(&[folder.path().to_owned()], CifarLabels::Ten).unwrap_err().to_string();
        assert!(found.contains("batches.meta.txt` names 2 classes, expected 10"), "{found}");
        let empty = written(&[("data_batch_1", b"")]);
        let found = read(&[empty.path().to_owned()], CifarLabels::Ten).unwrap_err().to_string();
        assert!(found.contains("holds no `.bin` files"), "{found}");
    }
}
