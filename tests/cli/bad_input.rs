//! Every kind of bad input gets a message that names file, field, value and remedy, and exit code 2.

use std::path::Path;

use crate::support::{TRAINING, TinySpace, idx, images, stderr, weights};

/// Runs `arguments` and checks that it is refused with all of `parts` in the message.
fn refused(space: &TinySpace, arguments: &[&str], parts: &[&str]) {
    let output = space.run(arguments);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{arguments:?}: `{message}` lacks `{part}`");
    }
    assert!(!message.contains("panicked"), "{message}");
}

/// After one edit of a file, `check` refuses.
fn refused_after(file: &str, from: &str, to: &str, parts: &[&str]) {
    let space = TinySpace::new();
    space.edit(file, from, to);
    refused(&space, &["check", "budget.yaml"], parts);
}

#[test]
fn budget_mistakes() {
    refused_after("budget.yaml", "seed: 1", "seeds: 1", &["budget.yaml:3", "`seeds`", "expected one of"]);
    refused_after("budget.yaml", "30 MMAC", "30", &["budget.yaml:4", "compute", "no unit", "30 MMAC"]);
    refused_after("budget.yaml", "30 MMAC", "-30 MMAC", &["budget.yaml:4", "-30 MMAC", "at least 0"]);
    refused_after("budget.yaml", "300 KiB", ".nan", &["budget.yaml:5", "storage", "finite"]);
    refused_after("budget.yaml", "privacy:", "privacy: [", &["budget.yaml:"]);
    refused_after("budget.yaml", "space.yaml", "nowhere.yaml", &["nowhere.yaml", "cannot be read"]);
}

#[test]
fn a_tail_that_so_few_images_cannot_confirm() {
    let parts = ["budget.yaml", "privacy.psnr.p95", "32 evaluation images", "at least 8", "bound the mean only"];
    refused_after("budget.yaml", "{mean: 95 dB}", "{mean: 95 dB, p95: 50 dB}", &parts);
}

#[test]
fn space_mistakes() {
    refused_after("space.yaml", "conv1_2:", "conv1_9:", &["space.yaml", "conv1_9", "did you mean `conv1_"]);
    refused_after("space.yaml", "[4, 8]", "[4, 80]", &["splits.conv1_2", "80", "64 output channels"]);
    refused_after("space.yaml", "fisher: true", "best: true", &["space.yaml", "`best`", "`pruned-random`"]);
    refused_after("space.yaml", "vgg16,", "vgg61,", &["backbone.architecture", "vgg61", "vgg16"]);
}

#[test]
fn backbone_mistakes() {
    let onnx = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/onnx/vgg.onnx");
    let check = |backbone: &str, parts: &[&str]| {
        let space = TinySpace::new();
        let of_vgg16 = format!("{{architecture: vgg16, weights: {}}}", weights().display());
        space.edit("space.yaml", &of_vgg16, &backbone.replace("NET", onnx.to_str().unwrap()));
        refused(&space, &["check", "budget.yaml"], parts);
    };
    check(
        "{weights: nowhere.onnx, preprocess: unit}",
        &["space.yaml:", "backbone.weights: the ONNX file `", "nowhere.onnx", "exists"],
    );
    check("{weights: NET}", &["space.yaml:", "backbone", "vgg.onnx", "`preprocess`", "imagenet", "mean: [R, G, B]"]);
    check(
        "{architecture: vgg16, weights: NET, preprocess: unit}",
        &["space.yaml:", "backbone.architecture: vgg16", "ONNX", "leave this line out"],
    );
    check(
        "{weights: NET, preprocess: imagnet}",
        &["space.yaml:1:", "backbone.preprocess", "imagenet", "{mean: [R, G, B]"],
    );
    check(
        "{weights: NET, preprocess: {mean: [0, 0], std: [1, 1, 1]}}",
        &["space.yaml:1:", "backbone.preprocess", "length 2", "length 3"],
    );
    check(
        "{weights: NET, preprocess: {mean: [123, 117, 104], std: [58, 57, 57]}}",
        &["space.yaml:", "backbone.preprocess", "123", "divide them by 255"],
    );
    check(
        "{weights: NET, preprocess: unit, colours: gbr}",
        &["space.yaml:1:", "backbone.colours", "`gbr`", "`rgb`", "`bgr`"],
    );
    check(
        "{weights: NET, preprocess: unit}",
        &["space.yaml:", "splits.conv1_2", "has no layer `conv1_2`", "its layers are"],
    );
    check("{weights: w.safetensors}", &["space.yaml:", "backbone", "w.safetensors", "`architecture`", "resnet18"]);
    check("vgg16", &["space.yaml:1:", "backbone", "\"vgg16\"", "{architecture: vgg16, weights: FILE}"]);
}

