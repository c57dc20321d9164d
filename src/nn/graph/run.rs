//! Graphs on candle tensors, on the CPU or a CUDA device: outputs, and gradients by the image.

use candle_core::{Device as CandleDevice, Result, Tensor};

use super::shapes::Windows;
use super::{Activation, Conv, Graph, Node, Op, Pool, PoolKind, Values};

/// A graph with its weights on a device.
pub(in crate::nn) struct GraphRunner {
    nodes: Vec<(Node, Weights)>,
    /// For each node, the last one that takes its output.
    last_use: Vec<usize>,
}

/// A node's numbers on the device, shaped for broadcasting.
enum Weights {
    None,
    Pair(Tensor, Tensor),
    Indices(Tensor),
}

impl GraphRunner {
    /// Copies the weights to `device`.
    pub(in crate::nn) fn new(graph: &Graph, device: &CandleDevice) -> Result<Self> {
        let mut last_use: Vec<usize> = (0..graph.nodes.len()).collect();
        let mut nodes = Vec::with_capacity(graph.nodes.len());
        for (at, node) in graph.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&input| last_use[input] = at);
            let channels = |values: &Values| Tensor::from_slice(values, (1, values.len(), 1, 1), device);
            let weights = match &node.op {
                Op::Conv(conv) => {
                    let Conv { input, output, groups, kernel: [rows, columns], .. } = *conv;
                    let weight = Tensor::from_slice(&conv.weight, (output, input / groups, rows, columns), device)?;
                    Weights::Pair(weight, channels(&conv.bias)?)
                }
                Op::Affine { scale, shift } => Weights::Pair(channels(scale)?, channels(shift)?),
                Op::Select(places) => {
                    let places: Vec<u32> = places.iter().map(|&place| u32::from(place)).collect();
                    Weights::Indices(Tensor::from_slice(&places, places.len(), device)?)
                }
                _ => Weights::None,
            };
            // The numbers are on the device now: what describes them is kept, not a second copy.
            nodes.push((Node { op: node.op.without_numbers(), ..node.clone() }, weights));
        }
        Ok(Self { nodes, last_use })
    }

    /// Runs images `x`, `[n, channels, height, width]`, up to node `last`, and hands the output of each node that `wanted`
    /// names to `receive`. Returns the last output.
    pub(in crate::nn) fn forward<E: From<candle_core::Error>>(
        &self,
        x: &Tensor,
        last: usize,
        wanted: impl Fn(usize) -> bool,
        mut receive: impl FnMut(usize, &Tensor) -> std::result::Result<(), E>,
    ) -> std::result::Result<Tensor, E> {
        let mut outputs: Vec<Option<Tensor>> = vec![None; last + 1];
        for (at, (node, weights)) in self.nodes[..=last].iter().enumerate() {
            let inputs: Vec<&Tensor> = node.inputs.iter().filter_map(|&input| outputs[input].as_ref()).collect();
            let output = match at {
                0 => x.clone(),
                _ => node.op.run(&inputs, weights)?,
            };
            if wanted(at) {
                receive(at, &output)?;
            }
            outputs[at] = Some(output);
            for &input in &node.inputs {
                if self.last_use[input] <= at {
                    outputs[input] = None;
                }
            }
        }
        outputs.pop().flatten().ok_or_else(|| missing("an output").into())
    }
}

fn missing(what: &str) -> candle_core::Error {
    candle_core::Error::Msg(format!("a node lacks {what}"))
}

impl Op {
    fn without_numbers(&self) -> Self {
        match self {
            Self::Conv(conv) => Self::Conv(Conv { weight: Values::default(), bias: Values::default(), ..conv.clone() }),
            Self::Affine { .. } => Self::Affine { scale: Values::default(), shift: Values::default() },
            other => other.clone(),
        }
    }

