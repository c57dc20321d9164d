//! How a failure is told: on standard error with the offending line of the file, or, under `--json`, as the last line of standard
//! output.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::output::emit;
use super::{AppError, exit};
use crate::config::{ConfigError, Place};
use crate::plain;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const MARGIN: Style = AnsiColor::Blue.on_default().bold();

/// Whether the failure was told: a program has one.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Tells of a command's failure.
pub fn report(error: &AppError, json: bool) {
    // Work that was given up may still fail while the program ends.
    if TOLD.swap(true, Ordering::SeqCst) {
        return;
    }
    if json {
        emit("error", object(error));
        return;
    }
    let text = error.to_string();
    let text = plain::line(&text);
    match error.exit_code() {
        // What the user asked for is no error.
        exit::INTERRUPTED => anstream::eprintln!("{text}"),
        _ => anstream::eprintln!("{ERROR}error{ERROR:#}: {text}"),
    }
    if let Some(place) = config(error).and_then(ConfigError::place) {
        anstream::eprintln!("{}", coloured(place));
    }
    for cause in causes(error) {
        anstream::eprintln!("  because: {}", plain::line(&cause));
    }
}

/// Tells of flags that can't be understood, and returns the exit code. Asked-for help is no failure.
pub fn report_usage(error: &clap::Error, json: bool) -> u8 {
    if json && error.use_stderr() {
        let text = error.render().to_string();
        // clap's own layout: `error: …`, perhaps over several lines, then tips and usage.
        let lines = text.trim_start_matches("error: ").lines().map(str::trim);
        let message: Vec<&str> =
            lines.take_while(|line| !line.starts_with("tip: ") && !line.starts_with("Usage: ")).collect();
        let message = message.join(" ").trim_end().to_owned();
        let hint = text.lines().skip(1).find_map(|line| line.trim_start().strip_prefix("tip: ")).map(str::to_owned);
        let code = error.exit_code();
        emit("error", json!({ "message": message, "hint": hint, "causes": [], "exit_code": code }));
    } else {
        // Where nobody listens, the exit code is left to say it.
        let _ = error.print();
    }
    u8::try_from(error.exit_code()).unwrap_or(exit::BAD_INPUT)
}

fn config(error: &AppError) -> Option<&ConfigError> {
    match error {
        AppError::Config(error) => Some(error),
        _ => None,
    }
}

fn causes(error: &AppError) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

fn object(error: &AppError) -> Value {
    let mut object = json!({ "message": error.to_string(), "causes": causes(error), "exit_code": error.exit_code() });
    let mut insert = |key: &str, value: Value| object.as_object_mut().map(|map| map.insert(key.to_owned(), value));
    if let Some(config) = config(error) {
        insert("file", json!(config.path()));
        if let Some(place) = config.place() {
            insert("line", json!(place.line));
            insert("column", json!(place.column));
            insert("length", json!(place.width));
        }
        if let ConfigError::Field { field, value, problem, .. } = config {
            insert("field", json!(field));
            insert("value", json!(value));
            insert("problem", json!(problem));
        }
    }
    if let AppError::Flag { flag, value, problem } = error {
        insert("flag", json!(format!("--{flag}")));
        insert("value", json!(value));
        insert("problem", json!(problem));
    }
    object
}

/// The line with its margin in one colour, the carets in another.
fn coloured(place: &Place) -> String {
    let text = place.to_string();
    let colour = |(row, line): (usize, &str)| {
        let (margin, rest) = line.split_at(line.find('|').map_or(0, |at| at + 1));
        match row {
            2 => format!("{MARGIN}{margin}{MARGIN:#}{ERROR}{rest}{ERROR:#}"),
            _ => format!("{MARGIN}{margin}{MARGIN:#}{rest}"),
        }
    };
    text.lines().enumerate().map(colour).collect::<Vec<_>>().join("\n")
}
