//! IDX files, the format of MNIST and its relatives: a big-endian header, then bytes; plain or gzip.
//!
//! The header is `0x0000 08 R` (unsigned bytes, R dimensions) and R sizes of 32 bits.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::DataError;
use super::listing::{Listing, Order, Pixels, Store, require_room};

const IMAGES: u32 = 0x0000_0803;
const LABELS: u32 = 0x0000_0801;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads a pair of files.
pub(super) fn read(images: &Path, labels: &Path) -> Result<Listing, DataError> {
    let mut file = IdxFile::open(images)?;
    let [count, height, width] = file.header(IMAGES, "images")?;
    if count == 0 || height == 0 || width == 0 {
        return Err(DataError::IdxEmpty { path: images.to_path_buf(), count, width, height });
    }
    if height != width {
        return Err(DataError::NotSquare { place: images.into(), width, height });
    }
    require_room(images, count, width, height)?;
    file.refuse_bomb(count * height * width)?;
    let bytes = file.body(count * height * width)?;

    let mut file = IdxFile::open(labels)?;
    let [label_count] = file.header(LABELS, "labels")?;
    file.refuse_bomb(label_count)?;
    let label_bytes = file.body(label_count)?;
    if label_count != count {
        return Err(DataError::CountMismatch {
            images: images.to_path_buf(),
            image_count: count,
            labels: labels.to_path_buf(),
            label_count,
        });
    }
    Ok(Listing {
        root: images.to_path_buf(),
        labels: label_bytes.into_iter().map(u16::from).collect(),
        class_names: None,
        label_file: Some(labels.to_path_buf()),
        store: Store::Memory(Pixels { side: height, order: Order::Grey, bytes, files: vec![(images.into(), count)] }),
    })
}

/// A file that is being read from its beginning.
struct IdxFile<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    gzip: bool,
    header_len: usize,
    file_len: u64,
}

impl<'a> IdxFile<'a> {
    fn open(path: &'a Path) -> Result<Self, DataError> {
        let fail = |source| DataError::Read { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(fail)?;
        let file_len = file.metadata().map_err(fail)?.len();
        let mut start = [0; 2];
        let gzip = match file.read_exact(&mut start) {
            Ok(()) => start == GZIP,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(fail(error)),
        };
        file.rewind().map_err(fail)?;
        let reader: Box<dyn Read> =
            if gzip { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(BufReader::new(file)) };
        Ok(IdxFile { path, reader, gzip, header_len: 0, file_len })
    }

    /// Refuses a packed file that is too small for `len` bytes.
    fn refuse_bomb(&self, len: usize) -> Result<(), DataError> {
        if self.gzip { super::refuse_bomb(self.path, self.file_len, len as u64) } else { Ok(()) }
    }

    /// The sizes, once the magic number is found to be `magic`.
    fn header<const R: usize>(&mut self, magic: u32, kind: &'static str) -> Result<[usize; R], DataError> {
        self.header_len = 4 + 4 * R;
        let bytes = self.take(self.header_len, self.header_len)?;
        let mut words = bytes.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        let found = words.next().unwrap_or_default();
        if found != magic {
            let path = self.path.to_path_buf();
            return Err(DataError::IdxMagic { path, kind, expected: magic, found });
        }
        Ok(std::array::from_fn(|_| words.next().unwrap_or_default() as usize))
    }

    /// All bytes after the header, of which there must be `len`.
    fn body(&mut self, len: usize) -> Result<Vec<u8>, DataError> {
        let expected = self.header_len + len;
        let bytes = self.take(len, expected)?;
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(bytes),
            Ok(_) => {
                let path = self.path.to_path_buf();
                Err(DataError::IdxTrailing { path, expected: expected as u64 })
            }
            Err(error) => Err(self.broken(error, expected, expected)),
        }
    }

