//! A label in a plot crowded with marks, placed where it hides the fewest of them.

use super::axes::Axes;
use super::font;
use super::scene::{Align, Label, Point, Scene};
use super::style::{BLACK, PAPER, SMALL};

/// Draws a box with a bold heading and two lines of text that points at a place within the axes. `marks` are the places of the
/// other marks and whether each must rather stay visible.
pub(in super::super) fn draw(
    scene: &mut Scene,
    axes: &Axes,
    at: Point,
    (heading, lines): (&str, [String; 2]),
    marks: &[(Point, bool)],
) {
    const PAD: f64 = 8.0;
    let width =
        lines.iter().map(|line| font::width(line, SMALL, false)).fold(font::width(heading, SMALL, true), f64::max)
            + 2.0 * PAD;
    let height = 56.0;
    let offsets = [30.0, 55.0, 85.0, 120.0, 160.0, 210.0];
    let candidates = offsets.into_iter().flat_map(|distance| {
        (0..24).map(move |i| {
            let angle = std::f64::consts::TAU * f64::from(i) / 24.0;
            (at.0 + angle.cos() * (distance + width / 2.0), at.1 + angle.sin() * (distance + height / 2.0))
        })
    });
    let corner = |centre: Point| (centre.0 - width / 2.0, centre.1 - height / 2.0);
    let edge = |(left, top): Point| (at.0.clamp(left, left + width), at.1.clamp(top, top + height));
    let cost = |centre: &Point| {
        let (left, top) = corner(*centre);
        let (right, bottom) = (left + width, top + height);
        let outside =
            left < axes.left + 6.0 || right > axes.right - 6.0 || top < axes.top + 6.0 || bottom > axes.bottom - 24.0;
        let end = edge((left, top));
        let length = (end.0 - at.0).hypot(end.1 - at.1);
        let covered: f64 = marks
            .iter()
            .filter(|(place, _)| {
                let under =
                    (left - 8.0..right + 8.0).contains(&place.0) && (top - 8.0..bottom + 8.0).contains(&place.1);
                // What lies right at the place is hidden by its own mark anyhow; beyond it the leading line may cross a mark.
                let beyond = (place.0 - at.0).hypot(place.1 - at.1) > 14.0;
                under || beyond && distance_to_segment(*place, at, end) < 8.0
            })
            .map(|(_, precious)| if *precious { 4.0 } else { 1.0 })
            .sum();
        f64::from(u8::from(outside)) * 1e4 + covered * 20.0 + length * 0.4
    };
    let best = candidates.min_by(|a, b| cost(a).total_cmp(&cost(b)));
    if let Some(centre) = best {
        let (left, top) = corner(centre);
        scene.line(at, edge((left, top)), 1.0, BLACK);
        scene.rectangle((left, top), (left + width, top + height), PAPER.faded(0.9));
        scene.frame((left, top), (left + width, top + height), 1.0, BLACK);
        scene.text(Label::new((left + PAD, top + 13.0), heading, SMALL, BLACK, Align::Left).bold());
        for (line, y) in lines.into_iter().zip([28.5, 44.0]) {
            scene.text(Label::new((left + PAD, top + y), line, SMALL, BLACK, Align::Left));
        }
    }
}

fn distance_to_segment(point: Point, from: Point, to: Point) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let squared = dx * dx + dy * dy;
    let share = if squared > 0.0 {
        (((point.0 - from.0) * dx + (point.1 - from.1) * dy) / squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (point.0 - from.0 - share * dx).hypot(point.1 - from.1 - share * dy)
}
