//! Convolutions, pools, paddings and products with matrices.

use std::sync::Arc;

use super::Operation;
use crate::nn::{Conv, GraphOp as Op, Padding, Pool, PoolKind};
use crate::onnx::constant::Constant;
use crate::onnx::error::Problem;
use crate::onnx::import::Reader;

impl Operation<'_> {
    /// A square step, where the attribute has one.
    fn square(&self, name: &str) -> Result<Option<usize>, Problem> {
        let values = self.integers(name).unwrap_or(&[1, 1]);
        match values {
            [a, b] if a == b => match usize::try_from(*a) {
                Ok(size) if size > 0 => Ok(Some(size)),
                _ => Err(self.bad(&format!("`{name}` is {values:?}"))),
            },
            [_, _] => Ok(None),
            _ => Err(self.bad(&format!("`{name}` is {values:?}, two numbers are needed"))),
        }
    }

    fn kernel(&self, given: &[i64]) -> Result<[usize; 2], Problem> {
        let sizes: Vec<usize> = given.iter().filter_map(|&size| usize::try_from(size).ok()).collect();
        match sizes[..] {
            [rows, columns] if rows > 0 && columns > 0 && given.len() == 2 => Ok([rows, columns]),
            _ => Err(self.bad(&format!("its windows are {given:?}, two sizes are needed"))),
        }
    }

    fn padding(&self) -> Result<Padding, Problem> {
        match self.text("auto_pad") {
            Some("SAME_UPPER") => return Ok(Padding::SameUpper),
            Some("SAME_LOWER") => return Ok(Padding::SameLower),
            Some("VALID") => return Ok(Padding::Explicit([0; 4])),
            _ => {}
        }
        let pads = self.integers("pads").unwrap_or(&[0; 4]);
        let sizes: Vec<usize> =
            pads.iter().filter_map(|&pad| usize::try_from(pad).ok()).filter(|&pad| pad <= 1 << 12).collect();
        match sizes[..] {
            [top, left, bottom, right] if pads.len() == 4 => Ok(Padding::Explicit([top, left, bottom, right])),
            _ => Err(self.bad(&format!("`pads` is {pads:?}, four sizes are needed"))),
        }
    }

    pub(super) fn conv(&self, reader: &Reader) -> Result<Option<Conv>, Problem> {
        let Some(weight) = self.constant(reader, 1) else {
            return Ok(None);
        };
        let [output, per_group, rows, columns] = weight.dims[..] else {
            // One- and three-dimensional ones.
            return Ok(None);
        };
        if let Some(given) = self.integers("kernel_shape")
            && self.kernel(given)? != [rows, columns]
        {
            return Err(self.bad(&format!("its windows are {given:?}, its weights are of {rows}×{columns}")));
        }
        let groups = usize::try_from(self.integer("group").unwrap_or(1)).unwrap_or(0);
        let bias = match self.message.input.get(2).map_or("", String::as_str) {
            "" => vec![0.0; output],
            _ => match self.constant(reader, 2) {
                Some(bias) => bias.values.clone(),
                None => return Ok(None),
            },
        };
        let (Some(stride), Some(dilation)) = (self.square("strides")?, self.square("dilations")?) else {
            return Ok(None);
        };
        Ok(Some(Conv {
            input: per_group.checked_mul(groups).ok_or_else(|| self.bad("it has too many channels"))?,
            output,
            groups,
            kernel: [rows, columns],
            stride,
            dilation,
            padding: self.padding()?,
            weight: Arc::new(weight.values.clone()),
            bias: Arc::new(bias),
        }))
    }

    pub(super) fn pool(&self) -> Result<Option<Pool>, Problem> {
        let kernel = self.kernel(self.integers("kernel_shape").unwrap_or(&[]))?;
        let (Some(stride), Some(1)) = (self.square("strides")?, self.square("dilations")?) else {
            return Ok(None);
        };
        let ceil = self.integer("ceil_mode") == Some(1);
        let kind = match self.kind {
            "MaxPool" => PoolKind::Max,
            _ => PoolKind::Average { border: self.integer("count_include_pad") == Some(1) },
        };
        // What a window beyond the border counts then differs between runtimes.
        let clear = !(ceil && kind == PoolKind::Average { border: true });
        Ok(clear.then_some(Pool { kind, kernel, stride, padding: self.padding()?, ceil }))
    }

    pub(super) fn pad(&self, reader: &Reader) -> Result<Option<Op>, Problem> {
        if !matches!(self.text("mode"), None | Some("constant"))
            || self.message.input.get(3).is_some_and(|a| !a.is_empty())
        {
            return Ok(None);
        }
        let given = self.constant(reader, 1).and_then(|pads| pads.integers.clone());
        let Some(pads) = given.or_else(|| self.integers("pads").map(<[i64]>::to_vec)) else {
            return Ok(None);
        };
        let sizes: Vec<usize> =
            pads.iter().filter_map(|&pad| usize::try_from(pad).ok()).filter(|&pad| pad <= 1 << 12).collect();
        let value = match self.message.input.get(2).map_or("", String::as_str) {
            "" => Some(self.float("value").unwrap_or(0.0)),
            _ => self.constant(reader, 2).and_then(Constant::scalar),
        };
        Ok(match (&sizes[..], value) {
            (&[0, 0, top, left, 0, 0, bottom, right], Some(value)) => {
                Some(Op::Pad { border: [top, left, bottom, right], value })
            }
            _ => None,
        })
    }

    /// A product with a matrix, as a 1×1 convolution of a vector.
    pub(super) fn linear(&self, reader: &Reader) -> Result<Option<Conv>, Problem> {
        let Some(matrix) = self.constant(reader, 1) else {
            return Ok(None);
        };
        let [rows, columns] = matrix.dims[..] else {
            return Ok(None);
        };
        if self.integer("transA") == Some(1) {
            return Ok(None);
        }
        let transposed = self.integer("transB") == Some(1);
        let (input, output) = if transposed { (columns, rows) } else { (rows, columns) };
        let (alpha, beta) = (self.float("alpha").unwrap_or(1.0), self.float("beta").unwrap_or(1.0));
        let at = |o: usize, i: usize| if transposed { o * input + i } else { i * output + o };
        let weight =
            (0..output).flat_map(|o| (0..input).map(move |i| (o, i))).map(|(o, i)| alpha * matrix.values[at(o, i)]);
        let bias = match self.message.input.get(2).map_or("", String::as_str) {
            "" => vec![0.0; output],
            _ => match self.constant(reader, 2) {
                Some(bias) if bias.values.len() == output => bias.values.iter().map(|b| beta * b).collect(),
                _ => return Ok(None),
            },
        };
        Ok(Some(Conv {
            input,
            output,
            groups: 1,
            kernel: [1, 1],
            stride: 1,
            dilation: 1,
            padding: Padding::Explicit([0; 4]),
            weight: Arc::new(weight.collect()),
            bias: Arc::new(bias),
        }))
    }
}
