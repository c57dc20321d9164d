//! Graphs that are plain chains, as the CPU engine runs them.

use super::{Activation, Conv, Graph, Op, Padding, Pool, PoolKind};
use crate::nn::{Layer, NetSpec, Param, Params, Shape};

/// A graph as a chain of layers.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The layers.
    pub spec: NetSpec,
    /// Their weights.
    pub params: Params,
    /// For each node the layer whose output is its own; none for the image.
    pub place: Vec<Option<usize>>,
}

/// Whether a convolution and its ReLU become one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fuse {
    /// They do: the convolution's own output can't be read.
    Yes,
    /// They don't: every node's output can be read.
    No,
}

impl Graph {
    /// The graph as a chain of 3×3 convolutions (stride 1, padding 1), ReLUs and 2×2 max-pools for images of `side`; `None`
    /// where it is none.
    pub fn chain(&self, side: usize, fuse: Fuse) -> Option<Chain> {
        let mut chain = Chain {
            spec: NetSpec { input: Shape::new(side, side, self.input_channels()), layers: Vec::new() },
            params: Params::default(),
            place: vec![None; self.nodes.len()],
        };
        for (at, node) in self.nodes.iter().enumerate().skip(1) {
            if node.inputs != [at - 1] {
                return None;
            }
            let layers = &mut chain.spec.layers;
            match &node.op {
                Op::Conv(conv) if conv.is_plain() && !conv.weight.is_empty() => {
                    let index = layers.len();
                    layers.push(Layer::Conv3x3 { input: conv.input, output: conv.output, relu: false });
                    let dims = vec![conv.output, conv.input, 3, 3];
                    let mut param = |kind: &str, dims: Vec<usize>, data: &[f32]| {
                        chain.params.0.push(Param { name: format!("{index}.{kind}"), dims, data: data.to_vec() });
                    };
                    param("weight", dims, &conv.weight);
                    param("bias", vec![conv.output], &conv.bias);
                }
                Op::Activation(Activation::Relu) => match layers.last_mut() {
                    Some(Layer::Conv3x3 { relu, .. }) if fuse == Fuse::Yes && !*relu => {
                        *relu = true;
                        chain.place[at - 1] = None;
                    }
                    _ => layers.push(Layer::Relu),
                },
                Op::Pool(pool) if pool.halves() => layers.push(Layer::MaxPool2),
                _ => return None,
            }
            chain.place[at] = chain.spec.layers.len().checked_sub(1);
        }
        (!chain.spec.layers.is_empty() && chain.spec.shapes().is_ok()).then_some(chain)
    }
}

impl Conv {
    /// 3×3 with stride, dilation, groups and padding of 1.
    fn is_plain(&self) -> bool {
        let padded = match self.padding {
            Padding::Explicit(border) => border == [1; 4],
            Padding::SameUpper | Padding::SameLower => true,
        };
        self.kernel == [3, 3] && self.stride == 1 && self.dilation == 1 && self.groups == 1 && padded
    }
}

impl Pool {
    /// A maximum over 2×2 windows that touch, and no border.
    fn halves(&self) -> bool {
        let bare = match self.padding {
            Padding::Explicit(border) => border == [0; 4],
            // On even sides, which is what the chain's shapes demand.
            Padding::SameUpper | Padding::SameLower => true,
        };
        self.kind == PoolKind::Max && self.kernel == [2, 2] && self.stride == 2 && bare
    }
}
