//! Studies side by side.

use serde_json::Value;

use crate::support::{TinySpace, example_conclusion, json, stderr};

/// Copies of the repository's example with other names and, in their conclusions, other contents.
fn example(space: &TinySpace, name: &str, change: impl Fn(&mut Value)) {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/results/example");
    std::fs::create_dir_all(space.path(&format!("results/{name}/blobs"))).expect("the example");
    for file in ["study.json", "journal.jsonl"] {
        std::fs::copy(format!("{example}/{file}"), space.path(&format!("results/{name}/{file}"))).expect("the example");
    }
    let mut conclusion = example_conclusion();
    change(&mut conclusion);
    space.write(&format!("results/{name}/blobs/conclusion.json"), conclusion.to_string().as_bytes());
}

#[test]
fn budgets_over_the_same_images_are_compared() {
    let space = TinySpace::new();
    example(&space, "usual", |_| {});
    example(&space, "tight", |conclusion| conclusion["budgets"]["privacy"][0]["limit"] = 20.5.into());
    let output = space.run(&["compare", "usual", "tight", "--json"]);
    let found = json(&output);
    assert_eq!(found["comparable"], true, "{found:#}");
    assert_eq!(found["studies"][1]["bounds"][0]["limit"], 20.5);
    assert!(!found["studies"][0]["front"].as_array().unwrap().is_empty());
    let page = std::fs::read_to_string(space.path("reports/compare-usual-tight/index.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("usual") && page.contains("tight"));
    for plot in ["compare.svg", "compare.png"] {
        assert!(space.path(&format!("reports/compare-usual-tight/{plot}")).exists());
    }
    let text = String::from_utf8_lossy(&space.run(&["compare", "usual", "tight"]).stdout).into_owned();
    assert!(!text.contains("NOT COMPARABLE") && text.contains("psnr_mean 20.50 dB"), "{text}");
    let csv = String::from_utf8_lossy(&space.run(&["compare", "usual", "tight", "--csv"]).stdout).into_owned();
    let columns: Vec<usize> = csv.lines().map(|line| line.matches(',').count()).collect();
    assert!(columns.len() == 3 && columns.iter().all(|&count| count >= columns[0]), "{csv}");
}

#[test]
fn what_cannot_be_compared_is_said() {
    let space = TinySpace::new();
    example(&space, "a", |_| {});
    example(&space, "b", |conclusion| {
        conclusion["provenance"]["data_hash"] = "0badcafe".repeat(8).into();
        conclusion["budgets"]["attacker"]["knows_local_net"] = false.into();
        conclusion["provenance"]["protocols"][1] = "standard_verification".into();
    });
    let found = json(&space.run(&["compare", "a", "b", "--json"]));
    let aspects: Vec<&str> =
        found["differences"].as_array().unwrap().iter().map(|d| d["aspect"].as_str().unwrap()).collect();
    assert_eq!(aspects, ["images", "attackers", "verification's protocols"], "{found:#}");
    assert_eq!(found["comparable"], false);
    let text = String::from_utf8_lossy(&space.run(&["compare", "a", "b"]).stdout).into_owned();
    assert!(text.contains("NOT COMPARABLE: images differ: a (") && text.contains("no local net"), "{text}");
    let page = std::fs::read_to_string(space.path("reports/compare-a-b/index.html")).unwrap();
    assert!(page.contains("not comparable") && page.contains("images differ"));
    let twice = space.run(&["compare", "a", "a"]);
    assert!(twice.status.code() == Some(2) && stderr(&twice).contains("named twice"), "{}", stderr(&twice));
}
