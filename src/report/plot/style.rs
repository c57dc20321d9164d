//! Colours, sizes and marker shapes shared by the plots.
//!
//! The page recolours plots for dark screens by matching these very colours (see `page/style.css`): a colour changed here must
//! be changed there, which a test of `page` checks.

use super::scene::{Align, Ink, Label, Point, Scene};

/// Width of every plot in scene units.
pub(in super::super) const WIDTH: f64 = 920.0;
/// Em size of ordinary text.
pub(in super::super) const TEXT: f64 = 13.0;
/// Em size of tick labels and annotations.
pub(in super::super) const SMALL: f64 = 11.5;

/// Background; white discs and outlines let marks stand out from each other.
pub(in super::super) const PAPER: Ink = Ink::new((255, 255, 255));
/// Text, front and outlines.
pub(in super::super) const BLACK: Ink = Ink::new((31, 35, 40));
/// Secondary text and axes.
pub(in super::super) const GREY: Ink = Ink::new((89, 99, 110));
/// Grid lines.
pub(in super::super) const GRID: Ink = Ink::new((225, 228, 232));
/// Limits and the region beyond them.
pub(in super::super) const LIMIT: Ink = Ink::new((179, 38, 30));
/// The chosen design.
pub(in super::super) const STAR: Ink = Ink::new((255, 211, 51));

/// Okabe and Ito's colours, told apart with any kind of colour vision (black is left to lines, yellow is too pale on white).
/// Okabe, Ito: Color Universal Design, 2008, <https://jfly.uni-koeln.de/color/>.
const OKABE_ITO: [Ink; 6] = [
    Ink::new((0, 114, 178)),
    Ink::new((230, 159, 0)),
    Ink::new((0, 158, 115)),
    Ink::new((204, 121, 167)),
    Ink::new((213, 94, 0)),
    Ink::new((86, 180, 233)),
];

/// How the designs of one split layer, or the steps of one phase, are marked: no two of the first 42 alike.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Marker {
    pub ink: Ink,
    outline: &'static [(f64, f64)],
}

const CIRCLE: &[(f64, f64)] = &[];
const SQUARE: &[(f64, f64)] = &[(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)];
const UP: &[(f64, f64)] = &[(0.0, -1.15), (1.06, 0.75), (-1.06, 0.75)];
const DIAMOND: &[(f64, f64)] = &[(0.0, -1.25), (1.05, 0.0), (0.0, 1.25), (-1.05, 0.0)];
const DOWN: &[(f64, f64)] = &[(0.0, 1.15), (1.06, -0.75), (-1.06, -0.75)];
const HEXAGON: &[(f64, f64)] = &[(0.0, -1.1), (0.95, -0.55), (0.95, 0.55), (0.0, 1.1), (-0.95, 0.55), (-0.95, -0.55)];
const CROSS: &[(f64, f64)] = &[
    (-0.38, -1.1),
    (0.38, -1.1),
    (0.38, -0.38),
    (1.1, -0.38),
    (1.1, 0.38),
    (0.38, 0.38),
    (0.38, 1.1),
    (-0.38, 1.1),
    (-0.38, 0.38),
    (-1.1, 0.38),
    (-1.1, -0.38),
    (-0.38, -0.38),
];
const SHAPES: [&[(f64, f64)]; 7] = [CIRCLE, SQUARE, UP, DIAMOND, DOWN, HEXAGON, CROSS];

impl Marker {
    /// The marker of the category at this place in the legend.
    pub fn of(category: usize) -> Self {
        Self { ink: OKABE_ITO[category % OKABE_ITO.len()], outline: SHAPES[category % SHAPES.len()] }
    }

    /// The same shape in another colour.
    pub fn in_ink(self, ink: Ink) -> Self {
        Self { ink, ..self }
    }

    /// Filled, with a thin outline of paper so that neighbours stay apart.
    pub fn filled(self, scene: &mut Scene, at: Point, radius: f64) {
        self.shape(scene, at, radius + 0.9, PAPER);
        self.shape(scene, at, radius, self.ink);
    }

