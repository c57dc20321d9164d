//! Scales of features and targets: the model works on columns of mean 0 and standard deviation 1.

use super::{Row, SurrogateError};

/// A column counts as constant where its standard deviation is below this fraction of its largest magnitude.
const CONSTANT: f64 = 1e-10;

/// Affine map to mean 0 and standard deviation 1 of one column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) mean: f64,
    pub(super) sd: f64,
}

impl Scale {
    /// Mean and population standard deviation of the column; `None` for the latter where the column is constant.
    fn of(column: impl Iterator<Item = f64> + Clone) -> (f64, Option<f64>) {
        let n = column.clone().count() as f64;
        let largest = column.clone().fold(0.0f64, |m, x| m.max(x.abs()));
        if largest == 0.0 {
            return (0.0, None);
        }
        // Divided by the largest magnitude first, so that squares can't overflow.
        let mean = column.clone().map(|x| x / largest).sum::<f64>() / n;
        let variance = column.map(|x| (x / largest - mean).powi(2)).sum::<f64>() / n;
        let sd = variance.sqrt();
        (mean * largest, (sd > CONSTANT).then_some(sd * largest))
    }

    pub(super) fn apply(&self, x: f64) -> f64 {
        (x - self.mean) / self.sd
    }
}

/// Scales of all columns of a set of rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scales {
    /// Number of features of a row, dropped ones included.
    pub(super) width: usize,
    /// Index and scale of each feature that varies; constant features are dropped.
    pub(super) features: Vec<(usize, Scale)>,
    /// Scale of the target; a constant target keeps its own unit (`sd` 1).
    pub(super) target: Scale,
}

impl Scales {
    /// Scales of `rows`, which must have passed [`check`] and must not be empty.
    pub(super) fn fit(rows: &[Row]) -> Self {
        let width = rows.first().map_or(0, |row| row.features.len());
        let features = (0..width)
            .filter_map(|k| {
                let (mean, sd) = Scale::of(rows.iter().map(|row| row.features[k]));
                sd.map(|sd| (k, Scale { mean, sd }))
            })
            .collect();
        let (mean, sd) = Scale::of(rows.iter().map(|row| row.value));
        let target = Scale { mean, sd: sd.unwrap_or(1.0) };
        Self { width, features, target }
    }

    /// Standardised features that vary, shape `[features.len()]`; `None` if `features` is of another width.
    pub(super) fn features(&self, features: &[f64]) -> Option<Vec<f64>> {
        (features.len() == self.width)
            .then(|| self.features.iter().map(|(k, scale)| scale.apply(features[*k])).collect())
    }
}

/// Checks that every row has `width` finite features, a finite value and a finite variance that is not negative.
///
/// `first` is the index of the first row, for the error.
pub(super) fn check(rows: &[Row], width: usize, first: usize) -> Result<(), SurrogateError> {
    for (index, row) in rows.iter().enumerate() {
        let index = first + index;
        if row.features.len() != width {
            return Err(SurrogateError::FeatureCount { row: index, expected: width, found: row.features.len() });
        }
        if let Some((feature, &value)) = row.features.iter().enumerate().find(|(_, x)| !x.is_finite()) {
            return Err(SurrogateError::Feature { row: index, feature, value });
        }
        if !row.value.is_finite() {
            return Err(SurrogateError::Value { row: index, value: row.value });
        }
        if !(row.variance >= 0.0 && row.variance.is_finite()) {
            return Err(SurrogateError::Variance { row: index, variance: row.variance });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(features: &[f64], value: f64) -> Row {
        Row { features: features.to_vec(), category: 0, value, variance: 0.0 }
    }

    #[test]
    fn constant_features_are_dropped_and_a_constant_target_keeps_its_unit() {
        let rows = [row(&[1e9, 0.0, 2.0], 5.0), row(&[3e9, 0.0, 2.0], 5.0), row(&[5e9, 0.0, 2.0], 5.0)];
        let scales = Scales::fit(&rows);
        assert_eq!(scales.features.len(), 1);
        let x = scales.features(&[5e9, 7.0, 7.0]).unwrap();
        assert!((x[0] - 1.5f64.sqrt()).abs() < 1e-12);
        assert_eq!(scales.target, Scale { mean: 5.0, sd: 1.0 });
        assert_eq!(scales.features(&[1.0]), None);
    }

    #[test]
    fn huge_values_do_not_overflow() {
        let scales = Scales::fit(&[row(&[], 1e300), row(&[], -1e300)]);
        assert!((scales.target.sd / 1e300 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn bad_rows_are_named() {
        let good = row(&[1.0, 2.0], 3.0);
        let at = |bad: Row| check(&[good.clone(), bad], 2, 0).unwrap_err();
        assert!(matches!(at(row(&[1.0], 3.0)), SurrogateError::FeatureCount { row: 1, expected: 2, found: 1 }));
        assert!(matches!(at(row(&[1.0, f64::NAN], 3.0)), SurrogateError::Feature { row: 1, feature: 1, .. }));
        assert!(matches!(at(row(&[1.0, 2.0], f64::INFINITY)), SurrogateError::Value { row: 1, .. }));
        let negative = Row { variance: -1.0, ..good.clone() };
        assert!(matches!(at(negative), SurrogateError::Variance { row: 1, .. }));
    }
}
