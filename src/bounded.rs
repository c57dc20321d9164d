//! Reading files that others wrote, never more than is said, whatever the file's length is said to be, since devices and pipes have none;
//! and writing in folders that others filled, never through a link.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// The whole of a file of at most `most` bytes.
///
/// # Errors
/// The system's, and [`FileTooLarge`](io::ErrorKind::FileTooLarge).
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let expected = file.metadata()?.len();
    if expected > most {
        return Err(too_large(&format!("{expected} bytes are"), most));
    }
    let mut bytes = Vec::with_capacity(expected as usize);
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large("it is", most));
    }
    Ok(bytes)
}

fn too_large(found: &str, most: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("{found} more than the {most} bytes that are taken"))
}

/// Refuses an entry that is there but is a link, a folder or a device: of files that a study or a package is made of, which come from
/// others with their folder.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput), and the system's.
pub(crate) fn refuse_irregular(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a link, a folder or a device where a file is expected; remove it",
        )),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A new file of this name. What had the name before goes, and stays what it is where it was a link to something else.
///
/// # Errors
/// The system's.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_not_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [outside, link] = ["outside", "link"].map(|name| folder.path().join(name));
        fs::write(&outside, b"precious").unwrap();
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        io::Write::write_all(&mut create(&link).unwrap(), b"ours").unwrap();
        assert_eq!((fs::read(&outside).unwrap(), fs::read(&link).unwrap()), (b"precious".to_vec(), b"ours".to_vec()));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_an_end_is_not_read_to_it() {
        let error = read(Path::new("/dev/zero"), 1000).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it is more than the 1000 bytes that are taken");
        assert!(refuse_irregular(Path::new("/dev/zero")).is_err());
    }
}
