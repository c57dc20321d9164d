//! `privynet score`, by figures that a pocket calculator gives.

use crate::support::{TinySpace, stderr};

/// A grey PNG of one level.
fn write(space: &TinySpace, name: &str, side: u32, level: u8) {
    let path = space.path(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
    image::RgbImage::from_pixel(side, side, image::Rgb([level; 3])).save(path).expect("a writable file");
}

#[test]
fn a_uniform_error_has_its_psnr() {
    let space = TinySpace::new();
    for (name, level) in [("a", 110), ("b", 120)] {
        write(&space, &format!("truth/{name}.png"), 16, 100);
        write(&space, &format!("guess/{name}.png"), 16, level);
    }
    let output = space.run(&["score", "truth", "guess", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (row, (name, error)) in rows.iter().zip([("a", 10.0f64), ("b", 20.0)]) {
        let expected = -20.0 * (error / 255.0).log10();
        assert!(row["name"] == name && (row["psnr"].as_f64().unwrap() - expected).abs() < 1e-3, "{row}");
    }
    let output = space.run(&["score", "truth", "guess"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("2 images") && text.contains("most exposed a (28.13 dB)"), "{text}");
}

#[test]
fn images_that_cannot_be_paired_are_named() {
    let space = TinySpace::new();
    write(&space, "truth/a.png", 16, 100);
    let refused = |parts: &[&str]| {
        let output = space.run(&["score", "truth", "guess"]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    refused(&["cannot read `guess`"]);
    write(&space, "guess/b.png", 16, 100);
    refused(&["guess", "no image here is named \"a\""]);
    write(&space, "guess/a.png", 18, 100);
    refused(&["a.png", "18 × 18", "16 × 16"]);
    space.write("guess/a.png", b"no image");
    refused(&["a.png"]);
}
