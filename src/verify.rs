//! Verification: the winner measured again, with fresh seeds, more training and the evaluation images, which nothing
//! but verification ever scores.
//!
//! The privacy claim rests on these figures alone. Every attack of every fresh seed is a way to the images of its own: what it
//! recovered, extended to sixteen times the training along its learning curve, and raised by a one-sided margin over the draw of the
//! images (Student's t for means, an order statistic for the 95th percentile). The *largest* counts, of what was recovered and of the
//! limits: an attacker may have made any of them. Where the ensemble of all attacks recovers more than the decoder alone, it is
//! extended by what longer training gains the decoder. Where the attacker knows the local net, what white-box inversion gains on
//! the ensemble on the same images, and its own margin, are added: an inversion takes too long for all images, but differences
//! vary little. To the limit on a 95th percentile the largest gain on any image is added, and the inverted images' own upper limit
//! counts, which takes as many of them as its order statistic needs. Where SSIM is bounded, a decoder trained for it runs too.
//!
//! The allowance for error, 1 − confidence, is divided by the number of
//! bounds and of designs that may be put to verification (Bonferroni). That a design which follows a refuted one was chosen
//! by its figures on the same images, and that a study may be repeated on them, is not corrected for; nor does any
//! confidence cover an attacker who is stronger than these trainings and their extension.

mod figure;

use serde::{Deserialize, Serialize};

use self::figure::Evidence;
use crate::estimate::Verifying;
use crate::exec::{ExecError, Executor, Job};
use crate::measurement::{DesignId, Evaluation, Fidelity, Measurement, Metric, Outcome};
use crate::protocol::Plan;
use crate::space::Candidate;
use crate::store::{self, Verification};

/// A privacy bound: `metric` must not exceed `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricBound {
    /// What is bounded.
    pub metric: Metric,
    /// Its largest allowed value.
    pub limit: f64,
}

/// One figure of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VerifiedFigure {
    /// Which figure.
    pub metric: Metric,
    /// Over the fresh seeds: the largest for a leakage, the mean for the accuracy.
    pub value: f64,
    /// Standard error over the evaluation images; of the accuracy, over images and seeds.
    pub std_error: f64,
    /// What sixteen times the training of the attack is expected to reach.
    pub extended: Option<f64>,
    /// One-sided upper confidence limit of the extended figure; `None` where there is none: the attack didn't converge,
    /// or the images are too few for a limit on their tail.
    pub upper: Option<f64>,
    /// The bound, where there is one.
    pub limit: Option<f64>,
}

/// The result of putting one design to verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The design.
    pub design: crate::measurement::DesignId,
    /// Whether every bound holds and every attack converged.
    pub holds: bool,
    /// Whether a training failed, as for want of time or memory: then nothing is known of the design, and this is no verdict on it.
    #[serde(skip)]
    pub failed: bool,
    /// Whether every attack converged on the attacker's validation images.
    pub converged: bool,
    /// Why it does not hold, in words; empty where it holds.
    pub objections: Vec<String>,
    /// The figures.
    pub figures: Vec<VerifiedFigure>,
    /// Protocol of the trainings.
    pub fidelity: Fidelity,
    /// The fresh seeds that were run: all of the plan's, or the first alone where that refuted the design.
    pub seeds: Vec<u64>,
}

impl Verdict {
    /// The figure for `metric`.
    pub fn figure(&self, metric: Metric) -> Option<&VerifiedFigure> {
        self.figures.iter().find(|f| f.metric == metric)
    }
}

/// Whether an attack broke a limit, whatever more of it would bring.
fn is_broken(figures: &[VerifiedFigure]) -> bool {
    figures.iter().any(|figure| figure.limit.is_some_and(|limit| figure.value > limit))
}

/// Seeds that no search measurement uses.
fn fresh_seeds(study_seed: u64, count: usize) -> Vec<u64> {
    (0..count as u64).map(|k| study_seed.wrapping_add(1_000_003 * (k + 1))).collect()
}

/// The chance of error that each bound of each attempt is allowed.
pub fn error_rate(confidence: f64, bounds: &[MetricBound], plan: &Plan) -> f64 {
    (1.0 - confidence) / (bounds.len() * plan.verification_attempts).max(1) as f64
}

/// What a verification is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The bounds.
    pub bounds: &'a [MetricBound],
    /// Joint probability with which they must hold.
    pub confidence: f64,
    /// Mean PSNR of the mean image, which needs no features at all, dB.
    pub floor: f64,
    /// Designs at the same layer that keep a part of the candidate's channels, or all: an attacker who has more never
    /// recovers less.
    pub parts: &'a [DesignId],
    /// Whether the attacker can invert the local net, so that a verdict without an inversion is none.
    pub inverted: bool,
}

