//! The ensemble: a weighted sum of what the attacks reconstruct.
//!
//! Threat model: whoever mounts the attacks of the ladder holds the reconstructions of all of them. Where their errors differ a
//! weighted sum errs less than each (stacked regression: Wolpert 1992, Breiman 1996): a decoder that has learnt all that it can and
//! kernel ridge regression that has, too, leave different things out, and so do the decoder's own earlier cycles. Weights and a
//! constant are the same for all pixels, so that they can't be fitted to the attacker's validation images too closely. There are two
//! sets of them: one maximises the mean PSNR on those images, the other its 95th percentile, because weights that serve most images may
//! spoil those that are recovered best.

use faer::linalg::solvers::{Llt, Solve};
use faer::{Col, Mat, Scale, Side};
use rayon::prelude::*;

use crate::estimate::attack::scores::{content, judge};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Reconstructions, Request, Watch};
use crate::measurement::Metric;
use crate::metrics::Images;

/// Fewer validation images settle no weights: then the sum is the best member alone.
const FEWEST: usize = 20;

/// An image with a smaller error counts as recovered: one that a member hits exactly, as a black one, must not forbid all others.
const RECOVERED: f64 = 1e-7;

/// Steps of the search for weights; each is a weighted least-squares problem.
const STEPS: usize = 30;

/// Share of the images, those recovered best, that the 95th percentile is in the middle of.
const TAIL: f64 = 0.1;

/// Figures that the weights for the tail may raise.
const TAIL_METRICS: [Metric; 3] = [Metric::EnsemblePsnrP95, Metric::EnsemblePsnrP95Upper, Metric::EnsemblePsnrMax];

/// What is added to the diagonal, as a share of its mean: two attacks may reconstruct the same.
const JITTER: f64 = 1e-9;

/// Of one image: mean products of its reconstructions, the constant 1 and its truth, in this order.
struct Products(Mat<f64>);

impl Products {
    fn of(members: &[Images<'_>], truth: &Images<'_>, image: usize) -> Self {
        // Reconstructions as they are scored: clamped.
        let values = |images: &Images<'_>| -> Vec<f64> {
            images.rows_of(image).flatten().map(|x| f64::from(x.clamp(0.0, 1.0))).collect()
        };
        let mut columns: Vec<Vec<f64>> = members.iter().map(values).collect();
        let truth = values(truth);
        columns.extend([vec![1.0; truth.len()], truth]);
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len() as f64;
        Self(Mat::from_fn(columns.len(), columns.len(), |a, b| product(&columns[a], &columns[b])))
    }

    /// The image's mean squared error with these weights.
    fn error(&self, weights: &Col<f64>) -> f64 {
        let size = weights.nrows();
        let difference = Col::from_fn(size + 1, |at| if at < size { weights[at] } else { -1.0 });
        difference.transpose() * &self.0 * &difference
    }
}

/// An error that counts as no smaller than [`RECOVERED`]; NaN for NaN.
fn floored(error: f64) -> f64 {
    if error < RECOVERED { RECOVERED } else { error }
}

/// Weights with the least sum of squared errors, each image's times its `weight`; `None` where that can't be solved.
fn least_squares(products: &[Products], weight: impl Fn(&Products) -> f64) -> Option<Col<f64>> {
    let size = products.first()?.0.nrows() - 1;
    let mut sum = Mat::<f64>::zeros(size + 1, size + 1);
    products.iter().for_each(|product| sum += Scale(weight(product)) * &product.0);
    let jitter = JITTER * (0..size).map(|at| sum[(at, at)]).sum::<f64>() / size as f64;
    (0..size).for_each(|at| sum[(at, at)] += jitter);
    let factor = Llt::new(sum.submatrix(0, 0, size, size), Side::Lower).ok()?;
    Some(factor.solve(sum.col(size).subrows(0, size)))
}

/// How well attacks did, as the mean logarithm of the errors of those images that are recovered best: of a `share` of all.
#[derive(Clone, Copy)]
struct Aim<'a> {
    products: &'a [Products],
    share: f64,
}

