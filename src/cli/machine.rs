//! Flags of what is measured of a machine.

use std::path::PathBuf;

use clap::Args;

use super::help::{examples, examples_and};
use super::shared::{AssetArgs, MachineArgs};
use crate::units::Bytes;

/// `privynet bench`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("Training steps, features and designs per hour", "privynet bench"),
    ("How long a million candidates take to enumerate", "privynet bench --candidates 1000000"),
    ("How many workers this machine could drive", "privynet bench --workers 100,1000,10000"),
]))]
pub struct BenchArgs {
    /// Designs measured at once; one per thread, at most eight, where absent
    #[arg(long, short = 'j', value_name = "N")]
    pub jobs: Option<usize>,
    /// Instead: time the enumeration of a made-up space of N designs and one pass of the search over it
    #[arg(long, value_name = "N")]
    pub candidates: Option<usize>,
    /// Instead: how busy this machine as the driver would keep so many workers, with made-up measurements of a minute of which one
    /// in twenty fails
    #[arg(long, value_name = "N", value_delimiter = ',', conflicts_with = "candidates")]
    pub workers: Vec<usize>,
    /// Measurements that the workers make
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "workers")]
    pub measurements: usize,
    /// How many of them the search asks for at a time; all where absent
    #[arg(long, value_name = "N", requires = "workers")]
    pub round: Option<usize>,
    /// Size of the file that each leaves beside its figures, as reconstructions to look at are, e.g. "80 KiB"; none where absent
    #[arg(long, value_name = "SIZE", requires = "workers")]
    pub side_file: Option<Bytes>,
    /// What computes.
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// `privynet profile`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("On the device, a minute", "privynet profile --space space.yaml > device.yaml"),
    ("How well does it foretell designs that it doesn't hold?", "privynet profile --space space.yaml --against device.yaml"),
], "Needs neither images, where the space pads or resizes them or `--side` is given, nor weights, but of an ONNX file its \
    structure. A budget uses the file by `latency: {max: 5 ms, profile: device.yaml}`."))]
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
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, allow_negative_numbers = true)]
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
