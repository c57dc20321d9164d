//! `space.yaml`: the backbone, the designs to choose from, and the images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BackboneEntry, ConfigError, DataEntry, relative_to, schema, splits, yaml};
use crate::backbone::{Architecture, BackboneError};
use crate::data::PartsSpec;

/// A search space as written; paths are made relative to the working folder.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "PrivyNet search space", description = "The designs that a study chooses from, and the images.")]
pub struct SpaceFile {
    /// Where it was read.
    #[serde(skip)]
    pub path: PathBuf,
    /// Its text, hashed into the study's identity.
    #[serde(skip)]
    pub text: String,
    /// The pre-trained net.
    pub backbone: BackboneEntry,
    /// Where a split is allowed, and the output channel counts to try there.
    #[serde(deserialize_with = "splits::read")]
    #[schemars(schema_with = "schema::splits")]
    pub splits: BTreeMap<String, Vec<usize>>,
    /// How channels are chosen.
    pub selections: SelectionsEntry,
    /// Precision on the device and on the wire.
    #[serde(default)]
    pub precision: PrecisionEntry,
    /// The images.
    pub data: DataEntry,
}

/// Largest weight of leakage in a balanced selection.
pub const MOST_WEIGHT: f64 = 100.0;

/// Channel selections to try at every split and depth.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "keys and values such as {first: true, random: 3}")]
#[schemars(extend("minProperties" = 1))]
pub struct SelectionsEntry {
    /// The first channels in the order of the layer.
    #[serde(default)]
    pub first: bool,
    /// The best channels by Fisher's linear discriminant.
    #[serde(default)]
    pub fisher: bool,
    /// This many uniform draws.
    #[serde(default)]
    #[schemars(range(max = 1_000_000))]
    pub random: u32,
    /// This many draws from what is left once the worst channels by Fisher score are dropped.
    #[serde(default)]
    #[schemars(range(max = 1_000_000))]
    pub pruned_random: u32,
    /// For each of these weights the set that separates the classes best, less the weight times what it leaks.
    #[serde(default)]
    #[schemars(inner(range(min = 0.0, max = MOST_WEIGHT)))]
    pub balanced: Vec<f64>,
    /// For each of these weights the linear combinations of all channels that separate the classes best where what leaks
    /// counts as noise.
    #[serde(default)]
    #[schemars(inner(range(min = 0.0, max = MOST_WEIGHT)))]
    pub mixed: Vec<f64>,
    /// The same, with a ReLU after them.
    #[serde(default)]
    #[schemars(inner(range(min = 0.0, max = MOST_WEIGHT)))]
    pub mixed_relu: Vec<f64>,
}

/// Number format of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightsPrecision {
    /// Eight bits for the weights of convolutions, with a scale for each output channel, calibrated on training images; biases and
    /// scales in single precision.
    Int8,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

/// Number format of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FloatPrecision {
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

