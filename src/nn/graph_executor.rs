//! What runs a frozen graph: the CPU engine; candle's tensors on CUDA, and on the CPU where the engine has no kernel.

use candle_core::{Device as CandleDevice, Tensor, Var};

use super::engine::{GraphEngine, Purpose};
use super::error::NnError;
use super::graph::{Graph, GraphRunner};
use super::loss::Target;
use super::network::Device;
use super::spec::Shape;
use super::tensors::{backend_error, from_host, open, to_host};

/// A graph with its weights where it runs.
pub(super) struct GraphExecutor {
    input: Shape,
    output: Shape,
    last: usize,
    executor: Executor,
}

enum Executor {
    Engine(Box<GraphEngine>),
    Tensors(Box<Tensors>),
}

struct Tensors {
    runner: GraphRunner,
    device: Device,
    backend: CandleDevice,
}

/// Why a run on tensors ended early.
enum Halt {
    Backend(candle_core::Error),
    Net(NnError),
}

impl From<candle_core::Error> for Halt {
    fn from(error: candle_core::Error) -> Self {
        Self::Backend(error)
    }
}

impl GraphExecutor {
    /// For images of `side`.
    ///
    /// # Errors
    /// [`NnError::Graph`] for a graph that can't run, [`NnError::Device`].
    pub(super) fn new(graph: &Graph, side: usize, device: Device, purpose: Purpose) -> Result<Self, NnError> {
        let output = graph.cost(side, side)?.output;
        let engine = match device {
            Device::Cpu => GraphEngine::new(graph, side, purpose),
            Device::Cuda(_) => None,
        };
        let executor = match engine {
            Some(engine) => Executor::Engine(Box::new(engine)),
            None => Executor::Tensors(Box::new(Tensors::new(graph, device)?)),
        };
        let input = Shape::new(side, side, graph.input_channels());
        Ok(Self { input, output, last: graph.nodes().len() - 1, executor })
    }

    /// Shape of an image.
    pub(super) fn input(&self) -> Shape {
        self.input
    }

    /// Shape of the last node's output.
    pub(super) fn output(&self) -> Shape {
        self.output
    }

    /// Runs dense images, which must fit, up to node `last`, and calls `tap(node, dense output)` for each of the nodes that
    /// `tapped` names, in their order.
    pub(super) fn forward(
        &self,
        x: &[f32],
        last: usize,
        tapped: impl Fn(usize) -> bool,
        mut tap: impl FnMut(usize, &[f32]) -> Result<(), NnError>,
    ) -> Result<(), NnError> {
        match &self.executor {
            Executor::Engine(engine) => engine.forward(x, last, tapped, tap),
            Executor::Tensors(tensors) => {
                let run = || -> Result<(), Halt> {
                    let x = from_host(x, x.len() / self.input.len(), self.input, &tensors.backend)?;
                    let tap = |node, output: &Tensor| tap(node, &to_host(output)?).map_err(Halt::Net);
                    tensors.runner.forward(&x, last, tapped, tap).map(|_| ())
                };
                run().map_err(|halt| match halt {
                    Halt::Backend(error) => backend_error(tensors.device, error),
                    Halt::Net(error) => error,
                })
            }
        }
    }

    /// The mean loss of `n` dense images, which must fit, on the last node's output, and its gradient by them. It must have been
    /// made for gradients.
    pub(super) fn differentiate(
        &self,
        x: &[f32],
        n: usize,
        target: Target<'_>,
        gradient: &mut [f32],
    ) -> Result<f32, NnError> {
        match &self.executor {
            Executor::Engine(engine) => Ok(engine.differentiate(x, n, target, gradient)),
            Executor::Tensors(tensors) => tensors
                .differentiate((self.input, self.output), self.last, (x, n), target, gradient)
                .map_err(|error| backend_error(tensors.device, error)),
        }
    }
}

impl Tensors {
    fn new(graph: &Graph, device: Device) -> Result<Self, NnError> {
        let backend = open(device)?;
        let runner = GraphRunner::new(graph, &backend).map_err(|error| backend_error(device, error))?;
        Ok(Self { runner, device, backend })
    }

    /// The loss of `n` images `x`, and its gradient: the loss' own by the output on the host, as for every executor, and by the
    /// image what candle makes of it.
    fn differentiate(
        &self,
        (input, shape): (Shape, Shape),
        last: usize,
        (x, n): (&[f32], usize),
        target: Target<'_>,
        gradient: &mut [f32],
    ) -> candle_core::Result<f32> {
        let images = Var::from_tensor(&from_host(x, n, input, &self.backend)?)?;
        let nothing = |_: usize, _: &Tensor| Ok::<(), candle_core::Error>(());
        let output = self.runner.forward(images.as_tensor(), last, |_| false, nothing)?;
        let values = to_host(&output)?;
        let mut by_output = vec![0.0; values.len()];
        let loss = target.contribution(&values, shape.len(), n, Some(&mut by_output));
        let by_output = from_host(&by_output, n, shape, &self.backend)?;
        let found = (output * by_output)?.sum_all()?.backward()?;
        let by_image = match found.get(images.as_tensor()) {
            Some(by_image) => to_host(by_image)?,
            None => to_host(&Tensor::zeros_like(images.as_tensor())?)?,
        };
        gradient.copy_from_slice(&by_image);
        Ok(loss as f32)
    }
}

/// The loss and the gradient that candle finds, on the CPU: what the engine is tested against.
#[cfg(test)]
pub(super) fn by_tensors(
    graph: &Graph,
    side: usize,
    x: &[f32],
    n: usize,
    target: Target<'_>,
) -> Result<(f32, Vec<f32>), NnError> {
    let tensors = Tensors::new(graph, Device::Cpu)?;
    let (input, output) = (Shape::new(side, side, graph.input_channels()), graph.cost(side, side)?.output);
    let executor = Executor::Tensors(Box::new(tensors));
    let executor = GraphExecutor { input, output, last: graph.nodes().len() - 1, executor };
    let mut gradient = vec![0.0; x.len()];
    let loss = executor.differentiate(x, n, target, &mut gradient)?;
    Ok((loss, gradient))
}
