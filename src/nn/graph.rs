//! Frozen feed-forward nets as graphs of operations on feature maps.
//!
//! A [`Graph`] describes what a pre-trained net computes, weights included, whatever file it came from. Nodes stand in
//! an order in which each comes after its inputs, and node 0 is the image. What a device would run of it is a *prefix*:
//! at a [`cut`](Graph::cuts) all data flows through one node's output, so that everything before it, and nothing
//! behind it, is needed.
//!
//! - [`shapes`](Graph::shapes) tells every output's shape, [`cost`](Graph::cost) what a prefix costs;
//! - [`fold`](Graph::fold) merges normalisations and paddings into the convolutions beside them;
//! - [`local`](Graph::local) cuts a prefix to some channels of its output, and everything before to what these need;
//! - [`chain`](Graph::chain) turns a plain chain of 3×3 convolutions into a [`NetSpec`](super::NetSpec);
//! - `run` runs graphs on candle tensors: on CUDA, and on the CPU what the engine (`super::engine`) has no kernels for;
//! - [`quantised`](Graph::quantised) rounds weights to eight bits.

mod append;
mod change;
mod check;
mod cost;
mod cuts;
mod error;
mod fold;
mod local;
mod lower;
mod outline;
mod pads;
mod quantise;
mod run;
mod shapes;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

pub use cost::GraphCost;
pub use cuts::Cut;
pub use error::GraphError;
pub use local::Keep;
pub(super) use lower::Fuse;
pub use quantise::{Calibration, Int8};
pub(super) use run::GraphRunner;
pub(super) use shapes::Windows;

/// Numbers that graphs share: cutting one copies no weights.
pub type Values = Arc<Vec<f32>>;

/// A net without cycles, from one image to one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    pub(super) nodes: Vec<Node>,
}

/// An operation and what it works on.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name in the file that it came from.
    pub name: String,
    /// The name of its output there: of the last of the nodes that were folded into it.
    pub output: String,
    /// What it does.
    pub op: Op,
    /// Positions of the nodes whose outputs it takes, all before its own.
    pub inputs: Vec<usize>,
}

/// What a node does with maps of `channels × height × width`.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The image: this many channels.
    Input(usize),
    /// A convolution.
    Conv(Conv),
    /// `scale·x + shift`, by channel.
    Affine {
        /// One per channel.
        scale: Values,
        /// One per channel.
        shift: Values,
    },
    /// A function of single values.
    Activation(Activation),
    /// A maximum or mean over windows.
    Pool(Pool),
    /// The mean over a whole map: 1×1.
    GlobalAverage,
    /// The sum of two or more maps of one shape; 1×1 maps and single channels are repeated.
    Add,
    /// The product of two maps of one shape; 1×1 maps and single channels are repeated.
    Mul,
    /// The inputs' channels, one input after the other.
    Concat,
    /// A border of this value.
    Pad {
        /// Rows and columns added: top, left, bottom, right.
        border: [usize; 4],
        /// What they hold.
        value: f32,
    },
    /// Some of the channels, in this order.
    Select(Arc<Vec<u16>>),
    /// A vector of the map.
    Flatten {
        /// In the order row, column, channel; else channel, row, column.
        channels_last: bool,
    },
    /// An operation that is not known: nothing behind it can be run.
    Unsupported(String),
}

/// A two-dimensional convolution, square in stride and dilation.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub output: usize,
    /// Groups that the channels fall into.
    pub groups: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: usize,
    /// Step between a window's own positions.
    pub dilation: usize,
    /// Zeros around the map.
    pub padding: Padding,
    /// `[output, input / groups, rows, columns]`.
    pub weight: Values,
    /// `[output]`.
    pub bias: Values,
}

impl Conv {
    /// Whether every channel has a kernel of its own.
    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.input && self.input == self.output
    }

    /// Weights of one output channel.
    pub fn weights_per_output(&self) -> usize {
        self.input / self.groups * self.kernel[0] * self.kernel[1]
    }
}

/// What surrounds a map before windows are laid over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// Rows and columns: top, left, bottom, right.
    Explicit([usize; 4]),
    /// As many as make the output's side the input's over the stride, rounded up; an odd one goes behind.
    SameUpper,
    /// The same; an odd one goes before.
    SameLower,
}

/// A maximum or mean over windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// What is taken of a window.
    pub kind: PoolKind,
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Step between windows.
    pub stride: usize,
    /// What surrounds the map; never a maximum.
    pub padding: Padding,
    /// Whether a last window that reaches beyond the border counts.
    pub ceil: bool,
}

/// What is taken of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value.
    Max,
    /// The mean; whether over the zeros of the border, too.
    Average {
        /// Whether the border counts.
        border: bool,
    },
}

