//! What the cluster's commands are asked, and what they answer.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use super::SlurmError;
use super::command::{find, is_passing, run};
use crate::config::SlurmEntry;
use crate::units::Bytes;

/// State of a task, by the names that `squeue` prints. Names that are not known here are kept, and count as alive: a task is sent out
/// again only when it is certain that it ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It waits: queued, held or requeued.
    Pending,
    /// It runs, or is about to.
    Running,
    /// Its command ended or was ended, its node is being cleared.
    Ending,
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
            "RUNNING" | "CONFIGURING" | "SUSPENDED" | "STOPPED" | "RESIZING" | "SIGNALING" => Self::Running,
            "COMPLETING" | "STAGE_OUT" => Self::Ending,
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
        matches!(self, Self::Pending | Self::Running | Self::Ending | Self::Unknown(_))
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Ending => "ending",
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
    /// Set when the user wants to stop: then nothing is waited for as long.
    stop: &'static AtomicBool,
}

/// Columns of `squeue -O`, in the order of a [`Row`]'s fields.
const COLUMNS: &str = "ArrayJobID:|,ArrayTaskID:|,State:|,Reason:|,exit_code:|,NodeList:|,Comment:|";

/// How many they are.
const COLUMN_COUNT: usize = 7;

impl SlurmCommands {
    /// For arrays as `entry` describes them; once `stop` is set, a controller that doesn't answer is given up sooner.
    ///
    /// # Errors
    /// [`SlurmError::NoCommand`] where there is no Slurm.
    pub fn new(entry: &SlurmEntry, stop: &'static AtomicBool) -> Result<Self, SlurmError> {
        for command in ["sbatch", "squeue", "scancel"] {
            if find(command).is_none() {
                return Err(SlurmError::NoCommand { command });
            }
        }
        Ok(Self { entry: entry.clone(), stop })
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
        self.ask(command).map(|_| ())
    }

    /// Runs a command to its end.
    fn ask(&self, mut command: Command) -> Result<String, Refusal> {
        let name = command.get_program().to_string_lossy().into_owned();
        let output =
            run(&mut command, self.stop).map_err(|error| Refusal::Away(format!("{name} can't be run: {error}")))?;
        let Some((status, stdout, stderr)) = output else {
            return Err(Refusal::Away(format!("{name} did not end in time")));
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
        let answer = self.ask(command)?;
        // `ID`, or `ID;CLUSTER`.
        let id = answer.trim().split(';').next().and_then(|id| id.parse().ok());
        id.ok_or_else(|| Refusal::Away(format!("sbatch answered {:?}, which is no job id", answer.trim())))
    }

    fn rows(&self) -> Result<Vec<Row>, Refusal> {
        let mut command = Command::new("squeue");
        command.args(["--me", "-h", "-r", "-t", "all", "-O", COLUMNS]);
        rows(&self.ask(command)?)
    }

    fn cancel(&self, jobs: &[String]) -> Result<(), Refusal> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut command = Command::new("scancel");
        command.args(jobs);
        self.ask(command).map(|_| ())
    }
}

/// What `squeue` answered. Lines of ours that can't be read, or an answer of which none can, must not make tasks look gone; a site's
/// banner or another job's odd comment is passed over.
fn rows(answer: &str) -> Result<Vec<Row>, Refusal> {
    let is_odd = |line: &&str| line.split('|').count() <= COLUMN_COUNT;
    // Of several clusters each has a heading.
    let lines = || answer.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("CLUSTER:"));
    let none_is_whole = lines().all(|line| is_odd(&line));
    match lines().filter(is_odd).find(|line| none_is_whole || line.contains("privynet-")) {
        Some(odd) => Err(Refusal::Away(format!("squeue answered {odd:?}, which is no line of its table"))),
        None => Ok(lines().filter_map(row).collect()),
    }
}

/// One line of `squeue`; `None` for what is no task of an array.
fn row(line: &str) -> Option<Row> {
    let mut fields = line.split('|').map(str::trim);
    let mut next = || fields.next();
    let (job, index) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let mut state = State::parse(next()?);
    let [reason, exit_code, node, token] = [next()?, next()?, next()?, next()?];
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
        node: text(node),
        token: text(token),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Time;

    static STOP: AtomicBool = AtomicBool::new(false);

    #[test]
    fn lines_of_squeue_are_read_and_others_left_out() {
        let line = "12|3|RUNNING|None|0:0|node2|privynet-ab|";
        let expected = Row {
            job: 12,
            index: 3,
            state: State::Running,
            reason: String::new(),
            exit_code: "0:0".to_owned(),
            node: "node2".to_owned(),
            token: "privynet-ab".to_owned(),
        };
        assert_eq!(row(line), Some(expected));
        let pending = row("12|4|PENDING|BeginTime|0:0||(null)|").unwrap();
        assert_eq!(
            (&pending.state, pending.reason.as_str(), pending.token.as_str()),
            (&State::Pending, "BeginTime", "")
        );
        let held = row("12|4|PENDING|launch failed requeued held|0:0||privynet-ab|").unwrap();
        assert_eq!((held.state.is_alive(), &held.state), (false, &State::Stuck));
        assert!(!pending.is_held_up() && held.is_held_up());
        for (reason, is_held_up) in [("Resources", false), ("PartitionTimeLimit", true), ("JobHeldUser", true)] {
            let row = row(&format!("12|4|PENDING|{reason}|0:0||privynet-ab|")).unwrap();
            assert_eq!(row.is_held_up(), is_held_up, "{reason}");
        }
        let alone = "12|N/A|RUNNING|None|0:0|node1|x|";
        for other in ["", alone, "slurm_load_jobs error", "12|3"] {
            assert_eq!(row(other), None, "{other}");
        }
        let answer = format!("CLUSTER: a\n\n{line}\n{alone}\n");
        assert_eq!(rows(&answer).unwrap().len(), 1);
        assert!(rows("").unwrap().is_empty());
        // From what can't be read nothing is concluded, above all not that a task is gone.
        for odd in ["slurm_load_jobs error", "12|3|RUNNING", "12 3 RUNNING None 0:0 node2 privynet-ab"] {
            assert!(matches!(rows(odd), Err(Refusal::Away(_))), "{odd}");
            let beside = rows(&format!("{line}\n{odd}"));
            assert_eq!(beside.is_err(), odd.contains("privynet-"), "{odd}");
        }
    }

    #[test]
    fn states_that_nobody_knows_are_kept_and_count_as_alive() {
        let odd = State::parse("TELEPORTING");
        assert!(odd.is_alive());
        assert_eq!(odd.to_string(), "teleporting");
        assert_eq!(State::parse("CANCELLED by 1000"), State::Cancelled);
        for (name, alive) in
            [("PENDING", true), ("COMPLETING", true), ("RUNNING", true), ("NODE_FAIL", false), ("OUT_OF_MEMORY", false)]
        {
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
        let flags: Vec<String> = SlurmCommands { entry, stop: &STOP }
            .flags(&array)
            .iter()
            .map(|flag| flag.to_string_lossy().into_owned())
            .collect();
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
}
