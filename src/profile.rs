//! How long local nets take on this machine: whole ones, end to end, one image at a time, as a device runs them.
//!
//! A design's latency is that of all layers before its split plus that of the split's layer at its number of channels. Both are
//! measured together, net by net, for a few numbers of channels at each split: sums of layers that were timed apart leave
//! out what one layer does to the next one's caches. Numbers between are for [`LatencyCurve`](crate::config::LatencyCurve) to
//! interpolate.
//!
//! Weights and image are made up: dense kernels take as long whatever the values.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::backbone::{Architecture, BackboneError, Layer};
use crate::config::SpreadEntry;
use crate::nn::{Device, Frozen, Graph, NnError};
use crate::units::Latency;

/// Passes over all nets, so that a slow spell of the machine is shared by all of them and not one net's.
const ROUNDS: usize = 5;

/// Runs before the first that counts, each time that a net's turn comes: for caches, and clocks that rise under load.
const WARM_UP: usize = 3;

/// Runs of a net that count in each round, however short the time.
const LEAST_RUNS: usize = 4;

/// A local net that is timed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Subject {
    /// The split layer.
    pub layer: &'static Layer,
    /// Channels that it keeps.
    pub depth: usize,
}

/// What ends measuring early.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A local net that the architecture doesn't have.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// A net that can't run.
    #[error(transparent)]
    Net(#[from] NnError),
    /// The user stopped it.
    #[error("interrupted: nothing was written")]
    Interrupted,
}

/// Times every subject on images of `side` for about `seconds` altogether, on the threads of the current pool. `watch` is told the
/// share that is done.
///
/// Nets take turns in several rounds and are built anew for each: one is in memory at a time.
///
/// # Errors
/// [`ProfileError`]; [`ProfileError::Interrupted`] when `watch` says so.
pub fn measure(
    architecture: Architecture,
    side: usize,
    subjects: &[Subject],
    seconds: f64,
    watch: &mut dyn FnMut(f64) -> ControlFlow<()>,
) -> Result<Vec<SpreadEntry>, ProfileError> {
    let turns = ROUNDS * subjects.len();
    let turn = Duration::from_secs_f64(seconds.max(0.0) / turns.max(1) as f64);
    let mut samples: Vec<Vec<u64>> = vec![Vec::new(); subjects.len()];
    for round in 0..ROUNDS {
        for (at, (subject, samples)) in subjects.iter().zip(&mut samples).enumerate() {
            if watch((round * subjects.len() + at) as f64 / turns as f64).is_break() {
                return Err(ProfileError::Interrupted);
            }
            let net = made_up(&architecture.local_structure(subject.layer, subject.depth)?);
            run(&net, side, turn, samples)?;
        }
    }
    Ok(samples.into_iter().map(spread).collect())
}

/// Adds what single runs took, in nanoseconds, for `turn`.
fn run(net: &Graph, side: usize, turn: Duration, samples: &mut Vec<u64>) -> Result<(), NnError> {
    let mut frozen = Frozen::of_graph(net, side, Device::Cpu)?;
    let image = numbers(&mut ChaCha8Rng::seed_from_u64(0), side * side * net.input_channels(), 1.0);
    let last = [net.nodes().len() - 1];
    let mut once = || {
        let start = Instant::now();
        frozen.forward_taps(&image, 1, &last, &mut |_, features| {
            std::hint::black_box(features);
            Ok(())
        })?;
        Ok::<u64, NnError>(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    };
    for _ in 0..WARM_UP {
        once()?;
    }
    let start = Instant::now();
    let mut runs = 0;
    while runs < LEAST_RUNS || start.elapsed() < turn {
        samples.push(once()?);
        runs += 1;
    }
    Ok(())
}

/// The structure with weights and biases whose outputs are ordinary numbers at any depth: the biases keep them from dying out.
fn made_up(structure: &Graph) -> Graph {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut bias = true;
    structure.with_numbers(|count| {
        bias = !bias;
        numbers(&mut random, count, if bias { 0.5 } else { 0.05 })
    })
}

/// Uniform numbers between `-largest` and `largest`.
fn numbers(random: &mut ChaCha8Rng, count: usize, largest: f32) -> Vec<f32> {
    (0..count).map(|_| largest * (random.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0)).collect()
}

/// Median and 95th percentile, each a value that was measured.
fn spread(mut samples: Vec<u64>) -> SpreadEntry {
    samples.sort_unstable();
    let percentile = |percent: usize| {
        let rank = (samples.len() * percent).div_ceil(100).max(1);
        Latency(samples.get(rank - 1).copied().unwrap_or(0))
    };
    SpreadEntry { median: percentile(50), p95: percentile(95) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let entry = |median, p95| SpreadEntry { median: Latency(median), p95: Latency(p95) };
        assert_eq!(spread((1..=100).rev().collect()), entry(50, 95));
        assert_eq!(spread(vec![7]), entry(7, 7));
        assert_eq!(spread(vec![9, 1, 5]), entry(5, 9));
    }

    #[test]
    fn every_kind_of_net_is_timed_and_can_be_interrupted() {
        for (name, layers) in [("vgg16", ["conv1_2", "conv2_1"]), ("mobilenet_v2", ["", ""])] {
            let architecture = Architecture::known(name).unwrap();
            let layer = |at: usize, name: &str| match name {
                "" => &architecture.layers()[2 + at],
                name => architecture.layer(name).unwrap(),
            };
            let subjects: Vec<Subject> =
                layers.iter().enumerate().map(|(at, name)| Subject { layer: layer(at, name), depth: 4 }).collect();
            let mut shares = Vec::new();
            let timed = measure(architecture, 32, &subjects, 0.0, &mut |share| {
                shares.push(share);
                ControlFlow::Continue(())
            });
            let timed = timed.unwrap();
            assert_eq!((timed.len(), shares.len()), (2, 2 * ROUNDS));
            assert!(timed.iter().all(|spread| spread.median.0 > 0 && spread.median <= spread.p95));
            let stopped = measure(architecture, 32, &subjects, 0.0, &mut |_| ControlFlow::Break(()));
            assert!(matches!(stopped, Err(ProfileError::Interrupted)));
        }
    }
}
