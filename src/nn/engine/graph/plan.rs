//! A graph as the engine runs it: packed weights, layouts and memory.

use std::sync::Arc;

use super::Purpose;
use crate::nn::engine::kernels::{Panels, Windows, transform_weights};
use crate::nn::engine::map::Map;
use crate::nn::engine::simd::Level;
use crate::nn::graph::{self, Activation, Conv, Graph, Op, Pool, Values};
use crate::nn::spec::Shape;

/// A graph with its weights packed.
pub(super) struct Plan {
    pub(super) purpose: Purpose,
    /// By node.
    pub(super) steps: Vec<Step>,
    /// By node: the layout of its output.
    pub(super) maps: Vec<Map>,
    /// By node: the slot of its output.
    pub(super) slot: Vec<usize>,
    /// By slot: floats of an image.
    pub(super) slots: Vec<usize>,
    /// Floats of an image in the largest gradient that windows are laid over, and of the largest that is added to another.
    pub(super) spread: usize,
    pub(super) addend: usize,
}

/// A node.
pub(super) struct Step {
    pub(super) inputs: Vec<usize>,
    pub(super) kind: Kind,
    /// Whether its output has one reader alone.
    pub(super) read_once: bool,
}

/// What a node does.
pub(super) enum Kind {
    Input,
    Conv(Box<Convolution<Panels>>),
    Depthwise(Box<Convolution<Filters>>),
    Affine { scale: Values, shift: Values },
    Activation(Activation),
    Pool { pool: Pool, windows: [graph::Windows; 2] },
    GlobalAverage,
    Add,
    Mul,
    Concat,
    Pad { top: usize, left: usize, value: f32 },
    Select(Arc<Vec<u16>>),
}

/// A convolution's windows and weights `W`.
pub(super) struct Convolution<W> {
    pub(super) kernel: [usize; 2],
    pub(super) dilation: usize,
    pub(super) windows: Windows,
    pub(super) forward: W,
    /// For the gradient by its input; `None` where none are wanted.
    pub(super) backward: Option<Backward<W>>,
}

/// The input gradient of a convolution, as a convolution with stride 1 of the spread gradient.
pub(super) struct Backward<W> {
    pub(super) weights: W,
    /// Rows and columns from a pixel of the gradient to the next once it is spread.
    pub(super) step: usize,
    /// The layout of the spread gradient; that of the gradient itself where it needs no spreading.
    pub(super) map: Map,
    pub(super) windows: Windows,
}

/// Weights of a channelwise convolution: `[row, column, channel]` and `[channel]`, which may be empty.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

