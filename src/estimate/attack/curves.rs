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
    /// The figure that the training aims at.
    leading: Metric,
    pub(super) psnr_mean: LearningCurve,
    psnr_p95: LearningCurve,
    ssim_mean: LearningCurve,
    /// Whether the training was stopped because its figure settles the matter: it is a lower bound then.
    pub(super) settled: bool,
}

impl Curves {
    pub(super) fn new(leading: Metric) -> Self {
        Self {
            leading,
            psnr_mean: LearningCurve::new(FLAT_DB),
            psnr_p95: LearningCurve::new(FLAT_DB),
            ssim_mean: LearningCurve::new(FLAT_SSIM),
            settled: false,
        }
    }

    /// The curve of the figure that the training aims at.
    pub(super) fn lead(&self) -> &LearningCurve {
        if self.leading == Metric::SsimMean { &self.ssim_mean } else { &self.psnr_mean }
    }

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

    /// What sixteen times the training would add to a figure, given what it would add to the leading one: by the figure's
    /// own curve, or in proportion to what it gained beside that, whichever is more.
    fn left(&self, curve: &LearningCurve, of_leading: f64) -> f64 {
        let share = curve.total_gain() / self.lead().total_gain().max(f64::MIN_POSITIVE);
        curve.left_to_gain().unwrap_or_else(|| curve.straight_on()).max(of_leading * share.max(0.0))
    }

    /// Whether neither the mean nor the tail gains any more.
    pub(super) fn are_flat(&self) -> bool {
        self.lead().is_flat() && self.psnr_p95.is_flat()
    }

    /// What sixteen times the training would reach, and whether that can be told: by the curve of the figure that the training aims at.
    pub(super) fn rows(&self, request: &Request<'_>, measured: &[Measurement]) -> Vec<Measurement> {
        self.extended_by(if self.settled { None } else { self.lead().left_to_gain() }, request, measured)
    }

    /// The same where the leading figure is known to gain so much; `None` where that can't be told.
    pub(super) fn extended_by(
        &self,
        left: Option<f64>,
        request: &Request<'_>,
        measured: &[Measurement],
    ) -> Vec<Measurement> {
        let converged = request.row(Metric::AttackConverged, f64::from(u8::from(left.is_some())), 0.0, 1);
        let mut rows = vec![converged];
        let Some(left) = left else { return rows };
        for (metric, curve) in self.all() {
            if let (Some(row), Some(extended)) = (measured.iter().find(|r| r.metric == metric), metric.extended()) {
                // No reconstruction is better than the image itself.
                let perfect = if metric == Metric::SsimMean { 1.0 } else { MAX_PSNR };
                let left = if metric == self.leading { left } else { self.left(curve, left) };
                rows.push(Measurement { metric: extended, value: (row.value + left).min(perfect), ..row.clone() });
            }
        }
        rows
    }
}
