//! Every design's row: its figures and where each comes from, its cost, its verification, its reconstructions.

use super::gallery::Galleries;
use super::{expected, figures, measured, quantity, searched, upper, verified};
use crate::measurement::Measurement;
use crate::record::{DesignRecord, Record, Standing};
use crate::report::view;
use crate::solver::pareto_front;
use crate::store::{Event, StudyReader};
use crate::units::{Bytes, Duration, Latency, Macs};
use crate::verify::Verdict;

pub(super) fn feasibility(record: &Record, design: &DesignRecord) -> view::Feasibility {
    match record.standing(design) {
        Standing::Verified | Standing::Within => view::Feasibility::Feasible,
        Standing::Refuted | Standing::Over => view::Feasibility::Infeasible,
        Standing::Uncertain => view::Feasibility::Uncertain,
    }
}

/// The rows, in the record's order.
pub(super) fn rows(reader: &StudyReader, record: &Record, galleries: &Galleries) -> Vec<view::DesignRow> {
    let points: Vec<(f64, f64)> = record
        .designs
        .iter()
        .map(|d| {
            let value = |metric: Option<view::Estimate>| metric.map_or(f64::NAN, |e| e.value);
            let shown = measured(record, d).unwrap_or_default();
            (value(shown.accuracy), value(shown.psnr_mean))
        })
        .collect();
    let front = pareto_front(&points);
    let places = places(record);
    (record.designs.iter().enumerate())
        .map(|(i, design)| view::DesignRow {
            // An attack that was cut short leaves no upper limit to compare by.
            pareto: front.contains(&i) && record.verdict(&design.id).is_none_or(|v| v.converged),
            evaluation: places[i],
            sources: sources(reader, record, design),
            pictures: galleries.of(&design.id),
            ..row(record, design)
        })
        .collect()
}

/// What is known of a design by itself.
fn row(record: &Record, design: &DesignRecord) -> view::DesignRow {
    let verdict = record.verdict(&design.id);
    let channels = design.design.channels.channels();
    view::DesignRow {
        id: design.id.to_string(),
        split: design.design.split.clone(),
        split_index: design.split_index,
        depth: design.design.channels.depth(),
        selection: design.selection.clone(),
        selection_kind: selection_kind(&design.selection),
        known_by: match verdict {
            Some(verdict) if verdict.holds => view::KnownBy::Verified,
            Some(_) => view::KnownBy::Refuted,
            None if design.order.is_some() => view::KnownBy::Measured,
            None if !design.screened.is_empty() => view::KnownBy::Screened,
            None => view::KnownBy::Predicted,
        },
        measured: measured(record, design),
        upper: verdict.and_then(upper),
        predicted: expected(design),
        probability_feasible: Some(design.probability),
        feasibility: feasibility(record, design),
        macs: quantity(design.cost.macs, |n| Macs(n).to_string()),
        bytes: quantity(design.cost.bytes, |n| Bytes(n).to_string()),
        upload: quantity(design.cost.upload_bytes, |n| Bytes(n).to_string()),
        pareto: false,
        further_costs: further_costs(design),
        mixed: channels.is_none(),
        layer_channels: record.provenance.layer_channels(&design.design.split),
        channels: channels.unwrap_or(&[]).iter().map(|&c| usize::from(c)).collect(),
        evaluation: None,
        reason: design.reason.clone(),
        sources: Vec::new(),
        remarks: verdict.map(remarks).unwrap_or_default(),
        pictures: Vec::new(),
    }
}

/// Of each design its place among the search's measurements, from 1, as the history counts them.
fn places(record: &Record) -> Vec<Option<usize>> {
    let mut measured: Vec<usize> = (0..record.designs.len()).filter(|&i| record.designs[i].order.is_some()).collect();
    measured.sort_by_key(|&i| record.designs[i].order);
    let mut places = vec![None; record.designs.len()];
    for (place, index) in measured.into_iter().enumerate() {
        places[index] = Some(place + 1);
    }
    places
}

fn further_costs(design: &DesignRecord) -> Vec<(String, String)> {
    let cost = &design.cost;
    let latency = cost.latency_ns.map(|ns| ("Latency, as profiled".to_owned(), Latency(ns).to_string()));
    [
        ("Parameters".to_owned(), cost.parameters.to_string()),
        ("Memory for activations".to_owned(), Bytes(cost.peak_memory).to_string()),
    ]
    .into_iter()
    .chain(latency)
    .collect()
}

/// What a verification says.
fn remarks(verdict: &Verdict) -> Vec<String> {
    let outcome = match (verdict.holds, verdict.converged) {
        (true, _) => "Every bound holds.".to_owned(),
        (false, true) => "A bound doesn't hold.".to_owned(),
        (false, false) => "An attack had not converged when it ended.".to_owned(),
    };
    let objections = verdict.objections.iter().map(|objection| format!("Objection: {objection}."));
    [outcome].into_iter().chain(objections).collect()
}

/// Everything that is known of a design, from the weakest source to the strongest.
fn sources(reader: &StudyReader, record: &Record, design: &DesignRecord) -> Vec<view::Source> {
    let source = |name: &str, detail: String, figures: Option<view::Figures>| {
        Some(view::Source { name: name.to_owned(), detail, figures: figures? })
    };
    let predicted = figures(|metric| design.predicted(metric).map(|p| (p.value, p.sd)));
    let screened =
        figures(|metric| design.screened.iter().find(|m| m.metric == metric).map(|m| (m.value, m.std_error)));
    let [search, _] = &record.provenance.protocols;
    let verdict = record.verdict(&design.id);
    let verification = match verdict {
        Some(verdict) if verdict.holds => "Verified",
        _ => "Verification, refuted",
    };
    [
        source("Predicted by the models", format!("of the {search} protocol, ± one standard deviation"), predicted),
        source("Screening", of_rows(&design.screened), screened),
        source("Search's short training", of_rows(&design.measured), searched(design)),
        source("Expected of verification", "leakage with its margin; no claim".to_owned(), expected(design)),
        source(
            verification,
            verdict.map(|verdict| of_verdict(reader, verdict)).unwrap_or_default(),
            verdict.and_then(verified),
        ),
        source(
            "At most",
            "with sixteen times the training, at the study's confidence".to_owned(),
            verdict.and_then(upper),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Protocol, seed and time of a measurement.
fn of_rows(rows: &[Measurement]) -> String {
    let Some(row) = rows.first() else { return String::new() };
    let seconds = rows.iter().map(|row| row.seconds).fold(0.0, f64::max);
    format!("{} protocol, seed {}, {} images, {}", row.fidelity, row.seed, row.n, Duration(seconds))
}

fn of_verdict(reader: &StudyReader, verdict: &Verdict) -> String {
    let of = |event: &Event| match event {
        Event::Evaluation(e) => (e.design == verdict.design && e.fidelity == verdict.fidelity).then_some(e.seconds),
        Event::Verification(_) => None,
    };
    let seconds: f64 = reader.events().iter().filter_map(of).sum();
    let seeds: Vec<String> = verdict.seeds.iter().map(ToString::to_string).collect();
    let seeds = format!("{} protocol, fresh seed {}", verdict.fidelity, seeds.join(", "));
    if seconds > 0.0 { format!("{seeds}, {}", Duration(seconds)) } else { seeds }
}

/// `random` for `random-2`; the first rule where several make the design.
fn selection_kind(names: &str) -> String {
    let first = names.split('+').next().unwrap_or_default();
    first.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-').to_owned()
}
