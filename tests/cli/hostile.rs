//! Studies and files of others: what they hold is shown, and never obeyed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::example_conclusion;

/// A name that a terminal, a page or a table may take for something else.
const NAME: &str = "</script><script>alert(1)</script>\u{1b}[2J\u{9b}31m\u{202e}\"'&,\n=x";

fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privynet"));
    command.args(words).env_remove("RUST_BACKTRACE").output().expect("the program starts")
}

/// The example study with other names in its conclusion.
fn study() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("what the test made is there");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/example");
    let dir = folder.path().join("results/s");
    std::fs::create_dir_all(dir.join("blobs")).expect("what the test made is there");
    for name in ["study.json", "journal.jsonl"] {
        std::fs::copy(example.join(name), dir.join(name)).expect("what the test made is there");
    }
    for entry in std::fs::read_dir(example.join("blobs")).expect("what the test made is there") {
        let path = entry.expect("what the test made is there").path();
        std::fs::copy(&path, dir.join("blobs").join(path.file_name().expect("what the test made is there")))
            .expect("what the test made is there");
    }
    let path = dir.join("blobs/conclusion.json");
    let mut record = example_conclusion();
    record["study"] = NAME.into();
    record["binding"] = NAME.into();
    record["warnings"] = vec![NAME].into();
    for field in ["command", "architecture", "budget_file", "space_file", "device", "machine", "version"] {
        record["provenance"][field] = NAME.into();
    }
    for class in record["provenance"]["classes"].as_array_mut().expect("what the test made is there") {
        *class = format!("{NAME}{}", class.as_str().expect("what the test made is there")).into();
    }
    for design in record["designs"].as_array_mut().expect("what the test made is there") {
        design["selection"] = NAME.into();
        design["reason"] = NAME.into();
        design["design"]["split"] =
            format!("{NAME}{}", design["design"]["split"].as_str().expect("what the test made is there")).into();
    }
    record["verdicts"][0]["objections"] = vec![NAME].into();
    std::fs::write(&path, serde_json::to_vec(&record).expect("what the test made is there"))
        .expect("what the test made is there");
    folder
}

fn privynet(folder: &Path, words: &[&str]) -> Output {
    let [results, reports] = ["results", "reports"].map(|name| folder.join(name));
    let folders = [
        "--results",
        results.to_str().expect("what the test made is there"),
        "--reports",
        reports.to_str().expect("what the test made is there"),
    ];
    run(&[words, &folders].concat())
}

/// Whether a terminal would obey any of it.
fn commands(bytes: &[u8]) -> Vec<char> {
    let text = String::from_utf8(bytes.to_vec()).expect("what the test made is there");
    text.chars().filter(|c| c.is_control() && *c != '\n' || matches!(c, '\u{202a}'..='\u{202e}')).collect()
}

#[test]
fn a_terminal_gets_no_commands_of_a_study() {
    let folder = study();
    for words in [
        &["show", "s"][..],
        &["show", "s", "--csv"],
        &["show", "s", "--json"],
        &["show", "s", "--pareto"],
        &["report", "s"],
    ] {
        let found = privynet(folder.path(), words);
        assert!(found.status.success(), "{words:?}: {}", String::from_utf8_lossy(&found.stderr));
        assert_eq!(commands(&found.stdout), [], "{words:?}");
        assert_eq!(commands(&found.stderr), [], "{words:?}");
    }
    // A table of numbers stays one: as many fields in every line.
    let found = privynet(folder.path(), &["show", "s", "--csv"]).stdout;
    let mut reader = csv::Reader::from_reader(&found[..]);
    assert!(
        reader.records().count() > 10 && csv::Reader::from_reader(&found[..]).records().all(|record| record.is_ok())
    );
}

#[test]
fn a_page_and_its_plots_run_nothing_of_a_study() {
    let folder = study();
    let found = privynet(folder.path(), &["report", "s"]);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let mut seen = 0;
    let mut folders: Vec<PathBuf> = vec![folder.path().join("reports")];
    while let Some(dir) = folders.pop() {
        for entry in std::fs::read_dir(dir).expect("what the test made is there") {
            let path = entry.expect("what the test made is there").path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|ending| ["html", "svg", "json", "csv"].iter().any(|known| ending == *known))
            {
                let text = std::fs::read_to_string(&path).expect("what the test made is there");
                assert!(!text.contains("<script>alert"), "{}", path.display());
                assert!(!text.contains("</script><script"), "{}", path.display());
                assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

#[cfg(unix)]
#[test]
fn files_without_an_end_are_not_read_to_it() {
    let folder = tempfile::tempdir().expect("what the test made is there");
    for name in ["b.yaml", "n.onnx", "x.csv", "x.parquet"] {
        std::os::unix::fs::symlink("/dev/zero", folder.path().join(name)).expect("what the test made is there");
    }
    let at = |name: &str| folder.path().join(name).to_str().expect("what the test made is there").to_owned();
    let found = run(&["check", &at("b.yaml")]);
    assert_eq!(found.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&found.stderr).contains("at most 1048576 bytes"), "{found:?}");
    let space = "backbone: {weights: n.onnx, preprocess: imagenet}\nsplits: {a: [1]}\nselections: {first: true}\n\
        data: {format: image-folder, path: ., split: {training: 1, validation: 1, evaluation: 1}}\n";
    std::fs::write(folder.path().join("space.yaml"), space).expect("what the test made is there");
    let budget = "space: space.yaml\nobjective: accuracy\nprivacy: {psnr: {mean: 20 dB}}\neffort: quick\nseed: 1\n";
    std::fs::write(folder.path().join("budget.yaml"), budget).expect("what the test made is there");
    let found = run(&["check", &at("budget.yaml")]);
    let text = String::from_utf8_lossy(&found.stderr).into_owned();
    assert!(found.status.code() == Some(2) && text.contains("n.onnx` cannot be read"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_package_made_of_links_is_not_followed() {
    let folder = tempfile::tempdir().expect("what the test made is there");
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("manifest.json")).expect("what the test made is there");
    let photo = folder.path().join("photo.png");
    image::RgbImage::new(16, 16).save(&photo).expect("what the test made is there");
    let found = run(&[
        "features",
        folder.path().to_str().expect("what the test made is there"),
        photo.to_str().expect("what the test made is there"),
    ]);
    assert!(found.status.code() == Some(2), "{found:?}");
    assert!(String::from_utf8_lossy(&found.stderr).contains("it is a link"), "{found:?}");
}
