//! The `privynet` program: parses flags, calls [`privynet::app`], prints the error chain, exits.

use std::process::ExitCode;

use clap::Parser;
use privynet::{app, cli::Cli};

/// Lets `privynet show STUDY | head` end quietly: Rust ignores the signal of a closed pipe, and printing then panics.
fn die_with_the_pipe() {
    // SAFETY: no other thread runs yet, and the default action has no handler.
    #[cfg(unix)]
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

fn main() -> ExitCode {
    die_with_the_pipe();
    match app::run(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::from(error.exit_code())
        }
    }
}
