//! `privynet measure`: single designs, printed with the keys of the reference script.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use super::output::emit;
use super::progress::Progress;
use super::setup::{self, Assets};
use super::{AppError, Output, exit, interrupt};
use crate::cli::MeasureArgs;
use crate::config::Attacker;
use crate::estimate::{AttackLadder, CloudAccuracy, EstimateError, Estimator, Floors, Laboratory, Request, Watch};
use crate::exec::Beside;
use crate::measurement::{Fidelity, Measurement, Metric};
use crate::protocol::{Protocol, ScoredPart};
use crate::space::{ChannelChoice, Cost, Design, Selection};
use crate::units;

pub(super) fn run(args: &MeasureArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install();
    let device = setup::machine(&args.machine)?;
    let lanes = setup::lanes(args.resources.jobs)?;
    let assets = setup::assets(&args.space, &args.assets, Some(&args.split), output)?;
    let width = assets.space.architecture().layer(&args.split)?.out_channels;
    check_channels(&args.split, width, &args.channels, &args.depth)?;
    let fidelity = Fidelity::from(args.protocol);
    let progress = Progress::new(output.progress());
    let cache = setup::cache(&args.results, &args.resources);
    let Assets { space, parts, backbone, .. } = assets;
    let laboratory = Laboratory::new(parts, backbone, cache, device);
    let start = Instant::now();
    progress.stage(&format!("features of {}", args.split));
    laboratory.prepare(&[&args.split], interrupt::flag(), &mut |done| {
        progress.fraction("features of the local net", done);
    })?;
    let seconds_features = start.elapsed().as_secs_f64();
    let floors = laboratory.floors()?;
    let designs = designs(args, &laboratory)?;
    let estimators = (AttackLadder::new(&laboratory, Attacker::default()), CloudAccuracy::new(&laboratory));
    let requests: Vec<Request<'_>> = designs
        .iter()
        .flat_map(|(design, _)| args.seed.iter().map(move |&seed| (design, seed)))
        .map(|(design, seed)| Request {
            design,
            fidelity,
            protocol: Protocol::of(fidelity),
            seed,
            attempt: 0,
            verifying: None,
            guess: None,
        })
        .collect();
    let total = requests.len();
    let finished = AtomicUsize::new(0);
    let measure = |request: &Request<'_>, beside: Beside<'_>| -> Result<Vec<Measurement>, EstimateError> {
        let watch = Watcher { progress: &progress, beside, finished: &finished, total };
        let mut rows = estimators.0.estimate(request, &watch)?.measurements;
        rows.extend(estimators.1.estimate(request, &watch)?.measurements);
        finished.fetch_add(1, Ordering::Relaxed);
        Ok(rows)
    };
    let start = Instant::now();
    let results = lanes.run(&requests, || true, measure)?;
    let seconds = start.elapsed().as_secs_f64();
    progress.finish();
    let selections = designs.iter().flat_map(|(_, selection)| args.seed.iter().map(move |_| selection));
    for ((request, rows), selection) in requests.iter().zip(results).zip(selections) {
        let measured = Measured {
            request,
            selection,
            rows: rows.unwrap_or_default(),
            cost: space.cost(&request.design.split, request.design.channels.depth())?,
            floors,
        };
        match output.json {
            true => emit("measurement", measured.object(seconds_features, &args.machine.device)),
            false => measured.print(),
        }
    }
    if !output.json && !output.quiet && total > 1 {
        println!("{total} measurements in {}", units::Duration(seconds));
    }
    Ok(exit::DONE)
}

