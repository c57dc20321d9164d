//! The linear attack: convolutional ridge regression from features to pixels, in closed form.
//!
//! Threat model: as the decoder's, the attacker holds pairs and knows which channels the features are. It needs no
//! training, so it can't be under-trained: what it recovers is a floor for every trained attack. The penalty is chosen on
//! the attacker's validation images.

use crate::estimate::attack::scores::{judge, mean_psnr};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Reconstructions, Request, Watch};
use crate::measurement::Metric;

/// Penalties that are tried, as shares of the features' mean square.
const PENALTIES: [f64; 5] = [1e-6, 1e-4, 1e-3, 1e-2, 1e-1];

/// Pairs per weight of one pixel's map: with so many, what a map fitted to a sample lacks is half a percent of the error
/// (0.02 dB).
const PAIRS_PER_WEIGHT: usize = 200;

/// Fits and scores the best linear map.
#[derive(Debug)]
pub struct LinearAttack<'a> {
    laboratory: &'a Laboratory,
}

impl<'a> LinearAttack<'a> {
    /// An attack on `laboratory`'s images and features.
    pub fn new(laboratory: &'a Laboratory) -> Self {
        Self { laboratory }
    }
}

impl Estimator for LinearAttack<'_> {
    fn name(&self) -> &'static str {
        "linear attack"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let start = std::time::Instant::now();
        let bench = self.laboratory.bench(request)?;
        let depth = bench.input().channels;
        let pairs = PAIRS_PER_WEIGHT * (9 * depth + 1);
        let moments = bench.ridge_moments(pairs, &|done| watch.tell(self.name(), done))?;
        let originals = bench.validation_images();
        let all: Vec<usize> = (0..depth).collect();
        let mut best = None;
        for penalty in PENALTIES {
            let Some(map) = moments.solve(&all, penalty) else {
                continue;
            };
            let mean = mean_psnr(&bench.map_validation(&map)?, &originals, self.laboratory)?;
            if best.as_ref().is_none_or(|&(least, _)| mean > least) {
                best = Some((mean, map));
            }
        }
        // Features that are no numbers; what else they spoil says so.
        let Some((_, map)) = best else {
            return Ok(Estimate::default());
        };
        let reconstructions =
            Reconstructions { scored: bench.map_scored(&map)?, validation: bench.map_validation(&map)? };
        judge(reconstructions, &Metric::LINEAR, &bench, request, self.laboratory, start)
    }
}
