//! `privynet check`: everything that can be known before anything is measured.

use serde_json::json;

use super::output::emit;
use super::setup::{self, Admission, ExactBudget};
use super::{AppError, Output, cluster, exit};
use crate::cli::CheckArgs;
use crate::config::BudgetFile;
use crate::estimate::Floors;
use crate::features::{FeatureCache, Origin};
use crate::plain;
use crate::protocol::{Plan, Protocol};
use crate::space::{Cost, Space};
use crate::units::{Bytes, Duration};

/// Multiply-accumulates per second that a two-core machine trains at, for the estimate of time only.
const ASSUMED_MACS_PER_SECOND: f64 = 1.1e11;

pub(super) fn run(args: &CheckArgs, output: Output) -> Result<u8, AppError> {
    let budget = BudgetFile::read(&args.budget)?;
    let assets = setup::study_assets(&budget, &args.assets, output)?;
    setup::enough_images(&budget, &assets)?;
    let foreseen = Foreseen::of(&budget, &assets)?;
    if output.json {
        emit("check", foreseen.json());
    } else {
        foreseen.tell()?;
    }
    Ok(if foreseen.is_feasible() { exit::DONE } else { exit::INFEASIBLE })
}

/// What can be known of a study before anything is measured.
struct Foreseen<'a> {
    budget: &'a BudgetFile,
    assets: &'a setup::Assets,
    budgets: Vec<ExactBudget>,
    admission: Admission,
    plan: Plan,
    estimate: Estimate,
    /// Where measurements go to a cluster.
    rehearsal: Option<cluster::Rehearsal>,
}

impl<'a> Foreseen<'a> {
    fn of(budget: &'a BudgetFile, assets: &'a setup::Assets) -> Result<Self, AppError> {
        let budgets = setup::exact_budgets(budget);
        let admission = setup::admission(&assets.space, &budgets);
        let mut plan = Plan::of(budget.effort.level);
        plan.evaluations = budget.effort.evaluations.unwrap_or(plan.evaluations).min(admission.admitted);
        let estimate = estimate(assets, &admission, &plan)?;
        let rehearsal = budget.executor.slurm.as_ref().map(cluster::rehearse);
        Ok(Self { budget, assets, budgets, admission, plan, estimate, rehearsal })
    }

    fn is_feasible(&self) -> bool {
        self.admission.admitted > 0
    }

