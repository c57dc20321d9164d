//! `privynet measure`: one design, printed with the keys of the reference script.

use std::time::Instant;

use serde_json::json;

use super::progress::{Progress, Style};
use super::{AppError, exit, interrupt, setup};
use crate::cli::{MeasureArgs, ProtocolArg};
use crate::estimate::{CloudAccuracy, DecoderAttack, Estimator, Laboratory, Request};
use crate::features::FeatureCache;
use crate::measurement::{Fidelity, Measurement, Metric};
use crate::protocol::{Protocol, ScoredPart};
use crate::space::{ChannelChoice, Design};

pub(super) fn run(args: &MeasureArgs) -> Result<u8, AppError> {
    interrupt::install();
    let device = setup::machine(&args.machine)?;
    let assets = setup::assets(&args.space, &args.assets, Some(&args.split))?;
    let channels = match args.depth {
        Some(depth) => (0..depth.min(usize::from(u16::MAX)) as u16).collect(),
        None => args.channels.clone(),
    };
    let width = assets.space.architecture().layer(&args.split)?.out_channels;
    if let Some(channel) = channels.iter().find(|&&c| usize::from(c) >= width) {
        let (flag, value) = match args.depth {
            Some(depth) => ("depth", depth.to_string()),
            None => ("channels", channel.to_string()),
        };
        let problem = format!("{} has {width} output channels, numbered from 0", args.split);
        return Err(AppError::Flag { flag, value, problem });
    }
    let design = Design { split: args.split.clone(), channels: ChannelChoice::set(channels) };
    let cost = assets.space.cost(&design.split, design.channels.depth())?;
    let fidelity = match args.protocol {
        ProtocolArg::Reference => Fidelity::Reference,
        ProtocolArg::Quick => Fidelity::Quick,
        ProtocolArg::Verification => Fidelity::QuickVerification,
        ProtocolArg::Full => Fidelity::StandardVerification,
    };
    let progress = Progress::new(if args.json { Style::Quiet } else { Style::Shown });
    let cache = FeatureCache::new(args.results.join("features"));
    let laboratory = Laboratory::new(assets.parts, assets.backbone, cache, device);
    let start = Instant::now();
    laboratory.prepare(&[&design.split], interrupt::flag(), &mut |done| {
        progress.fraction("features of the local net", done);
    })?;
    let seconds_features = start.elapsed().as_secs_f64();
    let request = Request {
        design: &design,
        fidelity,
        protocol: Protocol::of(fidelity),
        seed: args.seed,
        settled_above: None,
        error_rate: None,
    };
    let attack = DecoderAttack::new(&laboratory).estimate(&request, &progress)?;
    let task = CloudAccuracy::new(&laboratory).estimate(&request, &progress)?;
    progress.finish();
    let rows: Vec<&Measurement> = attack.measurements.iter().chain(&task.measurements).collect();
    let value = |metric: Metric| rows.iter().find(|m| m.metric == metric).map(|m| m.value);
    let seconds = |metric: Metric| rows.iter().find(|m| m.metric == metric).map(|m| m.seconds);
    let floors = laboratory.floors()?;
    if args.json {
        let mut object = json!({
            "split": design.split,
            "depth": design.channels.depth(),
            "seed": args.seed,
            "accuracy": value(Metric::Accuracy),
            "psnr_mean": value(Metric::PsnrMean),
            "psnr_p95": value(Metric::PsnrP95),
            "psnr_max": value(Metric::PsnrMax),
            "psnr_pooled": value(Metric::PsnrPooled),
            "ssim_mean": value(Metric::SsimMean),
            "seconds_features": seconds_features,
            "seconds_attack": seconds(Metric::PsnrMean),
            "seconds_task": seconds(Metric::Accuracy),
            "device": args.machine.device,
            "protocol": fidelity.to_string(),
            "id": design.id().as_str(),
            "channels": design.channels.channels(),
            "cost": cost,
            "floors": floors,
        });
        if let Some(map) = object.as_object_mut() {
            let extended = Metric::ALL.iter().filter_map(|metric| metric.extended());
            map.extend(extended.filter_map(|metric| Some((metric.to_string(), json!(value(metric)?)))));
            map.insert("attack_converged".to_owned(), json!(value(Metric::AttackConverged).map(|v| v > 0.5)));
        }
        println!("{object}");
        return Ok(exit::DONE);
    }
    let scored = match request.protocol.scored_part {
        ScoredPart::Validation => "validation",
        ScoredPart::Evaluation => "evaluation",
    };
    let images = rows.iter().find(|row| row.metric == Metric::PsnrMean).map_or(0, |row| row.n);
    println!("{} ({fidelity} protocol, seed {}, {images} {scored} images)", design.id(), args.seed);
    for row in &rows {
        let (digits, unit) = match row.metric {
            Metric::Accuracy | Metric::SsimMean | Metric::SsimMeanExtended => (4, ""),
            Metric::AttackConverged => (0, ""),
            _ => (2, " dB"),
        };
        let name = row.metric.to_string();
        match row.std_error > 0.0 {
            true => println!("  {name:<17} {:.digits$} ± {:.digits$}{unit}", row.value, row.std_error),
            false => println!("  {name:<17} {:.digits$}{unit}", row.value),
        }
    }
    match value(Metric::AttackConverged) {
        None => println!(
            "  note              a training of fixed length: leakage is a lower bound; `--protocol verification` trains on"
        ),
        Some(converged) if converged < 0.5 => {
            println!("  note              the attack was still improving when it ended: leakage is a lower bound")
        }
        Some(_) => {}
    }
    println!(
        "  without features  {:.1} dB (mean image), {:.1} dB (mean colour), {:.1} dB (8×8 thumbnail)",
        floors.best_constant, floors.mean_colour, floors.thumbnail
    );
    println!(
        "  cost              {}, {} of parameters, {} peak memory, {} uploaded per image",
        cost.macs, cost.bytes, cost.peak_memory, cost.upload_bytes
    );
    Ok(exit::DONE)
}
