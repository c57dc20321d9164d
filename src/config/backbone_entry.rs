//! The pre-trained net of a space.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};

use super::schema;
use crate::backbone::{Architecture, BackboneError, BackboneFile, BadName, HubFile, Preprocess};
use crate::suggest::did_you_mean;

/// The pre-trained net of a space: a known architecture with weights, or an ONNX file; either on disk (`weights`), or of the
/// Hugging Face hub (`hub`).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "keys and values such as {architecture: vgg16, weights: FILE}")]
#[schemars(extend("oneOf" = [{"required": ["weights"]}, {"required": ["hub"]}]))]
pub struct BackboneEntry {
    /// A known architecture's name; left out for an ONNX file.
    #[serde(default)]
    #[schemars(schema_with = "schema::architecture")]
    pub architecture: Option<String>,
    // Empty while the file that `hub` names is not fetched.
    /// A safetensors file, or an ONNX file.
    #[serde(default)]
    #[schemars(schema_with = "schema::weights")]
    pub weights: PathBuf,
    /// A repository of the Hugging Face hub, such as timm/resnet18.a1_in1k, in place of `weights`.
    #[schemars(example = "timm/resnet18.a1_in1k")]
    pub hub: Option<String>,
    /// Which of its files, a .safetensors or .onnx one; `model.safetensors` where absent.
    pub file: Option<String>,
    /// Its branch, tag or commit; `main` where absent. Only a commit can't change.
    pub revision: Option<String>,
    /// How pixels become the net's input; a known architecture has its own.
    pub preprocess: Option<PreprocessEntry>,
    /// The order of colours that the net takes.
    #[serde(default)]
    pub colours: ColoursEntry,
}

/// How pixels become a net's input: a usual way by name, or mean and spread of pixels from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PreprocessEntry {
    /// A usual one.
    Named(PreprocessName),
    /// `(x − mean) / std`.
    Standardising(StandardisingEntry),
}

/// Written by hand because an untagged enum would swallow the reason of a refusal, and its field.
impl<'de> Deserialize<'de> for PreprocessEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = PreprocessEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("imagenet, caffe, unit, symmetric, bytes, or {mean: [R, G, B], std: [R, G, B]}")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<PreprocessEntry, E> {
                let named = PreprocessName::deserialize(de::value::StrDeserializer::<E>::new(name));
                named.map(PreprocessEntry::Named).map_err(|_| E::invalid_value(Unexpected::Str(name), &self))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PreprocessEntry, A::Error> {
                StandardisingEntry::deserialize(MapAccessDeserializer::new(map)).map(PreprocessEntry::Standardising)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The usual ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PreprocessName {
    /// Pixels from 0 to 1 less the mean of ImageNet's, divided by their spread: torchvision's and timm's usual way
    Imagenet,
    /// Bytes, blue before green before red, less the mean of ImageNet's
    Caffe,
    /// From 0 to 1
    Unit,
    /// From -1 to 1
    Symmetric,
    /// Bytes as they are, from 0 to 255
    Bytes,
}

impl PreprocessName {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Imagenet => "imagenet",
            Self::Caffe => "caffe",
            Self::Unit => "unit",
            Self::Symmetric => "symmetric",
            Self::Bytes => "bytes",
        }
    }

    /// What it stands for.
    pub fn preprocess(self) -> Preprocess {
        match self {
            Self::Imagenet => Preprocess::IMAGENET,
            Self::Caffe => Preprocess::CAFFE,
            Self::Unit => Preprocess::UNIT,
            Self::Symmetric => Preprocess::SYMMETRIC,
            Self::Bytes => Preprocess::BYTES,
        }
    }
}

/// Mean and spread by colour, of pixels from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StandardisingEntry {
    /// Of red, green and blue.
    pub mean: [f32; 3],
    /// Of red, green and blue; positive.
    pub std: [f32; 3],
}

/// The order of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColoursEntry {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

