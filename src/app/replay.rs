//! `privynet replay`: a search in a table of measurements, for benchmarking strategies.

use super::{AppError, exit, interrupt, setup};
use crate::cli::ReplayArgs;
use crate::config::ReplayFile;
use crate::exec::ExecError;
use crate::search::replay::Case;
use crate::table::Table;

pub(super) fn run(args: &ReplayArgs) -> Result<u8, AppError> {
    interrupt::install();
    setup::threads(args.threads)?;
    let file = ReplayFile::read(&args.budget)?;
    let table = Table::read(&args.table)?;
    let case = Case::new(&table, &file)?;
    if args.evaluations == 0 {
        let problem = "must be at least 1".to_owned();
        return Err(AppError::Flag { flag: "evaluations", value: "0".to_owned(), problem });
    }
    if case.candidates() == 0 {
        println!("{}", serde_json::json!({ "candidates": 0, "answer": [], "problem": "no row keeps the exact bounds" }));
        return Ok(exit::INFEASIBLE);
    }
    let mut all_found = true;
    for &seed in &args.seed {
        if interrupt::requested() {
            return Err(ExecError::Interrupted.into());
        }
        let mut replay = case.run(args.evaluations, args.round.max(1), args.strategy, seed)?;
        all_found &= !replay.answer.is_empty();
        if args.brief {
            replay.history.clear();
        }
        println!("{}", serde_json::to_string(&replay).unwrap_or_default());
    }
    Ok(if all_found { exit::DONE } else { exit::INFEASIBLE })
}
