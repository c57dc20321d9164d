//! Flags of what is measured and attacked of single designs.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::help::{examples, examples_and};
use super::shared::{AssetArgs, FolderArgs, MachineArgs, ResourceArgs};
use crate::measurement::Fidelity;
use crate::space::Selection;
use crate::suggest::did_you_mean;

/// A selection by name, with a suggestion where it isn't known.
fn selection(text: &str) -> Result<Selection, String> {
    // The rule may be right, and what comes after it wrong or missing.
    let rule = text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
    const RULES: [&str; 7] = ["first", "fisher", "random", "pruned-random", "balanced", "mixed", "mixed-relu"];
    text.parse().map_err(|error: <Selection as FromStr>::Err| match RULES.contains(&rule) {
        true => error.to_string(),
        false => format!("{error}{}", did_you_mean(rule, RULES)),
    })
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
#[command(after_help = examples(&[
    ("One design", "privynet measure --space spaces/fashion-mnist-vgg16/space.yaml --split conv3_3 --depth 16"),
    ("By the numbers of its channels", "privynet measure --space S.yaml --split conv2_2 --channels 3,17,40 --protocol full --seed 1"),
    ("Twelve measurements, side by side", "privynet measure --space S.yaml --split conv3_1 --depth 8,16,32,64 --seed 0,1,2 --json"),
]))]
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
    #[arg(long, value_name = "RULE,…", value_delimiter = ',', value_parser = selection, default_value = "first", conflicts_with = "channels")]
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

/// `privynet channels`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("Which channels of conv3_3 help, and which leak?",
     "privynet channels --space spaces/fashion-mnist-vgg16/space.yaml --split conv3_3"),
]))]
pub struct ChannelsArgs {
    /// The search space's file
    #[arg(long, value_name = "FILE")]
    pub space: PathBuf,
    /// The split layer
    #[arg(long, value_name = "LAYER")]
    pub split: String,
    /// Folder for cached features
    #[arg(long, value_name = "DIR", default_value = "results", help_heading = "Folders")]
    pub results: PathBuf,
    /// Images and weights.
    #[command(flatten)]
    pub assets: AssetArgs,
    /// What computes.
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// `privynet audit`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("A study's answer, by every attack", "privynet audit fashion-mnist-vgg16-budget"),
    ("A package, as thoroughly as can be", "privynet audit package --space my-space.yaml --data ~/images --full --device cuda"),
    ("Designs by name", "privynet audit --space S.yaml --split conv2_2 --depth 16,64 --selection first"),
], "Writes a page for a reviewer and audit.json. Exit code 4 where an attack gets further than was claimed, or did not come to its \
    end."))]
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
    #[arg(long, value_name = "RULE,…", value_delimiter = ',', value_parser = selection, default_value = "first")]
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
    /// A weighted sum of what those of the above reconstruct that run; of linear, kernel and strong where it is alone
    Ensemble,
    /// White-box gradient descent on the image
    Inversion,
    /// The reference decoder by an attacker who knows the backbone, but must find out the channels, without pairs
    SecretChannels,
    /// A decoder of a shadow of the local net, by the cloud, without pairs or the local net
    Shadow,
}

/// `privynet score`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("Another attack's reconstructions", "privynet score victims reconstructions"),
], "Images are paired by file name without extension. Reconstructions should be PNG files: JPEG changes the pixels that are scored."))]
pub struct ScoreArgs {
    /// Folder of the original images
    pub originals: PathBuf,
    /// Folder of their reconstructions, of the same names and sizes
    pub reconstructions: PathBuf,
}
