//! `privynet optimize`: the main job, from a budget file to a verified local net and its report.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::json;

use super::insight::{self, insights};
use super::live_page::LivePage;
use super::progress::Progress;
use super::setup::{self, Admission, Assets, ExactBudget};
use super::{AppError, Output, check, cluster, exported, interrupt, read_study, reuse, summary};
use crate::backbone::{Backbone, BackboneFile};
use crate::cli::OptimizeArgs;
use crate::config::{BudgetFile, Strategy, WeightsPrecision};
use crate::estimate::{Floors, Laboratory, sanity};
use crate::exec::slurm::Folder;
use crate::exec::{Executor, LocalWorkers, Worker, Workers};
use crate::measurement::{Fidelity, Metric};
use crate::metrics::student_t_quantile;
use crate::nn::Device;
use crate::protocol::{self, Plan, Protocol};
use crate::record::{
    BackboneRecord, Budgets, ChannelMap, DesignRecord, Provenance, RECORD_FILE, RECORD_VERSION, Record,
};
use crate::search::{self, Findings, Problem, Status};
use crate::space::{Cost, LayerInsight, Place};
use crate::store::{Event, Header, Inputs, Row, Study, StudyReader};
use crate::verify::MetricBound;

pub(super) fn run(args: &OptimizeArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install_for_study();
    let budget = BudgetFile::read(&args.budget)?;
    let cluster = cluster::chosen(args, &budget)?;
    let device = match cluster {
        None => setup::machine(&args.machine)?,
        // Nodes have it: this machine searches.
        Some(_) => {
            setup::threads(args.machine.threads)?;
            let device: Device = args.machine.device.parse()?;
            // Nodes run this program.
            if device != Device::Cpu && !cfg!(feature = "cuda") {
                device.check()?;
            }
            device
        }
    };
    // After the flag that says how many threads there are.
    let lanes = setup::lanes(args.resources.jobs)?;
    let mut assets = setup::study_assets(&budget, &args.assets, output)?;
    let dir = args.folders.results.join(&budget.name);
    if cluster.is_none() {
        cluster::refuse_what_is_out(&dir)?;
    }
    resume_quantised(&dir, &mut assets)?;
    setup::enough_images(&budget, &assets)?;
    let budgets = setup::exact_budgets(&budget);
    let admission = setup::admission(&assets.space, &budgets);
    let progress = Progress::new(output.progress());
    let provenance = provenance(args, &budget, &assets, device);
    let inputs = setup::inputs(&budget, &assets, device);
    let instruments = instruments(&budget, &assets, &inputs, device);
    let about = json!({ "command": provenance.command, reuse::INSTRUMENTS: instruments });
    let (mut study, mut recovered) = Study::open(&dir, &Header::new(&budget.name, inputs, about))?;
    progress.publish(&dir, setup::bounds(&budget));
    if assets.file.precision.weights == WeightsPrecision::Int8 {
        // They were chosen by the images, which an export hasn't.
        study.save_blob(&exported::quantised_name(assets.weights_read), &assets.backbone.numbers())?;
    }
    for warning in &recovered.warnings {
        progress.line(&format!("warning: {warning}"));
    }
    progress.line(&format!(
        "{}: {} designs, {} fit the exact budgets",
        budget.name, admission.enumerated, admission.admitted
    ));
    let record = if admission.admitted == 0 {
        let record = nothing_fits(&budget, &admission, &budgets, provenance);
        write(&mut study, &record)?;
        record
    } else {
        let cache = setup::cache(&args.folders.results, &args.resources);
        let here = if cluster.is_some() { Device::Cpu } else { device };
        let laboratory = Laboratory::new(assets.parts.clone(), assets.backbone.clone(), cache, here);
        let names: Vec<&'static str> = admission.splits.values().map(|(layer, _)| layer.name).collect();
        let insights = insights(&laboratory, &assets.space, &names, &progress)?;
        let fits = |cost: &Cost| budgets.iter().all(|b| (b.used)(cost) <= b.limit);
        let candidates = insight::candidates(&assets.space, &insights, fits, &progress)?;
        let plan = plan(&budget, candidates.len());
        // The baselines are to show what they do by themselves.
        let adopted = |event: &Event| matches!(event, Event::Evaluation(evaluation) if evaluation.from.is_some());
        if recovered.events.iter().all(adopted) && !args.fresh && budget.strategy == Strategy::Model {
            let known = reuse::known(&args.folders.results, &dir, &instruments, &candidates);
            known.warnings.iter().for_each(|warning| progress.line(&format!("warning: {warning}")));
            if known.len() > 0 {
                let count = known.len();
                progress.line(&format!("{count} measurements were made by other studies; `--fresh` makes them anew"));
            }
            // One that was killed while it adopted goes on.
            let new = known.adopt(&args.folders.results, &mut study, &recovered.events)?;
            recovered.events.extend(new);
        }
        let floors = laboratory.floors()?;
        let unsound = sanity(&laboratory, &floors)?;
        let work = |place: &Place, fidelity| {
            let load = setup::workload(&assets, &place.cost, place.depth);
            Protocol::of(fidelity).within(budget.privacy.attacker).work(&load).unwrap_or(f64::NAN)
        };
        if !candidates.is_empty() {
            let place = candidates.place(candidates.len() / 2);
            let longer = work(place, plan.verification) / work(place, plan.search);
            progress.expect_verifications(plan.verification_seeds, longer);
        }
        let problem = Problem {
            candidates: &candidates,
            sets: &insights,
            bounds: &setup::bounds(&budget),
            confidence: budget.privacy.confidence,
            floor: floors.best_constant,
            inverted: Protocol::of(plan.verification).within(budget.privacy.attacker).inversion.is_some(),
            seed: budget.seed,
            chance: 1.0 / assets.parts.class_names.len().max(1) as f64,
            objective: budget.objective,
            strategy: budget.strategy,
            plan,
            seconds: budget.effort.minutes.map(|m| m.0),
            work: &work,
        };
        let fingerprint = study.header().fingerprint();
        let workers: Box<dyn Workers> = match &cluster {
            Some(entry) => Box::new(cluster::workers(args, &budget, entry, &dir, fingerprint)?),
            None => {
                let worker = Worker::new(setup::estimators(&laboratory, &budget), setup::measurement_limit(&budget));
                Box::new(LocalWorkers::new(worker, lanes))
            }
        };
        let planned = plan.evaluations + plan.verification_seeds;
        let outline = outline(&budget, &admission, Some(floors), provenance.clone());
        let live = LivePage::new(&progress, [dir.clone(), args.folders.reports.clone()], outline, plan);
        live.write();
        let mut executor = Executor::new(study, &recovered.events, workers, &live, planned, budget.executor.retries)
            .allowing(setup::measurement_limit(&budget).map(|limit| limit.as_secs_f64()));
        if cluster.is_some() {
            interrupt::leave_time();
        }
        let farewell = || {
            progress.finish();
            live.stop();
        };
        let found = interrupt::farewell(farewell, || search::run(&problem, &mut executor));
        if found.is_err() {
            live.stop();
        }
        let mut findings = found?;
        // Figures of an instrument that is not sound are nothing to rely on.
        if !unsound.is_empty() {
            if findings.status == Status::Verified {
                findings.status = Status::Unverified;
            }
            for verdict in &mut findings.verdicts {
                verdict.holds = false;
                verdict.objections.extend(unsound.iter().cloned());
            }
        }
        findings.warnings.extend(unsound);
        let seconds = executor.spent_seconds();
        let provenance = Provenance { seconds, ..provenance };
        let record = {
            let nowhere = check::left_out(&assets.space, &admission, &budgets);
            let record = conclude(&budget, &admission, &problem, &findings, floors, provenance, nowhere)?;
            let channels = channels(&record, &insights);
            Record { channels, ..record }
        };
        let evaluations = executor.evaluations();
        let rows: Vec<Row<'_>> = evaluations
            .iter()
            .flat_map(|e| e.measurements())
            .filter_map(|measurement| {
                let candidate = record.design(&measurement.design)?;
                Some(Row {
                    measurement,
                    split: &candidate.design.split,
                    depth: candidate.design.channels.depth() as u64,
                    selection: &candidate.selection,
                })
            })
            .collect();
        executor.study().write_parquet(&rows)?;
        write(executor.study(), &record)?;
        if cluster.is_some() {
            Folder::of(&dir).tidy();
        }
        record
    };
    progress.stage("report");
    let report = read_study::write_report(&dir, &args.folders.reports)?;
    progress.finish();
    output.summary("study", || summary::json(&record, &report), || summary::text(&record, &report));
    Ok(summary::exit_code(record.status))
}

