//! Which designs to measure next: by the models, or by one of the baselines that the models are held against.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::SearchError;
use super::beliefs::Beliefs;
use super::level::{Allowance, Level, Tried};
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
    /// Share of a full measurement that a screening costs, where there are screenings.
    pub(super) screening: Option<f64>,
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

/// A candidate to be measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proposal {
    pub(super) index: usize,
    pub(super) level: Level,
    /// Why, for a person.
    pub(super) reason: String,
}

impl Proposal {
    pub(super) fn full(index: usize, reason: impl Into<String>) -> Self {
        Self { index, level: Level::Full, reason: reason.into() }
    }
}

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

    /// What a candidate's score says.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::None => "nothing feasible yet: log probability of feasibility",
            Self::Value(_) => "log expected constrained improvement",
            Self::Front(_) => "log expected constrained hypervolume improvement",
        }
    }
}

/// What the choice of one measurement depends on.
struct Turn<'a> {
    beliefs: &'a Beliefs<'a>,
    tried: &'a Tried,
    /// Whether a screening is affordable.
    screens: bool,
    /// Logarithm of what measuring a candidate costs.
    log_cost: &'a (dyn Fn(Level, usize) -> f64 + Sync),
}

/// What the model strategy learns from.
pub(super) trait Learner {
    /// The models, fitted to all measurements.
    fn beliefs(&self) -> Result<Beliefs<'_>, SearchError>;
    /// Logarithm of the seconds that each candidate would take at a level, where gain per second is to decide.
    fn log_seconds(&self, _: Level) -> Option<Vec<f64>> {
        None
    }
    /// The best so far, in the light of the models' forecasts.
    fn incumbent(&self, forecasts: &Forecasts) -> Result<Incumbent, SearchError>;
}

