//! A study through `sbatch` and `squeue`, by scripts of these names that run an array's tasks at once: what `tests/slurm.py` does on a real
//! cluster, as far as that goes where there is none.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{TinySpace, json, stderr};

const SBATCH: &str = r#"#!/bin/sh
printf '%s\n' "$*" >>"$FAKE_SLURM/flags"
[ ! -e "$FAKE_SLURM/refuse" ] || { echo 'sbatch: error: invalid partition specified: moon' >&2; exit 1; }
for flag in "$@"; do
  script=$flag
  case $flag in
    --array=0-*) last=${flag#--array=0-} last=${last%%%*} ;;
    --comment=*) token=${flag#--comment=} ;;
    --output=*) logs=$(dirname "${flag#--output=}") ;;
  esac
done
job=$(($(cat "$FAKE_SLURM/job" 2>/dev/null || echo 0) + 1))
echo $job >"$FAKE_SLURM/job"
cp "$script" "$FAKE_SLURM/script"
cp "$logs/../../batches/$token.json" "$FAKE_SLURM/batch.json"
for task in $(seq 0 "$last"); do
  state=COMPLETED
  SLURM_ARRAY_TASK_ID=$task sh "$FAKE_SLURM/script" >"$logs/$task.log" 2>&1
  code=$?
  [ $code = 0 ] || state=FAILED
  echo "$job|$task|$state|None|$((code * 256))|node1|$token|" >>"$FAKE_SLURM/queue"
done
echo $job
"#;

const SQUEUE: &str = "#!/bin/sh\ncat \"$FAKE_SLURM/queue\" 2>/dev/null\nexit 0\n";

/// A space with a budget for a cluster, and the folder of its commands.
fn cluster() -> TinySpace {
    use std::os::unix::fs::PermissionsExt;
    let space = TinySpace::new();
    let budget = fs::read_to_string(space.path("budget.yaml")).expect("a writable folder");
    let entry = "executor: {slurm: {partition: moon, poll_seconds: 0.1, resubmissions: 1}}\n";
    space.write("budget.yaml", format!("{budget}{entry}").as_bytes());
    fs::create_dir(space.path("slurm")).expect("a writable folder");
    for (name, text) in [("sbatch", SBATCH), ("squeue", SQUEUE), ("scancel", "#!/bin/sh\n")] {
        let path = space.path(&format!("slurm/{name}"));
        fs::write(&path, text).expect("a writable folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a writable folder");
    }
    space
}

fn with_slurm(space: &TinySpace, arguments: &[&str]) -> Command {
    let folder = space.path("slurm");
    let mut path = OsString::from(&folder);
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = space.command(arguments);
    command.env("PATH", path).env("FAKE_SLURM", folder);
    command
}

fn run(space: &TinySpace, arguments: &[&str]) -> Output {
    with_slurm(space, arguments).output().expect("the program starts")
}

/// The conclusion without what differs from run to run.
fn conclusion(results: &Path) -> Value {
    let bytes = fs::read(results.join("tiny/blobs/conclusion.json")).expect("a concluded study");
    let mut record: Value = serde_json::from_slice(&bytes).expect("JSON");
    record.as_object_mut().expect("a map").remove("provenance");
    forget_times(&mut record);
    record
}

fn forget_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.remove("seconds");
            // Of the times as well.
            map.remove("sum");
            map.values_mut().for_each(forget_times);
        }
        Value::Array(values) => values.iter_mut().for_each(forget_times),
        _ => {}
    }
}