impl Aim<'_> {
    fn count(&self) -> usize {
        ((self.share * self.products.len() as f64).ceil() as usize).clamp(1, self.products.len())
    }

    /// The mean with these weights, and the largest error that counts.
    fn mean_log(&self, weights: &Col<f64>) -> (f64, f64) {
        let mut errors: Vec<f64> = self.products.iter().map(|product| floored(product.error(weights))).collect();
        let count = self.count();
        let (_, &mut largest, _) = errors.select_nth_unstable_by(count - 1, f64::total_cmp);
        (errors[..count].iter().map(|error| error.ln()).sum::<f64>() / count as f64, largest)
    }

    /// Goes on from `weights` while the mean falls. The logarithm lies below its tangent, and the mean of the least below that of any
    /// other images: least squares with each image weighted by the inverse of its error never lose (majorisation: Hunter and Lange 2004).
    fn descend(&self, mut weights: Col<f64>) -> Col<f64> {
        let (mut least, mut largest) = self.mean_log(&weights);
        for _ in 0..STEPS {
            // Where nothing is left to be gained, nothing is to be held.
            let weight = |product: &Products| {
                let error = product.error(&weights);
                if error < RECOVERED || error > largest { 0.0 } else { 1.0 / error }
            };
            let Some(next) = least_squares(self.products, weight) else { break };
            let found = self.mean_log(&next);
            if found.0.is_nan() || found.0 >= least - 1e-6 {
                break;
            }
            (weights, (least, largest)) = (next, found);
        }
        weights
    }

    /// What can be reached from the best of `starts` and from the least squared error; nothing where images are too few.
    fn reach(&self, starts: &[Col<f64>]) -> Vec<Col<f64>> {
        if self.count() < FEWEST {
            return Vec::new();
        }
        let best = least(starts, |weights| self.mean_log(weights).0);
        [best, least_squares(self.products, |_| 1.0)].into_iter().flatten().map(|start| self.descend(start)).collect()
    }
}

/// The weights with the least `worth`.
fn least(all: &[Col<f64>], worth: impl Fn(&Col<f64>) -> f64) -> Option<Col<f64>> {
    all.iter().min_by(|a, b| worth(a).total_cmp(&worth(b))).cloned()
}

/// Weights of the attacks' reconstructions, and the constant, which is the last.
#[derive(Debug, Clone, PartialEq)]
struct Weights(Vec<f64>);

impl Weights {
    /// Those that maximise the mean over images of the PSNR, and those that maximise its 95th percentile. `members` and `truth` are of
    /// the same images.
    fn fit(members: &[Images<'_>], truth: &Images<'_>) -> Option<[Self; 2]> {
        let products: Vec<Products> =
            (0..truth.count()).into_par_iter().map(|image| Products::of(members, truth, image)).collect();
        let size = members.len() + 1;
        let alone = |member: usize| Col::from_fn(size, |at| if at == member { 1.0 } else { 0.0 });
        let mut candidates: Vec<Col<f64>> = (0..members.len()).map(alone).collect();
        let whole = Aim { products: &products, share: 1.0 };
        candidates.extend(whole.reach(&candidates));
        let mean = least(&candidates, |weights| whole.mean_log(weights).0)?;
        // Descents aim at tenths and twentieths; what counts is the percentile.
        let [tenth, twentieth] = [TAIL, TAIL / 2.0].map(|share| Aim { products: &products, share });
        candidates.extend([tenth, twentieth].iter().flat_map(|aim| aim.reach(&candidates)).collect::<Vec<_>>());
        let tail = least(&candidates, |weights| twentieth.mean_log(weights).1)?;
        Some([mean, tail].map(|weights| Self(weights.iter().copied().collect())))
    }

    /// The weighted sum.
    fn apply(&self, members: &[&[f32]]) -> Vec<f32> {
        let Some((&constant, weights)) = self.0.split_last() else { return Vec::new() };
        let mut sum = vec![constant as f32; members.first().map_or(0, |member| member.len())];
        for (member, &weight) in members.iter().zip(weights) {
            sum.par_iter_mut().zip(*member).for_each(|(sum, x)| *sum += weight as f32 * x.clamp(0.0, 1.0));
        }
        sum
    }
}

/// Combines what other attacks made of the same features.
#[derive(Debug)]
pub struct EnsembleAttack<'a> {
    laboratory: &'a Laboratory,
    members: Vec<&'a Reconstructions>,
}

impl<'a> EnsembleAttack<'a> {
    /// The ensemble of those of `attacks` that have reconstructed validation images, too, by which weights are chosen. One of fewer
    /// than two yields no figures.
    pub fn new(laboratory: &'a Laboratory, attacks: impl IntoIterator<Item = &'a Reconstructions>) -> Self {
        let members = attacks.into_iter().filter(|attack| !attack.validation.is_empty()).collect();
        Self { laboratory, members }
    }
}

