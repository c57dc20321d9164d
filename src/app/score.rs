//! `privynet score`: reconstructions from anywhere, by the program's own metrics.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::output::emit;
use super::{AppError, Output, exit};
use crate::cli::ScoreArgs;
use crate::data::{self, RgbImage};
use crate::measurement::Metric;
use crate::metrics::{self, Images, Summary};

/// What one reconstruction scores.
struct Scored {
    name: String,
    psnr: f64,
    ssim: f64,
    squared_error: f64,
}

pub(super) fn run(args: &ScoreArgs, output: Output) -> Result<u8, AppError> {
    let originals = data::image_files(&args.originals)?;
    let found = data::image_files(&args.reconstructions)?;
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut scored = Vec::new();
    for original in &originals {
        let name = stem(original);
        let twin: Vec<&PathBuf> = found.iter().filter(|path| stem(path) == name).collect();
        let [reconstruction] = twin[..] else {
            let problem = match twin.len() {
                0 => format!("no image here is named {name:?}, as {} is", original.display()),
                _ => format!("several images here are named {name:?}; which one reconstructs {}?", original.display()),
            };
            return Err(AppError::Study { path: args.reconstructions.clone(), problem });
        };
        scored.push(score(name, original, reconstruction)?);
    }
    if scored.is_empty() {
        let problem = "no JPEG or PNG files here to compare with".to_owned();
        return Err(AppError::Study { path: args.originals.clone(), problem });
    }
    match output.json {
        true => scored
            .iter()
            .for_each(|s| emit("reconstruction", json!({ "name": s.name, "psnr": s.psnr, "ssim": s.ssim }))),
        false => print(&scored)?,
    }
    Ok(exit::DONE)
}

fn score(name: String, original: &Path, reconstruction: &Path) -> Result<Scored, AppError> {
    let [truth, guess] = [original, reconstruction].map(|path| data::read_rgb(path, None));
    let (truth, guess) = (truth?, guess?);
    if (truth.width, truth.height) != (guess.width, guess.height) {
        let problem = format!(
            "{} × {} pixels, where {} has {} × {}",
            guess.width,
            guess.height,
            original.display(),
            truth.width,
            truth.height
        );
        return Err(AppError::Study { path: reconstruction.to_owned(), problem });
    }
    let unit = |image: &RgbImage| image.pixels.iter().map(|&byte| f32::from(byte) / 255.0).collect::<Vec<f32>>();
    let shape = [1, truth.height, truth.width, 3];
    let [truth, guess] = [unit(&truth), unit(&guess)];
    let [truth, guess] = [Images::new(&truth, shape)?, Images::new(&guess, shape)?];
    let squared_error = metrics::mean_squared_errors(&guess, &truth)?[0];
    Ok(Scored {
        name,
        psnr: metrics::psnr_from_mse(squared_error),
        ssim: metrics::ssim(&guess, &truth)?[0],
        squared_error,
    })
}

fn print(scored: &[Scored]) -> Result<(), AppError> {
    println!("{} images", scored.len());
    // A mean over one image has no error.
    if let [only] = scored {
        println!("  psnr {}, ssim {}", Metric::PsnrMean.text(only.psnr), Metric::SsimMean.text(only.ssim));
        return Ok(());
    }
    let psnr = Summary::of(&scored.iter().map(|s| s.psnr).collect::<Vec<f64>>())?;
    let ssim = Summary::of(&scored.iter().map(|s| s.ssim).collect::<Vec<f64>>())?;
    let pooled = metrics::pooled_psnr(&scored.iter().map(|s| s.squared_error).collect::<Vec<f64>>())?;
    println!("  {:<12} {:.2} ± {:.2} dB", Metric::PsnrMean.name(), psnr.mean, psnr.std_error);
    println!("  {:<12} {:.2} ± {:.2} dB", Metric::PsnrP95.name(), psnr.p95, psnr.p95_std_error);
    println!("  {:<12} {:.2} dB", Metric::PsnrMax.name(), psnr.max);
    println!("  {:<12} {:.2} ± {:.2} dB", Metric::PsnrPooled.name(), pooled.mean, pooled.std_error);
    println!("  {:<12} {:.3} ± {:.3}", Metric::SsimMean.name(), ssim.mean, ssim.std_error);
    if let Some(exposed) = scored.iter().max_by(|a, b| a.psnr.total_cmp(&b.psnr)) {
        println!("  most exposed {} ({:.2} dB)", exposed.name, exposed.psnr);
    }
    Ok(())
}
