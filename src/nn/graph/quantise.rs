//! Weights in eight bits: symmetric, with one scale for each output channel, as mobile runtimes read them.
//!
//! A quantised graph is an ordinary one whose every filter holds whole multiples `q·s`, `|q| ≤ 127`, of a scale of its own:
//! what is measured with it is exactly what a file with the integers `q` computes. Its scales need not be carried along, for the
//! filter itself tells them: scales have 17 significant bits, so that `q·s` is a number of single precision without rounding;
//! and the largest `|q|` of a filter is 127, so that `s` is its largest value over 127. [`Conv::int8`] reads both back, from
//! graphs that were [cut](Graph::local) after they were quantised, too.
//!
//! The scale decides between values that are clipped and values that are rounded coarsely. For each filter it is chosen among
//! twenty from the largest value over 127 (nothing is clipped) down to half of that, by the least squared error: of the outputs
//! on [`Calibration`] images, where there are any, else of the weights (Nagel et al. 2021, arXiv 2106.08295, section 3.1).
//! What the outputs are wrong by in the mean goes into the bias then (section 3.3 there). Biases, scales and shifts by channel, and
//! activations stay in single precision.

use std::sync::Arc;

use candle_core::{Device as CandleDevice, Tensor};

use super::{Conv, Graph, GraphRunner, Op};
use crate::nn::{Device, NnError, Shape, tensors::backend_error};

/// The largest integer; −128 is not used, so that the range is symmetric.
const LARGEST: f32 = 127.0;

/// How many scales are tried, and the ratio between each and the largest one, less that of the next.
const SCALES: usize = 20;
const STEP: f32 = 0.025;

/// Windows of the calibration images over which a convolution's error is summed.
const WINDOWS: usize = 512;

/// Fewest windows by whose mean a bias is corrected: that of fewer says less than it costs.
const FEWEST: usize = 64;

/// Weights that are multiplied in one product: what fits into a cache with what windows have seen.
const PRODUCT: usize = 1 << 18;

/// Filters without larger values become zeros: their scales would not be normal numbers.
const NOTHING: f32 = 1e-30;

/// Images on which the outputs' error is least.
#[derive(Debug, Clone, Copy)]
pub struct Calibration<'a> {
    /// `[n, channels, height, width]`, as the graph takes them: 16 to 64 images that no figure is computed from.
    pub images: &'a [f32],
    /// Number of images, channels, rows, columns.
    pub shape: [usize; 4],
}

/// How a filter is rounded.
#[derive(Debug, Clone, Copy)]
struct Rounding {
    /// Of what its weights become multiples.
    scale: f32,
    /// By how much the outputs grow in the mean.
    offset: f32,
}

/// A convolution's weights as integers.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8 {
    /// `[output, input / groups, rows, columns]`, −127 to 127.
    pub values: Vec<i8>,
    /// What each output channel's integers are multiplied by.
    pub scales: Vec<f32>,
}

impl Graph {
    /// The graph with every convolution's weights rounded to eight bits. One that is quantised already stays as it is, whatever
    /// the calibration.
    ///
    /// # Errors
    /// [`NnError::Batch`] where the calibration's numbers don't have its shape; [`NnError::Graph`] where the graph can't run on
    /// it; [`NnError::Backend`].
    pub fn quantised(&self, calibration: Option<&Calibration<'_>>) -> Result<Self, NnError> {
        let failed = |error| backend_error(Device::Cpu, error);
        let seen = match calibration {
            Some(calibration) => self.windows(calibration)?,
            None => vec![Vec::new(); self.nodes.len()],
        };
        let mut graph = self.clone();
        for (node, seen) in graph.nodes.iter_mut().zip(&seen) {
            if let Op::Conv(conv) = &mut node.op {
                let how = if seen.is_empty() { conv.by_weights() } else { conv.by_outputs(seen).map_err(failed)? };
                conv.weight = Arc::new(conv.rounded(&how));
                conv.bias = Arc::new(conv.bias.iter().zip(&how).map(|(bias, how)| bias - how.offset).collect());
            }
        }
        Ok(graph)
    }

