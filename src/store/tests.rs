use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use polars::prelude::{ParquetReader, SerReader};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

use super::*;
use crate::measurement::{Evaluation, Fidelity, Measurement, Metric, Outcome};

fn inputs() -> Inputs {
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
    Inputs {
        budget: hash("budget"),
        space: hash("space"),
        data: hash("data"),
        weights: hash("weights"),
        protocols: hash("protocols"),
    }
}

fn header() -> Header {
    Header::new("test", inputs(), json!({"device": "cpu", "threads": 2}))
}

/// An evaluation as a search records it; `order` makes it one of its kind.
fn event(order: u64) -> Event {
    let design: crate::measurement::DesignId = format!("conv3_1-d{order}").parse().unwrap();
    // Every bit of the significand is used, as by a measured figure.
    let mut random = ChaCha8Rng::seed_from_u64(order);
    let row = |metric, value| Measurement {
        design: design.clone(),
        metric,
        value,
        std_error: value / 37.0,
        n: 1000,
        fidelity: Fidelity::Standard,
        seed: u64::MAX - order,
        seconds: 1.25,
    };
    let rows =
        Metric::ALL.iter().map(|&metric| row(metric, (random.next_u64() >> 11) as f64 * 2_f64.powi(-48))).collect();
    Event::Evaluation(Evaluation {
        design: design.clone(),
        fidelity: Fidelity::Standard,
        seed: u64::MAX - order,
        order,
        reason: "expected improvement".into(),
        outcome: Outcome::Done(rows),
        seconds: 2.5,
        from: None,
        files: Default::default(),
    })
}

/// `assert_eq!` for many events, without printing them all.
fn assert_same(found: &[Event], expected: &[Event]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
}

fn events(count: u64) -> Vec<Event> {
    (0..count).map(event).collect()
}

#[test]
fn a_study_goes_on_where_it_stopped_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results/a");
    for round in 0..4 {
        let (mut study, recovered) = Study::open(&path, &header()).unwrap();
        assert_same(&recovered.events, &events(50 * round));
        assert!(recovered.warnings.is_empty());
        for order in 50 * round..50 * (round + 1) {
            study.append(&event(order)).unwrap();
        }
        assert_eq!(study.records(), 50 * (round + 1));
    }
    let reader = StudyReader::open(&path).unwrap();
    assert_same(reader.events(), &events(200));
    assert_eq!(reader.header().provenance, header().provenance);
}

#[test]
fn figures_that_are_no_numbers_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut study, _) = Study::open(dir.path(), &header()).unwrap();
    let mut diverged = event(0);
    if let Event::Evaluation(Evaluation { outcome: Outcome::Done(rows), .. }) = &mut diverged {
        rows[2].value = f64::NAN;
    }
    assert!(matches!(study.append(&diverged), Err(StoreError::InvalidEvaluation(_))));
    study.append(&event(1)).unwrap();
    assert_eq!(StudyReader::open(dir.path()).unwrap().events(), [event(1)]);
}

#[test]
fn one_process_writes_and_the_other_is_told_which() {
    let dir = tempfile::tempdir().unwrap();
    let (mut study, _) = Study::open(dir.path(), &header()).unwrap();
    let message = Study::open(dir.path(), &header()).unwrap_err().to_string();
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    // Readers are let in, and see what is finished.
    study.append(&event(0)).unwrap();
    assert_eq!(StudyReader::open(dir.path()).unwrap().events().len(), 1);
    drop(study);
    assert!(Study::open(dir.path(), &header()).is_ok());
}

#[test]
fn another_study_is_refused_by_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let (study, _) = Study::open(dir.path(), &header()).unwrap();
    drop(study);
    let changed = Inputs { budget: "b".into(), data: "d".into(), ..inputs() };
    let other = Header::new("test", changed, json!(null));
    let message = Study::open(dir.path(), &other).unwrap_err().to_string();
    assert!(message.contains("its budget and data differ;"), "{message}");
    assert!(message.contains(&header().fingerprint()), "{message}");
    assert!(message.contains(&other.fingerprint()), "{message}");
    assert!(message.contains("--results"), "{message}");
    // Name and provenance may change.
    let moved = Header::new("renamed", inputs(), json!({"threads": 8}));
    assert!(Study::open(dir.path(), &moved).is_ok());
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let message = Study::open(dir.path(), &header()).unwrap_err().to_string();
    assert!(message.contains("thesis.tex"), "{message}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(matches!(StudyReader::open(dir.path()), Err(StoreError::NoStudy { .. })));
    assert!(matches!(StudyReader::open(&dir.path().join("none")), Err(StoreError::NoStudy { .. })));
}

