//! Images from the rows of Parquet files, a batch at a time.

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use rayon::prelude::*;

use super::super::decode::{Resize, dimensions_of, square_of};
use super::super::listing::within;
use super::super::place::Place;
use super::{DataError, Group, Images, ParquetFile, damaged, guarded, open, take};

/// A batch ends once it holds so many images or bytes. The pages that these bytes lie in are kept until they are decoded.
const BATCH: (usize, usize) = (1 << 10, 32 << 20);

/// Images that are read from a column at a time.
const STEP: usize = 32;

/// An encoded image and its row in all files together.
type Row = (usize, ByteArray);

impl Images {
    /// Width and height of the images in some rows, which ascend.
    pub(in super::super) fn sizes(&self, rows: &[usize]) -> Result<Vec<[usize; 2]>, DataError> {
        let (mut rows, mut sizes) = (Rows::new(self, rows), Vec::new());
        loop {
            let batch = rows.batch()?;
            if batch.is_empty() {
                return Ok(sizes);
            }
            for (row, bytes) in batch {
                sizes.push(dimensions_of(bytes.data(), &|| self.place(row))?);
            }
        }
    }

    /// Decodes the images in the rows `chosen`, in that order, into `pixels`, `[n, side, side, 3]`.
    pub(in super::super) fn decode(
        &self,
        chosen: &[usize],
        side: usize,
        resize: Option<Resize>,
        pixels: &mut [u8],
    ) -> Result<(), DataError> {
        let mut slots: Vec<(usize, &mut [u8])> =
            chosen.iter().copied().zip(pixels.chunks_exact_mut(side * side * 3)).collect();
        slots.sort_unstable_by_key(|(row, _)| *row);
        let wanted: Vec<usize> = slots.iter().map(|(row, _)| *row).collect();
        let mut rows = Rows::new(self, &wanted);
        let mut slots = slots.into_iter();
        let mut batch = rows.batch()?;
        while !batch.is_empty() {
            let mut targets: Vec<(Row, &mut [u8])> =
                batch.into_iter().zip(slots.by_ref().map(|(_, slot)| slot)).collect();
            let mut failures = Vec::new();
            // The next batch is read while this one is decoded.
            let next = rayon::in_place_scope(|scope| {
                scope.spawn(|_| {
                    let failed = targets.par_iter_mut().filter_map(|((row, bytes), out)| {
                        square_of(bytes.data(), &|| self.place(*row), side, resize, out).err()
                    });
                    failures = failed.collect();
                });
                rows.batch()
            });
            // Which of several bad images is named must not depend on the threads.
            if let Some(error) = failures.into_iter().next() {
                return Err(error);
            }
            batch = next?;
        }
        Ok(())
    }

    fn place(&self, row: usize) -> Place {
        within(&self.files, row)
    }
}

/// Reads the wanted rows in turn.
struct Rows<'a> {
    images: &'a Images,
    /// Rows that are still to be read, ascending.
    wanted: &'a [usize],
    /// The file that is open, by its position.
    file: Option<(usize, ParquetFile)>,
    /// The group that is being read: its column, and the rows of it that were read or skipped.
    group: Option<(Group, ColumnReaderImpl<ByteArrayType>, usize)>,
}

impl<'a> Rows<'a> {
    fn new(images: &'a Images, wanted: &'a [usize]) -> Self {
        Self { images, wanted, file: None, group: None }
    }

    /// The next images; none at the end.
    fn batch(&mut self) -> Result<Vec<Row>, DataError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(&first) = self.wanted.first() {
            if batch.len() >= BATCH.0 || bytes >= BATCH.1 {
                break;
            }
            if self.group.as_ref().is_none_or(|(group, ..)| first >= group.start + group.rows) {
                self.group = Some(self.open_group(first)?);
            }
            let Some((group, column, done)) = &mut self.group else { break };
            let path = &self.images.files[group.file].0;
            let from = first - group.start;
            let skipped = guarded(|| column.skip_records(from - *done)).map_err(damaged(path))?;
            if skipped < from - *done {
                let missing = ParquetError::EOF(format!("row {from} of row group {} is missing", group.index));
                return Err(damaged(path)(missing));
            }
            let end = group.start + group.rows;
            let run =
                self.wanted.iter().take(STEP).enumerate().take_while(|&(at, &row)| row == first + at && row < end);
            let run = run.count();
            let in_file =
                group.start - self.images.groups.iter().find(|other| other.file == group.file).map_or(0, |g| g.start);
            let values = take(column, run, &self.images.column, in_file + from, path)?;
            *done = from + run;
            bytes += values.iter().map(ByteArray::len).sum::<usize>();
            batch.extend(self.wanted[..run].iter().copied().zip(values));
            self.wanted = &self.wanted[run..];
        }
        Ok(batch)
    }

    /// The group that holds a row, at its beginning.
    fn open_group(&mut self, row: usize) -> Result<(Group, ColumnReaderImpl<ByteArrayType>, usize), DataError> {
        let after = self.images.groups.partition_point(|group| group.start <= row);
        let group = self.images.groups[after - 1];
        let path = &self.images.files[group.file].0;
        let file = match self.file.take() {
            Some((position, file)) if position == group.file => file,
            _ => open(path)?,
        };
        let columns = file.metadata().file_metadata().schema_descr().columns();
        let column = columns.iter().position(|column| column.path().string() == self.images.column);
        let reader = match column {
            Some(column) => file.column(group.index, column),
            None => Err(ParquetError::General(format!("column `{}` is gone", self.images.column))),
        };
        let reader = reader.map_err(damaged(path))?;
        self.file = Some((group.file, file));
        match reader {
            ColumnReader::ByteArrayColumnReader(column) => Ok((group, column, 0)),
            _ => Err(damaged(path)(ParquetError::General("images of another type than the schema's".to_owned()))),
        }
    }
}
