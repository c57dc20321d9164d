//! What a study's record says of it: before anything is measured, and at its end.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::app::check;
use crate::app::setup::{self, Admission, Assets, ExactBudget};
use crate::backbone::BackboneFile;
use crate::config::BudgetFile;
use crate::estimate::Floors;
use crate::measurement::Metric;
use crate::metrics::student_t_quantile;
use crate::nn::Device;
use crate::protocol::Plan;
use crate::record::{BackboneRecord, Budgets, ChannelMap, DesignRecord, Provenance, RECORD_VERSION, Record};
use crate::search::{Findings, Problem, Status};
use crate::space::LayerInsight;
use crate::verify::MetricBound;

/// What every record of a study says.
#[derive(Clone, Copy)]
pub(super) struct Account<'a> {
    pub(super) budget: &'a BudgetFile,
    pub(super) admission: &'a Admission,
    pub(super) limits: &'a [ExactBudget],
    pub(super) provenance: &'a Provenance,
}

impl Account<'_> {
    /// What is known before anything is measured.
    pub(super) fn outline(self, floors: Option<Floors>) -> Record {
        Record {
            version: RECORD_VERSION,
            study: self.budget.name.clone(),
            status: Status::Unverified,
            chosen: None,
            probability: 0.0,
            binding: None,
            budgets: budgets(self.budget),
            designs: Vec::new(),
            enumerated: self.admission.enumerated,
            admitted: self.admission.admitted,
            verdicts: Vec::new(),
            diagnostics: Vec::new(),
            relaxations: Vec::new(),
            warnings: Vec::new(),
            floors,
            channels: None,
            provenance: self.provenance.clone(),
        }
    }

    /// The record of a study that needs no measuring: no design fits the exact budgets.
    pub(super) fn nothing_fits(self) -> Record {
        let nearest = self.admission.nearest.as_ref();
        Record {
            status: Status::Infeasible,
            binding: nearest.map(|&(_, _, i, _)| self.limits[i].name.to_owned()),
            warnings: check::nearest(self.admission, self.limits).into_iter().collect(),
            ..self.outline(None)
        }
    }

    /// The record of a finished search that took `seconds`; `nowhere` says which parts of the space the exact budgets leave out.
    pub(super) fn conclusion(
        self,
        problem: &Problem<'_>,
        findings: &Findings,
        floors: Floors,
        seconds: f64,
        nowhere: Option<String>,
    ) -> Record {
        let designs = described(problem, findings);
        let chosen = findings.chosen.and_then(|index| designs.get(&index));
        let mut warnings = findings.warnings.clone();
        if let (Status::Infeasible, Some(nearest)) = (findings.status, chosen) {
            warnings.extend(what_to_give(nearest, problem));
            warnings.extend(nowhere);
        }
        let left_out = findings.listing(problem).left_out;
        if left_out > 0 {
            warnings.push(format!(
                "{left_out} designs that were neither measured nor among the most accurate by prediction are not listed"
            ));
        }
        let chosen = chosen.map(|design| design.id.clone());
        let mut designs: Vec<DesignRecord> = designs.into_values().collect();
        designs.sort_by(|a, b| {
            (a.split_index, a.design.channels.depth(), &a.id).cmp(&(b.split_index, b.design.channels.depth(), &b.id))
        });
        let mut record = self.outline(Some(floors));
        record.provenance.seconds = seconds;
        Record {
            status: findings.status,
            chosen,
            probability: findings.probability,
            binding: findings.binding.map(|m: Metric| m.to_string()),
            designs,
            verdicts: findings.verdicts.clone(),
            diagnostics: findings.models.diagnostics().to_vec(),
            relaxations: findings.relaxations.clone(),
            warnings,
            ..record
        }
    }
}

/// The designs that are listed or were measured, with all that is known of them.
fn described(problem: &Problem<'_>, findings: &Findings) -> BTreeMap<usize, DesignRecord> {
    let record = |index: usize| {
        let candidate = findings.candidate(problem, index);
        (index, DesignRecord::new(&candidate, findings.models.figures(&candidate)))
    };
    let mut designs: BTreeMap<usize, DesignRecord> =
        findings.listing(problem).shown.iter().map(|&index| record(index)).collect();
    for (index, evaluation) in &findings.measured {
        designs.entry(*index).and_modify(|design| design.add_measured(evaluation));
    }
    for (index, evaluation) in &findings.screened {
        designs.entry(*index).and_modify(|design| design.add_screened(evaluation));
    }
    for design in designs.values_mut() {
        design.expect_verification(&findings.gain, problem.bounds);
    }
    designs
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

/// The channels of the chosen design's layer, so that a report needs no images to show them.
pub(super) fn channels(record: &Record, insights: &HashMap<&'static str, LayerInsight>) -> Option<ChannelMap> {
    let split = record.chosen_design()?.design.split.as_str();
    Some(ChannelMap::new(split, insights.get(split)?)).filter(ChannelMap::is_finite)
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

/// Where the figures of a study of `file` come from.
pub(super) fn provenance(file: &Path, budget: &BudgetFile, assets: &Assets, device: Device) -> Provenance {
    let plan = Plan::of(budget.effort.level);
    let parts = &assets.parts;
    let command: Vec<String> = std::env::args().skip(1).collect();
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: format!("privynet {}", command.join(" ")),
        budget_file: file.display().to_string(),
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
