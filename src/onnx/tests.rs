//! Small nets of every operation against onnxruntime's values, and files that must be refused. `tests/onnx/make.py` wrote both.

use std::path::PathBuf;

use safetensors::SafeTensors;

use super::*;
use crate::nn::graph_outputs;

pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/onnx")
}

/// The files of one list in the fixtures' README.
pub(super) fn files(heading: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder().join("README.md")).unwrap();
    let part = text.split("\n## ").find(|part| part.starts_with(heading)).unwrap();
    let names = part.lines().filter_map(|line| line.strip_prefix("- `")?.split('`').next());
    names.filter(|name| name.ends_with(".onnx")).map(str::to_owned).collect()
}

/// onnxruntime's values of a net's tensors, by name: shape and numbers.
pub(super) fn expected<'a>(all: &'a SafeTensors<'_>, net: &str) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let prefix = format!("{net}/");
    let of = |name: &'a str| {
        let view = all.tensor(name).unwrap();
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (name[prefix.len()..].to_owned(), view.shape().to_vec(), values)
    };
    all.names().into_iter().filter(|name| name.starts_with(&prefix)).map(of).collect()
}

/// Images as `[n, channels, height, width]`.
pub(super) fn channels_first(values: &[f32], shape: &[usize], layout: Layout) -> (Vec<f32>, [usize; 4]) {
    match (layout, shape) {
        (Layout::ChannelsLast, &[n, h, w, c]) => {
            let at = |i: usize| ((i / (c * h * w) * h + i / w % h) * w + i % w) * c + i / (h * w) % c;
            ((0..values.len()).map(|i| values[at(i)]).collect(), [n, c, h, w])
        }
        (_, &[n, c, h, w]) => (values.to_vec(), [n, c, h, w]),
        _ => panic!("an image of shape {shape:?}"),
    }
}

/// Compares what can be run of a net with onnxruntime; returns how many tensors were compared.
fn compare(file: &str, all: &SafeTensors<'_>) -> usize {
    let net = file.trim_end_matches(".onnx");
    let imported = read(&folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let expected = expected(all, net);
    let input = expected.iter().find(|(name, ..)| name == "input").unwrap_or_else(|| panic!("{net} has no input"));
    let (x, shape) = channels_first(&input.2, &input.1, imported.layout);
    let found = graph_outputs(&imported.graph, &x, shape);
    let tolerance = if net.starts_with("f16") { 4e-3 } else { 1e-4 };
    let mut compared = 0;
    for (node, values) in imported.graph.nodes().iter().zip(&found) {
        let Some((_, _, expected)) = expected.iter().find(|(name, ..)| *name == node.output) else {
            continue;
        };
        assert_eq!(values.len(), expected.len(), "{net}: {}", node.output);
        let scale = expected.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
        for (found, expected) in values.iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance * scale, "{net}: {}: {found} {expected}", node.output);
        }
        compared += 1;
    }
    compared
}

#[test]
fn supported_nets_give_onnxruntimes_values() {
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let files = files("Read\n");
    assert!(files.len() > 60, "{files:?}");
    for file in files {
        let imported = read(&folder().join(&file)).unwrap_or_else(|error| panic!("{error}"));
        // Probabilities at the end are no feature maps.
        let unsupported = imported.graph.first_unsupported();
        assert!(unsupported.is_none_or(|(_, op)| op == "Softmax"), "{file}: {unsupported:?}");
        assert!(compare(&file, &all) > 0, "{file}: nothing compared");
    }
}

#[test]
fn doubtful_nets_are_right_as_far_as_they_are_read() {
    let bytes = std::fs::read(folder().join("expected.safetensors")).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    for file in files("Read, or refused") {
        let Ok(imported) = read(&folder().join(&file)) else {
            continue;
        };
        if imported.graph.first_unsupported().is_none() && !expected(&all, file.trim_end_matches(".onnx")).is_empty() {
            assert!(compare(&file, &all) > 0, "{file}: nothing compared");
        }
    }
}

fn shapes(imported: &Imported) -> Result<(), crate::nn::GraphError> {
    let [height, width] = imported.size.unwrap_or([6, 6]);
    imported.graph.shapes(height, width).map(drop)
}

#[test]
fn bad_files_are_refused_or_end_before_what_is_wrong() {
    for file in files("Refused") {
        let text = match read(&folder().join(&file)) {
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&file), "{text}");
                text
            }
            Ok(imported) => match (imported.graph.first_unsupported(), shapes(&imported)) {
                (Some((node, op)), _) => format!("{node} {op}"),
                (None, Err(error)) => error.to_string(),
                (None, Ok(_)) => panic!("{file} was read whole: {:?}", imported.graph),
            },
        };
        assert!(!text.is_empty());
    }
}

#[test]
fn changed_bytes_never_panic() {
    let good = std::fs::read(folder().join("residual-projection.onnx")).unwrap();
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for _ in 0..3000 {
        let mut bytes = good.clone();
        for _ in 0..1 + random(4) {
            let at = random(bytes.len());
            bytes[at] = random(256) as u8;
        }
        bytes.truncate(good.len() - if random(4) == 0 { random(good.len()) } else { 0 });
        if let Ok(imported) = import(&bytes) {
            let _ = imported.graph.shapes(16, 16);
            let _ = imported.graph.cuts();
        }
    }
}
