//! The executor on candle tensors with autograd: what runs on CUDA, and the independent reference on the CPU.

use std::fmt::Display;

use candle_core::{Device as CandleDevice, Tensor, Var};

use super::error::NnError;
use super::loss::{LOG_OFFSET, Target};
use super::network::{BuildOptions, Device, Network, check_input};
use super::optim::{Adam, Step};
use super::params::{Param, Params};
use super::random;
use super::spec::{Layer, NetSpec, Shape};

/// A weight with its moments.
struct Weight {
    value: Var,
    first_moment: Tensor,
    second_moment: Tensor,
}

/// A [`Network`] whose layers are candle operations on `[n, channels, height, width]` tensors.
pub(super) struct ReferenceNetwork {
    spec: NetSpec,
    output: Shape,
    optimizer: Adam,
    dropout_seed: u64,
    steps: u64,
    device: Device,
    backend: CandleDevice,
    weights: Vec<Weight>,
}

impl ReferenceNetwork {
    /// The arguments must have been checked, as `build` does.
    pub(super) fn new(spec: &NetSpec, init: &Params, options: &BuildOptions) -> Result<Self, NnError> {
        let backend = open(options.device)?;
        let weights = init
            .0
            .iter()
            .map(|param| {
                let value = Var::from_slice(&param.data, param.dims.as_slice(), &backend)?;
                let (first_moment, second_moment) = (value.zeros_like()?, value.zeros_like()?);
                Ok(Weight { value, first_moment, second_moment })
            })
            .collect::<candle_core::Result<_>>()
            .map_err(|error| backend_error(options.device, error))?;
        Ok(Self {
            spec: spec.clone(),
            output: spec.output()?,
            optimizer: options.optimizer,
            dropout_seed: options.dropout_seed,
            steps: 0,
            device: options.device,
            backend,
            weights,
        })
    }

    /// `[n, height, width, channels]` values as a tensor in candle's order.
    fn upload(&self, values: &[f32], n: usize, shape: Shape) -> candle_core::Result<Tensor> {
        from_host(values, n, shape, &self.backend)
    }

    fn forward(&self, x: &Tensor, training: bool) -> candle_core::Result<Tensor> {
        let values: Vec<&Tensor> = self.weights.iter().map(|weight| weight.value.as_tensor()).collect();
        let mut dropped = 0;
        let n = x.dim(0)?;
        let total: usize = dropout_sizes(&self.spec).iter().sum();
        let mut sizes = dropout_sizes(&self.spec).into_iter();
        forward(&self.spec, &values, x, |probability, x| {
            let size = sizes.next().unwrap_or_default();
            let start = dropped;
            dropped += size;
            if !training {
                return Ok(x);
            }
            let mut scale = vec![0.0; n * size];
            for (image, scale) in scale.chunks_mut(size.max(1)).enumerate() {
                random::dropout(self.dropout_seed, self.steps, image * total + start, probability, scale);
            }
            let (_, channels, height, width) = x.dims4()?;
            x.mul(&self.upload(&scale, n, Shape { height, width, channels })?)
        })
    }

    fn loss(&self, x: &[f32], n: usize, target: Target<'_>) -> candle_core::Result<Tensor> {
        let output = self.forward(&self.upload(x, n, self.spec.input)?, true)?;
        match target {
            Target::Images(images) => (output - self.upload(images, n, self.output)?)?.sqr()?.mean_all(),
            Target::LogImages(images) => {
                let squares = (output - self.upload(images, n, self.output)?)?.sqr()?;
                (squares.flatten_from(1)?.mean(1)? + LOG_OFFSET)?.log()?.mean_all()
            }
            Target::Labels(labels) => {
                let logits = output.permute((0, 2, 3, 1))?.flatten_from(1)?;
                let labels = Tensor::from_slice(labels, (n, 1), &self.backend)?;
                candle_nn::ops::log_softmax(&logits, 1)?.gather(&labels, 1)?.mean_all()?.neg()
            }
        }
    }

