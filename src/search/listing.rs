//! Which designs a reader of the answer is shown, of very many.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::gain::Openness;
use super::{Findings, Problem, model};
use crate::measurement::{DesignId, Metric};

/// Designs that were not tried which are listed: the most accurate by prediction.
const UNTRIED: usize = 2_000;

/// Designs that are worth a line, by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Every design that was measured, screened, verified or chosen, and the most accurate others by what verification is
    /// expected to find; ascending.
    pub shown: BTreeSet<usize>,
    /// How many are not.
    pub left_out: usize,
}

impl Findings {
    /// The designs to list: all of them where there are not very many.
    pub fn listing(&self, problem: &Problem<'_>) -> Listing {
        let candidates = problem.candidates;
        let count = candidates.len() + self.refined.len();
        let tried = self.measured.iter().chain(&self.screened).map(|&(index, _)| index);
        let refined = |id: &DesignId| self.refined.iter().position(|candidate| candidate.id == *id);
        let verified = (self.verdicts.iter().map(|verdict| &verdict.design))
            .filter_map(|id| candidates.index_of(id).or_else(|| Some(candidates.len() + refined(id)?)));
        let mut shown: BTreeSet<usize> = tried.chain(self.chosen).chain(verified).collect();
        let mut others: Vec<usize> = (0..count).filter(|index| !shown.contains(index)).collect();
        let left_out = others.len().saturating_sub(UNTRIED);
        if left_out > 0 {
            let accuracy = self.expected_accuracy(problem);
            let id = |index: usize| match index.checked_sub(candidates.len()) {
                Some(refined) => self.refined[refined].id.clone(),
                None => candidates.id(index),
            };
            let by_accuracy = |&a: &usize, &b: &usize| match accuracy[b].total_cmp(&accuracy[a]) {
                Ordering::Equal => id(a).cmp(&id(b)),
                order => order,
            };
            others.select_nth_unstable_by(UNTRIED, by_accuracy);
            others.truncate(UNTRIED);
        }
        shown.extend(others);
        Listing { shown, left_out }
    }

    /// The accuracy that verification is expected to find of each design; 0 where accuracy was never measured.
    fn expected_accuracy(&self, problem: &Problem<'_>) -> Vec<f64> {
        let candidates = problem.candidates;
        let mut points = model::points(candidates);
        self.refined.iter().for_each(|candidate| model::push(&mut points, candidate));
        let Some(figures) = self.models.figures_of(Metric::Accuracy, &points) else {
            return vec![0.0; points.len()];
        };
        let known = candidates.places().map(|(place, range)| (Openness::of(place), range.len()));
        let refined = self.refined.iter().map(|candidate| (Openness::of(&candidate.place()), 1));
        let open = known.chain(refined).flat_map(|(open, count)| std::iter::repeat_n(open, count));
        figures.into_iter().zip(open).map(|(figure, open)| self.gain.expected(figure, open).value).collect()
    }
}
