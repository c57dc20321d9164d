//! The columns of a table as a search sees them.

use std::collections::BTreeMap;

use crate::config::{ConstraintEntry, Goal, ObjectiveEntry, ReplayFile, Scale};
use crate::solver::{Bound, Bounds, Front};
use crate::surrogate::Points;
use crate::table::{Table, TableError};

use super::super::level::Level;

/// A table with what is sought in it.
#[derive(Debug, Clone)]
pub struct Case {
    pub(super) points: Points,
    /// Rows of the table that keep the exact bounds: what [`Points`] are numbered by.
    pub(super) rows: Vec<usize>,
    pub(super) groups: Vec<usize>,
    pub(super) objectives: Vec<Figure>,
    pub(super) constraints: Vec<Figure>,
    pub(super) bounds: Bounds,
    /// Reference of the front's hypervolume, maximised.
    pub(super) reference: Option<(f64, f64)>,
    pub(super) initial: Option<usize>,
    pub(super) screening: Option<Screening>,
}

/// Cheaper figures of the same designs.
#[derive(Debug, Clone)]
pub(super) struct Screening {
    /// What a lookup of them costs, as a share of one of the full figures.
    pub(super) share: f64,
    pub(super) objectives: Vec<Figure>,
    pub(super) constraints: Vec<Figure>,
}

/// A column that is looked up.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) name: String,
    /// Such that larger is better (objectives), or at most the limit is allowed (constraints).
    pub(super) values: Vec<f64>,
    /// Squared standard errors.
    variances: Vec<f64>,
    /// −1 where the column was turned round.
    pub(super) sign: f64,
    scale: Scale,
}

impl Figure {
    fn new(
        table: &Table,
        rows: &[usize],
        column: &str,
        std_error: Option<&str>,
        sign: f64,
    ) -> Result<Self, TableError> {
        let pick = |column: &[f64]| -> Vec<f64> { rows.iter().map(|&row| column[row]).collect() };
        let variances = match std_error {
            Some(column) => pick(table.numbers(column)?).iter().map(|error| error * error).collect(),
            None => vec![0.0; rows.len()],
        };
        let values = pick(table.numbers(column)?).iter().map(|value| value * sign).collect();
        Ok(Self { name: column.to_owned(), values, variances, sign, scale: Scale::Linear })
    }

    /// Value and variance of a row on the scale that is modelled.
    pub(super) fn modelled(&self, index: usize) -> (f64, f64) {
        let (value, variance) = (self.values[index] * self.sign, self.variances[index]);
        let (value, slope) = match self.scale {
            Scale::Linear => (value, 1.0),
            Scale::Log => (value.max(f64::MIN_POSITIVE).ln(), 1.0 / value.max(f64::MIN_POSITIVE)),
            Scale::Logit => {
                let share = value.clamp(1e-4, 1.0 - 1e-4);
                ((share / (1.0 - share)).ln(), 1.0 / (share * (1.0 - share)))
            }
        };
        (value * self.sign, variance * slope * slope)
    }

    /// A value, turned as [`values`](Self::values) are, on the scale that is modelled.
    pub(super) fn scaled(&self, value: f64) -> f64 {
        let alone = Self { values: vec![value], variances: vec![0.0], ..self.clone() };
        alone.modelled(0).0
    }
}

impl Case {
    /// Reads the columns that `file` names.
    ///
    /// # Errors
    /// [`TableError`] names a column that is missing or no number.
    pub fn new(table: &Table, file: &ReplayFile) -> Result<Self, TableError> {
        let known = file.constraints.iter().filter(|bound| bound.exact);
        let known: Vec<(&[f64], (f64, f64))> =
            known.map(|bound| Ok((table.numbers(&bound.column)?, turned(bound)))).collect::<Result<_, TableError>>()?;
        let kept = |row: &usize| known.iter().all(|&(column, (sign, limit))| column[*row] * sign <= limit);
        let rows: Vec<usize> = (0..table.rows()).filter(kept).collect();
        let parameters =
            file.parameters.iter().map(|name| table.numbers(name)).collect::<Result<Vec<&[f64]>, TableError>>()?;
        let categories = file.category.as_ref().map(|name| table.categories(name)).transpose()?;
        let mut points = Points::new(parameters.len() + 1);
        for &row in &rows {
            let features: Vec<f64> = parameters.iter().map(|column| column[row]).collect();
            points.push(&Level::Full.of(&features), categories.as_ref().map_or(0, |of| of[row]));
        }
        let columns = file.groups.iter().map(|name| table.categories(name)).collect::<Result<Vec<_>, TableError>>()?;
        let mut known = BTreeMap::new();
        let mut group = |row: usize| {
            let next = known.len();
            let key: Vec<usize> = columns.iter().map(|column| column[row]).collect();
            *known.entry(key).or_insert(next)
        };
        let groups = match columns.is_empty() {
            // Without groups every row is one: hierarchical then spreads its first half only.
            true => (0..rows.len()).collect(),
            false => rows.iter().map(|&row| group(row)).collect(),
        };
        let noisy: Vec<&ConstraintEntry> = file.constraints.iter().filter(|bound| !bound.exact).collect();
        let bound = |entry: &&ConstraintEntry| Bound { name: entry.column.clone(), limit: turned(entry).1 };
        let (objectives, constraints) = figures(table, file, &rows)?;
        let reference = match &file.objectives[..] {
            [a, b] => a.reference.zip(b.reference).map(|(a, b)| (a * objectives[0].sign, b * objectives[1].sign)),
            _ => None,
        };
        Ok(Self {
            points,
            groups,
            constraints,
            bounds: Bounds(noisy.iter().map(bound).collect()),
            objectives,
            reference,
            initial: file.initial,
            screening: None,
            rows,
        })
    }

