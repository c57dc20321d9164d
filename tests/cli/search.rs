//! Searching in tables, tables of whole spaces, and what one study's measurements are to the next.

use serde_json::Value;

use crate::support::{TinySpace, json, stderr};

/// A table of 90 designs of which the best feasible one is known, and a budget over it.
fn table(space: &TinySpace) {
    let mut csv = String::from("split,depth,draw,accuracy,psnr,macs\n");
    for split in 0..3 {
        for depth in 1..=6 {
            for draw in 0..5 {
                let wobble = f64::from((split * 31 + depth * 17 + draw * 7) % 11) / 11.0;
                let accuracy = 0.5 + 0.06 * f64::from(split) + 0.04 * f64::from(depth) + 0.01 * wobble;
                let psnr = 24.0 - 3.0 * f64::from(split) + 0.8 * f64::from(depth) + 0.5 * wobble;
                csv += &format!("conv{split},{depth},{draw},{accuracy},{psnr},{}\n", 10 * (split + 1));
            }
        }
    }
    space.write("table.csv", csv.as_bytes());
    space.write(
        "replay.yaml",
        b"parameters: [depth]\ncategory: split\ngroups: [split, depth]\n\
          objectives: [{column: accuracy, goal: maximize, scale: logit}]\n\
          constraints:\n  - {column: psnr, max: 25}\n  - {column: macs, max: 20, exact: true}\n",
    );
}

fn replay(space: &TinySpace, more: &[&str]) -> Vec<Value> {
    let arguments = [&["replay", "table.csv", "--budget", "replay.yaml"], more].concat();
    let output = space.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

#[test]
fn every_strategy_finds_feasible_rows_and_the_model_finds_the_best() {
    let space = TinySpace::new();
    table(&space);
    for strategy in ["model", "hierarchical", "random", "exhaustive"] {
        let found = replay(&space, &["--strategy", strategy, "--evaluations", "20", "--seed", "0,1,2"]);
        assert_eq!(found.len(), 3);
        for found in &found {
            assert_eq!(found["candidates"], 60, "the exact bound leaves two splits");
            assert_eq!(found["evaluations"], 20);
            let mut rows: Vec<u64> =
                found["history"].as_array().unwrap().iter().map(|step| step["row"].as_u64().unwrap()).collect();
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), 20, "{strategy} looks a row up twice");
            assert!(found["value"].as_f64().unwrap() <= found["exact"].as_f64().unwrap());
        }
        if strategy == "model" {
            assert!(found.iter().all(|found| found["share"].as_f64().unwrap() > 0.99), "{found:#?}");
            assert_eq!(found, replay(&space, &["--evaluations", "20", "--seed", "0,1,2"]), "a seed is a search");
        }
    }
}

#[test]
fn measured_designs_of_cifar10_need_few_lookups() {
    let space = TinySpace::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/spaces/cifar10-vgg16/table");
    let seeds: Vec<String> = (0..20).map(|seed| seed.to_string()).collect();
    // With lookups for 15 % of the designs that keep the exact bounds.
    for (budget, lookups) in [("private", 22), ("usual", 22), ("loose", 22), ("small-device", 12), ("thin-link", 6)] {
        let [table, budget] = [format!("{folder}/designs.parquet"), format!("{folder}/{budget}.yaml")];
        let lookups = lookups.to_string();
        let arguments =
            ["replay", &table, "--budget", &budget, "--evaluations", &lookups, "--seed", &seeds.join(","), "--brief"];
        let output = space.run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let found: Vec<Value> =
            String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(
            found
                .iter()
                .all(|found| 0.15 * found["candidates"].as_f64().unwrap() >= found["evaluations"].as_f64().unwrap())
        );
        let near = |found: &&Value| found["value"].as_f64().unwrap() >= found["exact"].as_f64().unwrap() - 0.01;
        let near = found.iter().filter(near).count();
        assert!(found.len() == 20 && near >= 18, "{budget}: {near} of {}", found.len());
    }
}

#[test]
fn screening_with_a_cheaper_table_finds_as_much() {
    let space = TinySpace::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/spaces/cifar10-vgg16/table");
    let file = |name: &str| format!("{folder}/{name}");
    let (table, budget, cheap) = (file("designs.parquet"), file("private.yaml"), file("designs-quick.parquet"));
    let run = |cost: &str, cheap: &str| {
        let arguments = ["replay", &table, "--budget", &budget, "--evaluations", "12", "--seed", "0,1,2,3"];
        space.run(&[&arguments[..], &["--screening", cheap, "--screening-cost", cost]].concat())
    };
    let output = run("0.25", &cheap);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let found: Value = serde_json::from_str(line).unwrap();
        assert!(found["value"].as_f64().unwrap() >= found["exact"].as_f64().unwrap() - 0.01, "{found}");
        let (full, screened) = (found["evaluations"].as_f64().unwrap(), found["screenings"].as_f64().unwrap());
        let history = found["history"].as_array().unwrap();
        assert!(screened > 3.0 && full + 0.25 * screened <= 12.0 && history.len() as f64 == full + screened);
        // What was only screened is no answer.
        let answer = &found["answer"][0];
        assert!(history.iter().any(|step| step["row"] == *answer && step["screening"] == false));
    }
    for (cost, cheap, part) in [
        ("1.5", cheap.as_str(), "--screening-cost"),
        ("0.25", budget.as_str(), ".csv or .parquet"),
        ("0.25", table.as_str(), ""),
    ] {
        let output = run(cost, cheap);
        let message = stderr(&output);
        assert!(
            output.status.code() == Some(if part.is_empty() { 0 } else { 2 }) && message.contains(part),
            "{message}"
        );
    }
}

