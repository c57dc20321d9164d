//! Parquet files as the Hugging Face hub stores images: a column of encoded files and one of labels.
//!
//! An image is the field `bytes` of a struct, or a column of bytes itself. Labels are read first, images page by page and only
//! those that are wanted, the next batch while the last one is decoded. Names of the classes are in the file's key `huggingface`:
//! JSON, `info.features.LABEL.names`.

mod rows;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::schema::types::ColumnDescriptor;

use super::cifar::expand;
use super::error::ParquetProblem;
use super::listing::{Listing, Store};
use super::{DataError, MAX_PART_BYTES};
use crate::parquet_file::{ParquetFile, guarded};

/// Most rows of all files: as many as one part may hold of the smallest images.
const MOST_ROWS: usize = MAX_PART_BYTES / (3 * super::SIDE_MULTIPLE * super::SIDE_MULTIPLE);

/// The encoded images of some files.
#[derive(Debug)]
pub(super) struct Images {
    /// The files in order, each with its number of rows.
    pub files: Vec<(Arc<Path>, usize)>,
    /// The path of the bytes' column in each file's schema.
    column: String,
    groups: Vec<Group>,
}

/// Rows that are stored together.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// Position of its file.
    file: usize,
    /// Its position in the file.
    index: usize,
    /// Rows of all files before it.
    start: usize,
    /// Its rows.
    rows: usize,
}

/// Reads the labels of some files, and where their images are.
pub(super) fn list(written: &[PathBuf], image_column: &str, label_column: &str) -> Result<Listing, DataError> {
    let root = written.first().cloned().unwrap_or_default();
    let (mut labels, mut class_names) = (Vec::new(), None);
    let mut images = Images { files: Vec::new(), column: String::new(), groups: Vec::new() };
    for (position, path) in expand(written, "parquet")?.iter().enumerate() {
        let fails = |problem| fails(path, problem);
        let reader = open(path)?;
        let before = labels.len();
        let columns = reader.metadata().file_metadata().schema_descr().columns();
        let image =
            find(columns, image_column, "encoded images (bytes, or a struct with `bytes`)", "image_column", |column| {
                let path = column.path().parts();
                column.physical_type() == Type::BYTE_ARRAY && (path.len() == 1 || path.len() == 2 && path[1] == "bytes")
            });
        let (_, name) = image.map_err(fails)?;
        let integers = |column: &ColumnDescriptor| {
            column.path().parts().len() == 1 && matches!(column.physical_type(), Type::INT32 | Type::INT64)
        };
        let (label, _) = find(columns, label_column, "integer labels", "label_column", integers).map_err(fails)?;
        for (index, group) in reader.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
            let start = labels.len();
            if rows > MOST_ROWS - start {
                return Err(fails(ParquetProblem::TooMany { rows: start.saturating_add(rows), most: MOST_ROWS }));
            }
            for value in group_labels(&reader, index, rows, (label, label_column), path)? {
                let (index, classes) = (labels.len() - before, usize::from(u16::MAX) + 1);
                let beyond = |_| DataError::Label { path: path.clone(), index, label: value, classes };
                labels.push(u16::try_from(value).map_err(beyond)?);
            }
            images.groups.push(Group { file: position, index, start, rows });
        }
        if labels.len() == before {
            return Err(fails(ParquetProblem::Empty));
        }
        images.column = name;
        images.files.push((path.as_path().into(), labels.len() - before));
        class_names = class_names.or_else(|| names(&reader, label_column));
    }
    Ok(Listing { root, labels, class_names, label_file: None, store: Store::Parquet(images) })
}

/// Columns that images and labels usually have in a file; the most usual ones where it has none of them.
pub(super) fn usual_columns(path: &Path) -> Result<[String; 2], DataError> {
    let reader = open(path)?;
    let columns = reader.metadata().file_metadata().schema_descr().columns();
    let first = |names: &[&str]| {
        let is_there = |name: &&&str| {
            columns.iter().any(|column| column.path().parts().first().is_some_and(|first| first == *name))
        };
        names.iter().find(is_there).unwrap_or(&names[0]).to_string()
    };
    Ok([first(&["image", "img"]), first(&["label", "labels", "fine_label"])])
}

/// The first column that is called `name`, or is a field of it, and is suitable; with its path.
fn find(
    columns: &[Arc<ColumnDescriptor>],
    name: &str,
    kind: &'static str,
    field: &'static str,
    suits: impl Fn(&ColumnDescriptor) -> bool,
) -> Result<(usize, String), ParquetProblem> {
    let named = |column: &ColumnDescriptor| column.path().parts().first().is_some_and(|first| first == name);
    let found = columns.iter().position(|column| named(column) && column.max_rep_level() == 0 && suits(column));
    found.map(|index| (index, columns[index].path().string())).ok_or_else(|| {
        let all: Vec<String> = columns
            .iter()
            .take(30)
            .map(|column| format!("`{}` ({})", column.path().string(), column.physical_type()))
            .collect();
        ParquetProblem::Column { name: name.to_owned(), kind, found: all.join(", "), field }
    })
}

fn fails(path: &Path, problem: ParquetProblem) -> DataError {
    DataError::Parquet { path: path.to_path_buf(), problem }
}

fn damaged(path: &Path) -> impl Fn(ParquetError) -> DataError {
    move |error| fails(path, ParquetProblem::Format(error))
}

fn open(path: &Path) -> Result<ParquetFile, DataError> {
    let file = File::open(path).map_err(|source| DataError::Read { path: path.to_path_buf(), source })?;
    ParquetFile::open(file).map_err(damaged(path))
}

/// The names of the classes in the file's metadata.
fn names(reader: &ParquetFile, label_column: &str) -> Option<Vec<String>> {
    let entries = reader.metadata().file_metadata().key_value_metadata()?;
    let text = entries.iter().find(|entry| entry.key == "huggingface")?.value.as_deref()?;
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let names = json.get("info")?.get("features")?.get(label_column)?.get("names")?.as_array()?;
    names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

/// The labels of one group.
fn group_labels(
    reader: &ParquetFile,
    group: usize,
    rows: usize,
    (column, name): (usize, &str),
    path: &Path,
) -> Result<Vec<i64>, DataError> {
    match reader.column(group, column).map_err(damaged(path))? {
        ColumnReader::Int64ColumnReader(mut column) => take(&mut column, rows, name, 0, path),
        ColumnReader::Int32ColumnReader(mut column) => {
            Ok(take(&mut column, rows, name, 0, path)?.into_iter().map(i64::from).collect())
        }
        // The schema says otherwise: see `find`.
        _ => Err(damaged(path)(ParquetError::General("labels of another type than the schema's".to_owned()))),
    }
}

/// The next values of a column, as many as are wanted, none of which may be missing; `row` is the first one's.
fn take<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    wanted: usize,
    name: &str,
    row: usize,
    path: &Path,
) -> Result<Vec<T::T>, DataError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut records = 0;
    while records < wanted {
        let (read, ..) = guarded(|| column.read_records(wanted - records, Some(&mut levels), None, &mut values))
            .map_err(damaged(path))?;
        if read == 0 {
            let (name, expected, found) = (name.to_owned(), row + wanted, row + records);
            return Err(fails(path, ParquetProblem::Rows { name, expected, found }));
        }
        records += read;
        if values.len() < records {
            let full = levels.iter().max().copied().unwrap_or_default();
            let missing = levels.iter().position(|&level| level < full).unwrap_or_default();
            return Err(fails(path, ParquetProblem::Null { name: name.to_owned(), row: row + missing }));
        }
    }
    Ok(values)
}

#[cfg(test)]
pub(super) mod tests;
