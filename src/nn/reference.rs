//! The executor on candle tensors with candle's operations and autograd: what the other executors are tested against.

use candle_core::{Device as CandleDevice, Tensor, Var};

use super::error::NnError;
use super::loss::{LOG_OFFSET, Target};
use super::network::{BuildOptions, Device, Network, check_input};
use super::optim::{Adam, Step};
use super::params::{Param, Params};
use super::random;
use super::spec::{Layer, NetSpec, Shape};
use super::tensors::{apply, backend_error, dropout_sizes, from_host, open, to_host};

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
            Target::PerceptualImages { .. } => Err(candle_core::Error::Msg("not differentiated by candle".to_owned())),
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
        check_input(self.spec.input, x, n)?;
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
        check_input(self.spec.input, x, n)?;
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
