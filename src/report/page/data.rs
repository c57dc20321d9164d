//! What the script knows of each design beyond the table: figures by source, channels, cost, verdict, pictures.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::view::{DesignRow, Estimate, GalleryPair, Metric, StudyView};
use super::super::{ReportError, png};

/// Characters that pictures may take in all. Each design's most exposed image comes before any other picture.
const PICTURE_ROOM: usize = 1_000_000;

/// The data as JSON that can stand within a script element.
pub(super) fn json(view: &StudyView, designs: &[&DesignRow]) -> Result<String, ReportError> {
    let mut pictures = Pictures::default();
    for design in designs {
        if let Some(pair) = design.most_exposed() {
            pictures.admit(pair)?;
        }
    }
    for pair in designs.iter().flat_map(|design| &design.pictures).flat_map(|section| &section.pairs) {
        pictures.admit(pair)?;
    }
    let mut names = Names::default();
    let rows: Vec<Value> = designs.iter().map(|row| design(view, row, &mut names, &pictures)).collect();
    let metrics: Vec<Value> =
        Metric::ALL.iter().map(|m| json!({ "name": m.title(), "unit": m.unit(), "decimals": m.decimals() })).collect();
    let data = json!({ "metrics": metrics, "designs": rows, "names": names.all, "pictures": pictures.uris });
    Ok(embeddable(&data.to_string()))
}

/// JSON without what could end a script element or begin markup: escapes that mean the same within strings, where alone these
/// characters occur.
fn embeddable(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            c => safe.push(c),
        }
    }
    safe
}

fn design(view: &StudyView, row: &DesignRow, names: &mut Names, pictures: &Pictures) -> Value {
    let costs = [("Compute", &row.macs), ("Weights", &row.bytes), ("Upload per image", &row.upload)];
    let mut cost: Vec<Value> = costs.iter().map(|(name, q)| json!([names.index(name), q.text])).collect();
    cost.extend(row.further_costs.iter().map(|(name, text)| json!([names.index(name), text])));
    let figures: Vec<Value> = row
        .sources
        .iter()
        .map(|source| {
            let values: Vec<Value> = Metric::ALL.iter().map(|&m| estimate(m, source.figures.get(m))).collect();
            json!([names.index(&source.name), names.index(&source.detail), values])
        })
        .collect();
    let mut object = json!({
        "id": row.id,
        "split": row.split,
        "depth": row.depth,
        "of": row.layer_channels,
        "selection": row.selection,
        "known": row.known_by.label(),
        "sign": row.known_by.sign(),
        "budgets": row.feasibility.label(),
        "figures": figures,
        "cost": cost,
    });
    let mut set = |key: &str, value: Value| object[key] = value;
    if view.chosen.as_ref().is_some_and(|chosen| chosen.id == row.id) {
        set("chosen", json!(true));
    }
    if row.pareto {
        set("pareto", json!(true));
    }
    match row.mixed {
        true => set("mixed", json!(true)),
        false => set("channels", json!(row.channels)),
    }
    if let Some(p) = row.probability_feasible {
        set("probability", json!(super::super::text::percent(p)));
    }
    if let Some(evaluation) = row.evaluation {
        set("evaluation", json!(evaluation));
    }
    if let Some(reason) = &row.reason {
        set("reason", json!(names.index(reason)));
    }
    if !row.remarks.is_empty() {
        set("remarks", json!(row.remarks));
    }
    if let Some(shown) = row.most_exposed().and_then(|pair| pictures.shown(pair)) {
        set("exposed", shown);
    }
    let sections: Vec<Value> = row
        .pictures
        .iter()
        .map(|section| {
            let pairs: Vec<Value> = section.pairs.iter().filter_map(|pair| pictures.shown(pair)).collect();
            json!([section.title, section.caption, pairs])
        })
        .collect();
    if !sections.is_empty() {
        set("pictures", json!(sections));
    }
    object
}

/// Value and error, in the metric's printed unit and with its digits.
fn estimate(metric: Metric, estimate: Option<Estimate>) -> Value {
    let Some(Estimate { value, se }) = estimate else { return Value::Null };
    let digits = 10f64.powi(metric.decimals() as i32);
    let rounded = |value: f64| (value * metric.scale() * digits).round() / digits;
    if se > 0.0 { json!([rounded(value), rounded(se)]) } else { json!([rounded(value)]) }
}

/// Texts that many designs share, by number.
#[derive(Default)]
struct Names {
    all: Vec<String>,
    known: HashMap<String, usize>,
}

impl Names {
    fn index(&mut self, name: &str) -> usize {
        if let Some(&index) = self.known.get(name) {
            return index;
        }
        self.all.push(name.to_owned());
        self.known.insert(name.to_owned(), self.all.len() - 1);
        self.all.len() - 1
    }
}

/// Pictures as data URIs, each once.
#[derive(Default)]
struct Pictures {
    uris: Vec<String>,
    known: HashMap<blake3::Hash, usize>,
    room: usize,
}

impl Pictures {
    /// Takes in a pair's pictures as long as there is room for both.
    fn admit(&mut self, pair: &GalleryPair) -> Result<(), ReportError> {
        let pictures = [&pair.original, &pair.reconstruction];
        let mut new = Vec::new();
        for picture in pictures {
            let key = blake3::hash(&picture.rgb);
            if !self.known.contains_key(&key) {
                new.push((key, png::data_uri(picture)?));
            }
        }
        let size: usize = new.iter().map(|(_, uri)| uri.len()).sum();
        if self.room + size > PICTURE_ROOM {
            return Ok(());
        }
        self.room += size;
        for (key, uri) in new {
            self.known.insert(key, self.uris.len());
            self.uris.push(uri);
        }
        Ok(())
    }

    /// A pair as the script takes it; `None` where there was no room for it.
    fn shown(&self, pair: &GalleryPair) -> Option<Value> {
        let of = |rgb: &[u8]| self.known.get(&blake3::hash(rgb)).copied();
        let (original, reconstruction) = (of(&pair.original.rgb)?, of(&pair.reconstruction.rgb)?);
        let figures = super::super::plot::gallery::figures(pair);
        Some(json!([pair.exposure.label(), figures, original, reconstruction]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_json_can_end_its_script_and_nothing_is_lost() {
        let hostile = "</script><script>alert(1)</script><!--\u{2028}&amp;\"\\";
        let text = embeddable(&json!({ "name": hostile }).to_string());
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["name"], hostile);
    }
}
