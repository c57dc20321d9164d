//! A search in a table instead of a laboratory: what is "measured" is looked up.
//!
//! For benchmarking strategies against answers that are known, for users with measurements of their own, and for tests. A
//! row that was looked up is known exactly: the answer is the best of them that keeps every bound, never a prediction.
//!
//! ```
//! use privynet::config::{ReplayFile, Strategy};
//! use privynet::search::replay::Case;
//! use privynet::table::Table;
//!
//! let folder = std::path::Path::new("spaces/cifar10-vgg16/table");
//! let table = Table::read(&folder.join("designs.parquet"))?;
//! let budget = ReplayFile::read(&folder.join("loose.yaml"))?;
//! let found = Case::new(&table, &budget)?.run(12, 1, Strategy::Model, 0)?;
//! assert_eq!(found.history.len(), 12);
//! assert!(found.share.is_some_and(|share| share > 0.9));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod case;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::SearchError;
use super::beliefs::{Belief, Beliefs};
use super::level::{Allowance, Level, Tried};
use super::strategy::{Ground, Incumbent, Judged, Learner};
use crate::config::Strategy;
use crate::solver::{Bound, Forecasts, Front};
use crate::surrogate::{FitOptions, GaussianProcess, Row, SurrogateError};

pub use case::Case;
use case::Figure;

/// What one lookup brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Row of the table, from 0.
    pub row: usize,
    /// Why it was looked up.
    pub reason: String,
    /// What all lookups so far cost, in full ones.
    #[serde(default)]
    pub cost: f64,
    /// Whether only its cheaper figures were.
    #[serde(default)]
    pub screening: bool,
    /// Whether it keeps every bound.
    pub feasible: bool,
    /// The first objective's best value so far at a row that keeps every bound.
    pub best: Option<f64>,
    /// Hypervolume of the front so far; only of two objectives.
    pub hypervolume: Option<f64>,
}

/// How a search in a table went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// The strategy.
    pub strategy: String,
    /// The seed of its draws.
    pub seed: u64,
    /// Rows that keep the exact bounds.
    pub candidates: usize,
    /// Rows looked up.
    pub evaluations: usize,
    /// Rows of which the cheaper figures were looked up.
    #[serde(default)]
    pub screenings: usize,
    /// Rows, from 0, of the answer: the best that keeps every bound, or the front; empty where none was found.
    #[serde(default)]
    pub answer: Vec<usize>,
    /// The answer's first objective.
    pub value: Option<f64>,
    /// Hypervolume of the answer's front.
    #[serde(default)]
    pub hypervolume: Option<f64>,
    /// The best value, or the largest hypervolume, that the whole table has.
    pub exact: Option<f64>,
    /// Of the answer's value, or hypervolume, in the exact one.
    pub share: Option<f64>,
    /// The bound that the most rows looked up broke, where none kept all.
    #[serde(default)]
    pub binding: Option<String>,
    /// Every lookup, in order.
    pub history: Vec<Step>,
}

