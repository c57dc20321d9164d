//! The append-only journal: creating, cutting a torn tail, appending.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::files;
use super::record::encode;
use super::scan::{PREAMBLE_SALT, Preamble, Scan, scan};
use super::{Event, SCHEMA_VERSION, StoreError, Warning};

/// The journal of a study, opened to be appended to.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Fingerprint of the study.
    study: String,
    /// Bytes of whole, synced lines.
    whole: u64,
    /// Events among them.
    records: u64,
    /// Whether there may be more than `whole` bytes in the file, after a write that failed.
    dirty: bool,
}

impl Journal {
    /// Puts an empty journal of the study at `path`.
    pub(super) fn create(path: &Path, study: &str) -> Result<(), StoreError> {
        let preamble =
            Preamble { journal: "privynet".to_owned(), version: u64::from(SCHEMA_VERSION), study: study.to_owned() };
        let line = encode(path, PREAMBLE_SALT, &preamble)?;
        files::replace(path, &line).map_err(StoreError::writing(path, 0))
    }

    /// Opens the journal of the study, moving an unfinished last line out of the way.
    pub(super) fn open(path: &Path, study: &str) -> Result<(Self, Vec<Event>, Option<Warning>), StoreError> {
        let bytes = read_bytes(path)?;
        let Scan { events, whole, unterminated, tail } = scan(path, &bytes, study)?;
        let records = events.len() as u64;
        let warning = match &tail {
            Some(tail) => {
                let aside = free_name(path).map_err(StoreError::reading(path))?;
                files::replace(&aside, &bytes[whole..]).map_err(StoreError::writing(&aside, records))?;
                Some(tail.warning(path, bytes.len() - whole, Some(aside)))
            }
            None => None,
        };
        let mut file = OpenOptions::new().append(true).open(path).map_err(StoreError::writing(path, records))?;
        let repair = |file: &mut File| -> io::Result<u64> {
            let mut whole = whole as u64;
            if tail.is_some() {
                file.set_len(whole)?;
            }
            if unterminated {
                file.write_all(b"\n")?;
                whole += 1;
            }
            file.sync_data()?;
            Ok(whole)
        };
        let whole = repair(&mut file).map_err(StoreError::writing(path, records))?;
        let journal = Journal { path: path.into(), file, study: study.to_owned(), whole, records, dirty: false };
        Ok((journal, events, warning))
    }

    /// How many events are on disk.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// Appends an event and waits until the disk has it.
    pub(super) fn append(&mut self, event: &Event) -> Result<(), StoreError> {
        event.check()?;
        let line = encode(&self.path, &self.study, event)?;
        self.append_by(&line, |file, line| {
            file.write_all(line)?;
            file.sync_data()
        })
    }

    /// Appends a line by `write`; if that fails, cuts off again what it may have written.
    fn append_by(
        &mut self,
        line: &[u8],
        write: impl FnOnce(&mut File, &[u8]) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        // Whatever failed before: bytes of another's are never cut off.
        if !self.dirty && self.file.metadata().is_ok_and(|found| found.len() != self.whole) {
            return Err(StoreError::OtherWriter { path: self.path.clone() });
        }
        let result = self.cut_remains().and_then(|()| {
            self.dirty = true;
            write(&mut self.file, line)
        });
        match result {
            Ok(()) => {
                self.dirty = false;
                self.whole += line.len() as u64;
                self.records += 1;
                Ok(())
            }
            Err(error) => {
                // If this fails too, the next append or the next start cuts them.
                let _ = self.cut_remains();
                Err(StoreError::writing(&self.path, self.records)(error))
            }
        }
    }

    fn cut_remains(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.set_len(self.whole)?;
            self.file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }
}

/// Whether a journal, of whatever study, holds no event: one line at most.
pub(super) fn is_empty(path: &Path) -> Result<bool, StoreError> {
    let bytes = read_bytes(path)?;
    Ok(bytes.iter().position(|&byte| byte == b'\n').is_none_or(|end| end + 1 == bytes.len()))
}

