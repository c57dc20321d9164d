//! What is being done, how much is left: bars on a terminal, plain lines in a log, nothing when asked for quiet.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::interrupt;
use crate::estimate::Watch;
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
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

struct State {
    number: usize,
    planned: usize,
    label: String,
    what: String,
    recovered: usize,
    start: Instant,
    fresh: usize,
}

impl Progress {
    pub(super) fn new(style: Style) -> Self {
        let bar = (style == Style::Shown && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(1000);
            let template = "{elapsed_precise} [{bar:24}] {msg}";
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self {
            style,
            bar,
            state: Mutex::new(State {
                number: 0,
                planned: 0,
                label: String::new(),
                what: String::new(),
                recovered: 0,
                start: Instant::now(),
                fresh: 0,
            }),
        }
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        match (&self.bar, self.style) {
            (_, Style::Quiet) => {}
            (Some(bar), _) => bar.suspend(|| eprintln!("{text}")),
            (None, _) => eprintln!("{text}"),
        }
    }

    /// Announces a stage.
    pub(super) fn stage(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(0);
            bar.set_message(text.to_owned());
        }
    }

    /// Shows a stage's fraction.
    pub(super) fn fraction(&self, text: &str, done: f64) {
        if let Some(bar) = &self.bar {
            bar.set_position((done * 1000.0) as u64);
            bar.set_message(text.to_owned());
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Progress {
    fn progress(&self, what: &str, done: f64) -> ControlFlow<()> {
        if interrupt::requested() {
            return ControlFlow::Break(());
        }
        if let (Some(bar), Ok(mut state)) = (&self.bar, self.state.lock()) {
            if state.what != what {
                state.what = what.to_owned();
            }
            bar.set_position((done * 1000.0) as u64);
            let left = state.planned.saturating_sub(state.number);
            let eta = match state.fresh {
                0 => String::new(),
                n => {
                    let each = state.start.elapsed().as_secs_f64() / n as f64;
                    format!(", about {} left", crate::units::Duration(each * (left as f64 + 1.0 - done)))
                }
            };
            bar.set_message(format!("{}/{} {} · {}{eta}", state.number, state.planned, state.label, state.what));
        }
        ControlFlow::Continue(())
    }
}

impl Observer for Progress {
    fn started(&self, job: &Job<'_>, number: usize, planned: usize) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        if state.recovered > 0 && state.fresh == 0 {
            let recovered = state.recovered;
            self.line(&format!("resumed: {recovered} measurements were found in the study and are not repeated"));
            state.recovered = 0;
        }
        if state.fresh == 0 {
            state.start = Instant::now();
        }
        state.number = number;
        state.planned = planned;
        state.label = format!("{} ({})", job.candidate.id, job.fidelity);
    }

    fn finished(&self, evaluation: &Evaluation, fresh: bool) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        if !fresh {
            state.recovered += 1;
            return;
        }
        state.fresh += 1;
        let figure = |metric: Metric| evaluation.measurements().iter().find(|m| m.metric == metric);
        let result = match &evaluation.outcome {
            Outcome::Failed { reason } => format!("failed: {reason}"),
            Outcome::Done(_) => {
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
        };
        let (number, planned) = (state.number, state.planned);
        drop(state);
        self.line(&format!(
            "{number:>3}/{planned} {:<26} {:<22} {result} ({:.1} s)",
            evaluation.design.as_str(),
            evaluation.fidelity.to_string(),
            evaluation.seconds
        ));
    }
}
