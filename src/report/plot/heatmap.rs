//! Accuracy and leakage over split layer × depth, side by side.

use super::super::text::fixed;
use super::super::view::{DesignRow, Estimate, Feasibility, KnownBy, Metric, StudyView};
use super::axes::Range;
use super::font;
use super::pareto::tip;
use super::scene::{Align, Label, Mark, Point, Scene};
use super::style::{BLACK, GREY, GRID, LIMIT, SMALL, TEXT, WIDTH, contrasting, placeholder, viridis};

/// The design that stands for one split and depth: the chosen one, else of the measured ones the most accurate that can be
/// expected to be within the budgets, else the most accurate; of predicted ones where none was measured.
#[derive(Debug, Clone)]
pub(in super::super) struct Cell {
    /// The design's id.
    pub design: String,
    /// By which selection its channels were chosen.
    pub selection: String,
    pub known_by: KnownBy,
    /// What is said of it when it is pointed at.
    pub tip: String,
    pub accuracy: Option<Estimate>,
    pub psnr_mean: Option<Estimate>,
    pub measured: bool,
}

/// The table behind both heatmaps.
#[derive(Debug)]
pub(in super::super) struct Grid {
    pub splits: Vec<String>,
    pub depths: Vec<usize>,
    /// `cells[split][depth]`; `None` where the space has no such design.
    pub cells: Vec<Vec<Option<Cell>>>,
}

impl Grid {
    pub fn new(view: &StudyView) -> Self {
        let splits = view.splits();
        let depths = view.depths();
        let chosen = view.chosen.as_ref().map(|chosen| chosen.id.as_str());
        let rank = |row: &DesignRow| rank(row, chosen);
        let mut best: Vec<Vec<Option<&DesignRow>>> = vec![vec![None; depths.len()]; splits.len()];
        for row in view.designs.iter().filter(|row| row.measured.is_some() || row.predicted.is_some()) {
            let split = splits.binary_search(&(row.split_index, row.split.as_str()));
            if let (Ok(split), Ok(depth)) = (split, depths.binary_search(&row.depth)) {
                let cell = &mut best[split][depth];
                if cell.is_none_or(|current| rank(row) > rank(current)) {
                    *cell = Some(row);
                }
            }
        }
        let cell = |row: &DesignRow| {
            let figures = row.measured.or(row.predicted)?;
            Some(Cell {
                design: row.id.clone(),
                selection: row.selection.clone(),
                // The marks stand for both maps.
                known_by: match row.is_verified_figure(Metric::PsnrMean) || !row.known_by.is_verification() {
                    true => row.known_by,
                    false => KnownBy::Measured,
                },
                tip: tip(row),
                accuracy: figures.accuracy,
                psnr_mean: figures.psnr_mean,
                measured: row.measured.is_some(),
            })
        };
        let cells = best.into_iter().map(|line| line.into_iter().map(|row| row.and_then(cell)).collect()).collect();
        Self { splits: splits.into_iter().map(|(_, name)| name.to_owned()).collect(), depths, cells }
    }
}

fn rank(row: &DesignRow, chosen: Option<&str>) -> (bool, bool, bool, f64) {
    let accuracy = row.measured.or(row.predicted).and_then(|f| f.accuracy).map_or(f64::NEG_INFINITY, |e| e.value);
    let within = row.feasibility == Feasibility::Feasible;
    (chosen == Some(row.id.as_str()), row.measured.is_some(), within, accuracy)
}

impl Cell {
    pub fn get(&self, metric: Metric) -> Option<Estimate> {
        if metric == Metric::Accuracy { self.accuracy } else { self.psnr_mean }
    }
}

const CELL_HEIGHT: f64 = 42.0;
const TOP: f64 = 64.0;
/// Of the selections' names, pixels.
const TINY: f64 = 8.5;

/// Draws both heatmaps.
pub(in super::super) fn draw(view: &StudyView) -> Scene {
    let grid = Grid::new(view);
    let title = "Accuracy and mean PSNR over split layer and number of channels";
    let height = TOP + CELL_HEIGHT * grid.splits.len().max(3) as f64 + 84.0;
    let mut scene = Scene::new("heatmaps", title, WIDTH, height);
    if grid.cells.iter().flatten().all(Option::is_none) {
        placeholder(&mut scene, "No design has been measured or predicted yet.");
        return scene;
    }
    let shown: Vec<String> = grid.splits.iter().map(|name| font::fitted(name, SMALL, false, 200.0)).collect();
    let names = shown.iter().map(|name| font::width(name, SMALL, false)).fold(0.0, f64::max) + 16.0;
    let gap = 44.0;
    let width = (WIDTH - names - gap - 8.0) / 2.0;
    for (line, name) in shown.iter().enumerate() {
        let y = TOP + CELL_HEIGHT * (line as f64 + 0.5);
        scene.text(Label::new((names - 10.0, y), name.clone(), SMALL, BLACK, Align::Right));
    }
    panel(&mut scene, &grid, Metric::Accuracy, None, (names, width));
    panel(&mut scene, &grid, Metric::PsnrMean, view.limits.psnr_mean_max, (names + width + gap, width));
    let y = height - 14.0;
    let text =
        "Framed: measured. Bold, without ~: put to verification. Else predicted. Below: how its channels were chosen.";
    scene.text(Label::new((names, y), text, SMALL, GREY, Align::Left));
    if view.limits.psnr_mean_max.is_some() {
        let y = y + 20.0;
        scene.line((names, y), (names + 22.0, y), 3.0, LIMIT);
        let text = "leakage limit: beyond it a design is over budget";
        scene.text(Label::new((names + 30.0, y), text, SMALL, GREY, Align::Left));
        scene.height = y + 14.0;
    }
    scene
}

