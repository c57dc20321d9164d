//! What somebody reaches who never saw the features: the scale on which leakage is read.

use rayon::prelude::*;

use super::{Images, MetricsError};

/// A reconstruction that needs no features, best on the very images it is scored on.
///
/// On the 8,000 test images of CIFAR-10 as JPEG the three score a mean PSNR of 12.7, 14.4 and 20.2 dB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Floor {
    /// One image for all: their mean, which minimises the pooled squared error. What an attacker with useless features
    /// learns from pairs; well above one flat colour where images are aligned, as in Fashion-MNIST.
    BestConstant,
    /// Each image's mean colour.
    MeanColour,
    /// Each image as 8×8 cells, each filled with the mean of its pixels (box down, nearest up).
    Thumbnail,
}

/// Cells of a thumbnail along each side.
const CELLS: usize = 8;

impl Floor {
    /// All floors, the weakest first.
    pub const ALL: [Floor; 3] = [Floor::BestConstant, Floor::MeanColour, Floor::Thumbnail];

    /// What a report calls it.
    pub fn name(self) -> &'static str {
        match self {
            Floor::BestConstant => "best constant image",
            Floor::MeanColour => "mean colour of each image",
            Floor::Thumbnail => "8×8 thumbnail of each image",
        }
    }

    /// The reconstructions of what `originals` shows, `originals.shape()`, to be scored as an attacker's are.
    ///
    /// # Errors
    /// [`MetricsError::Range`] if an original leaves `[0, 1]`.
    pub fn reconstruct(self, originals: &Images<'_>) -> Result<Vec<f32>, MetricsError> {
        (0..originals.count()).try_for_each(|image| originals.check_original(image))?;
        Ok(match self {
            Floor::BestConstant => mean_image(originals).repeat(originals.count()),
            Floor::MeanColour => cell_means(originals, 1),
            Floor::Thumbnail => cell_means(originals, CELLS),
        })
    }
}

fn mean_image(originals: &Images<'_>) -> Vec<f32> {
    let mut sums = vec![0.0_f64; originals.height() * originals.width() * originals.channels()];
    for image in 0..originals.count() {
        for (sum, &value) in sums.iter_mut().zip(originals.rows_of(image).flatten()) {
            *sum += f64::from(value);
        }
    }
    sums.into_iter().map(|sum| (sum / originals.count() as f64) as f32).collect()
}

/// Every pixel replaced by the mean of its cell; `cells × cells` cells per image, as equal as pixels allow.
fn cell_means(originals: &Images<'_>, cells: usize) -> Vec<f32> {
    let [count, height, width, channels] = originals.shape();
    let cell_of = |y: usize, x: usize| (y * cells / height) * cells + x * cells / width;
    let mut pixels = vec![0.0_f32; count * height * width * channels];
    pixels.par_chunks_mut(height * width * channels).enumerate().for_each(|(image, output)| {
        let mut sums = vec![0.0_f64; cells * cells * channels];
        let mut counts = vec![0.0_f64; cells * cells];
        for (y, row) in originals.rows_of(image).enumerate() {
            for (x, pixel) in row.chunks_exact(channels).enumerate() {
                let cell = cell_of(y, x);
                counts[cell] += 1.0;
                for (sum, &value) in sums[cell * channels..].iter_mut().zip(pixel) {
                    *sum += f64::from(value);
                }
            }
        }
        for (i, pixel) in output.chunks_exact_mut(channels).enumerate() {
            let cell = cell_of(i / width, i % width);
            for (value, sum) in pixel.iter_mut().zip(&sums[cell * channels..]) {
                *value = (sum / counts[cell]) as f32;
            }
        }
    });
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images of 5×20 pixels and 2 channels, padded by one on each side.
    fn originals() -> Vec<f32> {
        (0..2 * 7 * 22 * 2).map(|i| ((i * 31) % 97) as f32 / 97.0).collect()
    }

    fn view(pixels: &[f32]) -> Images<'_> {
        Images::new(pixels, [2, 7, 22, 2]).unwrap().crop(1..6, 1..21).unwrap()
    }

    #[test]
    fn the_constant_is_the_mean_image_of_the_content() {
        let pixels = originals();
        let found = Floor::BestConstant.reconstruct(&view(&pixels)).unwrap();
        let image = 5 * 20 * 2;
        assert_eq!(found.len(), 2 * image);
        assert_eq!(found[..image], found[image..]);
        // Row 2, column 3, channel 1 of the content.
        let at = |n: usize| pixels[((n * 7 + 3) * 22 + 4) * 2 + 1];
        assert!((found[(2 * 20 + 3) * 2 + 1] - 0.5 * (at(0) + at(1))).abs() < 1e-6);
    }

    #[test]
    fn the_mean_colour_is_per_image_and_channel() {
        let pixels = originals();
        let found = Floor::MeanColour.reconstruct(&view(&pixels)).unwrap();
        for (n, image) in found.chunks_exact(5 * 20 * 2).enumerate() {
            for channel in 0..2 {
                let sum: f32 = view(&pixels).rows_of(n).flatten().skip(channel).step_by(2).sum();
                assert!((image[channel] - sum / 100.0).abs() < 1e-5);
                assert!(image.iter().skip(channel).step_by(2).all(|v| *v == image[channel]));
            }
        }
    }

    #[test]
    fn a_thumbnail_has_eight_cells_a_side_at_most() {
        let pixels = originals();
        let found = Floor::Thumbnail.reconstruct(&view(&pixels)).unwrap();
        let row: Vec<f32> = found[..20 * 2].iter().copied().step_by(2).collect();
        let levels = row.windows(2).filter(|pair| pair[0] != pair[1]).count() + 1;
        assert_eq!(levels, 8);
        // Twenty columns in eight cells: the first three share one, and five rows have a cell each.
        let original: Vec<f32> = view(&pixels).rows_of(0).next().unwrap().to_vec();
        let mean = (original[0] + original[2] + original[4]) / 3.0;
        assert!(row[..3].iter().all(|v| (v - mean).abs() < 1e-6));
    }

    #[test]
    fn the_floors_rank_as_their_names_say() {
        // Smooth images: a ramp whose slope and offset differ from image to image.
        let mut pixels = Vec::new();
        for n in 0..6 {
            for i in 0..32 * 32 {
                let ramp = (i % 32) as f32 / 64.0 + (i / 32) as f32 / 128.0;
                pixels.push((0.05 * n as f32 + ramp * (0.5 + 0.1 * n as f32)).min(1.0));
            }
        }
        let originals = Images::new(&pixels, [6, 32, 32, 1]).unwrap();
        let scores = Floor::ALL.map(|floor| {
            let found = floor.reconstruct(&originals).unwrap();
            let found = Images::new(&found, originals.shape()).unwrap();
            crate::metrics::mean_squared_errors(&found, &originals).unwrap().iter().sum::<f64>()
        });
        assert!(scores[2] < scores[0] && scores[2] < scores[1], "{scores:?}");
    }
}
