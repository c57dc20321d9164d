//! What a graph's speed depends on.

use std::fmt::Write as _;

use super::{Graph, GraphError, Op};

impl Graph {
    /// A line a node, up to the first operation that isn't known: what it does, to what, and the shape of its output on images of
    /// `height` × `width`. Names and numbers are left out: graphs of one outline take as long.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn outline(&self, height: usize, width: usize) -> Result<String, GraphError> {
        let mut text = String::new();
        for (node, shape) in self.nodes.iter().zip(self.shapes(height, width)?) {
            let Some(shape) = shape else { break };
            // Writing to a string can't fail.
            let _ = write!(
                text,
                "{} of {:?}: {}×{}×{}",
                node.op.name(),
                node.inputs,
                shape.channels,
                shape.height,
                shape.width
            );
            let _ = match &node.op {
                Op::Conv(conv) => {
                    let ([rows, columns], steps) = (conv.kernel, (conv.stride, conv.dilation, conv.groups));
                    writeln!(text, " by {rows}×{columns}, {steps:?}")
                }
                Op::Pool(pool) => writeln!(text, " by {}×{}, {}", pool.kernel[0], pool.kernel[1], pool.stride),
                _ => writeln!(text),
            };
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use crate::nn::graph::Graph;
    use crate::nn::graph::tests::{conv, relu};

    #[test]
    fn an_outline_tells_shapes_and_not_numbers() {
        let graph = |width, seed| {
            let mut graph = Graph::new(3);
            graph.push("a", conv(3, width, seed), vec![0]).unwrap();
            graph.push("b", relu(), vec![1]).unwrap();
            graph
        };
        let outline = |graph: Graph, side| graph.outline(side, side).unwrap();
        assert_eq!(outline(graph(4, 1), 8), outline(graph(4, 2).structure(), 8));
        assert_ne!(outline(graph(4, 1), 8), outline(graph(5, 1), 8));
        assert_ne!(outline(graph(4, 1), 8), outline(graph(4, 1), 16));
    }
}
