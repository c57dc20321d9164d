//! Protocols: how much data and training a measurement gets.
//!
//! A figure without its protocol means nothing: an attack trained for two epochs recovers less than one
//! trained for twenty. Every measurement therefore names its [`Fidelity`], and this table is the only place
//! that says what a fidelity is.

use crate::config::{Attacker, EffortLevel};
use crate::measurement::{Fidelity, Metric};
use crate::nn::{NetSpec, NnError, Shape};

/// Architecture of the attacker's decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderKind {
    /// The small net of the reference protocol, 32 channels wide.
    Reference,
    /// Residual trunk of `blocks` blocks, `width` channels wide.
    Strong {
        /// Channels of the trunk.
        width: usize,
        /// Residual blocks before the first pixel-shuffle.
        blocks: usize,
    },
}

impl DecoderKind {
    /// The net from features to images of `image_side`.
    ///
    /// # Errors
    /// As [`NetSpec::reference_decoder`].
    pub fn spec(self, features: Shape, image_side: usize) -> Result<NetSpec, NnError> {
        match self {
            Self::Reference => NetSpec::reference_decoder(features, image_side),
            Self::Strong { width, blocks } => NetSpec::strong_decoder(features, image_side, width, blocks),
        }
    }
}

/// What a decoder's training minimises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageLoss {
    /// Mean squared error over all pixels of all images: the usual one, and the PSNR of the pooled error.
    SquaredError,
    /// Logarithm of each image's mean squared error: the mean of the images' PSNR itself. It serves images that are
    /// recovered well, so the tail.
    LogSquaredError,
    /// Mean absolute error and a fifth of 1 − SSIM: for images that look right.
    Perceptual,
}

impl ImageLoss {
    /// The figure that a decoder trained so is best at.
    pub fn leading(self) -> Metric {
        match self {
            Self::SquaredError | Self::LogSquaredError => Metric::PsnrMean,
            Self::Perceptual => Metric::SsimMean,
        }
    }
}

/// One training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Training {
    /// Passes over the training images; of the first cycle, where there are doublings.
    pub epochs: usize,
    /// How often the total training may be doubled by a further cycle of the learning rate, until its curve is flat.
    pub doublings: usize,
    /// Images a step.
    pub batch: usize,
    /// Peak of the one-cycle learning rate.
    pub peak_rate: f32,
    /// Keep the weights of the epoch that is best on the validation part, and report convergence.
    pub validated: bool,
}

impl Training {
    /// Epochs of each cycle: every cycle but the first is as long as all before it together.
    pub fn cycles(&self) -> Vec<usize> {
        let mut cycles = vec![self.epochs];
        for _ in 0..self.doublings {
            cycles.push(cycles.iter().sum());
        }
        cycles
    }

    /// One cycle of `epochs`.
    pub fn cycle(&self, epochs: usize) -> Self {
        Self { epochs, doublings: 0, ..*self }
    }
}

/// The part of the images that a measurement's figures are over. No training saw either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoredPart {
    /// The validation part: for figures that choose between designs.
    Validation,
    /// The evaluation part, which nothing is ever chosen by: for claims.
    Evaluation,
}

/// What a measurement at one fidelity consists of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Protocol {
    /// Images of the training part that are used; all where `None`.
    pub training_images: Option<usize>,
    /// The part whose images are scored.
    pub scored_part: ScoredPart,
    /// How many of them; all where `None`.
    pub scored_images: Option<usize>,
    /// The attacker's decoder.
    pub decoder: DecoderKind,
    /// The decoder's training.
    pub attack: Training,
    /// What the decoder's cycles after the first minimise; the first, from which every decoder gets going, minimises the
    /// squared error.
    pub refinement: ImageLoss,
    /// The inversion of the local net, where the attacker knows it.
    pub inversion: Option<Inversion>,
    /// The cloud net's training.
    pub task: Training,
}

/// Images that a batch has at least, however often it is halved.
pub const SMALLEST_BATCH: usize = 8;

