//! Numbers and sentences as a reader sees them: units, decimals, HTML escaping, and the answer in one sentence.

use super::view::{DesignRow, Estimate, Exposure, Feasibility, Figures, KnownBy, Metric, Status, StudyView};
use crate::plain;

impl Metric {
    /// Name in a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Accuracy => "Accuracy",
            Self::PsnrMean => "PSNR, mean",
            Self::PsnrP95 => "PSNR, 95th percentile",
            Self::PsnrMax => "PSNR, maximum",
            Self::SsimMean => "SSIM, mean",
        }
    }

    /// Unit as printed after a number, empty for a pure number.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Accuracy => "%",
            Self::PsnrMean | Self::PsnrP95 | Self::PsnrMax => "dB",
            Self::SsimMean => "",
        }
    }

    /// Factor from the stored value to the printed one (accuracy is stored as a fraction).
    pub(super) fn scale(self) -> f64 {
        if self == Self::Accuracy { 100.0 } else { 1.0 }
    }

    /// Digits after the decimal point of a value.
    pub(super) fn decimals(self) -> usize {
        match self {
            Self::Accuracy => 1,
            Self::PsnrMean | Self::PsnrP95 | Self::PsnrMax => 2,
            Self::SsimMean => 3,
        }
    }

    /// A value without its unit.
    pub(super) fn number(self, value: f64) -> String {
        fixed(value * self.scale(), self.decimals())
    }

    /// `57.1 ± 0.7`, without the unit; the error is left out where it is unknown (zero).
    pub(super) fn number_with_error(self, estimate: Estimate) -> String {
        let value = self.number(estimate.value);
        if estimate.se > 0.0 { format!("{value} ± {}", self.number(estimate.se)) } else { value }
    }

    /// `57.1 ± 0.7 %`.
    pub(super) fn with_unit(self, estimate: Estimate) -> String {
        append_unit(self.number_with_error(estimate), self.unit())
    }

    /// Name with unit, for a column or an axis.
    pub(super) fn axis(self) -> String {
        if self.unit().is_empty() { self.title().to_owned() } else { format!("{} ({})", self.title(), self.unit()) }
    }
}

/// A number with its unit, if it has one.
pub(super) fn append_unit(text: String, unit: &str) -> String {
    // A no-break space: a unit never starts a line.
    if unit.is_empty() { text } else { format!("{text}\u{a0}{unit}") }
}

/// Fixed-point number with a true minus sign and without a negative zero. One that no measurement gives (a study may come from
/// others) is cut to a power of ten: hundreds of digits fit nowhere.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    const LARGEST: f64 = 1e12;
    let text = if value.abs() < LARGEST { format!("{value:.decimals$}") } else { format!("{value:.0e}") };
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|b| matches!(b, b'0' | b'.')) => digits.to_owned(),
        Some(digits) => format!("\u{2212}{digits}"),
        None => text,
    }
}

/// A fraction as a whole percentage; never rounded to 100 % from below nor to 0 % from above.
pub(super) fn percent(fraction: f64) -> String {
    let rounded = (fraction * 100.0).round();
    if rounded >= 100.0 && fraction < 1.0 {
        return ">\u{a0}99\u{a0}%".to_owned();
    }
    if rounded <= 0.0 && fraction > 0.0 {
        return "<\u{a0}1\u{a0}%".to_owned();
    }
    append_unit(fixed(rounded, 0), "%")
}

/// Seconds as `42 s`, `3 min 05 s` or `2 h 10 min`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..=9 => format!("{} s", fixed(seconds.max(0.0), 1)),
        10..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `1 channel`, `16 channels`.
pub(super) fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Escapes text for HTML content and for attribute values in either kind of quotes.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML allows no other control characters, and what turns the direction of reading around has no place in a name.
            c if plain::is_command(c) && !matches!(c, '\n' | '\t') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Where a design is found on the page, for a link's `#…`: what an address can't hold is percent-encoded.
pub(super) fn design_anchor(id: &str) -> String {
    let mut anchor = String::from("design/");
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => anchor.push(char::from(byte)),
            _ => anchor.push_str(&format!("%{byte:02X}")),
        }
    }
    anchor
}

