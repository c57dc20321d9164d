//! Absolute error and structural similarity, with gradients: what an attacker minimises who wants images that look right.

/// Side and standard deviation of SSIM's Gaussian window.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
/// `(K₁ L)²` and `(K₂ L)²` for `K = (0.01, 0.03)` and a data range `L` of 1.
const C1: f32 = 0.01 * 0.01;
const C2: f32 = 0.03 * 0.03;

/// Share of `1 − SSIM` beside the absolute error.
const SSIM_WEIGHT: f64 = 0.2;

/// Side of the smallest images that a window fits into.
pub(super) const LEAST_SIDE: usize = WINDOW;

/// The shape of one image.
#[derive(Clone, Copy)]
struct Plane {
    height: usize,
    /// Values of a row.
    row: usize,
    channels: usize,
}

impl Plane {
    fn windows(&self) -> (usize, usize) {
        (self.height + 1 - WINDOW, self.row - (WINDOW - 1) * self.channels)
    }

    /// Means over the window around each place where it fits: `[windows down, windows across · channels]`.
    fn means(&self, values: &[f32], weights: &[f32; WINDOW]) -> Vec<f32> {
        let (down, across) = self.windows();
        let mut along = vec![0.0; self.height * across];
        for (out, row) in along.chunks_exact_mut(across).zip(values.chunks_exact(self.row)) {
            for (k, weight) in weights.iter().enumerate() {
                out.iter_mut().zip(&row[k * self.channels..]).for_each(|(out, value)| *out += weight * value);
            }
        }
        let mut means = vec![0.0; down * across];
        for (y, out) in means.chunks_exact_mut(across).enumerate() {
            for (k, weight) in weights.iter().enumerate() {
                out.iter_mut().zip(&along[(y + k) * across..]).for_each(|(out, value)| *out += weight * value);
            }
        }
        means
    }

    /// The transpose of [`means`](Self::means): from gradients by the means to those by the values.
    fn spread(&self, gradients: &[f32], weights: &[f32; WINDOW]) -> Vec<f32> {
        let (_, across) = self.windows();
        let mut along = vec![0.0; self.height * across];
        for (y, row) in gradients.chunks_exact(across).enumerate() {
            for (k, weight) in weights.iter().enumerate() {
                let out = &mut along[(y + k) * across..][..across];
                out.iter_mut().zip(row).for_each(|(out, value)| *out += weight * value);
            }
        }
        let mut values = vec![0.0; self.height * self.row];
        for (out, row) in values.chunks_exact_mut(self.row).zip(along.chunks_exact(across)) {
            for (k, weight) in weights.iter().enumerate() {
                out[k * self.channels..].iter_mut().zip(row).for_each(|(out, value)| *out += weight * value);
            }
        }
        values
    }
}

/// The window's weights along one side.
fn weights() -> [f32; WINDOW] {
    let weight = |i: usize| (-0.5 * ((i as f64 - (WINDOW / 2) as f64) / SIGMA).powi(2)).exp();
    let sum: f64 = (0..WINDOW).map(weight).sum();
    std::array::from_fn(|i| (weight(i) / sum) as f32)
}

