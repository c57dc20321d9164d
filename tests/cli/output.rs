//! What `--json` prints, against the schema that describes it; colours; completions and man pages; what to do next.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{SIDE, TinySpace, stderr};

/// The schema of a line, with every object closed: a key that is not described is a mistake here, where a reader of lines would let
/// it pass.
fn schema(space: &TinySpace) -> jsonschema::Validator {
    let output = space.run(&["schema", "output"]);
    let mut schema: Value = serde_json::from_slice(&output.stdout).expect("a schema is JSON");
    close(&mut schema);
    jsonschema::validator_for(&schema).expect("a valid schema")
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(close);
            if map.get("properties").is_some_and(Value::is_object) && map.get("type").is_some_and(Value::is_string) {
                map.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// The lines of a command; each must be as the schema says.
fn lines(schema: &jsonschema::Validator, output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let read = |line: &str| -> Value {
        let value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}{}", stderr(output)));
        // Of the kind that it claims to be: `oneOf` alone tells only that none fits.
        if let Some(error) = schema.iter_errors(&value).next() {
            panic!("{error} at {}: {line}", error.instance_path());
        }
        value
    };
    let lines: Vec<Value> = text.lines().map(read).collect();
    assert!(!lines.is_empty(), "nothing was printed: {}", stderr(output));
    lines
}

#[test]
fn every_command_prints_what_the_schema_says() {
    let space = TinySpace::new();
    let schema = schema(&space);
    let mut kinds = BTreeSet::new();
    let mut run = |arguments: &str, codes: &[i32]| -> Vec<Value> {
        let words: Vec<&str> = arguments.split_whitespace().chain(["--json"]).collect();
        let output = space.run(&words);
        assert!(codes.contains(&output.status.code().unwrap()), "{arguments}: {:?} {}", output.status, stderr(&output));
        assert_eq!(stderr(&output), "", "{arguments}: nothing but JSON");
        let lines = lines(&schema, &output);
        kinds.extend(lines.iter().map(|line| line["kind"].as_str().unwrap().to_owned()));
        lines
    };
    let picture: Vec<u8> = (0..SIDE * SIDE).map(|i| (i * 7 % 256) as u8).collect();
    for folder in ["originals", "guesses"] {
        std::fs::create_dir_all(space.path(folder)).unwrap();
        let file = space.path(&format!("{folder}/a.png"));
        image::save_buffer(file, &picture, SIDE as u32, SIDE as u32, image::ColorType::L8).unwrap();
    }
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(space.path(&format!("photos/{class}"))).unwrap();
        for at in 0..8u8 {
            let pixels: Vec<u8> = picture.iter().map(|byte| byte.wrapping_mul(at + 3)).collect();
            let file = space.path(&format!("photos/{class}/{at}.png"));
            image::save_buffer(file, &pixels, SIDE as u32, SIDE as u32, image::ColorType::L8).unwrap();
        }
    }
    space.write("table.csv", b"split,depth,accuracy,psnr\na,4,0.5,20\na,8,0.6,21\nb,4,0.7,19\nb,8,0.8,22\n");
    space.write(
        "replay.yaml",
        b"parameters: [depth]\ncategory: split\nobjectives: [{column: accuracy, goal: maximize}]\n\
          constraints: [{column: psnr, max: 21}]\n",
    );
    run("", &[0]);
    run("check budget.yaml", &[0]);
    let study = run("optimize budget.yaml", &[0, 4]);
    assert_eq!(study.len(), 1, "one object at the end");
    space.edit("budget.yaml", "name: tiny", "name: second");
    space.edit("budget.yaml", "95 dB", "94 dB");
    run("optimize budget.yaml", &[0, 4]);
    run("show tiny", &[0]);
    run("show tiny --pareto", &[0]);
    run("report tiny", &[0]);
    let compared = run("compare tiny second", &[0]);
    assert_eq!(compared[0]["comparable"], true, "{:#}", compared[0]);
    let watched = run("watch tiny --once", &[0, 4]);
    assert_eq!(watched.last().unwrap()["kind"], "study");
    assert_eq!(watched.last().unwrap()["design"], study[0]["design"]);
    run("status tiny", &[0]);
    run("audit tiny --attacks linear", &[0, 4]);
    run("export tiny --out package --allow-unverified", &[0]);
    run("features package originals/a.png", &[0]);
    let measured = run("measure --space space.yaml --split conv1_2 --depth 4 --protocol quick --seed 0,1", &[0]);
    assert_eq!(measured.len(), 2, "a line each");
    assert_eq!(run("channels --space space.yaml --split conv1_2", &[0]).len(), 64);
    run("score originals guesses", &[0]);
    run("tabulate --space space.yaml --protocol quick --name all", &[0]);
    run("replay table.csv --budget replay.yaml --evaluations 3", &[0]);
    space.edit("replay.yaml", "max: 21}", "max: 1, exact: true}");
    run("replay table.csv --budget replay.yaml", &[3]);
    run("profile --space space.yaml --seconds 0", &[0]);
    run("profile --space space.yaml --seconds 0 --out device.yaml", &[0]);
    run("profile --space space.yaml --seconds 0 --against device.yaml", &[0]);
    run("bench --candidates 30", &[0]);
    assert_eq!(run("bench --workers 3,10 --measurements 30", &[0]).len(), 2, "a line for each number");
    run("init --data photos --weights x", &[2]);
    run("init --data photos --out mine", &[0, 2]);
    run("man --out pages", &[0]);
    for (command, code) in [
        ("check nowhere.yaml", 2),
        ("check space.yaml", 2),
        ("show nothing", 2),
        ("optimise budget.yaml", 2),
        ("measure --space space.yaml --split conv9_9 --depth 4", 2),
        ("optimize budget.yaml --threads 0", 2),
    ] {
        let lines = run(command, &[code]);
        let last = lines.last().unwrap();
        assert_eq!(
            (last["kind"].as_str(), last["exit_code"].as_i64()),
            (Some("error"), Some(code.into())),
            "{command}"
        );
    }
    let described: BTreeSet<String> = {
        let schema: Value = serde_json::from_slice(&space.run(&["schema", "output"]).stdout).unwrap();
        let reference = |one: &Value| one["$ref"].as_str().unwrap().trim_start_matches("#/$defs/").to_owned();
        schema["oneOf"].as_array().unwrap().iter().map(reference).collect()
    };
    // `bench` and `worker` have tests of their own; `init` wants the repository's weights, which are not in this folder.
    let elsewhere: BTreeSet<String> = ["bench", "init", "measured"].map(str::to_owned).into();
    let seen: BTreeSet<String> = kinds.union(&elsewhere).cloned().collect();
    assert_eq!(seen, described, "every kind that is described is printed, and no other");
}

