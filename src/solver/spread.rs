//! Which designs to measure first: stratified over categories, far from each other within them.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::SolverError;

/// A candidate as the first measurements see it.
#[derive(Debug, Clone, PartialEq)]
pub struct SpreadPoint {
    /// Stratum, such as the split layer. Its order only matters where there are more categories than measurements.
    pub category: usize,
    /// Coordinates in any unit, such as the logarithm of the depth, shape `[d]`.
    pub coordinates: Vec<f64>,
}

/// Distinct indices of `count` points that cover the categories and the space, in the order of choice.
///
/// Every category that has points left gets its k-th point before any gets its (k + 1)-th; with fewer points than
/// categories, categories evenly spaced in ascending order get one. Within that, each choice is the point farthest from all
/// earlier ones, in the Euclidean distance of coordinates scaled to [0, 1] and a distance of 1 between categories
/// (Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985). Ties, the first choice among them, are
/// broken by `seed`. O(count · n · d). A count beyond the number of points gives them all.
///
/// # Errors
/// No points, points that differ in their number of coordinates, or a coordinate that isn't finite.
pub fn spread(points: &[SpreadPoint], count: usize, seed: u64) -> Result<Vec<usize>, SolverError> {
    let scaled = unit_box(points)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let priority: Vec<u64> = points.iter().map(|_| rng.next_u64()).collect();

    let mut strata: BTreeMap<usize, Stratum> = BTreeMap::new();
    for (index, point) in points.iter().enumerate() {
        let stratum = strata.entry(point.category).or_default();
        stratum.left.push(index);
    }
    let mut strata: Vec<Stratum> = strata.into_values().collect();
    if count < strata.len() {
        let kept = evenly(strata.len(), count);
        strata = kept.into_iter().map(|k| std::mem::take(&mut strata[k])).collect();
    }

    // Squared distance of each point to the nearest chosen one.
    let mut nearest = vec![f64::INFINITY; points.len()];
    let mut chosen = Vec::with_capacity(count.min(points.len()));
    while chosen.len() < count {
        let open = strata.iter().filter(|stratum| !stratum.left.is_empty());
        let Some(fewest) = open.map(|stratum| stratum.taken).min() else {
            break;
        };
        let farthest = (strata.iter().enumerate())
            .filter(|(_, stratum)| stratum.taken == fewest)
            .flat_map(|(s, stratum)| (stratum.left.iter().enumerate()).map(move |(place, &index)| (s, place, index)))
            .max_by(|&(_, _, a), &(_, _, b)| {
                nearest[a].total_cmp(&nearest[b]).then(priority[a].cmp(&priority[b])).then(b.cmp(&a))
            });
        let Some((s, place, index)) = farthest else {
            break;
        };
        strata[s].left.swap_remove(place);
        strata[s].taken += 1;
        chosen.push(index);
        for (other, distance) in nearest.iter_mut().enumerate() {
            let apart = f64::from(u8::from(points[other].category != points[index].category));
            let squared = (scaled[other].iter().zip(&scaled[index])).map(|(x, y)| (x - y).powi(2)).sum::<f64>() + apart;
            *distance = distance.min(squared);
        }
    }
    Ok(chosen)
}

/// The points of one category.
#[derive(Debug, Default)]
struct Stratum {
    /// Indices of the points not chosen yet.
    left: Vec<usize>,
    /// Number of points chosen.
    taken: usize,
}

/// `count` indices evenly spaced over `0..n`, ends included, the middle for a count of one; `count < n`.
fn evenly(n: usize, count: usize) -> Vec<usize> {
    match count {
        0 => Vec::new(),
        1 => vec![n / 2],
        _ => (0..count).map(|k| (k * (n - 1) + (count - 1) / 2) / (count - 1)).collect(),
    }
}

