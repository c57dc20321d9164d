//! `privynet channels`: what is known in closed form of each output channel of a layer.

use serde_json::json;

use super::output::emit;
use super::progress::Progress;
use super::setup::{self, Assets};
use super::{AppError, Output, exit, interrupt};
use crate::cli::ChannelsArgs;
use crate::estimate::Laboratory;
use crate::features::FeatureCache;

/// One channel's scores.
struct Scored {
    channel: usize,
    fisher_map: f64,
    fisher_pooled: f64,
    separation: f64,
    leakage: f64,
    dead: bool,
}

pub(super) fn run(args: &ChannelsArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install();
    let device = setup::machine(&args.machine)?;
    let assets = setup::assets(&args.space, &args.assets, Some(&args.split), output)?;
    let progress = Progress::new(output.progress());
    let Assets { parts, backbone, .. } = assets;
    let laboratory = Laboratory::new(parts, backbone, FeatureCache::new(args.results.join("features")), device);
    progress.stage(&format!("features of {}", args.split));
    laboratory.prepare(&[&args.split], interrupt::flag(), &mut |done| {
        progress.fraction("features of the local net", done);
    })?;
    let insight = laboratory.insight(&args.split, &[], 0)?;
    progress.finish();
    let score = |channel: usize| Scored {
        channel,
        fisher_map: insight.scores.fisher_map[channel],
        fisher_pooled: insight.scores.fisher_pooled[channel],
        separation: insight.moments.class_separation(&[channel as u16]),
        leakage: insight.moments.linear_attack_psnr(&[channel as u16]),
        dead: insight.scores.dead[channel],
    };
    let scored: Vec<Scored> = (0..insight.scores.dead.len()).map(score).collect();
    match output.json {
        true => scored.iter().for_each(print_json),
        false => print(&args.split, &scored),
    }
    Ok(exit::DONE)
}

fn print_json(scored: &Scored) {
    let &Scored { channel, fisher_map, fisher_pooled, separation, leakage, dead } = scored;
    let object = json!({
        "channel": channel,
        "fisher_map": fisher_map,
        "fisher_pooled": fisher_pooled,
        "class_separation": separation,
        "linear_attack_psnr": leakage,
        "dead": dead,
    });
    emit("channel", object);
}

fn print(split: &str, scored: &[Scored]) {
    let dead = scored.iter().filter(|scored| scored.dead).count();
    println!("{split}: {} channels, {dead} of them zero on all training images", scored.len());
    println!(
        "  utility: Fisher's criterion of the map and of its mean, and class separation of its quarters; leakage: what a"
    );
    println!("  linear map makes of this channel alone, single positions only. Stand-ins for choosing, not results.");
    println!(
        "  {:>7} {:>11} {:>14} {:>11} {:>12}",
        "channel", "Fisher, map", "Fisher, pooled", "separation", "leakage"
    );
    for &Scored { channel, fisher_map, fisher_pooled, separation, leakage, dead } in scored {
        match dead {
            true => println!("  {channel:>7} dead"),
            false => println!(
                "  {channel:>7} {fisher_map:>11.4} {fisher_pooled:>14.4} {separation:>11.4} {:>12}",
                format!("{leakage:.2} dB")
            ),
        }
    }
}
