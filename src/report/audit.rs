//! An audit as a page and as `audit.json`: for whoever must sign off on a design.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::page::{self, Fact};
use super::view::GallerySection;
use super::{ReportError, replace};
use crate::audit::Finding;
use crate::estimate::Floors;
use crate::export::Claim;
use crate::measurement::Metric;
use crate::record::CostRecord;
use crate::units::{Bytes, Macs};

/// An audit of one design.
#[derive(Debug, Clone, Serialize)]
pub struct AuditView {
    /// Of the study or package; the design's id where it comes from none.
    pub name: String,
    /// The design's id.
    pub id: String,
    /// Split layer.
    pub split: String,
    /// Output channel count.
    pub depth: usize,
    /// How the channels were chosen.
    pub selection: String,
    /// Exact cost on the device.
    pub cost: CostRecord,
    /// Images for training, validation and evaluation.
    pub images: [usize; 3],
    /// What the attacks were given.
    pub effort: String,
    /// Seed of initial weights and batches.
    pub seed: u64,
    /// What computed.
    pub device: String,
    /// Version of this program.
    pub version: String,
    /// The command as it was given.
    pub command: String,
    /// What needs no features.
    pub floors: Floors,
    /// What each attack recovered, without its pictures.
    pub findings: Vec<Finding>,
    /// What was claimed of the design; empty where nothing was.
    pub claims: Vec<Claim>,
    /// What speaks against the claims, or against the audit itself.
    pub objections: Vec<String>,
    /// What must be known to read the figures, in sentences.
    pub remarks: Vec<String>,
    /// Pictures, an attack each.
    #[serde(skip)]
    pub gallery: Vec<GallerySection>,
}

impl AuditView {
    /// The answer in a sentence.
    fn answer(&self) -> String {
        let strongest = self.findings.iter().max_by(|a, b| a.psnr_mean.value.total_cmp(&b.psnr_mean.value));
        let Some(strongest) = strongest else {
            return "No attack ran.".to_owned();
        };
        let reached = format!(
            "The strongest of {} attacks by mean PSNR, {}, reconstructs images at {:.2} ± {:.2} dB in the mean, {:.2} dB at the \
             95th percentile and {:.2} dB at most",
            self.findings.len(),
            strongest.attack.title(),
            strongest.psnr_mean.value,
            strongest.psnr_mean.std_error,
            strongest.psnr_p95.value,
            strongest.psnr_max
        );
        match (self.claims.is_empty(), self.objections.is_empty()) {
            (true, _) => format!("{reached}. Nothing was claimed of this design."),
            (false, true) => format!("{reached}: every attack stays within what was claimed."),
            (false, false) => format!("{reached}. Read the objections below."),
        }
    }
}

/// Writes `index.html` and `audit.json` into a folder, which is made if it does not exist; returns the page's path.
///
/// # Errors
/// [`ReportError`].
pub fn write_audit(view: &AuditView, dir: &Path) -> Result<PathBuf, ReportError> {
    let page = html(view)?;
    let json = serde_json::to_vec_pretty(view).map_err(|error| ReportError::Encode { message: error.to_string() })?;
    fs::create_dir_all(dir).map_err(|source| ReportError::Write { path: dir.to_owned(), source })?;
    replace(&dir.join("audit.json"), &json)?;
    let index = dir.join("index.html");
    replace(&index, page.as_bytes())?;
    Ok(index)
}

