//! From a file to a graph.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use prost::Message;

use super::constant::Constant;
use super::count;
use super::error::{OnnxError, Problem};
use super::node::Operation;
use super::proto::{Model, ValueInfo};
use crate::bounded;
use crate::nn::{Graph, GraphError, GraphOp as Op};

/// Most bytes of a protobuf message.
const MOST_BYTES: u64 = 1 << 31;

/// Most nodes: what is done with a graph takes time by their square.
const MOST_NODES: usize = 1 << 14;

/// Numbers that a graph may always have, 64 MiB of them: small files may repeat a few.
const FREE_NUMBERS: usize = 1 << 24;

/// The operator sets whose operations mean what is made of them.
pub(super) const OPERATOR_SETS: std::ops::RangeInclusive<i64> = 7..=26;

/// Colours of an image.
const COLOURS: usize = 3;

/// A net as its file says it is.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What it computes, folded, up to its first output.
    pub graph: Graph,
    /// Height and width of its images, where the file fixes them.
    pub size: Option<[usize; 2]>,
    /// How its images lie in memory.
    pub layout: Layout,
    /// The program that wrote it.
    pub producer: String,
}

/// Order of an image's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[N, channels, height, width]`.
    ChannelsFirst,
    /// `[N, height, width, channels]`, transposed by the net's first nodes.
    ChannelsLast,
}

/// Reads the net in an ONNX file.
///
/// # Errors
/// [`OnnxError`] for a file that is none, is damaged, takes something else than one image, keeps its weights elsewhere, has
/// control flow, or whose nodes contradict themselves. An operation that is not known is no error but an end of the graph.
pub fn read(path: &Path) -> Result<Imported, OnnxError> {
    let fail = |problem| OnnxError { path: path.to_owned(), problem };
    let length = std::fs::metadata(path).map_err(|error| fail(Problem::Read(error)))?.len();
    if length > MOST_BYTES {
        return Err(fail(Problem::TooLarge(length)));
    }
    let bytes = bounded::read(path, MOST_BYTES).map_err(|error| fail(Problem::Read(error)))?;
    import(&bytes).map_err(fail)
}

/// Reads the net in the bytes of an ONNX file.
///
/// # Errors
/// [`Problem`], as [`read`].
pub fn import(bytes: &[u8]) -> Result<Imported, Problem> {
    count::check(bytes)?;
    let model = Model::decode(bytes).map_err(|error| Problem::NotOnnx(error.to_string()))?;
    let message = model.graph.ok_or_else(|| Problem::NotOnnx("it holds no graph".to_owned()))?;
    if message.node.is_empty() {
        return Err(Problem::NotOnnx("its graph has no nodes".to_owned()));
    }
    if message.node.len() > MOST_NODES {
        return Err(Problem::TooManyNodes { found: message.node.len(), most: MOST_NODES });
    }
    let standard = |set: &&super::proto::Opset| matches!(set.domain.as_deref(), None | Some("" | "ai.onnx"));
    let version = model.opset_import.iter().find(standard).and_then(|set| set.version).unwrap_or(0);
    if !OPERATOR_SETS.contains(&version) {
        return Err(Problem::OperatorSet(version));
    }
    let mut constants = HashMap::new();
    for tensor in &message.initializer {
        constants.insert(tensor.name.clone().unwrap_or_default(), Constant::read(tensor)?);
    }
    // Old files list their weights among the inputs, too.
    let images: Vec<&ValueInfo> =
        message.input.iter().filter(|info| !constants.contains_key(info.name.as_deref().unwrap_or_default())).collect();
    let [image] = images[..] else {
        let names: Vec<&str> = images.iter().filter_map(|info| info.name.as_deref()).collect();
        return Err(Problem::Inputs(format!("takes {} inputs ({})", images.len(), names.join(", "))));
    };
    let (layout, size) = layout(image)?;
    let mut reader = Reader {
        graph: Graph::new(COLOURS),
        widths: vec![COLOURS],
        constants,
        made: HashMap::from([(image.name.clone().unwrap_or_default(), Made { node: 0, layout, vector: false })]),
        absent: HashSet::from([String::new()]),
        // Of 8-bit weights there are as many as bytes: once as they are, once scaled, once in their convolution.
        numbers: bytes.len().saturating_mul(4).saturating_add(FREE_NUMBERS),
    };
    for node in &message.node {
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if reader.made.contains_key(output) || reader.constants.contains_key(output) {
                return Err(Problem::NotOnnx(format!("two nodes make `{output}`")));
            }
        }
        Operation::new(node)?.read(&mut reader)?;
    }
    let outputs = message.output.iter().filter_map(|info| info.name.as_deref());
    let mut made = outputs.filter_map(|name| Some((name, *reader.made.get(name)?)));
    let Some((name, output)) = made.find(|(_, made)| made.node > 0) else {
        return Err(Problem::NotOnnx("no output of its graph is computed from the image".to_owned()));
    };
    let producer =
        format!("{} {}", model.producer_name.unwrap_or_default(), model.producer_version.unwrap_or_default());
    let mut graph = reader.graph.prefix(output.node);
    if output.layout == Layout::ChannelsFirst {
        // A cast or the like behind it was dropped.
        graph.name_output(name);
    }
    let graph = graph.live().fold();
    Ok(Imported { graph, size, layout, producer: producer.trim().to_owned() })
}

