//! A column of headings and entries, each a sample beside a text.

use super::scene::{Align, Label, Point, Scene};
use super::style::{BLACK, SMALL};

/// Where the next entry goes.
pub(in super::super) struct Legend {
    left: f64,
    y: f64,
    started: bool,
}

impl Legend {
    /// A legend whose upper left corner is here.
    pub fn new((left, top): Point) -> Self {
        Self { left, y: top + 7.0, started: false }
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
        scene.text(Label::new((self.left + 32.0, self.y), text, SMALL, BLACK, Align::Left));
        self.y += 20.0;
    }

    /// Lower end of what was drawn.
    pub fn bottom(&self) -> f64 {
        self.y
    }
}
