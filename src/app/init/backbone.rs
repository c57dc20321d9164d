//! Which net `privynet init` proposes, and where to split it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::AppError;
use crate::backbone::{Architecture, Backbone, BackboneFile, Layer};
use crate::cli::InitArgs;
use crate::config::{PrecisionEntry, PreprocessName};
use crate::nn::GraphOp;
use crate::onnx;
use crate::space::Cost;
use crate::units::{Bytes, Macs};

/// Weights of the repository's own space.
const OWN_WEIGHTS: &str = "spaces/fashion-mnist-vgg16/vgg16-conv1_1-conv3_3.f16.safetensors";

/// Channels that are proposed to be kept.
const DEPTHS: [usize; 4] = [4, 8, 16, 32];

/// Splits that are proposed at most.
const MOST_SPLITS: usize = 8;

/// A net, and layers to split it at.
pub(super) struct Proposal {
    file: BackboneFile,
    /// Name of what is proposed for a net that doesn't say how its images were prepared.
    preprocess: Option<PreprocessName>,
    architecture: Architecture,
    splits: Vec<&'static Layer>,
}

impl Proposal {
    /// The net that the user names, or the repository's own, split where its maps are smaller than images of `side`: shallower
    /// layers leak almost everything.
    pub(super) fn new(args: &InitArgs, side: usize) -> Result<Self, AppError> {
        let weights = weights(args.backbone.as_deref())?;
        let mut file = BackboneFile { architecture: None, weights, preprocess: None, reversed_colours: false };
        let mut preprocess = None;
        if file.is_onnx() {
            if let Some(name) = &args.architecture {
                let problem = "is for safetensors: an .onnx file brings its own architecture".to_owned();
                return Err(AppError::Flag { flag: "architecture", value: name.clone(), problem });
            }
            let entry = args.preprocess.unwrap_or_else(|| match onnx::read(&file.weights).map(|net| net.layout) {
                Ok(onnx::Layout::ChannelsLast) => PreprocessName::Unit,
                _ => PreprocessName::Imagenet,
            });
            preprocess = Some(entry);
            file.preprocess = Some(entry.preprocess());
        } else {
            let vgg16 = || Architecture::vgg16().name().to_owned();
            let known = args.architecture.clone().unwrap_or_else(vgg16);
            file.architecture = Some(known);
            preprocess = args.preprocess.or(preprocess);
            file.preprocess = args.preprocess.map(PreprocessName::preprocess);
        }
        let deepest = Backbone::deepest(&file)?;
        let architecture = file.architecture()?;
        let useful = |layer: &&&Layer| {
            let pool =
                matches!(architecture.structure().nodes()[layer.tap].op, GraphOp::Pool(_) | GraphOp::GlobalAverage);
            let smaller = architecture.shape(layer, side).is_ok_and(|shape| 2 * shape.side <= side && shape.side > 1);
            !pool && smaller && layer.out_channels >= DEPTHS[0]
        };
        let known = &architecture.layers()[..=deepest.index];
        let all: Vec<&'static Layer> = known.iter().filter(|layer| useful(&layer)).collect();
        let count = all.len().min(MOST_SPLITS);
        let splits: Vec<&'static Layer> = (0..count).map(|i| all[(2 * i + 1) * all.len() / (2 * count)]).collect();
        if splits.is_empty() {
            let names: Vec<&str> = known.iter().map(|layer| layer.name).collect();
            let problem = format!(
                "has no layer whose maps are images of {side}×{side} halved at least once; it can be split at {}",
                names.join(", ")
            );
            return Err(AppError::Flag { flag: "backbone", value: file.weights.display().to_string(), problem });
        }
        Ok(Self { file, preprocess, architecture, splits })
    }

    /// What the user should know of the net: how its images are taken to have been prepared, where the file doesn't say and he
    /// didn't either.
    pub(super) fn guess(&self, args: &InitArgs) -> Option<String> {
        let name = self.preprocess.filter(|_| args.preprocess.is_none())?.name();
        Some(format!(
            "an .onnx file doesn't say how images were prepared in its training: `{name}` is a guess, a wrong one costs accuracy; \
             set `preprocess:` or --preprocess"
        ))
    }

    /// The space's `backbone` and `splits`.
    pub(super) fn text(&self, side: usize) -> String {
        let quoted = super::quoted(&self.file.weights.display().to_string());
        let mut text = String::from("backbone:\n");
        if let Some(name) = &self.file.architecture {
            let _ = writeln!(text, "  architecture: {name}");
        }
        let _ = writeln!(text, "  weights: {quoted}");
        if let Some(name) = self.preprocess {
            let _ = writeln!(
                text,
                "  # How images were prepared in its training. A wrong one costs accuracy: imagenet (mean and spread of ImageNet's\n  \
                 # pixels), caffe (bytes less a mean), unit (0 to 1), symmetric (-1 to 1), bytes, or {{mean: [R, G, B], std: [R, G, B]}}.\n  \
                 preprocess: {}",
                name.name()
            );
        }
        text.push_str("\n# Layers after which the net may be split, and how many of their channels may be kept. In brackets: what the device\n");
        text.push_str("# computes and stores with the most channels named.\nsplits:\n");
        for layer in &self.splits {
            let depths: Vec<usize> = depths(layer).collect();
            if let Some(most) = depths.last().and_then(|&depth| self.cost(layer, side, depth)) {
                let _ =
                    writeln!(text, "  {}: {depths:?}   # ({}, {})", layer.name, Macs(most.macs.0), Bytes(most.bytes.0));
            }
        }
        text
    }

    /// What every proposed split and depth costs.
    pub(super) fn costs(&self, side: usize) -> Vec<Cost> {
        let of = |layer: &&'static Layer| {
            depths(layer).filter_map(|depth| self.cost(layer, side, depth)).collect::<Vec<_>>()
        };
        self.splits.iter().flat_map(of).collect()
    }

    /// Whether channels can be mixed at any of the splits.
    pub(super) fn mixes(&self) -> bool {
        self.splits.iter().any(|layer| layer.mixable)
    }

    fn cost(&self, layer: &Layer, side: usize, depth: usize) -> Option<Cost> {
        Cost::new(self.architecture, layer, side, depth, PrecisionEntry::default()).ok()
    }
}

fn depths(layer: &Layer) -> impl Iterator<Item = usize> {
    let width = layer.out_channels;
    DEPTHS.into_iter().filter(move |&depth| depth <= width)
}

fn weights(given: Option<&Path>) -> Result<PathBuf, AppError> {
    let path = given.unwrap_or(Path::new(OWN_WEIGHTS));
    path.canonicalize().map_err(|source| {
        let problem = match given {
            Some(_) => format!("cannot be read: {source}"),
            None => "is not in this folder: name an .onnx file, or a safetensors file, or run in privynet's repository"
                .to_owned(),
        };
        AppError::Flag { flag: "backbone", value: path.display().to_string(), problem }
    })
}
