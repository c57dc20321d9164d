//! The view model: everything a report says, as plain data, with no link to how it was measured.
//!
//! The caller fills a [`StudyView`] from its study; nothing here is computed from images or nets. Text may hold anything (it is
//! escaped where it is written); numbers must be finite, which [`StudyView::check`] tests before anything is drawn.

mod channels;
mod check;
mod design;
mod gallery;

pub use channels::{Channel, ChannelsView};
pub use design::{DesignRow, Feasibility, KnownBy, Source};
pub use gallery::{Exposure, GalleryPair, GallerySection, Picture, Sample};

use serde::Serialize;

/// One study, ready to be shown.
#[derive(Debug, Clone, Serialize)]
pub struct StudyView {
    /// Name of the study, as in `results/NAME`.
    pub name: String,
    /// One line on what was searched: backbone, data set, number of candidates.
    pub subject: String,
    /// How the study ended, or that it has not.
    pub status: Status,
    /// What is going on, where the study is running.
    pub live: Option<Live>,
    /// Confidence asked of each budget, in (0, 1).
    pub confidence: f64,
    /// The answer; `None` when nothing is feasible or nothing was measured yet.
    pub chosen: Option<Chosen>,
    /// Why this answer (or none): the binding budget, the nearest design, what relaxing a budget would bring. One sentence each.
    pub explanation: Vec<String>,
    /// Limits on the two axes of the Pareto plot.
    pub limits: Limits,
    /// Every budget and how much of it the chosen design uses.
    pub budgets: Vec<BudgetBar>,
    /// Every design worth a row; hundreds to thousands.
    pub designs: Vec<DesignRow>,
    /// What images without detail reach, on the same evaluation images.
    pub floors: Vec<Floor>,
    /// How well the surrogates predict what they had not seen.
    pub diagnostics: Vec<Diagnostics>,
    /// Originals beside reconstructions, one section per design shown.
    pub gallery: Vec<GallerySection>,
    /// Reconstructions from the least to the most revealing, for a reader to see what decibels look like.
    pub samples: Vec<Sample>,
    /// The channels of the chosen design's layer, where the study recorded them.
    pub channels: Option<ChannelsView>,
    /// The measurements in the order in which they were made.
    pub history: Vec<HistoryStep>,
    /// What the attacker was given, and which attacks ran.
    pub threat: Threat,
    /// Things a reader must know before trusting a figure, such as an attack that had not converged.
    pub warnings: Vec<String>,
    /// How the figures of plots and tables are to be read, one sentence each.
    pub notes: Vec<String>,
    /// Versions, seeds, hashes, machine, durations, command.
    pub provenance: Vec<ProvenanceItem>,
}

/// How a study ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The chosen design was measured again with fresh seeds and meets every budget at the confidence asked.
    Verified,
    /// There is a best design, but the allowance ended before it could be verified.
    Unverified,
    /// Every design that was verified failed its budgets.
    RefutedAll,
    /// No candidate meets the budgets.
    Infeasible,
    /// The study is still running.
    InProgress,
    /// The study was stopped before its end; what it measured is kept.
    Stopped,
}

/// A study that is running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Live {
    /// When the page was written, in seconds since 1970.
    pub written: u64,
    /// After how many seconds a reader looks again.
    pub again: u64,
    /// Measurements made, and foreseen.
    pub measurements: [usize; 2],
    /// What is being measured.
    pub doing: String,
}

/// A figure that is measured or predicted for a design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of evaluation images that the cloud net classifies correctly, in [0, 1].
    Accuracy,
    /// Mean over images of the reconstruction's PSNR, in dB.
    PsnrMean,
    /// 95th percentile over images of the PSNR, in dB.
    PsnrP95,
    /// Maximum over images of the PSNR, in dB.
    PsnrMax,
    /// Mean over images of the SSIM.
    SsimMean,
}

impl Metric {
    /// Every metric, in the order in which a report lists them.
    pub const ALL: [Self; 5] = [Self::Accuracy, Self::PsnrMean, Self::PsnrP95, Self::PsnrMax, Self::SsimMean];
}