/// Refuses channels that the layer `split` of `width` channels doesn't have.
pub(super) fn check_channels(split: &str, width: usize, channels: &[u16], depths: &[usize]) -> Result<(), AppError> {
    let beyond = |flag, value: usize, remedy: String| AppError::Flag {
        flag,
        value: value.to_string(),
        problem: format!("{split} has {width} output channels: {remedy}"),
    };
    if let Some(twice) = channels.iter().enumerate().find_map(|(at, c)| channels[..at].contains(c).then_some(c)) {
        let problem = "given twice: a local net keeps a channel once".to_owned();
        return Err(AppError::Flag { flag: "channels", value: twice.to_string(), problem });
    }
    let channel = channels.iter().find(|&&channel| usize::from(channel) >= width);
    let depth = depths.iter().find(|depth| !(1..=width).contains(*depth));
    match (channel, depth) {
        (Some(&channel), _) => {
            Err(beyond("channels", channel.into(), format!("they are numbered from 0 to {}", width - 1)))
        }
        (_, Some(&depth)) => Err(beyond("depth", depth, format!("keep from 1 to {width}"))),
        (None, None) => Ok(()),
    }
}

/// The designs that the flags name, whose features are prepared, each with its selection.
fn designs(args: &MeasureArgs, laboratory: &Laboratory) -> Result<Vec<(Design, String)>, AppError> {
    if args.depth.is_empty() {
        let channels = ChannelChoice::set(args.channels.clone());
        return Ok(vec![(Design { split: args.split.clone(), channels }, "by number".to_owned())]);
    }
    chosen(&args.split, &args.depth, &args.selection, laboratory)
}

/// The designs of every rule and depth at a split whose features are prepared, each with its selection.
pub(super) fn chosen(
    split: &str,
    depths: &[usize],
    selections: &[Selection],
    laboratory: &Laboratory,
) -> Result<Vec<(Design, String)>, AppError> {
    let mut designs = Vec::new();
    // Scores take a moment, and the first channels need none.
    let insight = match selections.iter().all(|&rule| rule == Selection::First) {
        true => None,
        false => {
            let deepest = depths.iter().copied().max().unwrap_or(0);
            Some(laboratory.insight(split, selections, deepest)?)
        }
    };
    for &rule in selections {
        for &depth in depths {
            let channels = match &insight {
                Some(insight) if rule != Selection::First => rule.choose(split, depth, insight),
                // As the reference script: dead ones too.
                _ => Some(ChannelChoice::Set((0..depth as u16).collect())),
            };
            let Some(channels) = channels else {
                if rule.mixing().is_some() && !laboratory.backbone().layer(split)?.mixable {
                    let problem = format!(
                        "{split} is no convolution: only one can be made to compute combinations of its channels"
                    );
                    return Err(AppError::Flag { flag: "selection", value: rule.to_string(), problem });
                }
                let problem = format!("`{rule}` picks among fewer channels than that at {split}");
                return Err(AppError::Flag { flag: "depth", value: depth.to_string(), problem });
            };
            designs.push((Design { split: split.to_owned(), channels }, rule.to_string()));
        }
    }
    Ok(designs)
}

/// Shows how all measurements proceed, and ends them on Ctrl-C or when one failed.
struct Watcher<'a> {
    progress: &'a Progress,
    beside: Beside<'a>,
    finished: &'a AtomicUsize,
    total: usize,
}

impl Watch for Watcher<'_> {
    fn progress(&self, what: &str, done: f64) -> ControlFlow<()> {
        if interrupt::requested() || self.beside.failed() {
            return ControlFlow::Break(());
        }
        match (self.total, self.finished.load(Ordering::Relaxed)) {
            (1, _) => self.progress.fraction(what, done),
            (total, finished) => {
                let text = format!("{finished} of {total} measurements");
                self.progress.fraction(&text, finished as f64 / total as f64);
            }
        }
        ControlFlow::Continue(())
    }
}

/// One measurement, to be shown.
struct Measured<'a> {
    request: &'a Request<'a>,
    selection: &'a str,
    rows: Vec<Measurement>,
    cost: Cost,
    floors: Floors,
}

