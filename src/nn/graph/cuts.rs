//! Where a graph can be split: the nodes through whose output all data flows.

use std::collections::HashSet;

use super::{Activation, Conv, Graph, Op, Pool};

/// A place where the net can be split: the output of one node, with the activation behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// A name for people: the node's, without what exporters add; unique in its graph.
    pub name: String,
    /// The node before the activation.
    pub tap: usize,
    /// The last node of the prefix: the activation, or `tap` where none follows.
    pub end: usize,
    /// What follows `tap`.
    pub activation: Option<Activation>,
    /// Whether `tap` is an ordinary convolution, into whose weights combinations of its channels can be folded.
    pub mixable: bool,
}

impl Graph {
    /// The cuts from the image on, those before an activation left out in favour of the ones behind it. Paddings,
    /// selections and what follows a flattening are none; nothing behind an unsupported operation is.
    ///
    /// In an order of a [`live`](Self::live) graph in which nodes follow their inputs, what stands before a node through which all
    /// paths go is needed by it, and what stands behind depends on it: so no edge passes over it, and where no edge passes over a
    /// node all paths go through it.
    pub fn cuts(&self) -> Vec<Cut> {
        let consumers = self.consumers();
        let runnable =
            self.nodes.iter().take_while(|node| !matches!(node.op, Op::Unsupported(_) | Op::Flatten { .. })).count();
        let mut cuts: Vec<Cut> = Vec::new();
        let mut farthest = 0;
        for (at, (node, consumers)) in self.nodes.iter().zip(&consumers).enumerate().take(runnable) {
            let bridges = farthest <= at;
            farthest = consumers.iter().copied().fold(farthest, usize::max);
            if !bridges || matches!(node.op, Op::Input(_) | Op::Pad { .. } | Op::Select(_)) {
                continue;
            }
            if let Op::Activation(activation) = node.op
                && let Some(last) = cuts.last_mut()
                && last.end == node.inputs[0]
                && last.activation.is_none()
                && !matches!(self.nodes[last.tap].op, Op::Pool(Pool { .. }))
            {
                last.end = at;
                last.activation = Some(activation);
                continue;
            }
            let name = tidy(&node.name).unwrap_or_else(|| format!("{}_{at}", node.op.name()));
            let mixable = matches!(node.op, Op::Conv(Conv { groups: 1, .. }));
            cuts.push(Cut { name, tap: at, end: at, activation: None, mixable });
        }
        name_apart(&mut cuts);
        cuts
    }

    /// The first operation that is not known, with its node's name: nothing behind it can be run.
    pub fn first_unsupported(&self) -> Option<(&str, &str)> {
        self.nodes.iter().find_map(|node| match &node.op {
            Op::Unsupported(op) => Some((node.name.as_str(), op.as_str())),
            _ => None,
        })
    }
}

/// Drops a beginning that all names have in common, as Keras writes the model's own, and makes them differ.
fn name_apart(cuts: &mut [Cut]) {
    let beginning = |cut: &Cut| cut.name.split_once('.').map(|(first, _)| first.to_owned());
    if let Some(common) = cuts.first().and_then(beginning)
        && cuts.len() > 1
        && cuts.iter().all(|cut| beginning(cut).as_ref() == Some(&common))
    {
        cuts.iter_mut().for_each(|cut| cut.name = cut.name[common.len() + 1..].to_owned());
    }
    let mut names = HashSet::new();
    for cut in cuts {
        while !names.insert(cut.name.clone()) {
            cut.name.push('\'');
        }
    }
}

/// `/layer1/layer1.0/conv1/Conv_output_0` is `layer1.0.conv1`; `None` where nothing readable is left.
fn tidy(name: &str) -> Option<String> {
    let name = name.strip_suffix("_output_0").or(name.strip_suffix(":0")).unwrap_or(name);
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    let mut kept: Vec<String> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let repeated = parts.get(at + 1).is_some_and(|next| next.starts_with(&format!("{part}.")));
        let last = at + 1 == parts.len();
        let known = |op: &str| matches!(op, "Conv" | "Conv2D" | "BiasAdd" | "BatchNormalization" | "Gemm");
        let operation = last && at > 0 && part.split('_').next().is_some_and(known);
        let doubled = last && at > 0 && parts[at - 1].eq_ignore_ascii_case(part);
        if !repeated && !operation && !doubled {
            kept.push(if last { part.to_lowercase() } else { (*part).to_owned() });
        }
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let name: String = kept.join(".").chars().map(plain).take(80).collect();
    name.chars().any(|c| c.is_ascii_alphabetic()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::graph::tests::{conv, relu};

    #[test]
    fn names_lose_what_exporters_add() {
        for (written, read) in [
            ("/layer1/layer1.0/conv1/Conv_output_0", Some("layer1.0.conv1")),
            ("/layer1/layer1.0/Add_output_0", Some("layer1.0.add")),
            ("/features/features.3/Conv_output_0", Some("features.3")),
            ("resnet/block 1/Relu:0", Some("resnet.block_1.relu")),
            ("functional_1/block2_conv1_1/BiasAdd:0", Some("functional_1.block2_conv1_1")),
            ("/maxpool/MaxPool_output_0", Some("maxpool")),
            ("Conv_0", Some("conv_0")),
            ("conv3_1", Some("conv3_1")),
            ("123", None),
            ("", None),
        ] {
            assert_eq!(tidy(written).as_deref(), read, "{written}");
        }
    }

    #[test]
    fn a_skip_hides_what_it_passes_over() {
        let mut graph = Graph::new(3);
        let a = graph.push("a", conv(3, 4, 1), vec![0]).unwrap();
        let a = graph.push("a_relu", relu(), vec![a]).unwrap();
        let b = graph.push("b", conv(4, 4, 2), vec![a]).unwrap();
        let b = graph.push("b_relu", relu(), vec![b]).unwrap();
        let c = graph.push("c", conv(4, 4, 3), vec![b]).unwrap();
        let sum = graph.push("sum", Op::Add, vec![c, a]).unwrap();
        let end = graph.push("sum_relu", relu(), vec![sum]).unwrap();
        graph.push("gone", Op::Unsupported("LSTM".to_owned()), vec![end]).unwrap();
        graph.push("last", relu(), vec![8]).unwrap();
        let cuts = graph.live().cuts();
        let found: Vec<_> = cuts.iter().map(|c| (c.name.as_str(), c.tap, c.end, c.mixable)).collect();
        assert_eq!(found, [("a", 1, 2, true), ("sum", 6, 7, false)]);
        assert!(cuts.iter().all(|cut| cut.activation == Some(Activation::Relu)));
    }
}
