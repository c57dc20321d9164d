//! Products of windows and weights: the forward pass of convolutions and linear layers, and their input gradients.

use super::winograd;
use crate::nn::engine::aligned::Aligned;
use crate::nn::engine::map::Map;
use crate::nn::engine::simd::{Kernel, Level, Simd};

/// Weights as panels of `level.panel()` output channels: per panel, for each run and each value of the run, the
/// weights to the panel's channels. Channels that don't fill the last panel of a group are zeros.
#[derive(Clone, Debug, Default)]
pub(in crate::nn::engine) struct Panels {
    /// Runs per window: the rows of the kernel, 1 for a linear layer.
    pub runs: usize,
    /// Values per run: the kernel's columns times the channels in, or the length of the input.
    pub run: usize,
    /// Groups of channels: 4 where the outputs are pixel-shuffled, else 1.
    pub groups: usize,
    /// Channels per group.
    pub channels: usize,
    /// `[group, panel, run, value, panel width]`.
    pub data: Aligned,
    /// `[group, panel, panel width]`; empty for none.
    pub bias: Aligned,
    /// The same weights transformed for [`super::winograd`]; empty where they don't suit it.
    pub tiles: Aligned,
}

/// What is done with the sums before they are stored.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::nn::engine) struct Epilogue<'a> {
    /// Adds these, laid out as the output.
    pub add: Option<&'a [f32]>,
    /// Sets negative values to 0.
    pub relu: bool,
    /// Sets values to 0 where these, laid out as the output, are not positive.
    pub mask: Option<&'a [f32]>,
}

/// Where the windows of a layer lie in its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::nn::engine) struct Windows {
    /// Offset of the first window's first value in an image.
    pub start: usize,
    /// Rows, and columns, from a window to the next.
    pub stride: usize,
}

impl Windows {
    /// Those of a layer with as many outputs as inputs: 3×3 with one row of border, or (`runs` is 1) the pixels themselves.
    pub(in crate::nn::engine) fn of_each_pixel(map: Map, runs: usize) -> Self {
        Self { start: if runs == 1 { map.origin() } else { 0 }, stride: 1 }
    }
}

/// The operands of [`contract()`].
pub(in crate::nn::engine) struct Contraction<'a> {
    /// Images to do.
    pub images: usize,
    /// Inputs, by `input_map`.
    pub input: &'a [f32],
    /// Layout of the inputs.
    pub input_map: Map,
    /// Where the windows lie in them.
    pub windows: Windows,
    /// The weights. With 4 groups, group `2i + j` of the pixel (y, x) goes to the output's pixel (2y + i, 2x + j).
    pub weights: &'a Panels,
    /// Receives the outputs, inside the border.
    pub output: &'a mut [f32],
    /// Layout of the outputs.
    pub output_map: Map,
    /// What is done to the sums.
    pub epilogue: Epilogue<'a>,
}

/// `output = epilogue(bias + window · weights)` for every pixel.
pub(in crate::nn::engine) fn contract(level: Level, job: Contraction<'_>) {
    let (from, to, weights) = (job.input_map, job.output_map, job.weights);
    let factor = if weights.groups == 4 { 2 } else { 1 };
    let panels = weights.channels.div_ceil(level.panel()) * weights.groups;
    assert!(weights.data.len() >= panels * weights.runs * weights.run * level.panel());
    assert!(weights.bias.is_empty() || weights.bias.len() >= panels * level.panel());
    assert!(to.shape.height.is_multiple_of(factor) && to.shape.width.is_multiple_of(factor));
    assert!(to.shape.channels == weights.channels && weights.runs > 0 && !to.shape.is_empty());
    let Windows { start, stride } = job.windows;
    let (last_row, last_column) = (to.shape.height / factor - 1, to.shape.width / factor - 1);
    let last = start + stride * (last_row * from.row() + last_column * from.pixel());
    assert!(last + (weights.runs - 1) * from.row() + weights.run <= from.image());
    assert!(job.input.len() >= job.images * from.image() && job.output.len() >= job.images * to.image());
    for side in [job.epilogue.add, job.epilogue.mask].into_iter().flatten() {
        assert!(side.len() >= job.images * to.image());
    }
    if winograd::convolves(&job) {
        winograd::convolve(level, job);
    } else {
        level.run(job);
    }
}

impl Kernel for Contraction<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd, const PIXELS: usize, const ROWS: usize>(self) {
        // SAFETY: `contract` checked the lengths; all offsets below are inside the maps.
        let mut job = self;
        // SAFETY: `contract` checked that the panels hold every block of every group, and the maps every window.
        unsafe { Blocks::<S, PIXELS>::new(&mut job).run(&job) }
    }
}

