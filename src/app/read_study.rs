//! `privynet show` and `privynet report`: what a finished study holds, again.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::compare::quoted;
use super::live::Live;
use super::output::emit;
use super::report_view;
use super::{AppError, Output, exit};
use crate::cli::{FolderArgs, ReportArgs, ShowArgs};
use crate::measurement::Metric;
use crate::plain;
use crate::record::{DesignRecord, RECORD_FILE, RECORD_VERSION, Record};
use crate::report;
use crate::search::Status;
use crate::solver::pareto_front;
use crate::store::StudyReader;
use crate::suggest::did_you_mean;

/// What makes a folder a study.
const HEADER: &str = "study.json";

/// Most studies that are named where another was meant.
const MOST_NAMED: usize = 8;

/// The study's folder: `study` itself where it is one, else the folder of that name under `--results`.
///
/// # Errors
/// [`AppError::Study`] where neither is one, with the studies that there are.
pub(super) fn folder(study: &Path, folders: &FolderArgs) -> Result<PathBuf, AppError> {
    let named = folders.results.join(study);
    if let Some(dir) = [study.to_owned(), named.clone()].into_iter().find(|dir| dir.join(HEADER).is_file()) {
        return Ok(dir);
    }
    let known: Vec<String> = studies(&folders.results).into_iter().map(|(name, _)| name).collect();
    let meant = did_you_mean(&study.to_string_lossy(), known.iter().map(String::as_str));
    let there = match known.len() {
        0 => format!("{} holds none yet: `privynet optimize BUDGET.yaml` makes one", folders.results.display()),
        count => {
            let more = if count > MOST_NAMED { ", …" } else { "" };
            format!("{} holds {}{more}", folders.results.display(), known[..count.min(MOST_NAMED)].join(", "))
        }
    };
    let problem = format!("no study is here{meant}; {there}; `--results DIR` names another folder");
    Err(AppError::Study { path: named, problem })
}

/// The studies in the folder `results`, by name.
pub(super) fn studies(results: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(results)
        .map(|entries| entries.filter_map(Result::ok).collect())
        .unwrap_or_else(|_| Vec::new());
    let folders = entries.into_iter().map(|entry| entry.path()).filter(|path| path.join(HEADER).is_file());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut studies: Vec<_> = folders.filter_map(|path| Some((name(&path)?, path))).collect();
    studies.sort();
    studies
}

/// The name by which commands call the study in `dir`.
pub(super) fn folder_name(dir: &Path) -> String {
    plain::line(&dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy()).to_string()
}

/// The study's conclusion, where it has one that can be read.
pub(super) fn conclusion(dir: &Path) -> Option<Record> {
    open(dir).ok().map(|(_, record)| record)
}

/// The study in `dir` with its conclusion.
pub(super) fn open(dir: &Path) -> Result<(StudyReader, Record), AppError> {
    let reader = StudyReader::open(dir)?;
    let problem = |problem: &str| AppError::Study { path: dir.to_owned(), problem: problem.to_owned() };
    let again = "run the study's `privynet optimize` command again: it writes the conclusion anew, from the journal";
    let bytes = reader.load_object(RECORD_FILE, "version", again)?.ok_or_else(|| match Live::read(dir).is_some_and(|live| live.is_believable()) {
        true => problem(&format!(
            "the study is still running: `privynet watch {}` follows it, and its page shows what was measured so far",
            dir.file_name().unwrap_or_default().display()
        )),
        false => problem(&format!(
            "the study has no conclusion yet: run its `privynet optimize` command to the end (it resumes); `privynet watch {} --once` tells \
             what was measured so far",
            dir.file_name().unwrap_or_default().display()
        )),
    })?;
    let unreadable = |error: serde_json::Error| {
        problem(&format!("its conclusion can't be read ({error}): run `privynet optimize` again"))
    };
    // The version first: another version's fields are others.
    let Versioned { version } = serde_json::from_slice(&bytes).map_err(unreadable)?;
    if version != RECORD_VERSION {
        return Err(problem("its conclusion is of another version: run `privynet optimize` again"));
    }
    if !may_hold_commands(&bytes) {
        return Ok((reader, serde_json::from_slice(&bytes).map_err(unreadable)?));
    }
    let mut value = serde_json::from_slice(&bytes).map_err(unreadable)?;
    plain::clean(&mut value);
    Ok((reader, serde_json::from_value(value).map_err(unreadable)?))
}