/// Takes the weights in eight bits that a study of `dir` measured with, where it has some that were made of these: another
/// machine's arithmetic may round them otherwise.
pub(super) fn resume_quantised(dir: &Path, assets: &mut Assets) -> Result<(), AppError> {
    if assets.file.precision.weights != WeightsPrecision::Int8 {
        return Ok(());
    }
    // A study that can't be read is spoken of where it is opened.
    let Ok(reader) = StudyReader::open(dir) else { return Ok(()) };
    if let Some(numbers) = reader.load_blob(&exported::quantised_name(assets.weights_read))? {
        let backbone = &assets.backbone;
        if let Some(last) = backbone.layers().last() {
            assets.backbone = Backbone::from_numbers(backbone.architecture(), last, &numbers)?;
        }
    }
    Ok(())
}

fn plan(budget: &BudgetFile, candidates: usize) -> Plan {
    let plan = Plan::of(budget.effort.level);
    let default = match budget.strategy {
        Strategy::Exhaustive => candidates,
        _ => plan.evaluations,
    };
    Plan { evaluations: budget.effort.evaluations.unwrap_or(default).min(candidates), ..plan }
}

/// For each fidelity of the search a hash of what determines a measurement beside design and seed: studies of which it is the
/// same serve each other.
fn instruments(budget: &BudgetFile, assets: &Assets, inputs: &Inputs, device: Device) -> BTreeMap<Fidelity, String> {
    let Inputs { data, weights, .. } = inputs;
    let (precision, attacker) = (assets.space.precision(), budget.privacy.attacker);
    let plan = Plan::of(budget.effort.level);
    let hash = |fidelity: Fidelity| {
        let protocol = protocol::fingerprint(&[fidelity]);
        let text = format!("{data} {weights} {protocol} on {device} {precision:?} {attacker:?}");
        (fidelity, blake3::hash(text.as_bytes()).to_hex().to_string())
    };
    plan.screening.into_iter().chain([plan.search]).map(hash).collect()
}