/// SSIM of one image `x` with `y`, over windows that lie wholly inside; its gradient by `x` times `scale` is added to
/// `gradient`. The metric is [`ssim`](crate::metrics::ssim), in single precision.
fn ssim(plane: Plane, x: &[f32], y: &[f32], weights: &[f32; WINDOW], gradient: Option<(&mut [f32], f32)>) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| a * b).collect() };
    let [mean_x, mean_y] = [x, y].map(|values| plane.means(values, weights));
    let [xx, yy, xy] = [(x, x), (y, y), (x, y)].map(|(a, b)| plane.means(&product(a, b), weights));
    let n = mean_x.len();
    let mut by_mean = vec![0.0; n];
    let mut by_square = vec![0.0; n];
    let mut by_product = vec![0.0; n];
    let mut sum = 0.0;
    for i in 0..n {
        let (a, b) = (mean_x[i], mean_y[i]);
        let luminance = [2.0 * a * b + C1, a * a + b * b + C1];
        let structure = [2.0 * (xy[i] - a * b) + C2, (xx[i] - a * a) + (yy[i] - b * b) + C2];
        let below = luminance[1] * structure[1];
        let similarity = luminance[0] * structure[0] / below;
        sum += f64::from(similarity);
        by_product[i] = 2.0 * luminance[0] / below;
        by_square[i] = -similarity / structure[1];
        by_mean[i] = 2.0 * b * (structure[0] - luminance[0]) / below
            - 2.0 * a * similarity * (1.0 / luminance[1] - 1.0 / structure[1]);
    }
    if let Some((gradient, scale)) = gradient {
        let [of_mean, of_square, of_product] =
            [by_mean, by_square, by_product].map(|gradients| plane.spread(&gradients, weights));
        let scale = scale / n as f32;
        for (i, gradient) in gradient.iter_mut().enumerate() {
            *gradient += scale * (of_mean[i] + 2.0 * x[i] * of_square[i] + y[i] * of_product[i]);
        }
    }
    sum / n as f64
}

/// `Σ (mean |output − target| + 0.2 (1 − SSIM)) / batch` over square images of `side`, and its gradient.
pub(super) fn perceptual(
    output: &[f32],
    target: &[f32],
    side: usize,
    outputs: usize,
    batch: usize,
    mut gradient: Option<&mut [f32]>,
) -> f64 {
    let channels = outputs / (side * side);
    let plane = Plane { height: side, row: side * channels, channels };
    let weights = weights();
    let mut sum = 0.0;
    for (image, (x, y)) in output.chunks_exact(outputs).zip(target.chunks_exact(outputs)).enumerate() {
        let absolute: f64 = x.iter().zip(y).map(|(x, y)| f64::from((x - y).abs())).sum();
        let gradient = gradient.as_deref_mut().map(|gradient| &mut gradient[image * outputs..][..outputs]);
        let gradient = gradient.map(|gradient| {
            let scale = 1.0 / (outputs * batch) as f32;
            for ((g, x), y) in gradient.iter_mut().zip(x).zip(y) {
                *g = if x == y { 0.0 } else { (x - y).signum() * scale };
            }
            (gradient, -(SSIM_WEIGHT / batch as f64) as f32)
        });
        sum += absolute / outputs as f64 + SSIM_WEIGHT * (1.0 - ssim(plane, x, y, &weights, gradient));
    }
    sum / batch as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{self, Images};

    fn images(speed: f32) -> Vec<f32> {
        (0..2 * 14 * 14 * 3).map(|i| 0.5 + 0.4 * (i as f32 * speed).sin()).collect()
    }

    #[test]
    fn ssim_is_the_metric() {
        let (x, y) = (images(0.37), images(0.41));
        let shape = [2, 14, 14, 3];
        let expected = metrics::ssim(&Images::new(&x, shape).unwrap(), &Images::new(&y, shape).unwrap()).unwrap();
        let plane = Plane { height: 14, row: 42, channels: 3 };
        for (image, expected) in expected.into_iter().enumerate() {
            let part = image * 588..(image + 1) * 588;
            let found = ssim(plane, &x[part.clone()], &y[part], &weights(), None);
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn gradients_are_differences_of_the_loss() {
        let (x, y) = (images(0.37), images(0.41));
        let mut gradient = vec![0.0; x.len()];
        perceptual(&x, &y, 14, 588, 2, Some(&mut gradient));
        for at in [0, 41, 300, 587, 588, 900, 1175] {
            let shifted = |by: f32| {
                let mut x = x.clone();
                x[at] += by;
                perceptual(&x, &y, 14, 588, 2, None)
            };
            let difference = (shifted(2e-3) - shifted(-2e-3)) / 4e-3;
            let found = f64::from(gradient[at]);
            assert!((difference - found).abs() < 3e-6 + 0.02 * found.abs(), "{at}: {difference} {found}");
        }
    }
}