fn html(view: &AuditView) -> Result<String, ReportError> {
    let badge = match (view.claims.is_empty(), view.objections.is_empty()) {
        (_, false) => ("poor", "objections"),
        (true, true) => ("fair", "no claims"),
        (false, true) => ("good", "claims stand"),
    };
    let answer = page::section(
        "answer",
        "Answer",
        Some(badge),
        &[
            page::paragraph("answer", &view.answer()),
            page::paragraph(
                "floors",
                &format!(
                    "Without any features: {:.1} dB by the mean image, {:.1} dB by each image's mean colour, {:.1} dB by its 8×8 \
                     thumbnail.",
                    view.floors.best_constant, view.floors.mean_colour, view.floors.thumbnail
                ),
            ),
            page::warnings(&view.objections, "objection"),
            view.remarks.iter().map(|remark| page::paragraph("remark", remark)).collect(),
        ]
        .concat(),
    );
    let sections = [
        answer,
        page::section("design", "The design", None, &page::facts(&design(view))),
        page::section("attacks", "What each attack recovered", None, &(attacks(view) + &claims(view))),
        page::section("gallery", "What the attacker sees", None, &page::pictures(&view.gallery)?),
        page::section("threat", "What each attacker has", None, &threats(view)),
        page::section("provenance", "Provenance", None, &page::facts(&provenance(view))),
    ];
    let links = [
        ("answer", "Answer"),
        ("design", "Design"),
        ("attacks", "Attacks"),
        ("gallery", "Reconstructions"),
        ("threat", "Attackers"),
        ("provenance", "Provenance"),
    ];
    let subject = format!("{} at {} channels, {}", view.split, view.depth, view.selection);
    let content = page::Content { sections: sections.concat(), data: String::new(), script: "" };
    Ok(page::document("PrivyNet audit", &view.name, &subject, &links, &content))
}

fn design(view: &AuditView) -> Vec<Fact> {
    vec![
        ("Split layer", view.split.clone()),
        ("Channels", view.depth.to_string()),
        ("Selection", view.selection.clone()),
        ("Compute", Macs(view.cost.macs).to_string()),
        ("Weights", Bytes(view.cost.bytes).to_string()),
        ("Upload per image", Bytes(view.cost.upload_bytes).to_string()),
        ("Id", view.id.clone()),
    ]
}

fn attacks(view: &AuditView) -> String {
    let inverted = view.findings.iter().filter_map(|f| f.psnr_on_inverted.map(|_| f.images)).min();
    let caption = format!(
        "Attacks on the same evaluation images, which no training saw; ± is one standard error over images. “Extended” is what \
         sixteen times the training would reach by the learning curve; “worst class” the mean over the class that is recovered \
         best. Everything but SSIM is PSNR in dB. Inversions are of the first {} images, and “same images” \
         is every attack's mean on these.",
        inverted.unwrap_or(0)
    );
    let columns = [
        "Attack",
        "Images",
        "Mean",
        "Extended",
        "95th percentile",
        "Maximum",
        "Pooled",
        "Worst class",
        "SSIM",
        "Same images",
        "At its end",
        "Time",
    ];
    let rows = view.findings.iter().map(|finding| {
        let optional = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
        vec![
            finding.attack.title().to_owned(),
            finding.images.to_string(),
            format!("{:.2}\u{a0}±\u{a0}{:.2}", finding.psnr_mean.value, finding.psnr_mean.std_error),
            optional(finding.extended[0]),
            format!("{:.2}", finding.psnr_p95.value),
            format!("{:.2}", finding.psnr_max),
            format!("{:.2}", finding.psnr_pooled),
            optional(finding.psnr_worst_class.map(|figure| figure.value)),
            format!("{:.3}", finding.ssim_mean.value),
            optional(finding.psnr_on_inverted),
            finding.end().to_owned(),
            page::duration(finding.seconds).replace(' ', "\u{a0}"),
        ]
    });
    page::table(&caption, &columns, rows)
}

fn claims(view: &AuditView) -> String {
    let bounded: Vec<&Claim> = view.claims.iter().filter(|claim| claim.limit.is_some()).collect();
    if bounded.is_empty() {
        return String::new();
    }
    let strongest = |metric: Metric| {
        let reached = view.findings.iter().filter_map(|finding| finding.reached(metric, &view.findings));
        reached.fold(f64::NEG_INFINITY, f64::max)
    };
    let rows = bounded.iter().map(|claim| {
        let text = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| claim.metric.text(value));
        vec![
            claim.metric.to_string(),
            claim.metric.text(claim.value),
            text(claim.upper),
            text(claim.limit),
            text(Some(strongest(claim.metric)).filter(|value| value.is_finite())),
        ]
    });
    let caption = "What was claimed, and the most that any attack of this audit reaches, its extension included";
    page::table(caption, &["Figure", "Verified", "At most", "Limit", "This audit"], rows)
}

