//! `privynet bench`: how fast this machine trains, beside its own large matrix product.

mod search;
mod workers;

use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde_json::{Value, json};

use super::output::emit;
use super::{AppError, Output, exit, setup};
use crate::backbone::Architecture;
use crate::cli::BenchArgs;
use crate::exec::{Beside, Lanes};
use crate::nn::{self, BuildOptions, Device, Frozen, NetSpec, Network, Shape, Step, Target};
use crate::ridge::{Geometry, RidgeMoments};

/// Split layers and depths of the published comparison.
const SPLITS: [(&str, usize); 4] = [("conv1_2", 64), ("conv2_2", 64), ("conv3_1", 64), ("conv3_3", 64)];

/// Side of the images.
const SIDE: usize = 32;

/// Classes of the cloud net.
const CLASSES: usize = 10;

/// Images of the reference protocol, and its epochs of attack and task.
const IMAGES: usize = 3_000;
const ATTACK_EPOCHS: usize = 6;
const TASK_EPOCHS: usize = 8;

/// Images a step of the reference protocol.
const BATCH: usize = 64;

/// How long a net's steps are tried.
const BUDGET: Duration = Duration::from_secs(2);

/// One net's training steps.
struct Steps {
    split: &'static str,
    depth: usize,
    net: &'static str,
    batch: usize,
    /// Median seconds per step.
    seconds: f64,
    /// Operations of the direct algorithm per second, forward and backward.
    rate: f64,
}

pub(super) fn run(args: &BenchArgs, output: Output) -> Result<u8, AppError> {
    let device = setup::machine(&args.machine)?;
    let lanes = setup::lanes(args.jobs)?;
    if let Some(candidates) = args.candidates {
        return search::run(candidates.max(1), output);
    }
    if !args.workers.is_empty() {
        return workers::run(args, output);
    }
    let peak = nn::gemm_rate(device)?;
    if !output.json {
        println!(
            "large f32 matrix product: {:.0} GFLOP/s ({device}, {} threads)",
            peak / 1e9,
            rayon::current_num_threads()
        );
        println!("training steps; GFLOP/s count the operations of the direct convolution, forward and backward");
        println!(
            "  {:<14} {:<11} {:>5} {:>10} {:>8} {:>9} {:>10}",
            "split", "net", "batch", "ms/step", "steps/s", "GFLOP/s", "of product"
        );
    }
    let mut all = Vec::new();
    for (split, depth) in SPLITS {
        let [decoder, classifier] = nets(split, depth)?;
        for (net, spec, batch) in
            [("decoder", &decoder, 16), ("decoder", &decoder, BATCH), ("classifier", &classifier, BATCH)]
        {
            let steps = train(split, depth, net, spec, batch, device)?;
            if !output.json {
                println!(
                    "  {:<14} {net:<11} {batch:>5} {:>10.2} {:>8.1} {:>9.0} {:>8.0} %",
                    format!("{split}, {depth}"),
                    1e3 * steps.seconds,
                    1.0 / steps.seconds,
                    steps.rate / 1e9,
                    100.0 * steps.rate / peak
                );
            }
            all.push(steps);
        }
    }
    let features = features(device)?;
    let subsets = subsets_per_minute();
    let mut designs = Vec::new();
    for (split, depth) in SPLITS {
        designs.push(designs_per_hour(&all, split, depth, lanes, device)?);
    }
    if output.json {
        emit("bench", object(device, peak, &all, [features, subsets], &designs));
    } else {
        println!("features of VGG-16 to conv3_3: {features:.0} images/s of {SIDE}×{SIDE}");
        println!("linear attack: {subsets:.0} subsets of 64 of 256 channels a minute, at conv3_3");
        println!(
            "designs per hour by such steps ({IMAGES} images, {ATTACK_EPOCHS} epochs of attack, {TASK_EPOCHS} of task), one \
             after the other and {} at once:",
            designs.first().map_or(1, |d| d.at_once)
        );
        for Designs { split, depth, alone, together, .. } in designs {
            println!("  {:<14} {alone:>6.0} {together:>6.0}", format!("{split}, {depth}"));
        }
    }
    Ok(exit::DONE)
}

