//! What keeps the figures of two studies from being compared.

use serde_json::{Value, json};

use crate::config::Attacker;
use crate::record::Record;

/// Studies that differ in something that figures depend on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    /// In what.
    aspect: &'static str,
    /// What that means for a reader.
    consequence: &'static str,
    /// The studies that agree, each group with what it has.
    groups: Vec<(String, Vec<String>)>,
}

impl Difference {
    /// In a sentence.
    pub(super) fn text(&self) -> String {
        let group = |(value, names): &(String, Vec<String>)| format!("{} ({value})", names.join(", "));
        let groups: Vec<String> = self.groups.iter().map(group).collect();
        format!("{} differ: {}; {}", self.aspect, groups.join(" | "), self.consequence)
    }

    pub(super) fn object(&self) -> Value {
        let group = |(value, names): &(String, Vec<String>)| json!({ "value": value, "studies": names });
        json!({
            "aspect": self.aspect,
            "consequence": self.consequence,
            "groups": self.groups.iter().map(group).collect::<Vec<Value>>(),
        })
    }
}

/// Who the attacker is, in a word for each thing that he has.
pub(super) fn attacker(attacker: &Attacker) -> String {
    let pairs = attacker.pairs.map_or_else(|| "all pairs".to_owned(), |pairs| format!("{pairs} pairs"));
    let knows = |what: &str, known| format!("{}{what}", if known { "" } else { "no " });
    [pairs, knows("local net", attacker.knows_local_net), knows("channels", attacker.knows_channels)].join(" + ")
}

/// What a study has of an aspect.
type Aspect = (&'static str, &'static str, fn(&Record) -> String);

const ASPECTS: [Aspect; 6] = [
    ("images", "neither accuracy nor leakage can be compared: other images are easier or harder", |record| {
        let provenance = &record.provenance;
        let [training, _, evaluation] = provenance.images;
        let hash: String = provenance.data_hash.chars().take(8).collect();
        format!("{training} training and {evaluation} evaluation images, BLAKE3 {hash}…")
    }),
    ("attackers", "leakage can't be compared: another attacker recovers another amount", |record| {
        attacker(&record.budgets.attacker)
    }),
    (
        "verification's protocols",
        "a longer training finds more leakage: verified figures can't be compared",
        |record| record.provenance.protocols[1].clone(),
    ),
    ("search's protocols", "figures marked ~ rest on other trainings", |record| record.provenance.protocols[0].clone()),
    ("confidences", "upper limits of leakage hold with other probabilities", |record| {
        record.budgets.confidence.to_string()
    }),
    ("versions of the program", "figures may be taken in another way", |record| record.provenance.version.clone()),
];

/// Every aspect in which the studies are not all alike.
pub(super) fn of(studies: &[(&str, &Record)]) -> Vec<Difference> {
    let difference = |&(aspect, consequence, of): &Aspect| {
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for (name, record) in studies {
            let value = of(record);
            match groups.iter_mut().find(|(known, _)| *known == value) {
                Some((_, names)) => names.push((*name).to_owned()),
                None => groups.push((value, vec![(*name).to_owned()])),
            }
        }
        (groups.len() > 1).then_some(Difference { aspect, consequence, groups })
    };
    ASPECTS.iter().filter_map(difference).collect()
}
