//! `schema`, and the schemas that `init` writes beside its files.

use crate::support::{TinySpace, json, stderr, weights};

#[test]
fn schemas_are_printed_by_the_file_they_describe() {
    let space = TinySpace::new();
    for (file, key) in [("space", "splits"), ("budget", "privacy"), ("replay", "objectives")] {
        let output = space.run(&["schema", file]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let schema = json(&output);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(schema["properties"][key].is_object(), "{schema:#}");
        jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let message = stderr(&space.run(&["schema", "recipe"]));
    assert!(message.contains("recipe") && message.contains("budget"), "{message}");
}

#[test]
fn what_init_writes_names_its_schemas_and_keeps_them() {
    let space = TinySpace::new();
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(space.path(&format!("photos/{class}"))).unwrap();
        for index in 0..6u8 {
            let path = space.path(&format!("photos/{class}/{index}.png"));
            image::RgbImage::from_pixel(32, 32, image::Rgb([index, 9 * index, class.len() as u8])).save(path).unwrap();
        }
    }
    let output = space.run(&["init", "--data", "photos", "--backbone", weights().to_str().unwrap(), "--out", "mine"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for file in ["space", "budget"] {
        let text = std::fs::read_to_string(space.path(&format!("mine/{file}.yaml"))).unwrap();
        let first = text.lines().next().unwrap();
        let named = first.strip_prefix("# yaml-language-server: $schema=").unwrap_or_else(|| panic!("{first}"));
        let schema = std::fs::read(space.path(&format!("mine/{named}"))).unwrap();
        let validator = jsonschema::validator_for(&serde_json::from_slice(&schema).unwrap()).unwrap();
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        validator.validate(&value).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}
