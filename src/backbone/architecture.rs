//! What is known of a net without its weights.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::tables::{self, NoWeights};
use super::{BackboneError, Preprocess};
use crate::nn::{Activation, Cut, Graph, GraphCost, Keep};
use crate::space::ChannelChoice;
use crate::suggest::closest;

/// A net's structure.
///
/// Structures are interned: a process works on one or two nets, and everything that speaks of a layer can hold on to it
/// without counting references.
#[derive(Clone, Copy)]
pub struct Architecture(&'static Net);

/// What an [`Architecture`] stands for.
struct Net {
    /// Of its structure and preprocessing; `vgg16`'s is its name, by which weights were hashed before there were others.
    identity: String,
    name: String,
    /// Whether it comes from the tables.
    known: bool,
    /// Its operations, without the weights of convolutions.
    structure: Graph,
    layers: Vec<Layer>,
    preprocess: Preprocess,
}

/// The nets of this process.
static NETS: Mutex<Vec<&'static Net>> = Mutex::new(Vec::new());

/// A place where a net can be split. What is before it runs on the device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layer {
    /// Place in [`Architecture::layers`].
    pub index: usize,
    /// Its name, as in spaces: `conv3_1`.
    pub name: &'static str,
    /// Channels out, before any are pruned.
    pub out_channels: usize,
    /// What follows the node whose output is kept in caches.
    pub activation: Option<Activation>,
    /// Whether combinations of channels can be folded into it.
    pub mixable: bool,
    /// The node before the activation, in the net's graph.
    pub tap: usize,
    /// The last node: the activation, or `tap` where none follows.
    end: usize,
}

impl Layer {
    /// The last node of the prefix that ends here.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    fn cut(&self) -> Cut {
        let &Layer { name, tap, end, activation, mixable, .. } = self;
        Cut { name: name.to_owned(), tap, end, activation, mixable }
    }
}

/// A layer's maps for images of a certain side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerShape {
    /// Height and width.
    pub side: usize,
}

impl LayerShape {
    /// Values that `depth` output channels hold, per image.
    pub fn output_len(&self, depth: usize) -> u64 {
        (self.side * self.side * depth) as u64
    }
}

impl Architecture {
    /// VGG-16 up to conv4_3, as its authors trained it: Simonyan and Zisserman, arXiv 1409.1556, configuration D.
    pub fn vgg16() -> Self {
        Self::known("vgg16").unwrap_or_else(|| unreachable!("vgg16 is in the tables"))
    }

    /// The known architecture of this name.
    pub fn known(name: &str) -> Option<Self> {
        let nets = || NETS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(net) = nets().iter().copied().find(|net| net.known && net.name == name) {
            return Some(Self(net));
        }
        let (graph, preprocess) = tables::build(name, &mut NoWeights)?.ok()?;
        let identity = if name == "vgg16" { name.to_owned() } else { identity(&graph.structure(), preprocess) };
        Some(Self::intern(true, &identity, name, &graph, preprocess))
    }

