//! Predicted against measured, one panel per metric, each prediction made without the design that it predicts.

use super::super::text::{append_unit, fixed};
use super::super::view::{Diagnostics, Metric, StudyView};
use super::ERRORS_SHOWN;
use super::axes::{Axes, Range};
use super::font;
use super::markers::SplitMarkers;
use super::scene::{Align, Label, Mark, Scene};
use super::style::{BLACK, GREY, Marker, SMALL, TEXT, WIDTH, placeholder};

const COLUMNS: usize = 3;
const PANEL: f64 = 330.0;

/// Draws the panels.
pub(in super::super) fn draw(view: &StudyView) -> Scene {
    let panels: Vec<_> = view.diagnostics.iter().filter(|d| !d.points.is_empty()).collect();
    let title = "Leave-one-out predictions of the surrogates against measurements";
    let lines = panels.len().div_ceil(COLUMNS).max(1);
    let mut scene = Scene::new("predictions", title, WIDTH, PANEL * lines as f64 + 10.0);
    if panels.is_empty() {
        placeholder(&mut scene, "The surrogates have not been fitted yet.");
        return scene;
    }
    let columns = panels.len().min(COLUMNS);
    let width = WIDTH / columns.max(2) as f64;
    for (i, diagnostics) in panels.iter().enumerate() {
        panel(&mut scene, view, diagnostics, (width * (i % COLUMNS) as f64, PANEL * (i / COLUMNS) as f64, width));
    }
    draw_key(&mut scene, view);
    scene
}

fn panel(scene: &mut Scene, view: &StudyView, diagnostics: &Diagnostics, (x, y, width): (f64, f64, f64)) {
    let metric = diagnostics.metric;
    let scale = metric.scale();
    let values = diagnostics.points.iter().flat_map(|p| [p.measured.value * scale, p.predicted.value * scale]);
    let least = if metric == Metric::SsimMean { 0.05 } else { 1.0 };
    let range = Range::around(values, 0.08, least);
    let side = (width - 84.0).min(PANEL - 106.0);
    let axes =
        Axes { left: x + 62.0, top: y + 48.0, right: x + 62.0 + side, bottom: y + 48.0 + side, x: range, y: range };
    let middle = (axes.left + axes.right) / 2.0;
    scene.text(Label::new((middle, y + 14.0), metric.title(), TEXT, BLACK, Align::Centre).bold());
    scene.text(Label::new((middle, y + 33.0), caption(diagnostics), SMALL, GREY, Align::Centre));
    let unit = if metric.unit().is_empty() { String::new() } else { format!(" ({})", metric.unit()) };
    axes.draw(scene, &format!("measured{unit}"), &format!("predicted{unit}"));
    scene.dashed((axes.left, axes.bottom), (axes.right, axes.top), 1.25, GREY, (5.0, 4.0));

    let markers = SplitMarkers::new(view);
    let marker = |id: &str| view.designs.iter().find(|row| row.id == id).map_or(Marker::of(0), |row| markers.of(row));
    for point in &diagnostics.points {
        let (measured, predicted) = (point.measured, point.predicted);
        let ink = marker(&point.design).ink.faded(0.6);
        axes.error_bar_x(
            scene,
            measured.value * scale,
            predicted.value * scale,
            ERRORS_SHOWN * measured.se * scale,
            ink,
        );
        axes.error_bar_y(
            scene,
            measured.value * scale,
            predicted.value * scale,
            ERRORS_SHOWN * predicted.se * scale,
            ink,
        );
    }
    for point in &diagnostics.points {
        let at = axes.at(point.measured.value * scale, point.predicted.value * scale);
        let text = format!(
            "{}\n{}\nmeasured {}\npredicted without it {}",
            point.design,
            metric.title(),
            metric.with_unit(point.measured),
            metric.with_unit(point.predicted)
        );
        let mark = Mark { at, radius: 5.6, design: Some(point.design.clone()), text };
        scene.mark(mark, |scene| marker(&point.design).filled(scene, at, 3.6));
    }
    axes.border(scene);
}

fn caption(diagnostics: &Diagnostics) -> String {
    let metric = diagnostics.metric;
    let r2 = diagnostics.r2.map_or_else(|| "R² undefined".to_owned(), |r2| format!("R² = {}", fixed(r2, 2)));
    let rmse = append_unit(metric.number(diagnostics.rmse), metric.unit());
    format!("{r2}, RMSE {rmse}, coverage {} %", fixed(diagnostics.coverage * 100.0, 0))
}

/// Which mark is which split, in as many lines as that takes.
fn draw_key(scene: &mut Scene, view: &StudyView) {
    const LEFT: f64 = 62.0;
    let (mut x, mut y) = (LEFT, scene.height + 10.0);
    for (index, (_, name)) in view.splits().into_iter().enumerate() {
        let name = font::fitted(name, SMALL, false, WIDTH / 2.0);
        let width = font::width(&name, SMALL, false) + 34.0;
        if x + width > WIDTH && x > LEFT {
            (x, y) = (LEFT, y + 20.0);
        }
        Marker::of(index).filled(scene, (x, y), 4.5);
        scene.text(Label::new((x + 10.0, y), name, SMALL, BLACK, Align::Left));
        x += width;
    }
    scene.height = y + 14.0;
}
