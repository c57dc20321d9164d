//! Leakage against accuracy: every design, the front, the limits, the floors and the choice.

use super::super::text::{self, fixed};
use super::super::view::{DesignRow, Estimate, Feasibility, Metric, StudyView};
use super::ERRORS_SHOWN;
use super::axes::{Axes, Range};
use super::callout;
use super::font;
use super::legend::Legend;
use super::markers::SplitMarkers;
use super::scene::{Align, HotSpot, Ink, Label, Point, Scene};
use super::style::{BLACK, GREY, LIMIT, Marker, SMALL, WIDTH, placeholder, star};

const HEIGHT: f64 = 600.0;
const LEGEND_WIDTH: f64 = 190.0;

/// A design at its place: mean PSNR in dB, accuracy in percent.
struct Mark<'a> {
    row: &'a DesignRow,
    psnr: Estimate,
    accuracy: Estimate,
    measured: bool,
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
    let verticals = verticals(view);
    let psnrs = marks.iter().map(|m| m.psnr.value).chain(verticals.iter().map(|v| v.psnr));
    let accuracies = marks.iter().map(|m| m.accuracy.value).chain(view.limits.accuracy_min.map(|a| a * 100.0));
    let axes = Axes {
        left: 70.0,
        top: 40.0,
        right: WIDTH - LEGEND_WIDTH - 24.0,
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
    draw_verticals(&mut scene, &axes, &verticals);
    name_regions(&mut scene, &axes, view);
    for mark in marks.iter().filter(|m| !m.measured) {
        markers.of(mark.row).faint(
            &mut scene,
            axes.at(mark.psnr.value, mark.accuracy.value),
            markers.radius(mark.row.depth),
        );
    }
    draw_front(&mut scene, &axes, &marks);
    for mark in marks.iter().filter(|m| m.measured) {
        let ink = markers.of(mark.row).ink.faded(0.7);
        axes.error_bar_y(&mut scene, mark.psnr.value, mark.accuracy.value, ERRORS_SHOWN * mark.accuracy.se, ink);
        axes.error_bar_x(&mut scene, mark.psnr.value, mark.accuracy.value, ERRORS_SHOWN * mark.psnr.se, ink);
    }
    for mark in marks.iter().filter(|m| m.measured) {
        let (at, radius) = (axes.at(mark.psnr.value, mark.accuracy.value), markers.radius(mark.row.depth));
        if mark.row.feasibility == Feasibility::Infeasible {
            markers.of(mark.row).hollow(&mut scene, at, radius);
        } else {
            markers.of(mark.row).filled(&mut scene, at, radius);
        }
    }
    axes.border(&mut scene);
    let places: Vec<_> = marks.iter().map(|m| (axes.at(m.psnr.value, m.accuracy.value), m.measured)).collect();
    if let Some(chosen) = chosen(view, &marks) {
        draw_chosen(&mut scene, &axes, chosen, &places);
    }
    draw_legend(&mut scene, view, &marks, &markers, (axes.right + 24.0, axes.top));
    scene.hot_spots = marks.iter().zip(&places).map(|(mark, (at, _))| hot_spot(mark, *at, &markers)).collect();
    scene
}

fn marks(view: &StudyView) -> Vec<Mark<'_>> {
    let percent = |e: Estimate| Estimate { value: e.value * 100.0, se: e.se * 100.0 };
    view.designs
        .iter()
        .filter_map(|row| {
            // Both figures from one source: a measured accuracy over a predicted leakage would be neither.
            let of =
                |figures: Option<super::super::view::Figures>| figures.and_then(|f| Some((f.psnr_mean?, f.accuracy?)));
            let (measured, (psnr, accuracy)) =
                of(row.measured).map(|m| (true, m)).or_else(|| of(row.predicted).map(|p| (false, p)))?;
            Some(Mark { row, psnr, accuracy: percent(accuracy), measured })
        })
        .collect()
}

fn chosen<'a>(view: &StudyView, marks: &'a [Mark<'a>]) -> Option<&'a Mark<'a>> {
    let id = &view.chosen.as_ref()?.id;
    marks.iter().find(|mark| mark.row.id == *id)
}

/// A labelled vertical line: a floor or the limit on leakage.
struct Vertical {
    psnr: f64,
    text: String,
    ink: Ink,
    solid: bool,
}

/// From left to right.
fn verticals(view: &StudyView) -> Vec<Vertical> {
    let floors = view.floors.iter().map(|floor| Vertical {
        psnr: floor.psnr_mean,
        text: format!("{} {}", floor.name, fixed(floor.psnr_mean, 1)),
        ink: GREY,
        solid: false,
    });
    let limit = view.limits.psnr_mean_max.map(|psnr| Vertical {
        psnr,
        text: format!("limit {} dB", fixed(psnr, if psnr.fract() == 0.0 { 0 } else { 1 })),
        ink: LIMIT,
        solid: true,
    });
    let mut verticals: Vec<_> = floors.chain(limit).collect();
    verticals.sort_by(|a, b| a.psnr.total_cmp(&b.psnr));
    verticals
}

