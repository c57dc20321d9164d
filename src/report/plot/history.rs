//! The search: every evaluation's accuracy and the best feasible one so far.

use super::super::view::{Feasibility, HistoryStep, Metric, StudyView};
use super::ERRORS_SHOWN;
use super::axes::{Axes, Range};
use super::legend::Legend;
use super::scene::{Mark, Point, Scene};
use super::style::{BLACK, GREY, Marker, WIDTH, placeholder, star};

const HEIGHT: f64 = 380.0;
/// Height of the lower panel, of the hypervolume.
const LOWER: f64 = 180.0;
const LEGEND_WIDTH: f64 = 200.0;

/// Draws the search history.
pub(in super::super) fn draw(view: &StudyView) -> Scene {
    let mut scene = Scene::new("history", "Accuracy of each evaluation, in the order of the search", WIDTH, HEIGHT);
    let steps: Vec<_> = view.history.iter().filter_map(|step| Some((step, step.accuracy?))).collect();
    if steps.is_empty() {
        placeholder(&mut scene, "Nothing has been measured yet.");
        return scene;
    }
    let last = view.history.iter().map(|s| s.evaluation).max().unwrap_or(1) as f64;
    let best = view.history.iter().filter_map(|s| s.best_feasible).map(|a| a * 100.0);
    let axes = Axes {
        left: 70.0,
        top: 14.0,
        right: WIDTH - LEGEND_WIDTH - 24.0,
        bottom: HEIGHT - 56.0,
        // Wide enough for ticks at whole numbers.
        x: Range { low: 0.0, high: (last + 1.0).max(10.0) },
        y: Range::around(steps.iter().map(|(_, a)| a.value * 100.0).chain(best), 0.08, 4.0).within(0.0, 100.0),
    };
    axes.draw(&mut scene, "Evaluation", "Accuracy (%)");
    draw_best(&mut scene, &axes, view, last);
    let chosen = view.chosen.as_ref().map(|chosen| &chosen.id);
    let phases = phases(view);
    let marker = |step: &HistoryStep| Marker::of(phases.iter().position(|p| *p == step.phase).unwrap_or(0));
    for (step, accuracy) in steps {
        let (x, y) = (step.evaluation as f64, accuracy.value * 100.0);
        axes.error_bar_y(&mut scene, x, y, ERRORS_SHOWN * accuracy.se * 100.0, marker(step).ink.faded(0.6));
        let at = axes.at(x, y);
        let text = format!(
            "Evaluation {}: {}\nAccuracy: ~{}\n{}\n{}",
            step.evaluation,
            step.design,
            Metric::Accuracy.with_unit(accuracy),
            step.feasibility.label(),
            step.reason
        );
        let mark = Mark { at, radius: 6.6, design: Some(step.design.clone()), text };
        scene.mark(mark, |scene| match step.feasibility {
            _ if chosen == Some(&step.design) => star(scene, at, 9.0),
            Feasibility::Feasible => marker(step).filled(scene, at, 4.6),
            _ => marker(step).hollow(scene, at, 4.6),
        });
    }
    axes.border(&mut scene);
    draw_hypervolume(&mut scene, &axes, view);

    let mut legend = Legend::new((axes.right + 24.0, axes.top), LEGEND_WIDTH);
    legend.heading(&mut scene, "Asked for by");
    for (index, phase) in phases.iter().enumerate() {
        legend.entry(&mut scene, phase, |scene, at| Marker::of(index).filled(scene, at, 5.0));
    }
    legend.heading(&mut scene, "Marks (± 2 s.e.)");
    let circle = Marker::of(0).in_ink(GREY);
    legend.entry(&mut scene, "within every budget", |scene, at| circle.filled(scene, at, 5.0));
    legend.entry(&mut scene, "over a budget, or unsure", |scene, at| circle.hollow(scene, at, 5.0));
    if view.history.iter().any(|step| chosen == Some(&step.design)) {
        legend.entry(&mut scene, &view.status.of_choice().to_lowercase(), |scene, at| star(scene, at, 7.5));
    }
    legend.entry(&mut scene, "best within budget so far", |scene, at| {
        scene.line((at.0 - 11.0, at.1), (at.0 + 11.0, at.1), 1.75, BLACK)
    });
    scene.height = scene.height.max(legend.bottom());
    scene
}

/// The front's hypervolume, in a panel of its own under the accuracies.
fn draw_hypervolume(scene: &mut Scene, above: &Axes, view: &StudyView) {
    let steps: Vec<(f64, f64)> =
        view.history.iter().filter_map(|step| Some((step.evaluation as f64, 100.0 * step.hypervolume?))).collect();
    if steps.is_empty() {
        return;
    }
    scene.height += LOWER;
    let axes = Axes {
        top: HEIGHT + 4.0,
        bottom: HEIGHT + LOWER - 56.0,
        y: Range::around(steps.iter().map(|&(_, volume)| volume).chain([0.0]), 0.08, 1.0).within(0.0, 100.0),
        ..*above
    };
    axes.draw(scene, "Evaluation", "Hypervolume (%)");
    let mut points: Vec<Point> = Vec::new();
    for (evaluation, volume) in steps {
        let at = axes.at(evaluation, volume);
        points.extend(points.last().map(|&(_, y)| (at.0, y)));
        points.push(at);
    }
    scene.path(points, 1.75, BLACK);
    axes.border(scene);
}

/// The phases in the order in which they first appear.
fn phases(view: &StudyView) -> Vec<&str> {
    let mut phases: Vec<&str> = Vec::new();
    for step in &view.history {
        if !phases.contains(&step.phase.as_str()) {
            phases.push(&step.phase);
        }
    }
    phases
}

fn draw_best(scene: &mut Scene, axes: &Axes, view: &StudyView, last: f64) {
    let mut points: Vec<Point> = Vec::new();
    for step in &view.history {
        if let Some(best) = step.best_feasible {
            let at = axes.at(step.evaluation as f64, best * 100.0);
            if let Some(&(_, y)) = points.last() {
                points.push((at.0, y));
            }
            points.push(at);
        }
    }
    if let Some(&(_, y)) = points.last() {
        points.push((axes.x(last + 0.5), y));
        scene.path(points, 1.75, BLACK);
    }
}
