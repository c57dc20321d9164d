//! The decoder attack: a net trained on (feature, image) pairs reconstructs images that it never saw.
//!
//! Threat model: the attacker holds the training part's images with their features, and knows which channels
//! the features are. An under-trained decoder would make a design look private, so verification trains in
//! cycles that double the total training, scores the attacker's own validation images after each, and extends
//! that learning curve to sixteen times the training: see [`super::curve`].

use crate::estimate::attack::curve::{FLAT, LearningCurve};
use crate::estimate::laboratory::{Aim, Bench, Laboratory};
use crate::estimate::{Estimate, EstimateError, Estimator, Gallery, Request, Watch};
use crate::measurement::{Measurement, Metric};
use crate::metrics::{self, Images, MAX_PSNR, Summary};
use crate::nn::{NetSpec, Network, NnError};
use crate::protocol::DecoderKind;

/// By how much (dB) an attack in training must exceed a limit to settle that it is broken.
const SETTLED_BY: f64 = 1.0;

/// Trains the attacker's decoder and scores its reconstructions of images that it never saw.
#[derive(Debug)]
pub struct DecoderAttack<'a> {
    laboratory: &'a Laboratory,
}

impl<'a> DecoderAttack<'a> {
    /// An attack on `laboratory`'s images and features.
    pub fn new(laboratory: &'a Laboratory) -> Self {
        Self { laboratory }
    }

    /// Trains cycle after cycle; returns the learning curves of a validated training.
    fn train(
        &self,
        bench: &Bench<'_>,
        net: &mut dyn Network,
        request: &Request<'_>,
        watch: &dyn Watch,
    ) -> Result<Option<Curves>, EstimateError> {
        let training = request.protocol.attack;
        let seed = request.stream("decoder order");
        let cycles = training.cycles();
        let total: usize = cycles.iter().sum();
        let failed = |source| training_failed(request, source);
        let mut before = 0;
        let mut curves = Curves::default();
        let mut best = None;
        for (number, &epochs) in cycles.iter().enumerate() {
            bench.train(net, Aim::Images, training.cycle(epochs), seed.wrapping_add(number as u64), &mut |done| {
                watch.progress("decoder", (before as f64 + done * epochs as f64) / total as f64)
            })?;
            before += epochs;
            if !training.validated {
                return Ok(None);
            }
            let reconstructions = bench.predict_validation(net).map_err(failed)?;
            let scores = Scores::new(&reconstructions, &bench.validation_images(), self.laboratory)?;
            // An attacker keeps the best decoder that he ever had.
            match (curves.push(&scores)?, &best) {
                (false, Some(best)) => net.set_params(best).map_err(failed)?,
                _ => best = Some(net.params().map_err(failed)?),
            }
            // Clearly above the limit: more training can only confirm it.
            let least = curves.psnr_mean.last() + curves.psnr_mean.left_to_gain().unwrap_or(0.0);
            curves.settled = request.settled_above.is_some_and(|limit| least > limit + SETTLED_BY);
            if curves.settled || curves.psnr_mean.is_flat() {
                break;
            }
        }
        Ok(Some(curves))
    }
}

/// Learning curves over doublings of the training, on the attacker's validation images.
#[derive(Debug, Default)]
struct Curves {
    psnr_mean: LearningCurve,
    psnr_p95: LearningCurve,
    ssim_mean: LearningCurve,
    /// Whether the training was stopped because its figure settles the matter: it is a lower bound then.
    settled: bool,
}

impl Curves {
    /// Adds a cycle's scores where they are the best so far, else the best ones again; returns which.
    fn push(&mut self, scores: &Scores) -> Result<bool, EstimateError> {
        let psnr = Summary::of(&scores.psnr)?;
        let improved = psnr.mean > self.psnr_mean.last();
        let found = [psnr.mean, psnr.p95, Summary::of(&scores.ssim)?.mean];
        for (curve, found) in [&mut self.psnr_mean, &mut self.psnr_p95, &mut self.ssim_mean].into_iter().zip(found) {
            curve.push(if improved { found } else { curve.last() });
        }
        Ok(improved)
    }

    /// How much `curve` gains per decibel of the mean PSNR: over the whole training or in its last doubling, whichever
    /// is more, for the tail may rise when the mean has stopped.
    fn share(&self, curve: &LearningCurve) -> f64 {
        let mean = &self.psnr_mean;
        // A last gain within the noise says nothing about shares.
        let last = if mean.last_gain() >= FLAT { curve.last_gain() / mean.last_gain() } else { 0.0 };
        (curve.total_gain() / mean.total_gain().max(f64::MIN_POSITIVE)).max(last).max(0.0)
    }

