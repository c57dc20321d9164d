//! Flags of the search, and of searches in tables.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::design::ProtocolArg;
use super::help::{examples, examples_and};
use super::shared::{AssetArgs, FolderArgs, MachineArgs, ResourceArgs};
use crate::config::Strategy;

/// `privynet optimize`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("The repository's example", "privynet optimize spaces/fashion-mnist-vgg16/budget.yaml"),
    ("Images and studies elsewhere, one object of JSON at the end",
     "privynet optimize my-budget.yaml --data ~/images --results /scratch/results --json"),
    ("Nothing adopted from other studies, two designs at a time", "privynet optimize my-budget.yaml --fresh --jobs 2"),
    ("On a Slurm cluster; Ctrl-C leaves its jobs", "privynet optimize my-budget.yaml --executor slurm --detach"),
], "The same command resumes what was interrupted; `privynet watch STUDY` follows it from another terminal.\n\
    Exit codes: 0 verified · 3 no design can be expected to meet the budget · 4 ended without a verified design."))]
pub struct OptimizeArgs {
    /// The budget file
    pub budget: PathBuf,
    /// Adopt nothing that other studies under --results measured on the same images and weights; what this one measured stays
    #[arg(long)]
    pub fresh: bool,
    /// Where measurements run; on the cluster where the budget describes one, else here
    #[arg(long, value_enum, value_name = "WHERE", help_heading = "Machine")]
    pub executor: Option<ExecutorArg>,
    /// On Ctrl-C leave what is queued or running on the cluster, for the next `optimize` to pick up
    #[arg(long, help_heading = "Machine")]
    pub detach: bool,
    /// Images and weights.
    #[command(flatten)]
    pub assets: AssetArgs,
    /// What computes.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// What measuring may use of the machine.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// Where measurements run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExecutorArg {
    /// On this machine
    Local,
    /// On the nodes of a Slurm cluster, as `executor.slurm` of the budget says
    Slurm,
}

/// `privynet worker`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("What the cluster runs, by hand", "privynet worker results/my-study/slurm/batches/privynet-0123456789abcdef.json --task 0"),
]))]
pub struct WorkerArgs {
    /// The batch's file in the study's folder
    pub batch: PathBuf,
    /// Which of its tasks, from 0
    #[arg(long, value_name = "N")]
    pub task: usize,
}

/// `privynet tabulate`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("Every design of a space, as results/cifar10-table/designs.parquet",
     "privynet tabulate --space spaces/cifar10-vgg16/table.yaml --data ~/cifar10 --name cifar10-table"),
]))]
pub struct TabulateArgs {
    /// The search space's file
    #[arg(long, value_name = "FILE")]
    pub space: PathBuf,
    /// Folder of the table and of its journal, under the folder of the studies
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// How much data and training
    #[arg(long, value_enum, default_value_t = ProtocolArg::Reference)]
    pub protocol: ProtocolArg,
    /// Seed of initial weights and batch order
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Folder of the studies
    #[arg(long, value_name = "DIR", default_value = "results", help_heading = "Folders")]
    pub results: PathBuf,
    /// Images and weights.
    #[command(flatten)]
    pub assets: AssetArgs,
    /// What computes.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// What measuring may use of the machine.
    #[command(flatten)]
    pub resources: ResourceArgs,
}

/// `privynet replay`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("Three searches in a table", "privynet replay table.parquet --budget replay.yaml --evaluations 40 --seed 0,1,2"),
    ("Two strategies, drawn",
     "privynet replay table.csv --budget replay.yaml --strategy model,random --brief --plot strategies.svg"),
], "Prints one JSON object a seed, a line each. Exit code 3 where a search found no design that keeps the bounds."))]
pub struct ReplayArgs {
    /// The table: .csv with a header line, or .parquet; a design a row
    pub table: PathBuf,
    /// Which columns are parameters, objectives and constraints
    #[arg(long, value_name = "FILE")]
    pub budget: PathBuf,
    /// Rows that may be looked up
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub evaluations: usize,
    /// Which rows are looked up; several are several searches; what the budget says where absent
    #[arg(long, value_enum, value_name = "NAME,…", value_delimiter = ',')]
    pub strategy: Vec<Strategy>,
    /// Rows that are looked up at a time, before the models learn of them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub round: usize,
    /// Seed of the draws; several seeds are several searches
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub seed: Vec<u64>,
    /// A table of the same designs by a cheaper protocol: the model strategy screens with it
    #[arg(long, value_name = "FILE", requires = "screening_cost", help_heading = "Screening")]
    pub screening: Option<PathBuf>,
    /// What a lookup there costs, as a share of one in the table: between 0 and 1
    #[arg(
        long,
        value_name = "SHARE",
        requires = "screening",
        allow_negative_numbers = true,
        help_heading = "Screening"
    )]
    pub screening_cost: Option<f64>,
    /// Column that names a design in both tables
    #[arg(long, value_name = "COLUMN", default_value = "design", help_heading = "Screening")]
    pub key: String,
    /// Leave the history out of what is printed
    #[arg(long, help_heading = "Output")]
    pub brief: bool,
    /// Draw what each strategy had found after each evaluation: .svg or .png
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub plot: Option<PathBuf>,
    /// Draw the searches in this file, too: lines as this command prints them, another program's for example
    #[arg(long, value_name = "FILE", requires = "plot", help_heading = "Output")]
    pub beside: Vec<PathBuf>,
    /// CPU threads; all cores where absent. Results don't depend on it
    #[arg(long, value_name = "N", help_heading = "Machine")]
    pub threads: Option<usize>,
}
