//! What is being done, how much is left: bars on a terminal, plain lines in a log, nothing when asked for quiet.

mod bars;
mod state;

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::interrupt;
use super::live::Heart;
use crate::exec::{Job, Observer};
use crate::measurement::{Evaluation, Metric, Outcome};
use crate::verify::MetricBound;

use bars::Bars;
pub(super) use state::{Running, State};

/// How long a log stays silent while something is measured.
const SILENCE: Duration = Duration::from_secs(60);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Bars, or lines where standard error is no terminal.
    Shown,
    /// Nothing.
    Quiet,
}

/// Progress on standard error and, once a study is open, in its folder.
pub(super) struct Progress {
    style: Style,
    bars: Option<Bars>,
    state: Arc<Mutex<State>>,
    heart: OnceLock<Heart>,
    /// When the last line was printed.
    spoken: Mutex<Instant>,
}

/// What it holds, also where a thread panicked while it changed it: every change is whole.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    pub(super) fn new(style: Style) -> Self {
        let bars = (style == Style::Shown && std::io::stderr().is_terminal()).then(Bars::new);
        let spoken = Mutex::new(Instant::now());
        Self { style, bars, state: Arc::new(Mutex::new(State::new())), heart: OnceLock::new(), spoken }
    }

    /// From now on says in the study's folder `dir` what runs, for `privynet watch`.
    pub(super) fn publish(&self, dir: &Path, bounds: Vec<MetricBound>) {
        self.heart.get_or_init(|| Heart::start(dir, bounds, Arc::clone(&self.state)));
    }

    /// Of the measurements to come, `count` verify and are each worth `work` of the search's: for the time that is left.
    pub(super) fn expect_verifications(&self, count: usize, work: f64) {
        self.state().expect_verifications(count, work);
    }

    /// How far the study is at this moment.
    pub(super) fn look(&self) -> State {
        self.state().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        held(&self.state)
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        *held(&self.spoken) = Instant::now();
        match (&self.bars, self.style) {
            (_, Style::Quiet) => {}
            (Some(bars), _) => bars.suspend(|| eprintln!("{text}")),
            (None, _) => eprintln!("{text}"),
        }
    }

    /// Announces a stage: on the bar, or as a line where there is none.
    pub(super) fn stage(&self, text: &str) {
        match self.bars {
            Some(_) => self.fraction(text, 0.0),
            None => self.line(text),
        }
        self.state().stage(text, 0.0);
    }

    /// Shows a stage's fraction.
    pub(super) fn fraction(&self, text: &str, done: f64) {
        self.state().stage(text, done);
        if let Some(bars) = &self.bars {
            bars.total(text, done);
        }
    }

    /// Removes the bars.
    pub(super) fn finish(&self) {
        if let Some(bars) = &self.bars {
            bars.finish();
        }
    }

    /// The bar of the whole: measurements done, the running ones by their fractions, and the time that is left.
    fn total(&self, state: &State) {
        if let Some(bars) = &self.bars {
            bars.total(&state.summary(), state.share());
        }
    }

    /// In a log, what runs, where nothing was said for a while.
    fn speak(&self, state: &State) {
        if self.bars.is_some() || self.style == Style::Quiet || held(&self.spoken).elapsed() < SILENCE {
            return;
        }
        let running: Vec<String> = state.running.values().map(Running::text).collect();
        let running = if running.is_empty() { String::new() } else { format!("; running: {}", running.join("; ")) };
        self.line(&format!("{}{running}", state.summary()));
    }
}

impl Observer for Progress {
    fn started(&self, job: &Job<'_>, number: usize, planned: usize) {
        let mut state = self.state();
        if state.begins() && state.recovered > 0 {
            let recovered = state.recovered;
            self.line(&format!("resumed: {recovered} measurements were found in the study and are not repeated"));
        }
        let (design, fidelity) = (job.candidate.id.clone(), job.fidelity);
        state.start(
            number,
            planned,
            Running { number, design, fidelity, seed: job.seed, what: String::new(), done: 0.0 },
        );
        if let Some(bars) = &self.bars {
            bars.add(number);
        }
    }

    fn progress(&self, number: usize, what: &str, done: f64) -> ControlFlow<()> {
        if interrupt::requested() {
            return ControlFlow::Break(());
        }
        let mut state = self.state();
        if let Some(running) = state.proceed(number, what, done)
            && let Some(bars) = &self.bars
        {
            bars.one(number, &running.text(), done);
        }
        self.total(&state);
        self.speak(&state);
        ControlFlow::Continue(())
    }

    fn notice(&self, text: &str) {
        self.line(&crate::plain::line(text));
    }

    fn failed(&self, _job: &Job<'_>, evaluation: &Evaluation, number: usize) {
        self.state().abandon(number);
        if let Some(bars) = &self.bars {
            bars.remove(number);
        }
        self.line(&format!(
            "{number:>3} {:<26} {:<22} {}; it is tried again",
            evaluation.design.as_str(),
            evaluation.fidelity.to_string(),
            figures(evaluation)
        ));
    }

    fn finished(&self, _job: &Job<'_>, evaluation: &Evaluation, number: usize, fresh: bool) {
        let mut state = self.state();
        state.end(number, evaluation.fidelity, fresh);
        if !fresh {
            return;
        }
        if let Some(bars) = &self.bars {
            bars.remove(number);
        }
        self.total(&state);
        let (planned, left) = (state.planned, state.left());
        drop(state);
        let left = match &self.bars {
            // The bar says so.
            Some(_) => String::new(),
            None => left.map(|left| format!(", about {} left", crate::units::Duration(left))).unwrap_or_default(),
        };
        self.line(&format!(
            "{number:>3}/{planned} {:<26} {:<22} {} ({:.1} s{left})",
            evaluation.design.as_str(),
            evaluation.fidelity.to_string(),
            figures(evaluation),
            evaluation.seconds
        ));
    }
}

/// What a measurement found, in a few words.
pub(super) fn figures(evaluation: &Evaluation) -> String {
    if let Outcome::Failed { reason, .. } = &evaluation.outcome {
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

/// A state in which nothing was done yet.
#[cfg(test)]
pub(super) fn state_for_tests() -> State {
    State::new()
}
