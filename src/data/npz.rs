//! Archives of NumPy arrays (`numpy.savez`, `numpy.savez_compressed`): zip files with a `.npy` file per array.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;

use super::listing::Listing;
use super::npy::{self, Name};
use super::{ArrayNames, DataError, Part};

/// Names of images and labels that are looked for where the space gives none.
const ANY: [[&str; 2]; 5] = [["images", "labels"], ["x", "y"], ["X", "y"], ["data", "labels"], ["arr_0", "arr_1"]];
const TRAINING: [[&str; 2]; 2] = [["x_train", "y_train"], ["train_images", "train_labels"]];
const VALIDATION: [[&str; 2]; 2] = [["x_val", "y_val"], ["val_images", "val_labels"]];
const EVALUATION: [[&str; 2]; 2] = [["x_test", "y_test"], ["test_images", "test_labels"]];

/// An archive whose directory was read.
pub(super) struct Archive<'a> {
    path: &'a Path,
    zip: ZipArchive<BufReader<File>>,
}

impl<'a> Archive<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::Read { path: path.to_path_buf(), source })?;
        let zip = ZipArchive::new(BufReader::new(file))
            .map_err(|source| DataError::Zip { path: path.to_path_buf(), source })?;
        Ok(Self { path, zip })
    }

    /// The names of its arrays.
    fn arrays(&self) -> Vec<String> {
        let names = self.zip.file_names().filter_map(Result::ok);
        names.filter_map(|name| name.strip_suffix(".npy").map(str::to_owned)).collect()
    }

    /// The first usual pair that it holds: of a part, or of images that are in no parts.
    pub(super) fn usual(&self, part: Option<Part>) -> Option<ArrayNames> {
        self.first(candidates(part))
    }

    /// The arrays that are named as those of a part.
    pub(super) fn named(&self, part: Part) -> Option<ArrayNames> {
        self.first(of(part).iter().copied())
    }

    fn first(&self, mut pairs: impl Iterator<Item = [&'static str; 2]>) -> Option<ArrayNames> {
        let [images, labels] = pairs.find(|names| self.holds(names))?;
        Some(ArrayNames { images: images.to_owned(), labels: labels.to_owned() })
    }

    fn holds(&self, names: &[&str; 2]) -> bool {
        let arrays = self.arrays();
        names.iter().all(|name| arrays.iter().any(|array| array == name))
    }

    fn array<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut dyn std::io::Read, &Name) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let path = self.path;
        if !self.arrays().iter().any(|array| array == name) {
            return Err(self.absent(&format!("`{name}`")));
        }
        let mut file = self
            .zip
            .by_name(&format!("{name}.npy"))
            .map_err(|source| DataError::Zip { path: path.to_path_buf(), source })?;
        super::refuse_bomb(path, file.compressed_size(), file.size())?;
        // What the directory says is no more than a promise.
        let most = file.size().saturating_add(1);
        read(&mut file.by_ref().take(most), &Name { file: path, array: Some(name) })
    }

    fn absent(&self, wanted: &str) -> DataError {
        let mut found = self.arrays();
        found.sort_unstable();
        found.truncate(30);
        let found = found.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        DataError::NoArray { path: self.path.to_path_buf(), wanted: wanted.to_owned(), found }
    }
}

fn of(part: Part) -> &'static [[&'static str; 2]] {
    match part {
        Part::Training => &TRAINING,
        Part::Validation => &VALIDATION,
        Part::Evaluation => &EVALUATION,
    }
}

/// The usual names, in the order in which they are looked for.
fn candidates(part: Option<Part>) -> impl Iterator<Item = [&'static str; 2]> {
    let (before, after): (&[_], &[_]) = match part {
        Some(part) => (of(part), &[]),
        None => (&[], &TRAINING),
    };
    before.iter().chain(&ANY).chain(after).copied()
}

