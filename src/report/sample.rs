//! A made-up study of realistic shape, for the tests and for looking at what is drawn.

use super::view::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Split layers with channels, feature-map side on 32×32 input, and MACs of the front before it at full depth.
const SPLITS: [(&str, usize, f64); 6] = [
    ("conv1_2", 64, 32.0),
    ("conv2_1", 128, 16.0),
    ("conv2_2", 128, 16.0),
    ("conv3_1", 256, 8.0),
    ("conv3_2", 256, 8.0),
    ("conv3_3", 256, 8.0),
];
const DEPTHS: [usize; 5] = [4, 8, 16, 32, 64];
const SELECTIONS: [&str; 5] = ["first", "fisher", "random", "pruned-random", "mix"];
const LIMIT_PSNR: f64 = 18.0;

struct Noise(ChaCha8Rng);

impl Noise {
    fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal: the sum of twelve uniforms.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn estimate(value: f64, se: f64) -> Option<Estimate> {
    Some(Estimate { value, se })
}

/// A verified study with 40 of 300 designs measured.
pub(super) fn study() -> StudyView {
    let mut noise = Noise(ChaCha8Rng::seed_from_u64(7));
    let mut designs = Vec::new();
    for (split_index, (split, _, side)) in SPLITS.iter().enumerate() {
        for depth in DEPTHS {
            for (s, kind) in SELECTIONS.iter().enumerate() {
                for seed in 0..2 {
                    designs.push(design(&mut noise, (split_index, split, *side), depth, (s, kind), seed));
                }
            }
        }
    }
    let mut measured: Vec<usize> = (0..designs.len()).collect();
    for i in (1..measured.len()).rev() {
        measured.swap(i, (noise.uniform() * (i + 1) as f64) as usize);
    }
    measured.truncate(40);
    let history = measure(&mut noise, &mut designs, &measured);
    mark_front(&mut designs);
    describe(&mut noise, &mut designs);
    let best = designs.iter().filter(|d| d.measured.is_some() && d.feasibility == Feasibility::Feasible);
    let best =
        best.max_by(|a, b| accuracy(a).total_cmp(&accuracy(b))).expect("the sample has a feasible design").clone();
    StudyView {
        name: "fashion-mnist-vgg16-standard".to_owned(),
        subject: "VGG-16 (ImageNet weights) on Fashion-MNIST: 300 candidate designs, 40 measured".to_owned(),
        status: Status::Verified,
        live: None,
        confidence: 0.95,
        explanation: vec![
            "PSNR mean binds: 17.70 of 18 dB are used.".to_owned(),
            "A mean PSNR limit of 19.8 dB (10 % more) would bring about 2.1 points of accuracy; 10 % more compute, nothing.".to_owned(),
        ],
        limits: Limits { psnr_mean_max: Some(LIMIT_PSNR), psnr_p95_max: Some(22.0), accuracy_min: None },
        budgets: budgets(&best),
        floors: [("best constant", 12.6), ("image's mean colour", 14.4), ("8×8 thumbnail", 20.2)]
            .map(|(name, psnr_mean)| Floor { name: name.to_owned(), psnr_mean })
            .to_vec(),
        diagnostics: diagnostics(&mut noise, &designs),
        gallery: gallery(&mut noise, &best),
        samples: samples(&mut noise, &best),
        channels: Some(channels(&mut noise, &best)),
        history,
        threat: Threat {
            attacker: crate::config::Attacker::default().describe(4000),
            attacks: ["convolutional ridge regression", "decoder (reference)", "decoder (strong)"].map(str::to_owned).to_vec(),
            remarks: Vec::new(),
        },
        notes: vec!["Only verified figures are claims.".to_owned()],
        warnings: vec!["The strong decoder on conv1_2, 64 channels was still improving when it ended: its leakage may be higher.".to_owned()],
        provenance: [
            ("command", "privynet optimize spaces/fashion-mnist-vgg16/budget.yaml --threads 2"),
            ("version", "privynet 0.1.0"),
            ("seed", "42"),
            ("weights (BLAKE3)", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            ("machine", "2 cores, Linux x86_64"),
            ("duration", "4 min 12 s"),
        ]
        .map(|(name, value)| ProvenanceItem { name: name.to_owned(), value: value.to_owned() })
        .to_vec(),
        chosen: Some(chosen(&best)),
        designs: {
            designs.iter_mut().filter(|row| row.id == best.id).for_each(verify);
            designs
        },
    }
}

/// Says where each design's figures come from, and gives the measured ones a picture.
fn describe(noise: &mut Noise, designs: &mut [DesignRow]) {
    for row in designs {
        let source = |name: &str, figures: Option<Figures>| {
            Some(Source { name: name.to_owned(), detail: "quick protocol, seed 42".to_owned(), figures: figures? })
        };
        row.sources =
            [source("Predicted by the models", row.predicted), source("Search's short training", row.measured)]
                .into_iter()
                .flatten()
                .collect();
        if let Some(psnr) = row.measured.and_then(|figures| figures.psnr_max) {
            row.known_by = KnownBy::Measured;
            row.reason = Some("largest expected improvement within the budgets".to_owned());
            row.evaluation = Some(1);
            row.pictures = vec![GallerySection {
                title: "Search (trained attack)".to_owned(),
                caption: "quick protocol, seed 42.".to_owned(),
                pairs: vec![pair(noise, Exposure::Most, psnr.value)],
            }];
        }
    }
}

fn verify(row: &mut DesignRow) {
    row.known_by = KnownBy::Verified;
    row.upper = row.measured.map(|m| Figures { accuracy: None, psnr_max: None, ..m });
    row.remarks = vec!["Every bound holds.".to_owned()];
}

fn samples(noise: &mut Noise, best: &DesignRow) -> Vec<Sample> {
    let sample = |psnr| Sample {
        design: best.id.clone(),
        attack: "trained attack, quick protocol".to_owned(),
        pair: pair(noise, Exposure::Median, psnr),
    };
    [12.0, 15.0, 18.0, 25.0, 36.0].map(sample).to_vec()
}

/// Channels that give away the more, the more they are worth.
fn channels(noise: &mut Noise, best: &DesignRow) -> ChannelsView {
    let channel = |index: usize| {
        let utility = 0.4 + 0.3 * noise.uniform();
        Channel {
            utility,
            leakage: 9.0 + utility + 0.2 * noise.normal(),
            fisher: [utility * 0.3, utility * 0.2],
            dead: index % 50 == 7,
            chosen: index % 4 == 1 && index < 4 * best.depth,
        }
    };
    ChannelsView { split: best.split.clone(), channels: (0..256).map(channel).collect() }
}

/// A study that has only been started.
pub(super) fn empty() -> StudyView {
    StudyView {
        status: Status::InProgress,
        live: Some(Live { written: 1_700_000_000, again: 20, measurements: [0, 14], doing: "conv3_1-4".to_owned() }),
        chosen: None,
        explanation: Vec::new(),
        limits: Limits::default(),
        budgets: Vec::new(),
        designs: Vec::new(),
        floors: Vec::new(),
        diagnostics: Vec::new(),
        gallery: Vec::new(),
        samples: Vec::new(),
        channels: None,
        history: Vec::new(),
        warnings: Vec::new(),
        notes: Vec::new(),
        provenance: Vec::new(),
        ..study()
    }
}

fn accuracy(row: &DesignRow) -> f64 {
    row.best(Metric::Accuracy).map_or(0.0, |(e, _)| e.value)
}

fn design(
    noise: &mut Noise,
    (split_index, split, side): (usize, &str, f64),
    depth: usize,
    (s, kind): (usize, &str),
    seed: u64,
) -> DesignRow {
    let log = (depth as f64).log2();
    let quality = [0.0, 0.012, -0.006, 0.009, 0.015][s];
    let accuracy = (0.40 + 0.022 * split_index as f64 + 0.032 * log + quality + 0.006 * noise.normal()).min(0.78);
    let psnr = 11.8 + 12.5 * (-0.42 * split_index as f64).exp() + log * 1.15 - 0.3 * s as f64 + 0.25 * noise.normal();
    let macs = 1.8e6 * 32.0 / side * (split_index + 1) as f64 * (0.5 + depth as f64 / 64.0);
    let bytes = 9.0 * 2.0 * 64.0 * (depth + 70 * split_index) as f64;
    let upload = side * side * depth as f64;
    let feasible = psnr < LIMIT_PSNR - 0.5;
    DesignRow {
        id: format!("{split}-{depth}-{kind}-{seed}"),
        split: split.to_owned(),
        split_index,
        depth,
        selection: if s > 1 { format!("{kind}, seed {seed}") } else { kind.to_owned() },
        selection_kind: kind.to_owned(),
        known_by: KnownBy::Predicted,
        measured: None,
        upper: None,
        predicted: Some(Figures {
            accuracy: estimate(accuracy, 0.013),
            psnr_mean: estimate(psnr, 0.35),
            psnr_p95: estimate(psnr + 3.2, 0.5),
            psnr_max: None,
            ssim_mean: estimate(ssim(psnr), 0.03),
        }),
        probability_feasible: Some(1.0 / (1.0 + ((psnr - LIMIT_PSNR) / 0.35).exp())),
        feasibility: if feasible {
            Feasibility::Feasible
        } else if psnr < LIMIT_PSNR + 0.5 {
            Feasibility::Uncertain
        } else {
            Feasibility::Infeasible
        },
        macs: Quantity { value: macs, text: format!("{:.1} MMAC", macs / 1e6) },
        bytes: Quantity { value: bytes, text: format!("{:.1} KiB", bytes / 1024.0) },
        upload: Quantity { value: upload, text: format!("{:.1} KiB", upload / 1024.0) },
        pareto: false,
        further_costs: vec![("Parameters".to_owned(), (bytes as u64 / 2).to_string())],
        mixed: kind == "mix",
        layer_channels: 256,
        channels: if kind == "mix" { Vec::new() } else { (0..depth).map(|i| i * 4 + 1).collect() },
        evaluation: None,
        reason: None,
        sources: Vec::new(),
        remarks: Vec::new(),
        pictures: Vec::new(),
    }
}

fn ssim(psnr: f64) -> f64 {
    1.0 - (-(psnr - 10.0).max(0.5) / 9.0).exp()
}

fn measure(noise: &mut Noise, designs: &mut [DesignRow], measured: &[usize]) -> Vec<HistoryStep> {
    let mut best: Option<f64> = None;
    let mut history = Vec::new();
    for (i, &index) in measured.iter().enumerate() {
        let row = &mut designs[index];
        let Some(Figures { accuracy: Some(a), psnr_mean: Some(p), .. }) = row.predicted else {
            continue;
        };
        let (a, p) = (a.value + 0.008 * noise.normal(), p.value + 0.25 * noise.normal());
        row.measured = Some(Figures {
            accuracy: estimate(a, 0.007),
            psnr_mean: estimate(p, 0.12),
            psnr_p95: estimate(p + 3.1 + 0.2 * noise.normal(), 0.2),
            psnr_max: estimate(p + 7.5 + noise.normal(), 0.6),
            ssim_mean: estimate(ssim(p) + 0.01 * noise.normal(), 0.006),
        });
        row.feasibility = if p <= LIMIT_PSNR { Feasibility::Feasible } else { Feasibility::Infeasible };
        if row.feasibility == Feasibility::Feasible {
            best = Some(best.map_or(a, |b| b.max(a)));
        }
        let (phase, reason) = match i {
            0..16 => ("space-filling", "spreads the first measurements over split and depth"),
            16..37 => ("improve", "largest expected improvement within the budgets"),
            _ => ("front", "largest expected gain of hypervolume"),
        };
        history.push(HistoryStep {
            evaluation: i + 1,
            design: row.id.clone(),
            phase: phase.to_owned(),
            reason: reason.to_owned(),
            accuracy: estimate(a, 0.007),
            feasibility: row.feasibility,
            best_feasible: best,
            hypervolume: Some(0.5 - 0.4 / (1.0 + i as f64)),
            seconds: 5.5 + noise.uniform(),
        });
    }
    history
}

fn mark_front(designs: &mut [DesignRow]) {
    let points: Vec<_> =
        designs.iter().map(|d| d.measured.and_then(|m| Some((m.psnr_mean?.value, m.accuracy?.value)))).collect();
    for (row, point) in designs.iter_mut().zip(&points) {
        row.pareto =
            point.is_some_and(|(p, a)| !points.iter().flatten().any(|(q, b)| *q <= p && *b >= a && (*q, *b) != (p, a)));
    }
}

fn chosen(best: &DesignRow) -> Chosen {
    let verified = best
        .measured
        .map(|m| Figures { accuracy: m.accuracy.map(|a| Estimate { value: a.value + 0.004, se: 0.005 }), ..m });
    Chosen {
        id: best.id.clone(),
        split: best.split.clone(),
        depth: best.depth,
        layer_channels: 256,
        mixed: false,
        selection: best.selection.clone(),
        channels: (0..best.depth).map(|i| i * 4 + 1).collect(),
        expected: best.predicted,
        measured: best.measured,
        upper: verified.map(|v| Figures {
            psnr_mean: v.psnr_mean.map(|e| Estimate { value: e.value + 0.8, se: 0.0 }),
            ..Figures::default()
        }),
        verified,
        refuted: false,
        ladder: [("none: the mean image", 12.6), ("linear map", 15.1), ("trained decoder", 17.2)]
            .map(|(attack, psnr)| {
                let psnr_mean = Some(Estimate { value: psnr, se: 0.05 });
                Rung { attack: attack.to_owned(), figures: Figures { psnr_mean, ..Figures::default() } }
            })
            .to_vec(),
    }
}

fn budgets(best: &DesignRow) -> Vec<BudgetBar> {
    let quantity = |value: f64, text: String| Quantity { value, text };
    let figure = |metric: Metric| best.best(metric).map_or(0.0, |(e, _)| e.value);
    let noisy = |name: &str, limit: f64, used: f64| BudgetBar {
        name: name.to_owned(),
        limit: quantity(limit, format!("{limit} dB")),
        used: Some(quantity(used, format!("{used:.2} dB"))),
        known: Known::Upper,
        spare: Some(format!("{:.2} dB to spare", limit - used)),
    };
    vec![
        BudgetBar {
            name: "compute".into(),
            limit: quantity(60e6, "60 MMAC".into()),
            used: Some(best.macs.clone()),
            known: Known::Exact,
            spare: None,
        },
        BudgetBar {
            name: "storage".into(),
            limit: quantity(1000.0 * 1024.0, "1000 KiB".into()),
            used: Some(best.bytes.clone()),
            known: Known::Exact,
            spare: None,
        },
        noisy("PSNR mean", LIMIT_PSNR, figure(Metric::PsnrMean)),
        noisy("PSNR p95", 22.0, figure(Metric::PsnrP95)),
    ]
}

fn diagnostics(noise: &mut Noise, designs: &[DesignRow]) -> Vec<Diagnostics> {
    Metric::ALL
        .into_iter()
        .map(|metric| {
            let spread = match metric {
                Metric::Accuracy => 0.012,
                Metric::PsnrMean => 0.4,
                Metric::PsnrP95 => 0.55,
                Metric::PsnrMax => 1.2,
                Metric::SsimMean => 0.02,
            };
            let points: Vec<_> = designs
                .iter()
                .filter_map(|row| {
                    let measured = row.measured?.get(metric)?;
                    let predicted = Estimate { value: measured.value + spread * noise.normal(), se: spread };
                    Some(LeftOut { design: row.id.clone(), measured, predicted })
                })
                .collect();
            let mean = points.iter().map(|p| p.measured.value).sum::<f64>() / points.len() as f64;
            let total: f64 = points.iter().map(|p| (p.measured.value - mean).powi(2)).sum();
            let residual: f64 = points.iter().map(|p| (p.measured.value - p.predicted.value).powi(2)).sum();
            let rmse = (residual / points.len() as f64).sqrt();
            Diagnostics {
                metric,
                points,
                r2: Some(1.0 - residual / total),
                rmse,
                coverage: 0.95,
                nominal_coverage: 0.95,
            }
        })
        .collect()
}

fn gallery(noise: &mut Noise, best: &DesignRow) -> Vec<GallerySection> {
    let mut section = |title: String, caption: &str, psnrs: [f64; 3]| GallerySection {
        title,
        caption: caption.to_owned(),
        pairs: [Exposure::Most, Exposure::Median, Exposure::Least]
            .into_iter()
            .zip(psnrs)
            .map(|(exposure, psnr)| pair(noise, exposure, psnr))
            .collect(),
    };
    vec![
        section(
            format!("Chosen design: {}, {} channels", best.split, best.depth),
            "What leaves the device with the recommended design.",
            [25.0, 17.5, 12.5],
        ),
        section(
            "For contrast: conv1_2, 64 channels".to_owned(),
            "A shallow split that hides next to nothing.",
            [40.0, 31.5, 27.0],
        ),
    ]
}

/// Rings in colour, and the same with as much noise as the PSNR says.
fn pair(noise: &mut Noise, exposure: Exposure, psnr: f64) -> GalleryPair {
    const SIDE: u32 = 32;
    let phase = noise.uniform() * 6.0;
    let mut original = Vec::new();
    let mut reconstruction = Vec::new();
    let sigma = 255.0 * 10f64.powf(-psnr / 20.0);
    for y in 0..SIDE {
        for x in 0..SIDE {
            let r = (f64::from(x) - 15.5).hypot(f64::from(y) - 15.5);
            for channel in 0..3 {
                let value = 128.0 + 100.0 * (r * 0.55 + phase + f64::from(channel)).sin();
                original.push(value as u8);
                reconstruction.push((value + sigma * noise.normal()).clamp(0.0, 255.0) as u8);
            }
        }
    }
    let picture = |rgb| Picture { width: SIDE, height: SIDE, rgb };
    GalleryPair {
        exposure,
        original: picture(original),
        reconstruction: picture(reconstruction),
        psnr,
        ssim: Some(ssim(psnr)),
    }
}
