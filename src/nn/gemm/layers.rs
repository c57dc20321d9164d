//! Forward and backward of single layers on matrices `[n·height·width, channels]`.

use candle_core::{DType, Result as CandleResult, Tensor};

use crate::nn::params::Params;
use crate::nn::spec::{Layer, NetSpec, Shape};

/// A convolution or linear layer, and where its weights stand: a matrix `[taps·input, output]`, then the bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    /// 9 for a convolution, 1 for a linear layer.
    taps: usize,
    input: usize,
    output: usize,
    relu: bool,
    start: usize,
}

impl Affine {
    /// How many belong to a layer.
    pub(super) fn count(layer: Layer) -> usize {
        match layer {
            Layer::Conv3x3 { .. } | Layer::Linear { .. } => 1,
            Layer::Residual { .. } => 2,
            _ => 0,
        }
    }

    /// Those of a net, in the order of its weights.
    pub(super) fn all(spec: &NetSpec) -> Vec<Affine> {
        let mut start = 0;
        let mut all = Vec::new();
        let mut push = |taps, input, output, relu| {
            let affine = Affine { taps, input, output, relu, start };
            start = affine.end();
            all.push(affine);
        };
        for layer in &spec.layers {
            match *layer {
                Layer::Conv3x3 { input, output, relu } => push(9, input, output, relu),
                Layer::Linear { input, output, relu } => push(1, input, output, relu),
                Layer::Residual { channels, relu } => {
                    push(9, channels, channels, true);
                    push(9, channels, channels, relu);
                }
                _ => {}
            }
        }
        all
    }

    fn rows(&self) -> usize {
        self.taps * self.input
    }

    fn end(&self) -> usize {
        self.start + (self.rows() + 1) * self.output
    }

    /// All weights as one vector; `params` are in PyTorch's layout.
    pub(super) fn flatten(all: &[Affine], params: &Params) -> Vec<f32> {
        let mut flat = Vec::with_capacity(params.len());
        for (affine, pair) in all.iter().zip(params.0.chunks_exact(2)) {
            let &Affine { taps, input, output, .. } = affine;
            for row in 0..affine.rows() {
                let (tap, i) = (row / input, row % input);
                flat.extend((0..output).map(|o| pair[0].data[(o * input + i) * taps + tap]));
            }
            flat.extend_from_slice(&pair[1].data);
        }
        flat
    }

    /// This layer's weight and bias in PyTorch's layout.
    pub(super) fn unflatten(&self, flat: &[f32]) -> [Vec<f32>; 2] {
        let &Affine { taps, input, output, start, .. } = self;
        let (matrix, bias) = flat[start..self.end()].split_at(self.rows() * output);
        let weight = (0..output * input * taps).map(|at| {
            let (o, i, tap) = (at / taps / input, at / taps % input, at % taps);
            matrix[(tap * input + i) * output + o]
        });
        [weight.collect(), bias.to_vec()]
    }

    fn matrix(&self, weights: &Tensor) -> CandleResult<Tensor> {
        weights.narrow(0, self.start, self.rows() * self.output)?.reshape((self.rows(), self.output))
    }

    /// The matrix that takes a gathered gradient back to the input: taps turned round, `[taps·output, input]`.
    fn transposed(&self, weights: &Tensor) -> CandleResult<Tensor> {
        let matrix = self.matrix(weights)?;
        if self.taps == 1 {
            return matrix.t();
        }
        let last = self.taps as u32 - 1;
        let reversed = Tensor::from_vec((0..=last).rev().collect::<Vec<u32>>(), self.taps, weights.device())?;
        let taps = matrix.reshape((self.taps, self.input, self.output))?.index_select(&reversed, 0)?;
        taps.transpose(1, 2)?.contiguous()?.reshape((self.taps * self.output, self.input))
    }

    /// The rows that are multiplied: each position's neighbourhood for a convolution.
    fn gather(&self, x: &Tensor, neighbours: Option<&Tensor>) -> CandleResult<Tensor> {
        match neighbours {
            Some(neighbours) if self.taps == 9 => {
                let (rows, channels) = x.dims2()?;
                x.index_select(neighbours, 0)?.reshape((rows, 9 * channels))
            }
            _ => Ok(x.clone()),
        }
    }

