//! The shared folder of a study's measurements on a cluster.
//!
//! | entry of `slurm/` | what it is |
//! |---|---|
//! | `batches/TOKEN.json` | the [`Batch`] of an array's tasks, written before the array is submitted |
//! | `batches/TOKEN.sh` | the array's script |
//! | `batches/TOKEN.job` | the array's job id |
//! | `parts/TASK.part` | what a task measured |
//! | `logs/TOKEN/TASK.log` | what a task printed |
//!
//! All but the logs are renamed into place. A part is one file, with a checksum, named by the measurement and its try: it may be written
//! twice, as by the two copies of a task whose node was only cut off, and counts once.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::SlurmError;
use crate::bounded;
use crate::exec::{Measured, Task, cloud_net_name, gallery_name};
use crate::measurement::Outcome;
use crate::store;

/// What the tasks of an array measure, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// By which the array is recognised in the queue.
    pub token: String,
    /// With what.
    pub setting: Setting,
    /// What: the array's task i measures the i-th.
    pub tasks: Vec<Task>,
}

/// What a worker needs to know besides its task; paths are absolute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The study's fingerprint: a worker that finds other files than the search did refuses.
    pub study: String,
    /// The budget.
    pub budget: PathBuf,
    /// Images, in place of the space's.
    pub data: Option<PathBuf>,
    /// Weights, in place of the space's.
    pub weights: Option<PathBuf>,
    /// What trains, as `--device` takes it.
    pub device: String,
    /// CPU threads.
    pub threads: usize,
    /// The folder of studies, in which features are.
    pub results: PathBuf,
    /// What cached features may take on disk, bytes.
    pub feature_cache: Option<u64>,
    /// A node's own folder for features.
    pub scratch: Option<PathBuf>,
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

/// A batch that was written, and the array that it went out as, where that is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    pub(super) batch: Batch,
    pub(super) job: Option<u64>,
}

/// The head of a part.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    task: Task,
    outcome: Outcome,
    seconds: f64,
    host: String,
    files: Vec<Attached>,
}

/// A file that follows the head.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attached {
    name: String,
    bytes: u64,
    blake3: String,
}

impl Folder {
    /// The folder in that of a study.
    pub fn of(study: &Path) -> Self {
        Self { root: study.join("slurm") }
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub(super) fn batches(&self) -> PathBuf {
        self.root.join("batches")
    }

    fn parts(&self) -> PathBuf {
        self.root.join("parts")
    }

    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.parts().join(format!("{name}.part"))
    }

    pub(super) fn create(&self) -> Result<(), SlurmError> {
        self.refuse_links()?;
        for folder in [self.logs(), self.batches(), self.parts()] {
            fs::create_dir_all(&folder).map_err(SlurmError::io("create", &folder))?;
        }
        Ok(())
    }

    /// A batch's own folder of logs, whose name nobody can have foreseen.
    pub(super) fn create_logs(&self, token: &str) -> Result<PathBuf, SlurmError> {
        let folder = self.logs().join(token);
        fs::create_dir(&folder).map_err(SlurmError::io("create", &folder))?;
        Ok(folder)
    }

