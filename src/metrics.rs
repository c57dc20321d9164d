//! Pure functions that turn predictions and reconstructions into figures with standard errors.
//!
//! | figure | function | unit |
//! |---|---|---|
//! | top-1 accuracy | [`accuracy`] | fraction |
//! | peak signal-to-noise ratio per image | [`psnr`] | dB, at most [`MAX_PSNR`] |
//! | PSNR of the mean squared error pooled over images | [`pooled_psnr`] | dB |
//! | structural similarity per image | [`ssim`] | 1 for equal images |
//! | mean, 95th percentile, extremes | [`Summary`] | of its values |
//! | a mean over images and seeds, its one-sided bounds | [`Estimate`] | of its values |
//! | what an attacker without features reaches | [`Floor`] | – |
//!
//! Images are [`Images`]: `[count, height, width, channels]` (NHWC) `f32` in `[0, 1]`, seen through a crop that leaves
//! padding out. Peak and data range are always 1, whatever range a reconstruction spans; a target outside `[0, 1]`
//! (bytes, or images normalised for a net) is refused rather than scored 48 dB too high, and so is a reconstruction
//! that holds a NaN. Nothing here reads a file, draws a random number or knows a tensor library.

mod estimate;
mod floor;
mod images;
mod psnr;
mod special;
mod ssim;
mod summary;

pub use estimate::{Estimate, accuracy, student_t_quantile};
pub use floor::Floor;
pub use images::Images;
pub use psnr::{MAX_PSNR, mean_squared_errors, pooled_psnr, psnr, psnr_from_mse};
pub use ssim::ssim;
pub use summary::{Summary, quantile, quantile_upper, values_for_upper};

/// Why a figure could not be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MetricsError {
    /// The number of pixels does not fit the stated shape, or the shape has a zero.
    #[error(
        "{pixels} pixels do not fill a batch of shape {shape:?}: pass count, height, width, channels, none of them zero"
    )]
    Shape {
        /// Pixels passed.
        pixels: usize,
        /// Count, height, width, channels as stated.
        shape: [usize; 4],
    },
    /// A crop is empty or reaches beyond its images.
    #[error("rows {rows:?} and columns {columns:?} are no part of images of {height}×{width} pixels")]
    Crop {
        /// Rows asked for.
        rows: std::ops::Range<usize>,
        /// Columns asked for.
        columns: std::ops::Range<usize>,
        /// Rows there are.
        height: usize,
        /// Columns there are.
        width: usize,
    },
    /// Two things that belong together differ in shape or length.
    #[error("shapes differ: {left:?} against {right:?}; compare like with like")]
    Mismatch {
        /// Shape of the reconstructions or predictions.
        left: Vec<usize>,
        /// Shape of the originals or labels.
        right: Vec<usize>,
    },
    /// An image is smaller than the SSIM window.
    #[error("images of {height}×{width} pixels are smaller than SSIM's window of {window}×{window}")]
    TooSmall {
        /// Rows of the images.
        height: usize,
        /// Columns of the images.
        width: usize,
        /// Side of the window.
        window: usize,
    },
    /// An original image leaves `[0, 1]`.
    #[error("original image {image} holds {value}, outside [0, 1]: undo normalisation and divide bytes by 255 first")]
    Range {
        /// Index of the image.
        image: usize,
        /// First pixel found outside.
        value: f32,
    },
    /// A reconstruction holds a NaN or an infinity: its decoder diverged.
    #[error("reconstruction {image} holds {value}: the decoder diverged")]
    NotFinite {
        /// Index of the image.
        image: usize,
        /// First pixel that is no number.
        value: f32,
    },
    /// A value to summarise is NaN or infinite.
    #[error("value {index} is {value}; only finite values can be summarised")]
    Value {
        /// Index of the value.
        index: usize,
        /// The value.
        value: f64,
    },
    /// Too few values for a mean with a standard error.
    #[error("{found} values are too few: at least {needed} are needed for a standard error")]
    TooFew {
        /// Values passed.
        found: usize,
        /// Values needed.
        needed: usize,
    },
    /// A probability is not strictly between 0 and 1.
    #[error("a probability or confidence of {0} was asked for; it must be above 0 and below 1")]
    Probability(f64),
    /// A Student t distribution needs positive degrees of freedom.
    #[error("{0} degrees of freedom were given; they must be above 0")]
    DegreesOfFreedom(f64),
}
