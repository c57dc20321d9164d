//! `privynet schema`, `completions` and `man`: what editors, shells and `man` need to know of this program.

use std::path::{Path, PathBuf};

use clap_mangen::Man;
use serde_json::json;

use super::{AppError, Output, exit, output};
use crate::cli::{Cli, CompletionsArgs, ManArgs, SchemaArgs};
use crate::config;

pub(super) fn schema(args: &SchemaArgs) -> Result<u8, AppError> {
    match args.of.file() {
        Some(kind) => println!("{:#}", config::schema(kind)),
        None => print!("{}", output::SCHEMA),
    }
    Ok(exit::DONE)
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8, AppError> {
    let mut command = Cli::described();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut std::io::stdout());
    Ok(exit::DONE)
}

pub(super) fn man(args: &ManArgs, output: Output) -> Result<u8, AppError> {
    let refused = |path: &Path, error: std::io::Error| AppError::Flag {
        flag: "out",
        value: path.display().to_string(),
        problem: format!("cannot be written ({error}): name a folder that can"),
    };
    std::fs::create_dir_all(&args.out).map_err(|error| refused(&args.out, error))?;
    let mut command = Cli::described();
    // What a subcommand inherits, and its full name, are worked out here.
    command.build();
    let mut pages: Vec<PathBuf> = Vec::new();
    let all = command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help").chain([&command]);
    for subcommand in all {
        let name = match subcommand.get_name() == command.get_name() {
            true => command.get_name().to_owned(),
            false => format!("{}-{}", command.get_name(), subcommand.get_name()),
        };
        let page = args.out.join(format!("{name}.1"));
        let mut text = Vec::new();
        let rendered = Man::new(subcommand.clone()).title(name.to_uppercase()).render(&mut text);
        rendered.and_then(|()| std::fs::write(&page, text)).map_err(|error| refused(&page, error))?;
        pages.push(page);
    }
    pages.sort();
    let text = || format!("{} pages in {}: `man -l {}`", pages.len(), args.out.display(), pages[0].display());
    output.summary("man", || json!({ "pages": pages }), text);
    Ok(exit::DONE)
}
