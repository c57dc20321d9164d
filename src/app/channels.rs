//! `privynet channels`: what is known in closed form of each output channel of a layer.

use serde_json::json;

use super::output::emit;
use super::progress::Progress;
use super::setup::{self, Assets};
use super::{AppError, Output, exit, interrupt};
use crate::cli::ChannelsArgs;
use crate::estimate::Laboratory;
use crate::features::FeatureCache;
use crate::record::{ChannelFigures, ChannelMap};

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
    let ChannelMap { channels, .. } = ChannelMap::new(&args.split, &insight);
    match output.json {
        true => channels.iter().enumerate().for_each(print_json),
        false => print(&args.split, &channels),
    }
    Ok(exit::DONE)
}

fn print_json((channel, figures): (usize, &ChannelFigures)) {
    let &ChannelFigures { fisher_map, fisher_pooled, class_separation, linear_attack_psnr, dead } = figures;
    let object = json!({
        "channel": channel,
        "fisher_map": fisher_map,
        "fisher_pooled": fisher_pooled,
        "class_separation": class_separation,
        "linear_attack_psnr": linear_attack_psnr,
        "dead": dead,
    });
    emit("channel", object);
}

fn print(split: &str, channels: &[ChannelFigures]) {
    let dead = channels.iter().filter(|channel| channel.dead).count();
    println!("{split}: {} channels, {dead} of them the same on all training images", channels.len());
    println!(
        "  utility: Fisher's criterion of the map and of its mean, and class separation of its quarters; leakage: what a"
    );
    println!("  linear map makes of this channel alone, single positions only. Stand-ins for choosing, not results.");
    println!(
        "  {:>7} {:>11} {:>14} {:>11} {:>12}",
        "channel", "Fisher, map", "Fisher, pooled", "separation", "leakage"
    );
    for (channel, figures) in channels.iter().enumerate() {
        let &ChannelFigures { fisher_map, fisher_pooled, class_separation, linear_attack_psnr, dead } = figures;
        match dead {
            true => println!("  {channel:>7} dead"),
            false => println!(
                "  {channel:>7} {fisher_map:>11.4} {fisher_pooled:>14.4} {class_separation:>11.4} {:>12}",
                format!("{linear_attack_psnr:.2} dB")
            ),
        }
    }
}
