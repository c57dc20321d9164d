//! A file that ends.

use std::fs::File;
use std::io::{self, BufReader, Read};

use bytes::Bytes;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

/// A file whose end is an error to who reads on: the crate skips what lies beyond it, however much that is, for minutes.
pub(super) struct Ending(pub(super) File);

/// From somewhere in such a file.
pub(super) struct EndingReader {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_on_beyond_the_end_is_stopped() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &[7; 10]).unwrap();
        let mut reader = Ending(file).get_read(4).unwrap();
        let mut rest = Vec::new();
        assert_eq!(reader.read_to_end(&mut rest).unwrap(), 6);
        let skipped = (0..1000).try_for_each(|_| io::copy(&mut reader.by_ref().take(8), &mut io::sink()).map(drop));
        assert_eq!(skipped.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
