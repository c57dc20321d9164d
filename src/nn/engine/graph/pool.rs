//! Maxima and means over windows of any size.

use std::ops::Range;

use crate::nn::engine::map::Map;
use crate::nn::graph::{Pool, PoolKind, Windows};

/// A pool's windows on a map.
pub(super) struct Pooling<'a> {
    pub(super) images: usize,
    pub(super) pool: &'a Pool,
    /// Along rows and columns.
    pub(super) windows: [Windows; 2],
    pub(super) from: Map,
    pub(super) to: Map,
}

/// A window: its result's offset, the rows and columns of the map that it covers, and over how many positions a mean goes.
struct Window {
    at: usize,
    image: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    count: usize,
}

impl Pooling<'_> {
    /// What a window covers of `size` rows or columns.
    fn covered(&self, side: usize, window: usize, size: usize) -> Range<usize> {
        let start = window * self.pool.stride;
        let before = self.windows[side].before;
        start.saturating_sub(before)..(start + self.pool.kernel[side]).saturating_sub(before).min(size)
    }

    fn each(&self, mut visit: impl FnMut(&Window)) {
        let (from, to) = (self.from, self.to);
        for image in 0..self.images {
            for y in 0..to.shape.height {
                let rows = self.covered(0, y, from.shape.height);
                for x in 0..to.shape.width {
                    let columns = self.covered(1, x, from.shape.width);
                    let whole = matches!(self.pool.kind, PoolKind::Average { border: true });
                    let count = if whole { self.pool.kernel.iter().product() } else { rows.len() * columns.len() };
                    let at = to.origin() + image * to.image() + y * to.row() + x * to.pixel();
                    visit(&Window { at, image, rows: rows.clone(), columns, count });
                }
            }
        }
    }

    /// Calls `visit` with the offsets in the input, and in another layout of it, of every position that a window covers.
    fn positions(&self, window: &Window, other: Map, mut visit: impl FnMut(usize, usize)) {
        let offset =
            |map: Map, y: usize, x: usize| map.origin() + window.image * map.image() + y * map.row() + x * map.pixel();
        for y in window.rows.clone() {
            for x in window.columns.clone() {
                visit(offset(self.from, y, x), offset(other, y, x));
            }
        }
    }

    /// Every window's maximum or mean.
    pub(super) fn forward(&self, input: &[f32], output: &mut [f32]) {
        let channels = self.from.shape.channels;
        let max = self.pool.kind == PoolKind::Max;
        self.each(|window| {
            let output = &mut output[window.at..window.at + channels];
            output.fill(if max { f32::NEG_INFINITY } else { 0.0 });
            self.positions(window, self.from, |at, _| {
                let seen = output.iter_mut().zip(&input[at..at + channels]);
                match max {
                    // Comparisons that let a NaN through, like PyTorch's.
                    true => seen.for_each(|(most, &value)| *most = if *most >= value { *most } else { value }),
                    false => seen.for_each(|(sum, &value)| *sum += value),
                }
            });
            if !max {
                output.iter_mut().for_each(|sum| *sum /= window.count as f32);
            }
        });
    }

    /// Adds to `below`, laid out by `below_map`, the gradient by the input from that by the output: a window's goes to its first
    /// maximum, or to all positions in equal parts.
    pub(super) fn backward(&self, input: &[f32], gradient: &[f32], below: &mut [f32], below_map: Map) {
        let channels = self.from.shape.channels;
        let max = self.pool.kind == PoolKind::Max;
        let (mut most, mut first) = (vec![0.0; channels], vec![0; channels]);
        self.each(|window| {
            let gradient = &gradient[window.at..window.at + channels];
            if max {
                most.fill(f32::NEG_INFINITY);
                first.fill(usize::MAX);
                self.positions(window, self.from, |at, _| {
                    for (channel, &value) in input[at..at + channels].iter().enumerate() {
                        if first[channel] == usize::MAX || value > most[channel] {
                            (most[channel], first[channel]) = (value, at);
                        }
                    }
                });
            }
            self.positions(window, below_map, |at, place| {
                let below = &mut below[place..place + channels];
                for (channel, (below, &gradient)) in below.iter_mut().zip(gradient).enumerate() {
                    if !max {
                        *below += gradient / window.count as f32;
                    } else if first[channel] == at {
                        *below += gradient;
                    }
                }
            });
        });
    }
}
