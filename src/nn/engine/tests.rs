//! The engine against finite differences, against candle, and against itself on other thread counts.

use super::network::EngineNetwork;
use super::simd::Level;
use crate::nn::gemm::GemmNetwork;
use crate::nn::reference::ReferenceNetwork;
use crate::nn::{
    Adam, BuildOptions, Device, Frozen, Layer, NetSpec, Network, NnError, Params, Schedule, Shape, Step, Target,
    initialise,
};

const CLASSES: usize = 5;

fn conv(input: usize, output: usize, relu: bool) -> Layer {
    Layer::Conv3x3 { input, output, relu }
}

/// A wave of values, the same on every machine.
fn wave(length: usize, frequency: f32) -> Vec<f32> {
    (0..length).map(|i| ((i % 9973) as f32 * frequency).sin()).collect()
}

/// Nets that together use every operation, tile remainder and channel count that matters.
fn specs() -> Vec<(&'static str, NetSpec)> {
    let net = |height, width, channels, layers| NetSpec { input: Shape::new(height, width, channels), layers };
    let residual = |channels, relu| Layer::Residual { channels, relu };
    let linear = |input, output, relu| Layer::Linear { input, output, relu };
    vec![
        ("reference decoder", NetSpec::reference_decoder(Shape::new(4, 4, 5), 8).unwrap()),
        ("reference classifier", NetSpec::reference_classifier(Shape::new(8, 8, 6), CLASSES).unwrap()),
        ("strong decoder", NetSpec::strong_decoder(Shape::new(4, 4, 7), 8, 12, 2).unwrap()),
        ("odd sizes", net(5, 3, 3, vec![conv(3, 37, true), conv(37, 70, true), conv(70, 2, false)])),
        ("deep windows", net(2, 2, 70, vec![conv(70, 40, true), conv(40, 65, true), conv(65, 33, true)])),
        ("few channels", net(3, 3, 1, vec![conv(1, 2, true), residual(2, true), conv(2, 4, true), conv(4, 1, false)])),
        ("residual first", net(3, 2, 6, vec![residual(6, false), residual(6, true)])),
        (
            "shuffle alone",
            net(
                2,
                3,
                8,
                vec![
                    Layer::Sigmoid,
                    Layer::PixelShuffle2,
                    conv(2, 8, true),
                    Layer::MaxPool2,
                    residual(8, true),
                    Layer::PixelShuffle2,
                ],
            ),
        ),
        (
            "relu alone",
            net(4, 4, 3, vec![conv(3, 6, false), Layer::Relu, Layer::MaxPool2, conv(6, 5, false), Layer::Relu]),
        ),
        ("shuffle last", net(2, 3, 3, vec![conv(3, 148, true), Layer::PixelShuffle2])),
        ("pool last", net(4, 4, 3, vec![conv(3, 6, true), Layer::Dropout { probability: 0.2 }, Layer::MaxPool2])),
        (
            "perceptron",
            net(
                1,
                1,
                50,
                vec![
                    linear(50, 40, true),
                    Layer::Dropout { probability: 0.4 },
                    linear(40, 33, true),
                    linear(33, 3, false),
                    Layer::Sigmoid,
                ],
            ),
        ),
        (
            "convolution after flatten",
            net(2, 2, 2, vec![conv(2, 3, true), Layer::Flatten, conv(12, 5, true), linear(5, 5, false)]),
        ),
    ]
}

/// Inputs and targets of `n` images; labels where the output is a vector of `CLASSES`.
struct Data {
    x: Vec<f32>,
    labels: Option<Vec<u32>>,
    images: Vec<f32>,
}

impl Data {
    fn new(spec: &NetSpec, n: usize, phase: f32) -> Self {
        let output = spec.output().unwrap();
        let labels = (output == Shape::new(1, 1, CLASSES))
            .then(|| (0..n).map(|i| ((i * 7 + phase as usize) % CLASSES) as u32).collect());
        let images = wave(n * output.len(), 0.77 + phase).iter().map(|v| 0.5 + 0.5 * v).collect();
        Self { x: wave(n * spec.input.len(), 0.37 + phase), labels, images }
    }

    fn target(&self) -> Target<'_> {
        self.labels.as_ref().map_or(Target::Images(&self.images), |labels| Target::Labels(labels))
    }
}

/// With an ε far above rounding: Adam's default makes a step of full length out of a gradient that is only rounding.
fn options() -> BuildOptions {
    let optimizer = Adam { weight_decay: 0.01, epsilon: 1e-5, ..Adam::default() };
    BuildOptions { device: Device::Cpu, optimizer, dropout_seed: 11 }
}

