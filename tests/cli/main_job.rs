//! The main job on a tiny space: search, verify, report, show, export, run; kill and resume; repeat.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{SIDE, TinySpace, json, stderr};
use serde_json::Value;

fn optimize(space: &TinySpace, folder: &str) -> Value {
    let results = format!("{folder}/results");
    let reports = format!("{folder}/reports");
    let output = space.run(&["optimize", "budget.yaml", "--json", "--results", &results, "--reports", &reports]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stderr(&output), String::from_utf8_lossy(&output.stdout));
    json(&output)
}

/// What must not depend on when, where and how often a study ran.
fn answer(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.remove("report");
    }
    object
}

/// A folder of classes, PNG images of 24×20 that grow brighter from class to class, in place of the tiny space's IDX files.
fn photographs(space: &TinySpace) {
    for (part, count, seed) in [("training", 200u32, 1u32), ("validation", 32, 2), ("evaluation", 32, 3)] {
        for index in 0..count {
            let class = index % 4;
            let folder = space.path(&format!("{part}/class-{class}"));
            std::fs::create_dir_all(&folder).expect("the photographs of a test");
            let mut state = 40_503 * (seed * 1_000 + index) + 1;
            let photograph = image::RgbImage::from_fn(24, 20, |_, _| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                image::Rgb([(state >> 25) as u8 + 30 * class as u8; 3])
            });
            photograph.save(folder.join(format!("{index:03}.png"))).expect("the photographs of a test");
        }
    }
    let text = std::fs::read_to_string(space.path("space.yaml")).expect("the photographs of a test");
    let head = text.split("data:").next().expect("the photographs of a test");
    let data = "data:\n  format: image-folder\n  resize: {to: 16}\n  training: {folder: training}\n  \
                validation: {folder: validation}\n  evaluation: {folder: evaluation}\n";
    space.write("space.yaml", format!("{head}{data}").as_bytes());
}

