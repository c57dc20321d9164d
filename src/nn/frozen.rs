//! The runner of frozen nets: forward only, handing over the outputs of chosen layers.

use candle_core::{Device as CandleDevice, Tensor};

use super::engine::{Purpose, Runner};
use super::error::NnError;
use super::graph::{Fuse, Graph};
use super::graph_executor::GraphExecutor;
use super::network::{Device, check_input};
use super::params::Params;
use super::spec::{NetSpec, Shape};
use super::tensors::{apply, backend_error, from_host, open, tensors, to_host};

/// What a receiver of features may fail with.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// A receiver of features: called with the layer's index and its output.
pub type Sink<'a> = dyn FnMut(usize, &[f32]) -> Result<(), SinkError> + 'a;

/// A net with fixed weights. One pass over the images yields the outputs of any of its layers, in blocks of
/// [`Frozen::BLOCK`] images, so that the memory is bounded whatever the number of images.
pub struct Frozen {
    input: Shape,
    device: Device,
    /// Of every layer or node, the executor's own number, where its output can be read.
    places: Vec<Option<usize>>,
    executor: Executor,
}

/// What runs it.
enum Executor {
    Engine(Box<Runner>),
    Reference { spec: NetSpec, backend: CandleDevice, weights: Vec<Tensor> },
    Graph(GraphExecutor),
}

impl Frozen {
    /// Images that go through the net together.
    pub const BLOCK: usize = 32;

    /// A runner for these weights. Dropout layers do nothing.
    ///
    /// # Errors
    /// [`NnError::Layer`], [`NnError::Param`] or [`NnError::Device`], as [`build`](super::build).
    pub fn new(spec: &NetSpec, params: &Params, device: Device) -> Result<Self, NnError> {
        spec.shapes()?;
        params.check(spec)?;
        let executor = match device {
            Device::Cpu => Executor::Engine(Box::new(Runner::new(spec, params, Self::BLOCK)?)),
            Device::Cuda(_) => {
                let backend = open(device)?;
                let weights = tensors(params, &backend).map_err(|error| backend_error(device, error))?;
                Executor::Reference { spec: spec.clone(), backend, weights }
            }
        };
        Ok(Self { input: spec.input, device, places: (0..spec.layers.len()).map(Some).collect(), executor })
    }

    /// A runner for this graph on images of `side`: what [`forward_taps`](Self::forward_taps) calls layers are its nodes.
    ///
    /// # Errors
    /// [`NnError::Graph`] for a graph that can't run, [`NnError::Device`].
    pub fn of_graph(graph: &Graph, side: usize, device: Device) -> Result<Self, NnError> {
        if let Some(chain) = graph.chain(side, Fuse::No) {
            return Ok(Self { places: chain.place, ..Self::new(&chain.spec, &chain.params, device)? });
        }
        let executor = GraphExecutor::new(graph, side, device, Purpose::Outputs)?;
        let (input, places) = (executor.input(), (0..graph.nodes().len()).map(Some).collect());
        Ok(Self { input, device, places, executor: Executor::Graph(executor) })
    }

    /// Number of layers, or of a graph's nodes.
    pub fn layers(&self) -> usize {
        self.places.len()
    }

    /// Runs `n` images `x` (`[n, height, width, channels]`) up to the last layer named in `taps` (indices into
    /// [`NetSpec::layers`], or of a graph's nodes). Block by block of at most [`Frozen::BLOCK`] images, in order, and within a
    /// block layer by layer, `sink(layer, output)` receives each tapped layer's output, `[block, height, width, channels]`.
    ///
    /// # Errors
    /// [`NnError::Batch`] for an input length or a tap that doesn't exist, [`NnError::Sink`] when `sink` fails,
    /// [`NnError::Backend`].
    pub fn forward_taps(&mut self, x: &[f32], n: usize, taps: &[usize], sink: &mut Sink<'_>) -> Result<(), NnError> {
        check_input(self.input, x, n)?;
        let layers = self.places.len();
        let place = |&tap: &usize| match self.places.get(tap) {
            Some(&Some(place)) => Ok(place),
            _ => Err(NnError::Batch {
                n,
                reason: format!("layer {tap} is tapped, the net has {layers} layers to be read"),
            }),
        };
        let places = taps.iter().map(place).collect::<Result<Vec<usize>, _>>()?;
        let Some(&last) = places.iter().max() else {
            return Ok(());
        };
        let tapped = |layer: usize| places.contains(&layer);
        let mut hand_over = |place: usize, output: &[f32]| {
            let tap = taps.iter().zip(&places).find(|&(_, of)| *of == place).map_or(place, |(&tap, _)| tap);
            sink(tap, output).map_err(|source| NnError::Sink { tap, source })
        };
        for block in x.chunks(Self::BLOCK * self.input.len()) {
            let n = block.len() / self.input.len();
            let failed = |error| backend_error(self.device, error);
            match &mut self.executor {
                Executor::Engine(runner) => runner.forward(block, last, tapped, &mut hand_over)?,
                Executor::Graph(graph) => graph.forward(block, last, tapped, &mut hand_over)?,
                Executor::Reference { spec, backend, weights } => {
                    let weights: Vec<&Tensor> = weights.iter().collect();
                    let mut weights = weights.chunks(2);
                    let mut x = from_host(block, n, self.input, backend).map_err(failed)?;
                    for (index, layer) in spec.layers[..=last].iter().enumerate() {
                        x = apply(*layer, &mut weights, &x).map_err(failed)?;
                        if tapped(index) {
                            hand_over(index, &to_host(&x).map_err(failed)?)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{BuildOptions, Layer, Shape, build, initialise};

    fn spec() -> NetSpec {
        let conv = |input, output| Layer::Conv3x3 { input, output, relu: true };
        NetSpec { input: Shape::new(8, 8, 3), layers: vec![conv(3, 16), conv(16, 16), Layer::MaxPool2, conv(16, 40)] }
    }

    #[test]
    fn taps_equal_the_nets_cut_there() {
        let spec = spec();
        let params = initialise(&spec, 4);
        let n = Frozen::BLOCK + 5;
        let x: Vec<f32> = (0..n * 192).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut got = vec![Vec::new(); 4];
        let mut frozen = Frozen::new(&spec, &params, Device::Cpu).unwrap();
        frozen
            .forward_taps(&x, n, &[3, 0, 2], &mut |tap, values| {
                got[tap].extend_from_slice(values);
                Ok(())
            })
            .unwrap();
        assert!(got[1].is_empty());
        for tap in [0, 2, 3] {
            let cut = NetSpec { input: spec.input, layers: spec.layers[..=tap].to_vec() };
            let params = Params(params.0[..cut.param_shapes().len()].to_vec());
            let mut whole = Vec::new();
            build(&cut, &params, &BuildOptions::default()).unwrap().predict(&x, n, &mut whole).unwrap();
            assert_eq!(got[tap].len(), whole.len());
            assert!(got[tap].iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-5), "tap {tap}");
        }
    }

    #[test]
    fn bad_taps_and_failing_sinks_are_reported() {
        let spec = spec();
        let mut frozen = Frozen::new(&spec, &initialise(&spec, 4), Device::Cpu).unwrap();
        let x = [0.5; 192];
        assert!(frozen.forward_taps(&x, 1, &[4], &mut |_, _| Ok(())).is_err());
        assert!(frozen.forward_taps(&x[1..], 1, &[0], &mut |_, _| Ok(())).is_err());
        let error = frozen.forward_taps(&x, 1, &[1], &mut |_, _| Err("full".into()));
        assert!(matches!(error, Err(NnError::Sink { tap: 1, .. })));
    }
}
