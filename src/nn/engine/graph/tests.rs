//! The engine's graphs against candle's tensors and autograd.

use std::sync::Arc;

use super::*;
use crate::nn::graph::tests::{conv, numbers, outputs, relu, shaped};
use crate::nn::graph::{Activation, Conv, Op, Padding, Pool, PoolKind};
use crate::nn::graph_executor::by_tensors;
use crate::nn::spec::Shape;

const SIDE: usize = 11;

fn chain(channels: usize, ops: Vec<Op>) -> Graph {
    let mut graph = Graph::new(channels);
    for (at, op) in ops.into_iter().enumerate() {
        graph.push(format!("{at}"), op, vec![at]).unwrap();
    }
    graph
}

fn explicit(border: [usize; 4]) -> Padding {
    Padding::Explicit(border)
}

fn pool(kind: PoolKind, kernel: [usize; 2], stride: usize, padding: Padding, ceil: bool) -> Op {
    Op::Pool(Pool { kind, kernel, stride, padding, ceil })
}

/// Every operation that the engine has, in odd sizes.
fn graphs() -> Vec<Graph> {
    let mean = |border| PoolKind::Average { border };
    let depthwise =
        |channels, kernel, stride, padding, seed| shaped(channels, channels, channels, kernel, stride, padding, seed);
    let dilated = |op: Op| match op {
        Op::Conv(conv) => Op::Conv(Conv { dilation: 2, ..conv }),
        other => other,
    };
    let activation = |activation| Op::Activation(activation);
    let mut graphs = vec![
        // ResNet's beginning, a kernel without padding, an oblong one, pixels alone with a stride.
        chain(
            3,
            vec![
                shaped(3, 20, 1, [7, 7], 2, explicit([3; 4]), 1),
                relu(),
                shaped(20, 5, 1, [1, 1], 2, explicit([0; 4]), 2),
            ],
        ),
        chain(
            3,
            vec![
                shaped(3, 6, 1, [3, 3], 1, explicit([0; 4]), 3),
                shaped(6, 34, 1, [2, 3], 1, explicit([0, 1, 1, 1]), 4),
            ],
        ),
        chain(
            2,
            vec![
                shaped(2, 40, 1, [3, 3], 2, Padding::SameUpper, 5),
                shaped(40, 3, 1, [5, 5], 3, Padding::SameLower, 6),
            ],
        ),
        // More border than the kernel reaches, and steps wider than the kernel.
        chain(
            3,
            vec![
                shaped(3, 4, 1, [3, 3], 4, explicit([2, 1, 4, 3]), 7),
                shaped(4, 4, 1, [1, 1], 1, explicit([1; 4]), 8),
            ],
        ),
        // A stride that leaves the last row over, without a border.
        chain(
            3,
            vec![shaped(3, 5, 1, [1, 1], 2, explicit([0; 4]), 24), shaped(5, 4, 1, [2, 2], 3, explicit([0; 4]), 25)],
        ),
        // The layers that Winograd's kernels take.
        chain(
            3,
            vec![conv(3, 32, 9), conv(32, 64, 10), relu(), pool(PoolKind::Max, [2, 2], 2, explicit([0; 4]), false)],
        ),
        chain(
            3,
            vec![
                shaped(3, 40, 1, [1, 1], 1, explicit([0; 4]), 11),
                activation(Activation::Clip { low: 0.0, high: 6.0 }),
                depthwise(40, [3, 3], 2, explicit([1; 4]), 12),
                activation(Activation::Clip { low: -0.3, high: 0.4 }),
                depthwise(40, [5, 3], 1, Padding::SameUpper, 13),
                shaped(40, 7, 1, [1, 1], 1, explicit([0; 4]), 14),
            ],
        ),
        chain(
            5,
            vec![
                dilated(depthwise(5, [3, 3], 1, explicit([2; 4]), 15)),
                dilated(depthwise(5, [3, 2], 2, explicit([1, 0, 2, 1]), 16)),
            ],
        ),
        chain(
            4,
            vec![
                pool(PoolKind::Max, [3, 3], 2, explicit([1; 4]), true),
                pool(mean(true), [3, 2], 1, explicit([1, 0, 1, 1]), false),
                pool(mean(false), [2, 2], 2, Padding::SameUpper, false),
            ],
        ),
        chain(
            4,
            vec![
                Op::Affine { scale: numbers(4, 17, 1.0), shift: numbers(4, 18, 0.5) },
                Op::Pad { border: [1, 2, 0, 1], value: 0.7 },
                Op::Select(Arc::new(vec![3, 0, 3])),
                pool(PoolKind::Max, [2, 2], 1, explicit([0; 4]), false),
                Op::GlobalAverage,
            ],
        ),
    ];
    for each in [
        Activation::LeakyRelu(0.1),
        Activation::Sigmoid,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::HardSwish,
        Activation::Swish,
        Activation::Tanh,
    ] {
        graphs.push(chain(3, vec![conv(3, 5, 19), activation(each)]));
    }
    // A residual block with a gate, branches, and channels that are repeated.
    let mut graph = Graph::new(3);
    let first = graph.push("first", conv(3, 18, 20), vec![0]).unwrap();
    let clipped = graph.push("relu", relu(), vec![first]).unwrap();
    let second = graph.push("second", conv(18, 18, 21), vec![clipped]).unwrap();
    let mean = graph.push("mean", Op::GlobalAverage, vec![second]).unwrap();
    let gate = graph.push("gate", shaped(18, 18, 1, [1, 1], 1, explicit([0; 4]), 22), vec![mean]).unwrap();
    let gate = graph.push("sigmoid", activation(Activation::Sigmoid), vec![gate]).unwrap();
    let gated = graph.push("gated", Op::Mul, vec![gate, second]).unwrap();
    let sum = graph.push("sum", Op::Add, vec![gated, clipped, second]).unwrap();
    let one = graph.push("one", shaped(18, 1, 1, [3, 3], 1, explicit([1; 4]), 23), vec![sum]).unwrap();
    let masked = graph.push("masked", Op::Mul, vec![sum, one]).unwrap();
    let squared = graph.push("squared", Op::Mul, vec![masked, masked]).unwrap();
    graph.push("all", Op::Concat, vec![squared, one, first]).unwrap();
    graphs.push(graph);
    graphs
}

