//! A net's layers with their weights.

use std::path::Path;

use super::safetensors_file::SafetensorsFile;
use super::{Architecture, BackboneError, Layer};

/// Weights and biases of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerWeights {
    /// `[out, in, 3, 3]`, last index fastest.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

/// The first layers of a pre-trained net, with weights.
#[derive(Debug, Clone)]
pub struct Backbone {
    architecture: Architecture,
    weights: Vec<LayerWeights>,
    /// For each layer, of the weights up to it.
    hashes: Vec<blake3::Hash>,
}

impl Backbone {
    /// Reads the layers up to and including `up_to` of VGG-16 from a safetensors file.
    ///
    /// The tensors are called `conv1_1.weight` (`[out, in, 3, 3]`) and `conv1_1.bias` (`[out]`), and so on, of
    /// 16-bit, bfloat16 or 32-bit floating point.
    ///
    /// # Errors
    /// A layer that does not exist; a file that is missing, truncated, of another format, or lacks a tensor; a tensor
    /// of the wrong shape or type, or with a value that is not finite.
    pub fn load(path: &Path, up_to: &str) -> Result<Self, BackboneError> {
        let architecture = Architecture::Vgg16;
        let last = architecture.layer(up_to)?;
        let mut file = SafetensorsFile::open(path)?;
        let mut weights = Vec::with_capacity(last.index + 1);
        for layer in &architecture.layers()[..=last.index] {
            let (out, input) = (layer.out_channels, layer.in_channels);
            weights.push(LayerWeights {
                weight: file.tensor(&format!("{}.weight", layer.name), &[out, input, 3, 3])?,
                bias: file.tensor(&format!("{}.bias", layer.name), &[out])?,
            });
        }
        Self::new(architecture, weights)
    }