/// Values between −1 and 1 that the speed doesn't depend on.
fn values(length: usize) -> Vec<f32> {
    (0..length).map(|i| (i * 7919 % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// Decoder and cloud net of the reference protocol at a split.
fn nets(split: &str, depth: usize) -> Result<[NetSpec; 2], AppError> {
    let layer = Architecture::vgg16().layer(split)?;
    let side = Architecture::vgg16().shape(layer, SIDE)?.side;
    let input = Shape::new(side, side, depth);
    Ok([NetSpec::reference_decoder(input, SIDE)?, NetSpec::reference_classifier(input, CLASSES)?])
}

/// A net in training on one batch.
struct Trained {
    network: Box<dyn Network>,
    batch: usize,
    x: Vec<f32>,
    labels: Vec<u32>,
    images: Vec<f32>,
}

impl Trained {
    fn new(spec: &NetSpec, batch: usize, device: Device) -> Result<Self, AppError> {
        let options = BuildOptions { device, ..BuildOptions::default() };
        let outputs = spec.output()?.len();
        // A net with as many outputs as classes is a classifier.
        let pixels = if outputs == CLASSES { 0 } else { batch * outputs };
        Ok(Self {
            network: nn::build(spec, &nn::initialise(spec, 1), &options)?,
            batch,
            x: values(batch * spec.input.len()),
            labels: (0..batch).map(|i| (i % CLASSES) as u32).collect(),
            images: values(pixels).iter().map(|v| 0.5 + 0.5 * v).collect(),
        })
    }

    fn step(&mut self) -> Result<(), AppError> {
        let target = match self.images.is_empty() {
            true => Target::Labels(&self.labels),
            false => Target::Images(&self.images),
        };
        self.network.train_step(&self.x, self.batch, target, Step { learning_rate: 1e-4, beta1: 0.9 })?;
        Ok(())
    }
}

/// Times the training steps of a net.
fn train(
    split: &'static str,
    depth: usize,
    net: &'static str,
    spec: &NetSpec,
    batch: usize,
    device: Device,
) -> Result<Steps, AppError> {
    let mut trained = Trained::new(spec, batch, device)?;
    // The first steps allocate.
    for _ in 0..3 {
        trained.step()?;
    }
    let begin = Instant::now();
    let mut times = Vec::new();
    while begin.elapsed() < BUDGET {
        let start = Instant::now();
        trained.step()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];
    // A backward pass takes twice a forward's multiplications; each comes with an addition.
    let operations = 6.0 * spec.macs_per_image()? as f64 * batch as f64;
    Ok(Steps { split, depth, net, batch, seconds, rate: operations / seconds })
}

/// Images per second through the backbone to conv3_3.
fn features(device: Device) -> Result<f64, AppError> {
    let layer = Architecture::vgg16().layer("conv3_3")?;
    let net = Architecture::vgg16()
        .structure()
        .prefix(layer.tap)
        .with_numbers(|n| values(n).iter().map(|v| 0.05 * v).collect());
    let mut net = Frozen::of_graph(&net, SIDE, device)?;
    let x = values(Frozen::BLOCK * SIDE * SIDE * 3);
    let mut images = 0;
    let tap = [layer.tap];
    net.forward_taps(&x, Frozen::BLOCK, &tap, &mut |_, _| Ok(()))?;
    let begin = Instant::now();
    while begin.elapsed() < BUDGET {
        net.forward_taps(&x, Frozen::BLOCK, &tap, &mut |_, _| Ok(()))?;
        images += Frozen::BLOCK;
    }
    Ok(images as f64 / begin.elapsed().as_secs_f64())
}

/// Channel subsets per minute that the closed-form linear attack scores at conv3_3, 64 of 256 channels, once the layer's
/// moments are there.
fn subsets_per_minute() -> f64 {
    const CHANNELS: usize = 256;
    const KEPT: usize = 64;
    let geometry = Geometry { side: 8, depth: CHANNELS, image_side: SIDE };
    let mut moments = RidgeMoments::new(geometry);
    let images = 4 * CHANNELS * 9 / (8 * 8);
    moments.add(&values(images * 8 * 8 * CHANNELS), &values(images * SIDE * SIDE * 3));
    let begin = Instant::now();
    let mut subsets = 0;
    while begin.elapsed() < BUDGET {
        let round = rayon::current_num_threads() * 8;
        let scored: Vec<Option<f64>> = (subsets..subsets + round)
            .into_par_iter()
            // An odd stride visits every channel of 256 once.
            .map(|draw| {
                let subset: Vec<usize> = (0..KEPT).map(|i| (draw + i * (2 * draw + 1)) % CHANNELS).collect();
                moments.error(&subset, 1e-3)
            })
            .collect();
        subsets += scored.len();
    }
    60.0 * subsets as f64 / begin.elapsed().as_secs_f64()
}

/// Designs per hour under the reference protocol.
struct Designs {
    split: &'static str,
    depth: usize,
    alone: f64,
    at_once: usize,
    together: f64,
}

/// Trains as many designs as `lanes` holds, one after the other and side by side, for a few of their steps each: six
/// of the decoder to eight of the cloud net, as the epochs are.
fn designs_per_hour(
    all: &[Steps],
    split: &'static str,
    depth: usize,
    lanes: Lanes,
    device: Device,
) -> Result<Designs, AppError> {
    let seconds = |net: &str| {
        let found = all.iter().find(|s| s.split == split && s.net == net && s.batch == BATCH);
        found.map_or(f64::NAN, |s| s.seconds)
    };
    let round = ATTACK_EPOCHS as f64 * seconds("decoder") + TASK_EPOCHS as f64 * seconds("classifier");
    let rounds = (BUDGET.as_secs_f64() / round).ceil().max(1.0) as usize;
    let nets = nets(split, depth)?;
    let design = |(): &(), _: Beside<'_>| -> Result<(), AppError> {
        for (net, epochs) in nets.iter().zip([ATTACK_EPOCHS, TASK_EPOCHS]) {
            let mut trained = Trained::new(net, BATCH, device)?;
            for _ in 0..rounds * epochs {
                trained.step()?;
            }
        }
        Ok(())
    };
    let at_once = lanes.at_most();
    let jobs = vec![(); at_once];
    let rate = |lanes: Lanes| -> Result<f64, AppError> {
        let start = Instant::now();
        lanes.run(&jobs, || true, design)?;
        let share = rounds as f64 / IMAGES.div_ceil(BATCH) as f64;
        Ok(3600.0 * at_once as f64 * share / start.elapsed().as_secs_f64())
    };
    let alone = rate(Lanes::new(Some(1)))?;
    Ok(Designs { split, depth, alone, at_once, together: rate(lanes)? })
}

fn object(device: Device, peak: f64, all: &[Steps], [features, subsets]: [f64; 2], designs: &[Designs]) -> Value {
    let steps: Vec<Value> = all
        .iter()
        .map(|s| {
            json!({
                "split": s.split, "depth": s.depth, "net": s.net, "batch": s.batch,
                "ms_per_step": 1e3 * s.seconds, "steps_per_second": 1.0 / s.seconds,
                "gflops": s.rate / 1e9, "share_of_product": s.rate / peak,
            })
        })
        .collect();
    let designs: Vec<Value> = designs
        .iter()
        .map(|d| {
            json!({
                "split": d.split, "depth": d.depth, "per_hour_alone": d.alone, "at_once": d.at_once,
                "per_hour_at_once": d.together,
            })
        })
        .collect();
    json!({
        "device": device.to_string(), "threads": rayon::current_num_threads(), "product_gflops": peak / 1e9,
        "training": steps, "features_per_second": features,
        "linear_attack_subsets_per_minute": subsets, "designs": designs,
    })
}
