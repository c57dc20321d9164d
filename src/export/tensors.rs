//! Named arrays as safetensors bytes.

use half::f16;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};

use crate::config::FloatPrecision;
use crate::estimate::CloudNet;

/// One array.
pub(super) struct Array<'a> {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    pub(super) data: &'a [f32],
}

/// Safetensors bytes of `arrays` at `precision`.
pub(super) fn encode(arrays: &[Array<'_>], precision: FloatPrecision) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let bytes: Vec<Vec<u8>> = arrays
        .iter()
        .map(|array| match precision {
            FloatPrecision::F16 => array.data.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            FloatPrecision::F32 => array.data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        })
        .collect();
    let dtype = match precision {
        FloatPrecision::F16 => Dtype::F16,
        FloatPrecision::F32 => Dtype::F32,
    };
    let mut views = Vec::with_capacity(arrays.len());
    for (array, bytes) in arrays.iter().zip(&bytes) {
        views.push((array.name.clone(), TensorView::new(dtype, array.dims.clone(), bytes)?));
    }
    serialize(views, None)
}

/// A trained cloud net as safetensors: its weights, and `input.mean` and `input.inverse_sd` per feature channel.
///
/// # Errors
/// What the format refuses; weights of a real net never are.
pub fn encode_cloud_net(net: &CloudNet) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let mut arrays: Vec<Array<'_>> =
        net.params.0.iter().map(|p| Array { name: p.name.clone(), dims: p.dims.clone(), data: &p.data }).collect();
    for (name, data) in
        [("input.mean", &net.standardisation.mean), ("input.inverse_sd", &net.standardisation.inverse_sd)]
    {
        arrays.push(Array { name: name.to_owned(), dims: vec![data.len()], data });
    }
    encode(&arrays, FloatPrecision::F32)
}
