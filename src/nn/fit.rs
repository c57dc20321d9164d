//! The training loop: batches in seeded order, schedule, validation, weight averaging; for any executor.

mod batch;

use std::ops::ControlFlow;

use super::error::NnError;
use super::loss::loss;
use super::network::Network;
use super::optim::{Averaged, Schedule};
use super::params::Params;
use super::random::{Purpose, shuffle, stream, uniform};
pub use batch::{Dataset, Targets};

use batch::Batch;

/// How [`fit`] trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitOptions {
    /// Passes over the training rows; at least 1.
    pub epochs: u32,
    /// Images per step; at least 1. The rest of an epoch makes a last, smaller batch.
    pub batch: usize,
    /// Learning rate over the steps.
    pub schedule: Schedule,
    /// Seed of the batch order and of the flips.
    pub seed: u64,
    /// Decay per step of an exponential average of the weights, in (0, 1): validation and the final weights are
    /// the average's. It is updated every [`AVERAGE_EVERY`] steps, with the decay to that power.
    pub average: Option<f32>,
    /// Mirrors each image, features and target together, with probability one half.
    pub flips: bool,
    /// With validation rows: stop after this many epochs without a new best validation loss.
    pub patience: Option<u32>,
}

/// Steps between two updates of the average of the weights.
pub const AVERAGE_EVERY: u64 = 8;

/// Where a training stands, told to the observer after every step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Epochs finished.
    pub epoch: u32,
    /// Epochs asked for.
    pub epochs: u32,
    /// Steps finished.
    pub step: u64,
    /// Steps that all epochs take.
    pub steps: u64,
    /// Loss of the batch.
    pub loss: f32,
    /// Validation loss after the last finished epoch.
    pub validation: Option<f32>,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All epochs were run.
    Completed,
    /// The validation loss found no new best for `patience` epochs.
    Patience,
    /// The observer asked for it. The net keeps the weights of that step.
    Interrupted,
}

/// What a training did.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Mean training loss of each finished epoch, over images.
    pub losses: Vec<f32>,
    /// Validation loss after each finished epoch, if there were validation rows.
    pub validation_losses: Vec<f32>,
    /// The epoch (from 0) with the lowest validation loss; its weights are the net's. `None` without validation.
    pub best_epoch: Option<usize>,
    /// Whether the last fifth of the epochs run (at least one) lowered the lowest loss by less than 1 % of what it was
    /// before them. Taken on the validation loss, or on the training loss where there is no validation. `false` where
    /// there are fewer than two epochs or the training was interrupted.
    pub converged: bool,
    /// Why it ended.
    pub stop: Stop,
    /// Steps taken.
    pub steps: u64,
}

/// Trains `net` on `train`.
///
/// With `validation` the loss on it is computed after each epoch, and the weights of the epoch where it was lowest
/// (averaged ones with `options.average`) are restored at the end. `observer` is called after every step; when it
/// returns `Break`, training ends there and the report says [`Stop::Interrupted`].
///
/// # Errors
/// [`NnError::Option`] for options out of their domain, [`NnError::Batch`] for an empty data set or one that doesn't
/// fit the net, and all of [`Network`]'s errors, [`NnError::Diverged`] above all.
pub fn fit(
    net: &mut dyn Network,
    train: &dyn Dataset,
    validation: Option<&dyn Dataset>,
    options: &FitOptions,
    observer: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<FitReport, NnError> {
    options.check()?;
    let rows = train.len();
    if rows == 0 || validation.is_some_and(|validation| validation.is_empty()) {
        return Err(NnError::Batch { n: 0, reason: "the data set is empty".to_owned() });
    }
    let (input, output) = (net.spec().input, net.spec().output()?);
    let steps = u64::from(options.epochs) * rows.div_ceil(options.batch) as u64;
    let mut average = match options.average {
        Some(decay) => Some(Averaged::new(net.params()?, decay.powi(AVERAGE_EVERY as i32))),
        None => None,
    };
    let mut best: Option<(f32, usize, Params)> = None;
    let mut report = FitReport {
        losses: Vec::new(),
        validation_losses: Vec::new(),
        best_epoch: None,
        converged: false,
        stop: Stop::Completed,
        steps: 0,
    };
    let mut order: Vec<usize> = (0..rows).collect();
    let mut batch = Batch::new(input);

    'training: for epoch in 0..options.epochs {
        let mut rng = stream(options.seed, Purpose::Epoch(epoch));
        order.sort_unstable();
        shuffle(&mut order, &mut rng);
        let mut sum = 0.0;
        for rows in order.chunks(options.batch) {
            batch.load(train, rows)?;
            if options.flips {
                batch.flip(output, |_| uniform(&mut rng) < 0.5);
            }
            let step = options.schedule.at(report.steps, steps);
            let loss = net.train_step(&batch.features, rows.len(), batch.targets.as_target(), step)?;
            sum += f64::from(loss) * rows.len() as f64;
            report.steps += 1;
            if let Some(average) = &mut average
                && report.steps.is_multiple_of(AVERAGE_EVERY)
            {
                average.update(&net.params()?)?;
            }
            let progress = Progress {
                epoch,
                epochs: options.epochs,
                step: report.steps,
                steps,
                loss,
                validation: report.validation_losses.last().copied(),
            };
            if observer(progress).is_break() {
                report.stop = Stop::Interrupted;
                break 'training;
            }
        }
        report.losses.push((sum / rows as f64) as f32);
        let Some(validation) = validation else {
            continue;
        };

        let raw = net.params()?;
        let judged = average.as_ref().map_or(&raw, |average| average.params());
        if average.is_some() {
            net.set_params(judged)?;
        }
        let loss = evaluate(net, validation, options.batch)?;
        report.validation_losses.push(loss);
        let epoch = report.validation_losses.len() - 1;
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, epoch, judged.clone()));
        }
        if average.is_some() {
            net.set_params(&raw)?;
        }
        let waited = best.as_ref().map_or(0, |(_, best, _)| epoch - best);
        if options.patience.is_some_and(|patience| waited >= patience as usize) {
            report.stop = Stop::Patience;
            break;
        }
    }

    if report.stop != Stop::Interrupted {
        let judged = if validation.is_some() { &report.validation_losses } else { &report.losses };
        report.converged = converged(judged);
        match (&best, &average) {
            (Some((_, _, params)), _) => net.set_params(params)?,
            (None, Some(average)) => net.set_params(average.params())?,
            (None, None) => {}
        }
    }
    report.best_epoch = best.map(|(_, epoch, _)| epoch);
    Ok(report)
}

