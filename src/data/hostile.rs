//! Files that are cut or changed at random: a reader may refuse them or not, but never panics, whatever it is told.

use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::cifar::tests::rows;
use super::npy::tests::npy;
use super::npz::tests::npz;
use super::parquet::tests::HUB;
use super::tests::{gzip, idx};
use super::*;

/// Changed files of each kind.
const CASES: u64 = 400;

/// Cuts, overwrites, or fills with large numbers.
fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    let mut below = |n: usize| (rng.next_u64() % n.max(1) as u64) as usize;
    match below(4) {
        0 => bytes.truncate(below(bytes.len())),
        1 => {
            let at = below(bytes.len());
            bytes.iter_mut().skip(at).take(4).for_each(|byte| *byte = 0xff);
        }
        _ => {
            for _ in 0..=below(8) {
                let (at, value) = (below(bytes.len()), below(256));
                bytes[at] = value as u8;
            }
        }
    }
}

/// Everything that is done with a source. Whether it can be is of no interest.
fn use_all(source: &Source) -> Result<(), DataError> {
    let listing = list(source, None)?;
    let names = prepare::class_names(None, &[(Part::Training, &listing)])?;
    select::draw(&listing, &names, Split { training: 2, validation: 2, evaluation: 2, seed: 1 })?;
    listing.sizes(2)?;
    let all: Vec<usize> = (0..listing.labels.len()).collect();
    listing.read(Part::Training, &all, None).map(drop)
}

/// Writes changed versions of one of the files that a source names, and reads the source.
fn survives(folder: &Path, name: &str, bytes: &[u8], source: &Source) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    use_all(source).unwrap();
    let mut refused = 0;
    for case in 0..CASES {
        let mut rng = ChaCha8Rng::seed_from_u64(case);
        let mut changed = bytes.to_vec();
        mutate(&mut changed, &mut rng);
        std::fs::write(&path, changed).unwrap();
        let outcome = use_all(source);
        refused += u64::from(outcome.is_err());
    }
    assert!(refused > CASES / 8, "{name}: only {refused} of {CASES} changed files were refused");
    std::fs::write(&path, bytes).unwrap();
}

fn labels(n: usize) -> Vec<u8> {
    (0..n).map(|index| (index % 2) as u8).collect()
}

#[test]
fn changed_arrays_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let pixels: Vec<u8> = (0..6 * 48).map(|value| (value % 251) as u8).collect();

    let (images, found) = (idx(&[6, 4, 4], &pixels[..96]), idx(&[6], &labels(6)));
    let source = Source::Idx { images: file("i"), labels: file("l") };
    std::fs::write(file("l"), &found).unwrap();
    survives(folder.path(), "i", &images, &source);
    survives(folder.path(), "i", &gzip(&images), &source);
    survives(folder.path(), "l", &found, &source);

    let floats: Vec<u8> = pixels.iter().flat_map(|&byte| (f32::from(byte) / 255.0).to_le_bytes()).collect();
    let (images, found) = (npy("<f4", &[6, 4, 4, 3], &floats), npy("|u1", &[6], &labels(6)));
    let source = Source::Npy { images: file("x.npy"), labels: file("y.npy") };
    std::fs::write(file("y.npy"), &found).unwrap();
    survives(folder.path(), "x.npy", &images, &source);
    survives(folder.path(), "y.npy", &found, &source);
    for packed in [false, true] {
        let archive = npz(&[("x", images.clone()), ("y", found.clone())], packed);
        survives(folder.path(), "a.npz", &archive, &Source::Npz { file: file("a.npz"), arrays: None });
    }
}

#[test]
fn changed_tables_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = vec![folder.path().join("a.parquet")];
    let (image_column, label_column) = ("image".to_owned(), "label".to_owned());
    survives(folder.path(), "a.parquet", HUB, &Source::Parquet { files, image_column, label_column });

    let files = vec![folder.path().join("a.bin")];
    let bytes = rows(&[&[0], &[1], &[0], &[1], &[0], &[1]]);
    let source = Source::Cifar { files, labels: CifarLabels::Ten };
    std::fs::write(folder.path().join("batches.meta.txt"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj").unwrap();
    let mut cut = 0;
    for len in (0..bytes.len()).step_by(97) {
        std::fs::write(folder.path().join("a.bin"), &bytes[..len]).unwrap();
        cut += usize::from(list(&source, None).is_err());
    }
    assert!(cut > bytes.len() / 97 - 1, "whole rows alone are read");
}

#[test]
fn changed_images_never_panic() {
    let root = tempfile::tempdir().unwrap();
    let pixel = |x, y| image::Rgb([(9 * x + y) as u8, (7 * y) as u8, (x * y) as u8]);
    let image = image::RgbImage::from_fn(16, 16, pixel);
    for class in ["a", "b"] {
        std::fs::create_dir_all(root.path().join(class)).unwrap();
        for index in 0..3 {
            image.save(root.path().join(class).join(format!("{index}.png"))).unwrap();
        }
    }
    let source = Source::ImageFolder { root: root.path().to_owned() };
    for ending in ["png", "jpg", "webp"] {
        let path = root.path().join(format!("a/x.{ending}"));
        image.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        survives(root.path(), &format!("a/x.{ending}"), &bytes, &source);
        std::fs::remove_file(path).unwrap();
    }
}
