//! The page of a study that is running: written anew now and then, from what was measured so far.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::progress::{Progress, Running};
use super::{AppError, read_study, report_view};
use crate::exec::{Job, Observer};
use crate::measurement::{DesignId, Evaluation, Metric, Outcome};
use crate::protocol::Plan;
use crate::record::{DesignRecord, Record, Standing};
use crate::report::{self, view};
use crate::search::{Gain, PredictedFigure};
use crate::store::{Event, StudyReader, Verdict};

/// Between two pages there is at least this.
const PAUSE: Duration = Duration::from_secs(20);

/// And at least so many times what a page takes to write.
const SHARE: u32 = 30;

/// Without news a page is written anew after so many pauses, so that a reader sees that the study goes on.
const STILL: u32 = 5;

/// Follows a study and writes its page.
pub(super) struct LivePage<'a> {
    progress: &'a Progress,
    /// The study's folder, and that of reports.
    folders: [PathBuf; 2],
    /// What is known of the study before anything is measured.
    outline: Record,
    plan: Plan,
    state: Mutex<State>,
    /// Held by whoever writes: the others measure on.
    page: Mutex<Page>,
}

#[derive(Default)]
struct State {
    designs: BTreeMap<DesignId, DesignRecord>,
    seconds: f64,
    /// Whether there is news since the last page.
    news: bool,
}

/// The last page.
#[derive(Default)]
struct Page {
    written: Option<Instant>,
    took: Duration,
    failed: bool,
    /// Whether it says that the study stopped.
    stopped: bool,
}

impl<'a> LivePage<'a> {
    /// For the study in `folders[0]`, whose report goes to `folders[1]`.
    pub(super) fn new(progress: &'a Progress, folders: [PathBuf; 2], outline: Record, plan: Plan) -> Self {
        Self { progress, folders, outline, plan, state: Mutex::default(), page: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the page if the last one is old enough and nobody else does. What goes wrong with it is told once and stops nothing.
    pub(super) fn write(&self) {
        let Ok(mut page) = self.page.try_lock() else { return };
        let pause = PAUSE.max(page.took * SHARE);
        let wait = if self.state().news { pause } else { pause * STILL };
        if page.stopped || page.written.is_some_and(|written| written.elapsed() < wait) {
            return;
        }
        let start = Instant::now();
        let now = self.progress.look();
        let doing: Vec<String> = now.running.values().map(Running::text).collect();
        let planned = self.plan.evaluations + self.plan.verification_seeds;
        let live = view::Live {
            written: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            again: pause.as_secs(),
            measurements: [now.recovered + now.fresh, now.planned.max(planned)],
            doing: doing.join("; "),
        };
        self.report(&mut page, view::Status::InProgress, Some(live));
        page.took = start.elapsed();
        page.written = Some(Instant::now());
    }

    /// Writes the page of a study that ended without a conclusion, so that nobody waits for more.
    pub(super) fn stop(&self) {
        let mut page = self.page.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut page.stopped, true) {
            self.report(&mut page, view::Status::Stopped, None);
        }
    }

    fn report(&self, page: &mut Page, status: view::Status, live: Option<view::Live>) {
        if let Err(error) = self.try_report(status, live)
            && !page.failed
        {
            page.failed = true;
            self.progress.line(&format!("warning: the page of the running study can't be written: {error}"));
        }
    }

    fn try_report(&self, status: view::Status, live: Option<view::Live>) -> Result<(), AppError> {
        let [dir, reports] = &self.folders;
        let reader = StudyReader::open(dir)?;
        let view = report_view::view(&reader, &self.record(reader.events()))?;
        report::write(&view::StudyView { status, live, ..view }, &read_study::report_folder(dir, reports))?;
        Ok(())
    }

    /// The study as far as it is known: no models, no verdicts, and of what was measured the most accurate that is within the budgets.
    fn record(&self, events: &[Event]) -> Record {
        let mut state = self.state();
        state.news = false;
        let (mut designs, seconds): (Vec<DesignRecord>, f64) =
            (state.designs.values().cloned().collect(), state.seconds);
        drop(state);
        designs.sort_by(|a, b| (a.split_index, &a.id).cmp(&(b.split_index, &b.id)));
        let mut record = Record { designs, ..self.outline.clone() };
        record.provenance.seconds = seconds;
        let accuracy = |d: &DesignRecord| d.expected(Metric::Accuracy).map_or(f64::NEG_INFINITY, |p| p.value);
        let refuted = |design: &DesignRecord| {
            events.iter().any(|event| {
                matches!(event, Event::Verification(found) if found.design == design.id && found.verdict != Verdict::Verified)
            })
        };
        let within = record.designs.iter().filter(|d| record.standing(d) == Standing::Within && !refuted(d));
        let best = within.max_by(|a, b| accuracy(a).total_cmp(&accuracy(b)));
        record.chosen = best.map(|design| design.id.clone());
        record
    }

    /// What a measurement of the search says of its design.
    fn learn(&self, state: &mut State, job: &Job<'_>, evaluation: &Evaluation) {
        let new = || DesignRecord::new(job.candidate, Vec::new());
        if evaluation.fidelity == self.plan.search {
            let design = state.designs.entry(evaluation.design.clone()).or_insert_with(new);
            design.add_measured(evaluation);
            // There are no models yet: what verification will find is expected from the measurement itself.
            let figure = |m: &crate::measurement::Measurement| PredictedFigure {
                metric: m.metric,
                value: m.value,
                sd: m.std_error,
            };
            design.predicted = design.measured.iter().map(figure).collect();
            design.expect_verification(&Gain::prior(&self.plan), &self.outline.budgets.privacy);
            design.predicted.clear();
        } else if Some(evaluation.fidelity) == self.plan.screening {
            state.designs.entry(evaluation.design.clone()).or_insert_with(new).add_screened(evaluation);
        }
    }
}

impl Observer for LivePage<'_> {
    fn started(&self, job: &Job<'_>, number: usize, planned: usize) {
        self.progress.started(job, number, planned);
        self.state().news = true;
    }

    fn progress(&self, number: usize, what: &str, done: f64) -> ControlFlow<()> {
        let flow = self.progress.progress(number, what, done);
        // A verification takes minutes, within which nothing is settled.
        self.write();
        flow
    }

    fn notice(&self, text: &str) {
        self.progress.notice(text);
    }

    fn failed(&self, job: &Job<'_>, evaluation: &Evaluation, number: usize) {
        self.progress.failed(job, evaluation, number);
        self.state().seconds += evaluation.seconds;
    }

    fn finished(&self, job: &Job<'_>, evaluation: &Evaluation, number: usize, fresh: bool) {
        self.progress.finished(job, evaluation, number, fresh);
        let mut state = self.state();
        state.news = true;
        if evaluation.from.is_none() {
            state.seconds += evaluation.seconds;
        }
        if matches!(evaluation.outcome, Outcome::Done(_)) {
            self.learn(&mut state, job, evaluation);
        }
        drop(state);
        self.write();
    }
}
