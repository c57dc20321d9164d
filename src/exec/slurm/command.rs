//! Running the cluster's commands.

use std::io::{self, Read};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest that a command may take: a controller that is unreachable is one that is away.
const PATIENCE: Duration = Duration::from_secs(20);

/// The same once the user wants to stop.
const HURRY: Duration = Duration::from_secs(3);

/// Status, output and errors of a command; `None` where it took too long.
pub(super) fn run(command: &mut Command, stop: &AtomicBool) -> io::Result<Option<(ExitStatus, String, String)>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // The cluster that `sbatch` submits to is the one that the others must ask.
    if let Ok(cluster) = std::env::var("SBATCH_CLUSTERS")
        && !cluster.contains(',')
        && cluster != "all"
    {
        command.env("SLURM_CLUSTERS", cluster);
    }
    // Filters of a user's own would hide tasks.
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("SQUEUE_") {
            command.env_remove(variable);
        }
    }
    // Ctrl-C is for the driver: it decides what becomes of what was asked.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut child = command.spawn()?;
    let readers = [reader(child.stdout.take()), reader(child.stderr.take())];
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > if stop.load(Ordering::Relaxed) { HURRY } else { PATIENCE } {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let [stdout, stderr] = readers.map(|reader| reader.join().unwrap_or_default());
    Ok(Some((status, stdout, stderr)))
}

/// Reads to the end beside the one who waits, so that a long answer does not block its writer.
fn reader(from: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What was read so far is the answer.
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Whether an error is one of a controller that is down, starting or busy.
pub(super) fn is_passing(said: &str) -> bool {
    const PASSING: [&str; 20] = [
        "Unable to contact slurm controller",
        "Socket timed out",
        "Connection refused",
        "Zero Bytes were transmitted",
        "Slurm temporarily unable",
        "Resource temporarily unavailable",
        "slurm_receive_msg",
        "Slurm controller not responding",
        "Munge encode failed",
        "Munge decode failed",
        "try again",
        "Protocol authentication error",
        "Unexpected message received",
        "Message receive failure",
        "Communication connection failure",
        "Could not establish a configuration source",
        "Connection timed out",
        "Connection reset by peer",
        "Network is unreachable",
        "Header lengths are longer than data received",
    ];
    PASSING.iter().any(|part| said.contains(part)) || said.contains("munge") || said.contains("backup controller")
}

/// Where a command of that name is.
pub(super) fn find(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(command)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_command_that_hangs_is_given_up_soon_once_the_user_stops() {
        static STOP: AtomicBool = AtomicBool::new(false);
        static STOPPED: AtomicBool = AtomicBool::new(true);
        let start = Instant::now();
        assert!(run(Command::new("sleep").arg("60"), &STOPPED).unwrap().is_none());
        assert!(start.elapsed() < PATIENCE, "as if nobody were in a hurry");
        let (status, said, _) = run(Command::new("echo").arg("here"), &STOP).unwrap().unwrap();
        assert!(status.success() && said == "here\n", "{said}");
    }

    #[test]
    fn a_controller_that_is_down_is_waited_for() {
        assert!(is_passing(
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
        ));
        assert!(is_passing("slurm_load_jobs error: Unable to contact slurm controller (connect failure)"));
        assert!(!is_passing("sbatch: error: invalid partition specified: gpus"));
    }
}
