//! What each attack recovers of the chosen design, from nothing at all to the strongest, against floors and limits.

use super::super::text::append_unit;
use super::super::view::{Chosen, Estimate, Metric, StudyView};
use super::ERRORS_SHOWN;
use super::axes::{Axes, Range};
use super::font;
use super::legend::Legend;
use super::scene::{Align, Ink, Label, Mark, Scene};
use super::style::{BLACK, GREY, Marker, SMALL, WIDTH};
use super::verticals::{self, Vertical};

const LINE: f64 = 40.0;
const TOP: f64 = 40.0;
const LEGEND_WIDTH: f64 = 200.0;
/// The attack's name takes two lines at most of this width.
const NAME_WIDTH: f64 = 200.0;
/// What is found by an attack.
const FOUND: Ink = Ink::new((0, 114, 178));

/// Draws one line per attack; nothing where none ran or none has a mean PSNR.
pub(in super::super) fn draw(view: &StudyView) -> Option<Scene> {
    let chosen = view.chosen.as_ref()?;
    let lines = lines(chosen);
    if lines.is_empty() {
        return None;
    }
    let bottom = TOP + LINE * lines.len() as f64;
    let title = "PSNR that each attack reaches on the chosen design, with floors and limits";
    let mut scene = Scene::new("ladder", title, WIDTH, bottom + 56.0);
    let verticals = verticals(view);
    let values = lines.iter().flat_map(|line| line.values()).chain(verticals.iter().map(|v| v.psnr));
    let axes = Axes {
        left: NAME_WIDTH + 24.0,
        top: TOP,
        right: WIDTH - LEGEND_WIDTH - 24.0,
        bottom,
        x: Range::around(values, 0.06, 4.0),
        y: Range { low: 0.0, high: 1.0 },
    };
    axes.draw_x(&mut scene, "PSNR (dB); further left is more private");
    verticals::draw(&mut scene, &axes, &verticals);
    for (i, line) in lines.iter().enumerate() {
        draw_line(&mut scene, &axes, line, TOP + LINE * (i as f64 + 0.5));
    }
    axes.border(&mut scene);
    draw_legend(&mut scene, view, &lines, (axes.right + 24.0, TOP));
    Some(scene)
}

/// One attack.
struct Line<'a> {
    name: &'a str,
    mean: Estimate,
    p95: Option<f64>,
    max: Option<f64>,
    /// Not an attack, but what verification allows for.
    bound: bool,
}

impl Line<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        [Some(self.mean.value), self.p95, self.max].into_iter().flatten()
    }
}

fn lines(chosen: &Chosen) -> Vec<Line<'_>> {
    let rungs = chosen.ladder.iter().filter_map(|rung| {
        Some(Line {
            name: &rung.attack,
            mean: rung.figures.psnr_mean?,
            p95: rung.figures.psnr_p95.map(|e| e.value),
            max: rung.figures.psnr_max.map(|e| e.value),
            bound: false,
        })
    });
    let mut lines: Vec<_> = rungs.collect();
    if let Some(upper) = chosen.upper.filter(|_| !lines.is_empty()) {
        lines.extend(upper.psnr_mean.map(|mean| Line {
            name: "at most: what is held against the limit",
            mean,
            p95: upper.psnr_p95.map(|e| e.value),
            max: None,
            bound: true,
        }));
    }
    lines
}

/// Floors, and the limits on mean and tail.
fn verticals(view: &StudyView) -> Vec<Vertical> {
    let mean = view.limits.psnr_mean_max.map(|psnr| Vertical::limit("limit on the mean", psnr, true));
    let p95 = view.limits.psnr_p95_max.map(|psnr| Vertical::limit("on the 95th percentile", psnr, false));
    verticals::sorted(view, mean.into_iter().chain(p95))
}

fn draw_line(scene: &mut Scene, axes: &Axes, line: &Line<'_>, y: f64) {
    let name = wrapped(line.name);
    let first = y - 7.0 * (name.len() - 1) as f64;
    for (i, text) in name.into_iter().enumerate() {
        let label = Label::new((NAME_WIDTH + 10.0, first + 14.0 * i as f64), text, SMALL, BLACK, Align::Right);
        scene.text(if line.bound { label.bold() } else { label });
    }
    let figures = [(Metric::PsnrMean, Some(line.mean.value)), (Metric::PsnrP95, line.p95), (Metric::PsnrMax, line.max)];
    let figures = figures.into_iter().filter_map(|(metric, value)| {
        Some(format!("{}: {}", metric.title(), append_unit(metric.number(value?), metric.unit())))
    });
    let text = [line.name.to_owned()].into_iter().chain(figures).collect::<Vec<_>>().join("\n");
    let at = (axes.x(line.mean.value), y);
    let ink = if line.bound { BLACK } else { FOUND };
    scene.mark(Mark { at, radius: 12.0, design: None, text }, |scene| {
        let furthest = line.values().fold(line.mean.value, f64::max);
        scene.line(at, (axes.x(furthest), y), 1.25, ink.faded(0.6));
        axes.error_bar_across(scene, line.mean.value, y, ERRORS_SHOWN * line.mean.se, ink);
        if let Some(p95) = line.p95 {
            scene.line((axes.x(p95), y - 7.0), (axes.x(p95), y + 7.0), 2.5, ink);
        }
        if let Some(max) = line.max {
            Marker::of(2).in_ink(ink).hollow(scene, (axes.x(max), y), 5.0);
        }
        let marker = Marker::of(if line.bound { 3 } else { 0 }).in_ink(ink);
        marker.filled(scene, at, 6.0);
    });
}

/// A name in at most two lines, the second shortened where it must be.
fn wrapped(name: &str) -> Vec<String> {
    let fits = |text: &str| font::width(text, SMALL, true) <= NAME_WIDTH;
    if fits(name) {
        return vec![name.to_owned()];
    }
    let mut breaks = name.match_indices(' ').map(|(at, _)| at).filter(|&at| fits(&name[..at]));
    match breaks.next_back() {
        Some(at) => vec![name[..at].to_owned(), font::fitted(&name[at + 1..], SMALL, true, NAME_WIDTH)],
        None => vec![font::fitted(name, SMALL, true, NAME_WIDTH)],
    }
}

fn draw_legend(scene: &mut Scene, view: &StudyView, lines: &[Line<'_>], at: (f64, f64)) {
    let mut legend = Legend::new(at, LEGEND_WIDTH);
    legend.heading(scene, "Marks");
    legend.entry(scene, "mean ± 2 s.e.", |scene, at| Marker::of(0).in_ink(FOUND).filled(scene, at, 6.0));
    if lines.iter().any(|line| line.p95.is_some()) {
        legend.entry(scene, "95th percentile", |scene, (x, y)| {
            scene.line((x, y - 7.0), (x, y + 7.0), 2.5, FOUND);
        });
    }
    if lines.iter().any(|line| line.max.is_some()) {
        legend.entry(scene, "image recovered best", |scene, at| Marker::of(2).in_ink(FOUND).hollow(scene, at, 5.0));
    }
    if lines.iter().any(|line| line.bound) {
        legend.entry(scene, "upper limit", |scene, at| Marker::of(3).in_ink(BLACK).filled(scene, at, 6.0));
    }
    if !view.floors.is_empty() {
        legend.entry(scene, "image without detail", |scene, at| {
            scene.dashed((at.0 - 11.0, at.1), (at.0 + 11.0, at.1), 1.25, GREY, (5.0, 4.0));
        });
    }
    scene.height = scene.height.max(legend.bottom());
}
