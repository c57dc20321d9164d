//! Several studies' trade-offs in one plane: a colour and a shape a study.

use super::super::{ComparedStudy, Comparison};
use super::axes::{Axes, Range};
use super::legend::{self, Legend};
use super::scene::{Mark, Point, Scene};
use super::style::{Marker, WIDTH, placeholder, star};

const HEIGHT: f64 = 560.0;

/// What the plot shows.
pub(in super::super) const TITLE: &str = "Leakage against accuracy of several studies";

/// Draws the plot.
pub(in super::super) fn draw(comparison: &Comparison) -> Scene {
    let mut scene = Scene::new("compare", TITLE, WIDTH, HEIGHT);
    let all = || comparison.studies.iter().flat_map(|study| &study.points);
    if all().next().is_none() {
        placeholder(&mut scene, "No design of these studies has been measured.");
        return scene;
    }
    let limits = comparison.studies.iter().filter_map(|study| study.psnr_limit);
    let legend_width = legend::width(comparison.studies.iter().map(|study| study.name.as_str()));
    let axes = Axes {
        left: 70.0,
        top: 14.0,
        right: WIDTH - legend_width - 24.0,
        bottom: HEIGHT - 56.0,
        x: Range::around(all().map(|point| point.psnr_mean).chain(limits), 0.05, 2.0),
        y: Range::around(all().map(|point| 100.0 * point.accuracy), 0.09, 4.0).within(0.0, 100.0),
    };
    axes.draw(
        &mut scene,
        "Leakage: mean PSNR of the attacker's reconstructions (dB); further left is more private",
        "Accuracy (%)",
    );
    for (index, study) in comparison.studies.iter().enumerate() {
        let (marker, at) = (Marker::of(index), places(study, &axes));
        // Where studies coincide, each shows as a rim around the next.
        let larger = 1.6 * (comparison.studies.len() - 1 - index).min(4) as f64;
        if let Some(limit) = study.psnr_limit {
            let x = axes.x(limit);
            scene.dashed((x, axes.top), (x, axes.bottom), 1.5, marker.ink, (6.0, 4.0));
        }
        for (point, &at) in study.points.iter().zip(&at) {
            let text = format!(
                "{} of {}: accuracy {:.1} %, mean PSNR {} {:.2} dB",
                point.design,
                study.name,
                100.0 * point.accuracy,
                if point.verified { "verified to be at most" } else { "expected to be" },
                point.psnr_mean
            );
            // The page tells of no single designs.
            scene.mark(Mark { at, radius: 6.0, design: None, text }, |scene| match point.on_front {
                true => marker.filled(scene, at, 4.6 + larger),
                false => marker.faint(scene, at, 3.6 + larger),
            });
        }
        let front = study.points.iter().filter(|point| point.on_front);
        let steps = axes.stairs(front.map(|point| (point.psnr_mean, 100.0 * point.accuracy)));
        if steps.len() > 1 {
            scene.path(steps, 1.75 + larger, marker.ink);
        }
    }
    // Above every study's marks.
    for (index, study) in comparison.studies.iter().enumerate() {
        for (_, at) in study.points.iter().zip(places(study, &axes)).filter(|(point, _)| point.chosen) {
            star(&mut scene, at, 10.0);
            Marker::of(index).filled(&mut scene, at, 3.2);
        }
    }
    axes.border(&mut scene);
    let mut legend = Legend::new((axes.right + 24.0, axes.top), legend_width);
    legend.heading(&mut scene, "Study");
    for (index, study) in comparison.studies.iter().enumerate() {
        legend.entry(&mut scene, &study.name, |scene, at| Marker::of(index).filled(scene, at, 5.0));
    }
    legend.heading(&mut scene, "Marks");
    legend.entry(&mut scene, "answer", |scene, at| star(scene, at, 8.0));
    legend.entry(&mut scene, "limit on the mean PSNR", |scene, (x, y)| {
        scene.dashed((x - 12.0, y), (x + 12.0, y), 1.5, super::style::GREY, (6.0, 4.0));
    });
    scene.height = scene.height.max(legend.bottom());
    scene
}

fn places(study: &ComparedStudy, axes: &Axes) -> Vec<Point> {
    study.points.iter().map(|point| axes.at(point.psnr_mean, 100.0 * point.accuracy)).collect()
}
