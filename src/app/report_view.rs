//! From a study on disk to what its report shows.

mod attacks;

use super::AppError;
use super::summary::{ExactUse, exact_use, relaxations};
use crate::estimate::Gallery;
use crate::exec::gallery_name;
use crate::measurement::{Fidelity, Metric};
use crate::record::{DesignRecord, Record, Standing};
use crate::report::view;
use crate::search::Status;
use crate::solver::{Front, pareto_front};
use crate::store::{Event, StudyReader};
use crate::units::{Bytes, Duration, Macs};
use crate::verify::Verdict;

/// The figures that a report shows.
const FIGURES: [(Metric, view::Metric); 5] = [
    (Metric::Accuracy, view::Metric::Accuracy),
    (Metric::PsnrMean, view::Metric::PsnrMean),
    (Metric::PsnrP95, view::Metric::PsnrP95),
    (Metric::PsnrMax, view::Metric::PsnrMax),
    (Metric::SsimMean, view::Metric::SsimMean),
];

/// The report's view of a concluded study.
pub(super) fn view(reader: &StudyReader, record: &Record) -> Result<view::StudyView, AppError> {
    let p = &record.provenance;
    Ok(view::StudyView {
        name: record.study.clone(),
        subject: format!(
            "{} on {} classes of {}×{} images; {} designs, {} within the exact budgets, {} measured{}",
            p.architecture,
            p.classes.len(),
            p.content[0],
            p.content[1],
            record.enumerated,
            record.admitted,
            record.designs.iter().filter(|d| d.order.is_some()).count(),
            match record.designs.iter().filter(|d| !d.screened.is_empty()).count() {
                0 => String::new(),
                screened => format!(", {screened} screened"),
            }
        ),
        status: match record.status {
            Status::Verified => view::Status::Verified,
            Status::Infeasible => view::Status::Infeasible,
            Status::Unverified if record.verdicts.is_empty() => view::Status::Unverified,
            Status::Unverified => view::Status::RefutedAll,
        },
        confidence: record.budgets.confidence,
        chosen: record.chosen_design().map(|design| chosen(record, design)),
        explanation: explanation(record),
        limits: view::Limits { psnr_mean_max: limit(record, Metric::PsnrMean), accuracy_min: None },
        budgets: budgets(record),
        designs: designs(record),
        floors: floors(record),
        diagnostics: diagnostics(record),
        gallery: gallery(reader, record)?,
        history: history(record),
        threat: attacks::threat(record),
        warnings: warnings(record),
        provenance: provenance(record),
    })
}

/// The record's warnings, and how figures of designs that were not verified are to be read.
fn warnings(record: &Record) -> Vec<String> {
    let mut warnings = record.warnings.clone();
    if record.designs.iter().any(|d| d.order.is_some()) {
        warnings.push(
            "Plots and tables show every design on the scale of verification: the upper limit of its leakage where it was \
             put to verification; elsewhere what the search's short trainings found on the validation images, plus what \
             verification is expected to add. Only verified figures are claims."
                .to_owned(),
        );
        if record.budgets.attacker.knows_local_net {
            warnings.push(
                "White-box inversion ran to its end on designs that were put to verification alone. In the search it took a \
                 hundred steps on eight images: at shallow splits it recovers several decibels more than is expected here."
                    .to_owned(),
            );
        }
    }
    warnings
}

fn limit(record: &Record, metric: Metric) -> Option<f64> {
    record.budgets.privacy.iter().find(|b| b.metric == metric).map(|b| b.limit)
}

/// Figures from any source that knows some of them.
fn figures(known: impl Fn(Metric) -> Option<(f64, f64)>) -> Option<view::Figures> {
    let mut figures = view::Figures::default();
    let mut any = false;
    for (metric, shown) in FIGURES {
        let Some((value, se)) = known(metric) else { continue };
        any = true;
        let slot = match shown {
            view::Metric::Accuracy => &mut figures.accuracy,
            view::Metric::PsnrMean => &mut figures.psnr_mean,
            view::Metric::PsnrP95 => &mut figures.psnr_p95,
            view::Metric::PsnrMax => &mut figures.psnr_max,
            view::Metric::SsimMean => &mut figures.ssim_mean,
        };
        *slot = Some(view::Estimate { value, se });
    }
    any.then_some(figures)
}

