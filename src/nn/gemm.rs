//! The executor on candle tensors whose affine layers are one matrix product each: what runs on CUDA.
//!
//! candle's own backward pass of a convolution is a naive kernel on CUDA. Here activations are matrices `[n·height·width,
//! channels]`; a 3×3 convolution gathers each position's neighbourhood (one indexed copy) and multiplies, and its
//! backward pass is the same gather of the gradient and two more products. All weights stand in one vector, so that Adam is
//! a handful of kernels for the whole net. It computes what `reference` does, on any candle device: the tests run it
//! on the CPU.

mod layers;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device as CandleDevice, Result as CandleResult, Tensor};

use super::error::NnError;
use super::loss::{LOG_OFFSET, Target};
use super::network::{BuildOptions, Device, Network, check_input};
use super::optim::{Adam, Step};
use super::params::{Param, Params};
use super::random;
use super::spec::{Layer, NetSpec, ParamShape, Shape};
use super::tensors::{backend_error, dropout_sizes, open};
use layers::{Affine, Tape, Wanted};

/// A [`Network`] on candle tensors, with a backward pass of its own.
pub(super) struct GemmNetwork {
    spec: NetSpec,
    /// Input shape of each layer, and the net's output.
    shapes: Vec<Shape>,
    affines: Vec<Affine>,
    optimizer: Adam,
    dropout_seed: u64,
    steps: u64,
    device: Device,
    backend: Lease,
    /// Weights and biases of all affine layers, and Adam's moments of them: vectors of one length.
    weights: Tensor,
    first_moment: Tensor,
    second_moment: Tensor,
    /// For `n` maps of a height and width: the rows of every position's 3×3 neighbours.
    neighbours: HashMap<(usize, usize, usize), Tensor>,
}

impl GemmNetwork {
    /// The arguments must have been checked, as `build` does.
    pub(super) fn new(spec: &NetSpec, init: &Params, options: &BuildOptions) -> Result<Self, NnError> {
        let backend = Lease::take(options.device)?;
        let mut shapes = vec![spec.input];
        shapes.extend(spec.shapes()?);
        let affines = Affine::all(spec);
        let weights = Affine::flatten(&affines, init);
        let upload = || -> CandleResult<(Tensor, Tensor)> {
            let weights = Tensor::from_slice(&weights, weights.len(), &backend.device)?;
            let zeros = weights.zeros_like()?;
            Ok((weights, zeros))
        };
        let (weights, zeros) = upload().map_err(|error| backend_error(options.device, error))?;
        Ok(Self {
            spec: spec.clone(),
            shapes,
            affines,
            optimizer: options.optimizer,
            dropout_seed: options.dropout_seed,
            steps: 0,
            device: options.device,
            backend,
            weights,
            first_moment: zeros.clone(),
            second_moment: zeros,
            neighbours: HashMap::new(),
        })
    }

    /// The output for a batch, `[n, values]`; `tape` keeps what the backward pass needs.
    fn forward(&mut self, x: &[f32], n: usize, mut tape: Option<&mut Vec<Tape>>) -> CandleResult<Tensor> {
        let input = self.spec.input;
        let mut x = Tensor::from_slice(x, (n * input.height * input.width, input.channels), &self.backend.device)?;
        let mut affine = 0;
        let mut dropped = 0;
        for index in 0..self.spec.layers.len() {
            let (layer, shape) = (self.spec.layers[index], self.shapes[index]);
            let (output, step) = match layer {
                Layer::Dropout { .. } if tape.is_none() => (x, Tape::Shape),
                Layer::Dropout { probability } => {
                    let scale = self.dropout(n, dropped, shape.len(), probability)?.reshape(x.shape())?;
                    dropped += shape.len();
                    (x.mul(&scale)?, Tape::Scaled(scale))
                }
                layer => {
                    let used = &self.affines[affine..affine + Affine::count(layer)];
                    affine += used.len();
                    let neighbours = match layer {
                        Layer::Conv3x3 { .. } | Layer::Residual { .. } => Some(neighbours(
                            &mut self.neighbours,
                            (n, shape.height, shape.width),
                            &self.backend.device,
                        )?),
                        _ => None,
                    };
                    layers::forward(layer, used, &self.weights, neighbours, &x, n, shape)?
                }
            };
            if let Some(tape) = tape.as_deref_mut() {
                tape.push(step);
            }
            x = output;
        }
        let output = self.shapes[self.shapes.len() - 1];
        x.reshape((n, output.len()))
    }

    /// The dropout factors of a layer's `values` per image, which are numbered from `start` on.
    fn dropout(&self, n: usize, start: usize, values: usize, probability: f32) -> CandleResult<Tensor> {
        let total: usize = dropout_sizes(&self.spec).iter().sum();
        let mut scale = vec![0.0; n * values];
        for (image, scale) in scale.chunks_mut(values.max(1)).enumerate() {
            random::dropout(self.dropout_seed, self.steps, image * total + start, probability, scale);
        }
        Tensor::from_vec(scale, (n, values), &self.backend.device)
    }