/// Reads two arrays of an archive.
pub(super) fn read(path: &Path, arrays: Option<&ArrayNames>, part: Option<Part>) -> Result<Listing, DataError> {
    let mut archive = Archive::open(path)?;
    let arrays = match arrays {
        Some(arrays) => arrays.clone(),
        None => archive.usual(part).ok_or_else(|| {
            let tried: Vec<String> =
                candidates(part).map(|[images, labels]| format!("`{images}` with `{labels}`")).collect();
            archive.absent(&format!("pair {}", tried.join(", ")))
        })?,
    };
    let labels = archive.array(&arrays.labels, |file, name| npy::read_labels(file, name))?;
    let pixels = archive.array(&arrays.images, |file, name| npy::read_images(file, path, name))?;
    npy::listing(pixels, path, labels, path)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::npy::tests::npy;
    use std::io::Write;
    use zip::CompressionMethod;
    use zip::write::SimpleFileOptions;

    /// The bytes of `numpy.savez` or, packed, `numpy.savez_compressed`.
    pub(in crate::data) fn npz(arrays: &[(&str, Vec<u8>)], packed: bool) -> Vec<u8> {
        let method = if packed { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in arrays {
            zip.start_file(format!("{name}.npy"), SimpleFileOptions::default().compression_method(method)).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn message(bytes: &[u8], arrays: Option<&ArrayNames>, part: Option<Part>) -> String {
        let (folder, path) = written(bytes);
        read(&path, arrays, part).unwrap_err().to_string().replace(&folder.path().display().to_string(), "F")
    }

    fn pair() -> [(&'static str, Vec<u8>); 2] {
        [("x_train", npy("|u1", &[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8])), ("y_train", npy("|u1", &[2], &[0, 1]))]
    }

    #[test]
    fn stored_and_packed_archives_are_read_alike() {
        for packed in [false, true] {
            let (_folder, path) = written(&npz(&pair(), packed));
            for part in [None, Some(Part::Training)] {
                let listing = read(&path, None, part).unwrap();
                assert_eq!(listing.labels, [0, 1]);
                assert_eq!(listing.read(Part::Training, &[1], None).unwrap().pixels[..4], [5, 5, 5, 6]);
            }
            let archive = Archive::open(&path).unwrap();
            assert!(archive.named(Part::Training).is_some() && archive.named(Part::Evaluation).is_none());
        }
    }

    #[test]
    fn absent_arrays_are_named_with_those_that_are_there() {
        let bytes = npz(&pair(), true);
        let names = ArrayNames { images: "photos".to_owned(), labels: "y_train".to_owned() };
        assert_eq!(
            message(&bytes, Some(&names), None),
            "`F/a.npz` has no array `photos`; its arrays are `x_train`, `y_train`: name them by `arrays: {images: NAME, labels: \
             NAME}` in the space"
        );
        let found = message(&bytes, None, Some(Part::Evaluation));
        assert!(
            found.contains("no array pair `x_test` with `y_test`, `test_images` with `test_labels`, `images`"),
            "{found}"
        );
        let [x, _] = pair();
        let found = message(&npz(&[x, ("y_train", npy("|u1", &[1], &[0]))], true), None, None);
        assert!(found.contains("holds 2 images but `F/a.npz` holds 1 labels"), "{found}");
    }

    #[test]
    fn damage_is_named() {
        let bytes = npz(&pair(), false);
        assert!(message(&bytes[..bytes.len() / 2], None, None).contains("`F/a.npz` can't be read as a zip archive"));
        assert!(message(&[], None, None).contains("zip archive"));
        // A pixel of the first array: the checksum no longer holds.
        let at = bytes.windows(8).position(|window| window == [1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let mut damaged = bytes;
        damaged[at] ^= 1;
        assert!(message(&damaged, None, None).contains("array `x_train` can't be unpacked: it is damaged"));
    }

    #[test]
    fn what_unpacks_to_much_more_than_it_says_is_stopped() {
        let bomb =
            npz(&[("images", npy("|u1", &[2, 2, 2], &vec![0; 1 << 24])), ("labels", npy("|u1", &[2], &[0, 1]))], true);
        assert!(bomb.len() < 1 << 16);
        assert!(message(&bomb, None, None).contains("array `images` holds more than the 8 bytes"));
    }
}
