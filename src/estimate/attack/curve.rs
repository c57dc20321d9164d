//! Learning curves of attacks over doublings of the training, and what lies beyond their end.
//!
//! The error of a net that is trained for t steps falls like a power of t, so each doubling gains a fixed share r of
//! what the doubling before it gained: after a last gain g, n further doublings gain `g·(r + r² + … + rⁿ)`. A claim
//! about an attacker who trains longer than we did must include that.

/// A figure after each doubling of the training; larger is a stronger attack.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LearningCurve(Vec<f64>);

/// A doubling that gains less than this (dB) ends the training.
const FLAT: f64 = 0.1;

/// Doublings beyond the end of the curve that a claim includes: sixteen times the training.
pub(super) const HORIZON: i32 = 4;

/// No curve is believed to flatten faster than by this ratio per doubling.
const FASTEST: f64 = 0.5;

impl LearningCurve {
    pub(super) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The figure at the end.
    pub(super) fn last(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NEG_INFINITY)
    }

    fn gains(&self) -> Option<(f64, f64)> {
        let [.., a, b, c] = self.0[..] else { return None };
        Some((b - a, c - b))
    }

    /// Whether the last two doublings gained next to nothing: one alone may be a dip.
    pub(super) fn is_flat(&self) -> bool {
        self.gains().is_some_and(|(before, last)| before < FLAT && last < FLAT)
    }

    /// What [`HORIZON`] further doublings would gain; `None` where the curve is too short to tell or its last gain is
    /// larger than the one before.
    pub(super) fn left_to_gain(&self) -> Option<f64> {
        let (before, last) = self.gains()?;
        // A decoder that never learnt anything has not converged: it is stuck.
        if self.total_gain() < 0.5 * FLAT {
            return None;
        }
        // A cycle that ends worse than the one before it is a dip, not the end of learning.
        let last = if last > 0.0 { last } else { FASTEST * before.max(0.0) };
        if last >= FLAT && last > before {
            return None;
        }
        let ratio = (last / before.max(last).max(f64::MIN_POSITIVE)).max(FASTEST);
        Some((1..=HORIZON).map(|k| last * ratio.powi(k)).sum())
    }

    /// From the curve's first to its last point.
    pub(super) fn total_gain(&self) -> f64 {
        self.last() - self.0.first().copied().unwrap_or(f64::NEG_INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(figures: &[f64]) -> LearningCurve {
        LearningCurve(figures.to_vec())
    }

    #[test]
    fn a_power_law_is_extended_along_itself() {
        // 20 − 3·0.6^k: every doubling gains 0.6 of the one before.
        let figure = |k: i32| 20.0 - 3.0 * 0.6f64.powi(k);
        let left = curve(&[figure(0), figure(1), figure(2)]).left_to_gain().unwrap();
        assert!((left - (figure(2 + HORIZON) - figure(2))).abs() < 1e-12);
        // Gains that do not shrink are extended in a straight line.
        assert!((curve(&[16.0, 17.0, 18.0]).left_to_gain().unwrap() - 4.0).abs() < 1e-12);
    }

    #[test]
    fn growing_gains_and_short_curves_are_not_extended() {
        assert_eq!(curve(&[17.0, 18.0]).left_to_gain(), None);
        assert_eq!(curve(&[16.0, 16.2, 17.9]).left_to_gain(), None);
        assert_eq!(curve(&[16.0, 15.9, 17.9]).left_to_gain(), None);
    }

    #[test]
    fn flat_curves_have_little_left() {
        assert!(curve(&[16.0, 17.0, 17.05, 17.08]).is_flat());
        assert!(!curve(&[16.0, 17.0, 17.05]).is_flat(), "one small gain may be a dip");
        assert!(curve(&[16.0, 17.0, 17.05]).left_to_gain().unwrap() <= 0.05 + 1e-12);
        assert!(curve(&[16.0, 17.0, 16.9]).left_to_gain().unwrap() > 0.4, "a dip is not the end of learning");
        assert_eq!(curve(&[10.9, 10.9, 10.9]).left_to_gain(), None, "a stuck decoder is no converged one");
        assert!(!curve(&[16.0, 16.05]).is_flat(), "one doubling shows nothing");
        // Small gains that do not shrink are still counted.
        assert!(curve(&[16.0, 16.05, 16.1]).left_to_gain().unwrap() > 0.15);
        assert!((curve(&[16.0, 17.0, 17.5]).total_gain() - 1.5).abs() < 1e-12);
    }
}