#[test]
fn init_and_bench_print_what_the_schema_says() {
    let space = TinySpace::new();
    let schema = schema(&space);
    let picture: Vec<u8> = (0..SIDE * SIDE * 4).map(|i| (i * 7 % 256) as u8).collect();
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(space.path(&format!("photos/{class}"))).unwrap();
        for at in 0..8u8 {
            let pixels: Vec<u8> = picture.iter().map(|byte| byte.wrapping_mul(at + 3)).collect();
            let file = space.path(&format!("photos/{class}/{at}.png"));
            image::save_buffer(file, &pixels, 2 * SIDE as u32, 2 * SIDE as u32, image::ColorType::L8).unwrap();
        }
    }
    let weights = crate::support::weights();
    let backbone = ["--backbone", weights.to_str().unwrap(), "--architecture", "vgg16"];
    let init = space.run(&[&["init", "--data", "photos", "--out", "mine", "--json"][..], &backbone].concat());
    assert_eq!(lines(&schema, &init)[0]["kind"], "init", "{}", stderr(&init));
    let bench = space.run(&["bench", "--json"]);
    assert_eq!(lines(&schema, &bench)[0]["kind"], "bench", "{}", stderr(&bench));
}

#[test]
fn an_error_has_its_place() {
    let space = TinySpace::new();
    space.edit("budget.yaml", "30 MMAC", "30");
    let output = space.run(&["check", "budget.yaml", "--json"]);
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    let place = ["file", "line", "column", "length"].map(|key| error[key].clone());
    assert_eq!(place, [json!("budget.yaml"), json!(4), json!(10), json!(2)], "{error:#}");

    let text = stderr(&space.run(&["check", "budget.yaml"]));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("error: budget.yaml:4:10: compute: `30` has no unit"), "{text}");
    assert_eq!(lines[1..], ["  |", "4 | compute: 30", "  |          ^^"], "{text}");
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    let space = TinySpace::new();
    let coloured = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = space.command(&[&["check", "nowhere.yaml"], arguments].concat());
        for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(variable);
        }
        command.envs(variables.iter().copied());
        stderr(&command.output().expect("the program starts")).contains('\u{1b}')
    };
    assert!(!coloured(&[], &[]), "a pipe is no terminal");
    assert!(coloured(&[("CLICOLOR_FORCE", "1")], &[]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &["--color", "never"]));
    assert!(coloured(&[], &["--color", "always"]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1")], &["--color", "never"]));
}

#[test]
fn shells_and_man_learn_every_subcommand() {
    let space = TinySpace::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = space.run(&["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && script.contains("optimize") && script.contains("allow-unverified"),
            "{shell}"
        );
    }
    let man = space.run(&["man", "--out", "pages"]);
    assert_eq!(man.status.code(), Some(0), "{}", stderr(&man));
    let page = std::fs::read_to_string(space.path("pages/privynet-optimize.1")).unwrap();
    assert!(page.contains("fresh") && page.contains("privynet optimize my\\-budget.yaml"), "{page}");
    assert!(space.path("pages/privynet.1").exists() && space.path("pages/privynet-watch.1").exists());
}

#[test]
fn without_a_subcommand_the_folder_says_what_is_next() {
    let space = TinySpace::new();
    let said = || String::from_utf8_lossy(&space.run(&[]).stdout).into_owned();
    assert!(said().contains("privynet optimize budget.yaml"), "{}", said());
    std::fs::remove_file(space.path("budget.yaml")).unwrap();
    assert!(said().contains("privynet init --data FOLDER"), "{}", said());
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/results/example");
    std::fs::create_dir_all(space.path("results/example/blobs")).unwrap();
    for file in ["study.json", "journal.jsonl", "blobs/conclusion.json"] {
        std::fs::copy(format!("{example}/{file}"), space.path(&format!("results/example/{file}"))).unwrap();
    }
    assert!(said().contains("privynet show example"), "{}", said());
}
