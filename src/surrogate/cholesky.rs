//! Cholesky factorisation of small dense symmetric matrices, and what a Gaussian process needs of it.

/// Largest jitter tried, relative to the mean of the diagonal.
const MAX_JITTER: f64 = 1e-4;
/// Smallest jitter tried after a factorisation without jitter has failed.
const MIN_JITTER: f64 = 1e-10;

/// Lower-triangular factor `L` of `A = L Lᵀ`, row-major, shape `[n, n]`.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    n: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factorises the lower triangle of the row-major matrix `a`, shape `[n, n]`.
    ///
    /// If rounding has made `a` indefinite, growing multiples of the identity are added, from `1e-10` to `1e-4` of the
    /// mean diagonal. `None` if that doesn't help either or an entry is not finite.
    pub(super) fn with_jitter(a: &[f64], n: usize) -> Option<Self> {
        let mean_diagonal = (0..n).map(|i| a[i * n + i]).sum::<f64>() / n as f64;
        if !mean_diagonal.is_finite() {
            return None;
        }
        let mut jitter = 0.0;
        while jitter <= MAX_JITTER * 1.5 {
            if let Some(factor) = Self::factorise(a, n, jitter * mean_diagonal) {
                return Some(factor);
            }
            jitter = if jitter == 0.0 { MIN_JITTER } else { jitter * 10.0 };
        }
        None
    }

    fn factorise(a: &[f64], n: usize, shift: f64) -> Option<Self> {
        let mut lower = vec![0.0; n * n];
        for i in 0..n {
            let (above, row_i) = lower.split_at_mut(i * n);
            for j in 0..i {
                let row_j = &above[j * n..j * n + j + 1];
                row_i[j] = (a[i * n + j] - dot(&row_i[..j], &row_j[..j])) / row_j[j];
            }
            let pivot = a[i * n + i] + shift - dot(&row_i[..i], &row_i[..i]);
            // A pivot lost to rounding would make the inverse meaningless.
            if !pivot.is_finite() || pivot <= f64::EPSILON * (a[i * n + i] + shift) {
                return None;
            }
            row_i[i] = pivot.sqrt();
        }
        Some(Self { n, lower })
    }

    /// Row `i` up to its diagonal, shape `[i + 1]`.
    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.lower[i * self.n..i * self.n + i + 1]
    }

    /// `ln det A`.
    pub(super) fn log_determinant(&self) -> f64 {
        2.0 * (0..self.n).map(|i| self.row(i)[i].ln()).sum::<f64>()
    }

    /// Overwrites `b`, shape `[n]`, by the solution of `L v = b`.
    pub(super) fn solve_lower(&self, b: &mut [f64]) {
        for i in 0..self.n {
            let row = self.row(i);
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
    }

    /// Solution of `A v = b`, shape `[n]`.
    pub(super) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut v = b.to_vec();
        self.solve_lower(&mut v);
        for i in (0..self.n).rev() {
            let row = self.row(i);
            let (before, rest) = v.split_at_mut(i);
            rest[0] /= row[i];
            for (target, &l) in before.iter_mut().zip(row) {
                *target -= l * rest[0];
            }
        }
        v
    }

    /// The symmetric inverse of `A`, row-major, shape `[n, n]`.
    pub(super) fn inverse(&self) -> Vec<f64> {
        let n = self.n;
        // Row j of `columns` holds column j of L⁻¹, whose entries before j are zero.
        let mut columns = vec![0.0; n * n];
        for j in 0..n {
            let column = &mut columns[j * n..(j + 1) * n];
            column[j] = 1.0 / self.row(j)[j];
            for i in j + 1..n {
                let row = self.row(i);
                column[i] = -dot(&row[j..i], &column[j..i]) / row[i];
            }
        }
        let mut inverse = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let value = dot(&columns[i * n + i..(i + 1) * n], &columns[j * n + i..(j + 1) * n]);
                inverse[i * n + j] = value;
                inverse[j * n + i] = value;
            }
        }
        inverse
    }
}

/// Inner product with four partial sums, so that the compiler may vectorise it; the order of summation is fixed.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (mut sums, (blocks_a, blocks_b)) = ([0.0; 4], (a.chunks_exact(4), b.chunks_exact(4)));
    let tail: f64 = blocks_a.remainder().iter().zip(blocks_b.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in blocks_a.zip(blocks_b) {
        for k in 0..4 {
            sums[k] += x[k] * y[k];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A well-conditioned symmetric matrix: a Gaussian kernel on a line plus a diagonal.
    fn matrix(n: usize) -> Vec<f64> {
        let mut a = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                let d = (i as f64 - j as f64) / 3.0;
                a[i * n + j] = (-d * d).exp() + if i == j { 0.1 * (1 + i) as f64 } else { 0.0 };
            }
        }
        a
    }

    #[test]
    fn inverse_and_solution_reproduce_the_identity_and_the_right_hand_side() {
        for n in [1, 2, 3, 7, 23] {
            let a = matrix(n);
            let factor = Cholesky::with_jitter(&a, n).unwrap();
            let inverse = factor.inverse();
            let b: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
            let v = factor.solve(&b);
            for i in 0..n {
                assert!((dot(&a[i * n..(i + 1) * n], &v) - b[i]).abs() < 1e-11);
                for j in 0..n {
                    let product = dot(&a[i * n..(i + 1) * n], &inverse[j * n..(j + 1) * n]);
                    assert!((product - f64::from(u8::from(i == j))).abs() < 1e-11);
                }
            }
        }
    }

    #[test]
    fn determinant_of_a_two_by_two() {
        let factor = Cholesky::with_jitter(&[4.0, 1.0, 1.0, 3.0], 2).unwrap();
        assert!((factor.log_determinant() - 11f64.ln()).abs() < 1e-14);
    }

    #[test]
    fn singular_gets_jitter_and_indefinite_or_nan_gets_none() {
        assert!(Cholesky::with_jitter(&[1.0; 9], 3).is_some());
        assert!(Cholesky::with_jitter(&[1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::with_jitter(&[1.0, f64::NAN, f64::NAN, 1.0], 2).is_none());
    }
}
