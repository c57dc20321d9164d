//! A column of headings and entries, each a sample beside a text.

use super::font;
use super::scene::{Align, Label, Point, Scene};
use super::style::{BLACK, SMALL};

/// From the legend's left to an entry's text.
const INDENT: f64 = 32.0;
/// A legend is as wide as its longest name, within this.
const NARROWEST: f64 = 190.0;
const WIDEST: f64 = 300.0;

/// How wide a legend is that holds these names; those that are longer yet are shortened.
pub(in super::super) fn width<'a>(names: impl Iterator<Item = &'a str>) -> f64 {
    let longest = names.map(|name| font::width(name, SMALL, false)).fold(0.0, f64::max);
    (INDENT + longest + 4.0).clamp(NARROWEST, WIDEST)
}

/// Where the next entry goes.
pub(in super::super) struct Legend {
    left: f64,
    y: f64,
    width: f64,
    started: bool,
}

impl Legend {
    /// A legend whose upper left corner is here, so wide at most.
    pub fn new((left, top): Point, width: f64) -> Self {
        Self { left, y: top + 7.0, width, started: false }
    }

    /// A bold line, with some room above it.
    pub fn heading(&mut self, scene: &mut Scene, text: &str) {
        if self.started {
            self.y += 10.0;
        }
        self.started = true;
        scene.text(Label::new((self.left, self.y), text, SMALL, BLACK, Align::Left).bold());
        self.y += 20.0;
    }

    /// A sample, drawn around a point by the closure, and its text.
    pub fn entry(&mut self, scene: &mut Scene, text: &str, sample: impl FnOnce(&mut Scene, Point)) {
        sample(scene, (self.left + 12.0, self.y));
        let text = font::fitted(text, SMALL, false, self.width - INDENT);
        scene.text(Label::new((self.left + INDENT, self.y), text, SMALL, BLACK, Align::Left));
        self.y += 20.0;
    }

    /// Lower end of what was drawn.
    pub fn bottom(&self) -> f64 {
        self.y
    }
}
