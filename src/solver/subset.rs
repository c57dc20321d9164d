//! The best subset by a score that is cheap: simulated annealing over swaps, then hill climbing.
//!
//! Which channels to keep is a choice among C(256, 64) sets. Their closed-form score (utility, leakage, or what the models make
//! of both) takes milliseconds, so that some thousand sets can be tried where a handful can be measured.

use std::cell::RefCell;
use std::collections::HashMap;

use argmin::core::{CostFunction, Error, Executor, State};
use argmin::solver::simulatedannealing::{Anneal, SATempFunc, SimulatedAnnealing};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// Which sets are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moves {
    /// One member for one that isn't: the size stays.
    Swap,
    /// Also one more or one less.
    Resize,
}

/// How long a search takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Annealing {
    /// Sets tried at falling temperature.
    pub steps: u64,
    /// Temperature at the start, in the score's unit: a step that loses as much is still taken with a chance of 27 %.
    /// Of the order by which scores of random sets differ.
    pub temperature: f64,
    /// Searches from other draws; the best of all counts.
    pub restarts: u32,
    /// Whether what the annealing ends with is improved by its best neighbour until there is none better. Of a large set there
    /// are many neighbours.
    pub climb: bool,
    /// Seed of the draws.
    pub seed: u64,
}

/// The members of the best set found, ascending, with its score.
///
/// `score` is maximised over subsets of `0..n`; −∞, or NaN, says that a set is not allowed. `start` must be allowed. Every set
/// is scored once: scores are remembered. The annealing is argmin's. With [`Annealing::climb`] the answer is a local optimum of
/// `moves` whatever the annealing did.
pub fn best_subset(
    n: usize,
    start: &[usize],
    moves: Moves,
    annealing: &Annealing,
    score: impl Fn(&[usize]) -> f64,
) -> (Vec<usize>, f64) {
    let mut first = vec![false; n];
    start.iter().for_each(|&member| first[member] = true);
    let scores = Scores { score: &score, known: RefCell::new(HashMap::new()) };
    let mut best = (first.clone(), scores.of(&first));
    for restart in 0..annealing.restarts.max(1) {
        let seed = annealing.seed.wrapping_add(u64::from(restart) << 32);
        let walk = Walk { scores: &scores, moves, rng: RefCell::new(Xoshiro256PlusPlus::seed_from_u64(seed)) };
        // The solver's parameters are checked here and sets always have a score: should it fail all the same, hill climbing
        // still answers.
        if let Ok(Some(found)) = walk.anneal_from(first.clone(), annealing, seed ^ 1) {
            let climbed = scores.climb(found, moves, annealing.climb);
            if climbed.1 > best.1 {
                best = climbed;
            }
        }
    }
    let (set, score) = scores.climb(best.0, moves, annealing.climb);
    (members(&set), score)
}

fn members(set: &[bool]) -> Vec<usize> {
    set.iter().enumerate().filter_map(|(index, &is)| is.then_some(index)).collect()
}

/// The score, remembered.
struct Scores<'a> {
    score: &'a dyn Fn(&[usize]) -> f64,
    known: RefCell<HashMap<Vec<bool>, f64>>,
}

impl Scores<'_> {
    fn of(&self, set: &[bool]) -> f64 {
        if let Some(&known) = self.known.borrow().get(set) {
            return known;
        }
        let score = (self.score)(&members(set));
        let score = if score.is_nan() { f64::NEG_INFINITY } else { score };
        self.known.borrow_mut().insert(set.to_vec(), score);
        score
    }

    /// Takes the best neighbour for as long as one is better; none at all unless `further`.
    fn climb(&self, mut set: Vec<bool>, moves: Moves, further: bool) -> (Vec<bool>, f64) {
        let mut score = self.of(&set);
        if !further {
            return (set, score);
        }
        loop {
            let mut best: Option<(Vec<bool>, f64)> = None;
            for neighbour in neighbours(&set, moves) {
                let found = self.of(&neighbour);
                if found > best.as_ref().map_or(score, |&(_, score)| score) {
                    best = Some((neighbour, found));
                }
            }
            match best {
                Some((better, found)) => (set, score) = (better, found),
                None => return (set, score),
            }
        }
    }
}

/// Every set that is one move away, in a fixed order.
fn neighbours(set: &[bool], moves: Moves) -> impl Iterator<Item = Vec<bool>> + '_ {
    let flipped = move |changes: &[usize]| {
        let mut set = set.to_vec();
        changes.iter().for_each(|&index| set[index] = !set[index]);
        set
    };
    let inside = members(set);
    let outside: Vec<usize> = (0..set.len()).filter(|&index| !set[index]).collect();
    let swaps = inside.into_iter().flat_map(move |gone| outside.clone().into_iter().map(move |new| [gone, new]));
    let resized = if moves == Moves::Resize { 0..set.len() } else { 0..0 };
    swaps.map(move |swap| flipped(&swap)).chain(resized.map(move |index| flipped(&[index])))
}

/// One annealing.
struct Walk<'a> {
    scores: &'a Scores<'a>,
    moves: Moves,
    rng: RefCell<Xoshiro256PlusPlus>,
}