    /// For each convolution what some of its windows see of the images: rows of `[input, kernel rows, kernel columns]`.
    fn windows(&self, calibration: &Calibration<'_>) -> Result<Vec<Vec<f32>>, NnError> {
        let [n, channels, height, width] = calibration.shape;
        let size = channels * height * width;
        if n == 0 || channels != self.input_channels() || calibration.images.len() != n * size || size == 0 {
            let (given, needed) = (calibration.images.len(), self.input_channels());
            let reason = format!("{given} values don't make calibration images of {needed}×{height}×{width}");
            return Err(NnError::Batch { n, reason });
        }
        self.cost(height, width)?;
        let shapes: Vec<Shape> = self.shapes(height, width)?.into_iter().flatten().collect();
        let consumers = self.consumers();
        let mut seen = vec![Vec::new(); self.nodes.len()];
        let borders: Vec<[usize; 4]> = self
            .nodes
            .iter()
            .map(|node| node.inputs.first().map_or(Ok([0; 4]), |&input| node.border(shapes[input])))
            .collect::<Result<_, _>>()?;
        let failed = |error| backend_error(Device::Cpu, error);
        let runner = GraphRunner::new(self, &CandleDevice::Cpu).map_err(failed)?;
        for (image, values) in calibration.images.chunks_exact(size).enumerate() {
            let x = Tensor::from_slice(values, (1, channels, height, width), &CandleDevice::Cpu).map_err(failed)?;
            let read = |at: usize, output: &Tensor| -> candle_core::Result<()> {
                let map: Vec<f32> = output.flatten_all()?.to_vec1()?;
                for &to in &consumers[at] {
                    if let Op::Conv(conv) = &self.nodes[to].op {
                        let [top, left, ..] = borders[to];
                        let places = places(shapes[to], WINDOWS.div_ceil(n), image);
                        places.for_each(|place| conv.look(&map, shapes[at], place, [top, left], &mut seen[to]));
                    }
                }
                Ok(())
            };
            let wanted = |at: usize| consumers[at].iter().any(|&to| matches!(self.nodes[to].op, Op::Conv(_)));
            runner.forward(&x, self.nodes.len() - 1, wanted, read).map_err(failed)?;
        }
        Ok(seen)
    }
}

/// At most `count` places of an output map, spread over it and other ones for each image.
fn places(map: Shape, count: usize, image: usize) -> impl Iterator<Item = [usize; 2]> {
    /// Multiples of the golden ratio's fraction are spread evenly, however many there are.
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let pixels = map.height * map.width;
    let spread = move |i: usize| ((i + image * count) as f64 * GOLDEN).fract() * pixels as f64;
    let place = move |i: usize| if pixels <= count { i } else { (spread(i) as usize).min(pixels - 1) };
    (0..count.min(pixels)).map(move |i| [place(i) / map.width, place(i) % map.width])
}

impl Conv {
    /// The weights as integers, where they are multiples of a scale as [`Graph::quantised`] makes them: `q·s` is the weight
    /// bit for bit. `None` where they are not.
    pub fn int8(&self) -> Option<Int8> {
        let size = self.weights_per_output();
        let scales: Vec<f32> = self.weight.chunks_exact(size).map(largest_scale).collect();
        let mut values = Vec::with_capacity(self.weight.len());
        for (filter, &scale) in self.weight.chunks_exact(size).zip(&scales) {
            for &weight in filter {
                let q = integer(weight, scale);
                if q * scale != weight {
                    return None;
                }
                values.push(q as i8);
            }
        }
        Some(Int8 { values, scales })
    }

    /// Every filter's rounding with the least error of its weights.
    fn by_weights(&self) -> Vec<Rounding> {
        let error = |filter: &[f32], scale: f32| {
            filter.iter().map(|&weight| f64::from(integer(weight, scale) * scale - weight).powi(2)).sum::<f64>()
        };
        let best = |filter: &[f32]| least((0..SCALES).map(|step| error(filter, nth_scale(filter, step))));
        let filters = self.weight.chunks_exact(self.weights_per_output());
        filters.map(|filter| Rounding { scale: nth_scale(filter, best(filter)), offset: 0.0 }).collect()
    }

