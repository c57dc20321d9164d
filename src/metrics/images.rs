//! A batch of images seen through a crop.

use std::ops::Range;

use super::MetricsError;

/// How far rounding may carry an original image out of `[0, 1]`.
const RANGE_TOLERANCE: f32 = 1e-5;

/// A borrowed batch of images, `[count, height, width, channels]`, of which one rectangle counts.
#[derive(Debug, Clone)]
pub struct Images<'a> {
    pixels: &'a [f32],
    count: usize,
    full_height: usize,
    full_width: usize,
    channels: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<'a> Images<'a> {
    /// A batch whose `shape` is `[count, height, width, channels]`, seen whole.
    ///
    /// # Errors
    /// [`MetricsError::Shape`] if `pixels` do not fill it or a size is zero.
    pub fn new(pixels: &'a [f32], shape: [usize; 4]) -> Result<Self, MetricsError> {
        let size = shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
        if size != Some(pixels.len()) || pixels.is_empty() {
            return Err(MetricsError::Shape { pixels: pixels.len(), shape });
        }
        let [count, height, width, channels] = shape;
        Ok(Images {
            pixels,
            count,
            full_height: height,
            full_width: width,
            channels,
            rows: 0..height,
            columns: 0..width,
        })
    }

    /// The same batch with only these rows and columns of what is now seen, as to leave padding out.
    ///
    /// # Errors
    /// [`MetricsError::Crop`] if they are empty or reach beyond it.
    pub fn crop(self, rows: Range<usize>, columns: Range<usize>) -> Result<Self, MetricsError> {
        let inside = |part: &Range<usize>, size| part.start < part.end && part.end <= size;
        if !inside(&rows, self.height()) || !inside(&columns, self.width()) {
            let (height, width) = (self.height(), self.width());
            return Err(MetricsError::Crop { rows, columns, height, width });
        }
        Ok(Images {
            rows: self.rows.start + rows.start..self.rows.start + rows.end,
            columns: self.columns.start + columns.start..self.columns.start + columns.end,
            ..self
        })
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Rows of the crop.
    pub fn height(&self) -> usize {
        self.rows.len()
    }

    /// Columns of the crop.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// Channels of a pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// `[count, height, width, channels]` of what is seen.
    pub fn shape(&self) -> [usize; 4] {
        [self.count, self.height(), self.width(), self.channels]
    }

    /// The rows of image `image` from top to bottom, each `width × channels` values.
    pub(crate) fn rows_of(&self, image: usize) -> impl Iterator<Item = &'a [f32]> {
        let (pixels, stride) = (self.pixels, self.full_width * self.channels);
        let first = image * self.full_height * stride;
        let columns = self.columns.start * self.channels..self.columns.end * self.channels;
        self.rows.clone().map(move |y| {
            let row = first + y * stride;
            &pixels[row + columns.start..row + columns.end]
        })
    }

    /// Refuses two batches that do not show the same number of equally large images.
    pub(super) fn same_shape(&self, originals: &Images<'_>) -> Result<(), MetricsError> {
        if self.shape() == originals.shape() {
            return Ok(());
        }
        Err(MetricsError::Mismatch { left: self.shape().to_vec(), right: originals.shape().to_vec() })
    }

    /// Refuses an image outside `[0, 1]`, NaN included.
    pub(super) fn check_original(&self, image: usize) -> Result<(), MetricsError> {
        let range = -RANGE_TOLERANCE..=1.0 + RANGE_TOLERANCE;
        match self.rows_of(image).flatten().find(|&value| !range.contains(value)) {
            Some(&value) => Err(MetricsError::Range { image, value }),
            None => Ok(()),
        }
    }

    /// Refuses an image with a NaN or an infinity, which clamping would hide.
    pub(super) fn check_reconstruction(&self, image: usize) -> Result<(), MetricsError> {
        match self.rows_of(image).flatten().find(|value| !value.is_finite()) {
            Some(&value) => Err(MetricsError::NotFinite { image, value }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crop_of_a_crop_sees_the_right_pixels() {
        let pixels: Vec<f32> = (0..2 * 4 * 5 * 3).map(|i| i as f32).collect();
        let images = Images::new(&pixels, [2, 4, 5, 3]).unwrap();
        let part = images.crop(1..4, 1..5).unwrap().crop(1..2, 2..3).unwrap();
        assert_eq!(part.shape(), [2, 1, 1, 3]);
        // Row 2, column 3 of image 1.
        let first = (((4 + 2) * 5 + 3) * 3) as f32;
        let rows: Vec<&[f32]> = part.rows_of(1).collect();
        assert_eq!(rows, [[first, first + 1.0, first + 2.0]]);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let pixels = [0.0; 12];
        assert!(Images::new(&pixels, [1, 2, 2, 4]).is_err());
        assert!(Images::new(&[], [0, 2, 2, 3]).is_err());
        assert!(Images::new(&pixels, [usize::MAX, 2, 2, 3]).is_err());
        let images = Images::new(&pixels, [1, 2, 2, 3]).unwrap();
        assert!(images.clone().crop(0..3, 0..2).is_err());
        assert!(images.clone().crop(1..1, 0..2).is_err());
        assert!(images.crop(0..2, 1..2).is_ok());
    }
}
