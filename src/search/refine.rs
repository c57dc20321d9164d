//! Local search over sets of channels: the models' best design, with other channels of its layer.
//!
//! The space's rules make a few sets of every size; the layer has very many more. What the models need to know of a set is
//! known in closed form, so that swaps of channels can be tried by the thousand before one set is measured.

use crate::solver::{self, Annealing, Best, Bounds, Forecasts, Moves};
use crate::space::{Candidate, ChannelChoice, ChannelSets};

use super::SearchError;
use super::beliefs::Beliefs;
use super::model;

/// Sets that are scored at random. A set's score is a solution of linear equations in its channels: milliseconds.
const STEPS: u64 = 400;

/// Channels up to which every neighbour is tried, too.
const CLIMBED: usize = 16;

/// `base` with the channels of the highest acquisition over `best` that swaps lead to, and that acquisition; `None` where
/// `base` mixes channels, or nothing better was found.
pub(super) fn refine(
    base: &Candidate,
    sets: &dyn ChannelSets,
    beliefs: &Beliefs<'_>,
    bounds: &Bounds,
    best: Best<'_>,
    seed: u64,
) -> Result<Option<(Candidate, f64)>, SearchError> {
    let ChannelChoice::Set(channels) = &base.design.channels else {
        return Ok(None);
    };
    let live = sets.live(&base.design.split);
    let at = |channel: &u16| live.iter().position(|known| known == channel);
    let Some(start) = channels.iter().map(at).collect::<Option<Vec<usize>>>() else {
        return Ok(None);
    };
    let made = |set: &[usize]| sets.with_channels(base, set.iter().map(|&index| live[index]).collect());
    let score = |set: &[usize]| {
        let Some(candidate) = made(set) else {
            return f64::NEG_INFINITY;
        };
        let forecasts: Forecasts = beliefs.forecasts_of(&model::point(&candidate));
        solver::acquisition(&forecasts, 0, bounds, best)
    };
    let annealing = Annealing { steps: STEPS, temperature: 0.5, restarts: 1, climb: channels.len() <= CLIMBED, seed };
    let (set, found) = solver::best_subset(live.len(), &start, Moves::Swap, &annealing, score);
    if set == start || !found.is_finite() {
        return Ok(None);
    }
    Ok(made(&set).map(|candidate| (candidate, found)))
}
