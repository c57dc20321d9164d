//! The decoder attack: a net trained on (feature, image) pairs reconstructs images that it never saw.
//!
//! Threat model: the attacker holds the training part's images with their features, and knows which channels
//! the features are. An under-trained decoder would make a design look private, so verification trains in
//! cycles that double the total training, scores the attacker's own validation images after each, and extends
//! that learning curve to sixteen times the training: see [`super::curve`]. All cycles but the first minimise the
//! logarithm of each image's error, for an attacker aims at the figure that is bounded.

use std::ops::ControlFlow;

use crate::estimate::attack::curves::Curves;
use crate::estimate::attack::scores::{Scores, mean_psnr};
use crate::estimate::bench::{Aim, Bench};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Floors, Gallery, Reconstructions, Request, Watch};
use crate::measurement::{Measurement, Metric};
use crate::nn::{Network, NnError};
use crate::protocol::{ImageLoss, ScoredPart, Training};

/// By how much (dB) a decoder's first cycle must beat the best constant image on validation images, or it is begun again.
const GOING_DB: f64 = 0.5;

/// Other cycles whose reconstructions are kept, for the ensemble: their decoders err otherwise (Huang et al., *Snapshot
/// ensembles*, 2017). More gain 0.01 dB, and take memory.
const SNAPSHOTS: usize = 1;

/// How often it is begun again, from other weights and at half the rate.
const RESTARTS: usize = 2;

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

    /// A decoder after its first cycle of `training`, whose rate is halved where it had to begin again: a deep decoder may
    /// get stuck at once, and make a design look private that isn't.
    fn begin(
        &self,
        bench: &Bench<'_>,
        request: &Request<'_>,
        training: &mut Training,
        tell: &mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Result<Box<dyn Network>, EstimateError> {
        let failed = |source| training_failed(request, source);
        let spec = request.protocol.decoder.spec(bench.input(), self.laboratory.image_side()).map_err(failed)?;
        let nothing = Floors::of(bench.validation.images)?.best_constant;
        let mut net = bench.build(&spec, request.stream(self.name())).map_err(failed)?;
        for restarts in 0.. {
            let order = request.stream("decoder order");
            bench.train(
                net.as_mut(),
                Aim::Images(ImageLoss::SquaredError),
                training.cycle(training.epochs),
                order,
                tell,
            )?;
            if restarts == RESTARTS || !training.validated {
                break;
            }
            let predicted = bench.predict_validation(net.as_mut())?;
            if mean_psnr(&predicted, &bench.validation_images(), self.laboratory)? >= nothing + GOING_DB {
                break;
            }
            training.peak_rate /= 2.0;
            let stream = request.stream(&format!("decoder, begun again {}", restarts + 1));
            net = bench.build(&spec, stream).map_err(failed)?;
        }
        Ok(net)
    }

    /// Trains a decoder, cycle after cycle.
    fn train(&self, bench: &Bench<'_>, request: &Request<'_>, watch: &dyn Watch) -> Result<Attack, EstimateError> {
        let failed = |source| training_failed(request, source);
        let mut training = request.protocol.attack;
        let seed = request.stream("decoder order");
        let cycles = training.cycles();
        let total: usize = cycles.iter().sum();
        let (originals, labels) = (bench.scored_images(), bench.scored_labels());
        let mut before = 0;
        let mut attack = Attack::default();
        let mut best = None;
        let mut net = self.begin(bench, request, &mut training, &mut |done| {
            watch.progress("decoder", done * cycles[0] as f64 / total as f64)
        })?;
        for (number, &epochs) in cycles.iter().enumerate() {
            if number > 0 {
                let (aim, seed) = (Aim::Images(request.protocol.refinement), seed.wrapping_add(number as u64));
                bench.train(net.as_mut(), aim, training.cycle(epochs), seed, &mut |done| {
                    watch.progress("decoder", (before as f64 + done * epochs as f64) / total as f64)
                })?;
            }
            before += epochs;
            let reconstructions = bench.predict(net.as_mut())?;
            let scores = Scores::new(&reconstructions, &originals, self.laboratory)?;
            let gallery = || Gallery::pick(&scores, &reconstructions, &originals, self.laboratory);
            if !training.validated {
                let (rows, gallery) = (scores.rows(request, labels)?, Some(gallery()));
                // In a search the scored images are the validation images.
                let known = request.protocol.scored_part == ScoredPart::Validation;
                let validation = if known { reconstructions.clone() } else { Vec::new() };
                let reconstructions = Reconstructions { scored: reconstructions, validation };
                return Ok(Attack { rows, gallery, reconstructions, ..Attack::default() });
            }
            let predicted = bench.predict_validation(net.as_mut())?;
            let validation = Scores::new(&predicted, &bench.validation_images(), self.laboratory)?;
            let leading = request.protocol.refinement.leading();
            let curves = attack.curves.get_or_insert_with(|| Curves::new(leading));
            let improved = curves.push(&validation)?;
            // On the scored images as well, or the verdict would have no reason. They can only refute here.
            let limit = request.verifying.and_then(|verifying| verifying.settled_above);
            curves.settled = limit.is_some_and(|limit| curves.is_above(limit) && scores.mean() > limit);
            let ended = curves.settled || curves.lead().is_flat();
            // An attacker keeps, for each figure, the best decoder that he ever had.
            let snapshot = match (improved.contains(&leading), &best) {
                // A cycle that went astray is no place to go on from.
                (false, Some(best)) => {
                    net.set_params(best).map_err(failed)?;
                    Reconstructions { scored: reconstructions, validation: predicted }
                }
                _ => {
                    attack.gallery = Some(gallery());
                    best = Some(net.params().map_err(failed)?);
                    let new = Reconstructions { scored: reconstructions, validation: predicted };
                    std::mem::replace(&mut attack.reconstructions, new)
                }
            };
            if number > 0 {
                attack.snapshots.push(snapshot);
                let surplus = attack.snapshots.len().saturating_sub(SNAPSHOTS);
                attack.snapshots.drain(..surplus);
            }
            let better = |row: &Measurement| improved.contains(&judged_by(row.metric));
            for row in scores.rows(request, labels)?.into_iter().filter(better) {
                attack.rows.retain(|old| old.metric != row.metric);
                attack.rows.push(row);
            }
            if ended {
                break;
            }
        }
        Ok(attack)
    }
}

