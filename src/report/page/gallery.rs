//! Reconstructions beside their originals: from the least to the most revealing, then those of single designs.

use super::super::ReportError;
use super::super::plot::gallery::{figures, magnification};
use super::super::png;
use super::super::text::{self, append_unit, design_anchor, escape, fixed};
use super::super::view::{GalleryPair, GallerySection, Picture, Sample, StudyView};
use super::designs::Shown;

/// Whether there is a picture to show.
pub(super) fn exists(view: &StudyView) -> bool {
    !view.samples.is_empty() || view.gallery.iter().any(|section| !section.pairs.is_empty())
}

pub(super) fn section(view: &StudyView, shown: &Shown) -> Result<String, ReportError> {
    if !exists(view) {
        return Ok(String::new());
    }
    let (scale, designs) = (scale(view, shown)?, pictures(&view.gallery)?);
    let file = if designs.is_empty() { "" } else { "<p class=\"files\"><a href=\"gallery.png\">PNG</a></p>\n" };
    Ok(format!(
        "<section id=\"gallery\">\n<h2>What the attacker sees</h2>\n<p>Images that no training saw, beside what the trained attack \
         (decoder or ensemble) made of their features, and white-box inversion of a part of them where that recovers more.</p>\n{scale}{designs}{file}</section>\n"
    ))
}

/// A row of reconstructions by their decibels.
fn scale(view: &StudyView, shown: &Shown) -> Result<String, ReportError> {
    if view.samples.is_empty() {
        return Ok(String::new());
    }
    let samples = view.samples.iter().map(|sample| self::sample(shown, sample)).collect::<Result<String, _>>()?;
    let floors = escape(&text::floors(view));
    Ok(format!(
        "<h3>What decibels look like</h3>\n<p>Single images of this study, from the least to the most revealing reconstruction that it \
         kept: above the original, below what the attacker made of its features. Choose a limit by looking. {floors}</p>\n\
         <ol class=\"decibels\">\n{samples}</ol>\n"
    ))
}

fn sample(shown: &Shown, sample: &Sample) -> Result<String, ReportError> {
    let Sample { design, attack, pair } = sample;
    let decibels = append_unit(fixed(pair.psnr, 1), "dB");
    let ssim = pair.ssim.map_or(String::new(), |ssim| format!("SSIM {}, ", fixed(ssim, 2)));
    let link = match shown.rows.iter().find(|row| row.id == *design) {
        Some(row) => format!(
            "<a href=\"#{}\">{}, {}</a>",
            escape(&design_anchor(design)),
            escape(&row.split),
            text::plural(row.depth, "channel")
        ),
        None => escape(design),
    };
    Ok(format!(
        "<li><figure>\n{}\n{}\n<figcaption><strong>{decibels}</strong><br>{ssim}{link}<br>{}</figcaption>\n</figure></li>\n",
        image(&pair.original, "Original")?,
        image(&pair.reconstruction, &format!("Reconstruction at {decibels}"))?,
        escape(attack)
    ))
}

/// The pictures of every section that has any, under its title.
pub(in super::super) fn pictures(sections: &[GallerySection]) -> Result<String, ReportError> {
    sections.iter().filter(|section| !section.pairs.is_empty()).map(design).collect()
}

fn design(section: &GallerySection) -> Result<String, ReportError> {
    let pairs = section.pairs.iter().map(pair).collect::<Result<String, _>>()?;
    let (title, caption) = (escape(&section.title), escape(&section.caption));
    Ok(format!("<h3>{title}</h3>\n<p>{caption}</p>\n<div class=\"pairs\">\n{pairs}</div>\n"))
}

fn pair(pair: &GalleryPair) -> Result<String, ReportError> {
    let label = pair.exposure.label();
    Ok(format!(
        "<figure class=\"pair\">\n{}\n{}\n<figcaption><strong>{label}</strong><br>{}</figcaption>\n</figure>\n",
        image(&pair.original, &format!("{label}: original"))?,
        image(&pair.reconstruction, &format!("{label}: reconstruction"))?,
        escape(&figures(pair))
    ))
}

fn image(picture: &Picture, what: &str) -> Result<String, ReportError> {
    // Enlarged here by whole factors: browsers and printers would blur small pictures.
    let large = png::enlarge(picture, magnification(picture.width));
    let uri = png::data_uri(&large)?;
    Ok(format!("<img src=\"{uri}\" width=\"{}\" height=\"{}\" alt=\"{}\">", large.width, large.height, escape(what)))
}
