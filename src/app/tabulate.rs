//! `privynet tabulate`: every design of a space, measured once, as a table to search in with `replay`.

use serde_json::json;

use super::insight::{self, insights};
use super::progress::Progress;
use super::setup;
use super::{AppError, Output, exit, interrupt};
use crate::cli::TabulateArgs;
use crate::config::Attacker;
use crate::estimate::{AttackLadder, CloudAccuracy, Estimator, Laboratory};
use crate::exec::{Executor, Job, LocalWorkers, Worker};
use crate::measurement::{Evaluation, Fidelity, Metric, Outcome};
use crate::protocol;
use crate::space::Candidate;
use crate::store::{Header, Inputs, Study};
use crate::table::{Table, Values};

/// The table's file in the study's folder.
const TABLE_FILE: &str = "designs.parquet";

/// Figures that are columns of the table.
const FIGURES: [Metric; 6] =
    [Metric::Accuracy, Metric::PsnrMean, Metric::PsnrP95, Metric::PsnrMax, Metric::PsnrPooled, Metric::SsimMean];

pub(super) fn run(args: &TabulateArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install_for_study();
    let device = setup::machine(&args.machine)?;
    let lanes = setup::lanes(args.resources.jobs)?;
    let assets = setup::assets(&args.space, &args.assets, None, output)?;
    let fidelity = Fidelity::from(args.protocol);
    let progress = Progress::new(output.progress());
    let hash = |text: &str| blake3::hash(text.as_bytes()).to_hex().to_string();
    let inputs = Inputs {
        budget: hash("every design of the space"),
        space: hash(&assets.file.text),
        data: assets.parts.hash.clone(),
        weights: assets.backbone.hash().to_hex().to_string(),
        protocols: hash(&format!("{} on {device}", protocol::fingerprint(&[fidelity]))),
    };
    let dir = args.results.join(&args.name);
    let (study, recovered) = Study::open(&dir, &Header::new(&args.name, inputs, json!({})))?;
    for warning in &recovered.warnings {
        progress.line(&format!("warning: {warning}"));
    }
    progress.publish(&dir, Vec::new());
    let cache = setup::cache(&args.results, &args.resources);
    let laboratory = Laboratory::new(assets.parts.clone(), assets.backbone.clone(), cache, device);
    let names: Vec<&'static str> = assets.space.splits().iter().map(|layer| layer.name).collect();
    let insights = insights(&laboratory, &assets.space, &names, &progress)?;
    // Each of them will be measured, which takes seconds: there are not very many.
    let candidates: Vec<Candidate> =
        insight::candidates(&assets.space, &insights, |_| true, &progress)?.iter().collect();
    let estimators: Vec<Box<dyn Estimator>> =
        vec![Box::new(AttackLadder::new(&laboratory, Attacker::default())), Box::new(CloudAccuracy::new(&laboratory))];
    let mut executor = Executor::new(
        study,
        &recovered.events,
        Box::new(LocalWorkers::new(Worker::new(estimators, None), lanes)),
        &progress,
        candidates.len(),
        Executor::RETRIES,
    );
    let job = |candidate| Job {
        candidate,
        fidelity,
        seed: args.seed,
        verifying: None,
        reason: "every design of the space".to_owned(),
    };
    let jobs: Vec<Job<'_>> = candidates.iter().map(job).collect();
    let evaluations = executor.measure(&jobs, None)?;
    progress.finish();
    let measured: Vec<(&Candidate, Evaluation)> = candidates
        .iter()
        .zip(evaluations)
        .filter_map(|(candidate, evaluation)| Some((candidate, evaluation?)))
        .filter(|(_, evaluation)| matches!(evaluation.outcome, Outcome::Done(_)))
        .collect();
    let failed = candidates.len() - measured.len();
    let path = dir.join(TABLE_FILE);
    executor.study().write_table(TABLE_FILE, &table(&path, &measured)?)?;
    let text = || {
        let failed = match failed {
            0 => String::new(),
            failed => format!("\n{failed} measurements failed and are not in it; the journal says why"),
        };
        format!("{}: {} designs{failed}", path.display(), measured.len())
    };
    output.summary("table", || json!({ "table": path, "designs": measured.len(), "failed": failed }), text);
    Ok(exit::DONE)
}

/// One row a design: what it is, what it costs, what is known of it in closed form, and its figures.
fn table(path: &std::path::Path, measured: &[(&Candidate, Evaluation)]) -> Result<Table, AppError> {
    let text = |name: &str, value: fn(&Candidate) -> String| {
        (name.to_owned(), Values::Text(measured.iter().map(|(c, _)| value(c)).collect()))
    };
    let real = |name: &str, value: fn(&Candidate) -> f64| {
        (name.to_owned(), Values::Real(measured.iter().map(|(c, _)| value(c)).collect()))
    };
    let mut columns = vec![
        text("design", |c| c.id.to_string()),
        text("split", |c| c.design.split.clone()),
        real("split_index", |c| c.split_index as f64),
        real("depth", |c| c.design.channels.depth() as f64),
        text("selection", Candidate::selection_names),
        real("mixed", |c| f64::from(u8::from(c.design.channels.channels().is_none()))),
        real("mixed_before_relu", |c| f64::from(u8::from(c.design.channels.mixed_before_relu()))),
        real("macs", |c| c.cost.macs.0 as f64),
        real("bytes", |c| c.cost.bytes.0 as f64),
        real("peak_memory", |c| c.cost.peak_memory.0 as f64),
        real("upload_bytes", |c| c.cost.upload_bytes.0 as f64),
    ];
    for (at, name) in Candidate::FEATURES.iter().enumerate() {
        let values = measured.iter().map(|(c, _)| c.features()[at]).collect();
        columns.push(((*name).to_owned(), Values::Real(values)));
    }
    for metric in FIGURES {
        let row = |evaluation: &Evaluation| evaluation.measurements().iter().find(|m| m.metric == metric).cloned();
        let of = |figure: fn(&crate::measurement::Measurement) -> f64| {
            measured.iter().map(|(_, e)| row(e).as_ref().map_or(f64::NAN, figure)).collect()
        };
        columns.push((metric.to_string(), Values::Real(of(|m| m.value))));
        columns.push((format!("{metric}_se"), Values::Real(of(|m| m.std_error))));
    }
    columns.push(("seconds".to_owned(), Values::Real(measured.iter().map(|(_, e)| e.seconds).collect())));
    Ok(Table::new(path, columns)?)
}