/// The mean loss of `net` on all rows, without dropout.
///
/// # Errors
/// [`NnError::Batch`] for an empty data set or one that doesn't fit the net; [`NnError::Backend`].
pub fn evaluate(net: &mut dyn Network, dataset: &dyn Dataset, batch: usize) -> Result<f32, NnError> {
    let order: Vec<usize> = (0..dataset.len()).collect();
    let mut buffer = Batch::new(net.spec().input);
    let mut output = Vec::new();
    let mut sum = 0.0;
    if order.is_empty() {
        return Err(NnError::Batch { n: 0, reason: "the data set is empty".to_owned() });
    }
    for rows in order.chunks(batch.max(1)) {
        buffer.load(dataset, rows)?;
        net.predict(&buffer.features, rows.len(), &mut output)?;
        sum += f64::from(loss(&output, rows.len(), buffer.targets.as_target())?) * rows.len() as f64;
    }
    Ok((sum / order.len() as f64) as f32)
}

impl FitOptions {
    fn check(&self) -> Result<(), NnError> {
        let error = |option, value: String, accepted| Err(NnError::Option { option, value, accepted });
        if self.epochs == 0 {
            return error("epochs", "0".to_owned(), "at least 1");
        }
        if self.batch == 0 {
            return error("batch", "0".to_owned(), "at least 1");
        }
        let peak = self.schedule.peak();
        if !(peak > 0.0 && peak.is_finite()) {
            return error("learning rate", peak.to_string(), "a positive number");
        }
        match self.average {
            Some(decay) if !(decay > 0.0 && decay < 1.0) => error("average", decay.to_string(), "in (0, 1)"),
            _ => Ok(()),
        }
    }
}

