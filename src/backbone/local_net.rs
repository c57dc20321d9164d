//! A backbone's first layers as a runnable net, its last layer cut to what a design keeps of it.

use std::path::Path;

use super::safetensors_file::SafetensorsFile;
use super::{Backbone, BackboneError, Layer};
use crate::nn::{self, NetSpec, Param, Params, Shape};
use crate::space::ChannelChoice;

/// Description and weights of a local net.
#[derive(Debug, Clone)]
pub struct LocalNet {
    /// The layers: convolutions with ReLU, and the pools between them.
    pub spec: NetSpec,
    /// Their weights.
    pub params: Params,
    /// Place of each backbone layer's convolution among the description's layers.
    pub position: Vec<usize>,
}

impl LocalNet {
    /// The layers of `backbone` up to `last`, of whose output only what `choice` says is computed, for images of `side`.
    ///
    /// # Panics
    /// If the backbone has no weights for `last` or the layer lacks a channel.
    pub fn new(backbone: &Backbone, last: &Layer, choice: &ChannelChoice, side: usize) -> Self {
        let mut builder = Builder::default();
        for (layer, weights) in backbone.layers()[..=last.index].iter().zip(backbone.weights()) {
            let (weight, bias, relu) = match choice {
                _ if layer.index < last.index => (weights.weight.clone(), weights.bias.clone(), true),
                ChannelChoice::Set(channels) => {
                    let size = 9 * layer.in_channels;
                    let kept = channels.iter().map(|&channel| usize::from(channel));
                    let filters = kept.clone().flat_map(|c| &weights.weight[c * size..(c + 1) * size]);
                    (filters.copied().collect(), kept.map(|c| weights.bias[c]).collect(), true)
                }
                ChannelChoice::Mix(mix) => {
                    let (weight, bias) = mix.fold(&weights.weight, &weights.bias);
                    (weight, bias, mix.relu())
                }
            };
            builder.push(layer, weight, bias, if relu { Relu::Fused } else { Relu::None });
        }
        builder.finish(side)
    }

    /// All of `backbone` up to `last`, its ReLUs layers of their own: the output at every `position` is that of a
    /// convolution before its ReLU.
    pub fn tapped(backbone: &Backbone, last: &Layer, side: usize) -> Self {
        let mut builder = Builder::default();
        for (layer, weights) in backbone.layers()[..=last.index].iter().zip(backbone.weights()) {
            let relu = if layer.index < last.index { Relu::Apart } else { Relu::None };
            builder.push(layer, weights.weight.clone(), weights.bias.clone(), relu);
        }
        builder.finish(side)
    }
}

/// Reads a local net that ends at `last` with what `choice` keeps from a safetensors file, for images of `side`.
///
/// # Errors
/// [`BackboneError`] for a file that is damaged or holds other tensors, and for sides that the pools can't halve.
pub fn read_local_net(
    path: &Path,
    last: &Layer,
    choice: &ChannelChoice,
    side: usize,
) -> Result<LocalNet, BackboneError> {
    let architecture = super::Architecture::Vgg16;
    architecture.shape(last, side)?;
    let mut file = SafetensorsFile::open(path)?;
    let mut builder = Builder::default();
    for layer in &architecture.layers()[..=last.index] {
        let ends = layer.index == last.index;
        let output = if ends { choice.depth() } else { layer.out_channels };
        let weight = file.tensor(&format!("{}.weight", layer.name), &[output, layer.in_channels, 3, 3])?;
        let bias = file.tensor(&format!("{}.bias", layer.name), &[output])?;
        builder.push(layer, weight, bias, if ends && !choice.relu() { Relu::None } else { Relu::Fused });
    }
    Ok(builder.finish(side))
}

/// The ReLU after a convolution.
#[derive(Clone, Copy, PartialEq)]
enum Relu {
    Fused,
    Apart,
    None,
}

#[derive(Default)]
struct Builder {
    layers: Vec<nn::Layer>,
    params: Vec<Param>,
    position: Vec<usize>,
}

impl Builder {
    fn push(&mut self, layer: &Layer, weight: Vec<f32>, bias: Vec<f32>, relu: Relu) {
        let (input, output) = (layer.in_channels, bias.len());
        if layer.pool_before {
            self.layers.push(nn::Layer::MaxPool2);
        }
        let at = self.layers.len();
        self.layers.push(nn::Layer::Conv3x3 { input, output, relu: relu == Relu::Fused });
        if relu == Relu::Apart {
            self.layers.push(nn::Layer::Relu);
        }
        let mut param = |kind: &str, dims: Vec<usize>, data: Vec<f32>| {
            let name = format!("{at}.{kind}");
            self.params.push(Param { name, dims, data });
        };
        param("weight", vec![output, input, 3, 3], weight);
        param("bias", vec![output], bias);
        self.position.push(at);
    }

    fn finish(self, side: usize) -> LocalNet {
        LocalNet {
            spec: NetSpec { input: Shape::new(side, side, 3), layers: self.layers },
            params: Params(self.params),
            position: self.position,
        }
    }
}
