//! `privynet show` and `privynet report`: what a finished study holds, again.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::report_view;
use super::summary::figure_text;
use super::{AppError, exit};
use crate::cli::{FolderArgs, ReportArgs, ShowArgs};
use crate::measurement::Metric;
use crate::record::{DesignRecord, RECORD_FILE, RECORD_VERSION, Record};
use crate::report;
use crate::solver::pareto_front;
use crate::store::StudyReader;

/// The study's folder: `study` itself where it is one, else the folder of that name under `--results`.
pub(super) fn folder(study: &Path, folders: &FolderArgs) -> PathBuf {
    if study.join("study.json").is_file() { study.to_owned() } else { folders.results.join(study) }
}

/// The study in `dir` with its conclusion.
pub(super) fn open(dir: &Path) -> Result<(StudyReader, Record), AppError> {
    let reader = StudyReader::open(dir)?;
    let problem = |problem: &str| AppError::Study { path: dir.to_owned(), problem: problem.to_owned() };
    let bytes = reader.load_blob(RECORD_FILE)?.ok_or_else(|| {
        problem("the study has no conclusion yet: run its `privynet optimize` command to the end (it resumes)")
    })?;
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|error| problem(&format!("its conclusion can't be read ({error}): run `privynet optimize` again")))?;
    if record.version != RECORD_VERSION {
        return Err(problem("its conclusion is of another version: run `privynet optimize` again"));
    }
    Ok((reader, record))
}

/// Writes the report of the study in `dir` under `reports`; returns the page's path.
pub(super) fn write_report(dir: &Path, reports: &Path) -> Result<PathBuf, AppError> {
    let (reader, record) = open(dir)?;
    let view = report_view::view(&reader, &record)?;
    let folder = reports.join(&record.study);
    Ok(report::write(&view, &folder)?.page)
}

pub(super) fn report(args: &ReportArgs) -> Result<u8, AppError> {
    let page = write_report(&folder(&args.study, &args.folders), &args.folders.reports)?;
    println!("{}", page.display());
    Ok(exit::DONE)
}

pub(super) fn show(args: &ShowArgs) -> Result<u8, AppError> {
    let (_, record) = open(&folder(&args.study, &args.folders))?;
    let mut designs: Vec<&DesignRecord> = record.designs.iter().filter(|d| d.order.is_some()).collect();
    if args.pareto {
        let points: Vec<(f64, f64)> = designs
            .iter()
            .map(|d| {
                let value = |m| d.measured(m).map_or(f64::NAN, |r| r.value);
                (value(Metric::Accuracy), value(Metric::PsnrMean))
            })
            .collect();
        designs = pareto_front(&points).into_iter().map(|i| designs[i]).collect();
    } else {
        designs.sort_by_key(|d| d.order);
    }
    let metrics = [Metric::Accuracy, Metric::PsnrMean, Metric::PsnrP95, Metric::PsnrMax, Metric::SsimMean];
    if args.json {
        let rows: Vec<_> = designs
            .iter()
            .map(|d| {
                json!({
                    "design": d.id, "split": d.design.split, "depth": d.design.channels.depth(),
                    "selection": d.selection, "cost": d.cost, "meets_budgets": record.meets_budgets(d),
                    "measured": d.measured, "reason": d.reason,
                })
            })
            .collect();
        println!(
            "{:#}",
            json!({ "study": record.study, "status": record.status, "chosen": record.chosen, "designs": rows })
        );
        return Ok(exit::DONE);
    }
    if args.csv {
        println!(
            "design,split,depth,selection,macs,bytes,peak_memory,upload_bytes,accuracy,psnr_mean,psnr_p95,psnr_max,ssim_mean,meets_budgets"
        );
        for d in &designs {
            let figures: Vec<String> =
                metrics.iter().map(|&m| d.measured(m).map(|r| r.value.to_string()).unwrap_or_default()).collect();
            println!(
                "{},{},{},{},{},{},{},{},{},{}",
                d.id,
                d.design.split,
                d.design.channels.depth(),
                d.selection,
                d.cost.macs,
                d.cost.bytes,
                d.cost.peak_memory,
                d.cost.upload_bytes,
                figures.join(","),
                record.meets_budgets(d)
            );
        }
        return Ok(exit::DONE);
    }
    println!(
        "{}: {:?}{}",
        record.study,
        record.status,
        if args.pareto { ", designs that no other beats in accuracy and mean PSNR" } else { "" }
    );
    println!(
        "  figures of the search's short trainings ({}): they underestimate leakage;\n  `expected` is the mean PSNR that verification would find at most; only verified figures are claims",
        record.provenance.protocols[0]
    );
    println!(
        "{:<24} {:<16} {:>8} {:>10} {:>10} {:>10} {:>7} {:>10}  budget",
        "design", "selection", "accuracy", "PSNR mean", "p95", "max", "SSIM", "expected"
    );
    for d in &designs {
        let cell = |m: Metric| d.measured(m).map_or_else(|| "–".to_owned(), |row| figure_text(m, row.value));
        let expected =
            d.expected(Metric::PsnrMean).map_or_else(|| "–".to_owned(), |p| figure_text(Metric::PsnrMean, p.value));
        let mut selection = d.selection.clone();
        if selection.chars().count() > 16 {
            selection = selection.chars().take(15).chain(['…']).collect();
        }
        println!(
            "{:<24} {:<16} {:>8} {:>10} {:>10} {:>10} {:>7} {:>10}  {}{}",
            d.id.as_str(),
            selection,
            cell(metrics[0]),
            cell(metrics[1]),
            cell(metrics[2]),
            cell(metrics[3]),
            cell(metrics[4]),
            expected,
            if record.meets_budgets(d) { "within" } else { "beyond" },
            if record.chosen.as_ref() == Some(&d.id) { " ← chosen" } else { "" }
        );
    }
    Ok(exit::DONE)
}