fn threats(view: &AuditView) -> String {
    let rows =
        view.findings.iter().map(|finding| vec![finding.attack.title().to_owned(), finding.attack.needs().to_owned()]);
    let caption = format!("Every attacker has {} images of his own; pairs are of these", view.images[0]);
    let table = page::table(&caption, &["Attack", "It needs"], rows);
    let remarks = [
        "No attack saw an evaluation image in training, nor chose anything by one.",
        "It is no proof: an attacker with more pairs, more computation or a better attack may recover more.",
        "It holds for images like those of the evaluation part.",
    ]
    .map(str::to_owned);
    let found = view
        .findings
        .iter()
        .filter_map(|finding| Some(format!("{}: {}.", finding.attack.title(), finding.remark.as_ref()?)));
    let remarks: Vec<String> = found.chain(remarks).collect();
    table + &page::list(&remarks)
}

fn provenance(view: &AuditView) -> Vec<Fact> {
    let [training, validation, evaluation] = view.images;
    vec![
        ("Version", view.version.clone()),
        ("Command", view.command.clone()),
        ("Images", format!("{training} training, {validation} validation, {evaluation} evaluation")),
        ("Effort", view.effort.clone()),
        ("Seed", view.seed.to_string()),
        ("Device", view.device.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Attack, Figure};

    fn view(objections: &[&str]) -> AuditView {
        let figure = |value| Figure { value, std_error: 0.12 };
        let finding = |attack, mean: f64| Finding {
            attack,
            images: 1000,
            psnr_mean: figure(mean),
            psnr_p95: figure(mean + 4.0),
            psnr_max: mean + 8.0,
            psnr_pooled: mean - 0.5,
            psnr_worst_class: None,
            ssim_mean: figure(0.5),
            psnr_on_inverted: Some(mean),
            extended: [Some(mean + 0.4), None, None],
            converged: Some(true),
            remark: None,
            seconds: 75.0,
            gallery: None,
        };
        AuditView {
            name: "a <study>".to_owned(),
            id: "conv3_1-4-0011aabb".to_owned(),
            split: "conv3_1".to_owned(),
            depth: 4,
            selection: "mixed-1".to_owned(),
            cost: CostRecord {
                latency_ns: None,
                macs: 100_000_000,
                bytes: 1 << 20,
                parameters: 1 << 19,
                peak_memory: 1 << 20,
                upload_bytes: 512,
            },
            images: [4000, 500, 1000],
            effort: "quick".to_owned(),
            seed: 1,
            device: "cpu".to_owned(),
            version: "0".to_owned(),
            command: "privynet audit x".to_owned(),
            floors: Floors { best_constant: 11.0, mean_colour: 12.0, thumbnail: 16.0 },
            findings: vec![finding(Attack::Linear, 14.0), finding(Attack::StrongDecoder, 20.0)],
            claims: vec![Claim {
                metric: Metric::PsnrMean,
                value: 19.0,
                std_error: 0.1,
                extended: Some(19.5),
                upper: Some(21.0),
                limit: Some(22.0),
            }],
            objections: objections.iter().map(|&text| text.to_owned()).collect(),
            remarks: Vec::new(),
            gallery: Vec::new(),
        }
    }

    #[test]
    fn the_page_names_the_strongest_attack_and_escapes_what_it_shows() {
        let page = html(&view(&[])).unwrap();
        for text in [
            "deep decoder, squared error",
            "20.00\u{a0}±\u{a0}0.12",
            "claims stand",
            "a &lt;study&gt;",
            "20.40",
            "21.00 dB",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("<study>"));
    }

    #[test]
    fn objections_take_the_badge() {
        let page = html(&view(&["it <leaks>"])).unwrap();
        assert!(page.contains("it &lt;leaks&gt;") && page.contains("1 objection") && !page.contains("claims stand"));
    }

    #[test]
    fn page_and_json_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let page = write_audit(&view(&[]), &folder.path().join("new")).unwrap();
        assert!(page.is_file());
        let json = fs::read_to_string(page.with_file_name("audit.json")).unwrap();
        assert!(json.contains("\"strong-decoder\""));
    }
}
