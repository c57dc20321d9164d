//! White-box inversion: the image whose features are those that were seen, sought by gradient descent.
//!
//! Threat model: the attacker knows the local net, weights and all, and holds pairs, as the decoder's attacker does.
//!
//! For features z, standardised by the training images' spread so that an uninformed guess has a loss of about 1, Adam
//! minimises
//!
//! ```text
//! mean (f(x) − z)² + λ TV(x) + μ mean (x − d)² / v          x in [0, 1]
//! ```
//!
//! TV is the mean of the absolute differences between neighbouring pixels (Mahendran and Vedaldi, *Understanding deep image
//! representations by inverting them*, 2015; He et al. 2019, from grey and without the last term). Few features leave most of an
//! image open, and total variation is a poor guess at the rest: the last term ties the image to the decoder's reconstruction d,
//! as closely as its mean squared error v on validation images says that it can be trusted. At conv2_1 with 4 channels of
//! Fashion-MNIST the decoder has 26.5 dB, inversion from the decoder's output without that term 20.5 dB, with it 30.7 dB.
//!
//! Where all of the attacker's images are grey, a pixel is one unknown: 32.6 dB.
//!
//! The attacker tries several λ and μ, from grey and from d, on validation images, and goes on with what serves these best, in
//! cycles that double the steps, until their mean PSNR stands still.

use std::f32::consts::PI;

use crate::backbone::LocalNet;
use crate::data::Region;
use crate::estimate::attack::curve::LearningCurve;
use crate::estimate::attack::scores::{Scores, mean_psnr};
use crate::estimate::bench::{Bench, Pairs};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Gallery, Reconstructions, Request, Watch};
use crate::measurement::Metric;
use crate::nn::{Inverse, NnError, Target};
use crate::protocol::Descent;

/// What holds an image that its features leave open.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Prior {
    /// λ.
    variation: f32,
    /// μ; from grey where there is none, else from the decoder's reconstruction.
    anchor: Option<f32>,
    /// Peak of Adam's step, in units of the pixels' range.
    rate: f32,
}

/// Those that are tried. Shallow local nets let go of the decoder's reconstruction in large steps; deep ones, whose loss is
/// rugged, lose it so: at conv3_1 with 4 channels of Fashion-MNIST 600 steps gain 0.00 dB on the decoder at a rate of 0.05 and
/// 0.10 dB at 0.01; at conv2_1 400 steps gain 6.0 and 5.1 dB.
const PRIORS: [Prior; 7] = [
    Prior { variation: 0.05, anchor: None, rate: 0.05 },
    Prior { variation: 0.25, anchor: None, rate: 0.05 },
    Prior { variation: 0.02, anchor: Some(1e-4), rate: 0.05 },
    Prior { variation: 0.02, anchor: Some(1e-2), rate: 0.05 },
    Prior { variation: 0.02, anchor: Some(1e-4), rate: 0.01 },
    Prior { variation: 0.02, anchor: Some(1e-2), rate: 0.01 },
    Prior { variation: 0.02, anchor: Some(1e-1), rate: 0.01 },
];

/// Validation images that they are tried on.
const TRIED_ON: usize = 16;

/// A cycle that gains less than this on validation images, dB, is one that stands still.
const FLAT_DB: f64 = 0.1;

/// Inside the root that makes the absolute value smooth.
const SMOOTH: f32 = 1e-6;

/// Inverts the local net on the scored images.
#[derive(Debug)]
pub struct InversionAttack<'a> {
    laboratory: &'a Laboratory,
    descent: Descent,
    /// A decoder's reconstructions, to start from and to hold on to, beside grey.
    start: Option<&'a Reconstructions>,
}

impl<'a> InversionAttack<'a> {
    /// An attack on `laboratory`'s images and features; `start` are a decoder's reconstructions.
    pub fn new(laboratory: &'a Laboratory, descent: Descent, start: Option<&'a Reconstructions>) -> Self {
        Self { laboratory, descent, start }
    }