/// Values of a run that are taken together: so many that their weights stay in the first-level cache while the pixels
/// pass by.
const DEPTH: usize = 192;

/// Runs the blocks of one contraction.
struct Blocks<S, const PIXELS: usize> {
    out: *mut f32,
    relu: bool,
    add: *const f32,
    mask: *const f32,
    simd: std::marker::PhantomData<S>,
}

impl<S: Simd, const PIXELS: usize> Blocks<S, PIXELS> {
    #[inline(always)]
    fn new(job: &mut Contraction<'_>) -> Self {
        let pointer = |values: Option<&[f32]>| values.map_or(std::ptr::null(), <[f32]>::as_ptr);
        let Epilogue { add, relu, mask } = job.epilogue;
        let out = job.output.as_mut_ptr();
        Self { out, relu, add: pointer(add), mask: pointer(mask), simd: std::marker::PhantomData }
    }

    /// Panel by panel, block of the window by block: partial sums wait in the output.
    #[inline(always)]
    unsafe fn run(&self, job: &Contraction<'_>) {
        let width = 2 * S::LANES;
        let weights = job.weights;
        let panels = weights.channels.div_ceil(width);
        let runs_together = if weights.run <= DEPTH { (DEPTH / weights.run).max(1) } else { 1 };
        for panel in 0..weights.groups * panels {
            let (group, first) = (panel / panels, panel % panels * width);
            let channels = width.min(weights.channels - first);
            let shift = (group / 2) * job.output_map.row() + (group % 2) * job.output_map.pixel();
            let mut run = 0;
            while run < weights.runs {
                let runs = runs_together.min(weights.runs - run);
                let mut start = 0;
                while start < weights.run {
                    let depth = if runs > 1 { weights.run } else { DEPTH.min(weights.run - start) };
                    let at = ((panel * weights.runs + run) * weights.run + start) * width;
                    let block = Block {
                        // SAFETY: `contract` checked that the panels hold every block of every group, and the maps every window.
                        weights: unsafe { weights.data.as_ptr().add(at) },
                        bias: if run == 0 && start == 0 && !weights.bias.is_empty() {
                            // SAFETY: `contract` checked that the panels hold every block of every group, and the maps every window.
                            unsafe { weights.bias.as_ptr().add(panel * width) }
                        } else {
                            std::ptr::null()
                        },
                        input: job.windows.start + run * job.input_map.row() + start,
                        output: job.output_map.origin() + shift + first,
                        runs,
                        depth,
                        channels,
                        first: run == 0 && start == 0,
                        last: run + runs == weights.runs && start + depth == weights.run,
                    };
                    // SAFETY: `contract` checked that the panels hold every block of every group, and the maps every window.
                    unsafe { self.block(job, &block) };
                    start += depth;
                }
                run += runs;
            }
        }
    }

    /// One block for all pixels.
    #[inline(always)]
    unsafe fn block(&self, job: &Contraction<'_>, block: &Block) {
        let (from, to) = (job.input_map, job.output_map);
        let factor = if job.weights.groups == 4 { 2 } else { 1 };
        let (height, width) = (to.shape.height / factor, to.shape.width / factor);
        let stride = job.windows.stride;
        let mut left = job.images * height * width;
        let (mut x, mut y) = (0, 0);
        let (mut input, mut output) = (block.input, block.output);
        while left > 0 {
            let valid = left.min(PIXELS);
            let (mut inputs, mut outputs) = ([job.input.as_ptr(); PIXELS], [0; PIXELS]);
            for pixel in 0..PIXELS {
                // Missing pixels of the last tile repeat the last one.
                // SAFETY: `contract` checked that every window lies within its map; offsets beyond the last pixel are of repeated ones.
                inputs[pixel] = unsafe { job.input.as_ptr().add(input) };
                outputs[pixel] = output;
                if pixel + 1 < valid || (pixel + 1 == valid && valid == PIXELS) {
                    x += 1;
                    input += stride * from.pixel();
                    output += factor * to.pixel();
                    if x == width {
                        x = 0;
                        y += 1;
                        input += stride * from.row() - width * stride * from.pixel();
                        output += factor * (to.row() - width * to.pixel());
                        if y == height {
                            y = 0;
                            input = input + from.image() - height * stride * from.row();
                            output += to.image() - height * factor * to.row();
                        }
                    }
                }
            }
            // SAFETY: `contract` checked that every window lies within its map; offsets beyond the last pixel are of repeated ones.
            unsafe { self.tile(from.row(), block, &inputs, &outputs, valid) };
            left -= valid;
        }
    }

