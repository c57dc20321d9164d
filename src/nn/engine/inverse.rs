//! A net with fixed weights and the gradient of a loss by its input.

use rayon::prelude::*;

use super::affine::Packed;
use super::plan::Plan;
use super::simd::Level;
use super::workspace::{Pass, Pool};
use crate::nn::error::NnError;
use crate::nn::loss::Target;
use crate::nn::params::Params;
use crate::nn::spec::NetSpec;

/// Images that run forward and backward together.
const SHARD_IMAGES: usize = 4;

/// A frozen net on the CPU whose input is sought.
pub(in crate::nn) struct Inverse {
    plan: Plan,
    level: Level,
    weights: Vec<f32>,
    packed: Vec<Packed>,
    pool: Pool,
}

impl Inverse {
    /// The arguments must have been checked.
    pub(in crate::nn) fn new(spec: &NetSpec, params: &Params) -> Result<Self, NnError> {
        Self::at(Level::best(), spec, params)
    }

    /// One for one instruction set.
    pub(super) fn at(level: Level, spec: &NetSpec, params: &Params) -> Result<Self, NnError> {
        let plan = Plan::new(spec, true)?;
        let mut weights = vec![0.0; plan.weights];
        plan.load(params, &mut weights);
        let mut packed = vec![Packed::default(); plan.affines.len()];
        for (packed, affine) in packed.iter_mut().zip(&plan.affines) {
            affine.pack(level, &weights, true, packed);
        }
        Ok(Self { plan, level, weights, packed, pool: Pool::new(SHARD_IMAGES) })
    }

    /// The mean loss of `n` dense images, which must fit, and its gradient by them.
    pub(in crate::nn) fn differentiate(
        &mut self,
        x: &[f32],
        n: usize,
        target: Target<'_>,
        gradient: &mut [f32],
    ) -> f32 {
        let (inputs, outputs) = (self.plan.maps[0].shape.len(), self.plan.output().shape.len());
        let pass = Pass { plan: &self.plan, level: self.level, flat: &self.weights, packed: &self.packed };
        let shards =
            x.par_chunks(SHARD_IMAGES * inputs).zip(gradient.par_chunks_mut(SHARD_IMAGES * inputs)).enumerate();
        let losses: Vec<f64> = shards
            .map(|(shard, (x, gradient))| {
                let images = x.len() / inputs;
                let target = target.part(shard * SHARD_IMAGES, images, outputs);
                self.pool.with(&self.plan, |workspace| {
                    workspace.forward(&pass, x, None);
                    workspace.input_gradient(&pass, target, images, n, gradient)
                })
            })
            .collect();
        losses.iter().sum::<f64>() as f32
    }
}