fn provenance(args: &OptimizeArgs, budget: &BudgetFile, assets: &Assets, device: Device) -> Provenance {
    let plan = Plan::of(budget.effort.level);
    let parts = &assets.parts;
    let command: Vec<String> = std::env::args().skip(1).collect();
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: format!("privynet {}", command.join(" ")),
        budget_file: args.budget.display().to_string(),
        space_file: budget.space.display().to_string(),
        weights_file: assets.file.backbone.weights.display().to_string(),
        architecture: assets.space.architecture().to_string(),
        backbone: backbone_record(&assets.file.backbone.file()),
        widths: assets.space.splits().iter().map(|layer| (layer.name.to_owned(), layer.out_channels)).collect(),
        deepest_layer: assets.backbone.layers().last().map_or_else(String::new, |layer| layer.name.to_owned()),
        weights_hash: assets.backbone.hash().to_hex().to_string(),
        data_hash: parts.hash.clone(),
        images: [parts.training.len(), parts.validation.len(), parts.evaluation.len()],
        resize: assets.file.data.resize,
        image_side: parts.evaluation.side(),
        content: [parts.evaluation.content().height, parts.evaluation.content().width],
        classes: parts.class_names.clone(),
        precision: assets.space.precision(),
        seed: budget.seed,
        device: device.to_string(),
        machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cores: std::thread::available_parallelism().ok().map(usize::from),
        seconds: 0.0,
        protocols: [plan.search.to_string(), plan.verification.to_string()],
        screening: plan.screening.map(|fidelity| fidelity.to_string()),
    }
}

/// What must be remembered of a backbone that is no known architecture as it is.
fn backbone_record(file: &BackboneFile) -> Option<BackboneRecord> {
    let &BackboneFile { preprocess, reversed_colours, .. } = file;
    let onnx = file.architecture.is_none();
    (onnx || preprocess.is_some() || reversed_colours).then_some(BackboneRecord { onnx, preprocess, reversed_colours })
}

fn budgets(budget: &BudgetFile) -> Budgets {
    Budgets {
        compute: budget.compute.map(|m| m.0),
        storage: budget.storage.map(|b| b.0),
        memory: budget.memory.map(|b| b.0),
        upload: budget.upload.map(|b| b.0),
        latency: budget.latency.as_ref().map(|b| b.max.0),
        privacy: setup::bounds(budget),
        confidence: budget.privacy.confidence,
        attacker: budget.privacy.attacker,
    }
}