fn panel(scene: &mut Scene, grid: &Grid, metric: Metric, limit: Option<f64>, (left, width): (f64, f64)) {
    let values =
        || grid.cells.iter().flatten().flatten().filter_map(|cell| cell.get(metric)).map(|e| e.value * metric.scale());
    let range = Range::around(values(), 0.0, 1e-9);
    let share = |v: f64| {
        if range.high - range.low > 1e-6 { (v - range.low) / (range.high - range.low) } else { 0.5 }
    };
    let cell_width = width / grid.depths.len() as f64;
    let corner =
        |line: usize, column: usize| -> Point { (left + cell_width * column as f64, TOP + CELL_HEIGHT * line as f64) };
    let bottom = TOP + CELL_HEIGHT * grid.splits.len() as f64;

    let heading = match metric {
        Metric::Accuracy => "Accuracy (%): higher is more useful",
        _ => "Mean PSNR (dB): lower is more private",
    };
    scene.text(Label::new((left + width / 2.0, 16.0), heading, TEXT, BLACK, Align::Centre).bold());
    scene.text(Label::new((left + width / 2.0, 34.0), "channels kept", SMALL, GREY, Align::Centre));
    for (column, depth) in grid.depths.iter().enumerate() {
        let at = (left + cell_width * (column as f64 + 0.5), 52.0);
        scene.text(Label::new(at, depth.to_string(), SMALL, BLACK, Align::Centre));
    }
    for (line, cells) in grid.cells.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let (x, y) = corner(line, column);
            let (right, low) = (x + cell_width, y + CELL_HEIGHT);
            let Some((cell, estimate)) = cell.as_ref().and_then(|c| Some((c, c.get(metric)?))) else {
                scene.frame((x + 1.0, y + 1.0), (right - 1.0, low - 1.0), 0.75, GRID);
                scene.text(Label::new((x + cell_width / 2.0, y + CELL_HEIGHT / 2.0), "–", SMALL, GREY, Align::Centre));
                continue;
            };
            let value = estimate.value * metric.scale();
            let fill = viridis(share(value));
            let ink = contrasting(fill);
            let size = (cell_width / 4.2).min(TEXT);
            let centre = (x + cell_width / 2.0, y + CELL_HEIGHT / 2.0);
            let radius = (cell_width / 2.0).min(CELL_HEIGHT / 2.0) - 1.0;
            scene.mark(
                Mark { at: centre, radius, design: Some(cell.design.clone()), text: cell.tip.clone() },
                |scene| {
                    scene.rectangle((x + 1.0, y + 1.0), (right - 1.0, low - 1.0), fill);
                    if cell.measured {
                        scene.frame((x + 3.5, y + 3.5), (right - 3.5, low - 3.5), 1.25, ink);
                    }
                    let figure = (centre.0, centre.1 - 6.0);
                    scene.text(match cell.known_by.is_verification() {
                        true => Label::new(figure, fixed(value, 1), size, ink, Align::Centre).bold(),
                        false => Label::new(figure, format!("~{}", fixed(value, 1)), size, ink, Align::Centre),
                    });
                    let name = font::fitted(&cell.selection, TINY, false, cell_width - 8.0);
                    scene.text(Label::new((centre.0, centre.1 + 9.0), name, TINY, ink, Align::Centre));
                },
            );
        }
    }
    if let Some(limit) = limit {
        boundary(scene, grid, metric, limit, &corner);
    }
    colour_bar(scene, range, (left, left + width), bottom + 20.0);
}

/// A thick line between cells within the limit and cells beyond it.
fn boundary(scene: &mut Scene, grid: &Grid, metric: Metric, limit: f64, corner: &dyn Fn(usize, usize) -> Point) {
    let beyond = |line: usize, column: usize| {
        let cell = grid.cells.get(line)?.get(column)?.as_ref()?;
        Some(cell.get(metric)?.value > limit)
    };
    let differ = |a: Option<bool>, b: Option<bool>| matches!((a, b), (Some(a), Some(b)) if a != b);
    for line in 0..grid.splits.len() {
        for column in 0..grid.depths.len() {
            if differ(beyond(line, column), beyond(line, column + 1)) {
                scene.line(corner(line, column + 1), corner(line + 1, column + 1), 3.0, LIMIT);
            }
            if differ(beyond(line, column), beyond(line + 1, column)) {
                scene.line(corner(line + 1, column), corner(line + 1, column + 1), 3.0, LIMIT);
            }
        }
    }
}

fn colour_bar(scene: &mut Scene, range: Range, (left, right): (f64, f64), top: f64) {
    const STEPS: usize = 96;
    let (left, right) = (left + 1.0, right - 1.0);
    let step = (right - left) / STEPS as f64;
    for i in 0..STEPS {
        let x = left + step * i as f64;
        // Each strip reaches under the next, so that no seam shows.
        let end = (x + step * 1.5).min(right);
        scene.rectangle((x, top), (end, top + 10.0), viridis((i as f64 + 0.5) / STEPS as f64));
    }
    if range.high - range.low <= 1e-6 {
        scene.text(Label::new(((left + right) / 2.0, top + 22.0), fixed(range.low, 1), SMALL, GREY, Align::Centre));
        return;
    }
    let (ticks, decimals) = range.ticks(5);
    for tick in ticks {
        let x = left + (tick - range.low) / (range.high - range.low) * (right - left);
        scene.line((x, top + 10.0), (x, top + 14.0), 1.0, GREY);
        let text = fixed(tick, decimals);
        let half = font::width(&text, SMALL, false) / 2.0;
        let at = (x.max(left + half).min(right - half), top + 24.0);
        scene.text(Label::new(at, text, SMALL, GREY, Align::Centre));
    }
}
