//! Opening Parquet files that others wrote.
//!
//! The crate that reads them believes some of what they say: it asks for as much memory as a page's header says that the page unpacks
//! to, nests as deep as the schema does, and panics at offsets that are negative. So the metadata and the headers of all pages that
//! will be read are walked first.

mod thrift;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use parquet::column::reader::ColumnReader;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};

use crate::guard;
use thrift::Walker;

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

/// A file whose end is an error to who reads on: the crate skips what lies beyond it, however much that is, for minutes.
struct Ending(File);

/// From somewhere in such a file.
struct EndingReader {
    file: BufReader<File>,
    /// Reads that found nothing.
    in_vain: usize,
}

impl Length for Ending {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Ending {
    type T = EndingReader;

    fn get_read(&self, start: u64) -> Result<EndingReader> {
        Ok(EndingReader { file: self.0.get_read(start)?, in_vain: 0 })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

impl Read for EndingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        /// Who reads to the end finds nothing there once or twice.
        const MOST_IN_VAIN: usize = 64;
        let read = self.file.read(buffer)?;
        self.in_vain += usize::from(read == 0 && !buffer.is_empty());
        match self.in_vain > MOST_IN_VAIN {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(read),
        }
    }
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
        match (id, kind) {
            (2, thrift::LIST) => check_schema(&mut walker)?,
            _ => walker.skip(kind)?,
        }
    }
    Ok(())
}

/// Refuses a schema that nests too deep: a list of elements in the order of a walk, each with its number of children.
fn check_schema(walker: &mut Walker<impl std::io::Read>) -> Result<()> {
    let (elements, kind) = walker.list()?;
    if kind != thrift::STRUCT {
        return Err(bad("its schema is none"));
    }
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
            match (id, kind) {
                (5, thrift::I32) => children = walker.signed()?,
                _ => walker.skip(kind)?,
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
            match (id, kind) {
                (2, thrift::I32) => unpacked = walker.signed()?,
                (3, thrift::I32) => packed = walker.signed()?,
                // Of data in either version, and of a dictionary, all of which is held at once.
                (5 | 8, thrift::STRUCT) => check_count(&mut walker, MOST_VALUES)?,
                (7, thrift::STRUCT) => check_count(&mut walker, MOST_WORDS)?,
                _ => walker.skip(kind)?,
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
fn check_count(walker: &mut Walker<impl std::io::Read>, most: i64) -> Result<()> {
    let mut last = 0;
    while let Some((id, kind)) = walker.field(&mut last)? {
        match (id, kind) {
            (1, thrift::I32) => {
                let count = walker.signed()?;
                if !(0..=most).contains(&count) {
                    return Err(bad(format!("a page would hold {count} values, at most {most} are taken")));
                }
            }
            _ => walker.skip(kind)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
