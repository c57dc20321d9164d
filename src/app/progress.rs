//! What is being done, how much is left: bars on a terminal, plain lines in a log, nothing when asked for quiet.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::interrupt;
use crate::exec::{Job, Observer};
use crate::measurement::{Evaluation, Metric, Outcome};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Bars, or lines where standard error is no terminal.
    Shown,
    /// Nothing.
    Quiet,
}

/// Progress on standard error.
pub(super) struct Progress {
    style: Style,
    bars: Option<Bars>,
    state: Mutex<State>,
}

/// On a terminal: one bar for the whole, one more for each running measurement.
struct Bars {
    all: MultiProgress,
    total: ProgressBar,
}

struct State {
    planned: usize,
    recovered: usize,
    fresh: usize,
    start: Instant,
    /// Label, bar and fraction done of the running measurements, by number.
    running: BTreeMap<usize, (String, Option<ProgressBar>, f64)>,
}

impl Progress {
    pub(super) fn new(style: Style) -> Self {
        let bars = (style == Style::Shown && std::io::stderr().is_terminal()).then(|| {
            let all = MultiProgress::new();
            let total = all.add(bar("{elapsed_precise} [{bar:24}] {msg}"));
            Bars { all, total }
        });
        let state = State { planned: 0, recovered: 0, fresh: 0, start: Instant::now(), running: BTreeMap::new() };
        Self { style, bars, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        match (&self.bars, self.style) {
            (_, Style::Quiet) => {}
            (Some(bars), _) => bars.all.suspend(|| eprintln!("{text}")),
            (None, _) => eprintln!("{text}"),
        }
    }

    /// Announces a stage: on the bar, or as a line where there is none.
    pub(super) fn stage(&self, text: &str) {
        match self.bars {
            Some(_) => self.fraction(text, 0.0),
            None => self.line(text),
        }
    }

    /// Shows a stage's fraction.
    pub(super) fn fraction(&self, text: &str, done: f64) {
        if let Some(bars) = &self.bars {
            bars.total.set_position((done * 1000.0) as u64);
            bars.total.set_message(text.to_owned());
        }
    }

    /// Removes the bars.
    pub(super) fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.total.finish_and_clear();
        }
    }

    /// The bar of the whole: measurements done, the running ones by their fractions, and the time that is left.
    fn total(&self, state: &State) {
        let Some(bars) = &self.bars else {
            return;
        };
        let running: f64 = state.running.values().map(|&(_, _, done)| done).sum();
        let (fresh, settled) = (state.fresh as f64 + running, (state.recovered + state.fresh) as f64 + running);
        let planned = state.planned.max(1) as f64;
        let eta = match fresh {
            // The first tenth of a measurement foretells nothing.
            fresh if fresh < 0.1 => String::new(),
            fresh => {
                let left = state.start.elapsed().as_secs_f64() / fresh * (planned - settled).max(0.0);
                format!(", about {} left", crate::units::Duration(left))
            }
        };
        bars.total.set_position((1000.0 * settled / planned) as u64);
        bars.total.set_message(format!("{} of {} measurements{eta}", state.recovered + state.fresh, state.planned));
    }
}

/// A bar of a thousand steps.
fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(1000);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

impl Observer for Progress {
    fn started(&self, job: &Job<'_>, number: usize, planned: usize) {
        let mut state = self.state();
        if state.fresh == 0 && state.running.is_empty() {
            if state.recovered > 0 {
                let recovered = state.recovered;
                self.line(&format!("resumed: {recovered} measurements were found in the study and are not repeated"));
            }
            state.start = Instant::now();
        }
        state.planned = planned;
        let bar = self.bars.as_ref().map(|bars| bars.all.add(bar("         [{bar:24}] {msg}")));
        let label = format!("{number}/{planned} {} ({}, seed {})", job.candidate.id, job.fidelity, job.seed);
        state.running.insert(number, (label, bar, 0.0));
    }

    fn progress(&self, number: usize, what: &str, done: f64) -> ControlFlow<()> {
        if interrupt::requested() {
            return ControlFlow::Break(());
        }
        if self.bars.is_some() {
            let mut state = self.state();
            if let Some((label, Some(bar), fraction)) = state.running.get_mut(&number) {
                *fraction = done;
                bar.set_position((done * 1000.0) as u64);
                bar.set_message(format!("{label} · {what}"));
            }
            self.total(&state);
        }
        ControlFlow::Continue(())
    }

    fn finished(&self, evaluation: &Evaluation, number: usize, fresh: bool) {
        let mut state = self.state();
        if !fresh {
            state.recovered += 1;
            return;
        }
        state.fresh += 1;
        if let Some((_, Some(bar), _)) = state.running.remove(&number) {
            bar.finish_and_clear();
        }
        self.total(&state);
        let planned = state.planned;
        drop(state);
        self.line(&format!(
            "{number:>3}/{planned} {:<26} {:<22} {} ({:.1} s)",
            evaluation.design.as_str(),
            evaluation.fidelity.to_string(),
            figures(evaluation),
            evaluation.seconds
        ));
    }
}

/// What a measurement found, in a few words.
fn figures(evaluation: &Evaluation) -> String {
    if let Outcome::Failed { reason } = &evaluation.outcome {
        return format!("failed: {reason}");
    }
    let figure = |metric: Metric| evaluation.measurements().iter().find(|m| m.metric == metric);
    let mut text = String::new();
    if let Some(m) = figure(Metric::Accuracy) {
        text += &format!("accuracy {:.3}", m.value);
    }
    for (metric, name) in [(Metric::PsnrMean, "PSNR mean"), (Metric::PsnrP95, "p95")] {
        if let Some(m) = figure(metric) {
            text += &format!(", {name} {:.2} dB", m.value);
        }
    }
    text
}