    /// Names of the split layers at which a design fits the exact budgets.
    fn splits(&self) -> Vec<&'static str> {
        self.admission.splits.values().map(|(layer, _)| layer.name).collect()
    }

    fn json(&self) -> serde_json::Value {
        let Self { admission, plan, rehearsal, .. } = self;
        let parts = &self.assets.parts;
        let removed = admission.removed.iter().map(|(name, count)| ((*name).to_owned(), json!(count)));
        json!({
            "study": self.budget.name,
            "enumerated": admission.enumerated,
            "admitted": admission.admitted,
            "removed": removed.collect::<serde_json::Map<_, _>>(),
            "splits": self.splits(),
            "evaluations": plan.evaluations,
            "verification_attempts": plan.verification_attempts,
            "images": [parts.training.len(), parts.validation.len(), parts.evaluation.len()],
            "estimated_seconds": self.estimate.seconds.round(),
            "feature_cache_bytes": self.estimate.disk,
            "nearest": nearest(admission, &self.budgets),
            "executor": json!({
                "where": if rehearsal.is_some() { "slurm" } else { "local" },
                "accepted": rehearsal.as_ref().and_then(|rehearsal| rehearsal.accepted),
                "said": rehearsal.as_ref().map(|rehearsal| &rehearsal.said).filter(|said| !said.is_empty()),
            }),
        })
    }

    fn tell(&self) -> Result<(), AppError> {
        println!("{}: the budget, the space, the images and the weights are valid.", self.budget.path.display());
        self.tell_images();
        self.tell_designs();
        self.tell_leakage()?;
        if self.is_feasible() {
            self.tell_effort();
            tell_executor(self.budget, self.rehearsal.as_ref());
        } else if let Some(text) = nearest(&self.admission, &self.budgets) {
            println!("  infeasible  {text}");
        }
        Ok(())
    }

    fn tell_images(&self) {
        let parts = &self.assets.parts;
        println!(
            "  images      {} training, {} validation, {} evaluation; {} classes; {} px",
            parts.training.len(),
            parts.validation.len(),
            parts.evaluation.len(),
            parts.class_names.len(),
            parts.evaluation.side()
        );
    }

    fn tell_designs(&self) {
        let Self { admission, budgets, .. } = self;
        println!("  designs     {} enumerated (split × depth × selection)", admission.enumerated);
        for ((name, removed), exact) in admission.removed.iter().zip(budgets) {
            println!("              {removed} need more {name} than {}", (exact.show)(exact.limit));
        }
        let names = self.splits();
        let at = if names.is_empty() { String::new() } else { format!(", at {}", names.join(", ")) };
        println!("              {} fit every exact budget{at}", admission.admitted);
    }

    fn tell_leakage(&self) -> Result<(), AppError> {
        let parts = &self.assets.parts;
        for bound in setup::bounds(self.budget) {
            let limit = bound.metric.text(bound.limit);
            println!("  leakage     {} at most {limit} (found out by measuring)", bound.metric);
        }
        for text in hopeless(self.budget, Floors::of(&parts.evaluation)?) {
            println!("  beware      {text}");
        }
        if let Some(text) = few_images(parts.training.len()) {
            println!("  beware      {text}");
        }
        Ok(())
    }

    fn tell_effort(&self) {
        let Self { plan, estimate, .. } = self;
        println!(
            "  measures    up to {} designs ({}), then verifies up to {} ({})",
            plan.evaluations, plan.search, plan.verification_attempts, plan.verification
        );
        if let Some(screening) = plan.screening.filter(|_| self.admission.admitted > plan.evaluations) {
            println!("              for a part of that time screens more of them ({screening})");
        }
        let scales = match self.rehearsal {
            Some(_) => "the nodes that the cluster gives share it",
            None => "it scales with the machine",
        };
        println!("  time        roughly {} on two cores; {scales}", Duration(estimate.seconds));
        if let Some(minutes) = self.budget.effort.minutes {
            let limit = Duration(minutes.0);
            println!("              `effort.minutes`: after {limit} of measuring nothing more is begun");
        }
        println!("  disk        {} of cached features under the results folder", Bytes(estimate.disk));
    }
}

/// Where measurements will run, and what becomes of one that fails.
fn tell_executor(budget: &BudgetFile, rehearsal: Option<&cluster::Rehearsal>) {
    let entry = &budget.executor;
    if let (Some(slurm), Some(rehearsal)) = (&entry.slurm, rehearsal) {
        if slurm.gpus > 0 {
            println!("  beware      `gpus` reserves what measurements use only with `optimize --device cuda`");
        }
        println!("  runs        on a Slurm cluster: {}", cluster::wishes(slurm));
        let said = plain::line(&rehearsal.said);
        match rehearsal.accepted {
            Some(true) => println!("              the cluster would take it (`sbatch --test-only`)"),
            Some(false) => println!("  beware      the cluster would not take it: {said}; correct `executor.slurm`"),
            None => println!("  beware      the cluster can't be asked: {said}"),
        }
    }
    if let Some(minutes) = entry.minutes {
        println!(
            "  fails       what takes longer than {}; it is tried again {} times",
            Duration(60.0 * minutes),
            entry.retries
        );
    }
}

/// What to expect of so few images.
pub(super) fn few_images(training: usize) -> Option<String> {
    /// Below this verification is likely to end undecided.
    const FEW: usize = 1_000;
    (training < FEW).then(|| {
        format!(
            "with fewer than {FEW} training images an attack's learning curve is often too short to be extended; verification then \
             fails"
        )
    })
}

