//! `privynet profile`: what a space's local nets take on this machine.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::output::emit;
use super::progress::Progress;
use super::{AppError, Output, exit, interrupt, setup};
use crate::cli::ProfileArgs;
use crate::config::{LatencyCurve, MachineEntry, ProfileFile, SpaceFile, SpreadEntry};
use crate::data;
use crate::profile::{self, ProfileError, Subject};
use crate::space::Space;
use crate::units::Latency;

/// Largest side that images are taken to have.
const MOST_SIDE: usize = 4096;

pub(super) fn run(args: &ProfileArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install();
    setup::threads(Some(args.threads))?;
    if !(args.seconds.is_finite() && args.seconds >= 0.0) {
        let problem = "must be a number of at least 0".to_owned();
        return Err(AppError::Flag { flag: "seconds", value: args.seconds.to_string(), problem });
    }
    let file = SpaceFile::read(&args.space, args.assets.weights.as_deref(), args.assets.data.as_deref())?;
    let architecture = file.architecture()?;
    let known = args.against.as_deref().map(ProfileFile::read).transpose()?;
    let side = side(args, &file)?;
    let space = Space::new(&file, architecture, Some(side))?;
    match known {
        Some(profile) => compare(args, &profile, &space, side, output),
        None => write(args, &space, side, output),
    }
}

/// The side of the images: without a look at them where the flags or the space tell.
fn side(args: &ProfileArgs, file: &SpaceFile) -> Result<usize, AppError> {
    if let Some(side) = args.side.filter(|side| !(1..=MOST_SIDE).contains(side)) {
        let problem = format!("must be between 1 and {MOST_SIDE}");
        return Err(AppError::Flag { flag: "side", value: side.to_string(), problem });
    }
    match args.side.or(file.data.pad_to).or(file.data.resize.map(|resize| resize.to)) {
        Some(side) => Ok(side),
        None => Ok(data::load(&file.parts())?.evaluation.side()),
    }
}

/// Times the numbers of channels that the space names and, so that none is beyond them, all of each layer's.
fn write(args: &ProfileArgs, space: &Space, side: usize, output: Output) -> Result<u8, AppError> {
    let architecture = space.architecture();
    let mut subjects = Vec::new();
    for layer in space.splits() {
        let depths = space.depths(layer.name).iter().copied().chain([layer.out_channels]);
        let mut depths: Vec<usize> = depths.collect();
        depths.dedup();
        subjects.extend(depths.into_iter().map(|depth| Subject { layer, depth }));
    }
    let spreads = measure(args, space, side, &subjects, output)?;
    let mut knots: BTreeMap<String, BTreeMap<usize, SpreadEntry>> = BTreeMap::new();
    for (subject, spread) in subjects.iter().zip(spreads) {
        knots.entry(subject.layer.name.to_owned()).or_default().insert(subject.depth, spread);
    }
    let profile = ProfileFile {
        path: args.out.clone().unwrap_or_default(),
        text: String::new(),
        program: format!("privynet {}", env!("CARGO_PKG_VERSION")),
        machine: MachineEntry {
            arch: std::env::consts::ARCH.to_owned(),
            os: std::env::consts::OS.to_owned(),
            cpu: cpu(),
            threads: args.threads,
        },
        architecture: architecture.name().to_owned(),
        structure: architecture.fingerprint(side)?,
        image_side: side,
        splits: knots.into_iter().filter_map(|(split, knots)| Some((split, LatencyCurve::new(knots)?))).collect(),
    };
    match &args.out {
        None if !output.json => print!("{}", profile.render()),
        None => {}
        Some(path) => std::fs::write(path, profile.render()).map_err(|error| AppError::Flag {
            flag: "out",
            value: path.display().to_string(),
            problem: format!("cannot be written: {error}"),
        })?,
    }
    if output.json {
        emit("profile", object(&profile, args.out.as_deref()));
    }
    Ok(exit::DONE)
}

/// A profile as JSON, latencies in nanoseconds.
fn object(profile: &ProfileFile, out: Option<&Path>) -> Value {
    let MachineEntry { arch, os, cpu, threads } = &profile.machine;
    let knots = |curve: &LatencyCurve| {
        let knot = |(depth, SpreadEntry { median, p95 }): (usize, SpreadEntry)| json!({ "depth": depth, "median_ns": median.0, "p95_ns": p95.0 });
        Value::Array(curve.knots().map(knot).collect())
    };
    json!({
        "out": out,
        "program": profile.program,
        "machine": { "arch": arch, "os": os, "cpu": cpu, "threads": threads },
        "architecture": profile.architecture,
        "structure": profile.structure,
        "image_side": profile.image_side,
        "splits": profile.splits.iter().map(|(split, curve)| (split.clone(), knots(curve))).collect::<Map<_, _>>(),
    })
}

