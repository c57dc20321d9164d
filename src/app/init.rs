//! `privynet init`: a first space and budget for a folder of images, with comments that say what may be changed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{AppError, exit};
use crate::backbone::{Architecture, Backbone, BackboneError, Layer};
use crate::cli::InitArgs;
use crate::config::PrecisionEntry;
use crate::data::{SIDE_MULTIPLE, Survey};
use crate::space::Cost;
use crate::units::{Bytes, Macs};

/// Weights of the repository's own space.
const OWN_WEIGHTS: &str = "spaces/fashion-mnist-vgg16/vgg16-conv1_1-conv3_3.f16.safetensors";

/// Largest side that is proposed: what a study takes grows with its square.
const LARGEST_SIDE: usize = 64;

/// Most images that are proposed for training, validation and evaluation: minutes on two cores.
const MOST_IMAGES: [usize; 3] = [4_000, 1_000, 2_000];

/// Channels that are proposed to be kept.
const DEPTHS: [usize; 4] = [4, 8, 16, 32];

/// Layers before this one leak almost everything.
const FIRST_SPLIT: &str = "conv2_1";

pub(super) fn run(args: &InitArgs) -> Result<u8, AppError> {
    let weights = weights(args.backbone.as_deref())?;
    let deepest = deepest(&weights)?;
    let root = absolute(&args.data)?;
    let survey = Survey::of(&root)?;
    let counts = Counts::of(&survey, &root)?;
    let side = survey.side().unwrap_or_else(|| proposed_side(survey.median_side()));
    let architecture = Architecture::Vgg16;
    let first = architecture.layer(FIRST_SPLIT)?.index.min(deepest.index);
    let splits = &architecture.layers()[first..=deepest.index];
    let space = space(&survey, &counts, &weights, side, splits);
    let budget = budget(side, splits, counts.evaluation * survey.classes().len());
    std::fs::create_dir_all(&args.out).map_err(|source| written(&args.out, source))?;
    let files = [("space.yaml", space), ("budget.yaml", budget)].map(|(name, text)| (args.out.join(name), text));
    // Both or none: a file that is there is someone's work.
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
        let problem = "is there already: name another folder with --out, or remove it".to_owned();
        return Err(AppError::Flag { flag: "out", value: path.display().to_string(), problem });
    }
    for (path, text) in &files {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| written(path, source))?;
    }
    let classes = survey.classes().len();
    println!("{}: {classes} classes, images of {side}×{side}", root.display());
    println!("{} and {} are written; read their comments, then", files[0].0.display(), files[1].0.display());
    println!("  privynet check    {}", files[1].0.display());
    println!("  privynet optimize {}", files[1].0.display());
    Ok(exit::DONE)
}

fn written(path: &Path, source: std::io::Error) -> AppError {
    let problem = format!("cannot be written: {source}");
    AppError::Flag { flag: "out", value: path.display().to_string(), problem }
}

fn absolute(path: &Path) -> Result<PathBuf, AppError> {
    path.canonicalize().map_err(|source| crate::data::DataError::Read { path: path.to_owned(), source }.into())
}

fn weights(given: Option<&Path>) -> Result<PathBuf, AppError> {
    let path = given.unwrap_or(Path::new(OWN_WEIGHTS));
    path.canonicalize().map_err(|source| {
        let problem = match given {
            Some(_) => format!("cannot be read: {source}"),
            None => {
                "is not in this folder: name a safetensors file of VGG-16, or run in privynet's repository".to_owned()
            }
        };
        AppError::Flag { flag: "backbone", value: path.display().to_string(), problem }
    })
}

/// The deepest layer whose weights the file has, with all before it.
fn deepest(weights: &Path) -> Result<&'static Layer, AppError> {
    let mut found = Err(None);
    for layer in Architecture::Vgg16.layers() {
        match Backbone::load(weights, layer.name) {
            Ok(_) => found = Ok(layer),
            Err(error) => {
                found = found.map_err(|_: Option<BackboneError>| Some(error));
                break;
            }
        }
    }
    found.map_err(|error| match error {
        Some(error) => error.into(),
        None => unreachable!("the architecture has layers"),
    })
}

/// A multiple of what nets take, near the images' own side but no larger than is practical.
fn proposed_side(median: usize) -> usize {
    (median / SIDE_MULTIPLE * SIDE_MULTIPLE).clamp(2 * SIDE_MULTIPLE, LARGEST_SIDE)
}

/// Images of each class in the three parts, and those that a part leaves to the others.
struct Counts {
    training: usize,
    validation: usize,
    evaluation: usize,
    /// Left out before validation, and before evaluation.
    skipped: [usize; 2],
    /// Folders of the parts, relative to the images'.
    folders: [String; 3],
}