/// Bounds that no design can be verified to meet, or that bound nothing.
fn hopeless(budget: &BudgetFile, floors: Floors) -> Vec<String> {
    let psnr = &budget.privacy.psnr;
    let mut found = Vec::new();
    if let Some(mean) = psnr.mean.filter(|mean| mean.0 < floors.best_constant) {
        found.push(format!(
            "the mean image alone, without any features, has {:.1} dB: no design can be verified to stay below {mean}",
            floors.best_constant
        ));
    }
    if let (Some(mean), Some(p95)) = (psnr.mean, psnr.p95)
        && p95.0 < mean.0
    {
        found.push(format!(
            "the bound on the 95th percentile ({p95}) is below that on the mean ({mean}), which then bounds nothing"
        ));
    }
    found
}

struct Estimate {
    seconds: f64,
    disk: u64,
}

/// A rough cost of the study: the operations of decoder, classifier and inversion over the plan's trainings.
fn estimate(assets: &setup::Assets, admission: &Admission, plan: &Plan) -> Result<Estimate, AppError> {
    let parts = &assets.parts;
    let side = parts.evaluation.side();
    let (mut search, mut verification, mut weight) = (0.0, 0.0, 0.0);
    for (slot, cost) in assets.space.slots() {
        let Some(&(_, count)) = admission.splits.get(&slot.layer.index) else {
            continue;
        };
        let load = setup::workload(assets, &cost, slot.depth);
        let training = |fidelity| Protocol::of(fidelity).work(&load);
        search += count as f64 * training(plan.search)?;
        verification += count as f64 * training(plan.verification)?;
        weight += count as f64;
    }
    let layers: Vec<&str> = admission.splits.values().map(|(layer, _)| layer.name).collect();
    let images = parts.training.len() + parts.validation.len() + parts.evaluation.len();
    let origins = FeatureCache::new("").origins(&assets.backbone, &layers, side, images)?;
    let kept: Vec<&str> =
        layers.into_iter().zip(origins).filter(|&(_, origin)| origin == Origin::Kept).map(|(layer, _)| layer).collect();
    let per_design = |total: f64| if weight > 0.0 { total / weight } else { 0.0 };
    let macs = plan.evaluations as f64 * per_design(search) + plan.verification_seeds as f64 * per_design(verification);
    Ok(Estimate {
        seconds: macs / ASSUMED_MACS_PER_SECOND,
        disk: FeatureCache::disk_bytes(&assets.backbone, &kept, side, images)?,
    })
}

/// The split layers at which no design fits the exact budgets, each with what the design that comes nearest would need.
pub(super) fn left_out(space: &Space, admission: &Admission, budgets: &[ExactBudget]) -> Option<String> {
    let mut needs = Vec::new();
    for layer in space.splits().into_iter().filter(|layer| !admission.splits.contains_key(&layer.index)) {
        let factor = |cost: &Cost, budget: &ExactBudget| (budget.used)(cost) as f64 / budget.limit as f64;
        let worst = |cost: Cost| {
            let factors = budgets.iter().map(|budget| (factor(&cost, budget), (budget.used)(&cost), budget));
            factors.max_by(|a, b| a.0.total_cmp(&b.0))
        };
        let costs =
            space.slots().filter(|(slot, _)| slot.layer.index == layer.index).filter_map(|(_, cost)| worst(cost));
        if let Some((_, used, budget)) = costs.min_by(|a, b| a.0.total_cmp(&b.0)) {
            needs.push(format!("{} (from {} of {} on)", layer.name, (budget.show)(used), budget.name));
        }
    }
    (!needs.is_empty()).then(|| format!("the exact budgets leave no design at {}", needs.join(", ")))
}

/// The design that comes nearest to the exact budgets, in words, where none fits.
pub(super) fn nearest(admission: &Admission, budgets: &[ExactBudget]) -> Option<String> {
    if admission.admitted > 0 {
        return None;
    }
    let (slot, cost, index, factor) = admission.nearest.as_ref()?;
    let budget = &budgets[*index];
    Some(format!(
        "no design fits; {} binds: the nearest design, {} with {} channels, needs {} where the budget has {} ({:.0} % more)",
        budget.name,
        slot.layer.name,
        slot.depth,
        (budget.show)((budget.used)(cost)),
        (budget.show)(budget.limit),
        (factor - 1.0) * 100.0
    ))
}
