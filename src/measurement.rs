//! What was measured: one row per design, metric, fidelity and seed.
//!
//! A [`Measurement`] is one row in long format, so a new attack adds rows, not columns. An [`Evaluation`] is one atomic
//! piece of work on one design: it yields all its rows or a reason why it failed, and the study on disk records it whole.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Stable name of a design: 1 to 64 characters of `a-z`, `0-9`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DesignId(Arc<str>);

/// A text that is no [`DesignId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no design id: 1 to {max} characters of a-z, 0-9, '_' and '-' are accepted", max = DesignId::MAX_LENGTH)]
pub struct InvalidDesignId(
    /// The text, cut to a few characters more than an id may have.
    pub String,
);

impl DesignId {
    /// Most characters that an id may have.
    pub const MAX_LENGTH: usize = 64;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DesignId {
    type Error = InvalidDesignId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(DesignId(text.into()))
        } else {
            Err(InvalidDesignId(text.chars().take(Self::MAX_LENGTH + 16).collect()))
        }
    }
}

impl FromStr for DesignId {
    type Err = InvalidDesignId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<DesignId> for String {
    fn from(id: DesignId) -> Self {
        id.as_str().to_owned()
    }
}

impl AsRef<str> for DesignId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DesignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text that names no variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no {kind}; accepted are {}", accepted.join(", "))]
pub struct UnknownName {
    /// What was to be named: `metric` or `fidelity`.
    pub kind: &'static str,
    /// The text.
    pub found: String,
    /// All names there are.
    pub accepted: Vec<&'static str>,
}

/// Defines an enum whose variants have one stable name each, in text, JSON and Parquet alike.
macro_rules! named_enum {
    (
        $(#[$attribute:meta])*
        pub enum $type:ident ($kind:literal) {
            $($(#[$variant_attribute:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$variant_attribute])* #[serde(rename = $name)] $variant,)+
        }

        impl $type {
            /// All variants, in the order in which they are shown.
            pub const ALL: &[$type] = &[$($type::$variant),+];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|variant| variant.name() == text).ok_or_else(|| {
                    UnknownName {
                        kind: $kind,
                        found: text.chars().take(80).collect(),
                        accepted: Self::ALL.iter().map(|variant| variant.name()).collect(),
                    }
                })
            }
        }
    };
}

named_enum! {
    /// What a measurement says about a design. PSNR and SSIM without another name are the trained decoder's.
    pub enum Metric ("metric") {
        /// Share of images, unseen in training, that the trained cloud net classifies correctly.
        Accuracy = "accuracy",
        /// Mean over images of the reconstruction's PSNR, dB.
        PsnrMean = "psnr_mean",
        /// 95th percentile over images of the reconstruction's PSNR, dB.
        PsnrP95 = "psnr_p95",
        /// Upper confidence limit of the 95th percentile of PSNR over the draw of images, whatever its distribution, dB.
        PsnrP95Upper = "psnr_p95_upper",
        /// Largest PSNR of any image, dB.
        PsnrMax = "psnr_max",
        /// PSNR of the mean squared error pooled over images, dB.
        PsnrPooled = "psnr_pooled",
        /// Mean PSNR over the images of the class that is recovered best, dB.
        PsnrWorstClass = "psnr_worst_class",
        /// Mean over images of the reconstruction's SSIM.
        SsimMean = "ssim_mean",
        /// Mean PSNR that sixteen times the training is expected to reach, by the attack's learning curve, dB.
        PsnrMeanExtended = "psnr_mean_extended",
        /// 95th percentile of PSNR that sixteen times the training is expected to reach, dB.
        PsnrP95Extended = "psnr_p95_extended",
        /// Mean SSIM that sixteen times the training is expected to reach.
        SsimMeanExtended = "ssim_mean_extended",
        /// Mean over images of the PSNR of the closed-form linear attack, dB: a floor for every trained attack.
        LinearPsnrMean = "linear_psnr_mean",
        /// 95th percentile over images of the linear attack's PSNR, dB.
        LinearPsnrP95 = "linear_psnr_p95",
        /// Largest PSNR of any image that the linear attack reaches, dB.
        LinearPsnrMax = "linear_psnr_max",
        /// PSNR of the linear attack's mean squared error pooled over images, dB.
        LinearPsnrPooled = "linear_psnr_pooled",
        /// Mean PSNR of the linear attack over the images of the class that it recovers best, dB.
        LinearPsnrWorstClass = "linear_psnr_worst_class",
        /// Mean over images of the SSIM of the linear attack's reconstructions.
        LinearSsimMean = "linear_ssim_mean",
        /// Mean over images of the PSNR of the closed-form kernel attack, dB.
        KernelPsnrMean = "kernel_psnr_mean",
        /// 95th percentile over images of the kernel attack's PSNR, dB.
        KernelPsnrP95 = "kernel_psnr_p95",
        /// Upper confidence limit of that, whatever its distribution, dB.
        KernelPsnrP95Upper = "kernel_psnr_p95_upper",
        /// Largest PSNR of any image that the kernel attack reaches, dB.
        KernelPsnrMax = "kernel_psnr_max",
        /// PSNR of the kernel attack's mean squared error pooled over images, dB.
        KernelPsnrPooled = "kernel_psnr_pooled",
        /// Mean PSNR of the kernel attack over the images of the class that it recovers best, dB.
        KernelPsnrWorstClass = "kernel_psnr_worst_class",
        /// Mean over images of the SSIM of the kernel attack's reconstructions.
        KernelSsimMean = "kernel_ssim_mean",
        /// Mean over images of the PSNR of the ensemble, a weighted sum of the reconstructions of all these attacks, dB.
        EnsemblePsnrMean = "ensemble_psnr_mean",
        /// 95th percentile over images of the ensemble's PSNR, dB.
        EnsemblePsnrP95 = "ensemble_psnr_p95",
        /// Upper confidence limit of that, whatever its distribution, dB.
        EnsemblePsnrP95Upper = "ensemble_psnr_p95_upper",
        /// Largest PSNR of any image that the ensemble reaches, dB.
        EnsemblePsnrMax = "ensemble_psnr_max",
        /// PSNR of the ensemble's mean squared error pooled over images, dB.
        EnsemblePsnrPooled = "ensemble_psnr_pooled",
        /// Mean PSNR of the ensemble over the images of the class that it recovers best, dB.
        EnsemblePsnrWorstClass = "ensemble_psnr_worst_class",
        /// Mean over images of the SSIM of the ensemble's reconstructions.
        EnsembleSsimMean = "ensemble_ssim_mean",
        /// Mean over the inverted images of the PSNR of white-box inversion, dB.
        InversionPsnrMean = "inversion_psnr_mean",
        /// What inversion recovers beyond its start, the ensemble, on the same images, mean over images, dB.
        InversionGainMean = "inversion_gain_mean",
        /// The same over the quarter of the images that the ensemble recovers best, dB.
        InversionGainTail = "inversion_gain_tail",
        /// The largest that it gains on any image, dB.
        InversionGainMax = "inversion_gain_max",
        /// 95th percentile over the inverted images of the PSNR of inversion, dB.
        InversionPsnrP95 = "inversion_psnr_p95",
        /// What sixteen times the descent is expected to make of that, dB.
        InversionPsnrP95Extended = "inversion_psnr_p95_extended",
        /// Upper confidence limit of the 95th percentile itself, whatever its distribution, dB.
        InversionPsnrP95Upper = "inversion_psnr_p95_upper",
        /// What inversion gains in SSIM on its start, mean over images.
        InversionGainSsim = "inversion_gain_ssim",
        /// Of channels that are a secret, how many the attacker found out from statistics of the features.
        ChannelsFound = "channels_found",
        /// 1 if the attack's learning curve can be extended to longer training, 0 if it is too steep to tell.
        AttackConverged = "attack_converged",
    }
}

named_enum! {
    /// Protocol under which a measurement was taken. Figures of different fidelities are not comparable as they are.
    pub enum Fidelity ("fidelity") {
        /// Shortest training, for a search on a slow machine.
        Quick = "quick",
        /// Training that ranks designs reliably.
        Standard = "standard",
        /// Training to convergence.
        Thorough = "thorough",
        /// The published peer script's protocol, for figures laid side by side with its table.
        Reference = "reference",
        /// A fresh seed, all images, a deep decoder trained until its curve tells its end: the claim of a quick study.
        QuickVerification = "quick_verification",
        /// The same with several seeds, a wider decoder and longer training: the claim of a standard study.
        StandardVerification = "standard_verification",
        /// As standard, with the largest decoder and the longest training: the claim of a thorough study.
        ThoroughVerification = "thorough_verification",
    }
}

named_enum! {
    /// How a measurement failed.
    #[derive(Default)]
    pub enum Failure ("failure") {
        /// A loss or a figure is no number.
        Diverged = "diverged",
        /// The program broke.
        Panicked = "panicked",
        /// Memory of the device, or of the machine, did not suffice.
        OutOfMemory = "out of memory",
        /// It took longer than it may.
        TimedOut = "timed out",
        /// The machine that it ran on is gone, as often as it was sent out.
        Lost = "lost",
        /// Anything else: its reason says what.
        #[default]
        Other = "other",
    }
}

impl Failure {
    /// Whether nothing more is known than its reason: the journal need not say so.
    fn is_other(&self) -> bool {
        *self == Self::Other
    }
}

impl Fidelity {
    /// Whether it is one that claims are made by.
    pub fn is_verification(self) -> bool {
        matches!(self, Self::QuickVerification | Self::StandardVerification | Self::ThoroughVerification)
    }
}

/// One row: one metric of one design under one fidelity and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The design measured.
    pub design: DesignId,
    /// What was measured.
    pub metric: Metric,
    /// The figure, in the metric's unit.
    pub value: f64,
    /// Its standard error over images, in the same unit.
    pub std_error: f64,
    /// How many images (or other samples) it is over.
    pub n: u64,
    /// How it was measured.
    pub fidelity: Fidelity,
    /// Seed of the training and of every draw.
    pub seed: u64,
    /// Wall time that the measurement took, seconds; shared by the rows of one evaluation.
    pub seconds: f64,
}

/// What came of an [`Evaluation`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It finished, with these rows.
    Done(Vec<Measurement>),
    /// It panicked, diverged, ran out of memory or of time.
    Failed {
        /// Why, for a person.
        reason: String,
        /// Why, for the next try.
        #[serde(default, skip_serializing_if = "Failure::is_other")]
        kind: Failure,
    },
}

