//! Each operation of a graph as nodes of a file.

use std::collections::HashSet;

use half::f16;

use super::error::WriteError;
use super::message::{bytes, float, floats, halves, int, integers, ints, text};
use super::{ImageInput, PixelType, WeightPrecision, WriteOptions};
use crate::nn::{Activation, Conv, Graph, GraphOp as Op, Node, Pool, PoolKind, Shape};
use crate::onnx::proto::{Attribute, NodeMessage, TensorMessage, data_type};

/// What has been written so far.
pub(super) struct Writer<'a> {
    pub(super) nodes: Vec<NodeMessage>,
    pub(super) initialisers: Vec<TensorMessage>,
    /// For each node of the graph, the tensor that is its output.
    outputs: Vec<Tensor>,
    /// What the graph's first node takes.
    image: String,
    /// Names that are taken.
    names: HashSet<String>,
    output: &'a str,
    precision: WeightPrecision,
}

/// A tensor of the file.
#[derive(Clone)]
struct Tensor {
    name: String,
    /// Whether it is `[N, length]`, not `[N, channels, rows, columns]`.
    vector: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(options: &WriteOptions<'a>) -> Self {
        Self {
            nodes: Vec::new(),
            initialisers: Vec::new(),
            outputs: Vec::new(),
            image: options.input.to_owned(),
            names: HashSet::from([options.input.to_owned(), options.output.to_owned()]),
            output: options.output,
            precision: options.precision,
        }
    }

    /// Whether the last node's output is a vector.
    pub(super) fn ends_in_vector(&self) -> bool {
        self.outputs.last().is_some_and(|tensor| tensor.vector)
    }

    /// `name`, or what distinguishes it from those before.
    fn unique(&mut self, name: &str) -> String {
        let mut unique = if name.is_empty() { "node".to_owned() } else { name.to_owned() };
        let mut count = 1;
        while !self.names.insert(unique.clone()) {
            count += 1;
            unique = format!("{name}.{count}");
        }
        unique
    }

    /// Appends an operation whose output is called `output`.
    fn push(&mut self, kind: &str, inputs: &[&str], output: &str, attribute: Vec<Attribute>) {
        self.nodes.push(NodeMessage {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            name: Some(output.to_owned()),
            op_type: Some(kind.to_owned()),
            attribute,
            domain: None,
        });
    }

    /// Appends an operation between others; returns its output's name.
    fn step(&mut self, kind: &str, inputs: &[&str], name: &str, attribute: Vec<Attribute>) -> String {
        let output = self.unique(name);
        self.push(kind, inputs, &output, attribute);
        output
    }

    /// Stores what `make` makes under a name like this one, which it returns.
    fn store(&mut self, name: &str, make: impl FnOnce(&str) -> TensorMessage) -> String {
        let name = self.unique(name);
        self.initialisers.push(make(&name));
        name
    }

    /// Appends what is done to an image before the graph takes it, in single precision whatever the weights'.
    pub(super) fn preprocess(&mut self, image: &ImageInput) {
        let base = self.image.clone();
        let mut x = base.clone();
        if image.pixels == PixelType::Byte {
            x = self.step("Cast", &[&x], &format!("{base}.float"), vec![int("to", data_type::FLOAT as usize)]);
        }
        let border = image.border();
        if border != [0; 4] {
            let padded = self.unique(&format!("{base}.padded"));
            self.pad(&x, border, 0.0, &padded);
            x = padded;
        }
        if image.scale != [1.0; 3] {
            let scale = self.store(&format!("{base}.scale"), |name| floats(name, &[1, 3, 1, 1], &image.scale));
            x = self.step("Mul", &[&x, &scale], &format!("{base}.scaled"), vec![]);
        }
        if image.shift != [0.0; 3] {
            let shift = self.store(&format!("{base}.shift"), |name| floats(name, &[1, 3, 1, 1], &image.shift));
            x = self.step("Add", &[&x, &shift], &format!("{base}.shifted"), vec![]);
        }
        self.image = x;
    }

