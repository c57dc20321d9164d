//! Which designs to measure first: stratified over categories, far from each other within them.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::SolverError;
use crate::surrogate::Points;

/// Distinct indices of `count` points that cover the categories and the space, in the order of choice.
///
/// Every category that has points left gets its k-th point before any gets its (k + 1)-th; with fewer points than
/// categories, categories evenly spaced in ascending order get one. Within that, each choice is the point farthest from all
/// earlier ones, in the Euclidean distance of coordinates scaled to [0, 1] and a distance of 1 between categories
/// (Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985). Ties, the first choice among them, are
/// broken by `seed`. O(count · n · d). A count beyond the number of points gives them all.
///
/// # Errors
/// No points, or a coordinate that isn't finite.
pub fn spread(points: &Points, count: usize, seed: u64) -> Result<Vec<usize>, SolverError> {
    let scaled = unit_box(points)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let priority: Vec<u64> = (0..points.len()).map(|_| rng.next_u64()).collect();

    let mut strata: BTreeMap<usize, Stratum> = BTreeMap::new();
    for index in 0..points.len() {
        strata.entry(points.category(index)).or_default().left.push(index);
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
            let apart = f64::from(u8::from(points.category(other) != points.category(index)));
            let (x, y) = (scaled.chunk(other), scaled.chunk(index));
            let squared = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>() + apart;
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
struct Scaled {
    width: usize,
    coordinates: Vec<f64>,
}

impl Scaled {
    fn chunk(&self, index: usize) -> &[f64] {
        &self.coordinates[index * self.width..(index + 1) * self.width]
    }
}

fn unit_box(points: &Points) -> Result<Scaled, SolverError> {
    if points.is_empty() {
        return Err(SolverError::NoCandidates);
    }
    let width = points.width();
    let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); width];
    for index in 0..points.len() {
        for (axis, (range, &value)) in ranges.iter_mut().zip(points.features(index)).enumerate() {
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
    let coordinates =
        (0..points.len()).flat_map(|index| points.features(index).iter().zip(&ranges).map(scale)).collect();
    Ok(Scaled { width, coordinates })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Categories 0 to `categories`, each with depths 1 to 16.
    fn grid(categories: usize) -> Points {
        points((0..categories * 16).map(|i| (i / 16, vec![((i % 16 + 1) as f64).ln()])))
    }

    fn points(rows: impl Iterator<Item = (usize, Vec<f64>)>) -> Points {
        let mut points: Option<Points> = None;
        for (category, features) in rows {
            points.get_or_insert_with(|| Points::new(features.len())).push(&features, category);
        }
        points.unwrap()
    }

    fn per_category(points: &Points, chosen: &[usize], categories: usize) -> Vec<usize> {
        let mut counts = vec![0; categories];
        chosen.iter().for_each(|&i| counts[points.category(i)] += 1);
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
        let mut categories: Vec<usize> = chosen.iter().map(|&i| points.category(i)).collect();
        categories.sort_unstable();
        assert_eq!(categories, [0, 6, 12]);
        assert_eq!(evenly(10, 1), [5]);
        assert_eq!(evenly(4, 3), [0, 2, 3]);
        assert!(spread(&points, 0, 0).unwrap().is_empty());
    }

    #[test]
    fn each_choice_is_the_farthest() {
        let points = points([0.0, 1.0, 2.0, 5.0, 10.0].into_iter().map(|x| (0, vec![x, 3.0])));
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
        let points = points((0..17).map(|i| (i / 16, vec![((i % 16 + 1) as f64).ln()])));
        let mut chosen = spread(&points, 8, 3).unwrap();
        assert_eq!(per_category(&points, &chosen, 2), [7, 1]);
        chosen = spread(&points, 100, 3).unwrap();
        chosen.sort_unstable();
        assert_eq!(chosen, (0..17).collect::<Vec<_>>());
    }

    #[test]
    fn bad_points_are_named() {
        assert_eq!(spread(&Points::new(2), 1, 0), Err(SolverError::NoCandidates));
        let points = points((0..5).map(|i| (0, vec![if i == 3 { f64::NAN } else { 1.0 }])));
        assert!(matches!(spread(&points, 2, 0), Err(SolverError::Coordinate { point: 3, axis: 0, .. })));
    }
}
