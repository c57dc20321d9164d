//! `manifest.json`: what a package is, how to run it, and what was verified of it.

use serde::{Deserialize, Serialize};

use crate::config::{Attacker, FloatPrecision, WeightsPrecision};
use crate::data::Resize;
use crate::measurement::Metric;
use crate::record::CostRecord;
use crate::search::Status;
use crate::space::Design;
use crate::verify::{Verdict, VerifiedFigure};

/// Name of the manifest's file.
pub const MANIFEST_FILE: &str = "manifest.json";

/// Version of the manifest's layout.
pub const MANIFEST_VERSION: u32 = 2;

/// A package's description.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout.
    pub version: u32,
    /// Version of the program that wrote it.
    pub privynet: String,
    /// The study it comes from.
    pub study: String,
    /// Whether the design was verified.
    pub status: Status,
    /// The backbone's architecture.
    pub architecture: String,
    /// The design's id.
    pub id: String,
    /// Split layer and kept channels.
    pub design: Design,
    /// How the channels were selected.
    pub selection: String,
    /// How an image becomes the net's input.
    pub preprocessing: Preprocessing,
    /// Precision of the stored weights.
    pub weights_precision: WeightsPrecision,
    /// Precision of the uploaded features.
    pub features_precision: FloatPrecision,
    /// Shape of the features: channels, rows, columns.
    pub feature_shape: [usize; 3],
    /// Exact cost on the device.
    pub cost: CostRecord,
    /// Classes of the cloud net, in the order of its outputs.
    pub classes: Vec<String>,
    /// What verification found, over its seeds.
    pub claims: Vec<Claim>,
    /// Whether every attack's learning curve could be extended to longer training; where not, leakage is a lower bound.
    pub converged: bool,
    /// What speaks against the design; empty for a verified one.
    pub objections: Vec<String>,
    /// The trained cloud net in the package, where there is one.
    pub cloud_net: Option<CloudNetRecord>,
    /// Joint confidence of the leakage bounds.
    pub confidence: f64,
    /// Whom the figures hold against.
    #[serde(default)]
    pub attacker: Attacker,
    /// The same, and the attacks behind the figures, in words.
    pub threat_model: String,
    /// Protocol of the verification.
    pub protocol: Option<String>,
    /// Seeds of the verification.
    pub seeds: Vec<u64>,
    /// BLAKE3 of the backbone's weights that the design uses, at the stored precision.
    pub weights_hash: String,
    /// BLAKE3 of the images and labels.
    pub data_hash: String,
    /// BLAKE3 of `local_net.onnx`.
    pub local_net_hash: String,
}

/// How an image becomes the local net's input: `scale·byte + shift` per colour, after padding with black. `local_net.onnx` does it
/// itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// How a photograph of any size becomes an image of the content's size, where it was so for the study.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// Side of the net's square input.
    pub side: usize,
    /// Rows and columns of the images before padding.
    pub content: [usize; 2],
    /// Factors on red, green and blue, 0 to 255.
    pub scale: [f32; 3],
    /// Added to them.
    pub shift: [f32; 3],
}

/// The package's own cloud net: one of the verification's trainings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudNetRecord {
    /// Seed of its training.
    pub seed: u64,
    /// Its accuracy on the evaluation images.
    pub accuracy: f64,
    /// Its standard error over images.
    pub std_error: f64,
}

/// The figures of a verification.
pub fn claims(verdict: &Verdict) -> Vec<Claim> {
    let claim = |f: &VerifiedFigure| Claim {
        metric: f.metric,
        value: f.value,
        std_error: f.std_error,
        extended: f.extended,
        upper: f.upper,
        limit: f.limit,
    };
    verdict.figures.iter().map(claim).collect()
}

/// One verified figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Which figure.
    pub metric: Metric,
    /// Its value.
    pub value: f64,
    /// Its standard error over images.
    pub std_error: f64,
    /// What sixteen times the training of the attack is expected to reach.
    pub extended: Option<f64>,
    /// One-sided upper confidence limit, where it is bounded.
    pub upper: Option<f64>,
    /// The bound, where there is one.
    pub limit: Option<f64>,
}