/// Times designs that a profile does not hold, halfway between two that it does, and prints how well it foretells them.
fn compare(
    args: &ProfileArgs,
    profile: &ProfileFile,
    space: &Space,
    side: usize,
    output: Output,
) -> Result<u8, AppError> {
    profile.check(space.architecture(), side, &args.space)?;
    let mut subjects = Vec::new();
    for layer in space.splits() {
        let Some(curve) = profile.splits.get(layer.name) else { continue };
        let depths: Vec<usize> = curve.knots().map(|(depth, _)| depth).collect();
        let between = depths.windows(2).map(|pair| pair[0].midpoint(pair[1])).filter(|depth| !depths.contains(depth));
        subjects.extend(between.map(|depth| Subject { layer, depth }));
    }
    if subjects.is_empty() {
        let problem = "has no two numbers of channels at a split of this space with another between them".to_owned();
        return Err(AppError::Flag { flag: "against", value: profile.path.display().to_string(), problem });
    }
    let spreads = measure(args, space, side, &subjects, output)?;
    let mut errors = Vec::new();
    if !output.json {
        println!("{:<24} {:>8} {:>12} {:>12} {:>7}", "split", "channels", "foretold", "measured", "ratio");
    }
    for (Subject { layer, depth }, spread) in subjects.iter().zip(spreads) {
        let Latency(foretold) = profile.latency(layer.name, *depth, &args.space)?;
        let ratio = foretold as f64 / spread.median.0 as f64;
        errors.push((ratio - 1.0).abs());
        match output.json {
            true => {
                let measured = spread.median.0;
                emit(
                    "foretold",
                    json!({ "split": layer.name, "depth": depth, "foretold_ns": foretold, "measured_ns": measured, "ratio": ratio }),
                );
            }
            false => {
                println!("{:<24} {depth:>8} {:>12} {:>12} {ratio:>7.3}", layer.name, Latency(foretold), spread.median);
            }
        }
    }
    errors.sort_by(f64::total_cmp);
    let percent = |at: usize| 100.0 * errors[at];
    if output.json {
        return Ok(exit::DONE);
    }
    println!(
        "{} designs that were not in the profile: median error {:.1} %, largest {:.1} %",
        errors.len(),
        percent(errors.len() / 2),
        percent(errors.len() - 1)
    );
    Ok(exit::DONE)
}

fn measure(
    args: &ProfileArgs,
    space: &Space,
    side: usize,
    subjects: &[Subject],
    output: Output,
) -> Result<Vec<SpreadEntry>, ProfileError> {
    let progress = Progress::new(output.progress());
    let text = format!("{} local nets of {} on images of {side}×{side}", subjects.len(), space.architecture());
    progress.stage(&text);
    let spreads = profile::measure(space.architecture(), side, subjects, args.seconds, &mut |done| {
        progress.fraction(&text, done);
        match interrupt::requested() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    progress.finish();
    spreads
}

/// What the system says of the processor or, where it is a board that says what it is, of that.
fn cpu() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok();
    let board = || read("/proc/device-tree/model").map(|text| text.trim_matches(['\0', '\n', ' ']).to_owned());
    read("/proc/cpuinfo").and_then(|text| model_name(&text)).or_else(board).filter(|name| !name.is_empty())
}

/// The processor's name in the text of `/proc/cpuinfo`; the board's, `Model`, before that, where it stands there.
fn model_name(text: &str) -> Option<String> {
    let value = |wanted: &str| {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = fields.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == wanted)?;
        Some(value.to_owned())
    };
    value("Model").or_else(|| value("model name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_and_boards_are_named() {
        let server = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: A Processor @ 2 GHz\n";
        assert_eq!(model_name(server).as_deref(), Some("A Processor @ 2 GHz"));
        let board =
            "processor\t: 0\nmodel name\t: ARMv7 Processor rev 3\n\nHardware\t: BCM2711\nModel\t\t: A Board Rev 1.4\n";
        assert_eq!(model_name(board).as_deref(), Some("A Board Rev 1.4"));
        assert_eq!(model_name("processor : 0\n"), None);
    }
}
