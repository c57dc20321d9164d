//! How long measurements take, by those that were made, and what the allowance of time leaves.

use crate::exec::Executor;
use crate::measurement::Evaluation;
use crate::space::Place;

use super::explore::Search;

impl Search<'_> {
    /// Whether the allowance of time is spent, but for one verification.
    pub(super) fn out_of_time(&self, executor: &Executor<'_>) -> bool {
        self.search_seconds().is_some_and(|limit| executor.asked_seconds() >= limit)
    }

    /// Seconds that the search may take: of the allowance what one verification leaves.
    pub(super) fn search_seconds(&self) -> Option<f64> {
        Some((self.problem.seconds? - self.verification_seconds(None)).max(0.0))
    }

    /// Seconds that verifying a candidate is expected to take at most, of all candidates the median; 0 while no time is known.
    pub(super) fn verification_seconds(&self, index: Option<usize>) -> f64 {
        let problem = self.problem;
        let Some(pace) = self.pace() else {
            return 0.0;
        };
        let work = |place: &Place| (problem.work)(place, problem.plan.verification);
        let work = match index {
            Some(index) => Some(work(&self.place(index))),
            None => median(problem.sample().map(work)),
        };
        pace * work.unwrap_or(0.0) * problem.plan.verification_seeds as f64
    }

    /// Seconds per unit of work, by the median of this study's own measurements; `None` before there are any.
    pub(super) fn pace(&self) -> Option<f64> {
        // Screenings tell of full measurements only while there are none: a larger part of their time is not in their work.
        let own = |of: &'_ [(usize, Evaluation)]| of.iter().any(|(_, evaluation)| evaluation.from.is_none());
        let telling = if own(&self.measured) { &self.measured } else { &self.screened };
        let own = telling.iter().filter(|(_, evaluation)| evaluation.from.is_none());
        let pace = |(index, evaluation): &(usize, Evaluation)| {
            evaluation.seconds / (self.problem.work)(&self.place(*index), evaluation.fidelity)
        };
        median(own.map(pace).filter(|pace| pace.is_finite() && *pace > 0.0))
    }
}

/// The middle value; `None` of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
