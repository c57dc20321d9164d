//! A device's profile, and budgets that count on it. What is measured here is never compared with anything.

use crate::support::{TinySpace, json, stderr};

/// A profile of the tiny space's net with made-up times: conv1_2 takes 1, 3 and 10 ms, conv2_1 5 ms.
fn profiled() -> TinySpace {
    let space = TinySpace::new();
    let output = space.run(&["profile", "--space", "space.yaml", "--seconds", "0"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let measured = String::from_utf8(output.stdout).expect("text");
    let (head, splits) = measured.split_once("splits:\n").expect("splits");
    for line in ["\"conv1_2\":", "\"conv2_1\":", "    4: {median: ", "    8: {median: ", "    64: {median: "] {
        assert!(splits.contains(line), "{splits}");
    }
    assert!(head.contains("image_side: 16\n") && head.contains("threads: 1}"), "{head}");
    let times = "splits:\n  conv1_2:\n    4: {median: 1 ms, p95: 2 ms}\n    8: {median: 3 ms, p95: 4 ms}\n    \
                 64: {median: 10 ms, p95: 11 ms}\n  conv2_1:\n    4: {median: 5 ms, p95: 5 ms}\n";
    space.write("device.yaml", format!("{head}{times}").as_bytes());
    space.edit("budget.yaml", "storage: 300 KiB", "latency: {max: 2 ms, profile: device.yaml}");
    space
}

#[test]
fn a_latency_bound_removes_what_the_profile_says_is_slower() {
    let space = profiled();
    let output = space.run(&["check", "budget.yaml", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let found = json(&output);
    assert_eq!((&found["removed"]["latency"], &found["admitted"]), (&4.into(), &2.into()), "{found}");
    assert_eq!(found["splits"], serde_json::json!(["conv1_2"]));
    // Six channels lie halfway between four and eight.
    space.edit("space.yaml", "[4, 8]", "[4, 6]");
    let output = space.run(&["check", "budget.yaml"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("2 need more latency than 2 ms") && text.contains("4 fit every exact budget"), "{text}");
}

#[test]
fn where_nothing_is_fast_enough_latency_binds() {
    let space = profiled();
    space.edit("budget.yaml", "max: 2 ms", "max: 500 us");
    let output = space.run(&["check", "budget.yaml", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let nearest = json(&output)["nearest"].to_string();
    assert!(nearest.contains("conv1_2 with 4 channels, needs 1 ms where the budget has 500 us"), "{nearest}");
    let output = space.run(&["optimize", "budget.yaml", "--quiet"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let record = std::fs::read(space.path("results/tiny/blobs/conclusion.json")).expect("a record");
    let record: serde_json::Value = serde_json::from_slice(&record).expect("JSON");
    assert_eq!((&record["binding"], &record["budgets"]["latency"]), (&"latency".into(), &500_000.into()));
}

#[test]
fn profiles_that_do_not_fit_are_refused() {
    for (from, to, parts) in [
        ("architecture: \"vgg16\"", "architecture: \"vgg19\"", ["architecture: vgg19", "is about vgg16"]),
        ("image_side: 16", "image_side: 32", ["image_side: 32", "16×16 px"]),
        ("structure: \"", "structure: \"0", ["structure: 0", "another structure"]),
        ("  conv2_1:", "  conv2_2:", ["splits.conv2_1: was not measured", "4 channels there"]),
        ("    4: {median: 5", "    3: {median: 5", ["splits.conv2_1", "up to 3 channels"]),
        ("median: 1 ms", "median: 1", ["`1` has no unit", "5 ms"]),
        ("version: 1", "version: 9", ["version: 9", "measure again"]),
    ] {
        let space = profiled();
        space.edit("device.yaml", from, to);
        let output = space.run(&["check", "budget.yaml"]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{to}: {message}");
        for part in parts.iter().chain(&["device.yaml", "privynet profile"]).take(if to == "median: 1" { 2 } else { 4 })
        {
            assert!(message.contains(part), "{to}: `{message}` lacks `{part}`");
        }
    }
    let space = profiled();
    space.edit("budget.yaml", "profile: device.yaml", "profile: nowhere.yaml");
    let message = stderr(&space.run(&["check", "budget.yaml"]));
    assert!(message.contains("nowhere.yaml: cannot be read"), "{message}");
}

#[test]
fn a_profile_is_held_against_designs_that_it_does_not_hold() {
    let space = profiled();
    let arguments = ["profile", "--space", "space.yaml", "--seconds", "0", "--against", "device.yaml"];
    let output = space.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Of 4, 8 and 64 channels: 6 and 36.
    assert!(text.contains("2 designs that were not in the profile: median error"), "{text}");
    for (flag, value) in
        [("--threads", "0"), ("--seconds", "-1"), ("--seconds", "nan"), ("--side", "24"), ("--side", "0")]
    {
        let flagged = format!("{flag}={value}");
        let output = space.run(&["profile", "--space", "space.yaml", "--against", "device.yaml", &flagged]);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{flagged}: {message}");
        assert!(message.contains(flag) || message.contains("24×24"), "{flagged}: {message}");
    }
}
