//! Every message that a user can be refused with, in one place to be read: `snapshots/*.snap`.
//!
//! A changed message fails here; `INSTA_UPDATE=always cargo test --release errors` accepts the new ones. Each block says what was
//! changed in a folder that is in order, the command, its exit code, and what it said.

use std::fmt::Write as _;

use crate::support::{TRAINING, TinySpace, idx, images, weights};

/// A folder in order, and what was said of it once it was not.
struct Book {
    space: TinySpace,
    text: String,
}

/// What is done to a file.
enum Change<'a> {
    /// Nothing.
    None,
    /// A piece of text becomes another.
    Edit(&'a str, &'a str, &'a str),
    /// The file has other bytes, described.
    Bytes(&'a str, Vec<u8>, &'a str),
    /// The file goes.
    Gone(&'a str),
}

impl Book {
    fn new() -> Self {
        let space = TinySpace::new();
        // A path whose length is the same everywhere, as the carets' places are.
        space.write("w.safetensors", &std::fs::read(weights()).expect("the repository's weights"));
        space.edit("space.yaml", &weights().display().to_string(), "w.safetensors");
        Self { space, text: String::new() }
    }

    /// One refusal.
    fn refused(&mut self, change: &Change<'_>, command: &str) {
        let (file, said) = match change {
            Change::None => (None, String::new()),
            Change::Edit(file, from, to) => (Some(*file), format!("{file}: `{from}` becomes `{to}`\n")),
            Change::Bytes(file, _, what) => (Some(*file), format!("{file}: {what}\n")),
            Change::Gone(file) => (Some(*file), format!("{file}: removed\n")),
        };
        let before = file.map(|file| std::fs::read(self.space.path(file)).ok());
        match change {
            Change::None => {}
            Change::Edit(file, from, to) => self.space.edit(file, from, to),
            Change::Bytes(file, bytes, _) => self.space.write(file, bytes),
            Change::Gone(file) => std::fs::remove_file(self.space.path(file)).expect("the file is there"),
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = self.space.command(&words).env("COLUMNS", "120").output().expect("the program starts");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().expect("it was not killed");
        assert!(code == 2 && !message.contains("panicked"), "{said}{command}: {code}: {message}");
        let message = message
            .replace(self.space.path("").to_str().expect("a path of text"), "FOLDER/")
            .replace(env!("CARGO_MANIFEST_DIR"), "REPOSITORY");
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "{said}$ privynet {command}\n{}\n", message.replace('\\', "/").trim_end());
        match (file, before.flatten()) {
            (Some(file), Some(bytes)) => self.space.write(file, &bytes),
            (Some(file), None) => std::fs::remove_file(self.space.path(file)).expect("it was written"),
            (None, _) => {}
        }
    }

    /// `check` refuses the budget or space once `from` is `to`.
    fn after(&mut self, file: &str, changes: &[(&str, &str)]) {
        for (from, to) in changes {
            self.refused(&Change::Edit(file, from, to), "check budget.yaml");
        }
    }
}

#[test]
fn of_budgets() {
    let mut book = Book::new();
    book.after(
        "budget.yaml",
        &[
            ("seed: 1", "sed: 1"),
            ("seed: 1", "objectives: accuracy"),
            ("seed: 1", "seed: one"),
            ("seed: 1", "seed: 1\nseed: 2"),
            ("seed: 1", "seed: ["),
            ("seed: 1", "seed: \"1"),
            ("seed: 1", "objective: speed"),
            ("seed: 1", "strategy: modle"),
            ("seed: 1", "memory: 3 MW"),
            ("30 MMAC", "30"),
            ("30 MMAC", "30 MMACS"),
            ("30 MMAC", "-30 MMAC"),
            ("30 MMAC", "0 MAC"),
            ("30 MMAC", "many"),
            ("300 KiB", ".nan"),
            ("300 KiB", "300 dB"),
            ("name: tiny", "name: ../tiny"),
            ("name: tiny", "latency: 5 ms"),
            ("name: tiny", "latency: {max: 5 ms}"),
            ("name: tiny", "latency: {max: 0 ms, profile: d.yaml}"),
            ("name: tiny", "latency: {max: 5 ms, profile: d.yaml}"),
            ("  psnr: {mean: 95 dB}", "\tpsnr: {mean: 95 dB}"),
            ("{mean: 95 dB}", "{}"),
            ("{mean: 95 dB}", "{meen: 95 dB}"),
            ("{mean: 95 dB}", "95 dB"),
            ("{mean: 95 dB}", "{mean: 95 dB, p95: 50 dB}"),
            ("confidence: 0.9", "confidence: 95"),
            ("confidence: 0.9", "confidence: sure"),
            ("confidence: 0.9", "ssim: 3"),
            ("confidence: 0.9", "attacker: {pairs: 3}"),
            ("confidence: 0.9", "attacker: {pairs: 0, knows_local_net: false}"),
            ("confidence: 0.9", "attacker: {pairs: 300}"),
            ("confidence: 0.9", "attacker: {knows_channels: false}"),
            ("confidence: 0.9", "attacker: strong"),
            ("{evaluations: 3}", "quik"),
            ("{evaluations: 3}", "{evaluations: 0}"),
            ("{evaluations: 3}", "{minutes: -3}"),
            ("{evaluations: 3}", "{evalutions: 3}"),
            ("space: space.yaml\n", ""),
            ("space: space.yaml", "space: spaces.yaml"),
        ],
    );
    book.refused(&Change::Bytes("budget.yaml", Vec::new(), "empty"), "check budget.yaml");
    book.refused(&Change::Bytes("budget.yaml", vec![0xff, 0xfe, 0], "no text"), "check budget.yaml");
    book.refused(&Change::None, "check bugdet.yaml");
    insta::assert_snapshot!("budgets", book.text);
}

#[test]
fn of_spaces() {
    let mut book = Book::new();
    book.after(
        "space.yaml",
        &[
            ("conv1_2:", "conv1-2x:"),
            ("conv1_2:", "conv9_9:"),
            ("[4, 8]", "[4, 80]"),
            ("[4, 8]", "[4, -8]"),
            ("[4, 8]", "[0]"),
            ("[4, 8]", "4"),
            ("  conv2_1: [4]", "  conv1_2: [4]"),
            ("fisher: true", "fischer: true"),
            ("fisher: true", "fisher: yes please"),
            ("fisher: true", "balanced: [200]"),
            ("fisher: true", "random: 2000000"),
            ("{first: true, fisher: true}", "{first: false}"),
            ("data:", "precision: {weights: int4}\ndata:"),
            ("vgg16,", "vgg61,"),
            ("architecture: vgg16, ", ""),
            ("architecture: vgg16, weights: w.safetensors", "architecture: vgg16"),
            ("weights: w.safetensors", "weights: w.onnx"),
            ("architecture: vgg16, weights: w.safetensors", "weights: w.onnx"),
            ("w.safetensors", "v.safetensors"),
            ("w.safetensors}", "w.safetensors, colours: gbr}"),
            ("w.safetensors}", "w.safetensors, preprocess: imagnet}"),
            ("w.safetensors}", "w.safetensors, preprocess: {mean: [123, 117, 104], std: [58, 57, 57]}}"),
            ("w.safetensors}", "w.safetensors, revision: main}"),
            ("weights: w.safetensors", "hub: ../vgg16"),
            ("format: idx", "format: idxx"),
            ("format: idx\n", ""),
            ("format: idx", "format: image-folder"),
            ("format: idx", "format: idx\n  pad_to: 20"),
            ("format: idx", "format: idx\n  resize: {to: 32}"),
            ("format: idx", "format: idx\n  labels: fine"),
            ("format: idx", "format: idx\n  image_column: img"),
            ("format: idx", "format: idx\n  classes: [a, b, c]"),
            ("format: idx", "format: idx\n  whole: {}"),
            ("format: idx", "format: idx\n  split: {training: 9, validation: 9, evaluation: 9}"),
            ("training-images,", "trainin-images,"),
        ],
    );
    book.after("space.yaml", &[("fisher: true}\n", "mixed: [1]}\nprecision: {weights: int8}\n")]);
    insta::assert_snapshot!("spaces", book.text);
}

#[test]
fn of_images_and_weights() {
    let mut book = Book::new();
    let (pixels, labels) = images(TRAINING, 1);
    let check = "check budget.yaml";
    let short = |bytes: &[u8], by: usize| bytes[..bytes.len() - by].to_vec();
    book.refused(&Change::Gone("training-images"), check);
    book.refused(&Change::Bytes("training-images", short(&pixels, 1), "a byte short"), check);
    book.refused(&Change::Bytes("training-images", b"no images".to_vec(), "no IDX file"), check);
    book.refused(&Change::Bytes("training-labels", short(&labels, 4), "four labels short"), check);
    book.refused(&Change::Bytes("evaluation-labels", idx(&[31], &[0; 31]), "one label fewer"), check);
    book.refused(&Change::Bytes("evaluation-images", images(32, 1).0, "training images again"), check);
    let whole = std::fs::read(weights()).expect("the repository's weights");
    book.refused(&Change::Gone("w.safetensors"), check);
    book.refused(&Change::Bytes("w.safetensors", short(&whole, whole.len() / 2), "half of it"), check);
    book.refused(&Change::Bytes("w.safetensors", b"no weights at all".to_vec(), "no safetensors file"), check);
    insta::assert_snapshot!("images-and-weights", book.text);
}

#[test]
fn of_flags() {
    let mut book = Book::new();
    std::fs::create_dir_all(book.space.path("results/tiny-one")).expect("a folder");
    book.space.write("results/tiny-one/study.json", b"{}");
    std::fs::create_dir_all(book.space.path("results/tiny")).expect("a folder");
    book.space.write("results/tiny/thesis.txt", b"no study");
    book.space.write("occupied", b"a file where a folder should be");
    let measure = "measure --space space.yaml --split";
    for command in [
        "optimise budget.yaml".to_owned(),
        "optimize".to_owned(),
        "optimize budget.yaml --frsh".to_owned(),
        "optimize budget.yaml --device gpu".to_owned(),
        "optimize budget.yaml --threads 0".to_owned(),
        "optimize budget.yaml --jobs 0".to_owned(),
        "optimize budget.yaml --feature-cache 20".to_owned(),
        "optimize budget.yaml --results occupied".to_owned(),
        "optimize budget.yaml".to_owned(),
        "check budget.yaml --json=yes".to_owned(),
        "schema bugdet".to_owned(),
        "completions tcsh".to_owned(),
        "man --out occupied".to_owned(),
        "show tiny-on".to_owned(),
        "show tiny-one".to_owned(),
        "show elsewhere --results nowhere".to_owned(),
        "watch tiny-one --every 0".to_owned(),
        "compare tiny-one".to_owned(),
        "export tiny-on --out package".to_owned(),
        "features nowhere photo.png".to_owned(),
        "audit nowhere".to_owned(),
        "score nowhere elsewhere".to_owned(),
        "init --data nowhere".to_owned(),
        "init --data . --architecture resnet18".to_owned(),
        "profile --space space.yaml --seconds -1".to_owned(),
        "profile --space space.yaml --side 0".to_owned(),
        "profile --space space.yaml --threads 0".to_owned(),
        format!("{measure} conv7 --depth 4"),
        format!("{measure} conv1_2"),
        format!("{measure} conv1_2 --depth 65"),
        format!("{measure} conv1_2 --channels 3,3"),
        format!("{measure} conv1_2 --channels 64"),
        format!("{measure} conv1_2 --depth 4 --selection fishr"),
        format!("{measure} conv1_2 --depth 4 --selection random"),
        format!("{measure} conv1_2 --depth 4 --protocol referense"),
    ] {
        book.refused(&Change::None, &command);
    }
    insta::assert_snapshot!("flags", book.text);
}

#[test]
fn of_replays() {
    let mut book = Book::new();
    book.space.write("table.csv", b"split,depth,accuracy,psnr\na,4,0.5,20\na,8,0.6,21\nb,4,0.7,19\nb,8,0.8,22\n");
    book.space.write(
        "replay.yaml",
        b"parameters: [depth]\ncategory: split\nobjectives: [{column: accuracy, goal: maximize}]\n\
          constraints:\n  - {column: psnr, max: 21}\n",
    );
    let replay = "replay table.csv --budget replay.yaml";
    for (file, from, to) in [
        ("replay.yaml", "column: psnr", "column: pnsr"),
        ("replay.yaml", "max: 21", "above: 21"),
        ("replay.yaml", "max: 21", "max: .inf"),
        ("replay.yaml", "max: 21", "max: 21, min: 3"),
        ("replay.yaml", "goal: maximize", "goal: maximise"),
        ("replay.yaml", "[{column: accuracy, goal: maximize}]", "[]"),
        ("replay.yaml", "parameters: [depth]\ncategory: split\n", "parameters: []\n"),
        ("replay.yaml", "category: split\n", "category: split\ninitial: 0\n"),
        ("table.csv", "a,4,0.5,20", "a,4,x,20"),
        ("table.csv", "a,4,0.5,20", "a,4,0.5"),
        ("table.csv", "split,depth", "depth,depth"),
    ] {
        book.refused(&Change::Edit(file, from, to), replay);
    }
    book.refused(&Change::Bytes("table.csv", b"split,depth,accuracy,psnr\n".to_vec(), "no rows"), replay);
    for command in [
        "replay table.txt --budget replay.yaml",
        "replay tables.csv --budget replay.yaml",
        "replay table.csv --budget replay.yaml --evaluations 0",
        "replay table.csv --budget replay.yaml --strategy modle",
        "replay table.csv --budget replay.yaml --screening table.csv",
        "replay table.csv --budget replay.yaml --screening table.csv --screening-cost 2 --key depth",
        "replay table.csv --budget replay.yaml --plot p.svg --beside nowhere.jsonl",
        "replay table.csv --budget replay.yaml --plot p.svg --beside table.csv",
    ] {
        book.refused(&Change::None, command);
    }
    insta::assert_snapshot!("replays", book.text);
}
