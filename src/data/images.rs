//! A set of images in memory.

use std::sync::Arc;

use super::{DataError, Part};

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Rows above it.
    pub top: usize,
    /// Columns to its left.
    pub left: usize,
    /// Its rows.
    pub height: usize,
    /// Its columns.
    pub width: usize,
}

impl Region {
    /// A whole square image.
    pub fn full(side: usize) -> Self {
        Region { top: 0, left: 0, height: side, width: side }
    }
}

/// The square RGB images of one part and their labels. A clone shares them.
///
/// Every prefix is nearly class-balanced if the set came from [`load`](super::load).
#[derive(Debug, Clone)]
pub struct ImageSet {
    part: Part,
    side: usize,
    content: Region,
    pixels: Arc<[u8]>,
    labels: Arc<[u16]>,
    hash: blake3::Hash,
}

impl ImageSet {
    /// A set of `labels.len()` images.
    ///
    /// `pixels` is `[n, side, side, 3]`, RGB bytes; `content` are the true pixels inside the padding.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the lengths do not fit together or `content` reaches beyond the image.
    pub fn new(part: Part, side: usize, content: Region, pixels: Vec<u8>, labels: Vec<u16>) -> Result<Self, DataError> {
        let fits = pixels.len() == labels.len() * side * side * 3
            && content.top + content.height <= side
            && content.left + content.width <= side;
        if !fits {
            return Err(DataError::Shape { labels: labels.len(), bytes: pixels.len(), side });
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"privynet images 1");
        for size in [side, content.top, content.left, content.height, content.width] {
            hasher.update(&(size as u64).to_le_bytes());
        }
        hasher.update(&pixels);
        let hash = hasher.finalize();
        Ok(ImageSet { part, side, content, pixels: pixels.into(), labels: labels.into(), hash })
    }

    /// Which part these images are, or are taken from.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Height and width in pixels, padding included.
    pub fn side(&self) -> usize {
        self.side
    }

    /// The true pixels inside the padding: image metrics are computed on these alone.
    pub fn content(&self) -> Region {
        self.content
    }

    /// All pixels, `[n, side, side, 3]`, RGB bytes.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels of one image, `[side, side, 3]`.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.side * self.side * 3;
        &self.pixels[index * size..(index + 1) * size]
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// BLAKE3 of sizes and pixels. Labels are not in it: what is computed from pixels alone is found by this.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// The first `n` images.
    ///
    /// # Errors
    /// [`DataError::TooFewImages`] if there are fewer.
    pub fn first(&self, n: usize) -> Result<ImageSet, DataError> {
        if n > self.len() {
            return Err(DataError::TooFewImages { part: self.part, found: self.len(), wanted: n });
        }
        let pixels = self.pixels[..n * self.side * self.side * 3].to_vec();
        ImageSet::new(self.part, self.side, self.content, pixels, self.labels[..n].to_vec())
    }
}
