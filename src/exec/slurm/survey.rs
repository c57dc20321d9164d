//! How the measurements that went out are doing, for who asks without taking part.

use std::collections::HashSet;
use std::path::Path;

use super::folder::Folder;
use super::queue::{Queue, Row, State};
use super::{Refusal, SlurmError};

/// What is out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// Every task of every batch that is not done with.
    pub tasks: Vec<TaskStatus>,
    /// Why the queue could not be asked.
    pub silence: Option<String>,
}

/// One task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskStatus {
    /// Whether its result is there, and waits for the driver.
    pub measured: bool,
    /// What the queue says of it.
    pub row: Option<Row>,
}

impl Survey {
    /// Tasks whose state is accepted by `of`.
    pub fn count(&self, of: impl Fn(&State) -> bool) -> usize {
        self.tasks.iter().filter(|task| !task.measured && task.row.as_ref().is_some_and(|row| of(&row.state))).count()
    }
}

/// Looks at what the study in `dir` has out; `queue` is `None` where there is no Slurm.
///
/// # Errors
/// [`SlurmError`] where the folder can't be read.
pub fn survey(dir: &Path, queue: Option<&dyn Queue>) -> Result<Survey, SlurmError> {
    let folder = Folder::of(dir);
    let sent = folder.sent()?;
    let names: HashSet<String> = folder.names()?.into_iter().collect();
    let (rows, silence) = match queue.map(Queue::rows) {
        _ if sent.is_empty() => (Vec::new(), None),
        Some(Ok(rows)) => (rows, None),
        Some(Err(Refusal::Away(said) | Refusal::Refused(said))) => (Vec::new(), Some(said)),
        None => (Vec::new(), Some("there is no Slurm here".to_owned())),
    };
    let mut tasks = Vec::new();
    for sent in sent {
        for (index, task) in sent.batch.tasks.iter().enumerate() {
            let name = task.name();
            let of = |row: &&Row| {
                row.token == sent.batch.token && row.index == index as u32 && sent.job.is_none_or(|job| job == row.job)
            };
            let row = rows.iter().filter(of).max_by_key(|row| row.state.is_alive()).cloned();
            tasks.push(TaskStatus { measured: names.contains(&name), row });
        }
    }
    Ok(Survey { tasks, silence })
}
