//! The runner of frozen nets: forward only, handing over the outputs of chosen layers.

use candle_core::{Device as CandleDevice, Tensor};

use super::engine::Runner;
use super::error::NnError;
use super::network::{Device, check_input};
use super::params::Params;
use super::spec::NetSpec;
use super::tensors::{apply, backend_error, from_host, open, tensors, to_host};

/// What a receiver of features may fail with.
pub type SinkError = Box<dyn std::error::Error + Send + Sync>;

/// A receiver of features: called with the layer's index and its output.
pub type Sink<'a> = dyn FnMut(usize, &[f32]) -> Result<(), SinkError> + 'a;

/// A net with fixed weights. One pass over the images yields the outputs of any of its layers, in blocks of
/// [`Frozen::BLOCK`] images, so that the memory is bounded whatever the number of images.
pub struct Frozen {
    spec: NetSpec,
    device: Device,
    executor: Executor,
}

/// What runs it.
enum Executor {
    Engine(Box<Runner>),
    Reference { backend: CandleDevice, weights: Vec<Tensor> },
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
                Executor::Reference { backend, weights }
            }
        };
        Ok(Self { spec: spec.clone(), device, executor })
    }

    /// The description.
    pub fn spec(&self) -> &NetSpec {
        &self.spec
    }

    /// Runs `n` images `x` (`[n, height, width, channels]`) up to the last layer named in `taps` (indices into
    /// [`NetSpec::layers`]). Block by block of at most [`Frozen::BLOCK`] images, in order, and within a block layer by
    /// layer, `sink(layer, output)` receives each tapped layer's output, `[block, height, width, channels]`.
    ///
    /// # Errors
    /// [`NnError::Batch`] for an input length or a tap that doesn't exist, [`NnError::Sink`] when `sink` fails,
    /// [`NnError::Backend`].
    pub fn forward_taps(&mut self, x: &[f32], n: usize, taps: &[usize], sink: &mut Sink<'_>) -> Result<(), NnError> {
        check_input(&self.spec, x, n)?;
        let layers = self.spec.layers.len();
        if let Some(tap) = taps.iter().find(|&&tap| tap >= layers) {
            let reason = format!("layer {tap} is tapped, the net has {layers} layers");
            return Err(NnError::Batch { n, reason });
        }
        let Some(&last) = taps.iter().max() else {
            return Ok(());
        };
        let tapped = |layer: usize| taps.contains(&layer);
        let mut hand_over =
            |tap: usize, output: &[f32]| sink(tap, output).map_err(|source| NnError::Sink { tap, source });
        for block in x.chunks(Self::BLOCK * self.spec.input.len()) {
            match &mut self.executor {
                Executor::Engine(runner) => runner.forward(block, last, tapped, &mut hand_over)?,
                Executor::Reference { backend, weights } => {
                    let failed = |error| backend_error(self.device, error);
                    let weights: Vec<&Tensor> = weights.iter().collect();
                    let mut weights = weights.chunks(2);
                    let n = block.len() / self.spec.input.len();
                    let mut x = from_host(block, n, self.spec.input, backend).map_err(failed)?;
                    for (index, layer) in self.spec.layers[..=last].iter().enumerate() {
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
