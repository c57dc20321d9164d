//! Small nets for tests of graphs.

use std::sync::Arc;

use super::*;

/// Numbers that look random and depend on `seed` alone.
pub(crate) fn numbers(n: usize, seed: u64, scale: f32) -> Values {
    let value = |i: usize| ((i as f32 * 0.731 + seed as f32 * 1.37).sin() * 43.7).sin() * scale;
    Arc::new((0..n).map(value).collect())
}

/// A 3×3 convolution with padding.
pub(crate) fn conv(input: usize, output: usize, seed: u64) -> Op {
    shaped(input, output, 1, [3, 3], 1, Padding::Explicit([1; 4]), seed)
}

/// Any convolution without dilation.
pub(crate) fn shaped(
    input: usize,
    output: usize,
    groups: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
    seed: u64,
) -> Op {
    let size = input / groups * kernel[0] * kernel[1];
    let scale = 1.5 / (size as f32).sqrt();
    let (weight, bias) = (numbers(size * output, seed, scale), numbers(output, seed + 100, 0.3));
    Op::Conv(Conv { input, output, groups, kernel, stride, dilation: 1, padding, weight, bias })
}

pub(crate) fn relu() -> Op {
    Op::Activation(Activation::Relu)
}

/// The output of every node up to the first that isn't supported, for `n` images `[n, channels, height, width]`, in that order of dimensions.
pub(crate) fn outputs(graph: &Graph, x: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<Vec<f32>> {
    let device = candle_core::Device::Cpu;
    let x = candle_core::Tensor::from_slice(x, (n, c, h, w), &device).unwrap();
    let mut outputs = Vec::new();
    let runner = GraphRunner::new(graph, &device).unwrap();
    let keep = |_, output: &candle_core::Tensor| {
        outputs.push(output.flatten_all()?.to_vec1()?);
        Ok::<(), candle_core::Error>(())
    };
    let runnable = graph.nodes.iter().take_while(|node| !matches!(node.op, Op::Unsupported(_))).count();
    runner.forward(&x, runnable - 1, |_| true, keep).unwrap();
    outputs
}
