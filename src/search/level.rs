//! How thoroughly a design is measured: in full, or first in a cheap screening that tells whether it is worth more.
//!
//! Both levels are measurements of one function to the models: the level is a feature of a row beside those of the design, so
//! that its influence and how far it carries from one level to the other are fitted like any other's.

use std::collections::BTreeSet;

/// A way to measure a design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Less training on fewer images.
    Screening,
    /// As the answer is judged by before its verification.
    Full,
}

impl Level {
    /// The level as a feature.
    fn feature(self) -> f64 {
        match self {
            Self::Screening => -1.0,
            Self::Full => 0.0,
        }
    }

    /// What the models see of a design of these `features`, measured at this level: `[d + 1]`.
    pub(super) fn of(self, features: &[f64]) -> Vec<f64> {
        [features, &[self.feature()]].concat()
    }

    /// The same design, described as at any level, at this one.
    pub(super) fn instead(self, described: &[f64]) -> Vec<f64> {
        let design = described.split_last().map_or(described, |(_, design)| design);
        self.of(design)
    }
}

/// Designs that were measured, or tried in vain.
#[derive(Debug, Clone, Default)]
pub(super) struct Tried {
    pub(super) full: BTreeSet<usize>,
    pub(super) screened: BTreeSet<usize>,
}

impl Tried {
    pub(super) fn insert(&mut self, index: usize, level: Level) {
        match level {
            Level::Screening => self.screened.insert(index),
            Level::Full => self.full.insert(index),
        };
    }

    /// Designs measured at any level.
    pub(super) fn designs(&self) -> usize {
        self.full.union(&self.screened).count()
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.full.contains(&index) || self.screened.contains(&index)
    }
}

/// What may still be spent, counted in full measurements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// Measurements that run side by side.
    pub(super) count: usize,
    /// Full measurements, or their worth in screenings.
    pub(super) left: f64,
}

impl Allowance {
    /// Whether a full measurement fits.
    pub(super) fn affords_full(&self) -> bool {
        self.left > 1.0 - 1e-9
    }

    /// Whether a screening of this `share` fits and leaves a full measurement, without which it would be for nothing.
    pub(super) fn affords_screening(&self, share: f64) -> bool {
        self.left > 1.0 + share - 1e-9
    }

    /// What is left after a measurement.
    pub(super) fn after(self, level: Level, share: f64) -> Self {
        let spent = if level == Level::Full { 1.0 } else { share };
        Self { count: self.count.saturating_sub(1), left: self.left - spent }
    }
}
