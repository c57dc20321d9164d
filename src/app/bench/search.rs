//! `privynet bench --candidates N`: what one pass over a large space costs.

use std::time::Instant;

use serde_json::json;

use crate::app::{AppError, exit};
use crate::cli::BenchArgs;
use crate::search::SearchError;
use crate::solver::{self, Best, Bound, Bounds, Forecasts};
use crate::surrogate::{FitOptions, GaussianProcess, Points, Row};

/// Measured designs that the models are fitted to.
const MEASURED: usize = 60;

/// Split layers of the made-up space.
const SPLITS: usize = 10;

/// Passes, of which the median counts.
const PASSES: usize = 5;

/// A made-up design: features as a study's (depth, upload, closed-form leakage and utility) and its figures.
fn design(i: usize) -> ([f64; 4], usize, [f64; 3]) {
    let share = |k: usize| (i.wrapping_mul(2_654_435_761).wrapping_add(k * 40_503) >> 7) as f64 % 1009.0 / 1009.0;
    let (split, depth) = (i % SPLITS, 2.0 + 6.0 * share(1));
    let leakage = 22.0 - split as f64 + depth + 1.5 * share(2);
    let utility = 2.0 + 0.4 * split as f64 + 0.5 * depth + share(3);
    let figures = [0.3 * utility - 1.0, leakage - 3.0, 1.3 * leakage];
    ([depth, depth + 10.0 - split as f64, leakage, utility], split, figures)
}

pub(super) fn run(args: &BenchArgs, candidates: usize) -> Result<u8, AppError> {
    let mut points = Points::new(4);
    (0..candidates).for_each(|i| {
        let (features, split, _) = design(i);
        points.push(&features, split);
    });
    let start = Instant::now();
    let fit = |figure: usize| {
        let row = |i: usize| {
            let (features, category, figures) = design(i * 17 + 5);
            Row { features: features.to_vec(), category, value: figures[figure], variance: 1e-4 }
        };
        let rows: Vec<Row> = (0..MEASURED).map(row).collect();
        GaussianProcess::fit(&rows, &FitOptions::default())
    };
    let models = (0..3).map(fit).collect::<Result<Vec<_>, _>>().map_err(SearchError::from)?;
    let fitted = start.elapsed().as_secs_f64();
    let bound = |name: &str, limit| Bound { name: name.to_owned(), limit };
    let bounds = Bounds(vec![bound("psnr_mean", 21.0), bound("psnr_p95", 31.0)]);
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let start = Instant::now();
        let forecasts = Forecasts {
            objectives: vec![models[0].predict_all(&points)],
            constraints: models[1..].iter().map(|model| model.predict_all(&points)).collect(),
        };
        let predicted = start.elapsed().as_secs_f64();
        solver::propose(&forecasts, &bounds, Best::Value(1.0), |_| true, |_| 0.0).map_err(SearchError::from)?;
        let proposed = start.elapsed().as_secs_f64();
        solver::solve(&forecasts, &bounds, 0.95).map_err(SearchError::from)?;
        passes.push([start.elapsed().as_secs_f64(), predicted, proposed - predicted]);
    }
    passes.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let [whole, predicted, proposed] = passes[PASSES / 2];
    let (solved, memory) = (whole - predicted - proposed, peak_memory());
    if args.json {
        let object = json!({
            "candidates": candidates, "measured": MEASURED, "models": 3, "threads": rayon::current_num_threads(),
            "fit_seconds": fitted, "predict_seconds": predicted, "propose_seconds": proposed,
            "solve_seconds": solved, "peak_memory_bytes": memory,
        });
        println!("{object:#}");
    } else {
        println!(
            "{candidates} candidates, {MEASURED} measurements, 3 models, {} threads",
            rayon::current_num_threads()
        );
        println!("  fitting the models     {fitted:.3} s");
        println!("  predicting all         {predicted:.3} s");
        println!("  choosing the next      {proposed:.3} s");
        println!("  solving                {solved:.3} s");
        if let Some(bytes) = memory {
            println!("  peak memory            {} MB", bytes / 1_000_000);
        }
    }
    Ok(exit::DONE)
}

/// The most memory that this process held, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
