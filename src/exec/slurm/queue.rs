//! What the cluster's commands are asked, and what they answer.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::SlurmError;
use crate::config::SlurmEntry;
use crate::units::Bytes;

/// State of a task, by the names that `squeue` prints. Names that are not known here are kept, and count as alive: a task is sent out
/// again only when it is certain that it ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It waits: queued, held or requeued.
    Pending,
    /// It runs, or is about to begin or to end.
    Running,
    /// Its command ended with 0.
    Completed,
    /// Its command ended otherwise.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// It took longer than its time.
    TimedOut,
    /// It took more than its memory.
    OutOfMemory,
    /// Its node is gone, did not start, or was needed for something else.
    NodeLost(String),
    /// It is in the queue, but waits for an administrator: the scheduler holds what it could not start on a node.
    Stuck,
    /// Anything else.
    Unknown(String),
}

impl State {
    pub(super) fn parse(name: &str) -> Self {
        // `CANCELLED by 0`, in some outputs.
        match name.split_whitespace().next().unwrap_or_default() {
            "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" => Self::Pending,
            "RUNNING" | "CONFIGURING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "RESIZING" | "SIGNALING"
            | "STAGE_OUT" => Self::Running,
            "COMPLETED" => Self::Completed,
            "FAILED" => Self::Failed,
            "CANCELLED" | "REVOKED" => Self::Cancelled,
            "TIMEOUT" | "DEADLINE" => Self::TimedOut,
            "OUT_OF_MEMORY" => Self::OutOfMemory,
            lost @ ("NODE_FAIL" | "BOOT_FAIL" | "PREEMPTED" | "LAUNCH_FAILED") => Self::NodeLost(lost.to_owned()),
            other => Self::Unknown(other.to_owned()),
        }
    }

    /// Whether it may still bring a result.
    pub fn is_alive(&self) -> bool {
        matches!(self, Self::Pending | Self::Running | Self::Unknown(_))
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed out",
            Self::OutOfMemory => "out of memory",
            Self::Stuck => "held after a failed start",
            Self::NodeLost(name) | Self::Unknown(name) => return f.pad(&name.to_ascii_lowercase().replace('_', " ")),
        })
    }
}

/// A task of an array, as the controller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Id of the array.
    pub job: u64,
    /// The task's place in it.
    pub index: u32,
    /// State.
    pub state: State,
    /// Why it waits, or how it ended.
    pub reason: String,
    /// `CODE:SIGNAL` of its command.
    pub exit_code: String,
    /// How often the scheduler started it anew.
    pub restarts: u32,
    /// Where it runs or ran; empty while it waits.
    pub node: String,
    /// The comment that it was submitted with.
    pub token: String,
}

impl Row {
    /// Whether it waits for something else than its turn.
    pub(super) fn is_held_up(&self) -> bool {
        // `BeginTime`: a node was lost, and the scheduler lets two minutes pass.
        const TURN: [&str; 6] = ["", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Dependency"];
        matches!(self.state, State::Pending | State::Stuck) && !TURN.contains(&self.reason.as_str())
    }
}

/// An array to be submitted.
#[derive(Debug, Clone, Copy)]
pub struct Array<'a> {
    /// Its name in the queue.
    pub name: &'a str,
    /// By which it is recognised: job ids alone may be given twice by a controller that lost its memory.
    pub token: &'a str,
    /// Tasks, numbered from 0.
    pub tasks: usize,
    /// Nodes to keep away from.
    pub avoid: &'a [String],
    /// Where its output goes.
    pub logs: &'a Path,
    /// The file of its script.
    pub script: &'a Path,
}

/// Why the cluster did not do what it was asked.
#[derive(Debug)]
pub enum Refusal {
    /// It can't be reached at the moment.
    Away(String),
    /// It won't.
    Refused(String),
}

/// A cluster's queue.
pub trait Queue: Sync {
    /// Submits an array and returns its job id.
    ///
    /// # Errors
    /// [`Refusal`]; after [`Refusal::Away`] it may have been submitted all the same.
    fn submit(&self, array: &Array<'_>) -> Result<u64, Refusal>;

    /// All tasks of this user that the controller remembers.
    ///
    /// # Errors
    /// [`Refusal`].
    fn rows(&self) -> Result<Vec<Row>, Refusal>;

    /// Cancels arrays, named by their job ids, and tasks, named `JOB_INDEX`; those that ended already are left as they are.
    ///
    /// # Errors
    /// [`Refusal`].
    fn cancel(&self, jobs: &[String]) -> Result<(), Refusal>;
}

/// Slurm's own commands.
#[derive(Debug, Clone)]
pub struct SlurmCommands {
    entry: SlurmEntry,
}

/// Columns of `squeue -O`, in the order of a [`Row`]'s fields.
const COLUMNS: &str =
    "ArrayJobID:|,ArrayTaskID:|,JobID:|,State:|,Reason:|,exit_code:|,RestartCnt:|,NodeList:|,Comment:|";

impl SlurmCommands {
    /// For arrays as `entry` describes them.
    ///
    /// # Errors
    /// [`SlurmError::NoCommand`] where there is no Slurm.
    pub fn new(entry: &SlurmEntry) -> Result<Self, SlurmError> {
        for command in ["sbatch", "squeue", "scancel"] {
            if find(command).is_none() {
                return Err(SlurmError::NoCommand { command });
            }
        }
        Ok(Self { entry: entry.clone() })
    }

