//! White-box inversion: the image whose features are those that were seen, sought by gradient descent.
//!
//! Threat model: the attacker knows the local net, weights and all. He needs no pairs to descend; he has some all the same to
//! choose the weight of the prior by (validation images), and starts from his decoder's output too, where he has one.
//!
//! For features z, standardised by the training images' spread so that an uninformed guess has a loss of about 1, Adam
//! minimises `mean (f(x) − z)² + λ TV(x)` over images x in [0, 1] (Mahendran and Vedaldi, *Understanding deep image
//! representations by inverting them*, 2015; He et al. 2019), TV being the mean of the absolute differences between neighbouring
//! pixels. The learning rate falls like a cosine; cycles that double the steps go on until the objective stands still. Of an
//! image's starts the one that ends at the lower loss of features counts.

use std::f32::consts::PI;
use std::ops::ControlFlow;

use crate::backbone::LocalNet;
use crate::data::Region;
use crate::estimate::attack::scores::{Scores, mean_psnr};
use crate::estimate::bench::{Bench, Pairs};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Gallery, Request, Watch};
use crate::measurement::Metric;
use crate::nn::{Inverse, NnError, Target};

/// Weights of the prior that are tried.
const PRIORS: [f32; 4] = [0.002, 0.01, 0.05, 0.25];

/// Validation images that they are tried on.
const TRIED_ON: usize = 16;

/// Peak of Adam's step, in units of the pixels' range.
const RATE: f32 = 0.05;

/// A cycle that lowers the objective by less than this share ends the descent.
const STANDS_STILL: f64 = 0.02;

/// Inside the root that makes the absolute value smooth.
const SMOOTH: f32 = 1e-6;

/// How long the descent may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descent {
    /// Steps of the first cycle, and of each trial of a prior.
    pub steps: usize,
    /// How often all steps so far may be doubled by a further cycle.
    pub doublings: usize,
}

impl Descent {
    /// Steps of all cycles.
    fn longest(self) -> usize {
        self.steps << self.doublings
    }
}

/// Inverts the local net on the scored images.
#[derive(Debug)]
pub struct InversionAttack<'a> {
    laboratory: &'a Laboratory,
    descent: Descent,
    /// Reconstructions of the scored images to start from, beside grey.
    start: Option<&'a [f32]>,
}

impl<'a> InversionAttack<'a> {
    /// An attack on `laboratory`'s images and features; `start` are a decoder's reconstructions of the scored images.
    pub fn new(laboratory: &'a Laboratory, descent: Descent, start: Option<&'a [f32]>) -> Self {
        Self { laboratory, descent, start }
    }

    /// The local net with outputs of the training features' spread.
    fn local_net(&self, request: &Request<'_>, bench: &Bench<'_>) -> Result<Inverse, EstimateError> {
        let failed = |source| failed(request, source);
        let backbone = self.laboratory.backbone();
        let layer = *backbone.layer(&request.design.split).map_err(crate::features::FeatureError::from)?;
        let mut net = LocalNet::new(backbone, &layer, &request.design.channels, self.laboratory.image_side());
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
    prior: f32,
}

/// Told what share of a descent is done; may end it.
type Tell<'a> = dyn Fn(f64) -> Result<(), EstimateError> + 'a;

impl Search<'_> {
    /// Follows the gradient from `x`, cycle by cycle, until the objective stands still; returns whether it does.
    fn descend(&mut self, x: &mut [f32], descent: Descent, tell: &Tell<'_>) -> Result<bool, EstimateError> {
        let longest = descent.longest();
        let (mut done, mut objective, mut still) = (0, f64::INFINITY, false);
        while !still && done < longest {
            let steps = done.max(descent.steps);
            let found = self.cycle(x, steps, &|share| tell((done as f64 + share * steps as f64) / longest as f64))?;
            done += steps;
            still = found > (1.0 - STANDS_STILL) * objective;
            objective = found.min(objective);
        }
        Ok(still)
    }

