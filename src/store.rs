//! A study on disk: nothing that was measured is lost, and nothing is read wrongly.
//!
//! # Layout
//! One folder per study:
//!
//! | entry | what it is | how it is written |
//! |---|---|---|
//! | `study.json` | the [`Header`]: what the study is about, hashes of what determines its measurements | once, renamed into place |
//! | `journal.jsonl` | every [`Event`], in order; the truth | appended, synced before [`Study::append`] returns |
//! | `journal.torn-N` | what was cut off an unfinished journal, for a person to look at | when a study is opened |
//! | `measurements.parquet` | the rows in long format, for readers | renamed into place |
//! | `blobs/NAME` | side files, as trained nets and galleries | renamed into place |
//! | `lock` | held by the one writer, names it | OS file lock |
//!
//! # The journal
//! Each line is a JSON object `{"sum":"…","len":"…","data":…}`: a checksum and the length of `data` in bytes, both in
//! hexadecimal. The first line's `data` names format, version and study. The checksum covers the study too, so that a
//! line of another study is none of this one's. A line must equal, byte for byte, what writing its `data` gives.
//!
//! A write that was interrupted leaves an unfinished last line: the next [`Study::open`] sets it aside, cuts it off
//! and says so ([`Warning::TornTail`]). A damaged line that others follow was once whole, so it is an error
//! ([`StoreError::CorruptJournal`]) and the journal stays as it is.
//!
//! # Checksums of the other files
//! An evaluation in the journal names its side files with a checksum each; `study.json` and the study's conclusion begin with one
//! of their own. A file that differs is refused, with what to do about it. Files of versions that wrote no checksums are read as
//! they are. `measurements.parquet` is for others to read: this program only writes it.
//!
//! # Invariants
//! - When [`Study::append`] returns `Ok`, the event survives a kill and a power cut; when it returns an error, all
//!   earlier events still do.
//! - At most one process writes; a dead one holds no lock. Any number may read ([`StudyReader`]).
//! - Nothing outside the folder is read or written: entries that are links are refused.

mod blobs;
mod error;
mod event;
mod files;
mod header;
mod journal;
mod lock;
mod reader;
mod record;
mod scan;
mod sealed;
mod sums;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

pub use error::{StoreError, Warning};
pub use event::{Event, Verdict, Verification};
pub use header::{Header, Input, Inputs, SCHEMA_VERSION};
pub use reader::StudyReader;
pub use table::Row;

use crate::table::Table;

pub(crate) use files::sync_folder;
pub(crate) use lock::host;

use journal::Journal;
use lock::Lock;
use sums::Sums;

const HEADER_FILE: &str = "study.json";
const JOURNAL_FILE: &str = "journal.jsonl";
const TABLE_FILE: &str = "measurements.parquet";
const LOCK_FILE: &str = "lock";

/// A study opened for writing. Dropping it releases the folder.
#[derive(Debug)]
pub struct Study {
    dir: PathBuf,
    header: Header,
    journal: Journal,
    sums: Sums,
    // Held for its lock.
    _lock: Lock,
}

/// What a study already held when it was opened.
#[derive(Debug)]
pub struct Recovered {
    /// All events, oldest first.
    pub events: Vec<Event>,
    /// What a person should know about how they were recovered.
    pub warnings: Vec<Warning>,
}

impl Study {
    /// Creates the study in `dir`, or resumes the one that is there if it has the same [`Inputs`].
    ///
    /// # Errors
    /// [`StoreError::OtherStudy`] or [`StoreError::NotAStudy`] if the folder holds something else,
    /// [`StoreError::Locked`] if another process writes it, [`StoreError::CorruptJournal`] and
    /// [`StoreError::CorruptHeader`] if it is damaged, [`StoreError::SchemaVersion`] if another version wrote it,
    /// [`StoreError::Write`], [`StoreError::Read`] and [`StoreError::DiskFull`] if the system refuses.
    pub fn open(dir: &Path, header: &Header) -> Result<(Self, Recovered), StoreError> {
        fs::create_dir_all(dir).map_err(StoreError::writing(dir, 0))?;
        refuse_foreign_folder(dir)?;
        let lock = Lock::acquire(&dir.join(LOCK_FILE))?;
        let header_path = dir.join(HEADER_FILE);
        let journal_path = dir.join(JOURNAL_FILE);
        let stored = Header::read(&header_path)?;
        let is_new = stored.is_none();
        let header = match stored {
            Some(stored) => {
                stored.refuse_other(header, dir)?;
                stored
            }
            None => header.clone(),
        };
        // The header comes last: a folder with a header has a journal, unless somebody removed it. A journal without one was begun
        // by a process that was killed right then, and is empty.
        let exists = || files::exists(&journal_path).map_err(StoreError::reading(&journal_path));
        if is_new && (!exists()? || journal::is_empty(&journal_path)?) {
            Journal::create(&journal_path, &header.fingerprint())?;
        }
        let (journal, events, torn) = Journal::open(&journal_path, &header.fingerprint())?;
        if is_new {
            header.write(&header_path)?;
        }
        let warnings = torn.into_iter().chain(header.other_tool()).collect();
        let sums = Sums::of(&events);
        let study = Study { dir: dir.to_path_buf(), header, journal, sums, _lock: lock };
        Ok((study, Recovered { events, warnings }))
    }