    /// The gradients of the loss by all weights, the last layer's first, and by the input, as far as they are `wanted`, from
    /// that by the output.
    fn backward(
        &mut self,
        gradient: Tensor,
        tape: Vec<Tape>,
        n: usize,
        wanted: Wanted,
    ) -> CandleResult<(Vec<Tensor>, Tensor)> {
        let mut parts: Vec<Tensor> = Vec::new();
        let mut affine = self.affines.len();
        let mut gradient = gradient;
        for (index, step) in tape.into_iter().enumerate().rev() {
            let (layer, shape) = (self.spec.layers[index], self.shapes[index]);
            let output = self.shapes[index + 1];
            gradient = gradient.reshape((n * output.height * output.width, output.channels))?;
            let count = Affine::count(layer);
            affine -= count;
            let used = &self.affines[affine..affine + count];
            let neighbours = self.neighbours.get(&(n, shape.height, shape.width));
            let needed = if wanted == Wanted::Weights && index > 0 { Wanted::Both } else { wanted };
            let back = layers::backward(&step, used, &self.weights, neighbours, &gradient, n, shape, needed)?;
            parts.extend(back.weights.into_iter().rev());
            gradient = back.input;
        }
        Ok((parts, gradient))
    }

    /// Loss, and its gradient by the output `[n, values]`.
    fn loss(&self, output: &Tensor, target: Target<'_>) -> CandleResult<(Tensor, Tensor)> {
        let (n, values) = output.dims2()?;
        let device = &self.backend.device;
        match target {
            Target::Images(images) => {
                let difference = (output - Tensor::from_slice(images, (n, values), device)?)?;
                Ok((difference.sqr()?.mean_all()?, (difference * (2.0 / (n * values) as f64))?))
            }
            Target::LogImages(images) => {
                let difference = (output - Tensor::from_slice(images, (n, values), device)?)?;
                let error = (difference.sqr()?.mean_keepdim(1)? + LOG_OFFSET)?;
                let gradient = (difference.broadcast_div(&error)? * (2.0 / (n * values) as f64))?;
                Ok((error.log()?.mean_all()?, gradient))
            }
            // On the host: an image is small, and windows are many small sums.
            Target::PerceptualImages { .. } => {
                let mut gradient = vec![0.0; n * values];
                let loss = target.contribution(&output.flatten_all()?.to_vec1()?, values, n, Some(&mut gradient));
                Ok((Tensor::new(loss as f32, device)?, Tensor::from_vec(gradient, (n, values), device)?))
            }
            Target::Labels(labels) => {
                let log_softmax = candle_nn::ops::log_softmax(output, 1)?;
                let mut one_hot = vec![0.0_f32; n * values];
                for (image, &label) in labels.iter().enumerate() {
                    one_hot[image * values + label as usize] = 1.0;
                }
                let one_hot = Tensor::from_vec(one_hot, (n, values), device)?;
                let loss = (log_softmax.mul(&one_hot)?.sum_all()? * (-1.0 / n as f64))?;
                Ok((loss, ((log_softmax.exp()? - one_hot)? * (1.0 / n as f64))?))
            }
        }
    }

