//! Predictive models of the noisy metrics: one exact Gaussian process per metric.
//!
//! With a few tens of measurements and a handful of features per design, an exact Gaussian process is both affordable
//! (O(n³) with n ≤ 200) and the best-calibrated choice. The model of a measured value `y` of a design with continuous
//! features `x` and category `c` (the split layer) is
//!
//! ```text
//! y = b + wᵀx + f(x, c) + ε,      b ~ N(0, 10), w ~ N(0, I), f ~ GP(0, k),
//! k((x, c), (x', c')) = s² · Matérn-5/2(|(x − x') / ℓ|) · (1 if c = c' else ρ),
//! ε ~ N(0, σ² + variance of the row)
//! ```
//!
//! in standardised units. The hyperparameters `ℓ` (one per feature), `s²`, `ρ` and `σ²` are the maximum a posteriori
//! under log-normal (for `ρ`: logit-normal) priors; `b` and `w` are integrated out exactly, so that a prediction far from
//! the data follows the trend and its uncertainty grows.
//!
//! The module does no I/O and knows no tensor library. Reference: Rasmussen and Williams, *Gaussian Processes for
//! Machine Learning*, 2006, chapters 2, 4 and 5.

mod cholesky;
mod covariance;
mod gaussian_process;
mod leave_one_out;
mod map;
mod points;
mod scan;
mod standardise;

pub use gaussian_process::GaussianProcess;
pub use leave_one_out::LeaveOneOut;
pub use points::Points;

/// A Gaussian belief about one quantity, in that quantity's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Expected value.
    pub mean: f64,
    /// Standard deviation; zero means that the value is known exactly.
    pub sd: f64,
}

/// One measurement of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Continuous features of the design, shape `[d]`, in any unit: they are standardised inside.
    pub features: Vec<f64>,
    /// Categorical variable of the design (the split layer); categories have no order.
    pub category: usize,
    /// Measured value.
    pub value: f64,
    /// Known variance of the measured value (its squared standard error), zero if unknown. The noise that the model
    /// estimates comes on top.
    pub variance: f64,
}

/// How hyperparameters are searched.
#[derive(Debug, Clone)]
pub struct FitOptions {
    /// Seed of the random starts.
    pub seed: u64,
    /// Number of random starts, drawn from the prior, besides the one at the prior's mode.
    pub restarts: usize,
}

impl Default for FitOptions {
    /// Seed 0 and four random starts.
    fn default() -> Self {
        Self { seed: 0, restarts: 4 }
    }
}

/// Why no model could be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SurrogateError {
    /// There was nothing to fit.
    #[error("a Gaussian process needs at least one row: measure a design first")]
    NoRows,
    /// Rows differ in their number of features.
    #[error("row {row} has {found} features where {expected} are expected: describe every design by the same features")]
    FeatureCount {
        /// Index of the row.
        row: usize,
        /// Number of features of the first (or the fitted) rows.
        expected: usize,
        /// Number of features of this row.
        found: usize,
    },
    /// A feature is NaN or infinite.
    #[error("feature {feature} of row {row} is {value}: leave out rows with features that are not finite")]
    Feature {
        /// Index of the row.
        row: usize,
        /// Index of the feature.
        feature: usize,
        /// The offending value.
        value: f64,
    },
    /// A measured value is NaN or infinite.
    #[error("the value of row {row} is {value}: leave out measurements that are not finite")]
    Value {
        /// Index of the row.
        row: usize,
        /// The offending value.
        value: f64,
    },
    /// A known variance is negative, NaN or infinite.
    #[error("the variance of row {row} is {variance}: give a finite number that is not negative, 0 if unknown")]
    Variance {
        /// Index of the row.
        row: usize,
        /// The offending variance.
        variance: f64,
    },
    /// The covariance matrix could not be factorised even with jitter on its diagonal.
    #[error("the covariance of {rows} rows is not positive definite: look for values of extreme magnitude in the rows")]
    NotPositiveDefinite {
        /// Number of rows.
        rows: usize,
    },
}
