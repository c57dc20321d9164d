//! A net with its weights.

use super::architecture::Layer;
use super::safetensors_file::SafetensorsFile;
use super::tables::{self, FileWeights};
use super::{Architecture, BackboneError, BackboneFile};
use crate::nn::{Calibration, Graph, GraphOp};
use crate::space::ChannelChoice;

/// The first layers of a pre-trained net, with weights.
#[derive(Debug, Clone)]
pub struct Backbone {
    architecture: Architecture,
    /// The nodes up to the last layer's.
    graph: Graph,
    /// For each layer that has weights, of those up to it.
    hashes: Vec<blake3::Hash>,
    /// Whether a device stores its weights in half precision.
    half: bool,
}

impl Backbone {
    /// Reads the layers up to and including `up_to` of the net in `file`.
    ///
    /// Of a safetensors file only the tensors up to that layer are read: 16-bit, bfloat16 or 32-bit floating point, called as
    /// torchvision or timm call them, or (VGG-16) `conv1_1.weight` `[out, in, 3, 3]` and `conv1_1.bias` `[out]`.
    ///
    /// # Errors
    /// A layer that does not exist; a file that is missing, truncated, of another format, or lacks a tensor; a tensor
    /// of the wrong shape or type, or with a value that is not finite.
    pub fn load(file: &BackboneFile, up_to: &str) -> Result<Self, BackboneError> {
        let (architecture, graph) = match &file.architecture {
            None => file.graph()?,
            Some(name) => {
                let architecture = file.architecture()?;
                let last = architecture.layer(up_to)?;
                let name = name.as_str();
                let mut weights = FileWeights::new(SafetensorsFile::open(&file.weights)?, last.tap);
                let (graph, _) = tables::build(name, &mut weights)
                    .ok_or_else(|| BackboneError::UnknownArchitecture { architecture: name.to_owned() })??;
                (architecture, if file.reversed_colours { graph.reversed_colours() } else { graph })
            }
        };
        let last = architecture.layer(up_to)?;
        Self::new(architecture, graph.prefix(last.end()))
    }

    /// A net with these operations and weights.
    ///
    /// # Errors
    /// [`BackboneError::Weights`] unless `graph` is the beginning of the architecture's, up to one of its layers.
    pub fn new(architecture: Architecture, graph: Graph) -> Result<Self, BackboneError> {
        let nodes = graph.nodes().len();
        let structure = architecture.structure();
        let begins = nodes <= structure.nodes().len() && graph.resembles(&structure.prefix(nodes - 1));
        let layers = architecture.layers().iter().take_while(|layer| layer.end() < nodes);
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"privynet backbone 1 ");
        hasher.update(architecture.identity().as_bytes());
        let (mut hashes, mut hashed) = (Vec::new(), 0);
        for layer in layers {
            for node in &graph.nodes()[hashed..=layer.tap] {
                let numbers = match &node.op {
                    GraphOp::Conv(conv) => [&conv.weight, &conv.bias],
                    GraphOp::Affine { scale, shift } => [scale, shift],
                    _ => continue,
                };
                numbers.into_iter().flat_map(|values| values.iter()).for_each(|value| {
                    hasher.update(&value.to_le_bytes());
                });
            }
            hashed = layer.tap + 1;
            hashes.push(hasher.finalize());
        }
        let weighted = graph.nodes().iter().all(|node| match &node.op {
            GraphOp::Conv(conv) => !conv.weight.is_empty(),
            _ => true,
        });
        if hashes.is_empty() || !begins || !weighted {
            return Err(BackboneError::Weights { architecture });
        }
        Ok(Backbone { architecture, graph, hashes, half: false })
    }

    /// The same net with every weight and bias rounded to half precision, as a device stores them.
    ///
    /// # Errors
    /// [`BackboneError::Weights`] never, for a net that exists.
    pub fn rounded_to_half(&self) -> Result<Self, BackboneError> {
        Ok(Self { half: true, ..Self::new(self.architecture, rounded_to_half(&self.graph))? })
    }

    /// The same net with the weights of its convolutions in eight bits, chosen by what `images` (square, RGB bytes, no figure computed
    /// from them) make of them.
    ///
    /// # Errors
    /// [`BackboneError::Net`] for images that the net can't take.
    pub fn quantised(&self, images: &[&[u8]]) -> Result<Self, BackboneError> {
        let size = images.first().map_or(0, |image| image.len());
        let side = (size / 3).isqrt();
        let mut values = Vec::with_capacity(images.len() * size);
        let mut input = vec![0.0; size];
        for image in images {
            self.architecture.preprocess().apply(image, &mut input);
            // From [rows, columns, 3] to [3, rows, columns].
            values.extend((0..3).flat_map(|colour| input.iter().skip(colour).step_by(3)));
        }
        let calibration = Calibration { images: &values, shape: [images.len(), 3, side, side] };
        Self::new(self.architecture, self.graph.quantised(Some(&calibration))?)
    }

    /// The numbers of all operations, as [`from_numbers`](Self::from_numbers) takes them.
    pub fn numbers(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.graph.map_weights(|values, _| {
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            values.to_vec()
        });
        bytes
    }

    /// The first layers of a net, up to `last`, with what [`numbers`](Self::numbers) gave.
    ///
    /// # Errors
    /// [`BackboneError::Weights`] for another number of bytes than that takes.
    pub fn from_numbers(architecture: Architecture, last: &Layer, bytes: &[u8]) -> Result<Self, BackboneError> {
        let mut left = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let structure = architecture.structure().prefix(last.end());
        let zeros = structure.with_numbers(|count| vec![0.0; count]);
        let mut given = 0;
        let graph = zeros.map_weights(|values, _| {
            given += values.len();
            left.by_ref().take(values.len()).collect()
        });
        let whole = 4 * given == bytes.len() && graph.nodes().iter().all(|node| node.is_sound());
        if !whole {
            return Err(BackboneError::Weights { architecture });
        }
        Self::new(architecture, graph)
    }

    /// Which net this is.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The layers that have weights here, first to last.
    pub fn layers(&self) -> &'static [Layer] {
        &self.architecture.layers()[..self.hashes.len()]
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

    /// Its operations up to the last layer.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The local net that gives what `choice` keeps of `layer`, with the weights that a device stores: combinations of channels
    /// are folded into filters and then rounded as all others are.
    ///
    /// # Errors
    /// [`BackboneError::Graph`] for channels that the layer lacks; [`BackboneError::Unmixable`].
    pub fn local(&self, layer: &Layer, choice: &ChannelChoice) -> Result<Graph, BackboneError> {
        let local = Architecture::local(&self.graph, layer, choice)?;
        Ok(if self.half { rounded_to_half(&local) } else { local })
    }

    /// All channels of `layer` before its activation. Its nodes stand where they stand in [`graph`](Self::graph).
    pub fn tapped(&self, layer: &Layer) -> Graph {
        self.graph.prefix(layer.tap)
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

    /// The deepest layer up to which the file has all weights.
    ///
    /// # Errors
    /// As [`load`](Self::load), where it hasn't even those of the first.
    pub fn deepest(file: &BackboneFile) -> Result<&'static Layer, BackboneError> {
        let architecture = file.architecture()?;
        let mut found: Option<&'static Layer> = None;
        for layer in architecture.layers() {
            match (Self::load(file, layer.name), found) {
                (Ok(_), _) => found = Some(layer),
                (Err(error), None) => return Err(error),
                (Err(_), Some(_)) => break,
            }
            if file.is_onnx() {
                // It holds all or nothing.
                return Ok(architecture.layers().last().unwrap_or(layer));
            }
        }
        found.ok_or(BackboneError::Weights { architecture })
    }
}

