//! A shard's way through the net and back.

use std::sync::{Mutex, PoisonError};

use super::affine::{Affine, Packed};
use super::aligned::Aligned;
use super::kernels::{
    Contraction, Dots, Epilogue, OuterProducts, Windows, column_sums, contract, dots, keep_positive, max_pool,
    max_pool_gradient, outer, unshuffle,
};
use super::map::{Map, SLACK};
use super::plan::{Op, Plan};
use super::simd::Level;
use crate::nn::loss::Target;
use crate::nn::random;
use crate::nn::spec::Shape;

/// What the shards of a pass share.
pub(super) struct Pass<'a> {
    /// The stages.
    pub plan: &'a Plan,
    /// The instruction set.
    pub level: Level,
    /// The flat vector of weights.
    pub flat: &'a [f32],
    /// The weights packed, by affine.
    pub packed: &'a [Packed],
}

/// The seed and step of the dropout of a training step.
#[derive(Clone, Copy)]
pub(super) struct DropoutStream {
    /// Seed.
    pub seed: u64,
    /// Training step.
    pub step: u64,
}

/// Where the gradients by the weights go.
pub(super) struct Sums<'a> {
    /// Laid out as the flat vector of weights.
    pub values: &'a mut [f32],
    /// Whether they are added to what is there, or take its place.
    pub add: bool,
}

/// The buffers of one shard.
pub(super) struct Workspace {
    activations: Vec<Aligned>,
    /// The gradients by three consecutive buffers: that by buffer `b` is in slot `b % 3`.
    gradients: [Aligned; 3],
    /// Gradient by the outputs of a convolution before its pixel shuffle.
    unshuffled: Aligned,
    /// Dropout factors: per layer, dense.
    scales: Vec<f32>,
    output: Vec<f32>,
    output_gradient: Vec<f32>,
}

impl Workspace {
    /// Buffers for up to `images` images at a time.
    pub(super) fn new(plan: &Plan, images: usize) -> Self {
        let gradient = plan.maps.iter().map(Map::image).max().unwrap_or(0) * images + SLACK;
        let unshuffled = |(affine, map): (&Affine, &Map)| (affine.groups == 4).then(|| before_shuffle(*map).image());
        let affine_maps = plan.stages.iter().zip(&plan.maps[1..]).filter_map(|(stage, map)| match stage.op {
            Op::Affine { index, .. } => unshuffled((&plan.affines[index], map)),
            _ => None,
        });
        let outputs = images * plan.output().shape.len();
        Self {
            activations: plan.maps.iter().map(|map| map.buffer(images)).collect(),
            gradients: [(); 3].map(|()| Aligned::zeros(gradient)),
            unshuffled: Aligned::zeros(affine_maps.max().unwrap_or(0) * images + SLACK),
            scales: vec![0.0; images * plan.dropped],
            output: vec![0.0; outputs],
            output_gradient: vec![0.0; outputs],
        }
    }

    /// Runs dense inputs forward; the dense outputs. With `dropout`, the images are those from number `first` on.
    pub(super) fn forward(&mut self, pass: &Pass<'_>, x: &[f32], dropout: Option<(DropoutStream, usize)>) -> &[f32] {
        let plan = pass.plan;
        let images = x.len() / plan.maps[0].shape.len();
        plan.maps[0].load(x, &mut self.activations[0]);
        for s in 0..plan.stages.len() {
            let (before, after) = self.activations.split_at_mut(s + 1);
            let (skip, input, output) = (s.checked_sub(1).map(|s| &before[s][..]), &before[s], &mut after[0]);
            match (plan.stages[s].op, dropout) {
                (Op::Dropout { probability, start }, Some((stream, first))) => {
                    let size = plan.maps[s].shape.len();
                    let scales = &mut self.scales[start * images..][..size * images];
                    for (image, scale) in scales.chunks_exact_mut(size).enumerate() {
                        let start = (first + image) * plan.dropped + start;
                        random::dropout(stream.seed, stream.step, start, probability, scale);
                    }
                    scale_rows(images, plan.maps[s], input, scales, output);
                }
                _ => apply(pass, s, images, input, skip, output),
            }
        }
        let map = plan.output();
        let output = &mut self.output[..images * map.shape.len()];
        map.unload(&self.activations[plan.stages.len()], output);
        output
    }

    /// After [`Workspace::forward`] of these images: their part of the batch's mean loss; the gradients by the
    /// weights go to `sums`.
    pub(super) fn backward(
        &mut self,
        pass: &Pass<'_>,
        target: Target<'_>,
        images: usize,
        batch: usize,
        mut sums: Sums<'_>,
    ) -> f64 {
        let (loss, first) = (self.loss(pass, target, images, batch), pass.plan.first_affine());
        for s in (first..pass.plan.stages.len()).rev() {
            self.stage_backward(pass, s, images, s > first, Some(&mut sums));
        }
        loss
    }

