//! A shard's way through a graph.

use super::maps::combine;
use super::plan::{Kind, Step};
use super::pool::Pooling;
use super::{GraphEngine, Workspace};
use crate::nn::engine::kernels::{Contraction, Depthwise, Epilogue, contract, depthwise};
use crate::nn::engine::map::Map;
use crate::nn::graph::Activation;

impl GraphEngine {
    /// Runs dense images up to node `last`, and calls `visit(node, layout, output)` after each.
    pub(super) fn run(
        &self,
        workspace: &mut Workspace,
        x: &[f32],
        last: usize,
        mut visit: impl FnMut(usize, Map, &[f32]),
    ) {
        let plan = &self.plan;
        let images = x.len() / plan.maps[0].shape.len();
        for (at, step) in plan.steps[..=last].iter().enumerate() {
            // A node's slot is none of its inputs'.
            let mut output = std::mem::take(&mut workspace.maps[plan.slot[at]]);
            plan.maps[at].clear_border(&mut output, images);
            match step.kind {
                Kind::Input => plan.maps[0].load(x, &mut output),
                _ => self.step(at, step, images, workspace, &mut output),
            }
            visit(at, plan.maps[at], &output);
            workspace.maps[plan.slot[at]] = output;
        }
    }

    /// One node but the image.
    fn step(&self, at: usize, step: &Step, images: usize, workspace: &Workspace, output: &mut [f32]) {
        let plan = &self.plan;
        let operand = |input: usize| (&workspace.maps[plan.slot[input]][..], plan.maps[input]);
        let ((input, from), to) = (operand(step.inputs[0]), plan.maps[at]);
        match &step.kind {
            Kind::Input => {}
            Kind::Conv(conv) => contract(
                self.level,
                Contraction {
                    images,
                    input,
                    input_map: from,
                    windows: conv.windows,
                    weights: &conv.forward,
                    output,
                    output_map: to,
                    epilogue: Epilogue::default(),
                },
            ),
            Kind::Depthwise(conv) => depthwise(
                self.level,
                Depthwise {
                    images,
                    input,
                    input_map: from,
                    windows: conv.windows,
                    kernel: conv.kernel,
                    dilation: conv.dilation,
                    weights: &conv.forward.weights,
                    bias: &conv.forward.bias,
                    output,
                    output_map: to,
                },
            ),
            Kind::Affine { scale, shift } => {
                for (row, from) in to.rows(images).zip(from.rows(images)) {
                    let pixels = output[row].chunks_exact_mut(scale.len());
                    for (output, input) in pixels.zip(input[from].chunks_exact(scale.len())) {
                        for (channel, (output, input)) in output.iter_mut().zip(input).enumerate() {
                            *output = scale[channel] * input + shift[channel];
                        }
                    }
                }
            }
            Kind::Activation(activation) => {
                for (row, from) in to.rows(images).zip(from.rows(images)) {
                    activate(*activation, &input[from], &mut output[row]);
                }
            }
            Kind::Pool { pool, windows } => {
                Pooling { images, pool, windows: *windows, from, to }.forward(input, output);
            }
            Kind::GlobalAverage => {
                let channels = from.shape.channels;
                for image in 0..images {
                    let output = &mut output[to.origin() + image * to.image()..][..channels];
                    output.fill(0.0);
                    for row in from.rows(1) {
                        let row = &input[image * from.image()..][row];
                        for pixel in row.chunks_exact(channels) {
                            output.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
                        }
                    }
                    let pixels = (from.shape.height * from.shape.width) as f32;
                    output.iter_mut().for_each(|sum| *sum /= pixels);
                }
            }
            Kind::Add | Kind::Mul => {
                combine(images, (&mut *output, to), (input, from), |output, value| *output = value);
                for &other in &step.inputs[1..] {
                    match step.kind {
                        Kind::Add => combine(images, (&mut *output, to), operand(other), |sum, value| *sum += value),
                        _ => combine(images, (&mut *output, to), operand(other), |product, value| *product *= value),
                    }
                }
            }
            Kind::Concat => {
                let mut first = 0;
                for (input, from) in step.inputs.iter().map(|&input| operand(input)) {
                    let channels = from.shape.channels;
                    for (row, from) in to.rows(images).zip(from.rows(images)) {
                        let pixels = output[row].chunks_exact_mut(to.shape.channels);
                        for (output, input) in pixels.zip(input[from].chunks_exact(channels)) {
                            output[first..first + channels].copy_from_slice(input);
                        }
                    }
                    first += channels;
                }
            }
            &Kind::Pad { top, left, value } => {
                for row in to.rows(images) {
                    output[row].fill(value);
                }
                for (place, from) in inside(images, from, to, top, left) {
                    output[place].copy_from_slice(&input[from]);
                }
            }
            Kind::Select(places) => {
                let width = from.shape.channels;
                for (row, from) in to.rows(images).zip(from.rows(images)) {
                    let pixels = output[row].chunks_exact_mut(places.len());
                    for (output, input) in pixels.zip(input[from].chunks_exact(width)) {
                        for (output, &place) in output.iter_mut().zip(places.iter()) {
                            *output = input[usize::from(place)];
                        }
                    }
                }
            }
        }
    }
}

/// For each row of `small`, where it lies in `large` with `top` rows and `left` columns before it, and its own range.
pub(super) fn inside(
    images: usize,
    small: Map,
    large: Map,
    top: usize,
    left: usize,
) -> impl Iterator<Item = (std::ops::Range<usize>, std::ops::Range<usize>)> {
    let height = small.shape.height;
    small.rows(images).enumerate().map(move |(at, row)| {
        let (image, y) = (at / height, at % height);
        let start = large.origin() + image * large.image() + (top + y) * large.row() + left * large.pixel();
        (start..start + row.len(), row)
    })
}

/// The activation of every value.
fn activate(activation: Activation, input: &[f32], output: &mut [f32]) {
    let values = output.iter_mut().zip(input);
    match activation {
        // Loops that the compiler turns into vectors.
        Activation::Relu => values.for_each(|(output, &x)| *output = x.max(0.0)),
        Activation::Clip { low, high } => values.for_each(|(output, &x)| *output = x.max(low).min(high)),
        activation => values.for_each(|(output, &x)| *output = activation.at(x)),
    }
}
