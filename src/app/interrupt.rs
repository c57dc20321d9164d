//! Ctrl-C and SIGTERM: the first ends the running measurement, the second ends the program at once.
//!
//! Work looks at the [`flag`] where it can stop cleanly. Some has no such place for seconds (a large matrix is factorised), so what
//! has not stopped after [`PATIENCE`] is abandoned: whatever was finished is on disk at every moment, nothing is lost but what
//! runs. Only the last words are still to be said: [`farewell`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{AppError, exit, failure};
use crate::estimate::EstimateError;
use crate::exec::ExecError;

/// How long the program waits for work to stop by itself.
const PATIENCE: Duration = Duration::from_millis(1400);

/// How much longer where jobs on a cluster are to be cancelled, whose controller may be slow.
const CLUSTER: Duration = Duration::from_secs(10);

/// And then for the last words of those who listen, and for its own: with both, the program has ended two seconds after the signal.
const FAREWELL: Duration = Duration::from_millis(300);
const TELLING: Duration = Duration::from_millis(150);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

static ENDING: Mutex<Ending> = Mutex::new(Ending {
    json: false,
    study: false,
    cluster: None,
    abandoned: false,
    listening: 0,
    signs_of_life: Vec::new(),
});

/// When it changes.
static CHANGED: Condvar = Condvar::new();

/// How the program ends if it is interrupted.
struct Ending {
    /// Whether programs listen.
    json: bool,
    /// Whether a study keeps what was finished.
    study: bool,
    /// Where jobs are out on a cluster that work takes back first: how it ends where it doesn't get to that.
    cluster: Option<OnCluster>,
    /// Whether the program is about to end.
    abandoned: bool,
    /// How many have last words to say.
    listening: usize,
    /// Files that say that the program runs.
    signs_of_life: Vec<PathBuf>,
}

fn ending() -> MutexGuard<'static, Ending> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the end is told.
pub(super) fn tell(json: bool) {
    ending().json = json;
}

/// Installs the handler; where the system refuses, an interrupt ends the program as it would without it.
pub(super) fn install() {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
        // Not here: the second signal must find the handler free. Without a thread work ends in its own time.
        let _ = std::thread::Builder::new().name("interrupt".to_owned()).spawn(abandon);
    };
    // An error means that a handler is installed already (a second command in one process).
    let _ = ctrlc::set_handler(handler);
}

/// As [`install`], where a study keeps what was finished.
pub(super) fn install_for_study() {
    ending().study = true;
    install();
}

/// The file says that the program runs: it goes with it.
pub(super) fn sign_of_life(file: &Path) {
    ending().signs_of_life.push(file.to_owned());
}

/// Jobs on a cluster.
struct OnCluster {
    /// Their name.
    name: String,
    /// Whether they are to stay.
    detach: bool,
}

impl OnCluster {
    fn error(&self) -> ExecError {
        match self.detach {
            true => ExecError::LeftOut,
            false => {
                let said = "it did not answer in time".to_owned();
                ExecError::NotCancelled { said, name: self.name.clone() }
            }
        }
    }
}

/// From here on work gets time to have the jobs of this `name` on a cluster cancelled, unless they are to stay.
pub(super) fn leave_time(name: &str, detach: bool) {
    ending().cluster = Some(OnCluster { name: name.to_owned(), detach });
}

/// The flag that the handler sets.
pub(super) fn flag() -> &'static AtomicBool {
    &INTERRUPTED
}

/// Whether the user asked to stop.
pub(super) fn requested() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Does `work`; should the program have to end meanwhile, `last_words` are said.
pub(super) fn farewell<R>(last_words: impl FnOnce() + Send, work: impl FnOnce() -> R) -> R {
    /// Ends the wait, however the work ended.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            // Under the lock, so that the one who waits can't miss it.
            let _held = ending();
            self.0.store(true, Ordering::SeqCst);
            CHANGED.notify_all();
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        ending().listening += 1;
        scope.spawn(|| {
            let until = |ending: &mut Ending| !ending.abandoned && !done.load(Ordering::SeqCst);
            let ending = CHANGED.wait_while(ending(), until).unwrap_or_else(PoisonError::into_inner);
            let abandoned = ending.abandoned;
            drop(ending);
            if abandoned {
                last_words();
            }
            self::ending().listening -= 1;
            CHANGED.notify_all();
        });
        let _done = Done(&done);
        work()
    })
}