impl Outcome {
    /// A failure with its reason.
    pub fn failed(kind: Failure, reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), kind }
    }
}

/// One atomic piece of work on one design.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The design evaluated.
    pub design: DesignId,
    /// How it was measured.
    pub fidelity: Fidelity,
    /// Seed of the training and of every draw.
    pub seed: u64,
    /// Place in the order in which the search proposed its evaluations, from 0.
    pub order: u64,
    /// Why the search proposed it, for a person.
    pub reason: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Wall time that it took, seconds.
    pub seconds: f64,
    /// The study that measured it, where that was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its side files in the study, each with its [`checksum`](crate::store::checksum).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// An [`Evaluation`] that must not be recorded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidEvaluation {
    /// A figure is NaN, infinite or, where that makes no sense, negative.
    #[error("design {design}: {field} is {value}")]
    Figure {
        /// The design.
        design: DesignId,
        /// Which figure, as `psnr_mean` or `standard error of psnr_mean`.
        field: String,
        /// The figure.
        value: f64,
    },
    /// A row belongs to another design, fidelity or seed than its evaluation.
    #[error("design {design}: its row {metric} is of design {row_design}, {row_fidelity}, seed {row_seed}")]
    ForeignRow {
        /// The evaluation's design.
        design: DesignId,
        /// The row's metric.
        metric: Metric,
        /// The row's design.
        row_design: DesignId,
        /// The row's fidelity.
        row_fidelity: Fidelity,
        /// The row's seed.
        row_seed: u64,
    },
}

