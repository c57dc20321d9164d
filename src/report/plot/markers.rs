//! The marks of designs: shape and colour by split layer, size by number of channels, alike in every plot.

use super::super::view::{DesignRow, StudyView};
use super::style::Marker;

/// Markers by split layer and sizes by depth, alike in every plot.
pub(in super::super) struct SplitMarkers<'a> {
    /// Split layers from the input on, as `(index, name)`.
    pub splits: Vec<(usize, &'a str)>,
    /// Depths, ascending.
    pub depths: Vec<usize>,
}

impl<'a> SplitMarkers<'a> {
    pub fn new(view: &'a StudyView) -> Self {
        Self { splits: view.splits(), depths: view.depths() }
    }

    pub fn of(&self, row: &DesignRow) -> Marker {
        Marker::of(self.splits.iter().position(|s| *s == (row.split_index, row.split.as_str())).unwrap_or(0))
    }

    /// Radius of a depth: linear in its logarithm.
    pub fn radius(&self, depth: usize) -> f64 {
        let (Some(&low), Some(&high)) = (self.depths.first(), self.depths.last()) else {
            return 5.0;
        };
        let log = |d: usize| (d.max(1) as f64).ln();
        let share = if high > low { (log(depth) - log(low)) / (log(high) - log(low)) } else { 0.5 };
        3.6 + 4.4 * share
    }
}
