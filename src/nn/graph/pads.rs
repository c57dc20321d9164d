//! Borders as plain numbers of rows and columns, for who can't compute them from a rule.

use super::{Conv, GraphError, Node, Op, Padding, Pool};
use crate::nn::Shape;

impl Node {
    /// The rows and columns that surround an input of this shape before a convolution's or pool's windows are laid over it: top,
    /// left, bottom, right. What a last window lacks where it reaches beyond the border is part of it, so that with this border
    /// no rule (`ceil`, [`Padding::SameUpper`]) is needed to know the windows. Nothing for other operations.
    ///
    /// # Errors
    /// [`GraphError::Shape`] where a window is larger than the input with its border.
    pub fn border(&self, input: Shape) -> Result<[usize; 4], GraphError> {
        let (padding, kernel, stride, dilation, ceil) = match &self.op {
            Op::Conv(Conv { padding, kernel, stride, dilation, .. }) => (padding, kernel, *stride, *dilation, false),
            Op::Pool(Pool { padding, kernel, stride, ceil, .. }) => (padding, kernel, *stride, 1, *ceil),
            _ => return Ok([0; 4]),
        };
        let along = |at: usize, size: usize| {
            let sizes = [kernel[at], stride, dilation];
            let shape = || input.to_string();
            Padding::windows(*padding, at, size, sizes, ceil).map_err(|reason| GraphError::Shape {
                node: self.name.clone(),
                shape: shape(),
                reason,
            })
        };
        let (rows, columns) = (along(0, input.height)?, along(1, input.width)?);
        Ok([rows.before, columns.before, rows.behind, columns.behind])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Graph, PoolKind};

    #[test]
    fn rules_become_numbers() {
        let border = |padding, ceil, kernel: usize, stride, side| {
            let mut graph = Graph::new(1);
            let pool = Pool { kind: PoolKind::Max, kernel: [kernel; 2], stride, padding, ceil };
            let at = graph.push("pool", Op::Pool(pool), vec![0]).unwrap();
            graph.nodes()[at].border(Shape::new(side, side, 1))
        };
        assert_eq!(border(Padding::Explicit([1, 0, 2, 1]), false, 3, 2, 6).unwrap(), [1, 0, 2, 1]);
        assert_eq!(border(Padding::SameUpper, false, 3, 2, 6).unwrap(), [0, 0, 1, 1]);
        assert_eq!(border(Padding::SameLower, false, 3, 2, 6).unwrap(), [1, 1, 0, 0]);
        // 3×3 windows at 0, 2 and, beyond the border by one, 4.
        assert_eq!(border(Padding::Explicit([0; 4]), true, 3, 2, 6).unwrap(), [0, 0, 1, 1]);
        // One that would begin in the border isn't laid.
        assert_eq!(border(Padding::Explicit([1; 4]), true, 2, 3, 5).unwrap(), [1; 4]);
        assert!(border(Padding::Explicit([0; 4]), false, 7, 1, 6).unwrap_err().to_string().contains("`pool`"));
    }
}
