//! Known architectures, and what their weights are called.

mod mobile;
mod resnet;
mod vgg;

use std::sync::Arc;

use super::safetensors_file::SafetensorsFile;
use super::{BackboneError, Preprocess};
use crate::nn::{Activation, Conv, Graph, GraphOp as Op, Padding, Pool, PoolKind};

/// What they are called in spaces.
pub(super) const NAMES: &[&str] = &[
    "vgg16",
    "vgg16-torchvision",
    "vgg11",
    "vgg13",
    "vgg19",
    "vgg11_bn",
    "vgg13_bn",
    "vgg16_bn",
    "vgg19_bn",
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "efficientnet_lite0",
];

/// The graph of this name with weights from `weights`, and how images become its input; `None` for an unknown name.
pub(super) fn build(name: &str, weights: &mut dyn Weights) -> Option<Result<(Graph, Preprocess), BackboneError>> {
    let builder = Builder::new(weights);
    let (graph, preprocess) = match name {
        "vgg16" => (vgg::of_authors(builder), Preprocess::CAFFE),
        "vgg16-torchvision" => (vgg::of_torchvision(builder, 16, false), Preprocess::IMAGENET),
        "vgg11" => (vgg::of_torchvision(builder, 11, false), Preprocess::IMAGENET),
        "vgg13" => (vgg::of_torchvision(builder, 13, false), Preprocess::IMAGENET),
        "vgg19" => (vgg::of_torchvision(builder, 19, false), Preprocess::IMAGENET),
        "vgg11_bn" => (vgg::of_torchvision(builder, 11, true), Preprocess::IMAGENET),
        "vgg13_bn" => (vgg::of_torchvision(builder, 13, true), Preprocess::IMAGENET),
        "vgg16_bn" => (vgg::of_torchvision(builder, 16, true), Preprocess::IMAGENET),
        "vgg19_bn" => (vgg::of_torchvision(builder, 19, true), Preprocess::IMAGENET),
        "resnet18" => (resnet::basic(builder, [2, 2, 2, 2]), Preprocess::IMAGENET),
        "resnet34" => (resnet::basic(builder, [3, 4, 6, 3]), Preprocess::IMAGENET),
        "resnet50" => (resnet::bottleneck(builder, [3, 4, 6, 3]), Preprocess::IMAGENET),
        "mobilenet_v2" => (mobile::mobilenet_v2(builder), Preprocess::IMAGENET),
        // (byte − 127) / 128: efficientnet/lite in TensorFlow's repository.
        "efficientnet_lite0" => {
            (mobile::efficientnet_lite0(builder), Preprocess { scale: [1.0 / 128.0; 3], shift: [-127.0 / 128.0; 3] })
        }
        _ => return None,
    };
    Some(graph.map(|graph| (graph, preprocess)))
}

/// Where numbers come from.
pub(super) trait Weights {
    /// Whether there is a tensor of this name: names tell which library wrote a file.
    fn has(&self, tensor: &str) -> bool;
    /// The values of a tensor of this shape; `None` where the node at this position isn't wanted.
    fn tensor(&mut self, node: usize, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, BackboneError>;
}

/// None: what is built is a structure.
pub(super) struct NoWeights;

impl Weights for NoWeights {
    fn has(&self, _: &str) -> bool {
        false
    }

    fn tensor(&mut self, _: usize, _: &str, _: &[usize]) -> Result<Option<Vec<f32>>, BackboneError> {
        Ok(None)
    }
}

/// A file's, up to the node `last`.
pub(super) struct FileWeights {
    file: SafetensorsFile,
    last: usize,
}

impl FileWeights {
    pub(super) fn new(file: SafetensorsFile, last: usize) -> Self {
        Self { file, last }
    }
}

impl Weights for FileWeights {
    fn has(&self, tensor: &str) -> bool {
        self.file.has(tensor)
    }