/// A design's figure without its unit: the upper limit that verification found as `≤ 22.06`, another figure of verification as it is,
/// what is only expected as `~21.9 ± 0.7`.
pub(super) fn shown(row: &DesignRow, metric: Metric) -> Option<String> {
    if let Some(upper) = row.upper.and_then(|figures| figures.get(metric)) {
        return Some(format!("≤ {}", metric.number(upper.value)));
    }
    let tilde = if row.is_verified_figure(metric) { "" } else { "~" };
    row.best(metric).map(|(estimate, _)| format!("{tilde}{}", metric.number_with_error(estimate)))
}

impl Status {
    /// What the design is that the study ended with.
    pub(super) fn of_choice(self) -> &'static str {
        match self {
            Self::RefutedAll | Self::Infeasible => "Nearest design",
            Self::Unverified => "Likeliest design",
            Self::Verified | Self::InProgress | Self::Stopped => "Chosen design",
        }
    }

    /// One or two words for the badge.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Verified => "Verified",
            Self::Unverified => "Not verified",
            Self::RefutedAll => "Refuted",
            Self::Infeasible => "No feasible design",
            Self::InProgress => "Running",
            Self::Stopped => "Not finished",
        }
    }

    /// Class of the badge in the page's style sheet.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Verified => "good",
            Self::Unverified | Self::InProgress | Self::Stopped => "fair",
            Self::RefutedAll | Self::Infeasible => "poor",
        }
    }
}

impl Feasibility {
    /// As printed in a table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Feasible => "within budget",
            Self::Infeasible => "over budget",
            Self::Uncertain => "uncertain",
        }
    }

    /// A sign of it that needs no colour.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Feasible => "✔",
            Self::Infeasible => "✘",
            Self::Uncertain => "?",
        }
    }
}

impl KnownBy {
    /// As printed in a table.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Predicted => "predicted",
            Self::Screened => "screened",
            Self::Measured => "measured",
            Self::Refuted => "refuted",
            Self::Verified => "verified",
        }
    }

    /// A sign of it that needs no colour.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Predicted => "○",
            Self::Screened => "◔",
            Self::Measured => "●",
            Self::Refuted => "✘",
            Self::Verified => "✔",
        }
    }

    /// Whether its figures come from verification: all others are marked `~`.
    pub(super) fn is_verification(self) -> bool {
        self >= Self::Refuted
    }
}

impl Exposure {
    /// As printed below a picture: said from the owner's side, where a good reconstruction is bad news.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Most => "Most exposed image",
            Self::Median => "Median image",
            Self::Least => "Least exposed image",
        }
    }
}

/// The study's answer in one sentence: verified figures where there are some, else what verification was expected to find.
pub(super) fn answer(view: &StudyView) -> String {
    let confidence = percent(view.confidence);
    let Some(chosen) = &view.chosen else {
        return match view.status {
            Status::RefutedAll => {
                "Every design that was verified broke a budget, so no design is recommended.".to_owned()
            }
            Status::Infeasible => "No candidate meets every budget, so no design is recommended.".to_owned(),
            Status::InProgress if view.history.is_empty() => {
                "The study has started; nothing has been measured yet.".to_owned()
            }
            Status::InProgress => format!(
                "The study is running: {} so far, no design chosen yet.",
                plural(view.history.len(), "measurement")
            ),
            Status::Stopped => format!(
                "The study was stopped after {}, before it had an answer; its command, given again, goes on from there.",
                plural(view.history.len(), "measurement")
            ),
            Status::Verified | Status::Unverified => "The study ended without a chosen design.".to_owned(),
        };
    };
    let design = match chosen.mixed {
        true => format!(
            "{} of the {} after {} ({})",
            plural(chosen.depth, "linear combination"),
            plural(chosen.layer_channels, "channel"),
            chosen.split,
            chosen.selection
        ),
        false => format!(
            "{} of {} kept after {} ({})",
            chosen.depth,
            plural(chosen.layer_channels, "channel"),
            chosen.split,
            chosen.selection
        ),
    };
    let found = clause(chosen.verified.as_ref().and_then(outcome));
    let expected = clause(chosen.expected.as_ref().and_then(expectation));
    let at_most = chosen.upper.and_then(|upper| upper.psnr_mean);
    let at_most = at_most.map_or(String::new(), |e| {
        let limit = append_unit(Metric::PsnrMean.number(e.value), Metric::PsnrMean.unit());
        format!(", and at most {limit} once sixteen times the training and the draw of the images are allowed for")
    });
    match view.status {
        Status::Verified => format!(
            "With {design}{found}{at_most}; every budget is met with {confidence} confidence over the draw of images, \
             verified by attacks that were trained anew."
        ),
        Status::RefutedAll if chosen.refuted => {
            format!("No design passed verification; the last one refuted has {design}{found}{at_most}.")
        }
        Status::RefutedAll => {
            format!("No design passed verification; the most likely to pass next has {design}{expected}.")
        }
        Status::Unverified => format!("The best design found has {design}, but it was not verified{expected}."),
        Status::Infeasible => {
            format!("No candidate can be expected to meet every budget; the nearest has {design}{expected}.")
        }
        Status::InProgress => format!("The study is running; the best design so far has {design}{expected}."),
        Status::Stopped => {
            format!(
                "The study was stopped before its end; the best design so far has {design}{expected}. Nothing is verified."
            )
        }
    }
}

