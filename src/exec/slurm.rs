//! Measurements on the nodes of a Slurm cluster.
//!
//! A round's measurements go out as a job array whose tasks run `privynet worker`, the same function as on one machine. What they
//! measure comes back through the study's folder, which all machines share, as one file each; a measurement is done when it is in
//! the journal, and only then. The queue is asked what became of those of which no file comes.
//!
//! # Invariants
//! - A measurement counts once, however many copies of it run: results are named by measurement and try.
//! - A batch is on disk before it goes out, so a driver that died and is started again finds what is out, by the token in each job's
//!   comment *and* its job id; it sends out nothing twice that may still bring a result.
//! - Nothing is concluded from a controller that does not answer.
//! - No accounting database is needed: what the controller has forgotten and no file was written of goes out again.

mod cancel;
mod command;
mod driver;
mod folder;
mod queue;
mod survey;
#[cfg(test)]
mod tests;
mod tracker;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{ExecError, Pending, Round, Workers};
use crate::store::StoreError;

pub use folder::{Batch, Folder, Setting};
pub use queue::{Array, Queue, Refusal, Row, SlurmCommands, State};
pub use survey::{Survey, TaskStatus, survey};
pub use tracker::GRACE;

use driver::Driver;

/// Tasks of an array at most: what a controller accepts that nobody configured (`MaxArraySize`) is a thousand and one.
const LARGEST_ARRAY: usize = 1000;

/// How long the driver sleeps between two looks at the folder and at the user's wishes.
const NAP: Duration = Duration::from_millis(100);

/// Why a cluster can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// Slurm is not installed here.
    #[error(
        "`{command}` is not there: start the study where jobs can be submitted, or measure here with `--executor local`"
    )]
    NoCommand {
        /// The command.
        command: &'static str,
    },
    /// The cluster does not take the jobs.
    #[error("the cluster refuses: {said}; correct `executor.slurm` in the budget")]
    Refused {
        /// What it said.
        said: String,
    },
    /// The command of a task fails wherever it runs.
    #[error(
        "the worker fails on the cluster's nodes, lastly on {node}: {last} (more in {}); program, images, weights and the study's folder \
         must be there as they are here", log.display()
    )]
    Worker {
        /// Where.
        node: String,
        /// What it printed last.
        last: String,
        /// All that it printed.
        log: PathBuf,
    },
    /// A file of the shared folder.
    #[error("cannot {action} `{}`: check permissions and the space on its disk", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A batch that can't be read.
    #[error("`{}` is no batch of measurements: {problem}; remove it, its measurements go out again", path.display())]
    Batch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A part that can't be written.
    #[error(transparent)]
    Store(StoreError),
}

impl SlurmError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// The nodes of a cluster.
pub struct SlurmWorkers<Q> {
    queue: Q,
    folder: Folder,
    setting: Setting,
    options: Options,
    /// Whether an array was ever accepted: what is refused later will pass.
    accepted: AtomicBool,
}

/// How the driver deals with the cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program that nodes run.
    pub program: PathBuf,
    /// Name of the jobs.
    pub name: String,
    /// How often a measurement goes out again that ended without a result.
    pub resubmissions: u32,
    /// Between two looks at the queue.
    pub poll: Duration,
    /// How long a result may be on its way after its task ended.
    pub grace: Duration,
    /// Seconds that the cluster gives a task, where that is known.
    pub seconds: Option<f64>,
    /// Whether an interrupt leaves what is queued and running.
    pub detach: bool,
}

impl<Q: Queue> SlurmWorkers<Q> {
    /// Measures through `queue`, with the study's own `folder` shared by all nodes.
    pub fn new(queue: Q, folder: Folder, setting: Setting, options: Options) -> Self {
        Self { queue, folder, setting, options, accepted: AtomicBool::new(false) }
    }
}

impl<Q: Queue> Workers for SlurmWorkers<Q> {
    fn run(&self, round: &Round<'_>) -> Result<(), ExecError> {
        self.folder.create()?;
        Driver::new(self, round)?.drive()
    }

    fn has_begun(&self, pending: &[Pending<'_>]) -> bool {
        // One that can't be read is spoken of where it is needed.
        let sent = self.folder.sent().unwrap_or_default();
        let mut tasks = sent.iter().flat_map(|sent| &sent.batch.tasks);
        tasks.any(|task| pending.iter().any(|pending| pending.task == *task))
    }

    fn finish(&self) {
        let sent = self.folder.sent().unwrap_or_default();
        let tokens: BTreeSet<String> = sent.into_iter().map(|sent| sent.batch.token).collect();
        // The study has its answer: jobs that the cluster keeps cost time alone.
        if !tokens.is_empty() {
            let _ = cancel::cancel(&self.queue, &tokens);
        }
        self.folder.tidy();
    }
}
