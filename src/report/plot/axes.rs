//! A rectangle with two linear axes: ticks at round numbers, grid, titles, and the map from data to the drawing.

use super::super::text::fixed;
use super::scene::{Align, Ink, Label, Point, Scene};
use super::style::{BLACK, GREY, GRID, SMALL, TEXT};

/// A closed range of data, never empty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Range {
    pub low: f64,
    pub high: f64,
}

impl Range {
    /// The range of some values with a margin of `share` of its width on both sides; around a single value it is as wide as
    /// `least`; without values it is [0, 1].
    pub fn around(values: impl IntoIterator<Item = f64>, share: f64, least: f64) -> Self {
        let bounds = values.into_iter().fold(None, |bounds: Option<(f64, f64)>, v| {
            Some(bounds.map_or((v, v), |(low, high)| (low.min(v), high.max(v))))
        });
        let Some((low, high)) = bounds else {
            return Self { low: 0.0, high: 1.0 };
        };
        let lacking = (least - (high - low)).max(0.0) / 2.0;
        let margin = (high - low) * share + lacking;
        Self { low: low - margin, high: high + margin }
    }

    /// The same range without what lies outside of `[low, high]`.
    pub fn within(self, low: f64, high: f64) -> Self {
        Self { low: self.low.max(low), high: self.high.min(high) }
    }

    fn width(self) -> f64 {
        self.high - self.low
    }

    /// Round numbers inside, about `wanted` of them, and the decimals that they need.
    pub fn ticks(self, wanted: usize) -> (Vec<f64>, usize) {
        let rough = self.width() / wanted.max(1) as f64;
        if !(rough > 0.0 && rough.is_finite()) {
            return (vec![self.low], 2);
        }
        let decade = 10f64.powf(rough.log10().floor());
        let distance = |step: f64| (step / rough).ln().abs();
        let steps = [1.0, 2.0, 5.0, 10.0].map(|m| m * decade);
        let step = steps.into_iter().min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or(rough);
        let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        ((first..=last).map(|i| i as f64 * step).collect(), decimals)
    }
}

/// Where an axes' rectangle lies and what it spans.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Axes {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
    pub x: Range,
    pub y: Range,
}

impl Axes {
    pub fn x(&self, value: f64) -> f64 {
        self.left + (value - self.x.low) / self.x.width() * (self.right - self.left)
    }

    pub fn y(&self, value: f64) -> f64 {
        self.bottom - (value - self.y.low) / self.y.width() * (self.bottom - self.top)
    }

    pub fn at(&self, x: f64, y: f64) -> Point {
        (self.x(x), self.y(y))
    }

    /// The stairs through points that none of the others beats: between two of them nothing better than the lower one is known.
    pub fn stairs(&self, points: impl Iterator<Item = (f64, f64)>) -> Vec<Point> {
        let mut points: Vec<(f64, f64)> = points.collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let mut steps: Vec<Point> = Vec::new();
        for (x, y) in points {
            let at = self.at(x, y);
            if let Some(&(_, before)) = steps.last() {
                steps.push((at.0, before));
            }
            steps.push(at);
        }
        steps
    }

    /// A segment between two data points, cut at the rectangle; for lines along an axis.
    pub fn clamp(&self, (x, y): Point) -> Point {
        (x.clamp(self.left, self.right), y.clamp(self.top, self.bottom))
    }

    /// Draws the grid, the tick labels and the title of the x axis.
    pub fn draw_x(&self, scene: &mut Scene, title: &str) {
        let (xs, x_decimals) = self.x.ticks(((self.right - self.left) / 55.0) as usize);
        for &x in &xs {
            scene.line((self.x(x), self.top), (self.x(x), self.bottom), 0.75, GRID);
            let at = (self.x(x), self.bottom + 15.0);
            scene.text(Label::new(at, fixed(x, x_decimals), SMALL, GREY, Align::Centre));
        }
        let middle = (self.left + self.right) / 2.0;
        scene.text(Label::new((middle, self.bottom + 38.0), title, TEXT, BLACK, Align::Centre));
    }

    /// Draws grid, tick labels and titles of both axes.
    pub fn draw(&self, scene: &mut Scene, x_title: &str, y_title: &str) {
        self.draw_x(scene, x_title);
        let (ys, y_decimals) = self.y.ticks(((self.bottom - self.top) / 55.0) as usize);
        let mut widest: f64 = 0.0;
        for &y in &ys {
            scene.line((self.left, self.y(y)), (self.right, self.y(y)), 0.75, GRID);
            let label = Label::new((self.left - 8.0, self.y(y)), fixed(y, y_decimals), SMALL, GREY, Align::Right);
            let (left, _, right, _) = label.bounds();
            widest = widest.max(right - left);
            scene.text(label);
        }
        let at = (self.left - 8.0 - widest - 16.0, (self.top + self.bottom) / 2.0);
        scene.text(Label::new(at, y_title, TEXT, BLACK, Align::Centre).upwards());
    }

    /// Draws the left and lower border; called after the marks, which may lie over the grid but not over the border.
    pub fn border(&self, scene: &mut Scene) {
        scene.path([(self.left, self.top), (self.left, self.bottom), (self.right, self.bottom)], 1.0, GREY);
    }

    /// A bar of ± `half` around a value along y, with caps.
    pub fn error_bar_y(&self, scene: &mut Scene, x: f64, y: f64, half: f64, ink: Ink) {
        if half > 0.0 {
            let (low, high) = (self.clamp(self.at(x, y - half)), self.clamp(self.at(x, y + half)));
            scene.line(low, high, 1.0, ink);
            for end in [low, high] {
                scene.line((end.0 - 2.5, end.1), (end.0 + 2.5, end.1), 1.0, ink);
            }
        }
    }

    /// A bar of ± `half` around a value along x, with caps.
    pub fn error_bar_x(&self, scene: &mut Scene, x: f64, y: f64, half: f64, ink: Ink) {
        self.error_bar_across(scene, x, self.y(y), half, ink);
    }

    /// The same at a height in scene units.
    pub fn error_bar_across(&self, scene: &mut Scene, x: f64, height: f64, half: f64, ink: Ink) {
        if half > 0.0 {
            let (low, high) = (self.clamp((self.x(x - half), height)), self.clamp((self.x(x + half), height)));
            scene.line(low, high, 1.0, ink);
            for end in [low, high] {
                scene.line((end.0, end.1 - 2.5), (end.0, end.1 + 2.5), 1.0, ink);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Range { low: 11.2, high: 33.1 }.ticks(5), (vec![15.0, 20.0, 25.0, 30.0], 0));
        assert_eq!(Range { low: 95.0, high: 130.0 }.ticks(3), (vec![100.0, 110.0, 120.0, 130.0], 0));
        assert_eq!(Range { low: 0.481, high: 0.502 }.ticks(4).1, 3);
        let (ticks, decimals) = Range { low: 0.4, high: 0.42 }.ticks(4);
        assert_eq!((ticks.len(), decimals), (5, 3));
        assert_eq!(Range { low: -1.0, high: 1.0 }.ticks(4).0, vec![-1.0, -0.5, 0.0, 0.5, 1.0]);
    }

    #[test]
    fn a_range_is_never_empty() {
        assert_eq!(Range::around([], 0.1, 1.0), Range { low: 0.0, high: 1.0 });
        assert_eq!(Range::around([3.0, 3.0], 0.1, 2.0), Range { low: 2.0, high: 4.0 });
        assert_eq!(Range { low: 1.0, high: 1.0 }.ticks(4), (vec![1.0], 2));
    }
}
