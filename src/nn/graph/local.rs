//! A prefix that computes no more than what is kept of its output.

use std::sync::Arc;

use super::{Conv, Cut, Graph, GraphError, Node, Op, Values};

/// What is kept of a cut's channels.
#[derive(Debug, Clone)]
pub enum Keep<'a> {
    /// These, in ascending order, behind the activation.
    Channels(&'a [u16]),
    /// Combinations of all channels before the activation, folded into the convolution's weights.
    Combinations {
        /// `[depth, input, rows, columns]`.
        weight: Vec<f32>,
        /// `[depth]`.
        bias: Vec<f32>,
        /// Whether a ReLU follows.
        relu: bool,
    },
}

/// Channels of one node's output.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    None,
    Some(Vec<u16>),
    All,
}

impl Wanted {
    fn of(channels: Vec<u16>, width: usize) -> Self {
        let all = channels.len() == width && channels.iter().enumerate().all(|(at, &c)| at == usize::from(c));
        if all { Self::All } else { Self::Some(channels) }
    }

    fn add(&mut self, other: &Self, width: usize) {
        *self = match (&*self, other) {
            (Self::None, other) => other.clone(),
            (own, Self::None) => own.clone(),
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Some(own), Self::Some(other)) => {
                let mut both = [own.as_slice(), other].concat();
                both.sort_unstable();
                both.dedup();
                Self::of(both, width)
            }
        };
    }

    /// Positions of `self`'s channels among those that `held` holds; `None` where these are the same.
    fn places_in(&self, held: &Self) -> Option<Vec<u16>> {
        match (self, held) {
            (Self::Some(own), Self::All) => Some(own.clone()),
            (Self::Some(own), Self::Some(held)) if own != held => {
                Some(own.iter().filter_map(|channel| held.binary_search(channel).ok()).map(|at| at as u16).collect())
            }
            _ => None,
        }
    }
}

impl Graph {
    /// The nodes up to the cut, of which each computes the channels alone that those behind it need.
    ///
    /// Convolutions lose filters; what works channel by channel passes the choice on to its inputs; where somebody else needs
    /// more of a map, the rest is dropped behind it. What is concatenated, and grouped convolutions that aren't depthwise, are
    /// computed whole.
    ///
    /// # Errors
    /// [`GraphError::Node`] for channels that the cut lacks, or combinations where it is no convolution;
    /// [`GraphError::Unsupported`].
    pub fn local(&self, cut: &Cut, keep: &Keep<'_>) -> Result<Self, GraphError> {
        let (mut graph, channels) = match keep {
            Keep::Channels(channels) => (self.prefix(cut.end), Some(*channels)),
            Keep::Combinations { weight, bias, relu } => (self.combined(cut, weight, bias, *relu)?, None),
        };
        if let Some((node, op)) = graph.first_unsupported() {
            return Err(GraphError::Unsupported { node: node.to_owned(), op: op.to_owned() });
        }
        graph = graph.live();
        let Some(channels) = channels else {
            return Ok(graph);
        };
        let widths = graph.widths();
        let last = graph.nodes.len() - 1;
        let width = widths[last];
        let ascending = channels.windows(2).all(|pair| pair[0] < pair[1]);
        if channels.is_empty() || !ascending || channels.iter().any(|&channel| usize::from(channel) >= width) {
            let reason = format!("it has {width} channels, {channels:?} were to be kept");
            return Err(GraphError::Node { node: graph.nodes[last].name.clone(), reason });
        }
        let kept = Wanted::of(channels.to_vec(), width);
        let held = graph.held(&kept, &widths);
        graph.cut_to(&held, &kept, &widths)
    }

    /// The prefix whose last convolution has these filters.
    fn combined(&self, cut: &Cut, weight: &[f32], bias: &[f32], relu: bool) -> Result<Self, GraphError> {
        let mut graph = self.prefix(cut.tap);
        let node = &mut graph.nodes[cut.tap];
        let name = node.name.clone();
        match &mut node.op {
            Op::Conv(conv) if conv.groups == 1 => {
                conv.output = bias.len();
                (conv.weight, conv.bias) = (Arc::new(weight.to_vec()), Arc::new(bias.to_vec()));
            }
            _ => {
                let reason = "combinations of channels can be folded into an ordinary convolution alone".to_owned();
                return Err(GraphError::Node { node: name, reason });
            }
        }
        node.check(cut.tap)?;
        if relu {
            graph.push(format!("{name}_relu"), Op::Activation(super::Activation::Relu), vec![cut.tap])?;
        }
        Ok(graph)
    }

