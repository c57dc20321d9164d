//! Written files against the graphs that they were written from: read back, and run by another runtime.

use std::sync::Arc;

use half::f16;
use prost::Message;
use safetensors::SafeTensors;

use super::*;
use crate::nn::{
    Activation, BuildOptions, Calibration, Conv, GraphOp as Op, NetSpec, Padding, Pool, PoolKind, Values, build,
    graph_outputs, initialise,
};
use crate::onnx::proto::Model;
use crate::onnx::tests::{channels_first, expected, files, folder};
use crate::onnx::{Difference, Runtime, cloud_net, import, local_net, read};

/// Largest difference relative to the output's largest value.
const TOLERANCE: f32 = 1e-4;

fn options(size: [usize; 2], precision: WeightPrecision) -> WriteOptions<'static> {
    let (input, output) = ("image", "features");
    WriteOptions { input, output, size, image: None, batch: Batch::Any, precision, metadata: &[] }
}

/// Numbers that look random.
fn numbers(n: usize, seed: u64, scale: f32) -> Values {
    let value = |i: usize| ((i as f32 * 0.731 + seed as f32 * 1.37).sin() * 43.7).sin() * scale;
    Arc::new((0..n).map(value).collect())
}

fn conv(input: usize, output: usize, groups: usize, kernel: [usize; 2], stride: usize, padding: Padding) -> Conv {
    let size = input / groups * kernel[0] * kernel[1];
    let weight = numbers(size * output, output as u64, 1.5 / (size as f32).sqrt());
    Conv { input, output, groups, kernel, stride, dilation: 1, padding, weight, bias: numbers(output, 5, 0.3) }
}

/// What the graph computes of an image, `[n, channels, rows, columns]`.
fn computed(graph: &Graph, x: &[f32], shape: [usize; 4]) -> Vec<f32> {
    graph_outputs(graph, x, shape).pop().unwrap()
}

