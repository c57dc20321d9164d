//! The one place that knows the YAML library (`serde_yaml`, no longer maintained: replaceable here).

use std::path::Path;

use serde::de::DeserializeOwned;

use super::ConfigError;

/// Longest configuration file accepted: far beyond any real one, and a bound on what a hostile one costs.
const MAX_BYTES: u64 = 1 << 20;

/// Reads and parses the YAML file at `path`; also returns its text, whose hash identifies it.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<(T, String), ConfigError> {
    let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_BYTES {
        return Err(ConfigError::Yaml {
            path: path.to_owned(),
            line: None,
            message: format!("{size} bytes: a configuration file has at most {MAX_BYTES}"),
        });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let value = parse(path, &text)?;
    Ok((value, text))
}

/// Parses `text`, which stands in the file `path`.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    serde_yaml::from_str(text).map_err(|error| {
        let line = error.location().map(|l| l.line());
        let mut message = error.to_string();
        // The position is printed with the file; the library repeats it at the message's end.
        if let Some(at) = message.rfind(" at line ") {
            message.truncate(at);
        }
        if message.contains("duplicate field") {
            message += " in what begins here: write it once";
        }
        if text.trim().is_empty() {
            message = "the file is empty".to_owned();
        }
        let erring = line.and_then(|line| text.lines().nth(line.saturating_sub(1)));
        if erring.is_some_and(|text| text.trim_start_matches(' ').starts_with('\t')) {
            message += ": YAML indents with spaces, this line begins with a tab";
        }
        ConfigError::Yaml { path: path.to_owned(), line, message }
    })
}
