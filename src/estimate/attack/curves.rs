//! The learning curves of one attack, and what longer training would add to its figures.

use crate::estimate::attack::curve::LearningCurve;
use crate::estimate::attack::scores::Scores;
use crate::estimate::{EstimateError, Request};
use crate::measurement::{Measurement, Metric};
use crate::metrics::{MAX_PSNR, Summary};

/// A doubling that gains less than this ends a training: of PSNR in dB, of SSIM.
const FLAT_DB: f64 = 0.1;
const FLAT_SSIM: f64 = 0.003;

/// Learning curves over doublings of the training, on the attacker's validation images: the best so far.
#[derive(Debug)]
pub(super) struct Curves {
    pub(super) psnr_mean: LearningCurve,
    psnr_p95: LearningCurve,
    ssim_mean: LearningCurve,
    /// Whether the training was stopped because its figure settles the matter: it is a lower bound then.
    pub(super) settled: bool,
}

impl Default for Curves {
    fn default() -> Self {
        Self {
            psnr_mean: LearningCurve::new(FLAT_DB),
            psnr_p95: LearningCurve::new(FLAT_DB),
            ssim_mean: LearningCurve::new(FLAT_SSIM),
            settled: false,
        }
    }
}

impl Curves {
    fn all(&self) -> [(Metric, &LearningCurve); 3] {
        [(Metric::PsnrMean, &self.psnr_mean), (Metric::PsnrP95, &self.psnr_p95), (Metric::SsimMean, &self.ssim_mean)]
    }

    /// Adds a cycle's scores; returns the metrics in which it is the best so far.
    pub(super) fn push(&mut self, scores: &Scores) -> Result<Vec<Metric>, EstimateError> {
        let psnr = Summary::of(&scores.psnr)?;
        let ssim = Summary::of(&scores.ssim)?;
        let curves = [
            (Metric::PsnrMean, &mut self.psnr_mean, psnr.mean),
            (Metric::PsnrP95, &mut self.psnr_p95, psnr.p95),
            (Metric::SsimMean, &mut self.ssim_mean, ssim.mean),
        ];
        Ok(curves.into_iter().filter_map(|(metric, curve, found)| curve.push(found).then_some(metric)).collect())
    }

    /// What sixteen times the training would add to a figure, given what it would add to the mean PSNR: by the figure's
    /// own curve, or in proportion to what it gained beside the mean, whichever is more.
    fn left(&self, curve: &LearningCurve, of_mean: f64) -> f64 {
        let share = curve.total_gain() / self.psnr_mean.total_gain().max(f64::MIN_POSITIVE);
        curve.left_to_gain().unwrap_or_else(|| curve.straight_on()).max(of_mean * share.max(0.0))
    }

    /// What sixteen times the training would reach, and whether that can be told: by the mean PSNR's curve, the smoothest.
    pub(super) fn rows(&self, request: &Request<'_>, measured: &[Measurement]) -> Vec<Measurement> {
        let left = if self.settled { None } else { self.psnr_mean.left_to_gain() };
        let converged = request.row(Metric::AttackConverged, f64::from(u8::from(left.is_some())), 0.0, 1);
        let mut rows = vec![converged];
        let Some(left) = left else { return rows };
        for (metric, curve) in self.all() {
            if let (Some(row), Some(extended)) = (measured.iter().find(|r| r.metric == metric), metric.extended()) {
                // No reconstruction is better than the image itself.
                let perfect = if metric == Metric::SsimMean { 1.0 } else { MAX_PSNR };
                let left = if metric == Metric::PsnrMean { left } else { self.left(curve, left) };
                rows.push(Measurement { metric: extended, value: (row.value + left).min(perfect), ..row.clone() });
            }
        }
        rows
    }
}
