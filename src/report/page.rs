//! The page: one HTML file that holds its style, its script, its plots and its pictures, and asks nothing of any network.

mod answer;
mod chosen;
mod data;
mod designs;
mod gallery;
mod meaning;
mod plots;
mod table;

use super::ReportError;
use super::plot::Plots;
use super::plot::scene::Scene;
pub(super) use gallery::pictures;

pub(super) use super::text::duration;
use super::text::{escape, plural};
use super::view::StudyView;
use designs::Shown;
use table::Table;

const STYLE: &str = include_str!("page/style.css");
/// The script, one part per purpose; together they are one function.
const SCRIPT: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("page/script/data.js"),
    include_str!("page/script/filters.js"),
    include_str!("page/script/table.js"),
    include_str!("page/script/marks.js"),
    include_str!("page/script/panel.js"),
    include_str!("page/script/live.js"),
    "})();\n"
);

/// Designs that a page tells of at most.
const MOST_DESIGNS: usize = 2000;
/// Bytes that a page has at most: for that it tells of fewer designs, where it must.
const LARGEST: usize = 2_900_000;
/// But of no fewer than this.
const FEWEST_DESIGNS: usize = 50;

/// Writes the page.
pub(super) fn html(view: &StudyView, plots: &Plots) -> Result<String, ReportError> {
    let mut most = MOST_DESIGNS.min(view.designs.len());
    loop {
        let page = telling_of(view, plots, &Shown::new(view, most))?;
        if page.len() <= LARGEST || most <= FEWEST_DESIGNS {
            return Ok(page);
        }
        // A page's size is about in proportion to them.
        let fitting = 0.9 * most as f64 * LARGEST as f64 / page.len() as f64;
        most = (fitting as usize).max(FEWEST_DESIGNS);
    }
}

fn telling_of(view: &StudyView, plots: &Plots, shown: &Shown<'_>) -> Result<String, ReportError> {
    let sections = [
        answer::section(view),
        plots::budgets(view, &plots.budgets)?,
        plots::pareto(view, &plots.pareto, shown)?,
        designs::section(view, shown),
        plots::heatmaps(view, &plots.heatmaps, shown)?,
        chosen::figures(view),
        chosen::attacks(view, plots.ladder.as_ref())?,
        chosen::channels(view, plots.channels.as_ref())?,
        gallery::section(view, shown)?,
        meaning::section(view),
        plots::predictions(view, &plots.predictions, shown)?,
        plots::history(view, &plots.history, shown)?,
        provenance(view),
    ];
    let data = data::json(view, &shown.rows)?;
    let data = format!("<script type=\"application/json\" id=\"study-data\">{data}</script>\n");
    let content = Content { sections: sections.concat(), data, script: SCRIPT };
    Ok(document("PrivyNet report", &view.name, &view.subject, &navigation(view, plots), &content))
}

/// What stands in a page's frame.
pub(super) struct Content {
    /// The sections.
    pub sections: String,
    /// Data for the script; most often none.
    pub data: String,
    /// What runs; the page is whole without it.
    pub script: &'static str,
}

/// A page around its content; `links` are its sections' ids and short names.
pub(super) fn document(brand: &str, name: &str, subject: &str, links: &[(&str, &str)], content: &Content) -> String {
    let (name, subject) = (escape(name), escape(subject));
    let links: String = links.iter().map(|(id, name)| format!("<a href=\"#{id}\">{name}</a>\n")).collect();
    let Content { sections, data, script } = content;
    // What the page needs, it holds: every request is forbidden, and every script but the one with this number, which nobody
    // knows before the page is written.
    let nonce = blake3::hash(format!("{name}{subject}{sections}{data}").as_bytes()).to_hex();
    let policy = format!(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; base-uri 'none'; \
         form-action 'none'"
    );
    let script = match script.is_empty() {
        true => String::new(),
        false => format!("{data}<script nonce=\"{nonce}\">\n{script}</script>\n"),
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{name} · PrivyNet</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#content\">To the content</a>\n\
         <header>\n<p class=\"brand\">{brand}</p>\n<h1>{name}</h1>\n<p class=\"subject\">{subject}</p>\n</header>\n\
         <nav aria-label=\"Sections\">\n{links}</nav>\n<main id=\"content\">\n{sections}</main>\n{script}</body>\n</html>\n"
    )
}

