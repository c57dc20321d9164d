//! A look at a study, also while another process writes it.

use std::path::{Path, PathBuf};

use super::sums::Sums;
use super::{Event, HEADER_FILE, Header, JOURNAL_FILE, Recovered, StoreError, blobs, journal};

/// A study opened for reading, as it was at that moment. Takes no lock and changes nothing.
#[derive(Debug)]
pub struct StudyReader {
    dir: PathBuf,
    header: Header,
    recovered: Recovered,
    sums: Sums,
}

impl StudyReader {
    /// Reads the study in `dir`. A last line that is still being written is left out without a warning.
    ///
    /// # Errors
    /// [`StoreError::NoStudy`] if there is none; else as [`Study::open`](super::Study::open), but for the lock.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let Some(header) = Header::read(&dir.join(HEADER_FILE))? else {
            return Err(StoreError::NoStudy { dir: dir.to_path_buf() });
        };
        let (events, torn) = journal::read(&dir.join(JOURNAL_FILE), &header.fingerprint())?;
        let warnings = torn.into_iter().chain(header.other_tool()).collect();
        let sums = Sums::of(&events);
        let recovered = Recovered { events, warnings };
        Ok(StudyReader { dir: dir.to_path_buf(), header, recovered, sums })
    }

    /// The study's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The study's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its events, oldest first.
    pub fn events(&self) -> &[Event] {
        &self.recovered.events
    }

    /// Its events and warnings, to keep.
    pub fn into_recovered(self) -> Recovered {
        self.recovered
    }

    /// A side file, `None` if there is none of that name.
    ///
    /// # Errors
    /// [`StoreError::BlobName`] for a bad name, [`StoreError::Read`] if the system refuses, [`StoreError::DamagedBlob`] if it is
    /// not what the journal says.
    pub fn load_blob(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        blobs::load(&self.dir, name, &self.sums)
    }

    /// The bytes of an object that [`Study::save_object`](super::Study::save_object) wrote, whose first field is `first`; `remedy`
    /// is what a person is told to do where it is damaged.
    ///
    /// # Errors
    /// As [`load_blob`](Self::load_blob).
    pub fn load_object(&self, name: &str, first: &str, remedy: &'static str) -> Result<Option<Vec<u8>>, StoreError> {
        blobs::load_object(&self.dir, name, first, remedy)
    }
}