/// What verification is expected to find: the figures that limits are compared with.
fn expected(design: &DesignRecord) -> Option<view::Figures> {
    figures(|metric| design.expected(metric).map(|p| (p.value, p.sd)))
}

/// What the search's short trainings found.
fn searched(design: &DesignRecord) -> Option<view::Figures> {
    figures(|metric| design.measured(metric).map(|m| (m.value, m.std_error)))
}

/// A design's figures on the scale of verification: verified where it was, expected where it was only searched.
fn measured(record: &Record, design: &DesignRecord) -> Option<view::Figures> {
    let known = design.order.is_some() || record.verdict(&design.id).is_some();
    known.then(|| figures(|metric| record.on_verification_scale(design, metric))).flatten()
}

fn verified(verdict: &Verdict) -> Option<view::Figures> {
    figures(|metric| verdict.figure(metric).map(|f| (f.value, f.std_error)))
}

fn chosen(record: &Record, design: &DesignRecord) -> view::Chosen {
    let verdict = record.chosen_verdict();
    view::Chosen {
        id: design.id.to_string(),
        split: design.design.split.clone(),
        depth: design.design.channels.depth(),
        layer_channels: record.provenance.layer_channels(&design.design.split),
        selection: design.selection.clone(),
        mixed: design.design.channels.channels().is_none(),
        channels: design.design.channels.channels().unwrap_or(&[]).iter().map(|&c| usize::from(c)).collect(),
        expected: expected(design),
        measured: searched(design),
        verified: verdict.and_then(verified),
        upper: verdict.and_then(|v| figures(|metric| v.figure(metric)?.upper.map(|upper| (upper, 0.0)))),
        refuted: verdict.is_some_and(|v| !v.holds),
        ladder: verdict.map(|verdict| attacks::ladder(record, verdict)).unwrap_or_default(),
    }
}

fn explanation(record: &Record) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(binding) = &record.binding {
        sentences.push(match record.status {
            Status::Verified => format!("The leakage bound that the chosen design comes nearest to is {binding}."),
            _ => format!("The bound that binds is {binding}."),
        });
    }
    for relaxed in relaxations(record) {
        sentences.push(format!(
            "Relaxing {} to {} would bring about {:.1} points of accuracy, with design {}, by the models.",
            relaxed.metric,
            relaxed.metric.text(relaxed.limit),
            100.0 * relaxed.gain,
            relaxed.design
        ));
    }
    for verdict in record.verdicts.iter().filter(|v| !v.holds) {
        sentences.push(format!("Design {} was refuted: {}.", verdict.design, verdict.objections.join("; ")));
    }
    sentences
}

fn quantity(value: u64, show: fn(u64) -> String) -> view::Quantity {
    view::Quantity { value: value as f64, text: show(value) }
}

fn budgets(record: &Record) -> Vec<view::BudgetBar> {
    let chosen = record.chosen_design();
    let mut bars: Vec<view::BudgetBar> = chosen
        .map(|design| {
            exact_use(&record.budgets, &design.cost)
                .into_iter()
                .map(|ExactUse { name, used, limit, show }| view::BudgetBar {
                    name: name.to_owned(),
                    limit: quantity(limit, show),
                    used: Some(quantity(used, show)),
                    spare: None,
                })
                .collect()
        })
        .unwrap_or_default();
    for bound in &record.budgets.privacy {
        // Decibels have no zero that means "nothing": leakage counts from what needs no features at all.
        let nothing = match bound.metric {
            Metric::SsimMean => 0.0,
            _ => record.floors.map_or(0.0, |floors| floors.best_constant),
        };
        let shown = |value: f64| view::Quantity { value: value - nothing, text: bound.metric.text(value) };
        let figure = record.chosen_verdict().and_then(|v| v.figure(bound.metric));
        let used = figure
            .map(|f| f.upper.unwrap_or(f.value))
            .or_else(|| chosen.and_then(|d| Some(d.expected(bound.metric)?.value)));
        let left = |used: f64| {
            let text = bound.metric.text((bound.limit - used).abs());
            if used <= bound.limit { format!("{text} to spare") } else { format!("{text} over") }
        };
        let name = FIGURES.iter().find(|(metric, _)| *metric == bound.metric).map(|(_, shown)| shown.title());
        bars.push(view::BudgetBar {
            name: name.map_or_else(|| bound.metric.to_string(), str::to_owned),
            limit: shown(bound.limit),
            used: used.map(shown),
            spare: used.map(left),
        });
    }
    bars
}

