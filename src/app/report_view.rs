//! From a study on disk to what its report shows.

mod attacks;
mod channels;
mod designs;
mod gallery;
mod history;
mod provenance;

use super::AppError;
use super::summary::{ExactUse, exact_use, relaxations};
use crate::measurement::Metric;
use crate::record::{DesignRecord, Record};
use crate::report::view;
use crate::search::Status;
use crate::store::StudyReader;
use crate::verify::Verdict;
use gallery::Galleries;
pub(super) use gallery::pair;

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
    let galleries = Galleries::read(reader, record)?;
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
        live: None,
        confidence: record.budgets.confidence,
        chosen: record.chosen_design().map(|design| chosen(record, design)),
        explanation: explanation(record),
        limits: view::Limits {
            psnr_mean_max: limit(record, Metric::PsnrMean),
            psnr_p95_max: limit(record, Metric::PsnrP95),
            accuracy_min: None,
        },
        budgets: budgets(record),
        designs: designs::rows(reader, record, &galleries),
        floors: floors(record),
        diagnostics: diagnostics(record),
        gallery: galleries.sections(record),
        samples: galleries.samples(),
        channels: channels::view(record),
        history: history::steps(record),
        threat: attacks::threat(record),
        warnings: record.warnings.clone(),
        notes: notes(record),
        provenance: provenance::items(reader, record),
    })
}

/// How figures of designs that were not verified are to be read.
fn notes(record: &Record) -> Vec<String> {
    if record.designs.iter().all(|d| d.order.is_none()) {
        return Vec::new();
    }
    let scale = "Plots and tables show every design on the scale of verification: the upper limit of its leakage where it was \
                 put to verification; elsewhere, marked ~, what the search's short trainings found on the validation images, or \
                 the models predict, plus what verification is expected to add. Only verified figures are claims.";
    let inversion = "White-box inversion ran to its end on designs that were put to verification alone. In the search it took a \
                     hundred steps on eight images: at shallow splits it recovers several decibels more than is expected here.";
    let inverted = record.budgets.attacker.knows_local_net;
    [Some(scale), inverted.then_some(inversion)].into_iter().flatten().map(str::to_owned).collect()
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

/// Upper limits, where verification found them.
fn upper(verdict: &Verdict) -> Option<view::Figures> {
    figures(|metric| verdict.figure(metric)?.upper.map(|upper| (upper, 0.0)))
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
        upper: verdict.and_then(upper),
        refuted: verdict.is_some_and(|v| !v.holds),
        ladder: verdict.map(|verdict| attacks::ladder(record, verdict)).unwrap_or_default(),
    }
}

fn explanation(record: &Record) -> Vec<String> {
    let mut sentences = Vec::new();
    let title = |metric: Metric| {
        let shown = FIGURES.iter().find(|(known, _)| *known == metric);
        shown.map_or_else(|| metric.to_string(), |(_, shown)| shown.title().to_owned())
    };
    if let Some(binding) = &record.binding {
        // An exact budget is named as it is.
        let binding = binding.parse().map_or_else(|_| binding.clone(), title);
        sentences.push(match record.status {
            Status::Verified => format!("The leakage bound that the chosen design comes nearest to is {binding}."),
            _ => format!("The bound that binds is {binding}."),
        });
    }
    for relaxed in relaxations(record) {
        sentences.push(format!(
            "Relaxing {} to {} would bring about {:.1} points of accuracy, with design {}, by the models.",
            title(relaxed.metric),
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
                    known: view::Known::Exact,
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
        let expected = chosen.and_then(|d| Some(d.expected(bound.metric)?.value));
        let (used, known) = match figure.map(|f| (f.upper, f.value)) {
            Some((Some(upper), _)) => (Some(upper), view::Known::Upper),
            Some((None, reached)) => (Some(reached), view::Known::AtLeast),
            None => (expected, view::Known::Expected),
        };
        let left = |used: f64| {
            let text = bound.metric.text((bound.limit - used).abs());
            match (used <= bound.limit, known) {
                (false, _) => format!("{text} over"),
                (true, view::Known::AtLeast) => "no upper limit was found".to_owned(),
                (true, _) => format!("{text} to spare"),
            }
        };
        let name = FIGURES.iter().find(|(metric, _)| *metric == bound.metric).map(|(_, shown)| shown.title());
        bars.push(view::BudgetBar {
            name: name.map_or_else(|| bound.metric.to_string(), str::to_owned),
            limit: shown(bound.limit),
            used: used.map(shown),
            known,
            spare: used.map(left),
        });
    }
    bars
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