    /// Refuses a folder that leads elsewhere: a study may come from others.
    fn refuse_links(&self) -> Result<(), SlurmError> {
        for folder in [self.root.clone(), self.logs(), self.batches(), self.parts()] {
            match fs::symlink_metadata(&folder) {
                Ok(metadata) if !metadata.is_dir() => {
                    let reason = "it is a link or a file where a folder is expected; remove it";
                    let error = io::Error::new(io::ErrorKind::InvalidInput, reason);
                    return Err(SlurmError::io("use", &folder)(error));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(SlurmError::io("read", &folder)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether something may be out.
    pub fn has_batches(&self) -> bool {
        entries(&self.batches()).is_ok_and(|entries| !entries.is_empty())
    }

    /// Writes a batch, from which its array's tasks learn what to measure.
    pub(super) fn save(&self, batch: &Batch) -> Result<PathBuf, SlurmError> {
        let path = self.batches().join(format!("{}.json", batch.token));
        let bytes = serde_json::to_vec(batch).map_err(|error| SlurmError::io("write", &path)(error.into()))?;
        replace(&path, &bytes).map_err(SlurmError::io("write", &path))?;
        Ok(path)
    }

    /// Writes an array's script. It is a file and no pipe: `sbatch` may end without reading a pipe to its end.
    pub(super) fn save_script(&self, token: &str, script: &str) -> Result<PathBuf, SlurmError> {
        let path = self.batches().join(format!("{token}.sh"));
        replace(&path, script.as_bytes()).map_err(SlurmError::io("write", &path))?;
        Ok(path)
    }

    /// Remembers as which job a batch went out.
    pub(super) fn save_job(&self, token: &str, job: u64) -> Result<(), SlurmError> {
        let path = self.batches().join(format!("{token}.job"));
        replace(&path, job.to_string().as_bytes()).map_err(SlurmError::io("write", &path))
    }

    /// Forgets a batch.
    pub(super) fn forget(&self, token: &str) {
        for ending in ["json", "sh", "job"] {
            // One that stays is looked at in vain.
            let _ = fs::remove_file(self.batches().join(format!("{token}.{ending}")));
        }
        // Goes where nothing was printed.
        let _ = fs::remove_dir(self.logs().join(token));
    }

    /// Every batch that went out, or was about to.
    pub(super) fn sent(&self) -> Result<Vec<Sent>, SlurmError> {
        self.refuse_links()?;
        let mut all = Vec::new();
        for path in entries(&self.batches())? {
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            match Batch::read(&path) {
                Ok(batch) => all.push(Sent { batch, job: job(&path.with_extension("job")) }),
                // The driver was done with it just now.
                Err(SlurmError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        all.sort_by(|a, b| a.batch.token.cmp(&b.batch.token));
        Ok(all)
    }

    /// Names of the measurements of which there are parts.
    pub(super) fn names(&self) -> Result<Vec<String>, SlurmError> {
        let name = |path: PathBuf| {
            let is_part = path.extension().is_some_and(|ending| ending == "part");
            is_part.then(|| path.file_stem().map(|name| name.to_string_lossy().into_owned())).flatten()
        };
        Ok(entries(&self.parts())?.into_iter().filter_map(name).collect())
    }

    /// How many of the measurements that there are parts of were made at once, on average: the seconds that they took by the time in
    /// which they did, as the shared disk's clock has it. One where there are none.
    pub(super) fn beside(&self, study: &str) -> Result<f64, SlurmError> {
        let (mut total, mut first, mut last) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        for name in self.names()? {
            // One that can't be read is found out when it is taken.
            if let Some((seconds, end)) = times(&self.part(&name), &salt(study)) {
                total += seconds;
                first = f64::min(first, end - seconds);
                last = f64::max(last, end);
            }
        }
        Ok(if last > first { f64::max(total / (last - first), 1.0) } else { 1.0 })
    }

    /// Writes what `host` measured.
    ///
    /// # Errors
    /// [`SlurmError::Io`].
    pub fn write_part(&self, study: &str, task: &Task, measured: &Measured, host: &str) -> Result<(), SlurmError> {
        let path = self.part(&task.name());
        let attached = |(name, bytes): &(String, Vec<u8>)| Attached {
            name: name.clone(),
            bytes: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        };
        let head = Head {
            task: task.clone(),
            outcome: measured.outcome.clone(),
            seconds: measured.seconds,
            host: host.to_owned(),
            files: measured.files.iter().map(attached).collect(),
        };
        let mut bytes = store::seal(&path, &salt(study), &head).map_err(SlurmError::Store)?;
        measured.files.iter().for_each(|(_, file)| bytes.extend_from_slice(file));
        replace(&path, &bytes).map_err(SlurmError::io("write", &path))
    }

    /// What was measured of `task`: `None` where there is no part, or one that is damaged or another's, which is removed.
    ///
    /// # Errors
    /// [`SlurmError::Io`].
    pub fn take_part(&self, study: &str, task: &Task) -> Result<Option<Measured>, SlurmError> {
        let path = self.part(&task.name());
        let bytes = match store::read_file(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SlurmError::io("read", &path)(error)),
        };
        let found = unpack(&salt(study), task, &bytes);
        if found.is_none() {
            self.remove_part(task);
        }
        Ok(found)
    }

    /// Removes a part whose measurement is in the journal.
    pub(super) fn remove_part(&self, task: &Task) {
        // One that stays is not asked for again.
        let _ = fs::remove_file(self.part(&task.name()));
    }

    /// Removes everything but the logs: of a study that needs no more measurements.
    pub fn tidy(&self) {
        if self.refuse_links().is_err() {
            return;
        }
        for folder in [self.batches(), self.parts()] {
            // What stays is in nobody's way.
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// The last line that a task printed.
    pub(super) fn last_words(&self, token: &str, index: u32) -> (PathBuf, String) {
        let path = self.logs().join(token).join(format!("{index}.log"));
        let text = end_of(&path).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed nothing");
        let last: String = last.chars().filter(|c| !c.is_control()).take(500).collect();
        (path, last)
    }
}

impl Batch {
    /// Reads one.
    ///
    /// # Errors
    /// [`SlurmError::Io`] and [`SlurmError::Batch`].
    pub fn read(path: &Path) -> Result<Self, SlurmError> {
        let bytes = store::read_file(path).map_err(SlurmError::io("read", path))?;
        let batch: Self = serde_json::from_slice(&bytes)
            .map_err(|source| SlurmError::Batch { path: path.to_owned(), problem: source.to_string() })?;
        let token = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        if token.as_deref() != Some(batch.token.as_str()) {
            let problem = format!("it is of {}", batch.token);
            return Err(SlurmError::Batch { path: path.to_owned(), problem });
        }
        Ok(batch)
    }
}

/// The last few kilobytes of a file that others write.
fn end_of(path: &Path) -> io::Result<String> {
    const BYTES: u64 = 1 << 14;
    bounded::refuse_irregular(path)?;
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(BYTES)))?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Seconds that a part's measurement took, and when it was written, in seconds since 1970.
fn times(path: &Path, salt: &str) -> Option<(f64, f64)> {
    const LONGEST_HEAD: u64 = 1 << 20;
    bounded::refuse_irregular(path).ok()?;
    let file = fs::File::open(path).ok()?;
    let written = file.metadata().ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    let mut line = Vec::new();
    BufReader::new(file.take(LONGEST_HEAD)).read_until(b'\n', &mut line).ok()?;
    let head: Head = serde_json::from_slice(store::unseal(salt, line.trim_ascii_end())?).ok()?;
    (head.seconds.is_finite() && head.seconds >= 0.0).then_some((head.seconds, written))
}

fn salt(study: &str) -> String {
    format!("privynet part {study}")
}

fn unpack(salt: &str, task: &Task, bytes: &[u8]) -> Option<Measured> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let head: Head = serde_json::from_slice(store::unseal(salt, &bytes[..end])?).ok()?;
    let (id, Task { fidelity, seed, .. }) = (task.design.id(), task);
    let own = [gallery_name(&id, *fidelity, *seed), cloud_net_name(&id, *fidelity, *seed)];
    let foreign = head.files.iter().any(|file| !own.contains(&file.name));
    if head.task != *task || foreign || !(head.seconds.is_finite() && head.seconds >= 0.0) {
        return None;
    }
    let mut rest = &bytes[end + 1..];
    let mut files = Vec::new();
    for Attached { name, bytes, blake3 } in head.files {
        let (file, after) = rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        if blake3::hash(file).to_hex().as_str() != blake3 {
            return None;
        }
        files.push((name, file.to_vec()));
        rest = after;
    }
    rest.is_empty().then_some(Measured { outcome: head.outcome, seconds: head.seconds, files })
}

fn job(path: &Path) -> Option<u64> {
    String::from_utf8(store::read_file(path).ok()?).ok()?.trim().parse().ok()
}

/// The entries of a folder; none where there is no folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, SlurmError> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(SlurmError::io("read", folder)(error)),
    }
}

/// Puts a file in place in one step. Its temporary name is this process's own: two may write the same file.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unique = format!("{}-{:08x}", std::process::id(), unique_bits());
    let temporary = path.with_extension(format!("{unique}.tmp"));
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), store::sync_folder)
    };
    let result = write();
    if result.is_err() {
        // Best effort: the error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Bits that no other process has, whichever machine it runs on.
pub(super) fn unique_bits() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // Seeded by the system, anew for each.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
