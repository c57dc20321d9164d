//! How output channels are chosen from a layer's scores.

use std::fmt;
use std::str::FromStr;

use super::order::ChannelOrders;
use crate::config::{MOST_WEIGHT, SelectionsEntry};
use crate::space::{ChannelChoice, LayerInsight};

/// Part of a layer's live channels that pruned-random drops before it draws for being the worst by Fisher score, and as many
/// again for leaking most (Li et al. 2017, §4.3 prune the channels that help the task least and those that leak most, then draw
/// so that the set can't be guessed).
pub const PRUNED_FRACTION: f64 = 0.25;

/// A rule that picks D′ channels of a layer. Dead channels (the same on all data) are never picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Selection {
    /// The first live channels in the layer's own order.
    First,
    /// The best by Fisher's linear discriminant over the flattened map.
    Fisher,
    /// A uniform draw. Draws of one seed at one layer are nested: a larger depth keeps the smaller one's channels.
    Random {
        /// Number of the draw.
        seed: u32,
    },
    /// A uniform draw from what is left when the worst [`PRUNED_FRACTION`] by Fisher score, and the worst by what a linear map
    /// recovers from the channel alone, are dropped. Nested too.
    PrunedRandom {
        /// Number of the draw.
        seed: u32,
    },
    /// The set that separates the classes best, less a weight times what it leaks, both in closed form and counting
    /// redundancy between channels ([`LayerMoments::balanced`](crate::proxy::LayerMoments::balanced)). Nested.
    Balanced {
        /// The weight of leakage, in hundredths.
        weight: u32,
    },
    /// Linear combinations of all channels that separate the classes best where what leaks counts as noise
    /// ([`MixingMoments::solve`](crate::mixing::MixingMoments::solve)). Nested.
    Mixed {
        /// The weight of leakage, in hundredths.
        weight: u32,
        /// Whether a ReLU follows.
        relu: bool,
    },
}

impl Selection {
    /// Every selection that a space switches on, in a fixed order.
    pub fn all(entry: &SelectionsEntry) -> Vec<Self> {
        let mut all = Vec::new();
        all.extend(entry.first.then_some(Self::First));
        all.extend(entry.fisher.then_some(Self::Fisher));
        all.extend((0..entry.random).map(|seed| Self::Random { seed }));
        all.extend((0..entry.pruned_random).map(|seed| Self::PrunedRandom { seed }));
        let weight = |weight: &f64| (weight * 100.0).round() as u32;
        all.extend(entry.balanced.iter().map(|w| Self::Balanced { weight: weight(w) }));
        all.extend(entry.mixed.iter().map(|w| Self::Mixed { weight: weight(w), relu: false }));
        all.extend(entry.mixed_relu.iter().map(|w| Self::Mixed { weight: weight(w), relu: true }));
        all
    }

    /// The weight of leakage, and whether a ReLU follows, of one that mixes channels.
    pub fn mixing(self) -> Option<(f64, bool)> {
        match self {
            Self::Mixed { weight, relu } => Some((f64::from(weight) / 100.0, relu)),
            _ => None,
        }
    }

    /// `depth` channels of the layer `split`, or as many combinations; `None` where fewer can be picked.
    pub fn choose(self, split: &str, depth: usize, insight: &LayerInsight) -> Option<ChannelChoice> {
        ChannelOrders::new(split, insight, &[self], depth).choose(self, depth)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Fisher => f.write_str("fisher"),
            Self::Random { seed } => write!(f, "random-{seed}"),
            Self::PrunedRandom { seed } => write!(f, "pruned-random-{seed}"),
            Self::Balanced { weight } => write!(f, "balanced-{}", f64::from(*weight) / 100.0),
            Self::Mixed { weight, relu: false } => write!(f, "mixed-{}", f64::from(*weight) / 100.0),
            Self::Mixed { weight, relu: true } => write!(f, "mixed-relu-{}", f64::from(*weight) / 100.0),
        }
    }
}

/// A text that names no selection.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no selection: accepted are first, fisher, random-N, pruned-random-N, and balanced-W, mixed-W, mixed-relu-W with \
     a weight W such as 0.5"
)]
pub struct UnknownSelection(String);

