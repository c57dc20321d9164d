//! The shadow attack: query-free, by an attacker without a single pair.
//!
//! Threat model: the attacker is the cloud. He has the trained cloud net, the features that users uploaded, and labelled images of
//! his own of the same kind; neither the local net nor any image that belongs to a feature. He trains a *shadow* of the local net
//! such that the frozen cloud net classifies its features of his own images, and that these have each channel's mean and
//! variance as the uploaded ones have; then a decoder on the shadow's features, which he applies to the users' (He, Zhang and
//! Lee, *Model inversion attacks against collaborative inference*, 2019, query-free setting; they invert the shadow by gradient
//! descent, a decoder does the same in one step).
//!
//! The shadow is chosen without a look at the truth. Many local nets serve one cloud net, so that the attack is weak, and its
//! weakness is no promise: a real attacker needs only a few pairs to do far better.

use crate::estimate::attack::scores::Scores;
use crate::estimate::bench::Bench;
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{
    CloudAccuracy, CloudNet, Estimate, EstimateError, Estimator, Gallery, Reconstructions, Request, Watch,
};
use crate::nn::{
    self, BuildOptions, Dataset, FitOptions, Inverse, Layer, NetSpec, Network, NnError, Param, Params, Schedule, Shape,
    Target, Targets,
};

/// Passes of the shadow over the attacker's images, images a step, peak of the learning rate.
const EPOCHS: usize = 10;
const BATCH: usize = 64;
const RATE: f32 = 2e-3;

/// Weight of the differences in channels' moments beside the classification loss.
const MOMENTS: f32 = 0.1;

/// Trains a shadow of the local net, and a decoder on it.
#[derive(Debug)]
pub struct ShadowAttack<'a> {
    laboratory: &'a Laboratory,
}

impl<'a> ShadowAttack<'a> {
    /// An attack on `laboratory`'s images and features.
    pub fn new(laboratory: &'a Laboratory) -> Self {
        Self { laboratory }
    }

    /// The cloud net as the cloud trained it.
    fn cloud_net(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Option<CloudNet>, EstimateError> {
        Ok(CloudAccuracy::new(self.laboratory).estimate(request, watch)?.cloud_net)
    }
}

/// The shadow from an image to standardised features: a convolution, per halving a max-pool and a convolution, and one more.
fn shadow_net(features: Shape, image_side: usize) -> NetSpec {
    const WIDTH: usize = 32;
    let conv = |input, output, relu| Layer::Conv3x3 { input, output, relu };
    let mut layers = vec![conv(3, WIDTH, true)];
    let (mut width, mut side) = (WIDTH, image_side);
    while side > features.height {
        layers.extend([Layer::MaxPool2, conv(width, 2 * width, true)]);
        (width, side) = (2 * width, side / 2);
    }
    layers.extend([conv(width, width, true), conv(width, features.channels, false)]);
    NetSpec { input: Shape::new(image_side, image_side, 3), layers }
}

/// A net without its dropout, for use as it is.
fn without_dropout(spec: &NetSpec, params: &Params) -> (NetSpec, Params) {
    let keeps = |layer: &&Layer| !matches!(layer, Layer::Dropout { .. });
    let spec = NetSpec { input: spec.input, layers: spec.layers.iter().filter(keeps).copied().collect() };
    // Parameters are named by their layers' numbers.
    let names = spec.param_shapes().into_iter().map(|shape| shape.name);
    let params = names.zip(&params.0).map(|(name, param)| Param { name, ..param.clone() }).collect();
    (spec, Params(params))
}

/// The attacker's images as the shadow sees them.
fn scaled(pixels: &[f32]) -> Vec<f32> {
    pixels.iter().map(|value| 4.0 * value - 2.0).collect()
}

/// Adds `weight` times the gradient of Σ over channels of (mean² + (variance − 1)²) / channels: how far a batch of features is
/// from standardised ones.
fn match_moments(features: &[f32], channels: usize, weight: f32, gradient: &mut [f32]) {
    let count = (features.len() / channels) as f32;
    let (mut mean, mut square) = (vec![0.0f32; channels], vec![0.0f32; channels]);
    for position in features.chunks_exact(channels) {
        for ((value, mean), square) in position.iter().zip(&mut mean).zip(&mut square) {
            *mean += value / count;
            *square += value * value / count;
        }
    }
    for (gradient, features) in gradient.chunks_exact_mut(channels).zip(features.chunks_exact(channels)) {
        for (channel, (gradient, value)) in gradient.iter_mut().zip(features).enumerate() {
            let excess = square[channel] - mean[channel] * mean[channel] - 1.0;
            let slope = 2.0 * mean[channel] + 4.0 * excess * (value - mean[channel]);
            *gradient += weight * slope / (count * channels as f32);
        }
    }
}

/// The shadow's features with the images that they are of.
struct ShadowPairs {
    features: Vec<f32>,
    images: Vec<f32>,
    sizes: [usize; 2],
}

impl Dataset for ShadowPairs {
    fn len(&self) -> usize {
        self.features.len() / self.sizes[0]
    }

