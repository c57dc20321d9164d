//! What verification adds to the models' predictions: more data, longer training, trials of inversion, an extension of the learning
//! curve and a confidence margin.

use std::borrow::Cow;
use std::ops::Range;

use super::model::{Models, PredictedFigure, natural, to_logit};
use crate::measurement::Metric;
use crate::protocol::Plan;
use crate::solver::Forecasts;
use crate::space::{Candidate, Place};
use crate::surrogate::Prediction;
use crate::verify::{MetricBound, Verdict};

/// How much of an image a design lets through, as far as gains depend on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Openness {
    /// Position of the split layer: deeper ones let less through.
    pub split_index: usize,
    /// Logarithm to the base 2 of the features' bytes for an image.
    pub log2_upload: f64,
}

impl Openness {
    /// A design's.
    pub fn new(split_index: usize, upload_bytes: u64) -> Self {
        Self { split_index, log2_upload: (upload_bytes.max(1) as f64).log2() }
    }

    /// That of the designs of a place.
    pub(super) fn of(place: &Place) -> Self {
        Self::new(place.split_index, place.cost.upload_bytes.0)
    }

    /// How far a surprise at `at` carries to this design: wholly where it is at least as open, less with every halving of its
    /// features and every layer deeper.
    fn shares(self, at: Self) -> f64 {
        let deeper = self.split_index.saturating_sub(at.split_index) as f64;
        let fewer = (at.log2_upload - self.log2_upload).max(0.0);
        (-0.5 * (deeper + fewer).powi(2)).exp()
    }
}

/// What one verification found beyond anything that was expected.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Surprise {
    at: Openness,
    excess: f64,
}

/// What is believed of one figure, on the modelled scale: logits of accuracy, dB, SSIM.
#[derive(Debug, Clone, PartialEq)]
struct Belief {
    metric: Metric,
    /// The mean of all designs.
    shared: Prediction,
    /// How designs differ from that: a standard deviation.
    own: f64,
    surprises: Vec<Surprise>,
}

impl Belief {
    /// The largest surprise as far as it carries to a design, with what that leaves uncertain.
    fn surprise(&self, design: Openness) -> Prediction {
        let carried = |surprise: &Surprise| {
            let share = design.shares(surprise.at);
            Prediction { mean: share * surprise.excess, sd: surprise.excess * (share * (1.0 - share)).sqrt() }
        };
        let none = Prediction { mean: 0.0, sd: 0.0 };
        self.surprises.iter().map(carried).fold(none, |a, b| if b.mean > a.mean { b } else { a })
    }

    fn of(&self, design: Openness) -> Prediction {
        let surprise = self.surprise(design);
        Prediction { mean: self.shared.mean + surprise.mean, sd: self.shared.sd.hypot(self.own).hypot(surprise.sd) }
    }
}

/// What verification adds to a model's prediction: a normal belief per figure, which each verified design corrects. As much of its
/// variance is of the designs' mean as of each design: what one of them shows never settles it for the others.
///
/// Designs differ in what they gain most where inversion takes hold, which more features than pixels to be found make it do
/// at once. A finding far from what was expected is therefore taken as one of designs that let as much through, and says little
/// of those that let through less: else one careless attempt would condemn all designs.
#[derive(Debug, Clone, PartialEq)]
pub struct Gain(Vec<Belief>);

impl Gain {
    /// The plan's belief before any design was verified.
    pub fn prior(plan: &Plan) -> Self {
        let (mean, sd) = plan.expected_gain;
        // Per decibel of the mean PSNR, from the quick search to the upper limits of verification, at conv3_1 of Fashion-MNIST.
        const P95_PER_DB: f64 = 1.75;
        const SSIM_PER_DB: f64 = 0.05;
        const LOGIT_PER_DB: f64 = 0.1;
        let scaled = |(metric, factor): (Metric, f64)| Belief {
            metric,
            shared: Prediction { mean: mean * factor, sd: sd * factor * std::f64::consts::FRAC_1_SQRT_2 },
            own: sd * factor * std::f64::consts::FRAC_1_SQRT_2,
            surprises: Vec::new(),
        };
        let factors = [
            (Metric::Accuracy, LOGIT_PER_DB),
            (Metric::PsnrMean, 1.0),
            (Metric::PsnrP95, P95_PER_DB),
            (Metric::PsnrMax, P95_PER_DB),
            (Metric::SsimMean, SSIM_PER_DB),
        ];
        Self(factors.into_iter().map(scaled).collect())
    }

    fn belief(&self, metric: Metric) -> Option<&Belief> {
        self.0.iter().find(|belief| belief.metric == metric)
    }

    /// What is added to a figure of any design that is no surprise, on the modelled scale.
    pub(super) fn shared(&self, metric: Metric) -> Prediction {
        let any = |belief: &Belief| Prediction { sd: belief.shared.sd.hypot(belief.own), ..belief.shared };
        self.belief(metric).map_or(Prediction { mean: 0.0, sd: 0.0 }, any)
    }