/// The layout and size of the image that the net takes.
fn layout(image: &ValueInfo) -> Result<(Layout, Option<[usize; 2]>), Problem> {
    let shape = image.r#type.as_ref().and_then(|of| of.tensor_type.as_ref()).and_then(|of| of.shape.as_ref());
    let Some(shape) = shape else {
        return Ok((Layout::ChannelsFirst, None));
    };
    let dims: Vec<Option<usize>> = shape
        .dim
        .iter()
        .map(|dim| dim.dim_value.and_then(|value| usize::try_from(value).ok()).filter(|&n| n > 0))
        .collect();
    let size = |height: Option<usize>, width: Option<usize>| height.zip(width).map(|(h, w)| [h, w]);
    match dims[..] {
        [_, Some(COLOURS) | None, height, width] if width != Some(COLOURS) || height == Some(COLOURS) => {
            Ok((Layout::ChannelsFirst, size(height, width)))
        }
        [_, height, width, Some(COLOURS)] => Ok((Layout::ChannelsLast, size(height, width))),
        _ => {
            let written: Vec<String> = dims.iter().map(|d| d.map_or("?".to_owned(), |d| d.to_string())).collect();
            Err(Problem::Inputs(format!("takes an input of shape [{}]", written.join(", "))))
        }
    }
}

/// What the nodes so far have made.
pub(super) struct Reader {
    pub(super) graph: Graph,
    /// Channels of every node's output; 0 where they aren't known.
    pub(super) widths: Vec<usize>,
    pub(super) constants: HashMap<String, Constant>,
    /// Which node makes a tensor.
    pub(super) made: HashMap<String, Made>,
    /// Optional inputs that are left out.
    pub(super) absent: HashSet<String>,
    /// How many more may be made of the numbers that the file holds.
    numbers: usize,
}

/// A tensor computed from the image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub(super) node: usize,
    pub(super) layout: Layout,
    /// Whether it has no rows and columns any more.
    pub(super) vector: bool,
}

impl Reader {
    /// Counts numbers that are made: a file that names a tensor in each of its nodes must not grow without end.
    pub(super) fn spend(&mut self, numbers: usize) -> Result<(), Problem> {
        self.numbers = self.numbers.checked_sub(numbers).ok_or(Problem::Repetition(numbers))?;
        Ok(())
    }

    /// Appends a node.
    pub(super) fn push(&mut self, name: &str, op: Op, inputs: Vec<usize>) -> Result<usize, Problem> {
        let width = match &op {
            Op::Conv(conv) => conv.output,
            Op::Affine { scale, .. } => scale.len(),
            Op::Concat => inputs.iter().fold(0, |sum: usize, &input| sum.saturating_add(self.widths[input])),
            Op::Select(channels) => channels.len(),
            Op::Flatten { .. } | Op::Unsupported(_) => 0,
            _ => inputs.iter().map(|&input| self.widths[input]).max().unwrap_or(0),
        };
        if width > usize::from(u16::MAX) {
            let reason = format!("it has {width} channels, at most {} are taken", u16::MAX);
            return Err(GraphError::Node { node: name.to_owned(), reason }.into());
        }
        self.spend(match &op {
            Op::Conv(conv) => conv.weight.len().saturating_add(conv.bias.len()),
            Op::Affine { scale, shift } => scale.len().saturating_add(shift.len()),
            Op::Select(channels) => channels.len(),
            Op::Concat | Op::Add => inputs.len(),
            _ => 0,
        })?;
        let node = self.graph.push(name, op, inputs)?;
        self.widths.push(width);
        Ok(node)
    }
}