    fn tensor(&mut self, node: usize, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, BackboneError> {
        (node <= self.last).then(|| self.file.tensor(name, shape)).transpose()
    }
}

/// A convolution of a table.
#[derive(Debug, Clone, Copy)]
struct Shape {
    input: usize,
    output: usize,
    groups: usize,
    kernel: usize,
    stride: usize,
    padding: Padding,
}

impl Shape {
    /// Padded so that stride alone changes the side.
    fn same(input: usize, output: usize, kernel: usize, stride: usize) -> Self {
        Self { input, output, groups: 1, kernel, stride, padding: Padding::Explicit([kernel / 2; 4]) }
    }

    fn depthwise(channels: usize, kernel: usize, stride: usize) -> Self {
        Self { groups: channels, ..Self::same(channels, channels, kernel, stride) }
    }
}

/// Names of a convolution's tensors in a file.
#[derive(Debug, Clone)]
struct Keys {
    conv: String,
    /// The normalisation behind it, and the ε of its variance; where there is none the convolution has a bias.
    norm: Option<(String, f32)>,
}

impl Keys {
    fn biased(conv: impl Into<String>) -> Self {
        Self { conv: conv.into(), norm: None }
    }

    fn normalised(conv: impl Into<String>, norm: impl Into<String>) -> Self {
        Self { conv: conv.into(), norm: Some((norm.into(), 1e-5)) }
    }
}

/// A graph being built.
struct Builder<'a> {
    graph: Graph,
    weights: &'a mut dyn Weights,
}

impl<'a> Builder<'a> {
    fn new(weights: &'a mut dyn Weights) -> Self {
        Self { graph: Graph::new(3), weights }
    }

    /// Appends a convolution with its normalisation folded in.
    fn conv(&mut self, name: &str, from: usize, shape: Shape, keys: &Keys) -> Result<usize, BackboneError> {
        let Shape { input, output, groups, kernel, stride, padding } = shape;
        let at = self.graph.nodes().len();
        let mut read = |name: String, dims: &[usize]| self.weights.tensor(at, &name, dims);
        let weight = read(format!("{}.weight", keys.conv), &[output, input / groups, kernel, kernel])?;
        let (weight, bias) = match (weight, &keys.norm) {
            (None, _) => (Vec::new(), Vec::new()),
            (Some(weight), None) => (weight, read(format!("{}.bias", keys.conv), &[output])?.unwrap_or_default()),
            (Some(mut weight), Some((norm, epsilon))) => {
                let mut part = |part: &str| -> Result<Vec<f32>, BackboneError> {
                    Ok(read(format!("{norm}.{part}"), &[output])?.unwrap_or_default())
                };
                let (gain, offset) = (part("weight")?, part("bias")?);
                let (mean, variance) = (part("running_mean")?, part("running_var")?);
                let scale: Vec<f32> = gain.iter().zip(&variance).map(|(gain, v)| gain / (v + epsilon).sqrt()).collect();
                let size = weight.len() / output;
                for (filter, scale) in weight.chunks_exact_mut(size).zip(&scale) {
                    filter.iter_mut().for_each(|value| *value *= scale);
                }
                let bias = offset.iter().zip(&mean).zip(&scale).map(|((offset, mean), scale)| offset - mean * scale);
                (weight, bias.collect())
            }
        };
        let (weight, bias) = (Arc::new(weight), Arc::new(bias));
        let conv = Conv { input, output, groups, kernel: [kernel; 2], stride, dilation: 1, padding, weight, bias };
        Ok(self.graph.push(name, Op::Conv(conv), vec![from])?)
    }

    fn activation(&mut self, name: &str, activation: Activation, from: usize) -> Result<usize, BackboneError> {
        Ok(self.graph.push(format!("{name}.activation"), Op::Activation(activation), vec![from])?)
    }

    fn max_pool(&mut self, name: &str, kernel: usize, padding: usize, from: usize) -> Result<usize, BackboneError> {
        let padding = Padding::Explicit([padding; 4]);
        let pool = Pool { kind: PoolKind::Max, kernel: [kernel; 2], stride: 2, padding, ceil: false };
        Ok(self.graph.push(name, Op::Pool(pool), vec![from])?)
    }

    fn add(&mut self, name: &str, a: usize, b: usize) -> Result<usize, BackboneError> {
        Ok(self.graph.push(name, Op::Add, vec![a, b])?)
    }
}
