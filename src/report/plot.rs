//! The plots of a report, each a [`scene::Scene`] drawn by plotters as SVG and as PNG.

pub(super) mod axes;
pub(super) mod budget;
pub(super) mod callout;
pub(super) mod channels;
pub(super) mod compare;
pub(super) mod fit;
pub(super) mod font;
pub(super) mod gallery;
pub(super) mod heatmap;
pub(super) mod history;
pub(super) mod ladder;
pub(super) mod legend;
pub(super) mod markers;
pub(super) mod pareto;
pub(super) mod race;
pub(super) mod scene;
pub(super) mod style;
pub(super) mod verticals;

use super::view::StudyView;
use scene::Scene;

/// Error bars reach this many standard errors to both sides.
const ERRORS_SHOWN: f64 = 2.0;

/// Every plot of a study that exists as SVG and PNG, in the order of the page. The gallery is pixels and exists as PNG only.
pub(super) struct Plots {
    pub budgets: Scene,
    pub pareto: Scene,
    pub heatmaps: Scene,
    pub predictions: Scene,
    pub history: Scene,
    pub ladder: Option<Scene>,
    pub channels: Option<Scene>,
    pub gallery: Option<Scene>,
}

impl Plots {
    pub fn new(view: &StudyView) -> Self {
        Self {
            budgets: budget::draw(view),
            pareto: pareto::draw(view),
            heatmaps: heatmap::draw(view),
            predictions: fit::draw(view),
            history: history::draw(view),
            ladder: ladder::draw(view),
            channels: channels::draw(view),
            gallery: gallery::draw(view),
        }
    }

    /// The plots that are drawn as SVG and PNG.
    pub fn vector(&self) -> impl Iterator<Item = &Scene> {
        [&self.budgets, &self.pareto, &self.heatmaps, &self.predictions, &self.history]
            .into_iter()
            .chain(&self.ladder)
            .chain(&self.channels)
    }
}