    /// Records an event. When this returns `Ok` it is on disk for good.
    ///
    /// # Errors
    /// [`StoreError::InvalidEvaluation`] for figures that are no numbers (nothing is written then),
    /// [`StoreError::DiskFull`] and [`StoreError::Write`] if the system refuses; what was written of the event is then
    /// cut off again, all earlier ones are kept, and the call may be repeated.
    pub fn append(&mut self, event: &Event) -> Result<(), StoreError> {
        self.journal.append(event)?;
        self.sums.learn(event);
        Ok(())
    }

    /// Replaces `measurements.parquet` by these rows; readers see the old table or the new one, never half of one.
    ///
    /// # Errors
    /// [`StoreError::Table`] if the rows cannot be encoded, [`StoreError::DiskFull`] and [`StoreError::Write`] if the
    /// system refuses; the old table is kept then.
    pub fn write_parquet(&self, rows: &[Row<'_>]) -> Result<(), StoreError> {
        let path = self.dir.join(TABLE_FILE);
        let bytes = table::to_parquet(rows).map_err(|source| StoreError::Table { path: path.clone(), source })?;
        files::replace(&path, &bytes).map_err(StoreError::writing(&path, self.journal.records()))
    }

    /// Writes a table of designs into the study's folder, replacing the one of that name.
    ///
    /// # Errors
    /// As [`write_parquet`](Self::write_parquet).
    pub fn write_table(&self, name: &str, table: &Table) -> Result<(), StoreError> {
        let path = self.dir.join(name);
        let bytes = table.to_parquet().map_err(|source| StoreError::Table { path: path.clone(), source })?;
        files::replace(&path, &bytes).map_err(StoreError::writing(&path, self.journal.records()))
    }

    /// Stores a side file under `blobs/`, replacing any of that name. An [`Evaluation`](crate::measurement::Evaluation) that is
    /// recorded afterwards and names it by its [`checksum`] guards it against damage.
    ///
    /// # Errors
    /// [`StoreError::BlobName`] unless `name` is 1 to 128 characters of `a-z`, `A-Z`, `0-9`, `.`, `_`, `-` and does not
    /// start with a dot; [`StoreError::DiskFull`] and [`StoreError::Write`] if the system refuses.
    pub fn save_blob(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        blobs::save(&self.dir, name, bytes, self.journal.records())?;
        // What the journal says is of the one before.
        self.sums.forget(name);
        Ok(())
    }

    /// Stores a JSON object as a side file that carries its own checksum.
    ///
    /// # Errors
    /// [`StoreError::Encode`], and as [`save_blob`](Self::save_blob).
    pub fn save_object(&mut self, name: &str, object: &impl serde::Serialize) -> Result<(), StoreError> {
        let bytes = sealed::encode(&blobs::path_of(&self.dir, name)?, object)?;
        self.save_blob(name, &bytes)
    }

    /// A side file, `None` if there is none of that name.
    ///
    /// # Errors
    /// [`StoreError::BlobName`] for a bad name, [`StoreError::Read`] if the system refuses, [`StoreError::DamagedBlob`] if it is
    /// not what the journal says.
    pub fn load_blob(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        blobs::load(&self.dir, name, &self.sums)
    }

    /// The study's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The header as stored when the study was created.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How many events are on disk.
    pub fn records(&self) -> u64 {
        self.journal.records()
    }
}

/// The whole of a regular file, which is no link, of no absurd size.
pub(crate) fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    files::read(path)
}

/// 128 bits of a file's hash, in hexadecimal: what an evaluation says of its side files.
pub fn checksum(bytes: &[u8]) -> String {
    sealed::checksum(bytes)
}

/// One line, with its line feed, that holds `data` under a checksum which covers `salt`, too: for files that others write for a study.
pub(crate) fn seal(path: &Path, salt: &str, data: &impl serde::Serialize) -> Result<Vec<u8>, StoreError> {
    record::encode(path, salt, data)
}

/// The data of a line that [`seal`] made, given without its line feed; `None` where a bit of it changed.
pub(crate) fn unseal<'a>(salt: &str, line: &'a [u8]) -> Option<&'a [u8]> {
    record::decode(salt, line).ok()
}

/// Refuses a folder with anything in it that is neither a study nor what an interrupted creation leaves.
fn refuse_foreign_folder(dir: &Path) -> Result<(), StoreError> {
    let header_path = dir.join(HEADER_FILE);
    if files::exists(&header_path).map_err(StoreError::reading(&header_path))? {
        return Ok(());
    }
    let unfinished = [LOCK_FILE, JOURNAL_FILE].map(String::from);
    let temporary = [HEADER_FILE, JOURNAL_FILE].map(files::temporary_name);
    for entry in fs::read_dir(dir).map_err(StoreError::reading(dir))? {
        let name = entry.map_err(StoreError::reading(dir))?.file_name();
        if !unfinished.iter().chain(&temporary).any(|own| name.as_os_str() == own.as_str()) {
            return Err(StoreError::NotAStudy { dir: dir.to_path_buf(), found: name.to_string_lossy().into_owned() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