impl Plan {
    pub(super) fn new(level: Level, graph: &Graph, side: usize, purpose: Purpose) -> Option<Self> {
        let shapes: Vec<Shape> = graph.shapes(side, side).ok()?.into_iter().collect::<Option<_>>()?;
        let nodes = graph.nodes();
        let mut maps: Vec<Map> = shapes.iter().map(|&shape| Map { shape, border: 0 }).collect();
        let mut readers = vec![0usize; nodes.len()];
        for node in nodes {
            node.inputs.iter().for_each(|&input| readers[input] += 1);
            if let Op::Conv(conv) = &node.op {
                let [rows, columns] = along(conv, shapes[node.inputs[0]])?;
                let border = [rows.before, rows.behind, columns.before, columns.behind].into_iter().max();
                let map = &mut maps[node.inputs[0]];
                map.border = map.border.max(border.unwrap_or(0));
            }
        }
        let mut steps = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            let input = node.inputs.first().map_or(maps[0], |&input| maps[input]);
            let kind = match &node.op {
                Op::Input(_) => Kind::Input,
                Op::Conv(conv) => convolution(level, conv, input, maps[at].shape, purpose)?,
                Op::Affine { scale, shift } => Kind::Affine { scale: Arc::clone(scale), shift: Arc::clone(shift) },
                Op::Activation(activation) => Kind::Activation(*activation),
                Op::Pool(pool) => {
                    let along = |at: usize, size| {
                        pool.padding.windows(at, size, [pool.kernel[at], pool.stride, 1], pool.ceil).ok()
                    };
                    Kind::Pool { pool: *pool, windows: [along(0, input.shape.height)?, along(1, input.shape.width)?] }
                }
                Op::GlobalAverage => Kind::GlobalAverage,
                Op::Add => Kind::Add,
                Op::Mul => Kind::Mul,
                Op::Concat => Kind::Concat,
                &Op::Pad { border: [top, left, ..], value } => Kind::Pad { top, left, value },
                Op::Select(channels) => Kind::Select(Arc::clone(channels)),
                Op::Flatten { .. } | Op::Unsupported(_) => return None,
            };
            steps.push(Step { inputs: node.inputs.clone(), kind, read_once: readers[at] == 1 });
        }
        let (slot, slots) = slots(&steps, &maps, purpose);
        let backward = steps.iter().filter_map(|step| match &step.kind {
            Kind::Conv(conv) => conv.backward.as_ref().map(|backward| backward.map.image()),
            Kind::Depthwise(conv) => conv.backward.as_ref().map(|backward| backward.map.image()),
            _ => None,
        });
        let spread = backward.max().unwrap_or(0);
        let largest = maps.iter().map(|map| map.shape.len()).max().unwrap_or(0);
        let addend = if purpose == Purpose::Gradients { largest } else { 0 };
        Some(Self { purpose, steps, maps, slot, slots, spread, addend })
    }

    /// The layout of the last node's output.
    pub(super) fn output(&self) -> Map {
        self.maps[self.maps.len() - 1]
    }
}

/// Where a convolution's windows lie along rows and columns.
fn along(conv: &Conv, input: Shape) -> Option<[graph::Windows; 2]> {
    let along =
        |at: usize, size| conv.padding.windows(at, size, [conv.kernel[at], conv.stride, conv.dilation], false).ok();
    Some([along(0, input.height)?, along(1, input.width)?])
}

/// Each node's slot, and each slot's floats per image. A slot is free again once its last reader has run.
fn slots(steps: &[Step], maps: &[Map], purpose: Purpose) -> (Vec<usize>, Vec<usize>) {
    if purpose == Purpose::Gradients {
        return ((0..maps.len()).collect(), maps.iter().map(Map::image).collect());
    }
    let mut last_use: Vec<usize> = (0..steps.len()).collect();
    for (at, step) in steps.iter().enumerate() {
        step.inputs.iter().for_each(|&input| last_use[input] = at);
    }
    let (mut slot, mut slots, mut free) = (Vec::new(), Vec::<usize>::new(), Vec::<usize>::new());
    for (at, (step, map)) in steps.iter().zip(maps).enumerate() {
        let taken = free.pop().unwrap_or_else(|| {
            slots.push(0);
            slots.len() - 1
        });
        slots[taken] = slots[taken].max(map.image());
        slot.push(taken);
        let mut done: Vec<usize> = step.inputs.iter().copied().filter(|&input| last_use[input] == at).collect();
        done.sort_unstable();
        done.dedup();
        free.extend(done.into_iter().map(|input| slot[input]));
        if last_use[at] == at {
            free.push(taken);
        }
    }
    (slot, slots)
}