    /// Asks whether the controller would take an array of one task. Submits nothing.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn rehearse(&self) -> Result<(), Refusal> {
        let nowhere = Path::new(".");
        let array = Array {
            name: "privynet-check",
            token: "privynet-check",
            tasks: 1,
            avoid: &[],
            logs: nowhere,
            script: nowhere,
        };
        let mut command = Command::new("sbatch");
        command.arg("--test-only").args(self.flags(&array)).arg("--wrap=true");
        ask(command).map(|_| ())
    }

    /// All that `sbatch` is told, but for the script.
    fn flags(&self, array: &Array<'_>) -> Vec<OsString> {
        let SlurmEntry { partition, account, qos, constraint, gpus, cpus, memory, time, array_limit, .. } = &self.entry;
        let last = array.tasks.saturating_sub(1);
        let limit = array_limit.map(|limit| format!("%{limit}")).unwrap_or_default();
        let mut flags: Vec<OsString> = [
            "--parsable".to_owned(),
            // Other tasks of the array go on, and a lost node's task begins again by itself.
            "--requeue".to_owned(),
            "--open-mode=append".to_owned(),
            "--kill-on-invalid-dep=yes".to_owned(),
            format!("--job-name={}", array.name),
            format!("--comment={}", array.token),
            format!("--array=0-{last}{limit}"),
            "--ntasks=1".to_owned(),
            format!("--cpus-per-task={cpus}"),
        ]
        .map(OsString::from)
        .into();
        let mut named = |flag: &str, value: Option<String>| {
            flags.extend(value.map(|value| OsString::from(format!("--{flag}={value}"))));
        };
        named("partition", partition.clone());
        named("account", account.clone());
        named("qos", qos.clone());
        named("constraint", constraint.clone());
        named("time", time.as_ref().map(ToString::to_string));
        // In MiB, rounded up.
        named("mem", memory.map(|Bytes(bytes)| format!("{}M", bytes.div_ceil(1 << 20))));
        named("gres", (*gpus > 0).then(|| format!("gpu:{gpus}")));
        named("exclude", (!array.avoid.is_empty()).then(|| array.avoid.join(",")));
        // A `%` of the path itself is written twice.
        let logs = array.logs.to_string_lossy().replace('%', "%%");
        flags.push(OsString::from(format!("--output={logs}/%a.log")));
        flags
    }
}

impl Queue for SlurmCommands {
    fn submit(&self, array: &Array<'_>) -> Result<u64, Refusal> {
        let mut command = Command::new("sbatch");
        command.args(self.flags(array)).arg(array.script);
        let answer = ask(command)?;
        // `ID`, or `ID;CLUSTER`.
        let id = answer.trim().split(';').next().and_then(|id| id.parse().ok());
        id.ok_or_else(|| Refusal::Away(format!("sbatch answered {:?}, which is no job id", answer.trim())))
    }

    fn rows(&self) -> Result<Vec<Row>, Refusal> {
        let mut command = Command::new("squeue");
        command.args(["--me", "-h", "-r", "-t", "all", "-O", COLUMNS]);
        Ok(ask(command)?.lines().filter_map(row).collect())
    }

    fn cancel(&self, jobs: &[String]) -> Result<(), Refusal> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut command = Command::new("scancel");
        command.args(jobs);
        ask(command).map(|_| ())
    }
}

/// One line of `squeue`; `None` for what is no task of an array.
fn row(line: &str) -> Option<Row> {
    let mut fields = line.split('|').map(str::trim);
    let mut next = || fields.next();
    let (job, index) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let _ = next()?;
    let mut state = State::parse(next()?);
    let [reason, exit_code, restarts, node, token] = [next()?, next()?, next()?, next()?, next()?];
    let text = |text: &str| if matches!(text, "(null)" | "N/A" | "None") { String::new() } else { text.to_owned() };
    // `launch failed requeued held`, with underscores in some versions.
    let held = reason.replace('_', " ");
    if state == State::Pending && (held.contains("requeued held") || held.contains("JobHoldMaxRequeue")) {
        state = State::Stuck;
    }
    Some(Row {
        job,
        index,
        state,
        reason: text(reason),
        exit_code: text(exit_code),
        restarts: restarts.parse().unwrap_or(0),
        node: text(node),
        token: text(token),
    })
}

