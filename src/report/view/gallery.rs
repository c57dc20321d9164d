//! Originals beside what an attacker made of their features.

use serde::Serialize;

/// Reconstructions of one design.
#[derive(Debug, Clone, Serialize)]
pub struct GallerySection {
    /// Such as `Chosen design: conv3_1, 16 channels`.
    pub title: String,
    /// One sentence on why this design is shown.
    pub caption: String,
    /// The pairs, in the order shown.
    pub pairs: Vec<GalleryPair>,
}

/// Which image of the evaluation part a pair shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Exposure {
    /// Highest PSNR: the image that the attacker recovers best.
    Most,
    /// The median image.
    Median,
    /// Lowest PSNR.
    Least,
}

/// An original and what the attacker made of its features.
#[derive(Debug, Clone, Serialize)]
pub struct GalleryPair {
    /// Which image this is.
    pub exposure: Exposure,
    /// The image.
    pub original: Picture,
    /// The attacker's reconstruction, as large as the original.
    pub reconstruction: Picture,
    /// PSNR of this image, in dB.
    pub psnr: f64,
    /// SSIM of this image.
    pub ssim: Option<f64>,
}

/// An RGB image of 8 bits per channel.
#[derive(Debug, Clone, Serialize)]
pub struct Picture {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// `3 · width · height` bytes, row by row, channels interleaved.
    #[serde(skip)]
    pub rgb: Vec<u8>,
}

/// One reconstruction of those that show what decibels look like.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Id of the design whose features it was made from.
    pub design: String,
    /// What made it, such as `trained attack, quick protocol`.
    pub attack: String,
    /// The pictures.
    pub pair: GalleryPair,
}
