//! Weights of convolutions and linear layers in the engine's layouts.

use super::kernels::{Panels, transform_weights};
use super::simd::Level;

/// Output channels up to which a convolution keeps its weights channel by channel and uses `dots`.
const FEW: usize = 4;

/// The weights of one convolution or linear layer, within the flat vector of all weights of the net: first the
/// weights, `[tap, input, channel]` or `[channel, tap, input]` if `by_channel`; then the biases.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    /// Channels (or values) in.
    pub inputs: usize,
    /// Channels (or values) out.
    pub outputs: usize,
    /// 9, or 1 for a linear layer.
    pub taps: usize,
    /// 4 where a pixel shuffle follows and is part of the convolution. Channels are then ordered by the pixel that they
    /// go to: PyTorch's channel `4k + q` is channel `q · outputs/4 + k`.
    pub groups: usize,
    /// Whether the outputs are few, and the weights ordered by channel.
    pub by_channel: bool,
    /// Where the weights begin in the flat vector.
    pub start: usize,
}

/// The weights of an [`Affine`], packed for `contract`.
#[derive(Clone, Debug, Default)]
pub(super) struct Packed {
    /// For the forward pass. Empty if `by_channel`.
    pub forward: Panels,
    /// For the gradient by the inputs: taps turned around, inputs and outputs exchanged. Empty if not needed.
    pub backward: Panels,
}

/// What a convolution's output goes into before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// A ReLU at most.
    Nothing,
    /// A pixel shuffle.
    Shuffle,
    /// The sum of a residual block.
    Skip,
}

impl Affine {
    /// A 3×3 convolution whose weights begin at `start`.
    pub(super) fn convolution(inputs: usize, outputs: usize, follow: Follow, start: usize) -> Self {
        let groups = if follow == Follow::Shuffle { 4 } else { 1 };
        Self { inputs, outputs, taps: 9, groups, by_channel: follow == Follow::Nothing && outputs <= FEW, start }
    }

    /// A linear layer whose weights begin at `start`.
    pub(super) fn linear(inputs: usize, outputs: usize, start: usize) -> Self {
        Self { inputs, outputs, taps: 1, groups: 1, by_channel: false, start }
    }

    /// Where the weights and biases lie in the flat vector.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.start..self.bias() + self.outputs
    }

    /// Where the biases begin in the flat vector.
    pub(super) fn bias(&self) -> usize {
        self.start + self.taps * self.inputs * self.outputs
    }

    /// The engine's channel for PyTorch's.
    fn channel(&self, channel: usize) -> usize {
        channel % self.groups * (self.outputs / self.groups) + channel / self.groups
    }

    /// Where the weight of a tap, an input and the engine's channel lies, from `start`.
    fn index(&self, tap: usize, input: usize, channel: usize) -> usize {
        let value = tap * self.inputs + input;
        if self.by_channel { channel * self.taps * self.inputs + value } else { value * self.outputs + channel }
    }

    /// Calls `visit(index in PyTorch's weight, index in the flat vector)` for each weight, then
    /// `visit_bias(channel, index in the flat vector)` for each bias.
    fn pairs(&self, mut visit: impl FnMut(usize, usize), mut visit_bias: impl FnMut(usize, usize)) {
        for out in 0..self.outputs {
            let channel = self.channel(out);
            for input in 0..self.inputs {
                for tap in 0..self.taps {
                    let torch = (out * self.inputs + input) * self.taps + tap;
                    visit(torch, self.start + self.index(tap, input, channel));
                }
            }
            visit_bias(out, self.bias() + channel);
        }
    }

    /// Copies PyTorch's `[out, in, 3, 3]` or `[out, in]` weight and its bias into the flat vector.
    pub(super) fn load(&self, weight: &[f32], bias: &[f32], flat: &mut [f32]) {
        let mut biases = Vec::with_capacity(self.outputs);
        self.pairs(|torch, index| flat[index] = weight[torch], |torch, index| biases.push((torch, index)));
        for (torch, index) in biases {
            flat[index] = bias[torch];
        }
    }

    /// The reverse of [`Affine::load`].
    pub(super) fn store(&self, flat: &[f32], weight: &mut [f32], bias: &mut [f32]) {
        self.pairs(|torch, index| weight[torch] = flat[index], |torch, index| bias[torch] = flat[index]);
    }

    /// Packs the weights for the kernels, reusing `packed`'s memory.
    pub(super) fn pack(&self, level: Level, flat: &[f32], backward: bool, packed: &mut Packed) {
        if !self.by_channel {
            self.pack_forward(level, flat, &mut packed.forward);
            transform_weights(level, &mut packed.forward);
        }
        if backward {
            self.pack_backward(level, flat, &mut packed.backward);
            transform_weights(level, &mut packed.backward);
        }
    }

    fn pack_forward(&self, level: Level, flat: &[f32], panels: &mut Panels) {
        let width = level.panel();
        let channels = self.outputs / self.groups;
        let per_group = channels.div_ceil(width);
        let values = self.taps * self.inputs;
        let runs = if self.taps == 9 { 3 } else { 1 };
        (panels.runs, panels.run, panels.groups, panels.channels) = (runs, values / runs, self.groups, channels);
        panels.data.resize(self.groups * per_group * values * width);
        panels.bias.resize(self.groups * per_group * width);
        let weights = &flat[self.start..self.bias()];
        let bias = &flat[self.bias()..][..self.outputs];
        for panel in 0..self.groups * per_group {
            let within = panel % per_group * width;
            let (first, count) = (panel / per_group * channels + within, width.min(channels - within));
            panels.bias[panel * width..][..count].copy_from_slice(&bias[first..][..count]);
            let data = &mut panels.data[panel * values * width..][..values * width];
            for (row, weights) in data.chunks_exact_mut(width).zip(weights.chunks_exact(self.outputs)) {
                row[..count].copy_from_slice(&weights[first..][..count]);
            }
        }
    }

    fn pack_backward(&self, level: Level, flat: &[f32], panels: &mut Panels) {
        let width = level.panel();
        let per_net = self.inputs.div_ceil(width);
        let values = self.taps * self.outputs;
        let runs = if self.taps == 9 { 3 } else { 1 };
        (panels.runs, panels.run, panels.groups, panels.channels) = (runs, values / runs, 1, self.inputs);
        panels.data.resize(per_net * values * width);
        let weights = &flat[self.start..self.bias()];
        for panel in 0..per_net {
            let first = panel * width;
            let count = width.min(self.inputs - first);
            let data = &mut panels.data[panel * values * width..][..values * width];
            for (tap, data) in data.chunks_exact_mut(self.outputs * width).enumerate() {
                let turned = self.taps - 1 - tap;
                for input in 0..count {
                    if self.by_channel {
                        for (channel, row) in data.chunks_exact_mut(width).enumerate() {
                            row[input] = weights[self.index(turned, first + input, channel)];
                        }
                    } else {
                        let weights = &weights[self.index(turned, first + input, 0)..][..self.outputs];
                        for (row, weight) in data.chunks_exact_mut(width).zip(weights) {
                            row[input] = *weight;
                        }
                    }
                }
            }
        }
    }
}
