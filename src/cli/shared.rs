//! Flags that several subcommands have.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::units::Bytes;

/// Where the images and weights are, when not where the space says.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Images and weights")]
pub struct AssetArgs {
    /// Folder or file of the images, in place of the space's
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Safetensors file of the backbone, in place of the space's
    #[arg(long, value_name = "PATH")]
    pub weights: Option<PathBuf>,
}

/// What computes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub struct MachineArgs {
    /// cpu, cuda or cuda:N (cuda needs a binary built with `--features cuda`)
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// CPU threads; all cores where absent. Results don't depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// What measuring may use of the machine. Results don't depend on it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub struct ResourceArgs {
    /// Designs measured at once, each with its own nets in memory; one per thread, at most eight, where absent
    #[arg(long, short = 'j', value_name = "N")]
    pub jobs: Option<usize>,
    /// What cached features may take on disk, e.g. "20 GiB"; layers that don't fit are computed whenever they are read
    #[arg(long, value_name = "SIZE")]
    pub feature_cache: Option<Bytes>,
}

/// Where studies are kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "Folders")]
pub struct FolderArgs {
    /// Folder of the studies
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Folder of the reports
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub reports: PathBuf,
}

/// How the program speaks: every subcommand has these.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Print JSON and nothing else, an object a line, errors too (`privynet schema output` describes it)
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub json: bool,
    /// Print no progress, notes or summaries: errors, and the figures that a command is there to print
    #[arg(long, short = 'q', global = true)]
    pub quiet: bool,
    /// When to colour: `auto` is on terminals, unless NO_COLOR is set; CLICOLOR_FORCE colours everywhere
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto)]
    pub color: ColorArg,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorArg {
    /// On terminals
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}
