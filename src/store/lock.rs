//! One writer at a time, by a lock that the system releases when its process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::StoreError;
use super::files;

/// Most that is read of what a holder wrote about itself.
const MAX_HOLDER_BYTES: u64 = 200;

/// How long a lock that is held is tried for.
const PATIENCE: Duration = Duration::from_millis(250);

/// A held lock.
#[derive(Debug)]
pub(super) struct Lock {
    // The system releases the lock when this is closed.
    _file: File,
}

impl Lock {
    /// Takes the lock at `path` and writes into it who holds it.
    pub(super) fn acquire(path: &Path) -> Result<Self, StoreError> {
        files::refuse_irregular(path).map_err(StoreError::reading(path))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(StoreError::writing(path, 0))?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // A child that another thread is about to start holds every open file until it runs its program.
                Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => std::thread::sleep(PATIENCE / 25),
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Locked { path: path.into(), holder: holder(&mut file) });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(StoreError::Lock { path: path.into(), source });
                }
            }
        }
        // Only informs people: a full disk must not keep a study from being resumed.
        let _ = sign(&mut file);
        Ok(Lock { _file: file })
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "process {} on {}", std::process::id(), host())
}

fn holder(file: &mut File) -> String {
    let mut text = Vec::new();
    // A holder that has not signed yet, or whose signature cannot be read, is still a holder.
    let _ = file.take(MAX_HOLDER_BYTES).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text).trim().replace(char::is_control, " ");
    if text.is_empty() { "another process".to_owned() } else { text }
}

/// This machine's name.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "this machine".to_owned() } else { name.to_owned() }
}
