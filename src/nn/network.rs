//! The interface of a trainable net, and the choice of its executor.

use std::fmt;
use std::str::FromStr;

use super::engine::EngineNetwork;
use super::error::NnError;
use super::gemm::GemmNetwork;
use super::loss::Target;
use super::optim::{Adam, Step};
use super::params::Params;
use super::spec::{NetSpec, Shape};
use super::tensors::open;

/// Where a net runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// This machine's cores: the current rayon pool.
    #[default]
    Cpu,
    /// The CUDA device of this index. Needs a binary built with the feature `cuda`.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = NnError;

    /// `cpu`, `cuda` (the first one) or `cuda:INDEX`. Whether the device exists is found out by [`Device::check`].
    fn from_str(text: &str) -> Result<Self, NnError> {
        let device = match text {
            "cpu" => Some(Device::Cpu),
            "cuda" => Some(Device::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(|index| index.parse().ok()).map(Device::Cuda),
        };
        device.ok_or_else(|| NnError::Device {
            device: text.to_owned(),
            reason: "unknown; write `cpu`, `cuda` or `cuda:INDEX`".to_owned(),
        })
    }
}

impl Device {
    /// Whether this binary and machine have it.
    ///
    /// # Errors
    /// [`NnError::Device`].
    pub fn check(self) -> Result<(), NnError> {
        open(self).map(|_| ())
    }
}

/// How [`build`] makes a network.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct BuildOptions {
    /// Where it runs.
    pub device: Device,
    /// The optimiser's constants.
    pub optimizer: Adam,
    /// Seed of the dropped activations. The same seed drops the same ones on every device.
    pub dropout_seed: u64,
}

/// A net with its weights and its optimiser's state.
pub trait Network: Send {
    /// Its description.
    fn spec(&self) -> &NetSpec;

    /// One step of Adam on the mean loss of a batch of `n` images `x` (`[n, height, width, channels]`). Returns that
    /// loss, as it was before the step, with dropout.
    ///
    /// # Errors
    /// [`NnError::Batch`] for lengths that don't fit; [`NnError::Diverged`] for a loss that isn't finite, after
    /// which the weights are as before the step; [`NnError::Backend`].
    fn train_step(&mut self, x: &[f32], n: usize, target: Target<'_>, step: Step) -> Result<f32, NnError>;

    /// The outputs (`[n, height, width, channels]`) for `n` images, without dropout, put in place of what `out` held.
    ///
    /// # Errors
    /// [`NnError::Batch`] for a length that doesn't fit; [`NnError::Backend`].
    fn predict(&mut self, x: &[f32], n: usize, out: &mut Vec<f32>) -> Result<(), NnError>;

    /// A copy of the weights.
    ///
    /// # Errors
    /// [`NnError::Backend`].
    fn params(&self) -> Result<Params, NnError>;

    /// Replaces the weights; the optimiser's moments stay.
    ///
    /// # Errors
    /// [`NnError::Param`] if they are not of this net; [`NnError::Backend`].
    fn set_params(&mut self, params: &Params) -> Result<(), NnError>;
}

/// A network of this description with these weights.
///
/// # Errors
/// [`NnError::Layer`] for a description that doesn't fit together, [`NnError::Param`] for weights of another net,
/// [`NnError::Option`] for constants out of their domain, [`NnError::Device`] for a device that can't be used.
pub fn build(spec: &NetSpec, init: &Params, options: &BuildOptions) -> Result<Box<dyn Network>, NnError> {
    spec.shapes()?;
    init.check(spec)?;
    options.optimizer.check()?;
    Ok(match options.device {
        Device::Cpu => Box::new(EngineNetwork::new(spec, init, options)?),
        Device::Cuda(_) => Box::new(GemmNetwork::new(spec, init, options)?),
    })
}

/// Checks that `x` holds `n` ≥ 1 images of the net's input shape.
pub(super) fn check_input(input: Shape, x: &[f32], n: usize) -> Result<(), NnError> {
    let per_image = input.len();
    if n == 0 || x.len() != n * per_image {
        let reason =
            format!("{} input values; at least one image and {per_image} values per image are needed", x.len());
        return Err(NnError::Batch { n, reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_parsed_and_displayed() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda:0", Device::Cuda(0)), ("cuda:3", Device::Cuda(3))] {
            assert_eq!(text.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string(), text);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        for wrong in ["gpu", "cuda:", "cuda:x", ""] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }
}
