//! What `--help` looks like.

use clap::builder::styling::{AnsiColor, Style, Styles};

const HEADING: Style = AnsiColor::Green.on_default().bold();
const LITERAL: Style = AnsiColor::Cyan.on_default().bold();
const COMMENT: Style = Style::new().dimmed();

/// As cargo's. clap prints them on terminals alone, and as NO_COLOR and CLICOLOR_FORCE say.
pub(super) const STYLES: Styles = Styles::styled()
    .header(HEADING)
    .usage(HEADING)
    .literal(LITERAL)
    .placeholder(AnsiColor::Cyan.on_default())
    .error(AnsiColor::Red.on_default().bold())
    .valid(AnsiColor::Green.on_default())
    .invalid(AnsiColor::Yellow.on_default());

/// The section of examples: what each is for, and the command.
pub(super) fn examples(all: &[(&str, &str)]) -> String {
    let lines =
        all.iter().map(|(what, command)| format!("\n  {COMMENT}# {what}{COMMENT:#}\n  {LITERAL}{command}{LITERAL:#}"));
    format!("{HEADING}Examples:{HEADING:#}{}", lines.collect::<String>())
}

/// Examples, and what must be known besides.
pub(super) fn examples_and(all: &[(&str, &str)], more: &str) -> String {
    format!("{}\n\n{more}", examples(all))
}
