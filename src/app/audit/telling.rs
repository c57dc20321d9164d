//! What `audit` prints: lines for people, an object for programs.

use std::path::Path;

use serde_json::{Value, json};

use crate::measurement::Metric;
use crate::report::AuditView;

/// The page's contents but for its pictures; `version` is that of the line.
pub(super) fn object(view: &AuditView, page: &Path) -> Value {
    let mut value = json!(view);
    if let Some(map) = value.as_object_mut() {
        map.insert("program".to_owned(), json!(format!("privynet {}", view.version)));
        map.insert("report".to_owned(), json!(page));
    }
    value
}

pub(super) fn print(view: &AuditView, page: &Path) {
    println!("{}: {}, {} channels ({})", view.name, view.split, view.depth, view.selection);
    println!(
        "  {:<38} {:>6} {:>14} {:>9} {:>9} {:>9} {:>9} {:>7} {:>9}  ended",
        "attack", "images", "PSNR mean", "extended", "p95", "max", "class", "SSIM", "same imgs"
    );
    for finding in &view.findings {
        let optional = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
        println!(
            "  {:<38} {:>6} {:>6.2} ± {:<5.2} {:>9} {:>9.2} {:>9.2} {:>9} {:>7.3} {:>9}  {}",
            finding.attack.title(),
            finding.images,
            finding.psnr_mean.value,
            finding.psnr_mean.std_error,
            optional(finding.extended[0]),
            finding.psnr_p95.value,
            finding.psnr_max,
            optional(finding.psnr_worst_class.map(|figure| figure.value)),
            finding.ssim_mean.value,
            optional(finding.psnr_on_inverted),
            finding.end()
        );
        if let Some(remark) = &finding.remark {
            println!("    {remark}");
        }
    }
    let floors = &view.floors;
    println!(
        "  without features: {:.1} dB (mean image), {:.1} dB (mean colour), {:.1} dB (8×8 thumbnail)",
        floors.best_constant, floors.mean_colour, floors.thumbnail
    );
    for claim in view.claims.iter().filter(|claim| claim.limit.is_some() && claim.metric != Metric::Accuracy) {
        let text = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| claim.metric.text(value));
        println!("  claimed of {}: at most {}, limit {}", claim.metric, text(claim.upper), text(claim.limit));
    }
    for remark in &view.remarks {
        println!("  note: {remark}");
    }
    for objection in &view.objections {
        println!("  OBJECTION: {objection}");
    }
    println!("  report: {}", page.display());
}
