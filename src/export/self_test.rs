//! Whether a package computes what was measured.

use std::path::Path;

use super::{ExportError, Package};
use crate::backbone::{Backbone, Layer};
use crate::nn::{Device, Frozen};
use crate::onnx::{Difference, Runtime};
use crate::space::ChannelChoice;

/// Images that it is tried on.
const IMAGES: usize = 8;

/// Largest difference that rounding explains, relative to an image's largest feature.
const TOLERANCE: f32 = 1e-3;

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

/// Runs the package in `dir` on patterns: by the program's own executor, by an ONNX runtime, and as the study's verification did:
/// with all of the layer's channels computed and cut afterwards, or, where they are combined, by the local net of the backbone.
///
/// # Errors
/// [`ExportError::SelfTest`] where one differs by more than 1e-3, relative to the largest feature.
pub fn self_test(dir: &Path, backbone: &Backbone) -> Result<SelfTest, ExportError> {
    let mut package = Package::open(dir)?;
    let manifest = package.manifest().clone();
    let side = manifest.preprocessing.side;
    let [height, width] = manifest.preprocessing.content;
    let layer = backbone.layer(&manifest.design.split)?;
    let channels = &manifest.design.channels;
    let graph = match channels {
        ChannelChoice::Set(_) => backbone.tapped(layer),
        ChannelChoice::Mix(_) => backbone.local(layer, channels)?,
    };
    let last = graph.nodes().len() - 1;
    let mut whole = Frozen::of_graph(&graph, side, Device::Cpu)?;
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
        whole.forward_taps(&input, 1, &[last], &mut |_, values| {
            output.extend_from_slice(values);
            Ok(())
        })?;
        study.extend(kept(output, layer, channels));
    }
    let difference = |other: &[f32]| Difference::of(&found, other, IMAGES).relative;
    let test = SelfTest { from_study: difference(&study), from_runtime: difference(&device), images: IMAGES };
    if test.from_study > TOLERANCE || test.from_runtime > TOLERANCE {
        return Err(ExportError::SelfTest { path: dir.to_owned(), test });
    }
    Ok(test)
}

/// What `choice` keeps, as `[channels, rows, columns]`: of a layer's output before its activation `[rows, columns, channels]`, or
/// all of what its local net made.
fn kept(output: Vec<f32>, layer: &Layer, choice: &ChannelChoice) -> Vec<f32> {
    let depth = choice.depth();
    let kept: Vec<f32> = match choice {
        ChannelChoice::Set(channels) => {
            let value = |pixel: &[f32], channel: u16| {
                let before = pixel[usize::from(channel)];
                layer.activation.map_or(before, |activation| activation.at(before))
            };
            let pixels = output.chunks_exact(layer.out_channels);
            pixels.flat_map(|pixel| channels.iter().map(move |&channel| value(pixel, channel))).collect()
        }
        ChannelChoice::Mix(_) => output,
    };
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
