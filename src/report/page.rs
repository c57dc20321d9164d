//! The page: one HTML file that holds its style, its script, its plots and its pictures, and asks nothing of any network.

mod designs;
mod gallery;
mod plots;
mod table;

use super::ReportError;
use super::plot::Plots;
pub(super) use gallery::pictures;

pub(super) use super::text::duration;
use super::text::{self, escape, plural};
use super::view::{Chosen, Metric, StudyView};
use table::Table;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");
/// Forbids every request: what the page needs, it holds.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Writes the page.
pub(super) fn html(view: &StudyView, plots: &Plots) -> Result<String, ReportError> {
    let sections = [
        answer(view),
        figures(view),
        plots::budgets(view, &plots.budgets)?,
        plots::pareto(view, &plots.pareto)?,
        plots::heatmaps(view, &plots.heatmaps)?,
        gallery::section(view)?,
        threat(view),
        plots::predictions(view, &plots.predictions)?,
        plots::history(view, &plots.history)?,
        designs::section(view),
        provenance(view),
    ];
    Ok(document("PrivyNet report", &view.name, &view.subject, &navigation(view), &sections.concat()))
}

/// A page around its sections; `links` are their ids and short names.
pub(super) fn document(brand: &str, name: &str, subject: &str, links: &[(&str, &str)], sections: &str) -> String {
    let (name, subject) = (escape(name), escape(subject));
    let links: String = links.iter().map(|(id, name)| format!("<a href=\"#{id}\">{name}</a>\n")).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{name} · PrivyNet</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"brand\">{brand}</p>\n<h1>{name}</h1>\n<p class=\"subject\">{subject}</p>\n</header>\n\
         <nav aria-label=\"Sections\">\n{links}</nav>\n<main>\n{sections}</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// A section with its heading and, where there is one, a badge of a class and a label.
pub(super) fn section(id: &str, title: &str, badge: Option<(&str, &str)>, content: &str) -> String {
    let badge = badge.map_or(String::new(), |(class, label)| format!(" <span class=\"badge {class}\">{label}</span>"));
    format!("<section id=\"{id}\">\n<h2>{title}{badge}</h2>\n{content}</section>\n")
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
fn navigation(view: &StudyView) -> Vec<(&'static str, &'static str)> {
    let entries = [
        ("answer", "Answer", true),
        ("figures", "Figures", view.chosen.is_some()),
        ("budgets", "Budgets", true),
        ("pareto", "Trade-off", true),
        ("heatmaps", "Heatmaps", true),
        ("gallery", "Reconstructions", gallery::exists(view)),
        ("threat", "Meaning", true),
        ("predictions", "Model", true),
        ("history", "Search", true),
        ("designs", "Designs", true),
        ("provenance", "Provenance", true),
    ];
    entries.into_iter().filter(|(_, _, shown)| *shown).map(|(id, name, _)| (id, name)).collect()
}

fn answer(view: &StudyView) -> String {
    let status = view.status;
    let content = [
        paragraph("answer", &text::answer(view)),
        paragraph("floors", &text::floors(view)),
        list(&view.explanation),
        warnings(&view.warnings, "warning"),
    ];
    section("answer", "Answer", Some((status.class(), status.label())), &content.concat())
}

/// The chosen design, and what was predicted, measured and verified of it.
fn figures(view: &StudyView) -> String {
    let Some(chosen) = &view.chosen else {
        return String::new();
    };
    let sources = [
        ("Short training (search)", chosen.measured),
        ("Expected of verification", chosen.expected),
        (if chosen.refuted { "Verification (refuted)" } else { "Verified" }, chosen.verified),
        ("At most", chosen.upper),
    ];
    let shown: Vec<_> = sources.iter().filter_map(|(name, figures)| Some((*name, (*figures)?))).collect();
    let mut table = Table::new(
        "Figures of the design, each with its standard error; “at most” allows for sixteen times the training and, at the \
         study's confidence, for the draw of the images",
        ["Figure"].into_iter().chain(shown.iter().map(|s| s.0)),
    );
    for metric in Metric::ALL {
        let values = shown
            .iter()
            .map(|(_, figures)| figures.get(metric).map_or_else(|| "–".to_owned(), |e| metric.with_unit(e)));
        table.row([metric.title().to_owned()].into_iter().chain(values));
    }
    let table = if shown.is_empty() { "<p>No figures yet.</p>\n".to_owned() } else { table.html() };
    format!(
        "<section id=\"figures\">\n<h2>The design and its figures</h2>\n{}{table}{}{}</section>\n",
        design(view, chosen),
        ladder(chosen),
        paragraph("floors", &text::floors(view))
    )
}

/// What each attack recovers of the chosen design.
fn ladder(chosen: &Chosen) -> String {
    if chosen.ladder.is_empty() {
        return String::new();
    }
    let leakage = || Metric::ALL.into_iter().filter(|&metric| metric != Metric::Accuracy);
    let mut table = Table::new(
        "Attacks on the design, on the same evaluation images; a trained attack that recovers less than a linear map would \
         take “verified” away",
        ["Attack"].into_iter().chain(leakage().map(Metric::title)),
    );
    for rung in &chosen.ladder {
        let figures =
            leakage().map(|metric| rung.figures.get(metric).map_or_else(|| "–".to_owned(), |e| metric.with_unit(e)));
        table.row([rung.attack.clone()].into_iter().chain(figures));
    }
    table.html()
}

fn design(view: &StudyView, chosen: &Chosen) -> String {
    let channels: Vec<_> = chosen.channels.iter().map(ToString::to_string).collect();
    let mut facts = vec![
        ("Split layer", chosen.split.clone()),
        match chosen.mixed {
            true => ("Combinations kept", format!("{} of {} channels", chosen.depth, chosen.layer_channels)),
            false => ("Channels kept", format!("{} of {}", chosen.depth, chosen.layer_channels)),
        },
        ("Selection", chosen.selection.clone()),
    ];
    if let Some(row) = view.chosen_row() {
        facts.push(("Compute", row.macs.text.clone()));
        facts.push(("Weights", row.bytes.text.clone()));
        facts.push(("Upload per image", row.upload.text.clone()));
    }
    facts.push(("Id", chosen.id.clone()));
    let channels = if channels.is_empty() {
        String::new()
    } else {
        format!(
            "<details><summary>Indices of the channels kept</summary>\n<p class=\"channels\">{}</p></details>\n",
            channels.join(", ")
        )
    };
    self::facts(&facts) + &channels
}

fn threat(view: &StudyView) -> String {
    let threat = &view.threat;
    let mut meaning = vec![
        "Leakage is the best reconstruction that any of the attacks listed here reached on images that no training saw.".to_owned(),
        "PSNR is the mean squared error over all pixels on a logarithmic scale: 3 dB more is half the error. At the mean image the \
         attacker learned nothing about the single image; at the 8×8 thumbnail, about as much as a thumbnail shows; above some 30 dB \
         the reconstruction is hardly told apart from the original."
            .to_owned(),
    ];
    meaning.extend(threat.remarks.iter().cloned());
    let limits = [
        "It is no proof: an attacker with more pairs, more computation or a better attack may recover more.",
        "The mean does not protect each image: the 95th percentile, the maximum and the most exposed image say how bad it can get.",
        "PSNR and SSIM compare pixels, not meaning: what an image shows may be guessed from a poor reconstruction, and the cloud net is \
         trained to tell its class.",
        "It holds for images like those of the evaluation part; other images need a study of their own.",
    ]
    .map(str::to_owned);
    let attacks = if threat.attacks.is_empty() {
        "<p>No attack has run yet.</p>\n".to_owned()
    } else {
        format!("<p>Attacks that ran:</p>\n{}", list(&threat.attacks))
    };
    format!(
        "<section id=\"threat\">\n<h2>What the leakage figures mean, and what they do not</h2>\n<p>{}</p>\n{attacks}\
         <h3>They mean</h3>\n{}<h3>They do not mean</h3>\n{}</section>\n",
        escape(&threat.attacker),
        list(&meaning),
        list(&limits)
    )
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