impl FromStr for Selection {
    type Err = UnknownSelection;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownSelection(text.to_owned());
        let seed = |digits: &str| digits.parse().map_err(|_| unknown());
        let weight = |digits: &str| {
            let weight: f64 = digits.parse().map_err(|_| unknown())?;
            let accepted = (0.0..=MOST_WEIGHT).contains(&weight);
            accepted.then(|| (weight * 100.0).round() as u32).ok_or_else(unknown)
        };
        match text.rsplit_once('-') {
            None if text == "first" => Ok(Self::First),
            None if text == "fisher" => Ok(Self::Fisher),
            Some(("random", digits)) => Ok(Self::Random { seed: seed(digits)? }),
            Some(("pruned-random", digits)) => Ok(Self::PrunedRandom { seed: seed(digits)? }),
            Some(("balanced", digits)) => Ok(Self::Balanced { weight: weight(digits)? }),
            Some(("mixed", digits)) => Ok(Self::Mixed { weight: weight(digits)?, relu: false }),
            Some(("mixed-relu", digits)) => Ok(Self::Mixed { weight: weight(digits)?, relu: true }),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::ChannelScores;
    use crate::proxy::MomentsBuilder;
    use crate::space::order::live_channels;

    fn insight(n: usize) -> LayerInsight {
        let fisher_map: Vec<f64> = (0..n).map(|i| (i * 37 % n) as f64).collect();
        let dead = (0..n).map(|i| i % 10 == 3).collect();
        let mut builder = MomentsBuilder::new(2, n, 4, 2);
        let wave =
            |length: usize, speed: f32| (0..length).map(|i| (i as f32 * speed).sin() * 0.5 + 0.5).collect::<Vec<_>>();
        let features = wave(40 * 4 * n, 1.7);
        builder.add_pixels(&features, &wave(40 * 48, 0.9));
        builder.add_classes(&features, &[0, 1].repeat(20));
        LayerInsight {
            scores: ChannelScores { fisher_pooled: fisher_map.clone(), fisher_map, dead },
            moments: builder.finish(1.0),
            mixes: Vec::new(),
        }
    }

    /// The channels that a selection of sets chooses.
    fn chosen(selection: Selection, split: &str, depth: usize, insight: &LayerInsight) -> Option<Vec<u16>> {
        Some(selection.choose(split, depth, insight)?.channels().expect("a set").to_vec())
    }

    fn all() -> Vec<Selection> {
        Selection::all(&SelectionsEntry {
            first: true,
            fisher: true,
            random: 3,
            pruned_random: 3,
            balanced: vec![0.0, 0.5, 2.0],
            mixed: vec![0.0, 1.5],
            mixed_relu: vec![0.25],
        })
    }

    #[test]
    fn names_round_trip() {
        for selection in all() {
            assert_eq!(selection.to_string().parse::<Selection>().unwrap(), selection);
        }
        assert!("best".parse::<Selection>().unwrap_err().to_string().contains("pruned-random-N"));
    }

    #[test]
    fn selections_never_keep_dead_channels_and_are_nested() {
        let insight = insight(64);
        let scores = &insight.scores;
        for selection in all().into_iter().filter(|selection| selection.mixing().is_none()) {
            let small = chosen(selection, "conv1_2", 8, &insight).unwrap();
            let large = chosen(selection, "conv1_2", 28, &insight).unwrap();
            assert_eq!(small.len(), 8);
            assert!(small.iter().all(|c| large.contains(c)), "{selection} is not nested");
            assert!(large.iter().all(|&c| !scores.dead[usize::from(c)]));
            assert!(selection.choose("conv1_2", 64, &insight).is_none(), "only 57 are live");
        }
    }

    #[test]
    fn fisher_keeps_the_best_and_pruned_random_never_the_worst() {
        let insight = insight(64);
        let scores = &insight.scores;
        let value = |c: &u16| scores.fisher_map[usize::from(*c)];
        let best = chosen(Selection::Fisher, "conv1_2", 8, &insight).unwrap();
        let floor = best.iter().map(value).fold(f64::INFINITY, f64::min);
        let beyond =
            (0..64u16).filter(|c| !scores.dead[usize::from(*c)] && !best.contains(c)).all(|c| value(&c) <= floor);
        assert!(beyond);
        let leakage = |c: u16| insight.moments.linear_attack_psnr(&[c]);
        let mut all: Vec<f64> = live_channels(scores).into_iter().map(leakage).collect();
        all.sort_by(f64::total_cmp);
        for seed in 0..20 {
            let kept = chosen(Selection::PrunedRandom { seed }, "x", 28, &insight).unwrap();
            assert!(kept.iter().all(|c| value(c) >= 12.0), "one of the worst 14 was kept");
            assert!(
                kept.iter().all(|&c| leakage(c) <= all[all.len() - 1 - 14]),
                "one of the 14 that leak most was kept"
            );
        }
        let draw = |seed| Selection::Random { seed }.choose("conv1_2", 8, &insight);
        assert_ne!(draw(0), draw(1));
    }
}
