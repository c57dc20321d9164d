//! `privynet optimize`: the main job, from a budget file to a verified local net and its report.

mod account;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::insight::{self, insights};
use super::live_page::LivePage;
use super::progress::Progress;
use super::setup::{self, Admission, Assets, ExactBudget};
use super::{AppError, Output, check, cluster, exported, interrupt, read_study, reuse, summary};
use crate::backbone::Backbone;
use crate::cli::OptimizeArgs;
use crate::config::{BudgetFile, SlurmEntry, Strategy, Time, WeightsPrecision};
use crate::estimate::{Laboratory, sanity};
use crate::exec::slurm::Folder;
use crate::exec::{Executor, Lanes, LocalWorkers, TimeLimit, Worker, Workers};
use crate::measurement::Fidelity;
use crate::nn::Device;
use crate::protocol::{self, Plan, Protocol};
use crate::record::{Provenance, RECORD_FILE, Record};
use crate::search::{self, Findings, Problem, Status};
use crate::space::{Candidates, Place};
use crate::store::{Event, Header, Inputs, Row, Study, StudyReader};
use account::Account;

pub(super) fn run(args: &OptimizeArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install_for_study();
    let job = Job::read(args, output)?;
    let progress = Progress::new(output.progress());
    let (mut study, events) = job.open(&progress)?;
    let record = if job.admission.admitted == 0 {
        let record = job.account().nothing_fits();
        study.save_object(RECORD_FILE, &record)?;
        record
    } else {
        job.search(study, events, &progress)?
    };
    progress.stage("report");
    let report = read_study::write_report(&job.dir, &args.folders.reports)?;
    progress.finish();
    output.summary("study", || summary::json(&record, &report), || summary::text(&record, &report));
    Ok(summary::exit_code(record.status))
}

/// A study that may begin: its files are read and make sense together, and nothing is written yet.
struct Job<'a> {
    args: &'a OptimizeArgs,
    budget: BudgetFile,
    assets: Assets,
    /// The nodes that measure, where this machine doesn't.
    cluster: Option<SlurmEntry>,
    device: Device,
    lanes: Lanes,
    /// The study's folder.
    dir: PathBuf,
    limits: Vec<ExactBudget>,
    admission: Admission,
    inputs: Inputs,
    instruments: BTreeMap<Fidelity, String>,
    provenance: Provenance,
}

impl<'a> Job<'a> {
    fn read(args: &'a OptimizeArgs, output: Output) -> Result<Self, AppError> {
        let budget = BudgetFile::read(&args.budget)?;
        let cluster = cluster::chosen(args, &budget)?;
        let device = if cluster.is_some() { device_of_nodes(args)? } else { setup::machine(&args.machine)? };
        // After the flag that says how many threads there are.
        let lanes = setup::lanes(args.resources.jobs)?;
        let mut assets = setup::study_assets(&budget, &args.assets, output)?;
        let dir = args.folders.results.join(&budget.name);
        if cluster.is_none() {
            cluster::refuse_what_is_out(&dir)?;
        }
        resume_quantised(&dir, &mut assets)?;
        setup::enough_images(&budget, &assets)?;
        let limits = setup::exact_budgets(&budget);
        let admission = setup::admission(&assets.space, &limits);
        let provenance = account::provenance(&args.budget, &budget, &assets, device);
        let inputs = setup::inputs(&budget, &assets, device);
        let instruments = instruments(&budget, &assets, &inputs, device);
        Ok(Self {
            args,
            budget,
            assets,
            cluster,
            device,
            lanes,
            dir,
            limits,
            admission,
            inputs,
            instruments,
            provenance,
        })
    }