    /// Only the outline, for designs that break a budget.
    pub fn hollow(self, scene: &mut Scene, at: Point, radius: f64) {
        self.shape(scene, at, radius, self.ink);
        self.shape(scene, at, (radius - 1.5).max(0.6), PAPER);
    }

    /// See-through, for what was only predicted.
    pub fn faint(self, scene: &mut Scene, at: Point, radius: f64) {
        self.shape(scene, at, radius, self.ink.faded(0.3));
    }

    fn shape(self, scene: &mut Scene, (x, y): Point, radius: f64, ink: Ink) {
        if self.outline.is_empty() {
            scene.disc((x, y), radius, ink);
        } else {
            let points: Vec<_> = self.outline.iter().map(|(dx, dy)| (x + dx * radius, y + dy * radius)).collect();
            scene.polygon(points, ink);
        }
    }
}

/// A five-pointed star with a dark rim.
pub(in super::super) fn star(scene: &mut Scene, (x, y): Point, radius: f64) {
    let points = |radius: f64| -> Vec<Point> {
        (0..10)
            .map(|i| {
                let angle = std::f64::consts::PI * (f64::from(i) / 5.0 - 0.5);
                let r = if i % 2 == 0 { radius } else { radius * 0.45 };
                (x + r * angle.cos(), y + r * angle.sin())
            })
            .collect()
    };
    scene.polygon(points(radius + 4.0), PAPER);
    scene.polygon(points(radius + 2.2), BLACK);
    scene.polygon(points(radius - 0.6), STAR);
}

/// A message in place of a plot that has nothing to show.
pub(in super::super) fn placeholder(scene: &mut Scene, message: &str) {
    scene.height = 80.0;
    let centre = (scene.width / 2.0, scene.height / 2.0);
    scene.text(Label::new(centre, message, TEXT, GREY, Align::Centre));
}

/// Viridis at `t` in [0, 1], interpolated from nine of its colours: perceptually uniform, and safe for the colour-blind.
/// Smith, van der Walt: matplotlib's colour maps, 2015 (released under CC0).
pub(in super::super) fn viridis(t: f64) -> Ink {
    const STOPS: [(u8, u8, u8); 9] = [
        (68, 1, 84),
        (71, 44, 122),
        (59, 81, 139),
        (44, 113, 142),
        (33, 144, 141),
        (39, 173, 129),
        (92, 200, 99),
        (170, 220, 50),
        (253, 231, 37),
    ];
    let position = t.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let lower = (position.floor() as usize).min(STOPS.len() - 2);
    let share = position - lower as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    let (a, b) = (STOPS[lower], STOPS[lower + 1]);
    Ink::new((mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2)))
}

/// Black or white, whichever contrasts more with a background (relative luminance of WCAG 2.2).
pub(in super::super) fn contrasting(background: Ink) -> Ink {
    let linear = |c: u8| {
        let c = f64::from(c) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    let (r, g, b) = background.rgb;
    let luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    if luminance > 0.179 { Ink::new((0, 0, 0)) } else { Ink::new((254, 254, 254)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viridis_runs_from_violet_to_yellow_within_bounds() {
        assert_eq!(viridis(-1.0).rgb, (68, 1, 84));
        assert_eq!(viridis(2.0).rgb, (253, 231, 37));
        assert_eq!(viridis(0.5).rgb, (33, 144, 141));
        assert_eq!(contrasting(viridis(0.0)).rgb.0, 254);
        assert_eq!(contrasting(viridis(1.0)).rgb.0, 0);
    }

    #[test]
    fn no_two_split_layers_of_vgg_16_look_alike() {
        let looks: std::collections::BTreeSet<_> =
            (0..13).map(|i| (Marker::of(i).ink.rgb, format!("{:?}", Marker::of(i).outline))).collect();
        assert_eq!(looks.len(), 13);
    }
}
