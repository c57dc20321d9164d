//! The designs a study chooses from, and what each costs.
//!
//! A [`Design`] is a split layer and a [`ChannelChoice`]. [`Space::slots`] enumerates *how* designs are made
//! (split × depth × selection) without looking at data; [`Space::candidates`] turns slots into designs once
//! the channel scores are known. Two slots that choose the same channels are one candidate.

mod cost;
mod mix;
mod selection;

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backbone::{Architecture, Layer};
use crate::config::{ConfigError, PrecisionEntry, SpaceFile};
use crate::features::ChannelScores;
use crate::measurement::DesignId;
use crate::proxy::LayerMoments;

pub use cost::Cost;
pub use mix::Mix;
pub use selection::{PRUNED_FRACTION, Selection};

/// What the local net keeps of the split layer's output channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelChoice {
    /// These channels of the layer, ascending and without repeats, after its ReLU.
    Set(Vec<u16>),
    /// Linear combinations of all channels, taken before the ReLU.
    Mix(Mix),
}

impl ChannelChoice {
    /// A set of channels, brought into ascending order.
    pub fn set(mut channels: Vec<u16>) -> Self {
        channels.sort_unstable();
        channels.dedup();
        Self::Set(channels)
    }

    /// Output channel count D′.
    pub fn depth(&self) -> usize {
        match self {
            Self::Set(channels) => channels.len(),
            Self::Mix(mix) => mix.depth(),
        }
    }

    /// The channels of the backbone's layer that the local net computes; `None` where it computes combinations of all.
    pub fn channels(&self) -> Option<&[u16]> {
        match self {
            Self::Set(channels) => Some(channels),
            Self::Mix(_) => None,
        }
    }

    /// Whether a ReLU follows.
    pub fn relu(&self) -> bool {
        match self {
            Self::Set(_) => true,
            Self::Mix(mix) => mix.relu(),
        }
    }

    /// Whether this chooses channels, or mixes as many, that a layer of `width` channels has.
    pub fn fits(&self, width: usize) -> bool {
        match self {
            Self::Set(channels) => !channels.is_empty() && channels.iter().all(|&channel| usize::from(channel) < width),
            Self::Mix(mix) => mix.inputs() == width,
        }
    }
}

/// A local net: the backbone up to `split`, of whose last layer only `channels` are computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// Name of the split layer.
    pub split: String,
    /// The channels it keeps.
    pub channels: ChannelChoice,
}

impl Design {
    /// Whether `part` is split at the same layer and keeps a part of this design's channels, or all of them, so that whoever
    /// holds this design's features can compute the part's.
    pub fn contains(&self, part: &Design) -> bool {
        self.split == part.split
            && match (&self.channels, &part.channels) {
                (ChannelChoice::Set(own), ChannelChoice::Set(part)) => part.iter().all(|channel| own.contains(channel)),
                (ChannelChoice::Mix(own), ChannelChoice::Mix(part)) => own.contains(part),
                _ => false,
            }
    }

    /// A name that depends on the design alone: `SPLIT-DEPTH-HASH`.
    pub fn id(&self) -> DesignId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.split.as_bytes());
        match &self.channels {
            ChannelChoice::Set(channels) => {
                for channel in channels {
                    hasher.update(&channel.to_le_bytes());
                }
            }
            ChannelChoice::Mix(mix) => {
                hasher.update(b" mix ");
                hasher.update(&mix.bytes());
            }
        }
        let hash = hasher.finalize().to_hex();
        let split: String =
            self.split.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').take(40).collect();
        format!("{split}-{}-{}", self.channels.depth(), &hash[..8])
            .parse()
            .expect("letters, digits and dashes, of limited length, are an id")
    }
}