impl Metric {
    /// Digits after the point that a figure of this metric is worth, and its unit.
    pub fn format(self) -> (usize, &'static str) {
        match self {
            Self::Accuracy
            | Self::SsimMean
            | Self::SsimMeanExtended
            | Self::LinearSsimMean
            | Self::KernelSsimMean
            | Self::EnsembleSsimMean
            | Self::InversionGainSsim => (3, ""),
            Self::AttackConverged | Self::ChannelsFound => (0, ""),
            _ => (2, " dB"),
        }
    }

    /// A value of this metric with its unit.
    pub fn text(self, value: f64) -> String {
        let (digits, unit) = self.format();
        format!("{value:.digits$}{unit}")
    }

    /// Figures of the decoder, each with the linear attack's name of it.
    pub const LINEAR: [(Self, Self); 6] = [
        (Self::PsnrMean, Self::LinearPsnrMean),
        (Self::PsnrP95, Self::LinearPsnrP95),
        (Self::PsnrMax, Self::LinearPsnrMax),
        (Self::PsnrPooled, Self::LinearPsnrPooled),
        (Self::PsnrWorstClass, Self::LinearPsnrWorstClass),
        (Self::SsimMean, Self::LinearSsimMean),
    ];

    /// Figures of the decoder, each with the kernel attack's name of it.
    pub const KERNEL: [(Self, Self); 7] = [
        (Self::PsnrMean, Self::KernelPsnrMean),
        (Self::PsnrP95, Self::KernelPsnrP95),
        (Self::PsnrP95Upper, Self::KernelPsnrP95Upper),
        (Self::PsnrMax, Self::KernelPsnrMax),
        (Self::PsnrPooled, Self::KernelPsnrPooled),
        (Self::PsnrWorstClass, Self::KernelPsnrWorstClass),
        (Self::SsimMean, Self::KernelSsimMean),
    ];

