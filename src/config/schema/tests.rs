use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::*;
use crate::config::{
    ArraysEntry, Attacker, BackboneEntry, BudgetFile, ConstraintEntry, DataEntry, LatencyBudget, ObjectiveEntry,
    PartEntry, PrecisionEntry, PrivacyBudget, PsnrBudget, ReplayFile, SelectionsEntry, SplitEntry, StandardisingEntry,
};
use crate::data::Resize;
use crate::units::{Bytes, Decibel, Duration, Latency, Macs};

const SPACE: &str = "backbone: {architecture: vgg16, weights: w.safetensors, preprocess: imagenet, colours: rgb}\n\
    splits:\n  conv1_2: [4, 8]\n\
    selections: {first: true, pruned-random: 2, balanced: [0.5]}\nprecision: {weights: f16}\n\
    data:\n  format: image-folder\n  resize: {to: 32, fit: crop}\n  split: {training: 8, validation: 2, evaluation: 2}\n";

const BUDGET: &str = "space: space.yaml\nname: tiny\nseed: 7\nobjective: accuracy\nstrategy: model\ncompute: 150 MMAC\n\
    storage: 1 MiB\nprivacy:\n  psnr: {mean: 24 dB}\n  confidence: 95 %\n  attacker: {pairs: 300, knows_local_net: false}\n\
    effort: {level: quick, minutes: 20}\n";

const REPLAY: &str = "parameters: [depth]\nobjectives: [{column: accuracy, goal: maximize, scale: logit}]\n\
    constraints: [{column: macs, max: 3, exact: true}]\nstrategy: random\n";

fn validator(kind: FileKind) -> jsonschema::Validator {
    jsonschema::validator_for(&schema(kind)).unwrap()
}

fn value(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).unwrap()
}

/// What the parser says.
fn parse(kind: FileKind, yaml: &str) -> Result<(), crate::config::ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.yaml");
    std::fs::write(&path, yaml).unwrap();
    match kind {
        FileKind::Space => SpaceFile::read(&path, None, None).map(drop),
        FileKind::Budget => BudgetFile::read(&path).map(drop),
        FileKind::Replay => ReplayFile::read(&path).map(drop),
    }
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            _ if path.is_dir() => found.extend(yaml_files(&path)),
            Some(ending) if ending == "yaml" => found.push(path),
            _ => {}
        }
    }
    found
}

