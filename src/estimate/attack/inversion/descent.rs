//! The descent of white-box inversion: projected gradient steps on images.

use std::f32::consts::PI;

use crate::backbone::Preprocess;
use crate::data::Region;
use crate::estimate::EstimateError;
use crate::nn::{Inverse, NnError, Target};

/// Inside the root that makes the absolute value smooth.
const SMOOTH: f32 = 1e-6;

/// Largest change of any pixel in a first step, and in a later one.
const FIRST_STEP: f32 = 0.01;
const LONGEST_STEP: f32 = 0.2;

/// What holds an image that its features leave open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prior {
    /// λ, the weight of total variation.
    pub(super) variation: f32,
    /// μ, the weight of the distance to another attack's reconstruction; from grey where there is none, else from that.
    pub(super) anchor: Option<f32>,
}

impl Prior {
    /// A quarter as strong.
    pub(super) fn weaker(self) -> Self {
        Self { variation: self.variation / 4.0, anchor: self.anchor.map(|weight| weight / 4.0) }
    }
}

/// How an image follows its gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// Straight, as far as the last step's change of gradient tells (Barzilai and Borwein). Goes furthest where the loss is smooth.
    BarzilaiBorwein,
    /// Adam, its rate falling from this peak (in units of the pixels' range) to nothing. Large steps cross a rugged loss.
    Adam(f32),
}

/// A part of a descent, which remembers nothing of those before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cycle {
    pub(super) prior: Prior,
    pub(super) rule: Rule,
    pub(super) steps: usize,
}

/// Images being sought.
pub(super) struct Sought<'a> {
    pub(super) count: usize,
    /// The features that were seen, as the local net gives them.
    pub(super) seen: Vec<f32>,
    /// Another attack's reconstructions, where there are any.
    pub(super) anchor: Option<&'a [f32]>,
}

/// What all images that are sought have in common.
pub(super) struct Descender {
    pub(super) net: Inverse,
    /// From pixels to the net's input.
    pub(super) preprocess: Preprocess,
    pub(super) side: usize,
    /// Where pixels are unknown: padding is black.
    pub(super) content: Region,
    /// Whether the attacker's images are all grey, so that a pixel is one unknown and not three.
    pub(super) grey: bool,
    /// The mean squared error of the other attack's reconstructions on validation images.
    pub(super) error: f32,
}

/// Why a descent ended early.
pub(super) enum Halt {
    /// The net can't be differentiated.
    Net(NnError),
    /// It was interrupted.
    Told(EstimateError),
}

/// Where an image was a step ago, with its gradient there; nowhere before the first step.
#[derive(Default)]
struct Past {
    image: Vec<f32>,
    gradient: Vec<f32>,
}

impl Past {
    /// The length of the `step`th step from `x` along `gradient`: with s and y the changes of both since the step before, s·s/s·y and
    /// s·y/y·y by turns (Barzilai and Borwein, *Two-point step size gradient methods*, 1988; Dai and Fletcher, *Projected
    /// Barzilai-Borwein methods for large-scale box-constrained quadratic programming*, 2005).
    fn step_length(&self, x: &[f32], gradient: &[f32], step: usize) -> f32 {
        let steepest = gradient.iter().fold(f32::MIN_POSITIVE, |most, g| most.max(g.abs()));
        let [mut ss, mut sy, mut yy] = [0.0f64; 3];
        for ((x, old_x), (g, old_g)) in x.iter().zip(&self.image).zip(gradient.iter().zip(&self.gradient)) {
            let (s, y) = (f64::from(x - old_x), f64::from(g - old_g));
            ss += s * s;
            sy += s * y;
            yy += y * y;
        }
        // Where the loss isn't convex, as before the first step, nothing is known of it.
        if sy <= 0.0 {
            return FIRST_STEP / steepest;
        }
        let length = if step.is_multiple_of(2) { ss / sy } else { sy / yy };
        (length as f32).min(LONGEST_STEP / steepest)
    }
}

/// An image's own steps.
enum Stepper {
    BarzilaiBorwein(Past),
    /// With the running means of the gradient and of its square.
    Adam(f32, Vec<[f32; 2]>),
}