#[test]
fn a_cluster_gives_the_answer_that_this_machine_gives() {
    let space = cluster();
    let far = run(&space, &["optimize", "budget.yaml", "--json"]);
    let here = run(&space, &["optimize", "budget.yaml", "--json", "--executor", "local", "--results", "here"]);
    assert_eq!(far.status.code(), here.status.code(), "{}{}", stderr(&far), stderr(&here));
    assert_eq!(conclusion(&space.path("results")), conclusion(&space.path("here")));
    let flags = fs::read_to_string(space.path("slurm/flags")).expect("arrays went out");
    assert!(flags.contains("--partition=moon") && flags.contains("--array=0-"), "{flags}");
    // What is done with is gone; what tasks printed stays.
    assert!(!space.path("results/tiny/slurm/parts").exists() && space.path("results/tiny/slurm/logs").exists());
    // The study is the same wherever it runs: nothing is measured again.
    let again = run(&space, &["optimize", "budget.yaml", "--json", "--executor", "local"]);
    assert_eq!(json(&again)["design"], json(&far)["design"]);
    let status = json(&run(&space, &["status", "tiny", "--json"]));
    assert_eq!((&status["state"], &status["tasks"]), (&"concluded".into(), &serde_json::json!({})), "{status}");

    let measured = run(&space, &["worker", "slurm/batch.json", "--task", "0", "--json"]);
    assert_eq!(measured.status.code(), Some(2), "{}", stderr(&measured));
    assert!(stderr(&measured).is_empty(), "JSON alone");
    let problem = json(&measured)["message"].as_str().unwrap_or_default().to_owned();
    assert!(problem.contains("batch.json") && problem.contains("it is of privynet-"), "{problem}");
}

#[test]
fn a_worker_measures_one_task_and_refuses_another_studys_files() {
    let space = cluster();
    run(&space, &["optimize", "budget.yaml", "--quiet"]);
    let batch: Value = serde_json::from_slice(&fs::read(space.path("slurm/batch.json")).unwrap()).unwrap();
    let file = format!("results/tiny/slurm/batches/{}.json", batch["token"].as_str().unwrap());
    for folder in ["batches", "parts"] {
        fs::create_dir_all(space.path(&format!("results/tiny/slurm/{folder}"))).unwrap();
    }
    fs::copy(space.path("slurm/batch.json"), space.path(&file)).unwrap();
    let measured = json(&run(&space, &["worker", &file, "--task", "0", "--json"]));
    assert_eq!(measured["kind"], "measured", "{measured}");
    let name = measured["measurement"].as_str().unwrap();
    assert!(space.path(&format!("results/tiny/slurm/parts/{name}.part")).is_file());

    let beyond = run(&space, &["worker", &file, "--task", "99"]);
    assert!(stderr(&beyond).contains("--task 99") && stderr(&beyond).contains("tasks 0 to"), "{}", stderr(&beyond));
    space.edit("budget.yaml", "95 dB", "94 dB");
    let other = run(&space, &["worker", &file, "--task", "0"]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("its budget differ"), "{}", stderr(&other));
}

#[test]
fn what_a_cluster_refuses_is_said_with_the_key_to_correct() {
    let space = cluster();
    fs::write(space.path("slurm/refuse"), "").unwrap();
    let refused = run(&space, &["optimize", "budget.yaml"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("invalid partition specified: moon") && said.contains("executor.slurm"), "{said}");

    // A worker that can't measure: its own words, and where more of them are.
    fs::remove_file(space.path("slurm/refuse")).unwrap();
    let broken = SBATCH.replace("sh \"$FAKE_SLURM/script\"", "sh -c 'echo the disk is not mounted; exit 2'");
    fs::write(space.path("slurm/sbatch"), broken).unwrap();
    let refused = run(&space, &["optimize", "budget.yaml"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("on node1: the disk is not mounted") && said.contains(".log"), "{said}");

    let nowhere = with_slurm(&space, &["optimize", "budget.yaml"]).env("PATH", "/nowhere").output().unwrap();
    assert!(stderr(&nowhere).contains("`sbatch` is not there"), "{}", stderr(&nowhere));
    let detach = run(&space, &["optimize", "budget.yaml", "--executor", "local", "--detach"]);
    assert!(stderr(&detach).contains("--detach"), "{}", stderr(&detach));
}
