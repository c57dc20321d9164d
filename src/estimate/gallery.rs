//! Reconstructions worth looking at: the attacker's best, median and worst image.

use serde::{Deserialize, Serialize};

use crate::estimate::attack::Scores;
use crate::estimate::laboratory::Laboratory;

/// One original beside its reconstruction, cropped to the true pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GalleryImage {
    /// `best`, `median` or `worst` for the attacker.
    pub label: String,
    /// Index among the scored images.
    pub index: usize,
    /// PSNR of the reconstruction, dB.
    pub psnr: f64,
    /// SSIM of the reconstruction.
    pub ssim: f64,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// RGB bytes, row by row.
    pub original: Vec<u8>,
    /// RGB bytes, row by row.
    pub reconstruction: Vec<u8>,
}

/// The gallery of one attack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gallery {
    /// Best, median and worst image by PSNR, as the attacker sees it.
    pub images: Vec<GalleryImage>,
    /// The same of white-box inversion, where that recovers more.
    #[serde(default)]
    pub inverted: Vec<GalleryImage>,
}

impl Gallery {
    /// Picks by PSNR among all scored images.
    pub(super) fn pick(
        Scores { psnr, ssim, .. }: &Scores,
        reconstructions: &[f32],
        originals: &[f32],
        laboratory: &Laboratory,
    ) -> Self {
        let mut order: Vec<usize> = (0..psnr.len()).collect();
        order.sort_by(|&a, &b| psnr[b].total_cmp(&psnr[a]).then(a.cmp(&b)));
        let content = laboratory.content();
        let side = laboratory.image_side();
        let crop = |pixels: &[f32], index: usize| {
            let mut bytes = Vec::with_capacity(content.height * content.width * 3);
            for y in content.top..content.top + content.height {
                let start = ((index * side + y) * side + content.left) * 3;
                let row = &pixels[start..start + content.width * 3];
                bytes.extend(row.iter().map(|&v| (v.clamp(0.0, 1.0) * 255.0).round() as u8));
            }
            bytes
        };
        let picks = [("best", 0), ("median", order.len() / 2), ("worst", order.len().saturating_sub(1))];
        let images = picks
            .into_iter()
            .filter_map(|(label, rank)| {
                let &index = order.get(rank)?;
                Some(GalleryImage {
                    label: label.to_owned(),
                    index,
                    psnr: psnr[index],
                    ssim: ssim[index],
                    width: content.width,
                    height: content.height,
                    original: crop(originals, index),
                    reconstruction: crop(reconstructions, index),
                })
            })
            .collect();
        Self { images, inverted: Vec::new() }
    }

    /// The gallery as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Numbers, strings and byte lists always serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }
}
