//! One figure of a verification: what the strongest attack recovered, extended to longer training, with a margin.

use super::VerifiedFigure;
use crate::measurement::{Measurement, Metric};
use crate::metrics::student_t_quantile;

/// The rows of all fresh seeds, of which one metric is wanted.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) rows: &'a [&'a Measurement],
    pub(super) metric: Metric,
    /// The chance of error that the upper limit is allowed.
    pub(super) error_rate: f64,
}

/// What inversion adds to where it starts.
struct Gain {
    /// On the images that it ran on; a loss counts as none.
    value: f64,
    /// The most that it may be.
    upper: f64,
    /// What the inverted images themselves reach.
    reached: f64,
}

impl<'a> Evidence<'a> {
    fn of(self, metric: Metric) -> impl Iterator<Item = &'a Measurement> {
        self.rows.iter().copied().filter(move |row| row.metric == metric)
    }

    fn strongest(self, metric: Metric) -> Option<&'a Measurement> {
        self.of(metric).max_by(|a, b| a.value.total_cmp(&b.value))
    }

    fn largest(self, metric: Metric) -> Option<f64> {
        self.strongest(metric).map(|row| row.value)
    }

    /// A row's one-sided margin over the draw of its images.
    fn margin(self, row: &Measurement) -> f64 {
        // An argument outside (0, 1) can't be: the error rate comes from a validated confidence.
        let quantile = student_t_quantile(1.0 - self.error_rate, (row.n.max(2) - 1) as f64).unwrap_or(f64::INFINITY);
        quantile * row.std_error
    }

    /// The ensemble, or the decoder where that recovers more: longer training and inversion add to it.
    fn trained(self, decoder: &'a Measurement) -> &'a Measurement {
        let ensemble = self.metric.of(&Metric::ENSEMBLE).and_then(|name| self.strongest(name));
        ensemble.filter(|ensemble| ensemble.value > decoder.value).unwrap_or(decoder)
    }

    fn gain(self) -> Gain {
        let row = self.metric.inversion_gain().and_then(|name| self.strongest(name));
        let upper = row.map_or(0.0, |row| (row.value + self.margin(row)).max(0.0));
        let gain = Gain { value: row.map_or(0.0, |row| row.value.max(0.0)), upper, reached: f64::NEG_INFINITY };
        match self.metric {
            // A mean gain says little of a tail: those that gain most may be the tail.
            Metric::PsnrP95 | Metric::PsnrMax => Gain {
                upper: upper.max(self.largest(Metric::InversionGainMax).unwrap_or(0.0)),
                reached: self.largest(Metric::InversionPsnrP95).unwrap_or(gain.reached),
                ..gain
            },
            _ => gain,
        }
    }

    /// The stronger of the attacks in closed form.
    fn closed(self) -> Option<&'a Measurement> {
        let names = [&Metric::LINEAR[..], &Metric::KERNEL].into_iter().filter_map(|names| self.metric.of(names));
        names.filter_map(|name| self.strongest(name)).max_by(|a, b| a.value.total_cmp(&b.value))
    }

    /// What longer training of the decoder would reach with the ensemble of its own seed: the seed that is extended furthest need not
    /// be the one that leads.
    fn extended(self) -> Option<f64> {
        let figure = |metric, seed: u64| self.of(metric).find(|row| row.seed == seed).map(|row| row.value);
        let lead = |seed| {
            let ensemble = self.metric.of(&Metric::ENSEMBLE).and_then(|name| figure(name, seed));
            ensemble.zip(figure(self.metric, seed)).map_or(0.0, |(ensemble, decoder)| (ensemble - decoder).max(0.0))
        };
        self.of(self.metric.extended()?).map(|row| row.value + lead(row.seed)).max_by(f64::total_cmp)
    }

    /// The margin of what was trained; of a tail by order statistics, `None` where the images are too few for them.
    fn margin_of_trained(self, trained: &Measurement) -> Option<f64> {
        if self.metric != Metric::PsnrP95 {
            return Some(self.margin(trained));
        }
        let uppers = [Metric::PsnrP95Upper, Metric::EnsemblePsnrP95Upper].into_iter();
        let upper = uppers.filter_map(|name| self.largest(name)).max_by(f64::total_cmp)?;
        Some((upper - trained.value).max(0.0))
    }

    /// The margin of an attack in closed form.
    fn margin_of_closed(self, row: &Measurement) -> f64 {
        let tail = self.largest(Metric::KernelPsnrP95Upper).filter(|_| self.metric == Metric::PsnrP95);
        self.margin(row).max(tail.map_or(0.0, |upper| upper - row.value))
    }

    /// The figure; `None` where no row has it.
    pub(super) fn figure(self, converged: bool, limit: Option<f64>) -> Option<VerifiedFigure> {
        let metric = self.metric;
        if metric == Metric::Accuracy {
            return self.accuracy(limit);
        }
        let trained = self.trained(self.strongest(metric)?);
        let (gain, closed) = (self.gain(), self.closed());
        let inverted = trained.value + gain.value;
        let value = closed.map_or(inverted, |row| inverted.max(row.value)).max(gain.reached);
        let extended = self.extended().map(|extended| (extended + gain.value).max(value));
        // An attack that leads has a margin of its own.
        let leads = closed.filter(|row| row.value > inverted).map_or(0.0, |row| self.margin_of_closed(row));
        let margin = self.margin_of_trained(trained).map(|margin| (margin + gain.upper - gain.value).max(leads));
        // What an attack that was cut short recovered is a lower bound, whatever is added to it.
        let upper = extended.zip(margin).filter(|_| converged).map(|(extended, margin)| extended + margin);
        Some(VerifiedFigure { metric, value, std_error: trained.std_error, extended, upper, limit })
    }

    /// The mean over seeds, which differ by more than images do: both count.
    fn accuracy(self, limit: Option<f64>) -> Option<VerifiedFigure> {
        let worst = self.strongest(Metric::Accuracy)?;
        let values: Vec<f64> = self.of(Metric::Accuracy).map(|row| row.value).collect();
        let count = values.len() as f64;
        let value = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|x| (x - value).powi(2)).sum();
        let spread = if count > 1.0 { (squares / (count - 1.0) / count).sqrt() } else { 0.0 };
        let std_error = worst.std_error.hypot(spread);
        Some(VerifiedFigure { metric: Metric::Accuracy, value, std_error, extended: None, upper: None, limit })
    }
}
