//! `privynet worker`: one measurement of a batch, on a node of a cluster.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::json;

use super::progress::Style;
use super::{AppError, Output, exit, interrupt, optimize, setup};
use crate::cli::{AssetArgs, WorkerArgs};
use crate::config::BudgetFile;
use crate::estimate::{Laboratory, Watch};
use crate::exec::slurm::{Batch, Folder, Setting};
use crate::exec::{ExecError, Interrupted, Worker};
use crate::features::FeatureCache;
use crate::nn::Device;
use crate::store::{self, Header, StudyReader};

/// The folders between a batch and the study's own.
const BELOW_STUDY: usize = 3;

pub(super) fn run(args: &WorkerArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install();
    let batch = Batch::read(&args.batch).map_err(ExecError::Slurm)?;
    let Some(task) = batch.tasks.get(args.task) else {
        let problem = format!("the batch has tasks 0 to {}", batch.tasks.len().saturating_sub(1));
        return Err(AppError::Flag { flag: "task", value: args.task.to_string(), problem });
    };
    let setting = &batch.setting;
    setup::threads(Some(setting.threads))?;
    let device: Device = setting.device.parse()?;
    device.check()?;
    let budget = BudgetFile::read(&setting.budget)?;
    let paths = AssetArgs { data: setting.data.clone(), weights: setting.weights.clone() };
    let mut assets = setup::study_assets(&budget, &paths, Output { quiet: true, ..output })?;
    let dir = args.batch.ancestors().nth(BELOW_STUDY).unwrap_or(Path::new("."));
    optimize::resume_quantised(dir, &mut assets)?;
    refuse_another_study(dir, setting, &setup::inputs(&budget, &assets, device))?;

    if let Some(scratch) = &setting.scratch {
        make_scratch(scratch)?;
    }
    let folder = setting.scratch.as_deref().unwrap_or(&setting.results).join("features");
    let cache = FeatureCache::new(folder).limited(setting.feature_cache);
    let laboratory = Laboratory::new(assets.parts.clone(), assets.backbone.clone(), cache, device);
    // The first worker on a node, or of all where the folder is shared, computes them; the others wait for it.
    laboratory.prepare(&[task.design.split.as_str()], interrupt::flag(), &mut |_| {})?;
    let worker = Worker::new(setup::estimators(&laboratory, &budget), setup::measurement_limit(&budget));
    let measured = worker.measure(task, &Told::new(output)).map_err(|Interrupted| ExecError::Interrupted)?;
    let host = store::host();
    Folder::of(dir).write_part(&setting.study, task, &measured, &host).map_err(ExecError::Slurm)?;
    let object = || json!({ "measurement": task.name(), "host": host, "seconds": measured.seconds });
    output.summary("measured", object, || format!("{} measured on {host} in {:.1} s", task.name(), measured.seconds));
    Ok(exit::DONE)
}

/// Makes the node's own folder, but none above it: of a mistyped path nothing comes into being on every node.
fn make_scratch(scratch: &Path) -> Result<(), AppError> {
    match std::fs::create_dir(scratch) {
        Err(_) if scratch.is_dir() => Ok(()),
        Err(error) => {
            let problem = format!(
                "`executor.slurm.scratch` can't be made on {} ({error}): the folder above it must be there on every node, and writable",
                store::host()
            );
            Err(AppError::Study { path: scratch.to_owned(), problem })
        }
        Ok(()) => Ok(()),
    }
}

/// Refuses to measure with other files than the search reads.
fn refuse_another_study(dir: &Path, setting: &Setting, inputs: &store::Inputs) -> Result<(), AppError> {
    let here = Header::new("", inputs.clone(), serde_json::Value::Null);
    if here.fingerprint() == setting.study {
        return Ok(());
    }
    let reader = StudyReader::open(dir)?;
    let differing: Vec<String> = reader.header().inputs.differing(inputs).iter().map(ToString::to_string).collect();
    let problem = format!(
        "its {} differ from those that this machine reads: nothing is measured; the same files must be there under the same paths",
        differing.join(" and ")
    );
    Err(AppError::Study { path: dir.to_owned(), problem })
}

/// Says in the task's log how far it is, a line for each stage.
struct Told {
    shown: bool,
    last: std::cell::RefCell<String>,
}

impl Told {
    fn new(output: Output) -> Self {
        Self { shown: output.progress() == Style::Shown && !std::io::stderr().is_terminal(), last: Default::default() }
    }
}

impl Watch for Told {
    fn progress(&self, what: &str, _: f64) -> ControlFlow<()> {
        if self.shown && *self.last.borrow() != what {
            eprintln!("{what}");
            what.clone_into(&mut self.last.borrow_mut());
        }
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_made_but_nothing_above_it() {
        let node = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            make_scratch(&node.path().join("local")).unwrap();
        }
        let mistyped = node.path().join("lcoal/privynet");
        let error = make_scratch(&mistyped).unwrap_err().to_string();
        assert!(error.contains("executor.slurm.scratch") && error.contains("the folder above it"), "{error}");
        assert!(!node.path().join("lcoal").exists());
    }
}