fn largest_difference(a: &Params, b: &Params) -> f32 {
    let pairs = a.0.iter().zip(&b.0).flat_map(|(a, b)| a.data.iter().zip(&b.data));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn training_equals_candles() {
    for (name, spec) in specs() {
        let init = initialise(&spec, 1);
        // Three batch sizes, so that shards and lanes are full, partly full and empty.
        let batches = (0..20u16).map(|index| {
            let n = [17, 3, 20][usize::from(index) % 3];
            (n, Data::new(&spec, n, f32::from(index)), Schedule::OneCycle { peak: 2e-3 }.at(index.into(), 20))
        });
        let train = |net: &mut dyn Network| {
            let losses =
                batches.clone().map(|(n, data, step)| net.train_step(&data.x, n, data.target(), step).unwrap());
            losses.collect::<Vec<f32>>()
        };
        let mut reference = ReferenceNetwork::new(&spec, &init, &options()).unwrap();
        let golden = train(&mut reference);
        for level in Level::available() {
            let mut engine = EngineNetwork::at(level, &spec, &init, &options()).unwrap();
            for (step, (a, b)) in train(&mut engine).iter().zip(&golden).enumerate() {
                assert!((a - b).abs() < 1e-4 * b.max(1.0), "{name} {level:?} step {step}: loss {a}, not {b}");
            }
            let difference = largest_difference(&engine.params().unwrap(), &reference.params().unwrap());
            assert!(difference < 1e-3, "{name} {level:?}: weights differ by {difference}");
        }
        let mut gemm = GemmNetwork::new(&spec, &init, &options()).unwrap();
        for (step, (a, b)) in train(&mut gemm).iter().zip(&golden).enumerate() {
            assert!((a - b).abs() < 1e-4 * b.max(1.0), "{name} by products, step {step}: loss {a}, not {b}");
        }
        let difference = largest_difference(&gemm.params().unwrap(), &reference.params().unwrap());
        assert!(difference < 1e-3, "{name} by products: weights differ by {difference}");
        reference.set_params(&init).unwrap();
        gemm.set_params(&init).unwrap();
        assert_eq!(gemm.params().unwrap(), init, "{name}: weights come back as they were given");
        let mut engine = EngineNetwork::new(&spec, &init, &options()).unwrap();
        let data = Data::new(&spec, 19, 0.5);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        engine.predict(&data.x, 19, &mut a).unwrap();
        reference.predict(&data.x, 19, &mut b).unwrap();
        assert_eq!(a.len(), b.len());
        let mut c = Vec::new();
        gemm.predict(&data.x, 19, &mut c).unwrap();
        assert!(c.len() == b.len() && c.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{name}: by products");
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{name}: predictions differ");
    }
}

/// TF32 products have ten bits of fraction, so that losses agree to less than on the CPU.
#[cfg(feature = "cuda")]
#[test]
fn training_on_cuda_equals_the_engines() {
    let device = crate::nn::Device::Cuda(0);
    for (name, spec) in specs() {
        let init = initialise(&spec, 1);
        let mut engine = EngineNetwork::new(&spec, &init, &options()).unwrap();
        let mut cuda = GemmNetwork::new(&spec, &init, &BuildOptions { device, ..options() }).unwrap();
        for index in 0..20u16 {
            let data = Data::new(&spec, 17, f32::from(index));
            let step = Schedule::OneCycle { peak: 2e-3 }.at(index.into(), 20);
            let a = engine.train_step(&data.x, 17, data.target(), step).unwrap();
            let b = cuda.train_step(&data.x, 17, data.target(), step).unwrap();
            assert!((a - b).abs() < 1e-2 * a.max(1.0), "{name} step {index}: loss {b}, not {a}");
        }
    }
}

#[test]
fn gradients_are_differences_of_the_loss() {
    // A plain gradient step can be read off Adam's: at its first step the update is −rate · g / (|g| + ε'), so with a
    // huge ε it is −rate / ε · g.
    let epsilon = 1e6;
    let optimizer = Adam { epsilon, ..Adam::default() };
    let options = BuildOptions { optimizer, ..options() };
    for (name, mut spec) in specs() {
        // Without dropout, so that the loss is a function of the weights; without kinks, so that it is smooth.
        spec.layers.retain(|layer| !matches!(layer, Layer::Dropout { .. }));
        let init = initialise(&spec, 2);
        let data = Data::new(&spec, 4, 0.25);
        let loss = |params: &Params| {
            let mut net = EngineNetwork::new(&spec, params, &options).unwrap();
            let mut out = Vec::new();
            net.predict(&data.x, 4, &mut out).unwrap();
            let gradient = None;
            data.target().contribution(&out, out.len() / 4, 4, gradient)
        };
        let mut net = EngineNetwork::new(&spec, &init, &options).unwrap();
        net.train_step(&data.x, 4, data.target(), Step { learning_rate: epsilon, beta1: 0.9 }).unwrap();
        let after = net.params().unwrap();
        let direction: Vec<f32> =
            init.0.iter().zip(&after.0).flat_map(|(a, b)| a.data.iter().zip(&b.data).map(|(a, b)| a - b)).collect();
        let norm = direction.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>().sqrt();
        // Along the gradient the loss changes by its norm; per parameter tensor, by that tensor's part.
        for (index, param) in init.0.iter().enumerate() {
            let part: Vec<f32> = param.data.iter().zip(&after.0[index].data).map(|(a, b)| a - b).collect();
            let square = part.iter().map(|g| f64::from(*g) * f64::from(*g)).sum::<f64>();
            if square.sqrt() < 1e-3 * norm {
                continue;
            }
            let size = 2e-3 / square.sqrt();
            let moved = |by: f64| {
                let mut params = init.clone();
                for (value, g) in params.0[index].data.iter_mut().zip(&part) {
                    *value += (by * f64::from(*g)) as f32;
                }
                loss(&params)
            };
            let difference = (moved(size) - moved(-size)) / (2.0 * size);
            let error = (difference - square).abs() / square;
            assert!(error < 0.03, "{name} {}: {difference} instead of {square}", param.name);
        }
    }
}

#[test]
fn weights_do_not_depend_on_the_number_of_threads() {
    for (name, spec) in specs() {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut net = EngineNetwork::new(&spec, &initialise(&spec, 3), &options()).unwrap();
                let mut losses = Vec::new();
                for index in 0..4 {
                    let data = Data::new(&spec, 37, index as f32);
                    let step = Step { learning_rate: 1e-3, beta1: 0.9 };
                    losses.push(net.train_step(&data.x, 37, data.target(), step).unwrap());
                }
                let mut out = Vec::new();
                net.predict(&Data::new(&spec, 37, 0.0).x, 37, &mut out).unwrap();
                (net.params().unwrap(), losses, out)
            })
        };
        let one = run(1);
        assert_eq!(one, run(2), "{name}");
        assert_eq!(one, run(3), "{name}");
    }
}

