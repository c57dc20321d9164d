//! A plain HTML table whose first column names its rows.

use super::super::text::escape;

/// A table under construction; every text is escaped.
pub(super) struct Table {
    head: String,
    rows: String,
}

impl Table {
    pub fn new<'a>(caption: &str, columns: impl IntoIterator<Item = &'a str>) -> Self {
        let columns: String =
            columns.into_iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name))).collect();
        Self {
            head: format!("<caption>{}</caption>\n<thead><tr>{columns}</tr></thead>", escape(caption)),
            rows: String::new(),
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut cells = cells.into_iter();
        let head = cells.next().map_or(String::new(), |name| format!("<th scope=\"row\">{}</th>", escape(&name)));
        let rest: String = cells.map(|cell| format!("<td>{}</td>", escape(&cell))).collect();
        self.rows.push_str(&format!("<tr>{head}{rest}</tr>\n"));
    }

    pub fn html(self) -> String {
        format!("<div class=\"scroll\"><table>\n{}\n<tbody>\n{}</tbody>\n</table></div>\n", self.head, self.rows)
    }

    /// The table folded away behind a summary, as the alternative to a plot.
    pub fn folded(self, summary: &str) -> String {
        format!("<details><summary>{}</summary>\n{}</details>\n", escape(summary), self.html())
    }
}
