//! The search's measurements in order, with the best answer and the front so far.

use super::designs::feasibility;
use super::limit;
use crate::measurement::Metric;
use crate::record::{DesignRecord, Record};
use crate::report::view;
use crate::solver::Front;

/// One a measurement.
pub(super) fn steps(record: &Record) -> Vec<view::HistoryStep> {
    let mut measured: Vec<&DesignRecord> = record.designs.iter().filter(|d| d.order.is_some()).collect();
    measured.sort_by_key(|d| d.order);
    let mut best: Option<f64> = None;
    let mut front = FrontSoFar::new(record, &measured);
    (measured.iter().enumerate())
        .map(|(i, design)| {
            let accuracy = design.expected(Metric::Accuracy);
            if record.standing(design).is_good()
                && let Some(row) = design.expected(Metric::Accuracy)
                && best.is_none_or(|b| row.value > b)
            {
                best = Some(row.value);
            }
            view::HistoryStep {
                evaluation: i + 1,
                design: design.id.to_string(),
                phase: if design.reason.as_deref().is_some_and(|r| r.starts_with("first")) {
                    "first"
                } else {
                    "proposed"
                }
                .to_owned(),
                reason: design.reason.clone().unwrap_or_default(),
                accuracy: accuracy.map(|p| view::Estimate { value: p.value, se: p.sd }),
                feasibility: feasibility(record, design),
                best_feasible: best,
                hypervolume: front.as_mut().and_then(|front| front.with(record, design)),
                seconds: design.measured.iter().map(|m| m.seconds).fold(0.0, f64::max),
            }
        })
        .collect()
}

/// The front of accuracy against expected mean PSNR, design by design.
struct FrontSoFar {
    points: Vec<(f64, f64)>,
    /// Accuracy of guessing, and the PSNR that is no longer worth anything.
    reference: (f64, f64),
    /// Hypervolume of a design that classifies every image and leaks no more than the mean image.
    whole: f64,
}

impl FrontSoFar {
    fn new(record: &Record, measured: &[&DesignRecord]) -> Option<Self> {
        let chance = 1.0 / record.provenance.classes.len().max(1) as f64;
        let leakage = measured.iter().filter_map(|design| design.expected(Metric::PsnrMean)).map(|p| p.value);
        let worst = limit(record, Metric::PsnrMean).or(leakage.max_by(f64::total_cmp))?;
        let whole = (1.0 - chance) * (worst - record.floors?.best_constant);
        (whole > 0.0).then(|| Self { points: Vec::new(), reference: (chance, worst), whole })
    }

    /// The hypervolume once `design` is among them, as a share.
    fn with(&mut self, record: &Record, design: &DesignRecord) -> Option<f64> {
        let (accuracy, leakage) = (design.expected(Metric::Accuracy)?, design.expected(Metric::PsnrMean)?);
        if record.meets_exact_budgets(design) {
            self.points.push((accuracy.value, -leakage.value));
        }
        let front = Front::new(self.points.iter().copied(), (self.reference.0, -self.reference.1));
        Some(front.hypervolume() / self.whole)
    }
}
