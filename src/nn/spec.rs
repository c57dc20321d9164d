//! The description of a net: its layers, their shapes, weights and exact cost.

use std::fmt;

use super::error::NnError;

/// Height, width and channels of one image's activations. A vector of length `n` is `1 × 1 × n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels: the fastest index.
    pub channels: usize,
}

impl Shape {
    /// A map of `height × width` with `channels` channels.
    pub const fn new(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels }
    }

    /// Number of values per image.
    pub const fn len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Whether there are no values at all.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.height, self.width, self.channels)
    }
}

/// One layer of a [`NetSpec`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layer {
    /// 3×3 convolution with bias, stride 1, zero padding 1, then ReLU if `relu`.
    Conv3x3 {
        /// Channels in.
        input: usize,
        /// Channels out.
        output: usize,
        /// Whether a ReLU follows.
        relu: bool,
    },
    /// `x + b(relu(a(x)))` with two 3×3 convolutions `a`, `b` of `channels` channels; then ReLU if `relu`.
    Residual {
        /// Channels in and out.
        channels: usize,
        /// Whether a ReLU follows.
        relu: bool,
    },
    /// Maximum over 2×2 windows with stride 2. Height and width must be even.
    MaxPool2,
    /// Rearranges `4c` channels to a map of twice the height and width with `c` channels, in PyTorch's order: channel
    /// `4k + 2i + j` goes to channel `k` at row `2y + i`, column `2x + j`.
    PixelShuffle2,
    /// Makes a vector of a map, in the order height, width, channels (PyTorch's is channels, height, width).
    Flatten,
    /// Fully connected layer with bias on a vector, then ReLU if `relu`.
    Linear {
        /// Length of the input.
        input: usize,
        /// Length of the output.
        output: usize,
        /// Whether a ReLU follows.
        relu: bool,
    },
    /// While training, sets each value to 0 with this probability and divides the others by `1 − probability`.
    Dropout {
        /// In [0, 1).
        probability: f32,
    },
    /// The positive part of each value, where it is not part of the layer before.
    Relu,
    /// Logistic function of each value.
    Sigmoid,
}

/// Name, shape and initialisation scale of one weight or bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamShape {
    /// `"{layer}.weight"`, `"{layer}.bias"`; for a residual block `"{layer}.a.weight"`, …, `"{layer}.b.bias"`.
    pub name: String,
    /// PyTorch's layout: `[out, in, 3, 3]`, `[out, in]` or `[out]`.
    pub dims: Vec<usize>,
    /// Inputs that feed one output: `9·in` or `in`.
    pub fan_in: usize,
}

impl ParamShape {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The description of a net: a chain of layers on images of one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct NetSpec {
    /// Shape of one image's input.
    pub input: Shape,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
}

impl NetSpec {
    /// The output shape of every layer.
    ///
    /// # Errors
    /// [`NnError::Layer`] for the first layer that can't take its input.
    pub fn shapes(&self) -> Result<Vec<Shape>, NnError> {
        let mut shape = self.input;
        let mut shapes = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            shape = layer.output(shape).map_err(|reason| NnError::Layer {
                layer: index,
                name: format!("{layer:?}"),
                input: shape,
                reason,
            })?;
            shapes.push(shape);
        }
        Ok(shapes)
    }

    /// The shape of the net's output.
    ///
    /// # Errors
    /// As [`NetSpec::shapes`].
    pub fn output(&self) -> Result<Shape, NnError> {
        Ok(self.shapes()?.last().copied().unwrap_or(self.input))
    }

    /// All weights and biases, in the order in which [`Params`](super::Params) holds them.
    pub fn param_shapes(&self) -> Vec<ParamShape> {
        let mut shapes = Vec::new();
        let mut push = |prefix: String, weight: Vec<usize>| {
            let (output, fan_in) = (weight[0], weight[1..].iter().product());
            shapes.push(ParamShape { name: format!("{prefix}.weight"), dims: weight, fan_in });
            shapes.push(ParamShape { name: format!("{prefix}.bias"), dims: vec![output], fan_in });
        };
        for (index, layer) in self.layers.iter().enumerate() {
            match *layer {
                Layer::Conv3x3 { input, output, .. } => push(index.to_string(), vec![output, input, 3, 3]),
                Layer::Residual { channels, .. } => {
                    push(format!("{index}.a"), vec![channels, channels, 3, 3]);
                    push(format!("{index}.b"), vec![channels, channels, 3, 3]);
                }
                Layer::Linear { input, output, .. } => push(index.to_string(), vec![output, input]),
                Layer::MaxPool2
                | Layer::PixelShuffle2
                | Layer::Flatten
                | Layer::Dropout { .. }
                | Layer::Relu
                | Layer::Sigmoid => {}
            }
        }
        shapes
    }

