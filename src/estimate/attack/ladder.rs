//! Every attack on one design, from the simplest to the strongest.

use crate::config::Attacker;
use crate::estimate::attack::scores::Scores;
use crate::estimate::attack::{DecoderAttack, EnsembleAttack, InversionAttack, KernelAttack, LinearAttack};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Reconstructions, Request, Watch};
use crate::measurement::{Measurement, Metric};
use crate::metrics::{Summary, values_for_upper};
use crate::protocol::{ImageLoss, Protocol, ScoredPart};
use crate::space::ChannelChoice;

/// Runs the attacks one after the other.
///
/// Each has rows of its own: `psnr_mean` and the like are the decoder's, `linear_psnr_mean` and `kernel_psnr_mean` and the like
/// those of the attacks in closed form, `ensemble_psnr_mean` and the like those of the weighted sum of all of them,
/// `inversion_gain_mean` and the like what white-box inversion, which starts there, adds to it. Where figures choose between
/// designs, in the search, the decoder's are raised to the others', and by what a short inversion of a few images gains: a short
/// training may lose to them, and a design must not look private by that. Where figures are claims they stand as they are, and
/// [`crate::verify`] takes the largest.
#[derive(Debug)]
pub struct AttackLadder<'a> {
    laboratory: &'a Laboratory,
    attacker: Attacker,
    linear: LinearAttack<'a>,
    kernel: KernelAttack<'a>,
    decoder: DecoderAttack<'a>,
}

impl<'a> AttackLadder<'a> {
    /// All attacks that `attacker` is capable of, on `laboratory`'s images and features.
    pub fn new(laboratory: &'a Laboratory, attacker: Attacker) -> Self {
        Self {
            laboratory,
            attacker,
            linear: LinearAttack::new(laboratory),
            kernel: KernelAttack::new(laboratory),
            decoder: DecoderAttack::new(laboratory),
        }
    }

    /// What inversion, starting from these reconstructions, adds to them; and whether it came to its end.
    fn invert(
        &self,
        request: &Request<'_>,
        start: &Reconstructions,
        estimate: &mut Estimate,
        watch: &dyn Watch,
    ) -> Result<(), EstimateError> {
        let Estimate { measurements: rows, gallery, .. } = estimate;
        let settled = rows.iter().any(|row| row.metric == Metric::AttackConverged && row.value < 0.5);
        // A decoder that did not end has refuted its design already.
        let Some(inversion) = request.protocol.inversion.filter(|_| !settled) else {
            return Ok(());
        };
        // Fewer have no upper limit of their 95th percentile.
        let least = request.verifying.map_or(0, |verifying| values_for_upper(0.95, verifying.error_rate));
        let protocol = Protocol { scored_images: Some(inversion.images.max(least)), ..request.protocol };
        let request = Request { protocol, ..*request };
        let inversion =
            InversionAttack::new(self.laboratory, inversion.descent, Some(start)).estimate(&request, watch)?;
        let Some(found) = inversion.reconstructions else {
            return Ok(());
        };
        let originals = self.laboratory.bench(&request)?.scored_images();
        let inverted = Scores::new(&found.scored, &originals, self.laboratory)?;
        let begun = Scores::new(&start.scored[..originals.len()], &originals, self.laboratory)?;
        let gains = gains(&request, &begun, &inverted)?;
        if value(&gains, Metric::InversionGainMean).is_some_and(|gain| gain > 0.0)
            && let (Some(gallery), Some(sharper)) = (gallery, inversion.gallery)
        {
            gallery.inverted = sharper.images;
        }
        if request.protocol.scored_part == ScoredPart::Validation {
            raise_by_inversion(rows, &gains);
        }
        extend_by_inversion(rows, &inversion.measurements);
        rows.extend(gains);
        let named = |row: Measurement| Some(Measurement { metric: row.metric.of(&Metric::INVERSION)?, ..row });
        rows.extend(inversion.measurements.into_iter().filter_map(named));
        Ok(())
    }
}