    /// Follows the gradient from `x` for `steps` steps; returns the objective where it ended, mean over images.
    fn cycle(&mut self, x: &mut [f32], steps: usize, tell: &Tell<'_>) -> Result<f64, EstimateError> {
        let size = self.side * self.side * 3;
        let n = x.len() / size;
        let (mut first, mut second) = (vec![0.0f32; x.len()], vec![0.0f32; x.len()]);
        let (mut input, mut gradient) = (vec![0.0; x.len()], Vec::new());
        for step in 0..=steps {
            tell(step as f64 / steps as f64)?;
            self.preprocess(x, &mut input);
            let loss = self.net.differentiate(&input, n, Target::Images(self.seen), &mut gradient);
            let loss = loss.map_err(|error| failed(self.request, error))?;
            // From the mean over images of the net's input to each image's pixels.
            gradient.iter_mut().for_each(|g| *g *= 255.0 * n as f32);
            let mut variation = 0.0;
            for (x, gradient) in x.chunks_exact(size).zip(gradient.chunks_exact_mut(size)) {
                variation += total_variation(x, self.side, self.prior, gradient);
            }
            if step == steps {
                return Ok(f64::from(loss) + f64::from(self.prior) * variation / n as f64);
            }
            let rate = RATE * 0.5 * (1.0 + (PI * step as f32 / steps as f32).cos());
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
        Ok(f64::NAN)
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

    /// The loss of features of every image.
    fn losses(&mut self, x: &[f32]) -> Result<Vec<f64>, EstimateError> {
        let size = self.side * self.side * 3;
        let features = self.seen.len() / (x.len() / size);
        let (mut input, mut unused) = (vec![0.0; size], Vec::new());
        let mut losses = Vec::with_capacity(x.len() / size);
        for (x, seen) in x.chunks_exact(size).zip(self.seen.chunks_exact(features)) {
            self.preprocess(x, &mut input);
            let loss = self.net.differentiate(&input, 1, Target::Images(seen), &mut unused);
            losses.push(f64::from(loss.map_err(|error| failed(self.request, error))?));
        }
        Ok(losses)
    }
}

/// The total variation of an image `[side, side, 3]`: mean over its values of the absolute differences to the value on the
/// right and to that below. Its gradient times `weight` is added.
fn total_variation(x: &[f32], side: usize, weight: f32, gradient: &mut [f32]) -> f64 {
    let scale = 1.0 / x.len() as f32;
    let mut sum = 0.0;
    for (step, last) in [(3, side - 1), (3 * side, side)] {
        for at in 0..x.len() - step {
            // The last column has nothing on its right.
            if step == 3 && at / 3 % side == last {
                continue;
            }
            let difference = x[at + step] - x[at];
            let absolute = (difference * difference + SMOOTH).sqrt();
            sum += f64::from(absolute);
            let slope = weight * scale * difference / absolute;
            gradient[at + step] += slope;
            gradient[at] -= slope;
        }
    }
    sum * f64::from(scale)
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
        let starts: Vec<Option<&[f32]>> = [Some(None), self.start.map(Some)].into_iter().flatten().collect();
        // Parts of the whole in units of an image's steps, if every descent goes on as long as it may.
        let descent = (self.descent.longest() * count) as f64;
        let trial = (self.descent.steps * tried) as f64;
        let total = PRIORS.len() as f64 * trial + starts.len() as f64 * descent;
        let tell = |before: f64, now: f64| match watch.progress(self.name(), (before + now) / total) {
            ControlFlow::Break(()) => Err(EstimateError::Interrupted),
            ControlFlow::Continue(()) => Ok(()),
        };

        let seen = self.features(&bench, &bench.validation, tried)?;
        let mut search = Search {
            net: &mut net,
            request,
            seen: &seen,
            mean: self.laboratory.backbone().architecture().preprocess().mean,
            side,
            content: self.laboratory.content(),
            prior: 0.0,
        };
        // The prior that serves the validation images best.
        let originals = &bench.validation_images()[..tried * size];
        let mut best = (f64::NEG_INFINITY, 0.0);
        for (number, prior) in PRIORS.into_iter().enumerate() {
            let mut x = vec![0.5; tried * size];
            search.prior = prior;
            search.cycle(&mut x, self.descent.steps, &|share| tell(number as f64 * trial, share * trial))?;
            let psnr = mean_psnr(&x, originals, self.laboratory)?;
            if psnr > best.0 {
                best = (psnr, prior);
            }
        }

        let seen = self.features(&bench, &bench.scored, count)?;
        search = Search { seen: &seen, prior: best.1, ..search };
        let mut found: Option<(Vec<f32>, Vec<f64>)> = None;
        let mut converged = true;
        for (number, start) in starts.iter().enumerate() {
            let before = PRIORS.len() as f64 * trial + number as f64 * descent;
            let mut x = start.map_or_else(|| vec![0.5; count * size], |start| start[..count * size].to_vec());
            converged &= search.descend(&mut x, self.descent, &|share| tell(before, share * descent))?;
            let losses = search.losses(&x)?;
            let Some((reconstructions, least)) = &mut found else {
                found = Some((x, losses));
                continue;
            };
            for (image, loss) in losses.into_iter().enumerate() {
                if loss < least[image] {
                    least[image] = loss;
                    let part = image * size..(image + 1) * size;
                    reconstructions[part.clone()].copy_from_slice(&x[part]);
                }
            }
        }
        let reconstructions = found.map(|(reconstructions, _)| reconstructions).unwrap_or_default();
        let originals = bench.scored_images();
        let scores = Scores::new(&reconstructions, &originals, self.laboratory)?;
        let mut measurements = scores.rows(request)?;
        measurements.push(request.row(Metric::AttackConverged, f64::from(u8::from(converged)), 0.0, 1));
        let seconds = begin.elapsed().as_secs_f64();
        measurements.iter_mut().for_each(|row| row.seconds = seconds);
        let gallery = Some(Gallery::pick(&scores, &reconstructions, &originals, self.laboratory));
        Ok(Estimate { measurements, gallery, cloud_net: None, reconstructions: Some(reconstructions) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_variation_by_hand_and_its_gradient() {
        // 2×2 pixels: left column 0, right column 1, so that two differences across are 1 for each colour.
        let x = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        let mut gradient = [0.0; 12];
        let found = total_variation(&x, 2, 1.0, &mut gradient);
        assert!((found - 0.5).abs() < 1e-3, "{found}");
        assert!((gradient[3] - 1.0 / 12.0).abs() < 1e-4 && (gradient[0] + 1.0 / 12.0).abs() < 1e-4);
        let x: Vec<f32> = (0..48).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut gradient = vec![0.0; 48];
        total_variation(&x, 4, 0.3, &mut gradient);
        for at in 0..48 {
            let shifted = |by: f32| {
                let mut x = x.clone();
                x[at] += by;
                total_variation(&x, 4, 0.3, &mut [0.0; 48])
            };
            let difference = 0.3 * (shifted(1e-3) - shifted(-1e-3)) / 2e-3;
            assert!((difference - f64::from(gradient[at])).abs() < 1e-4, "{at}");
        }
    }
}