    /// The output without ReLU, and the gathered input.
    fn forward(&self, weights: &Tensor, neighbours: Option<&Tensor>, x: &Tensor) -> CandleResult<(Tensor, Tensor)> {
        let gathered = self.gather(x, neighbours)?;
        let bias = weights.narrow(0, self.start + self.rows() * self.output, self.output)?;
        Ok((gathered.matmul(&self.matrix(weights)?)?.broadcast_add(&bias)?, gathered))
    }

    /// The gradient by the weights, as they stand in the vector.
    fn weight_gradient(&self, gathered: &Tensor, gradient: &Tensor) -> CandleResult<Tensor> {
        let matrix = gathered.t()?.matmul(gradient)?.flatten_all()?;
        Tensor::cat(&[matrix, gradient.sum(0)?], 0)
    }

    /// The gradient by the input.
    fn input_gradient(&self, weights: &Tensor, neighbours: Option<&Tensor>, gradient: &Tensor) -> CandleResult<Tensor> {
        self.gather(gradient, neighbours)?.matmul(&self.transposed(weights)?)
    }
}

/// What a layer's backward pass needs of its forward pass.
pub(super) enum Tape {
    /// Gathered input and, where a ReLU follows, the output.
    Affine {
        gathered: Tensor,
        output: Option<Tensor>,
    },
    /// The two convolutions of a residual block.
    Residual {
        gathered: [Tensor; 2],
        hidden: Tensor,
        output: Option<Tensor>,
    },
    /// For each corner of the windows, 1 where it is the first maximum.
    Corners([Tensor; 4]),
    /// The factors of the values.
    Scaled(Tensor),
    /// The output of a ReLU on its own.
    Relu(Tensor),
    /// The output of a sigmoid.
    Sigmoid(Tensor),
    Shuffled,
    /// A change of shape alone, or nothing.
    Shape,
}

/// Which gradients a backward pass is to yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// That by the weights.
    Weights,
    /// That by the input.
    Input,
    /// Both.
    Both,
}

/// Gradients of one layer.
pub(super) struct Back {
    pub(super) input: Tensor,
    /// Of its affine parts, in their order; none where they are not wanted.
    pub(super) weights: Vec<Tensor>,
}

/// `x`, `[n·height·width, channels]` of `shape`, through a layer other than dropout.
pub(super) fn forward(
    layer: Layer,
    affines: &[Affine],
    weights: &Tensor,
    neighbours: Option<&Tensor>,
    x: &Tensor,
    n: usize,
    shape: Shape,
) -> CandleResult<(Tensor, Tape)> {
    let Shape { height: h, width: w, channels: c } = shape;
    match (layer, affines) {
        (Layer::Conv3x3 { .. } | Layer::Linear { .. }, [affine]) => {
            let (output, gathered) = affine.forward(weights, neighbours, x)?;
            let (output, kept) = rectify(output, affine.relu)?;
            Ok((output, Tape::Affine { gathered, output: kept }))
        }
        (Layer::Residual { relu, .. }, [a, b]) => {
            let (hidden, first) = a.forward(weights, neighbours, x)?;
            let hidden = hidden.relu()?;
            let (inner, second) = b.forward(weights, neighbours, &hidden)?;
            let (output, kept) = rectify((x + inner)?, relu)?;
            Ok((output, Tape::Residual { gathered: [first, second], hidden, output: kept }))
        }
        (Layer::MaxPool2, _) => {
            let windows = x.reshape(&[n, h / 2, 2, w / 2, 2, c])?;
            let corner = |i: usize| {
                let part = windows.narrow(2, i / 2, 1)?.narrow(4, i % 2, 1)?;
                part.contiguous()?.reshape((n * (h / 2) * (w / 2), c))
            };
            let corners = [corner(0)?, corner(1)?, corner(2)?, corner(3)?];
            let largest = corners[0].maximum(&corners[1])?.maximum(&corners[2])?.maximum(&corners[3])?;
            let mut open = largest.ones_like()?;
            let mut masks = Vec::with_capacity(4);
            for corner in &corners {
                let mask = corner.eq(&largest)?.to_dtype(DType::F32)?.mul(&open)?;
                open = (open - &mask)?;
                masks.push(mask);
            }
            let masks =
                masks.try_into().map_err(|_| candle_core::Error::Msg("a window has four corners".to_owned()))?;
            Ok((largest, Tape::Corners(masks)))
        }
        (Layer::PixelShuffle2, _) => {
            let parts = x.reshape(&[n, h, w, c / 4, 2, 2])?.permute([0, 1, 4, 2, 5, 3])?.contiguous()?;
            Ok((parts.reshape((n * 4 * h * w, c / 4))?, Tape::Shuffled))
        }
        (Layer::Flatten, _) => Ok((x.reshape((n, h * w * c))?, Tape::Shape)),
        (Layer::Relu, _) => {
            let output = x.relu()?;
            Ok((output.clone(), Tape::Relu(output)))
        }
        (Layer::Sigmoid, _) => {
            let output = candle_nn::ops::sigmoid(x)?;
            Ok((output.clone(), Tape::Sigmoid(output)))
        }
        _ => Ok((x.clone(), Tape::Shape)),
    }
}