impl Case {
    /// Searches with `evaluations` lookups, `round` at a time. A screening counts as its share of one; only the model strategy
    /// makes them.
    ///
    /// # Errors
    /// [`SearchError`] where models can't be fitted.
    pub fn run(&self, evaluations: usize, round: usize, strategy: Strategy, seed: u64) -> Result<Replay, SearchError> {
        let evaluations = evaluations.min(self.rows.len());
        let initial = self.initial.unwrap_or_else(|| evaluations.div_ceil(4));
        let screening = self.screening.as_ref().filter(|_| strategy == Strategy::Model).map(|figures| figures.share);
        let ground = Ground {
            points: &self.points,
            groups: &self.groups,
            bounds: &self.bounds,
            strategy,
            evaluations,
            initial: initial.min(evaluations),
            screening,
            seed,
        };
        let mut seen = Seen { case: self, seed, order: Vec::new(), screened: Vec::new(), tried: Tried::default() };
        let mut allowed = Allowance { count: 0, left: evaluations as f64 };
        let mut history: Vec<Step> = Vec::new();
        while allowed.affords_full() {
            allowed.count = round.clamp(1, allowed.left.ceil() as usize);
            let proposals = ground.propose(&seen.tried, &seen.judged(), allowed, &seen)?;
            if proposals.is_empty() {
                break;
            }
            for proposal in proposals {
                let after = allowed.after(proposal.level, screening.unwrap_or(1.0));
                if after.left < -1e-9 {
                    break;
                }
                allowed = after;
                seen.insert(proposal.index, proposal.level);
                history.push(Step {
                    row: self.rows[proposal.index],
                    reason: proposal.reason,
                    cost: evaluations as f64 - allowed.left,
                    screening: proposal.level == Level::Screening,
                    feasible: self.feasible(proposal.index),
                    best: self.best(seen.order.iter().copied()).map(|(_, value)| value * self.objectives[0].sign),
                    hypervolume: self.front(seen.order.iter().copied()).map(|front| front.hypervolume()),
                });
            }
        }
        Ok(self.conclude(strategy, &seen, history))
    }

    fn conclude(&self, strategy: Strategy, seen: &Seen<'_>, history: Vec<Step>) -> Replay {
        let (order, seed) = (&seen.order[..], seen.seed);
        let all = || 0..self.rows.len();
        let (found, sign) = (self.best(order.iter().copied()), self.objectives[0].sign);
        let hypervolume = self.front(order.iter().copied()).map(|front| front.hypervolume());
        let (answer, exact, share) = match hypervolume {
            Some(volume) => {
                let exact = self.front(all()).map(|front| front.hypervolume());
                (self.undominated(order), exact, exact.map(|exact| volume / exact))
            }
            None => {
                let exact = self.best(all()).map(|(_, value)| value * sign);
                let share = found.zip(exact).map(|((_, value), exact)| share_of(value * sign, exact, sign));
                (found.iter().map(|&(index, _)| self.rows[index]).collect(), exact, share)
            }
        };
        let broken = |(figure, bound): (&Figure, &Bound)| {
            let broken = order.iter().filter(|&&index| figure.values[index] > bound.limit).count();
            (broken, figure.name.clone())
        };
        let binding = match found {
            Some(_) => None,
            None => self.constraints.iter().zip(&self.bounds.0).map(broken).max().map(|(_, name)| name),
        };
        Replay {
            strategy: match seen.screened.is_empty() {
                true => strategy.to_string(),
                false => format!("{strategy}, screening"),
            },
            seed,
            candidates: self.rows.len(),
            evaluations: order.len(),
            screenings: seen.screened.len(),
            answer,
            value: found.map(|(_, value)| value * sign),
            hypervolume,
            exact,
            share: share.filter(|share| share.is_finite()),
            binding,
            history,
        }
    }

    /// Rows of the table on the front of what was looked up.
    fn undominated(&self, order: &[usize]) -> Vec<usize> {
        let feasible: Vec<usize> = order.iter().copied().filter(|&index| self.feasible(index)).collect();
        let value = |index: usize| (self.objectives[0].values[index], -self.objectives[1].values[index]);
        let points: Vec<(f64, f64)> = feasible.iter().map(|&index| value(index)).collect();
        crate::solver::pareto_front(&points).into_iter().map(|at| self.rows[feasible[at]]).collect()
    }
}

