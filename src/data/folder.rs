//! A folder with one folder of JPEG, PNG or WebP files per class.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::decode::{Resize, dimensions, square};
use super::prepare::{Origin, Raw};
use super::{DataError, MAX_PART_BYTES, Part};

/// Reads the images of a part: `take` of each class after the first `skip`, in the order of their names.
/// Files with other endings than jpg, jpeg, png and webp are passed over. Without a rule to resize by, all must be squares of one size.
pub(super) fn read(
    root: &Path,
    part: Part,
    skip: usize,
    take: Option<usize>,
    resize: Option<Resize>,
) -> Result<Raw, DataError> {
    let classes: Vec<PathBuf> = visible(root)?.into_iter().filter(|path| path.is_dir()).collect();
    if classes.is_empty() {
        return Err(DataError::NoClasses { root: root.to_path_buf() });
    }
    let class_names: Vec<String> = classes.iter().map(|path| file_name(path)).collect();
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (folder, label) in classes.into_iter().zip(0..=u16::MAX) {
        let images: Vec<PathBuf> = visible(&folder)?.into_iter().filter(|path| is_image(path)).collect();
        if images.is_empty() {
            return Err(DataError::EmptyClass { part, class: file_name(&folder) });
        }
        let found = images.len();
        let wanted = take.unwrap_or(found.saturating_sub(skip).max(1));
        if found < skip.saturating_add(wanted) {
            return Err(DataError::TooFewInClass { folder, found, skip, take: wanted });
        }
        files.extend(images.into_iter().skip(skip).take(wanted));
        labels.resize(files.len(), label);
    }

    let Some(first) = files.first() else {
        return Err(DataError::EmptyClass { part, class: class_names[0].clone() });
    };
    let [width, height] = resize.map_or_else(|| dimensions(first), |resize| Ok([resize.to; 2]))?;
    if width != height {
        return Err(DataError::NotSquare { path: first.clone(), width, height });
    }
    let size = width.saturating_mul(width).saturating_mul(3);
    let Some(bytes) = size.checked_mul(files.len()).filter(|&bytes| bytes <= MAX_PART_BYTES) else {
        let limit_gib = MAX_PART_BYTES >> 30;
        let count = files.len();
        return Err(DataError::TooLarge { path: root.to_path_buf(), count, width, height, limit_gib });
    };
    let mut pixels = vec![0; bytes];
    // Which of several bad files is named must not depend on the threads: keep the first in order.
    let failures: Vec<DataError> = pixels
        .par_chunks_exact_mut(size)
        .zip(&files)
        .filter_map(|(out, path)| square(path, width, resize, out).err())
        .collect();
    match failures.into_iter().next() {
        Some(error) => Err(error),
        None => {
            Ok(Raw { part, side: width, pixels, labels, class_names: Some(class_names), origin: Origin::Files(files) })
        }
    }
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

    fn message(root: &Path, skip: usize, take: Option<usize>) -> String {
        read(root, Part::Training, skip, take, None).unwrap_err().to_string()
    }

    #[test]
    fn takes_the_first_of_each_class_after_the_skipped_in_the_order_of_names() {
        let root = tempfile::tempdir().unwrap();
        for class in ["dog", "cat"] {
            write_class(root.path(), class, 5, 16);
        }
        fs::write(root.path().join("cat/notes.txt"), "not an image").unwrap();
        fs::write(root.path().join("cat/.hidden.png"), "not an image").unwrap();
        let raw = read(root.path(), Part::Training, 1, Some(2), None).unwrap();
        assert_eq!(raw.class_names, Some(vec!["cat".into(), "dog".into()]));
        assert_eq!(raw.labels, [0, 0, 1, 1]);
        let firsts: Vec<&[u8]> = raw.pixels.chunks_exact(16 * 16 * 3).map(|image| &image[..3]).collect();
        assert_eq!(firsts, [[1, 3, b'c'], [2, 3, b'c'], [1, 3, b'd'], [2, 3, b'd']]);
        assert_eq!(read(root.path(), Part::Training, 1, None, None).unwrap().labels.len(), 8);
    }

    #[test]
    fn images_of_any_size_become_squares_by_the_rule() {
        let root = tempfile::tempdir().unwrap();
        write_class(root.path(), "a", 2, 48);
        RgbImage::from_pixel(64, 40, Rgb([9, 9, 9])).save(root.path().join("a/02.png")).unwrap();
        let resize = Some(Resize { to: 32, fit: super::super::Fit::Crop });
        let raw = read(root.path(), Part::Training, 0, None, resize).unwrap();
        assert_eq!((raw.side, raw.pixels.len()), (32, 3 * 32 * 32 * 3));
        let firsts: Vec<&[u8]> = raw.pixels.chunks_exact(32 * 32 * 3).map(|image| &image[..3]).collect();
        assert_eq!(firsts, [[0, 1, b'a'], [1, 1, b'a'], [9, 9, 9]]);
    }

    #[test]
    fn says_how_many_images_a_class_has() {
        let root = tempfile::tempdir().unwrap();
        write_class(root.path(), "cat", 3, 16);
        let found = message(root.path(), 2, Some(2));
        assert!(found.contains("cat` holds 3 images, 4 are needed (2 to skip, 2 to take)"), "{found}");
        assert!(message(root.path(), 3, None).contains("holds 3 images"));
    }

    #[test]
    fn names_missing_and_empty_folders() {
        let root = tempfile::tempdir().unwrap();
        let found = message(&root.path().join("absent"), 0, None);
        assert!(found.contains("absent`: check that it exists"), "{found}");
        assert!(message(root.path(), 0, None).contains("holds no class folders"));
        fs::create_dir(root.path().join("owl")).unwrap();
        assert!(message(root.path(), 0, None).contains("no image of class `owl`"));
    }

    #[test]
    fn names_the_first_file_of_another_size_or_that_cannot_be_decoded() {
        let root = tempfile::tempdir().unwrap();
        write_class(root.path(), "a", 20, 16);
        write_class(root.path(), "b", 1, 32);
        let found = message(root.path(), 0, None);
        assert!(found.contains("00.png` is 32×32, but the images before it are 16×16"), "{found}");
        for index in [7, 13] {
            fs::write(root.path().join(format!("a/{index:02}.png")), [0; 40]).unwrap();
        }
        let found = message(root.path(), 0, None);
        assert!(found.contains("cannot decode") && found.contains("07.png"), "{found}");
        RgbImage::new(16, 20).save(root.path().join("a/00.png")).unwrap();
        assert!(message(root.path(), 0, None).contains("must be square, found 16×20"));
    }
}