    fn update(&mut self, gradient: &Tensor, step: Step) -> CandleResult<()> {
        let adam = self.optimizer.at(step, self.steps + 1);
        let (beta1, beta2) = (f64::from(adam.beta1), f64::from(adam.beta2));
        self.first_moment = ((&self.first_moment * beta1)? + (gradient * (1.0 - beta1))?)?;
        self.second_moment = ((&self.second_moment * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
        let root = self.second_moment.sqrt()?.affine(f64::from(adam.root_scale), f64::from(adam.epsilon))?;
        let change = (self.first_moment.div(&root)? * f64::from(adam.step_size))?;
        self.weights = ((&self.weights * f64::from(adam.keep))? - change)?;
        Ok(())
    }

    /// Forward and backward; the loss and the gradient by the weights.
    fn differentiate(&mut self, x: &[f32], n: usize, target: Target<'_>) -> CandleResult<(f32, Tensor)> {
        let mut tape = Vec::with_capacity(self.spec.layers.len());
        let output = self.forward(x, n, Some(&mut tape))?;
        let (loss, gradient) = self.loss(&output, target)?;
        let (mut parts, _) = self.backward(gradient, tape, n, Wanted::Weights)?;
        parts.reverse();
        let gradient = Tensor::cat(&parts, 0)?;
        // Read last: until here the device works on while the host goes ahead.
        Ok((loss.to_dtype(DType::F32)?.to_scalar()?, gradient))
    }

    /// The mean loss of a batch that fits, and its gradient by the input.
    pub(super) fn input_gradient(
        &mut self,
        x: &[f32],
        n: usize,
        target: Target<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, NnError> {
        let mut differentiate = || -> CandleResult<(f32, Vec<f32>)> {
            let mut tape = Vec::with_capacity(self.spec.layers.len());
            let output = self.forward(x, n, Some(&mut tape))?;
            let (loss, by_output) = self.loss(&output, target)?;
            let (_, by_input) = self.backward(by_output, tape, n, Wanted::Input)?;
            Ok((loss.to_dtype(DType::F32)?.to_scalar()?, by_input.flatten_all()?.to_vec1()?))
        };
        let (loss, values) = differentiate().map_err(|error| backend_error(self.device, error))?;
        gradient.copy_from_slice(&values);
        Ok(loss)
    }
}

impl Network for GemmNetwork {
    fn spec(&self) -> &NetSpec {
        &self.spec
    }

    fn train_step(&mut self, x: &[f32], n: usize, target: Target<'_>, step: Step) -> Result<f32, NnError> {
        check_input(self.spec.input, x, n)?;
        target.check(n, self.shapes[self.shapes.len() - 1].len())?;
        let device = self.device;
        let failed = |error| backend_error(device, error);
        let (loss, gradient) = self.differentiate(x, n, target).map_err(failed)?;
        if !loss.is_finite() {
            return Err(NnError::Diverged { step: self.steps, loss });
        }
        self.update(&gradient, step).map_err(failed)?;
        self.steps += 1;
        Ok(loss)
    }

    fn predict(&mut self, x: &[f32], n: usize, out: &mut Vec<f32>) -> Result<(), NnError> {
        /// Images at once, to bound the device memory.
        const BLOCK: usize = 128;
        check_input(self.spec.input, x, n)?;
        out.clear();
        let per_image = self.spec.input.len();
        for x in x.chunks(BLOCK * per_image) {
            let values = self
                .forward(x, x.len() / per_image, None)
                .and_then(|output| output.flatten_all()?.to_vec1::<f32>())
                .map_err(|error| backend_error(self.device, error))?;
            out.extend_from_slice(&values);
        }
        Ok(())
    }

    fn params(&self) -> Result<Params, NnError> {
        let flat = self.weights.to_vec1::<f32>().map_err(|error| backend_error(self.device, error))?;
        let mut data = self.affines.iter().flat_map(|affine| affine.unflatten(&flat));
        let param =
            |shape: ParamShape| Param { name: shape.name, dims: shape.dims, data: data.next().unwrap_or_default() };
        Ok(Params(self.spec.param_shapes().into_iter().map(param).collect()))
    }

    fn set_params(&mut self, params: &Params) -> Result<(), NnError> {
        params.check(&self.spec)?;
        let flat = Affine::flatten(&self.affines, params);
        self.weights = Tensor::from_slice(&flat, flat.len(), &self.backend.device)
            .map_err(|error| backend_error(self.device, error))?;
        Ok(())
    }
}

/// For each position of `n` maps the row numbers of its 3×3 neighbours, row by row; `u32::MAX`, which candle's indexed copy
/// takes for a zero, beyond the border.
fn neighbours<'a>(
    known: &'a mut HashMap<(usize, usize, usize), Tensor>,
    maps: (usize, usize, usize),
    device: &CandleDevice,
) -> CandleResult<&'a Tensor> {
    use std::collections::hash_map::Entry;
    match known.entry(maps) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let (n, height, width) = maps;
            let mut rows = Vec::with_capacity(9 * n * height * width);
            for position in 0..n * height * width {
                let (y, x) = (position / width % height, position % width);
                for tap in 0..9 {
                    let (y, x) = (y + tap / 3, x + tap % 3);
                    let inside = (1..=height).contains(&y) && (1..=width).contains(&x);
                    rows.push(match inside {
                        true => (position / (height * width) * height * width + (y - 1) * width + x - 1) as u32,
                        false => u32::MAX,
                    });
                }
            }
            let count = rows.len();
            Ok(entry.insert(Tensor::from_vec(rows, count, device)?))
        }
    }
}

/// A handle on a device with a stream of its own, so that nets side by side fill the device; handed back when dropped,
/// because making one loads all kernels.
struct Lease {
    of: Device,
    device: CandleDevice,
}

static IDLE: Mutex<Vec<(Device, CandleDevice)>> = Mutex::new(Vec::new());

impl Lease {
    fn take(of: Device) -> Result<Self, NnError> {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.iter().position(|&(device, _)| device == of).map(|at| idle.swap_remove(at).1);
        drop(idle);
        let device = match found {
            Some(device) => device,
            None => open(of)?,
        };
        Ok(Self { of, device })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push((self.of, self.device.clone()));
    }
}
