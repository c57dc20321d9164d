//! The stages that a description is executed as.

use super::affine::{Affine, Follow};
use super::map::Map;
use crate::nn::error::NnError;
use crate::nn::params::{Param, Params};
use crate::nn::spec::{Layer, NetSpec, ParamShape};

/// One stage's operation. Stage `s` makes buffer `s + 1` from buffer `s`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Convolution (with the pixel shuffle after it, if its weights have 4 groups) or linear layer.
    Affine {
        /// Index in [`Plan::affines`].
        index: usize,
        /// Adds the buffer before the stage's input: the second convolution of a residual block.
        skip: bool,
    },
    /// Maximum over 2×2 windows.
    MaxPool,
    /// A pixel shuffle on its own.
    Shuffle,
    /// From a map to a vector.
    Flatten,
    /// Dropout; `start` counts the values of the dropout layers before it, per image.
    Dropout {
        /// Of a value to be zeroed.
        probability: f32,
        /// Number of its first value.
        start: usize,
    },
    /// A ReLU on its own.
    Relu,
    /// Logistic function.
    Sigmoid,
}

/// One stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    /// What it does.
    pub op: Op,
    /// Whether a ReLU is part of it.
    pub relu: bool,
    /// The layer whose output it makes; `None` inside a residual block.
    pub layer: Option<usize>,
}

/// A description as stages, the layout of the buffers between them and of the weights.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The stages.
    pub stages: Vec<Stage>,
    /// Layouts of the buffers: the input, then each stage's output.
    pub maps: Vec<Map>,
    /// The layers with weights, in the order of [`Params`].
    pub affines: Vec<Affine>,
    /// Number of weights and biases.
    pub weights: usize,
    /// Values of all dropout layers per image.
    pub dropped: usize,
}

impl Plan {
    /// The plan for a description. With `fuse`, a pixel shuffle becomes part of the convolution before it, and that
    /// convolution's own output is never made.
    pub(super) fn new(spec: &NetSpec, fuse: bool) -> Result<Self, NnError> {
        let shapes = spec.shapes()?;
        let mut plan =
            Self { stages: Vec::new(), maps: vec![Map::new(spec.input)], affines: Vec::new(), weights: 0, dropped: 0 };
        let mut layers = spec.layers.iter().zip(shapes).enumerate().peekable();
        while let Some((layer, (kind, shape))) = layers.next() {
            let map = Map::new(shape);
            match *kind {
                Layer::Conv3x3 { input, output, relu } => {
                    let start = plan.weights;
                    let shuffle = layers.next_if(|(_, (next, _))| fuse && matches!(next, Layer::PixelShuffle2));
                    let (follow, layer, shape) = match shuffle {
                        Some((layer, (_, shape))) => (Follow::Shuffle, layer, shape),
                        None => (Follow::Nothing, layer, shape),
                    };
                    let affine = Affine::convolution(input, output, follow, start);
                    plan.affine(affine, false, relu, Some(layer), Map::new(shape));
                }
                Layer::Residual { channels, relu } => {
                    let inner = Affine::convolution(channels, channels, Follow::Nothing, plan.weights);
                    plan.affine(inner, false, true, None, map);
                    let outer = Affine::convolution(channels, channels, Follow::Skip, plan.weights);
                    plan.affine(outer, true, relu, Some(layer), map);
                }
                Layer::Linear { input, output, relu } => {
                    let affine = Affine::linear(input, output, plan.weights);
                    plan.affine(affine, false, relu, Some(layer), map);
                }
                Layer::MaxPool2 => plan.push(Op::MaxPool, false, Some(layer), map),
                Layer::PixelShuffle2 => plan.push(Op::Shuffle, false, Some(layer), map),
                Layer::Flatten => plan.push(Op::Flatten, false, Some(layer), map),
                Layer::Dropout { probability } => {
                    let start = plan.dropped;
                    plan.dropped += shape.len();
                    plan.push(Op::Dropout { probability, start }, false, Some(layer), map);
                }
                Layer::Relu => plan.push(Op::Relu, true, Some(layer), map),
                Layer::Sigmoid => plan.push(Op::Sigmoid, false, Some(layer), map),
            }
        }
        Ok(plan)
    }

    fn push(&mut self, op: Op, relu: bool, layer: Option<usize>, map: Map) {
        self.stages.push(Stage { op, relu, layer });
        self.maps.push(map);
    }

    fn affine(&mut self, affine: Affine, skip: bool, relu: bool, layer: Option<usize>, map: Map) {
        let index = self.affines.len();
        self.weights = affine.range().end;
        self.affines.push(affine);
        self.push(Op::Affine { index, skip }, relu, layer, map);
    }

    /// The layout of the outputs.
    pub(super) fn output(&self) -> Map {
        self.maps[self.stages.len()]
    }

    /// Whether the values of a buffer came out of a ReLU, so that gradients by them need its mask.
    pub(super) fn rectified(&self, buffer: usize) -> bool {
        buffer > 0 && self.stages[buffer - 1].relu
    }

    /// The first stage with weights: gradients by anything before it are not needed.
    pub(super) fn first_affine(&self) -> usize {
        let affine = |stage: &Stage| matches!(stage.op, Op::Affine { .. });
        self.stages.iter().position(affine).unwrap_or(self.stages.len())
    }

    /// Copies weights (checked to be of this net) into the flat vector.
    pub(super) fn load(&self, params: &Params, flat: &mut [f32]) {
        for (affine, pair) in self.affines.iter().zip(params.0.chunks_exact(2)) {
            affine.load(&pair[0].data, &pair[1].data, flat);
        }
    }

    /// The weights of the flat vector, by name.
    pub(super) fn store(&self, spec: &NetSpec, flat: &[f32]) -> Params {
        let empty = |shape: ParamShape| Param { data: vec![0.0; shape.len()], name: shape.name, dims: shape.dims };
        let mut params = Params(spec.param_shapes().into_iter().map(empty).collect());
        for (affine, pair) in self.affines.iter().zip(params.0.chunks_exact_mut(2)) {
            let (weight, bias) = pair.split_at_mut(1);
            affine.store(flat, &mut weight[0].data, &mut bias[0].data);
        }
        params
    }
}
