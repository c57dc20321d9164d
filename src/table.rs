//! A table of designs on disk, one row each, as Parquet or CSV: what `tabulate` writes and `replay` reads.
//!
//! polars stays behind this module and [`crate::store`].

mod read;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use polars::error::PolarsResult;
use polars::prelude::{Column as PolarsColumn, DataFrame, NamedFrom, ParquetCompression, ParquetWriter, Series};

use crate::suggest::did_you_mean;

/// The values of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Words.
    Text(Vec<String>),
    /// Numbers; NaN where there is none.
    Real(Vec<f64>),
}

impl Values {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Real(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A table with named columns of equal length.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    path: PathBuf,
    columns: Vec<(String, Values)>,
    rows: usize,
}

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file can't be opened or read.
    #[error("{}: cannot be read: check that it exists and may be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file's name says neither CSV nor Parquet.
    #[error("{}: a table is read from a file that ends in .csv or .parquet", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A damaged Parquet file.
    #[error("{}: no valid Parquet table: write it again", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// A damaged CSV file.
    #[error("{}: no valid CSV table: every line needs as many fields as the header", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        source: csv::Error,
    },
    /// More than anybody compares.
    #[error("{}: a table has at most {most} {what}: leave out what is not compared", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// A table without rows.
    #[error("{}: the table has no rows", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Two columns of one name.
    #[error("{}: two columns are called `{column}`: rename one", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The name.
        column: String,
    },
    /// A column that isn't there.
    #[error(
        "{}: no column `{column}`{}; there are: {}",
        path.display(),
        did_you_mean(column, known.iter().map(String::as_str)),
        known.join(", ")
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        column: String,
        /// The columns that exist.
        known: Vec<String>,
    },
    /// A row that isn't there.
    #[error("{}: no row has {value:?} in the column `{column}`: both tables must hold the same designs", path.display())]
    NoRow {
        /// The file.
        path: PathBuf,
        /// The column looked in.
        column: String,
        /// What was looked for.
        value: String,
    },
    /// Words, or nothing, where a number is needed.
    #[error("{}: column `{column}`, row {row}: {value} where a finite number is needed", path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The row, from 1, the header not counted.
        row: usize,
        /// What stands there.
        value: String,
    },
}

impl Table {
    /// A table of these columns, which must be equally long; `path` is what errors name it by.
    pub fn new(path: &Path, columns: Vec<(String, Values)>) -> Result<Self, TableError> {
        let rows = columns.first().map_or(0, |(_, values)| values.len());
        debug_assert!(columns.iter().all(|(_, values)| values.len() == rows));
        let mut seen = HashSet::new();
        if let Some((column, _)) = columns.iter().find(|(name, _)| !seen.insert(name.as_str())) {
            return Err(TableError::Twice { path: path.to_owned(), column: column.clone() });
        }
        if rows == 0 {
            return Err(TableError::Empty { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), columns, rows })
    }