/// A function of single values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// The positive part.
    Relu,
    /// Into a range.
    Clip {
        /// The least value.
        low: f32,
        /// The largest value.
        high: f32,
    },
    /// `x` where positive, else `slope·x`.
    LeakyRelu(f32),
    /// The logistic function.
    Sigmoid,
    /// `clamp(alpha·x + beta, 0, 1)`.
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// `x · clamp(x/6 + 1/2, 0, 1)`.
    HardSwish,
    /// `x` times the logistic function of `x` (SiLU).
    Swish,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Its value at `x`.
    pub fn at(self, x: f32) -> f32 {
        match self {
            Self::Relu => x.max(0.0),
            Self::Clip { low, high } => x.max(low).min(high),
            Self::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Swish => x / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
        }
    }

    /// Its derivative at `x`; where it has a corner, that of the flat side.
    pub fn slope(self, x: f32) -> f32 {
        let logistic = |x: f32| 1.0 / (1.0 + (-x).exp());
        let within = |inside: bool, slope: f32| if inside { slope } else { 0.0 };
        match self {
            Self::Relu => within(x > 0.0, 1.0),
            Self::Clip { low, high } => within(x > low && x < high, 1.0),
            Self::LeakyRelu(slope) => {
                if x > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Self::Sigmoid => logistic(x) * (1.0 - logistic(x)),
            Self::HardSigmoid { alpha, beta } => {
                let value = alpha * x + beta;
                within(value > 0.0 && value < 1.0, alpha)
            }
            Self::HardSwish => {
                let gate = x / 6.0 + 0.5;
                gate.clamp(0.0, 1.0) + within(gate > 0.0 && gate < 1.0, x / 6.0)
            }
            Self::Swish => logistic(x) * (1.0 + x * (1.0 - logistic(x))),
            Self::Tanh => 1.0 - x.tanh().powi(2),
        }
    }
}

impl Op {
    /// What the operation is called in messages.
    pub fn name(&self) -> &str {
        match self {
            Self::Input(_) => "input",
            Self::Conv(_) => "conv",
            Self::Affine { .. } => "affine",
            Self::Activation(Activation::Relu) => "relu",
            Self::Activation(Activation::Clip { .. }) => "clip",
            Self::Activation(Activation::LeakyRelu(_)) => "leaky-relu",
            Self::Activation(Activation::Sigmoid) => "sigmoid",
            Self::Activation(Activation::HardSigmoid { .. }) => "hard-sigmoid",
            Self::Activation(Activation::HardSwish) => "hard-swish",
            Self::Activation(Activation::Swish) => "swish",
            Self::Activation(Activation::Tanh) => "tanh",
            Self::Pool(Pool { kind: PoolKind::Max, .. }) => "max-pool",
            Self::Pool(_) => "average-pool",
            Self::GlobalAverage => "global-average",
            Self::Add => "add",
            Self::Mul => "mul",
            Self::Concat => "concat",
            Self::Pad { .. } => "pad",
            Self::Select(_) => "select",
            Self::Flatten { .. } => "flatten",
            Self::Unsupported(name) => name,
        }
    }

    /// Whether each channel of the output is made of the same channel of every input alone.
    fn is_channelwise(&self) -> bool {
        match self {
            Self::Affine { .. } | Self::Activation(_) | Self::Pool(_) | Self::GlobalAverage | Self::Add | Self::Mul => {
                true
            }
            Self::Pad { .. } => true,
            Self::Conv(conv) => conv.is_depthwise(),
            Self::Input(_) | Self::Concat | Self::Select(_) | Self::Flatten { .. } | Self::Unsupported(_) => false,
        }
    }
}

impl Graph {
    /// A graph that takes an image of `channels`.
    pub fn new(channels: usize) -> Self {
        Self {
            nodes: vec![Node {
                name: "image".to_owned(),
                output: "image".to_owned(),
                op: Op::Input(channels),
                inputs: Vec::new(),
            }],
        }
    }

    /// Appends a node and returns its position.
    ///
    /// # Errors
    /// [`GraphError::Node`] for an input that does not stand before it, or weights that don't fit the operation.
    pub fn push(&mut self, name: impl Into<String>, op: Op, inputs: Vec<usize>) -> Result<usize, GraphError> {
        let name = name.into();
        let node = Node { output: name.clone(), name, op, inputs };
        node.check(self.nodes.len())?;
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    /// The nodes, each after its inputs.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Channels of the image.
    pub fn input_channels(&self) -> usize {
        match self.nodes[0].op {
            Op::Input(channels) => channels,
            _ => unreachable!("node 0 is the image"),
        }
    }

    /// The nodes up to and including `last`.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn prefix(&self, last: usize) -> Self {
        Self { nodes: self.nodes[..=last].to_vec() }
    }

    /// Calls the last node's output `name`.
    pub fn name_output(&mut self, name: &str) {
        if let Some(last) = self.nodes.last_mut() {
            name.clone_into(&mut last.output);
        }
    }

    /// For each node, those that take its output.
    fn consumers(&self) -> Vec<Vec<usize>> {
        let mut consumers = vec![Vec::new(); self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&input| consumers[input].push(at));
        }
        consumers
    }

    /// The graph without the nodes that `keep` refuses; what took their output takes their first input's instead.
    fn without(self, keep: &[bool]) -> Self {
        let mut place = Vec::with_capacity(self.nodes.len());
        let mut nodes: Vec<Node> = Vec::new();
        for (node, &kept) in self.nodes.into_iter().zip(keep) {
            let inputs: Vec<usize> = node.inputs.iter().map(|&input| place[input]).collect();
            if kept {
                place.push(nodes.len());
                nodes.push(Node { inputs, ..node });
            } else {
                place.push(inputs.first().copied().unwrap_or(0));
            }
        }
        Self { nodes }
    }

    /// Only what the output of the last node depends on.
    #[must_use]
    pub fn live(self) -> Self {
        let mut needed = vec![false; self.nodes.len()];
        needed[0] = true;
        if let Some(last) = needed.last_mut() {
            *last = true;
        }
        for (at, node) in self.nodes.iter().enumerate().rev() {
            if needed[at] {
                node.inputs.iter().for_each(|&input| needed[input] = true);
            }
        }
        self.without(&needed)
    }
}
