//! `privynet watch`: a running study, from its journal and from what it says of itself. Reads alone, also over a shared folder.

mod view;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::live::Live;
use super::output::emit;
use super::{AppError, Output, exit, interrupt, read_study, summary};
use crate::cli::WatchArgs;
use crate::record::Record;
use crate::store::{Event, StudyReader};

/// Looks at a study of which nobody says that he works on it, before that is believed: an `optimize` may just begin.
const PATIENCE: usize = 3;

/// How often a log repeats how far the study is, where no measurement ended.
const REPEAT: Duration = Duration::from_secs(60);

/// A study at one moment.
struct Look {
    name: String,
    /// By which commands call it: a study may be renamed.
    folder: String,
    dir: PathBuf,
    events: Vec<Event>,
    /// What runs; of a process that can be alive.
    live: Option<Live>,
    /// How the study ended, where it did.
    record: Option<Record>,
}

impl Look {
    fn at(dir: &Path) -> Result<Self, AppError> {
        // In this order: of a study that has ended, no event is missed.
        let live = Live::read(dir);
        let reader = StudyReader::open(dir)?;
        let name = reader.header().name.clone();
        // One that is resumed has the conclusion of its earlier run.
        let record = if live.is_some() { None } else { read_study::conclusion(dir) };
        let folder = read_study::folder_name(dir);
        Ok(Self { name, folder, dir: dir.to_owned(), events: reader.into_recovered().events, live, record })
    }
}

pub(super) fn run(args: &WatchArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install();
    if !(args.every.is_finite() && args.every >= 0.05) {
        let problem = "must be a number of at least 0.05".to_owned();
        return Err(AppError::Flag { flag: "every", value: args.every.to_string(), problem });
    }
    let dir = read_study::folder(&args.study, &args.folders)?;
    let mut teller = Teller::new(output, args.once);
    let (mut before, mut unchanged): (Option<u64>, usize) = (None, 0);
    loop {
        let mut look = Look::at(&dir)?;
        let updated = look.live.as_ref().map(|live| live.updated);
        unchanged = if updated == before { unchanged + 1 } else { 0 };
        before = updated;
        // A clock that goes wrong makes a live process look dead: what changes is alive all the same.
        let is_dead =
            look.live.as_ref().is_some_and(|live| !live.is_believable()) && (unchanged >= PATIENCE || args.once);
        if is_dead {
            look.live = None;
            look.record = read_study::conclusion(&dir);
        }
        teller.tell(&look);
        if let Some(record) = &look.record {
            // Named as the study's folder is.
            let name = dir.file_name().unwrap_or_default();
            teller.end(record, &args.folders.reports.join(name).join("index.html"));
            return Ok(summary::exit_code(record.status));
        }
        if args.once {
            return Ok(if look.live.is_some() { exit::DONE } else { exit::UNVERIFIED });
        }
        if is_dead || look.live.is_none() && unchanged >= PATIENCE {
            teller.nobody(&look);
            return Ok(exit::UNVERIFIED);
        }
        if !sleep(Duration::from_secs_f64(args.every)) {
            return Ok(exit::INTERRUPTED);
        }
    }
}

/// Waits; `false` once the user asked to stop.
fn sleep(time: Duration) -> bool {
    const STEP: Duration = Duration::from_millis(50);
    let start = Instant::now();
    while start.elapsed() < time {
        if interrupt::requested() {
            return false;
        }
        std::thread::sleep(STEP.min(time));
    }
    !interrupt::requested()
}

/// Tells what is new.
struct Teller {
    output: Output,
    /// Redrawn in place, where standard output is a terminal.
    screen: Option<ProgressBar>,
    /// Events that were told.
    told: usize,
    /// What was last said of how far the study is, and when.
    progress: Option<(Value, Instant)>,
}

impl Teller {
    fn new(output: Output, once: bool) -> Self {
        let in_place = !output.json && !output.quiet && !once && std::io::stdout().is_terminal();
        let screen = in_place.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
            bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Self { output, screen, told: 0, progress: None }
    }

    fn tell(&mut self, look: &Look) {
        if let Some(screen) = &self.screen {
            screen.set_message(view::screen(look));
            screen.tick();
            return;
        }
        for event in look.events.iter().skip(self.told) {
            match self.output.json {
                true => {
                    let (kind, object) = view::event(look, event);
                    emit(kind, object);
                }
                false if !self.output.quiet => println!("{}", view::line(event)),
                false => {}
            }
        }
        let news = look.events.len() > self.told;
        self.told = look.events.len();
        let state = view::progress(look);
        let (is_new, is_late) = match &self.progress {
            None => (true, true),
            Some((last, when)) => (*last != state, when.elapsed() >= REPEAT),
        };
        if self.output.json && is_new {
            emit("progress", state.clone());
        } else if !self.output.json && !self.output.quiet && (news || is_new && is_late) {
            println!("{}", view::status(look));
        } else {
            return;
        }
        self.progress = Some((state, Instant::now()));
    }

    fn end(&self, record: &Record, report: &Path) {
        if let Some(screen) = &self.screen {
            screen.finish();
        }
        self.output.summary("study", || summary::json(record, report), || summary::text(record, report));
    }

    fn nobody(&self, look: &Look) {
        if let Some(screen) = &self.screen {
            screen.finish();
        }
        if !self.output.json && !self.output.quiet {
            println!("{}", view::nobody(look));
        }
    }
}