#[test]
fn lists_and_keys_of_a_space() {
    refused_after(
        "space.yaml",
        "  conv2_1: [4]",
        "  conv1_2: [4]",
        &["space.yaml:", "splits", "`conv1_2` is named twice"],
    );
    refused_after("space.yaml", "[4, 8]", "4", &["space.yaml:3:", "splits.conv1_2", "integer `4`", "such as [16, 64]"]);
    refused_after(
        "space.yaml",
        "data:",
        "precision: {}\nprecision: {}\ndata:",
        &["space.yaml:", "duplicate field `precision`", "write it once"],
    );
    refused_after("space.yaml", "format: idx", "format: idx\n  pad_to: 0", &["data.pad_to: 0", "multiple of 16"]);
    refused_after("space.yaml", "format: idx", "format: idx\n  resize: {to: 0}", &["data.resize: 0", "resize"]);
    refused_after(
        "space.yaml",
        "format: idx",
        "format: image-folder\n  resize: {to: 0}",
        &["space.yaml:", "data.resize: 0", "from 16 to 1024"],
    );
    refused_after("space.yaml", "format: idx", "format: idx\n  resize: 32", &["space.yaml:", "data.resize", "{to: 64"]);
}

#[test]
fn weight_mistakes() {
    let space = TinySpace::new();
    let check = |file: &str, parts: &[&str]| {
        refused(&space, &["check", "budget.yaml", "--weights", space.path(file).to_str().unwrap()], parts);
    };
    check("missing.safetensors", &["missing.safetensors", "exists"]);
    let whole = std::fs::read(weights()).unwrap();
    space.write("short.safetensors", &whole[..whole.len() / 2]);
    check("short.safetensors", &["short.safetensors"]);
    space.write("text.safetensors", b"these are not weights");
    check("text.safetensors", &["text.safetensors"]);
    // The first value of the first tensor's data becomes a half-precision NaN.
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut nan = whole.clone();
    nan[header..header + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
    space.write("nan.safetensors", &nan);
    check("nan.safetensors", &["nan.safetensors", "conv1_1"]);
    // The header says another shape of the same size.
    let text = String::from_utf8_lossy(&whole[8..header]).replace("[64,3,3,3]", "[3,64,3,3]");
    assert_eq!(text.len(), header - 8);
    let mut shape = whole;
    shape[8..header].copy_from_slice(text.as_bytes());
    space.write("shape.safetensors", &shape);
    check("shape.safetensors", &["conv1_1.weight", "[64, 3, 3, 3]"]);
}

#[test]
fn data_mistakes() {
    let check = |change: &dyn Fn(&TinySpace), parts: &[&str]| {
        let space = TinySpace::new();
        change(&space);
        refused(&space, &["check", "budget.yaml"], parts);
    };
    check(&|s| std::fs::remove_file(s.path("training-images")).unwrap(), &["training-images", "exists"]);
    let (pixels, labels) = images(TRAINING, 1);
    check(&|s| s.write("training-images", &pixels[..pixels.len() - 1]), &["training-images", "truncated", "expected"]);
    let three: Vec<u8> = (0..TRAINING as u8).map(|i| i % 3).collect();
    let without_d = |s: &TinySpace| {
        s.edit("space.yaml", "format: idx", "format: idx\n  classes: [a, b, c, d]");
        s.write("training-labels", &idx(&[TRAINING as u32], &three));
    };
    check(&without_d, &["training", "class", "d"]);
    check(&|s| s.write("training-labels", &labels[..labels.len() - 4]), &["training-labels", "truncated"]);
    check(&|s| s.write("evaluation-labels", &idx(&[31], &[0; 31])), &["31", "32"]);
    check(&|s| s.edit("space.yaml", "format: idx", "format: idx\n  classes: [a, b, c]"), &["label 3", "3 classes"]);
    let (overlap, _) = images(32, 1);
    check(&|s| s.write("evaluation-images", &overlap), &["evaluation", "training", "drop"]);
}

#[test]
fn flags_and_folders() {
    let space = TinySpace::new();
    refused(&space, &["optimize", "budget.yaml", "--device", "gpu"], &["gpu", "cuda"]);
    refused(&space, &["optimize", "budget.yaml", "--threads", "0"], &["--threads 0", "between 1"]);
    refused(&space, &["optimize", "budget.yaml", "--fast"], &["--fast"]);
    refused(
        &space,
        &["measure", "--space", "space.yaml", "--split", "conv1_2", "--depth", "65"],
        &["--depth 65", "64 output channels"],
    );
    refused(&space, &["measure", "--space", "space.yaml", "--split", "conv7", "--depth", "6"], &["conv7", "conv1_2"]);
    refused(&space, &["show", "nothing"], &["nothing"]);
    space.write("occupied", b"a file where a folder should be");
    refused(&space, &["optimize", "budget.yaml", "--results", "occupied"], &["occupied"]);
    std::fs::create_dir_all(space.path("results/tiny")).unwrap();
    space.write("results/tiny/thesis.txt", b"not a study");
    refused(&space, &["optimize", "budget.yaml"], &["results/tiny"]);
    assert!(space.path("results/tiny/thesis.txt").exists());
}

#[test]
fn no_cuda_in_this_binary_is_said_plainly() {
    if cfg!(feature = "cuda") {
        return;
    }
    let space = TinySpace::new();
    let arguments = ["measure", "--space", "space.yaml", "--split", "conv1_2", "--depth", "4", "--device", "cuda"];
    refused(&space, &arguments, &["cuda", "feature"]);
}
