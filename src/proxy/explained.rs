//! What a subset of features explains of some targets, `tr(Bᵀ (A[S,S] + ρ)⁻¹ B[S])`, for very many small subsets.
//!
//! With the Cholesky factor L of the matrix it is `‖L⁻¹ B‖²`. The targets stand below the matrix as further rows, so that one
//! pass factorises the matrix and solves for them:
//!
//! ```text
//! ⎡ A  ⎤      ⎡ L       ⎤
//! ⎣ Bᵀ ⎦  ↦   ⎣ (L⁻¹B)ᵀ ⎦
//! ```
//!
//! Rows go through in chunks of a vector register's length, columns in panels of as many: a chunk's part of a panel is
//! updated by all columns before it in registers, then solved against the panel's own triangle. A library's factorisation
//! spends more time on being called than on matrices this small.
//!
//! The ridge ρ is a share of the *subset's* mean variance, so that matrices of nested subsets differ on their diagonals: no
//! factor can be shared between them.

// Several arrays are walked side by side: indices say so more plainly than nested zips.
#![allow(clippy::needless_range_loop)]

use faer::Mat;

/// Rows of a chunk and columns of a panel.
const LANE: usize = 8;

/// One column of a chunk, on a cache line of its own.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Lane([f64; LANE]);

const ZERO: Lane = Lane([0.0; LANE]);

/// Memory for one solution after another.
#[derive(Debug, Default)]
pub struct Workspace {
    /// `[chunks, columns]`.
    lanes: Vec<Lane>,
    columns: usize,
}

/// The part of the targets `b` (`[C, K]`) that the features `subset` explain, whose covariances are `a` (`[C, C]`), with a
/// ridge of this share of their mean variance; 0 where the matrix is not positive definite.
pub(super) fn explained(a: &Mat<f64>, b: &Mat<f64>, subset: &[usize], ridge: f64, workspace: &mut Workspace) -> f64 {
    let scale = subset.iter().map(|&i| a[(i, i)]).sum::<f64>() / subset.len().max(1) as f64;
    workspace.fill(a, b, subset, (ridge * scale).max(1e-12));
    if workspace.factorise() { workspace.squares() } else { 0.0 }
}

impl Workspace {
    /// Takes in the matrix, below the diagonal, and the targets; what fills the last chunk and panel explains nothing.
    fn fill(&mut self, a: &Mat<f64>, b: &Mat<f64>, subset: &[usize], ridge: f64) {
        let columns = subset.len().next_multiple_of(LANE);
        let (within, chunks) = (columns / LANE, columns / LANE + b.ncols().div_ceil(LANE));
        self.columns = columns;
        self.lanes.clear();
        self.lanes.resize(chunks * columns, ZERO);
        for (j, &column) in subset.iter().enumerate() {
            let of = a.col(column).try_as_col_major().expect("a matrix's columns are contiguous").as_slice();
            for (chunk, rows) in subset.chunks(LANE).enumerate().skip(j / LANE) {
                let lane = &mut self.lanes[chunk * columns + j].0;
                rows.iter().zip(lane).for_each(|(&row, value)| *value = of[row]);
            }
            self.lanes[j / LANE * columns + j].0[j % LANE] += ridge;
            for k in 0..b.ncols() {
                self.lanes[(within + k / LANE) * columns + j].0[k % LANE] = b[(column, k)];
            }
        }
        for j in subset.len()..columns {
            self.lanes[j / LANE * columns + j].0[j % LANE] = 1.0;
        }
    }

    /// Sum of the squares of the solution.
    fn squares(&self) -> f64 {
        let solution = &self.lanes[self.columns / LANE * self.columns..];
        let mut sums = ZERO.0;
        for lane in solution {
            for t in 0..LANE {
                sums[t] += lane.0[t] * lane.0[t];
            }
        }
        sums.iter().sum()
    }

