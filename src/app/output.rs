//! How the program speaks: text for people, or JSON for programs, an object a line.

use std::fmt::Arguments;

use serde_json::{Map, Value};

use super::progress::Style;
use crate::cli::OutputArgs;
use crate::plain;

/// Version of what `--json` prints. Raised when a key goes or changes its meaning; new keys and kinds may come without.
const VERSION: u32 = 1;

/// The JSON Schema of a line, as `privynet schema output` prints it.
pub(super) const SCHEMA: &str = include_str!("output/schema.json");

/// What the flags say of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
}

impl Output {
    pub(super) fn new(args: &OutputArgs) -> Self {
        Self { json: args.json, quiet: args.quiet }
    }

    /// How progress is shown.
    pub(super) fn progress(self) -> Style {
        if self.json || self.quiet { Style::Quiet } else { Style::Shown }
    }

    /// Prints what was done: an object of this kind, a text, or nothing where the user asked for quiet.
    pub(super) fn summary(self, kind: &str, object: impl FnOnce() -> Value, text: impl FnOnce() -> String) {
        if self.json {
            emit(kind, object());
        } else if !self.quiet {
            println!("{}", text().trim_end_matches('\n'));
        }
    }
}

/// Prints a line of JSON.
pub(super) fn emit(kind: &str, object: Value) {
    std::println!("{}", plain::json(&line(kind, object)));
}

/// Prints a text for people.
pub(super) fn say(text: Arguments<'_>) {
    std::println!("{}", plain::text(&text.to_string()));
}

/// Prints a text for people on standard error.
pub(super) fn tell(text: Arguments<'_>) {
    std::eprintln!("{}", plain::text(&text.to_string()));
}

/// The object with what every line begins with.
pub(super) fn line(kind: &str, object: Value) -> Value {
    let mut map = Map::new();
    map.insert("version".to_owned(), VERSION.into());
    map.insert("kind".to_owned(), kind.into());
    match object {
        Value::Object(fields) => {
            map.extend(fields.into_iter().filter(|(key, _)| !["version", "kind"].contains(&key.as_str())))
        }
        other => {
            map.insert("value".to_owned(), other);
        }
    }
    Value::Object(map)
}