    /// The next `len` bytes of a file of at least `expected`; memory grows with what is there, not with `len`.
    fn take(&mut self, len: usize, expected: usize) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::with_capacity(len.min(1 << 24));
        let outcome = self.reader.by_ref().take(len as u64).read_to_end(&mut bytes);
        let found = expected - len + bytes.len();
        match outcome {
            Ok(_) if bytes.len() == len => Ok(bytes),
            Ok(_) => Err(self.truncated(expected, found)),
            Err(error) => Err(self.broken(error, expected, found)),
        }
    }

    fn truncated(&self, expected: usize, found: usize) -> DataError {
        DataError::IdxTruncated {
            path: self.path.to_path_buf(),
            expected: expected as u64,
            found: found as u64,
            gzip: self.gzip,
        }
    }

    fn broken(&self, source: std::io::Error, expected: usize, found: usize) -> DataError {
        let path = self.path.to_path_buf();
        match source.kind() {
            ErrorKind::UnexpectedEof => self.truncated(expected, found),
            _ if self.gzip => DataError::Gzip { path, source },
            _ => DataError::Read { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Part;
    use crate::data::tests::{gzip, idx};
    use std::path::PathBuf;

    /// Three 2×2 images of labels 0, 1, 1.
    fn images() -> Vec<u8> {
        idx(&[3, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    }

    fn labels() -> Vec<u8> {
        idx(&[3], &[0, 1, 1])
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new(images: &[u8], labels: &[u8]) -> Self {
            let files = Files(tempfile::tempdir().unwrap());
            std::fs::write(files.path("images"), images).unwrap();
            std::fs::write(files.path("labels"), labels).unwrap();
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn read(&self) -> Result<Listing, DataError> {
            read(&self.path("images"), &self.path("labels"))
        }
    }

    fn message(images: &[u8], labels: &[u8]) -> String {
        Files::new(images, labels).read().unwrap_err().to_string()
    }

    #[test]
    fn reads_plain_and_gzip_alike() {
        let read = |images: &[u8], labels: &[u8]| {
            let listing = Files::new(images, labels).read().unwrap();
            listing.read(Part::Training, &[0, 1, 2], None).unwrap()
        };
        let plain = read(&images(), &labels());
        let packed = read(&gzip(&images()), &gzip(&labels()));
        assert_eq!((plain.side, plain.labels.as_slice()), (2, [0, 1, 1].as_slice()));
        assert_eq!(plain.pixels[..6], [1, 1, 1, 2, 2, 2]);
        assert_eq!(plain.pixels.len(), 36);
        assert_eq!((plain.pixels, plain.labels), (packed.pixels, packed.labels));
    }

    #[test]
    fn names_a_missing_file() {
        let files = Files::new(&images(), &labels());
        std::fs::remove_file(files.path("labels")).unwrap();
        let found = files.read().unwrap_err().to_string();
        assert!(found.starts_with("cannot read `") && found.contains("labels`"), "{found}");
    }

    #[test]
    fn a_file_cut_anywhere_is_truncated_plain_or_packed() {
        let whole = images();
        for len in 0..whole.len() {
            let found = message(&whole[..len], &labels());
            let expected = if len < 16 { 16 } else { 28 };
            assert!(
                found.contains(&format!("images` is truncated: expected {expected} bytes, found {len};")),
                "{found}"
            );
        }
        let found = message(&gzip(&whole[..20]), &labels());
        assert!(found.contains("expected 28 bytes when unpacked, found 20;"), "{found}");
        let packed = gzip(&whole);
        for len in 2..packed.len() {
            let found = message(&packed[..len], &labels());
            assert!(found.contains("is truncated"), "{len}: {found}");
        }
    }

    #[test]
    fn a_header_that_lies_costs_no_memory() {
        let mut huge = idx(&[40_000, 100, 100], &[0; 10]);
        assert!(message(&huge, &labels()).contains("expected 400000016 bytes, found 26;"));
        huge[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        let found = message(&huge, &labels());
        assert!(found.contains("4294967295 images of 100×100 need more than the 4 GiB"), "{found}");
    }

    #[test]
    fn a_packed_file_that_is_next_to_nothing_is_not_unpacked_to_gibibytes() {
        let huge = idx(&[1 << 20, 32, 32], &vec![0; 1 << 20]);
        let found = message(&gzip(&huge), &labels());
        assert!(found.contains("to 1073741824: no images are packed so well"), "{found}");
        let found = message(&gzip(&images()), &gzip(&idx(&[u32::MAX], &vec![0; 1 << 16])));
        assert!(found.contains("labels` would unpack") && found.contains("to 4294967295"), "{found}");
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let long = [images(), vec![0]].concat();
        for bytes in [long.clone(), gzip(&long)] {
            assert!(message(&bytes, &labels()).contains("more than the 28 bytes"));
        }
    }

    #[test]
    fn damaged_gzip_is_told_from_truncated() {
        let mut packed = gzip(&images());
        let middle = packed.len() - 6; // in the checksum
        packed[middle] ^= 0xff;
        assert!(message(&packed, &labels()).contains("is a damaged gzip file"));
    }

    #[test]
    fn other_kinds_of_file_are_refused() {
        let found = message(&labels(), &labels());
        assert!(found.contains("images` is"), "{found}");
        let found = message(&images(), &images());
        assert!(found.contains("not an IDX file of labels: it starts with 0x00000803, expected 0x00000801"), "{found}");
        assert!(message(&idx(&[1, 2, 3], &[0; 6]), &labels()).contains("must be square, found 3×2"));
        assert!(message(&idx(&[0, 2, 2], &[]), &labels()).contains("holds 0 images of 2×2"));
    }

    #[test]
    fn labels_must_match_images_and_classes() {
        let found = message(&images(), &idx(&[2], &[0, 1]));
        assert!(found.contains("holds 3 images but") && found.contains("holds 2 labels"), "{found}");
        let listing = Files::new(&images(), &idx(&[3], &[0, 1, 2])).read().unwrap();
        let found = listing.require_known_labels(2).unwrap_err().to_string();
        assert!(
            found.contains("labels`: label 2 of image 2 (counted from 0) is not one of the 2 classes 0 to 1"),
            "{found}"
        );
    }
}