#[test]
fn every_file_of_the_repository_is_accepted() {
    let files = yaml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("spaces"));
    assert!(files.len() >= 11, "{files:?}");
    for path in files {
        let file = value(&std::fs::read_to_string(&path).unwrap());
        let kind = match (file.get("splits"), file.get("privacy")) {
            // A device's profile is written by the program.
            _ if file.get("machine").is_some() => continue,
            (Some(_), _) => FileKind::Space,
            (_, Some(_)) => FileKind::Budget,
            _ => FileKind::Replay,
        };
        validator(kind).validate(&file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn typical_mistakes_are_refused_as_the_parser_refuses_them() {
    use FileKind::{Budget, Replay, Space};
    for (kind, good, mistakes) in [
        (
            Space,
            SPACE,
            &[
                ("first:", "frist:"),
                ("weights: f16", "weights: f15"),
                ("format: image-folder", "format: tar"),
                ("  format: image-folder\n", ""),
                ("vgg16", "vgg61"),
                ("imagenet", "imagnet"),
                ("weights: w.safetensors, ", ""),
                ("weights: w.safetensors", "hub: a/b, weights: w.safetensors"),
                ("preprocess: imagenet", "preprocess: {mean: [0, 0], std: [1, 1, 1]}"),
                ("colours: rgb", "colours: grb"),
                ("[4, 8]", "[0]"),
                ("[4, 8]", "[]"),
                ("\n  conv1_2: [4, 8]", " {}"),
                ("[4, 8]", "[four]"),
                ("first: true", "first: yes please"),
                ("[0.5]", "[-1]"),
                ("pruned-random: 2", "pruned-random: two"),
                ("{to: 32, fit: crop}", "{fit: crop}"),
                ("to: 32", "to: 0"),
                ("fit: crop", "fit: squeeze"),
                ("evaluation: 2", "evaluation: two"),
                (", evaluation: 2", ""),
                ("  split:", "  training: {folder: train}\n  splits:"),
                ("selections: {", "selection: {"),
            ][..],
        ),
        (
            Budget,
            BUDGET,
            &[
                ("seed: 7", "sed: 7"),
                ("seed: 7", "seed: seven"),
                ("space: space.yaml\n", ""),
                ("150 MMAC", "150"),
                ("150 MMAC", "150 MiB"),
                ("1 MiB", "-1 MiB"),
                ("24 dB", "24"),
                ("24 dB", "loud"),
                ("{mean: 24 dB}", "{median: 24 dB}"),
                ("psnr: {mean: 24 dB}", "ssim: 1.5"),
                ("95 %", "95"),
                ("95 %", "sure"),
                ("95 %", "20 %"),
                ("objective: accuracy", "objective: speed"),
                ("strategy: model", "strategy: guess"),
                ("level: quick", "level: fast"),
                ("minutes: 20", "minutes: -3"),
                ("minutes: 20", "evaluations: 0"),
                ("{level: quick, minutes: 20}", "fast"),
                ("  psnr: {mean: 24 dB}\n", ""),
                ("name: tiny", "name: ../tiny"),
                ("pairs: 300", "pears: 300"),
            ][..],
        ),
        (
            Replay,
            REPLAY,
            &[
                ("maximize", "maximise"),
                ("logit", "square"),
                ("max: 3", "max: 3, min: 2"),
                ("max: 3, ", ""),
                ("[{column: accuracy, goal: maximize, scale: logit}]", "[]"),
                ("parameters: [depth]\n", ""),
                ("strategy: random", "initial: 0"),
            ][..],
        ),
    ] {
        let validator = validator(kind);
        validator.validate(&value(good)).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        parse(kind, good).unwrap();
        for (from, to) in mistakes {
            let broken = good.replacen(from, to, 1);
            assert_ne!(broken, good, "{from}");
            assert!(!validator.is_valid(&value(&broken)), "{kind:?}: the schema accepts `{to}`");
            // What only the net can say, `check` says.
            if *to != "vgg61" {
                assert!(parse(kind, &broken).is_err(), "{kind:?}: the parser accepts `{to}`");
            }
        }
    }
}

#[test]
fn what_may_be_left_out_or_written_otherwise_is_accepted_as_by_the_parser() {
    let known = "{architecture: vgg16, weights: w.safetensors, preprocess: imagenet, colours: rgb}";
    for (kind, good, from, to) in [
        (FileKind::Space, SPACE, known, "{weights: net.onnx, preprocess: {mean: [0, 0, 0], std: [1, 1, 1]}}"),
        (FileKind::Space, SPACE, known, "{hub: a/b, file: net.onnx, revision: v1, preprocess: unit}"),
        (FileKind::Space, SPACE, known, "{architecture: resnet18, hub: a/b}"),
        (FileKind::Space, SPACE, "precision: {weights: f16}\n", ""),
        (FileKind::Space, SPACE, ", fit: crop", ""),
        (FileKind::Budget, BUDGET, "{level: quick, minutes: 20}", "thorough"),
        (FileKind::Budget, BUDGET, "effort: {level: quick, minutes: 20}\n", ""),
        (FileKind::Budget, BUDGET, "psnr: {mean: 24 dB}", "ssim: 0.5"),
        (FileKind::Budget, BUDGET, "95 %", "0.95"),
        (FileKind::Budget, BUDGET, "  confidence: 95 %\n", ""),
        (FileKind::Budget, BUDGET, "1 MiB", "1.5 mib"),
        (FileKind::Replay, REPLAY, "strategy: random\n", ""),
        (FileKind::Replay, REPLAY, ", exact: true", ""),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        validator(kind).validate(&value(&text)).unwrap_or_else(|error| panic!("{to}: {error}"));
        parse(kind, &text).unwrap();
    }
}

/// The keys by which serde tells a struct's fields, caught before anything is read.
fn accepted<'de, T: Deserialize<'de>>() -> Vec<&'static str> {
    struct Catch<'a>(&'a mut Vec<&'static str>);
    impl<'de> serde::Deserializer<'de> for Catch<'_> {
        type Error = serde::de::value::Error;
        fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(serde::de::Error::custom("no struct"))
        }
        fn deserialize_struct<V: serde::de::Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            self.0.extend(fields);
            Err(serde::de::Error::custom("caught"))
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields = Vec::new();
    assert!(T::deserialize(Catch(&mut fields)).is_err());
    fields.sort_unstable();
    fields
}