/// The backward pass of one layer, whose input is of `shape`; the gradients are only computed where they are `wanted`.
#[expect(clippy::too_many_arguments, reason = "a layer, its net's state and its place in it")]
pub(super) fn backward(
    tape: &Tape,
    affines: &[Affine],
    weights: &Tensor,
    neighbours: Option<&Tensor>,
    gradient: &Tensor,
    n: usize,
    shape: Shape,
    wanted: Wanted,
) -> CandleResult<Back> {
    let Shape { height: h, width: w, channels: c } = shape;
    let alone = |input| Ok(Back { input, weights: Vec::new() });
    match (tape, affines) {
        (Tape::Affine { gathered, output }, [affine]) => {
            let gradient = masked(gradient, output.as_ref())?;
            let input = match wanted {
                Wanted::Weights => gradient.clone(),
                _ => affine.input_gradient(weights, neighbours, &gradient)?,
            };
            let weights = match wanted {
                Wanted::Input => Vec::new(),
                _ => vec![affine.weight_gradient(gathered, &gradient)?],
            };
            Ok(Back { input, weights })
        }
        (Tape::Residual { gathered, hidden, output }, [a, b]) => {
            let outer = masked(gradient, output.as_ref())?;
            let inner = masked(&b.input_gradient(weights, neighbours, &outer)?, Some(hidden))?;
            let input = match wanted {
                Wanted::Weights => inner.clone(),
                _ => (a.input_gradient(weights, neighbours, &inner)? + &outer)?,
            };
            let weights = match wanted {
                Wanted::Input => Vec::new(),
                _ => vec![a.weight_gradient(&gathered[0], &inner)?, b.weight_gradient(&gathered[1], &outer)?],
            };
            Ok(Back { input, weights })
        }
        (Tape::Corners(masks), _) => {
            let part = |i: usize| gradient.mul(&masks[i])?.reshape(&[n, h / 2, 1, w / 2, 1, c]);
            let row = |i: usize| Tensor::cat(&[part(i)?, part(i + 1)?], 4);
            alone(Tensor::cat(&[row(0)?, row(2)?], 2)?.reshape((n * h * w, c))?)
        }
        (Tape::Shuffled, _) => {
            let parts = gradient.reshape(&[n, h, 2, w, 2, c / 4])?.permute([0, 1, 3, 5, 2, 4])?.contiguous()?;
            alone(parts.reshape((n * h * w, c))?)
        }
        (Tape::Scaled(scale), _) => alone(gradient.mul(scale)?),
        (Tape::Relu(output), _) => alone(masked(gradient, Some(output))?),
        (Tape::Sigmoid(output), _) => alone(gradient.mul(output)?.mul(&output.affine(-1.0, 1.0)?)?),
        _ => alone(gradient.clone()),
    }
}

/// ReLU, and its output where there is one.
fn rectify(x: Tensor, relu: bool) -> CandleResult<(Tensor, Option<Tensor>)> {
    match relu {
        true => {
            let x = x.relu()?;
            Ok((x.clone(), Some(x)))
        }
        false => Ok((x, None)),
    }
}

/// The gradient before a ReLU, from its output: which is 0 or positive, so that its sign is the derivative.
fn masked(gradient: &Tensor, output: Option<&Tensor>) -> CandleResult<Tensor> {
    match output {
        Some(output) => gradient.mul(&output.sign()?),
        None => Ok(gradient.clone()),
    }
}
