//! Winograd convolutions against the direct ones.

use super::{correlate, transform_weights};
use crate::nn::engine::aligned::Aligned;
use crate::nn::engine::kernels::{Contraction, Epilogue, OuterProducts, Panels, Windows, contract};
use crate::nn::engine::map::Map;
use crate::nn::engine::simd::Level;
use crate::nn::spec::Shape;

/// Values between −1 and 1 without a pattern.
fn noise(length: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

/// A bordered map of noise.
fn bordered(map: Map, images: usize, seed: u64) -> Aligned {
    let mut buffer = map.buffer(images);
    map.load(&noise(images * map.shape.len(), seed), &mut buffer);
    buffer
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    let scale = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-5 * scale, "{what}, value {at}: {a} instead of {b}");
    }
}

/// Images, height, width, channels in and channels out: blocks that are full, partly full and many.
const SIZES: [(usize, usize, usize, usize, usize); 4] =
    [(1, 2, 2, 32, 32), (3, 4, 6, 16, 64), (2, 16, 16, 32, 128), (1, 8, 10, 256, 32)];

#[test]
fn convolutions_equal_the_direct_ones() {
    for level in Level::available() {
        for (images, height, width, channels, outputs) in SIZES {
            for groups in [1, 4] {
                let per_group = outputs / groups;
                let from = Map::new(Shape::new(height, width, channels));
                let factor = if groups == 4 { 2 } else { 1 };
                let to = Map::new(Shape::new(height * factor, width * factor, per_group));
                let input = bordered(from, images, 1);
                let (add, mask) = (bordered(to, images, 2), bordered(to, images, 3));
                let mut panels =
                    Panels { runs: 3, run: 3 * channels, groups, channels: per_group, ..Panels::default() };
                let count = per_group.div_ceil(level.panel()) * groups;
                panels.data.resize(count * 9 * channels * level.panel());
                let weights = noise(panels.data.len(), 4);
                panels.data.copy_from_slice(&weights);
                panels.bias.resize(count * level.panel());
                let bias = noise(panels.bias.len(), 5);
                panels.bias.copy_from_slice(&bias);
                let run = |weights: &Panels, epilogue| {
                    let mut output = to.buffer(images);
                    let job = Contraction {
                        images,
                        input: &input,
                        input_map: from,
                        windows: Windows::of_each_pixel(from, 3),
                        weights,
                        output: &mut output,
                        output_map: to,
                        epilogue,
                    };
                    contract(level, job);
                    output
                };
                let direct = panels.clone();
                transform_weights(level, &mut panels);
                let suits = per_group.is_multiple_of(level.panel());
                assert_eq!(!panels.tiles.is_empty(), suits, "{level:?} {per_group}");
                for epilogue in [
                    Epilogue::default(),
                    Epilogue { add: Some(&add), relu: true, mask: None },
                    Epilogue { add: None, relu: false, mask: Some(&mask) },
                ] {
                    let what = format!("{level:?} {height}×{width}×{channels} to {groups}×{per_group}");
                    assert_close(&run(&panels, epilogue), &run(&direct, epilogue), &what);
                }
            }
        }
    }
}

#[test]
fn weight_gradients_equal_the_direct_ones() {
    for level in Level::available() {
        for (images, height, width, channels, outputs) in SIZES {
            let from = Map::new(Shape::new(height, width, channels));
            let by = Map::new(Shape::new(height, width, outputs));
            let (input, gradient) = (bordered(from, images, 1), bordered(by, images, 2));
            let start = noise(9 * channels * outputs, 3);
            for add in [false, true] {
                let run = |winograd: bool| {
                    let mut sums = start.clone();
                    let job = OuterProducts {
                        images,
                        input: &input,
                        input_map: from,
                        gradient: &gradient,
                        gradient_map: by,
                        runs: 3,
                        add,
                        sums: &mut sums,
                        by_channel: false,
                    };
                    if winograd {
                        correlate(level, job)
                    } else {
                        level.run(job)
                    }
                    sums
                };
                assert_close(&run(true), &run(false), &format!("{level:?} {height}×{width}×{channels} by {outputs}"));
            }
        }
    }
}
