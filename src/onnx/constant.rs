//! Constants: tensors whose numbers stand in the file.

use half::{bf16, f16};

use super::error::Problem;
use super::proto::{TensorMessage, data_type};

/// Numbers and their shape.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    /// In the order of the last index.
    pub(super) values: Vec<f32>,
    /// The same as integers, where they are.
    pub(super) integers: Option<Vec<i64>>,
}

impl Constant {
    pub(super) fn read(tensor: &TensorMessage) -> Result<Self, Problem> {
        let name = || tensor.name.clone().unwrap_or_default();
        let fail = |reason: String| Problem::Tensor { name: name(), reason };
        if tensor.data_location == Some(1) || !tensor.external_data.is_empty() {
            return Err(Problem::External(name()));
        }
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let dims = dims.ok_or_else(|| fail(format!("its shape is {:?}", tensor.dims)))?;
        let count = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let count = count.ok_or_else(|| fail(format!("its shape is {:?}", tensor.dims)))?;
        if count == 0 && dims.iter().any(|&dim| dim > 1) {
            // Nothing in a large shape: whoever counts its rows would never end.
            return Err(fail(format!("its shape {dims:?} holds nothing")));
        }
        let raw = tensor.raw_data.as_deref();
        let kind = tensor.data_type.unwrap_or_default();
        let mut integers = None;
        let values: Vec<f32> = match (kind, raw) {
            (data_type::FLOAT, Some(raw)) => numbers(raw, f32::from_le_bytes),
            (data_type::FLOAT, None) => tensor.float_data.clone(),
            (data_type::FLOAT16, Some(raw)) => numbers(raw, |b| f16::from_le_bytes(b).to_f32()),
            (data_type::FLOAT16, None) => halves(&tensor.int32_data, |bits| f16::from_bits(bits).to_f32()),
            (data_type::BFLOAT16, Some(raw)) => numbers(raw, |b| bf16::from_le_bytes(b).to_f32()),
            (data_type::BFLOAT16, None) => halves(&tensor.int32_data, |bits| bf16::from_bits(bits).to_f32()),
            (data_type::DOUBLE, Some(raw)) => numbers(raw, |b| f64::from_le_bytes(b) as f32),
            (data_type::DOUBLE, None) => tensor.double_data.iter().map(|&value| value as f32).collect(),
            (data_type::INT64, raw) => {
                let read = raw.map_or_else(|| tensor.int64_data.clone(), |raw| numbers(raw, i64::from_le_bytes));
                let values = read.iter().map(|&value| value as f32).collect();
                integers = Some(read);
                values
            }
            (data_type::INT32, raw) => {
                let read = raw.map_or_else(|| tensor.int32_data.clone(), |raw| numbers(raw, i32::from_le_bytes));
                integers = Some(read.iter().copied().map(i64::from).collect());
                read.iter().map(|&value| value as f32).collect()
            }
            (data_type::INT8, Some(raw)) => numbers(raw, |b| f32::from(i8::from_le_bytes(b))),
            (data_type::UINT8, Some(raw)) => numbers(raw, |[b]| f32::from(b)),
            (data_type::INT8 | data_type::UINT8, None) => tensor.int32_data.iter().map(|&value| value as f32).collect(),
            // Strings, booleans and the like: of no use to what is supported, and no reason to refuse the file.
            _ => return Ok(Self::unknown()),
        };
        if values.len() != count {
            return Err(fail(format!("its shape {dims:?} needs {count} values, it has {}", values.len())));
        }
        Ok(Self { dims, values, integers })
    }

    /// One whose values aren't known: strings, or what is computed from an image's size.
    pub(super) fn unknown() -> Self {
        Self { dims: vec![0], values: Vec::new(), integers: None }
    }

    /// Integers and their shape.
    pub(super) fn integers(dims: Vec<usize>, integers: Vec<i64>) -> Self {
        Self { dims, values: integers.iter().map(|&value| value as f32).collect(), integers: Some(integers) }
    }

    /// The only value, where there is one.
    pub(super) fn scalar(&self) -> Option<f32> {
        match self.values[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    /// One value per channel of a map of `channels`, where that is what broadcasting would make of it. `last` says that
    /// channels are the last dimension, as in `[N, height, width, channels]`.
    pub(super) fn by_channel(&self, channels: usize, last: bool) -> Option<Vec<f32>> {
        if let Some(value) = self.scalar() {
            return Some(vec![value; channels]);
        }
        let behind = if last { 0 } else { 2 };
        let at = self.dims.len().checked_sub(behind + 1)?;
        let others = self.dims.iter().enumerate().all(|(i, &dim)| i == at || dim == 1);
        (others && self.dims[at] == channels && self.values.len() == channels).then(|| self.values.clone())
    }
}

fn numbers<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    raw.chunks(N).filter_map(|bytes| bytes.try_into().ok()).map(read).collect()
}

fn halves(values: &[i32], read: impl Fn(u16) -> f32) -> Vec<f32> {
    values.iter().map(|&bits| read(bits as u16)).collect()
}
