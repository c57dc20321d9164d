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

/// Nets whose maps branch, gate, pool and overlap.
const NETS: [&str; 12] = [
    "residual-projection",
    "residual-preactivation",
    "inverted-residual",
    "squeeze-excite",
    "inception",
    "concat-dense",
    "conv-groups",
    "conv-depthwise",
    "maxpool",
    "avgpool-include-pad-0",
    "swish",
    "preprocess",
];

fn image(side: usize, seed: f32) -> Vec<f32> {
    (0..3 * side * side).map(|i| ((i as f32 * 0.7 + seed).sin() * 91.7).sin()).collect()
}

/// A net cut to some channels computes these channels of the whole, and costs less the fewer they are.
#[test]
fn local_nets_compute_what_the_whole_net_computes() {
    use crate::nn::Keep;
    const SIDE: usize = 12;
    let mut cuts = 0;
    for net in NETS {
        let graph = read(&folder().join(format!("{net}.onnx"))).unwrap().graph;
        let x = image(SIDE, 0.3);
        for cut in graph.cuts() {
            let whole = graph.prefix(cut.end);
            let width = whole.widths()[cut.end];
            let expected = graph_outputs(&whole, &x, [1, 3, SIDE, SIDE]).pop().unwrap();
            let area = expected.len() / width;
            let mut before = 0;
            for channels in
                [vec![width as u16 - 1], (0..width as u16).step_by(2).collect(), (0..width as u16).collect()]
            {
                let local = graph.local(&cut, &Keep::Channels(&channels)).unwrap();
                let found = graph_outputs(&local, &x, [1, 3, SIDE, SIDE]).pop().unwrap();
                let kept = channels.iter().flat_map(|&c| &expected[usize::from(c) * area..][..area]);
                assert_eq!(found.len(), channels.len() * area, "{net} {}", cut.name);
                let scale = expected.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
                for (found, expected) in found.iter().zip(kept) {
                    assert!((found - expected).abs() <= 1e-5 * scale, "{net} {} {channels:?}", cut.name);
                }
                // A structure costs what the net costs.
                let cost = local.cost(SIDE, SIDE).unwrap();
                let structure = graph.structure().local(&cut, &Keep::Channels(&channels)).unwrap();
                assert_eq!(structure.cost(SIDE, SIDE).unwrap(), cost);
                assert!(cost.macs >= before, "{net} {}", cut.name);
                before = cost.macs;
            }
            let whole = whole.live().cost(SIDE, SIDE).unwrap();
            assert_eq!(before, whole.macs, "all channels cost what the whole costs");
            cuts += 1;
        }
    }
    assert!(cuts > 25, "{cuts} cuts");
}

/// White-box inversion descends on these gradients.
#[test]
fn gradients_by_the_image_are_differences_of_the_loss() {
    use crate::nn::{Device, Inverse, Target};
    const SIDE: usize = 12;
    for net in NETS {
        let graph = read(&folder().join(format!("{net}.onnx"))).unwrap().graph;
        let last = graph.cuts().pop().unwrap();
        let graph = graph.prefix(last.end).live();
        let values = graph.cost(SIDE, SIDE).unwrap().output.len();
        let mut inverse = Inverse::of_graph(&graph, SIDE, Device::Cpu).unwrap();
        let x = [image(SIDE, 1.0), image(SIDE, 2.0)].concat();
        let target: Vec<f32> = (0..2 * values).map(|i| (i as f32 * 0.37).cos()).collect();
        let (mut gradient, mut ignored) = (Vec::new(), Vec::new());
        inverse.differentiate(&x, 2, Target::Images(&target), &mut gradient).unwrap();
        assert!(gradient.iter().any(|g| g.abs() > 1e-7), "{net}: no gradient");
        let largest = gradient.iter().fold(0f32, |most, g| most.max(g.abs()));
        for at in (0..x.len()).step_by(53) {
            let mut slope = |step: f32| {
                let mut loss = |step: f32| {
                    let mut moved = x.clone();
                    moved[at] += step;
                    inverse.differentiate(&moved, 2, Target::Images(&target), &mut ignored).unwrap()
                };
                (loss(step) - loss(-step)) / (2.0 * step)
            };
            // Kinks of ReLUs and maxima lie within long steps, and short ones are lost in rounding: one of them is near.
            let slopes = [3e-2, 1e-2, 3e-3].map(&mut slope);
            let near = slopes.iter().any(|found| (found - gradient[at]).abs() < 0.03 * largest);
            assert!(near, "{net} {at}: {slopes:?} {} {largest}", gradient[at]);
        }
    }
}
