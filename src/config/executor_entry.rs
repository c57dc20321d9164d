//! The `executor` of a budget: where measurements run, and what becomes of those that fail.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::units::Bytes;

/// Where measurements run. No figure depends on it, so it is no part of a study's identity.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "keys and values such as {retries: 2, slurm: {partition: gpu}}")]
pub struct ExecutorEntry {
    /// How often a measurement that failed is tried again.
    #[schemars(range(max = 100))]
    pub retries: u32,
    /// Minutes that a measurement may take; what takes longer has failed.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1e6))]
    pub minutes: Option<f64>,
    /// Measurements go to the nodes of a Slurm cluster.
    pub slurm: Option<SlurmEntry>,
}

impl Default for ExecutorEntry {
    fn default() -> Self {
        Self { retries: 2, minutes: None, slurm: None }
    }
}

/// What a measurement asks of a Slurm cluster, in the words of `sbatch`. Whatever else a site needs, `sbatch` takes from its own
/// environment variables (`SBATCH_RESERVATION` and the like).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "keys and values such as {partition: gpu, gpus: 1, time: 30}")]
pub struct SlurmEntry {
    /// The partition; the site's default where absent.
    pub partition: Option<String>,
    /// The account that is charged.
    pub account: Option<String>,
    /// The quality of service.
    pub qos: Option<String>,
    /// Features that a node must have.
    pub constraint: Option<String>,
    /// GPUs of a measurement: 0, or 1 with `--device cuda`.
    #[schemars(range(max = 64))]
    pub gpus: u32,
    /// Cores of a measurement.
    #[schemars(range(min = 1, max = 1024))]
    pub cpus: u32,
    /// Memory of a measurement; the site's default where absent.
    pub memory: Option<Bytes>,
    /// Time of a measurement, as Slurm writes it (minutes, or `2:00:00`); the partition's default where absent.
    pub time: Option<Time>,
    /// Measurements that run at once.
    #[schemars(range(min = 1))]
    pub array_limit: Option<u32>,
    /// How often a measurement is sent out again that a node lost, the scheduler preempted or somebody cancelled.
    #[schemars(range(max = 100))]
    pub resubmissions: u32,
    /// Seconds between two looks at the queue.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 86400))]
    pub poll_seconds: f64,
    /// A folder of each node's own, by its whole path, where features are computed once and shared by its measurements; it is made
    /// where the folder above it is there. Without it those in the shared folder of studies are read.
    pub scratch: Option<PathBuf>,
}

impl Default for SlurmEntry {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            qos: None,
            constraint: None,
            gpus: 0,
            cpus: 1,
            memory: None,
            time: None,
            array_limit: None,
            resubmissions: 5,
            poll_seconds: 5.0,
            scratch: None,
        }
    }
}

/// A time as Slurm writes it: a number of minutes, or a text.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Time {
    /// Minutes.
    Minutes(u32),
    /// `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM` or `D-HH:MM:SS`.
    Text(String),
}