    fn run(&self, inputs: &[&Tensor], weights: &Weights) -> Result<Tensor> {
        let x = *inputs.first().ok_or_else(|| missing("an input"))?;
        match (self, weights) {
            (Self::Conv(conv), Weights::Pair(weight, bias)) => conv.run(x, weight)?.broadcast_add(bias),
            (Self::Affine { .. }, Weights::Pair(scale, shift)) => x.broadcast_mul(scale)?.broadcast_add(shift),
            (Self::Select(_), Weights::Indices(places)) => x.contiguous()?.index_select(places, 1),
            (Self::Activation(activation), _) => activation.run(x),
            (Self::Pool(pool), _) => pool.run(x),
            (Self::GlobalAverage, _) => x.mean_keepdim((2, 3)),
            (Self::Add, _) => inputs[1..].iter().try_fold(x.clone(), |sum, other| sum.broadcast_add(other)),
            (Self::Mul, _) => x.broadcast_mul(inputs.get(1).ok_or_else(|| missing("a second input"))?),
            (Self::Concat, _) => Tensor::cat(inputs, 1),
            (&Self::Pad { border: [top, left, bottom, right], value }, _) => {
                border(x, [top, left, bottom, right], value)
            }
            (&Self::Flatten { channels_last }, _) => {
                let x = if channels_last { x.permute((0, 2, 3, 1))? } else { x.clone() };
                x.flatten_from(1)?.unsqueeze(2)?.unsqueeze(3)
            }
            _ => Err(candle_core::Error::Msg(format!("a node can't run `{}`", self.name()))),
        }
    }
}

/// `x` with a border of `value`: top, left, bottom, right.
fn border(x: &Tensor, [top, left, bottom, right]: [usize; 4], value: f32) -> Result<Tensor> {
    let mut x = x.clone();
    for (dim, before, behind) in [(2, top, bottom), (3, left, right)] {
        let strip = |count: usize| -> Result<Option<Tensor>> {
            let mut dims = x.dims().to_vec();
            dims[dim] = count;
            (count > 0).then(|| Tensor::full(value, dims, x.device())).transpose()
        };
        let (before, behind) = (strip(before)?, strip(behind)?);
        let parts: Vec<&Tensor> = before.iter().chain([&x]).chain(&behind).collect();
        if parts.len() > 1 {
            x = Tensor::cat(&parts, dim)?;
        }
    }
    Ok(x)
}

/// Every `stride`th of `count` rows (`dim` 2) or columns (3) from `start` on.
fn strided(x: &Tensor, dim: usize, start: usize, stride: usize, count: usize) -> Result<Tensor> {
    if stride == 1 {
        return x.narrow(dim, start, count);
    }
    let places: Vec<u32> = (0..count).map(|at| (start + at * stride) as u32).collect();
    x.contiguous()?.index_select(&Tensor::from_slice(&places, count, x.device())?, dim)
}

/// What each position of a window sees, one tensor a position, over all windows: `visit(row, column, seen)`.
fn windows(
    x: &Tensor,
    [rows, columns]: [Windows; 2],
    kernel: [usize; 2],
    [stride, dilation]: [usize; 2],
    mut visit: impl FnMut(usize, usize, Tensor) -> Result<()>,
) -> Result<()> {
    for row in 0..kernel[0] {
        let lines = strided(x, 2, row * dilation, stride, rows.count)?;
        for column in 0..kernel[1] {
            visit(row, column, strided(&lines, 3, column * dilation, stride, columns.count)?)?;
        }
    }
    Ok(())
}

impl Conv {
    fn windows(&self, x: &Tensor) -> Result<[Windows; 2]> {
        let along = |at: usize, size| {
            let sizes = [self.kernel[at], self.stride, self.dilation];
            self.padding.windows(at, size, sizes, false).map_err(candle_core::Error::Msg)
        };
        Ok([along(0, x.dim(2)?)?, along(1, x.dim(3)?)?])
    }

