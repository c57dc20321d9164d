//! What a running study does, in a small file in its folder: for `privynet watch`, also on another machine that shares the
//! folder.
//!
//! The journal holds what ended; this file says what runs. It is replaced as a whole, so that a reader never meets half of
//! it, and goes when the run ends. A process that was killed leaves it behind: it is then too old to be believed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::interrupt;
use super::progress::{Running, State};
use crate::bounded;
use crate::plain;
use crate::store::host;
use crate::verify::MetricBound;

/// The file in the study's folder.
const FILE: &str = "live.json";

/// Most bytes of it that are read.
const MOST_BYTES: u64 = 1 << 20;

/// How often it is written.
const BEAT: Duration = Duration::from_secs(1);

/// Seconds after which a file that does not change is no sign of life.
const STALE: u64 = 60;

/// What a running study does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Live {
    pub(super) process: u32,
    pub(super) host: String,
    /// When it was written, seconds since 1970-01-01 UTC by the clock of its machine.
    pub(super) updated: u64,
    /// Measurements foreseen, the verification's included; 0 before the first begins.
    pub(super) planned: usize,
    /// Measurements that are done, those of earlier runs and other studies included.
    pub(super) done: usize,
    /// What is done before, between and after measurements.
    pub(super) stage: String,
    pub(super) running: Vec<Running>,
    pub(super) seconds_left: Option<f64>,
    pub(super) bounds: Vec<MetricBound>,
}

impl Live {
    /// What is said in the study's folder `dir`, whenever it was; `None` where nothing is, or nothing that can be read.
    pub(super) fn read(dir: &Path) -> Option<Self> {
        let path = dir.join(FILE);
        bounded::refuse_irregular(&path).ok()?;
        let mut value = serde_json::from_slice(&bounded::read(&path, MOST_BYTES).ok()?).ok()?;
        plain::clean(&mut value);
        serde_json::from_value(value).ok()
    }

    /// Whether the process can be alive: by this machine's clock, and by its process table where it is the same machine.
    pub(super) fn is_believable(&self) -> bool {
        let gone = self.host == host()
            && Path::new("/proc/self").exists()
            && !Path::new("/proc").join(self.process.to_string()).exists();
        !gone && now().abs_diff(self.updated) < STALE
    }

    fn of(state: &State, bounds: &[MetricBound]) -> Self {
        Self {
            process: std::process::id(),
            host: host(),
            updated: now(),
            planned: state.planned,
            done: state.recovered + state.fresh,
            stage: state.stage.clone(),
            running: state.running.values().cloned().collect(),
            seconds_left: state.left(),
            bounds: bounds.to_vec(),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Writes the file every second until it is dropped.
pub(super) struct Heart {
    path: PathBuf,
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    pub(super) fn start(dir: &Path, bounds: Vec<MetricBound>, state: Arc<Mutex<State>>) -> Self {
        let path = dir.join(FILE);
        interrupt::sign_of_life(&path);
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (file, end) = (path.clone(), Arc::clone(&ended));
        let beat = move || {
            let (is_over, changed) = &*end;
            loop {
                let live = Live::of(&state.lock().unwrap_or_else(PoisonError::into_inner), &bounds);
                // A study does not fail because nobody can be told how far it is.
                let _ = write(&file, &live);
                let guard = is_over.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = changed.wait_timeout_while(guard, BEAT, |over| !*over);
                if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                    return;
                }
            }
        };
        Self { path, ended, thread: std::thread::Builder::new().name("live".to_owned()).spawn(beat).ok() }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // A leftover is too old to be believed in a minute.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn write(path: &Path, live: &Live) -> std::io::Result<()> {
    let temporary = path.with_extension("json.tmp");
    bounded::create(&temporary)?.write_all(&serde_json::to_vec(live)?)?;
    std::fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_in_a_study_are_neither_read_nor_written_through() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        std::fs::write(&outside, b"precious").unwrap();
        let study = folder.path().join("study");
        std::fs::create_dir(&study).unwrap();
        symlink(&outside, study.join("live.json.tmp")).unwrap();
        symlink("/dev/zero", study.join(FILE)).unwrap();
        assert_eq!(Live::read(&study), None);
        let state = Arc::new(Mutex::new(super::super::progress::state_for_tests()));
        write(&study.join(FILE), &Live::of(&state.lock().unwrap(), &[])).unwrap();
        assert!(Live::read(&study).is_some());
        assert_eq!(std::fs::read(&outside).unwrap(), b"precious");
    }

    #[test]
    fn a_file_of_a_dead_process_or_of_long_ago_is_not_believed() {
        let state = Arc::new(Mutex::new(super::super::progress::state_for_tests()));
        let folder = tempfile::tempdir().unwrap();
        let heart = Heart::start(folder.path(), Vec::new(), Arc::clone(&state));
        let live = loop {
            if let Some(live) = Live::read(folder.path()) {
                break live;
            }
            std::thread::yield_now();
        };
        assert!(live.is_believable());
        drop(heart);
        assert_eq!(Live::read(folder.path()), None, "it goes with the run");
        assert!(!Live { updated: live.updated - 2 * STALE, ..live.clone() }.is_believable());
        let elsewhere = Live { host: "elsewhere".to_owned(), process: u32::MAX, ..live.clone() };
        assert!(elsewhere.is_believable(), "another machine's processes are not known");
        if Path::new("/proc/self").exists() {
            assert!(!Live { process: u32::MAX, ..live }.is_believable());
        }
    }
}
