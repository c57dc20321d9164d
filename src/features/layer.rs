//! The features of one part of the data at one layer, mapped from their file.

use std::fs::File;
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;

use super::FeatureError;
use super::file::{self, Contents, HEADER_LEN};

/// All channels of a layer for the images of one part, `[n, side, side, channels]`, mapped into memory.
///
/// Pages that are read count as the process's memory until this is dropped, but the system can take them back.
#[derive(Debug)]
pub struct LayerFeatures {
    map: Mmap,
    n: usize,
    side: usize,
    channels: usize,
    /// A stored value times this is the activation.
    scale: f32,
}

impl LayerFeatures {
    pub(super) fn map(path: &Path, contents: &Contents) -> Result<Self, FeatureError> {
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
        Ok(LayerFeatures { map, n, side, channels, scale: 2_f32.powi(exponent) })
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

    /// A stored value times this is the activation.
    pub(super) fn scale(&self) -> f32 {
        self.scale
    }

    /// The stored halves of some positions of an image, `[positions, channels]`, as little-endian bytes.
    pub(super) fn stored(&self, row: usize, positions: std::ops::Range<usize>) -> &[u8] {
        let width = self.channels * size_of::<f16>();
        let start = HEADER_LEN + row * self.side * self.side * width;
        &self.map[start + positions.start * width..start + positions.end * width]
    }

    /// The activations of some positions of an image, `[positions, channels]`, with no standardisation.
    pub(super) fn activations(
        &self,
        row: usize,
        positions: std::ops::Range<usize>,
        halves: &mut Vec<f16>,
        out: &mut Vec<f32>,
    ) {
        decode(self.stored(row, positions), halves);
        out.resize(halves.len(), 0.0);
        halves.convert_to_f32_slice(out);
        for value in out {
            *value *= self.scale;
        }
    }

    /// The activations of one image, `[side, side, channels]`, with no standardisation.
    ///
    /// # Errors
    /// [`FeatureError::Rows`] if there is no such image.
    pub fn image(&self, row: usize) -> Result<Vec<f32>, FeatureError> {
        self.check_rows(row + 1)?;
        let (mut halves, mut out) = (Vec::new(), Vec::new());
        self.activations(row, 0..self.side * self.side, &mut halves, &mut out);
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
    use super::super::fixtures::{layer_features, six};

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
    fn images_beyond_the_last_are_refused() {
        let found = six().0.image(6).unwrap_err().to_string();
        assert_eq!(found, "7 images or labels were asked for, there are 6: use from 1 to 6");
    }
}
