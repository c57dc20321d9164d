//! From a graph to a file.
//!
//! Files are of operator set 13 and IR version 7, which ONNX Runtime Mobile, NNAPI's and Core ML's execution providers and the
//! converters to TensorFlow Lite take. Every shape but, if wanted, the batch is fixed; borders are written as numbers
//! ([`Node::border`](crate::nn::Node::border)), never as `auto_pad` or `ceil_mode`, of which runtimes think differently.
//! Arithmetic is in single precision whatever the weights are stored in.
//!
//! | in the graph | in the file |
//! |---|---|
//! | convolution | `Conv`; of a vector `Gemm` |
//! | scale and shift by channel | `Mul` and `Add` of `[1, C, 1, 1]`; what would do nothing is left out |
//! | ReLU, clip, leaky ReLU, sigmoid, hard sigmoid, tanh | `Relu`, `Clip`, `LeakyRelu`, `Sigmoid`, `HardSigmoid`, `Tanh` |
//! | swish, hard swish | `Mul` by `Sigmoid`, by `HardSigmoid` (operator set 13 has neither whole) |
//! | maximum, mean over windows | `MaxPool`, `AveragePool` |
//! | mean over the map | `GlobalAveragePool` |
//! | sum, product, concatenation | `Add` in a chain, `Mul`, `Concat` |
//! | border | `Pad` |
//! | selection of channels | `Gather` |
//! | vector of a map | `Flatten`; of rows, columns, channels behind a `Transpose` |
//! | weights in f16 | `Cast` of a FLOAT16 initialiser |
//! | weights in int8 | `DequantizeLinear` of an INT8 initialiser, along its first axis |

mod error;
mod message;
mod nodes;
#[cfg(test)]
mod tests;

use prost::Message;

pub use error::WriteError;

use self::message::{property, value_info};
use self::nodes::Writer;
use super::proto::{GraphMessage, Model, Opset, data_type};
use crate::nn::{Graph, GraphOp, Shape};

/// The operator set that is written.
const OPERATOR_SET: i64 = 13;

/// The version of the file's layout: the one that came with the operator set.
const IR_VERSION: i64 = 7;

/// Most bytes of a protobuf message.
const MOST_BYTES: usize = i32::MAX as usize;

/// What the weights and biases of convolutions, and scales and shifts, are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightPrecision {
    /// IEEE single precision.
    #[default]
    F32,
    /// IEEE half precision, to whose nearest number each value is rounded.
    F16,
    /// Eight bits with a scale for each output channel of a convolution; everything else in single precision. The graph must
    /// be [quantised](Graph::quantised): the file holds those very weights.
    Int8,
}

impl WeightPrecision {
    /// What it is called in a file's metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of the graph's parameters in a file: weights, biases, scales and shifts and, of eight bits, each output channel's
    /// scale and zero. Names, the bounds of a clip, borders and the preprocessing of images come on top.
    pub fn bytes(self, graph: &Graph) -> u64 {
        let of = |op: &GraphOp| match (op, self) {
            (GraphOp::Conv(conv), Self::Int8) => conv.weight.len() + (4 + 4 + 1) * conv.bias.len(),
            (GraphOp::Conv(conv), Self::F16) => 2 * (conv.weight.len() + conv.bias.len()),
            (GraphOp::Conv(conv), Self::F32) => 4 * (conv.weight.len() + conv.bias.len()),
            (GraphOp::Affine { scale, shift }, Self::F16) => 2 * (scale.len() + shift.len()),
            (GraphOp::Affine { scale, shift }, _) => 4 * (scale.len() + shift.len()),
            _ => 0,
        };
        graph.nodes().iter().map(|node| of(&node.op) as u64).sum()
    }
}

/// How many images a file takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Batch {
    /// One: what mobile runtimes compile best, or at all.
    #[default]
    One,
    /// Any number, as the dimension `N`.
    Any,
}

/// Element type of a file's image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PixelType {
    /// float32, of 0 to 255.
    #[default]
    Float,
    /// uint8.
    Byte,
}

/// How RGB bytes become what a graph takes, inside the file: a black border, then `scale·byte + shift` for each colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageInput {
    /// Factors on red, green and blue, 0 to 255.
    pub scale: [f32; 3],
    /// Added to red, green and blue.
    pub shift: [f32; 3],
    /// Rows and columns of the images.
    pub content: [usize; 2],
    /// Rows and columns of what the graph takes. The image stands in its middle, an odd row or column more behind it.
    pub side: usize,
    /// What pixels are given in.
    pub pixels: PixelType,
}

