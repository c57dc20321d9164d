//! The features of one part of the data at one layer: mapped from their file, computed whenever they are read, or held in memory.
//! What a device uploads that keeps combinations of channels is read in the same way.

use std::fs::File;
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use rayon::prelude::*;

use super::FeatureError;
use super::computed::Computed;
use super::file::{self, Contents, HEADER_LEN};
use crate::backbone::Backbone;
use crate::data::ImageSet;
use crate::nn::{Activation, Device};
use crate::space::ChannelChoice;

/// All channels of a layer for the images of one part, `[n, side, side, channels]`: its output before the activation,
/// which is applied where it is wanted, so that channels can also be mixed before it.
#[derive(Debug)]
pub struct LayerFeatures {
    source: Source,
    n: usize,
    side: usize,
    channels: usize,
    /// A stored value times this is the layer's output before its activation.
    scale: f32,
    activation: Option<Activation>,
}

#[derive(Debug)]
enum Source {
    /// Pages that are read count as the process's memory until this is dropped, but the system can take them back.
    Mapped(Mmap),
    Computed(Box<Computed>),
    /// As a file holds them.
    Held(Vec<u8>),
}

impl LayerFeatures {
    pub(super) fn map(path: &Path, contents: &Contents, activation: Option<Activation>) -> Result<Self, FeatureError> {
        let path = || path.to_path_buf();
        let mut file = File::open(path()).map_err(|_| FeatureError::NotCached { path: path() })?;
        let fail = |source| FeatureError::Io { action: "map", path: path(), source };
        let Some((exponent, _)) = file::read_header(&mut file, contents).map_err(fail)? else {
            return Err(FeatureError::NotCached { path: path() });
        };
        // SAFETY: a mapping is sound as long as nobody changes or shortens the file. Cache files are written under
        // another name, renamed once whole, and never changed afterwards; replacing or deleting one leaves the
        // mapped inode as it is. Its length was compared with the header's just now.
        #[allow(unsafe_code, reason = "memory-mapping is unsafe by nature")]
        let map = unsafe { Mmap::map(&file) }.map_err(fail)?;
        if map.len() != contents.file_len() {
            return Err(FeatureError::NotCached { path: path() });
        }
        let &Contents { n, side, channels, .. } = contents;
        Ok(LayerFeatures { source: Source::Mapped(map), n, side, channels, scale: 2_f32.powi(exponent), activation })
    }

    /// Features that are kept nowhere: `device` runs the local net whenever some are read. They equal those of a file.
    ///
    /// # Errors
    /// [`FeatureError::Backbone`] for a layer that the backbone has no weights for; [`FeatureError::Net`].
    pub fn compute(backbone: &Backbone, layer: &str, images: &ImageSet, device: Device) -> Result<Self, FeatureError> {
        let layer = *backbone.layer(layer)?;
        let side = backbone.architecture().shape(&layer, images.side())?.side;
        let computed = Computed::new(backbone, layer, images, device)?;
        let (n, channels, scale) = (images.len(), layer.out_channels, 2_f32.powi(computed.exponent()));
        let source = Source::Computed(Box::new(computed));
        Ok(LayerFeatures { source, n, side, channels, scale, activation: layer.activation })
    }