    fn update(&mut self, loss: &Tensor, step: Step) -> candle_core::Result<()> {
        let gradients = loss.backward()?;
        let adam = self.optimizer.at(step, self.steps + 1);
        for weight in &mut self.weights {
            let Some(gradient) = gradients.get(&weight.value) else {
                continue;
            };
            let (beta1, beta2) = (f64::from(adam.beta1), f64::from(adam.beta2));
            let first = ((&weight.first_moment * beta1)? + (gradient * (1.0 - beta1))?)?;
            let second = ((&weight.second_moment * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
            let root = ((second.sqrt()? * f64::from(adam.root_scale))? + f64::from(adam.epsilon))?;
            let change = (first.div(&root)? * f64::from(adam.step_size))?;
            weight.value.set(&((weight.value.as_tensor() * f64::from(adam.keep))? - change)?)?;
            // Detached, so that the moments don't keep this step's graph alive.
            weight.first_moment = first.detach();
            weight.second_moment = second.detach();
        }
        Ok(())
    }
}

impl Network for ReferenceNetwork {
    fn spec(&self) -> &NetSpec {
        &self.spec
    }

    fn train_step(&mut self, x: &[f32], n: usize, target: Target<'_>, step: Step) -> Result<f32, NnError> {
        check_input(&self.spec, x, n)?;
        target.check(n, self.output.len())?;
        let failed = |error| backend_error(self.device, error);
        let loss = self.loss(x, n, target).map_err(failed)?;
        let value = loss.to_scalar::<f32>().map_err(failed)?;
        if !value.is_finite() {
            return Err(NnError::Diverged { step: self.steps, loss: value });
        }
        let device = self.device;
        self.update(&loss, step).map_err(|error| backend_error(device, error))?;
        self.steps += 1;
        Ok(value)
    }

    fn predict(&mut self, x: &[f32], n: usize, out: &mut Vec<f32>) -> Result<(), NnError> {
        /// Images at once, to bound the device memory.
        const BLOCK: usize = 256;
        check_input(&self.spec, x, n)?;
        out.clear();
        for x in x.chunks(BLOCK * self.spec.input.len()) {
            let n = x.len() / self.spec.input.len();
            let values = self
                .upload(x, n, self.spec.input)
                .and_then(|x| self.forward(&x, false))
                .and_then(|output| to_host(&output))
                .map_err(|error| backend_error(self.device, error))?;
            out.extend_from_slice(&values);
        }
        Ok(())
    }

    fn params(&self) -> Result<Params, NnError> {
        let copy = |(shape, weight): (super::spec::ParamShape, &Weight)| {
            let data = weight.value.flatten_all()?.to_vec1::<f32>()?;
            Ok(Param { name: shape.name, dims: shape.dims, data })
        };
        let params: candle_core::Result<_> =
            self.spec.param_shapes().into_iter().zip(&self.weights).map(copy).collect();
        params.map(Params).map_err(|error| backend_error(self.device, error))
    }

    fn set_params(&mut self, params: &Params) -> Result<(), NnError> {
        params.check(&self.spec)?;
        for (weight, param) in self.weights.iter().zip(&params.0) {
            Tensor::from_slice(&param.data, param.dims.as_slice(), &self.backend)
                .and_then(|value| weight.value.set(&value))
                .map_err(|error| backend_error(self.device, error))?;
        }
        Ok(())
    }
}

/// Values per image of each dropout layer.
pub(super) fn dropout_sizes(spec: &NetSpec) -> Vec<usize> {
    let shapes = spec.shapes().unwrap_or_default();
    let layers = spec.layers.iter().zip(shapes);
    layers.filter(|(layer, _)| matches!(layer, Layer::Dropout { .. })).map(|(_, shape)| shape.len()).collect()
}

/// Candle's device for ours.
pub(super) fn open(device: Device) -> Result<CandleDevice, NnError> {
    match device {
        Device::Cpu => Ok(CandleDevice::Cpu),
        Device::Cuda(_) if !cfg!(feature = "cuda") => Err(NnError::Device {
            device: device.to_string(),
            reason: "this binary was built without CUDA; rebuild with `--features cuda`, or use `cpu`".to_owned(),
        }),
        Device::Cuda(index) => CandleDevice::new_cuda(index)
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

/// The layers one after another. `weights` are in the order of the description; `dropout` is called with each dropout
/// layer's probability and input. Vectors are `[n, length, 1, 1]`.
fn forward(
    spec: &NetSpec,
    weights: &[&Tensor],
    x: &Tensor,
    mut dropout: impl FnMut(f32, Tensor) -> candle_core::Result<Tensor>,
) -> candle_core::Result<Tensor> {
    let mut weights = weights.chunks(2);
    let mut x = x.clone();
    for layer in &spec.layers {
        x = match *layer {
            Layer::Dropout { probability } => dropout(probability, x)?,
            layer => apply(layer, &mut weights, &x)?,
        };
    }
    Ok(x)
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
        Layer::Sigmoid => candle_nn::ops::sigmoid(x),
        Layer::Dropout { .. } => Ok(x.clone()),
    }
}

/// A copy of `params` on a device, in order.
pub(super) fn tensors(params: &Params, device: &CandleDevice) -> candle_core::Result<Vec<Tensor>> {
    let tensor = |param: &Param| Tensor::from_slice(&param.data, param.dims.as_slice(), device);
    params.0.iter().map(tensor).collect()
}