fn feasibility(record: &Record, design: &DesignRecord) -> view::Feasibility {
    match record.standing(design) {
        Standing::Verified | Standing::Within => view::Feasibility::Feasible,
        Standing::Refuted | Standing::Over => view::Feasibility::Infeasible,
        Standing::Uncertain => view::Feasibility::Uncertain,
    }
}

fn designs(record: &Record) -> Vec<view::DesignRow> {
    let points: Vec<(f64, f64)> = record
        .designs
        .iter()
        .map(|d| {
            let value = |metric: Option<view::Estimate>| metric.map_or(f64::NAN, |e| e.value);
            let shown = measured(record, d).unwrap_or_default();
            (value(shown.accuracy), value(shown.psnr_mean))
        })
        .collect();
    let front = pareto_front(&points);
    (record.designs.iter().enumerate())
        .map(|(i, design)| view::DesignRow {
            id: design.id.to_string(),
            split: design.design.split.clone(),
            split_index: design.split_index,
            depth: design.design.channels.depth(),
            selection: design.selection.clone(),
            selection_kind: selection_kind(&design.selection),
            measured: measured(record, design),
            predicted: expected(design),
            probability_feasible: Some(design.probability),
            feasibility: feasibility(record, design),
            macs: quantity(design.cost.macs, |n| Macs(n).to_string()),
            bytes: quantity(design.cost.bytes, |n| Bytes(n).to_string()),
            upload: quantity(design.cost.upload_bytes, |n| Bytes(n).to_string()),
            // An attack that was cut short leaves no upper limit to compare by.
            pareto: front.contains(&i) && record.verdict(&design.id).is_none_or(|v| v.converged),
        })
        .collect()
}

/// `random` for `random-2`; the first rule where several make the design.
fn selection_kind(names: &str) -> String {
    let first = names.split('+').next().unwrap_or_default();
    first.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-').to_owned()
}

fn floors(record: &Record) -> Vec<view::Floor> {
    let Some(floors) = &record.floors else {
        return Vec::new();
    };
    [
        ("mean image", floors.best_constant),
        ("each image's mean colour", floors.mean_colour),
        ("8×8 thumbnail", floors.thumbnail),
    ]
    .into_iter()
    .map(|(name, psnr_mean)| view::Floor { name: name.to_owned(), psnr_mean })
    .collect()
}

fn diagnostics(record: &Record) -> Vec<view::Diagnostics> {
    let mut measured: Vec<&DesignRecord> = record.designs.iter().filter(|d| d.order.is_some()).collect();
    measured.sort_by_key(|d| d.order);
    record
        .diagnostics
        .iter()
        .filter_map(|d| {
            let &(_, metric) = FIGURES.iter().find(|(m, _)| *m == d.metric)?;
            // The models saw the measured designs in the order in which they were measured.
            let points = (measured.iter().filter_map(|design| Some((*design, design.measured(d.metric)?))))
                .zip(&d.predicted)
                .map(|((design, row), &(value, se))| view::LeftOut {
                    design: design.id.to_string(),
                    measured: view::Estimate { value: row.value, se: row.std_error },
                    predicted: view::Estimate { value, se },
                })
                .collect();
            Some(view::Diagnostics {
                metric,
                points,
                r2: Some(d.r2),
                rmse: d.rmse,
                coverage: d.coverage_90,
                nominal_coverage: 0.9,
            })
        })
        .collect()
}