/// Measures `candidate` as the plan's verification says and judges it.
///
/// # Errors
/// As [`Executor::measure`].
pub fn verify(
    executor: &mut Executor<'_>,
    candidate: &Candidate,
    terms: &Terms<'_>,
    plan: &Plan,
    study_seed: u64,
) -> Result<Verdict, ExecError> {
    let &Terms { bounds, confidence, floor, parts, inverted } = terms;
    let seeds = fresh_seeds(study_seed, plan.verification_seeds);
    let error_rate = error_rate(confidence, bounds, plan);
    let job = |(k, &seed): (usize, &u64)| Job {
        candidate,
        fidelity: plan.verification,
        seed,
        verifying: Some(Verifying {
            settled_above: bounds.iter().find(|b| b.metric == Metric::PsnrMean).map(|b| b.limit),
            error_rate,
            ssim: bounds.iter().any(|b| b.metric == Metric::SsimMean),
        }),
        reason: format!("verification, fresh seed {} of {}", k + 1, seeds.len()),
    };
    let jobs: Vec<Job<'_>> = seeds.iter().enumerate().map(job).collect();
    let judged = |evaluations: &[Evaluation]| judge(&candidate.id, evaluations, bounds, error_rate, plan.verification);
    let (first, others) = jobs.split_at(jobs.len().min(1));
    // Without a limit on time: what was begun is judged whole.
    let mut evaluations: Vec<Evaluation> = executor.measure(first, None)?.into_iter().flatten().collect();
    let mut verdict = judged(&evaluations);
    // The largest figure over the seeds counts and every attack must converge: what one seed refutes none can save.
    if verdict.holds && !others.is_empty() {
        evaluations.extend(executor.measure(others, None)?.into_iter().flatten());
        verdict = judged(&evaluations);
    }
    if verdict.failed {
        return Ok(verdict);
    }
    // What an earlier run measured after this is not known yet.
    let known = executor.asked();
    // Of the design itself only what the search found; of its parts what their verifications found, too.
    let earlier = known.iter().filter(|e| {
        parts.contains(&e.design)
            && (e.fidelity == plan.search || e.fidelity == plan.verification && e.design != candidate.id)
    });
    let own: Vec<&Measurement> = evaluations.iter().flat_map(Evaluation::measurements).collect();
    // An attack that broke a limit may have ended there: that it recovers less than others is no weakness then.
    let mut weaknesses = match is_broken(&verdict.figures) {
        true => Vec::new(),
        false => weaknesses(&verdict, &own, floor, earlier.flat_map(Evaluation::measurements)),
    };
    weaknesses.extend(missing_inversion(inverted, &verdict, &own));
    verdict.holds &= weaknesses.is_empty();
    verdict.objections.extend(weaknesses);
    executor.record(Verification {
        design: verdict.design.clone(),
        verdict: match verdict.holds {
            true => store::Verdict::Verified,
            false => store::Verdict::Refuted,
        },
        explanation: verdict.objections.join("; "),
    })?;
    Ok(verdict)
}

/// Signs that the verifying attack is under-trained: it recovers less than a short training or a linear map does, or
/// hardly more than the mean image is.
fn weaknesses<'a>(
    verdict: &Verdict,
    own: &[&Measurement],
    floor: f64,
    earlier: impl Iterator<Item = &'a Measurement>,
) -> Vec<String> {
    /// What must be learnt at least beyond the mean image.
    const SLACK_DB: f64 = 0.5;
    /// A draw is no loss; of SSIM.
    const SLACK: [f64; 2] = [0.05, 0.005];
    /// Few pairs serve kernel ridge better than a decoder, which learns from as many; it must not be far behind, dB.
    const KERNEL_SLACK: f64 = 1.0;
    let mut found = Vec::new();
    for row in earlier {
        // More data and longer training never make an honest attack weaker.
        let slack = 3.0 * row.std_error;
        let leakage = matches!(row.metric, Metric::PsnrMean | Metric::PsnrP95 | Metric::SsimMean);
        if leakage && verdict.figure(row.metric).is_some_and(|f| f.value + slack < row.value) {
            found.push(format!(
                "{} is below what was found of {}, whose channels it has: the attack is under-trained",
                row.metric, row.design
            ));
        }
    }
    // On the same images: what needs no training is a floor for what was trained.
    let largest =
        |metric: Metric| own.iter().filter(|row| row.metric == metric).map(|row| row.value).max_by(f64::total_cmp);
    for trained in [Metric::PsnrMean, Metric::PsnrP95, Metric::SsimMean] {
        let slack = SLACK[usize::from(trained == Metric::SsimMean)];
        if let (Some(decoder), Some(map)) = (largest(trained), trained.of(&Metric::LINEAR).and_then(largest))
            && decoder + slack < map
        {
            let (decoder, map) = (trained.text(decoder), trained.text(map));
            found.push(format!(
                "{trained} of the decoder is {decoder} where a linear map recovers {map}: the attack is under-trained"
            ));
        }
    }
    if let (Some(decoder), Some(kernel)) = (largest(Metric::PsnrMean), largest(Metric::KernelPsnrMean))
        && decoder + KERNEL_SLACK < kernel
    {
        found.push(format!(
            "the decoder recovers {decoder:.2} dB where kernel ridge regression recovers {kernel:.2} dB: the attack is under-trained"
        ));
    }
    // A decoder that never got going and a design that leaks nothing look alike; only the former is likely.
    if let Some(decoder) = largest(Metric::PsnrMean)
        && decoder < floor + SLACK_DB
    {
        found.push(format!(
            "the decoder recovers {decoder:.2} dB where the mean image has {floor:.2} dB: it may not have learnt at all, which looks \
             like privacy: nothing can be claimed, keep more channels or allow more effort"
        ));
    }
    found
}

