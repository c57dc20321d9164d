//! The sections around the plots: each plot inline, its caption, and the same as a table.

use super::super::ReportError;
use super::super::plot::heatmap::Grid;
use super::super::plot::scene::Scene;
use super::super::text::{self, append_unit, duration, escape, fixed};
use super::super::view::{Metric, StudyView};
use super::designs::Shown;
use super::list;
use super::table::Table;

pub(super) fn budgets(view: &StudyView, scene: &Scene) -> Result<String, ReportError> {
    let mut table = Table::new("Use of each budget", ["Budget", "Limit", "Used", "Left"]);
    for bar in &view.budgets {
        let text = |quantity: Option<&super::super::view::Quantity>| {
            quantity.map_or_else(|| "–".to_owned(), |q| q.text.clone())
        };
        let share = bar.used.as_ref().and_then(|used| bar.fraction(used));
        let left = share.map(|f| format!("{} %", fixed((1.0 - f) * 100.0, 0)));
        let left = bar.spare.clone().or(left).unwrap_or_else(|| "–".to_owned());
        table.row([bar.name.clone(), bar.limit.text.clone(), text(bar.used.as_ref()), left]);
    }
    let caption = format!(
        "How much of each budget the design uses. Leakage counts from the PSNR of the mean image, which needs no features; it is \
         the upper limit from verification at {} confidence, or what that is expected to be.",
        text::percent(view.confidence)
    );
    figure("Budgets", scene, None, &caption, &table.folded("Budgets as a table"))
}

pub(super) fn pareto(view: &StudyView, scene: &Scene, shown: &Shown) -> Result<String, ReportError> {
    let caption = format!(
        "Every design by what it leaks and how accurate the cloud net is; the best lie in the upper left. Colour and shape give the \
         split layer, size the number of channels. Bars are two standard errors to both sides. Point at a mark for its figures and its most \
         exposed image; follow it for all that is known of the design. {}",
        text::floors(view)
    );
    let after = format!(
        "<p class=\"alternative\">The same as a table: <a href=\"#designs\">all designs</a>.</p>\n{}",
        notes(view)
    );
    let filters = "<div class=\"filters\" hidden></div>\n";
    figure_under("Leakage against accuracy", filters, (scene, Some(shown)), &caption, &after)
}

/// How the figures are to be read.
fn notes(view: &StudyView) -> String {
    if view.notes.is_empty() {
        return String::new();
    }
    format!(
        "<div class=\"note\" role=\"note\">\n<p><strong>How to read these figures</strong></p>\n{}</div>\n",
        list(&view.notes)
    )
}

pub(super) fn heatmaps(view: &StudyView, scene: &Scene, shown: &Shown) -> Result<String, ReportError> {
    let grid = Grid::new(view);
    let depths: Vec<_> = grid.depths.iter().map(ToString::to_string).collect();
    let mut tables = String::new();
    for metric in [Metric::Accuracy, Metric::PsnrMean] {
        let caption = format!("{} by split layer and channels kept; ~ marks what was not verified", metric.axis());
        let mut table = Table::new(&caption, ["Split layer"].into_iter().chain(depths.iter().map(String::as_str)));
        for (name, cells) in grid.splits.iter().zip(&grid.cells) {
            let values = cells.iter().map(|cell| {
                let value = cell.as_ref().and_then(|c| Some((c.get(metric)?, c.known_by.is_verification())));
                value.map_or_else(
                    || "–".to_owned(),
                    |(e, verified)| format!("{}{}", if verified { "" } else { "~" }, metric.number(e.value)),
                )
            });
            table.row([name.clone()].into_iter().chain(values));
        }
        tables.push_str(&table.html());
    }
    let caption = format!(
        "Each cell shows one design of its split layer and number of channels: the chosen one, else the most accurate measured one \
         that is within the budgets, else the most accurate; both maps show the same design. {}",
        text::floors(view)
    );
    let tables = format!("<details><summary>Heatmaps as tables</summary>\n{tables}</details>\n");
    figure("Split layer and channels", scene, Some(shown), &caption, &tables)
}