#[test]
fn photographs_of_any_size_go_from_the_space_to_the_package() {
    let space = TinySpace::new();
    photographs(&space);
    let found = optimize(&space, ".");
    assert!(found["chosen"].is_string() || found["design"].is_string() || found["status"] == "verified", "{found:#}");
    let export = space.run(&["export", "tiny", "--out", "package"]);
    assert_eq!(export.status.code(), Some(0), "{}", stderr(&export));
    let manifest: Value = serde_json::from_slice(&std::fs::read(space.path("package/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["preprocessing"]["resize"], serde_json::json!({"to": 16, "fit": "crop"}));
    // What the package makes of a photograph is what it makes of the square in its middle.
    let photograph = image::open(space.path("evaluation/class-1/001.png")).unwrap().to_rgb8();
    let scaled = image::imageops::resize(&photograph, 19, 16, image::imageops::FilterType::Triangle);
    image::imageops::crop_imm(&scaled, 2, 0, 16, 16).to_image().save(space.path("middle.png")).unwrap();
    let features = |file: &str| {
        let output = space.run(&["features", "package", file, "--out", "."]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let stem = std::path::Path::new(file).file_stem().unwrap().to_string_lossy().into_owned();
        std::fs::read(space.path(&format!("{stem}.features.npy"))).unwrap()
    };
    assert!(features("evaluation/class-1/001.png") == features("middle.png"));
    assert!(features("evaluation/class-1/001.png") != features("evaluation/class-1/005.png"));

    // Without the rule they are refused, with it as the remedy.
    space.edit("space.yaml", "  resize: {to: 16}\n", "");
    let output = space.run(&["check", "budget.yaml"]);
    let message = stderr(&output);
    assert!(output.status.code() == Some(2) && message.contains("resize: {to: SIDE}"), "{message}");
    space.edit("space.yaml", "format: image-folder\n", "format: image-folder\n  resize: {to: 20}\n");
    let output = space.run(&["check", "budget.yaml"]);
    let message = stderr(&output);
    assert!(output.status.code() == Some(2) && message.contains("multiple of 16"), "{message}");
}

#[test]
fn a_folder_of_photographs_becomes_a_space_that_is_checked_and_searched() {
    let space = TinySpace::new();
    photographs(&space);
    std::fs::create_dir(space.path("photos")).unwrap();
    for (part, name) in [("training", "train"), ("evaluation", "test")] {
        std::fs::rename(space.path(part), space.path(&format!("photos/{name}"))).unwrap();
    }
    let weights = crate::support::weights();
    let weights = weights.to_str().unwrap();
    let init = |data: &str| space.run(&["init", "--data", data, "--backbone", weights, "--out", "mine"]);
    let output = init("photos");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let check = space.run(&["check", "mine/budget.yaml", "--json"]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    let check = json(&check);
    // 50 images a class to learn from, ten of which go to validation; 8 to judge by.
    assert_eq!(check["images"], serde_json::json!([160, 40, 32]));
    // Nothing is left out before its owner has said what is too much.
    assert!(check["admitted"].as_u64().unwrap() >= 20 && check["admitted"] == check["enumerated"], "{check:#}");
    // The smallest study of it runs.
    space.edit("mine/budget.yaml", "effort: quick", "effort: {evaluations: 1}");
    space.edit("mine/budget.yaml", "mean: 20 dB", "mean: 95 dB");
    let output = space.run(&["optimize", "mine/budget.yaml", "--quiet"]);
    assert!(matches!(output.status.code(), Some(0 | 3 | 4)), "{}", stderr(&output));

    let again = stderr(&init("photos"));
    assert!(again.contains("mine/space.yaml") && again.contains("is there already"), "{again}");
    let output = init("photos/train/class-0");
    assert!(
        output.status.code() == Some(2) && stderr(&output).contains("holds no class folders"),
        "{}",
        stderr(&output)
    );
    let output = space.run(&["init", "--data", "photos", "--out", "other"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("--backbone"), "{}", stderr(&output));
}

#[test]
fn from_budget_to_running_package() {
    let space = TinySpace::new();
    let check = space.run(&["check", "budget.yaml", "--json"]);
    assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));
    let check = json(&check);
    assert_eq!(check["enumerated"], 6, "(2 + 1 depths) × 2 selections");

    let found = optimize(&space, ".");
    assert_eq!(found["status"], "verified");
    for metric in ["accuracy", "psnr_mean", "psnr_p95", "psnr_max", "ssim_mean"] {
        assert!(found["measured"][metric]["value"].is_f64(), "{metric}: {found:#}");
        assert!(found["predicted"][metric]["value"].is_f64(), "{metric}: {found:#}");
    }
    let limit = 40.0;
    assert!(found["measured"]["psnr_mean"]["value"].as_f64().unwrap() < limit);
    assert!(found["budget_used"]["compute"].as_f64().unwrap() <= 100.0);
    let page = std::fs::read_to_string(space.path(found["report"].as_str().unwrap())).unwrap();
    assert!(page.contains("tiny") && page.contains("<svg"));

    let csv = space.run(&["show", "tiny", "--csv"]);
    let text = String::from_utf8_lossy(&csv.stdout).into_owned();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert!((1 + 3..=1 + 6).contains(&rows.len()), "a header and the measured designs: {text}");
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    let column = |name: &str| rows[0].iter().position(|n| *n == name).unwrap();
    for row in &rows[1..] {
        let verified = row[column("standing")] == "verified";
        assert_eq!(!row[column("psnr_mean_upper")].is_empty(), verified, "only verification sets upper limits: {text}");
    }
    assert!(space.path("results/tiny/measurements.parquet").exists());

    let export = space.run(&["export", "tiny", "--out", "package"]);
    assert_eq!(export.status.code(), Some(0), "{}", stderr(&export));
    let again = space.run(&["export", "tiny", "--out", "package"]);
    assert_eq!(again.status.code(), Some(2), "a package is never overwritten");
    // The package stands alone: study and data are gone.
    std::fs::remove_dir_all(space.path("results")).unwrap();
    let picture: Vec<u8> = (0..SIDE * SIDE).map(|i| (i * 7 % 256) as u8).collect();
    image::save_buffer(space.path("picture.png"), &picture, SIDE as u32, SIDE as u32, image::ColorType::L8).unwrap();
    let features = space.run(&["features", "package", "picture.png"]);
    assert_eq!(features.status.code(), Some(0), "{}", stderr(&features));
    let bytes = std::fs::read(space.path("picture.features.npy")).unwrap();
    let numbers = (found["cost"]["upload_bytes"].as_u64().unwrap()) as usize;
    assert!(bytes.starts_with(b"\x93NUMPY") && bytes.len() == 128 + numbers, "{}", bytes.len());
    let manifest: Value = serde_json::from_slice(&std::fs::read(space.path("package/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["status"], "verified");
    assert_eq!(manifest["design"]["split"], found["design"]["split"]);

    // A changed package is refused.
    let mut net = std::fs::read(space.path("package/local_net.onnx")).unwrap();
    let last = net.len() - 1;
    net[last] ^= 1;
    std::fs::write(space.path("package/local_net.onnx"), net).unwrap();
    let damaged = space.run(&["features", "package", "picture.png"]);
    assert_eq!(damaged.status.code(), Some(2));
    assert!(stderr(&damaged).contains("hash"), "{}", stderr(&damaged));
}

#[test]
fn a_mixed_design_is_exported_and_audited() {
    let space = TinySpace::new();
    space.edit("space.yaml", "{first: true, fisher: true}", "{mixed: [1], mixed-relu: [0.5]}");
    let found = optimize(&space, ".");
    assert!(found["design"]["selection"].as_str().unwrap().starts_with("mixed-"), "{found:#}");
    assert!(found["design"]["channels"].is_null(), "{found:#}");
    // The exporter compares the folded net with the mixes of the whole layer.
    let export = space.run(&["export", "tiny", "--out", "package"]);
    assert_eq!(export.status.code(), Some(0), "{}", stderr(&export));

    let ladder = ["--attacks", "inversion,linear,kernel", "--json"];
    let study = space.run(&[&["audit", "tiny"], &ladder[..]].concat());
    let package = space.run(&[&["audit", "package", "--space", "space.yaml"], &ladder[..]].concat());
    let attacks = |object: &Value| -> Vec<String> {
        let findings = object["findings"].as_array().unwrap();
        findings.iter().map(|finding| finding["attack"].as_str().unwrap().to_owned()).collect()
    };
    for output in [&study, &package] {
        assert!(matches!(output.status.code(), Some(0 | 4)), "{}", stderr(output));
        let object = json(output);
        assert_eq!(attacks(&object), ["linear", "kernel", "inversion"]);
        assert_eq!(object["objections"].as_array().unwrap().is_empty(), output.status.code() == Some(0));
        assert!(!object["claims"].as_array().unwrap().is_empty());
    }
    assert_eq!(json(&study)["findings"][1]["psnr_mean"], json(&package)["findings"][1]["psnr_mean"]);
    assert!(space.path("reports/tiny-audit/index.html").exists());

    let other = space.run(&["audit", "package"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("--space"), "{}", stderr(&other));
}

#[test]
fn same_seed_same_answer_for_any_number_of_threads() {
    let space = TinySpace::new();
    let first = optimize(&space, "one");
    let output = space.run(&[
        "optimize",
        "budget.yaml",
        "--json",
        "--threads",
        "3",
        "--results",
        "two/results",
        "--reports",
        "two/reports",
    ]);
    assert_eq!(answer(&first), answer(&json(&output)));
}

#[test]
fn a_killed_study_resumes_to_the_same_answer() {
    let space = TinySpace::new();
    let whole = optimize(&space, "whole");
    let arguments = ["optimize", "budget.yaml", "--json", "--results", "broken/results", "--reports", "broken/reports"];
    let journal = space.path("broken/results/tiny/journal.jsonl");
    let lines = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    let mut child = space.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    // The journal's first line is its header; two more are two finished measurements.
    while lines() < 3 && start.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    // On Unix this is SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    let before = std::fs::read_to_string(&journal).unwrap();
    assert!(before.lines().count() >= 3, "nothing was measured in two minutes");
    let output = space.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(answer(&json(&output)), answer(&whole));
    let after = std::fs::read_to_string(&journal).unwrap();
    let kept: String = before.lines().filter(|l| l.ends_with('}')).map(|l| format!("{l}\n")).collect();
    assert!(after.starts_with(&kept), "finished measurements are kept as they were");
    let mut keys: Vec<String> = after
        .lines()
        .skip(1)
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|record| record["data"]["evaluation"].clone())
        .filter(|e| !e.is_null())
        .map(|e| format!("{} {} {}", e["design"], e["fidelity"], e["seed"]))
        .collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all, "no measurement is made twice");
}

#[test]
fn what_does_not_fit_exits_3_and_says_what_binds() {
    let space = TinySpace::new();
    space.edit("budget.yaml", "30 MMAC", "1 kMAC");
    let check = space.run(&["check", "budget.yaml"]);
    assert_eq!(check.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&check.stdout).contains("compute binds"));
    let output = space.run(&["optimize", "budget.yaml", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let object = json(&output);
    assert_eq!(object["status"], "infeasible");
    assert_eq!(object["binding"], "compute");
    assert!(object["warnings"][0].as_str().unwrap().contains("conv1_2 with 4 channels"), "{object:#}");
}

#[test]
fn a_leakage_bound_that_nothing_meets_exits_3() {
    let space = TinySpace::new();
    space.edit("budget.yaml", "95 dB", "3 dB");
    // Nor does the device reach every split.
    space.edit("budget.yaml", "30 MMAC", "10 MMAC");
    let output = space.run(&["optimize", "budget.yaml", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let object = json(&output);
    assert_eq!(object["binding"], "psnr_mean");
    let warnings = object["warnings"].to_string();
    assert!(warnings.contains("would be expected to hold with psnr_mean up to"), "what would have to give: {warnings}");
    assert!(warnings.contains("leave no design at conv2_1 (from"), "{warnings}");
}

#[test]
fn another_budget_does_not_write_into_a_study() {
    let space = TinySpace::new();
    optimize(&space, ".");
    space.edit("budget.yaml", "95 dB", "94 dB");
    let output = space.run(&["optimize", "budget.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("budget"), "{}", stderr(&output));
}

#[test]
fn the_example_study_can_be_read() {
    let space = TinySpace::new();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/results/example");
    let header = std::fs::read_to_string(format!("{example}/study.json")).expect("the example has a header");
    assert!(!header.contains("instruments"), "its measurements would be adopted by the README's first command");
    let show = space.run(&["show", example]);
    let text = String::from_utf8_lossy(&show.stdout).into_owned();
    assert_eq!(show.status.code(), Some(0), "{}", stderr(&show));
    assert!(text.contains("verified ← chosen"), "{text}");
    let report = space.run(&["report", example, "--reports", "again"]);
    assert_eq!(report.status.code(), Some(0), "{}", stderr(&report));
}

#[test]
fn measure_prints_the_reference_scripts_keys() {
    let space = TinySpace::new();
    let output = space.run(&[
        "measure",
        "--space",
        "space.yaml",
        "--split",
        "conv1_2",
        "--channels",
        "5,2,9",
        "--protocol",
        "quick",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let object = json(&output);
    for key in [
        "split",
        "depth",
        "seed",
        "accuracy",
        "psnr_mean",
        "psnr_p95",
        "psnr_max",
        "ssim_mean",
        "seconds_features",
        "seconds_attack",
        "seconds_task",
        "device",
    ] {
        assert!(!object[key].is_null(), "{key}: {object}");
    }
    assert_eq!(object["channels"], serde_json::json!([2, 5, 9]));
}