/// What a graph becomes.
#[derive(Debug, Clone, Copy)]
pub struct WriteOptions<'a> {
    /// Name of the input.
    pub input: &'a str,
    /// Name of the output.
    pub output: &'a str,
    /// Rows and columns of the input, where `image` doesn't say them.
    pub size: [usize; 2],
    /// What is done to an image before; without it, the file takes what the graph takes.
    pub image: Option<&'a ImageInput>,
    /// How many images at once.
    pub batch: Batch,
    /// What weights are stored in.
    pub precision: WeightPrecision,
    /// What else the file says of itself.
    pub metadata: &'a [(String, String)],
}

/// The graph as the bytes of an ONNX file: input `[N, channels, rows, columns]`, output `[N, channels, rows, columns]` or
/// `[N, length]`, float32. `metadata` has the keys `input`, `output` and `weights`, in words, before what `options` adds.
///
/// # Errors
/// [`WriteError`] for a graph that can't run on images of this size, what a file of operator set 13 has no place for, and weights
/// that `options.precision` can't hold.
pub fn write(graph: &Graph, options: &WriteOptions<'_>) -> Result<Vec<u8>, WriteError> {
    let [rows, columns] = match options.image {
        Some(image) => image.check(graph.input_channels())?,
        None => options.size,
    };
    // Refuses what can't be run, so that every shape is known.
    graph.cost(rows, columns)?;
    let shapes: Vec<Shape> = graph.shapes(rows, columns)?.into_iter().flatten().collect();
    let mut writer = Writer::new(options);
    if let Some(image) = options.image {
        writer.preprocess(image);
    }
    for at in 0..graph.nodes().len() {
        writer.node(graph, at, &shapes)?;
    }
    let output = shapes.last().copied().unwrap_or(Shape::new(rows, columns, graph.input_channels()));
    let vector = writer.ends_in_vector();

    let batch = match options.batch {
        Batch::One => Some(1),
        Batch::Any => None,
    };
    let [given_rows, given_columns] = options.image.map_or(options.size, |image| image.content);
    let (kind, range) = match options.image {
        Some(ImageInput { pixels: PixelType::Byte, .. }) => (data_type::UINT8, Some("RGB, uint8")),
        Some(_) => (data_type::FLOAT, Some("RGB, float32 from 0 to 255")),
        None => (data_type::FLOAT, None),
    };
    let input_dims = [batch, Some(graph.input_channels()), Some(given_rows), Some(given_columns)];
    let all = [batch, Some(output.channels), Some(output.height), Some(output.width)];
    let output_dims = if vector { &all[..2] } else { &all[..] };
    let words = |name: &str, dims: &[Option<usize>], what: &str| {
        let dims: Vec<String> = dims.iter().map(|dim| dim.map_or("N".to_owned(), |dim| dim.to_string())).collect();
        format!("{name}: {what}, [{}]", dims.join(", "))
    };
    let input = match range {
        Some(range) => words(options.input, &input_dims, range) + "; border and normalisation are part of the net",
        None => words(options.input, &input_dims, "float32"),
    };
    let own = [
        ("input", input.clone()),
        ("output", words(options.output, output_dims, "float32")),
        ("weights", options.precision.name().to_owned()),
    ];
    let more = options.metadata.iter().map(|(key, value)| property(key, value));
    let model = Model {
        ir_version: Some(IR_VERSION),
        producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        doc_string: Some(input.into_bytes()),
        graph: Some(GraphMessage {
            name: Some(options.output.to_owned()),
            input: vec![value_info(options.input, kind, &input_dims)],
            output: vec![value_info(options.output, data_type::FLOAT, output_dims)],
            node: writer.nodes,
            initializer: writer.initialisers,
        }),
        opset_import: vec![Opset { domain: Some(String::new()), version: Some(OPERATOR_SET) }],
        metadata_props: own.iter().map(|(key, value)| property(key, value)).chain(more).collect(),
    };
    match model.encoded_len() {
        length if length > MOST_BYTES => Err(WriteError::TooLarge(length)),
        _ => Ok(model.encode_to_vec()),
    }
}

impl ImageInput {
    /// What the graph takes; refuses images that don't fit into it.
    fn check(&self, channels: usize) -> Result<[usize; 2], WriteError> {
        let [rows, columns] = self.content;
        if channels != 3 || rows == 0 || columns == 0 || rows > self.side || columns > self.side {
            return Err(WriteError::Image { content: self.content, side: self.side, channels });
        }
        Ok([self.side; 2])
    }

    /// Rows and columns of black around the image: top, left, bottom, right.
    fn border(&self) -> [usize; 4] {
        let [rows, columns] = self.content.map(|size| self.side - size);
        [rows / 2, columns / 2, rows - rows / 2, columns - columns / 2]
    }
}