#[test]
fn keys_are_those_that_the_parser_accepts() {
    let [space, budget, replay] = [FileKind::Space, FileKind::Budget, FileKind::Replay].map(schema);
    for (schema, place, accepted) in [
        (&space, "", accepted::<SpaceFile>()),
        (&space, "/properties/backbone", accepted::<BackboneEntry>()),
        (&space, "/properties/backbone/properties/preprocess/anyOf/1", accepted::<StandardisingEntry>()),
        (&space, "/properties/selections", accepted::<SelectionsEntry>()),
        (&space, "/properties/precision", accepted::<PrecisionEntry>()),
        (&space, "/properties/data", accepted::<DataEntry>()),
        (&space, "/properties/data/properties/resize", accepted::<Resize>()),
        (&space, "/properties/data/properties/split", accepted::<SplitEntry>()),
        (&space, "/properties/data/properties/evaluation", accepted::<PartEntry>()),
        (&space, "/properties/data/properties/evaluation/properties/arrays", accepted::<ArraysEntry>()),
        (&budget, "", accepted::<budget_file::Raw>()),
        (&budget, "/properties/latency", accepted::<LatencyBudget>()),
        (&budget, "/properties/privacy", accepted::<PrivacyBudget>()),
        (&budget, "/properties/privacy/properties/psnr", accepted::<PsnrBudget>()),
        (&budget, "/properties/privacy/properties/attacker", accepted::<Attacker>()),
        (&budget, "/properties/effort/anyOf/1", accepted::<budget_file::EffortNumbers>()),
        (&replay, "", accepted::<replay_file::Raw>()),
        (&replay, "/properties/objectives/items", accepted::<ObjectiveEntry>()),
        (&replay, "/properties/constraints/items", accepted::<ConstraintEntry>()),
    ] {
        let object = schema.pointer(place).unwrap_or_else(|| panic!("no {place} in {schema:#}"));
        let mut keys: Vec<&str> = object["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, accepted, "{place}");
    }
}

/// Calls `visit` with every object that has named keys, and its place.
fn objects(place: &str, schema: &Value, visit: &mut impl FnMut(&str, &serde_json::Map<String, Value>)) {
    match schema {
        Value::Object(members) => {
            if members.get("properties").is_some_and(Value::is_object) {
                visit(place, members);
            }
            members.iter().for_each(|(key, value)| objects(&format!("{place}/{key}"), value, visit));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| objects(&format!("{place}/{i}"), value, visit));
        }
        _ => {}
    }
}

#[test]
fn every_key_is_described_in_plain_words_and_no_other_is_allowed() {
    for kind in [FileKind::Space, FileKind::Budget, FileKind::Replay] {
        objects("", &schema(kind), &mut |place, object| {
            assert_eq!(object.get("additionalProperties"), Some(&json!(false)), "{kind:?} {place}");
            for (key, value) in object["properties"].as_object().unwrap() {
                let described = value["description"].as_str().is_some_and(|text| !text.contains("[`"));
                assert!(described, "{kind:?} {place}/{key}: {value:#}");
            }
        });
    }
}

#[test]
fn nothing_of_rust_is_left() {
    for kind in [FileKind::Space, FileKind::Budget, FileKind::Replay] {
        let text = schema(kind).to_string();
        for trace in ["null", "uint", "double", "float", "$ref", "$defs"] {
            assert!(!text.contains(trace), "{kind:?} holds `{trace}`: {text}");
        }
    }
}

#[test]
fn defaults_are_those_of_the_parser() {
    let [space, budget, replay] = [FileKind::Space, FileKind::Budget, FileKind::Replay].map(schema);
    for (schema, place, default) in [
        (&space, "precision", json!({"weights": "f16", "features": "f16"})),
        (&space, "data/properties/path", json!(".")),
        (&space, "data/properties/duplicates", json!("error")),
        (&space, "data/properties/resize/properties/fit", json!("crop")),
        (&space, "backbone/properties/colours", json!("rgb")),
        (&budget, "seed", json!(0)),
        (&budget, "objective", json!("accuracy")),
        (&budget, "strategy", json!("model")),
        (&budget, "effort", json!("quick")),
        (&budget, "privacy/properties/confidence", json!(0.95)),
        (&budget, "privacy/properties/attacker", json!({"knows_local_net": true, "knows_channels": true})),
        (&replay, "objectives/items/properties/scale", json!("linear")),
    ] {
        assert_eq!(schema.pointer(&format!("/properties/{place}/default")), Some(&default), "{place}");
    }
}

#[test]
fn a_quantity_matches_where_it_parses() {
    fn holds<Q: schemars::JsonSchema + std::str::FromStr>(texts: &[&str]) {
        let validator = jsonschema::validator_for(&schemars::schema_for!(Q).to_value()).unwrap();
        for text in texts {
            assert_eq!(validator.is_valid(&json!(text)), text.parse::<Q>().is_ok(), "{text}");
        }
    }
    let numbers =
        ["30", "30 ", "-30", "+30", "1.5", ".5", "5.", "1_000", "2e3", "2e-3", "1e", "1e999", "nan", "", ".", "x"];
    let with = |unit: &str| numbers.map(|number| format!("{number} {unit}"));
    for unit in [
        "MAC", "kMAC", "mmac", "GMAC", "B", "KiB", "kib", "MB", "dB", "DB", "ns", "us", "ms", "s", "min", "h",
        "parsec", "",
    ] {
        let texts = with(unit);
        let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.contains("999")).collect();
        holds::<Macs>(&texts);
        holds::<Bytes>(&texts);
        holds::<Decibel>(&texts);
        holds::<Latency>(&texts);
        holds::<Duration>(&texts);
    }
}
