//! Frozen graphs on the CPU: outputs of any node, and gradients by the image.
//!
//! Images don't depend on each other: each shard of a few runs through the whole graph on one thread, while its maps are in
//! cache. Convolutions are the kernels of trained nets with windows of any size and stride; channelwise ones have a kernel of
//! their own. A strided convolution's input gradient is the adjacent one of the gradient with zeros between its pixels.

mod backward;
mod forward;
mod maps;
mod plan;
mod pool;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::aligned::Aligned;
use super::map::SLACK;
use super::simd::Level;
use crate::nn::graph::Graph;
use crate::nn::loss::Target;
use plan::Plan;

/// Bytes of maps that a shard aims at.
const SHARD_BYTES: usize = 1 << 20;
/// Most images of a shard.
const SHARD_IMAGES: usize = 8;

/// What a graph is run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::nn) enum Purpose {
    /// Outputs: maps that nobody needs any more give their memory back.
    Outputs,
    /// Gradients by the image: all maps are kept.
    Gradients,
}

/// A graph with fixed weights on the CPU.
pub(in crate::nn) struct GraphEngine {
    plan: Plan,
    level: Level,
    /// Images of a shard: the results don't depend on it.
    shard: usize,
    free: Mutex<Vec<Workspace>>,
}

/// The buffers of a shard.
struct Workspace {
    /// By slot of the plan.
    maps: Vec<Aligned>,
    /// By node, dense; none where no gradients are wanted.
    gradients: Vec<Aligned>,
    /// A gradient as windows are laid over it, and one that is added to another.
    spread: Aligned,
    addend: Aligned,
    output: Vec<f32>,
    output_gradient: Vec<f32>,
}

impl GraphEngine {
    /// The graph for images of `side`; `None` where it has an operation that the engine has no kernel for. Its shapes must have
    /// been checked.
    pub(in crate::nn) fn new(graph: &Graph, side: usize, purpose: Purpose) -> Option<Self> {
        Self::at(Level::best(), graph, side, purpose)
    }

    /// One for one instruction set.
    fn at(level: Level, graph: &Graph, side: usize, purpose: Purpose) -> Option<Self> {
        let plan = Plan::new(level, graph, side, purpose)?;
        let bytes = 4 * plan.slots.iter().sum::<usize>();
        Some(Self {
            plan,
            level,
            shard: (SHARD_BYTES / bytes.max(1)).clamp(1, SHARD_IMAGES),
            free: Mutex::new(Vec::new()),
        })
    }

    fn workspace(&self) -> Workspace {
        let (plan, images) = (&self.plan, self.shard);
        let buffer = |&values: &usize| Aligned::zeros(values * images + SLACK);
        let output = images * plan.output().shape.len();
        let gradients = match plan.purpose {
            Purpose::Outputs => Vec::new(),
            Purpose::Gradients => plan.maps.iter().map(|map| buffer(&map.shape.len())).collect(),
        };
        Workspace {
            maps: plan.slots.iter().map(buffer).collect(),
            gradients,
            spread: buffer(&plan.spread),
            addend: buffer(&plan.addend),
            output: vec![0.0; output],
            output_gradient: vec![0.0; output],
        }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Workspace) -> R) -> R {
        let lent = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut workspace = lent.unwrap_or_else(|| self.workspace());
        let result = work(&mut workspace);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        result
    }

    /// Runs `n` dense images up to node `last`, and calls `tap(node, dense output)` for each of the nodes that `tapped` names,
    /// in their order.
    pub(in crate::nn) fn forward<E>(
        &self,
        x: &[f32],
        last: usize,
        tapped: impl Fn(usize) -> bool,
        mut tap: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let input = self.plan.maps[0].shape.len();
        let images = x.len() / input;
        let taps: Vec<usize> = (0..=last).filter(|&node| tapped(node)).collect();
        let size = |node: usize| self.plan.maps[node].shape.len();
        let mut outputs: Vec<Vec<f32>> = taps.iter().map(|&node| vec![0.0; images * size(node)]).collect();
        let mut shards: Vec<Vec<&mut [f32]>> = x.chunks(self.shard * input).map(|_| Vec::new()).collect();
        for (&node, output) in taps.iter().zip(&mut outputs) {
            let parts = output.chunks_mut(self.shard * size(node));
            shards.iter_mut().zip(parts).for_each(|(shard, part)| shard.push(part));
        }
        x.par_chunks(self.shard * input).zip(shards).for_each(|(x, mut parts)| {
            self.with(|workspace| {
                self.run(workspace, x, last, |node, map, values| {
                    if let Some(at) = taps.iter().position(|&tap| tap == node) {
                        map.unload(values, parts[at]);
                    }
                });
            });
        });
        taps.iter().zip(&outputs).try_for_each(|(&node, output)| tap(node, output))
    }

    /// The mean loss of `n` dense images, which must fit, and its gradient by them. It must have been made for gradients.
    pub(in crate::nn) fn differentiate(&self, x: &[f32], n: usize, target: Target<'_>, gradient: &mut [f32]) -> f32 {
        let (inputs, outputs) = (self.plan.maps[0].shape.len(), self.plan.output().shape.len());
        let chunk = self.shard * inputs;
        let shards = x.par_chunks(chunk).zip(gradient.par_chunks_mut(chunk)).enumerate();
        let losses: Vec<f64> = shards
            .map(|(shard, (x, gradient))| {
                let target = target.part(shard * self.shard, x.len() / inputs, outputs);
                self.with(|workspace| self.gradient(workspace, x, n, target, gradient))
            })
            .collect();
        losses.iter().sum::<f64>() as f32
    }
}