/// Longest that a command may take: a controller that is unreachable is one that is away.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a command to its end.
fn ask(mut command: Command) -> Result<String, Refusal> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = run(&mut command).map_err(|error| Refusal::Away(format!("{name} can't be run: {error}")))?;
    let Some((status, stdout, stderr)) = output else {
        return Err(Refusal::Away(format!("{name} did not end in {} s", PATIENCE.as_secs())));
    };
    if status.success() {
        return Ok(stdout);
    }
    let said = stderr.trim().replace('\n', "; ");
    let said = if said.is_empty() { format!("{name} ended with {status}") } else { said };
    match status.code().is_none() || is_passing(&said) {
        true => Err(Refusal::Away(said)),
        false => Err(Refusal::Refused(said)),
    }
}

/// Status, output and errors of a command; `None` where it took too long.
fn run(command: &mut Command) -> io::Result<Option<(ExitStatus, String, String)>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
        if start.elapsed() > PATIENCE {
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
fn is_passing(said: &str) -> bool {
    const PASSING: [&str; 16] = [
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
    ];
    PASSING.iter().any(|part| said.contains(part)) || said.contains("munge") || said.contains("backup controller")
}

/// Where a command of that name is.
fn find(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(command)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Time;

    #[test]
    fn lines_of_squeue_are_read_and_others_left_out() {
        let line = "12|3|15|RUNNING|None|0:0|2|node2|privynet-ab|";
        let expected = Row {
            job: 12,
            index: 3,
            state: State::Running,
            reason: String::new(),
            exit_code: "0:0".to_owned(),
            restarts: 2,
            node: "node2".to_owned(),
            token: "privynet-ab".to_owned(),
        };
        assert_eq!(row(line), Some(expected));
        let pending = row("12|4|16|PENDING|BeginTime|0:0|0||(null)|").unwrap();
        assert_eq!(
            (&pending.state, pending.reason.as_str(), pending.token.as_str()),
            (&State::Pending, "BeginTime", "")
        );
        let held = row("12|4|16|PENDING|launch failed requeued held|0:0|1||privynet-ab|").unwrap();
        assert_eq!((held.state.is_alive(), &held.state), (false, &State::Stuck));
        assert!(!pending.is_held_up() && held.is_held_up());
        for (reason, is_held_up) in [("Resources", false), ("PartitionTimeLimit", true), ("JobHeldUser", true)] {
            let row = row(&format!("12|4|16|PENDING|{reason}|0:0|0||privynet-ab|")).unwrap();
            assert_eq!(row.is_held_up(), is_held_up, "{reason}");
        }
        for other in ["", "12|N/A|12|RUNNING|None|0:0|0|node1|x|", "slurm_load_jobs error", "12|3"] {
            assert_eq!(row(other), None, "{other}");
        }
    }

    #[test]
    fn states_that_nobody_knows_are_kept_and_count_as_alive() {
        let odd = State::parse("TELEPORTING");
        assert!(odd.is_alive());
        assert_eq!(odd.to_string(), "teleporting");
        assert_eq!(State::parse("CANCELLED by 1000"), State::Cancelled);
        for (name, alive) in [("PENDING", true), ("COMPLETING", true), ("NODE_FAIL", false), ("OUT_OF_MEMORY", false)] {
            assert_eq!(State::parse(name).is_alive(), alive, "{name}");
        }
    }

    #[test]
    fn an_array_asks_for_what_the_budget_says() {
        let entry = SlurmEntry {
            partition: Some("gpu".to_owned()),
            gpus: 1,
            cpus: 4,
            memory: Some(Bytes(1_500_000_000)),
            time: Some(Time::Text("2:00:00".to_owned())),
            array_limit: Some(8),
            ..SlurmEntry::default()
        };
        let array = Array {
            name: "privynet-a",
            token: "privynet-ab",
            tasks: 20,
            avoid: &["node7".to_owned()],
            logs: Path::new("/shared/a b %"),
            script: Path::new("/shared/a.sh"),
        };
        let flags: Vec<String> =
            SlurmCommands { entry }.flags(&array).iter().map(|flag| flag.to_string_lossy().into_owned()).collect();
        for flag in [
            "--array=0-19%8",
            "--comment=privynet-ab",
            "--partition=gpu",
            "--gres=gpu:1",
            "--cpus-per-task=4",
            "--mem=1431M",
            "--time=2:00:00",
            "--exclude=node7",
            "--output=/shared/a b %%/%a.log",
            "--requeue",
        ] {
            assert!(flags.iter().any(|found| found == flag), "{flag} of {flags:?}");
        }
        assert!(!flags.iter().any(|flag| flag.starts_with("--account")), "{flags:?}");
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
