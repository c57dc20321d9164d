//! Pre-trained convolutional nets whose first layers make the local net.
//!
//! What is known of a net without its weights (layers, shapes, costs) is an [`Architecture`]; a [`Backbone`] is that
//! with weights read from a safetensors file.

mod error;
mod local_net;
mod preprocess;
mod safetensors_file;
mod vgg16;
mod weights;

use std::fmt;

pub use error::BackboneError;
pub use local_net::{LocalNet, read_local_net};
pub use preprocess::Preprocess;
pub use weights::{Backbone, LayerWeights};

/// The nets that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    /// VGG-16 up to conv4_3: Simonyan and Zisserman, arXiv 1409.1556, configuration D.
    Vgg16,
}

/// A 3×3 convolution of stride 1 with zero padding 1, followed by a ReLU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layer {
    /// Place in [`Architecture::layers`].
    pub index: usize,
    /// Its name, as in weight files and spaces: `conv3_1`.
    pub name: &'static str,
    /// Channels in.
    pub in_channels: usize,
    /// Channels out, before any are pruned.
    pub out_channels: usize,
    /// Whether a 2×2 max-pool of stride 2 comes before it.
    pub pool_before: bool,
}

impl Layer {
    /// Number of weights when `depth` of the output channels are kept: `9·in·depth`.
    pub fn weights(&self, depth: usize) -> u64 {
        9 * self.in_channels as u64 * depth as u64
    }

    /// Number of biases when `depth` of the output channels are kept.
    pub fn biases(&self, depth: usize) -> u64 {
        depth as u64
    }
}

/// A layer at work on images of a certain side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerShape {
    /// The layer.
    pub layer: Layer,
    /// Height and width of its input (after the pool, if one comes before it) and of its output.
    pub side: usize,
}

impl LayerShape {
    /// Multiply-accumulates per image for `depth` output channels: `side²·9·in·depth`.
    /// Products with the zero padding count, biases and the pool do not.
    pub fn macs(&self, depth: usize) -> u64 {
        self.positions() * self.layer.weights(depth)
    }

    /// Values that reach the pool before this layer, per image; 0 if there is none.
    pub fn pool_input_len(&self) -> u64 {
        if self.layer.pool_before { 4 * self.input_len() } else { 0 }
    }

    /// Values that reach the convolution, per image.
    pub fn input_len(&self) -> u64 {
        self.positions() * self.layer.in_channels as u64
    }

    /// Values that `depth` output channels hold, per image.
    pub fn output_len(&self, depth: usize) -> u64 {
        self.positions() * depth as u64
    }

    fn positions(&self) -> u64 {
        (self.side * self.side) as u64
    }
}

impl Architecture {
    /// The name in spaces.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Vgg16 => "vgg16",
        }
    }

    /// The layers, first to last.
    pub fn layers(self) -> &'static [Layer] {
        match self {
            Architecture::Vgg16 => &vgg16::LAYERS,
        }
    }

    /// How images become the first layer's input.
    pub fn preprocess(self) -> Preprocess {
        match self {
            Architecture::Vgg16 => vgg16::PREPROCESS,
        }
    }

    /// The layer of this name.
    ///
    /// # Errors
    /// [`BackboneError::UnknownLayer`], with the name that comes closest.
    pub fn layer(self, name: &str) -> Result<&'static Layer, BackboneError> {
        self.layers().iter().find(|layer| layer.name == name).ok_or_else(|| BackboneError::UnknownLayer {
            layer: name.to_owned(),
            architecture: self,
            suggestion: closest(name, self.layers()),
        })
    }

    /// Multiply-accumulates per image of `input_side` from the pixels to all channels of `layer`.
    ///
    /// # Errors
    /// As [`shape`](Self::shape).
    pub fn macs_through(self, layer: &Layer, input_side: usize) -> Result<u64, BackboneError> {
        let layers = &self.layers()[..=layer.index];
        layers.iter().map(|layer| Ok(self.shape(layer, input_side)?.macs(layer.out_channels))).sum()
    }

    /// The layer at work on images of `input_side`.
    ///
    /// # Errors
    /// [`BackboneError::Side`] if the side cannot be halved by every pool up to it.
    pub fn shape(self, layer: &Layer, input_side: usize) -> Result<LayerShape, BackboneError> {
        let pools = self.layers()[..=layer.index].iter().filter(|layer| layer.pool_before).count();
        let multiple = 1 << pools;
        if input_side == 0 || !input_side.is_multiple_of(multiple) {
            return Err(BackboneError::Side { layer: layer.name, side: input_side, multiple });
        }
        Ok(LayerShape { layer: *layer, side: input_side / multiple })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The layer whose name is at most a few typing errors away.
fn closest(name: &str, layers: &[Layer]) -> Option<&'static str> {
    let typed = name.to_lowercase().replace(['-', '.', ' '], "_");
    layers
        .iter()
        .map(|layer| (edit_distance(&typed, layer.name), layer.name))
        .min()
        .filter(|&(distance, _)| distance <= 2)
        .map(|(_, name)| name)
}

