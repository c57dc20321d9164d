//! From a study's view model to plots (SVG and PNG) and one self-contained page.
//!
//! [`write()`] takes a [`view::StudyView`] and a folder and measures nothing. The page holds everything that it shows, so it works from
//! `file://` and offline; the plots lie beside it as files of their own, for papers and slides. Every file is written under another
//! name first and then renamed, so that a reader never meets half a page.
//!
//! ```text
//! StudyView ─► plot (one Scene per plot) ─► plotters ─► SVG ─► page ─► index.html
//!                                                   └─► SVG and PNG files
//! ```
//!
//! In the page's plots the marks are links (`#design/ID`), which without a script lead to the design's row of the table. The script
//! (`page/script`) makes them open the design's own view, from data that stand in the page as JSON; what it shows it sets as text, never
//! as markup.

mod audit;
mod compare;
mod page;
mod plot;
mod png;
#[cfg(test)]
mod sample;
mod text;
pub mod view;

pub use audit::{AuditView, write_audit};
pub use compare::{ComparedPoint, ComparedStudy, Comparison, write_comparison};

use plot::Plots;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use view::StudyView;

/// The files of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportFiles {
    /// The page, `index.html`.
    pub page: PathBuf,
    /// The plots beside it, each as SVG and PNG, and the gallery as PNG.
    pub plots: Vec<PathBuf>,
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The view model holds NaN or an infinity.
    #[error("{field} is {value}, which a report cannot show: numbers must be finite; measure that design again")]
    NotFinite {
        /// Which number.
        field: String,
        /// NaN or an infinity.
        value: f64,
    },
    /// A picture's bytes do not fit its size.
    #[error(
        "a picture of gallery section {section:?} has {bytes} bytes for {width}×{height} pixels; expected 3 for each of at least one pixel"
    )]
    PictureSize {
        /// Title of the gallery section.
        section: String,
        /// Width said, in pixels.
        width: u32,
        /// Height said, in pixels.
        height: u32,
        /// Bytes there are.
        bytes: usize,
    },
    /// The font embedded in this program cannot be read.
    #[error("the font embedded in this program cannot be read; build it again from unchanged sources")]
    Font,
    /// plotters failed.
    #[error("cannot draw plot {plot}: {message}")]
    Draw {
        /// File stem of the plot.
        plot: &'static str,
        /// What plotters says.
        message: String,
    },
    /// A PNG could not be encoded.
    #[error("cannot encode a PNG: {message}")]
    Encode {
        /// What the encoder says.
        message: String,
    },
    /// A file or the folder could not be written.
    #[error("cannot write {}; check that the folder may be written and that the disk has room", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Writes the report of a study into a folder, which is made if it does not exist; files of an earlier report are replaced.
///
/// # Errors
/// [`ReportError`]; nothing is written if the view model is refused or a plot cannot be drawn.
pub fn write(view: &StudyView, dir: &Path) -> Result<ReportFiles, ReportError> {
    view.check()?;
    let plots = Plots::new(view);
    let page = page::html(view, &plots)?;
    let (mut files, mut stale) = (Vec::new(), Vec::new());
    for scene in plots.vector() {
        files.push((dir.join(format!("{}.svg", scene.name)), scene.svg()?.into_bytes()));
        files.push((dir.join(format!("{}.png", scene.name)), scene.png()?));
    }
    match &plots.gallery {
        Some(scene) => files.push((dir.join(format!("{}.png", scene.name)), scene.png()?)),
        None => stale.push(dir.join("gallery.png")),
    }
    for (name, there) in [("ladder", plots.ladder.is_some()), ("channels", plots.channels.is_some())] {
        if !there {
            stale.extend(["svg", "png"].map(|extension| dir.join(format!("{name}.{extension}"))));
        }
    }
    fs::create_dir_all(dir).map_err(|source| ReportError::Write { path: dir.to_owned(), source })?;
    for (path, content) in &files {
        replace(path, content)?;
    }
    for path in stale {
        // Of an earlier report; most often there is none.
        if path.exists() {
            fs::remove_file(&path).map_err(|source| ReportError::Write { path, source })?;
        }
    }
    // The page comes last: where it is, its plots are.
    let index = dir.join("index.html");
    replace(&index, page.as_bytes())?;
    Ok(ReportFiles { page: index, plots: files.into_iter().map(|(path, _)| path).collect() })
}

/// Strategies that searched the same table, for one plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Race {
    /// One a strategy.
    pub curves: Vec<Curve>,
}

/// How one strategy fared.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The strategy.
    pub name: String,
    /// Searches that the mean is over.
    pub seeds: usize,
    /// After each evaluation the share of the best answer that was found, mean over searches; shape `[evaluations]`.
    pub mean: Vec<f64>,
}

/// Writes the plot of a race: SVG or PNG, as the file's name ends.
///
/// # Errors
/// [`ReportError`] where it can't be drawn or written.
pub fn write_race(race: &Race, path: &Path) -> Result<(), ReportError> {
    if let Some((name, &value)) =
        race.curves.iter().find_map(|c| Some((&c.name, c.mean.iter().find(|share| !share.is_finite())?)))
    {
        return Err(ReportError::NotFinite { field: format!("a share of {name}"), value });
    }
    let scene = plot::race::draw(race);
    let is_svg = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg"));
    let bytes = if is_svg { scene.svg()?.into_bytes() } else { scene.png()? };
    replace(path, &bytes)
}

/// Writes a file under a temporary name in the same folder, then renames it into place.
fn replace(path: &Path, content: &[u8]) -> Result<(), ReportError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, content).and_then(|()| fs::rename(&temporary, path)).map_err(|source| {
        // The first error is the one to tell; a leftover that cannot be removed either adds nothing.
        let _ = fs::remove_file(&temporary);
        ReportError::Write { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests;