/// Whether JSON may hold characters that are no text. A study may come from others, and its names end up in lines and pages.
fn may_hold_commands(json: &[u8]) -> bool {
    json.contains(&b'\\')
        || std::str::from_utf8(json).is_ok_and(|text| text.contains(|c| plain::is_command(c) && c != '\n'))
}

/// Of a conclusion what every version has.
#[derive(serde::Deserialize)]
struct Versioned {
    version: u32,
}

/// Writes the report of the study in `dir` under `reports`; returns the page's path.
pub(super) fn write_report(dir: &Path, reports: &Path) -> Result<PathBuf, AppError> {
    let (reader, record) = open(dir)?;
    let view = report_view::view(&reader, &record)?;
    Ok(report::write(&view, &report_folder(dir, reports))?.page)
}

/// The report's folder, named as the study's is: a copy of a study has a report of its own.
pub(super) fn report_folder(dir: &Path, reports: &Path) -> PathBuf {
    reports.join(dir.file_name().unwrap_or(dir.as_os_str()))
}

pub(super) fn report(args: &ReportArgs, output: Output) -> Result<u8, AppError> {
    let dir = folder(&args.study, &args.folders)?;
    let page = write_report(&dir, &args.folders.reports)?;
    output.summary("report", || json!({ "study": dir, "report": page }), || page.display().to_string());
    Ok(exit::DONE)
}

pub(super) fn show(args: &ShowArgs, output: Output) -> Result<u8, AppError> {
    let (_, record) = open(&folder(&args.study, &args.folders)?)?;
    let known = |d: &&DesignRecord| {
        d.order.is_some() || record.verdict(&d.id).is_some() || output.json && !d.screened.is_empty()
    };
    let mut designs: Vec<&DesignRecord> = record.designs.iter().filter(known).collect();
    if args.pareto {
        // What verification refuted is no choice; what was chosen is shown, whatever others are expected to reach.
        designs.retain(|d| record.verdict(&d.id).is_none_or(|verdict| verdict.holds));
        let chosen = designs.iter().copied().find(|d| record.chosen.as_ref() == Some(&d.id));
        let value = |d, metric| record.on_verification_scale(d, metric).map_or(f64::NAN, |(value, _)| value);
        let points: Vec<(f64, f64)> =
            designs.iter().map(|&d| (value(d, Metric::Accuracy), value(d, Metric::PsnrMean))).collect();
        let front = pareto_front(&points).into_iter().map(|i| designs[i]);
        let others = front.filter(|d| chosen.is_none_or(|chosen| chosen.id != d.id));
        designs = chosen.into_iter().chain(others).collect();
    } else {
        designs.sort_by_key(|d| d.order);
    }
    if output.json {
        let rows: Vec<_> = designs.iter().map(|d| object(&record, d)).collect();
        let object =
            json!({ "study": record.study, "status": record.status, "chosen": record.chosen, "designs": rows });
        emit("designs", object);
    } else if args.csv {
        csv(&record, &designs);
    } else {
        table(&record, &designs, args.pareto);
    }
    Ok(exit::DONE)
}

fn object(record: &Record, d: &DesignRecord) -> serde_json::Value {
    let verdict = record.verdict(&d.id);
    let standing = record.standing(d);
    json!({
        "design": d.id, "split": d.design.split, "depth": d.design.channels.depth(),
        "selection": d.selection, "cost": d.cost, "standing": standing, "meets_budgets": standing.is_good(),
        "probability": d.probability, "measured": d.measured, "screened": d.screened, "expected": d.expected,
        "verification": verdict.map(|v| json!({
            "protocol": v.fidelity, "converged": v.converged, "figures": v.figures, "objections": v.objections,
        })),
        "reason": d.reason,
    })
}