    /// After [`Workspace::forward`] of these images: their part of the batch's mean loss; its gradient by their inputs goes to
    /// `gradient`, dense. Weights must have been packed for the backward pass of the first layer, too.
    pub(super) fn input_gradient(
        &mut self,
        pass: &Pass<'_>,
        target: Target<'_>,
        images: usize,
        batch: usize,
        gradient: &mut [f32],
    ) -> f64 {
        let loss = self.loss(pass, target, images, batch);
        for s in (0..pass.plan.stages.len()).rev() {
            self.stage_backward(pass, s, images, true, None);
        }
        pass.plan.maps[0].unload(&self.gradients[0], gradient);
        loss
    }

    /// The part of these images in the batch's mean loss; its gradient by the last buffer, ReLU undone, is put in place.
    fn loss(&mut self, pass: &Pass<'_>, target: Target<'_>, images: usize, batch: usize) -> f64 {
        let (plan, level) = (pass.plan, pass.level);
        let (last, map) = (plan.stages.len(), plan.output());
        let outputs = map.shape.len();
        let gradient = &mut self.output_gradient[..images * outputs];
        let loss = target.contribution(&self.output[..images * outputs], outputs, batch, Some(gradient));
        map.load(gradient, &mut self.gradients[last % 3]);
        if plan.rectified(last) {
            let all = images * map.image();
            keep_positive(level, &mut self.gradients[last % 3][..all], &self.activations[last][..all]);
        }
        loss
    }

    /// From the gradient by buffer `s + 1`, ReLU undone, that by buffer `s`, its ReLU undone, if `needed`; and the
    /// gradient by the stage's weights, if there are `sums` for it.
    fn stage_backward(&mut self, pass: &Pass<'_>, s: usize, images: usize, needed: bool, sums: Option<&mut Sums<'_>>) {
        let (plan, level) = (pass.plan, pass.level);
        let (from, to) = (plan.maps[s], plan.maps[s + 1]);
        let rectified = plan.rectified(s);
        let (input, output) = (&self.activations[s], &self.activations[s + 1]);
        let [first, second, third] = &mut self.gradients;
        let (below, above, skipped) = match s % 3 {
            0 => (first, second, third),
            1 => (second, third, first),
            _ => (third, first, second),
        };
        match plan.stages[s].op {
            Op::Affine { index, .. } => {
                let affine = &plan.affines[index];
                let (gradient, map) = if affine.groups == 4 {
                    let map = before_shuffle(to);
                    unshuffle(images, above, to, &mut self.unshuffled, map);
                    (&mut self.unshuffled, map)
                } else {
                    (above, to)
                };
                if affine.taps == 9 {
                    map.clear_border(gradient, images);
                }
                let runs = if affine.taps == 9 { 3 } else { 1 };
                if let Some(sums) = sums {
                    let (weights, biases) = sums.values[affine.range()].split_at_mut(affine.bias() - affine.start);
                    if !sums.add {
                        biases.fill(0.0);
                    }
                    column_sums(level, images, gradient, map, biases);
                    outer(
                        level,
                        OuterProducts {
                            images,
                            input,
                            input_map: from,
                            gradient,
                            gradient_map: map,
                            runs,
                            add: sums.add,
                            sums: weights,
                            by_channel: affine.by_channel,
                        },
                    );
                }
                if needed {
                    // A residual block's input also gets what its output gets.
                    let skip = matches!(plan.stages.get(s + 1), Some(next) if matches!(next.op, Op::Affine { skip: true, .. }));
                    contract(
                        level,
                        Contraction {
                            images,
                            input: gradient,
                            input_map: map,
                            windows: Windows::of_each_pixel(map, runs),
                            weights: &pass.packed[index].backward,
                            output: below,
                            output_map: from,
                            epilogue: Epilogue {
                                add: skip.then_some(&skipped[..]),
                                relu: false,
                                mask: rectified.then_some(&input[..]),
                            },
                        },
                    );
                }
                return;
            }
            Op::MaxPool => {
                return max_pool_gradient(level, images, input, from, above, to, rectified, below);
            }
            Op::Flatten => {
                for image in 0..images {
                    let start = to.origin() + image * to.image();
                    let from_image = image * from.image();
                    from.load(&above[start..][..to.shape.len()], &mut below[from_image..]);
                }
            }
            Op::Shuffle => unshuffle_channels(images, above, to, below, from),
            Op::Dropout { start, .. } => {
                scale_rows(images, from, above, &self.scales[start * images..], below);
            }
            // What is above has passed this stage's mask already.
            Op::Relu => below[..images * from.image()].copy_from_slice(&above[..images * to.image()]),
            Op::Sigmoid => {
                for row in from.rows(images) {
                    for ((g, a), y) in below[row.clone()].iter_mut().zip(&above[row.clone()]).zip(&output[row]) {
                        *g = a * y * (1.0 - y);
                    }
                }
            }
        }
        if rectified {
            let all = images * from.image();
            keep_positive(level, &mut below[..all], &input[..all]);
        }
    }
}

