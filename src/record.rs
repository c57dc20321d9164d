//! A study's conclusion, as it is stored beside the journal.
//!
//! `optimize` writes it once; `show`, `report` and `export` read it and never need the models, the data or the
//! search again.

mod channel_map;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backbone::{Architecture, BackboneFile, Preprocess};
use crate::config::{Attacker, PrecisionEntry};
use crate::data::Resize;
use crate::estimate::Floors;
use crate::measurement::{DesignId, Evaluation, Measurement, Metric};
use crate::search::{Diagnostics, Gain, Openness, PredictedFigure, Relaxation, Status};
use crate::solver::{self, Bound, Bounds};
use crate::space::{Candidate, Cost, Design};
use crate::surrogate::Prediction;
use crate::verify::{MetricBound, Verdict};

pub use channel_map::{ChannelFigures, ChannelMap};

/// Name of the record's file in the study's folder.
pub const RECORD_FILE: &str = "conclusion.json";

/// Version of the record: of its layout, and of what its claims count. Those of version 2 know no ensemble of attacks.
pub const RECORD_VERSION: u32 = 3;

/// Where a design stands with the budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It was verified.
    Verified,
    /// It was put to verification and failed.
    Refuted,
    /// It would be verified with at least the budget's confidence.
    Within,
    /// It would fail with at least that confidence.
    Over,
    /// Neither can be said.
    Uncertain,
}

impl Standing {
    /// Whether it is, or can be expected to be, within the budgets.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Verified | Self::Within)
    }

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Refuted => "refuted",
            Self::Within => "within",
            Self::Over => "over",
            Self::Uncertain => "uncertain",
        }
    }
}

/// Everything a reader of the study needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Version of the layout.
    pub version: u32,
    /// The study's name.
    pub study: String,
    /// How it ended.
    pub status: Status,
    /// Id of the chosen design: the verified one, else the best candidate for it, else the nearest to feasible.
    pub chosen: Option<DesignId>,
    /// Joint probability that the chosen design meets the bounds, by the models, before its verification.
    pub probability: f64,
    /// The bound that binds.
    pub binding: Option<String>,
    /// The budgets.
    pub budgets: Budgets,
    /// Every measured design and the best unmeasured ones.
    pub designs: Vec<DesignRecord>,
    /// Designs enumerated, and those that the exact budgets admit.
    pub enumerated: usize,
    /// Designs that the exact budgets admit.
    pub admitted: usize,
    /// Every verification, in order.
    pub verdicts: Vec<Verdict>,
    /// How well the models predict.
    pub diagnostics: Vec<Diagnostics>,
    /// What relaxing bounds would bring.
    pub relaxations: Vec<Relaxation>,
    /// What a reader must know.
    pub warnings: Vec<String>,
    /// What an attacker reaches without features.
    pub floors: Option<Floors>,
    /// The channels of the chosen design's layer; of studies that were concluded before records held them, `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<ChannelMap>,
    /// What determined the figures.
    pub provenance: Provenance,
}

/// The user's budgets, in base units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budgets {
    /// Multiply-accumulates.
    pub compute: Option<u64>,
    /// Bytes of parameters.
    pub storage: Option<u64>,
    /// Bytes of activations.
    pub memory: Option<u64>,
    /// Bytes of features per image.
    pub upload: Option<u64>,
    /// Nanoseconds that an image takes on the profiled device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<u64>,
    /// Bounds on leakage.
    pub privacy: Vec<MetricBound>,
    /// Joint probability with which the leakage bounds must hold.
    pub confidence: f64,
    /// Whom they must hold against.
    pub attacker: Attacker,
}

/// One design of the study.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DesignRecord {
    /// Its id.
    pub id: DesignId,
    /// The design.
    pub design: Design,
    /// Position of the split layer in the backbone.
    pub split_index: usize,
    /// The selections that make it, joined by `+`.
    pub selection: String,
    /// Its exact cost.
    pub cost: CostRecord,
    /// Predicted figures at the search's protocol.
    pub predicted: Vec<PredictedFigure>,
    /// What verification is expected to find, from the measured figures where there are some, else from the predicted
    /// ones: of bounded figures the upper confidence limit. This, not what short trainings found, is compared with limits.
    pub expected: Vec<PredictedFigure>,
    /// Joint probability that it would be verified: by what was measured, where it was, else by the models.
    pub probability: f64,
    /// Figures measured by the search; empty where it was not measured.
    pub measured: Vec<Measurement>,
    /// Figures of its screening, at a lower fidelity than the search's; empty where it was not screened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub screened: Vec<Measurement>,
    /// Why it was measured, or screened.
    pub reason: Option<String>,
    /// Its place in the order of the search's measurements.
    pub order: Option<u64>,
}