    /// Names of the known architectures.
    pub fn names() -> &'static [&'static str] {
        tables::NAMES
    }

    /// The architecture of a graph that was read from a file; `name` is for people.
    pub(super) fn of_graph(name: &str, graph: &Graph, preprocess: Preprocess) -> Self {
        let identity = identity(&graph.structure(), preprocess);
        Self::intern(false, &identity, name, graph, preprocess)
    }

    fn intern(known: bool, identity: &str, name: &str, graph: &Graph, preprocess: Preprocess) -> Self {
        let mut nets = NETS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(net) = nets.iter().find(|net| (net.known, net.identity.as_str()) == (known, identity)) {
            return Self(net);
        }
        let widths = graph.widths();
        let layer = |(index, cut): (usize, Cut)| Layer {
            index,
            name: Box::leak(cut.name.into_boxed_str()),
            out_channels: widths[cut.tap],
            activation: cut.activation,
            mixable: cut.mixable,
            tap: cut.tap,
            end: cut.end,
        };
        let layers = graph.cuts().into_iter().enumerate().map(layer).collect();
        let (identity, name) = (identity.to_owned(), name.to_owned());
        let net = Box::leak(Box::new(Net { identity, name, known, structure: graph.structure(), layers, preprocess }));
        nets.push(net);
        Self(net)
    }

    /// What identifies it among all nets: the name of a known one, else a hash of its structure.
    pub(super) fn identity(self) -> &'static str {
        &self.0.identity
    }

    /// The name in spaces.
    pub fn name(self) -> &'static str {
        &self.0.name
    }

    /// Its operations, without the weights of convolutions.
    pub fn structure(self) -> &'static Graph {
        &self.0.structure
    }

    /// The layers after which it can be split, first to last.
    pub fn layers(self) -> &'static [Layer] {
        &self.0.layers
    }

    /// How images become the net's input.
    pub fn preprocess(self) -> Preprocess {
        self.0.preprocess
    }

    /// The layer of this name.
    ///
    /// # Errors
    /// [`BackboneError::UnknownLayer`], with the name that comes closest.
    pub fn layer(self, name: &str) -> Result<&'static Layer, BackboneError> {
        self.layers().iter().find(|layer| layer.name == name).ok_or_else(|| BackboneError::UnknownLayer {
            layer: name.to_owned(),
            architecture: self,
            suggestion: closest(name, self.layers().iter().map(|layer| layer.name)),
            ends: self.structure().first_unsupported().map(|(node, op)| format!("`{node}`, a {op}")),
        })
    }

    /// What the prefix up to `layer` with `depth` of its channels costs on images of `input_side`; every choice of as many
    /// channels costs as much.
    ///
    /// # Errors
    /// As [`shape`](Self::shape).
    pub fn cost(self, layer: &Layer, input_side: usize, depth: usize) -> Result<GraphCost, BackboneError> {
        self.shape(layer, input_side)?;
        Ok(self.local_structure(layer, depth)?.cost(input_side, input_side)?)
    }

    /// The operations of the prefix up to `layer` with `depth` of its channels, the first ones.
    ///
    /// # Errors
    /// [`BackboneError::Graph`] for more channels than the layer has.
    pub fn local_structure(self, layer: &Layer, depth: usize) -> Result<Graph, BackboneError> {
        let channels: Vec<u16> = (0..depth).map(|channel| channel as u16).collect();
        Ok(self.structure().local(&layer.cut(), &Keep::Channels(&channels))?)
    }

    /// What tells the speed of its local nets on images of `input_side` from that of others: a hash of all operations and shapes,
    /// whatever the weights and names.
    ///
    /// # Errors
    /// [`BackboneError::Graph`] for images that it can't take.
    pub fn fingerprint(self, input_side: usize) -> Result<String, BackboneError> {
        let outline = self.structure().outline(input_side, input_side)?;
        Ok(format!("{:.16}", blake3::hash(outline.as_bytes()).to_hex()))
    }

    /// Multiply-accumulates per image of `input_side` from the pixels to all channels of `layer`.
    ///
    /// # Errors
    /// As [`shape`](Self::shape).
    pub fn macs_through(self, layer: &Layer, input_side: usize) -> Result<u64, BackboneError> {
        Ok(self.cost(layer, input_side, layer.out_channels)?.macs)
    }

    /// The layer at work on square images of `input_side`.
    ///
    /// # Errors
    /// [`BackboneError::Side`] if its maps' side isn't the images', halved some times.
    pub fn shape(self, layer: &Layer, input_side: usize) -> Result<LayerShape, BackboneError> {
        let halved = |input: usize| -> Option<usize> {
            let shape = self.structure().prefix(layer.end).shapes(input, input).ok()?.pop()??;
            let exact = shape.height == shape.width && input.is_multiple_of(shape.height);
            (exact && (input / shape.height).is_power_of_two()).then_some(shape.height)
        };
        if let Some(side) = halved(input_side) {
            return Ok(LayerShape { side });
        }
        let fits = |multiple: &usize| halved(input_side.div_ceil(*multiple).max(1) * multiple).is_some();
        let multiple = (1..=10).map(|power| 1 << power).find(fits);
        Err(BackboneError::Side { layer: layer.name, side: input_side, multiple })
    }

    /// The prefix of `graph`, which has this structure, that gives what `choice` keeps of `layer`.
    ///
    /// # Errors
    /// [`BackboneError::Graph`] for channels that the layer lacks, or mixes of a layer that isn't
    /// [`mixable`](Layer::mixable).
    pub(super) fn local(graph: &Graph, layer: &Layer, choice: &ChannelChoice) -> Result<Graph, BackboneError> {
        let keep = match choice {
            ChannelChoice::Set(channels) => Keep::Channels(channels),
            ChannelChoice::Mix(mix) => {
                let (weight, bias) = match &graph.nodes()[layer.tap].op {
                    crate::nn::GraphOp::Conv(conv) if layer.mixable => mix.fold(&conv.weight, &conv.bias),
                    _ => return Err(BackboneError::Unmixable { layer: layer.name }),
                };
                Keep::Combinations { weight, bias, relu: mix.relu() }
            }
        };
        Ok(graph.local(&layer.cut(), &keep)?)
    }
}

