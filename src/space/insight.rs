//! What is known of a layer's channels before anything is measured.

use std::collections::HashMap;

use super::order::live_channels;
use super::{Candidate, ChannelChoice, Design, Mix, Selection};
use crate::features::ChannelScores;
use crate::proxy::{LayerMoments, Proxies, Workspace};

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
        self.get(split).map_or_else(Vec::new, |insight| live_channels(&insight.scores))
    }

    fn with_channels(&self, base: &Candidate, channels: Vec<u16>) -> Option<Candidate> {
        let insight = self.get(base.design.split.as_str())?;
        let design = Design { split: base.design.split.clone(), channels: ChannelChoice::set(channels) };
        let channels = design.channels.channels()?;
        let Proxies { linear_attack, class_separation } = insight.moments.proxies(channels, &mut Workspace::default());
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

    /// The closed-form stand-ins for leakage and utility of what `selection` chose.
    pub(super) fn proxies(&self, selection: Selection, choice: &ChannelChoice, workspace: &mut Workspace) -> Proxies {
        match (choice, self.mix(selection)) {
            (ChannelChoice::Set(channels), _) => self.moments.proxies(channels, workspace),
            (ChannelChoice::Mix(mix), Some(insight)) => {
                let all: Vec<u16> = (0u16..).take(mix.depth()).collect();
                insight.moments.proxies(&all, workspace)
            }
            (ChannelChoice::Mix(_), None) => Proxies { linear_attack: f64::NAN, class_separation: f64::NAN },
        }
    }
}
