//! A shard's way back through a graph, to the image.

use super::forward::inside;
use super::maps::{combine, gather};
use super::plan::{Backward, Kind};
use super::pool::Pooling;
use super::{GraphEngine, Workspace};
use crate::nn::engine::kernels::{Contraction, Depthwise, Epilogue, contract, depthwise};
use crate::nn::engine::map::Map;
use crate::nn::graph::Activation;
use crate::nn::loss::Target;

impl GraphEngine {
    /// The part of these dense images in the mean loss of a batch of `batch`, and its gradient by them.
    pub(super) fn gradient(
        &self,
        workspace: &mut Workspace,
        x: &[f32],
        batch: usize,
        target: Target<'_>,
        gradient: &mut [f32],
    ) -> f64 {
        let plan = &self.plan;
        let images = x.len() / plan.maps[0].shape.len();
        let (last, map) = (plan.steps.len() - 1, plan.output());
        let outputs = images * map.shape.len();
        self.run(workspace, x, last, |_, _, _| {});
        map.unload(&workspace.maps[plan.slot[last]], &mut workspace.output[..outputs]);
        let by_output = &mut workspace.output_gradient[..outputs];
        let loss = target.contribution(&workspace.output[..outputs], map.shape.len(), batch, Some(by_output));
        // Gradients are dense: a layout without a border.
        workspace.gradients[..last].iter_mut().for_each(|gradient| gradient.fill(0.0));
        workspace.gradients[last][..outputs].copy_from_slice(by_output);
        for at in (1..=last).rev() {
            let above = std::mem::take(&mut workspace.gradients[at]);
            self.step_back(at, images, &above, workspace);
            workspace.gradients[at] = above;
        }
        gradient.copy_from_slice(&workspace.gradients[0][..gradient.len()]);
        loss
    }

