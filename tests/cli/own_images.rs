//! Images of one's own in every format: from `init` to `check`, drawn parts, and broken files.

use std::io::{Cursor, Write as _};

use crate::support::{SIDE, TinySpace, images, json, stderr, weights};

const HUB: &[u8] = include_bytes!("../data/many.parquet");

/// `n` rows of CIFAR-10's binary version, of the first four classes' labels or as `label` says.
fn cifar(n: usize, seed: u8, label: impl Fn(usize) -> u8) -> Vec<u8> {
    let pixel = |row: usize, at: usize| (row * 7 + at * (row + 3) + usize::from(seed) * 31) as u8;
    (0..n).flat_map(|row| std::iter::once(label(row)).chain((0..3072).map(move |at| pixel(row, at)))).collect()
}

/// The bytes of `numpy.save`.
fn npy(shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(values);
    bytes
}

/// An archive of grey images in four classes.
fn npz(n: usize, side: usize) -> Vec<u8> {
    let pixels: Vec<u8> = (0..n * side * side).map(|at| (at / (side * side) * 13 + at * 5) as u8).collect();
    let labels: Vec<u8> = (0..n).map(|index| (index % 4) as u8).collect();
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, shape, values) in
        [("images.npy", format!("{n}, {side}, {side}"), pixels), ("labels.npy", format!("{n},"), labels)]
    {
        zip.start_file(name, options).expect("a zip in memory");
        zip.write_all(&npy(&shape, &values)).expect("a zip in memory");
    }
    zip.finish().expect("a zip in memory").into_inner()
}

/// Replaces the `data:` part of the space.
fn data(space: &TinySpace, text: &str) {
    let whole = std::fs::read_to_string(space.path("space.yaml")).expect("a readable space");
    let head = whole.split("data:").next().expect("text before the data");
    space.write("space.yaml", format!("{head}data:\n{text}").as_bytes());
}

