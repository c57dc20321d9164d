//! How well every image was reconstructed.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::estimate::bench::{Bench, to_unit};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Gallery, Reconstructions, Request};
use crate::measurement::{Measurement, Metric};
use crate::metrics::{self, Images, MetricsError, Summary};

/// Scores of every reconstruction.
pub(in crate::estimate) struct Scores {
    squared_errors: Vec<f64>,
    pub(in crate::estimate) psnr: Vec<f64>,
    pub(in crate::estimate) ssim: Vec<f64>,
}

/// The true pixels, `[n, height, width, 3]` without padding, of images of the laboratory's side.
pub(super) fn content<'a>(pixels: &'a [f32], laboratory: &Laboratory) -> Result<Images<'a>, MetricsError> {
    let (side, content) = (laboratory.image_side(), laboratory.content());
    Images::new(pixels, [pixels.len() / (side * side * 3), side, side, 3])?
        .crop(content.top..content.top + content.height, content.left..content.left + content.width)
}

/// Mean over images of the PSNR, dB: what chooses between attacks, without the rest.
pub(in crate::estimate) fn mean_psnr(
    reconstructions: &[f32],
    originals: &[f32],
    laboratory: &Laboratory,
) -> Result<f64, EstimateError> {
    let errors =
        metrics::mean_squared_errors(&content(reconstructions, laboratory)?, &content(originals, laboratory)?)?;
    Ok(errors.iter().map(|&e| metrics::psnr_from_mse(e)).sum::<f64>() / errors.len() as f64)
}

/// Mean PSNR of the first `count` of the reconstructions of the evaluation images, dB; `None` where there are fewer.
pub fn mean_psnr_of(laboratory: &Laboratory, reconstructions: &[f32], count: usize) -> Option<f64> {
    let set = &laboratory.parts().evaluation;
    let pixels = count * set.side() * set.side() * 3;
    let originals = to_unit(set.pixels().get(..pixels)?);
    mean_psnr(reconstructions.get(..pixels)?, &originals, laboratory).ok()
}

/// Mean PSNR on the validation images, dB: what tells attacks apart without a look at evaluation images; `None` where an attack
/// reconstructed none.
pub fn validation_psnr(laboratory: &Laboratory, found: &Reconstructions) -> Option<f64> {
    let originals = to_unit(laboratory.parts().validation.pixels().get(..found.validation.len())?);
    mean_psnr(&found.validation, &originals, laboratory).ok()
}

/// What an attack that began at `start` made of the scored images: figures under its own `names`, and pictures.
pub(super) fn judge(
    reconstructions: Reconstructions,
    names: &[(Metric, Metric)],
    bench: &Bench<'_>,
    request: &Request<'_>,
    laboratory: &Laboratory,
    start: Instant,
) -> Result<Estimate, EstimateError> {
    let originals = bench.scored_images();
    let scores = Scores::new(&reconstructions.scored, &originals, laboratory)?;
    let rows = scores.rows(request, bench.scored_labels())?.into_iter();
    let seconds = start.elapsed().as_secs_f64();
    let named = |row: Measurement| Some(Measurement { metric: row.metric.of(names)?, seconds, ..row });
    let measurements = rows.filter_map(named).collect();
    let gallery = Some(Gallery::pick(&scores, &reconstructions.scored, &originals, laboratory));
    Ok(Estimate { measurements, gallery, reconstructions: Some(reconstructions), ..Estimate::default() })
}

impl Scores {
    pub(super) fn new(
        reconstructions: &[f32],
        originals: &[f32],
        laboratory: &Laboratory,
    ) -> Result<Self, EstimateError> {
        let (reconstructed, original) = (content(reconstructions, laboratory)?, content(originals, laboratory)?);
        let squared_errors = metrics::mean_squared_errors(&reconstructed, &original)?;
        Ok(Self {
            psnr: squared_errors.iter().map(|&e| metrics::psnr_from_mse(e)).collect(),
            ssim: metrics::ssim(&reconstructed, &original)?,
            squared_errors,
        })
    }

    /// Mean PSNR, dB.
    pub(super) fn mean(&self) -> f64 {
        self.psnr.iter().sum::<f64>() / self.psnr.len() as f64
    }

    /// The figures; `labels` are the images' classes.
    pub(super) fn rows(&self, request: &Request<'_>, labels: &[u16]) -> Result<Vec<Measurement>, EstimateError> {
        let n = self.psnr.len();
        let psnr = Summary::of(&self.psnr)?;
        let ssim = Summary::of(&self.ssim)?;
        let pooled = metrics::pooled_psnr(&self.squared_errors)?;
        let row = |metric, value, std_error| request.row(metric, value, std_error, n);
        let mut rows = vec![
            row(Metric::PsnrMean, psnr.mean, psnr.std_error),
            row(Metric::PsnrP95, psnr.p95, psnr.p95_std_error),
            row(Metric::PsnrMax, psnr.max, 0.0),
            row(Metric::PsnrPooled, pooled.mean, pooled.std_error),
            row(Metric::SsimMean, ssim.mean, ssim.std_error),
        ];
        if let Some(class) = worst_class(&self.psnr, labels)? {
            rows.push(request.row(Metric::PsnrWorstClass, class.mean, class.std_error, class.n as usize));
        }
        if let Some(verifying) = request.verifying
            && let Some(upper) = metrics::quantile_upper(&self.psnr, 0.95, verifying.error_rate)?
        {
            rows.push(row(Metric::PsnrP95Upper, upper.max(psnr.p95), 0.0));
        }
        Ok(rows)
    }
}

/// The class whose images are recovered best, in the mean: a mean over all classes may hide it.
/// A class with a single image is passed over.
fn worst_class(psnr: &[f64], labels: &[u16]) -> Result<Option<Summary>, MetricsError> {
    let mut classes: BTreeMap<u16, Vec<f64>> = BTreeMap::new();
    for (&value, &label) in psnr.iter().zip(labels) {
        classes.entry(label).or_default().push(value);
    }
    let several = classes.values().filter(|values| values.len() > 1);
    let summaries: Vec<Summary> = several.map(|values| Summary::of(values)).collect::<Result<_, _>>()?;
    Ok(summaries.into_iter().max_by(|a, b| a.mean.total_cmp(&b.mean)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_that_is_recovered_best_is_found() {
        let found = worst_class(&[10.0, 30.0, 12.0, 34.0, 14.0, 20.0], &[0, 7, 0, 7, 0, 3]).unwrap().unwrap();
        assert_eq!((found.mean, found.n), (32.0, 2));
        assert!((found.std_error - 2.0).abs() < 1e-12);
        assert_eq!(worst_class(&[], &[]).unwrap().map(|found| found.n), None);
    }
}
