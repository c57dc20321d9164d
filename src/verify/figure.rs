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

/// A way to the images: what one attack of one seed recovered. Each has an extension and a margin of its own, so that a stronger
/// attack with a smaller margin takes nothing from another's.
struct Path {
    value: f64,
    std_error: f64,
    /// With longer training; `None` where the learning curve can't tell.
    extended: Option<f64>,
    /// The most that that may be; `None` where the images are too few for a limit.
    upper: Option<f64>,
}

/// What inversion adds to where it starts.
struct Gain {
    /// On the images that it ran on; a loss counts as none.
    value: f64,
    /// The most that it may be.
    upper: f64,
}

/// The rows of one seed.
#[derive(Clone, Copy)]
struct Seed<'a> {
    evidence: Evidence<'a>,
    seed: u64,
}

impl<'a> Seed<'a> {
    fn row(self, metric: Metric) -> Option<&'a Measurement> {
        self.evidence.of(metric).find(|row| row.seed == self.seed)
    }

    fn gain(self) -> Gain {
        let row = self.evidence.metric.inversion_gain().and_then(|name| self.row(name));
        let upper = row.map_or(0.0, |row| (row.value + self.evidence.margin(row)).max(0.0));
        // A mean gain says little of a tail: those that gain most may be the tail.
        let most = self.row(Metric::InversionGainMax).filter(|_| self.evidence.is_of_tail());
        Gain {
            value: row.map_or(0.0, |row| row.value.max(0.0)),
            upper: most.map_or(upper, |most| upper.max(most.value)),
        }
    }

    /// The decoder and the ensemble, which longer training of the decoder and inversion add to.
    fn trained(self) -> impl Iterator<Item = Path> {
        let metric = self.evidence.metric;
        let decoder = self.row(metric);
        let extended = metric.extended().and_then(|name| self.row(name));
        let left = extended.zip(decoder).map(|(extended, decoder)| (extended.value - decoder.value).max(0.0));
        let ensemble = metric.of(&Metric::ENSEMBLE).and_then(|name| self.row(name));
        let uppers = [Metric::PsnrP95Upper, Metric::EnsemblePsnrP95Upper];
        let gain = self.gain();
        [decoder, ensemble].into_iter().zip(uppers).filter_map(move |(row, upper)| {
            let row = row?;
            let value = row.value + gain.value;
            let most = self.upper(row, upper);
            Some(Path {
                value,
                std_error: row.std_error,
                extended: left.map(|left| value + left),
                upper: left.zip(most).map(|(left, most)| most + left + gain.upper),
            })
        })
    }

    /// A row's upper limit over the draw of its images: of a tail by order statistics.
    fn upper(self, row: &Measurement, of_tail: Metric) -> Option<f64> {
        match self.evidence.metric {
            Metric::PsnrP95 => self.row(of_tail).map(|upper| upper.value.max(row.value)),
            _ => Some(row.value + self.evidence.margin(row)),
        }
    }

    /// The attacks in closed form, which end where they are.
    fn closed(self) -> impl Iterator<Item = Path> {
        let attacks = [(&Metric::LINEAR[..], None), (&Metric::KERNEL, Some(Metric::KernelPsnrP95Upper))];
        attacks.into_iter().filter_map(move |(names, of_tail)| {
            let row = self.row(self.evidence.metric.of(names)?)?;
            let most = of_tail.and_then(|name| self.upper(row, name)).unwrap_or(row.value);
            Some(Path {
                value: row.value,
                std_error: row.std_error,
                extended: Some(row.value),
                upper: Some(most.max(row.value + self.evidence.margin(row))),
            })
        })
    }

    /// The tail of the inverted images themselves: those that gain most need not be those that were recovered best before.
    fn inverted(self) -> Option<Path> {
        let row = self.row(Metric::InversionPsnrP95).filter(|_| self.evidence.is_of_tail())?;
        let left = self.row(Metric::InversionPsnrP95Extended).map(|extended| (extended.value - row.value).max(0.0));
        let most = match self.row(Metric::InversionPsnrP95Upper) {
            Some(upper) => upper.value.max(row.value),
            None => row.value + self.evidence.margin(row),
        };
        Some(Path {
            value: row.value,
            std_error: row.std_error,
            extended: left.map(|left| row.value + left),
            upper: left.map(|left| most + left),
        })
    }

    fn paths(self) -> impl Iterator<Item = Path> {
        self.trained().chain(self.closed()).chain(self.inverted())
    }
}

impl<'a> Evidence<'a> {
    fn of(self, metric: Metric) -> impl Iterator<Item = &'a Measurement> {
        self.rows.iter().copied().filter(move |row| row.metric == metric)
    }

    fn is_of_tail(self) -> bool {
        matches!(self.metric, Metric::PsnrP95 | Metric::PsnrMax)
    }

    /// A row's one-sided margin over the draw of its images.
    fn margin(self, row: &Measurement) -> f64 {
        // An argument outside (0, 1) can't be: the error rate comes from a validated confidence.
        let quantile = student_t_quantile(1.0 - self.error_rate, (row.n.max(2) - 1) as f64).unwrap_or(f64::INFINITY);
        quantile * row.std_error
    }

    /// The figure; `None` where no row has it. Of every attack and seed the largest counts: an attacker may have made any of them.
    pub(super) fn figure(self, converged: bool, limit: Option<f64>) -> Option<VerifiedFigure> {
        let metric = self.metric;
        if metric == Metric::Accuracy {
            return self.accuracy(limit);
        }
        let seeds = self.of(metric).map(|row| row.seed);
        let paths: Vec<Path> = seeds.flat_map(|seed| Seed { evidence: self, seed }.paths()).collect();
        let Path { value, std_error, .. } = paths.iter().max_by(|a, b| a.value.total_cmp(&b.value))?;
        // One that can't be told leaves the whole open.
        let largest = |of: fn(&Path) -> Option<f64>| {
            let all: Option<Vec<f64>> = paths.iter().map(of).collect();
            all?.into_iter().max_by(f64::total_cmp)
        };
        // What an attack that was cut short recovered is a lower bound, whatever is added to it.
        let upper = largest(|path| path.upper).filter(|_| converged);
        let extended = largest(|path| path.extended);
        Some(VerifiedFigure { metric, value: *value, std_error: *std_error, extended, upper, limit })
    }

    /// The mean over seeds, which differ by more than images do: both count.
    fn accuracy(self, limit: Option<f64>) -> Option<VerifiedFigure> {
        let worst = self.of(Metric::Accuracy).max_by(|a, b| a.value.total_cmp(&b.value))?;
        let values: Vec<f64> = self.of(Metric::Accuracy).map(|row| row.value).collect();
        let count = values.len() as f64;
        let value = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|x| (x - value).powi(2)).sum();
        let spread = if count > 1.0 { (squares / (count - 1.0) / count).sqrt() } else { 0.0 };
        let std_error = worst.std_error.hypot(spread);
        Some(VerifiedFigure { metric: Metric::Accuracy, value, std_error, extended: None, upper: None, limit })
    }
}
