//! What a node must be to be run.

use super::{Conv, GraphError, Node, Op, Padding, Pool};

impl Node {
    /// Whether its numbers are finite, and as many as it needs.
    pub fn is_sound(&self) -> bool {
        matches!(self.op, Op::Input(_)) || self.check(usize::MAX).is_ok()
    }

    /// Refuses a node at position `at` that contradicts itself.
    pub(super) fn check(&self, at: usize) -> Result<(), GraphError> {
        let fail = |reason: String| Err(GraphError::Node { node: self.name.clone(), reason });
        if let Some(input) = self.inputs.iter().find(|&&input| input >= at) {
            return fail(format!("it takes the output of node {input}, which is not before it"));
        }
        let (least, most) = match self.op {
            Op::Input(_) => return fail("an image stands at the start alone".to_owned()),
            Op::Add | Op::Concat => (1, usize::MAX),
            Op::Mul => (2, 2),
            Op::Unsupported(_) => (0, usize::MAX),
            _ => (1, 1),
        };
        if !(least..=most).contains(&self.inputs.len()) {
            return fail(format!("`{}` does not take {} inputs", self.op.name(), self.inputs.len()));
        }
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        match &self.op {
            Op::Conv(conv) => {
                let Conv { input, output, groups, kernel, stride, dilation, .. } = *conv;
                let known = [input, output, groups, kernel[0], kernel[1], stride, dilation];
                if known.contains(&0) || known.iter().any(|&n| n > 1 << 20) {
                    return fail("a size of its convolution is zero or over a million".to_owned());
                }
                if !input.is_multiple_of(groups) || !output.is_multiple_of(groups) {
                    return fail(format!("{input} and {output} channels don't fall into {groups} groups"));
                }
                let structure = conv.weight.is_empty() && conv.bias.is_empty();
                let numbers = conv.weight.len() == conv.weights_per_output() * output && conv.bias.len() == output;
                if !structure && !numbers {
                    let (weights, biases) = (conv.weight.len(), conv.bias.len());
                    return fail(format!("{weights} weights and {biases} biases don't fit {output} outputs"));
                }
                if !finite(&conv.weight) || !finite(&conv.bias) {
                    return fail("a weight is not a finite number".to_owned());
                }
            }
            Op::Affine { scale, shift } if scale.len() != shift.len() || !finite(scale) || !finite(shift) => {
                return fail("its scales and shifts are not as many finite numbers".to_owned());
            }
            Op::Pool(Pool { kernel, stride, padding, .. }) => {
                let known = [kernel[0], kernel[1], *stride];
                if known.contains(&0) || known.iter().any(|&n| n > 1 << 12) {
                    return fail("a size of its windows is zero or over 4096".to_owned());
                }
                if let Padding::Explicit(border) = padding
                    && (0..4).any(|edge| border[edge] >= kernel[edge % 2])
                {
                    return fail(
                        "its border is as wide as its windows, some of which would see nothing else".to_owned(),
                    );
                }
            }
            _ => {}
        }
        Ok(())
    }
}
