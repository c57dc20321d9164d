//! Flags of what comes before a study.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::help::{examples, examples_and};
use super::shared::AssetArgs;
use crate::config::{FileKind, PreprocessName};

/// `privynet init`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("A space and a budget for these images, with the repository's own VGG-16", "privynet init --data ~/photos --out my-space"),
    ("Of one's own net", "privynet init --data ~/photos --backbone net.onnx --preprocess unit --out my-space"),
], "The folder holds CLASS/*.jpg|png|webp, or that in `train` and `test` (and `val`). Nothing is overwritten."))]
pub struct InitArgs {
    /// Folder of the images
    #[arg(long, value_name = "FOLDER")]
    pub data: PathBuf,
    /// The pre-trained net: an .onnx file, or safetensors of a known architecture; the repository's own VGG-16 where absent
    #[arg(long, value_name = "FILE", help_heading = "Net")]
    pub backbone: Option<PathBuf>,
    /// What the safetensors are of: vgg16 (as Caffe's), vgg11 to vgg19 and vgg11_bn to vgg19_bn (torchvision's), resnet18,
    /// resnet34, resnet50, mobilenet_v2, efficientnet_lite0
    #[arg(long, value_name = "NAME", requires = "backbone", help_heading = "Net")]
    pub architecture: Option<String>,
    /// How images were prepared in the net's training; of an .onnx file it isn't known and guessed
    #[arg(long, value_name = "NAME", requires = "backbone", help_heading = "Net")]
    pub preprocess: Option<PreprocessName>,
    /// Where space.yaml and budget.yaml go
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub out: PathBuf,
}

/// `privynet check`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("Is the budget valid, and what would its study do?", "privynet check my-space/budget.yaml"),
    ("The same with images elsewhere, for a script", "privynet check budget.yaml --data ~/images --json"),
], "Exit code 3 where no design fits the exact budgets."))]
pub struct CheckArgs {
    /// The budget file
    pub budget: PathBuf,
    /// Images and weights.
    #[command(flatten)]
    pub assets: AssetArgs,
}

/// `privynet schema`.
#[derive(Debug, Args)]
#[command(after_help = examples_and(&[
    ("For an editor", "privynet schema budget > budget.schema.json"),
    ("What `--json` prints", "privynet schema output"),
], "As the first line of budget.yaml, for editors with the YAML language server (VS Code's YAML extension, Neovim, Helix, …):\n  \
    # yaml-language-server: $schema=budget.schema.json\n\nFiles made by `privynet init` have both."))]
pub struct SchemaArgs {
    /// Which file, or the program's output
    #[arg(value_enum)]
    pub of: SchemaArg,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaArg {
    /// A search space: `space.yaml`
    Space,
    /// A budget: `budget.yaml`
    Budget,
    /// The budget of a `replay`
    Replay,
    /// A line that any subcommand prints with `--json`
    Output,
}

impl SchemaArg {
    /// The file; `None` for the output.
    pub fn file(self) -> Option<FileKind> {
        match self {
            Self::Space => Some(FileKind::Space),
            Self::Budget => Some(FileKind::Budget),
            Self::Replay => Some(FileKind::Replay),
            Self::Output => None,
        }
    }
}

/// `privynet completions`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("bash", "privynet completions bash > ~/.local/share/bash-completion/completions/privynet"),
    ("zsh: a folder of $fpath", "privynet completions zsh > ~/.zfunc/_privynet"),
    ("fish", "privynet completions fish > ~/.config/fish/completions/privynet.fish"),
    ("PowerShell", "privynet completions powershell >> $PROFILE"),
]))]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `privynet man`.
#[derive(Debug, Args)]
#[command(after_help = examples(&[
    ("One page a subcommand, for `man privynet-optimize`", "privynet man --out ~/.local/share/man/man1"),
]))]
pub struct ManArgs {
    /// Folder for the pages; those of an earlier version are replaced
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}
