//! `privynet status`: how a study is doing, and what it has out on a cluster. Asks and reads alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::live::Live;
use super::{AppError, Output, exit, interrupt, read_study};
use crate::cli::StatusArgs;
use crate::config::SlurmEntry;
use crate::exec::ExecError;
use crate::exec::slurm::{Queue, SlurmCommands, State, Survey, survey};
use crate::measurement::{Fidelity, Outcome};
use crate::record::Record;
use crate::store::{Event, StudyReader};
use crate::units::Duration;

/// Failures that are printed one by one.
const MOST_FAILURES: usize = 5;

/// A study at one moment.
struct Status {
    name: String,
    /// By which commands call it: a study may be renamed.
    folder: String,
    live: Option<Live>,
    record: Option<Record>,
    /// Measurements that are in the journal, by fidelity.
    done: BTreeMap<Fidelity, usize>,
    /// Tries that failed, with their reasons.
    failures: Vec<(String, String)>,
    survey: Survey,
}

pub(super) fn run(args: &StatusArgs, output: Output) -> Result<u8, AppError> {
    let dir = read_study::folder(&args.study, &args.folders)?;
    let live = Live::read(&dir).filter(Live::is_believable);
    let reader = StudyReader::open(&dir)?;
    let record = if live.is_some() { None } else { read_study::conclusion(&dir) };
    let commands = SlurmCommands::new(&SlurmEntry::default(), interrupt::flag()).ok();
    let queue = commands.as_ref().map(|commands| commands as &dyn Queue);
    let survey = survey(&dir, queue).map_err(ExecError::Slurm)?;
    let mut status = Status {
        name: reader.header().name.clone(),
        folder: read_study::folder_name(&dir),
        live,
        record,
        done: BTreeMap::new(),
        failures: Vec::new(),
        survey,
    };
    for event in reader.events() {
        let Event::Evaluation(evaluation) = event else { continue };
        match &evaluation.outcome {
            Outcome::Done(_) => *status.done.entry(evaluation.fidelity).or_default() += 1,
            Outcome::Failed { reason, kind, .. } => {
                let what = format!("{} ({}, seed {})", evaluation.design, evaluation.fidelity, evaluation.seed);
                status.failures.push((what, format!("{kind}: {reason}")));
            }
        }
    }
    output.summary("study_status", || status.json(), || status.text());
    Ok(exit::DONE)
}

impl Status {
    fn state(&self) -> &'static str {
        match (&self.live, &self.record) {
            (Some(_), _) => "running",
            (None, Some(_)) => "concluded",
            (None, None) if self.survey.count(State::is_alive) > 0 => "detached",
            // Whose jobs may go on.
            (None, None) if self.survey.silence.is_some() && self.survey.tasks.iter().any(|task| !task.measured) => {
                "unknown"
            }
            (None, None) => "stopped",
        }
    }

    fn nodes(&self) -> BTreeSet<&str> {
        let rows = self.survey.tasks.iter().filter_map(|task| task.row.as_ref());
        rows.filter(|row| row.state == State::Running && !row.node.is_empty()).map(|row| row.node.as_str()).collect()
    }

    /// Tasks whose result is there but not in the journal.
    fn waiting(&self) -> usize {
        self.survey.tasks.iter().filter(|task| task.measured).count()
    }

    /// Tasks by state, those whose results are there left out.
    fn states(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for task in self.survey.tasks.iter().filter(|task| !task.measured) {
            let state = match (&task.row, &self.survey.silence) {
                // Why it waits; that others are before it is no news.
                (Some(row), _)
                    if row.state == State::Pending && !matches!(row.reason.as_str(), "" | "None" | "Priority") =>
                {
                    format!("{} ({})", row.state, row.reason)
                }
                (Some(row), _) => row.state.to_string(),
                (None, Some(_)) => "in a state that is not known".to_owned(),
                (None, None) => "not in the queue".to_owned(),
            };
            *counts.entry(state).or_default() += 1;
        }
        counts
    }

    fn json(&self) -> Value {
        let done: BTreeMap<String, usize> = self.done.iter().map(|(f, n)| (f.to_string(), *n)).collect();
        let failures: Vec<Value> =
            self.failures.iter().map(|(what, why)| json!({"measurement": what, "reason": why})).collect();
        json!({
            "study": self.name,
            "state": self.state(),
            "status": self.record.as_ref().map(|record| record.status),
            "done": done,
            "planned": self.live.as_ref().map(|live| live.planned),
            "failures": failures,
            "tasks": self.states(),
            "waiting": self.waiting(),
            "nodes": self.nodes(),
            "queue": self.survey.silence,
            "seconds_left": self.live.as_ref().and_then(|live| live.seconds_left),
        })
    }

    fn text(&self) -> String {
        let mut lines = vec![match self.state() {
            "running" => {
                let live = self.live.as_ref();
                let on = live.map(|live| format!(" by process {} on {}", live.process, live.host)).unwrap_or_default();
                format!("{}: running{on}", self.folder)
            }
            "concluded" => format!("{}: concluded, `privynet show {}` prints it", self.folder, self.folder),
            "detached" => {
                format!("{}: nobody drives it, its jobs go on; the same `optimize` picks them up", self.folder)
            }
            "unknown" => format!("{}: nobody drives it here; whether its jobs go on isn't known", self.folder),
            _ => format!("{}: stopped; the same `optimize` resumes", self.folder),
        }];
        let done: usize = self.done.values().sum();
        let kinds: Vec<String> = self.done.iter().map(|(fidelity, count)| format!("{count} {fidelity}")).collect();
        let planned = self.live.as_ref().filter(|live| live.planned > 0);
        let of = planned.map(|live| format!(" of {}", live.planned)).unwrap_or_default();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        lines.push(format!("measured: {done}{of}{kinds}"));
        if let Some(left) = self.live.as_ref().and_then(|live| live.seconds_left) {
            lines.push(format!("left: about {}", Duration(left)));
        }
        if !self.survey.tasks.is_empty() {
            let mut states: Vec<String> =
                self.states().iter().map(|(state, count)| format!("{count} {state}")).collect();
            if self.waiting() > 0 {
                states.push(format!("{} measured and not in the journal yet", self.waiting()));
            }
            let nodes: Vec<&str> = self.nodes().into_iter().collect();
            let nodes = if nodes.is_empty() { String::new() } else { format!("; running on {}", nodes.join(", ")) };
            lines.push(format!("cluster: {}{nodes}", states.join(", ")));
        }
        if let Some(silence) = &self.survey.silence {
            lines.push(format!("the queue does not answer: {silence}"));
        }
        if !self.failures.is_empty() {
            lines.push(format!("failed tries: {}", self.failures.len()));
            let last = self.failures.len().saturating_sub(MOST_FAILURES);
            lines.extend(self.failures[last..].iter().map(|(what, why)| format!("  {what}: {why}")));
        }
        lines.join("\n")
    }
}
