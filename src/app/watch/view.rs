//! What is said of a study that is watched: as a screen, as lines, as JSON.

use serde_json::{Map, Value, json};

use super::Look;
use crate::app::live::Live;
use crate::app::progress::{Running, figures};
use crate::exec::slurm::Folder;
use crate::measurement::{Evaluation, Metric, Outcome};
use crate::solver::pareto_front;
use crate::store::{Event, StudyReader, Verdict};
use crate::units::Duration;

/// Events that a screen shows.
const TAIL: usize = 5;

/// Designs of the front that a screen shows.
const FRONT: usize = 6;

/// What the search's trainings found of a design; verification's are told as they are, below.
struct Searched<'a> {
    evaluation: &'a Evaluation,
    accuracy: f64,
    psnr: f64,
}

fn figure(evaluation: &Evaluation, metric: Metric) -> Option<f64> {
    evaluation.measurements().iter().find(|row| row.metric == metric).map(|row| row.value)
}

fn searched(look: &Look) -> Vec<Searched<'_>> {
    let evaluations = look.events.iter().filter_map(|event| match event {
        Event::Evaluation(evaluation) => Some(evaluation),
        Event::Verification(_) => None,
    });
    let of = |evaluation| {
        let (accuracy, psnr) = (figure(evaluation, Metric::Accuracy)?, figure(evaluation, Metric::PsnrMean)?);
        Some(Searched { evaluation, accuracy, psnr })
    };
    evaluations.filter(|evaluation| !evaluation.fidelity.is_verification()).filter_map(of).collect()
}

/// Whether short trainings find a design within the bounds, which a running study tells, and verification did not refute it.
fn within(look: &Look, evaluation: &Evaluation) -> bool {
    let refuted = look.events.iter().any(
        |event| matches!(event, Event::Verification(found) if found.design == evaluation.design && found.verdict != Verdict::Verified),
    );
    let kept = |live: &Live| {
        live.bounds.iter().all(|bound| figure(evaluation, bound.metric).is_some_and(|value| value <= bound.limit))
    };
    !refuted && look.live.as_ref().is_some_and(kept)
}

/// The most accurate design so far of those within the bounds.
fn best<'a>(look: &Look, searched: &'a [Searched<'a>]) -> Option<&'a Searched<'a>> {
    let good = searched.iter().filter(|found| within(look, found.evaluation));
    good.max_by(|a, b| a.accuracy.total_cmp(&b.accuracy))
}

/// Designs that no other beats in accuracy and leakage, the most accurate first.
fn front<'a>(searched: &'a [Searched<'a>]) -> Vec<&'a Searched<'a>> {
    let points: Vec<(f64, f64)> = searched.iter().map(|found| (found.accuracy, found.psnr)).collect();
    let mut front: Vec<_> = pareto_front(&points).into_iter().map(|index| &searched[index]).collect();
    front.sort_by(|a, b| b.accuracy.total_cmp(&a.accuracy));
    front
}

fn short(found: &Searched<'_>) -> String {
    let Searched { evaluation, accuracy, psnr } = found;
    format!("{:<26} accuracy {accuracy:.3}, PSNR mean {psnr:.2} dB", evaluation.design.as_str())
}

/// How far the study is, in one line.
pub(super) fn status(look: &Look) -> String {
    match (&look.live, &look.record) {
        (_, Some(record)) => format!("{}: concluded, {}", look.folder, format!("{:?}", record.status).to_lowercase()),
        (Some(live), _) if live.planned == 0 => format!("{}: {}", look.folder, live.stage),
        (Some(live), _) => {
            let left = live.seconds_left.map(|left| format!(", about {} left", Duration(left))).unwrap_or_default();
            let running: Vec<String> = live.running.iter().map(Running::text).collect();
            let running = if running.is_empty() { live.stage.clone() } else { running.join("; ") };
            format!("{}: {} of {} measurements{left}; running: {running}", look.folder, live.done, live.planned)
        }
        (None, None) => nobody(look),
    }
}

/// That nobody works on a study, and what resumes it.
pub(super) fn nobody(look: &Look) -> String {
    let command = StudyReader::open(&look.dir)
        .ok()
        .and_then(|reader| Some(reader.header().provenance.get("command")?.as_str()?.to_owned()));
    let (name, count) = (&look.folder, look.events.len());
    if Folder::of(&look.dir).has_batches() {
        let pick_up = command.map(|command| format!(", `{command}` picks them up")).unwrap_or_default();
        return format!(
            "{name}: {count} measurements, not concluded; others are out on a cluster: `privynet status {name}` says how they are{pick_up}"
        );
    }
    let resume = command.map(|command| format!("; `{command}` resumes it")).unwrap_or_default();
    format!("{name}: {count} measurements, not concluded, and nobody works on it{resume}")
}

