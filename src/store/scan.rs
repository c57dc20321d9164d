//! From a journal's bytes to its events, or to what is wrong with them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::{Flaw, decode};
use super::{Event, SCHEMA_VERSION, StoreError, Warning};

/// What the first line's checksum covers besides its data; the other lines' covers the study's fingerprint.
pub(super) const PREAMBLE_SALT: &str = "privynet journal";

/// The first line's data.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Preamble {
    pub(super) journal: String,
    pub(super) version: u64,
    pub(super) study: String,
}

/// What a journal's bytes hold.
pub(super) struct Scan {
    pub(super) events: Vec<Event>,
    /// Bytes up to the end of the last whole record.
    pub(super) whole: usize,
    /// Whether that record lacks its line feed.
    pub(super) unterminated: bool,
    /// What is wrong with the bytes after `whole`, if there are any.
    pub(super) tail: Option<Tail>,
}

/// An unfinished or damaged last line.
pub(super) struct Tail {
    line: u64,
    reason: &'static str,
}

impl Tail {
    pub(super) fn warning(&self, path: &Path, bytes: usize, kept_aside: Option<PathBuf>) -> Warning {
        Warning::TornTail {
            path: path.into(),
            line: self.line,
            bytes: bytes as u64,
            reason: self.reason.to_owned(),
            kept_aside,
        }
    }
}

/// Reads all records, stopping at an unfinished or damaged last line; damage before it is an error.
pub(super) fn scan(path: &Path, bytes: &[u8], study: &str) -> Result<Scan, StoreError> {
    let corrupt =
        |line: u64, reason: &str| StoreError::CorruptJournal { path: path.into(), line, reason: reason.to_owned() };
    // The journal was renamed into place with its first line whole.
    let end = line_end(bytes).ok_or_else(|| corrupt(1, "its first line is not whole"))?;
    let data = decode(PREAMBLE_SALT, &bytes[..end]).map_err(|flaw| corrupt(1, flaw.reason()))?;
    check_preamble(path, data, study)?;

    let mut scan = Scan { events: Vec::new(), whole: end + 1, unterminated: false, tail: None };
    let mut number = 1;
    while scan.whole < bytes.len() {
        number += 1;
        let rest = &bytes[scan.whole..];
        let end = line_end(rest);
        let line = &rest[..end.unwrap_or(rest.len())];
        let is_last = end.is_none_or(|end| end + 1 == rest.len());
        let (data, length) = match decode(study, line) {
            Ok(data) => (data, line.len()),
            // A whole record, and after it no line feed but the beginning of something else.
            Err(Flaw::Overlong { data, length }) if end.is_none() => (data, length),
            Err(flaw @ (Flaw::Torn | Flaw::Changed)) if is_last => {
                scan.tail = Some(Tail { line: number, reason: flaw.reason() });
                return Ok(scan);
            }
            Err(flaw) => return Err(corrupt(number, flaw.reason())),
        };
        let mut event: Event = serde_json::from_slice(data).map_err(|source| StoreError::UnknownRecord {
            path: path.into(),
            line: number,
            source,
        })?;
        if let Event::Evaluation(evaluation) = &mut event {
            evaluation.share_id();
        }
        event.check().map_err(|invalid| corrupt(number, &invalid.to_string()))?;
        scan.events.push(event);
        scan.whole += length;
        if end.is_some() {
            scan.whole += 1;
            continue;
        }
        scan.unterminated = true;
        if scan.whole < bytes.len() {
            scan.tail = Some(Tail { line: number + 1, reason: Flaw::Torn.reason() });
        }
        break;
    }
    Ok(scan)
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&b| b == b'\n')
}

fn check_preamble(path: &Path, data: &[u8], study: &str) -> Result<(), StoreError> {
    let preamble: Preamble = serde_json::from_slice(data).map_err(|error| StoreError::CorruptJournal {
        path: path.into(),
        line: 1,
        reason: error.to_string(),
    })?;
    if preamble.version != u64::from(SCHEMA_VERSION) {
        return Err(StoreError::SchemaVersion {
            path: path.into(),
            found: preamble.version,
            supported: SCHEMA_VERSION,
        });
    }
    if preamble.study != study {
        return Err(StoreError::ForeignJournal {
            path: path.into(),
            found: preamble.study,
            expected: study.to_owned(),
        });
    }
    Ok(())
}