fn csv(record: &Record, designs: &[&DesignRecord]) {
    println!(
        "design,split,depth,selection,macs,bytes,peak_memory,upload_bytes,standing,accuracy_verified,psnr_mean_upper,\
         psnr_p95_upper,ssim_mean_upper,accuracy_expected,psnr_mean_expected,psnr_p95_expected,ssim_mean_expected,\
         search_protocol,searched_accuracy,searched_psnr_mean,searched_psnr_p95,searched_psnr_max,searched_ssim_mean,\
         meets_budgets"
    );
    let text = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    for d in designs {
        let shown = [Metric::Accuracy, Metric::PsnrMean, Metric::PsnrP95, Metric::SsimMean];
        let verified = shown.map(|metric| {
            let figure = record.verdict(&d.id).and_then(|v| v.figure(metric));
            text(figure.and_then(|f| if metric == Metric::Accuracy { Some(f.value) } else { f.upper }))
        });
        let expected = shown.map(|metric| text(d.expected(metric).map(|p| p.value)));
        let searched = SEARCHED.map(|metric| text(d.measured(metric).map(|row| row.value)));
        let standing = record.standing(d);
        println!(
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            d.id,
            quoted(&d.design.split),
            d.design.channels.depth(),
            quoted(&d.selection),
            d.cost.macs,
            d.cost.bytes,
            d.cost.peak_memory,
            d.cost.upload_bytes,
            standing.name(),
            verified.join(","),
            expected.join(","),
            record.provenance.protocols[0],
            searched.join(","),
            standing.is_good()
        );
    }
}

/// Figures of the search's short trainings.
const SEARCHED: [Metric; 5] = [Metric::Accuracy, Metric::PsnrMean, Metric::PsnrP95, Metric::PsnrMax, Metric::SsimMean];

fn table(record: &Record, designs: &[&DesignRecord], pareto: bool) {
    println!(
        "{}: {:?}{}",
        record.study,
        record.status,
        if pareto { ", designs that no other beats in accuracy and mean PSNR" } else { "" }
    );
    println!(
        "  Leakage is the upper limit that verification found or, marked ~, is expected to find: no claim.\n  \
         `PSNR short` is what the search's short trainings ({}) found: it underestimates leakage.",
        record.provenance.protocols[0]
    );
    println!(
        "{:<24} {:<16} {:>8} {:>15} {:>14} {:>11}  budget",
        "design", "selection", "accuracy", "PSNR mean", "PSNR p95", "PSNR short"
    );
    for d in designs {
        let cell = |metric: Metric| {
            let claimed = record.verdict(&d.id).and_then(|v| v.figure(metric));
            let claimed = claimed.is_some_and(|f| metric == Metric::Accuracy || f.upper.is_some());
            match record.on_verification_scale(d, metric) {
                Some((value, _)) if claimed => metric.text(value),
                Some((value, _)) => format!("~{}", metric.text(value)),
                None => "–".to_owned(),
            }
        };
        let short = d.measured(Metric::PsnrMean);
        let short = short.map_or_else(|| "–".to_owned(), |row| Metric::PsnrMean.text(row.value));
        let mut selection = d.selection.clone();
        if selection.chars().count() > 16 {
            selection = selection.chars().take(15).chain(['…']).collect();
        }
        println!(
            "{:<24} {:<16} {:>8} {:>15} {:>14} {:>11}  {}{}",
            d.id.as_str(),
            selection,
            cell(Metric::Accuracy),
            cell(Metric::PsnrMean),
            cell(Metric::PsnrP95),
            short,
            record.standing(d).name(),
            match (record.chosen.as_ref() == Some(&d.id), record.status) {
                (false, _) => "",
                (true, Status::Verified) => " ← chosen",
                (true, _) => " ← nearest",
            }
        );
    }
}