fn rounded_to_half(graph: &Graph) -> Graph {
    graph.map_weights(|values, _| values.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use half::{bf16, f16};
    use safetensors::Dtype;
    use safetensors::tensor::{TensorView, serialize};

    /// The first `layers` of VGG-16: weight or bias (`true`) number `at` of a layer is `value(layer, at, bias)`.
    pub(crate) fn vgg16_with(layers: usize, value: impl Fn(usize, usize, bool) -> f32) -> Backbone {
        let architecture = Architecture::vgg16();
        let mut asked = 0;
        let numbers = |count: usize| {
            let (layer, bias) = (asked / 2, asked % 2 == 1);
            asked += 1;
            (0..count).map(|at| value(layer, at, bias)).collect()
        };
        let last = architecture.layers().iter().filter(|layer| layer.mixable).nth(layers - 1).unwrap();
        let graph = architecture.structure().prefix(last.end()).with_numbers(numbers);
        Backbone::new(architecture, graph).unwrap()
    }

    /// Weights and biases of the first layer.
    fn numbers(backbone: &Backbone) -> (Vec<f32>, Vec<f32>) {
        match &backbone.graph().nodes()[1].op {
            GraphOp::Conv(conv) => (conv.weight.to_vec(), conv.bias.to_vec()),
            other => panic!("{other:?}"),
        }
    }

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
        Backbone::load(&BackboneFile::known("vgg16", path), up_to)
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
            assert_eq!(numbers(net), (weight.clone(), bias.clone()));
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
        let found =
            Backbone::load(&BackboneFile::known("vgg16", "absent.safetensors"), "conv1_1").unwrap_err().to_string();
        assert!(found.contains("cannot read the weights `absent.safetensors`"), "{found}");
        let found = Backbone::load(&BackboneFile::known("vgg16", "absent.safetensors"), "conv9").unwrap_err();
        assert!(matches!(found, BackboneError::UnknownLayer { .. }));
    }

    #[test]
    fn weights_in_memory_must_be_the_nets_first() {
        let whole = vgg16_with(2, |_, at, _| at as f32 * 1e-4);
        let architecture = Architecture::vgg16();
        assert!(Backbone::new(architecture, whole.graph().prefix(2)).is_ok());
        assert!(Backbone::new(architecture, Graph::new(3)).is_err(), "no layer");
        assert!(Backbone::new(architecture, architecture.structure().prefix(2)).is_err(), "no weights");
        let other = Architecture::known("resnet18").unwrap();
        assert!(Backbone::new(other, whole.graph().clone()).is_err(), "another net");
    }

    #[test]
    fn the_hash_through_a_layer_does_not_depend_on_later_layers() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("spaces/fashion-mnist-vgg16/vgg16-conv1_1-conv3_3.f16.safetensors");
        let load = |up_to| Backbone::load(&BackboneFile::known("vgg16", &path), up_to).unwrap();
        let (short, long) = (load("conv1_2"), load("conv3_3"));
        let [first, second] = ["conv1_1", "conv1_2"].map(|name| short.layer(name).unwrap());
        assert_eq!(short.hash(), long.hash_through(second));
        assert_ne!(long.hash_through(first), long.hash_through(second));
        assert_eq!(long.layers().last().unwrap().name, "conv3_3");
    }
}
