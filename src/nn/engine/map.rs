//! Where activations lie in memory.

use super::aligned::Aligned;
use crate::nn::spec::Shape;

/// Floats that every buffer has behind its last image: kernels read, but never write or use, up to this many values
/// past the ones that count.
pub(super) const SLACK: usize = 64;

/// The layout of the activations of a few images: channels-last with a border of zeros, so that a `k`×`k` window is `k`
/// contiguous runs of `k · channels` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Map {
    /// Without the border.
    pub shape: Shape,
    /// Pixels of the border on each side.
    pub border: usize,
}

impl Map {
    /// With a border of one pixel, as 3×3 windows need it.
    pub(super) const fn new(shape: Shape) -> Self {
        Self { shape, border: 1 }
    }

    /// Floats from a pixel to the one on its right.
    pub(super) fn pixel(&self) -> usize {
        self.shape.channels
    }

    /// Floats from a pixel to the one below.
    pub(super) fn row(&self) -> usize {
        (self.shape.width + 2 * self.border) * self.shape.channels
    }

    /// Floats from an image to the next.
    pub(super) fn image(&self) -> usize {
        (self.shape.height + 2 * self.border) * self.row()
    }

    /// Offset of the first value inside the border.
    pub(super) fn origin(&self) -> usize {
        self.border * (self.row() + self.pixel())
    }

    /// A zeroed buffer for `images` images, with slack.
    pub(super) fn buffer(&self, images: usize) -> Aligned {
        Aligned::zeros(images * self.image() + SLACK)
    }

    /// The rows of `images` images, as ranges of a buffer, borders excluded.
    pub(super) fn rows(&self, images: usize) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (map, length) = (*self, self.shape.width * self.shape.channels);
        (0..images * map.shape.height).map(move |row| {
            let (image, y) = (row / map.shape.height, row % map.shape.height);
            let start = map.origin() + image * map.image() + y * map.row();
            start..start + length
        })
    }

    /// Copies dense `[n, height, width, channels]` values inside the border.
    pub(super) fn load(&self, dense: &[f32], buffer: &mut [f32]) {
        let length = self.shape.width * self.shape.channels;
        let images = dense.len() / self.shape.len();
        for (row, dense) in self.rows(images).zip(dense.chunks_exact(length)) {
            buffer[row].copy_from_slice(dense);
        }
    }

    /// Copies what is inside the border to dense `[n, height, width, channels]` values.
    pub(super) fn unload(&self, buffer: &[f32], dense: &mut [f32]) {
        let length = self.shape.width * self.shape.channels;
        let images = dense.len() / self.shape.len();
        for (row, dense) in self.rows(images).zip(dense.chunks_exact_mut(length)) {
            dense.copy_from_slice(&buffer[row]);
        }
    }

    /// Zeroes the border, in a buffer that held another map before.
    pub(super) fn clear_border(&self, buffer: &mut [f32], images: usize) {
        let (beside, row) = (self.border * self.pixel(), self.row());
        for image in buffer[..images * self.image()].chunks_exact_mut(self.image()) {
            let rows = image.len() / row;
            for (y, line) in image.chunks_exact_mut(row).enumerate() {
                if y < self.border || y >= rows - self.border {
                    line.fill(0.0);
                } else {
                    line[..beside].fill(0.0);
                    line[row - beside..].fill(0.0);
                }
            }
        }
    }
}