    /// Appends node `at` of the graph.
    pub(super) fn node(&mut self, graph: &Graph, at: usize, shapes: &[Shape]) -> Result<(), WriteError> {
        let node = &graph.nodes()[at];
        let inputs: Vec<Tensor> = node.inputs.iter().map(|&input| self.outputs[input].clone()).collect();
        let last = at + 1 == graph.nodes().len();
        if let Op::Input(_) = node.op {
            let mut name = self.image.clone();
            if last {
                name = self.output.to_owned();
                let image = self.image.clone();
                self.push("Identity", &[&image], &name, vec![]);
            }
            self.outputs.push(Tensor { name, vector: false });
            return Ok(());
        }
        let output = if last { self.output.to_owned() } else { self.unique(&node.name) };
        let mut vector = inputs.first().is_some_and(|input| input.vector);
        let refused = || WriteError::Vector { node: node.name.clone(), op: node.op.name().to_owned() };
        if inputs.iter().any(|input| input.vector != vector) {
            return Err(refused());
        }
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let x = names.first().copied().unwrap_or_default();
        match &node.op {
            Op::Conv(conv) if vector => {
                let plain = conv.kernel == [1, 1] && conv.groups == 1 && node.border(shapes[node.inputs[0]])? == [0; 4];
                if !plain {
                    return Err(refused());
                }
                let (weight, bias) = self.weights(node, conv, &[conv.output, conv.input])?;
                self.push("Gemm", &[x, &weight, &bias], &output, vec![int("transB", 1)]);
            }
            Op::Conv(conv) => self.conv(node, conv, shapes[node.inputs[0]], x, &output)?,
            Op::Affine { scale, shift } => self.affine(node, [scale, shift], vector, x, &output)?,
            Op::Activation(activation) => self.activation(*activation, x, &output),
            Op::Add => self.sum(&names, &output),
            Op::Mul => self.push("Mul", &names, &output, vec![]),
            Op::Concat => self.push("Concat", &names, &output, vec![int("axis", 1)]),
            Op::Select(channels) => {
                let places: Vec<i64> = channels.iter().map(|&channel| i64::from(channel)).collect();
                let places = self.store(&format!("{output}.channels"), |name| integers(name, &places));
                self.push("Gather", &[x, &places], &output, vec![int("axis", 1)]);
            }
            // A vector of a vector is itself: for its `[N, length, 1, 1]` in the graph both orders are the same.
            Op::Flatten { .. } if vector => self.push("Identity", &[x], &output, vec![]),
            Op::Flatten { channels_last } => {
                vector = true;
                let turn = vec![ints("perm", &[0, 2, 3, 1])];
                let turned = channels_last.then(|| self.step("Transpose", &[x], &format!("{output}.rows"), turn));
                self.push("Flatten", &[turned.as_deref().unwrap_or(x)], &output, vec![int("axis", 1)]);
            }
            // The mean over a vector's only place.
            Op::GlobalAverage if vector => self.push("Identity", &[x], &output, vec![]),
            Op::Pool(_) | Op::Pad { .. } if vector => return Err(refused()),
            Op::GlobalAverage => self.push("GlobalAveragePool", &[x], &output, vec![]),
            Op::Pool(pool) => self.pool(node, pool, shapes[node.inputs[0]], x, &output)?,
            Op::Pad { border, value } => self.pad(x, *border, *value, &output),
            // Graphs with these are refused before.
            Op::Input(_) | Op::Unsupported(_) => return Err(refused()),
        }
        self.outputs.push(Tensor { name: output, vector });
        Ok(())
    }

    fn conv(&mut self, node: &Node, conv: &Conv, shape: Shape, x: &str, output: &str) -> Result<(), WriteError> {
        let [rows, columns] = conv.kernel;
        let dims = [conv.output, conv.input / conv.groups, rows, columns];
        let (weight, bias) = self.weights(node, conv, &dims)?;
        let attributes = vec![
            int("group", conv.groups),
            ints("kernel_shape", &conv.kernel),
            ints("strides", &[conv.stride; 2]),
            ints("dilations", &[conv.dilation; 2]),
            ints("pads", &node.border(shape)?),
        ];
        self.push("Conv", &[x, &weight, &bias], output, attributes);
        Ok(())
    }

    /// Stores a convolution's weights, shaped as `dims`, and biases; returns the tensors that hold them in single precision.
    fn weights(&mut self, node: &Node, conv: &Conv, dims: &[usize]) -> Result<(String, String), WriteError> {
        let name = format!("{}.weight", node.name);
        let weight = match self.precision {
            WeightPrecision::Int8 => {
                let refused = || WriteError::NotQuantised { node: node.name.clone() };
                let int8 = conv.int8().ok_or_else(refused)?;
                let count = [conv.output];
                let values = self.store(&name, |name| bytes(name, dims, &int8.values));
                let scale = self.store(&format!("{name}.scale"), |name| floats(name, &count, &int8.scales));
                // Not every runtime takes it as read that there is none.
                let zero = self.store(&format!("{name}.zero"), |name| bytes(name, &count, &vec![0; conv.output]));
                let inputs = [values.as_str(), &scale, &zero];
                self.step("DequantizeLinear", &inputs, &format!("{name}.float"), vec![int("axis", 0)])
            }
            _ => self.numbers(node, &name, dims, &conv.weight)?,
        };
        let bias = self.numbers(node, &format!("{}.bias", node.name), &[conv.output], &conv.bias)?;
        Ok((weight, bias))
    }