impl Time {
    /// Seconds; `None` for a time that Slurm takes as none, and for what isn't one.
    pub fn seconds(&self) -> Option<f64> {
        let text = self.to_string();
        let (days, rest) = text.split_once('-').map_or((None, text.as_str()), |(days, rest)| (Some(days), rest));
        let numbers: Option<Vec<f64>> = rest.split(':').map(|number| number.parse().ok()).collect();
        let seconds = match (days, numbers?.as_slice()) {
            (None, &[minutes]) => 60.0 * minutes,
            (None, &[minutes, seconds]) => 60.0 * minutes + seconds,
            (None, &[hours, minutes, seconds]) => 3600.0 * hours + 60.0 * minutes + seconds,
            (Some(days), clock @ ([_] | [_, _] | [_, _, _])) => {
                let clock: f64 = clock.iter().zip([3600.0, 60.0, 1.0]).map(|(number, unit)| number * unit).sum();
                86_400.0 * days.parse::<f64>().ok()? + clock
            }
            _ => return None,
        };
        (seconds > 0.0).then_some(seconds)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Minutes(minutes) => write!(f, "{minutes}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A mistake in the entry: its field, the value and what is accepted.
type Problem = (&'static str, String, &'static str);

impl ExecutorEntry {
    pub(super) fn problem(&self) -> Option<Problem> {
        if self.retries > 100 {
            return Some(("executor.retries", self.retries.to_string(), "must be at most 100"));
        }
        if let Some(minutes) = self.minutes.filter(|minutes| !(*minutes > 0.0 && *minutes <= 1e6)) {
            return Some((
                "executor.minutes",
                minutes.to_string(),
                "must be above 0 and at most 1000000, for example 30",
            ));
        }
        self.slurm.as_ref()?.problem()
    }
}

impl SlurmEntry {
    fn problem(&self) -> Option<Problem> {
        // They become arguments of `sbatch`, never of a shell.
        let names = [
            ("executor.slurm.partition", &self.partition),
            ("executor.slurm.account", &self.account),
            ("executor.slurm.qos", &self.qos),
            ("executor.slurm.constraint", &self.constraint),
        ];
        for (field, name) in names {
            if let Some(name) = name
                && (name.is_empty() || name.len() > 200 || name.chars().any(|c| c.is_control() || c.is_whitespace()))
            {
                return Some((field, name.clone(), "must be a name as `sbatch` takes it, without spaces"));
            }
        }
        if let Some(Time::Text(time)) = &self.time
            && (time.is_empty() || time.len() > 20 || !time.chars().all(|c| c.is_ascii_digit() || c == ':' || c == '-'))
        {
            let accepted = "must be minutes, or a time such as `2:00:00` or `1-12:00`";
            return Some(("executor.slurm.time", time.clone(), accepted));
        }
        let bounded = [
            ("executor.slurm.gpus", self.gpus, self.gpus <= 64, "must be at most 64"),
            ("executor.slurm.cpus", self.cpus, (1..=1024).contains(&self.cpus), "must be between 1 and 1024"),
            ("executor.slurm.resubmissions", self.resubmissions, self.resubmissions <= 100, "must be at most 100"),
            (
                "executor.slurm.array_limit",
                self.array_limit.unwrap_or_default(),
                self.array_limit != Some(0),
                "must be at least 1",
            ),
        ];
        if let Some((field, value, _, accepted)) = bounded.into_iter().find(|&(_, _, right, _)| !right) {
            return Some((field, value.to_string(), accepted));
        }
        if !(self.poll_seconds > 0.0 && self.poll_seconds <= 86_400.0) {
            let accepted = "must be above 0 and at most 86400";
            return Some(("executor.slurm.poll_seconds", self.poll_seconds.to_string(), accepted));
        }
        if let Some(scratch) = &self.scratch
            && (!scratch.is_absolute() || scratch.to_string_lossy().contains('$'))
        {
            let accepted =
                "must be a folder's whole path on every node, such as /local/privynet; variables are not replaced";
            return Some(("executor.slurm.scratch", scratch.display().to_string(), accepted));
        }
        None
    }
}

/// A budget's text without its `executor`, by which studies are told apart: one that moves to a cluster stays the same.
pub(super) fn without_executor(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut inside, mut found) = (false, false);
    // Comments at the margin: of the block where more of it follows, else of what comes next.
    let mut comments = String::new();
    for line in text.split_inclusive('\n') {
        let key = line.split(':').next().unwrap_or_default().trim_end().trim_matches(['"', '\'']);
        let begins = line.contains(':') && key == "executor";
        let indented = line.starts_with([' ', '\t']) || line.trim().is_empty();
        if inside && line.starts_with('#') {
            comments.push_str(line);
            continue;
        }
        inside = begins || inside && indented;
        found |= begins;
        if inside {
            if !line.trim().is_empty() {
                comments.clear();
            }
            continue;
        }
        kept.push_str(&std::mem::take(&mut comments));
        kept.push_str(line);
    }
    kept.push_str(&comments);
    if found {
        // The lines between it and what stood before it.
        kept.truncate(kept.trim_end().len());
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_study_that_moves_to_a_cluster_stays_the_same() {
        let plain = "space: a.yaml\nseed: 1\n\nprivacy: {ssim: 0.5}\n";
        let block = "executor:\n  slurm:\n    partition: gpu\n\n    gpus: 1\n";
        for text in [
            format!("{plain}\n{block}"),
            format!("{block}\n{plain}"),
            plain.replace("privacy", &format!("{block}\nprivacy")),
            format!("{plain}executor: {{slurm: {{}}}}\n"),
            format!("{plain}executor:\n  slurm:\n# nodes\n    partition: gpu\n"),
            format!("\"executor\" :\n  retries: 1\n{plain}"),
        ] {
            assert_eq!(without_executor(&text), plain, "{text}");
        }
        assert_eq!(without_executor(plain), plain);
        // As it always was, where there is none.
        assert_eq!(without_executor("space: a\n\n"), "space: a\n\n");
    }

    #[test]
    fn times_are_read_as_slurm_reads_them() {
        let text = |text: &str| Time::Text(text.to_owned()).seconds();
        assert_eq!((Time::Minutes(90).seconds(), Time::Minutes(0).seconds()), (Some(5400.0), None));
        let expected = [
            ("90", Some(5400.0)),
            ("1:30", Some(90.0)),
            ("2:00:01", Some(7201.0)),
            ("1-12", Some(129_600.0)),
            ("1-0:30", Some(88_200.0)),
            ("0-0:0:7", Some(7.0)),
            ("", None),
            ("1:2:3:4", None),
            ("-1", None),
        ];
        for (time, seconds) in expected {
            assert_eq!(text(time), seconds, "{time}");
        }
    }

    #[test]
    fn mistakes_name_field_and_remedy() {
        let problem = |text: &str| {
            let entry: ExecutorEntry = serde_json::from_str(text).unwrap();
            entry.problem().map(|(field, value, accepted)| format!("{field}: {value}: {accepted}"))
        };
        for (text, expected) in [
            (r#"{"retries": 101}"#, "executor.retries: 101: must be at most 100"),
            (r#"{"minutes": 0}"#, "executor.minutes: 0: must be above 0"),
            (r#"{"minutes": 1e30}"#, "executor.minutes: 1000000000000000000000000000000: must be above 0 and at most"),
            (r#"{"slurm": {"poll_seconds": 1e20}}"#, "executor.slurm.poll_seconds: 100000000000000000000: must be"),
            (r#"{"slurm": {"partition": "a b"}}"#, "executor.slurm.partition: a b: must be a name"),
            (r#"{"slurm": {"time": "soon"}}"#, "executor.slurm.time: soon: must be minutes"),
            (r#"{"slurm": {"cpus": 0}}"#, "executor.slurm.cpus: 0: must be between"),
            (r#"{"slurm": {"array_limit": 0}}"#, "executor.slurm.array_limit: 0: must be at least 1"),
            (r#"{"slurm": {"scratch": "local"}}"#, "executor.slurm.scratch: local: must be a folder's whole path"),
            (r#"{"slurm": {"scratch": "/scratch/$USER"}}"#, "executor.slurm.scratch: /scratch/$USER: must be"),
            (r#"{"slurm": {"poll_seconds": 0}}"#, "executor.slurm.poll_seconds: 0: must be"),
        ] {
            let found = problem(text).unwrap_or_default();
            assert!(found.starts_with(expected), "{text}: {found}");
        }
        assert_eq!(problem(r#"{"slurm": {"time": "1-12:00", "memory": "4 GiB", "gpus": 1}}"#), None);
        assert_eq!(problem(r#"{"slurm": {"time": 90}}"#), None);
    }
}