    /// Every filter's rounding with the least error of its outputs on what its windows have `seen`, rows of
    /// `[input, kernel rows, kernel columns]`.
    fn by_outputs(&self, seen: &[f32]) -> candle_core::Result<Vec<Rounding>> {
        let (size, filters) = (self.weights_per_output(), self.output / self.groups);
        let rows = seen.len() / (size * self.groups);
        let seen = Tensor::from_slice(seen, (rows, size * self.groups), &CandleDevice::Cpu)?;
        let mut roundings = Vec::with_capacity(self.output);
        for (group, weight) in self.weight.chunks_exact(size * filters).enumerate() {
            let seen = seen.narrow(1, group * size, size)?.contiguous()?.t()?;
            // Every filter's mean error and mean squared error, scale by scale; small filters' scales in one product.
            let (mut means, mut squares) = (Vec::new(), Vec::new());
            let together = (PRODUCT / weight.len()).clamp(1, SCALES);
            for first in (0..SCALES).step_by(together) {
                let steps = first..(first + together).min(SCALES);
                let lost: Vec<f32> = steps.clone().flat_map(|step| self.lost(weight, step)).collect();
                let lost = Tensor::from_vec(lost, (steps.len() * filters, size), &CandleDevice::Cpu)?.matmul(&seen)?;
                means.extend(lost.mean(1)?.to_vec1::<f32>()?);
                squares.extend(lost.sqr()?.mean(1)?.to_vec1::<f32>()?);
            }
            for (at, filter) in weight.chunks_exact(size).enumerate() {
                let offset = |step: usize| if rows < FEWEST { 0.0 } else { means[step * filters + at] };
                // What is left when the offset is taken off.
                let error = |step: usize| f64::from(squares[step * filters + at] - offset(step).powi(2)).max(0.0);
                let best = least((0..SCALES).map(error));
                roundings.push(Rounding { scale: nth_scale(filter, best), offset: offset(best) });
            }
        }
        Ok(roundings)
    }

    /// What filters lose when each is rounded to its scale number `step`.
    fn lost(&self, weight: &[f32], step: usize) -> Vec<f32> {
        let of = |filter: &[f32]| {
            let scale = nth_scale(filter, step);
            filter.iter().map(|&weight| integer(weight, scale) * scale - weight).collect::<Vec<f32>>()
        };
        weight.chunks_exact(self.weights_per_output()).flat_map(of).collect()
    }

    /// The weights as multiples of these scales.
    fn rounded(&self, how: &[Rounding]) -> Vec<f32> {
        let filters = self.weight.chunks_exact(self.weights_per_output()).zip(how);
        filters.flat_map(|(filter, how)| filter.iter().map(move |&w| integer(w, how.scale) * how.scale)).collect()
    }

    /// Appends what the window of the output's place `[row, column]` sees of a map.
    fn look(&self, map: &[f32], shape: Shape, place: [usize; 2], border: [usize; 2], seen: &mut Vec<f32>) {
        let Shape { height, width, channels } = shape;
        let [row, column] = [0, 1].map(|at| place[at] * self.stride);
        for channel in 0..channels {
            for at in 0..self.kernel[0] * self.kernel[1] {
                let (y, x) = (row + at / self.kernel[1] * self.dilation, column + at % self.kernel[1] * self.dilation);
                let (y, x) = (y.wrapping_sub(border[0]), x.wrapping_sub(border[1]));
                let inside = y < height && x < width;
                seen.push(if inside { map[(channel * height + y) * width + x] } else { 0.0 });
            }
        }
    }
}

/// Which multiple of `scale` is nearest to `weight`; never minus zero.
fn integer(weight: f32, scale: f32) -> f32 {
    (weight / scale).round().clamp(-LARGEST, LARGEST) + 0.0
}

/// The scale that clips nothing of a filter; 1 for a filter of nothing.
fn largest_scale(filter: &[f32]) -> f32 {
    nth_scale(filter, 0)
}

/// The scale number `step` of those that are tried, largest first: 17 significant bits.
fn nth_scale(filter: &[f32], step: usize) -> f32 {
    let largest = filter.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
    if largest < NOTHING {
        return 1.0;
    }
    f32::from_bits(((1.0 - STEP * step as f32) * (largest / LARGEST)).to_bits() & !0x7f)
}

