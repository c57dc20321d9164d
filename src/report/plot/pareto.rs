//! Leakage against accuracy: every design, the front, the limits, the floors and the choice.

use super::super::text::{self, fixed};
use super::super::view::{DesignRow, Estimate, Feasibility, Metric, StudyView};
use super::ERRORS_SHOWN;
use super::axes::{Axes, Range};
use super::callout;
use super::font;
use super::legend::{self, Legend};
use super::markers::SplitMarkers;
use super::scene::{self, Align, Label, Point, Scene};
use super::style::{BLACK, GREY, LIMIT, Marker, SMALL, WIDTH, placeholder, star};
use super::verticals::{self, Vertical};

const HEIGHT: f64 = 600.0;
/// Of the star around the chosen design.
const STAR_RADIUS: f64 = 11.0;

/// A design at its place: mean PSNR in dB, accuracy in percent.
struct Mark<'a> {
    row: &'a DesignRow,
    psnr: Estimate,
    accuracy: Estimate,
    measured: bool,
    chosen: bool,
}

/// Draws the Pareto plot.
pub(in super::super) fn draw(view: &StudyView) -> Scene {
    let mut scene = Scene::new("pareto", "Leakage against accuracy of every design", WIDTH, HEIGHT);
    let marks = marks(view);
    if marks.is_empty() {
        placeholder(&mut scene, "No design has been measured or predicted yet.");
        return scene;
    }
    let markers = SplitMarkers::new(view);
    let legend_width = legend::width(markers.splits.iter().map(|(_, name)| *name));
    let limit = view.limits.psnr_mean_max.map(|psnr| Vertical::limit("limit", psnr, true));
    let verticals = verticals::sorted(view, limit);
    let psnrs = marks.iter().map(|m| m.psnr.value).chain(verticals.iter().map(|v| v.psnr));
    let accuracies = marks.iter().map(|m| m.accuracy.value).chain(view.limits.accuracy_min.map(|a| a * 100.0));
    let axes = Axes {
        left: 70.0,
        top: 40.0,
        right: WIDTH - legend_width - 24.0,
        bottom: HEIGHT - 56.0,
        x: Range::around(psnrs, 0.05, 2.0),
        y: Range::around(accuracies, 0.09, 4.0).within(0.0, 100.0),
    };

    regions(&mut scene, &axes, view);
    axes.draw(
        &mut scene,
        "Leakage: mean PSNR of the attacker's reconstructions (dB); further left is more private",
        "Accuracy (%)",
    );
    verticals::draw(&mut scene, &axes, &verticals);
    name_regions(&mut scene, &axes, view);
    for mark in marks.iter().filter(|m| !m.measured) {
        draw_mark(&mut scene, &axes, &markers, mark);
    }
    draw_front(&mut scene, &axes, &marks);
    for mark in marks.iter().filter(|m| m.measured) {
        let ink = markers.of(mark.row).ink.faded(0.7);
        scene.part(&mark.row.id, |scene| {
            axes.error_bar_y(scene, mark.psnr.value, mark.accuracy.value, ERRORS_SHOWN * mark.accuracy.se, ink);
            axes.error_bar_x(scene, mark.psnr.value, mark.accuracy.value, ERRORS_SHOWN * mark.psnr.se, ink);
        });
    }
    // What is surest comes last, over the rest.
    for known in [false, true] {
        for mark in marks.iter().filter(|m| m.measured && m.row.known_by.is_verification() == known) {
            draw_mark(&mut scene, &axes, &markers, mark);
        }
    }
    axes.border(&mut scene);
    let places: Vec<_> = marks.iter().map(|m| (axes.at(m.psnr.value, m.accuracy.value), m.measured)).collect();
    if let Some(chosen) = marks.iter().find(|mark| mark.chosen) {
        scene.part(&chosen.row.id, |scene| draw_chosen(scene, &axes, chosen, &places, view.status.of_choice()));
    }
    draw_legend(&mut scene, view, &marks, &markers, ((axes.right + 24.0, axes.top), legend_width));
    scene
}