    /// Multiply-accumulates of one image's forward pass by the direct algorithm (padding included, biases not).
    /// A training step costs about three times as much.
    ///
    /// # Errors
    /// As [`NetSpec::shapes`].
    pub fn macs_per_image(&self) -> Result<u64, NnError> {
        let shapes = self.shapes()?;
        Ok(self
            .layers
            .iter()
            .zip(&shapes)
            .map(|(layer, shape)| {
                let pixels = (shape.height * shape.width) as u64;
                match *layer {
                    Layer::Conv3x3 { input, output, .. } => pixels * 9 * (input * output) as u64,
                    Layer::Residual { channels, .. } => pixels * 18 * (channels * channels) as u64,
                    Layer::Linear { input, output, .. } => (input * output) as u64,
                    Layer::MaxPool2
                    | Layer::PixelShuffle2
                    | Layer::Flatten
                    | Layer::Dropout { .. }
                    | Layer::Relu
                    | Layer::Sigmoid => 0,
                }
            })
            .sum())
    }

    /// The reference attacker's decoder from features to an RGB image in [0, 1]: 3×3 convolution to 32 channels, a
    /// residual block, per octave a convolution to 128 and a pixel shuffle, a residual block, a convolution to 3.
    ///
    /// # Errors
    /// [`NnError::Sizes`] unless the map is square and `image_side` is its side times a power of two.
    pub fn reference_decoder(input: Shape, image_side: usize) -> Result<Self, NnError> {
        const WIDTH: usize = 32;
        let octaves = octaves("reference decoder", input, image_side)?;
        let mut layers = vec![conv(input.channels, WIDTH, true), Layer::Residual { channels: WIDTH, relu: false }];
        for _ in 0..octaves {
            layers.extend([conv(WIDTH, 4 * WIDTH, true), Layer::PixelShuffle2]);
        }
        layers.extend([Layer::Residual { channels: WIDTH, relu: true }, conv(WIDTH, 3, false), Layer::Sigmoid]);
        Ok(Self { input, layers })
    }

    /// The deep decoder: 3×3 convolution to `width` and ReLU, `blocks` residual blocks, per octave (a convolution, ReLU, pixel
    /// shuffle to half the width, a residual block), a convolution to 3, sigmoid. Half the width at twice the side is as much
    /// work: the depth is where it is cheap, at the features' resolution. Features of the image's own side have half the width
    /// throughout.
    ///
    /// # Errors
    /// As [`NetSpec::reference_decoder`].
    pub fn strong_decoder(input: Shape, image_side: usize, width: usize, blocks: usize) -> Result<Self, NnError> {
        const LEAST_WIDTH: usize = 24;
        let octaves = octaves("strong decoder", input, image_side)?;
        let residual = |channels| Layer::Residual { channels, relu: false };
        let mut width = if octaves == 0 { (width / 2).max(LEAST_WIDTH) } else { width };
        let mut layers = vec![conv(input.channels, width, true)];
        layers.extend(std::iter::repeat_n(residual(width), blocks));
        for _ in 0..octaves {
            let next = (width / 2).max(LEAST_WIDTH);
            layers.extend([conv(width, 4 * next, true), Layer::PixelShuffle2, residual(next)]);
            width = next;
        }
        layers.extend([conv(width, 3, false), Layer::Sigmoid]);
        Ok(Self { input, layers })
    }

    /// The reference cloud net from features to class scores (logits): two 3×3 convolutions to 64 channels, halvings
    /// (max-pool, convolution) down to side 4, a hidden layer of 128, dropout 0.3.
    ///
    /// # Errors
    /// [`NnError::Sizes`] unless the map is square and can be halved down to a side of at most 4.
    pub fn reference_classifier(input: Shape, classes: usize) -> Result<Self, NnError> {
        const WIDTH: usize = 64;
        let refuse = |reason: &str| NnError::Sizes {
            net: "reference classifier",
            input,
            image_side: input.height,
            reason: reason.to_owned(),
        };
        if input.is_empty() || input.height != input.width || classes == 0 {
            return Err(refuse("it needs a square map, at least one channel and one class"));
        }
        let mut side = input.height;
        let mut layers = vec![conv(input.channels, WIDTH, true), conv(WIDTH, WIDTH, true)];
        while side > 4 {
            if !side.is_multiple_of(2) {
                return Err(refuse("the side must be at most 4 or such a number times a power of two"));
            }
            layers.extend([Layer::MaxPool2, conv(WIDTH, WIDTH, true)]);
            side /= 2;
        }
        layers.extend([
            Layer::Flatten,
            Layer::Linear { input: WIDTH * side * side, output: 128, relu: true },
            Layer::Dropout { probability: 0.3 },
            Layer::Linear { input: 128, output: classes, relu: false },
        ]);
        Ok(Self { input, layers })
    }
}

