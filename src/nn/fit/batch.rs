//! Where training rows come from, and the buffers of one batch.

use crate::nn::error::NnError;
use crate::nn::loss::Target;
use crate::nn::spec::Shape;

/// Targets of a batch: labels or images, whichever was asked for last. The buffers are reused from batch to batch.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    labels: Vec<u32>,
    images: Vec<f32>,
    kind: TargetKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum TargetKind {
    #[default]
    Labels,
    Images,
    LogImages,
    PerceptualImages {
        side: usize,
    },
}

impl Targets {
    /// Makes these targets labels; the empty buffer to put one class index per image in.
    pub fn labels(&mut self) -> &mut Vec<u32> {
        self.kind = TargetKind::Labels;
        self.labels.clear();
        &mut self.labels
    }

    /// Makes these targets images; the empty buffer to put `[n, height, width, channels]` in.
    pub fn images(&mut self) -> &mut Vec<f32> {
        self.kind = TargetKind::Images;
        self.images.clear();
        &mut self.images
    }

    /// As [`Targets::images`], to be compared by the logarithm of each image's error.
    pub fn log_images(&mut self) -> &mut Vec<f32> {
        self.kind = TargetKind::LogImages;
        self.images.clear();
        &mut self.images
    }

    /// As [`Targets::images`], square ones of `side`, to be compared by absolute error and SSIM.
    pub fn perceptual_images(&mut self, side: usize) -> &mut Vec<f32> {
        self.kind = TargetKind::PerceptualImages { side };
        self.images.clear();
        &mut self.images
    }

    /// The targets, borrowed.
    pub fn as_target(&self) -> Target<'_> {
        match self.kind {
            TargetKind::Labels => Target::Labels(&self.labels),
            TargetKind::Images => Target::Images(&self.images),
            TargetKind::LogImages => Target::LogImages(&self.images),
            TargetKind::PerceptualImages { side } => Target::PerceptualImages { images: &self.images, side },
        }
    }
}

/// Pairs of features and targets, by row.
pub trait Dataset: Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the features of `rows`, `[rows, height, width, channels]`; in parallel where that pays.
    ///
    /// # Errors
    /// Whatever keeps the features from being read.
    fn features(&self, rows: &[usize], out: &mut [f32]) -> Result<(), NnError>;

    /// Writes the targets of `rows` into [`Targets::labels`] or [`Targets::images`].
    fn targets(&self, rows: &[usize], out: &mut Targets);
}

/// The buffers of one batch.
pub(super) struct Batch {
    input: Shape,
    pub(super) features: Vec<f32>,
    pub(super) targets: Targets,
}

impl Batch {
    pub(super) fn new(input: Shape) -> Self {
        Self { input, features: Vec::new(), targets: Targets::default() }
    }

    /// Gathers these rows.
    pub(super) fn load(&mut self, dataset: &dyn Dataset, rows: &[usize]) -> Result<(), NnError> {
        self.features.resize(rows.len() * self.input.len(), 0.0);
        dataset.features(rows, &mut self.features)?;
        dataset.targets(rows, &mut self.targets);
        Ok(())
    }

    /// Mirrors the images that `pick` picks, features and target images alike.
    pub(super) fn flip(&mut self, output: Shape, mut pick: impl FnMut(usize) -> bool) {
        for (image, features) in self.features.chunks_mut(self.input.len()).enumerate() {
            if pick(image) {
                mirror(features, self.input);
                if self.targets.kind != TargetKind::Labels
                    && let Some(target) = self.targets.images.chunks_mut(output.len()).nth(image)
                {
                    mirror(target, output);
                }
            }
        }
    }
}

/// Reverses the columns of one image.
fn mirror(image: &mut [f32], shape: Shape) {
    for row in image.chunks_mut(shape.width * shape.channels) {
        for left in 0..shape.width / 2 {
            let right = shape.width - 1 - left;
            for channel in 0..shape.channels {
                row.swap(left * shape.channels + channel, right * shape.channels + channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrored_images_have_their_columns_reversed() {
        let mut image = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        mirror(&mut image, Shape::new(2, 3, 2));
        assert_eq!(image, [5.0, 6.0, 3.0, 4.0, 1.0, 2.0, 11.0, 12.0, 9.0, 10.0, 7.0, 8.0]);
    }
}
