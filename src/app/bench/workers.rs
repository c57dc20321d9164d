//! `privynet bench --workers N,…`: how many workers this machine could drive.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::search::peak_memory;
use crate::app::output::emit;
use crate::app::{AppError, Output, exit, interrupt};
use crate::cli::BenchArgs;
use crate::exec::scale::{Course, Plant, simulate};

/// A folder for a study that nobody wants to keep.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Where it can't be removed, the system clears its temporary files sooner or later.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the processor worked for this thread so far, seconds, where the system tells.
fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? as f64 * 1e-9)
}

pub(super) fn run(args: &BenchArgs, output: Output) -> Result<u8, AppError> {
    interrupt::install();
    if !output.json {
        println!(
            "{} made-up measurements of a minute each{}, by workers on a clock of their own; the study is written in truth, in {}",
            args.measurements,
            args.round.map_or(String::new(), |round| format!(", {round} at a time")),
            std::env::temp_dir().display(),
        );
        println!(
            "{:>8} {:>8} {:>6} {:>10} {:>9} {:>9} {:>12} {:>12} {:>9} {:>8}",
            "workers", "tries", "lost", "wall clock", "busy", "but last", "driver", "of a core", "memory", "resumes"
        );
    }
    for &workers in &args.workers {
        let plant = Plant {
            round: args.round,
            side_file: args.side_file.map_or(0, |size| size.0 as usize),
            ..Plant::new(workers, args.measurements)
        };
        let folder = Folder(std::env::temp_dir().join(format!("privynet-bench-{}", std::process::id())));
        let before = processor_seconds();
        let course = simulate(&plant, &folder.0, &|| !interrupt::requested())?;
        let processor = processor_seconds().zip(before).map(|(after, before)| after - before);
        match output.json {
            true => emit("workers", object(&plant, &course, processor)),
            false => print(&plant, &course, processor),
        }
    }
    Ok(exit::DONE)
}

fn object(plant: &Plant, course: &Course, processor: Option<f64>) -> Value {
    json!({
        "workers": plant.workers, "measurements": plant.measurements, "round": plant.round,
        "seconds_per_measurement": plant.seconds, "spread": plant.spread, "failures": plant.failures,
        "stragglers": plant.stragglers, "straggler_delay": plant.delay, "side_file_bytes": plant.side_file,
        "seed": plant.seed, "tries": course.tries, "lost": course.lost, "wall_seconds": course.wall_seconds,
        "utilisation": course.utilisation, "utilisation_before_last": course.utilisation_before_last,
        "driver_seconds": course.driver_seconds, "driver_processor_seconds": processor,
        "journal_bytes": course.journal_bytes, "reopen_seconds": course.reopen_seconds,
        "resident_bytes": course.resident_bytes, "peak_memory_bytes": peak_memory(),
    })
}

fn print(plant: &Plant, course: &Course, processor: Option<f64>) {
    let none = || "\u{2013}".to_owned();
    println!(
        "{:>8} {:>8} {:>6} {:>10} {:>7.1} % {:>7.1} % {:>9.2} ms {:>10} % {:>6} MB {:>6.1} s",
        plant.workers,
        course.tries,
        course.lost,
        crate::units::Duration(course.wall_seconds).to_string(),
        100.0 * course.utilisation,
        100.0 * course.utilisation_before_last,
        1e3 * course.driver_seconds / course.tries.max(1) as f64,
        processor.map_or_else(none, |seconds| format!("{:.2}", 100.0 * seconds / course.wall_seconds)),
        course.resident_bytes.map_or_else(none, |bytes| (bytes / 1_000_000).to_string()),
        course.reopen_seconds,
    );
}
