//! The learning curves of one attack, and what longer training would add to its figures.

use crate::estimate::attack::curve::LearningCurve;
use crate::estimate::attack::scores::Scores;
use crate::estimate::{EstimateError, Request};
use crate::measurement::{Measurement, Metric};
use crate::metrics::{MAX_PSNR, Summary};

/// By how much (dB) an attack in training must exceed a limit on validation images to settle that it breaks the limit on others.
const SETTLED_BY: f64 = 0.5;

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

    /// What sixteen times the training would add to the figure `of` another curve, given what it would add to the leading one: by
    /// the figure's own curve, or in proportion to what it gained beside that, whichever is more. A curve that can't tell goes
    /// straight on, and a tail then gains no less than the mean does.
    fn left(&self, of: Metric, curve: &LearningCurve, of_leading: f64) -> f64 {
        let share = curve.total_gain() / self.lead().total_gain().max(f64::MIN_POSITIVE);
        let least = if of == Metric::PsnrP95 && self.leading == Metric::PsnrMean { of_leading } else { 0.0 };
        let own = curve.left_to_gain().unwrap_or_else(|| curve.straight_on().max(least));
        own.max(of_leading * share.max(0.0))
    }

    /// Whether more training can only confirm that `limit`, of the mean PSNR in dB, is broken. What a short curve foretells
    /// settles nothing, for it is often too much.
    pub(super) fn is_above(&self, limit: f64) -> bool {
        self.psnr_mean.last() > limit + SETTLED_BY
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
                let left = if metric == self.leading { left } else { self.left(metric, curve, left) };
                rows.push(Measurement { metric: extended, value: (row.value + left).min(perfect), ..row.clone() });
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves(means: &[f64], p95s: &[f64]) -> Curves {
        let mut curves = Curves::new(Metric::PsnrMean);
        means.iter().for_each(|&mean| _ = curves.psnr_mean.push(mean));
        p95s.iter().for_each(|&p95| _ = curves.psnr_p95.push(p95));
        curves
    }

    #[test]
    fn what_a_short_curve_foretells_settles_nothing() {
        let curves = curves(&[10.0, 12.0, 13.5], &[]);
        assert!(curves.lead().left_to_gain().unwrap() > 2.0);
        assert!(!curves.is_above(14.0) && curves.is_above(12.9));
    }

    #[test]
    fn a_tail_that_can_not_tell_gains_no_less_than_the_mean() {
        let left = |p95s: &[f64]| {
            let curves = curves(&[18.0, 19.0, 19.5], p95s);
            curves.left(Metric::PsnrP95, &curves.psnr_p95, 0.5)
        };
        // Stuck since the first cycle, and faster than ever.
        assert_eq!(left(&[25.0, 24.8, 24.9]), 0.5);
        assert!((left(&[25.0, 25.1, 26.1]) - 4.0).abs() < 1e-9);
        // One that can tell gains as much beside the mean as it did.
        assert!((left(&[25.0, 25.2, 25.3]) - 0.1).abs() < 1e-9);
    }
}
