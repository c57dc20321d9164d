//! What every executor on candle tensors needs: devices, errors, transfers, and candle's own forward passes.

use std::fmt::Display;

use candle_core::{Device as CandleDevice, Tensor};

use super::error::NnError;
use super::network::Device;
use super::params::{Param, Params};
use super::spec::{Layer, NetSpec, Shape};

/// Values per image of each dropout layer.
pub(super) fn dropout_sizes(spec: &NetSpec) -> Vec<usize> {
    let shapes = spec.shapes().unwrap_or_default();
    let layers = spec.layers.iter().zip(shapes);
    layers.filter(|(layer, _)| matches!(layer, Layer::Dropout { .. })).map(|(_, shape)| shape.len()).collect()
}

/// Candle's device for ours, with a stream of its own; TF32 products on CUDA.
pub(super) fn open(device: Device) -> Result<CandleDevice, NnError> {
    match device {
        Device::Cpu => Ok(CandleDevice::Cpu),
        Device::Cuda(_) if !cfg!(feature = "cuda") => Err(NnError::Device {
            device: device.to_string(),
            reason: "this binary was built without CUDA; rebuild with `--features cuda`, or use `cpu`".to_owned(),
        }),
        Device::Cuda(index) => CandleDevice::new_cuda_with_stream(index)
            .inspect(|_| candle_core::cuda::set_gemm_reduced_precision_f32(true))
            .map_err(|error| NnError::Device { device: device.to_string(), reason: error.to_string() }),
    }
}

/// A failure of the tensor library.
pub(super) fn backend_error(device: Device, error: impl Display) -> NnError {
    NnError::Backend { device: device.to_string(), message: error.to_string() }
}

/// `[n, height, width, channels]` values as a `[n, channels, height, width]` tensor.
pub(super) fn from_host(values: &[f32], n: usize, shape: Shape, device: &CandleDevice) -> candle_core::Result<Tensor> {
    let Shape { height, width, channels } = shape;
    Tensor::from_slice(values, (n, height, width, channels), device)?.permute((0, 3, 1, 2))?.contiguous()
}

/// The reverse of [`from_host`].
pub(super) fn to_host(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    tensor.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1()
}

/// One layer without dropout; takes its weights from the front of `weights`, pairs of weight and bias.
pub(super) fn apply(
    layer: Layer,
    weights: &mut std::slice::Chunks<'_, &Tensor>,
    x: &Tensor,
) -> candle_core::Result<Tensor> {
    let mut next = || match weights.next() {
        Some([weight, bias]) => Ok((*weight, *bias)),
        _ => Err(candle_core::Error::Msg("a layer has no weights".to_owned())),
    };
    let conv = |x: &Tensor, (weight, bias): (&Tensor, &Tensor)| {
        x.conv2d(weight, 1, 1, 1, 1)?.broadcast_add(&bias.reshape((1, (), 1, 1))?)
    };
    let rectify = |x: Tensor, relu: bool| if relu { x.relu() } else { Ok(x) };
    match layer {
        Layer::Conv3x3 { relu, .. } => rectify(conv(x, next()?)?, relu),
        Layer::Residual { relu, .. } => {
            let inner = conv(x, next()?)?.relu()?;
            rectify((x + conv(&inner, next()?)?)?, relu)
        }
        Layer::MaxPool2 => {
            // candle's own max-pool has a backward pass that loses a factor of 4, so: maxima of the four corners.
            let (n, c, h, w) = x.dims4()?;
            let x = x.reshape((n, c, h, w / 2, 2))?;
            let x = x.narrow(4, 0, 1)?.maximum(&x.narrow(4, 1, 1)?)?.reshape((n, c, h / 2, 2, w / 2))?;
            x.narrow(3, 0, 1)?.maximum(&x.narrow(3, 1, 1)?)?.reshape((n, c, h / 2, w / 2))
        }
        Layer::PixelShuffle2 => candle_nn::ops::pixel_shuffle(x, 2),
        Layer::Flatten => x.permute((0, 2, 3, 1))?.flatten_from(1)?.unsqueeze(2)?.unsqueeze(3),
        Layer::Linear { relu, .. } => {
            let (weight, bias) = next()?;
            let x = x.flatten_from(1)?.matmul(&weight.t()?)?.broadcast_add(bias)?;
            rectify(x, relu)?.unsqueeze(2)?.unsqueeze(3)
        }
        Layer::Relu => x.relu(),
        Layer::Sigmoid => candle_nn::ops::sigmoid(x),
        Layer::Dropout { .. } => Ok(x.clone()),
    }
}

/// A copy of `params` on a device, in order.
pub(super) fn tensors(params: &Params, device: &CandleDevice) -> candle_core::Result<Vec<Tensor>> {
    let tensor = |param: &Param| Tensor::from_slice(&param.data, param.dims.as_slice(), device);
    params.0.iter().map(tensor).collect()
}
