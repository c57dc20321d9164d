//! Flags and help texts; nothing is decided here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{FileKind, Strategy};
use crate::measurement::Fidelity;
use crate::space::Selection;
use crate::units::Bytes;

/// Finds the local net that keeps a cloud model accurate and leaks the least.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    long_about = "Finds the local net that keeps a cloud model accurate and leaks the least.\n\n\
        PrivyNet splits a pre-trained net: its first layers run on the device, only their features leave. \
        This program searches split layer, output channel count and channel selection for the design that \
        fits a budget of compute, storage and privacy, and verifies it with reconstruction attacks.",
    after_help = "Start here:\n  privynet check    spaces/fashion-mnist-vgg16/budget.yaml\n  \
        privynet optimize spaces/fashion-mnist-vgg16/budget.yaml\n\n\
        Exit codes: 0 done (optimize: verified) · 2 bad input · 3 no feasible design · 4 ended unverified · 130 interrupted"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first space and budget for a folder of images
    Init(InitArgs),
    /// Print the JSON Schema of a file, by which editors complete and check it
    Schema(SchemaArgs),
    /// Validate a budget and say what a study of it would do, without training
    Check(CheckArgs),
    /// Search, verify and report the best local net within a budget (the main job; run again to resume)
    Optimize(OptimizeArgs),
    /// Measure one design: accuracy of the cloud net, leakage under the decoder attack, cost
    Measure(MeasureArgs),
    /// Measure every design of a space once, as a table for `replay` (run again to resume)
    Tabulate(TabulateArgs),
    /// Search in a table of measurements instead of measuring: to compare strategies
    Replay(ReplayArgs),
    /// Score each output channel of a layer in closed form: utility and leakage
    Channels(ChannelsArgs),
    /// Run every attack, the strongest too, on one design: a study's, a package's, or one by name
    Audit(AuditArgs),
    /// Print what a study measured
    Show(ShowArgs),
    /// Write a study's plots and page again
    Report(ReportArgs),
    /// Write the deployable package of a study's chosen design
    Export(ExportArgs),
    /// Run an exported local net on images and write their features
    Features(FeaturesArgs),
    /// Score reconstructed images by the program's own metrics: those of another attack, for example
    Score(ScoreArgs),
    /// Measure how fast this machine trains the nets of attack and task (half a minute)
    Bench(BenchArgs),
    /// Measure what a space's local nets take on this machine, for `latency:` in a budget (run it on the device)
    Profile(ProfileArgs),
}

/// Where the images and weights are, when not where the space says.
#[derive(Debug, Clone, Args)]
pub struct AssetArgs {
    /// Folder of the images, in place of the space's
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Safetensors file of the backbone, in place of the space's
    #[arg(long, value_name = "PATH")]
    pub weights: Option<PathBuf>,
}

/// `privynet init`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  privynet init --data ~/photos --out my-space\n\nThe folder holds CLASS/*.jpg|png|webp, or that in `train` and \
    `test` (and `val`). Nothing is overwritten."
)]
pub struct InitArgs {
    /// Folder of the images
    #[arg(long, value_name = "FOLDER")]
    pub data: PathBuf,
    /// The pre-trained net: an .onnx file, or safetensors of a known architecture; the repository's own VGG-16 where absent
    #[arg(long, value_name = "FILE")]
    pub backbone: Option<PathBuf>,
    /// What the safetensors are of: vgg16 (as Caffe's), vgg11 to vgg19 and vgg11_bn to vgg19_bn (torchvision's), resnet18,
    /// resnet34, resnet50, mobilenet_v2, efficientnet_lite0
    #[arg(long, value_name = "NAME", requires = "backbone")]
    pub architecture: Option<String>,
    /// How images were prepared in the net's training; of an .onnx file it isn't known and guessed
    #[arg(long, value_name = "NAME", requires = "backbone")]
    pub preprocess: Option<crate::config::PreprocessName>,
    /// Where space.yaml and budget.yaml go
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub out: PathBuf,
}

/// What computes.
#[derive(Debug, Args)]
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
pub struct FolderArgs {
    /// Folder of the studies
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Folder of the reports
    #[arg(long, value_name = "DIR", default_value = "reports")]
    pub reports: PathBuf,
}

/// What is printed.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// Print one JSON object and nothing else
    #[arg(long, conflicts_with = "quiet")]
    pub json: bool,
    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,
}

/// `privynet schema`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  privynet schema budget > budget.schema.json\n\nand as the first line of budget.yaml, for editors with the \
    YAML language server (VS Code's YAML extension, Neovim, Helix, …):\n  # yaml-language-server: $schema=budget.schema.json\n\n\
    Files made by `privynet init` have both."
)]
pub struct SchemaArgs {
    /// Which file
    #[arg(value_enum)]
    pub file: FileKind,
}