#[test]
fn a_table_in_which_nothing_is_feasible_exits_3_and_names_the_bound() {
    let space = TinySpace::new();
    table(&space);
    space.edit("replay.yaml", "max: 25", "max: 3");
    let output = space.run(&["replay", "table.csv", "--budget", "replay.yaml", "--brief"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["binding"], "psnr");
    assert_eq!(found["answer"], serde_json::json!([]));
}

#[test]
fn mistakes_in_a_replays_files_are_named() {
    let mistake = |file: &str, from: &str, to: &str, parts: &[&str]| {
        let space = TinySpace::new();
        table(&space);
        space.edit(file, from, to);
        let output = space.run(&["replay", "table.csv", "--budget", "replay.yaml"]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        for part in parts {
            assert!(message.contains(part), "`{message}` lacks `{part}`");
        }
    };
    mistake(
        "replay.yaml",
        "column: psnr",
        "column: pnsr",
        &["replay.yaml:", "table.csv", "pnsr", "did you mean `psnr`?", "accuracy"],
    );
    mistake("replay.yaml", "max: 25", "above: 25", &["replay.yaml", "above"]);
    mistake("replay.yaml", "max: 25", "max: .inf", &["constraints.psnr", "finite"]);
    mistake("table.csv", "conv0,1,0,0.54", "conv0,1,0,x", &["table.csv", "`accuracy`", "row 1"]);
    mistake("table.csv", "conv0,1,0,", "conv0,1,", &["table.csv", "CSV"]);
}

#[test]
fn a_space_becomes_a_table_that_can_be_searched() {
    let space = TinySpace::new();
    let tabulate = ["tabulate", "--space", "space.yaml", "--protocol", "quick", "--name", "all", "--quiet"];
    let output = space.run(&tabulate);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let path = space.path("results/all/designs.parquet");
    let first = std::fs::read(&path).unwrap();
    // Again: everything comes from the journal.
    assert_eq!(space.run(&tabulate).status.code(), Some(0));
    assert_eq!(std::fs::read(&path).unwrap(), first);
    space.write(
        "replay.yaml",
        b"parameters: [log2_depth, linear_attack, class_separation]\ncategory: split\n\
          objectives: [{column: accuracy, goal: maximize}]\nconstraints: [{column: psnr_mean, max: 60}]\n",
    );
    let output =
        space.run(&["replay", "results/all/designs.parquet", "--budget", "replay.yaml", "--strategy", "exhaustive"]);
    let found = json(&output);
    assert_eq!(found["share"], 1.0);
    assert!(found["candidates"].as_u64().unwrap() >= 3, "{found:#}");
}

#[test]
fn a_second_budget_measures_little_of_what_the_first_measured() {
    let space = TinySpace::new();
    let run = |budget: &str, more: &[&str]| {
        let output = space.run(&[&["optimize", budget, "--json"], more].concat());
        assert!(matches!(output.status.code(), Some(0 | 4)), "{}", stderr(&output));
    };
    let journal = |name: &str| std::fs::read_to_string(space.path(&format!("results/{name}/journal.jsonl"))).unwrap();
    let measured = |name: &str, adopted: bool| {
        let text = journal(name);
        text.lines().filter(|l| l.contains("\"fidelity\":\"quick\"") && l.contains("\"from\":") == adopted).count()
    };
    run("budget.yaml", &[]);
    let first = measured("tiny", false);
    assert!(first >= 3 && measured("tiny", true) == 0, "{}", journal("tiny"));
    space.edit("budget.yaml", "name: tiny", "name: second");
    space.edit("budget.yaml", "95 dB", "94 dB");
    run("budget.yaml", &[]);
    assert!(measured("second", true) >= 3, "{}", journal("second"));
    assert!(measured("second", false) <= 2, "{}", journal("second"));
    assert!(journal("second").contains("measured by the study tiny"));
    space.edit("budget.yaml", "name: second", "name: third");
    run("budget.yaml", &["--fresh"]);
    assert_eq!(measured("third", true), 0);
    // Figures of other images are no figures of these.
    space.edit("budget.yaml", "name: third", "name: fourth");
    let (images, labels) = crate::support::images(crate::support::TRAINING, 9);
    space.write("training-images", &images);
    space.write("training-labels", &labels);
    run("budget.yaml", &[]);
    assert_eq!(measured("fourth", true), 0);
}