    /// Adds to the forecasts of bounded figures, which are by what is expected of all designs, what surprises say of those of
    /// each place, with the indices of its candidates.
    pub(super) fn add_surprises<'p>(
        &self,
        forecasts: &mut Forecasts,
        bounds: &[MetricBound],
        places: impl Iterator<Item = (Cow<'p, Place>, Range<usize>)>,
    ) {
        for (place, range) in places {
            for (bound, forecasts) in bounds.iter().zip(&mut forecasts.constraints) {
                let Some(belief) = self.belief(bound.metric).filter(|belief| !belief.surprises.is_empty()) else {
                    continue;
                };
                let surprise = belief.surprise(Openness::of(&place));
                for forecast in &mut forecasts[range.clone()] {
                    *forecast = Prediction { mean: forecast.mean + surprise.mean, sd: forecast.sd.hypot(surprise.sd) };
                }
            }
        }
    }

    /// What verification would find of a figure of a design, on its natural scale: of a bounded one its upper confidence limit.
    pub fn expected(&self, figure: PredictedFigure, design: Openness) -> PredictedFigure {
        let modelled = match figure.metric {
            Metric::Accuracy => {
                let p = figure.value.clamp(0.01, 0.99);
                Prediction { mean: to_logit(p), sd: figure.sd / (p * (1.0 - p)) }
            }
            _ => Prediction { mean: figure.value, sd: figure.sd },
        };
        let gain = self.belief(figure.metric).map_or(Prediction { mean: 0.0, sd: 0.0 }, |belief| belief.of(design));
        let found = Prediction { mean: modelled.mean + gain.mean, sd: modelled.sd.hypot(gain.sd) };
        let (value, sd) = natural(figure.metric, found);
        // No reconstruction is better than the image itself.
        let value = if figure.metric == Metric::SsimMean { value.min(1.0) } else { value };
        PredictedFigure { metric: figure.metric, value, sd }
    }

    /// Corrects the beliefs by what verification found (normal prior, normal observation, cut where it is no longer credible).
    pub fn learn(&mut self, models: &Models, candidate: &Candidate, verdict: &Verdict) {
        let design = Openness::new(candidate.split_index, candidate.cost.upload_bytes.0);
        for belief in &mut self.0 {
            let metric = belief.metric;
            let (Some(figure), Some(prediction)) = (verdict.figure(metric), models.predict(metric, candidate)) else {
                continue;
            };
            let found = match metric {
                Metric::Accuracy => to_logit(figure.value),
                _ => figure.upper.or(figure.extended).unwrap_or(figure.value),
            };
            let expected = prediction.mean + belief.of(design).mean;
            // An attack that was stopped shows a lower bound: it can raise a belief, never lower it.
            let beyond = if verdict.converged { found - expected } else { (found - expected).max(0.0) };
            let prior = belief.shared.sd * belief.shared.sd;
            let noise = belief.own.powi(2) + prediction.sd.powi(2) + figure.std_error.powi(2);
            let weight = prior / (prior + noise).max(1e-12);
            let credible = 2.0 * (prior + noise).sqrt();
            let learnt = weight * beyond.clamp(-credible, credible);
            let known = belief.surprise(design).mean;
            belief.shared = Prediction { mean: belief.shared.mean + learnt, sd: (prior * (1.0 - weight)).sqrt() };
            if beyond > credible {
                belief.surprises.push(Surprise { at: design, excess: known + beyond - learnt });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EffortLevel;

    #[test]
    fn a_surprise_carries_to_designs_that_let_as_much_through() {
        let mut gain = Gain::prior(&Plan::of(EffortLevel::Quick));
        // conv3_1 with 32 channels of 8×8 half-precision features.
        let at = Openness::new(4, 4096);
        let before = gain.shared(Metric::PsnrMean);
        let belief = gain.0.iter_mut().find(|belief| belief.metric == Metric::PsnrMean).unwrap();
        belief.surprises.push(Surprise { at, excess: 14.0 });
        let figure = PredictedFigure { metric: Metric::PsnrMean, value: 18.0, sd: 0.2 };
        let expected = |split, bytes| gain.expected(figure, Openness::new(split, bytes));
        let base = 18.0 + before.mean;
        assert_eq!(expected(4, 4096).value, base + 14.0);
        assert_eq!(expected(2, 16384).value, base + 14.0, "as open, or more");
        let half = expected(4, 2048);
        assert!(half.value > base + 7.0 && half.sd > 5.0, "{half:?}");
        let eighth = expected(4, 512);
        assert!(eighth.value < base + 0.2, "{eighth:?}");
        assert!(expected(6, 4096).value < base + 2.0, "deeper");
    }
}