/// What says that inversion, without which the strongest attack wasn't tried, gave no figure.
fn missing_inversion(inverted: bool, verdict: &Verdict, own: &[&Measurement]) -> Option<String> {
    let found = |seed: u64| own.iter().any(|row| row.seed == seed && row.metric == Metric::InversionGainMean);
    let missing = inverted && verdict.converged && !verdict.seeds.iter().all(|&seed| found(seed));
    missing.then(|| "white-box inversion gave no figure: the strongest attack is missing".to_owned())
}

/// Judges finished evaluations; `error_rate` is allowed per bound.
fn judge(
    design: &DesignId,
    evaluations: &[Evaluation],
    bounds: &[MetricBound],
    error_rate: f64,
    fidelity: Fidelity,
) -> Verdict {
    let mut objections = Vec::new();
    for evaluation in evaluations {
        if let Outcome::Failed { reason, .. } = &evaluation.outcome {
            objections.push(format!("a training failed: {reason}"));
        }
    }
    let rows: Vec<&Measurement> = evaluations.iter().flat_map(Evaluation::measurements).collect();
    let converged = rows.iter().filter(|r| r.metric == Metric::AttackConverged).all(|r| r.value > 0.5);
    let mut metrics: Vec<Metric> = rows.iter().map(|r| r.metric).collect();
    metrics.sort_unstable();
    metrics.dedup();
    metrics.retain(|m| {
        let is_upper = [Metric::PsnrP95Upper, Metric::KernelPsnrP95Upper, Metric::EnsemblePsnrP95Upper].contains(m);
        let is_extension = Metric::ALL.iter().any(|of| of.extended() == Some(*m));
        !(is_upper || is_extension || *m == Metric::AttackConverged)
    });
    let mut figures = Vec::new();
    for metric in metrics {
        let limit = bounds.iter().find(|b| b.metric == metric).map(|b| b.limit);
        figures.extend((Evidence { rows: &rows, metric, error_rate }).figure(converged, limit));
    }
    if !converged && !is_broken(&figures) {
        objections.push(
            "an attack's learning curve can't be extended: it gained more by its last doubling than by the one before, or \
             nothing at all, so that its figure is a lower bound; more training images or a longer effort may settle it"
                .to_owned(),
        );
    } else if !converged {
        objections.push("the attack ended above a limit: its figures are lower bounds".to_owned());
    }
    objections.extend(figures.iter().filter_map(|figure| objection(figure, converged)));
    for bound in bounds {
        if !figures.iter().any(|f| f.metric == bound.metric) {
            objections.push(format!("{} was not measured", bound.metric));
        }
    }
    Verdict {
        design: design.clone(),
        holds: objections.is_empty(),
        failed: evaluations.iter().any(|evaluation| matches!(evaluation.outcome, Outcome::Failed { .. })),
        converged,
        objections,
        figures,
        fidelity,
        seeds: evaluations.iter().map(|e| e.seed).collect(),
    }
}

/// What a figure says against its design, where it is bounded.
fn objection(figure: &VerifiedFigure, converged: bool) -> Option<String> {
    let VerifiedFigure { metric, value, upper, .. } = *figure;
    let limit = figure.limit?;
    match upper {
        Some(upper) if upper > limit => Some(format!("{metric} may reach {upper:.2}, above its limit {limit:.2}")),
        Some(_) => None,
        None if value > limit => Some(format!("{metric} is at least {value:.2}, above its limit {limit:.2}")),
        None if converged => Some(format!("the images are too few for an upper limit on {metric}")),
        None => None,
    }
}

#[cfg(test)]
mod tests;
