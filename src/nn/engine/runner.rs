//! Forward passes of a block of images, layer by layer.

use rayon::prelude::*;

use super::affine::Packed;
use super::aligned::Aligned;
use super::map::{Map, SLACK};
use super::plan::Plan;
use super::simd::Level;
use super::workspace::{Pass, apply};
use crate::nn::error::NnError;
use crate::nn::params::Params;
use crate::nn::spec::NetSpec;

/// A net with fixed weights on the CPU.
pub(in crate::nn) struct Runner {
    plan: Plan,
    level: Level,
    weights: Vec<f32>,
    packed: Vec<Packed>,
    /// Buffer `b` of the plan is in slot `b % 3`: a stage reads its input and the buffer before.
    slots: [Aligned; 3],
    dense: Vec<f32>,
}

impl Runner {
    /// The arguments must have been checked. `block` is the most images of a pass.
    pub(in crate::nn) fn new(spec: &NetSpec, params: &Params, block: usize) -> Result<Self, NnError> {
        let plan = Plan::new(spec, false)?;
        let level = Level::best();
        let mut weights = vec![0.0; plan.weights];
        plan.load(params, &mut weights);
        let mut packed = vec![Packed::default(); plan.affines.len()];
        for (packed, affine) in packed.iter_mut().zip(&plan.affines) {
            affine.pack(level, &weights, false, packed);
        }
        let slot = |slot: usize| {
            let largest = plan.maps.iter().skip(slot).step_by(3).map(Map::image).max();
            Aligned::zeros(largest.unwrap_or(0) * block + SLACK)
        };
        let slots = [slot(0), slot(1), slot(2)];
        Ok(Self { plan, level, weights, packed, slots, dense: Vec::new() })
    }

    /// Runs dense images (at most a block) up to layer `last`, and calls `tap(layer, dense output)` after each layer
    /// for which `tapped` says so.
    pub(in crate::nn) fn forward<E>(
        &mut self,
        x: &[f32],
        last: usize,
        tapped: impl Fn(usize) -> bool,
        mut tap: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let plan = &self.plan;
        let images = x.len() / plan.maps[0].shape.len();
        // Sums don't depend on how images are grouped, so the groups may depend on the number of threads.
        let group = images.div_ceil(rayon::current_num_threads()).max(1);
        let pass = Pass { plan, level: self.level, flat: &self.weights, packed: &self.packed };
        plan.maps[0].clear_border(&mut self.slots[0], images);
        plan.maps[0].load(x, &mut self.slots[0]);
        for (s, stage) in plan.stages.iter().enumerate() {
            let (from, to) = (plan.maps[s], plan.maps[s + 1]);
            let [first, second, third] = &mut self.slots;
            let (skip, input, output) = match s % 3 {
                0 => (third, first, second),
                1 => (first, second, third),
                _ => (second, third, first),
            };
            to.clear_border(output, images);
            output[..images * to.image()].par_chunks_mut(group * to.image()).enumerate().for_each(|(index, output)| {
                let start = index * group * from.image();
                // Only a residual block's second stage looks at the buffer before, which is then laid out as the output.
                let skip = skip.get(index * group * to.image()..);
                apply(&pass, s, output.len() / to.image(), &input[start..], skip, output);
            });
            if let Some(layer) = stage.layer {
                if tapped(layer) {
                    self.dense.resize(images * to.shape.len(), 0.0);
                    to.unload(output, &mut self.dense);
                    tap(layer, &self.dense)?;
                }
                if layer == last {
                    break;
                }
            }
        }
        Ok(())
    }
}