/// `privynet check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The budget file
    pub budget: PathBuf,
    /// Images and weights.
    #[command(flatten)]
    pub assets: AssetArgs,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `privynet optimize`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  privynet optimize spaces/fashion-mnist-vgg16/budget.yaml\n  \
    privynet optimize my-budget.yaml --data ~/images --results /scratch/results --json")]
pub struct OptimizeArgs {
    /// The budget file
    pub budget: PathBuf,
    /// Images and weights.
    #[command(flatten)]
    pub assets: AssetArgs,
    /// What computes.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// What measuring may use of the machine.
    #[command(flatten)]
    pub resources: ResourceArgs,
    /// Measure everything anew, even what other studies under --results measured on the same images and weights
    #[arg(long)]
    pub fresh: bool,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
    /// What is printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The protocols that `measure` offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// The published comparison protocol: small decoder, 6 and 8 epochs, all images
    Reference,
    /// What a quick study's search measures: indicative only
    Quick,
    /// What a quick study verifies with: doubled training, learning curve extended to sixteen times that
    Verification,
    /// What a standard study verifies with: strong decoder, early stopping on validation images
    Full,
}

/// `privynet measure`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  privynet measure --space spaces/fashion-mnist-vgg16/space.yaml --split conv3_3 --depth 16\n  \
    privynet measure --space S.yaml --split conv2_2 --channels 3,17,40 --protocol full --seed 1 --json\n  \
    privynet measure --space S.yaml --split conv3_1 --depth 8,16,32,64 --seed 0,1,2 --json"
)]
pub struct MeasureArgs {
    /// The search space's file
    #[arg(long, value_name = "FILE")]
    pub space: PathBuf,
    /// The split layer
    #[arg(long, value_name = "LAYER")]
    pub split: String,
    /// Keep N output channels; several numbers are several designs, measured side by side
    #[arg(long, value_name = "N,…", value_delimiter = ',', required_unless_present = "channels")]
    pub depth: Vec<usize>,
    /// Which ones: first, fisher, random-N, pruned-random-N, balanced-W, mixed-W, mixed-relu-W; several are several designs
    #[arg(long, value_name = "RULE,…", value_delimiter = ',', default_value = "first", conflicts_with = "channels")]
    pub selection: Vec<Selection>,
    /// Keep these output channels
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', conflicts_with = "depth")]
    pub channels: Vec<u16>,
    /// How much data and training
    #[arg(long, value_enum, default_value_t = ProtocolArg::Reference)]
    pub protocol: ProtocolArg,
    /// Seed of initial weights and batch order; several seeds are several measurements of each design
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub seed: Vec<u64>,
    /// Folder for cached features
    #[arg(long, value_name = "DIR", default_value = "results")]
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
    /// Print one JSON object per measurement, a line each, and nothing else
    #[arg(long)]
    pub json: bool,
}

impl From<ProtocolArg> for Fidelity {
    fn from(protocol: ProtocolArg) -> Self {
        match protocol {
            ProtocolArg::Reference => Self::Reference,
            ProtocolArg::Quick => Self::Quick,
            ProtocolArg::Verification => Self::QuickVerification,
            ProtocolArg::Full => Self::StandardVerification,
        }
    }
}

/// `privynet tabulate`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  privynet tabulate --space spaces/cifar10-vgg16/table.yaml --data ~/cifar10 --name cifar10-table"
)]
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
    #[arg(long, value_name = "DIR", default_value = "results")]
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
    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,
}

