//! `privynet compare`: several studies side by side, and what of them can't be compared.

mod differences;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::output::emit;
use super::{AppError, Output, exit, read_study};
use crate::cli::CompareArgs;
use crate::measurement::Metric;
use crate::record::{DesignRecord, Record};
use crate::report::{self, ComparedPoint, ComparedStudy, Comparison};
use crate::search::Status;
use crate::solver::pareto_front;
use crate::units::{Bytes, Latency, Macs};

use differences::Difference;

/// Longest name of the folder that the page goes to.
const MOST_NAME: usize = 100;

/// A study with the name that it is compared under.
struct Subject {
    name: String,
    record: Record,
}

impl Subject {
    /// A chosen design's figure on the scale of verification, and whether it was verified.
    fn figure(&self, metric: Metric) -> Option<(f64, bool)> {
        let chosen = self.record.chosen_design()?;
        let (value, _) = self.record.on_verification_scale(chosen, metric)?;
        let claimed = self.record.chosen_verdict().and_then(|verdict| verdict.figure(metric));
        Some((value, claimed.is_some_and(|figure| metric == Metric::Accuracy || figure.upper.is_some())))
    }

    /// A figure as a cell: what is only expected is marked.
    fn cell(&self, metric: Metric) -> String {
        match self.figure(metric) {
            Some((value, true)) => metric.text(value),
            Some((value, false)) => format!("~{}", metric.text(value)),
            None => "–".to_owned(),
        }
    }

    fn status(&self) -> String {
        format!("{:?}", self.record.status).to_lowercase()
    }

    fn limits(&self) -> String {
        let budgets = &self.record.budgets;
        let exact = [
            budgets.compute.map(|n| Macs(n).to_string()),
            budgets.storage.map(|n| Bytes(n).to_string()),
            budgets.memory.map(|n| format!("{} of memory", Bytes(n))),
            budgets.upload.map(|n| format!("{} uploaded", Bytes(n))),
            budgets.latency.map(|n| Latency(n).to_string()),
        ];
        let exact = exact.into_iter().flatten();
        let leakage =
            budgets.privacy.iter().map(|bound| format!("{} {}", bound.metric, bound.metric.text(bound.limit)));
        leakage.chain(exact).collect::<Vec<_>>().join(", ")
    }

    fn answer(&self) -> String {
        self.record.chosen_design().map_or_else(
            || "–".to_owned(),
            |chosen| {
                format!("{}, {} channels ({})", chosen.design.split, chosen.design.channels.depth(), chosen.selection)
            },
        )
    }

    /// Every design that was measured or verified, by accuracy and mean PSNR on the scale of verification.
    fn points(&self) -> Vec<ComparedPoint> {
        let record = &self.record;
        let known: Vec<(&DesignRecord, f64, f64)> = record
            .designs
            .iter()
            .filter(|design| design.order.is_some() || record.verdict(&design.id).is_some())
            .filter_map(|design| {
                let value = |metric| record.on_verification_scale(design, metric).map(|(value, _)| value);
                Some((design, value(Metric::Accuracy)?, value(Metric::PsnrMean)?))
            })
            .collect();
        // What verification refuted, or left without an upper limit, is no choice.
        let open: Vec<usize> = (0..known.len())
            .filter(|&at| record.verdict(&known[at].0.id).is_none_or(|verdict| verdict.holds))
            .collect();
        let plane: Vec<(f64, f64)> = open.iter().map(|&at| (known[at].1, known[at].2)).collect();
        let front: Vec<usize> = pareto_front(&plane).into_iter().map(|at| open[at]).collect();
        let answered = record.status == Status::Verified;
        let point = |(index, &(design, accuracy, psnr_mean)): (usize, &(&DesignRecord, f64, f64))| ComparedPoint {
            design: design.id.to_string(),
            accuracy,
            psnr_mean,
            on_front: front.contains(&index),
            verified: record.verdict(&design.id).is_some_and(|verdict| verdict.holds),
            chosen: answered && record.chosen.as_ref() == Some(&design.id),
        };
        known.iter().enumerate().map(point).collect()
    }
}

pub(super) fn run(args: &CompareArgs, output: Output) -> Result<u8, AppError> {
    let subjects = args.studies.iter().map(|study| subject(study, args)).collect::<Result<Vec<_>, _>>()?;
    let twice = (1..subjects.len()).find(|&at| subjects[..at].iter().any(|other| other.name == subjects[at].name));
    if let Some(at) = twice {
        let problem = "is named twice: name studies that differ".to_owned();
        return Err(AppError::Study { path: args.studies[at].clone(), problem });
    }
    let named: Vec<(&str, &Record)> = subjects.iter().map(|s| (s.name.as_str(), &s.record)).collect();
    let differences = differences::of(&named);
    let folder = args.folders.reports.join(folder_name(&subjects));
    let files = report::write_comparison(&comparison(&subjects, &differences), &folder)?;
    if output.json {
        emit("comparison", object(&subjects, &differences, &files.page));
    } else if args.csv {
        csv(&subjects);
    } else {
        table(&subjects, &differences);
        if !output.quiet {
            println!("  report: {}", files.page.display());
        }
    }
    Ok(exit::DONE)
}

fn subject(study: &Path, args: &CompareArgs) -> Result<Subject, AppError> {
    let dir = read_study::folder(study, &args.folders)?;
    let (_, record) = read_study::open(&dir)?;
    let name = dir.file_name().map_or_else(|| record.study.clone(), |name| name.to_string_lossy().into_owned());
    Ok(Subject { name, record })
}

