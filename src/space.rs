//! The designs a study chooses from, and what each costs.
//!
//! A [`Design`] is a split layer and a [`ChannelChoice`]. [`Space::slots`] enumerates *how* designs are made
//! (split × depth × selection) without looking at data; [`Space::candidates`] turns slots into designs once
//! the channel scores are known. Two slots that choose the same channels are one candidate. Of a million [`Candidates`] only
//! what scoring needs is kept: each is made anew when it is asked for.

mod candidate;
mod candidates;
mod cost;
mod insight;
mod mix;
mod order;
mod selection;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::backbone::{Architecture, Layer};
use crate::config::{ConfigError, PrecisionEntry, ProfileFile, SpaceFile};
use crate::measurement::DesignId;

pub use candidate::Candidate;
pub use candidates::{Candidates, Interrupted, Place, SplitLayer};
pub use cost::Cost;
pub use insight::{ChannelSets, LayerInsight, MixInsight};
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

    /// Whether channels are mixed, and a ReLU follows the mixing: not whether one comes after channels that are only chosen.
    pub fn mixed_before_relu(&self) -> bool {
        match self {
            Self::Set(_) => false,
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
        design_id(&self.split, self.channels.depth(), content(&self.split, &self.channels))
    }
}

/// The first 64 bits of a hash of what makes a design.
fn content(split: &str, channels: &ChannelChoice) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(split.as_bytes());
    match channels {
        ChannelChoice::Set(channels) => {
            let bytes: Vec<u8> = channels.iter().flat_map(|channel| channel.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
        ChannelChoice::Mix(mix) => {
            hasher.update(b" mix ");
            hasher.update(&mix.bytes());
        }
    }
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The part of a hash of a design's [`content`] that its id shows.
fn shown(content: u64) -> u32 {
    (content >> 32) as u32
}

fn design_id(split: &str, depth: usize, content: u64) -> DesignId {
    let split: String =
        split.chars().filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_').take(40).collect();
    format!("{split}-{depth}-{:08x}", shown(content))
        .parse()
        .expect("letters, digits and dashes, of limited length, are an id")
}

/// How a design is made, before any data is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// The split layer.
    pub layer: &'static Layer,
    /// Output channel count.
    pub depth: usize,
    /// How the channels are chosen.
    pub selection: Selection,
}

/// A validated search space.
#[derive(Debug, Clone)]
pub struct Space {
    path: PathBuf,
    architecture: Architecture,
    splits: Vec<(&'static Layer, Vec<usize>)>,
    selections: Vec<Selection>,
    precision: PrecisionEntry,
    image_side: Option<usize>,
    /// Of every layer and depth.
    costs: HashMap<(usize, usize), Cost>,
}

impl Space {
    /// Checks `file` against its backbone's architecture, for square images of `image_side`; names and depths alone where that
    /// isn't known yet.
    ///
    /// # Errors
    /// [`ConfigError::Field`] for a layer that the net lacks, a depth that the layer lacks, or images whose maps at a split aren't
    /// the images halved some times.
    pub fn new(file: &SpaceFile, architecture: Architecture, image_side: Option<usize>) -> Result<Self, ConfigError> {
        let mut splits = Vec::new();
        let mut costs = HashMap::new();
        for (name, depths) in &file.splits {
            let field = format!("splits.{name}");
            let error = |value: String, problem: String| {
                ConfigError::field(&file.path, &field, value, problem).located(&file.text)
            };
            let layer = architecture.layer(name).map_err(|source| error(name.clone(), source.to_string()))?;
            let mut depths = depths.clone();
            depths.sort_unstable();
            depths.dedup();
            if let Some(depth) = depths.iter().find(|&&depth| depth > layer.out_channels) {
                let width = layer.out_channels;
                let problem = format!("larger than the layer: {name} has {width} output channels");
                return Err(error(depth.to_string(), problem));
            }
            for &depth in image_side.iter().flat_map(|_| &depths) {
                let side = image_side.unwrap_or_default();
                let cost = Cost::new(architecture, layer, side, depth, file.precision);
                costs.insert((layer.index, depth), cost.map_err(|source| error(name.clone(), source.to_string()))?);
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
            costs,
        })
    }

    /// The space with every cost's latency, from a profile of its net for images of its side.
    ///
    /// # Errors
    /// [`ConfigError::Field`] for a profile of another net or of images of another side, one without a split of this space, or
    /// with fewer channels there than a design has: the profile's file, the field, and how to make one that fits.
    pub fn timed(mut self, profile: &ProfileFile) -> Result<Self, ConfigError> {
        profile.check(self.architecture, self.image_side.unwrap_or_default(), &self.path)?;
        for (layer, depths) in &self.splits {
            for depth in depths {
                let latency = profile.latency(layer.name, *depth, &self.path)?;
                if let Some(cost) = self.costs.get_mut(&(layer.index, *depth)) {
                    cost.latency = Some(latency);
                }
            }
        }
        Ok(self)
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

    /// The output channel counts at the layer `split`, ascending; none where there is no split.
    pub fn depths(&self, split: &str) -> &[usize] {
        let of = self.splits.iter().find(|(layer, _)| layer.name == split);
        of.map_or(&[], |(_, depths)| depths)
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
        match self.costs.get(&(layer.index, depth)) {
            Some(&cost) => Ok(cost),
            None => Cost::new(self.architecture, layer, self.image_side.unwrap_or_default(), depth, self.precision)
                .map_err(|source| error(split.to_owned(), source.to_string())),
        }
    }

    /// Every split × depth × selection, in a fixed order; selections that mix channels only where there is a convolution to fold them
    /// into. None where the images aren't known.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, Cost)> + '_ {
        self.splits.iter().flat_map(move |&(layer, ref depths)| {
            let costs = depths.iter().filter_map(move |&depth| Some((depth, *self.costs.get(&(layer.index, depth))?)));
            costs.flat_map(move |(depth, cost)| {
                let possible = self.selections.iter().filter(|selection| layer.mixable || selection.mixing().is_none());
                possible.map(move |&selection| (Slot { layer, depth, selection }, cost))
            })
        })
    }

    /// The designs of all slots whose cost `keep` admits, each once.
    ///
    /// `insights` says of every split layer, by name, what is known of its channels. A slot that can't be filled
    /// (fewer live channels than its depth) makes no design. `watch` is told the share that is done.
    ///
    /// # Errors
    /// [`Interrupted`] when `watch` says so.
    pub fn candidates<'a>(
        &'a self,
        insights: &'a HashMap<&'static str, LayerInsight>,
        keep: impl Fn(&Cost) -> bool,
        watch: &(dyn Fn(f64) -> ControlFlow<()> + Sync),
    ) -> Result<Candidates<'a>, Interrupted> {
        let layers = self.splits.iter().filter_map(|&(layer, ref depths)| {
            let insight = insights.get(layer.name)?;
            let costs = depths.iter().filter_map(|&depth| Some((depth, *self.costs.get(&(layer.index, depth))?)));
            Some(SplitLayer { layer, insight, depths: costs.filter(|(_, cost)| keep(cost)).collect() })
        });
        Candidates::enumerate(layers.collect(), &self.selections, watch)
    }
}
