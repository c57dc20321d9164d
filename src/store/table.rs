//! Measurements as a Parquet table in long format.

use polars::error::PolarsResult;
use polars::prelude::{Column, DataFrame, NamedFrom, ParquetCompression, ParquetWriter, Series};

use crate::measurement::Measurement;

/// One row of `measurements.parquet`: a measurement beside what its design is.
///
/// Columns: `design`, `split`, `depth`, `selection`, `metric`, `value`, `std_error`, `n`, `fidelity`, `seed`, `seconds`.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// What was measured.
    pub measurement: &'a Measurement,
    /// Layer after which the design's net is split.
    pub split: &'a str,
    /// Number of output channels of the design.
    pub depth: u64,
    /// How its channels were chosen.
    pub selection: &'a str,
}

/// The bytes of a Snappy-compressed Parquet file with these rows.
pub(super) fn to_parquet(rows: &[Row<'_>]) -> PolarsResult<Vec<u8>> {
    let text = |name: &str, value: fn(&Row<'_>) -> String| -> Column {
        Series::new(name.into(), rows.iter().map(value).collect::<Vec<_>>()).into()
    };
    let count = |name: &str, value: fn(&Row<'_>) -> u64| -> Column {
        Series::new(name.into(), rows.iter().map(value).collect::<Vec<_>>()).into()
    };
    let real = |name: &str, value: fn(&Row<'_>) -> f64| -> Column {
        Series::new(name.into(), rows.iter().map(value).collect::<Vec<_>>()).into()
    };
    let columns = vec![
        text("design", |row| row.measurement.design.to_string()),
        text("split", |row| row.split.to_owned()),
        count("depth", |row| row.depth),
        text("selection", |row| row.selection.to_owned()),
        text("metric", |row| row.measurement.metric.to_string()),
        real("value", |row| row.measurement.value),
        real("std_error", |row| row.measurement.std_error),
        count("n", |row| row.measurement.n),
        text("fidelity", |row| row.measurement.fidelity.to_string()),
        count("seed", |row| row.measurement.seed),
        real("seconds", |row| row.measurement.seconds),
    ];
    let mut frame = DataFrame::new(rows.len(), columns)?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).with_compression(ParquetCompression::Snappy).finish(&mut frame)?;
    Ok(bytes)
}
