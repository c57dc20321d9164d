//! `privynet bench --candidates N`: what a large space costs before its first measurement, and one pass over it.

use std::ops::ControlFlow;
use std::time::Instant;

use serde_json::json;

use crate::app::output::emit;
use crate::app::{AppError, Output, exit, interrupt};
use crate::backbone::Architecture;
use crate::config::PrecisionEntry;
use crate::features::ChannelScores;
use crate::proxy::{LayerMoments, MomentsBuilder};
use crate::search::SearchError;
use crate::solver::{self, Best, Bound, Bounds, Forecasts};
use crate::space::{Candidate, Candidates, Cost, LayerInsight, Selection, SplitLayer};
use crate::surrogate::{FitOptions, GaussianProcess, Points, Row};

/// Split layers of the made-up space, all of this width.
const SPLITS: [&str; 3] = ["conv3_1", "conv3_2", "conv3_3"];
const WIDTH: usize = 256;

/// Output channel counts at each.
const DEPTHS: [usize; 5] = [4, 8, 16, 32, 64];

/// Measured designs that the models are fitted to.
const MEASURED: usize = 60;

/// Passes, of which the median counts.
const PASSES: usize = 5;

pub(super) fn run(wanted: usize, output: Output) -> Result<u8, AppError> {
    interrupt::install();
    let insight = insight();
    let draws = wanted.div_ceil(SPLITS.len() * DEPTHS.len());
    let selections: Vec<Selection> = (0u32..).take(draws).map(|seed| Selection::Random { seed }).collect();
    let watch = |_| if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let start = Instant::now();
    let candidates = Candidates::enumerate(layers(&insight)?, &selections, &watch)?;
    let mut points = Points::with_capacity(Candidate::FEATURES.len(), candidates.len());
    for (place, range) in candidates.places() {
        range.for_each(|index| points.push(&candidates.features(index), place.split_index));
    }
    let (count, enumerated, held) = (candidates.len(), start.elapsed().as_secs_f64(), peak_memory());

    let rows = |figure: usize| -> Vec<Row> {
        let row = |k: usize| {
            let index = k * (count - 1) / (MEASURED - 1);
            let features = points.features(index).to_vec();
            Row { value: figures(&features)[figure], features, category: points.category(index), variance: 1e-4 }
        };
        (0..MEASURED).map(row).collect()
    };
    let start = Instant::now();
    let fit = |figure: usize| GaussianProcess::fit(&rows(figure), &FitOptions::default());
    let models = (0..3).map(fit).collect::<Result<Vec<_>, _>>().map_err(SearchError::from)?;
    let fitted = start.elapsed().as_secs_f64();
    let bound = |name: &str, figure| Bound { name: name.to_owned(), limit: middle(&rows(figure)) };
    let bounds = Bounds(vec![bound("psnr_mean", 1), bound("psnr_p95", 2)]);
    let best = middle(&rows(0));
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let start = Instant::now();
        let forecasts = Forecasts {
            objectives: vec![models[0].predict_all(&points)],
            constraints: models[1..].iter().map(|model| model.predict_all(&points)).collect(),
        };
        let predicted = start.elapsed().as_secs_f64();
        solver::propose(&forecasts, &bounds, Best::Value(best), |_| true, |_| 0.0).map_err(SearchError::from)?;
        let proposed = start.elapsed().as_secs_f64();
        solver::solve(&forecasts, &bounds, 0.95).map_err(SearchError::from)?;
        passes.push([start.elapsed().as_secs_f64(), predicted, proposed - predicted]);
    }
    passes.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [whole, predicted, proposed] = passes[PASSES / 2];
    let (solved, memory) = (whole - predicted - proposed, peak_memory());
    let threads = rayon::current_num_threads();
    if output.json {
        let object = json!({
            "candidates": count, "splits": SPLITS.len(), "width": WIDTH, "depths": DEPTHS, "measured": MEASURED,
            "models": 3, "threads": threads, "enumerate_seconds": enumerated, "enumerate_memory_bytes": held,
            "fit_seconds": fitted, "predict_seconds": predicted, "propose_seconds": proposed,
            "solve_seconds": solved, "peak_memory_bytes": memory,
        });
        emit("enumeration", object);
    } else {
        println!(
            "{count} candidates of {} layers with {WIDTH} channels, {DEPTHS:?} of which are kept; {MEASURED} measurements, 3 \
             models, {threads} threads",
            SPLITS.len()
        );
        println!("  enumerating, proxies   {enumerated:.3} s");
        println!("  fitting the models     {fitted:.3} s");
        println!("  predicting all         {predicted:.3} s");
        println!("  choosing the next      {proposed:.3} s");
        println!("  solving                {solved:.3} s");
        if let (Some(held), Some(memory)) = (held, memory) {
            println!("  peak memory            {} MB, {} MB before the models", memory / 1_000_000, held / 1_000_000);
        }
    }
    Ok(exit::DONE)
}

