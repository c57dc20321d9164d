//! A plain HTML table whose first column names its rows.

use super::super::text::escape;

/// A table under construction; every text is escaped.
pub(super) struct Table {
    caption: String,
    head: String,
    rows: String,
}

impl Table {
    pub fn new<'a>(caption: &str, columns: impl IntoIterator<Item = &'a str>) -> Self {
        let columns: String =
            columns.into_iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name))).collect();
        let caption = escape(caption);
        let head = format!("<caption>{caption}</caption>\n<thead><tr>{columns}</tr></thead>");
        Self { caption, head, rows: String::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells = cells.into_iter();
        let head = cells.next().map_or(String::new(), |name| format!("<th scope=\"row\">{}</th>", escape(&name)));
        let rest: String = cells.map(|cell| format!("<td>{}</td>", escape(&cell))).collect();
        self.rows.push_str(&format!("<tr>{head}{rest}</tr>\n"));
    }

    pub fn html(self) -> String {
        let Self { caption, head, rows } = self;
        // Where it is wider than the screen, it is moved by keyboard, too.
        format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"{caption}\"><table>\n{head}\n<tbody>\n{rows}</tbody>\n\
             </table></div>\n"
        )
    }

    /// The table folded away behind a summary, as the alternative to a plot.
    pub fn folded(self, summary: &str) -> String {
        format!("<details><summary>{}</summary>\n{}</details>\n", escape(summary), self.html())
    }
}