    /// The local net with outputs of the training features' spread.
    fn local_net(&self, request: &Request<'_>, bench: &Bench<'_>) -> Result<Inverse, EstimateError> {
        let failed = |source| failed(request, source);
        let backbone = self.laboratory.backbone();
        let layer = *backbone.layer(&request.design.split).map_err(crate::features::FeatureError::from)?;
        let mut net = LocalNet::new(backbone, &layer, request.attacked(), self.laboratory.image_side());
        let spread = &bench.standardisation().inverse_sd;
        // A positive factor passes a ReLU.
        for param in net.params.0.iter_mut().rev().take(2) {
            let size = param.data.len() / spread.len();
            for (values, factor) in param.data.chunks_exact_mut(size).zip(spread) {
                values.iter_mut().for_each(|value| *value *= factor);
            }
        }
        Inverse::new(&net.spec, &net.params, bench.device).map_err(failed)
    }

    /// The features of `count` pairs as the local net gives them.
    fn features(&self, bench: &Bench<'_>, pairs: &Pairs<'_>, count: usize) -> Result<Vec<f32>, EstimateError> {
        let by = bench.standardisation();
        let rows: Vec<usize> = (0..count.min(pairs.count)).collect();
        let mut features = vec![0.0; rows.len() * bench.input().len()];
        pairs.view.fill(&rows, &mut features)?;
        for position in features.chunks_exact_mut(by.mean.len()) {
            for ((value, mean), inverse_sd) in position.iter_mut().zip(&by.mean).zip(&by.inverse_sd) {
                *value += mean * inverse_sd;
            }
        }
        Ok(features)
    }
}

fn failed(request: &Request<'_>, source: NnError) -> EstimateError {
    EstimateError::Training { what: "the inversion", design: request.design.id().to_string(), source }
}

/// Images being sought.
struct Search<'a> {
    net: &'a mut Inverse,
    request: &'a Request<'a>,
    /// The features that were seen.
    seen: &'a [f32],
    /// Subtracted from pixels times 255.
    mean: [f32; 3],
    side: usize,
    /// Where pixels are unknown: padding is black.
    content: Region,
    /// Whether the attacker's images are all grey, so that a pixel is one unknown and not three.
    grey: bool,
    prior: Prior,
    /// The decoder's reconstructions, and their mean squared error on validation images.
    anchor: Option<(&'a [f32], f32)>,
}

/// Told what share of a descent is done; may end it.
type Tell<'a> = dyn Fn(f64) -> Result<(), EstimateError> + 'a;

impl Search<'_> {
    /// Where a descent begins, `n` images.
    fn start(&self, n: usize) -> Vec<f32> {
        let mut x = match (self.prior.anchor, self.anchor) {
            (Some(_), Some((anchor, _))) => anchor.to_vec(),
            _ => vec![0.5; n * self.side * self.side * 3],
        };
        if self.grey {
            average_colours(&mut x);
        }
        x
    }

    /// Follows the gradient from `x` for `steps` steps.
    fn cycle(&mut self, x: &mut [f32], steps: usize, tell: &Tell<'_>) -> Result<(), EstimateError> {
        let size = self.side * self.side * 3;
        let n = x.len() / size;
        let (mut first, mut second) = (vec![0.0f32; x.len()], vec![0.0f32; x.len()]);
        let (mut input, mut gradient) = (vec![0.0; x.len()], Vec::new());
        for step in 0..steps {
            tell(step as f64 / steps as f64)?;
            self.preprocess(x, &mut input);
            let loss = self.net.differentiate(&input, n, Target::Images(self.seen), &mut gradient);
            loss.map_err(|error| failed(self.request, error))?;
            // From the mean over images of the net's input to each image's pixels.
            gradient.iter_mut().for_each(|g| *g *= 255.0 * n as f32);
            for (x, gradient) in x.chunks_exact(size).zip(gradient.chunks_exact_mut(size)) {
                total_variation(x, self.side, self.prior.variation, gradient);
            }
            if let (Some(weight), Some((anchor, error))) = (self.prior.anchor, self.anchor) {
                let factor = 2.0 * weight / (error * size as f32);
                for ((gradient, x), anchor) in gradient.iter_mut().zip(x.iter()).zip(anchor) {
                    *gradient += factor * (x - anchor);
                }
            }
            if self.grey {
                average_colours(&mut gradient);
            }
            let rate = self.prior.rate * 0.5 * (1.0 + (PI * step as f32 / steps as f32).cos());
            let powers = [0.9f32, 0.999].map(|beta| 1.0 - beta.powi(step as i32 + 1));
            for (at, x) in x.iter_mut().enumerate() {
                if !self.is_content(at % size) {
                    *x = 0.0;
                    continue;
                }
                let g = gradient[at];
                first[at] = 0.9 * first[at] + 0.1 * g;
                second[at] = 0.999 * second[at] + 0.001 * g * g;
                let change = first[at] / powers[0] / ((second[at] / powers[1]).sqrt() + 1e-8);
                *x = (*x - rate * change).clamp(0.0, 1.0);
            }
        }
        Ok(())
    }

    fn is_content(&self, at: usize) -> bool {
        let (row, column) = (at / (3 * self.side), at / 3 % self.side);
        let Region { top, left, height, width } = self.content;
        (top..top + height).contains(&row) && (left..left + width).contains(&column)
    }

    fn preprocess(&self, x: &[f32], input: &mut [f32]) {
        for (input, x) in input.chunks_exact_mut(3).zip(x.chunks_exact(3)) {
            for ((input, x), mean) in input.iter_mut().zip(x).zip(self.mean) {
                *input = 255.0 * x - mean;
            }
        }
    }
}