impl Layer {
    /// The output shape for an input shape, or why there is none.
    fn output(&self, input: Shape) -> Result<Shape, String> {
        let Shape { height, width, channels } = input;
        let need_channels = |needed: usize| {
            if channels == needed { Ok(()) } else { Err(format!("it needs {needed} channels")) }
        };
        if input.is_empty() {
            return Err("it is empty".to_owned());
        }
        match *self {
            Layer::Conv3x3 { input: from, output, .. } => {
                need_channels(from)?;
                if output == 0 {
                    return Err("it has no outputs".to_owned());
                }
                Ok(Shape { channels: output, ..input })
            }
            Layer::Residual { channels: same, .. } => need_channels(same).map(|()| input),
            Layer::MaxPool2 => {
                if height % 2 != 0 || width % 2 != 0 {
                    return Err("it needs even height and width".to_owned());
                }
                Ok(Shape::new(height / 2, width / 2, channels))
            }
            Layer::PixelShuffle2 => {
                if channels % 4 != 0 {
                    return Err("it needs a multiple of 4 channels".to_owned());
                }
                Ok(Shape::new(2 * height, 2 * width, channels / 4))
            }
            Layer::Flatten => Ok(Shape::new(1, 1, input.len())),
            Layer::Linear { input: from, output, .. } => {
                if height != 1 || width != 1 || channels != from {
                    return Err(format!("it needs a vector of length {from} (put a Flatten before)"));
                }
                if output == 0 {
                    return Err("it has no outputs".to_owned());
                }
                Ok(Shape::new(1, 1, output))
            }
            Layer::Dropout { probability } => {
                if !(0.0..1.0).contains(&probability) {
                    return Err(format!("the probability {probability} must be in [0, 1)"));
                }
                Ok(input)
            }
            Layer::Relu | Layer::Sigmoid => Ok(input),
        }
    }
}

/// A 3×3 convolution layer.
const fn conv(input: usize, output: usize, relu: bool) -> Layer {
    Layer::Conv3x3 { input, output, relu }
}

/// How often a map must be doubled to reach the image.
fn octaves(net: &'static str, input: Shape, image_side: usize) -> Result<u32, NnError> {
    let fits = !input.is_empty()
        && input.height == input.width
        && image_side.is_multiple_of(input.height)
        && (image_side / input.height).is_power_of_two();
    if fits {
        Ok((image_side / input.height).ilog2())
    } else {
        let reason = "the map must be square, and the image's side its side times a power of two".to_owned();
        Err(NnError::Sizes { net, input, image_side, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_nets_have_the_peers_sizes() {
        // sum(p.numel() for p in decoder(64, 8, 32).parameters()) and classifier(64, 32, 10), torch_peer.py.
        let count = |spec: &NetSpec| spec.param_shapes().iter().map(ParamShape::len).sum::<usize>();
        let decoder = NetSpec::reference_decoder(Shape::new(8, 8, 64), 32).unwrap();
        assert_eq!(count(&decoder), 130_307);
        assert_eq!(decoder.output().unwrap(), Shape::new(32, 32, 3));
        let classifier = NetSpec::reference_classifier(Shape::new(32, 32, 64), 10).unwrap();
        assert_eq!(count(&classifier), 317_130);
        assert_eq!(classifier.output().unwrap(), Shape::new(1, 1, 10));
        let small = NetSpec { input: Shape::new(4, 4, 2), layers: vec![conv(2, 5, true), Layer::MaxPool2] };
        assert_eq!(small.macs_per_image().unwrap(), 16 * 9 * 10);
    }

    #[test]
    fn strong_decoder_doubles_up_to_the_image() {
        let spec = NetSpec::strong_decoder(Shape::new(8, 8, 16), 32, 128, 8).unwrap();
        assert_eq!(spec.output().unwrap(), Shape::new(32, 32, 3));
        assert_eq!(spec.layers.len(), 1 + 8 + 2 * 3 + 2);
        assert!(matches!(spec.layers[spec.layers.len() - 2], Layer::Conv3x3 { input: 32, output: 3, .. }));
        let flat = NetSpec::strong_decoder(Shape::new(32, 32, 16), 32, 128, 8).unwrap();
        assert_eq!(flat.layers.len(), 1 + 8 + 2);
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert!(NetSpec::reference_decoder(Shape::new(8, 8, 4), 24).is_err());
        assert!(NetSpec::reference_decoder(Shape::new(8, 4, 4), 32).is_err());
        assert!(NetSpec::reference_classifier(Shape::new(10, 10, 4), 10).is_err());
        let refused = |layer| NetSpec { input: Shape::new(3, 4, 6), layers: vec![layer] }.shapes().is_err();
        assert!(refused(conv(5, 4, true)));
        assert!(refused(Layer::MaxPool2));
        assert!(refused(Layer::PixelShuffle2));
        assert!(refused(Layer::Linear { input: 72, output: 2, relu: false }));
        assert!(refused(Layer::Dropout { probability: 1.0 }));
        assert!(refused(Layer::Residual { channels: 5, relu: false }));
        assert!(!refused(Layer::Flatten));
    }
}