    /// Factorises in place; `false` where the matrix is not positive definite.
    #[allow(unsafe_code, reason = "instructions that not every machine has")]
    fn factorise(&mut self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                // SAFETY: the machine has the instruction set.
                return unsafe { avx512(self) };
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the machine has the instruction set.
                return unsafe { avx2(self) };
            }
        }
        self.run::<false, 1>()
    }

    /// With `SIDE` chunks side by side: as many as the registers hold.
    #[inline(always)]
    fn run<const FMA: bool, const SIDE: usize>(&mut self) -> bool {
        let columns = self.columns;
        for (panel, first) in (0..columns).step_by(LANE).enumerate() {
            let (done, below) = self.lanes.split_at_mut((panel + 1) * columns);
            let (before, own) = done[panel * columns..].split_at_mut(first);
            let Some(triangle) = Triangle::new::<FMA>(before, &own[..LANE]) else {
                return false;
            };
            let (together, alone) = below.split_at_mut(below.len() / columns / SIDE * SIDE * columns);
            for chunks in together.chunks_exact_mut(SIDE * columns) {
                triangle.solve::<FMA, SIDE>(before, chunks, columns);
            }
            for chunk in alone.chunks_exact_mut(columns) {
                triangle.solve::<FMA, 1>(before, chunk, columns);
            }
            own[..LANE].copy_from_slice(&triangle.columns);
        }
        true
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
fn avx512(workspace: &mut Workspace) -> bool {
    workspace.run::<true, 2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(workspace: &mut Workspace) -> bool {
    workspace.run::<true, 1>()
}

/// The factor's part on the diagonal of a panel.
struct Triangle {
    columns: [Lane; LANE],
    /// Of the diagonal.
    inverse: [f64; LANE],
}

impl Triangle {
    /// That of a panel whose part of the matrix is `own`, given the columns `before` it in the same rows.
    #[inline(always)]
    fn new<const FMA: bool>(before: &[Lane], own: &[Lane]) -> Option<Self> {
        let [sums] = products::<FMA, 1>([before], before);
        let mut triangle = Self { columns: [ZERO; LANE], inverse: [0.0; LANE] };
        for c in 0..LANE {
            let mut column = triangle.reduced::<FMA>(own[c], sums[c], &triangle.columns, c);
            let pivot = column.0[c];
            // Not a number is no pivot either.
            if pivot.is_nan() || pivot <= 0.0 {
                return None;
            }
            triangle.inverse[c] = 1.0 / pivot.sqrt();
            for t in 0..LANE {
                column.0[t] = if t < c { 0.0 } else { column.0[t] * triangle.inverse[c] };
            }
            triangle.columns[c] = column;
        }
        Some(triangle)
    }

    /// Column `c` of the matrix less what the columns before the panel, and the panel's own before it, contribute.
    #[inline(always)]
    fn reduced<const FMA: bool>(&self, value: Lane, sum: Lane, solved: &[Lane], c: usize) -> Lane {
        let mut value = value;
        for t in 0..LANE {
            value.0[t] -= sum.0[t];
        }
        for e in 0..c {
            let factor = -self.columns[e].0[c];
            for t in 0..LANE {
                value.0[t] = fused::<FMA>(solved[e].0[t], factor, value.0[t]);
            }
        }
        value
    }

    /// Solves the panel's columns of `N` chunks below it.
    #[inline(always)]
    fn solve<const FMA: bool, const N: usize>(&self, before: &[Lane], chunks: &mut [Lane], columns: usize) {
        let first = before.len();
        let sums = products::<FMA, N>(std::array::from_fn(|n| &chunks[n * columns..][..first]), before);
        for n in 0..N {
            let own = &mut chunks[n * columns + first..][..LANE];
            for c in 0..LANE {
                let mut value = self.reduced::<FMA>(own[c], sums[n][c], own, c);
                for t in 0..LANE {
                    value.0[t] *= self.inverse[c];
                }
                own[c] = value;
            }
        }
    }
}

/// Products of the rows of `N` chunks with each row of a panel: `[N, LANE]` lanes, which stay in registers.
#[inline(always)]
fn products<const FMA: bool, const N: usize>(chunks: [&[Lane]; N], panel: &[Lane]) -> [[Lane; LANE]; N] {
    let mut sums = [[ZERO; LANE]; N];
    let chunks = chunks.map(|chunk| &chunk[..panel.len()]);
    for (k, factors) in panel.iter().enumerate() {
        for n in 0..N {
            let rows = chunks[n][k].0;
            for c in 0..LANE {
                for t in 0..LANE {
                    sums[n][c].0[t] = fused::<FMA>(rows[t], factors.0[c], sums[n][c].0[t]);
                }
            }
        }
    }
    sums
}

/// `a · b + c`, in one instruction where there is one.
#[inline(always)]
fn fused<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
mod tests {
    use faer::Side;
    use faer::linalg::solvers::{Llt, Solve};

    use super::*;

    /// A covariance of `n` features, badly conditioned as that of similar channels, and targets.
    fn moments(n: usize, targets: usize) -> (Mat<f64>, Mat<f64>) {
        let wave = |i: usize, j: usize| ((i * 7 + j * 13 + i * j) as f64 * 0.7).sin();
        let factors = Mat::from_fn(n, n / 2 + 1, wave);
        let products = &factors * factors.transpose();
        (Mat::from_fn(n, n, |i, j| products[(i.max(j), i.min(j))]), Mat::from_fn(n, targets, |i, j| wave(j + 3, i)))
    }

    /// The definition, by a library's factorisation.
    fn by_definition(a: &Mat<f64>, b: &Mat<f64>, subset: &[usize], ridge: f64) -> f64 {
        let n = subset.len();
        let ridge = ridge * subset.iter().map(|&i| a[(i, i)]).sum::<f64>() / n as f64;
        let matrix = Mat::from_fn(n, n, |i, j| a[(subset[i], subset[j])] + if i == j { ridge } else { 0.0 });
        let rhs = Mat::from_fn(n, b.ncols(), |i, j| b[(subset[i], j)]);
        let solved = Llt::new(matrix.as_ref(), Side::Lower).unwrap().solve(&rhs);
        (0..b.ncols()).flat_map(|j| (0..n).map(move |i| (i, j))).map(|at| rhs[at] * solved[at]).sum()
    }

    #[test]
    fn equals_its_definition_whatever_the_size_and_the_instruction_set() {
        let (a, b) = moments(200, 19);
        let mut workspace = Workspace::default();
        for (count, targets) in [(1, 1), (4, 10), (7, 3), (8, 8), (9, 19), (64, 10), (100, 19), (131, 12)] {
            let b = b.subcols(0, targets).to_owned();
            let subset: Vec<usize> = (0..count).map(|i| (i * 37 + 5) % 200).collect();
            let expected = by_definition(&a, &b, &subset, 1e-3);
            let found = explained(&a, &b, &subset, 1e-3, &mut workspace);
            assert!((found / expected - 1.0).abs() < 1e-10, "{count} × {targets}: {found} {expected}");
            let scale = subset.iter().map(|&i| a[(i, i)]).sum::<f64>() / count as f64;
            workspace.fill(&a, &b, &subset, 1e-3 * scale);
            assert!(workspace.run::<false, 2>());
            assert!((workspace.squares() / expected - 1.0).abs() < 1e-10, "{count} × {targets} without FMA");
        }
    }

    #[test]
    fn no_matrix_explains_nothing() {
        let mut workspace = Workspace::default();
        let (mut a, b) = moments(10, 2);
        assert_eq!(explained(&a, &b, &[], 1e-3, &mut workspace), 0.0);
        a[(3, 3)] = f64::NAN;
        assert_eq!(explained(&a, &b, &[1, 3], 1e-3, &mut workspace), 0.0);
        a[(3, 3)] = -1.0;
        assert_eq!(explained(&a, &b, &[3], 1e-3, &mut workspace), 0.0);
    }
}
