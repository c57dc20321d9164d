//! Reading tables that others wrote: what they may hold is bounded before memory is asked for.

use std::fs::File;
use std::path::Path;

use ::parquet::basic::{ConvertedType, LogicalType};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use ::parquet::data_type::{ByteArray, DataType};
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::ColumnDescriptor;

use super::{TableError, Values};
use crate::parquet_file::{ParquetFile, guarded};

/// Most columns.
const MOST_COLUMNS: usize = 1 << 12;

/// Most values of all columns.
const MOST_VALUES: usize = 1 << 24;

/// Most bytes of all words: a dictionary says one word a million times.
const MOST_TEXT: usize = 256 << 20;

/// Leading fields of a column of numbers in a CSV file that are kept as they were written, such as `007`.
const KEPT_WORDS: usize = 1000;

/// Rows that are read at a time.
const STEP: usize = 1 << 12;

fn open(path: &Path) -> Result<File, TableError> {
    File::open(path).map_err(|source| TableError::Read { path: path.to_owned(), source })
}

/// Refuses more than `most`.
fn within(path: &Path, what: &'static str, found: usize, most: usize) -> Result<(), TableError> {
    if found > most { Err(TableError::TooLarge { path: path.to_owned(), what, most }) } else { Ok(()) }
}

/// The columns of words and numbers in a Parquet file; lists, dates and the like are no parameters of a design.
pub(super) fn parquet(path: &Path) -> Result<Vec<(String, Values)>, TableError> {
    let wrong = |source: ParquetError| TableError::Parquet { path: path.to_owned(), source };
    let file = ParquetFile::open(open(path)?).map_err(wrong)?;
    let groups = file.metadata().row_groups();
    let described = file.metadata().file_metadata().schema_descr().columns();
    within(path, "columns", described.len(), MOST_COLUMNS)?;
    let rows = groups.iter().try_fold(0usize, |rows, group| rows.checked_add(usize::try_from(group.num_rows()).ok()?));
    let values = rows.and_then(|rows| rows.checked_mul(described.len())).unwrap_or(usize::MAX);
    within(path, "values", values, MOST_VALUES)?;
    let (mut columns, mut text) = (Vec::new(), MOST_TEXT);
    for (at, column) in described.iter().enumerate() {
        let Some(kind) = Kind::of(column) else { continue };
        let mut values = if kind == Kind::Text { Values::Text(Vec::new()) } else { Values::Real(Vec::new()) };
        for (index, group) in groups.iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
            let reader = file.column(index, at).map_err(wrong)?;
            let read = match reader {
                ColumnReader::Int32ColumnReader(mut reader) => {
                    let number = |&value: &i32| {
                        if kind == Kind::Unsigned { f64::from(value.cast_unsigned()) } else { value.into() }
                    };
                    numbers(&mut reader, rows, number, &mut values)
                }
                ColumnReader::Int64ColumnReader(mut reader) => {
                    let number =
                        |&value: &i64| if kind == Kind::Unsigned { value.cast_unsigned() as f64 } else { value as f64 };
                    numbers(&mut reader, rows, number, &mut values)
                }
                ColumnReader::FloatColumnReader(mut reader) => {
                    numbers(&mut reader, rows, |&value| value.into(), &mut values)
                }
                ColumnReader::DoubleColumnReader(mut reader) => numbers(&mut reader, rows, |&value| value, &mut values),
                ColumnReader::ByteArrayColumnReader(mut reader) => {
                    let words = |found: Option<&ByteArray>| {
                        let word = found.map_or(&[][..], ByteArray::data);
                        text = text.checked_sub(word.len()).ok_or_else(too_much_text)?;
                        Ok(String::from_utf8_lossy(word).into_owned())
                    };
                    match &mut values {
                        Values::Text(out) => each(&mut reader, rows, words, out),
                        Values::Real(_) => Ok(()),
                    }
                }
                // The schema says otherwise: see `Kind::of`.
                _ => Err(ParquetError::General("values of another type than the schema's".to_owned())),
            };
            read.map_err(wrong)?;
        }
        columns.push((column.name().to_owned(), values));
    }
    Ok(columns)
}

fn too_much_text() -> ParquetError {
    ParquetError::General(format!("its words take more than the {MOST_TEXT} bytes that a table's may take"))
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Unsigned,
}