/// The chosen design's verified reconstructions, and those of the measured design that leaks most.
fn gallery(reader: &StudyReader, record: &Record) -> Result<Vec<view::GallerySection>, AppError> {
    let mut sections = Vec::new();
    let mut add = |design: &DesignRecord, fidelity: Fidelity, seed: u64, title: String| -> Result<(), AppError> {
        let Some(bytes) = reader.load_blob(&gallery_name(&design.id, fidelity, seed))? else {
            return Ok(());
        };
        // A gallery that can't be read is left out: the figures stand without it.
        let Ok(gallery) = serde_json::from_slice::<Gallery>(&bytes) else {
            return Ok(());
        };
        for (images, attack) in [(gallery.images, "trained decoder"), (gallery.inverted, "white-box inversion")] {
            sections.push(view::GallerySection {
                title: format!("{title} ({attack})"),
                caption: format!("{fidelity} protocol, seed {seed}; images that no training saw."),
                pairs: images.into_iter().filter_map(pair).collect(),
            });
        }
        sections.retain(|section| !section.pairs.is_empty());
        Ok(())
    };
    if let Some(design) = record.chosen_design() {
        let title = format!("{} at {} channels", design.design.split, design.design.channels.depth());
        match (record.chosen_verdict(), design.measured.first()) {
            (Some(verdict), _) => {
                let strongest = strongest_seed(reader, verdict);
                if let Some(&seed) = strongest.as_ref().or(verdict.seeds.first()) {
                    add(design, verdict.fidelity, seed, format!("The chosen design: {title}"))?;
                }
            }
            (None, Some(row)) => add(design, row.fidelity, row.seed, format!("The nearest design: {title}"))?,
            (None, None) => {}
        }
    }
    let psnr = |d: &&DesignRecord| d.measured(Metric::PsnrMean).map_or(f64::NEG_INFINITY, |m| m.value);
    let leakiest = record.designs.iter().filter(|d| d.order.is_some()).max_by(|a, b| psnr(a).total_cmp(&psnr(b)));
    if let Some(design) = leakiest
        && record.chosen.as_ref() != Some(&design.id)
        && let Some(row) = design.measured.first()
    {
        let title = format!(
            "For contrast, the design that leaks most: {} at {} channels",
            design.design.split,
            design.design.channels.depth()
        );
        add(design, row.fidelity, row.seed, title)?;
    }
    Ok(sections)
}

/// The verification's seed whose attack recovered most.
fn strongest_seed(reader: &StudyReader, verdict: &Verdict) -> Option<u64> {
    let mut best: Option<(f64, u64)> = None;
    for event in reader.events() {
        let Event::Evaluation(e) = event else { continue };
        if (&e.design, e.fidelity) != (&verdict.design, verdict.fidelity) || !verdict.seeds.contains(&e.seed) {
            continue;
        }
        let found = e.measurements().iter().find(|row| row.metric == Metric::PsnrMean).map(|row| row.value);
        if let Some(value) = found
            && best.is_none_or(|(most, _)| value > most)
        {
            best = Some((value, e.seed));
        }
    }
    best.map(|(_, seed)| seed)
}

/// A picture of the gallery beside its original; `None` where bytes and size disagree.
pub(super) fn pair(image: crate::estimate::GalleryImage) -> Option<view::GalleryPair> {
    let picture = |rgb: Vec<u8>| view::Picture { width: image.width as u32, height: image.height as u32, rgb };
    let whole = image.width * image.height * 3;
    if image.original.len() != whole || image.reconstruction.len() != whole {
        return None;
    }
    Some(view::GalleryPair {
        exposure: match image.label.as_str() {
            "best" => view::Exposure::Most,
            "median" => view::Exposure::Median,
            _ => view::Exposure::Least,
        },
        psnr: image.psnr,
        ssim: Some(image.ssim),
        original: picture(image.original.clone()),
        reconstruction: picture(image.reconstruction.clone()),
    })
}

