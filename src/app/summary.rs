//! A study's conclusion for people and for programs.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::exit;
use crate::measurement::Metric;
use crate::record::{Budgets, CostRecord, DesignRecord, Record};
use crate::search::{Relaxation, Status};
use crate::units::{Bytes, Latency, Macs};
use crate::verify::VerifiedFigure;

/// The figures that are shown, in order.
const FIGURES: [Metric; 6] =
    [Metric::Accuracy, Metric::PsnrMean, Metric::PsnrP95, Metric::PsnrMax, Metric::PsnrWorstClass, Metric::SsimMean];

/// The relaxations worth a sentence: of bounds that keep something out, and that bring more than prints as zero.
pub(super) fn relaxations(record: &Record) -> impl Iterator<Item = &Relaxation> {
    const NOTICEABLE: f64 = 0.0005;
    record.relaxations.iter().filter(|relaxation| {
        let metric = relaxation.metric;
        let figure = record.chosen_verdict().and_then(|verdict| verdict.figure(metric));
        // A design that keeps a bound with more to spare than the relaxation adds isn't held back by it.
        let binds = figure.is_none_or(|figure| match (figure.upper, figure.limit) {
            (Some(upper), Some(limit)) => upper + (relaxation.limit - limit) > limit,
            (_, limit) => limit.is_some_and(|limit| figure.value > limit),
        });
        binds && relaxation.gain >= NOTICEABLE
    })
}

/// An exact budget and what a design uses of it, in base units.
pub(super) struct ExactUse {
    pub(super) name: &'static str,
    pub(super) used: u64,
    pub(super) limit: u64,
    /// Shows a number of base units.
    pub(super) show: fn(u64) -> String,
}