#[test]
fn an_interrupted_creation_is_taken_up() {
    // Killed after the lock, while the journal was written, and before the header was.
    let leftovers: [&[&str]; 4] = [
        &["lock"],
        &["lock", "journal.jsonl.tmp"],
        &["lock", "journal.jsonl"],
        &["lock", "journal.jsonl", "study.json.tmp"],
    ];
    for names in leftovers {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(dir.path().join(name), "").unwrap();
        }
        if names.contains(&"journal.jsonl") {
            Journal::create(&dir.path().join("journal.jsonl"), &header().fingerprint()).unwrap();
        }
        let (mut study, recovered) = Study::open(dir.path(), &header()).unwrap();
        assert!(recovered.events.is_empty() && recovered.warnings.is_empty());
        study.append(&event(0)).unwrap();
    }
}

#[test]
fn damaged_headers_and_missing_journals_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (study, _) = Study::open(dir.path(), &header()).unwrap();
    drop(study);
    let open = || Study::open(dir.path(), &header()).unwrap_err();
    let path = dir.path().join("study.json");
    let good = fs::read_to_string(&path).unwrap();

    fs::write(&path, &good[..good.len() / 2]).unwrap();
    assert!(matches!(open(), StoreError::CorruptHeader { .. }));
    fs::write(&path, good.replace("\"schema_version\": 1", "\"schema_version\": 2")).unwrap();
    assert!(matches!(open(), StoreError::SchemaVersion { found: 2, .. }));
    fs::write(&path, "[".repeat(100_000)).unwrap();
    assert!(matches!(open(), StoreError::CorruptHeader { .. }));

    // What `created` or the name are is nothing that could be found out otherwise.
    fs::write(&path, good.replace("\"test\"", "\"tost\"")).unwrap();
    assert!(matches!(open(), StoreError::CorruptHeader { .. }));

    Header { tool_version: "0.0.0".to_owned(), ..header() }.write(&path).unwrap();
    let (study, recovered) = Study::open(dir.path(), &header()).unwrap();
    assert!(matches!(recovered.warnings[..], [Warning::OtherTool { .. }]));
    drop(study);

    fs::remove_file(dir.path().join("journal.jsonl")).unwrap();
    assert!(matches!(open(), StoreError::MissingJournal { .. }));
}