pub(super) fn predictions(view: &StudyView, scene: &Scene, shown: &Shown) -> Result<String, ReportError> {
    let columns = ["Metric", "Designs", "R²", "RMSE", "Inside the interval", "Nominal"];
    let mut summary = Table::new("Leave-one-out figures of the surrogates", columns);
    let mut points = Table::new("Leave-one-out predictions", ["Design", "Metric", "Measured", "Predicted"]);
    for diagnostics in &view.diagnostics {
        let metric = diagnostics.metric;
        summary.row([
            metric.title().to_owned(),
            diagnostics.points.len().to_string(),
            diagnostics.r2.map_or_else(|| "undefined".to_owned(), |r2| fixed(r2, 3)),
            append_unit(metric.number(diagnostics.rmse), metric.unit()),
            format!("{} %", fixed(diagnostics.coverage * 100.0, 0)),
            format!("{} %", fixed(diagnostics.nominal_coverage * 100.0, 0)),
        ]);
        for point in &diagnostics.points {
            let [measured, predicted] = [point.measured, point.predicted].map(|e| metric.with_unit(e));
            points.row([point.design.clone(), metric.title().to_owned(), measured, predicted]);
        }
    }
    let caption = "Each design as predicted by a surrogate fitted to all the others, against its measurement; a perfect model lies on the \
                   dashed line. Bars are two standard deviations of the prediction (upright) and two standard errors of the measurement \
                   (across). Coverage is the share of measurements inside their predictive interval.";
    let tables = if view.diagnostics.is_empty() {
        String::new()
    } else {
        format!("{}{}", summary.html(), points.folded("Every prediction as a table"))
    };
    figure("How well the model predicts", scene, Some(shown), caption, &tables)
}

pub(super) fn history(view: &StudyView, scene: &Scene, shown: &Shown) -> Result<String, ReportError> {
    let columns =
        ["Evaluation", "Design", "Phase", "Reason", "Accuracy", "Budgets", "Best so far", "Hypervolume", "Time"];
    let mut table = Table::new("Evaluations in the order of the search", columns);
    for step in &view.history {
        table.row([
            step.evaluation.to_string(),
            step.design.clone(),
            step.phase.clone(),
            step.reason.clone(),
            step.accuracy.map_or_else(|| "–".to_owned(), |e| Metric::Accuracy.with_unit(e)),
            step.feasibility.label().to_owned(),
            step.best_feasible.map_or_else(|| "–".to_owned(), |v| format!("{} %", Metric::Accuracy.number(v))),
            step.hypervolume.map_or_else(|| "–".to_owned(), |v| format!("{} %", text::fixed(100.0 * v, 1))),
            duration(step.seconds),
        ]);
    }
    let total: f64 = view.history.iter().map(|step| step.seconds).sum();
    let caption = if view.history.is_empty() {
        "No evaluation yet.".to_owned()
    } else {
        format!("{} in {}.", text::plural(view.history.len(), "evaluation"), duration(total))
    };
    figure("The search", scene, Some(shown), &caption, &table.folded("Why each design was measured"))
}

/// A section with one plot, its caption, links to the files beside the page, and what follows. The heading is HTML.
pub(super) fn figure(
    heading: &str,
    scene: &Scene,
    shown: Option<&Shown>,
    caption: &str,
    after: &str,
) -> Result<String, ReportError> {
    figure_under(heading, "", (scene, shown), caption, after)
}

/// The same with something between the heading and the plot.
fn figure_under(
    heading: &str,
    before: &str,
    (scene, shown): (&Scene, Option<&Shown>),
    caption: &str,
    after: &str,
) -> Result<String, ReportError> {
    let name = scene.name;
    // For those who use a keyboard, where there is something to reach.
    let hint = match (scene.is_interactive(), scene.has_links()) {
        (_, true) => "<p class=\"keys\" hidden>Arrow keys go from mark to mark, Enter opens a design.</p>\n",
        (true, false) => "<p class=\"keys\" hidden>Arrow keys go from mark to mark.</p>\n",
        (false, false) => "",
    };
    Ok(format!(
        "<section id=\"{name}\">\n<h2>{heading}</h2>\n{before}<figure>\n<p class=\"only-narrow\">Wider than this screen: move it \
         sideways.</p>\n<div class=\"scroll plot\" tabindex=\"0\" role=\"group\" aria-label=\"{}\"><div class=\"stack\">\n{}</div></div>\n\
         {hint}<figcaption>{} <span class=\"files\"><a href=\"{name}.svg\">SVG</a> <a href=\"{name}.png\">PNG</a></span></figcaption>\n\
         </figure>\n{after}</section>\n",
        escape(&scene.title),
        scene.inline_svg(&|design| shown.is_some_and(|shown| shown.has(design)))?,
        escape(caption),
    ))
}