    fn features(&self, rows: &[usize], out: &mut [f32]) -> Result<(), NnError> {
        let size = self.sizes[0];
        for (out, &row) in out.chunks_exact_mut(size).zip(rows) {
            out.copy_from_slice(&self.features[row * size..(row + 1) * size]);
        }
        Ok(())
    }

    fn targets(&self, rows: &[usize], out: &mut Targets) {
        let size = self.sizes[1];
        let images = out.images();
        for &row in rows {
            images.extend_from_slice(&self.images[row * size..(row + 1) * size]);
        }
    }
}

/// What the attacker trains with.
struct Attempt<'a> {
    request: &'a Request<'a>,
    bench: &'a Bench<'a>,
    image_side: usize,
}

impl Attempt<'_> {
    fn failed(&self, source: NnError) -> EstimateError {
        EstimateError::Training { what: "the shadow attack", design: self.request.design.id().to_string(), source }
    }

    fn build(&self, spec: &NetSpec, purpose: &str) -> Result<Box<dyn Network>, EstimateError> {
        let seed = self.request.stream(purpose);
        let options = BuildOptions { device: self.bench.device, dropout_seed: seed, ..BuildOptions::default() };
        nn::build(spec, &nn::initialise(spec, seed), &options).map_err(|source| self.failed(source))
    }

    /// A shadow that the frozen `cloud` classifies images by.
    fn shadow(
        &self,
        cloud: &mut Inverse,
        tell: &dyn Fn(f64) -> Result<(), EstimateError>,
    ) -> Result<Box<dyn Network>, EstimateError> {
        let failed = |source| self.failed(source);
        let features = self.bench.input();
        let mut shadow = self.build(&shadow_net(features, self.image_side), "shadow")?;
        let images = scaled(&self.bench.training.images_of(self.bench.training.count));
        let labels = self.bench.training.images.labels();
        let (size, count) = (shadow.spec().input.len(), self.bench.training.count);
        let mut order: Vec<usize> = (0..count).collect();
        let steps = (EPOCHS * count.div_ceil(BATCH)) as u64;
        let schedule = Schedule::OneCycle { peak: RATE };
        let (mut x, mut y) = (Vec::new(), Vec::new());
        let (mut output, mut gradient) = (Vec::new(), Vec::new());
        let mut step = 0;
        for epoch in 0..EPOCHS {
            nn::shuffle_rows(&mut order, self.request.stream("shadow order"), epoch as u32);
            for rows in order.chunks(BATCH) {
                tell(step as f64 / steps as f64)?;
                x.clear();
                y.clear();
                for &row in rows {
                    x.extend_from_slice(&images[row * size..(row + 1) * size]);
                    y.push(u32::from(labels[row]));
                }
                shadow.predict(&x, rows.len(), &mut output).map_err(failed)?;
                cloud.differentiate(&output, rows.len(), Target::Labels(&y), &mut gradient).map_err(failed)?;
                match_moments(&output, features.channels, MOMENTS, &mut gradient);
                // The squared error's gradient is 2 (output − target) / values: the target that makes it the gradient.
                let half = 0.5 * output.len() as f32;
                output.iter_mut().zip(&gradient).for_each(|(output, gradient)| *output -= half * gradient);
                let at = schedule.at(step, steps);
                shadow.train_step(&x, rows.len(), Target::Images(&output), at).map_err(failed)?;
                step += 1;
            }
        }
        Ok(shadow)
    }

    /// Images of the attacker's own with the shadow's features of them.
    fn pairs(&self, shadow: &mut dyn Network, images: Vec<f32>) -> Result<ShadowPairs, EstimateError> {
        let sizes = [self.bench.input().len(), shadow.spec().input.len()];
        let mut features = Vec::new();
        let n = images.len() / sizes[1];
        shadow.predict(&scaled(&images), n, &mut features).map_err(|source| self.failed(source))?;
        Ok(ShadowPairs { features, images, sizes })
    }
}

