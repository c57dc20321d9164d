//! `privynet init`: a first space and budget for one's own images, with comments that say what may be changed.

mod backbone;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use self::backbone::Proposal;
use super::{AppError, Output, check, exit};
use crate::cli::InitArgs;
use crate::config::{self, DataFormat, FileKind};
use crate::data::{ArrayNames, CifarLabels, SIDE_MULTIPLE, Source, Survey};
use crate::space::Cost;

/// Largest side that is proposed: what a study takes grows with its square.
const LARGEST_SIDE: usize = 64;

/// Written beside the files, which name them for editors: completion then needs no network.
const SPACE_SCHEMA: &str = "space.schema.json";
const BUDGET_SCHEMA: &str = "budget.schema.json";

/// Most images that are proposed for training, validation and evaluation: minutes on two cores.
const MOST_IMAGES: [usize; 3] = [4_000, 1_000, 2_000];

pub(super) fn run(args: &InitArgs, output: Output) -> Result<u8, AppError> {
    let root = absolute(&args.data)?;
    let survey = Survey::of(&root)?;
    let counts = Counts::of(&survey, &root)?;
    let side = side(&survey);
    let net = Proposal::new(args, side)?;
    let space = space(&survey, &counts, &root, &net, side);
    let budget = budget(&net.costs(side), counts.evaluation * survey.classes().len());
    std::fs::create_dir_all(&args.out).map_err(|source| written(&args.out, source))?;
    let schema = |kind| format!("{:#}\n", config::schema(kind));
    let files = [
        ("space.yaml", space),
        ("budget.yaml", budget),
        (SPACE_SCHEMA, schema(FileKind::Space)),
        (BUDGET_SCHEMA, schema(FileKind::Budget)),
    ]
    .map(|(name, text)| (args.out.join(name), text));
    // All or none: a file that is there is someone's work.
    if let Some((path, _)) = files.iter().find(|(path, _)| path.exists()) {
        let problem = "is there already: name another folder with --out, or remove it".to_owned();
        return Err(AppError::Flag { flag: "out", value: path.display().to_string(), problem });
    }
    for (path, text) in &files {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|source| written(path, source))?;
    }
    let classes = survey.classes().len();
    let guess = net.guess(args);
    let few = check::few_images(counts.training * classes);
    let [(space, _), (budget, _), ..] = &files;
    output.summary(
        "init",
        || json!({ "space": space, "budget": budget, "data": root, "classes": classes, "image_side": side }),
        || {
            let beware: String =
                guess.into_iter().chain(few).map(|warning| format!("beware: {warning}\n")).collect();
            format!(
                "{}: {classes} classes, images of {side}×{side}\n{beware}{} and {} are written; read their comments, then\n  \
                 privynet check    {}\n  privynet optimize {}",
                root.display(),
                space.display(),
                budget.display(),
                budget.display(),
                budget.display()
            )
        },
    );
    Ok(exit::DONE)
}

fn written(path: &Path, source: std::io::Error) -> AppError {
    let problem = format!("cannot be written: {source}");
    AppError::Flag { flag: "out", value: path.display().to_string(), problem }
}

fn absolute(path: &Path) -> Result<PathBuf, AppError> {
    path.canonicalize().map_err(|source| crate::data::DataError::Read { path: path.to_owned(), source }.into())
}

/// The images' own side where nets take it; else, where images can be resized, a multiple of what nets take that is near but no
/// larger than is practical; else the side that they are to be padded to.
fn side(survey: &Survey) -> usize {
    let median = survey.median_side();
    survey.side().unwrap_or_else(|| match survey.is_encoded() {
        true => (median / SIDE_MULTIPLE * SIDE_MULTIPLE).clamp(2 * SIDE_MULTIPLE, LARGEST_SIDE),
        false => median.next_multiple_of(SIDE_MULTIPLE),
    })
}

/// Images of each class in the three parts.
struct Counts {
    training: usize,
    validation: usize,
    evaluation: usize,
}