/// Centres of the labels above the axes: as near to their lines as can be without one overlapping another.
///
/// Pushing overlapping labels apart only to the right keeps all gaps, and so does only to the left; so does the mean of both.
fn label_centres(verticals: &[Vertical], axes: &Axes) -> Vec<f64> {
    const GAP: f64 = 14.0;
    let halves: Vec<_> = verticals.iter().map(|v| font::width(&v.text, SMALL, v.solid) / 2.0).collect();
    let lines: Vec<_> = verticals.iter().map(|v| axes.x(v.psnr)).collect();
    let mut rightwards = lines.clone();
    for i in 1..lines.len() {
        rightwards[i] = lines[i].max(rightwards[i - 1] + halves[i - 1] + GAP + halves[i]);
    }
    let mut leftwards = lines;
    for i in (1..halves.len()).rev() {
        leftwards[i - 1] = leftwards[i - 1].min(leftwards[i] - halves[i] - GAP - halves[i - 1]);
    }
    let mut centres: Vec<_> = rightwards.iter().zip(&leftwards).map(|(r, l)| (r + l) / 2.0).collect();
    let overhang = centres.first().zip(halves.first()).map_or(0.0, |(centre, half)| (half + 8.0 - centre).max(0.0));
    centres.iter_mut().for_each(|centre| *centre += overhang);
    centres
}

fn draw_verticals(scene: &mut Scene, axes: &Axes, verticals: &[Vertical]) {
    for (vertical, centre) in verticals.iter().zip(label_centres(verticals, axes)) {
        let x = axes.x(vertical.psnr);
        let (top, bottom) = ((x, axes.top), (x, axes.bottom));
        if vertical.solid {
            scene.line(top, bottom, 1.75, vertical.ink);
        } else {
            scene.dashed(top, bottom, 1.25, vertical.ink, (5.0, 4.0));
        }
        scene.line(top, (centre, axes.top - 14.0), 1.0, vertical.ink);
        let label = Label::new((centre, axes.top - 22.0), vertical.text.clone(), SMALL, vertical.ink, Align::Centre);
        scene.text(if vertical.solid { label.bold() } else { label });
    }
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

/// Joins the measured designs on the front by steps: between two of them nothing better than the lower one was measured.
fn draw_front(scene: &mut Scene, axes: &Axes, marks: &[Mark]) {
    let mut front: Vec<_> =
        marks.iter().filter(|m| m.measured && m.row.pareto).map(|m| (m.psnr.value, m.accuracy.value)).collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut steps: Vec<Point> = Vec::new();
    for (psnr, accuracy) in front {
        let at = axes.at(psnr, accuracy);
        if let Some(&(_, y)) = steps.last() {
            steps.push((at.0, y));
        }
        steps.push(at);
    }
    if steps.len() > 1 {
        scene.path(steps, 1.75, BLACK);
    }
}

/// Stars the chosen design and says what it is.
fn draw_chosen(scene: &mut Scene, axes: &Axes, mark: &Mark, places: &[(Point, bool)]) {
    let at = axes.at(mark.psnr.value, mark.accuracy.value);
    let channels = text::plural(mark.row.depth, "channel");
    let (accuracy, psnr) = (fixed(mark.accuracy.value, 1), fixed(mark.psnr.value, 1));
    let lines = [format!("{}, {channels}", mark.row.split), format!("{accuracy} % at {psnr} dB")];
    callout::draw(scene, axes, at, ("Chosen design", lines), places);
    star(scene, at, 11.0);
}

fn draw_legend(scene: &mut Scene, view: &StudyView, marks: &[Mark], markers: &SplitMarkers, at: Point) {
    let mut legend = Legend::new(at);
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
    if chosen(view, marks).is_some() {
        legend.entry(scene, "chosen design", |scene, at| star(scene, at, 7.5));
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

fn hot_spot(mark: &Mark, at: Point, markers: &SplitMarkers) -> HotSpot {
    let row = mark.row;
    let figures = Metric::ALL.into_iter().filter_map(|metric| {
        let figures = if mark.measured { row.measured } else { row.predicted };
        Some(format!("{}: {}", metric.title(), metric.with_unit(figures?.get(metric)?)))
    });
    let state = if mark.measured { "measured" } else { "predicted" };
    let head = format!("{}, {}, {} ({state})", row.split, text::plural(row.depth, "channel"), row.selection);
    let tail = format!("{}; {}; {} per image", row.macs.text, row.bytes.text, row.upload.text);
    let text = [head].into_iter().chain(figures).chain([tail]).collect::<Vec<_>>().join("\n");
    HotSpot { at, radius: markers.radius(row.depth) + 2.0, design: row.id.clone(), text }
}