/// The metric of the learning curve that tells which cycle's figure counts.
fn judged_by(metric: Metric) -> Metric {
    match metric {
        Metric::PsnrP95 | Metric::PsnrP95Upper | Metric::PsnrMax => Metric::PsnrP95,
        Metric::SsimMean => Metric::SsimMean,
        _ => Metric::PsnrMean,
    }
}

/// What a decoder recovered.
#[derive(Default)]
struct Attack {
    rows: Vec<Measurement>,
    gallery: Option<Gallery>,
    /// Of a validated training.
    curves: Option<Curves>,
    /// By the decoder that the gallery shows.
    reconstructions: Reconstructions,
    /// By that of the latest other cycle.
    snapshots: Vec<Reconstructions>,
}

fn training_failed(request: &Request<'_>, source: NnError) -> EstimateError {
    EstimateError::Training { what: "the decoder", design: request.design.id().to_string(), source }
}

impl Estimator for DecoderAttack<'_> {
    fn name(&self) -> &'static str {
        "decoder"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let start = std::time::Instant::now();
        let bench = self.laboratory.bench(request)?;
        let Attack { rows: mut measurements, gallery, curves, reconstructions, snapshots } =
            self.train(&bench, request, watch)?;
        if let Some(curves) = curves {
            measurements.extend(curves.rows(request, &measurements));
        }
        let seconds = start.elapsed().as_secs_f64();
        measurements.iter_mut().for_each(|row| row.seconds = seconds);
        Ok(Estimate { measurements, gallery, cloud_net: None, reconstructions: Some(reconstructions), snapshots })
    }
}
