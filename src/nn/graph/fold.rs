//! Merging what stands beside a convolution into it.

use std::sync::Arc;

use super::{Activation, Conv, Graph, Op, Padding};

impl Graph {
    /// The same function with fewer nodes:
    ///
    /// - a scale and shift by channel (a normalisation) behind a convolution or another scale goes into its weights;
    /// - a border of zeros before a convolution becomes its padding;
    /// - a permutation of channels before a convolution becomes one of its weights;
    /// - `x · sigmoid(x)` is one activation.
    ///
    /// Sums are rounded differently by that: by a few units in the last place.
    #[must_use]
    pub fn fold(self) -> Self {
        let mut graph = self;
        // Each merge may allow another one.
        while let Some((at, from, op)) = graph.next_merge() {
            graph = graph.merged(at, from, op);
        }
        graph
    }

    /// Two nodes that can be one: the second, the first, and what they do together.
    fn next_merge(&self) -> Option<(usize, usize, Op)> {
        let consumers = self.consumers();
        let last = self.nodes.len() - 1;
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(&from) = node.inputs.first() else {
                continue;
            };
            // What is merged must be of no use to others.
            let alone = consumers[from].len() == 1 && from != last;
            let before = &self.nodes[from].op;
            match (&node.op, before) {
                (Op::Affine { scale, shift }, Op::Conv(conv)) if alone => {
                    return Some((at, from, Op::Conv(conv.scaled(scale, shift))));
                }
                (Op::Affine { scale, shift }, Op::Affine { scale: first, shift: start }) if alone => {
                    let scaled = |a: &[f32]| Arc::new(a.iter().zip(&**scale).map(|(a, b)| a * b).collect::<Vec<_>>());
                    let moved = scaled(start).iter().zip(&**shift).map(|(a, b)| a + b).collect();
                    let both = Op::Affine { scale: scaled(first), shift: Arc::new(moved) };
                    return Some((at, from, both));
                }
                (Op::Conv(conv), Op::Pad { border, value }) if alone && *value == 0.0 => {
                    if let Padding::Explicit(own) = conv.padding {
                        let padding = Padding::Explicit(std::array::from_fn(|side| own[side] + border[side]));
                        return Some((at, from, Op::Conv(Conv { padding, ..conv.clone() })));
                    }
                }
                (Op::Conv(conv), Op::Select(channels)) if alone && conv.groups == 1 => {
                    if let Some(conv) = conv.permuted(channels) {
                        return Some((at, from, Op::Conv(conv)));
                    }
                }
                (Op::Mul, _) => {
                    let swish = |x: usize, gate: usize| {
                        let sigmoid = self.nodes[gate].op == Op::Activation(Activation::Sigmoid);
                        sigmoid && self.nodes[gate].inputs == [x] && consumers[gate].len() == 1
                    };
                    let pair = [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])];
                    if let Some((_, gate)) = pair.into_iter().find(|&(x, gate)| swish(x, gate)) {
                        // The sigmoid's input is the product's other factor already.
                        return Some((at, gate, Op::Activation(Activation::Swish)));
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The graph with `op` in the place of node `from`, and without node `at` behind it.
    fn merged(self, at: usize, from: usize, op: Op) -> Self {
        let mut graph = self;
        graph.nodes[from].op = op;
        graph.nodes[from].output = graph.nodes[at].output.clone();
        // What prepares a convolution's input is called as the convolution.
        if matches!(graph.nodes[at].op, Op::Conv(_)) {
            graph.nodes[from].name = graph.nodes[at].name.clone();
        }
        // What took the second node's output takes the first one's.
        graph.nodes[at].inputs = vec![from];
        let keep: Vec<bool> = (0..graph.nodes.len()).map(|node| node != at).collect();
        graph.without(&keep)
    }
}

impl Conv {
    /// The convolution with every output times `scale` plus `shift`.
    fn scaled(&self, scale: &[f32], shift: &[f32]) -> Self {
        let filters = self.weight.chunks_exact(self.weights_per_output()).zip(scale);
        let weight = filters.flat_map(|(filter, scale)| filter.iter().map(move |w| w * scale)).collect();
        let bias = self.bias.iter().zip(scale).zip(shift).map(|((bias, scale), shift)| bias * scale + shift).collect();
        Self { weight: Arc::new(weight), bias: Arc::new(bias), ..self.clone() }
    }

    /// The convolution of a map whose channels `order` has been undone in; `None` where it is no permutation.
    fn permuted(&self, order: &[u16]) -> Option<Self> {
        let mut seen = vec![false; self.input];
        order.iter().for_each(|&channel| {
            if let Some(seen) = seen.get_mut(usize::from(channel)) {
                *seen = true;
            }
        });
        if order.len() != self.input || seen.contains(&false) {
            return None;
        }
        let area = self.kernel[0] * self.kernel[1];
        let mut weight = vec![0.0; self.weight.len()];
        for (to, from) in weight.chunks_exact_mut(self.input * area).zip(self.weight.chunks_exact(self.input * area)) {
            for (at, &channel) in order.iter().enumerate() {
                let channel = usize::from(channel);
                to[channel * area..(channel + 1) * area].copy_from_slice(&from[at * area..(at + 1) * area]);
            }
        }
        Some(Self { weight: Arc::new(weight), ..self.clone() })
    }
}
