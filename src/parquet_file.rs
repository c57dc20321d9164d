//! Opening Parquet files that others wrote.
//!
//! The crate that reads them believes some of what they say: it asks for as much memory as a page's header says that the page unpacks
//! to, nests as deep as the schema does, and panics at offsets that are negative. So the metadata and the headers of all pages that
//! will be read are walked first.

mod ending;
mod format;
mod thrift;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use parquet::column::reader::ColumnReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::guard;
use ending::Ending;
use thrift::{Shape, Walker};

/// Most bytes of metadata: those of a file with a hundred thousand row groups of images.
const MOST_METADATA: u64 = 64 << 20;

/// Most bytes that a page unpacks to. Writers end pages at a megabyte, or at a thousand images.
const MOST_PAGE: i64 = 256 << 20;

/// Most values in a page.
const MOST_VALUES: i64 = 1 << 26;

/// Most values in a dictionary.
const MOST_WORDS: i64 = 1 << 22;

/// Most values of lists in the metadata, of which each takes some hundred bytes of memory.
const MOST_ELEMENTS: usize = 1 << 20;

/// How deep groups of columns may be nested.
const DEEPEST: usize = 32;

/// A Parquet file whose metadata was checked.
pub(crate) struct ParquetFile {
    file: File,
    reader: SerializedFileReader<Ending>,
}

impl ParquetFile {
    /// Reads the metadata.
    ///
    /// # Errors
    /// What the format refuses, and sizes and offsets that can't be true.
    pub(crate) fn open(file: File) -> Result<Self> {
        let len = file.metadata()?.len();
        check_metadata(&file, len)?;
        let copy = file.try_clone()?;
        let reader = guarded(|| SerializedFileReader::new(Ending(copy)))?;
        for column in reader.metadata().row_groups().iter().flat_map(|group| group.columns()) {
            range(column, len)?;
        }
        Ok(Self { file, reader })
    }

    /// The metadata.
    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    /// The values of a column in a group of rows.
    ///
    /// # Errors
    /// As [`open`](Self::open), of the pages.
    pub(crate) fn column(&self, group: usize, column: usize) -> Result<ColumnReader> {
        let chunk = self.metadata().row_groups().get(group).and_then(|group| group.columns().get(column));
        let chunk = chunk.ok_or_else(|| bad(format!("row group {group} has no column {column}")))?;
        let (start, len) = range(chunk, self.file.metadata()?.len())?;
        check_pages(&self.file, start, len)?;
        guarded(|| self.reader.get_row_group(group)?.get_column_reader(column))
    }
}

/// What the crate does with a file: it also panics where pages hold less than they say. The file is to be dropped then.
///
/// # Errors
/// Its own, and [`ParquetError::General`] for a panic.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    guard::guarded(work).unwrap_or_else(|panic| Err(bad(format!("its pages hold less than they say: {panic}"))))
}

fn bad(text: impl Into<String>) -> ParquetError {
    ParquetError::General(text.into())
}

/// Where a column's pages are, within a file of `file` bytes: their start and length.
fn range(column: &ColumnChunkMetaData, file: u64) -> Result<(u64, u64)> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let range = u64::try_from(start).ok().zip(u64::try_from(column.compressed_size()).ok());
    let within = range.filter(|(start, len)| start.checked_add(*len).is_some_and(|end| end <= file));
    let sound = column.data_page_offset() >= 0 && column.num_values() >= 0;
    within.filter(|_| sound).ok_or_else(|| bad("a column's pages are said to lie outside the file"))
}

/// Walks through the metadata at the end of a file of `len` bytes.
fn check_metadata(file: &File, len: u64) -> Result<()> {
    let Some(end) = len.checked_sub(8) else { return Err(bad("it is too short")) };
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(end))?;
    let mut footer = Walker::new(&mut reader, 8, 0);
    let size = u64::from(u32::from_le_bytes(footer.array()?));
    if footer.array()? != *b"PAR1" {
        return Err(bad("it does not end in `PAR1`"));
    }
    let Some(start) = end.checked_sub(size).filter(|_| size <= MOST_METADATA) else {
        return Err(bad(format!("its metadata would be {size} bytes long")));
    };
    reader.seek(SeekFrom::Start(start))?;
    let mut walker = Walker::new(&mut reader, size, MOST_ELEMENTS);
    let mut last = 0;
    while let Some((id, kind)) = walker.field(&mut last)? {
        match id {
            2 => check_schema(&mut walker, kind)?,
            _ => walker.known(id, kind, format::FILE)?,
        }
    }
    Ok(())
}

/// Refuses a schema that nests too deep: a list of elements in the order of a walk, each with its number of children.
fn check_schema(walker: &mut Walker<impl Read>, kind: u8) -> Result<()> {
    let elements = walker.structs(kind)?;
    // Of each group that is open, the children that are still to come.
    let mut open: Vec<i64> = Vec::new();
    for _ in 0..elements {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        let (mut last, mut children) = (0, 0);
        while let Some((id, kind)) = walker.field(&mut last)? {
            match id {
                5 => children = walker.number(kind)?,
                _ => walker.known(id, kind, format::SCHEMA_ELEMENT)?,
            }
        }
        if children > 0 {
            open.push(children);
        }
        if open.len() > DEEPEST {
            return Err(bad(format!("its columns are nested deeper than {DEEPEST} levels")));
        }
    }
    Ok(())
}

/// Walks through the headers of all pages in a range of the file.
fn check_pages(file: &File, start: u64, len: u64) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 12, file);
    reader.seek(SeekFrom::Start(start))?;
    let mut left = len;
    while left > 0 {
        // A page's header has no lists. In one that comes nevertheless the crate takes booleans to have no bytes, reads on elsewhere than
        // this walk does, and may go on beyond the end of the file for minutes.
        let mut walker = Walker::new(&mut reader, left, 0);
        let (mut last, mut unpacked, mut packed) = (0, 0, 0);
        while let Some((id, kind)) = walker.field(&mut last)? {
            match id {
                2 => unpacked = walker.number(kind)?,
                3 => packed = walker.number(kind)?,
                // Of data in either version, and of a dictionary, all of which is held at once.
                5 => check_count(&mut walker, kind, format::DATA_PAGE, MOST_VALUES)?,
                7 => check_count(&mut walker, kind, format::DICTIONARY_PAGE, MOST_WORDS)?,
                8 => check_count(&mut walker, kind, format::DATA_PAGE_2, MOST_VALUES)?,
                _ => walker.known(id, kind, format::PAGE)?,
            }
        }
        left = walker.left();
        let Some(rest) = u64::try_from(packed).ok().and_then(|packed| left.checked_sub(packed)) else {
            return Err(bad(format!("a page would be {packed} bytes long where there are {left}")));
        };
        if !(0..=MOST_PAGE).contains(&unpacked) {
            return Err(bad(format!("a page would unpack to {unpacked} bytes, at most {MOST_PAGE} are taken")));
        }
        reader.seek_relative(packed)?;
        left = rest;
    }
    Ok(())
}

/// Walks through what a page's header says of its values: their number comes first.
fn check_count(walker: &mut Walker<impl Read>, kind: u8, fields: &'static [(i64, Shape)], most: i64) -> Result<()> {
    Shape::Struct(fields).expect(kind)?;
    let mut last = 0;
    while let Some((id, kind)) = walker.field(&mut last)? {
        if id != 1 {
            walker.known(id, kind, fields)?;
            continue;
        }
        let count = walker.number(kind)?;
        if !(0..=most).contains(&count) {
            return Err(bad(format!("a page would hold {count} values, at most {most} are taken")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
