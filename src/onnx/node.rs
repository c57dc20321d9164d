//! What each ONNX operation means.

mod windows;

use std::sync::Arc;

use super::constant::Constant;
use super::error::Problem;
use super::fold::fold;
use super::import::{Layout, Made, Reader};
use super::proto::{Attribute, NodeMessage};
use crate::nn::{Activation, GraphOp as Op};

/// A node of the file.
pub(super) struct Operation<'a> {
    message: &'a NodeMessage,
    kind: &'a str,
    /// The name of its first output, or the node's own where that is a number.
    name: &'a str,
}

/// An input.
enum Value<'a> {
    Made(Made),
    Constant(&'a Constant),
}

impl<'a> Operation<'a> {
    pub(super) fn new(message: &'a NodeMessage) -> Result<Self, Problem> {
        let kind = message.op_type.as_deref().unwrap_or_default();
        let output = message.output.first().map_or("", String::as_str);
        let own = message.name.as_deref().unwrap_or_default();
        let readable = output.chars().any(|c| c.is_ascii_alphabetic());
        let name = if readable || own.is_empty() { output } else { own };
        if message.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty()) {
            return Err(Problem::ControlFlow { node: name.to_owned(), op: kind.to_owned() });
        }
        Ok(Self { message, kind, name })
    }

    /// Appends what it does to the graph, or adds what it makes to the constants.
    pub(super) fn read(&self, reader: &mut Reader) -> Result<(), Problem> {
        let mut images: Vec<Made> = Vec::new();
        let mut unknown = None;
        for input in &self.message.input {
            match reader.made.get(input) {
                Some(&made) => images.push(made),
                None if reader.constants.contains_key(input) || reader.absent.contains(input) => {}
                None => unknown = unknown.or(Some(input)),
            }
        }
        if let Some(input) = unknown {
            return Err(Problem::Dangling { node: self.name.to_owned(), input: input.clone() });
        }
        if images.is_empty() || self.kind == "Shape" {
            return self.read_constant(reader);
        }
        let Some(made) = self.known(reader)? else {
            // What can't be run ends here; what it makes can still be followed.
            let inputs = images.iter().map(|made| made.node).collect();
            let node = reader.push(self.name, Op::Unsupported(self.kind.to_owned()), inputs)?;
            let made = Made { node, layout: Layout::ChannelsFirst, vector: false };
            for output in &self.message.output {
                reader.made.insert(output.clone(), made);
            }
            return Ok(());
        };
        if let Some(output) = self.message.output.first() {
            reader.made.insert(output.clone(), made);
        }
        // Means and masks that inference has no use for.
        reader.absent.extend(self.message.output.iter().skip(1).cloned());
        Ok(())
    }

    /// A node that depends on no image: its output is a constant, or unknown.
    fn read_constant(&self, reader: &mut Reader) -> Result<(), Problem> {
        let Some(output) = self.message.output.first().cloned() else {
            return Ok(());
        };
        let constant = |at: usize| self.message.input.get(at).and_then(|name| reader.constants.get(name));
        let made = match (self.kind, constant(0)) {
            ("Constant", _) => match self.attribute("value").and_then(|attribute| attribute.t.as_ref()) {
                Some(tensor) => Some(Constant::read(tensor)?),
                None => self.plain_constant(),
            },
            ("Identity" | "Cast", Some(value)) => Some(value.clone()),
            ("DequantizeLinear", Some(value)) => {
                let axis = self.integer("axis").unwrap_or(1);
                self.dequantised(value, constant(1), constant(2), axis)
            }
            ("ConstantOfShape", _) if !self.fills_with_zeros()? => None,
            _ => {
                let inputs: Vec<Option<&Constant>> = (0..self.message.input.len()).map(constant).collect();
                let integer = |name: &str| self.integer(name);
                fold(self.kind, &inputs, &integer)
            }
        };
        // What isn't known, as a shape that follows from the image's, is of use to what needs no value alone.
        if let Some(made) = &made {
            reader.spend(made.values.len())?;
        }
        reader.constants.insert(output, made.unwrap_or_else(Constant::unknown));
        Ok(())
    }

    fn fills_with_zeros(&self) -> Result<bool, Problem> {
        let value = self.attribute("value").and_then(|attribute| attribute.t.as_ref()).map(Constant::read);
        Ok(value.transpose()?.is_none_or(|value| value.scalar() == Some(0.0)))
    }

    fn plain_constant(&self) -> Option<Constant> {
        let floats = |dims, values| Some(Constant { dims, values, integers: None });
        if let Some(value) = self.attribute("value_float").and_then(|a| a.f) {
            return floats(vec![], vec![value]);
        }
        if let Some(values) = self.attribute("value_floats").map(|a| a.floats.clone()) {
            return floats(vec![values.len()], values);
        }
        if let Some(value) = self.attribute("value_int").and_then(|a| a.i) {
            return Some(Constant::integers(vec![], vec![value]));
        }
        let values = self.attribute("value_ints").map(|a| a.ints.clone())?;
        Some(Constant::integers(vec![values.len()], values))
    }

    /// `(value − zero) · scale` along `axis`.
    fn dequantised(
        &self,
        value: &Constant,
        scale: Option<&Constant>,
        zero: Option<&Constant>,
        axis: i64,
    ) -> Option<Constant> {
        let scale = scale?;
        let rank = value.dims.len() as i64;
        let axis = if axis < 0 { axis + rank } else { axis }.clamp(0, rank.max(1) - 1) as usize;
        let behind: usize = value.dims.iter().skip(axis + 1).product::<usize>().max(1);
        let along = value.dims.get(axis).copied().unwrap_or(1).max(1);
        // One for all, or one for each; blocks are another matter, and a scale that isn't known leaves the weights unknown.
        let fits = |constant: &Constant| [1, along].contains(&constant.values.len());
        if !fits(scale) || zero.is_some_and(|zero| !fits(zero)) || self.integer("block_size").unwrap_or(0) != 0 {
            return None;
        }
        let of = |constant: &Constant, at: usize| {
            if constant.values.len() == 1 { constant.values[0] } else { constant.values[at] }
        };
        let dequantise = |(at, value): (usize, &f32)| {
            let at = at / behind % along;
            (value - zero.map_or(0.0, |zero| of(zero, at))) * of(scale, at)
        };
        let values = value.values.iter().enumerate().map(dequantise).collect();
        Some(Constant { dims: value.dims.clone(), values, integers: None })
    }

    fn attribute(&self, name: &str) -> Option<&'a Attribute> {
        self.message.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.attribute(name)?.i
    }

    fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name)?.f
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.attribute(name)?.s.as_deref()?).ok()
    }

    fn integers(&self, name: &str) -> Option<&'a [i64]> {
        Some(&self.attribute(name)?.ints).filter(|ints| !ints.is_empty()).map(Vec::as_slice)
    }

    fn bad(&self, reason: &str) -> Problem {
        Problem::Attribute { node: self.name.to_owned(), op: self.kind.to_owned(), reason: reason.to_owned() }
    }

    fn input<'r>(&self, reader: &'r Reader, at: usize) -> Option<Value<'r>> {
        let name = self.message.input.get(at)?;
        match reader.made.get(name) {
            Some(&made) => Some(Value::Made(made)),
            None => reader.constants.get(name).map(Value::Constant),
        }
    }

    fn constant<'r>(&self, reader: &'r Reader, at: usize) -> Option<&'r Constant> {
        match self.input(reader, at)? {
            Value::Constant(constant) => Some(constant),
            Value::Made(_) => None,
        }
    }

    /// The node it becomes; `None` where there is none for it.
    fn known(&self, reader: &mut Reader) -> Result<Option<Made>, Problem> {
        if !matches!(self.message.domain.as_deref(), None | Some("" | "ai.onnx")) {
            return Ok(None);
        }
        if let "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max" = self.kind {
            return self.arithmetic(reader);
        }
        if self.kind == "Concat" {
            return self.concat(reader);
        }
        let Some(Value::Made(x)) = self.input(reader, 0) else {
            return Ok(None);
        };
        // Where channels come last nothing is done but scaling, transposing and flattening; with vectors nothing that needs a map.
        let anywhere = matches!(self.kind, "Transpose" | "Identity" | "Cast" | "Dropout" | "Flatten" | "Reshape");
        let of_map = matches!(
            self.kind,
            "Conv"
                | "MaxPool"
                | "AveragePool"
                | "GlobalAveragePool"
                | "ReduceMean"
                | "Pad"
                | "Gather"
                | "Squeeze"
                | "Flatten"
                | "Transpose"
        );
        let of_vector = matches!(self.kind, "Gemm" | "MatMul");
        if x.layout == Layout::ChannelsLast && !anywhere || x.vector && of_map || !x.vector && of_vector {
            return Ok(None);
        }
        let activation = |activation| Some(Op::Activation(activation));
        let op = match self.kind {
            "Identity" | "Dropout" | "Cast" => return Ok(Some(x)),
            "Transpose" => {
                let layout = match (x.layout, self.integers("perm")) {
                    (Layout::ChannelsLast, Some([0, 3, 1, 2])) => Layout::ChannelsFirst,
                    (Layout::ChannelsFirst, Some([0, 2, 3, 1])) => Layout::ChannelsLast,
                    _ => return Ok(None),
                };
                return Ok(Some(Made { layout, ..x }));
            }
            "Conv" => self.conv(reader)?.map(Op::Conv),
            "BatchNormalization" => self.normalisation(reader)?,
            "Relu" => activation(Activation::Relu),
            "LeakyRelu" => activation(Activation::LeakyRelu(self.float("alpha").unwrap_or(0.01))),
            "Sigmoid" => activation(Activation::Sigmoid),
            "Tanh" => activation(Activation::Tanh),
            "HardSwish" => activation(Activation::HardSwish),
            "HardSigmoid" => {
                let (alpha, beta) = (self.float("alpha").unwrap_or(0.2), self.float("beta").unwrap_or(0.5));
                activation(Activation::HardSigmoid { alpha, beta })
            }
            "Clip" => self.clip(reader).map(Op::Activation),
            "PRelu" => return self.parametric(reader, x),
            "MaxPool" | "AveragePool" => self.pool()?.map(Op::Pool),
            "GlobalAveragePool" => Some(Op::GlobalAverage),
            "ReduceMean" => return self.reduced(reader, x),
            "Pad" => self.pad(reader)?,
            "Gather" => self.gather(reader, x),
            "Flatten" | "Reshape" | "Squeeze" => return self.flattened(reader, x),
            "Gemm" | "MatMul" => self.linear(reader)?.map(Op::Conv),
            _ => None,
        };
        let Some(op) = op else {
            return Ok(None);
        };
        let node = reader.push(self.name, op, vec![x.node])?;
        Ok(Some(Made { node, ..x }))
    }

    /// Sums, products and the like of two tensors.
    fn arithmetic(&self, reader: &mut Reader) -> Result<Option<Made>, Problem> {
        if self.message.input.len() > 2 && self.kind != "Add" {
            return Ok(None);
        }
        let (Some(first), Some(second)) = (self.input(reader, 0), self.input(reader, 1)) else {
            return Ok(None);
        };
        let (x, constant, swapped) = match (first, second) {
            (Value::Made(a), Value::Made(b)) => {
                let op = match self.kind {
                    "Add" => Op::Add,
                    "Mul" => Op::Mul,
                    _ => return Ok(None),
                };
                let known = self.message.input.len() == 2
                    && a.vector == b.vector
                    && a.layout == b.layout
                    && a.layout == Layout::ChannelsFirst;
                if !known || reader.widths[a.node] == 0 || reader.widths[b.node] == 0 {
                    return Ok(None);
                }
                let node = reader.push(self.name, op, vec![a.node, b.node])?;
                return Ok(Some(Made { node, ..a }));
            }
            (Value::Made(x), Value::Constant(constant)) => (x, constant, false),
            (Value::Constant(constant), Value::Made(x)) => (x, constant, true),
            (Value::Constant(_), Value::Constant(_)) => return Ok(None),
        };
        let channels = reader.widths[x.node];
        if let ("Min" | "Max", Some(value)) = (self.kind, constant.scalar()) {
            let (low, high) = if self.kind == "Min" { (f32::NEG_INFINITY, value) } else { (value, f32::INFINITY) };
            let node = reader.push(self.name, Op::Activation(Activation::Clip { low, high }), vec![x.node])?;
            return Ok(Some(Made { node, ..x }));
        }
        let Some(values) =
            constant.by_channel(channels, x.vector || x.layout == Layout::ChannelsLast).filter(|_| channels > 0)
        else {
            return Ok(None);
        };
        let ones = || vec![1.0; channels];
        let each = |change: fn(f32) -> f32| values.iter().map(|&value| change(value)).collect::<Vec<f32>>();
        let (scale, shift) = match (self.kind, swapped) {
            ("Add", _) => (ones(), values),
            ("Sub", false) => (ones(), each(|v| -v)),
            ("Sub", true) => (vec![-1.0; channels], values),
            ("Mul", _) => (values, vec![0.0; channels]),
            ("Div", false) => (each(|v| 1.0 / v), vec![0.0; channels]),
            _ => return Ok(None),
        };
        let op = Op::Affine { scale: Arc::new(scale), shift: Arc::new(shift) };
        let node = reader.push(self.name, op, vec![x.node])?;
        Ok(Some(Made { node, ..x }))
    }

    fn concat(&self, reader: &mut Reader) -> Result<Option<Made>, Problem> {
        let mut nodes = Vec::with_capacity(self.message.input.len());
        for at in 0..self.message.input.len() {
            match self.input(reader, at) {
                Some(Value::Made(made))
                    if made.layout == Layout::ChannelsFirst && !made.vector && reader.widths[made.node] > 0 =>
                {
                    nodes.push(made.node);
                }
                _ => return Ok(None),
            }
        }
        if !matches!(self.integer("axis"), Some(1 | -3)) {
            return Ok(None);
        }
        let node = reader.push(self.name, Op::Concat, nodes)?;
        Ok(Some(Made { node, layout: Layout::ChannelsFirst, vector: false }))
    }

    fn normalisation(&self, reader: &Reader) -> Result<Option<Op>, Problem> {
        if self.integer("training_mode") == Some(1) {
            return Err(self.bad("it normalises by the batch: export the net in evaluation mode"));
        }
        let of: Option<Vec<&Constant>> = (1..5).map(|at| self.constant(reader, at)).collect();
        let Some(of) = of else {
            return Ok(None);
        };
        let [gain, offset, mean, variance] = [0, 1, 2, 3].map(|at| &of[at].values);
        if [offset, mean, variance].iter().any(|values| values.len() != gain.len()) {
            return Err(self.bad("its scale, bias, mean and variance are not as many"));
        }
        let epsilon = self.float("epsilon").unwrap_or(1e-5);
        let scale: Vec<f32> =
            gain.iter().zip(variance).map(|(gain, variance)| gain / (variance + epsilon).sqrt()).collect();
        let shift = offset.iter().zip(mean).zip(&scale).map(|((offset, mean), scale)| offset - mean * scale).collect();
        Ok(Some(Op::Affine { scale: Arc::new(scale), shift: Arc::new(shift) }))
    }

    fn clip(&self, reader: &Reader) -> Option<Activation> {
        let bound = |at: usize, name: &str, default: f32| match self.message.input.get(at).map_or("", String::as_str) {
            "" => Some(self.float(name).unwrap_or(default)),
            _ => self.constant(reader, at)?.scalar(),
        };
        let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
        Some(if (low, high) == (0.0, f32::INFINITY) { Activation::Relu } else { Activation::Clip { low, high } })
    }

    /// `relu(x) + slope · min(x, 0)`.
    fn parametric(&self, reader: &mut Reader, x: Made) -> Result<Option<Made>, Problem> {
        let channels = reader.widths[x.node];
        let slope = self.constant(reader, 1).and_then(|slope| slope.by_channel(channels, false));
        let Some(slope) = slope.filter(|_| channels > 0) else {
            return Ok(None);
        };
        let shift = Arc::new(vec![0.0; channels]);
        let part = |name: &str| format!("{}.{name}", self.name);
        let positive = reader.push(&part("positive"), Op::Activation(Activation::Relu), vec![x.node])?;
        let below = Activation::Clip { low: f32::NEG_INFINITY, high: 0.0 };
        let negative = reader.push(&part("negative"), Op::Activation(below), vec![x.node])?;
        let scaled = reader.push(&part("scaled"), Op::Affine { scale: Arc::new(slope), shift }, vec![negative])?;
        let node = reader.push(self.name, Op::Add, vec![positive, scaled])?;
        Ok(Some(Made { node, ..x }))
    }

    /// A mean over rows and columns.
    fn reduced(&self, reader: &mut Reader, x: Made) -> Result<Option<Made>, Problem> {
        let given = self.constant(reader, 1).and_then(|axes| axes.integers.clone());
        let axes = given.or_else(|| self.integers("axes").map(<[i64]>::to_vec)).unwrap_or_default();
        let mut axes: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis + 4 } else { axis }).collect();
        axes.sort_unstable();
        if axes != [2, 3] || reader.widths[x.node] == 0 {
            return Ok(None);
        }
        if self.integer("keepdims") != Some(0) {
            let node = reader.push(self.name, Op::GlobalAverage, vec![x.node])?;
            return Ok(Some(Made { node, ..x }));
        }
        let mean = reader.push(&format!("{}.map", self.name), Op::GlobalAverage, vec![x.node])?;
        let node = reader.push(self.name, Op::Flatten { channels_last: false }, vec![mean])?;
        Ok(Some(Made { node, vector: true, ..x }))
    }

    /// Channels in another order, or some of them.
    fn gather(&self, reader: &Reader, x: Made) -> Option<Op> {
        let width = reader.widths[x.node] as i64;
        let places = self.constant(reader, 1).filter(|places| places.dims.len() == 1)?.integers.as_deref()?;
        let place = |&at: &i64| {
            let at = if at < 0 { at + width } else { at };
            u16::try_from(at).ok().filter(|&at| i64::from(at) < width)
        };
        let places: Vec<u16> = places.iter().map(place).collect::<Option<_>>()?;
        (matches!(self.integer("axis"), Some(1 | -3)) && !places.is_empty()).then(|| Op::Select(Arc::new(places)))
    }

    /// A reshaping to a vector. A shape that isn't known is taken for one: what is made of the vector must fit it.
    fn flattened(&self, reader: &mut Reader, x: Made) -> Result<Option<Made>, Problem> {
        let vector = match self.kind {
            "Flatten" => self.integer("axis").unwrap_or(1) == 1,
            "Squeeze" => true,
            _ => self.constant(reader, 1).is_some_and(|shape| match &shape.integers {
                Some(target) => target.len() == 2,
                None => true,
            }),
        };
        if !vector || x.vector {
            return Ok(vector.then_some(x));
        }
        let op = Op::Flatten { channels_last: x.layout == Layout::ChannelsLast };
        let node = reader.push(self.name, op, vec![x.node])?;
        Ok(Some(Made { node, layout: Layout::ChannelsFirst, vector: true }))
    }
}
