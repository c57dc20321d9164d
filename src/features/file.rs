//! The file format of one layer's features.
//!
//! A header of [`HEADER_LEN`] bytes (magic, version, n, side, channels, exponent, CRC-32 of payload and exponent, key),
//! then the payload: f16 `[n, side, side, channels]`, little-endian. A value, the layer's output before its ReLU, is the stored
//! one times `2^exponent`: those of VGG reach thousands, more than f16 holds with room to spare.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use flate2::Crc;
use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::FeatureError;
use crate::bounded;

/// Ending of the files' names.
pub(super) const ENDING: &str = "f16";
pub(super) const HEADER_LEN: usize = 128;
const MAGIC: &[u8; 8] = b"PNFEATUR";
const VERSION: u32 = 2;
/// The first images leave room for values this many powers of two larger.
const HEADROOM: i32 = 5;
/// Values that one thread converts at a time.
const CHUNK: usize = 1 << 14;

/// What a file holds, and what it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents {
    pub key: blake3::Hash,
    pub n: usize,
    pub side: usize,
    pub channels: usize,
}

impl Contents {
    fn payload_len(&self) -> usize {
        self.n * self.side * self.side * self.channels * size_of::<f16>()
    }

    pub fn file_len(&self) -> usize {
        HEADER_LEN + self.payload_len()
    }

    fn header(&self, exponent: i32, crc: u32) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..8].copy_from_slice(MAGIC);
        let words = [VERSION, self.n as u32, self.side as u32, self.channels as u32];
        for (place, word) in header[8..24].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        header[24..28].copy_from_slice(&exponent.to_le_bytes());
        header[28..32].copy_from_slice(&crc.to_le_bytes());
        header[32..64].copy_from_slice(self.key.as_bytes());
        header
    }

    /// The exponent and checksum of a header, if it is that of such a file.
    fn recognise(&self, header: &[u8; HEADER_LEN]) -> Option<(i32, u32)> {
        let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let (exponent, crc) = (i32::from_le_bytes(word(24)), u32::from_le_bytes(word(28)));
        (*header == self.header(exponent, crc) && (-64..=64).contains(&exponent)).then_some((exponent, crc))
    }
}

/// The exponent and checksum in the header of a file of exactly these contents and length.
pub(super) fn read_header(file: &mut File, contents: &Contents) -> io::Result<Option<(i32, u32)>> {
    if file.metadata()?.len() != contents.file_len() as u64 {
        return Ok(None);
    }
    let mut header = [0; HEADER_LEN];
    file.read_exact(&mut header)?;
    Ok(contents.recognise(&header))
}

/// Whether there is a file of exactly these contents with the right checksum. It is read, not mapped, so that the
/// check takes no memory.
pub(super) fn is_whole(path: &Path, contents: &Contents) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some((exponent, crc)) = read_header(&mut file, contents)? else {
        return Ok(false);
    };
    let (mut buffer, mut found) = (vec![0; 1 << 20], Crc::new());
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => found.update(&buffer[..n]),
        }
    }
    found.update(&exponent.to_le_bytes());
    Ok(found.sum() == crc)
}

/// Writes a file beside its final place; it gets there whole or not at all.
#[derive(Debug)]
pub(super) struct Writer {
    contents: Contents,
    layer: &'static str,
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    crc: Crc,
    exponent: Option<i32>,
    finished: bool,
}

impl Writer {
    pub fn create(path: PathBuf, contents: Contents, layer: &'static str) -> Result<Self, FeatureError> {
        let temporary = path.with_extension(format!("{}.{}", std::process::id(), super::cache::TEMPORARY));
        let file = bounded::create(&temporary).map_err(|source| FeatureError::Io {
            action: "create",
            path: temporary.clone(),
            source,
        })?;
        let mut writer = Writer {
            contents,
            layer,
            path,
            temporary,
            file: BufWriter::with_capacity(1 << 20, file),
            crc: Crc::new(),
            exponent: None,
            finished: false,
        };
        writer.write(&[0; HEADER_LEN])?;
        Ok(writer)
    }

    /// Appends the values of whole images. The first ones fix the scale.
    pub fn append(&mut self, values: &[f32]) -> Result<(), FeatureError> {
        let exponent = *self.exponent.get_or_insert_with(|| exponent_for(largest_in(values)));
        let mut bytes = Vec::new();
        encode(values, exponent, self.layer, &mut bytes)?;
        self.crc.update(&bytes);
        self.write(&bytes)
    }

