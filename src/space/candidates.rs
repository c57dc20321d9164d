//! Every design of a space by the million: what scoring needs of each, and the rest when it is asked for.
//!
//! A candidate is the number of a rule at a place (a split layer and a depth) with two closed-form figures and a hash. Its
//! channels, id and selections are made anew from these: a shuffle of the layer's channels, microseconds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::candidate::features;
use super::order::ChannelOrders;
use super::{Candidate, Cost, Design, LayerInsight, Selection, content, design_id, shown};
use crate::backbone::Layer;
use crate::measurement::DesignId;
use crate::proxy::{Proxies, Workspace};

/// Candidates that one thread scores between two looks at the user's wish to stop.
const CHUNK: usize = 64;

/// The user asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted while the designs were enumerated")]
pub struct Interrupted;

/// What candidates share that differ in their choice of channels alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The split layer's name.
    pub split: String,
    /// Its position in the backbone.
    pub split_index: usize,
    /// Output channel count.
    pub depth: usize,
    /// Exact cost.
    pub cost: Cost,
}

/// Designs to choose from, in a fixed order, each once.
///
/// Memory grows by less than 32 bytes with each. Whatever makes them, their ids differ: of two different designs whose ids
/// are the same by chance, as it happens once in some hundred thousand draws at one place, only the first is a candidate.
#[derive(Debug)]
pub struct Candidates<'a> {
    places: Vec<Place>,
    /// For each place the number of candidates up to it, its own included.
    ends: Vec<usize>,
    proxies: Vec<Proxies>,
    source: Source<'a>,
}

/// What makes a candidate.
#[derive(Debug)]
enum Source<'a> {
    Rules(Rules<'a>),
    /// They were made elsewhere.
    Listed(Vec<Candidate>),
}

/// The rules of a space, and which of them makes each candidate.
#[derive(Debug)]
struct Rules<'a> {
    selections: &'a [Selection],
    /// For each place its layer's.
    orders: Vec<usize>,
    layers: Vec<ChannelOrders<'a>>,
    /// For each candidate what its design hashes to.
    contents: Vec<u64>,
    /// For each candidate the first selection that makes it.
    makers: Vec<u32>,
    /// Candidates that further selections make, with these; ascending.
    shared: Vec<(u32, u32)>,
}

/// A split layer, what is known of its channels, and the depths that it may have.
#[derive(Debug, Clone)]
pub struct SplitLayer<'a> {
    /// The layer.
    pub layer: &'static Layer,
    /// What is known of its channels.
    pub insight: &'a LayerInsight,
    /// Output channel counts, each with its exact cost.
    pub depths: Vec<(usize, Cost)>,
}

impl<'a> Candidates<'a> {
    /// The designs that `selections` make at every depth of `layers`: layer by layer, depth by depth, selection by selection.
    ///
    /// # Errors
    /// [`Interrupted`] when `watch`, which is told the share that is done, says so.
    pub fn enumerate(
        layers: Vec<SplitLayer<'a>>,
        selections: &'a [Selection],
        watch: &(dyn Fn(f64) -> ControlFlow<()> + Sync),
    ) -> Result<Self, Interrupted> {
        let (mut places, mut ends, mut rules) = (Vec::new(), Vec::new(), Rules::new(selections));
        for SplitLayer { layer, insight, depths } in layers {
            if watch(0.0).is_break() {
                return Err(Interrupted);
            }
            let deepest = depths.iter().map(|&(depth, _)| depth).max().unwrap_or(0);
            let orders = ChannelOrders::new(layer.name, insight, selections, deepest);
            let contents = contents(layer.name, &orders, selections, &depths);
            for (at, &(depth, cost)) in depths.iter().enumerate() {
                rules.add(contents.iter().skip(at).step_by(depths.len()).copied());
                rules.orders.push(rules.layers.len());
                places.push(Place { split: layer.name.to_owned(), split_index: layer.index, depth, cost });
                ends.push(rules.makers.len());
            }
            rules.layers.push(orders);
        }
        let proxies = vec![Proxies { linear_attack: f64::NAN, class_separation: f64::NAN }; rules.makers.len()];
        let mut candidates = Self { places, ends, proxies, source: Source::Rules(rules) };
        candidates.score(watch)?;
        Ok(candidates)
    }