fn images(graph: &Graph, n: usize) -> Vec<f32> {
    numbers(n * SIDE * SIDE * graph.input_channels(), 30, 1.0).to_vec()
}

/// `[n, height, width, channels]` as `[n, channels, height, width]`.
fn planar(values: &[f32], shape: Shape) -> Vec<f32> {
    let (pixels, channels) = (shape.height * shape.width, shape.channels);
    let image = |image: &[f32]| -> Vec<f32> {
        (0..image.len()).map(|at| image[at % pixels * channels + at / pixels]).collect()
    };
    values.chunks_exact(shape.len()).flat_map(image).collect()
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= 2e-5 * largest, "{what}, {at}: {found} for {expected}, up to {largest}");
    }
}

fn level_engines(graph: &Graph, purpose: Purpose) -> Vec<GraphEngine> {
    Level::available().into_iter().map(|level| GraphEngine::at(level, graph, SIDE, purpose).unwrap()).collect()
}

#[test]
fn every_node_is_that_of_candle() {
    for (number, graph) in graphs().iter().enumerate() {
        // More images than a shard.
        let n = SHARD_IMAGES + 3;
        let x = images(graph, n);
        let shapes: Vec<Shape> = graph.shapes(SIDE, SIDE).unwrap().into_iter().flatten().collect();
        let expected = outputs(graph, &planar(&x, shapes[0]), [n, graph.input_channels(), SIDE, SIDE]);
        for engine in level_engines(graph, Purpose::Outputs) {
            for kept in [true, false] {
                let last = graph.nodes().len() - 1;
                let mut met = Vec::new();
                engine
                    .forward(
                        &x,
                        last,
                        |node| kept || node == last,
                        |node, values| {
                            let what = format!("graph {number}, {}, {:?}", graph.nodes()[node].name, engine.level);
                            assert_close(&planar(values, shapes[node]), &expected[node], &what);
                            met.push(node);
                            Ok::<(), ()>(())
                        },
                    )
                    .unwrap();
                assert_eq!(met, if kept { (0..=last).collect() } else { vec![last] });
            }
        }
    }
}