    /// What the device uploads that keeps `choice` of a layer, by the local net that it runs: `[n, side, side, depth]`, its
    /// activation included. Up to a gibibyte is held in memory, more is computed whenever it is read.
    ///
    /// # Errors
    /// As [`compute`](Self::compute).
    pub fn of_local_net(
        backbone: &Backbone,
        layer: &str,
        choice: &ChannelChoice,
        images: &ImageSet,
        device: Device,
    ) -> Result<Self, FeatureError> {
        const MOST_BYTES: usize = 1 << 30;
        let layer = *backbone.layer(layer)?;
        let side = backbone.architecture().shape(&layer, images.side())?.side;
        let computed = Computed::local(backbone, layer, choice, images, device)?;
        let (n, channels, scale) = (images.len(), choice.depth(), 2_f32.powi(computed.exponent()));
        let source = if n * side * side * channels * size_of::<f16>() <= MOST_BYTES {
            let mut bytes = Vec::new();
            computed.read(&(0..n).collect::<Vec<usize>>(), &mut bytes)?;
            Source::Held(bytes)
        } else {
            Source::Computed(Box::new(computed))
        };
        Ok(LayerFeatures { source, n, side, channels, scale, activation: None })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Height and width of the maps.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Channels of the layer.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// A stored value times this is the layer's output before its activation.
    pub(super) fn scale(&self) -> f32 {
        self.scale
    }

    /// Fills an equal share of `out` for each of some images by `decode`, from the stored halves of the image, `[side,
    /// side, channels]`, as little-endian bytes.
    pub(super) fn read<T: Send>(
        &self,
        rows: &[usize],
        out: &mut [T],
        decode: impl Fn(&[u8], &mut [T]) + Sync,
    ) -> Result<(), FeatureError> {
        /// Images of which all channels stand in memory.
        const BLOCK: usize = 32;
        let size = self.side * self.side * self.channels * size_of::<f16>();
        let share = out.len() / rows.len().max(1);
        let mut held = |stored: &[u8]| {
            out.par_chunks_exact_mut(share).zip(rows).for_each(|(out, &row)| {
                decode(&stored[row * size..][..size], out);
            });
        };
        match &self.source {
            Source::Mapped(map) => held(&map[HEADER_LEN..]),
            Source::Held(bytes) => held(bytes),
            Source::Computed(computed) => {
                let mut bytes = Vec::new();
                for (out, rows) in out.chunks_mut(BLOCK * share).zip(rows.chunks(BLOCK)) {
                    computed.read(rows, &mut bytes)?;
                    out.par_chunks_exact_mut(share).zip(bytes.par_chunks_exact(size)).for_each(|(out, bytes)| {
                        decode(bytes, out);
                    });
                }
            }
        }
        Ok(())
    }

    /// Replaces `out` by the activations of some images, `[rows, side, side, channels]`, with no standardisation.
    pub(crate) fn activations(&self, rows: &[usize], out: &mut Vec<f32>) -> Result<(), FeatureError> {
        out.resize(rows.len() * self.side * self.side * self.channels, 0.0);
        self.read(rows, out, |bytes, out| {
            self.values(bytes, out);
            self.activate(out);
        })
    }

    /// Applies the layer's activation.
    fn activate(&self, values: &mut [f32]) {
        match self.activation {
            None => {}
            Some(Activation::Relu) => values.iter_mut().for_each(|value| *value = value.max(0.0)),
            Some(activation) => values.iter_mut().for_each(|value| *value = activation.at(*value)),
        }
    }

    /// What follows the layer.
    pub(super) fn activation(&self) -> Option<Activation> {
        self.activation
    }

    /// The same before the activation.
    ///
    /// # Errors
    /// [`FeatureError::Net`] or [`FeatureError::Overflow`], where features are computed.
    pub fn preactivations(&self, rows: &[usize], out: &mut Vec<f32>) -> Result<(), FeatureError> {
        out.resize(rows.len() * self.side * self.side * self.channels, 0.0);
        self.read(rows, out, |bytes, out| self.values(bytes, out))
    }

    /// One image's values before the activation, from its stored halves.
    pub(super) fn values(&self, bytes: &[u8], out: &mut [f32]) {
        let mut halves = Vec::new();
        decode(bytes, &mut halves);
        halves.convert_to_f32_slice(out);
        out.iter_mut().for_each(|value| *value *= self.scale);
    }

    /// The activations of one image, `[side, side, channels]`, with no standardisation.
    ///
    /// # Errors
    /// [`FeatureError::Rows`] if there is no such image; [`FeatureError::Net`] where features are computed.
    pub fn image(&self, row: usize) -> Result<Vec<f32>, FeatureError> {
        self.check_rows(row + 1)?;
        let mut out = Vec::new();
        self.activations(&[row], &mut out)?;
        Ok(out)
    }

    pub(super) fn check_rows(&self, wanted: usize) -> Result<(), FeatureError> {
        if wanted == 0 || wanted > self.n {
            return Err(FeatureError::Rows { wanted, found: self.n });
        }
        Ok(())
    }
}

/// Little-endian bytes to halves.
pub(super) fn decode(bytes: &[u8], halves: &mut Vec<f16>) {
    halves.clear();
    halves.extend(bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])));
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::FeatureCache;
    use super::super::fixtures::{backbone, ensure, images, layer_features, six};
    use super::*;

    #[test]
    fn activations_come_back_to_half_precision() {
        let (features, values) = six();
        assert_eq!(features.image(2).unwrap(), values[24..36]);
        let values: Vec<f32> = (0..4000).map(|i| (i as f32 * 0.7).sin().abs() * 12_000.0).collect();
        let features = layer_features(1, 10, 40, &values);
        for (found, expected) in features.image(0).unwrap().iter().zip(values) {
            assert!((found - expected).abs() <= expected / 2048.0, "{found} {expected}");
        }
    }

    #[test]
    fn computed_features_are_those_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let (net, images) = (backbone(1), images(70));
        for layer in ["conv1_1", "conv1_2"] {
            ensure(folder.path(), &net, &images, &[layer], &AtomicBool::new(false)).unwrap();
            let kept = FeatureCache::new(folder.path()).open(&net, layer, &images).unwrap();
            let computed = LayerFeatures::compute(&net, layer, &images, Device::Cpu).unwrap();
            assert_eq!((computed.len(), computed.side(), computed.channels()), (70, 16, 64));
            let rows = [69, 3, 40, 3, 0].repeat(9);
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            kept.activations(&rows, &mut expected).unwrap();
            computed.activations(&rows, &mut found).unwrap();
            assert!(expected == found && expected.iter().any(|&value| value > 0.1));
        }
    }

    #[test]
    fn what_a_device_uploads_of_mixes_is_nearly_the_mix_of_the_layer() {
        let folder = tempfile::tempdir().unwrap();
        let (net, images) = (backbone(1).rounded_to_half().unwrap(), images(40));
        ensure(folder.path(), &net, &images, &["conv1_2"], &AtomicBool::new(false)).unwrap();
        let kept = FeatureCache::new(folder.path()).open(&net, "conv1_2", &images).unwrap();
        let weights: Vec<f32> = (0..3 * 64).map(|i| (i as f32 * 0.9).sin() * 0.2).collect();
        let mix = crate::space::Mix::new(weights, vec![0.1, -0.2, 0.3], true).unwrap();
        let choice = ChannelChoice::Mix(mix.clone());
        let local = LayerFeatures::of_local_net(&net, "conv1_2", &choice, &images, Device::Cpu).unwrap();
        assert_eq!((local.len(), local.side(), local.channels()), (40, 16, 3));
        let rows: Vec<usize> = (0..40).rev().collect();
        let (mut whole, mut found) = (Vec::new(), Vec::new());
        kept.preactivations(&rows, &mut whole).unwrap();
        local.activations(&rows, &mut found).unwrap();
        let mut expected = vec![0.0; found.len()];
        mix.apply(&whole, &mut expected);
        let largest = expected.iter().fold(0f32, |most, value| most.max(*value));
        assert!(largest > 0.1);
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-2 * largest, "{found} {expected} {largest}");
        }
    }

    #[test]
    fn images_beyond_the_last_are_refused() {
        let found = six().0.image(6).unwrap_err().to_string();
        assert_eq!(found, "7 images or labels were asked for, there are 6: use from 1 to 6");
    }
}
