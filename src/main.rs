//! The `privynet` program: parses flags, calls [`privynet::app`], tells of what failed, exits.

use std::process::ExitCode;

use clap::Parser;
use privynet::app;
use privynet::cli::{Cli, ColorArg};

/// Lets `privynet show STUDY | head` end quietly: Rust ignores the signal of a closed pipe, and printing then panics.
#[allow(unsafe_code, reason = "the standard library has no word for it")]
fn die_with_the_pipe() {
    #[cfg(unix)]
    // SAFETY: no other thread runs yet, and the default action has no handler.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Whether `--json` is among the flags, also where these can't be understood.
fn wants_json() -> bool {
    std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json")
}

fn main() -> ExitCode {
    die_with_the_pipe();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(app::report_usage(&error, wants_json())),
    };
    match cli.output.color {
        // As NO_COLOR, CLICOLOR, CLICOLOR_FORCE and the terminal say.
        ColorArg::Auto => {}
        ColorArg::Always => anstream::ColorChoice::Always.write_global(),
        ColorArg::Never => anstream::ColorChoice::Never.write_global(),
    }
    let json = cli.output.json;
    match app::run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            app::report(&error, json);
            ExitCode::from(error.exit_code())
        }
    }
}
