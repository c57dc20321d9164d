//! Where a study's measurements run: here, or on a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::AppError;
use crate::cli::{ExecutorArg, OptimizeArgs};
use crate::config::{BudgetFile, SlurmEntry};
use crate::exec::ExecError;
use crate::exec::slurm::{Folder, GRACE, Options, Setting, SlurmCommands, SlurmWorkers};

/// The cluster that flags and budget ask for; `None` where measurements run here.
///
/// # Errors
/// [`AppError::Flag`] for flags that contradict each other.
pub(super) fn chosen(args: &OptimizeArgs, budget: &BudgetFile) -> Result<Option<SlurmEntry>, AppError> {
    let entry = match args.executor {
        Some(ExecutorArg::Local) => None,
        Some(ExecutorArg::Slurm) => Some(budget.executor.slurm.clone().unwrap_or_default()),
        None => budget.executor.slurm.clone(),
    };
    if args.detach && entry.is_none() {
        let problem =
            "there is nothing to leave running where measurements run here: add `--executor slurm`".to_owned();
        return Err(AppError::Flag { flag: "detach", value: String::new(), problem });
    }
    Ok(entry)
}

/// Refuses to measure here what may be out on a cluster, or measured there already.
///
/// # Errors
/// [`AppError::Study`].
pub(super) fn refuse_what_is_out(dir: &Path) -> Result<(), AppError> {
    if !Folder::of(dir).has_batches() {
        return Ok(());
    }
    let problem = "measurements of this study are out on a cluster, or were when its driver was killed: `--executor slurm` picks them up; to give \
                   them up, cancel its jobs and remove `slurm` in the study's folder";
    Err(AppError::Study { path: dir.to_owned(), problem: problem.to_owned() })
}

/// The workers on its nodes, for the study in `dir`.
///
/// # Errors
/// [`ExecError::Slurm`] where there is no Slurm, [`AppError::Study`] where a path can't be made absolute.
pub(super) fn workers(
    args: &OptimizeArgs,
    budget: &BudgetFile,
    entry: &SlurmEntry,
    dir: &Path,
    study: String,
) -> Result<SlurmWorkers<SlurmCommands>, AppError> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|error| AppError::Study { path: path.to_owned(), problem: error.to_string() })
    };
    let given = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
    let setting = Setting {
        study,
        budget: absolute(&args.budget)?,
        data: given(&args.assets.data)?,
        weights: given(&args.assets.weights)?,
        device: args.machine.device.clone(),
        threads: entry.cpus as usize,
        results: absolute(&args.folders.results)?,
        feature_cache: args.resources.feature_cache.map(|bytes| bytes.0),
        scratch: entry.scratch.clone(),
    };
    let program = std::env::current_exe().map_err(|error| {
        let problem = format!("where this program is can't be found out: {error}");
        AppError::Study { path: dir.to_owned(), problem }
    })?;
    let options = Options {
        program,
        name: format!("privynet-{}", budget.name),
        resubmissions: entry.resubmissions,
        poll: Duration::from_secs_f64(entry.poll_seconds),
        grace: GRACE,
        detach: args.detach,
    };
    let queue = SlurmCommands::new(entry).map_err(ExecError::Slurm)?;
    Ok(SlurmWorkers::new(queue, Folder::of(&absolute(dir)?), setting, options))
}
