//! One design that may be measured.

use super::{Cost, Design, Place, Selection};
use crate::measurement::DesignId;
use crate::proxy::Proxies;

/// A design with its exact cost and the closed-form numbers that the surrogate sees.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The design's id.
    pub id: DesignId,
    /// The design.
    pub design: Design,
    /// Position of the split layer in the backbone.
    pub split_index: usize,
    /// Every selection of the space that makes this very design; none where it was found by local search.
    pub selections: Vec<Selection>,
    /// Exact cost.
    pub cost: Cost,
    /// PSNR of a linear map from single positions in closed form, dB: a stand-in for leakage, never a result.
    pub linear_attack: f64,
    /// Class separation of the pooled channels in closed form: a stand-in for utility, never a result.
    pub class_separation: f64,
}

impl Candidate {
    /// Names of the [`features`](Self::features).
    pub const FEATURES: [&'static str; 4] = ["log2_depth", "log2_upload", "linear_attack", "class_separation"];

    /// Inputs of the predictive models: log₂ depth, log₂ of the uploaded numbers per image, and the closed-form
    /// stand-ins for leakage and utility.
    pub fn features(&self) -> [f64; Self::FEATURES.len()] {
        let proxies = Proxies { linear_attack: self.linear_attack, class_separation: self.class_separation };
        features(&self.cost, self.design.channels.depth(), proxies)
    }

    /// What it shares with candidates that differ in their choice of channels alone.
    pub fn place(&self) -> Place {
        let depth = self.design.channels.depth();
        Place { split: self.design.split.clone(), split_index: self.split_index, depth, cost: self.cost }
    }

    /// The selections' names, joined; of a set that no selection makes, how it was found.
    pub fn selection_names(&self) -> String {
        if self.selections.is_empty() {
            return "local search".to_owned();
        }
        let names: Vec<_> = self.selections.iter().map(ToString::to_string).collect();
        names.join("+")
    }
}

/// [`Candidate::features`] of `depth` channels or combinations.
pub(super) fn features(cost: &Cost, depth: usize, proxies: Proxies) -> [f64; Candidate::FEATURES.len()] {
    let numbers = cost.side * cost.side * depth;
    [(depth as f64).log2(), (numbers as f64).log2(), proxies.linear_attack, proxies.class_separation]
}
