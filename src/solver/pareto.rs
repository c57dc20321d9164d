//! Pareto front and hypervolume of two objectives.

/// Indices, in ascending order, of the points that no other point dominates.
///
/// A point is (accuracy, leakage): a larger accuracy and a smaller leakage are better. Equal points don't dominate each
/// other; points with a NaN are left out. O(n log n).
///
/// ```
/// use privynet::solver::pareto_front;
///
/// let designs = [(0.8, 20.0), (0.7, 18.0), (0.7, 19.0)];
/// assert_eq!(pareto_front(&designs), [0, 1]);
/// ```
pub fn pareto_front(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).filter(|&i| !points[i].0.is_nan() && !points[i].1.is_nan()).collect();
    // Adding zero turns −0 into 0, which the total order would tell apart.
    order.sort_by(|&i, &j| {
        let (a, b) = (points[i], points[j]);
        let by_accuracy = (b.0 + 0.0).total_cmp(&(a.0 + 0.0));
        by_accuracy.then((a.1 + 0.0).total_cmp(&(b.1 + 0.0)))
    });
    let mut front: Vec<usize> = Vec::new();
    for i in order {
        let kept = front.last().is_none_or(|&last| points[i].1 < points[last].1 || points[i] == points[last]);
        if kept {
            front.push(i);
        }
    }
    front.sort_unstable();
    front
}

/// Area that `points` dominate inside the box that ends at `reference`; both coordinates are minimised.
///
/// Points that don't dominate the reference, and points with a NaN, add nothing.
pub fn hypervolume(points: &[(f64, f64)], reference: (f64, f64)) -> f64 {
    let mut inside: Vec<(f64, f64)> =
        points.iter().copied().filter(|point| point.0 < reference.0 && point.1 < reference.1).collect();
    inside.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (mut area, mut ceiling) = (0.0, reference.1);
    for (x, y) in inside {
        if y < ceiling {
            area += (reference.0 - x) * (ceiling - y);
            ceiling = y;
        }
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_of_a_few_points() {
        let points = [(0.9, 20.0), (0.8, 10.0), (0.7, 15.0), (0.9, 25.0), (0.8, 10.0), (f64::NAN, 0.0), (0.95, 30.0)];
        assert_eq!(pareto_front(&points), [0, 1, 4, 6]);
        assert!(pareto_front(&[]).is_empty());
        assert_eq!(pareto_front(&[(0.0, 1.0), (-0.0, 0.5)]), [1]);
    }

    #[test]
    fn area_of_two_overlapping_boxes() {
        let points = [(1.0, 3.0), (2.0, 1.0), (2.0, 2.0), (9.0, 0.0), (f64::NAN, 0.0)];
        assert_eq!(hypervolume(&points, (4.0, 4.0)), 3.0 + 2.0 * 2.0);
        assert_eq!(hypervolume(&[], (1.0, 1.0)), 0.0);
    }

    /// Feasible objective pairs (both minimised) of a case, from every point of its grid.
    fn judge(feasible: &[(f64, f64)], reference: (f64, f64)) -> (usize, f64) {
        let as_accuracy: Vec<(f64, f64)> = feasible.iter().map(|&(a, b)| (-a, b)).collect();
        let front = pareto_front(&as_accuracy);
        let points: Vec<(f64, f64)> = front.iter().map(|&i| feasible[i]).collect();
        // The dominated points add nothing.
        let (of_front, of_all) = (hypervolume(&points, reference), hypervolume(feasible, reference));
        assert!((of_front / of_all - 1.0).abs() < 1e-12);
        (front.len(), of_front)
    }

    #[test]
    fn constrained_dtlz2_by_exhaustion() {
        let mut feasible = Vec::new();
        for i in 0..=16 {
            for (j, k) in (0..169).map(|jk| (jk / 13, jk % 13)) {
                let angle = std::f64::consts::FRAC_PI_2 * f64::from(i) / 16.0;
                let off_centre = |j: i32| (f64::from(j) / 12.0 - 0.5).powi(2);
                let radius = 1.0 + off_centre(j) + off_centre(k);
                let f = (radius * angle.cos(), radius * angle.sin());
                let centres = [(1.0, 0.0), (0.0, 1.0), (0.5f64.sqrt(), 0.5f64.sqrt())];
                let violation = centres
                    .map(|c| (f.0 - c.0).powi(2) + (f.1 - c.1).powi(2) - 0.04)
                    .into_iter()
                    .fold(f64::INFINITY, f64::min);
                if violation <= 0.0 {
                    feasible.push(f);
                }
            }
        }
        let (count, volume) = judge(&feasible, (1.1, 1.1));
        assert_eq!(count, 11);
        assert!((volume - 0.370_153).abs() < 5e-7, "{volume}");
    }

    #[test]
    fn binh_and_korn_by_exhaustion() {
        let mut feasible = Vec::new();
        for (i, j) in (0..51 * 31).map(|ij| (ij / 31, ij % 31)) {
            let (x, y) = (f64::from(i) / 10.0, f64::from(j) / 10.0);
            let near = (x - 5.0).powi(2) + y * y <= 25.0;
            let far = (x - 8.0).powi(2) + (y + 3.0).powi(2) >= 7.7;
            if near && far {
                feasible.push((4.0 * x * x + 4.0 * y * y, (x - 5.0).powi(2) + (y - 5.0).powi(2)));
            }
        }
        let (_, volume) = judge(&feasible, (140.0, 50.0));
        assert!((volume - 5256.93).abs() < 5e-3, "{volume}");
    }
}