impl Counts {
    fn of(survey: &Survey, root: &Path) -> Result<Self, AppError> {
        let classes = survey.classes().len();
        let most = MOST_IMAGES.map(|most| (most / classes).max(1));
        let name = |path: &Path| {
            let relative = path.strip_prefix(root).unwrap_or(path).display().to_string();
            if relative.is_empty() { ".".to_owned() } else { relative }
        };
        let counts = match survey {
            Survey::Parted { training, validation: Some(validation), evaluation } => Self {
                training: training.least.min(most[0]),
                validation: validation.least.min(most[1]),
                evaluation: evaluation.least.min(most[2]),
                skipped: [0, 0],
                folders: [&training.root, &validation.root, &evaluation.root].map(|path| name(path)),
            },
            Survey::Parted { training, validation: None, evaluation } => {
                let kept = (training.least / 5).min(most[1]);
                let learnt = (training.least - kept).min(most[0]);
                Self {
                    training: learnt,
                    validation: kept,
                    evaluation: evaluation.least.min(most[2]),
                    skipped: [learnt, 0],
                    folders: [&training.root, &training.root, &evaluation.root].map(|path| name(path)),
                }
            }
            Survey::Whole(all) => {
                let (kept, judged) = ((all.least / 5).min(most[1]), (all.least / 4).min(most[2]));
                let learnt = (all.least - kept - judged).min(most[0]);
                Self {
                    training: learnt,
                    validation: kept,
                    evaluation: judged,
                    skipped: [learnt, learnt + kept],
                    folders: [&all.root, &all.root, &all.root].map(|path| name(path)),
                }
            }
        };
        if [counts.training, counts.validation, counts.evaluation].contains(&0) {
            let problem =
                "a class has too few images to learn, choose and judge by: give each at least five".to_owned();
            return Err(AppError::Flag { flag: "data", value: root.display().to_string(), problem });
        }
        Ok(counts)
    }
}

/// A text in YAML's double quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn cost(architecture: Architecture, layer: &Layer, side: usize, depth: usize) -> Cost {
    Cost::new(&architecture.layers()[..=layer.index], side, depth, PrecisionEntry::default())
}

fn space(survey: &Survey, counts: &Counts, weights: &Path, side: usize, splits: &[Layer]) -> String {
    let mut text = String::from("# The designs to choose from, and the images. Made by `privynet init`.\n\n");
    let _ = writeln!(text, "backbone:\n  architecture: vgg16\n  weights: {}\n", quoted(&weights.display().to_string()));
    text.push_str("# Layers after which the net may be split, and how many of their channels may be kept. In brackets: what the device\n");
    text.push_str("# computes and stores with the most channels named.\nsplits:\n");
    for layer in splits {
        let depths: Vec<usize> = DEPTHS.into_iter().filter(|&depth| depth <= layer.out_channels).collect();
        let most = cost(Architecture::Vgg16, layer, side, depths.last().copied().unwrap_or(1));
        let _ = writeln!(text, "  {}: {depths:?}   # ({}, {})", layer.name, Macs(most.macs.0), Bytes(most.bytes.0));
    }
    text.push_str(
        "\n# Which channels: the paper's random draws after pruning, and sets that separate the classes best, less W times what they\n\
         # leak. README, \"What a budget says\", has more.\nselections:\n  random: 1\n  pruned-random: 2\n  balanced: [0.5, 1]\n  \
         mixed-relu: [1]\n\nprecision: {weights: f16, features: f16}\n\n",
    );
    let root = match survey {
        Survey::Whole(all) => all.root.clone(),
        Survey::Parted { training, .. } => training.root.parent().unwrap_or(&training.root).to_owned(),
    };
    let _ = writeln!(text, "data:\n  format: image-folder\n  path: {}", quoted(&root.display().to_string()));
    if survey.side().is_none() {
        let _ = writeln!(
            text,
            "  resize: {{to: {side}, fit: crop}}   # the middle, at a multiple of {SIDE_MULTIPLE} pixels; twice the side takes four times as long"
        );
    }
    text.push_str(
        "  # Images of each class. More of them make a stronger attacker and a better cloud net, and take longer.\n",
    );
    let [a, b, c] = counts.folders.each_ref().map(|folder| quoted(folder));
    let skip = |count: usize| if count > 0 { format!("skip_per_class: {count}, ") } else { String::new() };
    let _ = writeln!(text, "  training:   {{folder: {a}, per_class: {}}}", counts.training);
    let _ =
        writeln!(text, "  validation: {{folder: {b}, {}per_class: {}}}", skip(counts.skipped[0]), counts.validation);
    let _ =
        writeln!(text, "  evaluation: {{folder: {c}, {}per_class: {}}}", skip(counts.skipped[1]), counts.evaluation);
    text
}

fn budget(side: usize, splits: &[Layer], evaluated: usize) -> String {
    // As much as the most demanding of the proposed designs needs: what is too much is for its owner to say.
    let costs: Vec<Cost> =
        (splits.iter()).flat_map(|layer| DEPTHS.map(|depth| cost(Architecture::Vgg16, layer, side, depth))).collect();
    let most = |of: fn(&Cost) -> u64, unit: u64| costs.iter().map(of).max().unwrap_or(0).div_ceil(unit);
    let mut text = String::from(
        "# What the device can afford and what must stay private. Made by `privynet init`: the numbers are yours to set.\n\n",
    );
    text.push_str(
        "space: space.yaml\nseed: 1\nobjective: accuracy\n\n# No design of the space needs more than this.\n",
    );
    let _ = writeln!(text, "compute: {} MMAC   # multiply-accumulates per image", most(|cost| cost.macs.0, 1_000_000));
    let _ = writeln!(text, "storage: {} MiB   # of the local net's parameters", most(|cost| cost.bytes.0, 1 << 20));
    let _ = writeln!(text, "upload: {} KiB   # of features per image", most(|cost| cost.upload_bytes.0, 1 << 10));
    let bounded = if evaluated >= 200 { "{mean: 20 dB, p95: 28 dB}" } else { "{mean: 20 dB}" };
    let _ = writeln!(
        text,
        "\nprivacy:\n  # Of an attacker's reconstructions: at 15 dB one sees what an image shows, at 25 dB details.\n  psnr: {bounded}\n  \
         confidence: 0.95\n\neffort: quick   # or standard, thorough"
    );
    text
}