/// How far white-box inversion goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inversion {
    /// Scored images that are inverted.
    pub images: usize,
    /// The descent.
    pub descent: Descent,
}

/// How an inversion's prior and cycles are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// By trials on validation images, as an attacker would.
    Tried,
    /// One cycle of a weak prior, without trials: enough to tell designs whose features settle the image.
    Fixed,
}

/// The descent of white-box inversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descent {
    /// Steps of the first cycle, and of each trial of a prior.
    pub steps: usize,
    /// How often all steps so far may be doubled by a further cycle.
    pub doublings: usize,
    /// How its prior and its cycles are found.
    pub schedule: Schedule,
}

impl Descent {
    /// A descent whose prior and cycles are found by trials.
    pub const fn tried(steps: usize, doublings: usize) -> Self {
        Self { steps, doublings, schedule: Schedule::Tried }
    }

    /// Steps of all cycles.
    pub fn longest(self) -> usize {
        self.steps << self.doublings
    }
}

const fn inversion(images: usize, steps: usize, doublings: usize) -> Option<Inversion> {
    Some(Inversion { images, descent: Descent::tried(steps, doublings) })
}

/// What inversion would do, in seconds: for figures that choose between designs. A decoder alone makes the designs look alike whose
/// features settle the image and those that leave it open.
const SKETCH: Option<Inversion> =
    Some(Inversion { images: 8, descent: Descent { steps: 100, doublings: 0, schedule: Schedule::Fixed } });

const ALL: Option<usize> = None;

/// Bounds are on the mean and the tail of PSNR over images, which squared error alone doesn't aim at. At conv2_1 with 4
/// channels of Fashion-MNIST and 16 epochs, the logarithm brings 0.3 dB more in the mean and 1.0 dB in the 95th
/// percentile; but a decoder that starts with it may never learn anything.
const REFINEMENT: ImageLoss = ImageLoss::LogSquaredError;

const fn training(epochs: usize) -> Training {
    Training { epochs, doublings: 0, batch: 64, peak_rate: 2e-3, validated: false }
}

/// The same passes over the data in four times as many steps, at twice the rate: for trainings so short that steps
/// are what they lack. At conv3_3 with 16 channels, 1,500 Fashion-MNIST images and 4 epochs, the decoder's mean PSNR
/// is 17.9 dB so, and 15.0 dB with batches of 64.
const fn small_batches(training: Training) -> Training {
    Training { batch: 16, peak_rate: 4e-3, ..training }
}

/// Small batches for a deep decoder, at the lower rate that deep nets want.
const fn deep(training: Training) -> Training {
    Training { batch: 16, peak_rate: 2e-3, ..training }
}

/// A training watched on the validation part, doubled up to `doublings` times.
const fn watched(epochs: usize, doublings: usize) -> Training {
    Training { doublings, validated: true, ..training(epochs) }
}

/// What the work of a measurement depends on beside its protocol.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Workload {
    /// The uploaded features.
    pub features: Shape,
    /// Side of the images.
    pub image_side: usize,
    /// Number of classes.
    pub classes: usize,
    /// Images in the training part.
    pub training_images: usize,
    /// Multiply-accumulates of the local net per image.
    pub local_macs: u64,
}

impl Protocol {
    /// Multiply-accumulates of the longest that a measurement may take: the trainings of decoder and cloud net, forward and
    /// backward, and inversion. What takes its time in proportion, so that a measurement foretells others.
    ///
    /// # Errors
    /// As [`DecoderKind::spec`].
    pub fn work(&self, of: &Workload) -> Result<f64, NnError> {
        let images = self.training_images.map_or(of.training_images, |n| n.min(of.training_images)) as f64;
        let attack: usize = self.attack.cycles().iter().sum();
        let decoder = self.decoder.spec(of.features, of.image_side)?.macs_per_image()? as f64;
        let classifier = NetSpec::reference_classifier(of.features, of.classes)?.macs_per_image()? as f64;
        // Of an inversion all images take all steps; trials take about as many again.
        let passes = |inversion: Inversion| if inversion.descent.schedule == Schedule::Tried { 2 } else { 1 };
        let inversion = self.inversion.map_or(0, |i| passes(i) * i.images * i.descent.longest()) as f64;
        // Forward and backward are three times the forward pass; without gradients of weights, twice.
        Ok(3.0 * images * (attack as f64 * decoder + self.task.epochs as f64 * classifier)
            + 2.0 * inversion * of.local_macs as f64)
    }