/// One stage forward, for inference. `skip` is the buffer before the input.
pub(super) fn apply(pass: &Pass<'_>, s: usize, images: usize, input: &[f32], skip: Option<&[f32]>, output: &mut [f32]) {
    let (plan, level) = (pass.plan, pass.level);
    let (from, to) = (plan.maps[s], plan.maps[s + 1]);
    let relu = plan.stages[s].relu;
    match plan.stages[s].op {
        Op::Affine { index, skip: add } => {
            let affine = &plan.affines[index];
            if affine.by_channel {
                let (weights, bias) = pass.flat[affine.range()].split_at(affine.bias() - affine.start);
                dots(level, Dots { images, input, input_map: from, weights, bias, relu, output, output_map: to });
            } else {
                let epilogue = Epilogue { add: skip.filter(|_| add), relu, mask: None };
                let weights = &pass.packed[index].forward;
                contract(
                    level,
                    Contraction {
                        images,
                        input,
                        input_map: from,
                        windows: Windows::of_each_pixel(from, weights.runs),
                        weights,
                        output,
                        output_map: to,
                        epilogue,
                    },
                );
            }
        }
        Op::MaxPool => max_pool(level, images, input, from, output, to),
        Op::Flatten => {
            for image in 0..images {
                let start = to.origin() + image * to.image();
                from.unload(&input[image * from.image()..], &mut output[start..][..to.shape.len()]);
            }
        }
        Op::Shuffle => shuffle_channels(images, input, from, output, to),
        Op::Dropout { .. } => {
            for row in from.rows(images) {
                output[row.clone()].copy_from_slice(&input[row]);
            }
        }
        Op::Relu => {
            for (y, x) in output[..images * to.image()].iter_mut().zip(input) {
                *y = x.max(0.0);
            }
        }
        Op::Sigmoid => {
            for row in from.rows(images) {
                for (y, x) in output[row.clone()].iter_mut().zip(&input[row]) {
                    *y = 1.0 / (1.0 + (-x).exp());
                }
            }
        }
    }
}

/// The outputs of a convolution whose pixel-shuffled outputs have this layout.
fn before_shuffle(shuffled: Map) -> Map {
    let Shape { height, width, channels } = shuffled.shape;
    Map::new(Shape::new(height / 2, width / 2, 4 * channels))
}

/// Multiplies by dense factors.
fn scale_rows(images: usize, map: Map, input: &[f32], scales: &[f32], output: &mut [f32]) {
    let length = map.shape.width * map.shape.channels;
    for (row, scales) in map.rows(images).zip(scales.chunks_exact(length)) {
        for ((y, x), scale) in output[row.clone()].iter_mut().zip(&input[row]).zip(scales) {
            *y = x * scale;
        }
    }
}

/// The offsets of every value of a pixel shuffle on its own: before and after.
fn shuffled(images: usize, from: Map, to: Map) -> impl Iterator<Item = (usize, usize)> {
    let Shape { height, width, channels } = from.shape;
    (0..images * height * width * channels).map(move |value| {
        let (pixel, channel) = (value / channels, value % channels);
        let (image, y, x) = (pixel / (height * width), pixel / width % height, pixel % width);
        let (i, j) = (channel % 4 / 2, channel % 2);
        let before = from.origin() + image * from.image() + y * from.row() + x * from.pixel() + channel;
        let after = to.origin() + image * to.image() + (2 * y + i) * to.row() + (2 * x + j) * to.pixel() + channel / 4;
        (before, after)
    })
}

fn shuffle_channels(images: usize, input: &[f32], from: Map, output: &mut [f32], to: Map) {
    for (before, after) in shuffled(images, from, to) {
        output[after] = input[before];
    }
}

fn unshuffle_channels(images: usize, input: &[f32], from: Map, output: &mut [f32], to: Map) {
    for (before, after) in shuffled(images, to, from) {
        output[before] = input[after];
    }
}

/// Workspaces not in use. The one given back last is lent first: its buffers are still in cache.
pub(super) struct Pool {
    images: usize,
    free: Mutex<Vec<Workspace>>,
}

impl Pool {
    /// A pool of workspaces for up to `images` images.
    pub(super) fn new(images: usize) -> Self {
        Self { images, free: Mutex::new(Vec::new()) }
    }

    /// Images that a workspace has room for.
    pub(super) fn images(&self) -> usize {
        self.images
    }

    /// Lends `work` a workspace. There are as many as ever were in use at once.
    pub(super) fn with<R>(&self, plan: &Plan, work: impl FnOnce(&mut Workspace) -> R) -> R {
        let mut workspace = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_else(|| Workspace::new(plan, self.images));
        let result = work(&mut workspace);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        result
    }
}
