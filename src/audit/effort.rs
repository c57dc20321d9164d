//! What the attacks of an audit are given.

use std::fmt;

use crate::measurement::Fidelity;
use crate::protocol::{DecoderKind, Descent, Protocol, Training};

/// How much an audit spends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// The deep decoder.
    pub(super) decoder: DecoderKind,
    /// Its training.
    pub(super) training: Training,
    /// The inversion.
    pub(super) descent: Descent,
    /// Evaluation images that are inverted.
    pub inverted: usize,
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { decoder, training, descent, inverted } = self;
        match decoder {
            DecoderKind::Reference => write!(f, "the reference protocol's decoder")?,
            DecoderKind::Strong { width, blocks } => write!(f, "deep decoder of width {width} with {blocks} blocks")?,
        }
        let (epochs, steps) = (training.epochs, descent.steps);
        write!(f, ": {epochs} epochs, doubled up to {} times; ", training.doublings)?;
        write!(f, "inversion of {inverted} images: {steps} steps, doubled up to {} times", descent.doublings)
    }
}

impl Effort {
    /// A quarter of an hour on two cores for a few thousand images.
    pub fn quick() -> Self {
        Self {
            decoder: DecoderKind::Strong { width: 64, blocks: 4 },
            training: Training { epochs: 2, doublings: 3, ..Self::base() },
            descent: Descent::tried(150, 2),
            inverted: 96,
        }
    }

    /// Hours on two cores; a GPU's work.
    pub fn full() -> Self {
        Self {
            decoder: DecoderKind::Strong { width: 128, blocks: 8 },
            training: Training { epochs: 4, doublings: 4, ..Self::base() },
            descent: Descent::tried(300, 3),
            inverted: 256,
        }
    }

    /// No less than what a claim was verified with.
    pub fn at_least(self, verification: Fidelity) -> Self {
        let protocol = Protocol::of(verification);
        let width = |decoder| match decoder {
            DecoderKind::Strong { width, blocks } => width * width * blocks,
            DecoderKind::Reference => 0,
        };
        let [own, other] = [self.training, protocol.attack].map(|training| training.cycles().iter().sum::<usize>());
        let inversion = protocol.inversion.filter(|inversion| inversion.descent.longest() > self.descent.longest());
        Self {
            decoder: if width(protocol.decoder) > width(self.decoder) { protocol.decoder } else { self.decoder },
            training: if other > own { protocol.attack } else { self.training },
            descent: inversion.map_or(self.descent, |inversion| inversion.descent),
            inverted: self.inverted.max(protocol.inversion.map_or(0, |inversion| inversion.images)),
        }
    }

    fn base() -> Training {
        Protocol::of(Fidelity::QuickVerification).attack
    }

    /// The same with so many times the width (decoder) and epochs: for showing that more changes nothing.
    pub fn scaled(self, factor: usize) -> Self {
        let decoder = match self.decoder {
            DecoderKind::Strong { width, blocks } => DecoderKind::Strong { width: factor * width, blocks },
            DecoderKind::Reference => DecoderKind::Reference,
        };
        let training = Training { epochs: factor * self.training.epochs, ..self.training };
        Self { decoder, training, ..self }
    }
}
