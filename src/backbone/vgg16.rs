//! VGG-16, configuration D of arXiv 1409.1556, up to conv4_3.

use super::{Layer, Preprocess};

pub(super) const LAYERS: [Layer; 10] = [
    convolution(0, "conv1_1", 3, 64, false),
    convolution(1, "conv1_2", 64, 64, false),
    convolution(2, "conv2_1", 64, 128, true),
    convolution(3, "conv2_2", 128, 128, false),
    convolution(4, "conv3_1", 128, 256, true),
    convolution(5, "conv3_2", 256, 256, false),
    convolution(6, "conv3_3", 256, 256, false),
    convolution(7, "conv4_1", 256, 512, true),
    convolution(8, "conv4_2", 512, 512, false),
    convolution(9, "conv4_3", 512, 512, false),
];

/// The mean colour of ImageNet; the scale of the bytes is kept.
pub(super) const PREPROCESS: Preprocess = Preprocess { mean: [123.68, 116.779, 103.939] };

const fn convolution(
    index: usize,
    name: &'static str,
    in_channels: usize,
    out_channels: usize,
    pool_before: bool,
) -> Layer {
    Layer { index, name, in_channels, out_channels, pool_before }
}
