//! The training objectives: cross entropy on labels; squared error on images, its logarithm, or what an eye minds.

mod perceptual;

use super::error::NnError;

/// What a batch should produce.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// One class index per image: softmax cross entropy on logits, mean over images.
    Labels(&'a [u32]),
    /// `[n, height, width, channels]` as the net's output: squared error, mean over all values.
    Images(&'a [f32]),
    /// The same: natural logarithm of each image's mean squared error, mean over images. It is proportional to the mean of
    /// the images' PSNR, so that good images count as much as poor ones.
    LogImages(&'a [f32]),
    /// The same of square images of `side`: mean absolute error and a fifth of `1 − SSIM`, mean over images.
    PerceptualImages {
        /// The images.
        images: &'a [f32],
        /// Height and width.
        side: usize,
    },
}

impl<'a> Target<'a> {
    /// Checks that this is the target of `n` images of a net with `outputs` values per image.
    pub(super) fn check(&self, n: usize, outputs: usize) -> Result<(), NnError> {
        let error = |reason| Err(NnError::Batch { n, reason });
        match *self {
            Target::Labels(labels) => {
                if labels.len() != n {
                    return error(format!("{} labels, one per image is needed", labels.len()));
                }
                if let Some(label) = labels.iter().find(|&&label| label as usize >= outputs) {
                    return error(format!("label {label} for a net of {outputs} classes"));
                }
            }
            Target::Images(values) | Target::LogImages(values) | Target::PerceptualImages { images: values, .. } => {
                if values.len() != n * outputs {
                    return error(format!("{} target values, {outputs} per image are needed", values.len()));
                }
                if let Target::PerceptualImages { side, .. } = *self
                    && (side < perceptual::LEAST_SIDE || !outputs.is_multiple_of(side * side))
                {
                    return error(format!("images of side {side}; SSIM needs square ones of 11 or more"));
                }
            }
        }
        Ok(())
    }

    /// The target of `count` images from image `first` on. `outputs` is the number of values per image.
    pub(super) fn part(&self, first: usize, count: usize, outputs: usize) -> Target<'a> {
        match *self {
            Target::Labels(labels) => Target::Labels(&labels[first..first + count]),
            Target::Images(values) => Target::Images(&values[first * outputs..(first + count) * outputs]),
            Target::LogImages(values) => Target::LogImages(&values[first * outputs..(first + count) * outputs]),
            Target::PerceptualImages { images, side } => {
                Target::PerceptualImages { images: &images[first * outputs..(first + count) * outputs], side }
            }
        }
    }

    /// What these images (a part of a batch of `batch`) add to the batch's mean loss. `output` holds their outputs,
    /// `outputs` per image; `gradient`, if given, receives the derivative of the batch's loss by them.
    /// The lengths must have been checked.
    pub(super) fn contribution(
        &self,
        output: &[f32],
        outputs: usize,
        batch: usize,
        gradient: Option<&mut [f32]>,
    ) -> f64 {
        match *self {
            Target::Labels(labels) => cross_entropy(output, labels, outputs, batch, gradient),
            Target::Images(values) => squared_error(output, values, batch * outputs, gradient),
            Target::LogImages(values) => log_squared_error(output, values, outputs, batch, gradient),
            Target::PerceptualImages { images, side } => {
                perceptual::perceptual(output, images, side, outputs, batch, gradient)
            }
        }
    }
}

/// The loss of `output` (`[n, outputs]`) for a target.
///
/// # Errors
/// [`NnError::Batch`] when the lengths don't fit or a label is out of range.
pub fn loss(output: &[f32], n: usize, target: Target<'_>) -> Result<f32, NnError> {
    let outputs = output.len() / n.max(1);
    if n == 0 || outputs * n != output.len() {
        return Err(NnError::Batch { n, reason: format!("{} output values can't be shared out", output.len()) });
    }
    target.check(n, outputs)?;
    Ok(target.contribution(output, outputs, n, None) as f32)
}

/// `Σ −log softmax(output)[label] / batch`; gradient `(softmax − one-hot) / batch`.
fn cross_entropy(
    output: &[f32],
    labels: &[u32],
    outputs: usize,
    batch: usize,
    mut gradient: Option<&mut [f32]>,
) -> f64 {
    let scale = 1.0 / batch as f32;
    let mut sum = 0.0;
    for (image, &label) in labels.iter().enumerate() {
        let logits = &output[image * outputs..][..outputs];
        let label = label as usize;
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = logits.iter().map(|logit| (logit - top).exp()).sum();
        sum += f64::from(total.ln() + top - logits[label]);
        if let Some(gradient) = gradient.as_deref_mut() {
            let gradient = &mut gradient[image * outputs..][..outputs];
            for (g, logit) in gradient.iter_mut().zip(logits) {
                *g = (logit - top).exp() / total * scale;
            }
            gradient[label] -= scale;
        }
    }
    sum / batch as f64
}

/// `Σ (output − target)² / count`; gradient `2 (output − target) / count`.
fn squared_error(output: &[f32], target: &[f32], count: usize, gradient: Option<&mut [f32]>) -> f64 {
    let scale = 2.0 / count as f32;
    if let Some(gradient) = gradient {
        for ((g, y), t) in gradient.iter_mut().zip(output).zip(target) {
            *g = (y - t) * scale;
        }
    }
    // Eight running sums in a fixed order: exact enough, and the same for any thread count and vector width.
    let mut sums = [0f64; 8];
    for (output, target) in output.chunks(8).zip(target.chunks(8)) {
        for ((sum, y), t) in sums.iter_mut().zip(output).zip(target) {
            let difference = f64::from(y - t);
            *sum += difference * difference;
        }
    }
    sums.iter().sum::<f64>() / count as f64
}

/// Added to a mean squared error before its logarithm is taken: 60 dB, beyond any reconstruction.
pub(super) const LOG_OFFSET: f64 = 1e-6;

/// `Σ ln(MSE of the image + offset) / batch`; gradient `2 (output − target) / (outputs · batch · (MSE + offset))`.
fn log_squared_error(
    output: &[f32],
    target: &[f32],
    outputs: usize,
    batch: usize,
    mut gradient: Option<&mut [f32]>,
) -> f64 {
    let mut sum = 0.0;
    for (image, (output, target)) in output.chunks_exact(outputs).zip(target.chunks_exact(outputs)).enumerate() {
        let gradient = gradient.as_deref_mut().map(|gradient| &mut gradient[image * outputs..][..outputs]);
        let error = squared_error(output, target, outputs, None) + LOG_OFFSET;
        sum += error.ln();
        if let Some(gradient) = gradient {
            let scale = (2.0 / (outputs as f64 * batch as f64 * error)) as f32;
            for ((g, y), t) in gradient.iter_mut().zip(output).zip(target) {
                *g = (y - t) * scale;
            }
        }
    }
    sum / batch as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_equal_torchs() {
        // x = torch.tensor([[1., 2., 4.], [-1., 0., 0.5]]); F.cross_entropy(x, torch.tensor([2, 0])) -> 1.1370
        // F.mse_loss(x, torch.tensor([[1., 1., 1.], [0., 0., 0.]])) -> 1.875
        let x = [1.0, 2.0, 4.0, -1.0, 0.0, 0.5];
        let entropy = loss(&x, 2, Target::Labels(&[2, 0])).unwrap();
        assert!((entropy - 1.1370).abs() < 1e-4, "{entropy}");
        // ((x - t) ** 2).mean(1).add(1e-6).log().mean() -> 0.1643
        let log = loss(&x, 2, Target::LogImages(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0])).unwrap();
        assert!((log - 0.16425).abs() < 1e-4, "{log}");
        let error = loss(&x, 2, Target::Images(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0])).unwrap();
        assert!((error - 1.875).abs() < 1e-6, "{error}");
    }

    #[test]
    fn gradients_are_differences_of_the_loss() {
        let x = [1.0, 2.0, 4.0, -1.0, 0.0, 0.5];
        let images = [1.0, 1.0, 1.0, 0.0, 0.5, 0.0];
        for target in [Target::Labels(&[2, 0]), Target::Images(&images), Target::LogImages(&images)] {
            let mut gradient = [0.0; 6];
            target.contribution(&x, 3, 2, Some(&mut gradient));
            for i in 0..6 {
                let shifted = |by: f32| {
                    let mut x = x;
                    x[i] += by;
                    target.contribution(&x, 3, 2, None)
                };
                let difference = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
                assert!((difference - f64::from(gradient[i])).abs() < 1e-4, "{target:?} {i}");
            }
        }
    }

    #[test]
    fn targets_that_do_not_fit_are_refused() {
        assert!(loss(&[0.0; 6], 2, Target::Labels(&[0, 3])).is_err());
        assert!(loss(&[0.0; 6], 2, Target::Labels(&[0])).is_err());
        assert!(loss(&[0.0; 6], 2, Target::Images(&[0.0; 5])).is_err());
        assert!(loss(&[0.0; 6], 4, Target::Images(&[0.0; 6])).is_err());
        assert!(loss(&[], 0, Target::Labels(&[])).is_err());
    }
}