impl Ground<'_> {
    /// Up to `allowed.count` designs to measure side by side; none when there is nothing left to gain.
    pub(super) fn propose(
        &self,
        tried: &Tried,
        judged: &[Judged],
        allowed: Allowance,
        learner: &impl Learner,
    ) -> Result<Vec<Proposal>, SearchError> {
        let because = |reason: &str, indices: Vec<usize>| -> Vec<Proposal> {
            indices.into_iter().map(|index| Proposal::full(index, reason)).collect()
        };
        let fresh = |index: &usize| !tried.full.contains(index);
        Ok(match self.strategy {
            Strategy::Exhaustive => {
                let rest = (0..self.points.len()).filter(fresh);
                because("exhaustive: the next in order", rest.take(allowed.count).collect())
            }
            Strategy::Random => {
                let rest = self.shuffled().into_iter().filter(fresh);
                because("random: a uniform draw", rest.take(allowed.count).collect())
            }
            Strategy::Hierarchical => self.hierarchical(tried, judged, allowed.count)?,
            Strategy::Model if tried.designs() < self.first() => self.spread(tried)?,
            Strategy::Model => self.by_models(tried, allowed, learner)?,
        })
    }

    /// Designs that are spread over the space before the models propose; where there are screenings, they are screened.
    fn first(&self) -> usize {
        self.initial.min(self.points.len())
    }

    fn spread(&self, tried: &Tried) -> Result<Vec<Proposal>, SearchError> {
        let level = if self.screening.is_some() { Level::Screening } else { Level::Full };
        let spread = solver::spread(self.points, self.first(), self.seed)?;
        let rest = spread.into_iter().filter(|&index| !tried.contains(index)).take(self.first() - tried.designs());
        let reason = match level {
            Level::Screening => "first screenings, spread over split and depth",
            Level::Full => "first measurements, spread over split and depth",
        };
        Ok(rest.map(|index| Proposal { index, level, reason: reason.to_owned() }).collect())
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
        tried: &Tried,
        mut allowed: Allowance,
        learner: &impl Learner,
    ) -> Result<Vec<Proposal>, SearchError> {
        let mut beliefs = learner.beliefs()?;
        let costs = [Level::Screening, Level::Full].map(|level| learner.log_seconds(level));
        let mut tried = tried.clone();
        let mut proposals: Vec<Proposal> = Vec::new();
        while allowed.count > 0 && allowed.affords_full() {
            let share = self.screening.filter(|&share| allowed.affords_screening(share));
            let log_cost = |level: Level, index: usize| match (&costs[level as usize], level) {
                (Some(seconds), _) => seconds[index],
                (None, Level::Screening) => share.unwrap_or(1.0).ln(),
                (None, Level::Full) => 0.0,
            };
            let turn = Turn { beliefs: &beliefs, tried: &tried, screens: share.is_some(), log_cost: &log_cost };
            let Some(proposal) = self.next(&turn, learner)? else {
                break;
            };
            allowed = allowed.after(proposal.level, self.screening.unwrap_or(1.0));
            tried.insert(proposal.index, proposal.level);
            if allowed.count > 0 {
                beliefs = beliefs.believing(proposal.index, proposal.level)?;
            }
            proposals.push(proposal);
        }
        Ok(proposals)
    }

    /// The measurement that promises the most for its cost.
    ///
    /// A screening promises what the full measurement would, times the share of the doubt about that which it removes by the
    /// models: the squared correlation of the two, noise included. (After the augmented expected improvement of Huang,
    /// Allen, Notz and Miller, "Sequential kriging optimization using multiple-fidelity evaluations", 2006, which takes the
    /// correlation itself and so screens too much.) What was screened already is promoted once it promises more than
    /// screening others does.
    fn next(&self, turn: &Turn<'_>, learner: &impl Learner) -> Result<Option<Proposal>, SearchError> {
        let &Turn { beliefs, tried, screens, log_cost } = turn;
        let forecasts = beliefs.forecasts();
        let incumbent = learner.incumbent(&forecasts)?;
        let best = |admit: &(dyn Fn(usize) -> bool + Sync)| {
            let fresh = |index: usize| !tried.full.contains(&index) && admit(index);
            solver::propose(&forecasts, self.bounds, incumbent.best(), fresh, |index| log_cost(Level::Full, index))
        };
        let measured = |(index, score): (usize, f64)| {
            let why = if tried.screened.contains(&index) { "promoted after its screening: " } else { "" };
            Proposal::full(index, format!("{why}{} {score:.2}", incumbent.what()))
        };
        if !screens {
            return Ok(best(&|_| true)?.map(measured));
        }
        let screened = best(&|index| tried.screened.contains(&index))?;
        // How the levels differ shows at a design that was measured at both.
        if tried.full.is_empty() && screened.is_some() {
            return Ok(screened.map(measured));
        }
        let Some((index, score)) = best(&|index| !tried.screened.contains(&index))? else {
            return Ok(screened.map(measured));
        };
        let advantage =
            beliefs.log_worth_of_screening(index) + log_cost(Level::Full, index) - log_cost(Level::Screening, index);
        Ok(Some(match screened {
            Some(ready) if ready.1 >= score + advantage.max(0.0) => measured(ready),
            _ if advantage <= 0.0 => measured((index, score)),
            _ => Proposal {
                index,
                level: Level::Screening,
                reason: format!("screening: {} {:.2}", incumbent.what(), score + advantage),
            },
        }))
    }

    /// As the paper: half of the measurements characterise split and depth with one choice of channels each, the rest goes
    /// to other choices at the best split and depth found.
    fn hierarchical(&self, tried: &Tried, judged: &[Judged], count: usize) -> Result<Vec<Proposal>, SearchError> {
        let mut members: std::collections::BTreeMap<usize, Vec<usize>> = std::collections::BTreeMap::new();
        for (index, &group) in self.groups.iter().enumerate() {
            members.entry(group).or_default().push(index);
        }
        let mut heads = Points::new(self.points.width());
        let first: Vec<usize> = members.values().map(|of| of[0]).collect();
        first.iter().for_each(|&index| heads.push(self.points.features(index), self.points.category(index)));
        let characterised = self.evaluations.div_ceil(2).min(first.len());
        let spread = solver::spread(&heads, characterised, self.seed)?;
        let left = spread.into_iter().map(|head| first[head]).filter(|index| !tried.full.contains(index));
        let left: Vec<Proposal> =
            left.map(|index| Proposal::full(index, "hierarchical: characterises split and depth")).collect();
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
                let fresh = !tried.full.contains(&index) && proposals.iter().all(|p| p.index != index);
                if fresh && proposals.len() < count {
                    let reason = "hierarchical: other channels at the best split and depth";
                    proposals.push(Proposal::full(index, reason));
                }
            }
        }
        Ok(proposals)
    }
}
