//! One line of a journal: its data, framed by length and checksum.

use std::path::Path;

use serde::Serialize;

use super::StoreError;

const SUM: &str = "{\"sum\":\"";
const LENGTH: &str = "\",\"len\":\"";
const DATA: &str = "\",\"data\":";
const END: &str = "}";
const SUM_DIGITS: usize = 16;
const LENGTH_DIGITS: usize = 8;
const BEFORE_LENGTH: usize = SUM.len() + SUM_DIGITS + LENGTH.len();
const BEFORE_DATA: usize = BEFORE_LENGTH + LENGTH_DIGITS + DATA.len();

/// A line, with its line feed. JSON escapes line feeds, so there is none within.
pub(super) fn encode(path: &Path, salt: &str, data: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let data = serde_json::to_vec(data).map_err(|source| StoreError::Encode { path: path.into(), source })?;
    let mut line = frame(salt, &data);
    line.push(b'\n');
    Ok(line)
}

fn frame(salt: &str, data: &[u8]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(salt.len() as u64).to_le_bytes());
    hasher.update(salt.as_bytes());
    hasher.update(data);
    let sum = &hasher.finalize().to_hex()[..SUM_DIGITS];
    let length = data.len();
    let mut line = format!("{SUM}{sum}{LENGTH}{length:0LENGTH_DIGITS$x}{DATA}").into_bytes();
    line.extend_from_slice(data);
    line.extend_from_slice(END.as_bytes());
    line
}

/// Why a line is no record.
#[derive(Debug)]
pub(super) enum Flaw<'a> {
    /// It ends before its data does.
    Torn,
    /// It is not what writing its data gives.
    Changed,
    /// A whole record of this length, and more on the same line.
    Overlong { data: &'a [u8], length: usize },
}

impl Flaw<'_> {
    /// The same, for a person.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Flaw::Torn => "it was not written to its end",
            Flaw::Changed => "its checksum does not match",
            Flaw::Overlong { .. } => "more follows its record on the same line",
        }
    }
}

/// The data of a line that is given without its line feed.
pub(super) fn decode<'a>(salt: &str, line: &'a [u8]) -> Result<&'a [u8], Flaw<'a>> {
    let digits = line.get(BEFORE_LENGTH..BEFORE_LENGTH + LENGTH_DIGITS).ok_or(Flaw::Torn)?;
    let digits = std::str::from_utf8(digits).map_err(|_| Flaw::Changed)?;
    let size = u32::from_str_radix(digits, 16).map_err(|_| Flaw::Changed)? as usize;
    let end = BEFORE_DATA.checked_add(size).ok_or(Flaw::Changed)?;
    let data = line.get(BEFORE_DATA..end).ok_or(Flaw::Torn)?;
    let length = end.checked_add(END.len()).ok_or(Flaw::Changed)?;
    let found = line.get(..length).ok_or(Flaw::Torn)?;
    // Written again and compared, so that not a bit of the line may differ.
    if found != frame(salt, data) {
        return Err(Flaw::Changed);
    }
    if length < line.len() { Err(Flaw::Overlong { data, length }) } else { Ok(data) }
}
