//! Flags of what is done with a study.

use std::path::PathBuf;

use clap::Args;

use super::help::{examples, examples_and};
use super::shared::FolderArgs;

/// `privynet watch`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("While `optimize` runs in another terminal, or on another machine that shares the folder",
     "privynet watch fashion-mnist-vgg16-budget"),
    ("A look, for a script", "privynet watch my-study --once --json"),
], "Reads alone: the study never waits for it. It ends when the study does, with the exit code of its `optimize`; 4 where nobody \
    works on a study that is not concluded."))]
pub struct WatchArgs {
    /// The study's name, or its folder
    pub study: PathBuf,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, allow_negative_numbers = true)]
    pub every: f64,
    /// Look once, and end
    #[arg(long)]
    pub once: bool,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// `privynet status`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("How far is it, and on which nodes?", "privynet status my-study"),
    ("For a script", "privynet status my-study --json"),
], "Reads the study's folder and asks the queue; the study never waits for it."))]
pub struct StatusArgs {
    /// The study's name, or its folder
    pub study: PathBuf,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// `privynet show`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("What was measured", "privynet show fashion-mnist-vgg16-budget"),
    ("Only designs that no other beats in both accuracy and leakage, as a table for other programs",
     "privynet show fashion-mnist-vgg16-budget --pareto --csv > front.csv"),
]))]
pub struct ShowArgs {
    /// The study's name, or its folder
    pub study: PathBuf,
    /// Only designs that no other beats in both accuracy and leakage
    #[arg(long)]
    pub pareto: bool,
    /// Comma-separated values
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub csv: bool,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// `privynet compare`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("Two budgets over one space", "privynet compare fashion-mnist-vgg16-budget fashion-mnist-vgg16-tight"),
    ("A table for other programs", "privynet compare budget-a budget-b budget-c --csv > studies.csv"),
], "Writes a page and its plot under reports/compare-…, and says what can't be compared: other images, attackers, protocols."))]
pub struct CompareArgs {
    /// The studies' names, or their folders; two at least
    #[arg(required = true, num_args = 2.., value_name = "STUDY")]
    pub studies: Vec<PathBuf>,
    /// Comma-separated values
    #[arg(long, conflicts_with = "json", help_heading = "Output")]
    pub csv: bool,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// `privynet report`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("Plots and page again, after an update of the program for example", "privynet report fashion-mnist-vgg16-budget"),
]))]
pub struct ReportArgs {
    /// The study's name, or its folder
    pub study: PathBuf,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// `privynet export`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("Local and cloud net as ONNX, with a manifest", "privynet export fashion-mnist-vgg16-budget --out package"),
    ("A design that is not verified, too", "privynet export my-study --out package --allow-unverified"),
]))]
pub struct ExportArgs {
    /// The study's name, or its folder
    pub study: PathBuf,
    /// A new or empty folder for the package
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Safetensors file of the backbone, where it is no longer where the study found it
    #[arg(long, value_name = "PATH")]
    pub weights: Option<PathBuf>,
    /// Export a design that is not verified too (its manifest says so)
    #[arg(long)]
    pub allow_unverified: bool,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// `privynet features`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("photo.features.npy beside the photograph", "privynet features package photo.png"),
    ("Several, into a folder", "privynet features package a.jpg b.jpg --out features"),
]))]
pub struct FeaturesArgs {
    /// An exported package
    pub package: PathBuf,
    /// JPEG, PNG or WebP files
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// Folder for the features (NumPy files); beside each image where absent
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}
