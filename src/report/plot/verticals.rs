//! Labelled vertical lines across a plot whose x axis is a PSNR: what needs no features, and limits.

use super::super::text::fixed;
use super::super::view::StudyView;
use super::axes::Axes;
use super::font;
use super::scene::{Align, Ink, Label, Scene};
use super::style::{GREY, LIMIT, SMALL};

/// A floor or a limit.
pub(in super::super) struct Vertical {
    /// Where it is, in dB.
    pub psnr: f64,
    text: String,
    ink: Ink,
    solid: bool,
}

impl Vertical {
    /// A limit, such as `limit 24 dB`, as a solid or a dashed line.
    pub fn limit(name: &str, psnr: f64, solid: bool) -> Self {
        let text = format!("{name} {} dB", fixed(psnr, if psnr.fract() == 0.0 { 0 } else { 1 }));
        Self { psnr, text, ink: LIMIT, solid }
    }

    fn is_limit(&self) -> bool {
        self.ink == LIMIT
    }
}

/// The study's floors and these limits, from left to right.
pub(in super::super) fn sorted(view: &StudyView, limits: impl IntoIterator<Item = Vertical>) -> Vec<Vertical> {
    let floors = view.floors.iter().map(|floor| Vertical {
        psnr: floor.psnr_mean,
        text: format!("{} {}", floor.name, fixed(floor.psnr_mean, 1)),
        ink: GREY,
        solid: false,
    });
    let mut verticals: Vec<_> = floors.chain(limits).collect();
    verticals.sort_by(|a, b| a.psnr.total_cmp(&b.psnr));
    verticals
}

/// Draws the lines, each with its label above the axes.
pub(in super::super) fn draw(scene: &mut Scene, axes: &Axes, verticals: &[Vertical]) {
    for (vertical, centre) in verticals.iter().zip(label_centres(verticals, axes, scene.width)) {
        let x = axes.x(vertical.psnr);
        let (top, bottom) = ((x, axes.top), (x, axes.bottom));
        if vertical.solid {
            scene.line(top, bottom, 1.75, vertical.ink);
        } else {
            scene.dashed(top, bottom, 1.25, vertical.ink, (5.0, 4.0));
        }
        scene.line(top, (centre, axes.top - 14.0), 1.0, vertical.ink);
        let label = Label::new((centre, axes.top - 22.0), vertical.text.clone(), SMALL, vertical.ink, Align::Centre);
        scene.text(if vertical.is_limit() { label.bold() } else { label });
    }
}

/// Centres of the labels above the axes: as near to their lines as can be without one overlapping another.
///
/// Pushing overlapping labels apart only to the right keeps all gaps, and so does only to the left; so does the mean of both.
fn label_centres(verticals: &[Vertical], axes: &Axes, width: f64) -> Vec<f64> {
    const GAP: f64 = 14.0;
    let halves: Vec<_> = verticals.iter().map(|v| font::width(&v.text, SMALL, v.is_limit()) / 2.0).collect();
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
    let over_left = centres.first().zip(halves.first()).map_or(0.0, |(centre, half)| (half + 8.0 - centre).max(0.0));
    centres.iter_mut().for_each(|centre| *centre += over_left);
    let over_right =
        centres.last().zip(halves.last()).map_or(0.0, |(centre, half)| (centre + half + 8.0 - width).max(0.0));
    centres.iter_mut().for_each(|centre| *centre -= over_right);
    centres
}
