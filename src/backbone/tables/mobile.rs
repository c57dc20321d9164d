//! Nets of inverted residuals: MobileNetV2 (Sandler et al., arXiv 1801.04381, table 2) and EfficientNet-Lite0 (Tan and Le,
//! arXiv 1905.11946, table 1, without squeeze and excitation, with ReLU6).

use super::{Builder, Keys, Shape};
use crate::backbone::BackboneError;
use crate::nn::{Activation, Graph, Padding};

const RELU6: Activation = Activation::Clip { low: 0.0, high: 6.0 };

/// A stage: expansion, output channels, blocks, stride of the first, side of the depthwise kernel.
type Stage = (usize, usize, usize, usize, usize);

const MOBILENET_V2: [Stage; 7] = [
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 32, 3, 2, 3),
    (6, 64, 4, 2, 3),
    (6, 96, 3, 1, 3),
    (6, 160, 3, 2, 3),
    (6, 320, 1, 1, 3),
];

const EFFICIENTNET_LITE0: [Stage; 7] = [
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
];

/// What a library calls a net's tensors.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    /// torchvision's MobileNetV2: `features.1.conv.0.0`.
    Torchvision,
    /// timm: `blocks.0.0.conv_dw`.
    Timm,
    /// The package efficientnet_lite_pytorch: `_blocks.0._depthwise_conv`.
    Lite,
}

/// The convolutions of a block.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Expand,
    Depthwise,
    Project,
}

/// A block's place: in all, its stage, its place in that; and whether it expands.
struct Place {
    index: usize,
    stage: usize,
    within: usize,
    expands: bool,
}

impl Names {
    fn stem(self, epsilon: f32) -> Keys {
        let keys = match self {
            Self::Torchvision => Keys::normalised("features.0.0", "features.0.1"),
            Self::Timm => Keys::normalised("conv_stem", "bn1"),
            Self::Lite => Keys::normalised("_conv_stem", "_bn0"),
        };
        keys.with_epsilon(epsilon)
    }

    fn head(self, blocks: usize, epsilon: f32) -> Keys {
        let keys = match self {
            Self::Torchvision => {
                Keys::normalised(format!("features.{}.0", blocks + 1), format!("features.{}.1", blocks + 1))
            }
            Self::Timm => Keys::normalised("conv_head", "bn2"),
            Self::Lite => Keys::normalised("_conv_head", "_bn1"),
        };
        keys.with_epsilon(epsilon)
    }

    fn part(self, place: &Place, part: Part, epsilon: f32) -> Keys {
        let &Place { index, stage, within, expands } = place;
        let keys = match self {
            Self::Torchvision => {
                let block = format!("features.{}.conv", index + 1);
                let first = usize::from(expands);
                match part {
                    Part::Expand => Keys::normalised(format!("{block}.0.0"), format!("{block}.0.1")),
                    Part::Depthwise => Keys::normalised(format!("{block}.{first}.0"), format!("{block}.{first}.1")),
                    Part::Project => {
                        Keys::normalised(format!("{block}.{}", first + 1), format!("{block}.{}", first + 2))
                    }
                }
            }
            Self::Timm => {
                let block = format!("blocks.{stage}.{within}");
                let (conv, norm) = match (part, expands) {
                    (Part::Expand, _) => ("conv_pw", "bn1"),
                    (Part::Depthwise, true) => ("conv_dw", "bn2"),
                    (Part::Depthwise, false) => ("conv_dw", "bn1"),
                    (Part::Project, true) => ("conv_pwl", "bn3"),
                    (Part::Project, false) => ("conv_pw", "bn2"),
                };
                Keys::normalised(format!("{block}.{conv}"), format!("{block}.{norm}"))
            }
            Self::Lite => {
                let block = format!("_blocks.{index}");
                let (conv, norm) = match part {
                    Part::Expand => ("_expand_conv", "_bn0"),
                    Part::Depthwise => ("_depthwise_conv", "_bn1"),
                    Part::Project => ("_project_conv", "_bn2"),
                };
                Keys::normalised(format!("{block}.{conv}"), format!("{block}.{norm}"))
            }
        };
        keys.with_epsilon(epsilon)
    }
}

impl Keys {
    fn with_epsilon(mut self, epsilon: f32) -> Self {
        if let Some(norm) = &mut self.norm {
            norm.1 = epsilon;
        }
        self
    }
}

/// What the two nets differ in.
struct Net {
    names: Names,
    stages: &'static [Stage; 7],
    /// As TensorFlow pads: an odd row goes behind.
    same: bool,
    epsilon: f32,
}

pub(super) fn mobilenet_v2(builder: Builder<'_>) -> Result<Graph, BackboneError> {
    let names = if builder.weights.has("conv_stem.weight") { Names::Timm } else { Names::Torchvision };
    build(builder, &Net { names, stages: &MOBILENET_V2, same: false, epsilon: 1e-5 })
}

pub(super) fn efficientnet_lite0(builder: Builder<'_>) -> Result<Graph, BackboneError> {
    let names = if builder.weights.has("_conv_stem.weight") { Names::Lite } else { Names::Timm };
    build(builder, &Net { names, stages: &EFFICIENTNET_LITE0, same: true, epsilon: 1e-3 })
}

fn build(mut builder: Builder<'_>, net: &Net) -> Result<Graph, BackboneError> {
    let &Net { names, stages, same, epsilon } = net;
    let padded = |shape: Shape| Shape { padding: if same { Padding::SameUpper } else { shape.padding }, ..shape };
    let mut at = builder.conv("stem", 0, padded(Shape::same(3, 32, 3, 2)), &names.stem(epsilon))?;
    at = builder.activation("stem", RELU6, at)?;
    let (mut channels, mut index) = (32, 0);
    for (stage, &(expansion, output, blocks, first_stride, kernel)) in stages.iter().enumerate() {
        for within in 0..blocks {
            let place = Place { index, stage, within, expands: expansion > 1 };
            let block = format!("block{}.{within}", stage + 1);
            let (stride, width) = (if within == 0 { first_stride } else { 1 }, channels * expansion);
            let from = at;
            if place.expands {
                let name = format!("{block}.expand");
                at = builder.conv(
                    &name,
                    at,
                    Shape::same(channels, width, 1, 1),
                    &names.part(&place, Part::Expand, epsilon),
                )?;
                at = builder.activation(&name, RELU6, at)?;
            }
            let name = format!("{block}.depthwise");
            let shape = padded(Shape::depthwise(width, kernel, stride));
            at = builder.conv(&name, at, shape, &names.part(&place, Part::Depthwise, epsilon))?;
            at = builder.activation(&name, RELU6, at)?;
            let skips = stride == 1 && channels == output;
            let name = if skips { format!("{block}.project") } else { block.clone() };
            at = builder.conv(
                &name,
                at,
                Shape::same(width, output, 1, 1),
                &names.part(&place, Part::Project, epsilon),
            )?;
            if skips {
                at = builder.add(&block, at, from)?;
            }
            channels = output;
            index += 1;
        }
    }
    at = builder.conv("head", at, Shape::same(channels, 1280, 1, 1), &names.head(index, epsilon))?;
    builder.activation("head", RELU6, at)?;
    Ok(builder.graph)
}
