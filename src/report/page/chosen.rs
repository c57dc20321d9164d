//! The chosen design: its figures, what each attack recovers of it, and the channels that it was chosen from.

use super::super::ReportError;
use super::super::plot::scene::Scene;
use super::super::text::{self, escape, fixed, plural};
use super::super::view::{Chosen, Metric, StudyView};
use super::table::Table;
use super::{paragraph, plots};

/// The chosen design, and what was predicted, measured and verified of it.
pub(super) fn figures(view: &StudyView) -> String {
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
        "<section id=\"figures\">\n<h2>The design and its figures</h2>\n{}{table}{}</section>\n",
        design(view, chosen),
        paragraph("floors", &text::floors(view))
    )
}

/// What each attack recovers of the chosen design: a plot, and the same as a table.
pub(super) fn attacks(view: &StudyView, scene: Option<&Scene>) -> Result<String, ReportError> {
    let (Some(chosen), Some(scene)) = (&view.chosen, scene) else {
        return Ok(String::new());
    };
    let caption = "Every attack that verification ran on the design, on the same evaluation images. The budget is held against the \
                   upper limit, which allows for sixteen times the training and for the draw of the images.";
    plots::figure("What each attack recovers", scene, None, caption, &ladder(chosen))
}

/// The table beside the plot of attacks.
fn ladder(chosen: &Chosen) -> String {
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

/// The channels of the chosen layer: a plot, and the same as a table.
pub(super) fn channels(view: &StudyView, scene: Option<&Scene>) -> Result<String, ReportError> {
    let (Some(map), Some(scene)) = (&view.channels, scene) else {
        return Ok(String::new());
    };
    let mixed = view.chosen.as_ref().is_some_and(|chosen| chosen.mixed);
    let how = if mixed { " The chosen design mixes all of them: none is marked." } else { "" };
    let caption = format!(
        "Each of the {} of {}, in closed form and by itself: how well its quarters' means separate the classes, and what a linear map \
         makes of it, position by position. Stand-ins by which channels are chosen, not results: redundancy between channels, and what \
         a stronger attack makes of all of them together, aren't in them.{how}",
        plural(map.channels.len(), "channel"),
        map.split
    );
    let columns = ["Channel", "Kept", "Class separation", "Leakage (dB)", "Fisher, map", "Fisher, mean"];
    let mut table = Table::new(&format!("Channels of {}", map.split), columns);
    for (index, channel) in map.channels.iter().enumerate() {
        let kept = if channel.chosen { "yes" } else { "no" };
        let figures = match channel.dead {
            true => ["the same on all training images".to_owned(), "–".to_owned(), "–".to_owned(), "–".to_owned()],
            false => [
                fixed(channel.utility, 4),
                fixed(channel.leakage, 2),
                fixed(channel.fisher[0], 4),
                fixed(channel.fisher[1], 4),
            ],
        };
        table.row([index.to_string(), kept.to_owned()].into_iter().chain(figures));
    }
    let heading = format!("Channels of {}", escape(&map.split));
    plots::figure(&heading, scene, None, &caption, &table.folded("Channels as a table"))
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
    super::facts(&facts) + &channels
}