#[test]
fn a_file_in_place_of_the_folder_is_an_error_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results");
    fs::write(&path, "").unwrap();
    for path in [path.clone(), path.join("a")] {
        let error = Study::open(&path, &header()).unwrap_err();
        assert!(matches!(error, StoreError::Write { .. }), "{error:?}");
        assert!(error.to_string().contains("--results"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn links_in_a_study_are_not_followed() {
    use std::os::unix::fs::symlink;
    for name in ["study.json", "journal.jsonl", "lock"] {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let path = dir.path().join("study");
        drop(Study::open(&path, &header()).unwrap());
        fs::rename(path.join(name), &outside).unwrap();
        let before = fs::read(&outside).unwrap();
        symlink(&outside, path.join(name)).unwrap();
        let error = Study::open(&path, &header()).unwrap_err();
        assert!(matches!(error, StoreError::Read { .. }), "{name}: {error}");
        assert_eq!(fs::read(&outside).unwrap(), before);
    }
}

#[test]
fn side_files_come_back_and_stay_in_their_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (mut study, _) = Study::open(dir.path(), &header()).unwrap();
    assert_eq!(study.load_blob("net.safetensors").unwrap(), None);
    study.save_blob("net.safetensors", b"old").unwrap();
    study.save_blob("net.safetensors", b"weights").unwrap();
    assert_eq!(study.load_blob("net.safetensors").unwrap().unwrap(), b"weights");
    let reader = StudyReader::open(dir.path()).unwrap();
    assert_eq!(reader.load_blob("net.safetensors").unwrap().unwrap(), b"weights");
    for bad in ["", ".", "..", "../lock", "a/b", ".hidden", "a\\b", "x.tmp", &"a".repeat(129)] {
        assert!(matches!(study.save_blob(bad, b""), Err(StoreError::BlobName { .. })), "{bad}");
        assert!(matches!(study.load_blob(bad), Err(StoreError::BlobName { .. })), "{bad}");
    }
}

#[test]
fn the_table_reads_back_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (study, _) = Study::open(dir.path(), &header()).unwrap();
    let events = events(30);
    let evaluations = events.iter().filter_map(|event| match event {
        Event::Evaluation(evaluation) => Some(evaluation),
        Event::Verification(_) => None,
    });
    let rows: Vec<Row<'_>> = evaluations
        .flat_map(|evaluation| {
            evaluation.measurements().iter().map(|measurement| Row {
                measurement,
                split: "conv3_1",
                depth: evaluation.order,
                selection: "fisher",
            })
        })
        .collect();
    study.write_parquet(&[]).unwrap();
    study.write_parquet(&rows).unwrap();

    let file = fs::File::open(dir.path().join("measurements.parquet")).unwrap();
    let frame = ParquetReader::new(file).finish().unwrap();
    assert_eq!(frame.shape(), (rows.len(), 11));
    let text = |name: &str| -> Vec<String> {
        let column = frame.column(name).unwrap().str().unwrap();
        column.iter().map(|value| value.unwrap().to_owned()).collect()
    };
    let count = |name: &str| -> Vec<u64> { frame.column(name).unwrap().u64().unwrap().into_no_null_iter().collect() };
    let real = |name: &str| -> Vec<f64> { frame.column(name).unwrap().f64().unwrap().into_no_null_iter().collect() };
    let (design, metric, fidelity) = (text("design"), text("metric"), text("fidelity"));
    let (split, selection, depth) = (text("split"), text("selection"), count("depth"));
    let (n, seed, seconds) = (count("n"), count("seed"), real("seconds"));
    let (value, std_error) = (real("value"), real("std_error"));
    for (i, row) in rows.iter().enumerate() {
        let found = Measurement {
            design: design[i].parse().unwrap(),
            metric: metric[i].parse().unwrap(),
            value: value[i],
            std_error: std_error[i],
            n: n[i],
            fidelity: fidelity[i].parse().unwrap(),
            seed: seed[i],
            seconds: seconds[i],
        };
        assert_eq!(found, *row.measurement);
        assert_eq!((split[i].as_str(), depth[i]), (row.split, row.depth));
        assert_eq!(selection[i], row.selection);
    }
}

#[test]
fn ten_thousand_events_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    drop(Study::open(dir.path(), &header()).unwrap());
    let path = dir.path().join("journal.jsonl");
    // Written at once: ten thousand syncs would take minutes.
    let mut bytes = fs::read(&path).unwrap();
    for order in 0..10_000 {
        bytes.extend(record::encode(&path, &header().fingerprint(), &event(order)).unwrap());
    }
    fs::write(&path, bytes).unwrap();
    let (_study, recovered) = Study::open(dir.path(), &header()).unwrap();
    assert_eq!(recovered.events.len(), 10_000);
}

const CHILD: &str = "store::tests::appends_until_killed";
const CHILD_DIR: &str = "PRIVYNET_TEST_STUDY";

/// Not a test by itself: the process that the next test kills.
#[test]
#[ignore = "started by killed_writers_lose_nothing_that_was_acknowledged"]
fn appends_until_killed() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let (mut study, recovered) = Study::open(Path::new(&dir), &header()).unwrap();
    for order in recovered.events.len() as u64.. {
        study.append(&event(order)).unwrap();
        println!("\nacknowledged {}", order + 1);
    }
}

#[test]
fn killed_writers_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(8);
    for _ in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([CHILD, "--exact", "--ignored", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("acknowledged ").and_then(|count| count.parse::<u64>().ok()));
        let wait = 1 + random.next_u32() as usize % 8;
        let seen = acknowledged.nth(wait).expect("the child appends");
        std::thread::sleep(std::time::Duration::from_micros(u64::from(random.next_u32() % 3000)));
        // SIGKILL: no destructor runs.
        child.kill().unwrap();
        let seen = acknowledged.last().unwrap_or(seen);
        child.wait().unwrap();
        // The lock of the dead process is free, and all it acknowledged is there.
        let (_study, recovered) = Study::open(dir.path(), &header()).unwrap();
        let found = recovered.events.len() as u64;
        assert!(found == seen || found == seen + 1, "{found} of {seen}");
        assert_same(&recovered.events, &events(found));
    }
}
