//! One function a subcommand: the only place that knows every stage, and the only one that prints.

/// Prints a line on standard output. Shadows Rust's own within this module and those below: whatever names and texts of others a line
/// holds, a terminal gets none of their commands.
macro_rules! println {
    () => {
        std::println!()
    };
    ($($argument:tt)*) => {
        $crate::app::output::say(format_args!($($argument)*))
    };
}

/// The same on standard error.
macro_rules! eprintln {
    () => {
        std::eprintln!()
    };
    ($($argument:tt)*) => {
        $crate::app::output::tell(format_args!($($argument)*))
    };
}

mod audit;
mod bench;
mod channels;
mod check;
mod cluster;
mod compare;
mod error;
mod exported;
mod failure;
mod generate;
mod init;
mod insight;
mod interrupt;
mod live;
mod live_page;
mod measure;
mod next;
mod optimize;
mod output;
mod profile;
mod progress;
mod read_study;
mod replay;
mod report_view;
mod reuse;
mod score;
mod setup;
mod status;
mod summary;
mod tabulate;
mod watch;
mod worker;

use crate::cli::{Cli, Command};

use output::Output;

pub use error::{AppError, exit};
pub use failure::{report, report_usage};

/// Runs the command and returns its exit code.
///
/// # Errors
/// [`AppError`], whose [`AppError::exit_code`] the program ends with.
pub fn run(cli: Cli) -> Result<u8, AppError> {
    let output = Output::new(&cli.output);
    interrupt::tell(output.json);
    let Some(command) = cli.command else {
        return next::run(output);
    };
    match command {
        Command::Init(args) => init::run(&args, output),
        Command::Check(args) => check::run(&args, output),
        Command::Optimize(args) => optimize::run(&args, output),
        Command::Watch(args) => watch::run(&args, output),
        Command::Status(args) => status::run(&args, output),
        Command::Worker(args) => worker::run(&args, output),
        Command::Show(args) => read_study::show(&args, output),
        Command::Compare(args) => compare::run(&args, output),
        Command::Report(args) => read_study::report(&args, output),
        Command::Audit(args) => audit::run(&args, output),
        Command::Export(args) => exported::export(&args, output),
        Command::Features(args) => exported::features(&args, output),
        Command::Measure(args) => measure::run(&args, output),
        Command::Channels(args) => channels::run(&args, output),
        Command::Score(args) => score::run(&args, output),
        Command::Tabulate(args) => tabulate::run(&args, output),
        Command::Replay(args) => replay::run(&args),
        Command::Profile(args) => profile::run(&args, output),
        Command::Bench(args) => bench::run(&args, output),
        Command::Schema(args) => generate::schema(&args),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => generate::man(&args, output),
    }
}
