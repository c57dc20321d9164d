//! Which designs to measure next: by the models, or by one of the baselines that the models are held against.

use std::collections::BTreeSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::SearchError;
use super::beliefs::Beliefs;
use crate::config::Strategy;
use crate::solver::{self, Best, Bounds, Forecasts, Front};
use crate::surrogate::Points;

/// What a strategy chooses from, and by what rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    /// Every candidate as the models see it.
    pub(super) points: &'a Points,
    /// Candidates that differ in their choice of channels alone share a group.
    pub(super) groups: &'a [usize],
    /// Bounds of the constrained figures.
    pub(super) bounds: &'a Bounds,
    /// How it proceeds.
    pub(super) strategy: Strategy,
    /// Measurements in all.
    pub(super) evaluations: usize,
    /// Those that are spread over the space before the models propose.
    pub(super) initial: usize,
    /// Seed of all draws.
    pub(super) seed: u64,
}

/// A candidate that was measured, as far as a strategy needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub(super) index: usize,
    /// The first objective.
    pub(super) objective: f64,
    /// Largest excess over a bound, as a share of it; 0 where all are kept.
    pub(super) violation: f64,
}

/// A candidate to be measured, with why.
pub(super) type Proposal = (usize, String);

/// What improves on what: the best feasible measurement so far.
pub(super) enum Incumbent {
    None,
    Value(f64),
    Front(Front),
}

impl Incumbent {
    pub(super) fn best(&self) -> Best<'_> {
        match self {
            Self::None => Best::None,
            Self::Value(value) => Best::Value(*value),
            Self::Front(front) => Best::Front(front),
        }
    }
}

/// What the model strategy learns from.
pub(super) trait Learner {
    /// The models, fitted to all measurements.
    fn beliefs(&self) -> Result<Beliefs<'_>, SearchError>;
    /// Logarithm of the seconds that each candidate would take, where gain per second is to decide.
    fn log_seconds(&self) -> Option<Vec<f64>> {
        None
    }
    /// The best so far, in the light of the models' forecasts.
    fn incumbent(&self, forecasts: &Forecasts) -> Result<Incumbent, SearchError>;
}

impl Ground<'_> {
    /// Up to `count` designs to measure side by side; none when there is nothing left to gain.
    pub(super) fn propose(
        &self,
        tried: &BTreeSet<usize>,
        judged: &[Judged],
        count: usize,
        learner: &impl Learner,
    ) -> Result<Vec<Proposal>, SearchError> {
        let because = |reason: &str, indices: Vec<usize>| -> Vec<Proposal> {
            indices.into_iter().map(|index| (index, reason.to_owned())).collect()
        };
        Ok(match self.strategy {
            Strategy::Exhaustive => {
                let rest = (0..self.points.len()).filter(|index| !tried.contains(index));
                because("exhaustive: the next in order", rest.take(count).collect())
            }
            Strategy::Random => {
                let rest = self.shuffled().into_iter().filter(|index| !tried.contains(index));
                because("random: a uniform draw", rest.take(count).collect())
            }
            Strategy::Hierarchical => self.hierarchical(tried, judged, count)?,
            Strategy::Model if tried.len() < self.initial => {
                let spread = solver::spread(self.points, self.initial.min(self.points.len()), self.seed)?;
                let rest = spread.into_iter().filter(|index| !tried.contains(index));
                because(
                    "first measurements, spread over split and depth",
                    rest.take(self.initial - tried.len()).collect(),
                )
            }
            Strategy::Model => self.by_models(tried, count, learner)?,
        })
    }

    /// Every candidate, in an order that the seed draws.
    fn shuffled(&self) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut order: Vec<usize> = (0..self.points.len()).collect();
        for last in (1..order.len()).rev() {
            let other = (rng.next_u64() % (last as u64 + 1)) as usize;
            order.swap(last, other);
        }
        order
    }

    /// By expected constrained improvement. Designs after the first are proposed as if the models' predictions of the ones
    /// before had been measured.
    fn by_models(
        &self,
        tried: &BTreeSet<usize>,
        count: usize,
        learner: &impl Learner,
    ) -> Result<Vec<Proposal>, SearchError> {
        let mut beliefs = learner.beliefs()?;
        let log_seconds = learner.log_seconds();
        let handicap = |index: usize| log_seconds.as_ref().map_or(0.0, |of| of[index]);
        let mut proposals: Vec<Proposal> = Vec::new();
        while proposals.len() < count {
            let forecasts = beliefs.forecasts();
            let incumbent = learner.incumbent(&forecasts)?;
            let fresh = |i: usize| !tried.contains(&i) && proposals.iter().all(|&(p, _)| p != i);
            let Some((index, score)) = solver::propose(&forecasts, self.bounds, incumbent.best(), fresh, handicap)?
            else {
                break;
            };
            let reason = match incumbent {
                Incumbent::None => format!("nothing feasible yet: log probability of feasibility {score:.2}"),
                Incumbent::Value(_) => format!("log expected constrained improvement {score:.2}"),
                Incumbent::Front(_) => format!("log expected constrained hypervolume improvement {score:.2}"),
            };
            proposals.push((index, reason));
            if proposals.len() < count {
                beliefs = beliefs.believing(index)?;
            }
        }
        Ok(proposals)
    }

    /// As the paper: half of the measurements characterise split and depth with one choice of channels each, the rest goes
    /// to other choices at the best split and depth found.
    fn hierarchical(
        &self,
        tried: &BTreeSet<usize>,
        judged: &[Judged],
        count: usize,
    ) -> Result<Vec<Proposal>, SearchError> {
        let mut members: std::collections::BTreeMap<usize, Vec<usize>> = std::collections::BTreeMap::new();
        for (index, &group) in self.groups.iter().enumerate() {
            members.entry(group).or_default().push(index);
        }
        let mut heads = Points::new(self.points.width());
        let first: Vec<usize> = members.values().map(|of| of[0]).collect();
        first.iter().for_each(|&index| heads.push(self.points.features(index), self.points.category(index)));
        let characterised = self.evaluations.div_ceil(2).min(first.len());
        let spread = solver::spread(&heads, characterised, self.seed)?;
        let left = spread.into_iter().map(|head| first[head]).filter(|index| !tried.contains(index));
        let left: Vec<Proposal> =
            left.map(|index| (index, "hierarchical: characterises split and depth".to_owned())).collect();
        if !left.is_empty() {
            return Ok(left);
        }
        // Feasible before infeasible, then accurate before inaccurate.
        let mut ranked: Vec<&Judged> = judged.iter().collect();
        ranked.sort_by(|a, b| a.violation.total_cmp(&b.violation).then(b.objective.total_cmp(&a.objective)));
        let order = self.shuffled();
        let mut proposals: Vec<Proposal> = Vec::new();
        let groups = ranked.iter().map(|best| self.groups[best.index]).chain(members.keys().copied());
        for group in groups {
            for &index in order.iter().filter(|&&index| self.groups[index] == group) {
                let fresh = !tried.contains(&index) && proposals.iter().all(|&(p, _)| p != index);
                if fresh && proposals.len() < count {
                    proposals.push((index, "hierarchical: other channels at the best split and depth".to_owned()));
                }
            }
        }
        Ok(proposals)
    }
}