/// Coordinates scaled to [0, 1] axis by axis; an axis on which all points agree becomes 0.
fn unit_box(points: &[SpreadPoint]) -> Result<Vec<Vec<f64>>, SolverError> {
    let first = points.first().ok_or(SolverError::NoCandidates)?;
    let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); first.coordinates.len()];
    for (index, point) in points.iter().enumerate() {
        if point.coordinates.len() != ranges.len() {
            return Err(SolverError::CoordinateCount {
                point: index,
                expected: ranges.len(),
                found: point.coordinates.len(),
            });
        }
        for (axis, (range, &value)) in ranges.iter_mut().zip(&point.coordinates).enumerate() {
            if !value.is_finite() {
                return Err(SolverError::Coordinate { point: index, axis, value });
            }
            *range = (range.0.min(value), range.1.max(value));
        }
    }
    // Halved, so that the difference of two huge numbers can't overflow.
    let scale = |(&value, &(low, high)): (&f64, &(f64, f64))| {
        if high > low { (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) } else { 0.0 }
    };
    Ok(points.iter().map(|point| point.coordinates.iter().zip(&ranges).map(scale).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Categories 0 to `categories`, each with depths 1 to 16.
    fn grid(categories: usize) -> Vec<SpreadPoint> {
        (0..categories * 16)
            .map(|i| SpreadPoint { category: i / 16, coordinates: vec![((i % 16 + 1) as f64).ln()] })
            .collect()
    }

    fn per_category(points: &[SpreadPoint], chosen: &[usize], categories: usize) -> Vec<usize> {
        let mut counts = vec![0; categories];
        chosen.iter().for_each(|&i| counts[points[i].category] += 1);
        counts
    }

    #[test]
    fn every_category_gets_one_before_any_gets_two() {
        let points = grid(5);
        for seed in 0..20 {
            let chosen = spread(&points, 13, seed).unwrap();
            let mut distinct = chosen.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), 13);
            assert_eq!(per_category(&points, &chosen[..5], 5), [1; 5]);
            assert_eq!(per_category(&points, &chosen[..10], 5), [2; 5]);
            assert_eq!(spread(&points, 13, seed).unwrap(), chosen);
        }
        assert_ne!(spread(&points, 13, 1).unwrap(), spread(&points, 13, 2).unwrap());
    }

    #[test]
    fn few_measurements_spread_over_the_categories() {
        let points = grid(13);
        let chosen = spread(&points, 3, 0).unwrap();
        let mut categories: Vec<usize> = chosen.iter().map(|&i| points[i].category).collect();
        categories.sort_unstable();
        assert_eq!(categories, [0, 6, 12]);
        assert_eq!(evenly(10, 1), [5]);
        assert_eq!(evenly(4, 3), [0, 2, 3]);
        assert!(spread(&points, 0, 0).unwrap().is_empty());
    }

    #[test]
    fn each_choice_is_the_farthest() {
        let points: Vec<SpreadPoint> =
            [0.0, 1.0, 2.0, 5.0, 10.0].map(|x| SpreadPoint { category: 0, coordinates: vec![x, 3.0] }).to_vec();
        for seed in 0..10 {
            let chosen = spread(&points, 3, seed).unwrap();
            let mut rest = chosen[1..].to_vec();
            rest.sort_unstable();
            match chosen[0] {
                0 => assert_eq!(rest, [3, 4]),
                4 => assert_eq!(rest, [0, 3]),
                3 => assert_eq!(rest, [0, 4]),
                _ => assert_eq!(chosen[1], 4),
            }
        }
    }

    #[test]
    fn a_small_category_runs_dry_and_a_large_count_takes_all() {
        let mut points = grid(2);
        points.truncate(17);
        let mut chosen = spread(&points, 8, 3).unwrap();
        assert_eq!(per_category(&points, &chosen, 2), [7, 1]);
        chosen = spread(&points, 100, 3).unwrap();
        chosen.sort_unstable();
        assert_eq!(chosen, (0..17).collect::<Vec<_>>());
    }

    #[test]
    fn bad_points_are_named() {
        assert_eq!(spread(&[], 1, 0), Err(SolverError::NoCandidates));
        let mut points = grid(1);
        points[3].coordinates[0] = f64::NAN;
        assert!(matches!(spread(&points, 2, 0), Err(SolverError::Coordinate { point: 3, axis: 0, .. })));
        points[2].coordinates.clear();
        assert!(matches!(spread(&points, 2, 0), Err(SolverError::CoordinateCount { point: 2, expected: 1, found: 0 })));
    }
}