/// A value with its standard error, in the metric's own unit (accuracy as a fraction).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard error, or the predictive standard deviation; 0 where it is unknown.
    pub se: f64,
}

/// The figures of one design; a metric that was not estimated is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// [`Metric::Accuracy`].
    pub accuracy: Option<Estimate>,
    /// [`Metric::PsnrMean`].
    pub psnr_mean: Option<Estimate>,
    /// [`Metric::PsnrP95`].
    pub psnr_p95: Option<Estimate>,
    /// [`Metric::PsnrMax`].
    pub psnr_max: Option<Estimate>,
    /// [`Metric::SsimMean`].
    pub ssim_mean: Option<Estimate>,
}

impl Figures {
    /// The estimate of one metric.
    pub fn get(&self, metric: Metric) -> Option<Estimate> {
        match metric {
            Metric::Accuracy => self.accuracy,
            Metric::PsnrMean => self.psnr_mean,
            Metric::PsnrP95 => self.psnr_p95,
            Metric::PsnrMax => self.psnr_max,
            Metric::SsimMean => self.ssim_mean,
        }
    }
}

/// The answer of a study.
#[derive(Debug, Clone, Serialize)]
pub struct Chosen {
    /// Id of the design; the row of [`StudyView::designs`] with this id is the chosen one.
    pub id: String,
    /// Split layer, such as `conv3_1`.
    pub split: String,
    /// Number of output channels, or of combinations of them, that are kept (D′).
    pub depth: usize,
    /// How many output channels the split layer has.
    pub layer_channels: usize,
    /// How the channels were selected, such as `pruned-random, seed 3`.
    pub selection: String,
    /// Whether linear combinations of all channels are kept, not some of the channels.
    pub mixed: bool,
    /// Indices of the channels kept, in the layer's own numbering; none where they are mixed.
    pub channels: Vec<usize>,
    /// What verification was expected to find: what the search measured or predicted, plus what longer training adds.
    pub expected: Option<Figures>,
    /// What the search's short trainings measured: they underestimate leakage.
    pub measured: Option<Figures>,
    /// What verification measured, with fresh seeds and longer training; of a refuted design too.
    pub verified: Option<Figures>,
    /// What leakage is at most, after allowance for still longer training and for the draw of images.
    pub upper: Option<Figures>,
    /// Whether it was put to verification and failed.
    pub refuted: bool,
    /// What each attack recovers, from nothing at all to the strongest.
    pub ladder: Vec<Rung>,
}

/// One attack on the chosen design, or what needs no attack.
#[derive(Debug, Clone, Serialize)]
pub struct Rung {
    /// Such as `linear map`.
    pub attack: String,
    /// What it recovers; the accuracy is none of its figures.
    pub figures: Figures,
}

/// Limits drawn as shaded regions in the Pareto plot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Largest mean PSNR allowed, in dB.
    pub psnr_mean_max: Option<f64>,
    /// Largest 95th percentile of the PSNR allowed, in dB.
    pub psnr_p95_max: Option<f64>,
    /// Smallest accuracy allowed, as a fraction.
    pub accuracy_min: Option<f64>,
}

/// A quantity with the text a reader sees, unit included.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quantity {
    /// The number, in a unit common to all quantities of one budget.
    pub value: f64,
    /// Such as `12.4 MMAC`.
    pub text: String,
}

/// One budget and its use by the chosen design.
#[derive(Debug, Clone, Serialize)]
pub struct BudgetBar {
    /// Such as `compute` or `PSNR mean`.
    pub name: String,
    /// The limit that the user set.
    pub limit: Quantity,
    /// What the chosen design uses; `None` where nothing is chosen or known.
    pub used: Option<Quantity>,
    /// How that is known.
    pub known: Known,
    /// What is left to the limit, in words, where a share of the limit means little: `1.2 dB to spare`.
    pub spare: Option<String>,
}

/// How the use of a budget is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Known {
    /// It was counted.
    Exact,
    /// It is the upper limit that verification found.
    Upper,
    /// Verification's attacks reached it, and could have reached more: there is no upper limit.
    AtLeast,
    /// Nobody verified it.
    Expected,
}

