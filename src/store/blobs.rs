//! Side files of a study.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::sums::Sums;
use super::{StoreError, files, sealed};

const FOLDER: &str = "blobs";
const MAX_NAME: usize = 128;

/// Where a side file of that name belongs.
pub(super) fn path_of(dir: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let temporary = name.ends_with(&files::temporary_name(""));
    if name.is_empty() || name.len() > MAX_NAME || name.starts_with('.') || temporary || !name.bytes().all(allowed) {
        return Err(StoreError::BlobName { name: name.chars().take(2 * MAX_NAME).collect() });
    }
    Ok(dir.join(FOLDER).join(name))
}

/// Stores a side file of the study in `dir`, whose journal holds `kept` records.
pub(super) fn save(dir: &Path, name: &str, bytes: &[u8], kept: u64) -> Result<(), StoreError> {
    let path = path_of(dir, name)?;
    make_folder(dir).and_then(|()| files::replace(&path, bytes)).map_err(StoreError::writing(&path, kept))
}

/// A side file of the study in `dir`, `None` if there is none of that name.
pub(super) fn load(dir: &Path, name: &str, sums: &Sums) -> Result<Option<Vec<u8>>, StoreError> {
    let path = path_of(dir, name)?;
    let bytes = read(dir, &path)?;
    match (&bytes, sums.of_file(name)) {
        (Some(bytes), Some(sum)) if sealed::checksum(bytes) != sum => Err(StoreError::DamagedBlob {
            path,
            reason: "its checksum is not the journal's",
            remedy: "restore it from a backup, or remove it: the figures stand without it",
        }),
        _ => Ok(bytes),
    }
}

/// A side file that [`Study::save_object`](super::Study::save_object) wrote, of an object whose first field is `first`.
pub(super) fn load_object(
    dir: &Path,
    name: &str,
    first: &str,
    remedy: &'static str,
) -> Result<Option<Vec<u8>>, StoreError> {
    let path = path_of(dir, name)?;
    let bytes = read(dir, &path)?;
    match bytes.as_deref().and_then(|bytes| sealed::flaw(bytes, first)) {
        Some(reason) => Err(StoreError::DamagedBlob { path, reason, remedy }),
        None => Ok(bytes),
    }
}

fn read(dir: &Path, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    let read = || {
        if !is_folder(&dir.join(FOLDER))? || !files::exists(path)? {
            return Ok(None);
        }
        files::read(path).map(Some)
    };
    read().map_err(StoreError::reading(path))
}

fn make_folder(dir: &Path) -> io::Result<()> {
    let folder = dir.join(FOLDER);
    if !is_folder(&folder)? {
        fs::create_dir(&folder)?;
        files::sync_folder(dir)?;
    }
    Ok(())
}

/// Whether the folder is there; an error if something else is there in its place.
fn is_folder(folder: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(true),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "the study's folder for side files is a link or a file; remove it",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
