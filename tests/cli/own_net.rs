//! A net of one's own, as an ONNX file, from the space to the package.

use crate::support::{TinySpace, json, stderr};

/// A space whose net is one of the fixtures: a residual net of a few channels.
fn space(precision: &str) -> TinySpace {
    let space = TinySpace::new();
    let net = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/onnx/residual-projection.onnx");
    let text = std::fs::read_to_string(space.path("space.yaml")).expect("the space is written");
    let data = text.find("data:").expect("a space has data");
    let head = format!(
        "backbone: {{weights: {net}, preprocess: unit}}\nsplits:\n  conv_1: [2]\n  add_1: [1, 2]\n\
         selections: {{first: true, fisher: true}}\nprecision: {{weights: {precision}}}\n"
    );
    space.write("space.yaml", format!("{head}{}", &text[data..]).as_bytes());
    space
}

#[test]
fn an_onnx_net_goes_from_the_space_to_a_package_that_a_runtime_agrees_with() {
    for precision in ["f16", "int8"] {
        let space = space(precision);
        let found = space.run(&["optimize", "budget.yaml", "--json"]);
        assert_eq!(found.status.code(), Some(0), "{}", stderr(&found));
        let found = json(&found);
        let export = space.run(&["export", "tiny", "--out", "package"]);
        let said = String::from_utf8_lossy(&export.stdout).into_owned();
        assert_eq!(export.status.code(), Some(0), "{}", stderr(&export));
        assert!(said.contains("an ONNX runtime (tract) equals it within"), "{said}");
        let manifest = std::fs::read_to_string(space.path("package/manifest.json")).unwrap();
        assert!(manifest.contains(&format!("\"weights_precision\": \"{precision}\"")), "{manifest}");
        assert!(manifest.contains("residual-projection.onnx"), "{manifest}");
        for file in ["local_net.onnx", "cloud_net.onnx"] {
            assert!(space.path("package").join(file).is_file(), "{file}");
        }
        assert!(found["design"]["split"] == "add_1" || found["design"]["split"] == "conv_1", "{found:#}");
    }
}

#[test]
fn what_an_onnx_space_lacks_is_named() {
    let space = space("f16");
    let refused = |from: &str, to: &str, parts: &[&str]| {
        space.edit("space.yaml", from, to);
        let output = space.run(&["check", "budget.yaml"]);
        assert_eq!(output.status.code(), Some(2));
        for part in parts {
            assert!(stderr(&output).contains(part), "{part}: {}", stderr(&output));
        }
        space.edit("space.yaml", to, from);
    };
    refused(
        "preprocess: unit",
        "colours: rgb",
        &["backbone.preprocess", "residual-projection.onnx", "imagenet, caffe, unit"],
    );
    refused("preprocess: unit", "preprocess: units", &["space.yaml:1", "imagenet"]);
    refused("{weights: /", "{architecture: vgg16, weights: /", &["backbone.architecture", "leave this line out"]);
    refused("add_1:", "add_9:", &["splits.add_9", "did you mean `add_1`", "conv_1, add_1"]);
    refused("residual-projection.onnx", "truncated.onnx", &["backbone.weights", "truncated.onnx", "export it again"]);
    refused("residual-projection.onnx", "external.onnx", &["another file", "external_data=False"]);
    refused("residual-projection.onnx", "none.onnx", &["none.onnx", "check that it exists"]);
}
