//! Convolutions in which every channel has a kernel of its own: the forward pass, and with turned kernels the input gradient.

use super::contract::Windows;
use crate::nn::engine::map::Map;
use crate::nn::engine::simd::{Kernel, Level, Simd};

/// The operands of [`depthwise()`].
pub(in crate::nn::engine) struct Depthwise<'a> {
    /// Images to do.
    pub images: usize,
    /// Inputs, by `input_map`.
    pub input: &'a [f32],
    /// Layout of the inputs.
    pub input_map: Map,
    /// Where the windows lie in them.
    pub windows: Windows,
    /// Rows and columns of the kernels.
    pub kernel: [usize; 2],
    /// Pixels from a position of a window to the next.
    pub dilation: usize,
    /// `[row, column, channel]`.
    pub weights: &'a [f32],
    /// `[channel]`; empty for none.
    pub bias: &'a [f32],
    /// Receives the outputs, inside the border.
    pub output: &'a mut [f32],
    /// Layout of the outputs, with as many channels.
    pub output_map: Map,
}

/// `output = bias + Σ window · weights`, channel by channel, for every pixel.
pub(in crate::nn::engine) fn depthwise(level: Level, job: Depthwise<'_>) {
    let (from, to, channels) = (job.input_map, job.output_map, job.input_map.shape.channels);
    let ([rows, columns], Windows { start, stride }) = (job.kernel, job.windows);
    assert!(to.shape.channels == channels && !to.shape.is_empty() && rows * columns > 0);
    assert!(job.weights.len() == rows * columns * channels);
    assert!(job.bias.is_empty() || job.bias.len() == channels);
    let last_row = stride * (to.shape.height - 1) + job.dilation * (rows - 1);
    let last_column = stride * (to.shape.width - 1) + job.dilation * (columns - 1);
    assert!(start + last_row * from.row() + last_column * from.pixel() + channels <= from.image());
    assert!(job.input.len() >= job.images * from.image() && job.output.len() >= job.images * to.image());
    level.run(job);
}

impl Kernel for Depthwise<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const PIXELS: usize, const ROWS: usize>(self) {
        let (from, to) = (self.input_map, self.output_map);
        let (height, width) = (to.shape.height, to.shape.width);
        let taps = Taps {
            kernel: self.kernel,
            row: self.dilation * from.row(),
            pixel: self.dilation * from.pixel(),
            channels: from.shape.channels,
        };
        let (weights, step) = (self.weights.as_ptr(), self.windows.stride);
        let bias = if self.bias.is_empty() { std::ptr::null() } else { self.bias.as_ptr() };
        let output = self.output.as_mut_ptr();
        for image in 0..self.images {
            for y in 0..height {
                for x in 0..width {
                    let window = image * from.image() + self.windows.start + step * (y * from.row() + x * from.pixel());
                    let place = to.origin() + image * to.image() + y * to.row() + x * to.pixel();
                    // SAFETY: `depthwise` checked that the last window lies inside its image, and the lengths.
                    unsafe { taps.sum::<S>(self.input.as_ptr().add(window), weights, bias, output.add(place)) };
                }
            }
        }
    }
}

/// The positions of a window.
struct Taps {
    kernel: [usize; 2],
    /// Floats from a position to the one below, and to the one on its right.
    row: usize,
    pixel: usize,
    channels: usize,
}

impl Taps {
    /// All channels of one pixel. `bias` may be null.
    #[inline(always)]
    unsafe fn sum<S: Simd>(&self, window: *const f32, weights: *const f32, bias: *const f32, out: *mut f32) {
        let [rows, columns] = self.kernel;
        let mut channel = 0;
        // SAFETY: the caller has a whole window of all channels at `window`, as many weights, a bias or none, and room for the channels.
        unsafe {
            while channel + 2 * S::LANES <= self.channels {
                let mut sums = [S::splat(0.0); 2];
                if !bias.is_null() {
                    sums = [S::load(bias.add(channel)), S::load(bias.add(channel + S::LANES))];
                }
                let mut weights = weights.add(channel);
                for row in 0..rows {
                    for column in 0..columns {
                        let seen = window.add(row * self.row + column * self.pixel + channel);
                        sums[0] = S::fma(S::load(seen), S::load(weights), sums[0]);
                        sums[1] = S::fma(S::load(seen.add(S::LANES)), S::load(weights.add(S::LANES)), sums[1]);
                        weights = weights.add(self.channels);
                    }
                }
                S::store(out.add(channel), sums[0]);
                S::store(out.add(channel + S::LANES), sums[1]);
                channel += 2 * S::LANES;
            }
            while channel + S::LANES <= self.channels {
                let mut sum = if bias.is_null() { S::splat(0.0) } else { S::load(bias.add(channel)) };
                let mut weights = weights.add(channel);
                for row in 0..rows {
                    for column in 0..columns {
                        let seen = window.add(row * self.row + column * self.pixel + channel);
                        sum = S::fma(S::load(seen), S::load(weights), sum);
                        weights = weights.add(self.channels);
                    }
                }
                S::store(out.add(channel), sum);
                channel += S::LANES;
            }
            while channel < self.channels {
                let mut sum = if bias.is_null() { 0.0 } else { *bias.add(channel) };
                for row in 0..rows {
                    for column in 0..columns {
                        let seen = *window.add(row * self.row + column * self.pixel + channel);
                        sum += seen * *weights.add((row * columns + column) * self.channels + channel);
                    }
                }
                *out.add(channel) = sum;
                channel += 1;
            }
        }
    }
}