    /// A net with the given weights for its first layers.
    ///
    /// # Errors
    /// [`BackboneError::Weights`] unless there are one to all layers, each with as many weights as it needs.
    pub fn new(architecture: Architecture, weights: Vec<LayerWeights>) -> Result<Self, BackboneError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"privynet backbone 1 ");
        hasher.update(architecture.name().as_bytes());
        let mut hashes = Vec::with_capacity(weights.len());
        for index in 0..weights.len().max(1) {
            let expected = architecture
                .layers()
                .get(index)
                .map_or([0, 0], |layer| [9 * layer.in_channels * layer.out_channels, layer.out_channels]);
            let found = weights.get(index).map_or([0, 0], |of| [of.weight.len(), of.bias.len()]);
            if expected != found || found == [0, 0] {
                return Err(BackboneError::Weights { architecture, index, expected, found });
            }
            for value in weights[index].weight.iter().chain(&weights[index].bias) {
                hasher.update(&value.to_le_bytes());
            }
            hashes.push(hasher.finalize());
        }
        Ok(Backbone { architecture, weights, hashes })
    }

    /// The same net with every weight and bias rounded to half precision, as a device stores them.
    ///
    /// # Errors
    /// [`BackboneError::Weights`] never, for a net that exists.
    pub fn rounded_to_half(&self) -> Result<Self, BackboneError> {
        let round = |values: &[f32]| values.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
        let rounded = |layer: &LayerWeights| LayerWeights { weight: round(&layer.weight), bias: round(&layer.bias) };
        Self::new(self.architecture, self.weights.iter().map(rounded).collect())
    }

    /// Which net this is.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The layers that have weights here, first to last.
    pub fn layers(&self) -> &'static [Layer] {
        &self.architecture.layers()[..self.weights.len()]
    }

    /// The layer of this name.
    ///
    /// # Errors
    /// [`BackboneError::UnknownLayer`]; [`BackboneError::NotLoaded`] if it has no weights here.
    pub fn layer(&self, name: &str) -> Result<&'static Layer, BackboneError> {
        let layer = self.architecture.layer(name)?;
        match self.layers().last() {
            Some(last) if last.index < layer.index => {
                Err(BackboneError::NotLoaded { layer: layer.name, last: last.name })
            }
            _ => Ok(layer),
        }
    }

    /// Weights and biases of each of [`layers`](Self::layers).
    pub fn weights(&self) -> &[LayerWeights] {
        &self.weights
    }

    /// BLAKE3 of all weights.
    pub fn hash(&self) -> blake3::Hash {
        self.hashes[self.hashes.len() - 1]
    }

    /// BLAKE3 of the weights that a layer's output depends on: the same however many layers were read.
    ///
    /// # Panics
    /// If the layer has no weights here: [`layer`](Self::layer) is what tells.
    pub fn hash_through(&self, layer: &Layer) -> blake3::Hash {
        self.hashes[layer.index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};
    use safetensors::Dtype;
    use safetensors::tensor::{TensorView, serialize};

    fn conv1_1() -> (Vec<f32>, Vec<f32>) {
        let weight = (0..64 * 27).map(|i| (i % 31) as f32 / 8.0 - 1.5).collect();
        (weight, (0..64).map(|i| i as f32 / 4.0).collect())
    }

    fn bytes(values: &[f32], dtype: Dtype) -> Vec<u8> {
        match dtype {
            Dtype::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
            Dtype::BF16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// A safetensors file of the given tensors.
    fn file(tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        serialize(views, None).unwrap()
    }

    fn good(dtype: Dtype) -> Vec<u8> {
        let (weight, bias) = conv1_1();
        file(&[
            ("conv1_1.weight", dtype, vec![64, 3, 3, 3], bytes(&weight, dtype)),
            ("conv1_1.bias", dtype, vec![64], bytes(&bias, dtype)),
        ])
    }

    fn load(contents: &[u8], up_to: &str) -> Result<Backbone, BackboneError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        std::fs::write(&path, contents).unwrap();
        Backbone::load(&path, up_to)
    }

    fn message(contents: &[u8], up_to: &str) -> String {
        let message = load(contents, up_to).unwrap_err().to_string();
        assert!(message.contains("net.safetensors`"), "{message}");
        message
    }

    #[test]
    fn reads_three_number_types_alike() {
        let (weight, bias) = conv1_1();
        let nets = [Dtype::F32, Dtype::F16, Dtype::BF16].map(|dtype| load(&good(dtype), "conv1_1").unwrap());
        for net in &nets {
            assert_eq!(net.weights(), [LayerWeights { weight: weight.clone(), bias: bias.clone() }]);
            assert_eq!(net.hash(), nets[0].hash());
        }
        assert_eq!(nets[0].layer("conv1_1").unwrap().out_channels, 64);
        let found = nets[0].layer("conv1_2").unwrap_err().to_string();
        assert!(found.contains("`conv1_2` were not read, only those up to `conv1_1`"), "{found}");
    }

    #[test]
    fn a_file_cut_anywhere_is_truncated() {
        let whole = good(Dtype::F16);
        let found = message(&whole[..whole.len() - 1], "conv1_1");
        let (expected, there) = (whole.len(), whole.len() - 1);
        assert!(found.contains(&format!("truncated: expected {expected} bytes, found {there};")), "{found}");
        for len in [0, 7, 8, 50] {
            assert!(message(&whole[..len], "conv1_1").contains("are truncated"));
        }
    }

    #[test]
    fn other_formats_are_refused() {
        assert!(
            message(b"PK\x03\x04 a zip archive", "conv1_1").contains("are not a safetensors file: its header would be")
        );
        let mut broken = good(Dtype::F16);
        broken[9] = b'x';
        assert!(message(&broken, "conv1_1").contains("its header does not describe tensors"));
        let mut long = good(Dtype::F16);
        long.push(0);
        let found = message(&long, "conv1_1");
        assert!(found.contains("bytes long, its header announces"), "{found}");
    }

    #[test]
    fn missing_and_misshapen_tensors_are_named() {
        let found = message(&good(Dtype::F32), "conv1_2");
        assert!(found.contains("no tensor `conv1_2.weight` (found: conv1_1.bias, conv1_1.weight)"), "{found}");
        let (weight, bias) = conv1_1();
        let weight = bytes(&weight, Dtype::F32);
        let bias = ("conv1_1.bias", Dtype::F32, vec![64], bytes(&bias, Dtype::F32));
        let swapped = file(&[("conv1_1.weight", Dtype::F32, vec![3, 64, 3, 3], weight.clone()), bias.clone()]);
        let found = message(&swapped, "conv1_1");
        assert!(found.contains("`conv1_1.weight` has the shape [3, 64, 3, 3], expected [64, 3, 3, 3]"), "{found}");
        let integers = file(&[("conv1_1.weight", Dtype::I32, vec![64, 3, 3, 3], weight), bias]);
        let found = message(&integers, "conv1_1");
        assert!(found.contains("`conv1_1.weight` is of type I32, expected F16, BF16 or F32"), "{found}");
    }

    #[test]
    fn weights_that_are_no_numbers_are_named() {
        for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
            let (mut weight, bias) = conv1_1();
            weight[17] = value;
            let contents = file(&[
                ("conv1_1.weight", Dtype::F16, vec![64, 3, 3, 3], bytes(&weight, Dtype::F16)),
                ("conv1_1.bias", Dtype::F16, vec![64], bytes(&bias, Dtype::F16)),
            ]);
            let found = message(&contents, "conv1_1");
            assert!(found.contains(&format!("`conv1_1.weight` holds {name} at position 17")), "{found}");
        }
    }

    #[test]
    fn missing_files_and_layers_are_named() {
        let found = Backbone::load(Path::new("absent.safetensors"), "conv1_1").unwrap_err().to_string();
        assert!(found.contains("cannot read the weights `absent.safetensors`"), "{found}");
        let found = Backbone::load(Path::new("absent.safetensors"), "conv9").unwrap_err();
        assert!(matches!(found, BackboneError::UnknownLayer { .. }));
    }

    #[test]
    fn weights_in_memory_are_counted() {
        let (weight, bias) = conv1_1();
        let layer = LayerWeights { weight, bias };
        let new = |weights| Backbone::new(Architecture::Vgg16, weights);
        assert!(new(vec![layer.clone()]).is_ok());
        assert!(new(vec![]).is_err());
        assert!(new(vec![layer; 2]).is_err());
    }

    #[test]
    fn the_hash_through_a_layer_does_not_depend_on_later_layers() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("spaces/fashion-mnist-vgg16/vgg16-conv1_1-conv3_3.f16.safetensors");
        let (short, long) = (Backbone::load(&path, "conv1_2").unwrap(), Backbone::load(&path, "conv3_3").unwrap());
        let [first, second] = ["conv1_1", "conv1_2"].map(|name| short.layer(name).unwrap());
        assert_eq!(short.hash(), long.hash_through(second));
        assert_ne!(long.hash_through(first), long.hash_through(second));
        assert_eq!(long.layers().len(), 7);
    }
}
