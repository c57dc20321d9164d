//! Latency by the number of channels that a local net keeps.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::units::Latency;

/// What repetitions of one local net took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpreadEntry {
    /// Half of them took no longer.
    pub median: Latency,
    /// 95 of 100 took no longer.
    pub p95: Latency,
}

/// The latency of local nets that are split at one layer, measured at a few numbers of channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencyCurve {
    knots: BTreeMap<usize, SpreadEntry>,
    deepest: usize,
}

impl LatencyCurve {
    /// From what was measured, by the number of channels; `None` where nothing was.
    pub fn new(knots: BTreeMap<usize, SpreadEntry>) -> Option<Self> {
        let &deepest = knots.keys().next_back()?;
        Some(Self { knots, deepest })
    }

    /// What was measured, by the number of channels.
    pub fn knots(&self) -> impl Iterator<Item = (usize, SpreadEntry)> + '_ {
        self.knots.iter().map(|(&depth, &spread)| (depth, spread))
    }

    /// The most channels that were measured.
    pub fn deepest(&self) -> usize {
        self.deepest
    }

    /// The median latency with `depth` channels; `None` beyond the most that were measured.
    ///
    /// Between measured numbers it is interpolated linearly. More channels never count as faster: where they were measured so,
    /// by chance or by the shape of the kernels, the slower of fewer ones counts. Fewer channels than the fewest measured count as
    /// those.
    pub fn at(&self, depth: usize) -> Option<Latency> {
        let mut slowest = Latency(0);
        let mut before: Option<(usize, Latency)> = None;
        for (&knot, spread) in &self.knots {
            slowest = slowest.max(spread.median);
            if depth <= knot {
                let Some((start, least)) = before else { return Some(slowest) };
                let share = (depth - start) as f64 / (knot - start) as f64;
                return Some(Latency(least.0 + (share * (slowest.0 - least.0) as f64).round() as u64));
            }
            before = Some((knot, slowest));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    fn curve(knots: &[(usize, u64)]) -> LatencyCurve {
        let spread = |&(depth, median)| (depth, SpreadEntry { median: Latency(median), p95: Latency(2 * median) });
        LatencyCurve::new(knots.iter().map(spread).collect()).unwrap()
    }

    #[test]
    fn between_knots_it_is_a_line_and_beyond_them_nothing() {
        let curve = curve(&[(4, 100), (8, 300), (16, 200), (32, 400)]);
        let at = |depth| curve.at(depth).map(|latency| latency.0);
        assert_eq!([1, 4, 5, 8, 12, 16].map(at), [100, 100, 150, 300, 300, 300].map(Some));
        assert_eq!([24, 32, 33].map(at), [Some(350), Some(400), None]);
        assert_eq!(LatencyCurve::new(BTreeMap::new()), None);
    }

    #[test]
    fn curves_are_monotone_and_exact_where_the_measurements_rise() {
        let mut noise = ChaCha8Rng::seed_from_u64(5);
        let mut below = |end: u64| noise.next_u64() % end;
        for _ in 0..500 {
            let knots: BTreeMap<usize, u64> =
                (0..1 + below(8)).map(|_| (1 + below(300) as usize, 1 + below(1 << 40))).collect();
            let knots: Vec<(usize, u64)> = knots.into_iter().collect();
            let curve = curve(&knots);
            let all: Vec<Latency> = (1..=curve.deepest()).map(|depth| curve.at(depth).unwrap()).collect();
            assert!(all.is_sorted(), "{knots:?}");
            assert_eq!(curve.at(curve.deepest() + 1), None);
            for (at, &(depth, median)) in knots.iter().enumerate() {
                let slowest = knots[..=at].iter().map(|&(_, median)| median).max().unwrap();
                assert_eq!(all[depth - 1], Latency(slowest));
                assert!(slowest != median || all[depth - 1] == Latency(median));
            }
        }
    }
}
