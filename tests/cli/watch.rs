//! A running study is followed from another process.

use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{TinySpace, stderr};

/// A study that runs, once it can be watched.
fn running(space: &TinySpace) -> Child {
    let child = space
        .command(&["optimize", "budget.yaml", "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    while !space.path("results/tiny/live.json").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_running_study_is_followed_to_its_end() {
    let space = TinySpace::new();
    let mut child = running(&space);
    let next = String::from_utf8_lossy(&space.run(&[]).stdout).into_owned();
    assert!(next.contains("privynet watch tiny"), "{next}");
    let watch = space.run(&["watch", "tiny", "--every", "0.05", "--json"]);
    let code = child.wait().expect("it ends").code();
    assert_eq!(watch.status.code(), code, "{}", stderr(&watch));
    let lines: Vec<Value> = String::from_utf8_lossy(&watch.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert!(of("progress").iter().any(|line| line["state"] == "running"), "{lines:#?}");
    assert!(
        of("progress").iter().any(|line| line["running"].as_array().is_some_and(|all| !all.is_empty())),
        "{lines:#?}"
    );
    assert!(of("evaluation").len() >= 3 && !of("verification").is_empty(), "{lines:#?}");
    assert_eq!(lines.last().map(|line| &line["kind"]), Some(&Value::from("study")));
    assert!(!space.path("results/tiny/live.json").exists(), "it goes with the run");

    let lines = String::from_utf8_lossy(&space.run(&["watch", "tiny"]).stdout).into_owned();
    assert!(lines.contains("accuracy") && lines.contains("tiny: concluded"), "{lines}");
}

#[test]
fn that_nobody_works_on_a_study_is_said() {
    let space = TinySpace::new();
    let mut child = running(&space);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let watch = space.run(&["watch", "tiny", "--every", "0.05"]);
    assert_eq!(watch.status.code(), Some(4), "{}", stderr(&watch));
    let said = String::from_utf8_lossy(&watch.stdout).into_owned();
    assert!(said.contains("nobody works on it") && said.contains("privynet optimize budget.yaml"), "{said}");
    let next = String::from_utf8_lossy(&space.run(&[]).stdout).into_owned();
    assert!(next.contains("interrupted") && next.contains("privynet optimize budget.yaml"), "{next}");

    // One whose measurements are out on a cluster goes on without a driver.
    let batches = space.path("results/tiny/slurm/batches");
    std::fs::create_dir_all(&batches).expect("it can be made");
    std::fs::write(batches.join("privynet-0.json"), "{}").expect("it can be written");
    let watch = space.run(&["watch", "tiny", "--once"]);
    let said = String::from_utf8_lossy(&watch.stdout).into_owned();
    assert!(said.contains("out on a cluster") && said.contains("privynet status tiny"), "{said}");
    let json = String::from_utf8_lossy(&space.run(&["watch", "tiny", "--once", "--json"]).stdout).into_owned();
    assert!(json.contains(r#""state":"detached""#), "{json}");
    let next = String::from_utf8_lossy(&space.run(&[]).stdout).into_owned();
    assert!(next.contains("out on a cluster") && next.contains("privynet status tiny"), "{next}");
}