impl Estimator for AttackLadder<'_> {
    fn name(&self) -> &'static str {
        "attacks"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let protocol = request.protocol.within(self.attacker);
        let guess = match self.attacker.knows_channels {
            true => None,
            false => self.laboratory.guess_channels(request.design)?,
        };
        let request = &Request { protocol, guess: guess.as_ref(), ..*request };
        let closed = [self.linear.estimate(request, watch)?, self.kernel.estimate(request, watch)?];
        let mut estimate = self.decoder.estimate(request, watch)?;
        let perceptual = match request.verifying.is_some_and(|verifying| verifying.ssim) {
            true => {
                let protocol = Protocol { refinement: ImageLoss::Perceptual, ..request.protocol };
                let mut found = self.decoder.estimate(&Request { protocol, ..*request }, watch)?;
                keep_the_stronger(&mut estimate.measurements, &found.measurements);
                found.snapshots = Vec::new();
                found
            }
            false => Estimate::default(),
        };
        let members = closed.iter().chain([&estimate, &perceptual]).flat_map(Estimate::all_reconstructions);
        let ensemble = EnsembleAttack::new(self.laboratory, members).estimate(request, watch)?;
        estimate.snapshots = Vec::new();
        if let Some(sum) = ensemble.reconstructions {
            (estimate.reconstructions, estimate.gallery) = (Some(sum), ensemble.gallery);
        }
        let others: Vec<Measurement> =
            closed.into_iter().flat_map(|attack| attack.measurements).chain(ensemble.measurements).collect();
        if request.protocol.scored_part == ScoredPart::Validation {
            estimate.measurements.iter_mut().for_each(|row| raise(row, &others));
        }
        if let Some(start) = estimate.reconstructions.take() {
            self.invert(request, &start, &mut estimate, watch)?;
        }
        estimate.measurements.extend(others);
        if let Some(guess) = &guess {
            let found = found_out(&request.design.channels, guess);
            estimate.measurements.push(request.row(Metric::ChannelsFound, found as f64, 0.0, guess.depth()));
        }
        Ok(estimate)
    }
}

/// How many of a design's channels `guess` has in their places.
pub fn found_out(channels: &ChannelChoice, guess: &ChannelChoice) -> usize {
    let [kept, guessed] = [channels, guess].map(|choice| choice.channels().unwrap_or(&[]));
    kept.iter().zip(guessed).filter(|(kept, guessed)| kept == guessed).count()
}

/// Of two decoders each figure of the one that recovers more; where one did not come to its end, neither did the whole.
fn keep_the_stronger(rows: &mut [Measurement], others: &[Measurement]) {
    for row in rows {
        let Some(other) = others.iter().find(|other| other.metric == row.metric) else {
            continue;
        };
        let counts = match row.metric {
            Metric::AttackConverged => other.value < row.value,
            _ => other.value > row.value,
        };
        if counts {
            *row = other.clone();
        }
    }
}

/// Raises a figure to the largest of the other attacks, where that is larger.
fn raise(row: &mut Measurement, others: &[Measurement]) {
    let figure = row.metric;
    for name in Metric::OTHERS.into_iter().filter_map(|names| figure.of(names)) {
        if let Some(stronger) = others.iter().find(|found| found.metric == name && found.value > row.value) {
            (row.value, row.std_error) = (stronger.value, stronger.std_error);
        }
    }
}

fn value(rows: &[Measurement], metric: Metric) -> Option<f64> {
    rows.iter().find(|row| row.metric == metric).map(|row| row.value)
}

/// What inversion gains on the images that it began with.
fn gains(request: &Request<'_>, begun: &Scores, inverted: &Scores) -> Result<Vec<Measurement>, EstimateError> {
    let differences = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let gains = differences(&inverted.psnr, &begun.psnr);
    let mut best_first: Vec<usize> = (0..gains.len()).collect();
    best_first.sort_by(|&a, &b| begun.psnr[b].total_cmp(&begun.psnr[a]));
    let tail: Vec<f64> = best_first.iter().take(gains.len().div_ceil(4)).map(|&image| gains[image]).collect();
    let ssim = differences(&inverted.ssim, &begun.ssim);
    let mean = |metric, values: &[f64]| {
        let summary = Summary::of(values)?;
        Ok::<_, EstimateError>(request.row(metric, summary.mean, summary.std_error, values.len()))
    };
    Ok(vec![
        mean(Metric::InversionGainMean, &gains)?,
        mean(Metric::InversionGainTail, &tail)?,
        mean(Metric::InversionGainSsim, &ssim)?,
        request.row(Metric::InversionGainMax, Summary::of(&gains)?.max, 0.0, gains.len()),
    ])
}

/// Extends figures further where longer descent would add more to an inversion's than longer training does to the decoder's. An
/// attack that did not end leaves the whole without an end.
fn extend_by_inversion(rows: &mut [Measurement], inversion: &[Measurement]) {
    let left = |rows: &[Measurement], metric: Metric| Some(value(rows, metric.extended()?)? - value(rows, metric)?);
    let further = |metric| {
        let both = left(inversion, metric).zip(left(rows, metric));
        both.map_or(0.0, |(descent, training)| descent - training).max(0.0)
    };
    let mean = further(Metric::PsnrMean);
    // A tail gains no less than the mean.
    let (tail, ssim) = (further(Metric::PsnrP95).max(mean), further(Metric::SsimMean));
    let ended = value(inversion, Metric::AttackConverged).is_some_and(|converged| converged > 0.5);
    for row in rows {
        match row.metric {
            Metric::PsnrMeanExtended => row.value += mean,
            Metric::PsnrP95Extended => row.value += tail,
            Metric::SsimMeanExtended => row.value = (row.value + ssim).min(1.0),
            Metric::AttackConverged if !ended => row.value = 0.0,
            _ => {}
        }
    }
}

