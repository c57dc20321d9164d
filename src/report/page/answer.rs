//! The answer: one sentence, the figures that it rests on beside their limits, and what must be known of it.

use super::super::text::{self, escape, fixed};
use super::super::view::{BudgetBar, Chosen, Known, Live, Metric, Status, StudyView};
use super::{list, paragraph, warnings};

pub(super) fn section(view: &StudyView) -> String {
    let status = view.status;
    let content = [
        view.live.as_ref().map(live).unwrap_or_default(),
        paragraph("answer", &text::answer(view)),
        view.chosen.as_ref().map(|chosen| tiles(view, chosen)).unwrap_or_default(),
        paragraph("floors", &text::floors(view)),
        list(&view.explanation),
        warnings(&view.warnings, "warning"),
    ];
    super::section("answer", "Answer", Some((status.class(), status.label())), &content.concat())
}

/// What a running study is doing. Without a script the page is loaded anew by the browser.
fn live(live: &Live) -> String {
    let [made, foreseen] = live.measurements;
    let share = 100.0 * made as f64 / foreseen.max(1) as f64;
    let doing = if live.doing.is_empty() { String::new() } else { format!(" Now: {}.", escape(&live.doing)) };
    format!(
        "<noscript><meta http-equiv=\"refresh\" content=\"{again}\"></noscript>\n\
         <div id=\"live\" data-written=\"{}\" data-again=\"{again}\">\n<p><strong>Running:</strong> {made} of about {foreseen} \
         measurements.{doing} <span class=\"when\"></span></p>\n\
         <div class=\"track\" aria-hidden=\"true\"><div style=\"width:{}%\"></div></div>\n</div>\n",
        live.written,
        fixed(share.min(100.0), 1),
        again = live.again,
    )
}

/// The accuracy, and what is used of each budget.
fn tiles(view: &StudyView, chosen: &Chosen) -> String {
    let verified = chosen.verified.is_some();
    let accuracy = chosen.verified.or(chosen.expected).and_then(|figures| figures.accuracy).map(|accuracy| {
        let note = match (verified, view.status) {
            (true, Status::Verified) => "of unseen images, verified",
            (true, _) => "of unseen images, by verification's trainings",
            (false, _) => "of unseen images, as expected",
        };
        let tilde = if verified { "" } else { "~" };
        tile("Accuracy", &format!("{tilde}{}", Metric::Accuracy.with_unit(accuracy)), note, "")
    });
    let bars = view.budgets.iter().map(budget);
    let tiles: String = accuracy.into_iter().chain(bars).collect();
    format!("<dl class=\"tiles\">\n{tiles}</dl>\n")
}

fn budget(bar: &BudgetBar) -> String {
    let Some(used) = &bar.used else {
        return tile(&bar.name, "–", &format!("limit {}", bar.limit.text), "");
    };
    let fraction = bar.fraction(used);
    let (sign, class) = match fraction {
        Some(fraction) if fraction > 1.0 => ("✘", "poor"),
        Some(_) if matches!(bar.known, Known::Exact | Known::Upper) => ("✔", "good"),
        // Nothing vouches for it.
        _ => ("", ""),
    };
    let left = fraction.map(|fraction| format!("{}\u{a0}% used", fixed(100.0 * fraction, 0)));
    let left = bar.spare.clone().or(left).map_or(String::new(), |left| format!(": {left}"));
    let note = format!("{sign} limit {}{left}", bar.limit.text.replace(' ', "\u{a0}"));
    let value = format!("{}{}", bar.known.mark(), used.text);
    tile(&bar.name, &value, note.trim(), class)
}

fn tile(name: &str, value: &str, note: &str, class: &str) -> String {
    let (name, value, note) = (escape(name), escape(value), escape(note));
    format!("<div><dt>{name}</dt><dd><strong>{value}</strong><span class=\"{class}\">{note}</span></dd></div>\n")
}

#[cfg(test)]
mod tests {
    use super::super::super::view::Quantity;
    use super::*;

    #[test]
    fn only_what_verification_bounds_is_ticked() {
        let shown = |used: f64, known| {
            let quantity = |value: f64| Quantity { value, text: format!("{value} dB") };
            budget(&BudgetBar {
                name: "PSNR".to_owned(),
                limit: quantity(24.0),
                used: Some(quantity(used)),
                known,
                spare: Some("left".to_owned()),
            })
        };
        assert!(shown(22.0, Known::Upper).contains("≤ 22 dB") && shown(22.0, Known::Upper).contains('✔'));
        // An attack that did not end found a lower limit of the leakage.
        assert!(shown(21.0, Known::AtLeast).contains("≥ 21 dB") && !shown(21.0, Known::AtLeast).contains('✔'));
        assert!(shown(21.0, Known::Expected).contains("~21 dB") && !shown(21.0, Known::Expected).contains('✔'));
        assert!(shown(25.0, Known::AtLeast).contains('✘'));
    }
}
