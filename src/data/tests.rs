//! The parts as a whole.

use super::*;
use std::io::Write;
use std::path::Path;

/// The bytes of an IDX file.
pub(super) fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend_from_slice(data);
    bytes
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Images of 4×4 with a grey level each; the label is the level modulo 2.
fn write_levels(folder: &Path, part: Part, levels: &[u8]) -> Source {
    let pixels: Vec<u8> = levels.iter().flat_map(|&level| [level; 16]).collect();
    let labels: Vec<u8> = levels.iter().map(|level| level % 2).collect();
    let n = levels.len() as u32;
    let [images_path, labels_path] = ["images", "labels"].map(|kind| folder.join(format!("{part}-{kind}")));
    std::fs::write(&images_path, idx(&[n, 4, 4], &pixels)).unwrap();
    std::fs::write(&labels_path, idx(&[n], &labels)).unwrap();
    Source::Idx { images: images_path, labels: labels_path }
}

/// Parts of all images of three sources.
fn named(training: Source, validation: Source, evaluation: Source) -> PartsSpec {
    let [training, validation, evaluation] = [training, validation, evaluation].map(PartSource::from);
    PartsSpec {
        division: Division::Named { training, validation, evaluation },
        resize: None,
        pad_to: None,
        class_names: None,
        duplicates: Duplicates::Error,
    }
}

fn spec(folder: &Path, levels: [&[u8]; 3]) -> PartsSpec {
    let [training, validation, evaluation] = [0, 1, 2].map(|at| write_levels(folder, Part::ALL[at], levels[at]));
    PartsSpec { pad_to: Some(16), ..named(training, validation, evaluation) }
}

fn levels(set: &ImageSet) -> Vec<u8> {
    let Region { top, left, .. } = set.content();
    let mut levels: Vec<u8> = (0..set.len()).map(|index| set.image(index)[(top * set.side() + left) * 3]).collect();
    levels.sort_unstable();
    levels
}

#[test]
fn pads_with_black_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let parts = load(&spec(folder.path(), [&[10, 11, 12, 13], &[20, 21], &[30, 31]])).unwrap();
    let set = &parts.training;
    assert_eq!(set.content(), Region { top: 6, left: 6, height: 4, width: 4 });
    assert_eq!(levels(set), [10, 11, 12, 13]);
    for (index, label) in set.labels().iter().enumerate() {
        let level = set.image(index)[(6 * 16 + 6) * 3];
        assert_eq!(u16::from(level % 2), *label, "images and labels must stay together");
        for (pixel, rgb) in set.image(index).chunks_exact(3).enumerate() {
            let (row, column) = (pixel / 16, pixel % 16);
            let inside = (6..10).contains(&row) && (6..10).contains(&column);
            assert_eq!(rgb, [if inside { level } else { 0 }; 3]);
        }
    }
    assert_eq!(parts.class_names, ["0", "1"]);
}

#[test]
fn the_hash_depends_on_pixels_and_labels_alone() {
    let [here, there] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let levels: [&[u8]; 3] = [&[10, 11], &[20, 21], &[30, 31]];
    let first = load(&spec(here.path(), levels)).unwrap().hash;
    assert_eq!(first, load(&spec(there.path(), levels)).unwrap().hash);
    let other = spec(there.path(), [&[10, 11], &[20, 21], &[30, 33]]);
    assert_ne!(first, load(&other).unwrap().hash);
    std::fs::write(there.path().join("training-labels"), idx(&[2], &[1, 0])).unwrap();
    assert_ne!(load(&spec(here.path(), [&[10, 11], &[20, 21], &[30, 33]])).unwrap().hash, load(&other).unwrap().hash);
}

#[test]
fn overlap_is_refused_with_its_first_example() {
    let folder = tempfile::tempdir().unwrap();
    let found = load(&spec(folder.path(), [&[10, 11, 30, 31, 31], &[20, 21], &[29, 30, 31]])).unwrap_err().to_string();
    assert!(found.starts_with("2 images of the evaluation part are also in the training part"), "{found}");
    assert!(found.contains("first: image 1 of `") && found.contains("is image 2 of `"), "{found}");
    assert!(found.contains("`duplicates: drop`"), "{found}");
    let found = load(&spec(folder.path(), [&[10, 11], &[20, 21], &[30, 31, 21]])).unwrap_err().to_string();
    assert!(found.starts_with("1 images of the evaluation part are also in the validation part"), "{found}");
    let found = load(&spec(folder.path(), [&[10, 11, 20], &[20, 21], &[30, 31]])).unwrap_err().to_string();
    assert!(found.starts_with("1 images of the validation part are also in the training part"), "{found}");
}

#[test]
fn drop_keeps_the_evaluation_part_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), [&[10, 11, 20, 31, 31], &[20, 21, 30, 31], &[30, 31]]);
    spec.duplicates = Duplicates::Drop;
    let parts = load(&spec).unwrap();
    assert_eq!(parts.dropped, Dropped { training: 3, validation: 2 });
    assert_eq!(levels(&parts.training), [10, 11]);
    assert_eq!(levels(&parts.validation), [20, 21]);
    assert_eq!(levels(&parts.evaluation), [30, 31]);
}