    /// The same case where a design can be screened at `share` of a lookup's cost: `cheap` has the columns of `table`, by
    /// another protocol, in the rows that have the same value of `key`.
    ///
    /// # Errors
    /// [`TableError`] names a column or a row that is missing.
    pub fn screened(
        self,
        table: &Table,
        file: &ReplayFile,
        cheap: &Table,
        key: &str,
        share: f64,
    ) -> Result<Self, TableError> {
        let labels = table.labels(key)?;
        let wanted: Vec<String> = self.rows.iter().map(|&row| labels[row].clone()).collect();
        let (objectives, constraints) = figures(cheap, file, &cheap.rows_of(key, &wanted)?)?;
        Ok(Self { screening: Some(Screening { share, objectives, constraints }), ..self })
    }

    /// Number of rows that keep the exact bounds.
    pub fn candidates(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn feasible(&self, index: usize) -> bool {
        self.violation(index) <= 0.0
    }

    /// Largest excess over a bound, as a share of it.
    pub(super) fn violation(&self, index: usize) -> f64 {
        let excess =
            |(figure, bound): (&Figure, &Bound)| (figure.values[index] - bound.limit) / bound.limit.abs().max(1e-9);
        self.constraints.iter().zip(&self.bounds.0).map(excess).fold(0.0, f64::max)
    }

    /// The front of these candidates' measured values, those left out that break a bound.
    pub(super) fn front(&self, indices: impl Iterator<Item = usize>) -> Option<Front> {
        let points = indices.filter(|&index| self.feasible(index));
        let values = |index: usize| (self.objectives[0].values[index], self.objectives[1].values[index]);
        Some(Front::new(points.map(values), self.reference?))
    }

    /// The best value of the first objective among these candidates that keep the bounds, with its index.
    pub(super) fn best(&self, indices: impl Iterator<Item = usize>) -> Option<(usize, f64)> {
        let values =
            indices.filter(|&index| self.feasible(index)).map(|index| (index, self.objectives[0].values[index]));
        values.reduce(|best, other| if other.1 > best.1 { other } else { best })
    }
}

/// The figures of these rows: objectives, and constraints that are not known before.
fn figures(table: &Table, file: &ReplayFile, rows: &[usize]) -> Result<(Vec<Figure>, Vec<Figure>), TableError> {
    let objective = |entry: &ObjectiveEntry| {
        let sign = if entry.goal == Goal::Maximize { 1.0 } else { -1.0 };
        let figure = Figure::new(table, rows, &entry.column, entry.std_error.as_deref(), sign)?;
        Ok(Figure { scale: entry.scale, ..figure })
    };
    let constraint =
        |entry: &ConstraintEntry| Figure::new(table, rows, &entry.column, entry.std_error.as_deref(), turned(entry).0);
    let objectives = file.objectives.iter().map(objective).collect::<Result<_, TableError>>()?;
    let noisy = file.constraints.iter().filter(|bound| !bound.exact);
    Ok((objectives, noisy.map(constraint).collect::<Result<_, TableError>>()?))
}

/// −1 and −limit for a lower limit, so that every bound is an upper one.
fn turned(bound: &ConstraintEntry) -> (f64, f64) {
    match (bound.max, bound.min) {
        (Some(max), _) => (1.0, max),
        (None, min) => (-1.0, -min.unwrap_or(f64::NEG_INFINITY)),
    }
}
