//! What can go wrong with a study on disk, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::header::Input;
use crate::measurement::InvalidEvaluation;

/// Why a study could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused to write.
    #[error("cannot write {path}; make it writable or choose another folder with --results")]
    Write {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No space is left, or a quota is used up.
    #[error(
        "disk full: {path} could not be written; all {kept} earlier records are safe in the study's journal; \
         free some space and run the same command again"
    )]
    DiskFull {
        /// File that could not be written.
        path: PathBuf,
        /// Records in the journal that are safe.
        kept: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// The system refused to read, or an entry of the folder is a link, no file, or absurdly large.
    #[error("cannot read {path}")]
    Read {
        /// File or folder.
        path: PathBuf,
        /// The system's reason, or ours.
        source: io::Error,
    },
    /// Another process writes the study.
    #[error(
        "{path} is held by {holder}: one process at a time writes a study; wait for it, stop it, or choose another \
         folder with --results"
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as it said itself.
        holder: String,
    },
    /// The file system cannot lock files.
    #[error("cannot lock {path}; choose a folder on a file system with locks with --results")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder holds something other than a study.
    #[error(
        "{dir} is not empty and no study: it holds {found:?}; choose an empty or new folder with --results or another \
         study name"
    )]
    NotAStudy {
        /// The folder.
        dir: PathBuf,
        /// One entry in it.
        found: String,
    },
    /// There is no study to read.
    #[error("{dir} holds no study; check the name, or pass the folder that it was written to with --results")]
    NoStudy {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder holds a study of other inputs.
    #[error(
        "{dir} holds another study ({stored}, this one is {requested}): its {} differ{}; give this one another \
         `name:` in the budget (what the other measured is adopted where it serves), another folder with --results, or restore what \
         changed",
        Names(differing), if differing.len() == 1 { "s" } else { "" }
    )]
    OtherStudy {
        /// The folder.
        dir: PathBuf,
        /// Fingerprint of the study there.
        stored: String,
        /// Fingerprint of the study asked for.
        requested: String,
        /// Which inputs are not the same.
        differing: Vec<Input>,
    },
    /// Another version of the program wrote the study.
    #[error(
        "{path} has schema version {found}, this program reads {supported}; open it with the version that wrote it, or \
         choose another folder with --results"
    )]
    SchemaVersion {
        /// Header or journal.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The version that this program reads and writes.
        supported: u32,
    },
    /// The header is no valid header.
    #[error("{path} is damaged ({reason}); restore it from a backup or choose another folder with --results")]
    CorruptHeader {
        /// The header.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The journal's first line, or a line that others follow, is not what was written.
    #[error(
        "{path}, line {line}, is damaged ({reason}); nothing was changed. Restore the file from a backup{}",
        if *line > 1 { ", or delete that line to have its work done again" } else { "" }
    )]
    CorruptJournal {
        /// The journal.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A line of the journal is whole but means nothing to this program.
    #[error("{path}, line {line}, is of a kind that this version does not know; open it with a newer one")]
    UnknownRecord {
        /// The journal.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What could not be read.
        source: serde_json::Error,
    },
    /// The journal grew or shrank under its writer.
    #[error(
        "{path} was changed by somebody else while this study ran, which its lock should have kept from happening: nothing was \
         written or cut; end the other `optimize`, then run this one again"
    )]
    OtherWriter {
        /// The journal.
        path: PathBuf,
    },
    /// The journal belongs to another study than the header beside it.
    #[error(
        "{path} is the journal of study {found}, but the header beside it is of {expected}; restore the one that belongs here from a backup"
    )]
    ForeignJournal {
        /// The journal.
        path: PathBuf,
        /// Fingerprint in the journal.
        found: String,
        /// Fingerprint of the header.
        expected: String,
    },
    /// The study's journal is gone.
    #[error("{path} is missing though its study has a header; restore it from a backup, or delete the folder")]
    MissingJournal {
        /// Where the journal should be.
        path: PathBuf,
    },
    /// An evaluation must not be recorded as it is.
    #[error(transparent)]
    InvalidEvaluation(#[from] InvalidEvaluation),
    /// A value could not be turned into JSON.
    #[error("cannot encode a record for {path}")]
    Encode {
        /// The file that it is for.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The table could not be encoded.
    #[error("cannot encode the rows of {path}")]
    Table {
        /// The table.
        path: PathBuf,
        /// Why.
        source: polars::error::PolarsError,
    },
    /// A side file is not what was written.
    #[error("{path} is damaged ({reason}); {remedy}")]
    DamagedBlob {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A side file's name could leave the folder, or cannot be a file name everywhere.
    #[error(
        "{name:?} is no name for a side file: 1 to 128 characters of a-z, A-Z, 0-9, '.', '_' and '-' are accepted, not \
         starting with a dot"
    )]
    BlobName {
        /// The name.
        name: String,
    },
}

impl StoreError {
    /// Turns the system's refusal to write `path` into an error, while `kept` records are safe.
    pub(super) fn writing(path: &Path, kept: u64) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_path_buf();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull { path, kept, source },
            _ => StoreError::Write { path, source },
        }
    }

    /// Turns the system's refusal to read `path` into an error.
    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_path_buf();
        move |source| StoreError::Read { path, source }
    }
}

/// Something that a person should know about a study that was opened all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The last line of the journal was unfinished or damaged, and is not counted.
    TornTail {
        /// The journal.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// Bytes that do not count.
        bytes: u64,
        /// What is wrong with them.
        reason: String,
        /// Where they were moved; `None` if the study was only read.
        kept_aside: Option<PathBuf>,
    },
    /// The study was begun by another version of the program.
    OtherTool {
        /// That version.
        stored: String,
        /// This version.
        current: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::TornTail { path, line, bytes, reason, kept_aside } => {
                let path = path.display();
                write!(f, "{path}: line {line}, the last, does not count ({reason}, {bytes} bytes)")?;
                match kept_aside {
                    Some(aside) => write!(
                        f,
                        "; it was moved to {} and the record that it was to be is made again",
                        aside.display()
                    ),
                    None => Ok(()),
                }
            }
            Warning::OtherTool { stored, current } => write!(
                f,
                "this study was begun with version {stored}, this is {current}: figures may not be comparable"
            ),
        }
    }
}

/// Inputs as an enumeration in a sentence.
struct Names<'a>(&'a [Input]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, input) in self.0.iter().enumerate() {
            let separator = match i {
                0 => "",
                _ if i + 1 == self.0.len() => " and ",
                _ => ", ",
            };
            write!(f, "{separator}{input}")?;
        }
        Ok(())
    }
}