#[test]
fn divergence_is_reported_and_leaves_the_weights() {
    let spec = NetSpec::reference_decoder(Shape::new(4, 4, 5), 8).unwrap();
    let init = initialise(&spec, 1);
    let mut net = EngineNetwork::new(&spec, &init, &options()).unwrap();
    let mut data = Data::new(&spec, 3, 0.0);
    data.x[100] = f32::NAN;
    let error = net.train_step(&data.x, 3, data.target(), Step { learning_rate: 1e-3, beta1: 0.9 });
    assert!(matches!(error, Err(NnError::Diverged { step: 0, .. })), "{error:?}");
    assert_eq!(net.params().unwrap(), init);
    let wrong = net.train_step(&data.x[1..], 3, data.target(), Step { learning_rate: 1e-3, beta1: 0.9 });
    assert!(matches!(wrong, Err(NnError::Batch { n: 3, .. })));
}

#[test]
fn frozen_features_equal_candles_for_any_number_of_threads() {
    let layers = vec![
        conv(3, 16, true),
        conv(16, 40, true),
        Layer::MaxPool2,
        conv(40, 64, true),
        Layer::Residual { channels: 64, relu: true },
        Layer::MaxPool2,
        conv(64, 250, true),
        conv(250, 24, true),
        Layer::PixelShuffle2,
    ];
    let spec = NetSpec { input: Shape::new(8, 8, 3), layers };
    let params = initialise(&spec, 4);
    let n = Frozen::BLOCK + 5;
    let x = wave(n * spec.input.len(), 0.37);
    let taps: Vec<usize> = (0..spec.layers.len()).rev().collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut got = vec![Vec::new(); taps.len()];
            let mut frozen = Frozen::new(&spec, &params, Device::Cpu).unwrap();
            frozen
                .forward_taps(&x, n, &taps, &mut |tap, values| {
                    got[tap].extend_from_slice(values);
                    Ok(())
                })
                .unwrap();
            got
        })
    };
    let got = run(1);
    assert_eq!(got, run(3));
    for (tap, got) in got.iter().enumerate() {
        let cut = NetSpec { input: spec.input, layers: spec.layers[..=tap].to_vec() };
        let params = Params(params.0[..cut.param_shapes().len()].to_vec());
        let mut whole = Vec::new();
        ReferenceNetwork::new(&cut, &params, &options()).unwrap().predict(&x, n, &mut whole).unwrap();
        assert_eq!(got.len(), whole.len());
        assert!(got.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-4), "layer {tap}");
    }
}