    /// What sixteen times the training would reach, and whether that can be told.
    ///
    /// The mean PSNR's curve is the smoothest; the others are extended in proportion to what they gained beside it.
    fn rows(&self, request: &Request<'_>, measured: &[Measurement]) -> Vec<Measurement> {
        let left = if self.settled { None } else { self.psnr_mean.left_to_gain() };
        let converged = request.row(Metric::AttackConverged, f64::from(u8::from(left.is_some())), 0.0, 1, 0.0);
        let mut rows = vec![converged];
        let Some(left) = left else { return rows };
        for (metric, curve) in [
            (Metric::PsnrMean, &self.psnr_mean),
            (Metric::PsnrP95, &self.psnr_p95),
            (Metric::SsimMean, &self.ssim_mean),
        ] {
            if let (Some(row), Some(extended)) = (measured.iter().find(|r| r.metric == metric), metric.extended()) {
                // No reconstruction is better than the image itself.
                let perfect = if metric == Metric::SsimMean { 1.0 } else { MAX_PSNR };
                let value = (row.value + left * self.share(curve)).min(perfect);
                rows.push(Measurement { metric: extended, value, ..row.clone() });
            }
        }
        rows
    }
}

fn training_failed(request: &Request<'_>, source: NnError) -> EstimateError {
    EstimateError::Training { what: "the decoder", design: request.design.id().to_string(), source }
}

impl Estimator for DecoderAttack<'_> {
    fn name(&self) -> &'static str {
        "decoder"
    }

    fn estimate(&mut self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let start = std::time::Instant::now();
        let failed = |source| training_failed(request, source);
        let bench = self.laboratory.bench(request)?;
        let image_side = self.laboratory.image_side();
        let spec = match request.protocol.decoder {
            DecoderKind::Reference => NetSpec::reference_decoder(bench.input(), image_side),
            DecoderKind::Strong { width, blocks } => NetSpec::strong_decoder(bench.input(), image_side, width, blocks),
        }
        .map_err(failed)?;
        let mut net = bench.build(&spec, request.stream(self.name())).map_err(failed)?;
        let curves = self.train(&bench, net.as_mut(), request, watch)?;
        let reconstructions = bench.predict(net.as_mut()).map_err(failed)?;
        let originals = bench.scored_images();
        let seconds = start.elapsed().as_secs_f64();
        let scores = Scores::new(&reconstructions, &originals, self.laboratory)?;
        let mut measurements = scores.rows(request, seconds)?;
        if let Some(curves) = curves {
            measurements.extend(curves.rows(request, &measurements));
        }
        Ok(Estimate {
            measurements,
            gallery: Some(Gallery::pick(&scores.psnr, &scores.ssim, &reconstructions, &originals, self.laboratory)),
            cloud_net: None,
        })
    }
}

/// Scores of every reconstruction.
struct Scores {
    squared_errors: Vec<f64>,
    psnr: Vec<f64>,
    ssim: Vec<f64>,
}

impl Scores {
    fn new(reconstructions: &[f32], originals: &[f32], laboratory: &Laboratory) -> Result<Self, EstimateError> {
        let side = laboratory.image_side();
        let n = originals.len() / (side * side * 3);
        let content = laboratory.content();
        let view = |pixels| {
            Images::new(pixels, [n, side, side, 3])?
                .crop(content.top..content.top + content.height, content.left..content.left + content.width)
        };
        let (reconstructed, original) = (view(reconstructions)?, view(originals)?);
        let squared_errors = metrics::mean_squared_errors(&reconstructed, &original)?;
        Ok(Self {
            psnr: squared_errors.iter().map(|&e| metrics::psnr_from_mse(e)).collect(),
            ssim: metrics::ssim(&reconstructed, &original)?,
            squared_errors,
        })
    }

    fn rows(&self, request: &Request<'_>, seconds: f64) -> Result<Vec<Measurement>, EstimateError> {
        let n = self.psnr.len();
        let psnr = Summary::of(&self.psnr)?;
        let ssim = Summary::of(&self.ssim)?;
        let pooled = metrics::pooled_psnr(&self.squared_errors)?;
        let row = |metric, value, std_error| request.row(metric, value, std_error, n, seconds);
        Ok(vec![
            row(Metric::PsnrMean, psnr.mean, psnr.std_error),
            row(Metric::PsnrP95, psnr.p95, psnr.p95_std_error),
            row(Metric::PsnrMax, psnr.max, 0.0),
            row(Metric::PsnrPooled, pooled.mean, pooled.std_error),
            row(Metric::SsimMean, ssim.mean, ssim.std_error),
        ])
    }
}
