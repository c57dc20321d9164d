//! What other studies in the folder measured already, in the same way on the same images and weights.

use std::collections::BTreeMap;
use std::path::Path;

use crate::exec::gallery_name;
use crate::measurement::{DesignId, Evaluation, Fidelity, Outcome};
use crate::space::Candidates;
use crate::store::{Event, Study, StudyReader};

use super::AppError;

/// The header's key for what determines a measurement beside design and seed, by fidelity.
pub(super) const INSTRUMENTS: &str = "instruments";

/// Measurements of candidates by other studies, and what a person should know of how they were found.
pub(super) struct Known {
    /// One a design and fidelity, each with its study's name; in the order of the designs' ids.
    evaluations: Vec<(String, Evaluation)>,
    /// Studies that can't be read.
    pub(super) warnings: Vec<String>,
}

/// Looks through the studies beside `own` under `results`.
pub(super) fn known(
    results: &Path,
    own: &Path,
    instruments: &BTreeMap<Fidelity, String>,
    candidates: &Candidates<'_>,
) -> Known {
    let mut known = Known { evaluations: Vec::new(), warnings: Vec::new() };
    let mut found: BTreeMap<(DesignId, Fidelity), (String, Evaluation)> = BTreeMap::new();
    let mut folders: Vec<_> = std::fs::read_dir(results)
        .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
        .unwrap_or_default();
    folders.sort();
    for folder in folders.iter().filter(|folder| *folder != own && folder.join("study.json").is_file()) {
        let reader = match StudyReader::open(folder) {
            Ok(reader) => reader,
            Err(error) => {
                known.warnings.push(format!("its measurements are not used: {error}"));
                continue;
            }
        };
        let theirs = reader.header().provenance.get(INSTRUMENTS);
        let same = |(fidelity, instrument): (&Fidelity, &String)| {
            (theirs?.get(fidelity.name())?.as_str()? == instrument).then_some(*fidelity)
        };
        let shared: Vec<Fidelity> = instruments.iter().filter_map(same).collect();
        if shared.is_empty() {
            continue;
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for event in reader.events() {
            if let Event::Evaluation(evaluation) = event
                && shared.contains(&evaluation.fidelity)
                && evaluation.from.is_none()
                && matches!(evaluation.outcome, Outcome::Done(_))
                && candidates.index_of(&evaluation.design).is_some()
            {
                let key = (evaluation.design.clone(), evaluation.fidelity);
                found.entry(key).or_insert_with(|| (name.clone(), evaluation.clone()));
            }
        }
    }
    known.evaluations = found.into_values().collect();
    known
}

impl Known {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.evaluations.len()
    }

    /// Writes those into a new study's journal, with their pictures, that are not in it `already`; returns the events.
    pub(super) fn adopt(self, results: &Path, study: &mut Study, already: &[Event]) -> Result<Vec<Event>, AppError> {
        let mut events = Vec::new();
        let is_there = |evaluation: &Evaluation| {
            already.iter().any(|event| {
                matches!(event, Event::Evaluation(found) if found.design == evaluation.design && found.fidelity == evaluation.fidelity)
            })
        };
        for (order, (name, evaluation)) in self.evaluations.into_iter().enumerate() {
            if is_there(&evaluation) {
                continue;
            }
            let gallery = gallery_name(&evaluation.design, evaluation.fidelity, evaluation.seed);
            // A picture that is missing is no reason to measure again.
            if let Ok(reader) = StudyReader::open(&results.join(&name))
                && let Ok(Some(bytes)) = reader.load_blob(&gallery)
            {
                study.save_blob(&gallery, &bytes)?;
            }
            let event = Event::Evaluation(Evaluation {
                order: order as u64,
                reason: format!("measured by the study {name}: {}", evaluation.reason),
                from: Some(name),
                ..evaluation
            });
            study.append(&event)?;
            events.push(event);
        }
        Ok(events)
    }
}