    /// Computes the closed-form figures of all.
    fn score(&mut self, watch: &(dyn Fn(f64) -> ControlFlow<()> + Sync)) -> Result<(), Interrupted> {
        let Source::Rules(rules) = &self.source else {
            return Ok(());
        };
        let (places, ends) = (&self.places, &self.ends);
        // A set's figures are solutions of equations in its channels.
        let work = |place: usize| (places[place].depth as u64 + 8).pow(3);
        let starts = [0].into_iter().chain(ends.iter().copied());
        let total: u64 = starts.zip(ends).enumerate().map(|(at, (start, end))| (end - start) as u64 * work(at)).sum();
        let done = AtomicU64::new(0);
        self.proxies.par_chunks_mut(CHUNK).enumerate().try_for_each_init(
            Workspace::default,
            |workspace, (chunk, proxies)| {
                let mut spent = 0;
                for (at, proxies) in proxies.iter_mut().enumerate() {
                    let index = chunk * CHUNK + at;
                    let place = ends.partition_point(|&end| end <= index);
                    let orders = &rules.layers[rules.orders[place]];
                    let selection = rules.selection(index);
                    if let Some(choice) = orders.choose(selection, places[place].depth) {
                        *proxies = orders.insight().proxies(selection, &choice, workspace);
                    }
                    spent += work(place);
                }
                let done = done.fetch_add(spent, Ordering::Relaxed) + spent;
                match watch(done as f64 / total.max(1) as f64) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Interrupted),
                }
            },
        )
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.proxies.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.proxies.is_empty()
    }

    /// All places that have candidates, each with their indices; in the candidates' order.
    pub fn places(&self) -> impl Iterator<Item = (&Place, Range<usize>)> {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let ranges = starts.zip(&self.ends).map(|(start, &end)| start..end);
        self.places.iter().zip(ranges).filter(|(_, range)| !range.is_empty())
    }

    /// The place of candidate `index`.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn place(&self, index: usize) -> &Place {
        &self.places[self.ends.partition_point(|&end| end <= index)]
    }

    /// Inputs of the predictive models for candidate `index`, as [`Candidate::features`].
    ///
    /// # Panics
    /// If there are not as many.
    pub fn features(&self, index: usize) -> [f64; Candidate::FEATURES.len()] {
        let place = self.place(index);
        features(&place.cost, place.depth, self.proxies[index])
    }

    /// The id of candidate `index`.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn id(&self, index: usize) -> DesignId {
        match &self.source {
            Source::Listed(listed) => listed[index].id.clone(),
            Source::Rules(rules) => {
                let place = self.place(index);
                design_id(&place.split, place.depth, rules.contents[index])
            }
        }
    }

    /// Candidate `index`, made anew.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn get(&self, index: usize) -> Candidate {
        let rules = match &self.source {
            Source::Listed(listed) => return listed[index].clone(),
            Source::Rules(rules) => rules,
        };
        let at = self.ends.partition_point(|&end| end <= index);
        let (place, Proxies { linear_attack, class_separation }) = (&self.places[at], self.proxies[index]);
        let channels = rules.layers[rules.orders[at]]
            .choose(rules.selection(index), place.depth)
            .expect("what made the candidate when it was enumerated makes it again");
        Candidate {
            id: design_id(&place.split, place.depth, rules.contents[index]),
            design: Design { split: place.split.clone(), channels },
            split_index: place.split_index,
            selections: rules.selections_of(index),
            cost: place.cost,
            linear_attack,
            class_separation,
        }
    }

    /// All of them, each made as it is asked for.
    pub fn iter(&self) -> impl Iterator<Item = Candidate> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The candidate of this id.
    pub fn index_of(&self, id: &DesignId) -> Option<usize> {
        let rules = match &self.source {
            Source::Listed(listed) => return listed.iter().position(|candidate| candidate.id == *id),
            Source::Rules(rules) => rules,
        };
        // The id's last part is the hash: what comes before it tells the place.
        let (_, hash) = id.as_str().rsplit_once('-')?;
        let hash = u32::from_str_radix(hash, 16).ok()?;
        let at = |(_, range): (&Place, Range<usize>)| {
            let first = range.start;
            let index = first + rules.contents[range].iter().position(|&content| shown(content) == hash)?;
            (self.id(index) == *id).then_some(index)
        };
        self.places().find_map(at)
    }
}

