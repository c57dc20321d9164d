//! The table of designs, which the script makes sortable and filterable.

use std::collections::HashSet;

use super::super::text::{self, design_anchor, escape, plural};
use super::super::view::{DesignRow, Metric, Quantity, StudyView};

/// The designs that a page tells of.
pub(super) struct Shown<'a> {
    /// The most important first.
    pub rows: Vec<&'a DesignRow>,
    ids: HashSet<&'a str>,
}

impl<'a> Shown<'a> {
    /// At most so many: the chosen one first, then the front, the measured ones, and the likeliest to be feasible.
    pub fn new(view: &'a StudyView, most: usize) -> Self {
        let chosen = view.chosen.as_ref().map(|c| c.id.as_str());
        let mut rows: Vec<_> = view.designs.iter().collect();
        rows.sort_by(|a, b| rank(b, chosen).partial_cmp(&rank(a, chosen)).unwrap_or(std::cmp::Ordering::Equal));
        rows.truncate(most);
        let ids = rows.iter().map(|row| row.id.as_str()).collect();
        Self { rows, ids }
    }

    /// Whether this design is among them.
    pub fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }
}

pub(super) fn section(view: &StudyView, Shown { rows, .. }: &Shown) -> String {
    let chosen = view.chosen.as_ref().map(|c| c.id.as_str());
    let omitted = view.designs.len() - rows.len();
    let measured = rows.iter().filter(|row| row.measured.is_some()).count();
    let intro = match (rows.len(), omitted) {
        (0, _) => "No designs yet.".to_owned(),
        (_, 0) => format!("{}, {measured} of them measured.", plural(rows.len(), "design")),
        (_, omitted) => format!(
            "The {} measured or likeliest to be within budget; {omitted} more are in the study's table (privynet show {} --csv).",
            plural(rows.len(), "design"),
            view.name
        ),
    };
    let columns: String =
        COLUMNS.iter().map(|(name, kind)| format!("<th scope=\"col\" data-kind=\"{kind}\">{name}</th>")).collect();
    let body: String = rows.iter().map(|row| line(row, chosen == Some(row.id.as_str()))).collect();
    format!(
        "<section id=\"designs\">\n<h2>All designs</h2>\n<p>{} {}</p>\n<div class=\"filters\" hidden></div>\n\
         <p id=\"design-marks\">★ chosen, ◆ on the measured Pareto front; ≤ is an upper limit that verification found, ~ what it is expected \
         to find: no claim; others with standard errors.</p>\n\
         <div class=\"scroll tall\" tabindex=\"0\" role=\"group\" aria-label=\"Table of designs\">\
         <table id=\"design-table\" aria-describedby=\"design-marks\">\n\
         <thead><tr>{columns}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n\
         <p class=\"only-print\">In print, only measured designs are listed.</p>\n</section>\n",
        escape(&intro),
        escape(&text::floors(view)),
    )
}

const COLUMNS: [(&str, &str); 14] = [
    ("", "number"),
    ("Split", "number"),
    ("Channels", "number"),
    ("Selection", "text"),
    ("Known by", "number"),
    ("Accuracy (%)", "number"),
    ("PSNR mean (dB)", "number"),
    ("p95 (dB)", "number"),
    ("SSIM", "number"),
    ("P(within budget)", "number"),
    ("Compute", "number"),
    ("Weights", "number"),
    ("Upload", "number"),
    ("Budgets", "text"),
];

fn rank(row: &DesignRow, chosen: Option<&str>) -> (bool, bool, bool, f64, f64) {
    let accuracy = row.best(Metric::Accuracy).map_or(0.0, |(e, _)| e.value);
    (
        chosen == Some(row.id.as_str()),
        row.pareto,
        row.measured.is_some(),
        row.probability_feasible.unwrap_or(0.0),
        accuracy,
    )
}

fn line(row: &DesignRow, chosen: bool) -> String {
    let (mark, rank, meaning) = match (chosen, row.pareto) {
        (true, _) => ("★", 2, "chosen"),
        (false, true) => ("◆", 1, "on the Pareto front"),
        (false, false) => ("", 0, ""),
    };
    let mark = if mark.is_empty() {
        String::new()
    } else {
        format!("<span role=\"img\" aria-label=\"{meaning}\">{mark}</span>")
    };
    let known = row.known_by;
    // What was measured must not look like what was predicted, nor what was verified like what was measured.
    let state = match (row.measured.is_some(), known.is_verification()) {
        (false, _) => "predicted",
        (true, false) => "measured",
        (true, true) => "measured verification",
    };
    let figures: String = [Metric::Accuracy, Metric::PsnrMean, Metric::PsnrP95, Metric::SsimMean]
        .map(|metric| figure(row, metric))
        .concat();
    let probability = row.probability_feasible.map_or_else(|| cell(-1.0, "–"), |p| cell(p, &text::percent(p)));
    let quantity = |q: &Quantity| cell(q.value, &q.text);
    let verdict = row.feasibility.label();
    let anchor = escape(&design_anchor(&row.id));
    format!(
        "<tr class=\"{state}{}\" id=\"{anchor}\" data-design=\"{}\" data-split=\"{split}\" data-depth=\"{depth}\" \
         data-selection=\"{}\" data-known=\"{}\" data-verdict=\"{verdict}\">\
         <td data-v=\"{rank}\">{mark}</td><td data-v=\"{}\"><a href=\"#{anchor}\">{split}</a></td><td data-v=\"{depth}\">{depth}</td>\
         <td>{}</td><td data-v=\"{}\">{} {}</td>{figures}{probability}{}{}{}<td>{} {}</td></tr>\n",
        if chosen { " chosen" } else { "" },
        escape(&row.id),
        escape(&row.selection_kind),
        known.label(),
        row.split_index,
        escape(&row.selection),
        known as u8,
        known.sign(),
        known.label(),
        quantity(&row.macs),
        quantity(&row.bytes),
        quantity(&row.upload),
        row.feasibility.sign(),
        row.feasibility.label(),
        split = escape(&row.split),
        depth = row.depth,
    )
}

fn figure(row: &DesignRow, metric: Metric) -> String {
    match (row.best(metric), text::shown(row, metric)) {
        (Some((estimate, _)), Some(text)) => cell(estimate.value, &text),
        _ => cell(-1.0, "–"),
    }
}

/// A cell that sorts by a number.
fn cell(value: f64, text: &str) -> String {
    format!("<td data-v=\"{}\">{}</td>", short(value), escape(text))
}

/// Enough digits to sort by: the page holds thousands of them.
fn short(value: f64) -> String {
    if value.abs() >= 1000.0 { format!("{value:.0}") } else { format!("{value:.5}") }
}
