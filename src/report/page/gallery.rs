//! Reconstructions beside their originals.

use super::super::ReportError;
use super::super::plot::gallery::{figures, magnification};
use super::super::png;
use super::super::text::{self, escape};
use super::super::view::{GalleryPair, GallerySection, Picture, StudyView};

/// Whether there is a picture to show.
pub(super) fn exists(view: &StudyView) -> bool {
    view.gallery.iter().any(|section| !section.pairs.is_empty())
}

pub(super) fn section(view: &StudyView) -> Result<String, ReportError> {
    if !exists(view) {
        return Ok(String::new());
    }
    let designs = pictures(&view.gallery)?;
    let floors = escape(&text::floors(view));
    Ok(format!(
        "<section id=\"gallery\">\n<h2>What the attacker sees</h2>\n<p>Images that no training saw, beside what the trained decoder \
         made of their features, and white-box inversion of a part of them where that recovers more. {floors}</p>\n{designs}<p class=\"files\"><a href=\"gallery.png\">PNG</a></p>\n</section>\n"
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
    let image = |picture: &Picture, what: &str| -> Result<String, ReportError> {
        // Enlarged here by whole factors: browsers and printers would blur small pictures.
        let large = png::enlarge(picture, magnification(picture.width));
        let uri = png::data_uri(&large)?;
        Ok(format!("<img src=\"{uri}\" width=\"{}\" height=\"{}\" alt=\"{what}\">", large.width, large.height))
    };
    let label = pair.exposure.label();
    Ok(format!(
        "<figure class=\"pair\">\n{}\n{}\n<figcaption><strong>{label}</strong><br>{}</figcaption>\n</figure>\n",
        image(&pair.original, &format!("{label}: original"))?,
        image(&pair.reconstruction, &format!("{label}: reconstruction"))?,
        escape(&figures(pair))
    ))
}
