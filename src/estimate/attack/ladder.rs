//! Every attack on one design, from the simplest to the strongest.

use crate::config::Attacker;
use crate::estimate::attack::scores::Scores;
use crate::estimate::attack::{DecoderAttack, EnsembleAttack, InversionAttack, KernelAttack, LinearAttack};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Reconstructions, Request, Watch};
use crate::measurement::{Measurement, Metric};
use crate::metrics::{MAX_PSNR, Summary, quantile_upper, values_for_upper};
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

    /// What inversion, starting from these reconstructions, adds to them; and whether it came to its end. Where longer
    /// descent would add more than longer training of the decoder, `rows` are extended by that.
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
        let bench = self.laboratory.bench(&request)?;
        let originals = bench.scored_images();
        let inverted = Scores::new(&found.scored, &originals, self.laboratory)?;
        let begun = Scores::new(&start.scored[..originals.len()], &originals, self.laboratory)?;
        let differences = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
        let gains = differences(&inverted.psnr, &begun.psnr);
        let mut best_first: Vec<usize> = (0..gains.len()).collect();
        best_first.sort_by(|&a, &b| begun.psnr[b].total_cmp(&begun.psnr[a]));
        let tail: Vec<f64> = best_first.iter().take(gains.len().div_ceil(4)).map(|&image| gains[image]).collect();
        let ssim = differences(&inverted.ssim, &begun.ssim);
        for (metric, values) in [
            (Metric::InversionPsnrMean, &inverted.psnr),
            (Metric::InversionGainMean, &gains),
            (Metric::InversionGainTail, &tail),
            (Metric::InversionGainSsim, &ssim),
        ] {
            let summary = Summary::of(values)?;
            rows.push(request.row(metric, summary.mean, summary.std_error, values.len()));
        }
        let (gain, psnr) = (Summary::of(&gains)?, Summary::of(&inverted.psnr)?);
        rows.push(request.row(Metric::InversionGainMax, gain.max, 0.0, gains.len()));
        rows.push(request.row(Metric::InversionPsnrP95, psnr.p95, psnr.p95_std_error, gains.len()));
        if gain.mean > 0.0
            && let (Some(gallery), Some(sharper)) = (gallery, inversion.gallery)
        {
            gallery.inverted = sharper.images;
        }
        let value = |rows: &[Measurement], metric| rows.iter().find(|row| row.metric == metric).map(|row| row.value);
        // What longer training or descent would add to a figure.
        let left = |rows: &[Measurement], metric: Metric| Some(value(rows, metric.extended()?)? - value(rows, metric)?);
        let further = |rows: &[Measurement], metric| {
            left(&inversion.measurements, metric)
                .zip(left(rows, metric))
                .map_or(0.0, |(descent, training)| descent - training)
        };
        let mean = further(rows, Metric::PsnrMean).max(0.0);
        let tail = further(rows, Metric::PsnrP95).max(mean);
        let ssim_further = further(rows, Metric::SsimMean).max(0.0);
        if let Some(left) = left(&inversion.measurements, Metric::PsnrP95) {
            let row = request.row(
                Metric::InversionPsnrP95Extended,
                (psnr.p95 + left).min(MAX_PSNR),
                psnr.p95_std_error,
                gains.len(),
            );
            rows.push(row);
        }
        if let Some(verifying) = request.verifying
            && let Some(upper) = quantile_upper(&inverted.psnr, 0.95, verifying.error_rate)?
        {
            rows.push(request.row(Metric::InversionPsnrP95Upper, upper.max(psnr.p95), 0.0, gains.len()));
        }
        if request.protocol.scored_part == ScoredPart::Validation {
            raise_by_inversion(rows);
        }
        let ended = value(&inversion.measurements, Metric::AttackConverged).is_some_and(|converged| converged > 0.5);
        for row in rows {
            match row.metric {
                Metric::PsnrMeanExtended => row.value += mean,
                Metric::PsnrP95Extended => row.value += tail,
                Metric::SsimMeanExtended => row.value = (row.value + ssim_further).min(1.0),
                Metric::AttackConverged if !ended => row.value = 0.0,
                _ => {}
            }
        }
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

/// Raises figures by what inversion gains on them, where it does.
fn raise_by_inversion(rows: &mut [Measurement]) {
    for at in 0..rows.len() {
        let name = rows[at].metric.inversion_gain();
        let gain = rows.iter().find(|row| Some(row.metric) == name && row.value > 0.0).cloned();
        if let Some(gain) = gain {
            rows[at].value += gain.value;
            if rows[at].metric == Metric::SsimMean {
                rows[at].value = rows[at].value.min(1.0);
            }
            rows[at].std_error = rows[at].std_error.hypot(gain.std_error);
        }
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
        let mut rows = vec![
            row(Metric::PsnrMean, 20.0),
            row(Metric::PsnrP95, 25.0),
            row(Metric::SsimMean, 0.6),
            row(Metric::InversionGainMean, 3.0),
            row(Metric::InversionGainTail, -1.0),
            row(Metric::InversionGainSsim, 0.1),
        ];
        raise_by_inversion(&mut rows);
        let values: Vec<f64> = rows.iter().map(|row| row.value).collect();
        assert_eq!(values, [23.0, 25.0, 0.7, 3.0, -1.0, 0.1]);
        assert!((rows[0].std_error - 0.02f64.sqrt()).abs() < 1e-12);
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
