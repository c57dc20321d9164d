//! The kernel attack: ridge regression from all of an image's features to its pixels, in closed form.
//!
//! Threat model: as the decoder's, the attacker holds pairs and knows which channels the features are. It needs no training;
//! from few features it recovers about as much as a decoder, and more than a short training does. Width and penalty are chosen
//! on the attacker's validation images.

use crate::estimate::attack::scores::{judge, mean_psnr};
use crate::estimate::bench::{Bench, Pairs};
use crate::estimate::laboratory::Laboratory;
use crate::estimate::{Estimate, EstimateError, Estimator, Reconstructions, Request, Watch};
use crate::kernel::{Examples, KernelMap, Shape};
use crate::measurement::Metric;

/// Widths and penalties that are tried.
const WIDTHS: [f32; 3] = [0.25, 1.0, 4.0];
const PENALTIES: [f64; 3] = [1e-3, 1e-2, 1e-1];

/// Examples and validation images that they are tried on.
const TRIED_ON: (usize, usize) = (800, 200);

/// Examples at most, and values of all their features: what a dense system and memory allow.
const EXAMPLES: usize = 4_000;
const VALUES: usize = 1 << 25;

/// Fits and scores the best kernel map.
#[derive(Debug)]
pub struct KernelAttack<'a> {
    laboratory: &'a Laboratory,
}

impl<'a> KernelAttack<'a> {
    /// An attack on `laboratory`'s images and features.
    pub fn new(laboratory: &'a Laboratory) -> Self {
        Self { laboratory }
    }
}

/// The features of the first `count` pairs.
fn examples(bench: &Bench<'_>, pairs: &Pairs<'_>, count: usize) -> Result<Examples, EstimateError> {
    let size = bench.input().len();
    let rows: Vec<usize> = (0..count.min(pairs.count)).collect();
    let mut values = vec![0.0; rows.len() * size];
    pairs.view.fill(&rows, &mut values)?;
    Ok(Examples::new(values, size))
}

impl Estimator for KernelAttack<'_> {
    fn name(&self) -> &'static str {
        "kernel attack"
    }

    fn estimate(&self, request: &Request<'_>, watch: &dyn Watch) -> Result<Estimate, EstimateError> {
        let start = std::time::Instant::now();
        let bench = self.laboratory.bench(request)?;
        let pixels = self.laboratory.image_side().pow(2) * 3;
        let tell = |done: f64| watch.tell(self.name(), done);
        tell(0.0)?;
        let train = examples(&bench, &bench.training, EXAMPLES.min(VALUES / bench.input().len()).max(1))?;
        let images = bench.training.images_of(train.len());
        let validation = examples(&bench, &bench.validation, bench.validation.count)?;
        let truth = bench.validation_images();

        let (few, judged) = (train.first(TRIED_ON.0), validation.first(TRIED_ON.1));
        let (among, between) = (few.distances(&few), judged.distances(&few));
        let mut best = None;
        for (number, (width, penalty)) in WIDTHS.into_iter().flat_map(|w| PENALTIES.map(|p| (w, p))).enumerate() {
            tell(0.05 + 0.05 * number as f64)?;
            let shape = Shape { width, penalty };
            let Some(map) = KernelMap::fit(&among, &images[..few.len() * pixels], shape) else {
                continue;
            };
            let mean = mean_psnr(&map.apply(&between), &truth[..judged.len() * pixels], self.laboratory)?;
            if best.as_ref().is_none_or(|&(least, _)| mean > least) {
                best = Some((mean, shape));
            }
        }
        tell(0.5)?;
        // Features that are no numbers; what else they spoil says so.
        let Some(map) = best.and_then(|(_, shape)| KernelMap::fit(&train.distances(&train), &images, shape)) else {
            return Ok(Estimate::default());
        };
        tell(0.8)?;
        let scored = examples(&bench, &bench.scored, bench.scored.count)?;
        let reconstructions = Reconstructions {
            scored: map.apply(&scored.distances(&train)),
            validation: map.apply(&validation.distances(&train)),
        };
        judge(reconstructions, &Metric::KERNEL, &bench, request, self.laboratory, start)
    }
}