    /// Reads a `.csv` (with a header line, separated by commas) or a `.parquet` file.
    ///
    /// # Errors
    /// [`TableError`] names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, TableError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let columns = match extension.as_str() {
            "csv" => read::csv(path)?,
            "parquet" => read::parquet(path)?,
            _ => return Err(TableError::Format { path: path.to_owned() }),
        };
        Self::new(path, columns)
    }

    /// The bytes of a Snappy-compressed Parquet file.
    ///
    /// # Errors
    /// As polars.
    pub fn to_parquet(&self) -> PolarsResult<Vec<u8>> {
        let column = |(name, values): &(String, Values)| -> PolarsColumn {
            match values {
                Values::Text(values) => Series::new(name.into(), values).into(),
                Values::Real(values) => Series::new(name.into(), values).into(),
            }
        };
        let mut frame = DataFrame::new(self.rows, self.columns.iter().map(column).collect())?;
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes).with_compression(ParquetCompression::Snappy).finish(&mut frame)?;
        Ok(bytes)
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a column.
    ///
    /// # Errors
    /// [`TableError::NoColumn`] lists what there is.
    pub fn column(&self, name: &str) -> Result<&Values, TableError> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, values)| values).ok_or_else(|| {
            TableError::NoColumn {
                path: self.path.clone(),
                column: name.to_owned(),
                known: self.columns.iter().map(|(name, _)| name.clone()).collect(),
            }
        })
    }

    /// A column of finite numbers.
    ///
    /// # Errors
    /// [`TableError::NoColumn`], or [`TableError::NotANumber`] with the row.
    pub fn numbers(&self, name: &str) -> Result<&[f64], TableError> {
        let refuse = |row: usize, value: String| TableError::NotANumber {
            path: self.path.clone(),
            column: name.to_owned(),
            row: row + 1,
            value,
        };
        match self.column(name)? {
            Values::Real(values) => match values.iter().position(|value| !value.is_finite()) {
                Some(row) => Err(refuse(row, values[row].to_string())),
                None => Ok(values),
            },
            Values::Text(values) => {
                let row = values.iter().position(|value| value.parse::<f64>().is_err()).unwrap_or(0);
                Err(refuse(row, format!("{:?}", values[row])))
            }
        }
    }

    /// A column's values as categories: numbered in the order of their first appearance.
    ///
    /// # Errors
    /// [`TableError::NoColumn`].
    pub fn categories(&self, name: &str) -> Result<Vec<usize>, TableError> {
        let mut known = std::collections::HashMap::new();
        let mut number = |key: String| {
            let next = known.len();
            *known.entry(key).or_insert(next)
        };
        Ok(self.labels(name)?.into_iter().map(&mut number).collect())
    }

    /// A column's values as words.
    ///
    /// # Errors
    /// [`TableError::NoColumn`].
    pub fn labels(&self, name: &str) -> Result<Vec<String>, TableError> {
        Ok(match self.column(name)? {
            Values::Text(values) => values.clone(),
            Values::Real(values) => values.iter().map(f64::to_string).collect(),
        })
    }

    /// For each of these words the row that has it in the column `name`.
    ///
    /// # Errors
    /// [`TableError::NoColumn`], or [`TableError::NoRow`] with the first word that no row has.
    pub fn rows_of(&self, name: &str, wanted: &[String]) -> Result<Vec<usize>, TableError> {
        let rows: std::collections::HashMap<String, usize> =
            self.labels(name)?.into_iter().enumerate().map(|(row, label)| (label, row)).collect();
        let row = |label: &String| {
            rows.get(label).copied().ok_or_else(|| TableError::NoRow {
                path: self.path.clone(),
                column: name.to_owned(),
                value: label.clone(),
            })
        };
        wanted.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Result<Table, TableError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        Table::read(&path)
    }

    #[test]
    fn numbers_words_and_gaps_of_a_csv() {
        let table = csv("split, depth ,psnr\nconv1_1,4,20.5\nconv1_2,8,\nconv1_1,16,1e1\n").unwrap();
        assert_eq!(table.rows(), 3);
        assert_eq!(table.numbers("depth").unwrap(), [4.0, 8.0, 16.0]);
        assert_eq!(table.categories("split").unwrap(), [0, 1, 0]);
        let gap = table.numbers("psnr").unwrap_err().to_string();
        assert!(gap.contains("`psnr`, row 2: NaN"), "{gap}");
        let word = table.numbers("split").unwrap_err().to_string();
        assert!(word.contains("row 1: \"conv1_1\""), "{word}");
        let missing = table.numbers("dpeth").unwrap_err().to_string();
        assert!(missing.contains("`dpeth` (did you mean `depth`?); there are: split, depth, psnr"), "{missing}");
    }

    #[test]
    fn a_column_that_turns_out_to_hold_words_keeps_its_first_fields() {
        let table = csv("a\n007\n8\nx\n9\n").unwrap();
        assert_eq!(table.column("a").unwrap(), &Values::Text(["007", "8", "x", "9"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn parquet_returns_what_was_written() {
        let columns = vec![
            ("split".to_owned(), Values::Text(vec!["a".into(), "b".into()])),
            ("x".to_owned(), Values::Real(vec![1.5, -2.0])),
        ];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let table = Table::new(&path, columns).unwrap();
        std::fs::write(&path, table.to_parquet().unwrap()).unwrap();
        assert_eq!(Table::read(&path).unwrap(), table);
    }

    #[test]
    fn damaged_tables_are_refused_by_name() {
        assert!(matches!(csv("a,b\n1,2\n3\n"), Err(TableError::Csv { .. })));
        assert!(matches!(csv("a,b\n"), Err(TableError::Empty { .. })));
        assert!(matches!(csv("a,a\n1,2\n"), Err(TableError::Twice { .. })));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        std::fs::write(&path, b"PAR1 and no more").unwrap();
        let error = Table::read(&path).unwrap_err().to_string();
        assert!(error.contains("t.parquet: no valid Parquet"), "{error}");
        assert!(matches!(Table::read(&path.with_extension("txt")), Err(TableError::Format { .. })));
    }
}
