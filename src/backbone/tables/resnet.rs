//! Residual nets: He, Zhang, Ren and Sun, *Deep residual learning for image recognition*, arXiv 1512.03385, table 1; tensors called
//! as in torchvision and timm. A bottleneck's stride is its 3×3 convolution's, as there.

use super::{Builder, Keys, Shape};
use crate::backbone::BackboneError;
use crate::nn::{Activation, Graph};

/// ResNet-18 and -34: blocks of two 3×3 convolutions.
pub(super) fn basic(builder: Builder<'_>, depths: [usize; 4]) -> Result<Graph, BackboneError> {
    build(builder, depths, 1, |builder, block, from, [input, width], stride| {
        let shapes = [Shape::same(input, width, 3, stride), Shape::same(width, width, 3, 1)];
        branch(builder, block, from, &shapes)
    })
}

/// ResNet-50: blocks of a 1×1, a 3×3 and a 1×1 convolution to four times the width.
pub(super) fn bottleneck(builder: Builder<'_>, depths: [usize; 4]) -> Result<Graph, BackboneError> {
    build(builder, depths, 4, |builder, block, from, [input, width], stride| {
        let shapes = [
            Shape::same(input, width, 1, 1),
            Shape::same(width, width, 3, stride),
            Shape::same(width, 4 * width, 1, 1),
        ];
        branch(builder, block, from, &shapes)
    })
}

/// Convolutions with ReLUs between them.
fn branch(builder: &mut Builder<'_>, block: &str, from: usize, shapes: &[Shape]) -> Result<usize, BackboneError> {
    let mut at = from;
    for (index, &shape) in shapes.iter().enumerate() {
        let name = format!("{block}.conv{}", index + 1);
        if index > 0 {
            at = builder.activation(&format!("{block}.conv{index}"), Activation::Relu, at)?;
        }
        at = builder.conv(&name, at, shape, &Keys::normalised(&*name, format!("{block}.bn{}", index + 1)))?;
    }
    Ok(at)
}

fn build(
    mut builder: Builder<'_>,
    depths: [usize; 4],
    expansion: usize,
    residual: impl Fn(&mut Builder<'_>, &str, usize, [usize; 2], usize) -> Result<usize, BackboneError>,
) -> Result<Graph, BackboneError> {
    let mut at = builder.conv("conv1", 0, Shape::same(3, 64, 7, 2), &Keys::normalised("conv1", "bn1"))?;
    at = builder.activation("conv1", Activation::Relu, at)?;
    at = builder.max_pool("pool1", 3, 1, at)?;
    let mut channels = 64;
    for (stage, depth) in depths.into_iter().enumerate() {
        let width = 64 << stage;
        for index in 0..depth {
            let block = format!("layer{}.{index}", stage + 1);
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let branch = residual(&mut builder, &block, at, [channels, width], stride)?;
            let output = expansion * width;
            let shortcut = if stride > 1 || channels != output {
                let name = format!("{block}.downsample.0");
                let keys = Keys::normalised(&*name, format!("{block}.downsample.1"));
                builder.conv(&name, at, Shape::same(channels, output, 1, stride), &keys)?
            } else {
                at
            };
            at = builder.add(&block, branch, shortcut)?;
            at = builder.activation(&block, Activation::Relu, at)?;
            channels = output;
        }
    }
    Ok(builder.graph)
}
