//! The same operations with other numbers.

use std::sync::Arc;

use super::{Activation, Graph, GraphError, Node, Op, Values};

impl Graph {
    /// The graph without the weights of its convolutions: what it costs can still be told, but it can't run.
    #[must_use]
    pub fn structure(&self) -> Self {
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            if let Op::Conv(conv) = &mut node.op {
                (conv.weight, conv.bias) = (Values::default(), Values::default());
            }
        }
        Self { nodes }
    }

    /// A structure with numbers in the place of the weights that it lacks: `numbers` gives as many as it is asked for.
    #[must_use]
    pub fn with_numbers(&self, mut numbers: impl FnMut(usize) -> Vec<f32>) -> Self {
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            if let Op::Conv(conv) = &mut node.op {
                conv.weight = Arc::new(numbers(conv.weights_per_output() * conv.output));
                conv.bias = Arc::new(numbers(conv.output));
            }
        }
        Self { nodes }
    }

    /// The graph with its output's channels times these positive factors: in the last convolution's weights where nothing but a
    /// ReLU, which positive factors pass, is behind it.
    ///
    /// # Errors
    /// [`GraphError::Node`] for another number of factors than channels.
    pub fn scaled(&self, factors: &[f32]) -> Result<Self, GraphError> {
        let (mut graph, last) = (self.clone(), self.nodes.len() - 1);
        let scale = Arc::new(factors.to_vec());
        let affine = Op::Affine { scale, shift: Arc::new(vec![0.0; factors.len()]) };
        if self.widths()[last] != factors.len() {
            let reason = format!("{} factors for {} channels", factors.len(), self.widths()[last]);
            return Err(GraphError::Node { node: self.nodes[last].name.clone(), reason });
        }
        let passes = self.nodes[last].op == Op::Activation(Activation::Relu);
        let before = if passes { self.nodes[last].inputs[0] } else { last };
        if passes && matches!(self.nodes[before].op, Op::Conv(_)) && before + 1 == last {
            let relu = graph.nodes.pop();
            let scaled = graph.push("scaled", affine, vec![before])?;
            if let Some(relu) = relu {
                graph.push(relu.name, relu.op, vec![scaled])?;
            }
        } else {
            graph.push("scaled", affine, vec![last])?;
        }
        Ok(graph.fold())
    }

    /// The graph for images whose colours come in the reverse order.
    #[must_use]
    pub fn reversed_colours(&self) -> Self {
        let channels = self.input_channels() as u16;
        let mut nodes = vec![self.nodes[0].clone()];
        let reversed = Op::Select(Arc::new((0..channels).rev().collect()));
        let name = "reversed_colours".to_owned();
        nodes.push(Node { output: name.clone(), name, op: reversed, inputs: vec![0] });
        nodes.extend(self.nodes[1..].iter().cloned().map(|mut node| {
            node.inputs.iter_mut().for_each(|input| *input += 1);
            node
        }));
        Self { nodes }.fold()
    }

    /// Every weight, bias, scale and shift changed by `change`, which is told how many of them make one output channel.
    #[must_use]
    pub fn map_weights(&self, mut change: impl FnMut(&[f32], usize) -> Vec<f32>) -> Self {
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            match &mut node.op {
                Op::Conv(conv) => {
                    conv.weight = Arc::new(change(&conv.weight, conv.weights_per_output()));
                    conv.bias = Arc::new(change(&conv.bias, 1));
                }
                Op::Affine { scale, shift } => {
                    *scale = Arc::new(change(scale, 1));
                    *shift = Arc::new(change(shift, 1));
                }
                _ => {}
            }
        }
        Self { nodes }
    }

    /// Whether the operations are the same, whatever the numbers in them.
    pub fn resembles(&self, other: &Self) -> bool {
        let zeros = |graph: &Self| graph.map_weights(|values, _| vec![0.0; values.len()]).structure();
        zeros(self) == zeros(other)
    }
}
