//! `privynet` without a subcommand: what to do next, given what lies in the folder.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::live::Live;
use super::output::emit;
use super::{AppError, Output, exit, read_study};
use crate::config::BudgetFile;
use crate::exec::slurm::Folder;
use crate::record::Record;

/// Most of a kind that are named.
const MOST: usize = 5;

/// How deep budgets are looked for: `spaces/NAME/budget.yaml`.
const DEEPEST: usize = 2;

/// A step that can be taken.
#[derive(Debug, PartialEq)]
struct Step {
    why: String,
    commands: Vec<String>,
}

pub(super) fn run(output: Output) -> Result<u8, AppError> {
    let steps = steps(Path::new("."));
    if output.json {
        let step = |step: &Step| json!({ "why": step.why, "commands": step.commands });
        emit("next", json!({ "steps": steps.iter().map(step).collect::<Vec<Value>>() }));
        return Ok(exit::DONE);
    }
    for Step { why, commands } in &steps {
        println!("{why}");
        for command in commands {
            println!("  {command}");
        }
        println!();
    }
    println!("`privynet --help` lists all subcommands, `privynet SUBCOMMAND --help` shows examples of one.");
    Ok(exit::DONE)
}

/// What can be done in `folder`, the likeliest first.
fn steps(folder: &Path) -> Vec<Step> {
    let studies = read_study::studies(&folder.join("results"));
    let (mut running, mut open, mut concluded) = (Vec::new(), Vec::new(), Vec::new());
    for (name, dir) in &studies {
        match (Live::read(dir).is_some_and(|live| live.is_believable()), read_study::conclusion(dir)) {
            (true, _) => running.push(name.as_str()),
            (false, Some(record)) => concluded.push((name.as_str(), record)),
            // A table's journal has no command, and no conclusion to wait for.
            (false, None) => open.extend(resume(dir).map(|command| (name.as_str(), dir, command))),
        }
    }
    let budgets = budgets(folder);
    let is_new = |(_, name): &&(PathBuf, String)| !studies.iter().any(|(known, _)| known == name);
    let shown = |path: &'_ PathBuf| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let new: Vec<String> = budgets.iter().filter(is_new).map(|(path, _)| shown(path)).collect();

    let mut steps = first("studies are running", &running, |name| name, |name| watch(name));
    steps.extend(first(
        "studies were interrupted",
        &open,
        |open| open.0,
        |(name, dir, command)| finish(name, command, Folder::of(dir).has_batches()),
    ));
    steps.extend(first("studies are concluded", &concluded, |(name, _)| name, |(name, record)| read(name, record)));
    if let [(first, _), (second, _), ..] = concluded[..] {
        steps.push(Step {
            why: "Several studies can be put side by side:".to_owned(),
            commands: vec![format!("privynet compare {first} {second}")],
        });
    }
    steps.extend(first("budgets have no study", &new, |path| path, |path| begin(path)));
    if budgets.is_empty() && studies.is_empty() {
        steps.push(Step {
            why: "Here are neither a budget nor a study. A first space and budget for a folder of images (CLASS/*.jpg|png|webp):"
                .to_owned(),
            commands: vec!["privynet init --data FOLDER --out my-space".to_owned()],
        });
    }
    steps
}

/// A step for each of the first few of `all`; the names of the others.
fn first<T>(what: &str, all: &[T], name: impl Fn(&T) -> &str, step: impl Fn(&T) -> Step) -> Vec<Step> {
    let (first, others) = all.split_at(all.len().min(MOST));
    let names: Vec<&str> = others.iter().map(name).collect();
    let others = (!names.is_empty())
        .then(|| Step { why: format!("{} more {what}: {}.", names.len(), names.join(", ")), commands: Vec::new() });
    first.iter().map(step).chain(others).collect()
}

fn watch(name: &str) -> Step {
    Step { why: format!("The study {name} is running:"), commands: vec![format!("privynet watch {name}")] }
}

fn finish(name: &str, command: &str, on_cluster: bool) -> Step {
    let command = command.to_owned();
    if on_cluster {
        let why = format!("The study {name} has measurements out on a cluster; how they are, and what picks them up:");
        return Step { why, commands: vec![format!("privynet status {name}"), command] };
    }
    Step { why: format!("The study {name} was interrupted; this resumes it:"), commands: vec![command] }
}

fn read(name: &str, record: &Record) -> Step {
    let mut commands = vec![format!("privynet show {name}"), format!("privynet report {name}")];
    if record.chosen_verdict().is_some_and(|verdict| verdict.holds) {
        commands.push(format!("privynet export {name} --out package"));
    }
    let status = format!("{:?}", record.status).to_lowercase();
    Step { why: format!("The study {name} is concluded ({status}):"), commands }
}

fn begin(budget: &str) -> Step {
    Step {
        why: format!("The budget {budget} has no study yet:"),
        commands: vec![format!("privynet check    {budget}"), format!("privynet optimize {budget}")],
    }
}

/// The command that a study was begun with.
fn resume(dir: &Path) -> Option<String> {
    let reader = crate::store::StudyReader::open(dir).ok()?;
    Some(reader.header().provenance.get("command")?.as_str()?.to_owned())
}

/// The budgets in `folder` and below it, each with its study's name.
fn budgets(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    look(folder, 0, &mut found);
    found.sort();
    found
}

fn look(folder: &Path, depth: usize, found: &mut Vec<(PathBuf, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        if is_yaml && let Ok(budget) = BudgetFile::read(&path) {
            found.push((path, budget.name));
        } else if depth < DEEPEST
            && !name.starts_with('.')
            && !["target", "results", "reports"].contains(&name.as_ref())
        {
            look(&path, depth + 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(folder: &Path) -> Vec<String> {
        steps(folder).into_iter().flat_map(|step| step.commands).collect()
    }

    #[test]
    fn an_empty_folder_wants_a_space_and_a_budget_wants_a_study() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(commands(folder.path()), ["privynet init --data FOLDER --out my-space"]);
        let space = folder.path().join("spaces/mine");
        std::fs::create_dir_all(&space).unwrap();
        std::fs::write(space.join("space.yaml"), "splits: {}\n").unwrap();
        std::fs::write(space.join("tight.yaml"), "space: space.yaml\nprivacy: {psnr: {mean: 18 dB}}\n").unwrap();
        let expected = ["privynet check    spaces/mine/tight.yaml", "privynet optimize spaces/mine/tight.yaml"];
        assert_eq!(commands(folder.path()), expected);
    }

    #[test]
    fn what_is_beyond_the_first_few_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            let text = "space: space.yaml\nprivacy: {psnr: {mean: 18 dB}}\n";
            std::fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
        }
        let steps = steps(folder.path());
        assert_eq!(steps.len(), MOST + 1);
        assert_eq!(steps[MOST].why, "2 more budgets have no study: f.yaml, g.yaml.");
    }
}
