//! Convolutions to at most four channels, whose sums run along the registers.

use crate::nn::engine::map::Map;
use crate::nn::engine::simd::{Kernel, Level, Simd};

/// The operands of [`dots()`].
pub(in crate::nn::engine) struct Dots<'a> {
    /// Images to do.
    pub images: usize,
    /// Inputs, bordered.
    pub input: &'a [f32],
    /// Layout of the inputs.
    pub input_map: Map,
    /// `[channel, run, value]`, 1 to 4 channels.
    pub weights: &'a [f32],
    /// One per channel.
    pub bias: &'a [f32],
    /// Whether negative outputs become 0.
    pub relu: bool,
    /// Receives the outputs, inside the border.
    pub output: &'a mut [f32],
    /// Layout of the outputs.
    pub output_map: Map,
}

/// `output = bias + window · weights` for every pixel.
pub(in crate::nn::engine) fn dots(level: Level, job: Dots<'_>) {
    let (from, to) = (job.input_map, job.output_map);
    assert!((from.shape.height, from.shape.width) == (to.shape.height, to.shape.width));
    assert!(from.border > 0);
    assert!((1..=4).contains(&to.shape.channels) && job.bias.len() == to.shape.channels);
    assert!(job.weights.len() == 9 * from.shape.channels * to.shape.channels);
    assert!(job.input.len() >= job.images * from.image() && job.output.len() >= job.images * to.image());
    level.run(job);
}

impl Kernel for Dots<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const PIXELS: usize, const ROWS: usize>(self) {
        // SAFETY: `dots` checked the lengths.
        unsafe {
            match self.bias.len() {
                1 => rows::<S, 1>(self),
                2 => rows::<S, 2>(self),
                3 => rows::<S, 3>(self),
                _ => rows::<S, 4>(self),
            }
        }
    }
}

/// Pixels done together.
const TOGETHER: usize = 4;

#[inline(always)]
unsafe fn rows<S: Simd, const CHANNELS: usize>(job: Dots<'_>) {
    let (from, to) = (job.input_map, job.output_map);
    let run = 3 * from.shape.channels;
    let whole = run / S::LANES * S::LANES;
    for row in 0..job.images * from.shape.height {
        let (image, y) = (row / from.shape.height, row % from.shape.height);
        for x in (0..from.shape.width).step_by(TOGETHER) {
            let valid = TOGETHER.min(from.shape.width - x);
            // SAFETY: `dots` checked that the windows of all pixels, border included, and all weights are there.
            unsafe {
                let mut windows = [job.input.as_ptr(); TOGETHER];
                for (pixel, window) in windows.iter_mut().enumerate() {
                    let x = x + pixel.min(valid - 1);
                    *window = window.add(image * from.image() + y * from.row() + x * from.pixel());
                }
                let mut sums = [[S::splat(0.0); CHANNELS]; TOGETHER];
                let mut rest = [[0f32; CHANNELS]; TOGETHER];
                for r in 0..3 {
                    let weights = job.weights.as_ptr().add(r * run);
                    for k in (0..whole).step_by(S::LANES) {
                        let mut factors = [S::splat(0.0); CHANNELS];
                        for (channel, factor) in factors.iter_mut().enumerate() {
                            *factor = S::load(weights.add(channel * 3 * run + k));
                        }
                        for pixel in 0..TOGETHER {
                            let values = S::load(windows[pixel].add(r * from.row() + k));
                            for channel in 0..CHANNELS {
                                sums[pixel][channel] = S::fma(values, factors[channel], sums[pixel][channel]);
                            }
                        }
                    }
                    for k in whole..run {
                        for pixel in 0..TOGETHER {
                            let value = *windows[pixel].add(r * from.row() + k);
                            for (channel, rest) in rest[pixel].iter_mut().enumerate() {
                                *rest += value * *weights.add(channel * 3 * run + k);
                            }
                        }
                    }
                }
                let at = to.origin() + image * to.image() + y * to.row() + x * to.pixel();
                for pixel in 0..valid {
                    for channel in 0..CHANNELS {
                        let sum = S::sum(sums[pixel][channel]) + rest[pixel][channel] + job.bias[channel];
                        let value = if job.relu && sum < 0.0 { 0.0 } else { sum };
                        *job.output.as_mut_ptr().add(at + pixel * CHANNELS + channel) = value;
                    }
                }
            }
        }
    }
}
