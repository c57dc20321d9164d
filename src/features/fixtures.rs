//! Small features, nets and images for the tests of this module.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::file::{Contents, Writer};
use super::{Extraction, FeatureCache, FeatureError, LayerFeatures};
use crate::backbone::Backbone;
use crate::data::{ImageSet, Part, Region};
use crate::nn::{Activation, Device};

/// Six images of 2×2 positions and three channels: value i is `(7·i² + i) mod 23`, but the last channel is 5.
pub(super) fn six() -> (Arc<LayerFeatures>, Vec<f32>) {
    let values: Vec<f32> = (0..72).map(|i| if i % 3 == 2 { 5.0 } else { ((7 * i * i + i) % 23) as f32 }).collect();
    (Arc::new(layer_features(6, 2, 3, &values)), values)
}

/// Features of the given values, `[n, side, side, channels]`, by way of a file.
pub(super) fn layer_features(n: usize, side: usize, channels: usize, values: &[f32]) -> LayerFeatures {
    let folder = tempfile::tempdir().unwrap();
    let contents = Contents { key: blake3::hash(b"key"), n, side, channels };
    let path = folder.path().join("features.f16");
    let mut writer = Writer::create(path.clone(), contents, "layer").unwrap();
    writer.append(values).unwrap();
    writer.finish().unwrap();
    LayerFeatures::map(&path, &contents, Some(Activation::Relu)).unwrap()
}

/// Two layers of VGG-16 with weights that depend on `seed`.
pub(super) fn backbone(seed: usize) -> Backbone {
    crate::backbone::vgg16_with(2, |_, at, bias| if bias { 0.1 } else { ((at * 31 + seed) % 17) as f32 / 60.0 - 0.13 })
}

/// `n` images of 16×16: the byte at image n, row y, column x, colour c is `7y + 13x + 101c + 29n + yx mod 256`.
pub(super) fn images(n: usize) -> ImageSet {
    let byte = |n, y, x, c| ((7 * y + 13 * x + 101 * c + 29 * n + y * x) % 256) as u8;
    let pixel = |i: usize| byte(i / 768, i / 48 % 16, i / 3 % 16, i % 3);
    let labels = (0..n).map(|i| (i % 2) as u16).collect();
    ImageSet::new(Part::Training, 16, Region::full(16), (0..n * 768).map(pixel).collect(), labels).unwrap()
}

/// Computes what is missing; returns how often progress was told.
pub(super) fn ensure(
    folder: &Path,
    backbone: &Backbone,
    images: &ImageSet,
    layers: &[&str],
    interrupt: &AtomicBool,
) -> Result<usize, FeatureError> {
    let mut calls = 0;
    FeatureCache::new(folder).ensure(&mut Extraction {
        backbone,
        images,
        layers,
        device: Device::Cpu,
        interrupt,
        progress: &mut |done, total| {
            assert!(done <= total);
            calls += 1;
        },
    })?;
    Ok(calls)
}
