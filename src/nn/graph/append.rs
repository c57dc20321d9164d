//! Trained nets as graphs.

use std::sync::Arc;

use super::{Activation, Conv, Graph, GraphError, Op, Padding, Pool, PoolKind};
use crate::nn::{Layer, NetSpec, NnError, Param, Params};

impl Graph {
    /// Appends the layers of a trained net behind the last node, as they are when no training runs: dropout is nothing.
    ///
    /// A linear layer becomes a 1×1 convolution of the vector; the flattening before it keeps the net's order (row, column,
    /// channel).
    ///
    /// # Errors
    /// [`NnError::Layer`] and [`NnError::Param`] for a description or weights that don't fit; [`NnError::Graph`] for a pixel
    /// shuffle, which no graph has.
    pub fn append_net(&mut self, spec: &NetSpec, params: &Params) -> Result<(), NnError> {
        spec.shapes()?;
        params.check(spec)?;
        let mut net = Appended { last: self.nodes.len() - 1, graph: self, weights: params.0.chunks_exact(2) };
        for (index, layer) in spec.layers.iter().enumerate() {
            net.layer(&index.to_string(), *layer)?;
        }
        Ok(())
    }
}

/// A graph that grows by a net's layers.
struct Appended<'g, 'p> {
    graph: &'g mut Graph,
    /// The node whose output the next layer takes.
    last: usize,
    /// Weight and bias of the layers that are left.
    weights: std::slice::ChunksExact<'p, Param>,
}

impl Appended<'_, '_> {
    fn push(&mut self, name: String, op: Op) -> Result<(), GraphError> {
        self.last = self.graph.push(name, op, vec![self.last])?;
        Ok(())
    }

    fn relu(&mut self, name: &str, wanted: bool) -> Result<(), GraphError> {
        match wanted {
            true => self.push(format!("{name}.relu"), Op::Activation(Activation::Relu)),
            false => Ok(()),
        }
    }

    /// A convolution with the next weights, zeros around the map where its kernel is 3×3.
    fn conv(&mut self, name: &str, [input, output]: [usize; 2], kernel: usize) -> Result<(), GraphError> {
        let Some([weight, bias]) = self.weights.next() else {
            let reason = "it has no weights".to_owned();
            return Err(GraphError::Node { node: name.to_owned(), reason });
        };
        let conv = Conv {
            input,
            output,
            groups: 1,
            kernel: [kernel; 2],
            stride: 1,
            dilation: 1,
            padding: Padding::Explicit([kernel / 2; 4]),
            weight: Arc::new(weight.data.clone()),
            bias: Arc::new(bias.data.clone()),
        };
        self.push(name.to_owned(), Op::Conv(conv))
    }

    fn layer(&mut self, name: &str, layer: Layer) -> Result<(), GraphError> {
        match layer {
            Layer::Conv3x3 { input, output, relu } => {
                self.conv(&format!("{name}.conv"), [input, output], 3)?;
                self.relu(name, relu)
            }
            Layer::Linear { input, output, relu } => {
                self.conv(&format!("{name}.linear"), [input, output], 1)?;
                self.relu(name, relu)
            }
            Layer::Residual { channels, relu } => {
                let start = self.last;
                self.conv(&format!("{name}.a"), [channels; 2], 3)?;
                self.relu(&format!("{name}.a"), true)?;
                self.conv(&format!("{name}.b"), [channels; 2], 3)?;
                self.last = self.graph.push(format!("{name}.sum"), Op::Add, vec![self.last, start])?;
                self.relu(name, relu)
            }
            Layer::MaxPool2 => {
                let padding = Padding::Explicit([0; 4]);
                let pool = Pool { kind: PoolKind::Max, kernel: [2, 2], stride: 2, padding, ceil: false };
                self.push(format!("{name}.pool"), Op::Pool(pool))
            }
            Layer::Flatten => self.push(format!("{name}.flatten"), Op::Flatten { channels_last: true }),
            Layer::Relu => self.relu(name, true),
            Layer::Sigmoid => self.push(format!("{name}.sigmoid"), Op::Activation(Activation::Sigmoid)),
            Layer::Dropout { .. } => Ok(()),
            Layer::PixelShuffle2 => {
                Err(GraphError::Unsupported { node: name.to_owned(), op: "PixelShuffle2".to_owned() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{numbers, outputs};
    use super::*;
    use crate::nn::{BuildOptions, Shape, build, initialise};

    #[test]
    fn a_trained_nets_graph_predicts_the_same() {
        let input = Shape::new(8, 8, 5);
        let mut spec = NetSpec::reference_classifier(input, 4).unwrap();
        spec.layers.insert(1, Layer::Residual { channels: 64, relu: true });
        spec.layers.push(Layer::Sigmoid);
        let params = initialise(&spec, 3);
        let mut graph = Graph::new(input.channels);
        graph.append_net(&spec, &params).unwrap();

        let x = numbers(2 * input.len(), 1, 1.0);
        let mut expected = Vec::new();
        build(&spec, &params, &BuildOptions::default()).unwrap().predict(&x, 2, &mut expected).unwrap();
        let first: Vec<f32> = (0..x.len())
            .map(|i| {
                let (image, channel, pixel) = (i / input.len(), i / 64 % 5, i % 64);
                x[image * input.len() + pixel * 5 + channel]
            })
            .collect();
        let found = outputs(&graph, &first, [2, 5, 8, 8]).pop().unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn what_no_graph_has_is_refused() {
        let spec = NetSpec { input: Shape::new(2, 2, 4), layers: vec![Layer::PixelShuffle2] };
        let error = Graph::new(4).append_net(&spec, &Params::default()).unwrap_err();
        assert!(error.to_string().contains("PixelShuffle2"), "{error}");
    }
}