    /// Completes the header and moves the file to its place.
    ///
    /// Nothing is forced to the disk: a file torn by a power cut is found by its checksum and computed again.
    pub fn finish(mut self) -> Result<(), FeatureError> {
        let exponent = self.exponent.unwrap_or(0);
        self.crc.update(&exponent.to_le_bytes());
        let header = self.contents.header(exponent, self.crc.sum());
        self.file.rewind().map_err(|source| self.failed("write", source))?;
        self.write(&header)?;
        self.file.flush().map_err(|source| self.failed("write", source))?;
        fs::rename(&self.temporary, &self.path).map_err(|source| self.failed("rename", source))?;
        self.finished = true;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FeatureError> {
        self.file.write_all(bytes).map_err(|source| self.failed("write", source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> FeatureError {
        FeatureError::Io { action, path: self.temporary.clone(), source }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing more can be done about a file that cannot be removed: the next run replaces it.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Appends values of `layer` to `bytes` as little-endian halves, divided by `2^exponent`.
pub(super) fn encode(
    values: &[f32],
    exponent: i32,
    layer: &'static str,
    bytes: &mut Vec<u8>,
) -> Result<(), FeatureError> {
    let (largest, limit) = (largest_in(values), f32::from(f16::MAX) * 2_f32.powi(exponent));
    if largest.is_nan() || largest > limit {
        return Err(FeatureError::Overflow { layer, value: largest, limit });
    }
    let factor = 2_f32.powi(-exponent);
    let start = bytes.len();
    bytes.resize(start + values.len() * size_of::<f16>(), 0);
    bytes[start..].par_chunks_mut(CHUNK * size_of::<f16>()).zip(values.par_chunks(CHUNK)).for_each_init(
        || (vec![0.0; CHUNK], vec![f16::ZERO; CHUNK]),
        |(scaled, halves), (bytes, values)| {
            let (scaled, halves) = (&mut scaled[..values.len()], &mut halves[..values.len()]);
            for (scaled, value) in scaled.iter_mut().zip(values) {
                *scaled = value * factor;
            }
            halves.convert_from_f32_slice(scaled);
            for (bytes, half) in bytes.chunks_exact_mut(2).zip(halves) {
                bytes.copy_from_slice(&half.to_le_bytes());
            }
        },
    );
    Ok(())
}

/// The largest magnitude of many values; NaN if any is.
fn largest_in(values: &[f32]) -> f32 {
    values.par_chunks(CHUNK).map(largest).reduce(|| 0.0, largest_of)
}

/// The largest magnitude; NaN if any value is.
fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest_of(largest, value.abs()))
}

fn largest_of(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// The least power of two at which `largest · 2^HEADROOM` fits into f16.
pub(super) fn exponent_for(largest: f32) -> i32 {
    let fits = |exponent: &i32| largest * 2_f32.powi(HEADROOM - exponent) <= f32::from(f16::MAX);
    if largest > 0.0 { (-24..=64).find(fits).unwrap_or(64) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_leaves_the_headroom_and_no_more() {
        for largest in [1e-3, 1.0, 2046.0, 2048.0, 65504.0, 9e8] {
            let stored = largest * 2_f32.powi(HEADROOM - exponent_for(largest));
            assert!(stored <= 65504.0 && stored > 65504.0 / 2.0 - 1.0, "{largest}: {stored}");
        }
        assert_eq!(exponent_for(0.0), 0);
    }

    #[test]
    fn not_a_number_is_the_largest_wherever_it_stands() {
        for values in [[f32::NAN, 1.0, 2.0], [1.0, f32::NAN, 2.0], [1.0, 2.0, f32::NAN]] {
            assert!(largest(&values).is_nan());
        }
        assert_eq!(largest(&[1.0, -3.0, 2.0]), 3.0);
    }

    fn writer(folder: &Path, n: usize) -> Writer {
        let contents = Contents { key: blake3::hash(b"key"), n, side: 1, channels: 4 };
        Writer::create(folder.join("x.f16"), contents, "conv1_1").unwrap()
    }

    #[test]
    fn activations_that_do_not_fit_are_refused_aloud() {
        let folder = tempfile::tempdir().unwrap();
        for (value, shown) in [(60_000.0, "60000"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            let mut writer = writer(folder.path(), 2);
            writer.append(&[1.0, 2.0, 1000.0, 0.0]).unwrap();
            let found = writer.append(&[0.0, value, 0.0, 0.0]).unwrap_err().to_string();
            assert!(found.contains(&format!("`conv1_1` is {shown}, beyond the 32752")), "{found}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing stays behind");
    }

    #[test]
    fn a_file_is_whole_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(folder.path(), 1);
        writer.append(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        let (path, contents) = (writer.path.clone(), writer.contents);
        assert!(!is_whole(&path, &contents).unwrap());
        writer.finish().unwrap();
        assert!(is_whole(&path, &contents).unwrap());
        let other = Contents { key: blake3::hash(b"other"), ..contents };
        assert!(!is_whole(&path, &other).unwrap());
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), contents.file_len());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(!is_whole(&path, &contents).unwrap(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(!is_whole(&path, &contents).unwrap(), "cut at {at}");
        }
    }
}