/// A [`Cost`] in base units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostRecord {
    /// Multiply-accumulates per image.
    pub macs: u64,
    /// Bytes of parameters.
    pub bytes: u64,
    /// Weights and biases.
    pub parameters: u64,
    /// Bytes of activations.
    pub peak_memory: u64,
    /// Bytes of features per image.
    pub upload_bytes: u64,
    /// Nanoseconds that an image takes on the profiled device, where the budget names a profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<u64>,
}

impl From<Cost> for CostRecord {
    fn from(cost: Cost) -> Self {
        Self {
            macs: cost.macs.0,
            bytes: cost.bytes.0,
            parameters: cost.parameters,
            peak_memory: cost.peak_memory.0,
            upload_bytes: cost.upload_bytes.0,
            latency_ns: cost.latency.map(|latency| latency.0),
        }
    }
}

/// What determined the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of this program.
    pub version: String,
    /// The command as it was given.
    pub command: String,
    /// The budget file.
    pub budget_file: String,
    /// The space file.
    pub space_file: String,
    /// The backbone's weights.
    pub weights_file: String,
    /// The backbone's architecture: the name of a known one, or of its ONNX file.
    pub architecture: String,
    /// What the space says of the backbone beside that, where it says anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backbone: Option<BackboneRecord>,
    /// Channels of the layers that the space splits at; of a known architecture's records they may be missing.
    #[serde(default)]
    pub widths: BTreeMap<String, usize>,
    /// The deepest layer whose weights were read.
    pub deepest_layer: String,
    /// BLAKE3 of the weights, at the precision that was measured.
    pub weights_hash: String,
    /// BLAKE3 of the images and labels.
    pub data_hash: String,
    /// Images in the three parts.
    pub images: [usize; 3],
    /// How images of any size became squares, where they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// Side of the images, padding included.
    pub image_side: usize,
    /// Rows and columns of the images before padding.
    pub content: [usize; 2],
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Precision on the device and on the wire.
    pub precision: PrecisionEntry,
    /// The study's seed.
    pub seed: u64,
    /// The device that trained.
    pub device: String,
    /// Operating system and processor architecture.
    pub machine: String,
    /// Processor cores that the program could use; of older studies not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cores: Option<usize>,
    /// Seconds that all measurements took.
    pub seconds: f64,
    /// Protocols: search and verification.
    pub protocols: [String; 2],
    /// Protocol of screenings, where there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub screening: Option<String>,
}

/// What a space says of a backbone that is no known architecture as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackboneRecord {
    /// Whether its file is an ONNX file.
    pub onnx: bool,
    /// How bytes become the net's input, where the space says so.
    pub preprocess: Option<Preprocess>,
    /// Whether the net takes blue before green before red.
    pub reversed_colours: bool,
}

impl Provenance {
    /// The net whose weights are in `weights`.
    pub fn backbone_file(&self, weights: PathBuf) -> BackboneFile {
        let own = self.backbone.as_ref();
        BackboneFile {
            architecture: own.is_none_or(|own| !own.onnx).then(|| self.architecture.clone()),
            weights,
            preprocess: own.and_then(|own| own.preprocess),
            reversed_colours: own.is_some_and(|own| own.reversed_colours),
        }
    }

    /// Channels of the layer `split`; 0 where nothing is known of it.
    pub fn layer_channels(&self, split: &str) -> usize {
        let known = || Some(Architecture::known(&self.architecture)?.layer(split).ok()?.out_channels);
        self.widths.get(split).copied().or_else(known).unwrap_or(0)
    }
}

impl DesignRecord {
    /// The record of a candidate that was not measured yet.
    pub fn new(candidate: &Candidate, predicted: Vec<PredictedFigure>) -> Self {
        Self {
            id: candidate.id.clone(),
            design: candidate.design.clone(),
            split_index: candidate.split_index,
            selection: candidate.selection_names(),
            cost: candidate.cost.into(),
            predicted,
            expected: Vec::new(),
            probability: 0.0,
            measured: Vec::new(),
            screened: Vec::new(),
            reason: None,
            order: None,
        }
    }

    /// Adds what the search measured.
    pub fn add_measured(&mut self, evaluation: &Evaluation) {
        self.measured = evaluation.measurements().to_vec();
        self.reason = Some(evaluation.reason.clone());
        self.order = Some(evaluation.order);
    }