/// The place of the least error, the first of equals.
fn least(errors: impl Iterator<Item = f64>) -> usize {
    let mut best = (f64::INFINITY, 0);
    for (step, error) in errors.enumerate() {
        if error < best.0 {
            best = (error, step);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::super::tests::{conv, numbers, outputs, relu, shaped};
    use super::*;
    use crate::nn::{Activation, Cut, Keep, Padding};

    /// An ordinary, a depthwise and a strided convolution.
    fn net() -> Graph {
        let mut graph = Graph::new(3);
        let a = graph.push("a", conv(3, 8, 1), vec![0]).unwrap();
        let b = graph.push("a_relu", relu(), vec![a]).unwrap();
        let depthwise = shaped(8, 8, 8, [3, 3], 1, Padding::SameUpper, 2);
        let c = graph.push("b", depthwise, vec![b]).unwrap();
        let d = graph.push("c", shaped(8, 6, 2, [3, 2], 2, Padding::Explicit([1, 0, 0, 1]), 3), vec![c]).unwrap();
        graph.push("c_relu", Op::Activation(Activation::Relu), vec![d]).unwrap();
        graph
    }

    fn convs(graph: &Graph) -> impl Iterator<Item = &Conv> {
        graph.nodes().iter().filter_map(|node| if let Op::Conv(conv) = &node.op { Some(conv) } else { None })
    }

    fn images() -> (Vec<f32>, [usize; 4]) {
        (numbers(5 * 3 * 9 * 7, 7, 1.0).to_vec(), [5, 3, 9, 7])
    }

    #[test]
    fn weights_are_multiples_of_their_scales_bit_for_bit() {
        let (images, shape) = images();
        for calibration in [None, Some(&Calibration { images: &images, shape })] {
            let graph = net().quantised(calibration).unwrap();
            for (conv, original) in convs(&graph).zip(convs(&net())) {
                let int8 = conv.int8().unwrap();
                assert_eq!((int8.values.len(), int8.scales.len()), (conv.weight.len(), conv.output));
                let size = conv.weights_per_output();
                for (at, (&q, &weight)) in int8.values.iter().zip(conv.weight.iter()).enumerate() {
                    let scale = int8.scales[at / size];
                    assert_eq!((f32::from(q) * scale).to_bits(), weight.to_bits());
                    // Half a step, where it isn't clipped.
                    let lost = (weight - original.weight[at]).abs();
                    assert!(lost <= 0.501 * scale || q.abs() == 127, "{lost} {scale}");
                }
                assert!(int8.values.chunks(size).all(|filter| filter.iter().any(|q| q.abs() == 127)));
                assert!(calibration.is_some() || conv.bias == original.bias);
            }
        }
    }

    #[test]
    fn what_is_quantised_stays_as_it_is() {
        let (images, shape) = images();
        let calibration = Calibration { images: &images, shape };
        let once = net().quantised(Some(&calibration)).unwrap();
        assert_eq!(once.quantised(None).unwrap(), once);
        assert_eq!(once.quantised(Some(&calibration)).unwrap(), once);
        assert!(convs(&net()).all(|conv| conv.int8().is_none()));
    }

    #[test]
    fn calibration_loses_less_of_the_outputs() {
        let (images, shape) = images();
        let graph = net();
        let expected = outputs(&graph, &images, shape);
        // One convolution after the other: errors of those before don't count.
        let lost = |calibration: Option<&Calibration<'_>>, at: usize| {
            let mut changed = graph.clone();
            changed.nodes[at].op = graph.quantised(calibration).unwrap().nodes[at].op.clone();
            let found = outputs(&changed, &images, shape);
            found[at].iter().zip(&expected[at]).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        for at in [1, 3, 4] {
            let without = lost(None, at);
            let with = lost(Some(&Calibration { images: &images, shape }), at);
            let energy: f64 = expected[at].iter().map(|&x| f64::from(x).powi(2)).sum();
            assert!(with < without, "node {at}: {with} {without}");
            assert!(with < 1e-4 * energy, "node {at}: {with} of {energy}");
        }
    }

    #[test]
    fn cutting_keeps_what_is_quantised() {
        let graph = net().quantised(None).unwrap();
        let cut = Cut { name: "c".to_owned(), tap: 4, end: 5, activation: Some(Activation::Relu), mixable: false };
        let cut = Cut { tap: 3, end: 3, activation: None, ..cut };
        let local = graph.local(&cut, &Keep::Channels(&[1, 4, 5])).unwrap();
        assert_eq!(convs(&local).map(|conv| conv.output).collect::<Vec<_>>(), [3, 3]);
        assert!(convs(&local).all(|conv| conv.int8().is_some()));
    }

    #[test]
    fn filters_of_nothing_and_foreign_calibrations_do_no_harm() {
        let mut graph = net();
        if let Op::Conv(conv) = &mut graph.nodes[1].op {
            let mut weight = conv.weight.to_vec();
            weight[..27].fill(0.0);
            weight[27..54].fill(1e-35);
            conv.weight = Arc::new(weight);
        }
        let quantised = graph.quantised(None).unwrap();
        let int8 = convs(&quantised).next().unwrap().int8().unwrap();
        assert_eq!(int8.scales[..2], [1.0; 2]);
        assert!(int8.values[..54].iter().all(|&q| q == 0));
        let wrong = Calibration { images: &[0.0; 12], shape: [1, 3, 2, 3] };
        assert!(graph.quantised(Some(&wrong)).unwrap_err().to_string().contains("12 values"));
        let small = Calibration { images: &[0.0; 12], shape: [2, 2, 3, 1] };
        assert!(graph.quantised(Some(&small)).is_err());
    }
}