/// Levenshtein distance.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_layers_are_answered_with_the_closest() {
        for (typed, meant) in [("conv33", "conv3_3"), ("Conv2-1", "conv2_1"), ("conv1.2", "conv1_2")] {
            let found = Architecture::Vgg16.layer(typed).unwrap_err().to_string();
            assert!(found.contains(&format!("`{typed}`")), "{found}");
            assert!(found.contains(&format!("did you mean `{meant}`?")), "{found}");
            assert!(found.contains("conv1_1, conv1_2,"), "{found}");
        }
        let found = Architecture::Vgg16.layer("features").unwrap_err().to_string();
        assert!(!found.contains("did you mean"), "{found}");
        assert_eq!(Architecture::Vgg16.layer("conv3_2").unwrap().in_channels, 256);
    }

    #[test]
    fn distances_are_levenshteins() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", "abc"), 0);
    }

    #[test]
    fn shapes_halve_at_each_pool_and_chain() {
        let mut channels = 3;
        for (index, layer) in Architecture::Vgg16.layers().iter().enumerate() {
            assert_eq!((layer.index, layer.in_channels), (index, channels));
            channels = layer.out_channels;
        }
        let side = |name| {
            let layer = Architecture::Vgg16.layer(name).unwrap();
            Architecture::Vgg16.shape(layer, 32).unwrap().side
        };
        assert_eq!(["conv1_2", "conv2_1", "conv2_2", "conv3_3", "conv4_3"].map(side), [32, 16, 16, 8, 4]);
        let last = Architecture::Vgg16.layer("conv4_1").unwrap();
        let found = Architecture::Vgg16.shape(last, 28).unwrap_err().to_string();
        assert!(found.contains("28×28") && found.contains("multiple of 8"), "{found}");
    }

    #[test]
    fn costs_are_those_of_the_published_net() {
        // The first ten convolutions of configuration D: 7,635,264 weights and biases. MACs at 224×224 by hand.
        let vgg = Architecture::Vgg16;
        let parameters: u64 =
            vgg.layers().iter().map(|layer| layer.weights(layer.out_channels) + layer.biases(layer.out_channels)).sum();
        assert_eq!(parameters, 7_635_264);
        let shape = |name| vgg.shape(vgg.layer(name).unwrap(), 224).unwrap();
        assert_eq!(shape("conv1_1").macs(64), 86_704_128);
        assert_eq!(shape("conv1_2").macs(64), 1_849_688_064);
        let conv3_1 = shape("conv3_1");
        assert_eq!(conv3_1.macs(16), 56 * 56 * 9 * 128 * 16);
        assert_eq!(conv3_1.pool_input_len(), 112 * 112 * 128);
        assert_eq!(conv3_1.input_len(), 56 * 56 * 128);
        assert_eq!(conv3_1.output_len(16), 56 * 56 * 16);
        assert_eq!(shape("conv3_2").pool_input_len(), 0);
    }
}
