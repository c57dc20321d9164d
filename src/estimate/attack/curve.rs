//! Learning curves of attacks over doublings of the training, and what lies beyond their end.
//!
//! The error of a net that is trained for t steps falls like a power of t, so each doubling gains a fixed share r of
//! what the doubling before it gained: after a last gain g, n further doublings gain `g·(r + r² + … + rⁿ)`. A claim
//! about an attacker who trains longer than we did must include that.

/// The best figure after each doubling of the training; larger is a stronger attack.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LearningCurve {
    figures: Vec<f64>,
    /// A doubling that gains less than this gains nothing worth training for.
    flat: f64,
}

/// Doublings beyond the end of the curve that a claim includes: sixteen times the training.
pub(super) const HORIZON: i32 = 4;

/// No curve is believed to flatten faster than by this ratio per doubling.
const FASTEST: f64 = 0.5;

impl LearningCurve {
    /// A curve without points.
    pub(super) fn new(flat: f64) -> Self {
        Self { figures: Vec::new(), flat }
    }

    /// Adds a figure where it is the best so far, else the best one again; returns which.
    pub(super) fn push(&mut self, figure: f64) -> bool {
        let best = self.last();
        self.figures.push(figure.max(best));
        figure > best
    }

    /// The figure at the end.
    pub(super) fn last(&self) -> f64 {
        self.figures.last().copied().unwrap_or(f64::NEG_INFINITY)
    }

    /// What each doubling gained.
    fn gains(&self) -> impl DoubleEndedIterator<Item = f64> {
        self.figures.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// What the last doubling gained; 0 before the first.
    fn last_gain(&self) -> f64 {
        self.gains().next_back().unwrap_or(0.0)
    }

    /// What the horizon would bring if every further doubling gained what the last one did: for a curve that can't tell.
    pub(super) fn straight_on(&self) -> f64 {
        f64::from(HORIZON) * self.last_gain()
    }

    /// From the curve's first to its last point.
    pub(super) fn total_gain(&self) -> f64 {
        self.gains().sum()
    }

    /// Whether the last two doublings gained next to nothing: one alone may be a dip.
    pub(super) fn is_flat(&self) -> bool {
        let mut backwards = self.gains().rev();
        matches!((backwards.next(), backwards.next()), (Some(last), Some(before)) if last < self.flat && before < self.flat)
    }

    /// What [`HORIZON`] further doublings would gain; `None` where the curve can't tell: it is too short, its last
    /// gain is larger than the one before, or nothing was learnt at all.
    ///
    /// A doubling that gained less than [`FASTEST`] times the one before is as likely a poor cycle as the end of
    /// learning: it is credited with that much all the same.
    pub(super) fn left_to_gain(&self) -> Option<f64> {
        // A decoder that never learnt anything has not converged: it is stuck.
        if self.figures.len() < 3 || self.total_gain() < 0.5 * self.flat {
            return None;
        }
        let (mut before, mut credited) = (0.0, 0.0f64);
        for gain in self.gains() {
            before = credited;
            credited = gain.max(FASTEST * before);
        }
        if credited >= self.flat && credited > before {
            return None;
        }
        let ratio = credited / before.max(credited).max(f64::MIN_POSITIVE);
        Some((1..=HORIZON).map(|k| credited * ratio.powi(k)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(figures: &[f64]) -> LearningCurve {
        let mut curve = LearningCurve::new(0.1);
        for &figure in figures {
            curve.push(figure);
        }
        curve
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
    fn a_cycle_that_is_no_better_changes_nothing() {
        let mut dip = curve(&[16.0, 17.0]);
        assert!(!dip.push(16.5) && dip.push(17.2));
        assert_eq!(dip, curve(&[16.0, 17.0, 17.0, 17.2]));
        assert!((curve(&[16.0, 16.5, 17.5]).straight_on() - 4.0).abs() < 1e-12);
    }

    #[test]
    fn flat_curves_have_little_left() {
        assert!(curve(&[16.0, 17.0, 17.05, 17.08]).is_flat());
        assert!(!curve(&[16.0, 17.0, 17.05]).is_flat(), "one small gain may be a dip");
        // A doubling without gain is credited with half of the one before, and so on: a dip is not the end.
        let halves = 0.5 + 0.25 + 0.125 + 0.0625;
        for (figures, credited) in [(&[16.0, 17.0, 17.0][..], 0.5), (&[16.0, 17.0, 17.0, 17.0][..], 0.25)] {
            assert!((curve(figures).left_to_gain().unwrap() - credited * halves).abs() < 1e-12, "{figures:?}");
        }
        assert_eq!(curve(&[10.9, 10.9, 10.9]).left_to_gain(), None, "a stuck decoder is no converged one");
        assert!(!curve(&[16.0, 16.05]).is_flat(), "one doubling shows nothing");
        // Small gains that do not shrink are still counted.
        assert!(curve(&[16.0, 16.05, 16.1]).left_to_gain().unwrap() > 0.15);
        assert!((curve(&[16.0, 17.0, 17.5]).total_gain() - 1.5).abs() < 1e-12);
    }
}