impl Stepper {
    fn new(rule: Rule, size: usize) -> Self {
        match rule {
            Rule::BarzilaiBorwein => Self::BarzilaiBorwein(Past::default()),
            Rule::Adam(peak) => Self::Adam(peak, vec![[0.0; 2]; size]),
        }
    }

    /// Takes step `step` of `steps` from `x`.
    fn step(&mut self, x: &mut [f32], gradient: &[f32], step: usize, steps: usize) {
        match self {
            Self::BarzilaiBorwein(past) => {
                let length = past.step_length(x, gradient, step);
                *past = Past { image: x.to_vec(), gradient: gradient.to_vec() };
                x.iter_mut().zip(gradient).for_each(|(x, g)| *x -= length * g);
            }
            Self::Adam(peak, moments) => {
                let rate = *peak * 0.5 * (1.0 + (PI * step as f32 / steps as f32).cos());
                let [first, second] = [0.9f32, 0.999].map(|beta| 1.0 - beta.powi(step as i32 + 1));
                for ((x, g), [mean, square]) in x.iter_mut().zip(gradient).zip(moments) {
                    *mean = 0.9 * *mean + 0.1 * g;
                    *square = 0.999 * *square + 0.001 * g * g;
                    *x -= rate * (*mean / first) / ((*square / second).sqrt() + 1e-8);
                }
            }
        }
    }
}

impl Descender {
    /// Where a descent begins: from the other attack's reconstructions where `anchored`, else from grey.
    pub(super) fn start(&self, sought: &Sought<'_>, anchored: bool) -> Vec<f32> {
        let mut x = match sought.anchor {
            Some(anchor) if anchored => anchor.to_vec(),
            _ => vec![0.5; sought.count * self.side * self.side * 3],
        };
        if self.grey {
            average_colours(&mut x);
        }
        x
    }

    /// Follows the gradient from `x` through a cycle; `tell` hears of every step and may end it.
    pub(super) fn descend(
        &mut self,
        x: &mut [f32],
        sought: &Sought<'_>,
        cycle: Cycle,
        tell: &dyn Fn(usize) -> Result<(), EstimateError>,
    ) -> Result<(), Halt> {
        let size = self.side * self.side * 3;
        let inside: Vec<bool> = (0..size).map(|at| self.is_content(at)).collect();
        let mut steppers: Vec<Stepper> = (0..sought.count).map(|_| Stepper::new(cycle.rule, size)).collect();
        let mut gradient = Vec::new();
        for step in 0..cycle.steps {
            tell(step).map_err(Halt::Told)?;
            self.differentiate(x, sought, cycle.prior, &mut gradient)?;
            for ((x, gradient), stepper) in x.chunks_exact_mut(size).zip(gradient.chunks_exact(size)).zip(&mut steppers)
            {
                stepper.step(x, gradient, step, cycle.steps);
                for (x, &inside) in x.iter_mut().zip(&inside) {
                    *x = if inside { x.clamp(0.0, 1.0) } else { 0.0 };
                }
            }
        }
        Ok(())
    }

    /// The gradient of every image's loss at `x`.
    fn differentiate(
        &mut self,
        x: &[f32],
        sought: &Sought<'_>,
        prior: Prior,
        gradient: &mut Vec<f32>,
    ) -> Result<(), Halt> {
        let (n, size) = (sought.count, self.side * self.side * 3);
        let input = self.preprocess.of_unit(x);
        self.net.differentiate(&input, n, Target::Images(&sought.seen), gradient).map_err(Halt::Net)?;
        // From the mean over images of the net's input to each image's pixels.
        let scale = self.preprocess.scale;
        gradient.iter_mut().enumerate().for_each(|(at, g)| *g *= 255.0 * n as f32 * scale[at % 3]);
        for (x, gradient) in x.chunks_exact(size).zip(gradient.chunks_exact_mut(size)) {
            total_variation(x, self.side, prior.variation, gradient);
        }
        if let (Some(weight), Some(anchor)) = (prior.anchor, sought.anchor) {
            let factor = 2.0 * weight / (self.error * size as f32);
            for ((gradient, x), anchor) in gradient.iter_mut().zip(x).zip(anchor) {
                *gradient += factor * (x - anchor);
            }
        }
        if self.grey {
            average_colours(gradient);
        }
        Ok(())
    }