    /// Stores numbers in half precision, where that is wanted, else in single precision, in which the tensor it returns is.
    fn numbers(&mut self, node: &Node, name: &str, dims: &[usize], values: &[f32]) -> Result<String, WriteError> {
        if self.precision != WeightPrecision::F16 {
            return Ok(self.store(name, |name| floats(name, dims, values)));
        }
        if let Some(&value) = values.iter().find(|&&value| f16::from_f32(value).is_infinite()) {
            return Err(WriteError::Overflow { node: node.name.clone(), value });
        }
        let stored = self.store(name, |name| halves(name, dims, values));
        let to = vec![int("to", data_type::FLOAT as usize)];
        Ok(self.step("Cast", &[&stored], &format!("{name}.float"), to))
    }

    fn affine(
        &mut self,
        node: &Node,
        [scale, shift]: [&[f32]; 2],
        vector: bool,
        x: &str,
        output: &str,
    ) -> Result<(), WriteError> {
        let all = [1, scale.len(), 1, 1];
        let dims = if vector { &all[..2] } else { &all[..] };
        let scales = scale.iter().any(|&value| value != 1.0);
        let shifts = shift.iter().any(|&value| value != 0.0);
        let mut x = x.to_owned();
        if scales {
            let factor = self.numbers(node, &format!("{}.scale", node.name), dims, scale)?;
            let name = if shifts { self.unique(&format!("{}.scaled", node.name)) } else { output.to_owned() };
            self.push("Mul", &[&x, &factor], &name, vec![]);
            x = name;
        }
        if shifts {
            let term = self.numbers(node, &format!("{}.shift", node.name), dims, shift)?;
            self.push("Add", &[&x, &term], output, vec![]);
        } else if !scales {
            self.push("Identity", &[&x], output, vec![]);
        }
        Ok(())
    }

    fn activation(&mut self, activation: Activation, x: &str, output: &str) {
        match activation {
            Activation::Relu => self.push("Relu", &[x], output, vec![]),
            Activation::Sigmoid => self.push("Sigmoid", &[x], output, vec![]),
            Activation::Tanh => self.push("Tanh", &[x], output, vec![]),
            Activation::LeakyRelu(slope) => self.push("LeakyRelu", &[x], output, vec![float("alpha", slope)]),
            Activation::HardSigmoid { alpha, beta } => {
                self.push("HardSigmoid", &[x], output, vec![float("alpha", alpha), float("beta", beta)]);
            }
            Activation::HardSwish => {
                let attributes = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
                let gate = self.step("HardSigmoid", &[x], &format!("{output}.gate"), attributes);
                self.push("Mul", &[x, &gate], output, vec![]);
            }
            Activation::Swish => {
                let gate = self.step("Sigmoid", &[x], &format!("{output}.gate"), vec![]);
                self.push("Mul", &[x, &gate], output, vec![]);
            }
            Activation::Clip { low, high } => {
                let mut bound = |word: &str, value: f32| match value.is_finite() {
                    true => self.store(&format!("{output}.{word}"), |name| floats(name, &[], &[value])),
                    false => String::new(),
                };
                let (low, high) = (bound("min", low), bound("max", high));
                // What is left out at the end is not named.
                let inputs = [x, &low, &high];
                let count = inputs.iter().rposition(|name| !name.is_empty()).map_or(1, |last| last + 1);
                self.push("Clip", &inputs[..count], output, vec![]);
            }
        }
    }

    fn pool(&mut self, node: &Node, pool: &Pool, shape: Shape, x: &str, output: &str) -> Result<(), WriteError> {
        let mut attributes = vec![
            ints("kernel_shape", &pool.kernel),
            ints("strides", &[pool.stride; 2]),
            ints("pads", &node.border(shape)?),
        ];
        let kind = match pool.kind {
            PoolKind::Max => "MaxPool",
            PoolKind::Average { border } => {
                attributes.push(int("count_include_pad", usize::from(border)));
                "AveragePool"
            }
        };
        self.push(kind, &[x], output, attributes);
        Ok(())
    }

    fn pad(&mut self, x: &str, [top, left, bottom, right]: [usize; 4], value: f32, output: &str) {
        let sizes = [0, 0, top, left, 0, 0, bottom, right].map(|size| size as i64);
        let sizes = self.store(&format!("{output}.border"), |name| integers(name, &sizes));
        let value = self.store(&format!("{output}.value"), |name| floats(name, &[], &[value]));
        self.push("Pad", &[x, &sizes, &value], output, vec![text("mode", "constant")]);
    }

    fn sum(&mut self, terms: &[&str], output: &str) {
        let Some((&first, others)) = terms.split_first() else {
            return;
        };
        let Some((&last, between)) = others.split_last() else {
            return self.push("Identity", &[first], output, vec![]);
        };
        let mut sum = first.to_owned();
        for term in between {
            sum = self.step("Add", &[&sum, term], &format!("{output}.part"), vec![]);
        }
        self.push("Add", &[&sum, last], output, vec![]);
    }
}