impl FloatPrecision {
    /// Bytes of one number.
    pub fn bytes(self) -> u64 {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// Precision on the device and on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "keys and values such as {weights: f16, features: f16}")]
pub struct PrecisionEntry {
    /// Of the stored parameters of the local net.
    pub weights: WeightsPrecision,
    /// Of the uploaded features.
    pub features: FloatPrecision,
}

impl Default for PrecisionEntry {
    fn default() -> Self {
        Self { weights: WeightsPrecision::F16, features: FloatPrecision::F16 }
    }
}

impl SpaceFile {
    /// The backbone's architecture; of an ONNX file's it is read.
    ///
    /// # Errors
    /// [`ConfigError::Backbone`] for an architecture that is not known, or a file that can't be used.
    pub fn architecture(&self) -> Result<Architecture, ConfigError> {
        self.backbone.file().architecture().map_err(|error| unusable(&self.path, &self.text, error))
    }

    /// Fetches the backbone's file if it is the hub's and not in the cache; until then there is none. `progress` shows a bar.
    ///
    /// # Errors
    /// [`ConfigError::Backbone`], which says what to do without a network.
    pub fn fetch(&mut self, progress: bool) -> Result<(), ConfigError> {
        self.backbone.fetch(progress).map_err(|error| unusable(&self.path, &self.text, error))
    }

    /// What the data loader is to read.
    pub fn parts(&self) -> PartsSpec {
        self.data.parts()
    }

    /// Reads the space at `path`; `weights` and `data` replace the file's own paths where given.
    ///
    /// # Errors
    /// [`ConfigError`] with the file, the line or field, the value and what is accepted.
    pub fn read(path: &Path, weights: Option<&Path>, data: Option<&Path>) -> Result<Self, ConfigError> {
        let (mut space, text) = yaml::read::<Self>(path)?;
        let backbone = &mut space.backbone;
        space.path = path.to_owned();
        space.text = text;
        match weights {
            Some(path) => {
                backbone.weights = path.to_owned();
                (backbone.hub, backbone.file, backbone.revision) = (None, None, None);
            }
            None if backbone.hub.is_none() && !backbone.weights.as_os_str().is_empty() => {
                backbone.weights = relative_to(path, &backbone.weights);
            }
            None => {}
        }
        space.data.path = match data {
            Some(path) => path.to_owned(),
            None => relative_to(path, &space.data.path),
        };
        space.validate().map_err(|error| error.located(&space.text))?;
        Ok(space)
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let error = |field: String, value: &dyn ToString, problem: &str| {
            ConfigError::field(&self.path, field, value.to_string(), problem)
        };
        if let Some((field, value, problem)) = self.backbone.problem() {
            return Err(error(format!("backbone.{field}"), &value, problem));
        }
        if self.splits.is_empty() {
            return Err(error(
                "splits".into(),
                &"{}",
                "name at least one layer with its depths, for example `conv3_3: [16, 64]`",
            ));
        }
        for (layer, depths) in &self.splits {
            if depths.is_empty() || depths.contains(&0) {
                return Err(error(
                    format!("splits.{layer}"),
                    &format!("{depths:?}"),
                    "give one or more channel counts of at least 1",
                ));
            }
        }
        let s = &self.selections;
        let weighted = [("balanced", &s.balanced), ("mixed", &s.mixed), ("mixed-relu", &s.mixed_relu)];
        let counted = [("random", s.random), ("pruned-random", s.pruned_random)];
        let none = counted.iter().all(|(_, n)| *n == 0) && weighted.iter().all(|(_, weights)| weights.is_empty());
        if !s.first && !s.fisher && none {
            return Err(error(
                "selections".into(),
                &"none",
                "switch on at least one of `first: true`, `fisher: true`, `random: N`, `pruned-random: N`, `balanced: [W]`, \
                 `mixed: [W]`, `mixed-relu: [W]`",
            ));
        }
        if self.precision.weights == WeightsPrecision::Int8 && !(s.mixed.is_empty() && s.mixed_relu.is_empty()) {
            return Err(error(
                "precision.weights".into(),
                &"int8",
                "mixed channels are folded into the weights, which eight bits then can't hold: leave `mixed` and `mixed-relu` out, or \
                 take f16",
            ));
        }
        for (field, weights) in weighted {
            if let Some(weight) = weights.iter().find(|w| !(0.0..=MOST_WEIGHT).contains(*w)) {
                let accepted = "weights of leakage from 0 to 100, such as [0.5, 1]";
                return Err(error(format!("selections.{field}"), weight, accepted));
            }
        }
        for (field, count) in counted {
            if count > 1_000_000 {
                return Err(error(format!("selections.{field}"), &count, "at most 1000000 draws"));
            }
        }
        self.data.validate(&self.path)
    }
}

/// The error of a space's net, with its place.
fn unusable(path: &Path, text: &str, error: BackboneError) -> ConfigError {
    ConfigError::Backbone { path: path.to_owned(), place: None, error: Box::new(error) }.located(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "backbone: {architecture: vgg16, weights: w.safetensors}\nsplits:\n  conv1_2: [4, 8]\n\
        selections: {first: true, pruned-random: 2}\ndata:\n  format: image-folder\n  training: {folder: train}\n  \
        validation: {folder: val}\n  evaluation: {folder: test, per_class: 100}\n";

    fn read(text: &str) -> Result<SpaceFile, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("space.yaml");
        std::fs::write(&path, text).unwrap();
        SpaceFile::read(&path, None, Some(Path::new("elsewhere")))
    }

    #[test]
    fn a_good_space_is_read_and_paths_can_be_replaced() {
        let space = read(GOOD).unwrap();
        assert_eq!(space.splits["conv1_2"], [4, 8]);
        assert_eq!(space.selections.pruned_random, 2);
        assert!(space.backbone.weights.is_absolute());
        assert_eq!(space.data.path, Path::new("elsewhere"));
    }

    #[test]
    fn bad_spaces_name_line_field_value_and_remedy() {
        for (from, to, expected) in [
            ("first: true", "frist: true", vec!["space.yaml:4", "`frist`", "`first`", "`pruned-random`"]),
            ("conv1_2: [4, 8]", "conv1_2: [0]", vec!["splits.conv1_2", "[0]", "at least 1"]),
            ("[4, 8]", "[-4]", vec!["space.yaml:3", "-4"]),
            ("{first: true, pruned-random: 2}", "{first: false}", vec!["selections", "random: N"]),
            ("{folder: val}", "{images: v.idx}", vec!["data.validation", "folder: FOLDER"]),
            ("image-folder", "tar", vec!["space.yaml:6", "`tar`", "image-folder"]),
            ("format: image-folder", "", vec!["missing field `format`"]),
        ] {
            let text = read(&GOOD.replace(from, to)).unwrap_err().to_string();
            for part in expected {
                assert!(text.contains(part), "{to}: `{text}` lacks `{part}`");
            }
        }
    }
}
