//! The linear attack: convolutional ridge regression from features to pixels, in closed form.
//!
//! Threat model: as the decoder's, the attacker holds pairs and knows which channels the features are. It needs no
//! training, so it can't be under-trained: what it recovers is a floor for every trained attack. The penalty is chosen on
//! the attacker's validation images.

use crate::estimate::attack::scores::{Scores, mean_psnr};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Gallery, Reconstructions, Request, Watch};
use crate::measurement::{Measurement, Metric};

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
        let (reconstructions, originals) = (bench.map_scored(&map)?, bench.scored_images());
        let scores = Scores::new(&reconstructions, &originals, self.laboratory)?;
        let seconds = start.elapsed().as_secs_f64();
        let rows = scores.rows(request, bench.scored_labels())?.into_iter();
        let measurements = rows
            .filter_map(|row| Some(Measurement { metric: row.metric.of(&Metric::LINEAR)?, seconds, ..row }))
            .collect();
        let gallery = Some(Gallery::pick(&scores, &reconstructions, &originals, self.laboratory));
        Ok(Estimate {
            measurements,
            gallery,
            reconstructions: Some(Reconstructions { scored: reconstructions, validation: bench.map_validation(&map)? }),
            ..Estimate::default()
        })
    }
}