/// Ends the program if it doesn't end by itself.
fn abandon() {
    std::thread::sleep(PATIENCE);
    let mut ending = ending();
    if ending.cluster.is_some() {
        drop(ending);
        std::thread::sleep(CLUSTER);
        ending = self::ending();
    }
    ending.abandoned = true;
    CHANGED.notify_all();
    let waited = CHANGED.wait_timeout_while(ending, FAREWELL, |ending| ending.listening > 0);
    let (ending, _) = waited.unwrap_or_else(PoisonError::into_inner);
    let error: AppError = match &ending.cluster {
        Some(jobs) => jobs.error().into(),
        None if ending.study => ExecError::Interrupted.into(),
        None => EstimateError::Interrupted.into(),
    };
    // A terminal that takes nothing (Ctrl-S) must not keep the program from its end.
    let json = ending.json;
    let (said, heard) = std::sync::mpsc::channel();
    let told = std::thread::Builder::new().name("last words".to_owned()).spawn(move || {
        failure::report(&error, json);
        said.send(())
    });
    if told.is_ok() {
        let _ = heard.recv_timeout(TELLING);
    }
    for file in &ending.signs_of_life {
        // One that stays is soon too old to be believed.
        let _ = std::fs::remove_file(file);
    }
    std::process::exit(i32::from(exit::INTERRUPTED));
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};

    use super::*;

    const CHILD: &str = "app::interrupt::tests::works_without_looking_at_the_flag";
    const CHILD_FILE: &str = "PRIVYNET_TEST_FAREWELL";

    /// Not a test by itself: the process that the next test interrupts.
    #[test]
    #[ignore = "started by work_that_does_not_stop_is_abandoned_after_its_last_words"]
    fn works_without_looking_at_the_flag() {
        let Ok(file) = std::env::var(CHILD_FILE) else {
            return;
        };
        install_for_study();
        let sign = Path::new(&file).with_extension("alive");
        std::fs::write(&sign, "").unwrap();
        sign_of_life(&sign);
        farewell(
            || std::fs::write(&file, "farewell").unwrap(),
            || {
                println!("\nworking");
                std::thread::sleep(Duration::from_secs(60));
            },
        );
    }

    /// Starts the test `name` as a process of its own and interrupts it once it works; what it said, if heard, and its exit code.
    fn interrupted(name: &str, file: &Path, stderr: Stdio) -> (String, Option<i32>) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env(CHILD_FILE, file)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "working"));
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut said).unwrap();
        }
        (said, child.wait().unwrap().code())
    }

    #[test]
    fn work_that_does_not_stop_is_abandoned_after_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("last-words");
        let (said, code) = interrupted(CHILD, &file, Stdio::piped());
        // Had it slept to its end, it would have ended well.
        assert_eq!(code, Some(i32::from(exit::INTERRUPTED)), "{said}");
        assert!(said.contains("every finished measurement is kept"), "{said}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "farewell");
        assert!(!file.with_extension("alive").exists());
    }

    /// Not a test by itself: the process that the next test interrupts.
    #[test]
    #[ignore = "started by a_terminal_that_takes_nothing_keeps_no_program_from_its_end"]
    fn holds_standard_error() {
        if std::env::var_os(CHILD_FILE).is_none() {
            return;
        }
        install_for_study();
        // As a thread does that writes to a terminal after Ctrl-S.
        let _held = std::io::stderr().lock();
        println!("\nworking");
        std::thread::sleep(Duration::from_secs(60));
    }

    #[test]
    fn a_terminal_that_takes_nothing_keeps_no_program_from_its_end() {
        let (_, code) = interrupted("app::interrupt::tests::holds_standard_error", Path::new(""), Stdio::null());
        assert_eq!(code, Some(i32::from(exit::INTERRUPTED)));
    }

    #[test]
    fn work_that_ends_is_not_waited_for() {
        assert_eq!(farewell(|| panic!("nobody interrupts"), || 7), 7);
        let caught = std::panic::catch_unwind(|| farewell(|| panic!("nobody interrupts"), || panic!("work fails")));
        assert!(caught.is_err());
        assert_eq!(ending().listening, 0);
    }
}