/// An event in one line.
pub(super) fn line(event: &Event) -> String {
    match event {
        Event::Evaluation(evaluation) => format!(
            "{:>3} {:<26} {:<22} {} ({})",
            evaluation.order + 1,
            evaluation.design.as_str(),
            evaluation.fidelity.to_string(),
            figures(evaluation),
            match &evaluation.from {
                Some(study) => format!("measured by {study}"),
                None => format!("{:.1} s", evaluation.seconds),
            }
        ),
        Event::Verification(verification) => {
            let verdict = format!("{:?}", verification.verdict).to_lowercase();
            let why = match verification.explanation.as_str() {
                "" => String::new(),
                explanation => format!(": {explanation}"),
            };
            format!("    {:<26} {verdict}{why}", verification.design.as_str())
        }
    }
}

/// Everything, for a terminal that is redrawn.
pub(super) fn screen(look: &Look) -> String {
    let searched = searched(look);
    let mut lines = vec![match &look.live {
        Some(live) => {
            let left = live.seconds_left.map(|left| format!(", about {} left", Duration(left))).unwrap_or_default();
            let count = if live.planned == 0 {
                live.stage.clone()
            } else {
                format!("{} of {} measurements", live.done, live.planned)
            };
            format!("{}: {count}{left} (process {} on {})", look.folder, live.process, live.host)
        }
        None => status(look),
    }];
    let mut put = |name: &str, all: Vec<String>| {
        for (at, text) in all.into_iter().enumerate() {
            lines.push(format!("  {:<8} {text}", if at == 0 { name } else { "" }));
        }
    };
    put("running", look.live.iter().flat_map(|live| live.running.iter().map(Running::text)).collect());
    put(
        "best",
        best(look, &searched)
            .map(|found| format!("{} (short trainings: no claim)", short(found)))
            .into_iter()
            .collect(),
    );
    let front = front(&searched);
    let more = front.len().saturating_sub(FRONT);
    let rows = front.iter().take(FRONT).map(|found| short(found));
    put("front", rows.chain((more > 0).then(|| format!("and {more} more"))).collect());
    let tail = look.events.iter().skip(look.events.len().saturating_sub(TAIL)).map(line);
    put("last", tail.collect());
    lines.join("\n")
}

/// The kind of an event, and its object.
pub(super) fn event(look: &Look, event: &Event) -> (&'static str, Value) {
    match event {
        Event::Evaluation(evaluation) => {
            let figure = |row: &crate::measurement::Measurement| {
                (row.metric.to_string(), json!({ "value": row.value, "std_error": row.std_error }))
            };
            let figures: Map<String, Value> = evaluation.measurements().iter().map(figure).collect();
            let failed = match &evaluation.outcome {
                Outcome::Failed { reason, .. } => Some(reason),
                Outcome::Done(_) => None,
            };
            let object = json!({
                "study": look.name, "number": evaluation.order + 1, "design": evaluation.design,
                "fidelity": evaluation.fidelity, "seed": evaluation.seed, "reason": evaluation.reason,
                "seconds": evaluation.seconds, "from": evaluation.from, "figures": figures, "failed": failed,
            });
            ("evaluation", object)
        }
        Event::Verification(verification) => {
            let object = json!({
                "study": look.name, "design": verification.design, "verdict": verification.verdict,
                "explanation": verification.explanation,
            });
            ("verification", object)
        }
    }
}

/// How far the study is.
pub(super) fn progress(look: &Look) -> Value {
    let searched = searched(look);
    let found = |found: &Searched<'_>| json!({ "design": found.evaluation.design, "accuracy": found.accuracy, "psnr_mean": found.psnr });
    let state = match (&look.live, &look.record) {
        (_, Some(_)) => "concluded",
        (Some(_), None) => "running",
        (None, None) if Folder::of(&look.dir).has_batches() => "detached",
        (None, None) => "interrupted",
    };
    let live = look.live.as_ref();
    json!({
        "study": look.name,
        "state": state,
        "done": look.events.iter().filter(|event| matches!(event, Event::Evaluation(_))).count(),
        "planned": live.map(|live| live.planned),
        "stage": live.map(|live| live.stage.as_str()),
        "running": live.map_or(&[][..], |live| &live.running),
        "seconds_left": live.and_then(|live| live.seconds_left),
        "best": best(look, &searched).map(found),
        "front": front(&searched).into_iter().map(found).collect::<Vec<Value>>(),
    })
}
