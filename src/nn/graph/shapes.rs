//! Shapes of every node's output.

use super::{Conv, Graph, GraphError, Node, Op, Padding, Pool};
use crate::nn::Shape;

/// Largest number of values of one map: what an image of 4096×4096 has in 64 channels.
const MOST_VALUES: usize = 1 << 30;

/// By how much windows may exceed twice the side of their map.
const MOST_REACH: usize = 64;

/// Where windows lie along one side of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) struct Windows {
    /// Rows before and behind.
    pub(in crate::nn) before: usize,
    pub(in crate::nn) behind: usize,
    /// How many windows there are.
    pub(in crate::nn) count: usize,
}

impl Padding {
    /// The windows of `kernel` along `size` rows, or why there are none. `at` is 0 for rows, 1 for columns.
    pub(in crate::nn) fn windows(
        self,
        at: usize,
        size: usize,
        [kernel, stride, dilation]: [usize; 3],
        ceil: bool,
    ) -> Result<Windows, String> {
        let far = || format!("windows of {kernel} positions, {dilation} apart, are too large for a side of {size}");
        let extent = (kernel - 1).checked_mul(dilation).and_then(|reach| reach.checked_add(1)).ok_or_else(far)?;
        // What is laid around a map is memory: no file may ask for more of it than a net that means it.
        if extent > 2 * size + MOST_REACH {
            return Err(far());
        }
        let same = || {
            let count = size.div_ceil(stride);
            let missing = ((count - 1) * stride + extent).saturating_sub(size);
            (missing / 2, missing - missing / 2)
        };
        let (before, behind) = match self {
            Self::Explicit(border) => (border[at], border[at + 2]),
            Self::SameUpper => same(),
            Self::SameLower => {
                let (less, more) = same();
                (more, less)
            }
        };
        if before > extent || behind > extent + stride {
            return Err(format!("a border of {before} and {behind} is wider than its windows of {extent}"));
        }
        let Some(room) = (before + size + behind).checked_sub(extent) else {
            return Err(format!("a window of {extent} is larger than {size} with its border"));
        };
        let mut count = room / stride + 1;
        if ceil && !room.is_multiple_of(stride) && count * stride < size + before {
            // The last window begins inside the map; what it lacks counts as border.
            count += 1;
        }
        Ok(Windows {
            before,
            behind: (((count - 1) * stride + extent).saturating_sub(before + size)).max(behind),
            count,
        })
    }
}

impl Graph {
    /// The shape of every node's output for images of `height` × `width`; `None` behind an unsupported operation.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for the first node that can't take its inputs.
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Option<Shape>>, GraphError> {
        let mut shapes: Vec<Option<Shape>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs: Option<Vec<Shape>> = node.inputs.iter().map(|&input| shapes[input]).collect();
            let shape = match (&node.op, inputs) {
                (Op::Input(channels), _) => Some(Shape::new(height, width, *channels)),
                (Op::Unsupported(_), _) | (_, None) => None,
                (_, Some(inputs)) => Some(node.output(&inputs)?),
            };
            if let Some(shape) = shape
                && (shape.is_empty() || shape.len() > MOST_VALUES)
            {
                let reason = format!("its output would be {shape}");
                return Err(GraphError::Shape { node: node.name.clone(), shape: "this image".to_owned(), reason });
            }
            shapes.push(shape);
        }
        Ok(shapes)
    }
}

impl Node {
    fn output(&self, inputs: &[Shape]) -> Result<Shape, GraphError> {
        let names: Vec<String> = inputs.iter().map(ToString::to_string).collect();
        let fail = |reason: String| GraphError::Shape { node: self.name.clone(), shape: names.join(" and "), reason };
        let input = inputs[0];
        let windowed = |padding: Padding, kernel: [usize; 2], stride, dilation, ceil| {
            let along = |at, size| padding.windows(at, size, [kernel[at], stride, dilation], ceil);
            let (rows, columns) = (along(0, input.height).map_err(fail)?, along(1, input.width).map_err(fail)?);
            Ok(Shape { height: rows.count, width: columns.count, ..input })
        };
        match &self.op {
            Op::Conv(Conv { input: from, output, kernel, stride, dilation, padding, .. }) => {
                if input.channels != *from {
                    return Err(fail(format!("it needs {from} channels")));
                }
                let shape = windowed(*padding, *kernel, *stride, *dilation, false)?;
                Ok(Shape { channels: *output, ..shape })
            }
            Op::Pool(Pool { kernel, stride, padding, ceil, .. }) => windowed(*padding, *kernel, *stride, 1, *ceil),
            Op::Affine { scale, .. } if scale.len() != input.channels => {
                Err(fail(format!("it needs {} channels", scale.len())))
            }
            Op::Affine { .. } | Op::Activation(_) => Ok(input),
            Op::GlobalAverage => Ok(Shape::new(1, 1, input.channels)),
            Op::Add | Op::Mul => {
                let largest = |of: fn(&Shape) -> usize| inputs.iter().map(of).max().unwrap_or(1);
                let whole = Shape::new(largest(|s| s.height), largest(|s| s.width), largest(|s| s.channels));
                let fits = |s: &Shape| {
                    let map = (s.height, s.width) == (whole.height, whole.width) || (s.height, s.width) == (1, 1);
                    map && (s.channels == whole.channels || s.channels == 1)
                };
                match inputs.iter().all(fits) {
                    true => Ok(whole),
                    false => Err(fail("the shapes differ".to_owned())),
                }
            }
            Op::Concat => match inputs.iter().all(|s| (s.height, s.width) == (input.height, input.width)) {
                true => Ok(Shape { channels: inputs.iter().map(|s| s.channels).sum(), ..input }),
                false => Err(fail("the maps differ in size".to_owned())),
            },
            Op::Pad { border: [top, left, bottom, right], .. } => {
                Ok(Shape { height: input.height + top + bottom, width: input.width + left + right, ..input })
            }
            Op::Select(channels) => match channels.iter().all(|&channel| usize::from(channel) < input.channels) {
                true => Ok(Shape { channels: channels.len(), ..input }),
                false => Err(fail("it selects channels that are not there".to_owned())),
            },
            Op::Flatten { .. } => Ok(Shape::new(1, 1, input.len())),
            Op::Input(_) | Op::Unsupported(_) => Err(fail("its shape is not known".to_owned())),
        }
    }
}
