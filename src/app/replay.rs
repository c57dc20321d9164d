//! `privynet replay`: a search in a table of measurements, for benchmarking strategies.

use std::path::Path;

use serde_json::json;

use super::output::emit;
use super::{AppError, exit, interrupt, setup};
use crate::cli::ReplayArgs;
use crate::config::ReplayFile;
use crate::exec::ExecError;
use crate::report::{self, Curve, Race};
use crate::search::replay::{Case, Replay};
use crate::suggest::did_you_mean;
use crate::table::{Table, TableError};

pub(super) fn run(args: &ReplayArgs) -> Result<u8, AppError> {
    interrupt::install();
    setup::threads(args.threads)?;
    let file = ReplayFile::read(&args.budget)?;
    let beside = args.beside.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let table = Table::read(&args.table)?;
    let case = Case::new(&table, &file).map_err(|error| placed(error, &file))?;
    let case = match args.screening.as_ref().zip(args.screening_cost) {
        Some((_, share)) if !(share > 0.0 && share < 1.0) => {
            let problem = "must be more than 0 and less than 1: a screening costs less than a full lookup".to_owned();
            return Err(AppError::Flag { flag: "screening-cost", value: share.to_string(), problem });
        }
        Some((path, share)) => {
            case.screened(&table, &file, &Table::read(path)?, &args.key, share).map_err(|error| placed(error, &file))?
        }
        None => case,
    };
    if args.evaluations == 0 {
        let problem = "must be at least 1".to_owned();
        return Err(AppError::Flag { flag: "evaluations", value: "0".to_owned(), problem });
    }
    if case.candidates() == 0 {
        emit("search", json!({ "candidates": 0, "answer": [], "problem": "no row keeps the exact bounds" }));
        return Ok(exit::INFEASIBLE);
    }
    let strategies = if args.strategy.is_empty() { vec![file.strategy] } else { args.strategy.clone() };
    let mut replays = Vec::new();
    for strategy in strategies {
        for &seed in &args.seed {
            if interrupt::requested() {
                return Err(ExecError::Interrupted.into());
            }
            let replay = case.run(args.evaluations, args.round.max(1), strategy, seed)?;
            let history = if args.brief { Vec::new() } else { replay.history.clone() };
            emit("search", json!(Replay { history, ..replay.clone() }));
            replays.push(replay);
        }
    }
    let all_found = replays.iter().all(|replay| !replay.answer.is_empty());
    if let Some(path) = &args.plot {
        replays.extend(beside.into_iter().flatten());
        report::write_race(&race(&replays), path)?;
    }
    Ok(if all_found { exit::DONE } else { exit::INFEASIBLE })
}

/// A column that the table lacks is a mistake of the file that names it.
fn placed(error: TableError, file: &ReplayFile) -> AppError {
    let placed = match &error {
        TableError::NoColumn { path, column, known } => {
            let meant = did_you_mean(column, known.iter().map(String::as_str));
            let problem = format!("{} has no such column{meant}; it has {}", path.display(), known.join(", "));
            file.lacking(column, &problem)
        }
        _ => None,
    };
    placed.map_or_else(|| error.into(), AppError::from)
}

/// Searches that were printed before.
fn read(path: &Path) -> Result<Vec<Replay>, AppError> {
    let problem = |problem: String| AppError::Flag { flag: "beside", value: path.display().to_string(), problem };
    let text = std::fs::read_to_string(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let wrong = |error| problem(format!("line {}: not as `replay` prints a search: {error}", at + 1));
            serde_json::from_str(line).map_err(wrong)
        })
        .collect()
}

/// The mean of each strategy's searches; one that ended early keeps what it had.
fn race(replays: &[Replay]) -> Race {
    let mut names: Vec<&str> = Vec::new();
    for replay in replays {
        if !names.contains(&replay.strategy.as_str()) {
            names.push(&replay.strategy);
        }
    }
    let curve = |name: &str| {
        let shares: Vec<Vec<f64>> =
            replays.iter().filter(|replay| replay.strategy == name).map(Replay::shares).collect();
        let steps = shares.iter().map(Vec::len).max().unwrap_or(0);
        let at = |shares: &Vec<f64>, step: usize| shares.get(step).or(shares.last()).copied().unwrap_or(0.0);
        let mean = |step| shares.iter().map(|shares| at(shares, step)).sum::<f64>() / shares.len() as f64;
        Curve { name: name.to_owned(), seeds: shares.len(), mean: (0..steps).map(mean).collect() }
    };
    Race { curves: names.into_iter().map(curve).collect() }
}