/// Whether the last fifth of `losses` (at least one) found less than 1 % of improvement.
fn converged(losses: &[f32]) -> bool {
    let last = (losses.len() / 5).max(1);
    if losses.len() < 2 {
        return false;
    }
    let (before, after) = losses.split_at(losses.len() - last);
    let least = |losses: &[f32]| losses.iter().copied().fold(f32::INFINITY, f32::min);
    least(after) > 0.99 * least(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::spec::Shape;
    use crate::nn::{BuildOptions, Layer, NetSpec, build, initialise};

    /// Two-pixel images of one channel whose target is twice the input, mirrored when the input is.
    struct Doubles(usize);

    impl Dataset for Doubles {
        fn len(&self) -> usize {
            self.0
        }

        fn features(&self, rows: &[usize], out: &mut [f32]) -> Result<(), NnError> {
            for (out, &row) in out.chunks_mut(2).zip(rows) {
                out.copy_from_slice(&[(row as f32).sin(), (row as f32).cos()]);
            }
            Ok(())
        }

        fn targets(&self, rows: &[usize], out: &mut Targets) {
            let out = out.images();
            for &row in rows {
                out.extend([2.0 * (row as f32).sin(), 2.0 * (row as f32).cos()]);
            }
        }
    }

    fn net() -> Box<dyn Network> {
        let layers = vec![Layer::Conv3x3 { input: 1, output: 1, relu: false }];
        let spec = NetSpec { input: Shape::new(1, 2, 1), layers };
        build(&spec, &initialise(&spec, 5), &BuildOptions::default()).unwrap()
    }

    fn options() -> FitOptions {
        FitOptions {
            epochs: 30,
            batch: 8,
            schedule: Schedule::OneCycle { peak: 0.2 },
            seed: 3,
            average: None,
            flips: false,
            patience: None,
        }
    }

    #[test]
    fn training_learns_keeps_the_rest_batch_and_reports() {
        let mut net = net();
        let mut seen = Vec::new();
        let report = fit(&mut *net, &Doubles(20), Some(&Doubles(7)), &options(), &mut |progress| {
            seen.push(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!((report.steps, report.losses.len(), report.stop), (90, 30, Stop::Completed));
        assert_eq!((seen.len(), seen[89].step, seen[89].steps), (90, 90, 90));
        assert!(seen[2].validation.is_none() && seen[3].validation == Some(report.validation_losses[0]));
        let best = report.best_epoch.unwrap();
        let least = report.validation_losses[best];
        assert!(report.validation_losses.iter().all(|&loss| loss >= least));
        assert!(least < 1e-3 && report.losses[0] > 0.1, "{report:?}");
        // The best epoch's weights are in the net.
        let again = evaluate(&mut *net, &Doubles(7), 3).unwrap();
        assert!((again - least).abs() <= 1e-6, "{again} {least}");
    }

    #[test]
    fn interruption_ends_within_one_step() {
        let mut calls = 0;
        let report = fit(&mut *net(), &Doubles(20), None, &options(), &mut |_| {
            calls += 1;
            if calls == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!((report.stop, report.steps, calls, report.losses.len()), (Stop::Interrupted, 4, 4, 1));
        assert!(!report.converged && report.best_epoch.is_none());
    }

    #[test]
    fn flips_averaging_and_patience_work_together() {
        let mut net = net();
        let schedule = Schedule::Cosine { peak: 0.1 };
        let options =
            FitOptions { average: Some(0.9), flips: true, patience: Some(5), epochs: 400, schedule, ..options() };
        let report =
            fit(&mut *net, &Doubles(20), Some(&Doubles(20)), &options, &mut |_| ControlFlow::Continue(())).unwrap();
        let best = report.best_epoch.unwrap();
        assert!(report.validation_losses[best] < 1e-2, "{report:?}");
        if report.stop == Stop::Patience {
            assert_eq!(report.losses.len(), best + 6);
        }
        let again = evaluate(&mut *net, &Doubles(20), 8).unwrap();
        assert!((again - report.validation_losses[best]).abs() < 1e-6);
    }

    #[test]
    fn the_same_seed_gives_the_same_training() {
        let run = |seed| {
            fit(&mut *net(), &Doubles(20), None, &FitOptions { seed, ..options() }, &mut |_| ControlFlow::Continue(()))
                .unwrap()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn bad_options_and_empty_data_are_refused() {
        let refused = |options: FitOptions, rows| {
            fit(&mut *net(), &Doubles(rows), None, &options, &mut |_| ControlFlow::Continue(())).is_err()
        };
        assert!(refused(FitOptions { epochs: 0, ..options() }, 4));
        assert!(refused(FitOptions { batch: 0, ..options() }, 4));
        assert!(refused(FitOptions { average: Some(1.0), ..options() }, 4));
        assert!(refused(FitOptions { schedule: Schedule::Cosine { peak: f32::NAN }, ..options() }, 4));
        assert!(refused(options(), 0));
        let diverged = FitOptions { schedule: Schedule::Cosine { peak: 1e30 }, ..options() };
        let error = fit(&mut *net(), &Doubles(20), None, &diverged, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(error, Err(NnError::Diverged { .. })), "{error:?}");
    }

    #[test]
    fn convergence_is_less_than_one_percent_in_the_last_fifth() {
        assert!(converged(&[1.0, 0.5, 0.4, 0.3, 0.298]));
        assert!(!converged(&[1.0, 0.5, 0.4, 0.3, 0.29]));
        assert!(converged(&[1.0, 0.5, 0.4, 0.3, 0.35]));
        assert!(!converged(&[1.0]));
    }
}
