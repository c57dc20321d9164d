//! Every attack on one design, from the simplest to the strongest.

use crate::estimate::attack::{DecoderAttack, LinearAttack};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Request, Watch};
use crate::measurement::{Measurement, Metric};
use crate::protocol::ScoredPart;

/// Runs the attacks one after the other.
///
/// Each has rows of its own: `psnr_mean` and the like are the decoder's, `linear_psnr_mean` and the like the linear
/// attack's. Where figures choose between designs, in the search, the decoder's are raised to the linear attack's: a
/// short training may lose to it, and a design must not look private by that. Where figures are claims they stand as they
/// are, and a decoder that loses is an objection ([`crate::verify`]).
#[derive(Debug)]
pub struct AttackLadder<'a> {
    linear: LinearAttack<'a>,
    decoder: DecoderAttack<'a>,
}

impl<'a> AttackLadder<'a> {
    /// All attacks on `laboratory`'s images and features.
    pub fn new(laboratory: &'a Laboratory) -> Self {
        Self { linear: LinearAttack::new(laboratory), decoder: DecoderAttack::new(laboratory) }
    }
}

impl Estimator for AttackLadder<'_> {
    fn name(&self) -> &'static str {
        "attacks"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let linear = self.linear.estimate(request, watch)?.measurements;
        let mut estimate = self.decoder.estimate(request, watch)?;
        if request.protocol.scored_part == ScoredPart::Validation {
            estimate.measurements.iter_mut().for_each(|row| raise(row, &linear));
        }
        estimate.measurements.extend(linear);
        Ok(estimate)
    }
}

/// Raises a figure to that of the linear attack, where that is larger.
fn raise(row: &mut Measurement, linear: &[Measurement]) {
    let Some(of) = Metric::LINEAR.iter().find(|(metric, _)| *metric == row.metric).map(|&(_, of)| of) else {
        return;
    };
    if let Some(stronger) = linear.iter().find(|found| found.metric == of && found.value > row.value) {
        (row.value, row.std_error) = (stronger.value, stronger.std_error);
    }
}
