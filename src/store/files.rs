//! Files that are whole or not there, and never outside their folder.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::bounded;
pub(super) use crate::bounded::refuse_irregular;

/// No header, journal or side file of ours comes near this size: 4 GiB.
const MAX_BYTES: u64 = 1 << 32;

/// Whether there is an entry of that name, if only a dangling link.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The whole of a regular file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_up_to(path, MAX_BYTES)
}

/// The whole of a regular file of at most `most` bytes.
pub(super) fn read_up_to(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    refuse_irregular(path)?;
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    if size > most {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{size} bytes are more than the {most} that such a file of a study may have"),
        ));
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // A writer may append meanwhile: what it adds is left for the next read.
    file.take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The name under which a file is written before it is renamed to `name`. One writer at a time holds the folder's lock.
pub(super) fn temporary_name(name: &str) -> String {
    format!("{name}.tmp")
}

/// Puts a file of these bytes at `path`, in one step for every reader and across a power cut.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(temporary_name(&name));
    let result = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // Best effort: the error above is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    result?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes and syncs a file, never through a link of that name.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = bounded::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes renames in a folder survive a power cut.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Elsewhere folders cannot be synced; a rename is journalled by the file system.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        replace(&path, b"first").unwrap();
        fs::write(dir.path().join("a.json.tmp"), b"left by a dead process").unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_neither_read_nor_written_through() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, b"precious").unwrap();
        let link = dir.path().join("link");
        symlink(&outside, &link).unwrap();
        assert_eq!(read(&link).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        symlink(&outside, dir.path().join("new.tmp")).unwrap();
        replace(&dir.path().join("new"), b"ours").unwrap();
        replace(&link, b"ours").unwrap();
        assert_eq!(fs::read(&outside).unwrap(), b"precious");
        assert!(exists(&link).unwrap() && !exists(&dir.path().join("none")).unwrap());
    }
}