/// Raises figures by what inversion gains on them, where it does.
fn raise_by_inversion(rows: &mut [Measurement], gains: &[Measurement]) {
    for row in rows {
        let name = row.metric.inversion_gain();
        let Some(gain) = gains.iter().find(|gain| Some(gain.metric) == name && gain.value > 0.0) else {
            continue;
        };
        row.value += gain.value;
        if row.metric == Metric::SsimMean {
            row.value = row.value.min(1.0);
        }
        row.std_error = row.std_error.hypot(gain.std_error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::Fidelity;

    fn row(metric: Metric, value: f64) -> Measurement {
        Measurement {
            design: "conv3_1-4-0011aabb".parse().unwrap(),
            metric,
            value,
            std_error: 0.1,
            n: 100,
            fidelity: Fidelity::Quick,
            seed: 1,
            seconds: 1.0,
        }
    }

    #[test]
    fn of_two_decoders_the_stronger_counts_figure_by_figure() {
        let rows = |values: [f64; 4]| {
            let metrics = [Metric::PsnrMean, Metric::SsimMean, Metric::SsimMeanExtended, Metric::AttackConverged];
            metrics.into_iter().zip(values).map(|(metric, value)| row(metric, value)).collect::<Vec<Measurement>>()
        };
        let mut found = rows([20.0, 0.6, 0.62, 1.0]);
        keep_the_stronger(&mut found, &rows([19.0, 0.7, 0.73, 1.0]));
        assert_eq!(found, rows([20.0, 0.7, 0.73, 1.0]));
        keep_the_stronger(&mut found, &rows([25.0, 0.65, 0.66, 0.0]));
        assert_eq!(found, rows([25.0, 0.7, 0.73, 0.0]));
    }

    #[test]
    fn what_inversion_gains_raises_a_figure_that_chooses_and_a_loss_lowers_none() {
        let mut rows = [(Metric::PsnrMean, 20.0), (Metric::PsnrP95, 25.0), (Metric::SsimMean, 0.6)]
            .map(|(metric, value)| row(metric, value));
        let gains =
            [(Metric::InversionGainMean, 3.0), (Metric::InversionGainTail, -1.0), (Metric::InversionGainSsim, 0.1)]
                .map(|(metric, value)| row(metric, value));
        raise_by_inversion(&mut rows, &gains);
        assert_eq!(rows.each_ref().map(|row| row.value), [23.0, 25.0, 0.7]);
        assert!((rows[0].std_error - 0.02f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn longer_descent_extends_each_figure_by_what_longer_training_would_not() {
        let rows = |figures: [(f64, f64); 3], ended: f64| {
            let metrics = [Metric::PsnrMean, Metric::PsnrP95, Metric::SsimMean];
            let figures = metrics.into_iter().zip(figures);
            let mut rows: Vec<Measurement> = figures
                .flat_map(|(metric, (now, then))| [row(metric, now), row(metric.extended().unwrap(), then)])
                .collect();
            rows.push(row(Metric::AttackConverged, ended));
            rows
        };
        let decoder = [(20.0, 20.5), (25.0, 26.0), (0.5, 0.5)];
        let extended = |inversion: [(f64, f64); 3], ended| {
            let mut found = rows(decoder, 1.0);
            extend_by_inversion(&mut found, &rows(inversion, ended));
            let values: Vec<f64> = found.iter().map(|row| row.value).collect();
            [values[1], values[3], values[5], values[6]]
        };
        // By 1.5 dB more, by 2 dB more, by 0.25 more.
        assert_eq!(extended([(22.0, 24.0), (27.0, 30.0), (0.5, 0.75)], 1.0), [22.0, 28.0, 0.75, 1.0]);
        // A tail whose own curve says less gains as the mean does.
        assert_eq!(extended([(22.0, 24.0), (27.0, 27.0), (0.5, 0.5)], 1.0), [22.0, 27.5, 0.5, 1.0]);
        // What gains less takes nothing away; what did not end is said.
        assert_eq!(extended([(22.0, 22.0), (27.0, 27.0), (0.5, 0.25)], 0.0), [20.5, 26.0, 0.5, 0.0]);
    }

    #[test]
    fn the_strongest_of_the_others_raises_a_short_training() {
        let others = [(Metric::LinearPsnrMean, 15.0), (Metric::KernelPsnrMean, 17.0), (Metric::EnsemblePsnrMean, 17.5)];
        let others = others.map(|(metric, value)| row(metric, value));
        for (trained, expected) in [(14.0, 17.5), (18.0, 18.0)] {
            let mut found = row(Metric::PsnrMean, trained);
            raise(&mut found, &others);
            assert_eq!(found.value, expected);
        }
    }
}