/// How a design is made, before any data is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The split layer.
    pub layer: &'static Layer,
    /// Output channel count.
    pub depth: usize,
    /// How the channels are chosen.
    pub selection: Selection,
}

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
    pub fn features(&self) -> Vec<f64> {
        let numbers = self.cost.side * self.cost.side * self.design.channels.depth();
        vec![
            (self.design.channels.depth() as f64).log2(),
            (numbers as f64).log2(),
            self.linear_attack,
            self.class_separation,
        ]
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

/// A validated search space.
#[derive(Debug, Clone)]
pub struct Space {
    path: PathBuf,
    architecture: Architecture,
    splits: Vec<(&'static Layer, Vec<usize>)>,
    selections: Vec<Selection>,
    precision: PrecisionEntry,
    image_side: usize,
}

impl Space {
    /// Checks `file` against the backbone's architecture, for square images of `image_side`.
    ///
    /// # Errors
    /// [`ConfigError::Field`] for an unknown architecture, a layer that it lacks, a depth that the layer lacks, or
    /// images that the pools before a split can't halve.
    pub fn new(file: &SpaceFile, image_side: usize) -> Result<Self, ConfigError> {
        let architecture = file.architecture()?;
        let mut splits = Vec::new();
        for (name, depths) in &file.splits {
            let field = format!("splits.{name}");
            let error = |value: String, problem: String| ConfigError::field(&file.path, &field, value, problem);
            let layer = architecture.layer(name).map_err(|source| error(name.clone(), source.to_string()))?;
            architecture.shape(layer, image_side).map_err(|source| error(name.clone(), source.to_string()))?;
            let mut depths = depths.clone();
            depths.sort_unstable();
            depths.dedup();
            if let Some(depth) = depths.iter().find(|&&depth| depth > layer.out_channels) {
                let width = layer.out_channels;
                let problem = format!("larger than the layer: {name} has {width} output channels");
                return Err(error(depth.to_string(), problem));
            }
            splits.push((layer, depths));
        }
        splits.sort_unstable_by_key(|(layer, _)| layer.index);
        Ok(Self {
            path: file.path.clone(),
            architecture,
            splits,
            selections: Selection::all(&file.selections),
            precision: file.precision,
            image_side,
        })
    }

    /// The backbone's architecture.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The layers where a split is allowed, from the input on.
    pub fn splits(&self) -> Vec<&'static Layer> {
        self.splits.iter().map(|&(layer, _)| layer).collect()
    }

    /// How channels may be chosen.
    pub fn selections(&self) -> &[Selection] {
        &self.selections
    }

    /// The largest output channel count at the layer `split`; 0 where there is no split.
    pub fn deepest(&self, split: &str) -> usize {
        let depths = self.splits.iter().filter(|(layer, _)| layer.name == split).flat_map(|(_, depths)| depths);
        depths.copied().max().unwrap_or(0)
    }

    /// Precision on the device and on the wire.
    pub fn precision(&self) -> PrecisionEntry {
        self.precision
    }

    fn cost_at(&self, layer: &Layer, depth: usize) -> Cost {
        let layers = &self.architecture.layers()[..=layer.index];
        Cost::new(layers, self.image_side, depth, self.precision)
    }

    /// Exact cost of a design at `split` with `depth` channels.
    ///
    /// # Errors
    /// [`ConfigError::Field`] where the backbone has no such layer or the layer fewer channels.
    pub fn cost(&self, split: &str, depth: usize) -> Result<Cost, ConfigError> {
        let error = |value: String, problem| ConfigError::field(&self.path, "split", value, problem);
        let layer = self.architecture.layer(split).map_err(|source| error(split.to_owned(), source.to_string()))?;
        if depth == 0 || depth > layer.out_channels {
            let problem = format!("{split} has {} output channels", layer.out_channels);
            return Err(error(format!("{depth} channels"), problem));
        }
        Ok(self.cost_at(layer, depth))
    }

    /// Every split × depth × selection, in a fixed order.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, Cost)> + '_ {
        self.splits.iter().flat_map(move |&(layer, ref depths)| {
            depths.iter().flat_map(move |&depth| {
                let cost = self.cost_at(layer, depth);
                self.selections.iter().map(move |&selection| (Slot { layer, depth, selection }, cost))
            })
        })
    }

    /// The designs of all slots that `keep` admits, each once.
    ///
    /// `insights` says of every split layer, by name, what is known of its channels. A slot that can't be filled
    /// (fewer live channels than its depth) makes no design.
    pub fn candidates(
        &self,
        insights: &HashMap<&'static str, LayerInsight>,
        keep: impl Fn(&Cost) -> bool,
    ) -> Vec<Candidate> {
        use rayon::prelude::*;
        let slots: Vec<(Slot, Cost)> = self.slots().filter(|(_, cost)| keep(cost)).collect();
        let fill = |(slot, cost): (Slot, Cost)| {
            let insight = insights.get(slot.layer.name)?;
            let channels = slot.selection.choose(slot.layer.name, slot.depth, insight)?;
            let (linear_attack, class_separation) = insight.proxies(slot.selection, &channels);
            let design = Design { split: slot.layer.name.to_owned(), channels };
            Some(Candidate {
                id: design.id(),
                split_index: slot.layer.index,
                selections: vec![slot.selection],
                cost,
                linear_attack,
                class_separation,
                design,
            })
        };
        // In the slots' order, whichever is computed first.
        let filled: Vec<Option<Candidate>> = slots.into_par_iter().map(fill).collect();
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut known: HashMap<DesignId, usize> = HashMap::new();
        for candidate in filled.into_iter().flatten() {
            match known.get(&candidate.id) {
                Some(&index) => candidates[index].selections.extend(candidate.selections),
                None => {
                    known.insert(candidate.id.clone(), candidates.len());
                    candidates.push(candidate);
                }
            }
        }
        candidates
    }
}

