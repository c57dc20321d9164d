//! Where a study's measurements run: here, or on a cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{AppError, interrupt};
use crate::cli::{ExecutorArg, OptimizeArgs};
use crate::config::{BudgetFile, SlurmEntry, Time};
use crate::exec::ExecError;
use crate::exec::slurm::{Folder, GRACE, Options, Refusal, Setting, SlurmCommands, SlurmWorkers};
use crate::nn::Device;

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
    if let Some(SlurmEntry { gpus, .. }) = entry.as_ref().filter(|entry| entry.gpus > 0)
        && args.machine.device == Device::Cpu.to_string()
    {
        let problem = format!(
            "`executor.slurm.gpus` of the budget reserves {gpus} for each measurement, which would not use it: say `--device cuda`, or \
             remove `gpus`"
        );
        return Err(AppError::Flag { flag: "device", value: args.machine.device.clone(), problem });
    }
    Ok(entry)
}

/// Name of a study's jobs.
pub(super) fn job_name(budget: &BudgetFile) -> String {
    format!("privynet-{}", budget.name)
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
        name: job_name(budget),
        resubmissions: entry.resubmissions,
        poll: Duration::from_secs_f64(entry.poll_seconds),
        grace: GRACE,
        seconds: entry.time.as_ref().and_then(Time::seconds),
        detach: args.detach,
    };
    let queue = SlurmCommands::new(entry, interrupt::flag()).map_err(ExecError::Slurm)?;
    Ok(SlurmWorkers::new(queue, Folder::of(&absolute(dir)?), setting, options))
}

/// What a cluster says of a measurement that it is not given.
pub(super) struct Rehearsal {
    /// Whether it would take one; `None` where it can't be asked.
    pub accepted: Option<bool>,
    /// What it said, or why it can't be asked.
    pub said: String,
}

/// Asks the cluster whether it would take measurements as `entry` describes them. Submits nothing.
pub(super) fn rehearse(entry: &SlurmEntry) -> Rehearsal {
    let answer = match SlurmCommands::new(entry, interrupt::flag()) {
        Ok(queue) => queue.rehearse(),
        Err(error) => Err(Refusal::Away(error.to_string())),
    };
    match answer {
        Ok(()) => Rehearsal { accepted: Some(true), said: String::new() },
        Err(Refusal::Refused(said)) => Rehearsal { accepted: Some(false), said },
        Err(Refusal::Away(said)) => Rehearsal { accepted: None, said },
    }
}

/// What a measurement asks of the cluster, in words.
pub(super) fn wishes(entry: &SlurmEntry) -> String {
    let SlurmEntry { partition, gpus, cpus, memory, time, array_limit, .. } = entry;
    let plural = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut wishes = vec![plural(*cpus, "core")];
    wishes.extend((*gpus > 0).then(|| plural(*gpus, "GPU")));
    wishes.extend(memory.map(|memory| memory.to_string()));
    wishes.extend(time.as_ref().map(|time| format!("time {time}")));
    let partition = partition.as_ref().map_or("the default partition".to_owned(), |name| format!("partition {name}"));
    let at_once = array_limit.map(|limit| format!(", at most {limit} at once")).unwrap_or_default();
    format!("{partition}; {} a measurement{at_once}", wishes.join(", "))
}
