//! Flags and help texts; nothing is decided here.
//!
//! Every subcommand's `--help` ends with examples, which a test parses.

mod design;
mod help;
mod machine;
mod prepare;
mod search;
mod shared;
mod study;

use clap::{CommandFactory, Parser, Subcommand};

pub use design::{AttackArg, AuditArgs, ChannelsArgs, MeasureArgs, ProtocolArg, ScoreArgs};
pub use machine::{BenchArgs, ProfileArgs};
pub use prepare::{CheckArgs, CompletionsArgs, InitArgs, ManArgs, SchemaArg, SchemaArgs};
pub use search::{ExecutorArg, OptimizeArgs, ReplayArgs, TabulateArgs, WorkerArgs};
pub use shared::{AssetArgs, ColorArg, FolderArgs, MachineArgs, OutputArgs, ResourceArgs};
pub use study::{CompareArgs, ExportArgs, FeaturesArgs, ReportArgs, ShowArgs, StatusArgs, WatchArgs};

/// Finds the local net that keeps a cloud model accurate and leaks the least.
#[derive(Debug, Parser)]
#[command(
    name = "privynet",
    version,
    about,
    styles = help::STYLES,
    long_about = "Finds the local net that keeps a cloud model accurate and leaks the least.\n\n\
        PrivyNet splits a pre-trained net: its first layers run on the device, only their features leave. \
        This program searches split layer, output channel count and channel selection for the design that \
        fits a budget of compute, storage and privacy, and verifies it with reconstruction attacks.\n\n\
        Without a subcommand it looks at the folder and says what to do next.",
    after_help = help::examples_and(&[
        ("What next, with what lies in this folder?", "privynet"),
        ("What would a study of this budget do?", "privynet check spaces/fashion-mnist-vgg16/budget.yaml"),
        ("Search, verify, report", "privynet optimize spaces/fashion-mnist-vgg16/budget.yaml"),
    ], "Exit codes: 0 done (optimize: verified) · 2 bad input · 3 no feasible design · 4 ended unverified · 130 interrupted")
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How the program speaks.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl Cli {
    /// The program's flags with all their texts: for completions and man pages.
    pub fn described() -> clap::Command {
        Self::command()
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first space and budget for a folder of images
    Init(InitArgs),
    /// Validate a budget and say what a study of it would do, without training
    Check(CheckArgs),
    /// Search, verify and report the best local net within a budget (the main job; run again to resume)
    Optimize(OptimizeArgs),
    /// Follow a running study: what runs, the best so far, the time that is left
    Watch(WatchArgs),
    /// Say how a study is doing, and what it has out on a cluster: counts, nodes, failures, time left
    Status(StatusArgs),
    /// Measure one task of a batch: what `optimize --executor slurm` runs on a cluster's nodes
    Worker(WorkerArgs),
    /// Print what a study measured
    Show(ShowArgs),
    /// Put several studies side by side: one plot, one table, and what can't be compared
    Compare(CompareArgs),
    /// Write a study's plots and page again
    Report(ReportArgs),
    /// Run every attack, the strongest too, on one design: a study's, a package's, or one by name
    Audit(AuditArgs),
    /// Write the deployable package of a study's chosen design
    Export(ExportArgs),
    /// Run an exported local net on images and write their features
    Features(FeaturesArgs),
    /// Measure single designs: accuracy of the cloud net, leakage under the decoder attack, cost
    Measure(MeasureArgs),
    /// Score each output channel of a layer in closed form: utility and leakage
    Channels(ChannelsArgs),
    /// Score reconstructed images by the program's own metrics: those of another attack, for example
    Score(ScoreArgs),
    /// Measure every design of a space once, as a table for `replay` (run again to resume)
    Tabulate(TabulateArgs),
    /// Search in a table of measurements instead of measuring: to compare strategies
    Replay(ReplayArgs),
    /// Measure what a space's local nets take on this machine, for `latency:` in a budget (run it on the device)
    Profile(ProfileArgs),
    /// Measure how fast this machine trains the nets of attack and task (half a minute)
    Bench(BenchArgs),
    /// Print the JSON Schema of a file, by which editors complete and check it, or of what `--json` prints
    Schema(SchemaArgs),
    /// Print a script that completes this program's flags in a shell
    Completions(CompletionsArgs),
    /// Write this program's man pages
    Man(ManArgs),
}

#[cfg(test)]
mod tests;