impl Replay {
    /// For each full lookup that was paid for, screenings included, the share of the whole table's best answer that was found
    /// till then; 0 before any was.
    pub fn shares(&self) -> Vec<f64> {
        let share = |step: &Step| match (step.hypervolume, step.best, self.exact) {
            (Some(volume), _, Some(exact)) => volume / exact,
            // Nothing is larger than a maximum.
            (None, Some(best), Some(exact)) => share_of(best, exact, if best > exact { -1.0 } else { 1.0 }),
            _ => 0.0,
        };
        let mut shares = Vec::new();
        for (number, step) in self.history.iter().enumerate() {
            // Of searches by other programs every step is one lookup.
            let cost = if step.cost > 0.0 { step.cost } else { (number + 1) as f64 };
            let place = (cost - 1e-9).ceil().max(1.0) as usize;
            let last = shares.last().copied().unwrap_or(0.0);
            shares.resize(place.max(shares.len()), last);
            let found = share(step);
            shares[place - 1] = if found.is_finite() { found } else { 0.0 };
        }
        shares
    }
}

/// How much `value` is of the best one, 1 for the best itself; `sign` is −1 where the smallest is the best.
fn share_of(value: f64, exact: f64, sign: f64) -> f64 {
    if sign > 0.0 { value / exact } else { exact / value }
}

/// What was looked up so far.
struct Seen<'a> {
    case: &'a Case,
    seed: u64,
    order: Vec<usize>,
    screened: Vec<usize>,
    tried: Tried,
}

impl Seen<'_> {
    fn insert(&mut self, index: usize, level: Level) {
        self.tried.insert(index, level);
        match level {
            Level::Full => self.order.push(index),
            Level::Screening => self.screened.push(index),
        }
    }

    fn judged(&self) -> Vec<Judged> {
        let judge = |&index: &usize| Judged {
            index,
            objective: self.case.objectives[0].values[index],
            violation: self.case.violation(index),
        };
        self.order.iter().map(judge).collect()
    }

    /// The model of a figure, and of what is known of it by screening.
    fn fit(&self, figure: &Figure, cheap: Option<&Figure>) -> Result<Belief, SurrogateError> {
        let points = &self.case.points;
        let row = |figure: &Figure, index: usize, level: Level| {
            let (value, variance) = figure.modelled(index);
            let features = level.instead(points.features(index));
            Row { features, category: points.category(index), value, variance }
        };
        let full = self.order.iter().map(|&index| row(figure, index, Level::Full));
        let screened = cheap
            .into_iter()
            .flat_map(|cheap| self.screened.iter().map(move |&index| row(cheap, index, Level::Screening)));
        let rows: Vec<Row> = full.chain(screened).collect();
        let options = FitOptions { seed: self.seed, ..FitOptions::default() };
        Ok(Belief::plain(GaussianProcess::fit(&rows, &options)?))
    }
}