impl Known {
    /// What stands before a value that is known so.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Exact => "",
            Self::Upper => "≤ ",
            Self::AtLeast => "≥ ",
            Self::Expected => "~",
        }
    }
}

impl BudgetBar {
    /// Use as a fraction of the limit, or `None` where the limit is not positive.
    pub fn fraction(&self, quantity: &Quantity) -> Option<f64> {
        (self.limit.value > 0.0).then(|| quantity.value / self.limit.value)
    }
}

/// An image without detail that stands for little or no information: a scale for leakage figures.
#[derive(Debug, Clone, Serialize)]
pub struct Floor {
    /// Such as `best constant`, `image's mean colour` or `8×8 thumbnail`.
    pub name: String,
    /// Its mean PSNR on the evaluation images, in dB.
    pub psnr_mean: f64,
}

/// Leave-one-out check of the surrogate of one metric.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnostics {
    /// Which metric.
    pub metric: Metric,
    /// One point per measured design.
    pub points: Vec<LeftOut>,
    /// 1 − residual / total sum of squares of the leave-one-out predictions; `None` where the total is zero.
    pub r2: Option<f64>,
    /// Root mean squared leave-one-out error, in the metric's unit.
    pub rmse: f64,
    /// Share of measured values inside their predictive interval.
    pub coverage: f64,
    /// Nominal level of that interval, such as 0.95.
    pub nominal_coverage: f64,
}

/// A measured value and what the surrogate predicted for it without having seen it.
#[derive(Debug, Clone, Serialize)]
pub struct LeftOut {
    /// Id of the design.
    pub design: String,
    /// Measured value with its standard error.
    pub measured: Estimate,
    /// Leave-one-out prediction with its standard deviation.
    pub predicted: Estimate,
}

/// One measurement of the search.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryStep {
    /// 1 for the first.
    pub evaluation: usize,
    /// Id of the design measured.
    pub design: String,
    /// The part of the search that asked for it, in a word or two, such as `space-filling`.
    pub phase: String,
    /// Why this design, in one sentence.
    pub reason: String,
    /// Its accuracy.
    pub accuracy: Option<Estimate>,
    /// Whether it met every budget when measured.
    pub feasibility: Feasibility,
    /// Best accuracy of a feasible design up to and including this one.
    pub best_feasible: Option<f64>,
    /// Hypervolume of the front of accuracy against leakage up to and including this one: the share of what lies between
    /// guessing and the limit on one side, and every image classified and nothing leaked on the other.
    pub hypervolume: Option<f64>,
    /// How long it took.
    pub seconds: f64,
}

/// What the attacker was given.
#[derive(Debug, Clone, Serialize)]
pub struct Threat {
    /// Who the attacker is, in sentences.
    pub attacker: String,
    /// The attacks that ran, one phrase each.
    pub attacks: Vec<String>,
    /// Further remarks, one sentence each.
    pub remarks: Vec<String>,
}

/// One fact about how the figures came about.
#[derive(Debug, Clone, Serialize)]
pub struct ProvenanceItem {
    /// Such as `seed`.
    pub name: String,
    /// Such as `42`.
    pub value: String,
}

impl StudyView {
    /// The row of the chosen design, if there is one and it is among the rows.
    pub fn chosen_row(&self) -> Option<&DesignRow> {
        let chosen = self.chosen.as_ref()?;
        self.designs.iter().find(|row| row.id == chosen.id)
    }

    /// The split layers of the designs as `(index, name)`, from the input on, each once.
    pub fn splits(&self) -> Vec<(usize, &str)> {
        let mut splits: Vec<_> = self.designs.iter().map(|row| (row.split_index, row.split.as_str())).collect();
        splits.sort_unstable();
        splits.dedup();
        splits
    }

    /// The depths of the designs, ascending, each once.
    pub fn depths(&self) -> Vec<usize> {
        let mut depths: Vec<_> = self.designs.iter().map(|row| row.depth).collect();
        depths.sort_unstable();
        depths.dedup();
        depths
    }
}