/// Replaces each pixel's colours by their mean.
fn average_colours(values: &mut [f32]) {
    for pixel in values.chunks_exact_mut(3) {
        pixel.fill((pixel[0] + pixel[1] + pixel[2]) / 3.0);
    }
}

/// Adds `weight` times the gradient of the total variation of an image `[side, side, 3]`: the mean over its values of the absolute
/// differences to the value on the right and to that below.
fn total_variation(x: &[f32], side: usize, weight: f32, gradient: &mut [f32]) {
    let scale = 1.0 / x.len() as f32;
    for (step, last) in [(3, side - 1), (3 * side, side)] {
        for at in 0..x.len() - step {
            // The last column has nothing on its right.
            if step == 3 && at / 3 % side == last {
                continue;
            }
            let difference = x[at + step] - x[at];
            let absolute = (difference * difference + SMOOTH).sqrt();
            let slope = weight * scale * difference / absolute;
            gradient[at + step] += slope;
            gradient[at] -= slope;
        }
    }
}

impl Estimator for InversionAttack<'_> {
    fn name(&self) -> &'static str {
        "inversion"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let begin = std::time::Instant::now();
        let bench = self.laboratory.bench(request)?;
        let mut net = self.local_net(request, &bench)?;
        let side = self.laboratory.image_side();
        let size = side * side * 3;
        let (count, tried) = (bench.scored.count, TRIED_ON.min(bench.validation.count));
        let originals = &bench.validation_images()[..tried * size];
        let anchors = self.start.and_then(|start| {
            let validation = start.validation.get(..tried * size)?;
            // Validation images first, so that their progress can be watched.
            let both = [validation, start.scored.get(..count * size)?].concat();
            let squares: f32 = validation.iter().zip(originals).map(|(x, y)| (x.clamp(0.0, 1.0) - y).powi(2)).sum();
            Some((both, (squares / originals.len() as f32).max(1e-6)))
        });
        let anchor = |n: usize| anchors.as_ref().map(|(images, error)| (&images[..n * size], *error));
        let priors: Vec<Prior> =
            PRIORS.into_iter().filter(|prior| prior.anchor.is_none() || anchors.is_some()).collect();
        // Parts of the whole in units of an image's steps, if the descent goes on as long as it may.
        let descent = (self.descent.longest() * (tried + count)) as f64;
        let trial = (self.descent.steps * tried) as f64;
        let total = priors.len() as f64 * trial + descent;
        let tell = |before: f64, now: f64| watch.tell(self.name(), (before + now) / total);

        let mut seen = self.features(&bench, &bench.validation, tried)?;
        let validated = seen.clone();
        let mut search = Search {
            net: &mut net,
            request,
            seen: &validated,
            mean: self.laboratory.backbone().architecture().preprocess().mean,
            side,
            content: self.laboratory.content(),
            grey: bench.training.are_grey(),
            prior: PRIORS[0],
            anchor: anchor(tried),
        };
        let mut best = (f64::NEG_INFINITY, PRIORS[0]);
        for (number, &prior) in priors.iter().enumerate() {
            search.prior = prior;
            let mut x = search.start(tried);
            search.cycle(&mut x, self.descent.steps, &|share| tell(number as f64 * trial, share * trial))?;
            let psnr = mean_psnr(&x, originals, self.laboratory)?;
            if psnr > best.0 {
                best = (psnr, prior);
            }
        }

        seen.extend(self.features(&bench, &bench.scored, count)?);
        search = Search { seen: &seen, prior: best.1, anchor: anchor(tried + count), ..search };
        let mut x = search.start(tried + count);
        let mut found = x.clone();
        let mut curve = LearningCurve::new(FLAT_DB);
        curve.push(mean_psnr(&x[..tried * size], originals, self.laboratory)?);
        let (mut done, longest) = (0, self.descent.longest());
        while done < longest && !curve.is_flat() {
            let steps = done.max(self.descent.steps);
            let before = priors.len() as f64 * trial;
            let part = |share: f64| (done as f64 + share * steps as f64) / longest as f64;
            search.cycle(&mut x, steps, &|share| tell(before, part(share) * descent))?;
            done += steps;
            if curve.push(mean_psnr(&x[..tried * size], originals, self.laboratory)?) {
                found.copy_from_slice(&x);
            }
        }
        // A descent that gains nothing on the decoder has ended, too.
        let left = if curve.is_flat() { Some(curve.left_to_gain().unwrap_or(0.0)) } else { curve.left_to_gain() };
        let reconstructions =
            Reconstructions { validation: found[..tried * size].to_vec(), scored: found[tried * size..].to_vec() };
        let originals = bench.scored_images();
        let scores = Scores::new(&reconstructions.scored, &originals, self.laboratory)?;
        let mut measurements = scores.rows(request, bench.scored_labels())?;
        measurements.push(request.row(Metric::AttackConverged, f64::from(u8::from(left.is_some())), 0.0, 1));
        if let (Some(left), Some(mean)) = (left, measurements.iter().find(|row| row.metric == Metric::PsnrMean)) {
            let (value, std_error, n) = (mean.value + left, mean.std_error, mean.n as usize);
            measurements.push(request.row(Metric::PsnrMeanExtended, value, std_error, n));
        }
        let seconds = begin.elapsed().as_secs_f64();
        measurements.iter_mut().for_each(|row| row.seconds = seconds);
        let gallery = Some(Gallery::pick(&scores, &reconstructions.scored, &originals, self.laboratory));
        Ok(Estimate { measurements, gallery, cloud_net: None, reconstructions: Some(reconstructions) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The total variation itself.
    fn variation(x: &[f32], side: usize) -> f64 {
        let absolute = |a: f32, b: f32| f64::from(((a - b).powi(2) + SMOOTH).sqrt());
        let across = (0..x.len() - 3).filter(|at| at / 3 % side != side - 1).map(|at| absolute(x[at + 3], x[at]));
        let down = (0..x.len() - 3 * side).map(|at| absolute(x[at + 3 * side], x[at]));
        across.chain(down).sum::<f64>() / x.len() as f64
    }

    #[test]
    fn total_variation_by_hand_and_its_gradient() {
        // 2×2 pixels: left column 0, right column 1, so that two differences across are 1 for each colour.
        let x = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        assert!((variation(&x, 2) - 0.5).abs() < 1e-3);
        let mut gradient = [0.0; 12];
        total_variation(&x, 2, 1.0, &mut gradient);
        assert!((gradient[3] - 1.0 / 12.0).abs() < 1e-4 && (gradient[0] + 1.0 / 12.0).abs() < 1e-4);
        let x: Vec<f32> = (0..48).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut gradient = vec![0.0; 48];
        total_variation(&x, 4, 0.3, &mut gradient);
        for at in 0..48 {
            let shifted = |by: f32| {
                let mut x = x.clone();
                x[at] += by;
                variation(&x, 4)
            };
            let difference = 0.3 * (shifted(1e-3) - shifted(-1e-3)) / 2e-3;
            assert!((difference - f64::from(gradient[at])).abs() < 1e-4, "{at}");
        }
    }
}