/// A design's mark: faint where it is predicted, hollow where it is over a budget, within a ring where verification looked at it.
fn draw_mark(scene: &mut Scene, axes: &Axes, markers: &SplitMarkers, mark: &Mark) {
    let (at, radius) = (axes.at(mark.psnr.value, mark.accuracy.value), markers.radius(mark.row.depth));
    let marker = markers.of(mark.row);
    // A design within a star is as large as that to the pointer.
    let reach = if mark.chosen { STAR_RADIUS } else { radius };
    let spot = scene::Mark { at, radius: reach + 2.0, design: Some(mark.row.id.clone()), text: tip(mark.row) };
    scene.mark(spot, |scene| match (mark.measured, mark.row.feasibility) {
        (false, _) => marker.faint(scene, at, radius),
        (true, feasibility) => {
            if mark.row.known_by.is_verification() {
                match mark.chosen {
                    // Around the star, which hides the mark.
                    true => Marker::of(0).in_ink(BLACK).hollow(scene, at, STAR_RADIUS + 3.2),
                    false => marker.in_ink(BLACK).hollow(scene, at, radius + 3.2),
                }
            }
            match feasibility {
                Feasibility::Infeasible => marker.hollow(scene, at, radius),
                _ => marker.filled(scene, at, radius),
            }
        }
    });
}

fn marks(view: &StudyView) -> Vec<Mark<'_>> {
    let chosen = view.chosen.as_ref().map(|chosen| chosen.id.as_str());
    let percent = |e: Estimate| Estimate { value: e.value * 100.0, se: e.se * 100.0 };
    view.designs
        .iter()
        .filter_map(|row| {
            // Both figures from one source: a measured accuracy over a predicted leakage would be neither.
            let of =
                |figures: Option<super::super::view::Figures>| figures.and_then(|f| Some((f.psnr_mean?, f.accuracy?)));
            let (measured, (psnr, accuracy)) =
                of(row.measured).map(|m| (true, m)).or_else(|| of(row.predicted).map(|p| (false, p)))?;
            Some(Mark { row, psnr, accuracy: percent(accuracy), measured, chosen: chosen == Some(row.id.as_str()) })
        })
        .collect()
}

/// Shades what the limits exclude.
fn regions(scene: &mut Scene, axes: &Axes, view: &StudyView) {
    let shade = LIMIT.faded(0.09);
    let limit = view.limits.psnr_mean_max.map(|psnr| axes.clamp((axes.x(psnr), 0.0)).0);
    if let Some(x) = limit {
        scene.rectangle((x, axes.top), (axes.right, axes.bottom), shade);
    }
    if let Some(accuracy) = view.limits.accuracy_min {
        let y = axes.clamp((0.0, axes.y(accuracy * 100.0))).1;
        scene.rectangle((axes.left, y), (limit.unwrap_or(axes.right), axes.bottom), shade);
    }
}

/// Names the shaded regions, over the grid.
fn name_regions(scene: &mut Scene, axes: &Axes, view: &StudyView) {
    if let Some(psnr) = view.limits.psnr_mean_max {
        let text = "over the leakage limit";
        if axes.right - axes.x(psnr) > font::width(text, SMALL, false) + 16.0 {
            scene.text(Label::new((axes.right - 8.0, axes.bottom - 12.0), text, SMALL, LIMIT, Align::Right));
        }
    }
    if let Some(accuracy) = view.limits.accuracy_min {
        let y = axes.clamp((0.0, axes.y(accuracy * 100.0))).1;
        scene.line((axes.left, y), (axes.right, y), 1.75, LIMIT);
        let text = format!("least accuracy {} %", fixed(accuracy * 100.0, 1));
        scene.text(Label::new((axes.right - 8.0, y + 12.0), text, SMALL, LIMIT, Align::Right).bold());
    }
}

/// Joins the measured designs on the front.
fn draw_front(scene: &mut Scene, axes: &Axes, marks: &[Mark]) {
    let front = marks.iter().filter(|m| m.measured && m.row.pareto);
    let steps = axes.stairs(front.map(|m| (m.psnr.value, m.accuracy.value)));
    if steps.len() > 1 {
        scene.path(steps, 1.75, BLACK);
    }
}

/// Stars the chosen design and says what it is.
fn draw_chosen(scene: &mut Scene, axes: &Axes, mark: &Mark, places: &[(Point, bool)], name: &str) {
    let at = axes.at(mark.psnr.value, mark.accuracy.value);
    let channels = text::plural(mark.row.depth, "channel");
    let (accuracy, psnr) = (fixed(mark.accuracy.value, 1), fixed(mark.psnr.value, 1));
    let split = font::fitted(&mark.row.split, SMALL, false, 220.0);
    let lines = [format!("{split}, {channels}"), format!("{accuracy} % at {psnr} dB")];
    callout::draw(scene, axes, at, (name, lines), places);
    star(scene, at, STAR_RADIUS);
}