/// What is known of a made-up layer, whose channels mix a pixel, the class and noise.
fn insight() -> LayerInsight {
    let scores =
        ChannelScores { fisher_map: vec![1.0; WIDTH], fisher_pooled: vec![1.0; WIDTH], dead: vec![false; WIDTH] };
    LayerInsight { scores, moments: moments(), mixes: Vec::new() }
}

fn moments() -> LayerMoments {
    const SIDE: usize = 8;
    const IMAGE_SIDE: usize = 32;
    const CLASSES: u16 = 10;
    const IMAGES: usize = 512;
    const BATCH: usize = 64;
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut builder = MomentsBuilder::new(SIDE, WIDTH, IMAGE_SIDE, usize::from(CLASSES));
    for _ in 0..IMAGES / BATCH {
        let labels: Vec<u16> = (0u16..).map(|image| image % CLASSES).take(BATCH).collect();
        let pixels: Vec<f32> = (0..BATCH * IMAGE_SIDE * IMAGE_SIDE * 3).map(|_| 0.5 + 0.5 * random()).collect();
        let mut features = Vec::with_capacity(BATCH * SIDE * SIDE * WIDTH);
        for at in 0..BATCH * SIDE * SIDE {
            let (image, position) = (at / (SIDE * SIDE), at % (SIDE * SIDE));
            let (block, class) = (IMAGE_SIDE / SIDE, f32::from(labels[image]));
            let row = image * IMAGE_SIDE + position / SIDE * block;
            let corner = (row * IMAGE_SIDE + position % SIDE * block) * 3;
            let values = (0..WIDTH).map(|channel| {
                let seen = pixels[corner + channel % (3 * block)] - 0.5;
                seen + 0.3 * (class * channel as f32).sin() + random()
            });
            features.extend(values);
        }
        builder.add_pixels(&features, &pixels);
        builder.add_classes(&features, &labels);
    }
    builder.finish(1.0)
}

fn layers(insight: &LayerInsight) -> Result<Vec<SplitLayer<'_>>, AppError> {
    let architecture = Architecture::vgg16();
    let layer = |name| {
        let layer = architecture.layer(name)?;
        let cost = |depth| Ok((depth, Cost::new(architecture, layer, 32, depth, PrecisionEntry::default())?));
        let depths = DEPTHS.into_iter().map(cost).collect::<Result<Vec<_>, AppError>>()?;
        Ok(SplitLayer { layer, insight, depths })
    };
    SPLITS.into_iter().map(layer).collect()
}

/// Made-up accuracy (in logits), mean PSNR and its 95th percentile of a design with these features.
fn figures(features: &[f64]) -> [f64; 3] {
    let (depth, leakage, utility) = (features[0], features[2], features[3]);
    let psnr = 10.0 + 0.5 * leakage + depth;
    [0.3 * utility + 0.2 * depth - 1.0, psnr, 1.3 * psnr]
}

/// The middle of measured values.
fn middle(rows: &[Row]) -> f64 {
    let mut values: Vec<f64> = rows.iter().map(|row| row.value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The most memory that this process held, in bytes, where the system tells.
pub(super) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
