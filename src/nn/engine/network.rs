//! The engine as a [`Network`].

use rayon::prelude::*;

use super::affine::Packed;
use super::kernels::sum_and_update;
use super::plan::Plan;
use super::simd::Level;
use super::workspace::{DropoutStream, Pass, Pool, Sums};
use crate::nn::error::NnError;
use crate::nn::loss::Target;
use crate::nn::network::{BuildOptions, Network, check_input};
use crate::nn::optim::{Adam, Step};
use crate::nn::params::Params;
use crate::nn::spec::NetSpec;

/// Lanes of a batch, at most and at least. They bound the parallelism and must not depend on the number of threads.
const LANES: (usize, usize) = (16, 8);
/// Multiply-accumulates per image and weight from which the accumulators of many lanes cost little time to add up.
const REUSE: u64 = 64;
/// Weights up to which the accumulators of many lanes cost little memory.
const SMALL: usize = 1 << 22;
/// Bytes of activations that a shard aims at.
const SHARD_BYTES: usize = 2 << 20;
/// Most images of a shard.
const SHARD_IMAGES: usize = 8;
/// Weights that one task updates.
const UPDATE: usize = 1 << 14;

/// The gradients of one part of the batch.
struct Lane {
    sums: Vec<f32>,
    loss: f64,
    /// Whether any image fell to this lane.
    used: bool,
}

/// A net trained by the CPU engine.
pub(in crate::nn) struct EngineNetwork {
    spec: NetSpec,
    plan: Plan,
    level: Level,
    optimizer: Adam,
    dropout_seed: u64,
    steps: u64,
    weights: Vec<f32>,
    first_moments: Vec<f32>,
    second_moments: Vec<f32>,
    packed: Vec<Packed>,
    lanes: Vec<Lane>,
    pool: Pool,
}

impl EngineNetwork {
    /// The arguments must have been checked, as `build` does.
    pub(in crate::nn) fn new(spec: &NetSpec, init: &Params, options: &BuildOptions) -> Result<Self, NnError> {
        Self::at(Level::best(), spec, init, options)
    }

    /// A network for one instruction set.
    pub(super) fn at(level: Level, spec: &NetSpec, init: &Params, options: &BuildOptions) -> Result<Self, NnError> {
        let plan = Plan::new(spec, true)?;
        let reuse = spec.macs_per_image()? / (plan.weights as u64).max(1);
        let lanes = if reuse >= REUSE && plan.weights <= SMALL { LANES.0 } else { LANES.1 };
        let bytes = 4 * plan.maps.iter().map(|map| map.image()).sum::<usize>();
        let mut network = Self {
            spec: spec.clone(),
            level,
            optimizer: options.optimizer,
            dropout_seed: options.dropout_seed,
            steps: 0,
            weights: vec![0.0; plan.weights],
            first_moments: vec![0.0; plan.weights],
            second_moments: vec![0.0; plan.weights],
            packed: vec![Packed::default(); plan.affines.len()],
            lanes: (0..lanes).map(|_| Lane { sums: vec![0.0; plan.weights], loss: 0.0, used: false }).collect(),
            pool: Pool::new((SHARD_BYTES / bytes.max(1)).clamp(1, SHARD_IMAGES)),
            plan,
        };
        network.plan.load(init, &mut network.weights);
        network.pack();
        Ok(network)
    }

    /// Packs the weights for the kernels, after they changed.
    fn pack(&mut self) {
        let (level, weights) = (self.level, &self.weights);
        self.packed.par_iter_mut().zip(&self.plan.affines).enumerate().for_each(|(index, (packed, affine))| {
            affine.pack(level, weights, index > 0, packed);
        });
    }

    fn pass(&self) -> Pass<'_> {
        Pass { plan: &self.plan, level: self.level, flat: &self.weights, packed: &self.packed }
    }

    /// The gradients of a batch into the lanes; its mean loss.
    fn gradients(&mut self, x: &[f32], n: usize, target: Target<'_>) -> f32 {
        let (inputs, outputs) = (self.plan.maps[0].shape.len(), self.plan.output().shape.len());
        let stream = DropoutStream { seed: self.dropout_seed, step: self.steps };
        let count = self.lanes.len();
        let mut lanes = std::mem::take(&mut self.lanes);
        let (pass, pool) = (self.pass(), &self.pool);
        lanes.par_iter_mut().enumerate().with_max_len(1).for_each(|(index, lane)| {
            let (start, end) = (index * n / count, (index + 1) * n / count);
            lane.loss = 0.0;
            lane.used = start < end;
            if !lane.used {
                return;
            }
            pool.with(pass.plan, |workspace| {
                for first in (start..end).step_by(pool.images()) {
                    let images = pool.images().min(end - first);
                    let x = &x[first * inputs..][..images * inputs];
                    workspace.forward(&pass, x, Some((stream, first)));
                    let target = target.part(first, images, outputs);
                    let sums = Sums { values: &mut lane.sums, add: first > start };
                    lane.loss += workspace.backward(&pass, target, images, n, sums);
                }
            });
        });
        self.lanes = lanes;
        self.lanes.iter().map(|lane| lane.loss).sum::<f64>() as f32
    }

    /// The optimiser's step on the sum of the lanes' gradients.
    fn update(&mut self, step: Step) {
        let adam = self.optimizer.at(step, self.steps + 1);
        let parts: Vec<&[f32]> = self.lanes.iter().filter(|lane| lane.used).map(|lane| &lane.sums[..]).collect();
        let level = self.level;
        self.weights
            .par_chunks_mut(UPDATE)
            .zip(self.first_moments.par_chunks_mut(UPDATE))
            .zip(self.second_moments.par_chunks_mut(UPDATE))
            .enumerate()
            .for_each(|(chunk, ((p, m), v))| sum_and_update(level, adam, &parts, chunk * UPDATE, p, m, v));
    }
}

impl Network for EngineNetwork {
    fn spec(&self) -> &NetSpec {
        &self.spec
    }

    fn train_step(&mut self, x: &[f32], n: usize, target: Target<'_>, step: Step) -> Result<f32, NnError> {
        check_input(self.spec.input, x, n)?;
        target.check(n, self.plan.output().shape.len())?;
        let loss = self.gradients(x, n, target);
        if !loss.is_finite() {
            return Err(NnError::Diverged { step: self.steps, loss });
        }
        self.update(step);
        self.pack();
        self.steps += 1;
        Ok(loss)
    }

    fn predict(&mut self, x: &[f32], n: usize, out: &mut Vec<f32>) -> Result<(), NnError> {
        check_input(self.spec.input, x, n)?;
        let (inputs, outputs) = (self.plan.maps[0].shape.len(), self.plan.output().shape.len());
        out.resize(n * outputs, 0.0);
        let (pass, pool) = (self.pass(), &self.pool);
        x.par_chunks(pool.images() * inputs).zip(out.par_chunks_mut(pool.images() * outputs)).for_each(|(x, out)| {
            pool.with(pass.plan, |workspace| out.copy_from_slice(workspace.forward(&pass, x, None)));
        });
        Ok(())
    }

    fn params(&self) -> Result<Params, NnError> {
        Ok(self.plan.store(&self.spec, &self.weights))
    }

    fn set_params(&mut self, params: &Params) -> Result<(), NnError> {
        params.check(&self.spec)?;
        self.plan.load(params, &mut self.weights);
        self.pack();
        Ok(())
    }
}