/// What is known of a study before anything is measured.
fn outline(budget: &BudgetFile, admission: &Admission, floors: Option<Floors>, provenance: Provenance) -> Record {
    Record {
        version: RECORD_VERSION,
        study: budget.name.clone(),
        status: Status::Unverified,
        chosen: None,
        probability: 0.0,
        binding: None,
        budgets: budgets(budget),
        designs: Vec::new(),
        enumerated: admission.enumerated,
        admitted: admission.admitted,
        verdicts: Vec::new(),
        diagnostics: Vec::new(),
        relaxations: Vec::new(),
        warnings: Vec::new(),
        floors,
        channels: None,
        provenance,
    }
}

/// The record of a study that needs no measuring: no design fits the exact budgets.
fn nothing_fits(budget: &BudgetFile, admission: &Admission, exact: &[ExactBudget], provenance: Provenance) -> Record {
    Record {
        status: Status::Infeasible,
        binding: admission.nearest.as_ref().map(|&(_, _, i, _)| exact[i].name.to_owned()),
        warnings: check::nearest(admission, exact).into_iter().collect(),
        ..outline(budget, admission, None, provenance)
    }
}

/// The record of a finished search.
fn conclude(
    budget: &BudgetFile,
    admission: &Admission,
    problem: &Problem<'_>,
    findings: &Findings,
    floors: Floors,
    provenance: Provenance,
    nowhere: Option<String>,
) -> Result<Record, AppError> {
    let listing = findings.listing(problem);
    let record = |index: usize| {
        let candidate = findings.candidate(problem, index);
        (index, DesignRecord::new(&candidate, findings.models.figures(&candidate)))
    };
    let mut designs: BTreeMap<usize, DesignRecord> = listing.shown.iter().map(|&index| record(index)).collect();
    for (index, evaluation) in &findings.measured {
        designs.entry(*index).and_modify(|design| design.add_measured(evaluation));
    }
    for (index, evaluation) in &findings.screened {
        designs.entry(*index).and_modify(|design| design.add_screened(evaluation));
    }
    for design in designs.values_mut() {
        design.expect_verification(&findings.gain, problem.bounds);
    }
    let chosen = findings.chosen.and_then(|index| designs.get(&index));
    let mut warnings = findings.warnings.clone();
    if let (Status::Infeasible, Some(nearest)) = (findings.status, chosen) {
        warnings.extend(what_to_give(nearest, problem));
        warnings.extend(nowhere);
    }
    if listing.left_out > 0 {
        warnings.push(format!(
            "{} designs that were neither measured nor among the most accurate by prediction are not listed",
            listing.left_out
        ));
    }
    let chosen = chosen.map(|design| design.id.clone());
    let mut designs: Vec<DesignRecord> = designs.into_values().collect();
    designs.sort_by(|a, b| {
        (a.split_index, a.design.channels.depth(), &a.id).cmp(&(b.split_index, b.design.channels.depth(), &b.id))
    });
    Ok(Record {
        status: findings.status,
        chosen,
        probability: findings.probability,
        binding: findings.binding.map(|m: Metric| m.to_string()),
        designs,
        verdicts: findings.verdicts.clone(),
        diagnostics: findings.models.diagnostics().to_vec(),
        relaxations: findings.relaxations.clone(),
        warnings,
        ..outline(budget, admission, Some(floors), provenance)
    })
}

/// The channels of the chosen design's layer, so that a report needs no images to show them.
fn channels(record: &Record, insights: &HashMap<&'static str, LayerInsight>) -> Option<ChannelMap> {
    let split = record.chosen_design()?.design.split.as_str();
    Some(ChannelMap::new(split, insights.get(split)?)).filter(ChannelMap::is_finite)
}

/// Which bounds would have to be looser for the design that comes nearest, and how much.
fn what_to_give(nearest: &DesignRecord, problem: &Problem<'_>) -> Option<String> {
    // Shared out over the bounds, as the verification's error is.
    let share = (1.0 - problem.confidence) / problem.bounds.len().max(1) as f64;
    let deviations = student_t_quantile(1.0 - share, 1e6).unwrap_or(2.0);
    let needed = |bound: &MetricBound| {
        let expected = nearest.expected(bound.metric)?;
        let needed = expected.value + deviations * expected.sd;
        (needed > bound.limit).then(|| format!("{} up to {}", bound.metric, bound.metric.text(needed)))
    };
    let needed: Vec<String> = problem.bounds.iter().filter_map(needed).collect();
    (!needed.is_empty())
        .then(|| format!("{} would be expected to hold with {} allowed", nearest.id, needed.join(" and ")))
}

/// Stores the record beside the journal.
fn write(study: &mut Study, record: &Record) -> Result<(), AppError> {
    Ok(study.save_object(RECORD_FILE, record)?)
}
