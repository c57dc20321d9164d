//! Whether a view model can be shown: finite numbers, and pictures as large as they say.

use super::super::ReportError;
use super::{Estimate, Figures, GalleryPair, Metric, Picture, StudyView};

impl StudyView {
    /// Checks that every number is finite and every picture is as large as it says.
    ///
    /// # Errors
    /// [`ReportError::NotFinite`] and [`ReportError::PictureSize`] name the field.
    pub fn check(&self) -> Result<(), ReportError> {
        finite("confidence", self.confidence)?;
        for (field, value) in [
            ("limits.psnr_mean_max", self.limits.psnr_mean_max),
            ("limits.psnr_p95_max", self.limits.psnr_p95_max),
            ("limits.accuracy_min", self.limits.accuracy_min),
        ] {
            value.map_or(Ok(()), |v| finite(field, v))?;
        }
        if let Some(chosen) = &self.chosen {
            for (kind, figures) in [
                ("expected", chosen.expected),
                ("measured", chosen.measured),
                ("verified", chosen.verified),
                ("upper", chosen.upper),
            ] {
                check_figures(&format!("chosen.{kind}"), figures)?;
            }
            for rung in &chosen.ladder {
                check_figures(&format!("chosen.ladder {}", rung.attack), Some(rung.figures))?;
            }
        }
        for budget in &self.budgets {
            for quantity in [Some(&budget.limit), budget.used.as_ref()].into_iter().flatten() {
                finite(&format!("budget {}", budget.name), quantity.value)?;
            }
        }
        for row in &self.designs {
            check_figures(&format!("design {} measured", row.id), row.measured)?;
            check_figures(&format!("design {} predicted", row.id), row.predicted)?;
            check_figures(&format!("design {} upper", row.id), row.upper)?;
            for source in &row.sources {
                check_figures(&format!("design {} {}", row.id, source.name), Some(source.figures))?;
            }
            row.probability_feasible
                .map_or(Ok(()), |p| finite(&format!("design {} probability_feasible", row.id), p))?;
            for (name, quantity) in [("macs", &row.macs), ("bytes", &row.bytes), ("upload", &row.upload)] {
                finite(&format!("design {} {name}", row.id), quantity.value)?;
            }
        }
        for floor in &self.floors {
            finite(&format!("floor {}", floor.name), floor.psnr_mean)?;
        }
        for diagnostics in &self.diagnostics {
            let field = format!("diagnostics of {:?}", diagnostics.metric);
            for value in
                [diagnostics.r2.unwrap_or(0.0), diagnostics.rmse, diagnostics.coverage, diagnostics.nominal_coverage]
            {
                finite(&field, value)?;
            }
            for point in &diagnostics.points {
                check_estimate(&format!("{field}, {}", point.design), point.measured)?;
                check_estimate(&format!("{field}, {}", point.design), point.predicted)?;
            }
        }
        for step in &self.history {
            let field = format!("history {}", step.evaluation);
            step.accuracy.map_or(Ok(()), |e| check_estimate(&field, e))?;
            step.best_feasible.map_or(Ok(()), |v| finite(&field, v))?;
            finite(&field, step.seconds)?;
        }
        let of_designs = self.designs.iter().flat_map(|row| &row.pictures);
        for section in self.gallery.iter().chain(of_designs) {
            for pair in &section.pairs {
                pair.check(&section.title)?;
            }
        }
        for sample in &self.samples {
            sample.pair.check(&format!("samples, {}", sample.design))?;
        }
        for (index, channel) in self.channels.iter().flat_map(|map| map.channels.iter().enumerate()) {
            for value in [channel.utility, channel.leakage, channel.fisher[0], channel.fisher[1]] {
                finite(&format!("channel {index}"), value)?;
            }
        }
        Ok(())
    }
}

impl GalleryPair {
    fn check(&self, section: &str) -> Result<(), ReportError> {
        finite(&format!("gallery {section}"), self.psnr)?;
        self.ssim.map_or(Ok(()), |v| finite(&format!("gallery {section}"), v))?;
        self.original.check(section)?;
        self.reconstruction.check(section)
    }
}

impl Picture {
    fn check(&self, section: &str) -> Result<(), ReportError> {
        let expected = 3 * u64::from(self.width) * u64::from(self.height);
        if expected == 0 || self.rgb.len() as u64 != expected {
            return Err(ReportError::PictureSize {
                section: section.to_owned(),
                width: self.width,
                height: self.height,
                bytes: self.rgb.len(),
            });
        }
        Ok(())
    }
}

fn check_figures(field: &str, figures: Option<Figures>) -> Result<(), ReportError> {
    for metric in Metric::ALL {
        if let Some(estimate) = figures.and_then(|f| f.get(metric)) {
            check_estimate(&format!("{field} {metric:?}"), estimate)?;
        }
    }
    Ok(())
}

fn check_estimate(field: &str, estimate: Estimate) -> Result<(), ReportError> {
    finite(field, estimate.value)?;
    finite(field, estimate.se)
}

fn finite(field: &str, value: f64) -> Result<(), ReportError> {
    if value.is_finite() { Ok(()) } else { Err(ReportError::NotFinite { field: field.to_owned(), value }) }
}