/// The exact budgets that the user set, with what `cost` uses of them.
pub(super) fn exact_use(budgets: &Budgets, cost: &CostRecord) -> Vec<ExactUse> {
    let macs: fn(u64) -> String = |n| Macs(n).to_string();
    let bytes: fn(u64) -> String = |n| Bytes(n).to_string();
    let time: fn(u64) -> String = |n| Latency(n).to_string();
    let budget = |name, used, limit: Option<u64>, show| Some(ExactUse { name, used, limit: limit?, show });
    [
        budget("compute", cost.macs, budgets.compute, macs),
        budget("storage", cost.bytes, budgets.storage, bytes),
        budget("memory", cost.peak_memory, budgets.memory, bytes),
        budget("upload", cost.upload_bytes, budgets.upload, bytes),
        cost.latency_ns.and_then(|used| budget("latency", used, budgets.latency, time)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the chosen design uses of every exact budget, in percent.
fn budget_used(record: &Record, chosen: &DesignRecord) -> Map<String, Value> {
    let percent = |used: f64, limit: f64| json!((1000.0 * used / limit).round() / 10.0);
    exact_use(&record.budgets, &chosen.cost)
        .into_iter()
        .map(|budget| (budget.name.to_owned(), percent(budget.used as f64, budget.limit as f64)))
        .collect()
}

/// How far below each privacy bound the chosen design's verified upper limit is, in the figure's unit.
fn headroom(record: &Record) -> Map<String, Value> {
    let verified = |metric| record.chosen_verdict().and_then(|verdict| verdict.figure(metric)?.upper);
    let bounds = record.budgets.privacy.iter();
    bounds.filter_map(|b| Some((b.metric.to_string(), json!(b.limit - verified(b.metric)?)))).collect()
}

/// What `optimize` ends with.
pub(super) fn exit_code(status: Status) -> u8 {
    match status {
        Status::Verified => exit::DONE,
        Status::Infeasible => exit::INFEASIBLE,
        Status::Unverified => exit::UNVERIFIED,
    }
}

/// The study as one JSON object.
pub(super) fn json(record: &Record, report: &Path) -> Value {
    let chosen = record.chosen_design();
    let figures = |pick: &dyn Fn(Metric) -> Option<(f64, f64)>| -> Value {
        let map: Map<String, Value> = FIGURES
            .iter()
            .filter_map(|&metric| {
                let (value, std_error) = pick(metric)?;
                Some((metric.to_string(), json!({ "value": value, "std_error": std_error })))
            })
            .collect();
        if map.is_empty() { Value::Null } else { Value::Object(map) }
    };
    let verdict = record.chosen_verdict();
    let mut object = json!({
        "study": record.study,
        "status": record.status,
        "design": chosen.map(|c| json!({
            "id": c.id,
            "split": c.design.split,
            "depth": c.design.channels.depth(),
            "channels": c.design.channels.channels(),
            "selection": c.selection,
        })),
        "predicted": chosen.map(|c| figures(&|m| c.expected(m).map(|p| (p.value, p.sd)))),
        "measured": figures(&|m| verdict?.figure(m).map(|f| (f.value, f.std_error))),
        "searched": chosen.map(|c| figures(&|m| c.measured(m).map(|r| (r.value, r.std_error)))),
        "cost": chosen.map(|c| c.cost),
        "budget_used": chosen.map(|c| budget_used(record, c)),
        "headroom": headroom(record),
        "binding": record.binding,
        "probability": record.probability,
        "relaxations": record.relaxations,
        "refuted": record.verdicts.iter().filter(|v| !v.holds).map(|v| json!({
            "design": v.design, "objections": v.objections, "figures": v.figures,
        })).collect::<Vec<_>>(),
        "warnings": record.warnings,
        "report": report,
    });
    if let (Some(verdict), Some(map)) = (verdict, object.as_object_mut()) {
        map.insert(
            "verification".to_owned(),
            json!({ "holds": verdict.holds, "converged": verdict.converged, "seeds": verdict.seeds,
                    "protocol": verdict.fidelity, "figures": verdict.figures, "objections": verdict.objections }),
        );
    }
    object
}

/// The conclusion as a few lines.
pub(super) fn text(record: &Record, report: &Path) -> String {
    let mut lines = answer(record);
    lines.extend(verification(record));
    lines.extend(attacks(record));
    lines.extend(use_of_budgets(record));
    lines.extend(beyond(record));
    lines.push(format!("  report       {}", report.display()));
    lines.into_iter().map(|line| line + "\n").collect()
}

/// How the search ended, and with which design.
fn answer(record: &Record) -> Vec<String> {
    let subject = record.chosen_design().map(|chosen| {
        let (split, depth) = (&chosen.design.split, chosen.design.channels.depth());
        format!("split at {split}, {depth} channels ({}), design {}", chosen.selection, chosen.id)
    });
    match (record.status, subject) {
        (Status::Verified, Some(subject)) => vec![format!("VERIFIED: {subject}")],
        (Status::Unverified, Some(subject)) => {
            let which = match record.chosen_verdict() {
                Some(_) => "the last one refuted",
                None => "most likely to pass next",
            };
            vec![
                "UNVERIFIED: no design passed verification within its allowance".to_owned(),
                format!("  {which}: {subject}"),
            ]
        }
        (Status::Infeasible, subject) => {
            let nearest = |subject| format!("  nearest: {subject}, probability {:.3}", record.probability);
            let head = "INFEASIBLE: no design can be expected to meet the budget".to_owned();
            std::iter::once(head).chain(subject.map(nearest)).collect()
        }
        (_, None) => vec!["no design was chosen".to_owned()],
    }
}

/// What verification found of the chosen design, or is expected to find.
fn verification(record: &Record) -> Vec<String> {
    let Some(verdict) = record.chosen_verdict() else {
        return record.chosen_design().and_then(expectation).into_iter().collect();
    };
    let how = if verdict.holds { "verified" } else { "refuted" };
    let seeds = match verdict.seeds.len() {
        1 => "one fresh seed".to_owned(),
        n => format!("{n} fresh seeds"),
    };
    let head = format!("  {how} with {seeds}, protocol {}:", verdict.fidelity);
    let figures = FIGURES.iter().filter_map(|&metric| verdict.figure(metric)).map(figure);
    let objections = verdict.objections.iter().map(|objection| format!("    but: {objection}"));
    std::iter::once(head).chain(figures).chain(objections).collect()
}

fn expectation(chosen: &DesignRecord) -> Option<String> {
    let about = |metric: Metric| chosen.expected(metric).map(|p| metric.text(p.value));
    let (accuracy, psnr) = (about(Metric::Accuracy)?, about(Metric::PsnrMean)?);
    Some(format!("  verification is expected to find an accuracy of about {accuracy} and {psnr} at most"))
}

/// A verified figure, how far it can go and its limit.
fn figure(figure: &VerifiedFigure) -> String {
    let metric = figure.metric;
    let mut text = format!("    {:<16} {}", metric.to_string(), metric.text(figure.value));
    if figure.std_error > 0.0 {
        text += &format!(" ± {}", metric.text(figure.std_error));
    }
    if metric == Metric::PsnrMax {
        text += " in these trainings";
    }
    if let Some(extended) = figure.extended {
        text += &format!(", {} by 16 times the training", metric.text(extended));
    }
    if let Some(upper) = figure.upper {
        text += &format!("; with confidence at most {}", metric.text(upper));
    } else if figure.limit.is_some() {
        text += " or more";
    }
    if let Some(limit) = figure.limit {
        text += &format!(", limit {}", metric.text(limit));
        let room = figure.upper.map(|upper| limit - upper).filter(|&room| room >= 0.0);
        text += &room.map_or(String::new(), |room| format!(" ({} to spare)", metric.text(room)));
    }
    text
}

/// What other attacks than the decoder recover, and what can be had without any features.
fn attacks(record: &Record) -> Vec<String> {
    let figure = |metric| record.chosen_verdict().and_then(|verdict| verdict.figure(metric)).map(|f| f.value);
    let mut lines = Vec::new();
    for (attack, names) in [("a local linear map", &Metric::LINEAR[..]), ("kernel ridge regression", &Metric::KERNEL)] {
        let of = |metric: Metric| metric.of(names).and_then(figure);
        if let (Some(mean), Some(p95)) = (of(Metric::PsnrMean), of(Metric::PsnrP95)) {
            lines.push(format!("  without training: {attack} recovers {mean:.2} dB in the mean, p95 {p95:.2} dB"));
        }
    }
    if let Some(mean) = figure(Metric::EnsemblePsnrMean) {
        lines.push(format!(
            "  a weighted sum of the reconstructions of all these attacks recovers {mean:.2} dB in the mean"
        ));
    }
    if let (Some(mean), Some(gain)) = (figure(Metric::InversionPsnrMean), figure(Metric::InversionGainMean)) {
        lines.push(format!(
            "  white-box inversion: {mean:.2} dB in the mean of its images, {gain:+.2} dB beside its start on the same ones"
        ));
    }
    if let (Some(found), Some(chosen)) = (figure(Metric::ChannelsFound), record.chosen_design()) {
        lines.push(format!(
            "  the channels are no secret: {found:.0} of {} found out from statistics of the features alone",
            chosen.design.channels.depth()
        ));
    }
    if let Some(floors) = &record.floors {
        lines.push(format!(
            "  without features: mean image {:.1} dB, mean colour {:.1} dB; an 8×8 thumbnail, in which much can be recognised, \
             is {:.1} dB",
            floors.best_constant, floors.mean_colour, floors.thumbnail
        ));
    }
    lines
}

/// What the chosen design uses of the exact budgets, and the bound that it comes nearest to or that leaves no design.
fn use_of_budgets(record: &Record) -> Vec<String> {
    let used = record.chosen_design().map(|chosen| exact_use(&record.budgets, &chosen.cost)).unwrap_or_default();
    let used = used.into_iter().map(|ExactUse { name, used, limit, show }| {
        let percent = 100.0 * used as f64 / limit as f64;
        format!("  {name:<12} {} of {} ({percent:.0} %)", show(used), show(limit))
    });
    let how = if record.status == Status::Verified { "nearest" } else { "binding" };
    used.chain(record.binding.iter().map(|binding| format!("  {how:<12} {binding}"))).collect()
}

/// What looser bounds would bring, which other designs were refuted and what else a reader must know.
fn beyond(record: &Record) -> Vec<String> {
    let relaxations = relaxations(record).map(|relaxation| {
        format!(
            "  relaxing {} to {} would bring about {:+.1} points of accuracy ({})",
            relaxation.metric,
            relaxation.metric.text(relaxation.limit),
            100.0 * relaxation.gain,
            relaxation.design
        )
    });
    let refuted = record.verdicts.iter().filter(|v| !v.holds && Some(&v.design) != record.chosen.as_ref());
    let refuted = refuted.map(|v| format!("  refuted      {}: {}", v.design, v.objections.join("; ")));
    let warnings = record.warnings.iter().map(|warning| format!("  note         {warning}"));
    relaxations.chain(refuted).chain(warnings).collect()
}
