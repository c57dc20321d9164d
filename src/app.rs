//! One function a subcommand: the only place that knows every stage, and the only one that prints.

mod audit;
mod bench;
mod channels;
mod check;
mod error;
mod exported;
mod init;
mod insight;
mod interrupt;
mod live;
mod measure;
mod optimize;
mod profile;
mod progress;
mod read_study;
mod replay;
mod report_view;
mod reuse;
mod schema;
mod score;
mod setup;
mod summary;
mod tabulate;

use crate::cli::{Cli, Command};

pub use error::{AppError, exit};

/// Runs the command and returns its exit code.
///
/// # Errors
/// [`AppError`], whose [`AppError::exit_code`] the program ends with.
pub fn run(cli: Cli) -> Result<u8, AppError> {
    match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Optimize(args) => optimize::run(&args),
        Command::Measure(args) => measure::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Tabulate(args) => tabulate::run(&args),
        Command::Channels(args) => channels::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Show(args) => read_study::show(&args),
        Command::Report(args) => read_study::report(&args),
        Command::Export(args) => exported::export(&args),
        Command::Features(args) => exported::features(&args),
    }
}
