//! In which order the rules of a space take a layer's channels.

use std::borrow::Cow;
use std::sync::OnceLock;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use super::selection::PRUNED_FRACTION;
use super::{ChannelChoice, LayerInsight, Selection};
use crate::features::ChannelScores;

/// A layer's channels in the orders of its rules: a design of any depth keeps the first of one. What draws have in common is
/// found out once.
#[derive(Debug)]
pub(super) struct ChannelOrders<'a> {
    split: &'a str,
    insight: &'a LayerInsight,
    live: Vec<u16>,
    /// From the highest Fisher score to the lowest.
    fisher: OnceLock<Vec<u16>>,
    /// In the layer's order, what pruning leaves to draw from.
    unpruned: OnceLock<Vec<u16>>,
    /// For each balanced rule the channels that it takes first.
    balanced: Vec<(Selection, Vec<u16>)>,
}

impl<'a> ChannelOrders<'a> {
    /// Those of `selections` at the layer `split`, up to `deepest` channels.
    pub(super) fn new(split: &'a str, insight: &'a LayerInsight, selections: &[Selection], deepest: usize) -> Self {
        let live = live_channels(&insight.scores);
        let balanced = |&selection: &Selection| match selection {
            Selection::Balanced { weight } => {
                Some((selection, insight.moments.balanced(&live, f64::from(weight) / 100.0, deepest)))
            }
            _ => None,
        };
        let balanced = selections.par_iter().filter_map(balanced).collect();
        Self { split, insight, live, fisher: OnceLock::new(), unpruned: OnceLock::new(), balanced }
    }

    /// What is known of the layer.
    pub(super) fn insight(&self) -> &'a LayerInsight {
        self.insight
    }

    /// The order of a rule that chooses channels; empty for one that mixes them, and for a balanced one that is not among the
    /// layer's.
    pub(super) fn order(&self, selection: Selection) -> Cow<'_, [u16]> {
        match selection {
            Selection::First => Cow::Borrowed(&self.live),
            Selection::Fisher => Cow::Borrowed(self.fisher()),
            Selection::Random { seed } => Cow::Owned(shuffled(self.live.clone(), self.split, "random", seed)),
            Selection::PrunedRandom { seed } => {
                Cow::Owned(shuffled(self.unpruned().to_vec(), self.split, "pruned-random", seed))
            }
            Selection::Balanced { .. } => {
                let known = self.balanced.iter().find(|(known, _)| *known == selection);
                Cow::Borrowed(known.map_or(&[], |(_, order)| order))
            }
            Selection::Mixed { .. } => Cow::Borrowed(&[]),
        }
    }

    /// `depth` channels, or as many combinations; `None` where fewer can be picked.
    pub(super) fn choose(&self, selection: Selection, depth: usize) -> Option<ChannelChoice> {
        self.first(selection, &self.order(selection), depth)
    }

    /// As [`choose`](Self::choose), by the rule's `order`.
    pub(super) fn first(&self, selection: Selection, order: &[u16], depth: usize) -> Option<ChannelChoice> {
        match selection {
            Selection::Mixed { .. } => self.insight.mix(selection)?.mix.first(depth).map(ChannelChoice::Mix),
            _ => order.get(..depth).map(|channels| ChannelChoice::set(channels.to_vec())),
        }
    }

    fn fisher(&self) -> &[u16] {
        self.fisher.get_or_init(|| by_fisher(self.live.clone(), &self.insight.scores))
    }

    fn unpruned(&self) -> &[u16] {
        self.unpruned.get_or_init(|| {
            let keep = self.live.len() - (self.live.len() as f64 * PRUNED_FRACTION) as usize;
            let private = by_leakage(self.live.clone(), self.insight);
            let (useful, private) = (&self.fisher()[..keep], &private[..keep]);
            let kept = |channel: &u16| useful.contains(channel) && private.contains(channel);
            self.live.iter().copied().filter(kept).collect()
        })
    }
}

/// Channels that are not the same on all data, in the layer's order.
pub(super) fn live_channels(scores: &ChannelScores) -> Vec<u16> {
    (0u16..).zip(&scores.dead).filter_map(|(channel, &dead)| (!dead).then_some(channel)).collect()
}

/// `channels` from the highest Fisher score to the lowest; ties in the layer's order.
fn by_fisher(mut channels: Vec<u16>, scores: &ChannelScores) -> Vec<u16> {
    let score = |channel: &u16| scores.fisher_map[usize::from(*channel)];
    channels.sort_by(|a, b| score(b).total_cmp(&score(a)).then(a.cmp(b)));
    channels
}

/// `channels` from the one that leaks least by itself to the one that leaks most; ties in the layer's order.
fn by_leakage(channels: Vec<u16>, insight: &LayerInsight) -> Vec<u16> {
    let leakage = |channel: u16| (channel, insight.moments.linear_attack_psnr(&[channel]));
    let mut scored: Vec<(u16, f64)> = channels.into_iter().map(leakage).collect();
    scored.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    scored.into_iter().map(|(channel, _)| channel).collect()
}

/// `channels` in an order that depends on the layer, the rule and the draw's number alone.
fn shuffled(mut channels: Vec<u16>, split: &str, rule: &str, seed: u32) -> Vec<u16> {
    let mut hasher = blake3::Hasher::new();
    for part in [split.as_bytes(), b"/", rule.as_bytes(), b"/", &seed.to_le_bytes()] {
        hasher.update(part);
    }
    let mut rng = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
    // Fisher-Yates; the modulo bias of 64 random bits over at most 65536 channels is below 2⁻⁴⁸.
    for i in (1..channels.len()).rev() {
        let j = (rng.next_u64() % (i as u64 + 1)) as usize;
        channels.swap(i, j);
    }
    channels
}