impl Kind {
    /// `None` for what a table has no place for.
    fn of(column: &ColumnDescriptor) -> Option<Self> {
        use ::parquet::basic::Type;
        if column.path().parts().len() != 1 || column.max_rep_level() > 0 || column.max_def_level() > 1 {
            return None;
        }
        let logical = column.logical_type_ref();
        let converted = column.converted_type();
        match column.physical_type() {
            Type::BYTE_ARRAY => {
                let text = matches!(logical, Some(LogicalType::String | LogicalType::Enum));
                (text || matches!(converted, ConvertedType::UTF8 | ConvertedType::ENUM)).then_some(Self::Text)
            }
            Type::FLOAT | Type::DOUBLE => Some(Self::Number),
            Type::INT32 | Type::INT64 => match converted {
                ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
                    Some(Self::Unsigned)
                }
                ConvertedType::INT_8 | ConvertedType::INT_16 | ConvertedType::INT_32 | ConvertedType::INT_64 => {
                    Some(Self::Number)
                }
                ConvertedType::NONE if logical.is_none() => Some(Self::Number),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Appends a group's numbers, NaN where there is none.
fn numbers<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    number: impl Fn(&T::T) -> f64,
    values: &mut Values,
) -> Result<(), ParquetError> {
    match values {
        Values::Real(out) => each(reader, rows, |value| Ok(value.map_or(f64::NAN, &number)), out),
        Values::Text(_) => Ok(()),
    }
}

/// Appends what is made of each of a group's values, or of there being none.
fn each<T: DataType, V>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    mut make: impl FnMut(Option<&T::T>) -> Result<V, ParquetError>,
    out: &mut Vec<V>,
) -> Result<(), ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let mut done = 0;
    while done < rows {
        levels.clear();
        values.clear();
        let (read, ..) = guarded(|| reader.read_records(STEP.min(rows - done), Some(&mut levels), None, &mut values))?;
        if read == 0 {
            return Err(ParquetError::EOF(format!("{rows} rows are announced, {done} are there")));
        }
        done += read;
        let mut present = values.iter();
        if levels.is_empty() {
            // A column in which nothing may be missing.
            present.by_ref().try_for_each(|value| make(Some(value)).map(|made| out.push(made)))?;
        }
        for &level in &levels {
            let value = if level > 0 { present.next() } else { None };
            out.push(make(value)?);
        }
    }
    Ok(())
}

/// The columns of a CSV file. One of which every field is a number, or empty, holds numbers.
pub(super) fn csv(path: &Path) -> Result<Vec<(String, Values)>, TableError> {
    let wrong = |source: ::csv::Error| TableError::Csv { path: path.to_owned(), source };
    let mut reader = ::csv::ReaderBuilder::new().trim(::csv::Trim::All).from_reader(open(path)?);
    let names: Vec<String> = reader.headers().map_err(wrong)?.iter().map(str::to_owned).collect();
    within(path, "columns", names.len(), MOST_COLUMNS)?;
    let mut columns: Vec<Values> = names.iter().map(|_| Values::Real(Vec::new())).collect();
    let mut record = ::csv::StringRecord::new();
    let mut words: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    let mut rows = 0usize;
    while reader.read_record(&mut record).map_err(wrong)? {
        rows += 1;
        within(path, "values", rows.saturating_mul(names.len()), MOST_VALUES)?;
        for ((column, field), words) in columns.iter_mut().zip(&record).zip(&mut words) {
            let number = if field.is_empty() { Ok(f64::NAN) } else { field.parse() };
            match (&mut *column, number) {
                (Values::Real(values), Ok(number)) => {
                    values.push(number);
                    // What a number was written as is only needed should a word follow.
                    if values.len() <= KEPT_WORDS {
                        words.push(field.to_owned());
                    }
                }
                (Values::Real(values), Err(_)) => {
                    let mut text = std::mem::take(words);
                    text.extend(values.iter().skip(text.len()).map(f64::to_string));
                    text.push(field.to_owned());
                    *column = Values::Text(text);
                }
                (Values::Text(values), _) => values.push(field.to_owned()),
            }
        }
    }
    Ok(names.into_iter().zip(columns).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::*;

    #[test]
    fn a_table_of_too_many_columns_or_values_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let message = |text: String| {
            std::fs::write(&path, text).unwrap();
            Table::read(&path).unwrap_err().to_string()
        };
        let wide = vec!["a"; MOST_COLUMNS + 1].join(",");
        assert!(message(wide).contains("at most 4096 columns"));
        let header: Vec<String> = (0..MOST_COLUMNS).map(|at| format!("c{at}")).collect();
        let long = format!("{}\n", vec![""; MOST_COLUMNS].join(",")).repeat(MOST_VALUES / MOST_COLUMNS + 1);
        assert!(message(format!("{}\n{long}", header.join(","))).contains("at most 16777216 values"));
    }

    #[test]
    fn every_byte_of_a_parquet_table_may_be_another() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/example/measurements.parquet");
        let whole = std::fs::read(&example).unwrap();
        let table = Table::read(&example).unwrap();
        assert_eq!(table.rows(), table.labels("design").unwrap().len());
        assert!(table.numbers("depth").is_ok() && table.numbers("value").is_ok());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.parquet");
        let mut refused = 0;
        for at in (0..whole.len()).step_by(3) {
            let mut changed = whole.clone();
            changed[at] = changed[at].wrapping_add(0x81);
            std::fs::write(&path, changed).unwrap();
            refused += usize::from(Table::read(&path).is_err());
        }
        assert!(refused > 500, "{refused} changed files were refused");
    }
}
