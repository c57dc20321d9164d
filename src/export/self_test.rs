//! Whether a package computes what was measured.

use std::path::Path;

use super::{ExportError, Package};
use crate::backbone::Backbone;
use crate::nn::{Device, Frozen};
use crate::onnx::{Difference, Runtime};
use crate::space::ChannelChoice;

/// Images that it is tried on.
const IMAGES: usize = 8;

/// Largest difference that rounding explains, relative to an image's largest feature, with weights as they were measured.
const TOLERANCE: f32 = 1e-3;

/// The same where combinations were folded into the weights, which were then rounded to the precision of the package: what was
/// verified are those weights, what it is compared with is the mix of the layer's own features.
const FOLDED_TOLERANCE: f32 = 1e-2;

/// The largest differences found, relative to the largest feature of their image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SelfTest {
    /// Between the package's features and what the design keeps of the study's.
    pub from_study: f32,
    /// Between the package's features and those that an ONNX runtime computes with its `local_net.onnx`.
    pub from_runtime: f32,
    /// Images compared.
    pub images: usize,
}

/// Runs the package in `dir` on patterns: by the program's own executor, by an ONNX runtime, and, with all of the layer's
/// channels computed and cut afterwards, as the study did.
///
/// # Errors
/// [`ExportError::SelfTest`] where one differs by more than 1e-3, relative to the largest feature (1e-2 from the study's where
/// combinations of channels were folded into rounded weights).
pub fn self_test(dir: &Path, backbone: &Backbone) -> Result<SelfTest, ExportError> {
    let mut package = Package::open(dir)?;
    let manifest = package.manifest().clone();
    let side = manifest.preprocessing.side;
    let [height, width] = manifest.preprocessing.content;
    let layer = backbone.layer(&manifest.design.split)?;
    let mut whole = Frozen::of_graph(&backbone.tapped(layer), side, Device::Cpu)?;
    let runtime = Runtime::load(package.onnx(), &[1, 3, height, width])?;
    let (mut found, mut study, mut device) = (Vec::new(), Vec::new(), Vec::new());
    for image in 0..IMAGES {
        let rgb = pattern(height, width, image);
        found.extend(package.computed(&rgb)?);
        let planar: Vec<f32> =
            (0..3).flat_map(|colour| rgb.iter().skip(colour).step_by(3)).copied().map(f32::from).collect();
        device.extend(runtime.run(&planar)?.values);
        let mut input = vec![0.0; side * side * 3];
        backbone.architecture().preprocess().apply(&pad(&rgb, height, width, side), &mut input);
        let mut output = Vec::new();
        whole.forward_taps(&input, 1, &[layer.tap], &mut |_, values| {
            output.extend_from_slice(values);
            Ok(())
        })?;
        study.extend(kept(&output, layer, &manifest.design.channels));
    }
    let difference = |other: &[f32]| Difference::of(&found, other, IMAGES).relative;
    let test = SelfTest { from_study: difference(&study), from_runtime: difference(&device), images: IMAGES };
    let folded = matches!(manifest.design.channels, ChannelChoice::Mix(_));
    let tolerance = if folded { FOLDED_TOLERANCE } else { TOLERANCE };
    if test.from_study > tolerance || test.from_runtime > TOLERANCE {
        return Err(ExportError::SelfTest { path: dir.to_owned(), test });
    }
    Ok(test)
}

/// What `choice` keeps of a layer's output before its activation `[rows, columns, channels]`, as `[channels, rows, columns]`.
fn kept(output: &[f32], layer: &crate::backbone::Layer, choice: &ChannelChoice) -> Vec<f32> {
    let depth = choice.depth();
    let mut kept = vec![0.0; output.len() / layer.out_channels * depth];
    match choice {
        ChannelChoice::Set(channels) => {
            for (kept, output) in kept.chunks_exact_mut(depth).zip(output.chunks_exact(layer.out_channels)) {
                for (value, &channel) in kept.iter_mut().zip(channels) {
                    let before = output[usize::from(channel)];
                    *value = layer.activation.map_or(before, |activation| activation.at(before));
                }
            }
        }
        ChannelChoice::Mix(mix) => mix.apply(output, &mut kept),
    }
    let pixels = kept.len() / depth;
    (0..kept.len()).map(|i| kept[i % pixels * depth + i / pixels]).collect()
}

/// An image of waves and noise.
fn pattern(height: usize, width: usize, image: usize) -> Vec<u8> {
    let mut state = image as u32 * 2_654_435_761 + 1;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as f32
    };
    let mut value = |at: usize| {
        let (y, x, colour) = (at / (3 * width), at / 3 % width, at % 3);
        let wave = (y as f32 * (0.1 + 0.05 * image as f32) + x as f32 * 0.23 + colour as f32).sin();
        (0.75 * (127.5 + 120.0 * wave) + 0.25 * noise()) as u8
    };
    (0..height * width * 3).map(&mut value).collect()
}

/// Centres an image on black.
fn pad(rgb: &[u8], height: usize, width: usize, side: usize) -> Vec<u8> {
    let (top, left) = ((side - height) / 2, (side - width) / 2);
    let mut padded = vec![0; side * side * 3];
    for (y, row) in rgb.chunks_exact(width * 3).take(height).enumerate() {
        let start = ((top + y) * side + left) * 3;
        padded[start..start + row.len()].copy_from_slice(row);
    }
    padded
}