    fn run(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let places @ [rows, columns] = self.windows(x)?;
        let edges = [rows.before, columns.before, rows.behind, columns.behind];
        if self.groups > 1 && self.input == self.groups && self.output == self.groups {
            // candle runs one convolution a group: a sum over the window's positions does all channels at once.
            let x = border(x, edges, 0.0)?;
            let mut sum: Option<Tensor> = None;
            windows(&x, places, self.kernel, [self.stride, self.dilation], |row, column, seen| {
                let factor = weight.narrow(2, row, 1)?.narrow(3, column, 1)?.reshape((1, (), 1, 1))?;
                let term = seen.broadcast_mul(&factor)?;
                sum = Some(match sum.take() {
                    Some(sum) => (sum + term)?,
                    None => term,
                });
                Ok(())
            })?;
            return sum.ok_or_else(|| missing("a kernel"));
        }
        if edges.iter().all(|&edge| edge == edges[0]) {
            return x.conv2d(weight, edges[0], self.stride, self.dilation, self.groups);
        }
        border(x, edges, 0.0)?.conv2d(weight, 0, self.stride, self.dilation, self.groups)
    }
}

impl Pool {
    fn run(&self, x: &Tensor) -> Result<Tensor> {
        let along = |at: usize, size| {
            let sizes = [self.kernel[at], self.stride, 1];
            self.padding.windows(at, size, sizes, self.ceil).map_err(candle_core::Error::Msg)
        };
        let places @ [rows, columns] = [along(0, x.dim(2)?)?, along(1, x.dim(3)?)?];
        let edges = [rows.before, columns.before, rows.behind, columns.behind];
        // candle's own pools have no gradient where windows overlap: maxima and sums over the windows' positions have.
        let outside = if self.kind == PoolKind::Max { f32::NEG_INFINITY } else { 0.0 };
        let mut found: Option<Tensor> = None;
        windows(&border(x, edges, outside)?, places, self.kernel, [self.stride, 1], |_, _, seen| {
            found = Some(match found.take() {
                None => seen,
                Some(so_far) if self.kind == PoolKind::Max => so_far.maximum(&seen)?,
                Some(so_far) => (so_far + seen)?,
            });
            Ok(())
        })?;
        let found = found.ok_or_else(|| missing("a window"))?;
        let PoolKind::Average { border: counts } = self.kind else {
            return Ok(found);
        };
        let inside = |at: usize, windows: Windows, size: usize| -> Vec<f32> {
            let covered = |window: usize| {
                let start = window * self.stride;
                let end = (start + self.kernel[at]).min(windows.before + size);
                if counts { self.kernel[at] } else { end - start.max(windows.before) }
            };
            (0..windows.count).map(|window| 1.0 / covered(window) as f32).collect()
        };
        let (by_row, by_column) = (inside(0, rows, x.dim(2)?), inside(1, columns, x.dim(3)?));
        let by_row = Tensor::from_slice(&by_row, (1, 1, rows.count, 1), x.device())?;
        let by_column = Tensor::from_slice(&by_column, (1, 1, 1, columns.count), x.device())?;
        found.broadcast_mul(&by_row)?.broadcast_mul(&by_column)
    }
}

impl Activation {
    fn run(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Relu => x.relu(),
            Self::Clip { low, high } => x.clamp(low, high),
            Self::LeakyRelu(slope) => x.relu()? - (x.neg()?.relu()? * f64::from(slope))?,
            Self::Sigmoid => candle_nn::ops::sigmoid(x),
            Self::HardSigmoid { alpha, beta } => x.affine(f64::from(alpha), f64::from(beta))?.clamp(0f32, 1f32),
            Self::HardSwish => x * x.affine(1.0 / 6.0, 0.5)?.clamp(0f32, 1f32)?,
            Self::Swish => x * candle_nn::ops::sigmoid(x)?,
            Self::Tanh => x.tanh(),
        }
    }
}