/// A convolution with its weights packed; `None` where the engine has no kernel for it.
fn convolution(level: Level, conv: &Conv, from: Map, to: Shape, purpose: Purpose) -> Option<Kind> {
    let places @ [rows, columns] = along(conv, from.shape)?;
    let windows = Windows {
        start: (from.border - rows.before) * from.row() + (from.border - columns.before) * from.pixel(),
        stride: conv.stride,
    };
    let backward = (purpose == Purpose::Gradients).then(|| spread(conv, from.shape, to, places));
    let &Conv { kernel, dilation, .. } = conv;
    if conv.is_depthwise() {
        let backward = backward.map(|(map, windows)| Backward {
            weights: Filters { weights: filters(conv, true), bias: Vec::new() },
            step: conv.stride,
            map,
            windows,
        });
        let forward = Filters { weights: filters(conv, false), bias: conv.bias.to_vec() };
        return Some(Kind::Depthwise(Box::new(Convolution { kernel, dilation, windows, forward, backward })));
    }
    if conv.groups != 1 || dilation != 1 {
        return None;
    }
    let backward =
        backward.map(|(map, windows)| Backward { weights: panels(level, conv, true), step: conv.stride, map, windows });
    let forward = panels(level, conv, false);
    Some(Kind::Conv(Box::new(Convolution { kernel, dilation, windows, forward, backward })))
}

/// The layout of a convolution's spread output gradient, and where the windows lie in it that make the input's gradient.
///
/// Along a side, input `y` gets `Σₜ g((y + before − t·dilation) / stride) · w(t)` over the taps `t` at which that is whole: with
/// the gradient spread by the stride, a window of the turned kernel that ends at `y + before`.
fn spread(conv: &Conv, from: Shape, to: Shape, [rows, columns]: [graph::Windows; 2]) -> (Map, Windows) {
    let reach = |at: usize| (conv.kernel[at] - 1) * conv.dilation;
    let spread = |count: usize| (count - 1) * conv.stride + 1;
    let border = |at: usize, size: usize, windows: graph::Windows| {
        let before = reach(at).saturating_sub(windows.before);
        let behind = (size + windows.before).saturating_sub(spread(windows.count));
        before.max(behind)
    };
    let border = border(0, from.height, rows).max(border(1, from.width, columns));
    let map = Map { shape: Shape::new(spread(to.height), spread(to.width), to.channels), border };
    let start = (border + rows.before - reach(0)) * map.row() + (border + columns.before - reach(1)) * map.pixel();
    (map, Windows { start, stride: 1 })
}

/// The weights of a channelwise convolution, `[row, column, channel]`; `turned` by half a turn for its input gradient.
fn filters(conv: &Conv, turned: bool) -> Vec<f32> {
    let (taps, channels) = (conv.kernel[0] * conv.kernel[1], conv.output);
    let mut weights = vec![0.0; taps * channels];
    for (channel, filter) in conv.weight.chunks_exact(taps).enumerate() {
        for (tap, &weight) in filter.iter().enumerate() {
            let tap = if turned { taps - 1 - tap } else { tap };
            weights[tap * channels + channel] = weight;
        }
    }
    weights
}

/// The weights of a convolution in panels; for its input gradient `turned`: by half a turn, inputs and outputs exchanged.
fn panels(level: Level, conv: &Conv, turned: bool) -> Panels {
    let [rows, columns] = conv.kernel;
    let taps = rows * columns;
    let (seen, made) = if turned { (conv.output, conv.input) } else { (conv.input, conv.output) };
    let width = level.panel();
    let count = made.div_ceil(width);
    let mut panels = Panels { runs: rows, run: columns * seen, groups: 1, channels: made, ..Panels::default() };
    panels.data.resize(count * taps * seen * width);
    for (at, filter) in conv.weight.chunks_exact(taps).enumerate() {
        let (output, input) = (at / conv.input, at % conv.input);
        let (of, to) = if turned { (output, input) } else { (input, output) };
        for (tap, &weight) in filter.iter().enumerate() {
            let tap = if turned { taps - 1 - tap } else { tap };
            panels.data[((to / width * taps + tap) * seen + of) * width + to % width] = weight;
        }
    }
    if !turned {
        panels.bias.resize(count * width);
        panels.bias[..made].copy_from_slice(&conv.bias);
    }
    if conv.kernel == [3, 3] {
        transform_weights(level, &mut panels);
    }
    panels
}