/// A clause after a comma, nothing where there is none.
fn clause(text: Option<String>) -> String {
    text.map_or(String::new(), |text| format!(", {text}"))
}

/// What was measured.
fn outcome(figures: &Figures) -> Option<String> {
    let accuracy = figures.accuracy.map(|e| {
        let value = Metric::Accuracy.with_unit(e);
        format!("the cloud net classifies {value} of unseen images correctly")
    });
    let leakage = figures.psnr_mean.map(|e| {
        let value = Metric::PsnrMean.with_unit(e);
        format!("the strongest attack tried recovers images at {value} PSNR on average")
    });
    both(accuracy, leakage)
}

/// What verification is expected to find: no claim.
fn expectation(figures: &Figures) -> Option<String> {
    let about = |metric: Metric, e: Estimate| append_unit(metric.number(e.value), metric.unit());
    let accuracy = figures.accuracy.map(|e| format!("about {} accuracy", about(Metric::Accuracy, e)));
    let leakage = figures.psnr_mean.map(|e| format!("a leakage of up to about {}", about(Metric::PsnrMean, e)));
    Some(format!("where verification is expected to find {}", both(accuracy, leakage)?))
}

fn both(first: Option<String>, second: Option<String>) -> Option<String> {
    match (first, second) {
        (Some(first), Some(second)) => Some(format!("{first} and {second}")),
        (first, second) => first.or(second),
    }
}

/// The floors in one line, to stand beside every leakage figure; empty without floors.
pub(super) fn floors(view: &StudyView) -> String {
    if view.floors.is_empty() {
        return String::new();
    }
    let list: Vec<_> =
        view.floors.iter().map(|f| format!("{} {}", f.name, append_unit(fixed(f.psnr_mean, 1), "dB"))).collect();
    format!("To compare, the mean PSNR of images without detail: {}.", list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(fixed(-0.004, 2), "0.00");
        assert_eq!(fixed(-1.25, 1), "\u{2212}1.2");
        assert_eq!(fixed(-1.7e308, 1), "\u{2212}2e308", "no measurement gives it: it is cut");
        assert_eq!(percent(0.997), ">\u{a0}99\u{a0}%");
        assert_eq!(percent(1.0), "100\u{a0}%");
        assert_eq!(percent(0.001), "<\u{a0}1\u{a0}%");
        assert_eq!(duration(185.2), "3 min 05 s");
        assert_eq!(duration(7800.0), "2 h 10 min");
        assert_eq!(Metric::Accuracy.with_unit(Estimate { value: 0.5714, se: 0.0068 }), "57.1 ± 0.7\u{a0}%");
        assert_eq!(Metric::SsimMean.with_unit(Estimate { value: 0.56, se: 0.0 }), "0.560");
    }

    #[test]
    fn an_anchor_holds_nothing_that_ends_an_attribute_or_an_address() {
        assert_eq!(design_anchor("conv3_1-4-dbcdcab1"), "design/conv3_1-4-dbcdcab1");
        assert_eq!(design_anchor("a\"b#é"), "design/a%22b%23%C3%A9");
    }

    #[test]
    fn escaping_covers_markup_quotes_and_controls() {
        assert_eq!(escape("<script a='1' b=\"2\">&\u{1}"), "&lt;script a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;\u{fffd}");
    }
}