#[test]
fn gradients_are_those_of_candle_or_differences() {
    let mut by_candle = 0;
    for (number, graph) in graphs().iter().enumerate() {
        let n = SHARD_IMAGES + 2;
        let x = images(graph, n);
        let shapes: Vec<Shape> = graph.shapes(SIDE, SIDE).unwrap().into_iter().flatten().collect();
        let wanted = numbers(n * shapes[shapes.len() - 1].len(), 31, 0.5);
        let target = Target::Images(&wanted);
        // candle differentiates no convolution with a stride that leaves rows over or whose kernel is oblong.
        let candle = by_tensors(graph, SIDE, &x, n, target);
        by_candle += usize::from(candle.is_ok());
        for engine in level_engines(graph, Purpose::Gradients) {
            let what = format!("graph {number}, {:?}", engine.level);
            let mut found = vec![0.0; x.len()];
            // Twice: buffers are used again.
            for _ in 0..2 {
                let got = engine.differentiate(&x, n, target, &mut found);
                match &candle {
                    Ok((loss, expected)) => {
                        assert!((got - loss).abs() <= 1e-5 * loss, "{what}: {got} for {loss}");
                        assert_close(&found, expected, &what);
                    }
                    Err(_) => assert_slope(&engine, &x, n, target, &found, &what),
                }
            }
        }
    }
    assert!(by_candle >= 10, "{by_candle}");
}

/// Compares a gradient with differences of the loss along itself and along a fixed direction.
fn assert_slope(engine: &GraphEngine, x: &[f32], n: usize, target: Target<'_>, gradient: &[f32], what: &str) {
    for direction in [gradient.to_vec(), numbers(x.len(), 33, 1.0).to_vec()] {
        let norm = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
        let at = |by: f32| {
            let moved: Vec<f32> = x.iter().zip(&direction).map(|(x, d)| x + by * d / norm).collect();
            f64::from(engine.differentiate(&moved, n, target, &mut vec![0.0; x.len()]))
        };
        let difference = (at(0.05) - at(-0.05)) / 0.1;
        let exact: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d / norm)).sum();
        assert!((difference - exact).abs() < 1e-2 * exact.abs().max(1e-3), "{what}: {exact} for {difference}");
    }
}

#[test]
fn what_has_no_kernel_is_left_to_candle() {
    let none = |op| GraphEngine::new(&chain(4, vec![op]), SIDE, Purpose::Outputs).is_none();
    assert!(none(Op::Flatten { channels_last: false }));
    assert!(none(shaped(4, 4, 2, [3, 3], 1, explicit([1; 4]), 1)));
    assert!(!none(conv(4, 4, 1)));
}

#[test]
fn borders_that_no_net_means_are_refused() {
    let wide = |dilation, padding| {
        let op = shaped(4, 4, 4, [3, 3], 1, padding, 1);
        let op = match op {
            Op::Conv(conv) => Op::Conv(Conv { dilation, ..conv }),
            other => other,
        };
        chain(4, vec![op]).cost(SIDE, SIDE).is_err()
    };
    assert!(wide(1 << 20, Padding::SameUpper) && wide(1 << 19, Padding::SameLower));
    assert!(wide(1, explicit([1000; 4])));
    assert!(!wide(4, Padding::SameUpper) && !wide(1, explicit([2; 4])));
}