    /// Adds what a screening found; says why it was made, where no measurement says more.
    pub fn add_screened(&mut self, evaluation: &Evaluation) {
        self.screened = evaluation.measurements().to_vec();
        self.reason.get_or_insert_with(|| evaluation.reason.clone());
    }

    /// The measured figure, where there is one.
    pub fn measured(&self, metric: Metric) -> Option<&Measurement> {
        self.measured.iter().find(|m| m.metric == metric)
    }

    /// The predicted figure, where there is one.
    pub fn predicted(&self, metric: Metric) -> Option<&PredictedFigure> {
        self.predicted.iter().find(|p| p.metric == metric)
    }

    /// Fills in what verification is expected to find, and with which probability that meets `bounds`.
    pub fn expect_verification(&mut self, gain: &Gain, bounds: &[MetricBound]) {
        let design = Openness::new(self.split_index, self.cost.upload_bytes);
        self.expected = (self.predicted.iter())
            .map(|&predicted| match self.measured(predicted.metric) {
                Some(row) => PredictedFigure { metric: row.metric, value: row.value, sd: row.std_error },
                None => predicted,
            })
            .map(|figure| gain.expected(figure, design))
            .collect();
        let (mut known, mut constraints) = (Vec::new(), Vec::new());
        for bound in bounds {
            if let Some(expected) = self.expected(bound.metric) {
                known.push(Bound { name: bound.metric.to_string(), limit: bound.limit });
                constraints.push(Prediction { mean: expected.value, sd: expected.sd });
            }
        }
        self.probability = solver::probability_feasible(constraints.into_iter(), &Bounds(known));
    }

    /// What verification is expected to find of a figure.
    pub fn expected(&self, metric: Metric) -> Option<&PredictedFigure> {
        self.expected.iter().find(|p| p.metric == metric)
    }
}

impl Record {
    /// The record of a design.
    pub fn design(&self, id: &DesignId) -> Option<&DesignRecord> {
        self.designs.iter().find(|d| d.id == *id)
    }

    /// The chosen design's record.
    pub fn chosen_design(&self) -> Option<&DesignRecord> {
        self.design(self.chosen.as_ref()?)
    }

    /// The chosen design's verification, where it was put to one.
    pub fn chosen_verdict(&self) -> Option<&Verdict> {
        self.verdict(self.chosen.as_ref()?)
    }

    /// The verification of a design, where it was put to one.
    pub fn verdict(&self, id: &DesignId) -> Option<&Verdict> {
        self.verdicts.iter().rev().find(|v| v.design == *id)
    }

    /// A figure on the scale of verification, with its error: of a leakage the upper limit that verification found. Of a
    /// design that was not put to verification, and where an attack was cut short, what is expected instead.
    pub fn on_verification_scale(&self, design: &DesignRecord, metric: Metric) -> Option<(f64, f64)> {
        let expected = design.expected(metric).map(|p| (p.value, p.sd));
        let Some(figure) = self.verdict(&design.id).and_then(|verdict| verdict.figure(metric)) else {
            return expected;
        };
        match (metric.extended(), figure.upper.or(figure.extended), expected) {
            (None, ..) => Some((figure.value, figure.std_error)),
            (_, Some(upper), _) => Some((upper, figure.std_error)),
            (_, None, Some((value, sd))) => Some((value.max(figure.value), sd)),
            (_, None, None) => Some((figure.value, figure.std_error)),
        }
    }

    /// Where a design stands with the budgets.
    pub fn standing(&self, design: &DesignRecord) -> Standing {
        let confidence = self.budgets.confidence;
        match self.verdict(&design.id) {
            Some(verdict) if verdict.holds => Standing::Verified,
            Some(_) => Standing::Refuted,
            None if !self.meets_exact_budgets(design) || design.probability <= 1.0 - confidence => Standing::Over,
            None if design.probability >= confidence => Standing::Within,
            None => Standing::Uncertain,
        }
    }

    /// Whether a design fits the device.
    pub fn meets_exact_budgets(&self, design: &DesignRecord) -> bool {
        let within = |budget: Option<u64>, used: u64| budget.is_none_or(|limit| used <= limit);
        let b = &self.budgets;
        within(b.compute, design.cost.macs)
            && within(b.storage, design.cost.bytes)
            && within(b.memory, design.cost.peak_memory)
            && within(b.upload, design.cost.upload_bytes)
            && within(b.latency, design.cost.latency_ns.unwrap_or(u64::MAX))
    }
}
