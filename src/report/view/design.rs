//! Candidate designs: their figures, where these come from, their cost, and what is known of their reconstructions.

use serde::Serialize;

use super::{Estimate, Figures, GalleryPair, GallerySection, Metric, Quantity};

/// Whether a design meets every budget, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Feasibility {
    /// Meets every budget.
    Feasible,
    /// Breaks at least one budget.
    Infeasible,
    /// Too uncertain to tell at the confidence asked.
    Uncertain,
}

/// One candidate design.
#[derive(Debug, Clone, Serialize)]
pub struct DesignRow {
    /// Stable id of the design.
    pub id: String,
    /// Split layer, such as `conv3_1`.
    pub split: String,
    /// Position of the split layer in the backbone, from the input on; orders and colours the layers.
    pub split_index: usize,
    /// Number of output channels kept (D′).
    pub depth: usize,
    /// How the channels were selected, in full.
    pub selection: String,
    /// The kind of selection without its seed, to filter by.
    pub selection_kind: String,
    /// By what its figures are known.
    pub known_by: KnownBy,
    /// What was measured, if it was, on the scale of verification: the one on which designs are compared.
    pub measured: Option<Figures>,
    /// Upper limits that verification found, where it looked at the design.
    pub upper: Option<Figures>,
    /// What the surrogates predict, if they were fitted.
    pub predicted: Option<Figures>,
    /// Joint probability of meeting every noisy budget, in [0, 1].
    pub probability_feasible: Option<f64>,
    /// Whether it meets every budget.
    pub feasibility: Feasibility,
    /// Multiply-accumulates of the local net per image.
    pub macs: Quantity,
    /// Size of the local net's weights.
    pub bytes: Quantity,
    /// Upload per image.
    pub upload: Quantity,
    /// On the Pareto front of the measured designs.
    pub pareto: bool,
    /// What else it costs, by name: parameters, memory, latency where it is known.
    pub further_costs: Vec<(String, String)>,
    /// Whether linear combinations of all channels are kept, not some of the channels.
    pub mixed: bool,
    /// How many output channels the split layer has; 0 where that isn't known.
    pub layer_channels: usize,
    /// Indices of the channels kept; none where they are mixed.
    pub channels: Vec<usize>,
    /// Its place in the order of the search's measurements, from 1.
    pub evaluation: Option<usize>,
    /// Why it was measured.
    pub reason: Option<String>,
    /// Everything that is known of it, from the weakest source to the strongest.
    pub sources: Vec<Source>,
    /// What its verification says, one sentence each.
    pub remarks: Vec<String>,
    /// Its reconstructions, where the study kept them; the strongest source's first.
    pub pictures: Vec<GallerySection>,
}

/// By what a design's figures are known, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// By the models alone.
    Predicted,
    /// By a screening, at a lower fidelity than the search's.
    Screened,
    /// By the search's short trainings: no claim.
    Measured,
    /// By verification, which it failed.
    Refuted,
    /// By verification, which it passed.
    Verified,
}

/// Figures of a design from one source.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    /// Which, such as `Predicted by the models`.
    pub name: String,
    /// Protocol, seed and time, where it is a measurement.
    pub detail: String,
    /// What it says.
    pub figures: Figures,
}

impl DesignRow {
    /// The best knowledge of a metric, and whether it was measured.
    pub fn best(&self, metric: Metric) -> Option<(Estimate, bool)> {
        let measured = self.measured.and_then(|figures| figures.get(metric)).map(|e| (e, true));
        measured.or_else(|| self.predicted.and_then(|figures| figures.get(metric)).map(|e| (e, false)))
    }

    /// Whether the figure of a metric is verification's: of a leakage that verification extends, only where it found an upper limit.
    pub fn is_verified_figure(&self, metric: Metric) -> bool {
        let extended = matches!(metric, Metric::PsnrMean | Metric::PsnrP95 | Metric::SsimMean);
        let bounded = || self.upper.and_then(|figures| figures.get(metric)).is_some();
        self.known_by.is_verification() && (!extended || bounded())
    }

    /// The image that the attacker recovers best, of the pictures that there are.
    pub fn most_exposed(&self) -> Option<&GalleryPair> {
        let pairs = self.pictures.iter().flat_map(|section| &section.pairs);
        pairs.max_by(|a, b| a.psnr.total_cmp(&b.psnr))
    }
}