/// What tells a net from all others: a hash of its operations and of how images become its input.
fn identity(structure: &Graph, preprocess: Preprocess) -> String {
    blake3::hash(format!("{structure:?} {preprocess:?}").as_bytes()).to_hex().to_string()
}

impl PartialEq for Architecture {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Architecture {}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Architecture").field(&self.0.identity).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_layers_are_answered_with_the_closest() {
        for (typed, meant) in [("conv33", "conv3_3"), ("Conv2-1", "conv2_1"), ("conv1.2", "conv1_2")] {
            let found = Architecture::vgg16().layer(typed).unwrap_err().to_string();
            assert!(found.contains(&format!("`{typed}`")), "{found}");
            assert!(found.contains(&format!("did you mean `{meant}`?")), "{found}");
            assert!(found.contains("conv1_1, conv1_2,"), "{found}");
        }
        let found = Architecture::vgg16().layer("features").unwrap_err().to_string();
        assert!(!found.contains("did you mean"), "{found}");
        assert_eq!(Architecture::vgg16().layer("conv3_2").unwrap().out_channels, 256);
    }

    #[test]
    fn maps_halve_at_each_pool() {
        let side = |name| Architecture::vgg16().shape(Architecture::vgg16().layer(name).unwrap(), 32).unwrap().side;
        let names = ["conv1_2", "pool1", "conv2_1", "conv2_2", "conv3_3", "conv4_3"];
        assert_eq!(names.map(side), [32, 16, 16, 16, 8, 4]);
        let last = Architecture::vgg16().layer("conv4_1").unwrap();
        let found = Architecture::vgg16().shape(last, 28).unwrap_err().to_string();
        assert!(found.contains("28×28") && found.contains("multiple of 8"), "{found}");
    }

    #[test]
    fn costs_are_those_of_the_published_net() {
        // The first ten convolutions of configuration D: 7,635,264 weights and biases. MACs at 224×224 by hand.
        let cost =
            |name, depth| Architecture::vgg16().cost(Architecture::vgg16().layer(name).unwrap(), 224, depth).unwrap();
        assert_eq!(cost("conv4_3", 512).parameters, 7_635_264);
        assert_eq!(cost("conv1_1", 64).macs, 86_704_128);
        assert_eq!(cost("conv1_2", 64).macs, 86_704_128 + 1_849_688_064);
        let (before, conv3_1) = (cost("conv2_2", 128).macs, cost("conv3_1", 16));
        assert_eq!(conv3_1.macs - before, 56 * 56 * 9 * 128 * 16);
        assert_eq!(conv3_1.output.len(), 56 * 56 * 16);
        // conv1_2's input and output.
        assert_eq!(conv3_1.peak_values, 224 * 224 * 128);
    }

    #[test]
    fn fingerprints_tell_nets_and_sides_apart() {
        let known = |name| Architecture::known(name).unwrap();
        let prints = [("vgg16", 32), ("vgg16", 64), ("vgg19", 32), ("resnet18", 32), ("resnet34", 32)]
            .map(|(name, side)| known(name).fingerprint(side).unwrap());
        for (at, print) in prints.iter().enumerate() {
            assert_eq!(print.len(), 16);
            assert!(!prints[..at].contains(print), "{at}");
        }
    }

    #[test]
    fn nets_are_known_once() {
        let first = Architecture::known("resnet18").unwrap();
        let second = Architecture::known("resnet18").unwrap();
        assert_eq!(first, second);
        assert!(std::ptr::eq(first.layers(), second.layers()));
        assert_eq!(Architecture::known("resnet19"), None);
        assert_eq!(Architecture::known("vgg16"), Some(Architecture::vgg16()));
    }
}