impl Estimator for EnsembleAttack<'_> {
    fn name(&self) -> &'static str {
        "ensemble"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let start = std::time::Instant::now();
        if self.members.len() < 2 {
            return Ok(Estimate::default());
        }
        watch.tell(self.name(), 0.0)?;
        let bench = self.laboratory.bench(request)?;
        let truth = bench.validation_images();
        // A short training reconstructs only the first validation images, those that are scored.
        let common = self.members.iter().map(|member| member.validation.len()).min().unwrap_or(0).min(truth.len());
        let validation: Vec<&[f32]> = self.members.iter().map(|member| &member.validation[..common]).collect();
        let scored: Vec<&[f32]> = self.members.iter().map(|member| &member.scored[..]).collect();
        let known: Vec<Images<'_>> =
            validation.iter().map(|pixels| content(pixels, self.laboratory)).collect::<Result<_, _>>()?;
        let Some([mean, tail]) = Weights::fit(&known, &content(&truth[..common], self.laboratory)?) else {
            return Ok(Estimate::default());
        };
        let judged = |weights: &Weights| {
            let reconstructions =
                Reconstructions { scored: weights.apply(&scored), validation: weights.apply(&validation) };
            judge(reconstructions, &Metric::ENSEMBLE, &bench, request, self.laboratory, start)
        };
        watch.tell(self.name(), 0.6)?;
        let mut found = judged(&mean)?;
        if tail != mean {
            watch.tell(self.name(), 0.8)?;
            let tail = judged(&tail)?.measurements;
            for row in found.measurements.iter_mut().filter(|row| TAIL_METRICS.contains(&row.metric)) {
                if let Some(other) = tail.iter().find(|other| other.metric == row.metric && other.value > row.value) {
                    row.clone_from(other);
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise in [-0.5, 0.5].
    fn noise(seed: u32, count: usize) -> Vec<f32> {
        let hash =
            |at: usize| (at as u32 ^ seed).wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519);
        (0..count).map(|at| hash(at) as f32 / u32::MAX as f32 - 0.5).collect()
    }

    const SHAPE: [usize; 4] = [40, 6, 6, 3];

    fn added(truth: &[f32], by: f32, noise: &[f32]) -> Vec<f32> {
        truth.iter().zip(noise).map(|(x, n)| x + by * n).collect()
    }

    fn mean_psnr(found: &[f32], truth: &[f32]) -> f64 {
        let images = |pixels| Images::new(pixels, SHAPE).unwrap();
        let psnr = crate::metrics::psnr(&images(found), &images(truth)).unwrap();
        psnr.iter().sum::<f64>() / psnr.len() as f64
    }

    fn fit_both(members: &[&[f32]], truth: &[f32]) -> [Weights; 2] {
        let shape = [truth.len() / (6 * 6 * 3), 6, 6, 3];
        let images: Vec<Images<'_>> = members.iter().map(|member| Images::new(member, shape).unwrap()).collect();
        Weights::fit(&images, &Images::new(truth, shape).unwrap()).unwrap()
    }

    fn fit(members: &[&[f32]], truth: &[f32]) -> Weights {
        fit_both(members, truth)[0].clone()
    }

    fn truth() -> Vec<f32> {
        noise(1, SHAPE.iter().product()).iter().map(|x| 0.5 + 0.4 * x).collect()
    }

    #[test]
    fn independent_errors_are_averaged_away() {
        let truth = truth();
        let members = [2, 3].map(|seed| added(&truth, 0.2, &noise(seed, truth.len())));
        let weights = fit(&[&members[0], &members[1]], &truth);
        let sum = weights.apply(&[&members[0], &members[1]]);
        let gain = mean_psnr(&sum, &truth) - mean_psnr(&members[0], &truth).max(mean_psnr(&members[1], &truth));
        // Halving the variance gains 3.01 dB; shrinking towards the mean, as least squares do, a little more.
        assert!((2.8..4.0).contains(&gain), "{gain} dB by {weights:?}");
        assert!((weights.0[0] - weights.0[1]).abs() < 0.1, "{weights:?}");
    }

    #[test]
    fn what_adds_nothing_takes_nothing_away() {
        let truth = truth();
        let good = added(&truth, 0.2, &noise(2, truth.len()));
        let useless = noise(3, truth.len());
        let alone = mean_psnr(&good, &truth);
        for other in [&useless, &good] {
            let weights = fit(&[&good, other], &truth);
            let found = mean_psnr(&weights.apply(&[&good, other]), &truth);
            assert!(found >= alone - 1e-6, "{found} dB of {alone} by {weights:?}");
        }
    }

    #[test]
    fn an_image_that_one_member_hits_exactly_forbids_no_others() {
        let mut truth = truth();
        let image = 6 * 6 * 3;
        let mut members = [2, 3].map(|seed| added(&truth, 0.2, &noise(seed, truth.len())));
        truth[..image].fill(0.0);
        members[0][..image].fill(-0.01);
        members[1][..image].fill(0.02);
        let found = mean_psnr(&fit(&[&members[0], &members[1]], &truth).apply(&[&members[0], &members[1]]), &truth);
        let halves = mean_psnr(&Weights(vec![0.5, 0.5, 0.0]).apply(&[&members[0], &members[1]]), &truth);
        assert!(found > halves - 0.1, "{found} {halves}");
    }

    #[test]
    fn few_images_settle_no_weights() {
        let truth = truth();
        let members = [(0.2, 2), (0.3, 3)].map(|(by, seed)| added(&truth, by, &noise(seed, truth.len())));
        let shape = [FEWEST - 1, 6, 6, 3];
        let few = |pixels: &[f32]| pixels[..shape.iter().product()].to_vec();
        let [a, b, x] = [few(&members[0]), few(&members[1]), few(&truth)];
        let images = |pixels| Images::new(pixels, shape).unwrap();
        let best = || Weights(vec![0.0, 1.0, 0.0]);
        assert_eq!(Weights::fit(&[images(&b), images(&a)], &images(&x)), Some([best(), best()]));
    }

    #[test]
    fn the_images_recovered_best_have_weights_of_their_own() {
        // A tenth of them is recovered by the first attack alone, all others equally well by both.
        let image = 6 * 6 * 3;
        let truth: Vec<f32> = noise(1, 20 * FEWEST * image).iter().map(|x| 0.5 + 0.4 * x).collect();
        let few = 2 * FEWEST * image;
        let of = |few_by: f32, seed: u32| {
            let noise = noise(seed, truth.len());
            [added(&truth[..few], few_by, &noise[..few]), added(&truth[few..], 0.3, &noise[few..])].concat()
        };
        let members = [of(0.02, 4), of(0.3, 5)];
        let [mean, tail] = fit_both(&[&members[0], &members[1]], &truth);
        let psnr = |weights: &Weights| {
            let found = weights.apply(&[&members[0], &members[1]]);
            let images = |pixels| Images::new(pixels, [20 * FEWEST, 6, 6, 3]).unwrap();
            let all = crate::metrics::psnr(&images(&found), &images(&truth)).unwrap();
            let mean_of = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
            (mean_of(&all), mean_of(&all[..2 * FEWEST]))
        };
        let ((mean_all, mean_few), (tail_all, tail_few)) = (psnr(&mean), psnr(&tail));
        assert!(tail_few > mean_few + 3.0, "{tail_few} {mean_few} by {tail:?} {mean:?}");
        assert!(mean_all > tail_all, "{mean_all} {tail_all} by {mean:?} {tail:?}");
    }

    #[test]
    fn the_mean_of_decibels_is_maximised_and_not_the_pooled_error() {
        // Half the images are recovered well by the first attack, all others equally badly by both, the second blurred.
        let truth = truth();
        let half = truth.len() / 2;
        let of = |well: f32, badly: f32, seed: u32| {
            let noise = noise(seed, truth.len());
            [added(&truth[..half], well, &noise[..half]), added(&truth[half..], badly, &noise[half..])].concat()
        };
        let members = [of(0.01, 0.6, 4), of(0.3, 0.6, 5)];
        let weights = fit(&[&members[0], &members[1]], &truth);
        let found = mean_psnr(&weights.apply(&[&members[0], &members[1]]), &truth);
        for other in [[0.5, 0.5, 0.0], [0.9, 0.0, 0.05], [0.8, 0.1, 0.05], [1.0, 0.0, 0.0]] {
            let other = mean_psnr(&Weights(other.to_vec()).apply(&[&members[0], &members[1]]), &truth);
            assert!(found >= other - 0.01, "{found} dB by {weights:?}, but {other}");
        }
    }
}