#[test]
fn init_recognises_every_format_and_check_accepts_what_it_writes() {
    let space = TinySpace::new();
    for folder in ["cifar", "hub/data"] {
        std::fs::create_dir_all(space.path(folder)).unwrap();
    }
    let of_ten = |row| (row % 10) as u8;
    space.write("cifar/data_batch_1.bin", &cifar(60, 1, of_ten));
    space.write("cifar/data_batch_2.bin", &cifar(40, 2, of_ten));
    space.write("cifar/test_batch.bin", &cifar(20, 3, of_ten));
    space.write("digits.npz", &npz(80, 28));
    space.write("hub/data/train-00000-of-00001.parquet", HUB);
    space.write("one.bin", &cifar(100, 4, of_ten));
    let weights = weights();
    for (path, written, counts) in [
        ("cifar", r#"files: ["data_batch_1.bin", "data_batch_2.bin"], skip_per_class: 8, per_class: 2"#, [80, 20, 20]),
        ("one.bin", "format: cifar10", [60, 20, 20]),
        ("digits.npz", "pad_to: 32", [44, 16, 20]),
        ("hub", r#"image_column: "img""#, [14, 4, 6]),
        (
            "hub/data/train-00000-of-00001.parquet",
            "split: {training: 14, validation: 4, evaluation: 6, seed: 1}",
            [14, 4, 6],
        ),
    ] {
        let out = format!("mine-{}", path.replace('/', "-"));
        let output = space.run(&["init", "--data", path, "--backbone", weights.to_str().unwrap(), "--out", &out]);
        assert_eq!(output.status.code(), Some(0), "{path}: {}", stderr(&output));
        let text = std::fs::read_to_string(space.path(&format!("{out}/space.yaml"))).unwrap();
        assert!(text.contains(written), "{path}: {text} lacks {written}");
        let check = space.run(&["check", &format!("{out}/budget.yaml"), "--json"]);
        assert_eq!(check.status.code(), Some(0), "{path}: {}\n{text}", stderr(&check));
        assert_eq!(json(&check)["images"], serde_json::json!(counts), "{path}: {text}");
    }
    space.write("cifar.tar.gz", b"\x1f\x8b");
    let output =
        space.run(&["init", "--data", "cifar.tar.gz", "--backbone", weights.to_str().unwrap(), "--out", "none"]);
    let message = stderr(&output);
    assert!(output.status.code() == Some(2) && message.contains("archives are to be unpacked first"), "{message}");
    assert!(!space.path("none").exists());
}

#[test]
fn one_file_of_any_format_is_drawn_into_three_parts() {
    let space = TinySpace::new();
    let split = "  split: {training: 40, validation: 12, evaluation: 12, seed: 1}\n";
    let (pixels, labels) = images(80, 5);
    space.write("all-images", &pixels);
    space.write("all-labels", &labels);
    space.write("x.npy", &npy(&format!("80, {SIDE}, {SIDE}"), &pixels[16..]));
    space.write("y.npy", &npy("80,", &labels[8..]));
    let mut found = Vec::new();
    for text in [
        format!("  format: idx\n  whole: {{images: all-images, labels: all-labels}}\n{split}"),
        format!("  format: npz\n  whole: {{images: x.npy, labels: y.npy}}\n{split}"),
    ] {
        data(&space, &text);
        let output = space.run(&["check", "budget.yaml", "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(json(&output)["images"], serde_json::json!([40, 12, 12]));
        found.push(output.stdout);
    }
    assert_eq!(found[0], found[1]);
}

/// `optimize` refuses, names what is wrong, and leaves nothing behind.
fn refused(space: &TinySpace, parts: &[&str]) {
    let output = space.run(&["optimize", "budget.yaml"]);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in parts {
        assert!(message.contains(part), "`{message}` lacks `{part}`");
    }
    assert!(!message.contains("panicked"), "{message}");
    assert!(!space.path("results").exists() && !space.path("reports").exists(), "partial output");
}

#[test]
fn broken_files_are_named_with_a_remedy_and_nothing_is_written() {
    let space = TinySpace::new();
    let photograph = |name: &str, seed: u32| {
        let path = space.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        image::RgbImage::from_fn(16, 16, |x, y| image::Rgb([(x * seed) as u8, (y * 9) as u8, seed as u8]))
            .save(path)
            .unwrap();
    };
    for (class, first) in [("cat", 20), ("dog", 40)] {
        (1..7).for_each(|index| photograph(&format!("photos/{class}/{index}.jpg"), first + index));
    }
    data(&space, "  format: image-folder\n  path: photos\n  split: {training: 6, validation: 2, evaluation: 2}\n");
    assert_eq!(space.run(&["check", "budget.yaml"]).status.code(), Some(0));

    let good = std::fs::read(space.path("photos/cat/3.jpg")).unwrap();
    // Which images a split draws is its seed's choice: all are drawn here.
    data(&space, "  format: image-folder\n  path: photos\n  split: {training: 8, validation: 2, evaluation: 2}\n");
    space.write("photos/cat/3.jpg", b"");
    refused(&space, &["cat/3.jpg` is empty (0 bytes)", "replace or remove it"]);
    space.write("photos/cat/3.jpg", &good[..good.len() - 40]);
    refused(&space, &["cat/3.jpg` is truncated: the JPEG's end is missing", "fetch it again"]);
    space.write("photos/cat/3.jpg", b"GIF89a not a photograph");
    refused(&space, &["cannot decode", "cat/3.jpg` as a JPEG, PNG or WebP image"]);
    space.write("photos/cat/3.jpg", &good);
    photograph("photos/owl/1.jpg", 7);
    data(&space, "  format: image-folder\n  path: photos\n  split: {training: 6, validation: 3, evaluation: 3}\n");
    refused(
        &space,
        &["photos`: class `owl` has one image, which cannot be in three disjoint parts", "`split` asks for 2 + 1 + 1"],
    );
    std::fs::remove_dir_all(space.path("photos/owl")).unwrap();
    data(&space, "  format: image-folder\n  path: photos\n  split: {training: 9, validation: 2, evaluation: 2}\n");
    refused(&space, &["class `cat` has 6 images, `split` asks for 5 + 1 + 1", "lower `training`"]);
    data(&space, "  format: image-folder\n  path: photos\n  split: {training: 8, validation: 1, evaluation: 2}\n");
    refused(&space, &["`validation: 1` is less than the 2 classes", "at least 2"]);
    // The same photograph twice may come into two parts.
    data(&space, "  format: image-folder\n  path: photos\n  split: {training: 8, validation: 2, evaluation: 2}\n");
    (1..7).for_each(|index| space.write(&format!("photos/cat/{index}.jpg"), &good));
    refused(
        &space,
        &["images of the evaluation part are also in the validation part", "photos/cat/", "`duplicates: drop`"],
    );

    let split = "  split: {training: 20, validation: 10, evaluation: 10}\n";
    data(&space, &format!("  format: cifar10\n  path: batch.bin\n{split}"));
    space.write("batch.bin", &cifar(40, 1, |row| if row == 33 { 10 } else { (row % 10) as u8 }));
    refused(&space, &["batch.bin`: label 10 of image 33 (counted from 0) is not one of the 10 classes 0 to 9"]);
    space.write("batch.bin", &cifar(40, 1, |row| (row % 10) as u8)[..100_000]);
    refused(&space, &["batch.bin` has 100000 bytes", "no whole rows of 3073", "fetch it again"]);
    space.write("batch.bin", b"\x1f\x8b\x08\x00packed");
    refused(&space, &["batch.bin` is a packed archive: unpack it (`tar xzf`)"]);

    data(&space, &format!("  format: npz\n  path: a.npz\n{split}"));
    space.write("a.npz", &npz(40, 16)[..400]);
    refused(&space, &["a.npz` can't be read as a zip archive", "save it again"]);
    data(&space, &format!("  format: npz\n  path: a.npz\n  classes: [a, b, c]\n{split}"));
    space.write("a.npz", &npz(40, 16));
    refused(&space, &["a.npz`: label 3 of image 3 (counted from 0) is not one of the 3 classes 0 to 2"]);

    data(&space, &format!("  format: parquet\n  path: a.parquet\n{split}"));
    space.write("a.parquet", &HUB[..HUB.len() / 2]);
    refused(&space, &["a.parquet` can't be read as Parquet: it is another file, truncated or damaged; fetch it again"]);
    space.write("a.parquet", HUB);
    refused(
        &space,
        &["a.parquet` has no column `image` of encoded images", "`img.bytes` (BYTE_ARRAY)", "`image_column`"],
    );
    data(&space, &format!("  format: parquet\n  path: a.parquet\n  image_column: img\n{split}"));
    refused(&space, &["a.parquet`: class `cat` has 12 images, `split` asks for 10 + 5 + 5"]);
}