impl Walk<'_> {
    fn anneal_from(&self, start: Vec<bool>, annealing: &Annealing, seed: u64) -> Result<Option<Vec<bool>>, Error> {
        let (steps, temperature) = (annealing.steps.max(1), annealing.temperature.max(f64::MIN_POSITIVE));
        // Down to a thousandth of the first temperature.
        let cooling = 1e-3f64.powf(1.0 / steps as f64);
        let solver = SimulatedAnnealing::new_with_rng(temperature, Xoshiro256PlusPlus::seed_from_u64(seed))?
            .with_temp_func(SATempFunc::Exponential(cooling));
        let result =
            Executor::new(Shared(self), solver).configure(|state| state.param(start).max_iters(steps)).run()?;
        Ok(result.state.get_best_param().cloned())
    }

    /// A draw below `n`, which is not 0.
    fn below(&self, n: usize) -> usize {
        (self.rng.borrow_mut().next_u64() % n as u64) as usize
    }

    fn neighbour(&self, set: &[bool]) -> Vec<bool> {
        let mut next = set.to_vec();
        let inside = members(set);
        let (size, n) = (inside.len(), set.len());
        let swap = size > 0 && size < n;
        if n > 0 && self.moves == Moves::Resize && (!swap || self.below(2) == 0) {
            let index = self.below(n);
            next[index] = !next[index];
        } else if swap {
            let outside: Vec<usize> = (0..n).filter(|&index| !set[index]).collect();
            next[inside[self.below(size)]] = false;
            next[outside[self.below(n - size)]] = true;
        }
        next
    }
}

/// Lends one walk to the executor, which wants to own its problem.
struct Shared<'a>(&'a Walk<'a>);

impl CostFunction for Shared<'_> {
    type Param = Vec<bool>;
    type Output = f64;

    fn cost(&self, set: &Vec<bool>) -> Result<f64, Error> {
        Ok(-self.0.scores.of(set))
    }
}

impl Anneal for Shared<'_> {
    type Param = Vec<bool>;
    type Output = Vec<bool>;
    type Float = f64;

    fn anneal(&self, set: &Vec<bool>, _: f64) -> Result<Vec<bool>, Error> {
        Ok(self.0.neighbour(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knapsack P07 of the collection by Burkardt: 15 items, capacity 750.
    #[test]
    fn a_published_knapsack_is_packed_exactly() {
        let profits = [135, 139, 149, 150, 156, 163, 173, 184, 192, 201, 210, 214, 221, 229, 240];
        let weights = [70, 73, 77, 80, 82, 87, 90, 94, 98, 106, 110, 113, 115, 118, 120];
        let score = |set: &[usize]| {
            let weight: u32 = set.iter().map(|&item| weights[item]).sum();
            let profit: u32 = set.iter().map(|&item| profits[item]).sum();
            if weight <= 750 { f64::from(profit) } else { f64::NEG_INFINITY }
        };
        for seed in 0..10 {
            let annealing = Annealing { steps: 10_000, temperature: 600.0, restarts: 16, climb: true, seed };
            let (items, profit) = best_subset(15, &[], Moves::Resize, &annealing, score);
            assert_eq!(profit, 1458.0, "seed {seed}: {items:?}");
            assert_eq!(items, [0, 2, 4, 6, 7, 8, 13, 14], "101010111000011");
        }
    }

    #[test]
    fn swaps_keep_the_size_and_find_a_set_that_no_greedy_choice_finds() {
        // Two halves of a pair are worth nothing alone.
        let score = |set: &[usize]| {
            let pair = f64::from(u8::from(set.contains(&17) && set.contains(&33)));
            10.0 * pair + set.iter().map(|&i| (i as f64 * 0.7).sin()).sum::<f64>()
        };
        let annealing = Annealing { steps: 4_000, temperature: 1.0, restarts: 2, climb: true, seed: 3 };
        let (set, found) = best_subset(40, &[0, 1, 2, 3, 4, 5], Moves::Swap, &annealing, score);
        assert_eq!(set.len(), 6);
        assert!(set.contains(&17) && set.contains(&33), "{set:?}");
        let mut rest: Vec<f64> = (0..40).filter(|i| ![17, 33].contains(i)).map(|i| (i as f64 * 0.7).sin()).collect();
        rest.sort_by(|a, b| b.total_cmp(a));
        let best = 10.0 + (17.0f64 * 0.7).sin() + (33.0f64 * 0.7).sin() + rest[..4].iter().sum::<f64>();
        assert!((found - best).abs() < 1e-12, "{found} of {best}");
    }

    #[test]
    fn sets_that_may_not_be_and_sets_without_a_move() {
        let annealing = Annealing { steps: 10, temperature: 1.0, restarts: 1, climb: true, seed: 0 };
        assert_eq!(best_subset(3, &[0, 1, 2], Moves::Swap, &annealing, |_| 2.0), (vec![0, 1, 2], 2.0));
        assert_eq!(best_subset(0, &[], Moves::Resize, &annealing, |_| 1.0), (vec![], 1.0));
        let only = |set: &[usize]| if set == [1] { 0.0 } else { f64::NAN };
        assert_eq!(best_subset(4, &[1], Moves::Resize, &annealing, only), (vec![1], 0.0));
    }
}