/// Designs that were made elsewhere, whose ids differ: each is kept as it is.
impl FromIterator<Candidate> for Candidates<'static> {
    fn from_iter<I: IntoIterator<Item = Candidate>>(candidates: I) -> Self {
        let listed: Vec<Candidate> = candidates.into_iter().collect();
        let (mut places, mut ends): (Vec<Place>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut proxies = Vec::with_capacity(listed.len());
        for (index, candidate) in listed.iter().enumerate() {
            let (place, &Candidate { linear_attack, class_separation, .. }) = (candidate.place(), candidate);
            match (places.last() == Some(&place), ends.last_mut()) {
                (true, Some(end)) => *end = index + 1,
                _ => {
                    places.push(place);
                    ends.push(index + 1);
                }
            }
            proxies.push(Proxies { linear_attack, class_separation });
        }
        Self { places, ends, proxies, source: Source::Listed(listed) }
    }
}

impl<'a> Rules<'a> {
    /// Those that make no candidate yet.
    fn new(selections: &'a [Selection]) -> Self {
        let (orders, layers, contents) = (Vec::new(), Vec::new(), Vec::new());
        Self { selections, orders, layers, contents, makers: Vec::new(), shared: Vec::new() }
    }

    /// Adds the candidates of one place by what each selection's design there hashes to.
    fn add(&mut self, contents: impl Iterator<Item = Option<u64>>) {
        let mut known: HashMap<u32, u32> = HashMap::new();
        let from = self.shared.len();
        for (selection, content) in (0u32..).zip(contents) {
            let Some(content) = content else {
                continue;
            };
            match known.entry(shown(content)) {
                Entry::Vacant(entry) => {
                    entry.insert(self.makers.len() as u32);
                    self.contents.push(content);
                    self.makers.push(selection);
                }
                Entry::Occupied(entry) if self.contents[*entry.get() as usize] == content => {
                    self.shared.push((*entry.get(), selection));
                }
                // Another design of the same id: results of the two could not be told apart.
                Entry::Occupied(_) => {}
            }
        }
        self.shared[from..].sort_unstable();
    }

    /// The first selection that makes a candidate.
    fn selection(&self, index: usize) -> Selection {
        self.selections[self.makers[index] as usize]
    }

    /// All of them, in the space's order.
    fn selections_of(&self, index: usize) -> Vec<Selection> {
        let from = self.shared.partition_point(|&(candidate, _)| (candidate as usize) < index);
        let further = self.shared[from..].iter().take_while(|&&(candidate, _)| candidate as usize == index);
        let further = further.map(|&(_, selection)| self.selections[selection as usize]);
        [self.selection(index)].into_iter().chain(further).collect()
    }
}

/// What the designs of each selection at each depth of a layer hash to, `[selections, depths]`: a draw is shuffled once for all
/// its depths.
fn contents(
    split: &str,
    orders: &ChannelOrders<'_>,
    selections: &[Selection],
    depths: &[(usize, Cost)],
) -> Vec<Option<u64>> {
    let mut contents = vec![None; selections.len() * depths.len()];
    if !depths.is_empty() {
        contents.par_chunks_mut(depths.len()).zip(selections).for_each(|(contents, &selection)| {
            let order = orders.order(selection);
            for (value, &(depth, _)) in contents.iter_mut().zip(depths) {
                *value = orders.first(selection, &order, depth).map(|choice| content(split, &choice));
            }
        });
    }
    contents
}

#[cfg(test)]
mod tests;
