//! Where in a file something stands, and how a terminal shows it: the line with a caret under it.

use std::fmt;

/// Characters of a line that are shown; a longer one is shown from nearby the place on.
const MOST_SHOWN: usize = 120;

/// Part of one line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line, counted from 1.
    pub line: usize,
    /// The column of its first character, counted from 1.
    pub column: usize,
    /// Its length in characters, 1 at least.
    pub width: usize,
    /// The whole line.
    pub text: String,
}

impl Place {
    /// The characters from `column` on, counted from 1, in the line `line` of `text`, which is counted from 1, too. What reaches beyond
    /// the line's end is cut off; `None` where there is no such line.
    pub fn new(text: &str, line: usize, column: usize, width: usize) -> Option<Self> {
        let found = text.lines().nth(line.checked_sub(1)?)?;
        let length = found.chars().count();
        let column = column.clamp(1, length + 1);
        Some(Self {
            line,
            column,
            width: width.min((length + 1).saturating_sub(column)).max(1),
            text: found.to_owned(),
        })
    }

    /// The line, shortened, and where the place begins in it.
    fn shown(&self) -> (String, usize) {
        let start = match self.text.chars().count() > MOST_SHOWN {
            true => self.column.saturating_sub(MOST_SHOWN / 2),
            false => 0,
        };
        // A tab is shown as one character, so that the caret stands under what it is about.
        let text = self.text.chars().skip(start).take(MOST_SHOWN).map(|c| if c.is_control() { ' ' } else { c });
        (text.collect::<String>().trim_end().to_owned(), self.column - 1 - start)
    }
}

/// Three lines: an empty one, the line with its number, and the carets.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, start) = self.shown();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let carets = "^".repeat(self.width.min(MOST_SHOWN));
        write!(f, "{margin} |\n{number} | {text}\n{margin} | {}{carets}", " ".repeat(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_the_place() {
        let text = "seed: 1\ncompute: 30\n\tx: ä30";
        let shown = |line, column, width| Place::new(text, line, column, width).unwrap().to_string();
        assert_eq!(shown(2, 10, 2), "  |\n2 | compute: 30\n  |          ^^");
        assert_eq!(shown(2, 10, 9), "  |\n2 | compute: 30\n  |          ^^", "no further than the line");
        assert_eq!(shown(3, 5, 3), "  |\n3 |  x: ä30\n  |     ^^^");
        assert_eq!(shown(1, 99, 1), "  |\n1 | seed: 1\n  |        ^", "after the line's end");
        assert_eq!(Place::new(text, 4, 1, 1), None);
        assert_eq!(Place::new(text, 0, 1, 1), None);
    }

    #[test]
    fn long_lines_are_shown_around_the_place() {
        let text = format!("{}here{}", "a".repeat(500), "b".repeat(500));
        let shown = Place::new(&text, 1, 501, 4).unwrap().to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].len() < 130);
        assert_eq!(lines[1].find("here"), lines[2].find("^^^^"));
    }
}