impl Learner for Seen<'_> {
    fn beliefs(&self) -> Result<Beliefs<'_>, SearchError> {
        let fit = |figures: &[Figure], cheap: Option<&Vec<Figure>>| {
            let one = |(at, figure)| self.fit(figure, cheap.map(|cheap| &cheap[at]));
            figures.par_iter().enumerate().map(one).collect::<Result<_, _>>()
        };
        let (case, cheap) = (self.case, self.case.screening.as_ref());
        Ok(Beliefs {
            points: &case.points,
            objectives: fit(&case.objectives, cheap.map(|cheap| &cheap.objectives))?,
            constraints: fit(&case.constraints, cheap.map(|cheap| &cheap.constraints))?,
        })
    }

    fn incumbent(&self, _: &Forecasts) -> Result<Incumbent, SearchError> {
        let case = self.case;
        let order = || self.order.iter().copied();
        if case.objectives.len() == 2 {
            // Fronts are counted on the scale that is modelled.
            let scaled = |index: usize| (case.objectives[0].modelled(index).0, case.objectives[1].modelled(index).0);
            let reference = case.reference.map(|(a, b)| (case.objectives[0].scaled(a), case.objectives[1].scaled(b)));
            let feasible = order().filter(|&index| case.feasible(index));
            return Ok(match reference {
                Some(reference) if order().any(|index| case.feasible(index)) => {
                    Incumbent::Front(Front::new(feasible.map(scaled), reference))
                }
                _ => Incumbent::None,
            });
        }
        Ok(match case.best(order()) {
            Some((index, _)) => Incumbent::Value(case.objectives[0].modelled(index).0),
            None => Incumbent::None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::{ConstraintEntry, Goal, ObjectiveEntry, ReplayFile, Scale};
    use crate::table::{Table, Values};

    fn minimised(column: &str, reference: f64) -> ObjectiveEntry {
        ObjectiveEntry {
            column: column.to_owned(),
            goal: Goal::Minimize,
            reference: Some(reference),
            std_error: None,
            scale: Scale::Linear,
        }
    }

    fn at_most(column: &str, max: f64) -> ConstraintEntry {
        ConstraintEntry { column: column.to_owned(), max: Some(max), min: None, exact: false, std_error: None }
    }

    /// C2-DTLZ2 (Jain and Deb, 2014) with two objectives on a grid of 2873 points.
    fn c2dtlz2() -> Case {
        let mut columns: Vec<(String, Vec<f64>)> =
            ["x1", "x2", "x3", "f1", "f2", "c"].map(|name| (name.to_owned(), Vec::new())).into();
        for (i, jk) in (0..17).flat_map(|i| (0..169).map(move |jk| (i, jk))) {
            let x = [f64::from(i) / 16.0, f64::from(jk / 13) / 12.0, f64::from(jk % 13) / 12.0];
            let radius = 1.0 + (x[1] - 0.5).powi(2) + (x[2] - 0.5).powi(2);
            let angle = std::f64::consts::FRAC_PI_2 * x[0];
            let f = [radius * angle.cos(), radius * angle.sin()];
            let half = 0.5f64.sqrt();
            let c = [[1.0, 0.0], [0.0, 1.0], [half, half]]
                .map(|disc| (f[0] - disc[0]).powi(2) + (f[1] - disc[1]).powi(2) - 0.04)
                .into_iter()
                .fold(f64::INFINITY, f64::min);
            for ((_, column), value) in columns.iter_mut().zip([x[0], x[1], x[2], f[0], f[1], c]) {
                column.push(value);
            }
        }
        let columns = columns.into_iter().map(|(name, values)| (name, Values::Real(values))).collect();
        let table = Table::new(Path::new("c2dtlz2"), columns).unwrap();
        let file = ReplayFile {
            text: String::new(),
            path: "c2dtlz2".into(),
            parameters: ["x1", "x2", "x3"].map(str::to_owned).into(),
            category: None,
            groups: Vec::new(),
            objectives: vec![minimised("f1", 1.1), minimised("f2", 1.1)],
            constraints: vec![at_most("c", 0.0)],
            strategy: Strategy::Model,
            initial: None,
        };
        Case::new(&table, &file).unwrap()
    }

    #[test]
    fn forty_lookups_find_a_constrained_front_that_random_draws_do_not() {
        let case = c2dtlz2();
        let share = |strategy| {
            let found = (0..4).map(|seed| case.run(40, 1, strategy, seed).unwrap());
            let shares: Vec<f64> = found
                .map(|replay| {
                    assert!((replay.exact.unwrap() - 0.370_153).abs() < 5e-7);
                    assert_eq!((replay.evaluations, replay.history.len()), (40, 40));
                    assert_eq!(replay.shares().last().copied(), replay.share);
                    replay.share.unwrap()
                })
                .collect();
            shares.iter().sum::<f64>() / 4.0
        };
        let (model, random) = (share(Strategy::Model), share(Strategy::Random));
        assert!(model > 0.9, "{model}");
        assert!(random < 0.75, "{random}");
    }

    #[test]
    fn several_lookups_at_a_time_are_never_the_same_row() {
        let case = c2dtlz2();
        let replay = case.run(30, 5, Strategy::Model, 1).unwrap();
        let rows: BTreeSet<usize> = replay.history.iter().map(|step| step.row).collect();
        assert_eq!(rows.len(), 30);
    }
}
