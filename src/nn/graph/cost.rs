//! What a graph costs to run, exactly.

use super::{Graph, GraphError, Op};
use crate::nn::Shape;

/// What one image costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphCost {
    /// Multiply-accumulates of the convolutions: products with the border count, biases and everything else do not.
    pub macs: u64,
    /// Weights, biases, scales and shifts.
    pub parameters: u64,
    /// Weights of convolutions: the parameters that eight bits may hold.
    pub weights: u64,
    /// Output channels of convolutions: each has a scale where its weights have eight bits.
    pub filters: u64,
    /// Largest number of values that stand in memory at once when the nodes run in their order and activations work in place.
    pub peak_values: u64,
    /// Shape of the last node's output.
    pub output: Shape,
}

impl Graph {
    /// What the whole graph costs on images of `height` × `width`.
    ///
    /// # Errors
    /// As [`Graph::shapes`]; [`GraphError::Unsupported`] for an operation that can't be counted.
    pub fn cost(&self, height: usize, width: usize) -> Result<GraphCost, GraphError> {
        if let Some((node, op)) = self.first_unsupported() {
            return Err(GraphError::Unsupported { node: node.to_owned(), op: op.to_owned() });
        }
        let shapes: Vec<Shape> = self.shapes(height, width)?.into_iter().flatten().collect();
        let mut last_use: Vec<usize> = (0..self.nodes.len()).collect();
        for (at, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&input| last_use[input] = at);
        }
        // What is kept to the end is the output.
        if let Some(last) = last_use.last_mut() {
            *last = usize::MAX;
        }
        let (mut macs, mut weights, mut filters, mut others) = (0u64, 0u64, 0u64, 0u64);
        let (mut live, mut peak) = (0u64, 0u64);
        for (at, node) in self.nodes.iter().enumerate() {
            let shape = shapes[at];
            let values = shape.len() as u64;
            match &node.op {
                Op::Conv(conv) => {
                    macs += values * conv.weights_per_output() as u64;
                    weights += (conv.weights_per_output() * conv.output) as u64;
                    filters += conv.output as u64;
                }
                Op::Affine { scale, shift } => others += (scale.len() + shift.len()) as u64,
                _ => {}
            }
            let mut inputs = node.inputs.clone();
            inputs.sort_unstable();
            inputs.dedup();
            let freed: u64 =
                inputs.iter().filter(|&&input| last_use[input] == at).map(|&input| shapes[input].len() as u64).sum();
            let in_place =
                matches!(node.op, Op::Activation(_) | Op::Affine { .. } | Op::Flatten { .. }) && freed == values;
            if !in_place {
                live += values;
                peak = peak.max(live);
                live -= freed;
            }
        }
        let output = shapes.last().copied().unwrap_or(Shape::new(height, width, self.input_channels()));
        Ok(GraphCost { macs, parameters: weights + filters + others, weights, filters, peak_values: peak, output })
    }
}