/// What is known in closed form of a layer's channels.
#[derive(Debug, Clone)]
pub struct LayerInsight {
    /// Fisher scores and dead channels.
    pub scores: ChannelScores,
    /// Second moments of features, pixels and classes.
    pub moments: LayerMoments,
    /// The mixes that were asked for.
    pub mixes: Vec<MixInsight>,
}

/// Any set of a layer's channels as a candidate.
pub trait ChannelSets: Sync {
    /// The channels of the layer `split` that are worth keeping; none where nothing is known of it.
    fn live(&self, split: &str) -> Vec<u16>;
    /// `base` with these channels in place of its own, as many; `None` where nothing is known of its layer.
    fn with_channels(&self, base: &Candidate, channels: Vec<u16>) -> Option<Candidate>;
}

impl ChannelSets for HashMap<&'static str, LayerInsight> {
    fn live(&self, split: &str) -> Vec<u16> {
        self.get(split).map_or_else(Vec::new, |insight| selection::live_channels(&insight.scores))
    }

    fn with_channels(&self, base: &Candidate, channels: Vec<u16>) -> Option<Candidate> {
        let insight = self.get(base.design.split.as_str())?;
        let design = Design { split: base.design.split.clone(), channels: ChannelChoice::set(channels) };
        let channels = design.channels.channels()?;
        let (linear_attack, class_separation) =
            (insight.moments.linear_attack_psnr(channels), insight.moments.class_separation(channels));
        let (id, split_index, cost) = (design.id(), base.split_index, base.cost);
        Some(Candidate { id, split_index, selections: Vec::new(), cost, linear_attack, class_separation, design })
    }
}

/// What is known in closed form of one way of mixing a layer's channels.
#[derive(Debug, Clone)]
pub struct MixInsight {
    /// The selection that mixes so.
    pub selection: Selection,
    /// Its combinations, the most useful first: those of a smaller depth are the first of these.
    pub mix: Mix,
    /// Second moments of their features, pixels and classes.
    pub moments: LayerMoments,
}

impl LayerInsight {
    /// What is known of a mixing selection, where it was asked for.
    pub fn mix(&self, selection: Selection) -> Option<&MixInsight> {
        self.mixes.iter().find(|mix| mix.selection == selection)
    }

    /// The closed-form stand-ins for leakage (PSNR in dB) and utility (class separation) of what `selection` chose.
    fn proxies(&self, selection: Selection, choice: &ChannelChoice) -> (f64, f64) {
        let of = |moments: &LayerMoments, channels: &[u16]| {
            (moments.linear_attack_psnr(channels), moments.class_separation(channels))
        };
        match (choice, self.mix(selection)) {
            (ChannelChoice::Set(channels), _) => of(&self.moments, channels),
            (ChannelChoice::Mix(mix), Some(insight)) => {
                of(&insight.moments, &(0..mix.depth()).map(|c| c as u16).collect::<Vec<_>>())
            }
            (ChannelChoice::Mix(_), None) => (f64::NAN, f64::NAN),
        }
    }
}