    /// The same with batches halved so many times, to no fewer than [`SMALLEST_BATCH`] images: for devices whose memory does not
    /// suffice. Smaller batches take more steps, so the trainings are no shorter.
    #[must_use]
    pub fn in_smaller_batches(self, halvings: u32) -> Self {
        let smaller = |training: Training| Training {
            batch: (training.batch >> halvings.min(usize::BITS - 1)).max(SMALLEST_BATCH.min(training.batch)),
            ..training
        };
        Self { attack: smaller(self.attack), task: smaller(self.task), ..self }
    }

    /// What of it an attacker can do.
    pub fn within(self, attacker: Attacker) -> Self {
        let training_images = [self.training_images, attacker.limit()].into_iter().flatten().min();
        let inversion = self.inversion.filter(|_| attacker.knows_local_net);
        Self { training_images, inversion, ..self }
    }

    /// The reference decoder with the training of a quick verification: for an audit, beside the deep ones.
    pub fn small_decoder() -> Self {
        let attack = small_batches(watched(2, 3));
        Self { decoder: DecoderKind::Reference, attack, ..Self::of(Fidelity::QuickVerification) }
    }

    /// The protocol behind `fidelity`.
    pub fn of(fidelity: Fidelity) -> Self {
        match fidelity {
            Fidelity::Reference => Self {
                training_images: ALL,
                scored_part: ScoredPart::Evaluation,
                scored_images: ALL,
                decoder: DecoderKind::Reference,
                attack: training(6),
                refinement: ImageLoss::SquaredError,
                inversion: None,
                task: training(8),
            },
            Fidelity::Quick => Self {
                training_images: Some(1_500),
                scored_part: ScoredPart::Validation,
                scored_images: Some(500),
                decoder: DecoderKind::Reference,
                attack: small_batches(training(4)),
                refinement: ImageLoss::SquaredError,
                inversion: SKETCH,
                task: training(5),
            },
            Fidelity::Standard => Self {
                training_images: Some(4_000),
                scored_part: ScoredPart::Validation,
                inversion: SKETCH,
                attack: small_batches(training(6)),
                ..Self::of(Fidelity::Reference)
            },
            Fidelity::Thorough => Self {
                training_images: Some(20_000),
                scored_part: ScoredPart::Validation,
                inversion: SKETCH,
                attack: small_batches(training(6)),
                ..Self::of(Fidelity::Reference)
            },
            Fidelity::QuickVerification => Self {
                decoder: DecoderKind::Strong { width: 64, blocks: 4 },
                attack: deep(watched(2, 3)),
                refinement: REFINEMENT,
                inversion: inversion(96, 80, 2),
                task: watched(8, 0),
                ..Self::of(Fidelity::Reference)
            },
            Fidelity::StandardVerification => Self {
                decoder: DecoderKind::Strong { width: 96, blocks: 6 },
                attack: deep(watched(5, 3)),
                refinement: REFINEMENT,
                inversion: inversion(100, 150, 2),
                task: watched(16, 0),
                ..Self::of(Fidelity::Reference)
            },
            Fidelity::ThoroughVerification => Self {
                decoder: DecoderKind::Strong { width: 128, blocks: 8 },
                attack: deep(watched(8, 4)),
                refinement: REFINEMENT,
                inversion: inversion(250, 300, 3),
                task: watched(40, 0),
                ..Self::of(Fidelity::Reference)
            },
        }
    }
}