fn draw_legend(scene: &mut Scene, view: &StudyView, marks: &[Mark], markers: &SplitMarkers, (at, width): (Point, f64)) {
    let mut legend = Legend::new(at, width);
    legend.heading(scene, "Split layer");
    for (index, (_, name)) in markers.splits.iter().enumerate() {
        legend.entry(scene, name, |scene, at| Marker::of(index).filled(scene, at, 5.5));
    }
    legend.heading(scene, "Channels kept");
    for depth in thinned(&markers.depths, 5) {
        legend.entry(scene, &depth.to_string(), |scene, at| {
            Marker::of(0).in_ink(GREY).filled(scene, at, markers.radius(depth))
        });
    }
    legend.heading(scene, "Marks");
    let circle = Marker::of(0).in_ink(GREY);
    let any = |test: &dyn Fn(&Mark) -> bool| marks.iter().any(test);
    if any(&|m| m.measured && m.row.known_by.is_verification()) {
        legend.entry(scene, "put to verification", |scene, at| {
            circle.in_ink(BLACK).hollow(scene, at, 8.2);
            circle.filled(scene, at, 5.0);
        });
    }
    if any(&|m| m.measured) {
        legend.entry(scene, "measured ± 2 s.e.", |scene, at| {
            scene.line((at.0 - 10.0, at.1), (at.0 + 10.0, at.1), 1.0, GREY);
            scene.line((at.0, at.1 - 9.0), (at.0, at.1 + 9.0), 1.0, GREY);
            circle.filled(scene, at, 5.0);
        });
    }
    if any(&|m| m.measured && m.row.feasibility == Feasibility::Infeasible) {
        legend.entry(scene, "measured, over a budget", |scene, at| circle.hollow(scene, at, 5.0));
    }
    if any(&|m| !m.measured) {
        legend.entry(scene, "predicted", |scene, at| circle.faint(scene, at, 5.0));
    }
    if any(&|m| m.measured && m.row.pareto) {
        legend.entry(scene, "measured Pareto front", |scene, at| {
            scene.line((at.0 - 11.0, at.1), (at.0 + 11.0, at.1), 1.75, BLACK)
        });
    }
    if any(&|m| m.chosen) {
        legend.entry(scene, &view.status.of_choice().to_lowercase(), |scene, at| star(scene, at, 7.5));
    }
    if !view.floors.is_empty() {
        legend.entry(scene, "image without detail", |scene, at| {
            scene.dashed((at.0 - 11.0, at.1), (at.0 + 11.0, at.1), 1.25, GREY, (5.0, 4.0));
        });
    }
    if view.limits.psnr_mean_max.is_some() || view.limits.accuracy_min.is_some() {
        legend.entry(scene, "beyond a limit", |scene, (x, y)| {
            scene.rectangle((x - 11.0, y - 6.0), (x + 11.0, y + 6.0), LIMIT.faded(0.09));
            scene.line((x - 11.0, y - 6.0), (x - 11.0, y + 6.0), 1.75, LIMIT);
        });
    }
    scene.height = scene.height.max(legend.bottom());
}

/// At most `most` of the values, the first and the last among them.
fn thinned(values: &[usize], most: usize) -> Vec<usize> {
    if values.len() <= most {
        return values.to_vec();
    }
    (0..most).map(|i| values[i * (values.len() - 1) / (most - 1)]).collect()
}

/// What is said of a design that is pointed at.
pub(super) fn tip(row: &DesignRow) -> String {
    let figures = Metric::ALL.into_iter().filter_map(|metric| {
        Some(format!("{}: {}", metric.title(), text::append_unit(text::shown(row, metric)?, metric.unit())))
    });
    let head = format!(
        "{}, {}, {} ({}, {})",
        row.split,
        text::plural(row.depth, "channel"),
        row.selection,
        row.known_by.label(),
        row.feasibility.label()
    );
    let tail = format!("{}; {}; {} per image", row.macs.text, row.bytes.text, row.upload.text);
    [head].into_iter().chain(figures).chain([tail]).collect::<Vec<_>>().join("\n")
}
