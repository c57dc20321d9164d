//! The exact expected improvement of a two-objective front's hypervolume, in logarithms.

use super::acquisition::log_expected_improvement;
use super::hypervolume;
use crate::surrogate::Prediction;

/// Points that no other dominates, both coordinates maximised, above a reference point.
///
/// The dominated area is cut into strips between neighbouring points. A new point of independent normal coordinates adds, in
/// expectation, the sum over strips of (expected width that it covers) × (expected height above the strip's top): both are
/// closed forms (Emmerich, Deutz and Klinkenberg, "Hypervolume-based expected improvement", 2011; Yang et al., "Multi-objective
/// Bayesian global optimization using expected hypervolume improvement gradient", 2019).
#[derive(Debug, Clone, PartialEq)]
pub struct Front {
    /// Ascending in the first coordinate, descending in the second.
    points: Vec<(f64, f64)>,
    reference: (f64, f64),
}

impl Front {
    /// The front of `points` that lie above `reference` in both coordinates; others, and NaN, are left out.
    pub fn new(points: impl IntoIterator<Item = (f64, f64)>, reference: (f64, f64)) -> Self {
        let above = |p: &(f64, f64)| p.0 > reference.0 && p.1 > reference.1;
        let mut points: Vec<(f64, f64)> = points.into_iter().filter(above).collect();
        points.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
        let mut highest = f64::NEG_INFINITY;
        points.retain(|point| {
            let kept = point.1 > highest;
            highest = highest.max(point.1);
            kept
        });
        points.reverse();
        Self { points, reference }
    }

    /// Area between the front and its reference point.
    pub fn hypervolume(&self) -> f64 {
        let minimised: Vec<(f64, f64)> = self.points.iter().map(|p| (-p.0, -p.1)).collect();
        hypervolume(&minimised, (-self.reference.0, -self.reference.1))
    }

    /// `ln E[hypervolume with the new point − hypervolume]`.
    ///
    /// Maximising, the strip under the k-th point has its right edge at the point's first coordinate and its top at the
    /// point's second one; beyond the last point the top is the reference.
    pub fn log_expected_improvement(&self, first: &Prediction, second: &Prediction) -> f64 {
        let mut sum = LogSum::default();
        let mut left = self.reference.0;
        for &(right, top) in &self.points {
            sum.add(log_expected_between(first, left, right) + log_expected_improvement(second, top));
            left = right;
        }
        sum.add(log_expected_improvement(first, left) + log_expected_improvement(second, self.reference.1));
        sum.value()
    }
}

/// `ln E[min(max(y − left, 0), right − left)]`: what a strip's width is covered by.
fn log_expected_between(y: &Prediction, left: f64, right: f64) -> f64 {
    let (whole, beyond) = (log_expected_improvement(y, left), log_expected_improvement(y, right));
    if whole == f64::NEG_INFINITY {
        return whole;
    }
    // The difference of two exponentials; at most the strip's width.
    let covered = whole + (-(beyond - whole).exp()).ln_1p();
    covered.min((right - left).ln())
}

/// `ln Σ exp`, term by term.
struct LogSum {
    largest: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self { largest: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    fn add(&mut self, term: f64) {
        if term.is_nan() || self.largest.is_nan() {
            self.largest = f64::NAN;
        } else if term > self.largest {
            self.sum = self.sum * (self.largest - term).exp() + 1.0;
            self.largest = term;
        } else if term > f64::NEG_INFINITY {
            self.sum += (term - self.largest).exp();
        }
    }

    fn value(&self) -> f64 {
        if self.largest == f64::NEG_INFINITY { self.largest } else { self.largest + self.sum.ln() }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    fn prediction(mean: f64, sd: f64) -> Prediction {
        Prediction { mean, sd }
    }

    #[test]
    fn only_points_above_the_reference_that_none_dominates_are_kept() {
        let points = [(1.0, 3.0), (2.0, 2.0), (2.0, 1.0), (0.5, 0.5), (3.0, -1.0), (f64::NAN, 9.0), (3.0, 1.0)];
        let front = Front::new(points, (0.0, 0.0));
        assert_eq!(front.points, [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]);
        assert_eq!(front.hypervolume(), 6.0);
    }

    #[test]
    fn a_certain_point_adds_the_area_that_it_adds() {
        let points = [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)];
        let front = Front::new(points, (0.0, 0.0));
        for new in [(2.5, 2.5), (4.0, 4.0), (0.5, 3.5), (3.5, 0.5)] {
            let with = Front::new(points.into_iter().chain([new]), (0.0, 0.0));
            let gain = front.log_expected_improvement(&prediction(new.0, 0.0), &prediction(new.1, 0.0)).exp();
            assert!((gain - (with.hypervolume() - front.hypervolume())).abs() < 1e-12, "{new:?}: {gain}");
        }
        let dominated = front.log_expected_improvement(&prediction(1.5, 0.0), &prediction(1.5, 0.0));
        assert_eq!(dominated, f64::NEG_INFINITY);
    }

    #[test]
    fn expectation_equals_the_mean_of_many_draws() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut uniform = || ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        let points = [(0.2, 0.9), (0.5, 0.6), (0.8, 0.3)];
        let front = Front::new(points, (0.0, 0.0));
        let before = front.hypervolume();
        for (a, b) in [((0.6, 0.2), (0.5, 0.3)), ((0.3, 0.1), (0.2, 0.4)), ((1.2, 0.3), (1.0, 0.2))] {
            let draws = 40_000;
            let mut sum = 0.0;
            for _ in 0..draws {
                let (radius, angle) = ((-2.0 * uniform().ln()).sqrt(), std::f64::consts::TAU * uniform());
                let new = (a.0 + a.1 * radius * angle.cos(), b.0 + b.1 * radius * angle.sin());
                sum += Front::new(points.into_iter().chain([new]), (0.0, 0.0)).hypervolume() - before;
            }
            let exact = front.log_expected_improvement(&prediction(a.0, a.1), &prediction(b.0, b.1)).exp();
            let drawn = sum / f64::from(draws);
            assert!((exact / drawn - 1.0).abs() < 0.04, "{exact} against {drawn}");
        }
    }

    #[test]
    fn hopeless_candidates_are_still_told_apart() {
        let front = Front::new([(5.0, 5.0)], (0.0, 0.0));
        let at = |mean: f64| front.log_expected_improvement(&prediction(mean, 0.01), &prediction(mean, 0.01));
        assert!(at(-10.0) < at(-5.0) && at(-5.0) < at(1.0) && at(-10.0).is_finite());
    }
}