    /// Figures of the decoder, each with the ensemble's name of it.
    pub const ENSEMBLE: [(Self, Self); 7] = [
        (Self::PsnrMean, Self::EnsemblePsnrMean),
        (Self::PsnrP95, Self::EnsemblePsnrP95),
        (Self::PsnrP95Upper, Self::EnsemblePsnrP95Upper),
        (Self::PsnrMax, Self::EnsemblePsnrMax),
        (Self::PsnrPooled, Self::EnsemblePsnrPooled),
        (Self::PsnrWorstClass, Self::EnsemblePsnrWorstClass),
        (Self::SsimMean, Self::EnsembleSsimMean),
    ];

    /// The names that white-box inversion has for them, on a part of the images.
    pub const INVERSION: [(Self, Self); 4] = [
        (Self::PsnrMean, Self::InversionPsnrMean),
        (Self::PsnrP95, Self::InversionPsnrP95),
        (Self::PsnrP95Extended, Self::InversionPsnrP95Extended),
        (Self::PsnrP95Upper, Self::InversionPsnrP95Upper),
    ];

    /// The names that the other attacks with pairs have for the decoder's figures.
    pub const OTHERS: [&[(Self, Self)]; 3] = [&Self::LINEAR, &Self::KERNEL, &Self::ENSEMBLE];

    /// This figure's name with another attack, given that attack's names.
    pub fn of(self, names: &[(Self, Self)]) -> Option<Self> {
        names.iter().find(|(of, _)| *of == self).map(|&(_, name)| name)
    }

    /// The row of what white-box inversion gains on its start in this figure.
    pub fn inversion_gain(self) -> Option<Self> {
        match self {
            Self::PsnrMean | Self::PsnrPooled | Self::PsnrWorstClass => Some(Self::InversionGainMean),
            Self::PsnrP95 | Self::PsnrMax => Some(Self::InversionGainTail),
            Self::SsimMean => Some(Self::InversionGainSsim),
            _ => None,
        }
    }

    /// The metric that extends this one to sixteen times the training.
    pub fn extended(self) -> Option<Self> {
        match self {
            Self::PsnrMean => Some(Self::PsnrMeanExtended),
            Self::PsnrP95 => Some(Self::PsnrP95Extended),
            Self::SsimMean => Some(Self::SsimMeanExtended),
            _ => None,
        }
    }
}

impl Evaluation {
    /// The rows, none if it failed.
    pub fn measurements(&self) -> &[Measurement] {
        match &self.outcome {
            Outcome::Done(measurements) => measurements,
            Outcome::Failed { .. } => &[],
        }
    }

    /// Lets the rows share the evaluation's id: a study in memory holds it once for each, not for every row.
    pub(crate) fn share_id(&mut self) {
        if let Outcome::Done(rows) = &mut self.outcome {
            rows.iter_mut().filter(|row| row.design == self.design).for_each(|row| row.design = self.design.clone());
        }
    }

    /// Refuses figures that are no numbers, and rows of another evaluation.
    ///
    /// # Errors
    /// [`InvalidEvaluation`] names the first offender.
    pub fn check(&self) -> Result<(), InvalidEvaluation> {
        let figure = |field: String, value: f64, accepted: bool| {
            if value.is_finite() && accepted {
                return Ok(());
            }
            Err(InvalidEvaluation::Figure { design: self.design.clone(), field, value })
        };
        figure("seconds".into(), self.seconds, self.seconds >= 0.0)?;
        for row in self.measurements() {
            let metric = row.metric;
            figure(metric.to_string(), row.value, true)?;
            figure(format!("standard error of {metric}"), row.std_error, row.std_error >= 0.0)?;
            figure(format!("seconds of {metric}"), row.seconds, row.seconds >= 0.0)?;
            if (&row.design, row.fidelity, row.seed) != (&self.design, self.fidelity, self.seed) {
                return Err(InvalidEvaluation::ForeignRow {
                    design: self.design.clone(),
                    metric,
                    row_design: row.design.clone(),
                    row_fidelity: row.fidelity,
                    row_seed: row.seed,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