    fn is_content(&self, at: usize) -> bool {
        let (row, column) = (at / (3 * self.side), at / 3 % self.side);
        let Region { top, left, height, width } = self.content;
        (top..top + height).contains(&row) && (left..left + width).contains(&column)
    }
}

/// Replaces each pixel's colours by their mean.
fn average_colours(values: &mut [f32]) {
    for pixel in values.chunks_exact_mut(3) {
        pixel.fill((pixel[0] + pixel[1] + pixel[2]) / 3.0);
    }
}

/// Adds `weight` times the gradient of the total variation of an image `[side, side, 3]`: the mean over its values of the absolute
/// differences to the value on the right and to that below.
fn total_variation(x: &[f32], side: usize, weight: f32, gradient: &mut [f32]) {
    let scale = 1.0 / x.len() as f32;
    for (step, last) in [(3, side - 1), (3 * side, side)] {
        for at in 0..x.len() - step {
            // The last column has nothing on its right.
            if step == 3 && at / 3 % side == last {
                continue;
            }
            let difference = x[at + step] - x[at];
            let absolute = (difference * difference + SMOOTH).sqrt();
            let slope = weight * scale * difference / absolute;
            gradient[at + step] += slope;
            gradient[at] -= slope;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The total variation itself.
    fn variation(x: &[f32], side: usize) -> f64 {
        let absolute = |a: f32, b: f32| f64::from(((a - b).powi(2) + SMOOTH).sqrt());
        let across = (0..x.len() - 3).filter(|at| at / 3 % side != side - 1).map(|at| absolute(x[at + 3], x[at]));
        let down = (0..x.len() - 3 * side).map(|at| absolute(x[at + 3 * side], x[at]));
        across.chain(down).sum::<f64>() / x.len() as f64
    }

    #[test]
    fn total_variation_by_hand_and_its_gradient() {
        // 2×2 pixels: left column 0, right column 1, so that two differences across are 1 for each colour.
        let x = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
        assert!((variation(&x, 2) - 0.5).abs() < 1e-3);
        let mut gradient = [0.0; 12];
        total_variation(&x, 2, 1.0, &mut gradient);
        assert!((gradient[3] - 1.0 / 12.0).abs() < 1e-4 && (gradient[0] + 1.0 / 12.0).abs() < 1e-4);
        let x: Vec<f32> = (0..48).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut gradient = vec![0.0; 48];
        total_variation(&x, 4, 0.3, &mut gradient);
        for at in 0..48 {
            let shifted = |by: f32| {
                let mut x = x.clone();
                x[at] += by;
                variation(&x, 4)
            };
            let difference = 0.3 * (shifted(1e-3) - shifted(-1e-3)) / 2e-3;
            assert!((difference - f64::from(gradient[at])).abs() < 1e-4, "{at}");
        }
    }

    #[test]
    fn steps_find_the_least_of_a_quadratic_that_is_a_hundred_times_steeper_one_way() {
        let curvatures = [1.0f32, 3.0, 10.0, 30.0, 100.0];
        let least = [0.1f32, 0.9, 0.5, 0.3, 0.7];
        let (mut x, mut past) = ([0.5f32; 5], Past::default());
        for step in 0..60 {
            let gradient: Vec<f32> = (0..5).map(|i| curvatures[i] * (x[i] - least[i])).collect();
            let length = past.step_length(&x, &gradient, step);
            past = Past { image: x.to_vec(), gradient: gradient.clone() };
            x.iter_mut().zip(&gradient).for_each(|(x, g)| *x = (*x - length * g).clamp(0.0, 1.0));
        }
        // Steps of one length, the longest that is stable, would leave 0.4 × (1 − 1/100)⁶⁰ = 0.22.
        assert!(x.iter().zip(least).all(|(x, least)| (x - least).abs() < 1e-4), "{x:?}");
    }
}