    /// Channels of every node's output; 0 where they depend on the image's size.
    pub fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let of = || node.inputs.iter().map(|&input| widths[input]);
            widths.push(match &node.op {
                Op::Input(channels) => *channels,
                Op::Conv(conv) => conv.output,
                Op::Affine { scale, .. } => scale.len(),
                Op::Select(channels) => channels.len(),
                Op::Concat => of().sum(),
                Op::Flatten { .. } | Op::Unsupported(_) => 0,
                _ => of().max().unwrap_or(0),
            });
        }
        widths
    }

    /// What each node computes so that the last one can give `kept`.
    fn held(&self, kept: &Wanted, widths: &[usize]) -> Vec<Wanted> {
        let mut held = vec![Wanted::None; self.nodes.len()];
        if let Some(last) = held.last_mut() {
            *last = kept.clone();
        }
        for (at, node) in self.nodes.iter().enumerate().rev() {
            if matches!(held[at], Wanted::Some(_)) && !node.can_be_cut() {
                held[at] = Wanted::All;
            }
            let own = held[at].clone();
            for &input in &node.inputs {
                let wanted = node.wants(&own, widths[at], widths[input]);
                held[input].add(&wanted, widths[input]);
            }
        }
        held[0] = Wanted::All;
        held
    }

    /// Cuts every node to what it `held`.
    fn cut_to(&self, held: &[Wanted], kept: &Wanted, widths: &[usize]) -> Result<Self, GraphError> {
        let mut graph = Self::new(self.input_channels());
        let mut place = vec![0; self.nodes.len()];
        let select = |graph: &mut Self, from: usize, places: Vec<u16>, name: &str| {
            graph.push(format!("{name}_selected"), Op::Select(Arc::new(places)), vec![from])
        };
        for (at, node) in self.nodes.iter().enumerate().skip(1) {
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for &input in &node.inputs {
                let wanted = node.wants(&held[at], widths[at], widths[input]);
                inputs.push(match wanted.places_in(&held[input]) {
                    Some(places) => select(&mut graph, place[input], places, &self.nodes[input].name)?,
                    None => place[input],
                });
            }
            let op = match &held[at] {
                Wanted::Some(channels) => node.op.cut(channels),
                _ => node.op.clone(),
            };
            place[at] = graph.push(node.name.clone(), op, inputs)?;
        }
        let last = self.nodes.len() - 1;
        if let Some(places) = kept.places_in(&held[last]) {
            select(&mut graph, place[last], places, &self.nodes[last].name)?;
        }
        Ok(graph)
    }
}

impl Node {
    /// Whether it can compute some of its channels alone.
    fn can_be_cut(&self) -> bool {
        self.op.is_channelwise() || matches!(self.op, Op::Conv(Conv { groups: 1, .. }))
    }

    /// What it needs of an input of `input` channels to compute `own` of its `output`.
    fn wants(&self, own: &Wanted, output: usize, input: usize) -> Wanted {
        match own {
            Wanted::None => Wanted::None,
            Wanted::Some(_) if self.op.is_channelwise() && input == output => own.clone(),
            _ => Wanted::All,
        }
    }
}

impl Op {
    /// The operation that computes these channels alone.
    fn cut(&self, channels: &[u16]) -> Self {
        let of = |values: &Values, size: usize| {
            // A structure has no numbers.
            if values.is_empty() {
                return Values::default();
            }
            let part = |&channel: &u16| values[usize::from(channel) * size..][..size].iter().copied();
            Arc::new(channels.iter().flat_map(part).collect::<Vec<f32>>())
        };
        match self {
            Self::Conv(conv) => {
                let (weight, bias) = (of(&conv.weight, conv.weights_per_output()), of(&conv.bias, 1));
                let output = channels.len();
                let (input, groups) = if conv.groups == 1 { (conv.input, 1) } else { (output, output) };
                Self::Conv(Conv { input, output, groups, weight, bias, ..conv.clone() })
            }
            Self::Affine { scale, shift } => Self::Affine { scale: of(scale, 1), shift: of(shift, 1) },
            other => other.clone(),
        }
    }
}