/// `privynet replay`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  privynet replay table.parquet --budget replay.yaml --evaluations 40 --strategy model --seed 0,1,2\n\n\
    Prints one JSON object a seed, a line each. Exit code 3 where a search found no design that keeps the bounds."
)]
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
    /// A table of the same designs by a cheaper protocol: the model strategy screens with it
    #[arg(long, value_name = "FILE", requires = "screening_cost")]
    pub screening: Option<PathBuf>,
    /// What a lookup there costs, as a share of one in the table: between 0 and 1
    #[arg(long, value_name = "SHARE", requires = "screening")]
    pub screening_cost: Option<f64>,
    /// Column that names a design in both tables
    #[arg(long, value_name = "COLUMN", default_value = "design")]
    pub key: String,
    /// Rows that are looked up at a time, before the models learn of them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub round: usize,
    /// Seed of the draws; several seeds are several searches
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub seed: Vec<u64>,
    /// Leave the history out of what is printed
    #[arg(long)]
    pub brief: bool,
    /// Draw what each strategy had found after each evaluation: .svg or .png
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Draw the searches in this file, too: lines as this command prints them, another program's for example
    #[arg(long, value_name = "FILE", requires = "plot")]
    pub beside: Vec<PathBuf>,
    /// CPU threads; all cores where absent. Results don't depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// `privynet channels`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  privynet channels --space spaces/fashion-mnist-vgg16/space.yaml --split conv3_3 --json"
)]
pub struct ChannelsArgs {
    /// The search space's file
    #[arg(long, value_name = "FILE")]
    pub space: PathBuf,
    /// The split layer
    #[arg(long, value_name = "LAYER")]
    pub split: String,
    /// Folder for cached features
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Images and weights.
    #[command(flatten)]
    pub assets: AssetArgs,
    /// What computes.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Print one JSON object per channel, a line each, and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `privynet audit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  privynet audit fashion-mnist-vgg16-budget\n  \
    privynet audit package --space my-space.yaml --data ~/images --full --device cuda\n  \
    privynet audit --space S.yaml --split conv2_2 --depth 16,64 --selection first\n\n\
    Writes a page for a reviewer and audit.json. Exit code 4 where an attack gets further than was claimed, or did not \
    come to its end.")]
pub struct AuditArgs {
    /// A study's name or folder, or an exported package
    #[arg(required_unless_present = "split")]
    pub subject: Option<PathBuf>,
    /// The search space's file: its images are attacked; the study's own where absent
    #[arg(long, value_name = "FILE", required_unless_present = "subject")]
    pub space: Option<PathBuf>,
    /// Audit designs at this layer
    #[arg(long, value_name = "LAYER", requires_all = ["space", "depth"], conflicts_with = "subject")]
    pub split: Option<String>,
    /// With N output channels; several numbers are several designs
    #[arg(long, value_name = "N,…", value_delimiter = ',', requires = "split")]
    pub depth: Vec<usize>,
    /// Which ones, as in `measure`
    #[arg(long, value_name = "RULE,…", value_delimiter = ',', default_value = "first")]
    pub selection: Vec<Selection>,
    /// The deepest decoders and the longest trainings: hours on a CPU
    #[arg(long)]
    pub full: bool,
    /// Multiply the deep decoders' width and epochs: more should change nothing
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub scale: u8,
    /// Attacks to run, from the first to the last; all where absent
    #[arg(long, value_name = "ATTACK,…", value_enum, value_delimiter = ',')]
    pub attacks: Vec<AttackArg>,
    /// Seed of initial weights and batch order: another than the study's
    #[arg(long, default_value_t = 4_242)]
    pub seed: u64,
    /// Images and weights.
    #[command(flatten)]
    pub assets: AssetArgs,
    /// What computes.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
    /// Print one JSON object per design, a line each, and nothing else
    #[arg(long)]
    pub json: bool,
}

/// The attacks that `audit` offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AttackArg {
    /// Convolutional ridge regression in closed form
    Linear,
    /// Kernel ridge regression from all features, in closed form
    Kernel,
    /// The reference protocol's small decoder
    Reference,
    /// A deep decoder for squared error
    Strong,
    /// A deep decoder for absolute error and structural similarity
    Perceptual,
    /// White-box gradient descent on the image
    Inversion,
    /// The reference decoder by an attacker who knows the backbone, but must find out the channels, without pairs
    SecretChannels,
    /// A decoder of a shadow of the local net, by the cloud, without pairs or the local net
    Shadow,
}

/// `privynet show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The study's name, or its folder
    pub study: PathBuf,
    /// Only designs that no other beats in both accuracy and leakage
    #[arg(long)]
    pub pareto: bool,
    /// Comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// `privynet report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The study's name, or its folder
    pub study: PathBuf,
    /// Where studies are kept.
    #[command(flatten)]
    pub folders: FolderArgs,
}

/// `privynet export`.
#[derive(Debug, Args)]
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

/// `privynet score`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  privynet score victims reconstructions\n\n\
    Images are paired by file name without extension. Reconstructions should be PNG files: JPEG changes the pixels that are \
    scored.")]
pub struct ScoreArgs {
    /// Folder of the original images
    pub originals: PathBuf,
    /// Folder of their reconstructions, of the same names and sizes
    pub reconstructions: PathBuf,
    /// Print one JSON object per image, a line each, and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `privynet bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What computes.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Designs measured at once; one per thread, at most eight, where absent
    #[arg(long, short = 'j', value_name = "N")]
    pub jobs: Option<usize>,
    /// Instead: time the enumeration of a made-up space of N designs and one pass of the search over it
    #[arg(long, value_name = "N")]
    pub candidates: Option<usize>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// `privynet profile`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  privynet profile --space space.yaml > device.yaml\n  \
    privynet profile --space space.yaml --against device.yaml\n\n\
    Needs neither images, where the space pads or resizes them or `--side` is given, nor weights, but of an ONNX file its \
    structure. A budget uses the file by `latency: {max: 5 ms, profile: device.yaml}`.")]
pub struct ProfileArgs {
    /// The search space's file
    #[arg(long, value_name = "FILE")]
    pub space: PathBuf,
    /// Side of the images in pixels, borders included; the space's own where absent
    #[arg(long, value_name = "PIXELS")]
    pub side: Option<usize>,
    /// CPU threads that a local net runs on
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub seconds: f64,
    /// Where the profile goes; printed where absent
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    pub out: Option<PathBuf>,
    /// Instead: measure designs that this profile of this machine does not hold, and say how well it foretells them
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Images and weights.
    #[command(flatten)]
    pub assets: AssetArgs,
}
