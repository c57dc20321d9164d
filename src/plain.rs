//! Text that others wrote, where it is shown: without what a terminal or a reader's eye would obey.

use std::borrow::Cow;

/// What stands for a character that is not shown.
const REPLACEMENT: char = '\u{fffd}';

/// Whether a character is no text: controls such as the escape that begins a terminal's commands, line and paragraph separators, and
/// what turns the direction of reading around.
pub(crate) fn is_command(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A text of several lines without commands.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    replaced(text, |c| is_command(c) && !matches!(c, '\n' | '\t'))
}

/// The same of a text that is one line.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    replaced(text, is_command)
}

fn replaced(text: &str, bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    match text.chars().any(&bad) {
        true => Cow::Owned(text.chars().map(|c| if bad(c) { REPLACEMENT } else { c }).collect()),
        false => Cow::Borrowed(text),
    }
}

/// Replaces commands in all strings of a JSON value, keys included.
pub(crate) fn clean(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(words) => {
            if let Cow::Owned(clean) = line(words) {
                *words = clean;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::Object(fields) => {
            if fields.keys().any(|key| key.contains(is_command)) {
                *fields =
                    std::mem::take(fields).into_iter().map(|(key, value)| (line(&key).into_owned(), value)).collect();
            }
            fields.values_mut().for_each(clean);
        }
        _ => {}
    }
}

/// The text of a JSON value with its commands escaped, which means the same: they occur within strings alone.
pub(crate) fn json(value: &serde_json::Value) -> String {
    let text = value.to_string();
    if !text.contains(is_command) {
        return text;
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_command(c) {
            // All of them are of the first 65,536.
            true => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BAD: &str = "a\u{1b}[2J\u{9b}1m\u{202e}\u{7f}\rb\nc\td";

    #[test]
    fn commands_are_replaced_and_text_stays() {
        assert_eq!(text(BAD), "a\u{fffd}[2J\u{fffd}1m\u{fffd}\u{fffd}\u{fffd}b\nc\td");
        assert_eq!(line("a\nb\tc"), "a\u{fffd}b\u{fffd}c");
        assert!(matches!(line("größer 大 – “x” 👩‍🔬"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = json!({ "a": BAD, "b": ["x"] });
        let text = json(&value);
        assert!(!text.contains(is_command), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        let mut cleaned = json!({ "k\n": [{ "v": "\u{1b}" }], "n": 1 });
        clean(&mut cleaned);
        assert_eq!(cleaned, json!({ "k\u{fffd}": [{ "v": "\u{fffd}" }], "n": 1 }));
    }
}