impl Estimator for ShadowAttack<'_> {
    fn name(&self) -> &'static str {
        "shadow attack"
    }

    /// No figures where the protocol keeps no cloud net.
    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let start = std::time::Instant::now();
        let Some(cloud) = self.cloud_net(request, watch)? else {
            return Ok(Estimate::default());
        };
        let bench = self.laboratory.bench(request)?;
        let attempt = Attempt { request, bench: &bench, image_side: self.laboratory.image_side() };
        let failed = |source| attempt.failed(source);
        let spec = NetSpec::reference_classifier(bench.input(), self.laboratory.classes()).map_err(failed)?;
        let (spec, params) = without_dropout(&spec, &cloud.params);
        let mut cloud = Inverse::new(&spec, &params, bench.device).map_err(failed)?;
        let mut shadow = attempt.shadow(&mut cloud, &|done| watch.tell(self.name(), 0.5 * done))?;

        let train = attempt.pairs(shadow.as_mut(), bench.training.images_of(bench.training.count))?;
        let validation = attempt.pairs(shadow.as_mut(), bench.validation_images())?;
        let spec = NetSpec::reference_decoder(bench.input(), attempt.image_side).map_err(failed)?;
        let mut decoder = attempt.build(&spec, "shadow decoder")?;
        let training = request.protocol.attack;
        let options = FitOptions {
            epochs: training.cycles().iter().sum::<usize>() as u32,
            batch: training.batch,
            schedule: Schedule::OneCycle { peak: training.peak_rate },
            seed: request.stream("shadow decoder order"),
            average: None,
            flips: false,
            patience: None,
        };
        let report = nn::fit(decoder.as_mut(), &train, Some(&validation), &options, &mut |p| {
            watch.progress(self.name(), 0.5 + 0.5 * p.step as f64 / p.steps.max(1) as f64)
        })
        .map_err(failed)?;
        if report.stop == nn::Stop::Interrupted {
            return Err(EstimateError::Interrupted);
        }
        let scored = bench.predict(decoder.as_mut())?;
        let originals = bench.scored_images();
        let scores = Scores::new(&scored, &originals, self.laboratory)?;
        let mut measurements = scores.rows(request, bench.scored_labels())?;
        let seconds = start.elapsed().as_secs_f64();
        measurements.iter_mut().for_each(|row| row.seconds = seconds);
        let gallery = Some(Gallery::pick(&scores, &scored, &originals, self.laboratory));
        let reconstructions = Some(Reconstructions { scored, validation: Vec::new() });
        Ok(Estimate { measurements, gallery, reconstructions, ..Estimate::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shadow_has_the_features_shape() {
        for (side, channels) in [(32, 5), (16, 7), (8, 16), (4, 3)] {
            let spec = shadow_net(Shape::new(side, side, channels), 32);
            assert_eq!(spec.output().unwrap(), Shape::new(side, side, channels));
        }
    }

    #[test]
    fn dropout_leaves_a_net_with_its_weights() {
        let spec = NetSpec::reference_classifier(Shape::new(8, 8, 2), 4).unwrap();
        let params = nn::initialise(&spec, 7);
        let (frozen, renamed) = without_dropout(&spec, &params);
        renamed.check(&frozen).unwrap();
        assert_eq!(frozen.layers.len() + 1, spec.layers.len());
        let predict = |spec: &NetSpec, params: &Params| {
            let mut out = Vec::new();
            let x: Vec<f32> = (0..3 * 128).map(|i| (i as f32 * 0.7).sin()).collect();
            nn::build(spec, params, &BuildOptions::default()).unwrap().predict(&x, 3, &mut out).unwrap();
            out
        };
        assert_eq!(predict(&frozen, &renamed), predict(&spec, &params));
    }

    #[test]
    fn moments_are_matched_along_their_gradient() {
        let features: Vec<f32> = (0..60).map(|i| 1.5 * (i as f32 * 1.7).sin() + (i % 3) as f32).collect();
        let loss = |features: &[f32]| {
            let of = |channel: usize| {
                let values: Vec<f64> = features.iter().skip(channel).step_by(3).map(|&v| f64::from(v)).collect();
                let mean = values.iter().sum::<f64>() / 20.0;
                let variance = values.iter().map(|v| v * v).sum::<f64>() / 20.0 - mean * mean;
                mean * mean + (variance - 1.0) * (variance - 1.0)
            };
            (0..3).map(of).sum::<f64>() / 3.0
        };
        let mut gradient = vec![0.0; 60];
        match_moments(&features, 3, 1.0, &mut gradient);
        for at in [0, 7, 29, 59] {
            let moved = |by: f32| {
                let mut features = features.clone();
                features[at] += by;
                loss(&features)
            };
            let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((difference - f64::from(gradient[at])).abs() < 1e-3 * difference.abs().max(0.1), "{at}");
        }
    }
}