#[test]
fn every_part_needs_every_class() {
    let folder = tempfile::tempdir().unwrap();
    let found = load(&spec(folder.path(), [&[10, 11], &[20, 22], &[30, 31]])).unwrap_err().to_string();
    assert!(found.starts_with("the validation part has no image of class `1`"), "{found}");
    let found = load(&spec(folder.path(), [&[10, 12], &[20, 22], &[30, 31]])).unwrap_err().to_string();
    assert!(found.contains("label 1 of image 1 (counted from 0) is not one of the 1 classes 0 to 0"), "{found}");
}

#[test]
fn class_folders_must_be_the_same() {
    let root = tempfile::tempdir().unwrap();
    let mut colour = 0;
    let mut folder = |part: &str, classes: &[&str]| {
        for class in classes {
            let folder = root.path().join(part).join(class);
            std::fs::create_dir_all(&folder).unwrap();
            colour += 1;
            let image = image::RgbImage::from_pixel(16, 16, image::Rgb([colour; 3]));
            image.save(folder.join("0.png")).unwrap();
        }
        Source::ImageFolder { root: root.path().join(part) }
    };
    let [a, b] = ["a", "b"].map(|part| folder(part, &["cat", "dog"]));
    let found = load(&named(a.clone(), b.clone(), folder("c", &["cat", "owl"]))).unwrap_err().to_string();
    assert!(found.contains(r#"the evaluation part are ["cat", "owl"], expected ["cat", "dog"]"#), "{found}");
    let mut spec = named(a, b, folder("d", &["cat", "dog"]));
    assert_eq!(load(&spec).unwrap().class_names, ["cat", "dog"]);
    spec.class_names = Some(vec!["dog".into(), "cat".into()]);
    let found = load(&spec).unwrap_err().to_string();
    assert!(found.contains("the training part are"), "{found}");
}

#[test]
fn sides_must_suit_the_nets() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), [&[10, 11], &[20, 21], &[30, 31]]);
    spec.pad_to = None;
    let found = load(&spec).unwrap_err().to_string();
    assert!(found.starts_with("images of 4×4 cannot be split over the nets"), "{found}");
    assert!(found.ends_with("must be a multiple of 16; set `pad_to: 16`"), "{found}");
    for pad_to in [0, 3, 20] {
        spec.pad_to = Some(pad_to);
        let found = load(&spec).unwrap_err().to_string();
        assert!(found.starts_with(&format!("`pad_to: {pad_to}` does not fit images of 4×4")), "{found}");
    }
    std::fs::write(folder.path().join("evaluation-images"), idx(&[2, 2, 2], &[0; 8])).unwrap();
    let found = load(&spec).unwrap_err().to_string();
    assert!(found.contains("the evaluation images are 2×2, the training images 4×4"), "{found}");
}

#[test]
fn subsets_are_prefixes_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let parts = load(&spec(folder.path(), [&[10, 11, 12, 13], &[20, 21], &[30, 31]])).unwrap();
    let few = parts.subset(2, 2, 2).unwrap();
    assert_eq!(few.training.pixels(), &parts.training.pixels()[..2 * 16 * 16 * 3]);
    assert_eq!(few.training.labels().iter().sum::<u16>(), 1, "one image of each class");
    assert_eq!(few.validation.hash(), parts.validation.hash());
    assert_ne!(few.hash, parts.hash);
    let found = parts.subset(5, 2, 2).unwrap_err().to_string();
    assert_eq!(found, "the training part has 4 images, 5 were asked for: ask for at most 4");
}

#[test]
fn image_sets_check_their_shape() {
    let region = Region { top: 8, left: 0, height: 9, width: 16 };
    assert!(ImageSet::new(Part::Training, 16, region, vec![0; 768], vec![0]).is_err());
    assert!(ImageSet::new(Part::Training, 16, Region::full(16), vec![0; 767], vec![0]).is_err());
}

#[test]
fn the_embedded_parts_load() {
    let space = Path::new(env!("CARGO_MANIFEST_DIR")).join("spaces/fashion-mnist-vgg16");
    let source = |part: &str| Source::Idx {
        images: space.join(format!("{part}-images-idx3-ubyte.gz")),
        labels: space.join(format!("{part}-labels-idx1-ubyte.gz")),
    };
    let spec = named(source("training"), source("validation"), source("evaluation"));
    let parts = load(&PartsSpec { pad_to: Some(32), ..spec }).unwrap();
    for (set, n) in [(&parts.training, 4000), (&parts.validation, 1000), (&parts.evaluation, 1000)] {
        assert_eq!((set.len(), set.side()), (n, 32));
        let ones = set.labels()[..100].iter().filter(|&&label| label == 1).count();
        assert_eq!(ones, 10, "prefixes are balanced");
    }
}
