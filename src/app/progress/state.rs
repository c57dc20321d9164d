//! How far a study is.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::measurement::{DesignId, Fidelity};
use crate::units::Duration;

/// A measurement that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Running {
    /// Its place among the study's measurements, from 1.
    pub(in super::super) number: usize,
    pub(in super::super) design: DesignId,
    pub(in super::super) fidelity: Fidelity,
    pub(in super::super) seed: u64,
    /// What is being trained.
    pub(in super::super) what: String,
    /// How much of that is done.
    pub(in super::super) done: f64,
}

impl Running {
    /// In one line.
    pub(in super::super) fn text(&self) -> String {
        let Self { number, design, fidelity, seed, what, done } = self;
        // What runs elsewhere does not say how far it is.
        let share = if *done > 0.0 { format!(" {:.0} %", 100.0 * done) } else { String::new() };
        let what = if what.is_empty() { String::new() } else { format!(" · {what}{share}") };
        format!("{number} {design} ({fidelity}, seed {seed}){what}")
    }
}

/// What a verification's measurements are foreseen to be.
#[derive(Debug, Clone, Copy)]
struct Verifications {
    count: usize,
    /// Work of one, in measurements of the search.
    work: f64,
}

/// Counts, the stage before measurements begin, and what runs.
#[derive(Debug, Clone)]
pub(in super::super) struct State {
    pub(in super::super) planned: usize,
    pub(in super::super) recovered: usize,
    pub(in super::super) fresh: usize,
    pub(in super::super) stage: String,
    pub(in super::super) running: BTreeMap<usize, Running>,
    /// What was sent out and does not run yet, and why.
    waiting: BTreeMap<usize, String>,
    verifications: Verifications,
    /// Work of what was found and of what was measured, in measurements of the search.
    found: f64,
    made: f64,
    start: Instant,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            planned: 0,
            recovered: 0,
            fresh: 0,
            stage: String::new(),
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            verifications: Verifications { count: 0, work: 1.0 },
            found: 0.0,
            made: 0.0,
            start: Instant::now(),
        }
    }

    /// Of the measurements planned, `count` verify and are each worth `work` of the search's.
    pub(super) fn expect_verifications(&mut self, count: usize, work: f64) {
        if work.is_finite() && work > 0.0 {
            self.verifications = Verifications { count, work };
        }
    }

    fn work(&self, fidelity: Fidelity) -> f64 {
        if fidelity.is_verification() { self.verifications.work } else { 1.0 }
    }

    pub(super) fn stage(&mut self, text: &str, done: f64) {
        self.stage = if done > 0.0 { format!("{text} {:.0} %", 100.0 * done) } else { text.to_owned() };
    }

    /// Whether nothing was measured yet.
    pub(super) fn begins(&self) -> bool {
        self.fresh == 0 && self.running.is_empty()
    }

    pub(super) fn start(&mut self, number: usize, planned: usize, running: Running) {
        if self.begins() {
            self.start = Instant::now();
        }
        self.planned = planned;
        self.waiting.remove(&number);
        self.running.insert(number, running);
    }

    pub(super) fn proceed(&mut self, number: usize, what: &str, done: f64) -> Option<&Running> {
        let Some(running) = self.running.get_mut(&number) else {
            self.waiting.insert(number, what.to_owned());
            return None;
        };
        what.clone_into(&mut running.what);
        running.done = done;
        Some(running)
    }

    /// A measurement failed and is tried again.
    pub(super) fn abandon(&mut self, number: usize) {
        self.running.remove(&number);
        self.waiting.remove(&number);
    }

    pub(super) fn end(&mut self, number: usize, fidelity: Fidelity, fresh: bool) {
        self.abandon(number);
        let work = self.work(fidelity);
        match fresh {
            true => (self.fresh, self.made) = (self.fresh + 1, self.made + work),
            false => (self.recovered, self.found) = (self.recovered + 1, self.found + work),
        }
    }

    /// Work done in this run, of the running measurements by their fractions.
    fn made(&self) -> f64 {
        self.made + self.running.values().map(|running| running.done * self.work(running.fidelity)).sum::<f64>()
    }

    /// Work of everything that is planned.
    fn whole(&self) -> f64 {
        let Verifications { count, work } = self.verifications;
        self.planned.max(1) as f64 + count.min(self.planned) as f64 * (work - 1.0)
    }

    /// The share of all work that is done.
    pub(super) fn share(&self) -> f64 {
        ((self.found + self.made()) / self.whole()).min(1.0)
    }

    /// Seconds that the rest is expected to take.
    pub(in super::super) fn left(&self) -> Option<f64> {
        let made = self.made();
        let rest = (self.whole() - self.found - made).max(0.0);
        // The first tenth of a measurement foretells nothing, and at the end there is nothing to foretell.
        (made >= 0.1 && rest > 0.0).then(|| self.start.elapsed().as_secs_f64() / made * rest)
    }

    /// In one line.
    pub(super) fn summary(&self) -> String {
        let left = self.left().map(|left| format!(", about {} left", Duration(left))).unwrap_or_default();
        let waiting = match self.waiting.values().next() {
            Some(why) => format!(", {} waiting ({why})", self.waiting.len()),
            None => String::new(),
        };
        format!("{} of {} measurements{left}{waiting}", self.recovered + self.fresh, self.planned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_measurements_count_by_what_is_done_of_them() {
        let mut state = State::new();
        let running = |number| Running {
            number,
            design: "conv1_2-4-0".parse().unwrap(),
            fidelity: Fidelity::Quick,
            seed: 7,
            what: String::new(),
            done: 0.0,
        };
        state.end(1, Fidelity::Quick, false);
        state.start(2, 5, running(2));
        assert_eq!((state.share(), state.left()), (0.2, None), "too early to tell");
        state.proceed(2, "decoder", 0.5);
        assert_eq!(state.share(), 0.3);
        assert!(state.left().is_some());
        assert_eq!(state.running[&2].text(), "2 conv1_2-4-0 (quick, seed 7) · decoder 50 %");
        state.end(2, Fidelity::Quick, true);
        assert_eq!(state.share(), 0.4);
        assert!(state.summary().starts_with("2 of 5 measurements, about "), "{}", state.summary());
    }

    #[test]
    fn a_verification_counts_by_its_work() {
        let mut state = State::new();
        state.expect_verifications(1, 6.0);
        state.planned = 5;
        state.end(1, Fidelity::Quick, true);
        assert_eq!(state.share(), 0.1, "one of four and a verification of six");
        state.end(5, Fidelity::QuickVerification, true);
        assert_eq!(state.share(), 0.7);
        state.expect_verifications(1, f64::NAN);
        assert_eq!(state.share(), 0.7, "what can't be foreseen changes nothing");
    }
}