impl Counts {
    fn of(survey: &Survey, root: &Path) -> Result<Self, AppError> {
        let classes = survey.classes().len();
        let most = MOST_IMAGES.map(|most| (most / classes).max(1));
        let counts = match survey {
            Survey::Parted { training, validation: Some(validation), evaluation } => Self {
                training: training.least.min(most[0]),
                validation: validation.least.min(most[1]),
                evaluation: evaluation.least.min(most[2]),
            },
            Survey::Parted { training, validation: None, evaluation } => {
                let validation = (training.least / 5).min(most[1]);
                Self {
                    training: (training.least - validation).min(most[0]),
                    validation,
                    evaluation: evaluation.least.min(most[2]),
                }
            }
            Survey::Whole(all) => {
                let (validation, evaluation) = ((all.least / 5).min(most[1]), (all.least / 4).min(most[2]));
                Self { training: (all.least - validation - evaluation).min(most[0]), validation, evaluation }
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

/// The comment by which editors find a file's schema.
fn modeline(schema: &str) -> String {
    format!("# yaml-language-server: $schema={schema}\n")
}

/// A text in YAML's double quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn space(survey: &Survey, counts: &Counts, root: &Path, net: &Proposal, side: usize) -> String {
    let mut text = modeline(SPACE_SCHEMA);
    text.push_str("# The designs to choose from, and the images. Made by `privynet init`.\n\n");
    text.push_str(&net.text(side));
    text.push_str(
        "\n# Which channels: the paper's random draws after pruning, and sets that separate the classes best, less W times what they\n\
         # leak. README, \"What a budget says\", has more.\nselections:\n  random: 1\n  pruned-random: 2\n  balanced: [0.5, 1]\n",
    );
    if net.mixes() {
        text.push_str("  mixed-relu: [1]   # where the split is a convolution\n");
    }
    text.push_str("\nprecision: {weights: f16, features: f16}\n\n");
    text.push_str(&data(survey, counts, root, side));
    text
}

/// The `data:` part of a space.
fn data(survey: &Survey, counts: &Counts, root: &Path, side: usize) -> String {
    let first = match survey {
        Survey::Parted { training, .. } => training,
        Survey::Whole(all) => all,
    };
    // Paths start from what holds the files: an archive itself, whose parts are arrays, or the folder that lists them.
    let root = match &first.source {
        Source::Npz { file, .. } => file,
        Source::Cifar { files, .. } | Source::Parquet { files, .. } if root.is_dir() => {
            files.first().and_then(|file| file.parent()).unwrap_or(root)
        }
        _ => root,
    };
    let mut text =
        format!("data:\n  format: {}\n  path: {}\n", format(&first.source), quoted(&root.display().to_string()));
    if let Source::Parquet { image_column, label_column, .. } = &first.source {
        let _ = writeln!(text, "  image_column: {}\n  label_column: {}", quoted(image_column), quoted(label_column));
    }
    match (survey.side(), survey.is_encoded()) {
        (Some(_), _) => {}
        (None, true) => {
            let _ = writeln!(
                text,
                "  resize: {{to: {side}, fit: crop}}   # the middle, at a multiple of {SIDE_MULTIPLE} pixels; twice the side takes four times as long"
            );
        }
        (None, false) => {
            let _ = writeln!(text, "  pad_to: {side}   # with black; figures are computed on the images themselves");
        }
    }
    let Counts { training: learnt, validation: kept, evaluation: judged } = counts;
    match survey {
        Survey::Parted { training, validation, evaluation } => {
            text.push_str(
                "  # Images of each class. More of them make a stronger attacker and a better cloud net, and take longer.\n",
            );
            let (held_out, skipped) = match validation {
                Some(validation) => (validation, String::new()),
                None => (training, format!("skip_per_class: {learnt}, ")),
            };
            let [a, b, c] = [training, held_out, evaluation].map(|found| part(&found.source, root));
            let _ = writeln!(text, "  training:   {{{a}, per_class: {learnt}}}");
            let _ = writeln!(text, "  validation: {{{b}, {skipped}per_class: {kept}}}");
            let _ = writeln!(text, "  evaluation: {{{c}, per_class: {judged}}}");
        }
        Survey::Whole(all) => {
            if matches!(all.source, Source::Npz { arrays: Some(_), .. }) {
                let _ = writeln!(text, "  whole: {{{}}}", part(&all.source, root));
            }
            let [learnt, kept, judged] = [learnt, kept, judged].map(|count| count * all.classes.len());
            text.push_str(
                "  # Images of each part, as many of each class. More of them make a stronger attacker and a better cloud net, and take\n  \
                 # longer. Another seed draws others.\n",
            );
            let _ =
                writeln!(text, "  split: {{training: {learnt}, validation: {kept}, evaluation: {judged}, seed: 1}}");
        }
    }
    text
}

/// What a space calls the format of a source.
fn format(source: &Source) -> &'static str {
    let format = match source {
        Source::Idx { .. } => DataFormat::Idx,
        Source::ImageFolder { .. } => DataFormat::ImageFolder,
        Source::Cifar { labels: CifarLabels::Ten, .. } => DataFormat::Cifar10,
        Source::Cifar { .. } => DataFormat::Cifar100,
        Source::Npz { .. } | Source::Npy { .. } => DataFormat::Npz,
        Source::Parquet { .. } => DataFormat::Parquet,
    };
    format.name()
}

/// How a space names the images of a source, relative to `root`.
fn part(source: &Source, root: &Path) -> String {
    let name = |path: &PathBuf| {
        let relative = path.strip_prefix(root).unwrap_or(path).display().to_string();
        quoted(if relative.is_empty() { "." } else { &relative })
    };
    match source {
        Source::Idx { images, labels } | Source::Npy { images, labels } => {
            format!("images: {}, labels: {}", name(images), name(labels))
        }
        Source::ImageFolder { root } => format!("folder: {}", name(root)),
        Source::Cifar { files, .. } | Source::Parquet { files, .. } => {
            format!("files: [{}]", files.iter().map(name).collect::<Vec<_>>().join(", "))
        }
        Source::Npz { arrays: Some(ArrayNames { images, labels }), .. } => {
            format!("arrays: {{images: {}, labels: {}}}", quoted(images), quoted(labels))
        }
        Source::Npz { file, arrays: None } => format!("files: [{}]", name(file)),
    }
}

fn budget(costs: &[Cost], evaluated: usize) -> String {
    // As much as the most demanding of the proposed designs needs: what is too much is for its owner to say.
    let most = |of: fn(&Cost) -> u64, unit: u64| costs.iter().map(of).max().unwrap_or(0).div_ceil(unit);
    let mut text = modeline(BUDGET_SCHEMA);
    text.push_str(
        "# What the device can afford and what must stay private. Made by `privynet init`: the numbers are yours to set.\n\n",
    );
    text.push_str(
        "space: space.yaml\nseed: 1\nobjective: accuracy\n\n# No design of the space needs more than this.\n",
    );
    let _ = writeln!(text, "compute: {} MMAC   # multiply-accumulates per image", most(|cost| cost.macs.0, 1_000_000));
    let _ = writeln!(text, "storage: {} MiB   # of the local net's parameters", most(|cost| cost.bytes.0, 1 << 20));
    let _ = writeln!(text, "upload: {} KiB   # of features per image", most(|cost| cost.upload_bytes.0, 1 << 10));
    text.push_str("# latency: {max: 5 ms, profile: device.yaml}   # once `privynet profile` ran on the device\n");
    let bounded = if evaluated >= 200 { "{mean: 20 dB, p95: 28 dB}" } else { "{mean: 20 dB}" };
    let _ = writeln!(
        text,
        "\nprivacy:\n  # Of an attacker's reconstructions: at 15 dB one sees what an image shows, at 25 dB details.\n  psnr: {bounded}\n  \
         confidence: 0.95\n\neffort: quick   # or standard, thorough"
    );
    text
}