/// What an effort level spends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Fidelity at which designs are screened before the promising ones are measured, where that saves time.
    pub screening: Option<Fidelity>,
    /// Fidelity of the search's measurements.
    pub search: Fidelity,
    /// Fidelity of the verification.
    pub verification: Fidelity,
    /// Measurements of the search; a screening counts as its share of the work of one.
    pub evaluations: usize,
    /// Designs that the models propose at a time, to be measured side by side. A number of the plan and not of the
    /// machine, so that a study's answer doesn't depend on where it runs.
    pub round: usize,
    /// Fresh seeds of one verification.
    pub verification_seeds: usize,
    /// Designs that may be put to verification before the study ends unverified.
    pub verification_attempts: usize,
    /// Probability of feasibility from which a design is worth an attempt while others are left: even where a search takes much
    /// longer than a verification, higher where an attempt in vain takes longer than the search.
    pub attempted_from: f64,
    /// Whether attempts that are left after a design held go to more accurate ones.
    pub improves: bool,
    /// What verification is expected to add to the search's PSNR, in dB: mean and standard deviation.
    /// A belief that the first verified designs correct.
    pub expected_gain: (f64, f64),
}

/// Raised when figures are taken in another way than before though the protocols' numbers are the same: another net
/// behind a name, another optimiser, another extension of learning curves.
const MEASUREMENT_VERSION: u32 = 10;

/// The same for figures of verifications alone, which no other study adopts: when their trainings end, how they are extended.
const VERIFICATION_VERSION: u32 = 2;

/// A text that differs where figures of these fidelities must not stand beside those of another version of the program.
pub fn fingerprint(fidelities: &[Fidelity]) -> String {
    let protocols: Vec<_> = fidelities.iter().map(|&fidelity| (fidelity, Protocol::of(fidelity))).collect();
    format!("{MEASUREMENT_VERSION} {protocols:?}")
}

impl Plan {
    /// A text that differs where figures of one plan must not stand beside those of another.
    pub fn fingerprint(&self) -> String {
        let fidelities: Vec<Fidelity> = self.screening.into_iter().chain([self.search, self.verification]).collect();
        format!("{} {} seeds {VERIFICATION_VERSION}", fingerprint(&fidelities), self.verification_seeds)
    }

    /// How many measurements are spread over the space before the models propose.
    pub fn initial(&self) -> usize {
        self.evaluations.div_ceil(4)
    }

    /// The plan of an effort level.
    pub fn of(level: EffortLevel) -> Self {
        match level {
            EffortLevel::Quick => Self {
                screening: None,
                search: Fidelity::Quick,
                verification: Fidelity::QuickVerification,
                evaluations: 14,
                round: 2,
                verification_seeds: 1,
                verification_attempts: 3,
                attempted_from: 0.8,
                improves: false,
                expected_gain: (3.5, 0.8),
            },
            EffortLevel::Standard => Self {
                screening: Some(Fidelity::Quick),
                search: Fidelity::Standard,
                verification: Fidelity::StandardVerification,
                evaluations: 40,
                round: 4,
                verification_seeds: 3,
                verification_attempts: 4,
                attempted_from: 0.5,
                improves: true,
                expected_gain: (4.0, 1.2),
            },
            EffortLevel::Thorough => Self {
                screening: Some(Fidelity::Standard),
                search: Fidelity::Thorough,
                verification: Fidelity::ThoroughVerification,
                evaluations: 80,
                round: 4,
                verification_seeds: 3,
                verification_attempts: 6,
                attempted_from: 0.5,
                improves: true,
                expected_gain: (4.0, 1.2),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attacker_does_what_he_has_the_means_for() {
        let [quick, verification] = [Fidelity::Quick, Fidelity::QuickVerification].map(Protocol::of);
        let strong = Attacker::default();
        assert_eq!([quick.within(strong), verification.within(strong)], [quick, verification]);
        let weak = Attacker { pairs: Some(200), knows_local_net: false, ..strong };
        assert_eq!(quick.within(weak).training_images, Some(200));
        assert_eq!((verification.within(weak).training_images, verification.within(weak).inversion), (Some(200), None));
        // Many pairs are no more than the protocol uses; without any he makes his own.
        for pairs in [9_000, 0] {
            assert_eq!(quick.within(Attacker { pairs: Some(pairs), ..strong }), quick);
        }
    }
}
