//! `privynet` without a subcommand: what to do next, given what lies in the folder.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::live::Live;
use super::output::emit;
use super::{AppError, Output, exit, read_study};
use crate::config::BudgetFile;
use crate::exec::slurm::Folder;

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
    let mut steps = Vec::new();
    let studies = read_study::studies(&folder.join("results"));
    let (mut running, mut open, mut concluded) = (Vec::new(), Vec::new(), Vec::new());
    for (name, dir) in &studies {
        match (Live::read(dir).is_some_and(|live| live.is_believable()), read_study::conclusion(dir)) {
            (true, _) => running.push(name.as_str()),
            (false, Some(record)) => concluded.push((name.as_str(), record)),
            (false, None) => open.push((name.as_str(), dir)),
        }
    }
    for name in running.iter().take(MOST) {
        steps.push(Step {
            why: format!("The study {name} is running:"),
            commands: vec![format!("privynet watch {name}")],
        });
    }
    for (name, dir) in open.iter().take(MOST) {
        steps.extend(resume(dir).map(|command| match Folder::of(dir).has_batches() {
            true => Step {
                why: format!(
                    "The study {name} has measurements out on a cluster; how they are, and what picks them up:"
                ),
                commands: vec![format!("privynet status {name}"), command],
            },
            false => {
                Step { why: format!("The study {name} was interrupted; this resumes it:"), commands: vec![command] }
            }
        }));
    }
    for (name, record) in concluded.iter().take(MOST) {
        let mut commands = vec![format!("privynet show {name}"), format!("privynet report {name}")];
        if record.chosen_verdict().is_some_and(|verdict| verdict.holds) {
            commands.push(format!("privynet export {name} --out package"));
        }
        let status = format!("{:?}", record.status).to_lowercase();
        steps.push(Step { why: format!("The study {name} is concluded ({status}):"), commands });
    }
    if let [(first, _), (second, _), ..] = concluded[..] {
        steps.push(Step {
            why: "Several studies can be put side by side:".to_owned(),
            commands: vec![format!("privynet compare {first} {second}")],
        });
    }
    let known: Vec<&str> = studies.iter().map(|(name, _)| name.as_str()).collect();
    let budgets = budgets(folder);
    for (path, _) in budgets.iter().filter(|(_, name)| !known.contains(&name.as_str())).take(MOST) {
        let path = path.strip_prefix(folder).unwrap_or(path).display();
        steps.push(Step {
            why: format!("The budget {path} has no study yet:"),
            commands: vec![format!("privynet check    {path}"), format!("privynet optimize {path}")],
        });
    }
    if budgets.is_empty() && studies.is_empty() {
        steps.push(Step {
            why: "Here are neither a budget nor a study. A first space and budget for a folder of images (CLASS/*.jpg|png|webp):"
                .to_owned(),
            commands: vec!["privynet init --data FOLDER --out my-space".to_owned()],
        });
    }
    steps
}

/// The command that a study was begun with.
fn resume(dir: &Path) -> Option<String> {
    let reader = crate::store::StudyReader::open(dir).ok()?;
    // A table's journal has no command, and no conclusion to wait for.
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
}
