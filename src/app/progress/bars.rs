//! On a terminal: one bar for the whole, one more for each running measurement.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::held;

pub(super) struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    running: Mutex<BTreeMap<usize, ProgressBar>>,
}

impl Bars {
    pub(super) fn new() -> Self {
        let all = MultiProgress::new();
        let total = all.add(bar("{elapsed_precise} [{bar:24}] {wide_msg}"));
        Self { all, total, running: Mutex::new(BTreeMap::new()) }
    }

    /// Prints without a bar in between.
    pub(super) fn suspend(&self, print: impl FnOnce()) {
        self.all.suspend(print);
    }

    pub(super) fn total(&self, text: &str, done: f64) {
        self.total.set_position((done * 1000.0) as u64);
        self.total.set_message(text.to_owned());
    }

    pub(super) fn add(&self, number: usize) {
        let bar = self.all.add(bar("         [{bar:24}] {wide_msg}"));
        held(&self.running).insert(number, bar);
    }

    pub(super) fn one(&self, number: usize, text: &str, done: f64) {
        if let Some(bar) = held(&self.running).get(&number) {
            bar.set_position((done * 1000.0) as u64);
            bar.set_message(text.to_owned());
        }
    }

    pub(super) fn remove(&self, number: usize) {
        if let Some(bar) = held(&self.running).remove(&number) {
            bar.finish_and_clear();
        }
    }

    pub(super) fn finish(&self) {
        self.total.finish_and_clear();
    }
}

/// A bar of a thousand steps.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(1000);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