impl Measured<'_> {
    fn row(&self, metric: Metric) -> Option<&Measurement> {
        self.rows.iter().find(|row| row.metric == metric)
    }

    fn value(&self, metric: Metric) -> Option<f64> {
        self.row(metric).map(|row| row.value)
    }

    /// The images that the figures are over.
    fn scored_part(&self) -> &'static str {
        match self.request.protocol.scored_part {
            ScoredPart::Validation => "validation",
            ScoredPart::Evaluation => "evaluation",
        }
    }

    /// One line of JSON with the keys of the reference script.
    fn object(&self, seconds_features: f64, device: &str) -> Value {
        let Self { request, cost, floors, .. } = self;
        let seconds = |metric| self.row(metric).map(|row| row.seconds);
        let mut object = json!({
            "split": request.design.split,
            "depth": request.design.channels.depth(),
            "seed": request.seed,
            "accuracy": self.value(Metric::Accuracy),
            "psnr_mean": self.value(Metric::PsnrMean),
            "psnr_p95": self.value(Metric::PsnrP95),
            "psnr_max": self.value(Metric::PsnrMax),
            "psnr_pooled": self.value(Metric::PsnrPooled),
            "psnr_worst_class": self.value(Metric::PsnrWorstClass),
            "ssim_mean": self.value(Metric::SsimMean),
            "seconds_features": seconds_features,
            "seconds_attack": seconds(Metric::PsnrMean),
            "seconds_task": seconds(Metric::Accuracy),
            "device": device,
            "protocol": request.fidelity.to_string(),
            "scored_part": self.scored_part(),
            "lower_bound": self.value(Metric::AttackConverged).is_none_or(|converged| converged < 0.5),
            "id": request.design.id().as_str(),
            "selection": self.selection,
            "channels": request.design.channels.channels(),
            "cost": cost,
            "floors": floors,
        });
        if let Some(map) = object.as_object_mut() {
            let extended = Metric::ALL.iter().filter_map(|metric| metric.extended());
            let others = Metric::OTHERS.into_iter().flatten().map(|&(_, name)| name);
            let inversion = Metric::INVERSION.into_iter().map(|(_, name)| name);
            let gains = [Metric::InversionGainMean, Metric::InversionGainTail, Metric::InversionGainMax];
            let further = extended.chain(others).chain(inversion).chain(gains);
            map.extend(further.filter_map(|metric| Some((metric.to_string(), json!(self.value(metric)?)))));
            let converged = self.value(Metric::AttackConverged).map(|v| v > 0.5);
            map.insert("attack_converged".to_owned(), json!(converged));
        }
        object
    }

    fn print(&self) {
        let Self { request, rows, cost, floors, .. } = self;
        let scored = self.scored_part();
        let images = self.row(Metric::PsnrMean).map_or(0, |row| row.n);
        println!(
            "{} ({}; {} protocol, seed {}, {images} {scored} images)",
            request.design.id(),
            self.selection,
            request.fidelity,
            request.seed
        );
        for row in rows {
            let (digits, unit) = row.metric.format();
            let name = row.metric.to_string();
            match row.std_error > 0.0 {
                true => println!("  {name:<18} {:.digits$} ± {:.digits$}{unit}", row.value, row.std_error),
                false => println!("  {name:<18} {:.digits$}{unit}", row.value),
            }
        }
        match self.value(Metric::AttackConverged) {
            None => println!(
                "  note               a training of fixed length: leakage is a lower bound; `--protocol verification` trains on"
            ),
            Some(converged) if converged < 0.5 => {
                println!(
                    "  note               where the attack's learning curve leads can't be told: leakage is a lower bound"
                )
            }
            Some(_) => {}
        }
        println!(
            "  without features   {:.1} dB (mean image), {:.1} dB (mean colour), {:.1} dB (8×8 thumbnail)",
            floors.best_constant, floors.mean_colour, floors.thumbnail
        );
        println!(
            "  cost               {}, {} of parameters, {} peak memory, {} uploaded per image",
            cost.macs, cost.bytes, cost.peak_memory, cost.upload_bytes
        );
    }
}
