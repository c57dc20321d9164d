//! The one place that knows the YAML libraries: `serde_yaml`, which makes values of a text and is no longer maintained (replaceable
//! here), and `saphyr-parser`, by which `spans` finds where a value stands.
//!
//! Two parsers, because a change of the first would change what is accepted, and so which studies are the same; the second one looks at
//! files with mistakes alone.

mod spans;

use std::io::{Error, ErrorKind};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::place::Place;
use super::{ConfigError, suggestion};
use crate::bounded;
use crate::suggest::{did_you_mean, question};
use spans::Document;

/// Longest configuration file accepted: far beyond any real one, and a bound on what a hostile one costs.
const MAX_BYTES: u64 = 1 << 20;

/// Most lists and maps in brackets. The library looks at all that are open at each word: a quarter of a million, one in the other, took
/// minutes before they were refused.
const MOST_BRACKETS: usize = 1 << 14;

/// Reads and parses the YAML file at `path`; also returns its text, whose hash identifies it.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<(T, String), ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), hint: beside(path), source };
    let bytes = bounded::read(path, MAX_BYTES).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => ConfigError::Yaml {
            path: path.to_owned(),
            place: None,
            message: format!("a configuration file has at most {MAX_BYTES} bytes"),
        },
        _ => unreadable(error),
    })?;
    let not_text = |_| unreadable(Error::new(ErrorKind::InvalidData, "stream did not contain valid UTF-8"));
    let text = String::from_utf8(bytes).map_err(not_text)?;
    let value = parse(path, &text)?;
    Ok((value, text))
}

/// The YAML file beside `path` whose name comes closest.
fn beside(path: &Path) -> String {
    if path.exists() {
        // It is there, and something else is wrong.
        return String::new();
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    did_you_mean(&name, names.iter().map(String::as_str).filter(|other| other.ends_with(".yaml") && *other != name))
}

/// Parses `text`, which stands in the file `path`.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    // Those in strings and remarks count, too: to tell them apart takes the library.
    if text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > MOST_BRACKETS {
        let message =
            format!("it has more than {MOST_BRACKETS} opening brackets: write lists and maps in lines of their own");
        return Err(ConfigError::Yaml { path: path.to_owned(), place: None, message });
    }
    serde_yaml::from_str(text).map_err(|error| {
        let Complaint { message, location } = Complaint::new(&error);
        let place = place(text, &message, location).map(Box::new);
        let erring = location.and_then(|(line, _)| text.lines().nth(line.saturating_sub(1)));
        let message = match erring {
            _ if text.trim().is_empty() => "the file is empty: `privynet init` writes a first one".to_owned(),
            Some(line) if line.trim_start_matches(' ').starts_with('\t') => {
                format!("{message}: YAML indents with spaces, this line begins with a tab")
            }
            _ => taught(message),
        };
        ConfigError::Yaml { path: path.to_owned(), place, message }
    })
}

/// What the library says, and where.
struct Complaint {
    message: String,
    /// Line and column, from 1.
    location: Option<(usize, usize)>,
}

impl Complaint {
    fn new(error: &serde_yaml::Error) -> Self {
        let mut message = error.to_string();
        let mut location = error.location().map(|at| (at.line(), at.column()));
        // The position is printed with the file; the library repeats it within the message. The last one is that of what it was
        // reading when it found the mistake: of a text that ends early the place where that began.
        while let Some(at) = message.rfind(" at line ") {
            let tail = &message[at + " at line ".len()..];
            let mut numbers = tail.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
            let found = numbers.next().zip(numbers.next());
            if message.contains("end of stream") && message[at..].find(',').is_none() {
                location = found.or(location);
            }
            let end = message[at..].find(',').map_or(message.len(), |comma| at + comma);
            message.replace_range(at..end, "");
        }
        // The names of Rust's types say nothing to who writes a file.
        for (types, name) in [
            (&["u64", "u32", "u16", "u8", "usize"][..], "a whole number of at least 0"),
            (&["f64", "f32"][..], "a number"),
            (&["a sequence", "sequence"][..], "a list"),
        ] {
            for of in types {
                if let Some(start) = message.strip_suffix(&format!("expected {of}")) {
                    message = format!("{start}expected {name}");
                }
            }
        }
        Self { message: message.replace("unknown variant `", "unknown value `"), location }
    }
}

/// The message with what to do.
fn taught(mut message: String) -> String {
    let meant = suggestion::of(&message).map(|(end, meant)| (end, question(meant)));
    if let Some((end, meant)) = meant {
        message.insert_str(end, &meant);
    }
    if message.contains("duplicate field") {
        message += ": write it once";
    }
    let missing = message.split_once("missing field `").and_then(|(_, rest)| rest.split('`').next());
    if let Some(key) = missing.map(str::to_owned) {
        message += &format!(": add `{key}: …`");
    }
    message
}

/// Where the value of `field`, a dotted path, stands in `text`: the part of it that reads `value`, where there is one.
pub(super) fn locate(text: &str, field: &str, value: Option<&str>) -> Option<Place> {
    Document::parse(text)?.value(field, value)
}

/// Where what the library complains about stands: it knows the beginning of the value that was read, or of the map around it.
fn place(text: &str, message: &str, location: Option<(usize, usize)>) -> Option<Place> {
    let Some(document) = Document::parse(text) else {
        return location.and_then(|(line, column)| Place::new(text, line, column, 1));
    };
    // `privacy.psnr: unknown field …`; at the top there is no path.
    let path =
        |text: &str| text.split_once(": ").map(|(path, _)| path.to_owned()).filter(|path| !path.contains([' ', '`']));
    let whole = path(message).unwrap_or_default();
    let named = |about: &str| message.split_once(about).and_then(|(_, rest)| rest.split('`').next());
    if let Some(key) = named("unknown field `").or_else(|| named("duplicate field `")) {
        return document.key(&whole, key).or_else(|| document.value(&whole, None));
    }
    if message.contains("missing field") {
        return document.value(&whole, None);
    }
    // What reads a value by itself may name its key once more: `privacy: confidence: …`.
    let key = message.get(whole.len() + 2..).and_then(path).filter(|key| document.key(&whole, key).is_some());
    let keyed = key.and_then(|key| document.value(&format!("{whole}.{key}"), None));
    let exact = || location.and_then(|(line, column)| document.at(line, column));
    keyed.or_else(exact).or_else(|| document.value(&whole, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse::<serde_yaml::Value>(Path::new("x.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn a_thousand_million_laughs_are_not_laughed() {
        let mut text = "a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n".to_owned();
        for level in 1..10 {
            let before = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("a{level}: &a{level} [{before}]\n");
        }
        assert!(refused(&text).contains("repetition limit exceeded"), "{}", refused(&text));
        // What looks for places follows no alias at all.
        assert!(Document::parse(&text).is_some());
        assert!(refused("a: &a [*a]\n").contains("x.yaml"));
    }

    #[test]
    fn a_file_nested_without_end_is_refused_by_both_parsers() {
        let deep = MAX_BYTES as usize - 8;
        for (text, reason) in [
            ("- ".repeat(deep / 2), "recursion limit exceeded"),
            ("[".repeat(1000), "recursion limit exceeded"),
            ("[".repeat(deep), "opening brackets"),
            ("{a: ".repeat(deep / 4), "opening brackets"),
            // Closing brackets in strings close nothing.
            ("{\"}\": ".repeat(deep / 6), "opening brackets"),
        ] {
            assert!(refused(&text).contains(reason), "{}", &refused(&text));
            assert!(Document::parse(&text).is_none());
        }
    }
}
