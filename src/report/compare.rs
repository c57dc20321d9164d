//! Several studies on one page: a plot of all their fronts, a table, and what can't be compared.

use std::fs;
use std::path::Path;

use super::plot::compare as plot;
use super::plot::scene::Scene;
use super::{ReportError, ReportFiles, page, replace};

/// Studies side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Names of the cells of a study.
    pub columns: Vec<&'static str>,
    /// One at least.
    pub studies: Vec<ComparedStudy>,
    /// What can't be compared, in sentences.
    pub warnings: Vec<String>,
}

/// One of the studies.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedStudy {
    /// Its name.
    pub name: String,
    /// Limit on the mean PSNR, dB.
    pub psnr_limit: Option<f64>,
    /// Its designs.
    pub points: Vec<ComparedPoint>,
    /// A cell for each of the columns.
    pub cells: Vec<String>,
}

/// A design, on the scale of verification.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedPoint {
    /// Its id.
    pub design: String,
    /// Accuracy of the cloud net, in [0, 1].
    pub accuracy: f64,
    /// Mean PSNR of the attacker's reconstructions, dB.
    pub psnr_mean: f64,
    /// Whether no other design of its study beats it in both.
    pub on_front: bool,
    /// Whether verification found the figures; else they are expected.
    pub verified: bool,
    /// Whether it is its study's verified answer.
    pub chosen: bool,
}

/// Writes `index.html`, `compare.svg` and `compare.png` into a folder, which is made if it does not exist.
///
/// # Errors
/// [`ReportError`].
pub fn write_comparison(comparison: &Comparison, dir: &Path) -> Result<ReportFiles, ReportError> {
    let points = comparison.studies.iter().flat_map(|study| &study.points);
    if let Some(point) = points.into_iter().find(|point| !(point.accuracy.is_finite() && point.psnr_mean.is_finite())) {
        return Err(ReportError::NotFinite { field: format!("a figure of {}", point.design), value: point.psnr_mean });
    }
    let scene = plot::draw(comparison);
    let files = [(dir.join("compare.svg"), scene.svg()?.into_bytes()), (dir.join("compare.png"), scene.png()?)];
    let html = html(comparison, &scene)?;
    fs::create_dir_all(dir).map_err(|source| ReportError::Write { path: dir.to_owned(), source })?;
    for (path, content) in &files {
        replace(path, content)?;
    }
    let index = dir.join("index.html");
    replace(&index, html.as_bytes())?;
    Ok(ReportFiles { page: index, plots: files.into_iter().map(|(path, _)| path).collect() })
}

const CAPTION: &str = "Each design at its mean PSNR and accuracy: leakage is the upper limit that verification found, elsewhere what \
    it is expected to find. Lines join the designs that no other of their study beats in both; stars are the studies' answers; \
    dashed lines are their limits on the mean PSNR.";

fn html(comparison: &Comparison, scene: &Scene) -> Result<String, ReportError> {
    let names: Vec<&str> = comparison.studies.iter().map(|study| study.name.as_str()).collect();
    let columns: Vec<&str> = std::iter::once("Study").chain(comparison.columns.iter().copied()).collect();
    let rows = comparison.studies.iter().map(|study| [vec![study.name.clone()], study.cells.clone()].concat());
    let caption = "Leakage is the upper limit that verification found or, marked ~, is expected to find: no claim.";
    let badge = if comparison.warnings.is_empty() { ("good", "comparable") } else { ("fair", "not comparable") };
    let sections = [
        page::section(
            "studies",
            "Studies",
            Some(badge),
            &(page::warnings(&comparison.warnings, "difference") + &page::table(caption, &columns, rows)),
        ),
        page::plot("Trade-offs", scene, CAPTION)?,
    ];
    let links = [("studies", "Studies"), ("compare", "Trade-offs")];
    let content = page::Content { sections: sections.concat(), data: String::new(), script: "" };
    Ok(page::document("PrivyNet comparison", &names.join(" · "), "Studies side by side", &links, &content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn study(name: &str, psnr: f64) -> ComparedStudy {
        let point = |at: f64, on_front| ComparedPoint {
            design: format!("{name}-{at}"),
            accuracy: 0.5 + 0.1 * at,
            psnr_mean: psnr + at,
            on_front,
            verified: at == 1.0,
            chosen: at == 1.0,
        };
        let points = vec![point(0.0, true), point(1.0, true), point(2.0, false)];
        ComparedStudy { name: name.to_owned(), psnr_limit: Some(psnr + 1.5), points, cells: vec![format!("{psnr} dB")] }
    }

    #[test]
    fn the_page_holds_all_studies_the_plot_and_what_cannot_be_compared() {
        let folder = tempfile::tempdir().unwrap();
        let warnings = vec!["images differ: a | <b>".to_owned()];
        let comparison =
            Comparison { columns: vec!["Limits"], studies: vec![study("a", 18.0), study("<b>", 22.0)], warnings };
        let files = write_comparison(&comparison, folder.path()).unwrap();
        let html = fs::read_to_string(&files.page).unwrap();
        for part in ["images differ: a | &lt;b&gt;", "not comparable", "18 dB", "22 dB", "<svg", "compare.png"] {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("<b>"), "names are escaped");
        for plot in &files.plots {
            assert!(fs::metadata(plot).unwrap().len() > 1_000, "{}", plot.display());
        }
        let mut spoilt = comparison;
        spoilt.studies[0].points[0].psnr_mean = f64::NAN;
        assert!(matches!(write_comparison(&spoilt, folder.path()), Err(ReportError::NotFinite { .. })));
    }
}
