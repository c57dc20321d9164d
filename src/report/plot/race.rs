//! Strategies side by side: how much of the best answer each has found after so many evaluations.

use super::super::Race;
use super::axes::{Axes, Range};
use super::legend::Legend;
use super::scene::{Point, Scene};
use super::style::{Marker, WIDTH, placeholder};

const HEIGHT: f64 = 420.0;
const LEGEND_WIDTH: f64 = 200.0;

/// Draws the race.
pub(in super::super) fn draw(race: &Race) -> Scene {
    let title = "Best answer found so far, as a share of the table's best, after each evaluation";
    let mut scene = Scene::new("replay", title, WIDTH, HEIGHT);
    let last = race.curves.iter().map(|curve| curve.mean.len()).max().unwrap_or(0);
    if last == 0 {
        placeholder(&mut scene, "Nothing has been searched yet.");
        return scene;
    }
    // What all have found after a sixth of their evaluations: before that, most have found nothing.
    let late = race.curves.iter().flat_map(|curve| curve.mean.iter().skip(last / 6)).map(|share| 100.0 * share);
    let axes = Axes {
        left: 70.0,
        top: 14.0,
        right: WIDTH - LEGEND_WIDTH - 24.0,
        bottom: HEIGHT - 56.0,
        x: Range { low: 0.0, high: last as f64 + 0.5 },
        y: Range::around(late.chain([100.0]), 0.05, 4.0).within(0.0, 100.5),
    };
    axes.draw(&mut scene, "Evaluations", "Of the best answer (%, mean over seeds)");
    for (index, curve) in race.curves.iter().enumerate() {
        let at = |(step, share): (usize, &f64)| axes.clamp(axes.at((step + 1) as f64, 100.0 * share));
        let points: Vec<Point> = curve.mean.iter().enumerate().map(at).collect();
        let marker = Marker::of(index);
        for &point in points.iter().skip(index % 3).step_by(3) {
            marker.filled(&mut scene, point, 3.4);
        }
        scene.path(points, 1.75, marker.ink);
    }
    axes.border(&mut scene);
    let mut legend = Legend::new((axes.right + 24.0, axes.top), LEGEND_WIDTH);
    legend.heading(&mut scene, "Strategy (seeds)");
    for (index, curve) in race.curves.iter().enumerate() {
        let text = format!("{} ({})", curve.name, curve.seeds);
        legend.entry(&mut scene, &text, |scene, at| Marker::of(index).filled(scene, at, 5.0));
    }
    scene.height = scene.height.max(legend.bottom());
    scene
}