fn history(record: &Record) -> Vec<view::HistoryStep> {
    let mut measured: Vec<&DesignRecord> = record.designs.iter().filter(|d| d.order.is_some()).collect();
    measured.sort_by_key(|d| d.order);
    let mut best: Option<f64> = None;
    let mut front = FrontSoFar::new(record, &measured);
    (measured.iter().enumerate())
        .map(|(i, design)| {
            let accuracy = design.expected(Metric::Accuracy);
            if record.standing(design).is_good()
                && let Some(row) = design.expected(Metric::Accuracy)
                && best.is_none_or(|b| row.value > b)
            {
                best = Some(row.value);
            }
            view::HistoryStep {
                evaluation: i + 1,
                design: design.id.to_string(),
                phase: if design.reason.as_deref().is_some_and(|r| r.starts_with("first")) {
                    "first"
                } else {
                    "proposed"
                }
                .to_owned(),
                reason: design.reason.clone().unwrap_or_default(),
                accuracy: accuracy.map(|p| view::Estimate { value: p.value, se: p.sd }),
                feasibility: feasibility(record, design),
                best_feasible: best,
                hypervolume: front.as_mut().and_then(|front| front.with(record, design)),
                seconds: design.measured.iter().map(|m| m.seconds).fold(0.0, f64::max),
            }
        })
        .collect()
}

/// The front of accuracy against expected mean PSNR, design by design.
struct FrontSoFar {
    points: Vec<(f64, f64)>,
    /// Accuracy of guessing, and the PSNR that is no longer worth anything.
    reference: (f64, f64),
    /// Hypervolume of a design that classifies every image and leaks no more than the mean image.
    whole: f64,
}

impl FrontSoFar {
    fn new(record: &Record, measured: &[&DesignRecord]) -> Option<Self> {
        let chance = 1.0 / record.provenance.classes.len().max(1) as f64;
        let leakage = measured.iter().filter_map(|design| design.expected(Metric::PsnrMean)).map(|p| p.value);
        let worst = limit(record, Metric::PsnrMean).or(leakage.max_by(f64::total_cmp))?;
        let whole = (1.0 - chance) * (worst - record.floors?.best_constant);
        (whole > 0.0).then(|| Self { points: Vec::new(), reference: (chance, worst), whole })
    }

    /// The hypervolume once `design` is among them, as a share.
    fn with(&mut self, record: &Record, design: &DesignRecord) -> Option<f64> {
        let (accuracy, leakage) = (design.expected(Metric::Accuracy)?, design.expected(Metric::PsnrMean)?);
        if record.meets_exact_budgets(design) {
            self.points.push((accuracy.value, -leakage.value));
        }
        let front = Front::new(self.points.iter().copied(), (self.reference.0, -self.reference.1));
        Some(front.hypervolume() / self.whole)
    }
}

fn provenance(record: &Record) -> Vec<view::ProvenanceItem> {
    let p = &record.provenance;
    let [training, validation, evaluation] = p.images;
    [
        ("program", format!("privynet {}", p.version)),
        ("command", p.command.clone()),
        ("budget", p.budget_file.clone()),
        ("space", p.space_file.clone()),
        ("weights", format!("{} (BLAKE3 {:.16}…)", p.weights_file, p.weights_hash)),
        (
            "images",
            format!(
                "{training} training, {validation} validation, {evaluation} evaluation (BLAKE3 {:.16}…)",
                p.data_hash
            ),
        ),
        ("seed", p.seed.to_string()),
        (
            "protocols",
            p.screening
                .iter()
                .map(|of| format!("screening {of}"))
                .chain(p.protocols.clone())
                .collect::<Vec<_>>()
                .join(", then "),
        ),
        ("device", format!("{} on {}", p.device, p.machine)),
        ("measuring took", Duration(p.seconds).to_string()),
    ]
    .into_iter()
    .map(|(name, value)| view::ProvenanceItem { name: name.to_owned(), value })
    .collect()
}