    fn account(&self) -> Account<'_> {
        Account { budget: &self.budget, admission: &self.admission, limits: &self.limits, provenance: &self.provenance }
    }

    /// Opens the study, or begins it, and tells what it is about.
    fn open(&self, progress: &Progress) -> Result<(Study, Vec<Event>), AppError> {
        let Self { budget, assets, admission, .. } = self;
        let about = json!({ "command": self.provenance.command, reuse::INSTRUMENTS: self.instruments });
        let header = Header::new(&budget.name, self.inputs.clone(), about);
        let (mut study, recovered) = Study::open(&self.dir, &header)?;
        progress.publish(&self.dir, setup::bounds(budget));
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
        Ok((study, recovered.events))
    }

    /// Measures, models, decides and verifies; returns the record of it, which the study keeps.
    fn search(&self, mut study: Study, mut events: Vec<Event>, progress: &Progress) -> Result<Record, AppError> {
        let Self { args, budget, assets, .. } = self;
        let laboratory = self.laboratory();
        let names: Vec<&'static str> = self.admission.splits.values().map(|(layer, _)| layer.name).collect();
        let insights = insights(&laboratory, &assets.space, &names, progress)?;
        let fits = |cost: &_| self.limits.iter().all(|b| (b.used)(cost) <= b.limit);
        let candidates = insight::candidates(&assets.space, &insights, fits, progress)?;
        self.adopt(&candidates, &mut study, &mut events, progress)?;
        let plan = plan(budget, candidates.len());
        self.foretell_verifications(&candidates, &plan, progress);

        let floors = laboratory.floors()?;
        let unsound = sanity(&laboratory, &floors)?;
        let problem = Problem {
            candidates: &candidates,
            sets: &insights,
            bounds: &setup::bounds(budget),
            confidence: budget.privacy.confidence,
            floor: floors.best_constant,
            inverted: self.protocol(plan.verification).inversion.is_some(),
            seed: budget.seed,
            chance: 1.0 / assets.parts.class_names.len().max(1) as f64,
            objective: budget.objective,
            strategy: budget.strategy,
            plan,
            seconds: budget.effort.minutes.map(|m| m.0),
            work: &|place, fidelity| self.work(place, fidelity),
        };
        let workers = self.workers(&laboratory, study.header().fingerprint())?;
        let folders = [self.dir.clone(), args.folders.reports.clone()];
        let live = LivePage::new(progress, folders, self.account().outline(Some(floors)), plan);
        live.write();
        let planned = plan.evaluations + plan.verification_seeds;
        let mut executor =
            Executor::new(study, &events, workers, &live, planned, budget.executor.retries).allowing(self.time_limit());
        let mut findings = self.solve(&problem, &mut executor, &live, progress)?;
        distrust(&mut findings, unsound);

        let nowhere = check::left_out(&assets.space, &self.admission, &self.limits);
        let seconds = executor.spent_seconds();
        let mut record = self.account().conclusion(&problem, &findings, floors, seconds, nowhere);
        record.channels = account::channels(&record, &insights);
        save(&mut executor, &record)?;
        executor.finish();
        Ok(record)
    }

    fn laboratory(&self) -> Laboratory {
        let cache = setup::cache(&self.args.folders.results, &self.args.resources);
        let here = if self.cluster.is_some() { Device::Cpu } else { self.device };
        Laboratory::new(self.assets.parts.clone(), self.assets.backbone.clone(), cache, here)
    }

    fn protocol(&self, fidelity: Fidelity) -> Protocol {
        Protocol::of(fidelity).within(self.budget.privacy.attacker)
    }

    /// How long a measurement may take, here or on the cluster.
    fn time_limit(&self) -> TimeLimit {
        let own = setup::measurement_limit(&self.budget).map(|limit| limit.as_secs_f64());
        let of_cluster = self.cluster.as_ref().map(|entry| entry.time.as_ref().and_then(Time::seconds));
        let seconds = own.into_iter().chain(of_cluster.flatten()).min_by(f64::total_cmp);
        TimeLimit { seconds, of_cluster: of_cluster == Some(None) }
    }

    /// Work of measuring a design of `place`, in any unit: what its time is in proportion to.
    fn work(&self, place: &Place, fidelity: Fidelity) -> f64 {
        let load = setup::workload(&self.assets, &place.cost, place.depth);
        self.protocol(fidelity).work(&load).unwrap_or(f64::NAN)
    }

    /// Takes over what other studies measured with the same instruments, where this one has measured nothing of its own.
    fn adopt(
        &self,
        candidates: &Candidates<'_>,
        study: &mut Study,
        events: &mut Vec<Event>,
        progress: &Progress,
    ) -> Result<(), AppError> {
        // What is out was proposed without others' measurements.
        if Folder::of(&self.dir).has_batches() {
            return Ok(());
        }
        // One that was killed while it adopted goes on.
        let adopted = |event: &Event| matches!(event, Event::Evaluation(evaluation) if evaluation.from.is_some());
        // The baselines are to show what they do by themselves.
        if !events.iter().all(adopted) || self.args.fresh || self.budget.strategy != Strategy::Model {
            return Ok(());
        }
        let results = &self.args.folders.results;
        let known = reuse::known(results, &self.dir, &self.instruments, candidates);
        known.warnings.iter().for_each(|warning| progress.line(&format!("warning: {warning}")));
        let count = known.len();
        if count > 0 {
            progress.line(&format!("{count} measurements were made by other studies; `--fresh` makes them anew"));
        }
        events.extend(known.adopt(results, study, events)?);
        Ok(())
    }

    /// Lets the estimated time count verifications, by how much more work one is than a measurement of the search.
    fn foretell_verifications(&self, candidates: &Candidates<'_>, plan: &Plan, progress: &Progress) {
        if !candidates.is_empty() {
            let place = candidates.place(candidates.len() / 2);
            let longer = self.work(place, plan.verification) / self.work(place, plan.search);
            progress.expect_verifications(plan.verification_seeds, longer);
        }
    }

    /// What makes the measurements of the study of this `fingerprint`.
    fn workers<'l>(&self, laboratory: &'l Laboratory, fingerprint: String) -> Result<Box<dyn Workers + 'l>, AppError> {
        let Self { args, budget, .. } = self;
        if let Some(entry) = &self.cluster {
            return Ok(Box::new(cluster::workers(args, budget, entry, &self.dir, fingerprint)?));
        }
        let worker = Worker::new(setup::estimators(laboratory, budget), setup::measurement_limit(budget));
        Ok(Box::new(LocalWorkers::new(worker, self.lanes)))
    }

    /// Runs the search; an interrupt ends it with what the terminal and the page say last.
    fn solve(
        &self,
        problem: &Problem<'_>,
        executor: &mut Executor<'_>,
        live: &LivePage<'_>,
        progress: &Progress,
    ) -> Result<Findings, AppError> {
        if self.cluster.is_some() {
            interrupt::leave_time(&cluster::job_name(&self.budget), self.args.detach);
        }
        let farewell = || {
            progress.finish();
            live.stop();
        };
        let found = interrupt::farewell(farewell, || search::run(problem, executor));
        if found.is_err() {
            live.stop();
        }
        Ok(found?)
    }
}

/// The device that nodes measure on; this machine, which searches, need not have it.
fn device_of_nodes(args: &OptimizeArgs) -> Result<Device, AppError> {
    setup::threads(args.machine.threads)?;
    let device: Device = args.machine.device.parse()?;
    // Nodes run this program.
    if device != Device::Cpu && !cfg!(feature = "cuda") {
        device.check()?;
    }
    Ok(device)
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

/// Figures of an instrument that is not sound are nothing to rely on.
fn distrust(findings: &mut Findings, unsound: Vec<String>) {
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
}

/// Stores the record, and the measurements as a table, beside the journal.
fn save(executor: &mut Executor<'_>, record: &Record) -> Result<(), AppError> {
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
    Ok(executor.study().save_object(RECORD_FILE, record)?)
}
