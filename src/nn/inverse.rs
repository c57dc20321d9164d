//! A frozen net whose input is sought: the gradient of a loss on its output by its input.

use super::engine;
use super::error::NnError;
use super::gemm::GemmNetwork;
use super::graph::{Fuse, Graph};
use super::graph_executor::GraphExecutor;
use super::loss::Target;
use super::network::{BuildOptions, Device, check_input};
use super::params::Params;
use super::spec::{NetSpec, Shape};

/// A net with fixed weights that is differentiated by its input: what a white-box attack descends.
pub struct Inverse {
    input: Shape,
    output: Shape,
    executor: Executor,
}

/// What runs it.
enum Executor {
    Engine(Box<engine::Inverse>),
    Gemm(Box<GemmNetwork>),
    Graph(GraphExecutor),
}

impl Inverse {
    /// A net with these weights. It must have no dropout layer.
    ///
    /// # Errors
    /// [`NnError::Layer`], [`NnError::Param`] or [`NnError::Device`], as [`build`](super::build).
    pub fn new(spec: &NetSpec, params: &Params, device: Device) -> Result<Self, NnError> {
        let output = spec.output()?;
        params.check(spec)?;
        let executor = match device {
            Device::Cpu => Executor::Engine(Box::new(engine::Inverse::new(spec, params)?)),
            Device::Cuda(_) => {
                let options = BuildOptions { device, ..BuildOptions::default() };
                Executor::Gemm(Box::new(GemmNetwork::new(spec, params, &options)?))
            }
        };
        Ok(Self { input: spec.input, output, executor })
    }

    /// The last output of this graph on images of `side`.
    ///
    /// # Errors
    /// [`NnError::Graph`] for a graph that can't run, [`NnError::Device`].
    pub fn of_graph(graph: &Graph, side: usize, device: Device) -> Result<Self, NnError> {
        if let Some(chain) = graph.chain(side, Fuse::Yes) {
            return Self::new(&chain.spec, &chain.params, device);
        }
        let graph = GraphExecutor::new(graph, side, device, engine::Purpose::Gradients)?;
        let (input, output) = (graph.input(), graph.output());
        Ok(Self { input, output, executor: Executor::Graph(graph) })
    }

    /// The mean loss of a batch of `n` images `x` (`[n, height, width, channels]`), and its gradient by them, which takes the
    /// place of what `gradient` held.
    ///
    /// # Errors
    /// [`NnError::Batch`] for lengths that don't fit; [`NnError::Backend`].
    pub fn differentiate(
        &mut self,
        x: &[f32],
        n: usize,
        target: Target<'_>,
        gradient: &mut Vec<f32>,
    ) -> Result<f32, NnError> {
        check_input(self.input, x, n)?;
        target.check(n, self.output.len())?;
        gradient.resize(x.len(), 0.0);
        match &mut self.executor {
            Executor::Engine(engine) => Ok(engine.differentiate(x, n, target, gradient)),
            Executor::Graph(graph) => graph.differentiate(x, n, target, gradient),
            Executor::Gemm(gemm) => gemm.input_gradient(x, n, target, gradient),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Layer, initialise};

    fn conv(input: usize, output: usize, relu: bool) -> Layer {
        Layer::Conv3x3 { input, output, relu }
    }

    /// A local net with a mix at its end, one with a ReLU at its start and a residual block, one with few channels.
    fn specs() -> Vec<NetSpec> {
        let net = |channels, layers| NetSpec { input: Shape::new(8, 8, channels), layers };
        vec![
            net(3, vec![conv(3, 20, true), conv(20, 34, true), Layer::MaxPool2, conv(34, 5, false)]),
            net(2, vec![Layer::Relu, conv(2, 6, false), Layer::Residual { channels: 6, relu: true }, conv(6, 2, true)]),
            net(1, vec![conv(1, 2, true), conv(2, 1, true)]),
        ]
    }

    #[test]
    fn gradients_are_differences_of_the_loss() {
        for spec in specs() {
            let params = initialise(&spec, 3);
            let n = 5;
            let x: Vec<f32> = (0..n * spec.input.len()).map(|i| (i as f32 * 0.71).sin()).collect();
            let z: Vec<f32> = (0..n * spec.output().unwrap().len()).map(|i| (i as f32 * 0.37).cos() * 0.3).collect();
            let mut engine = Inverse::new(&spec, &params, Device::Cpu).unwrap();
            let mut gradient = Vec::new();
            let loss = engine.differentiate(&x, n, Target::Images(&z), &mut gradient).unwrap();
            // Along the gradient and along a fixed direction.
            for direction in [gradient.clone(), (0..x.len()).map(|i| (i as f32 * 1.3).sin()).collect::<Vec<f32>>()] {
                let norm = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
                let mut at = |by: f32| {
                    let moved: Vec<f32> = x.iter().zip(&direction).map(|(x, d)| x + by * d / norm).collect();
                    let mut unused = Vec::new();
                    f64::from(engine.differentiate(&moved, n, Target::Images(&z), &mut unused).unwrap())
                };
                let difference = (at(5e-3) - at(-5e-3)) / 1e-2;
                let exact: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d / norm)).sum();
                let tolerance = 2e-2 * exact.abs().max(1e-2 * f64::from(loss));
                assert!((difference - exact).abs() < tolerance, "{difference} {exact} {spec:?}");
            }
            // The other executor, on the CPU.
            let mut gemm = GemmNetwork::new(&spec, &params, &BuildOptions::default()).unwrap();
            let mut other = vec![0.0; x.len()];
            let found = gemm.input_gradient(&x, n, Target::Images(&z), &mut other).unwrap();
            assert!((found - loss).abs() < 1e-5 * loss.max(1.0));
            let largest = gradient.iter().fold(0f32, |m, g| m.max(g.abs()));
            for (a, b) in gradient.iter().zip(&other) {
                assert!((a - b).abs() < 1e-3 * largest, "{a} {b}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let spec = &specs()[0];
        let mut inverse = Inverse::new(spec, &initialise(spec, 1), Device::Cpu).unwrap();
        let (x, z) = (vec![0.0; 192], vec![0.0; 80]);
        let mut gradient = Vec::new();
        assert!(inverse.differentiate(&x, 1, Target::Images(&z), &mut gradient).is_ok());
        assert!(inverse.differentiate(&x, 1, Target::Images(&z[1..]), &mut gradient).is_err());
        assert!(inverse.differentiate(&x[1..], 1, Target::Images(&z), &mut gradient).is_err());
    }
}