/// `compare-A-B`; long names are cut, and told apart by a hash.
fn folder_name(subjects: &[Subject]) -> PathBuf {
    let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
    let whole = format!("compare-{}", names.join("-"));
    if whole.chars().count() <= MOST_NAME {
        return whole.into();
    }
    let start: String = whole.chars().take(MOST_NAME - 9).collect();
    let hash = blake3::hash(names.join("\n").as_bytes()).to_hex();
    format!("{start}-{}", &hash[..8]).into()
}

fn comparison(subjects: &[Subject], differences: &[Difference]) -> Comparison {
    let limit = |subject: &Subject, metric| {
        subject.record.budgets.privacy.iter().find(|bound| bound.metric == metric).map(|bound| bound.limit)
    };
    let study = |subject: &Subject| ComparedStudy {
        name: subject.name.clone(),
        psnr_limit: limit(subject, Metric::PsnrMean),
        points: subject.points(),
        cells: cells(subject),
    };
    Comparison {
        columns: COLUMNS.to_vec(),
        studies: subjects.iter().map(study).collect(),
        warnings: differences.iter().map(Difference::text).collect(),
    }
}

/// Columns of the table, after the study's name.
const COLUMNS: [&str; 8] = ["Limits", "Status", "Answer", "Accuracy", "PSNR mean", "PSNR p95", "Compute", "Measured"];

fn cells(subject: &Subject) -> Vec<String> {
    let record = &subject.record;
    vec![
        subject.limits(),
        subject.status(),
        subject.answer(),
        subject.cell(Metric::Accuracy),
        subject.cell(Metric::PsnrMean),
        subject.cell(Metric::PsnrP95),
        record.chosen_design().map_or_else(|| "–".to_owned(), |chosen| Macs(chosen.cost.macs).to_string()),
        record.designs.iter().filter(|design| design.order.is_some()).count().to_string(),
    ]
}

fn table(subjects: &[Subject], differences: &[Difference]) {
    for difference in differences {
        println!("NOT COMPARABLE: {}", difference.text());
    }
    println!("Leakage is the upper limit that verification found or, marked ~, is expected to find: no claim.");
    let head = std::iter::once("Study").chain(COLUMNS).map(str::to_owned).collect::<Vec<_>>();
    let rows = subjects.iter().map(|subject| [vec![subject.name.clone()], cells(subject)].concat());
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    for row in &rows {
        let cells = row.iter().enumerate().map(|(at, cell)| format!("{cell:<width$}", width = width(at)));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn csv(subjects: &[Subject]) {
    println!(
        "study,status,design,split,depth,selection,accuracy,accuracy_claimed,psnr_mean,psnr_mean_claimed,psnr_p95,\
         psnr_p95_claimed,macs,bytes,upload_bytes,limit_psnr_mean,limit_psnr_p95,images,attacker,protocol"
    );
    for subject in subjects {
        let record = &subject.record;
        let chosen = record.chosen_design();
        let text = |value: Option<String>| value.unwrap_or_default();
        let mut fields = vec![
            subject.name.clone(),
            subject.status(),
            text(chosen.map(|c| c.id.to_string())),
            text(chosen.map(|c| c.design.split.clone())),
            text(chosen.map(|c| c.design.channels.depth().to_string())),
            text(chosen.map(|c| c.selection.clone())),
        ];
        for metric in [Metric::Accuracy, Metric::PsnrMean, Metric::PsnrP95] {
            let figure = subject.figure(metric);
            fields.push(text(figure.map(|(value, _)| value.to_string())));
            fields.push(text(figure.map(|(_, claimed)| claimed.to_string())));
        }
        fields.extend([
            text(chosen.map(|c| c.cost.macs.to_string())),
            text(chosen.map(|c| c.cost.bytes.to_string())),
            text(chosen.map(|c| c.cost.upload_bytes.to_string())),
        ]);
        for metric in [Metric::PsnrMean, Metric::PsnrP95] {
            let bound = record.budgets.privacy.iter().find(|bound| bound.metric == metric);
            fields.push(text(bound.map(|bound| bound.limit.to_string())));
        }
        fields.push(record.provenance.data_hash.chars().take(16).collect());
        fields.push(differences::attacker(&record.budgets.attacker));
        fields.push(record.provenance.protocols[1].clone());
        println!("{}", fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(","));
    }
}

/// A field of CSV, in quotes where it needs them.
pub(super) fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

fn object(subjects: &[Subject], differences: &[Difference], page: &Path) -> Value {
    let figure = |subject: &Subject, metric| {
        subject.figure(metric).map(|(value, claimed)| json!({ "value": value, "claimed": claimed }))
    };
    let study = |subject: &Subject| {
        let (record, chosen) = (&subject.record, subject.record.chosen_design());
        let front = subject.points().into_iter().filter(|point| point.on_front);
        let front: Vec<Value> = front
            .map(|point| json!({ "design": point.design, "accuracy": point.accuracy, "psnr_mean": point.psnr_mean }))
            .collect();
        json!({
            "study": subject.name,
            "status": record.status,
            "bounds": record.budgets.privacy,
            "confidence": record.budgets.confidence,
            "design": chosen.map(|c| json!({
                "id": c.id, "split": c.design.split, "depth": c.design.channels.depth(), "selection": c.selection,
            })),
            "cost": chosen.map(|c| c.cost),
            "accuracy": figure(subject, Metric::Accuracy),
            "psnr_mean": figure(subject, Metric::PsnrMean),
            "psnr_p95": figure(subject, Metric::PsnrP95),
            "measured": record.designs.iter().filter(|design| design.order.is_some()).count(),
            "front": front,
        })
    };
    json!({
        "studies": subjects.iter().map(study).collect::<Vec<Value>>(),
        "comparable": differences.is_empty(),
        "differences": differences.iter().map(Difference::object).collect::<Vec<Value>>(),
        "report": page,
    })
}
