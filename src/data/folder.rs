//! A folder with one folder of JPEG, PNG or WebP files per class.

use std::fs;
use std::path::{Path, PathBuf};

use super::DataError;
use super::listing::{Listing, Store};

/// Lists the images: classes and files in the order of their names, which start with no dot.
/// Files with other endings than jpg, jpeg, png and webp are passed over.
pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let classes: Vec<PathBuf> = visible(root)?.into_iter().filter(|path| path.is_dir()).collect();
    if classes.is_empty() {
        return Err(DataError::NoClasses { root: root.to_path_buf() });
    }
    let class_names = classes.iter().map(|path| file_name(path)).collect();
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (folder, label) in classes.into_iter().zip(0..=u16::MAX) {
        files.extend(image_files(&folder)?);
        labels.resize(files.len(), label);
    }
    let (root, class_names) = (root.to_path_buf(), Some(class_names));
    Ok(Listing { root, labels, class_names, label_file: None, store: Store::Files(files) })
}

/// The entries of a folder whose names do not start with a dot, sorted by name.
pub(super) fn visible(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let fail = |source| DataError::Read { path: folder.to_path_buf(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["jpg", "jpeg", "png", "webp"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The JPEG, PNG and WebP files of a folder, sorted by name.
///
/// # Errors
/// [`DataError::Read`] where it can't be listed.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(visible(folder)?.into_iter().filter(|path| is_image(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::prepare::Raw;
    use crate::data::{Fit, Part, Resize};
    use image::{Rgb, RgbImage};

    /// Writes `count` PNG images of the given side into `root/class`, each of its own colour.
    fn write_class(root: &Path, class: &str, count: u8, side: u32) {
        let folder = root.join(class);
        fs::create_dir_all(&folder).unwrap();
        for index in 0..count {
            let colour = Rgb([index, class.len() as u8, class.as_bytes()[0]]);
            RgbImage::from_pixel(side, side, colour).save(folder.join(format!("{index:02}.png"))).unwrap();
        }
    }

    /// All images, or the first error.
    fn read(root: &Path, resize: Option<Resize>) -> Result<Raw, DataError> {
        let listing = list(root)?;
        let all: Vec<usize> = (0..listing.labels.len()).collect();
        listing.read(Part::Training, &all, resize)
    }

    fn message(root: &Path) -> String {
        read(root, None).unwrap_err().to_string()
    }

    #[test]
    fn classes_and_images_are_taken_in_the_order_of_names() {
        let root = tempfile::tempdir().unwrap();
        for class in ["dog", "cat"] {
            write_class(root.path(), class, 3, 16);
        }
        fs::write(root.path().join("cat/notes.txt"), "not an image").unwrap();
        fs::write(root.path().join("cat/.hidden.png"), "not an image").unwrap();
        assert_eq!(list(root.path()).unwrap().class_names, Some(vec!["cat".into(), "dog".into()]));
        let raw = read(root.path(), None).unwrap();
        assert_eq!(raw.labels, [0, 0, 0, 1, 1, 1]);
        let firsts: Vec<&[u8]> = raw.pixels.chunks_exact(16 * 16 * 3).map(|image| &image[..3]).collect();
        let expected = [[0, 3, b'c'], [1, 3, b'c'], [2, 3, b'c'], [0, 3, b'd'], [1, 3, b'd'], [2, 3, b'd']];
        assert_eq!(firsts, expected);
    }

    #[test]
    fn images_of_any_size_become_squares_by_the_rule() {
        let root = tempfile::tempdir().unwrap();
        write_class(root.path(), "a", 2, 48);
        RgbImage::from_pixel(64, 40, Rgb([9, 9, 9])).save(root.path().join("a/02.png")).unwrap();
        let raw = read(root.path(), Some(Resize { to: 32, fit: Fit::Crop })).unwrap();
        assert_eq!((raw.side, raw.pixels.len()), (32, 3 * 32 * 32 * 3));
        let firsts: Vec<&[u8]> = raw.pixels.chunks_exact(32 * 32 * 3).map(|image| &image[..3]).collect();
        assert_eq!(firsts, [[0, 1, b'a'], [1, 1, b'a'], [9, 9, 9]]);
    }

    #[test]
    fn names_a_missing_folder_and_one_without_classes() {
        let root = tempfile::tempdir().unwrap();
        let found = message(&root.path().join("absent"));
        assert!(found.contains("absent`: check that it exists"), "{found}");
        assert!(message(root.path()).contains("holds no class folders"));
    }

    #[test]
    fn names_the_first_file_of_another_size_or_that_cannot_be_decoded() {
        let root = tempfile::tempdir().unwrap();
        write_class(root.path(), "a", 20, 16);
        write_class(root.path(), "b", 1, 32);
        let found = message(root.path());
        assert!(found.contains("00.png` is 32×32, but the images before it are 16×16"), "{found}");
        for index in [7, 13] {
            fs::write(root.path().join(format!("a/{index:02}.png")), [0; 40]).unwrap();
        }
        let found = message(root.path());
        assert!(found.contains("cannot decode") && found.contains("07.png"), "{found}");
        fs::write(root.path().join("a/03.jpg"), []).unwrap();
        let found = message(root.path());
        assert!(found.ends_with("a/03.jpg` is empty (0 bytes); replace or remove it"), "{found}");
        RgbImage::new(16, 20).save(root.path().join("a/00.png")).unwrap();
        assert!(message(root.path()).contains("00.png`: images must be square, found 16×20"));
    }
}