/// A section with its heading and, where there is one, a badge of a class and a label.
pub(super) fn section(id: &str, title: &str, badge: Option<(&str, &str)>, content: &str) -> String {
    let badge = badge.map_or(String::new(), |(class, label)| format!(" <span class=\"badge {class}\">{label}</span>"));
    format!("<section id=\"{id}\">\n<h2>{title}{badge}</h2>\n{content}</section>\n")
}

/// A section with a plot of designs that the page doesn't tell of; its files lie beside the page.
pub(super) fn plot(heading: &str, scene: &Scene, caption: &str) -> Result<String, ReportError> {
    plots::figure(heading, scene, None, caption, "")
}

/// What a reader must know, in a box; nothing where there is none.
pub(super) fn warnings(warnings: &[String], noun: &str) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let heading = plural(warnings.len(), noun);
    format!("<div class=\"warning\" role=\"note\">\n<p><strong>{heading}</strong></p>\n{}</div>\n", list(warnings))
}

/// A fact: its name and its value.
pub(super) type Fact = (&'static str, String);

/// Facts as a list of terms.
pub(super) fn facts(facts: &[Fact]) -> String {
    let facts: String =
        facts.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escape(value))).collect();
    format!("<dl class=\"facts\">\n{facts}</dl>\n")
}

/// A table whose first column names its rows.
pub(super) fn table(caption: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new(caption, columns.iter().copied());
    rows.for_each(|row| table.row(row));
    table.html()
}

/// The list of sections; a section without content has no entry.
fn navigation(view: &StudyView, plots: &Plots) -> Vec<(&'static str, &'static str)> {
    let entries = [
        ("answer", "Answer", true),
        ("budgets", "Budgets", true),
        ("pareto", "Trade-off", true),
        ("designs", "Designs", true),
        ("heatmaps", "Heatmaps", true),
        ("figures", "Figures", view.chosen.is_some()),
        ("ladder", "Attacks", plots.ladder.is_some()),
        ("channels", "Channels", plots.channels.is_some()),
        ("gallery", "Pictures", gallery::exists(view)),
        ("threat", "Meaning", true),
        ("predictions", "Model", true),
        ("history", "Search", true),
        ("provenance", "Provenance", true),
    ];
    entries.into_iter().filter(|(_, _, shown)| *shown).map(|(id, name, _)| (id, name)).collect()
}

fn provenance(view: &StudyView) -> String {
    let items: String = view
        .provenance
        .iter()
        .map(|item| {
            format!("<div><dt>{}</dt><dd><code>{}</code></dd></div>\n", escape(&item.name), escape(&item.value))
        })
        .collect();
    let items = if items.is_empty() {
        "<p>Not recorded.</p>\n".to_owned()
    } else {
        format!("<dl class=\"provenance\">\n{items}</dl>\n")
    };
    format!("<section id=\"provenance\">\n<h2>Provenance</h2>\n{items}</section>\n")
}

pub(super) fn paragraph(class: &str, content: &str) -> String {
    if content.is_empty() { String::new() } else { format!("<p class=\"{class}\">{}</p>\n", escape(content)) }
}

pub(super) fn list(items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item))).collect();
    format!("<ul>\n{items}</ul>\n")
}

#[cfg(test)]
mod tests {
    use super::super::plot::style;
    use super::STYLE;

    #[test]
    fn every_colour_that_a_dark_screen_changes_is_named_in_the_style_sheet() {
        for ink in [style::PAPER, style::BLACK, style::GREY, style::GRID, style::LIMIT] {
            let (r, g, b) = ink.rgb;
            for attribute in ["fill", "stroke"] {
                let selector = format!("[{attribute}=\"#{r:02X}{g:02X}{b:02X}\"]");
                assert!(STYLE.contains(&selector), "{selector}");
            }
        }
    }
}
