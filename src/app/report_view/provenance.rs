//! What determined the figures: versions, seeds, hashes, machine, durations.

use crate::record::Record;
use crate::report::view;
use crate::store::{Event, StudyReader};
use crate::units::Duration;

/// Fact by fact.
pub(super) fn items(reader: &StudyReader, record: &Record) -> Vec<view::ProvenanceItem> {
    let p = &record.provenance;
    let cores = p.cores.map(|cores| format!(", {cores} core{}", if cores == 1 { "" } else { "s" }));
    let [training, validation, evaluation] = p.images;
    [
        ("program", format!("privynet {}", p.version)),
        ("command", p.command.clone()),
        ("budget", p.budget_file.clone()),
        ("space", p.space_file.clone()),
        ("weights", p.weights_file.clone()),
        ("weights, BLAKE3", p.weights_hash.clone()),
        ("images", format!("{training} training, {validation} validation, {evaluation} evaluation")),
        ("images and labels, BLAKE3", p.data_hash.clone()),
        ("seed", p.seed.to_string()),
        (
            "protocols",
            p.screening
                .iter()
                .map(|of| format!("screening {of}"))
                .chain(p.protocols.clone())
                .collect::<Vec<_>>()
                .join(", then "),
        ),
        ("device", format!("{} on {}{}", p.device, p.machine, cores.unwrap_or_default())),
        ("measuring took", format!("{}{}", Duration(p.seconds), times(reader, record))),
        ("page written by", format!("privynet {}", env!("CARGO_PKG_VERSION"))),
    ]
    .into_iter()
    .map(|(name, value)| view::ProvenanceItem { name: name.to_owned(), value })
    .collect()
}

/// How many measurements that was, and how long they took, by protocol.
fn times(reader: &StudyReader, record: &Record) -> String {
    let protocols = record.provenance.screening.iter().chain(&record.provenance.protocols);
    let parts: Vec<String> = protocols
        .filter_map(|protocol| {
            let own = reader.events().iter().filter_map(|event| match event {
                Event::Evaluation(e) if e.from.is_none() && e.fidelity.name() == protocol => Some(e.seconds),
                _ => None,
            });
            let (count, seconds) = own.fold((0usize, 0.0), |(count, sum), seconds| (count + 1, sum + seconds));
            (count > 0).then(|| format!("{count} × {protocol} {}", Duration(seconds)))
        })
        .collect();
    let adopted = |event: &&Event| matches!(event, Event::Evaluation(e) if e.from.is_some());
    let adopted = match reader.events().iter().filter(adopted).count() {
        0 => String::new(),
        count => format!("; {count} more were adopted from other studies"),
    };
    if parts.is_empty() { adopted } else { format!(": {}{adopted}", parts.join(", ")) }
}