/// Writes the graph, runs the file and holds it against the graph.
fn check(name: &str, graph: &Graph, x: &[f32], shape: [usize; 4], precision: WeightPrecision) -> Vec<u8> {
    let file = write(graph, &options([shape[2], shape[3]], precision)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let runtime = Runtime::load(&file, &shape).unwrap_or_else(|error| panic!("{name}: {error}"));
    let found = runtime.run(x).unwrap_or_else(|error| panic!("{name}: {error}"));
    let expected = computed(graph, x, shape);
    let difference = Difference::of(&found.values, &expected, shape[0]);
    assert!(difference.relative <= TOLERANCE, "{name}: {difference:?}");
    file
}

/// A fixture's graph up to what isn't supported, and images for it.
fn fixture(file: &str, all: &SafeTensors<'_>) -> (Graph, Vec<f32>, [usize; 4]) {
    let imported = read(&folder().join(file)).unwrap();
    let tensors = expected(all, file.trim_end_matches(".onnx"));
    let input = tensors.iter().find(|(name, ..)| name == "input").unwrap();
    let (x, shape) = channels_first(&input.2, &input.1, imported.layout);
    let nodes = imported.graph.nodes();
    let runnable = nodes.iter().take_while(|node| !matches!(node.op, Op::Unsupported(_))).count();
    (imported.graph.prefix(runnable - 1).live(), x, shape)
}

fn recorded() -> Vec<u8> {
    std::fs::read(folder().join("expected.safetensors")).unwrap()
}

#[test]
fn every_net_that_is_read_is_written_and_read_again() {
    let bytes = recorded();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    for file in files("Read\n") {
        let (graph, x, shape) = fixture(&file, &all);
        let written = check(&file, &graph, &x, shape, WeightPrecision::F32);
        let again = import(&written).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(again.graph.first_unsupported(), None, "{file}");
        assert_eq!(again.size, Some([shape[2], shape[3]]), "{file}");
        let difference = Difference::of(&computed(&again.graph, &x, shape), &computed(&graph, &x, shape), shape[0]);
        assert!(difference.relative < 1e-5, "{file}: {difference:?}");
    }
}

#[test]
fn stored_weights_are_those_that_were_measured() {
    let bytes = recorded();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let weights = |graph: &Graph| -> Vec<Values> {
        let of = |node: &crate::nn::Node| if let Op::Conv(conv) = &node.op { Some(conv.weight.clone()) } else { None };
        graph.nodes().iter().filter_map(of).collect()
    };
    let nets = ["vgg", "residual-projection", "inverted-residual", "concat-dense", "inception", "flatten-gemm"];
    for file in nets.map(|net| format!("{net}.onnx")) {
        let (graph, x, shape) = fixture(&file, &all);
        let half = graph.map_weights(|values, _| values.iter().map(|&v| f16::from_f32(v).to_f32()).collect());
        let calibration = Calibration { images: &x, shape };
        let int8 = graph.quantised(Some(&calibration)).unwrap();
        let sizes = [(graph, WeightPrecision::F32), (half, WeightPrecision::F16), (int8, WeightPrecision::Int8)].map(
            |(graph, precision)| {
                let written = check(&file, &graph, &x, shape, precision);
                let again = import(&written).unwrap();
                for (found, expected) in weights(&again.graph).iter().zip(weights(&graph)) {
                    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
                    assert_eq!(bits(found), bits(&expected), "{file} {precision:?}");
                }
                written.len()
            },
        );
        assert!(sizes[0] > 0 && sizes[1] > 0 && sizes[2] > 0, "{sizes:?}");
    }
}

/// A graph with every operation that a map goes through, and its image's shape.
fn of_all_operations() -> (Graph, [usize; 4]) {
    let mut graph = Graph::new(3);
    let mut at = 0;
    let activations = [
        Activation::Relu,
        Activation::Clip { low: -0.4, high: 0.9 },
        Activation::Clip { low: f32::NEG_INFINITY, high: 0.8 },
        Activation::Clip { low: -0.3, high: f32::INFINITY },
        Activation::LeakyRelu(0.15),
        Activation::Sigmoid,
        Activation::HardSigmoid { alpha: 0.25, beta: 0.4 },
        Activation::HardSwish,
        Activation::Swish,
        Activation::Tanh,
    ];
    for (index, activation) in activations.into_iter().enumerate() {
        let padding = [Padding::Explicit([1, 0, 1, 2]), Padding::SameUpper, Padding::SameLower][index % 3];
        let input = if at == 0 { 3 } else { 6 };
        let kernel = [[3, 3], [2, 3], [1, 2]][index % 3];
        at = graph.push("conv", Op::Conv(conv(input, 6, [1, 3][index % 2], kernel, 1, padding)), vec![at]).unwrap();
        at = graph.push("", Op::Activation(activation), vec![at]).unwrap();
    }
    let pool = |kind, kernel, stride, padding, ceil| Op::Pool(Pool { kind, kernel, stride, padding, ceil });
    let (inside, border) = (PoolKind::Average { border: false }, PoolKind::Average { border: true });
    let explicit = Padding::Explicit([1, 0, 0, 1]);
    let a = graph.push("a", pool(PoolKind::Max, [3, 3], 2, explicit, true), vec![at]).unwrap();
    let b = graph.push("b", pool(inside, [3, 3], 2, explicit, true), vec![at]).unwrap();
    let c = graph.push("c", pool(border, [3, 3], 2, explicit, true), vec![at]).unwrap();
    let gate = graph.push("gate", Op::GlobalAverage, vec![a]).unwrap();
    let product = graph.push("product", Op::Mul, vec![b, gate]).unwrap();
    let sum = graph.push("sum", Op::Add, vec![a, product, c, gate]).unwrap();
    let one = graph.push("one", Op::Add, vec![sum]).unwrap();
    let joined = graph.push("joined", Op::Concat, vec![one, b, c]).unwrap();
    let some = graph.push("some", Op::Select(Arc::new(vec![17, 0, 3, 9])), vec![joined]).unwrap();
    let mut at = some;
    for (scale, shift) in [(1.0, 0.0), (0.7, 0.0), (1.0, 0.2), (0.5, -0.1)] {
        let op = Op::Affine { scale: Arc::new(vec![scale; 4]), shift: Arc::new(vec![shift; 4]) };
        at = graph.push("affine", op, vec![at]).unwrap();
    }
    let at = graph.push("border", Op::Pad { border: [0, 1, 2, 0], value: 0.25 }, vec![at]).unwrap();
    graph.push("half", pool(inside, [2, 2], 2, Padding::SameUpper, false), vec![at]).unwrap();
    (graph, [2, 3, 9, 7])
}

#[test]
fn every_operation_is_written() {
    let (mut graph, shape) = of_all_operations();
    let x = numbers(shape.iter().product(), 3, 1.0);
    let written = check("maps", &graph, &x, shape, WeightPrecision::F32);
    let again = import(&written).unwrap().graph;
    let difference = Difference::of(&computed(&again, &x, shape), &computed(&graph, &x, shape), 2);
    assert!(difference.relative < 1e-5, "{difference:?}");
    for precision in [WeightPrecision::F16, WeightPrecision::Int8] {
        let rounded = graph.map_weights(|values, _| values.iter().map(|&v| f16::from_f32(v).to_f32()).collect());
        let graph = if precision == WeightPrecision::F16 { rounded } else { graph.quantised(None).unwrap() };
        check("maps", &graph, &x, shape, precision);
    }
    for (last, channels_last) in [(graph.nodes().len() - 1, true), (graph.nodes().len() - 2, false)] {
        let mut graph = graph.prefix(last);
        let size = graph.cost(shape[2], shape[3]).unwrap().output.len();
        let mut at = graph.push("flat", Op::Flatten { channels_last }, vec![last]).unwrap();
        let linear = conv(size, 7, 1, [1, 1], 1, Padding::Explicit([0; 4]));
        at = graph.push("linear", Op::Conv(linear), vec![at]).unwrap();
        at = graph.push("swish", Op::Activation(Activation::Swish), vec![at]).unwrap();
        let op = Op::Affine { scale: numbers(7, 1, 2.0), shift: numbers(7, 2, 1.0) };
        at = graph.push("norm", op, vec![at]).unwrap();
        at = graph.push("twice", Op::Concat, vec![at, at]).unwrap();
        at = graph.push("again", Op::Flatten { channels_last }, vec![at]).unwrap();
        graph.push("mean", Op::GlobalAverage, vec![at]).unwrap();
        check("vectors", &graph, &x, shape, WeightPrecision::F32);
    }
    graph = Graph::new(3);
    check("nothing", &graph, &x, shape, WeightPrecision::F32);
}

#[test]
fn the_bytes_of_parameters_are_counted() {
    let mut graph = Graph::new(3);
    let at = graph.push("conv", Op::Conv(conv(3, 5, 1, [3, 3], 1, Padding::SameUpper)), vec![0]).unwrap();
    let at = graph.push("tanh", Op::Activation(Activation::Tanh), vec![at]).unwrap();
    let op = Op::Affine { scale: numbers(5, 1, 2.0), shift: numbers(5, 2, 1.0) };
    graph.push("norm", op, vec![at]).unwrap();
    let graph = graph.quantised(None).unwrap();
    for (precision, expected) in
        [(WeightPrecision::F32, 600), (WeightPrecision::F16, 300), (WeightPrecision::Int8, 135 + 45 + 40)]
    {
        let model = Model::decode(&*write(&graph, &options([6, 6], precision)).unwrap()).unwrap();
        let stored: usize =
            model.graph.unwrap().initializer.iter().filter_map(|tensor| tensor.raw_data.as_ref()).map(Vec::len).sum();
        assert_eq!((precision.bytes(&graph), stored), (expected, expected as usize), "{precision:?}");
    }
}

#[test]
fn images_are_prepared_inside() {
    let mut graph = Graph::new(3);
    let at = graph.push("conv", Op::Conv(conv(3, 5, 1, [3, 3], 1, Padding::Explicit([1; 4]))), vec![0]).unwrap();
    graph.push("relu", Op::Activation(Activation::Relu), vec![at]).unwrap();
    let graph = graph.quantised(None).unwrap();
    let (scale, shift) = ([1.0 / 58.4, 1.0 / 57.1, 1.0 / 57.4], [-2.1, -2.0, -1.8]);
    let bytes: Vec<f32> = (0..3 * 5 * 6).map(|i| (i * 37 % 256) as f32).collect();
    // 5×6 in 8×8: one row before and two behind, one column on either side.
    let at = |i: usize| (i / 64, (i / 8 % 8).wrapping_sub(1), (i % 8).wrapping_sub(1));
    let byte = |c: usize, y: usize, x: usize| if y < 5 && x < 6 { bytes[(c * 5 + y) * 6 + x] } else { 0.0 };
    let prepared: Vec<f32> = (0..192).map(at).map(|(c, y, x)| scale[c] * byte(c, y, x) + shift[c]).collect();
    let expected = computed(&graph, &prepared, [1, 3, 8, 8]);
    for pixels in [PixelType::Float, PixelType::Byte] {
        for precision in [WeightPrecision::F32, WeightPrecision::Int8] {
            let image = ImageInput { scale, shift, content: [5, 6], side: 8, pixels };
            let file = local_net(&graph, &image, precision, &[]).unwrap();
            let runtime = Runtime::load(&file, &[1, 3, 5, 6]).unwrap();
            let found = runtime.run(&bytes).unwrap();
            assert_eq!(found.shape, [1, 5, 8, 8]);
            let difference = Difference::of(&found.values, &expected, 1);
            assert!(difference.relative < 1e-5, "{pixels:?} {precision:?}: {difference:?}");
            assert!(runtime.run(&bytes[1..]).is_err());
            let error = runtime.run(&[0.5; 90]).is_err();
            assert_eq!(error, pixels == PixelType::Byte);
        }
    }
}

#[test]
fn cloud_nets_predict_what_they_were_trained_to() {
    let input = Shape::new(8, 8, 5);
    let spec = NetSpec::reference_classifier(input, 4).unwrap();
    let params = initialise(&spec, 9);
    let (mean, mut inverse_sd) = (numbers(5, 1, 3.0), numbers(5, 2, 2.0).to_vec());
    // One channel that was constant: only rounding is left of it, which must not be blown up.
    inverse_sd[2] = 1e9;
    let features: Vec<f32> = (0..3 * input.len())
        .map(|i| if i / 64 % 5 == 2 { mean[2] } else { (i as f32 * 0.37).sin() * 3.0 + 1.0 })
        .collect();
    let last: Vec<f32> = (0..features.len())
        .map(|i| {
            let (image, pixel, channel) = (i / input.len(), i / 5 % 64, i % 5);
            (features[image * input.len() + channel * 64 + pixel] - mean[channel]) * inverse_sd[channel]
        })
        .collect();
    let mut expected = Vec::new();
    build(&spec, &params, &BuildOptions::default()).unwrap().predict(&last, 3, &mut expected).unwrap();

    let file = cloud_net(&spec, &params, &mean, &inverse_sd, &[]).unwrap();
    let found = Runtime::load(&file, &[3, 5, 8, 8]).unwrap().run(&features).unwrap();
    assert_eq!(found.shape, [3, 4]);
    let difference = Difference::of(&found.values, &expected, 3);
    assert!(difference.relative < TOLERANCE, "{difference:?}");

    let error = cloud_net(&spec, &params, &mean[1..], &inverse_sd, &[]).unwrap_err();
    assert!(matches!(error, WriteError::Standardisation { means: 4, scales: 5, channels: 5 }), "{error}");
}

#[test]
fn files_say_what_they_are() {
    let mut graph = Graph::new(3);
    let at = graph.push("features", Op::Conv(conv(3, 2, 1, [3, 3], 2, Padding::SameUpper)), vec![0]).unwrap();
    graph.push("relu", Op::Activation(Activation::Relu), vec![at]).unwrap();
    let image = ImageInput { scale: [1.0; 3], shift: [0.0; 3], content: [6, 6], side: 6, pixels: PixelType::Float };
    let study = [("study".to_owned(), "a-study".to_owned())];
    let file = local_net(&graph, &image, WeightPrecision::F16, &study).unwrap();
    let model = Model::decode(&*file).unwrap();
    assert_eq!((model.ir_version, model.opset_import[0].version), (Some(7), Some(13)));
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
    let metadata: Vec<(String, String)> = model.metadata_props.iter().map(|p| (text(&p.key), text(&p.value))).collect();
    assert_eq!(metadata[0].0, "input");
    assert!(metadata[0].1.contains("image: RGB, float32 from 0 to 255, [1, 3, 6, 6]"), "{}", metadata[0].1);
    assert_eq!(metadata[1], ("output".to_owned(), "features: float32, [1, 2, 3, 3]".to_owned()));
    assert_eq!(metadata[2], ("weights".to_owned(), "float16".to_owned()));
    assert_eq!(metadata[3], study[0]);
    // Nothing is done to the image where nothing is needed, and names don't collide with the output's.
    let graph = model.graph.unwrap();
    let kinds: Vec<&str> = graph.node.iter().filter_map(|node| node.op_type.as_deref()).collect();
    assert_eq!(kinds, ["Cast", "Cast", "Conv", "Relu"]);
    assert_eq!(graph.node[3].output, ["features"]);
    assert_ne!(graph.node[2].output, ["features"]);
}

#[test]
fn what_can_t_be_written_is_refused() {
    let refuse = |graph: &Graph, precision| write(graph, &options([6, 6], precision)).unwrap_err();
    let mut graph = Graph::new(3);
    let mut large = conv(3, 2, 1, [3, 3], 1, Padding::SameUpper);
    large.bias = Arc::new(vec![0.0, 1e5]);
    let at = graph.push("large", Op::Conv(large), vec![0]).unwrap();
    let error = refuse(&graph, WeightPrecision::Int8);
    assert!(matches!(&error, WriteError::NotQuantised { node } if node == "large"), "{error}");
    let error = refuse(&graph, WeightPrecision::F16);
    assert!(matches!(error, WriteError::Overflow { value: 1e5, .. }), "{error}");
    let image = ImageInput { scale: [1.0; 3], shift: [0.0; 3], content: [7, 5], side: 6, pixels: PixelType::Byte };
    let error = local_net(&graph, &image, WeightPrecision::F32, &[]).unwrap_err();
    assert!(error.to_string().contains("7×5"), "{error}");
    let flat = graph.push("flat", Op::Flatten { channels_last: false }, vec![at]).unwrap();
    let mut padded = graph.clone();
    padded.push("pad", Op::Pad { border: [1; 4], value: 0.0 }, vec![flat]).unwrap();
    let error = refuse(&padded, WeightPrecision::F32);
    assert!(matches!(&error, WriteError::Vector { node, .. } if node == "pad"), "{error}");
    graph.push("lstm", Op::Unsupported("LSTM".to_owned()), vec![flat]).unwrap();
    let error = refuse(&graph, WeightPrecision::F32);
    assert!(error.to_string().contains("LSTM"), "{error}");
}
