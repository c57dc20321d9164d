//! Estimators: what is measured of a design, one file each.
//!
//! An [`Estimator`] trains and scores; it neither chooses designs nor stores results. Every figure comes from
//! images that no training saw. Tensor types stop here.

mod accuracy;
mod attack;
mod bench;
mod gallery;
mod laboratory;
#[cfg(test)]
pub(crate) mod mock;
mod sanity;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::features::{FeatureError, Standardisation};
use crate::measurement::{Failure, Fidelity, Measurement, Metric};
use crate::metrics::MetricsError;
use crate::nn::{NnError, Params};
use crate::protocol::Protocol;
use crate::space::{ChannelChoice, Design};

pub use accuracy::CloudAccuracy;
pub use attack::{
    AttackLadder, DecoderAttack, EnsembleAttack, InversionAttack, KernelAttack, LinearAttack, ShadowAttack, found_out,
    mean_psnr_of, validation_psnr,
};
pub use gallery::{Gallery, GalleryImage};
pub use laboratory::{Floors, Laboratory};
pub use sanity::sanity;

/// One design to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The design.
    pub design: &'a Design,
    /// The name under which its figures are stored.
    pub fidelity: Fidelity,
    /// How much data and training it gets.
    pub protocol: Protocol,
    /// Seed of initial weights, batch order and dropout.
    pub seed: u64,
    /// How often this measurement failed before: each try draws anew.
    pub attempt: u32,
    /// What a verification needs besides.
    pub verifying: Option<Verifying>,
    /// The channels that the attacker takes the features for, and made his pairs with; the design's own where absent.
    pub guess: Option<&'a ChannelChoice>,
}

/// What a verification needs of a measurement beyond its figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verifying {
    /// An attack whose mean PSNR exceeds this need not be trained further: the design is refuted.
    pub settled_above: Option<f64>,
    /// The chance of error of upper confidence limits.
    pub error_rate: f64,
    /// Whether SSIM is bounded, so that an attack must aim at it.
    pub ssim: bool,
}

impl Request<'_> {
    /// The channels that the attacker's pairs are of.
    pub fn attacked(&self) -> &ChannelChoice {
        self.guess.unwrap_or(&self.design.channels)
    }

    /// A seed of its own for each estimator, so that adding one never changes another's figures.
    pub fn stream(&self, estimator: &str) -> u64 {
        let mut hasher = blake3::Hasher::new();
        for part in [estimator.as_bytes(), b"/", self.design.id().as_str().as_bytes()] {
            hasher.update(part);
        }
        hasher.update(&self.seed.to_le_bytes());
        if self.attempt > 0 {
            hasher.update(&self.attempt.to_le_bytes());
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(bytes)
    }

    /// A measurement of this request; how long it took, the estimator fills in at its end.
    pub fn row(&self, metric: Metric, value: f64, std_error: f64, n: usize) -> Measurement {
        Measurement {
            design: self.design.id(),
            metric,
            value,
            std_error,
            n: n as u64,
            fidelity: self.fidelity,
            seed: self.seed,
            seconds: 0.0,
        }
    }
}

/// Told how a measurement proceeds, and asked whether it should go on.
pub trait Watch {
    /// `what` is a short label, `done` a fraction of it in [0, 1]. `Break` interrupts the measurement.
    fn progress(&self, what: &str, done: f64) -> ControlFlow<()>;

    /// The same for work that ends with an error.
    ///
    /// # Errors
    /// [`EstimateError::Interrupted`] where it was interrupted.
    fn tell(&self, what: &str, done: f64) -> Result<(), EstimateError> {
        match self.progress(what, done) {
            ControlFlow::Break(()) => Err(EstimateError::Interrupted),
            ControlFlow::Continue(()) => Ok(()),
        }
    }
}

/// Nobody watches, and nobody interrupts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _: &str, _: f64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A trained cloud net with the standardisation of its input.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudNet {
    /// Weights, in PyTorch's layout, named by layer.
    pub params: Params,
    /// What happens to the features first.
    pub standardisation: Standardisation,
}

/// Reconstructed images, `[n, side, side, 3]`.
#[derive(Debug, Clone, Default)]
pub struct Reconstructions {
    /// Of the scored images.
    pub scored: Vec<f32>,
    /// Of the attacker's validation images; none from a training that looked at none.
    pub validation: Vec<f32>,
}

/// What an estimator returns.
#[derive(Debug, Clone, Default)]
pub struct Estimate {
    /// The figures.
    pub measurements: Vec<Measurement>,
    /// Reconstructions to look at, from an attack.
    pub gallery: Option<Gallery>,
    /// The trained cloud net, from the accuracy estimator.
    pub cloud_net: Option<CloudNet>,
    /// What an attack made of the features.
    pub reconstructions: Option<Reconstructions>,
    /// What it made of them on its way there, in earlier cycles of its training; the latest are kept.
    pub snapshots: Vec<Reconstructions>,
}

impl Estimate {
    /// All that an attack made of the features.
    pub fn all_reconstructions(&self) -> impl Iterator<Item = &Reconstructions> {
        self.reconstructions.iter().chain(&self.snapshots)
    }
}

/// Why a design could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum EstimateError {
    /// The user or the system asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// Training failed: diverged, out of memory, a device's error.
    #[error("{what} of {design}: {source}")]
    Training {
        /// Which training.
        what: &'static str,
        /// The design's id.
        design: String,
        /// The reason.
        source: NnError,
    },
    /// The features can't be had.
    #[error(transparent)]
    Features(#[from] FeatureError),
    /// Reconstructions that can't be scored (a diverged decoder's NaN, images smaller than SSIM's window).
    #[error(transparent)]
    Metrics(#[from] MetricsError),
}

impl EstimateError {
    /// What kind of failure it is.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Training { source: NnError::Diverged { .. }, .. } | Self::Metrics(MetricsError::NotFinite { .. }) => {
                Failure::Diverged
            }
            Self::Training { source, .. } | Self::Features(FeatureError::Net(source)) if source.is_out_of_memory() => {
                Failure::OutOfMemory
            }
            _ => Failure::Other,
        }
    }
}

/// Measures one aspect of a design; several designs at once where it is called from several threads.
pub trait Estimator: Sync {
    /// A short name for progress and seeds.
    fn name(&self) -> &'static str;

    /// Measures `request.design`.
    ///
    /// # Errors
    /// [`EstimateError`]; [`EstimateError::Interrupted`] where `watch` asked for it.
    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError>;
}
