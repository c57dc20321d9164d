//! Named arrays as safetensors bytes.

use half::f16;
use safetensors::tensor::{TensorView, serialize};
use safetensors::{Dtype, SafeTensors};

use crate::config::FloatPrecision;
use crate::estimate::CloudNet;
use crate::nn::{NetSpec, Param, Params};

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

/// A cloud net from the safetensors that [`encode_cloud_net`] made: its weights, in their order, and the mean and inverse spread of its input.
///
/// # Errors
/// What the format refuses, and a tensor that is missing or of another type.
pub fn decode_cloud_net(bytes: &[u8], spec: &NetSpec) -> Result<(Params, [Vec<f32>; 2]), safetensors::SafeTensorError> {
    let all = SafeTensors::deserialize(bytes)?;
    let values = |name: &str| -> Result<Vec<f32>, safetensors::SafeTensorError> {
        let view = all.tensor(name)?;
        if view.dtype() != Dtype::F32 {
            return Err(safetensors::SafeTensorError::TensorNotFound(name.to_owned()));
        }
        Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    let mut params = Params::default();
    for shape in spec.param_shapes() {
        let data = values(&shape.name)?;
        params.0.push(Param { name: shape.name, dims: shape.dims, data });
    }
    Ok((params, [values("input.mean")?, values("input.inverse_sd")?]))
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
