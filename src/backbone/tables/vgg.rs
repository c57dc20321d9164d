//! VGG: Simonyan and Zisserman, *Very deep convolutional networks for large-scale image recognition*, arXiv 1409.1556, table 1.

use super::{Builder, Keys, Shape};
use crate::backbone::BackboneError;
use crate::nn::{Activation, Graph};

/// Channels of each stage.
const WIDTHS: [usize; 5] = [64, 128, 256, 512, 512];

/// Convolutions of each stage, by the number of layers with weights.
fn depths(layers: usize) -> [usize; 5] {
    match layers {
        11 => [1, 1, 2, 2, 2],
        13 => [2, 2, 2, 2, 2],
        16 => [2, 2, 3, 3, 3],
        _ => [2, 2, 4, 4, 4],
    }
}

/// VGG-16 up to conv4_3, its tensors called as its layers.
pub(super) fn of_authors(builder: Builder<'_>) -> Result<Graph, BackboneError> {
    build(builder, &depths(16)[..4], &mut |name| Keys::biased(name))
}

/// All convolutions, called `features.0` and so on as in torchvision and timm.
pub(super) fn of_torchvision(builder: Builder<'_>, layers: usize, normalised: bool) -> Result<Graph, BackboneError> {
    let depths = depths(layers);
    let stages: Vec<usize> = depths.iter().enumerate().flat_map(|(stage, &n)| std::iter::repeat_n(stage, n)).collect();
    // A convolution, its ReLU and perhaps a normalisation; a pool behind each stage.
    let step = if normalised { 3 } else { 2 };
    let mut place = 0;
    let mut keys = |_: &str| {
        let at = place * step + stages.get(place).copied().unwrap_or(0);
        place += 1;
        match normalised {
            true => Keys::normalised(format!("features.{at}"), format!("features.{}", at + 1)),
            false => Keys::biased(format!("features.{at}")),
        }
    };
    build(builder, &depths, &mut keys)
}

fn build(
    mut builder: Builder<'_>,
    depths: &[usize],
    keys: &mut dyn FnMut(&str) -> Keys,
) -> Result<Graph, BackboneError> {
    let (mut at, mut channels) = (0, 3);
    for (stage, (&depth, width)) in depths.iter().zip(WIDTHS).enumerate() {
        for layer in 1..=depth {
            let name = format!("conv{}_{layer}", stage + 1);
            at = builder.conv(&name, at, Shape::same(channels, width, 3, 1), &keys(&name))?;
            at = builder.activation(&name, Activation::Relu, at)?;
            channels = width;
        }
        if stage + 1 < depths.len() {
            at = builder.max_pool(&format!("pool{}", stage + 1), 2, 0, at)?;
        }
    }
    Ok(builder.graph)
}