/// The events of a journal that another process may be writing.
pub(super) fn read(path: &Path, study: &str) -> Result<(Vec<Event>, Option<Warning>), StoreError> {
    let bytes = read_bytes(path)?;
    let Scan { events, whole, tail, .. } = scan(path, &bytes, study)?;
    // Without a line feed at its end the tail is most likely being written right now.
    let damaged = tail.filter(|_| bytes.ends_with(b"\n"));
    Ok((events, damaged.map(|tail| tail.warning(path, bytes.len() - whole, None))))
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, StoreError> {
    if !files::exists(path).map_err(StoreError::reading(path))? {
        return Err(StoreError::MissingJournal { path: path.into() });
    }
    files::read(path).map_err(StoreError::reading(path))
}

/// The first of `journal.torn-1`, `journal.torn-2`, … that is not taken.
fn free_name(journal: &Path) -> io::Result<PathBuf> {
    let mut number = 1_u64;
    loop {
        let name = journal.with_extension(format!("torn-{number}"));
        if !files::exists(&name)? {
            return Ok(name);
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Verdict, Verification};

    const STUDY: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    fn event(number: usize) -> Event {
        Event::Verification(Verification {
            design: format!("design-{number}").parse().unwrap(),
            verdict: Verdict::Refuted,
            explanation: "psnr_mean 18.3 dB\nabove 18 dB é".into(),
        })
    }

    /// A journal of `count` events, and its bytes.
    fn written(dir: &Path, count: usize) -> (PathBuf, Vec<u8>) {
        let path = dir.join("journal.jsonl");
        Journal::create(&path, STUDY).unwrap();
        let (mut journal, ..) = Journal::open(&path, STUDY).unwrap();
        for number in 0..count {
            journal.append(&event(number)).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    }

    #[test]
    fn every_line_is_json_of_the_documented_form() {
        let dir = tempfile::tempdir().unwrap();
        let (_, bytes) = written(dir.path(), 2);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 3);
        for line in text.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let keys: Vec<_> = value.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["sum", "len", "data"]);
        }
    }

    #[test]
    fn a_journal_cut_anywhere_in_its_last_record_keeps_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = written(dir.path(), 3);
        let last = bytes[..bytes.len() - 1].iter().rposition(|&b| b == b'\n').unwrap() + 1;
        for cut in last..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            // Without its line feed alone the last record is whole.
            let expected = if cut == bytes.len() - 1 { 3 } else { 2 };
            let (events, warning) = read(&path, STUDY).unwrap();
            assert_eq!((events.len(), warning), (expected, None), "cut at {cut}");

            let (mut journal, events, warning) = Journal::open(&path, STUDY).unwrap();
            assert_eq!(events, (0..expected).map(event).collect::<Vec<_>>(), "cut at {cut}");
            match warning {
                Some(Warning::TornTail { line, bytes: torn, kept_aside: Some(aside), .. }) => {
                    assert_eq!((line, torn), (4, (cut - last) as u64));
                    assert_eq!(std::fs::read(aside).unwrap(), bytes[last..cut]);
                }
                None => assert!(cut == last || expected == 3),
                other => panic!("{other:?}"),
            }
            // Whatever was cut, the journal goes on as if nothing had happened.
            for number in expected..3 {
                journal.append(&event(number)).unwrap();
            }
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn no_flipped_bit_gives_a_wrong_event() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = written(dir.path(), 3);
        let all: Vec<Event> = (0..3).map(event).collect();
        let last = bytes[..bytes.len() - 1].iter().rposition(|&b| b == b'\n').unwrap() + 1;
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[position] ^= 1 << bit;
                match scan(&path, &flipped, STUDY) {
                    // Only the last record may be lost without a refusal, and then it is said.
                    Ok(scan) => {
                        assert!(position >= last, "byte {position}, bit {bit} passed");
                        assert!(scan.tail.is_some(), "byte {position}, bit {bit} was not noticed");
                        let kept = if position == bytes.len() - 1 { 3 } else { 2 };
                        assert_eq!(scan.events, all[..kept]);
                    }
                    Err(StoreError::CorruptJournal { line, .. }) => {
                        let before = bytes[..position].iter().filter(|&&b| b == b'\n').count();
                        assert_eq!(line, before as u64 + 1, "byte {position}, bit {bit}");
                    }
                    Err(other) => panic!("byte {position}, bit {bit}: {other}"),
                }
            }
        }
    }

    #[test]
    fn damage_in_the_middle_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, mut bytes) = written(dir.path(), 3);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let message = Journal::open(&path, STUDY).unwrap_err().to_string();
        assert!(message.contains("line 3") && message.contains("backup"), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);

        // The remedy that the message names.
        let lines = bytes.split_inclusive(|&b| b == b'\n').enumerate();
        let kept: Vec<u8> = lines.filter(|(i, _)| *i != 2).flat_map(|(_, l)| l).copied().collect();
        std::fs::write(&path, kept).unwrap();
        assert_eq!(read(&path, STUDY).unwrap().0, [event(0), event(2)]);
    }

    #[test]
    fn zeros_after_a_power_cut_are_a_torn_tail() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = written(dir.path(), 2);
        std::fs::write(&path, [bytes.as_slice(), &[0; 300]].concat()).unwrap();
        let (_, events, warning) = Journal::open(&path, STUDY).unwrap();
        assert_eq!(events.len(), 2);
        assert!(warning.unwrap().to_string().contains("journal.torn-1"));
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn a_full_disk_leaves_all_earlier_records_and_no_partial_line() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = written(dir.path(), 2);
        let (mut journal, ..) = Journal::open(&path, STUDY).unwrap();
        let line = encode(&path, STUDY, &event(2)).unwrap();
        let error = journal.append_by(&line, |file, line| {
            file.write_all(&line[..line.len() / 2])?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(matches!(error, Err(StoreError::DiskFull { kept: 2, .. })));
        let message = error.unwrap_err().to_string();
        assert!(message.contains("all 2 earlier records are safe"), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        // Once there is space again, the same journal goes on.
        journal.append(&event(2)).unwrap();
        assert_eq!(read(&path, STUDY).unwrap().0.len(), 3);
    }

    #[test]
    fn a_tail_that_could_not_be_cut_is_cut_before_the_next_append() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = written(dir.path(), 2);
        let (mut journal, ..) = Journal::open(&path, STUDY).unwrap();
        journal.file.write_all(b"{\"sum\":\"dead").unwrap();
        journal.dirty = true;
        journal.append(&event(2)).unwrap();
        assert_eq!(read(&path, STUDY).unwrap().0.len(), 3);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_without_space_is_a_full_disk() {
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let study = STUDY.to_owned();
        let mut journal = Journal { path, file, study, whole: 0, records: 7, dirty: false };
        let error = journal.append(&event(0)).unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { kept: 7, .. }), "{error}");
    }

    #[test]
    fn what_another_writer_appended_is_never_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _) = written(dir.path(), 1);
        // Two that the lock did not keep apart, as on a file system whose locks hold on one machine alone.
        let mut journals = [0, 1].map(|_| Journal::open(&path, STUDY).unwrap().0);
        journals[1].append(&event(1)).unwrap();
        let error = journals[0].append(&event(2)).unwrap_err();
        assert!(matches!(error, StoreError::OtherWriter { .. }), "{error}");
        assert_eq!(read(&path, STUDY).unwrap().0, [event(0), event(1)]);
    }

    #[test]
    fn a_journal_without_events_is_told_from_one_with_some() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_empty(&written(dir.path(), 1).0).unwrap());
        let (path, bytes) = written(dir.path(), 0);
        assert!(is_empty(&path).unwrap());
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(is_empty(&path).unwrap());
    }

    #[test]
    fn journals_of_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = written(dir.path(), 1);
        let foreign = Journal::open(&path, OTHER).unwrap_err();
        assert!(matches!(foreign, StoreError::ForeignJournal { .. }), "{foreign}");

        // A line of another study's journal, pasted in.
        let line = encode(&path, OTHER, &event(1)).unwrap();
        std::fs::write(&path, [bytes.as_slice(), &line, &line].concat()).unwrap();
        let error = read(&path, STUDY).unwrap_err();
        assert!(matches!(error, StoreError::CorruptJournal { line: 3, .. }), "{error}");

        let newer = Preamble { journal: "privynet".into(), version: 2, study: STUDY.into() };
        std::fs::write(&path, encode(&path, PREAMBLE_SALT, &newer).unwrap()).unwrap();
        let error = read(&path, STUDY).unwrap_err();
        assert!(matches!(error, StoreError::SchemaVersion { found: 2, .. }), "{error}");

        let unknown = encode(&path, STUDY, &serde_json::json!({"telepathy": 1})).unwrap();
        std::fs::write(&path, [bytes.as_slice(), &unknown].concat()).unwrap();
        let error = read(&path, STUDY).unwrap_err();
        assert!(matches!(error, StoreError::UnknownRecord { line: 3, .. }), "{error}");
    }
}