impl BackboneEntry {
    /// The file that it names.
    pub fn file(&self) -> BackboneFile {
        BackboneFile {
            architecture: self.architecture.clone(),
            weights: self.weights.clone(),
            preprocess: self.preprocess.map(|entry| match entry {
                PreprocessEntry::Named(name) => name.preprocess(),
                PreprocessEntry::Standardising(by) => Preprocess::standardising(by.mean, by.std),
            }),
            reversed_colours: self.colours == ColoursEntry::Bgr,
        }
    }

    /// Whether its file is still to be fetched.
    fn is_remote(&self) -> bool {
        self.weights.as_os_str().is_empty()
    }

    /// Has the hub's file fetched, if `hub` names one and nothing else took its place; `progress` shows a bar.
    ///
    /// # Errors
    /// [`BackboneError::Hub`].
    pub(super) fn fetch(&mut self, progress: bool) -> Result<(), BackboneError> {
        if let Some(Ok(file)) = self.hub_file().filter(|_| self.is_remote()) {
            // What its weights are of must be known in any case: better before they are fetched.
            let named = BackboneFile { weights: file.name().into(), ..self.file() };
            if !named.is_onnx() {
                named.architecture()?;
            }
            self.weights = file.fetch(progress)?;
        }
        Ok(())
    }

    fn hub_file(&self) -> Option<Result<HubFile, BadName>> {
        let repository = self.hub.as_deref()?;
        Some(HubFile::new(repository, self.revision.as_deref(), self.file.as_deref()))
    }

    /// What makes no sense of where its file is.
    fn misplaced(&self) -> Option<(&'static str, String, &'static str)> {
        let alone = |value: &Option<String>| value.clone().filter(|_| self.hub.is_none());
        let needs_hub = "is of a repository of the hub: write `hub: OWNER/NAME` beside it, or leave it out";
        match (self.hub_file(), self.is_remote()) {
            (Some(Err(BadName { field, value, accepted })), _) => Some((field, value, accepted)),
            (Some(Ok(_)), false) => {
                Some(("weights", self.weights.display().to_string(), "beside `hub`: leave one of the two out"))
            }
            (None, true) => Some((
                "weights",
                "missing".to_owned(),
                "name a safetensors or .onnx file, or `hub: OWNER/NAME` for a repository of the Hugging Face hub",
            )),
            _ => alone(&self.file)
                .map(|file| ("file", file, needs_hub))
                .or_else(|| alone(&self.revision).map(|revision| ("revision", revision, needs_hub))),
        }
    }

    /// What is wrong with it, and the field, if anything is.
    pub(super) fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        if let Some(problem) = self.misplaced() {
            return Some(problem);
        }
        if let Some(PreprocessEntry::Standardising(StandardisingEntry { mean, std })) = self.preprocess
            && !(mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_finite() && *s > 1e-6))
        {
            return Some((
                "preprocess",
                format!("{std:?}"),
                "`std` needs three positive numbers, `mean` three numbers",
            ));
        }
        if let Some(PreprocessEntry::Standardising(StandardisingEntry { mean, .. })) = self.preprocess
            && mean.iter().any(|m| m.abs() > 2.0)
        {
            return Some((
                "preprocess",
                format!("{mean:?}"),
                "`mean` and `std` are of pixels from 0 to 1: divide them by 255",
            ));
        }
        let named = self.file.as_deref().filter(|_| self.is_remote()).map_or(self.weights.as_path(), Path::new);
        let onnx = named.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"));
        (onnx && self.architecture.is_some()).then(|| {
            let problem = "an ONNX file brings its own architecture: leave this line out";
            ("architecture", self.architecture.clone().unwrap_or_default(), problem)
        })
    }
}

/// The field that an error of the net is about.
pub(super) fn field(error: &BackboneError) -> &'static str {
    match error {
        BackboneError::UnknownArchitecture { .. } | BackboneError::NoArchitecture { .. } => "backbone.architecture",
        BackboneError::Preprocess { .. } => "backbone.preprocess",
        BackboneError::Hub(_) => "backbone.hub",
        _ => "backbone.weights",
    }
}

/// The architecture that was probably meant by one that isn't known.
pub(super) fn hint(error: &BackboneError) -> String {
    match error {
        BackboneError::UnknownArchitecture { architecture } => {
            did_you_mean(architecture, Architecture::names().iter().copied())
        }
        _ => String::new(),
    }
}