    /// From the gradient by a node's output `above`, its part in those by its inputs, added to them.
    fn step_back(&self, at: usize, images: usize, above: &[f32], workspace: &mut Workspace) {
        let plan = &self.plan;
        let step = &plan.steps[at];
        let dense = |node: usize| Map { border: 0, ..plan.maps[node] };
        let (first, to) = (step.inputs[0], dense(at));
        let from = dense(first);
        let (values, maps) = (&workspace.maps, &plan.maps);
        let value = |node: usize| (&values[plan.slot[node]][..], maps[node]);
        match &step.kind {
            Kind::Input => {}
            Kind::Conv(conv) => {
                let Some(backward) = &conv.backward else { return };
                let input = spread(backward, images, (above, to), &mut workspace.spread);
                // What only this convolution reads has no other gradient.
                let direct = plan.steps[first].read_once;
                let below = &mut workspace.gradients[first];
                let output = if direct { &mut below[..] } else { &mut workspace.addend[..] };
                let weights = &backward.weights;
                let (windows, epilogue) = (backward.windows, Epilogue::default());
                contract(
                    self.level,
                    Contraction {
                        images,
                        input,
                        input_map: backward.map,
                        windows,
                        weights,
                        output,
                        output_map: from,
                        epilogue,
                    },
                );
                if !direct {
                    gather(images, (below, from), (&workspace.addend, from));
                }
            }
            Kind::Depthwise(conv) => {
                let Some(backward) = &conv.backward else { return };
                let input = spread(backward, images, (above, to), &mut workspace.spread);
                let job = Depthwise {
                    images,
                    input,
                    input_map: backward.map,
                    windows: backward.windows,
                    kernel: conv.kernel,
                    dilation: conv.dilation,
                    weights: &backward.weights.weights,
                    bias: &backward.weights.bias,
                    output: &mut workspace.addend,
                    output_map: from,
                };
                depthwise(self.level, job);
                gather(images, (&mut workspace.gradients[first], from), (&workspace.addend, from));
            }
            Kind::Affine { scale, .. } => {
                let below = workspace.gradients[first].chunks_exact_mut(scale.len());
                for (below, above) in below.zip(above[..images * to.image()].chunks_exact(scale.len())) {
                    for ((below, above), scale) in below.iter_mut().zip(above).zip(scale.iter()) {
                        *below += scale * above;
                    }
                }
            }
            Kind::Activation(activation) => {
                let ((input, map), below) = (value(first), &mut workspace.gradients[first]);
                for (row, input_row) in from.rows(images).zip(map.rows(images)) {
                    add_slopes(*activation, &input[input_row], &above[row.clone()], &mut below[row]);
                }
            }
            Kind::Pool { pool, windows } => {
                let (input, map) = value(first);
                let pooling = Pooling { images, pool, windows: *windows, from: map, to };
                pooling.backward(input, above, &mut workspace.gradients[first], from);
            }
            Kind::GlobalAverage => {
                let share = 1.0 / (from.shape.height * from.shape.width) as f32;
                let below = &mut workspace.gradients[first];
                combine(images, (below, from), (above, to), |below, above| *below += share * above);
            }
            Kind::Add => {
                for &input in &step.inputs {
                    gather(images, (&mut workspace.gradients[input], dense(input)), (above, to));
                }
            }
            Kind::Mul => {
                for (place, &input) in step.inputs.iter().enumerate() {
                    let product = &mut workspace.addend[..images * to.image()];
                    product.copy_from_slice(&above[..images * to.image()]);
                    for (other, &factor) in step.inputs.iter().enumerate() {
                        if other != place {
                            combine(images, (&mut *product, to), value(factor), |product, value| *product *= value);
                        }
                    }
                    gather(images, (&mut workspace.gradients[input], dense(input)), (product, to));
                }
            }
            Kind::Concat => {
                let mut start = 0;
                for &input in &step.inputs {
                    let channels = plan.maps[input].shape.channels;
                    let below = workspace.gradients[input].chunks_exact_mut(channels);
                    for (below, above) in below.zip(above[..images * to.image()].chunks_exact(to.shape.channels)) {
                        let part = &above[start..start + channels];
                        below.iter_mut().zip(part).for_each(|(below, above)| *below += above);
                    }
                    start += channels;
                }
            }
            &Kind::Pad { top, left, .. } => {
                let below = &mut workspace.gradients[first];
                for (place, row) in inside(images, from, to, top, left) {
                    below[row].iter_mut().zip(&above[place]).for_each(|(below, above)| *below += above);
                }
            }
            Kind::Select(places) => {
                let below = workspace.gradients[first].chunks_exact_mut(from.shape.channels);
                for (below, above) in below.zip(above[..images * to.image()].chunks_exact(places.len())) {
                    for (above, &place) in above.iter().zip(places.iter()) {
                        below[usize::from(place)] += above;
                    }
                }
            }
        }
    }
}

/// A dense gradient as a convolution's windows are laid over it: zeros between its pixels where it has a stride, and a border.
fn spread<'a, W>(
    backward: &Backward<W>,
    images: usize,
    (above, dense): (&'a [f32], Map),
    buffer: &'a mut [f32],
) -> &'a [f32] {
    let map = backward.map;
    if map == dense {
        return above;
    }
    buffer[..images * map.image()].fill(0.0);
    let (height, channels) = (dense.shape.height, dense.shape.channels);
    for (at, row) in dense.rows(images).enumerate() {
        let start = map.origin() + at / height * map.image() + at % height * backward.step * map.row();
        for (x, pixel) in above[row].chunks_exact(channels).enumerate() {
            buffer[start + x * backward.step * map.pixel()..][..channels].copy_from_slice(pixel);
        }
    }
    buffer
}

/// Adds to `below` the gradients `above`, each times the activation's slope at the input.
fn add_slopes(activation: Activation, input: &[f32], above: &[f32], below: &mut [f32]) {
    let values = below.iter_mut().zip(above.iter().zip(input));
    match activation {
        // Loops that the compiler turns into vectors.
        Activation::Relu => values.for_each(|(below, (&above, &x))| *below += if x > 0.0 { above } else { 0.0 }),
        Activation::Clip { low, high } => {
            values.for_each(|(below, (&above, &x))| *below += if x > low && x < high { above } else { 0.0 });
        }
        activation => values.for_each(|(below, (&above, &x))| *below += above * activation.slope(x)),
    }
}
