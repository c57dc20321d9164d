//! How much of each budget the chosen design uses.

use super::super::text::fixed;
use super::super::view::{BudgetBar, StudyView};
use super::font;
use super::scene::{Align, Ink, Label, Scene};
use super::style::{BLACK, GREY, GRID, LIMIT, SMALL, TEXT, WIDTH, placeholder};

const LINE: f64 = 40.0;
const TOP: f64 = 34.0;
/// Within its budget.
const WITHIN: Ink = Ink::new((0, 114, 178));
/// Bars end here, with an arrow, however far a budget is exceeded.
const LONGEST: f64 = 2.0;

/// Draws one bar per budget.
pub(in super::super) fn draw(view: &StudyView) -> Scene {
    let height = TOP + LINE * view.budgets.len().max(1) as f64 + 40.0;
    let mut scene = Scene::new("budgets", "Use of each budget by the chosen design", WIDTH, height);
    if view.budgets.is_empty() {
        placeholder(&mut scene, "The study has no budgets.");
        return scene;
    }
    let bars = &view.budgets;
    let left = bars.iter().map(|b| font::width(&b.name, TEXT, true)).fold(0.0, f64::max) + 18.0;
    let notes: Vec<_> = bars.iter().map(note).collect();
    let right = WIDTH - notes.iter().map(|n| font::width(n, SMALL, false)).fold(0.0, f64::max) - 22.0;
    let right = right.max(left + 200.0);
    let fractions = bars.iter().filter_map(|b| b.fraction(b.used.as_ref()?));
    let end = (fractions.fold(1.0, f64::max) * 1.06).clamp(1.1, LONGEST);
    let x = |fraction: f64| left + (right - left) * fraction.clamp(0.0, end) / end;
    let bottom = TOP + LINE * bars.len() as f64;

    let step = if end > 1.4 { 0.5 } else { 0.25 };
    for i in 0..=(end / step) as usize {
        let fraction = step * i as f64;
        scene.line((x(fraction), TOP - 4.0), (x(fraction), bottom), 0.75, GRID);
        scene.text(Label::new((x(fraction), bottom + 15.0), fixed(fraction * 100.0, 0), SMALL, GREY, Align::Centre));
    }
    scene.text(Label::new(((left + right) / 2.0, bottom + 32.0), "% of the limit", SMALL, BLACK, Align::Centre));
    for (i, (bar, note)) in bars.iter().zip(notes).enumerate() {
        let y = TOP + LINE * (i as f64 + 0.5);
        scene.text(Label::new((left - 12.0, y), bar.name.clone(), TEXT, BLACK, Align::Right).bold());
        scene.text(Label::new((right + 14.0, y), note, SMALL, BLACK, Align::Left));
        draw_bar(&mut scene, bar, (&x, end), y);
    }
    scene.line((x(1.0), TOP - 6.0), (x(1.0), bottom), 2.0, LIMIT);
    scene.text(Label::new((x(1.0), TOP - 18.0), "limit", SMALL, LIMIT, Align::Centre).bold());
    scene
}

fn draw_bar(scene: &mut Scene, bar: &BudgetBar, (x, end): (&dyn Fn(f64) -> f64, f64), y: f64) {
    let Some(used) = bar.used.as_ref().and_then(|used| bar.fraction(used)) else {
        return;
    };
    let ink = if used > 1.0 { LIMIT } else { WITHIN };
    scene.rectangle((x(0.0), y - 10.0), (x(used).max(x(0.0) + 1.0), y + 10.0), ink);
    if used > end {
        let tip = x(end);
        scene.polygon([(tip, y - 10.0), (tip + 9.0, y), (tip, y + 10.0)], ink);
    }
}

/// `57 of 60 MMAC (95 %)`, `17.5 of 18 dB (0.5 dB to spare)`.
fn note(bar: &BudgetBar) -> String {
    let Some(used) = &bar.used else {
        return format!("limit {}", bar.limit.text);
    };
    let share = bar.fraction(used).map(|f| format!("{} %", fixed(f * 100.0, 0)));
    let share = bar.spare.clone().or(share).map_or(String::new(), |share| format!(" ({share})"));
    format!("{}{} of {}{share}", bar.known.mark(), used.text, bar.limit.text)
}