    /// One block for `PIXELS` pixels.
    #[inline(always)]
    unsafe fn tile(
        &self,
        row: usize,
        block: &Block,
        inputs: &[*const f32; PIXELS],
        outputs: &[usize; PIXELS],
        valid: usize,
    ) {
        // SAFETY: as the caller says of the block: its weights, its windows, and its outputs are there.
        unsafe {
            let (width, out) = (2 * S::LANES, self.out);
            let full = block.channels == width;
            let mut sums = [[S::splat(0.0); 2]; PIXELS];
            if block.first {
                if !block.bias.is_null() {
                    sums = [[S::load(block.bias), S::load(block.bias.add(S::LANES))]; PIXELS];
                }
            } else {
                for pixel in 0..valid {
                    sums[pixel] = if full {
                        let at = out.add(outputs[pixel]);
                        [S::load(at), S::load(at.add(S::LANES))]
                    } else {
                        load_part::<S>(out.add(outputs[pixel]), block.channels)
                    };
                }
            }
            Self::accumulate(&mut sums, row, block, inputs);
            for pixel in 0..valid {
                let at = outputs[pixel];
                if full {
                    for (half, mut value) in sums[pixel].into_iter().enumerate() {
                        let at = at + half * S::LANES;
                        if block.last {
                            if !self.add.is_null() {
                                value = S::add(value, S::load(self.add.add(at)));
                            }
                            if self.relu {
                                value = S::relu(value);
                            }
                            if !self.mask.is_null() {
                                value = S::where_positive(value, S::load(self.mask.add(at)));
                            }
                        }
                        S::store(out.add(at), value);
                    }
                } else {
                    self.store_part(at, sums[pixel], block);
                }
            }
        }
    }

    /// The inner loop. It works on a copy of the sums that is only indexed by constants, so that it is in registers.
    #[inline(always)]
    unsafe fn accumulate(sums: &mut [[S::V; 2]; PIXELS], row: usize, block: &Block, inputs: &[*const f32; PIXELS]) {
        // SAFETY: as the caller says of the block: `depth` inputs of each run and as many weights are there.
        unsafe {
            let mut tile = [[S::splat(0.0); 2]; PIXELS];
            for (tile, sums) in tile.iter_mut().zip(sums.iter()) {
                *tile = *sums;
            }
            let mut weights = block.weights;
            for run in 0..block.runs {
                for k in run * row..run * row + block.depth {
                    let (low, high) = (S::load(weights), S::load(weights.add(S::LANES)));
                    for (tile, input) in tile.iter_mut().zip(inputs) {
                        let value = S::splat(*input.add(k));
                        tile[0] = S::fma(value, low, tile[0]);
                        tile[1] = S::fma(value, high, tile[1]);
                    }
                    weights = weights.add(2 * S::LANES);
                }
            }
            for (sums, tile) in sums.iter_mut().zip(tile.iter()) {
                *sums = *tile;
            }
        }
    }

    /// Stores the channels of a panel that isn't full.
    #[inline(always)]
    unsafe fn store_part(&self, at: usize, sums: [S::V; 2], block: &Block) {
        // SAFETY: the block's channels are there; a panel has no more than the 64 values held here.
        unsafe {
            let mut values = [0f32; 64];
            S::store(values.as_mut_ptr(), sums[0]);
            S::store(values.as_mut_ptr().add(S::LANES), sums[1]);
            for (channel, &value) in values.iter().enumerate().take(block.channels) {
                let at = at + channel;
                let mut value = value;
                if block.last {
                    if !self.add.is_null() {
                        value += *self.add.add(at);
                    }
                    let negative = self.relu && value < 0.0;
                    if negative || (!self.mask.is_null() && *self.mask.add(at) <= 0.0) {
                        value = 0.0;
                    }
                }
                *self.out.add(at) = value;
            }
        }
    }
}

/// Part of the windows times part of the weights of one panel.
struct Block {
    weights: *const f32,
    bias: *const f32,
    input: usize,
    output: usize,
    runs: usize,
    depth: usize,
    channels: usize,
    first: bool,
    last: bool,
}

/// The first `channels` of a panel's values; zeros after them.
#[inline(always)]
pub(super) unsafe fn load_part<S: Simd>(from: *const f32, channels: usize) -> [S::V; 2] {
    // SAFETY: the caller has so many channels at `from`; a panel has no more than the 64 values held here.
    unsafe {
        let mut values = [0f32; 64];
        for (channel, value) in values.iter_mut().enumerate().take(channels) {
            *value = *from.add(channel);
        }
        [S::load(values.as_ptr()), S::load(values.as_ptr().add(S::LANES))]
    }
}
