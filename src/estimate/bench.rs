//! One design's view of the images and features: what its trainings and attacks work on.

use std::ops::ControlFlow;

use crate::data::ImageSet;
use crate::estimate::EstimateError;
use crate::features::{FeatureError, FeatureView, Standardisation};
use crate::nn::{
    self, BuildOptions, Dataset, Device, FitOptions, NetSpec, Network, NnError, Schedule, Shape, Stop, Targets,
};
use crate::protocol::{ImageLoss, Training};
use crate::ridge::{Geometry, LinearMap, RidgeMoments};

/// Images whose features stand in memory at a time.
const BATCH: usize = 100;

/// What a net learns to produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// The image's class.
    Labels,
    /// The image itself, as close as this loss demands.
    Images(ImageLoss),
}

/// Bytes to [0, 1].
pub(super) fn to_unit(bytes: &[u8]) -> Vec<f32> {
    bytes.iter().map(|&b| f32::from(b) / 255.0).collect()
}

/// Standardised features of one design beside their images: the first `count` of a part.
pub(super) struct Pairs<'a> {
    pub(super) view: FeatureView,
    pub(super) images: &'a ImageSet,
    pub(super) count: usize,
}

impl Pairs<'_> {
    /// The images, `[count, side, side, 3]` in [0, 1].
    fn images(&self) -> Vec<f32> {
        self.images_of(self.count)
    }

    /// The first `n` images, as [`images`](Self::images).
    pub(super) fn images_of(&self, n: usize) -> Vec<f32> {
        let side = self.images.side();
        to_unit(&self.images.pixels()[..n * side * side * 3])
    }

    /// Whether no image has any colour.
    pub(super) fn are_grey(&self) -> bool {
        let side = self.images.side();
        let pixels = &self.images.pixels()[..self.count * side * side * 3];
        pixels.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2])
    }

    /// Calls `visit(first row, features)` for the first `count` images, `batch` of them at a time.
    fn each<E: From<FeatureError>>(
        &self,
        count: usize,
        batch: usize,
        mut visit: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let image = self.view.side() * self.view.side() * self.view.depth();
        let rows: Vec<usize> = (0..count.min(self.count)).collect();
        let mut features = Vec::new();
        for rows in rows.chunks(batch.max(1)) {
            features.resize(rows.len() * image, 0.0);
            self.view.fill(rows, &mut features)?;
            visit(rows[0], &features)?;
        }
        Ok(())
    }
}

/// [`Pairs`] as a net's training data.
struct Aimed<'a> {
    pairs: &'a Pairs<'a>,
    aim: Aim,
}

impl Dataset for Aimed<'_> {
    fn len(&self) -> usize {
        self.pairs.count
    }

    fn features(&self, rows: &[usize], out: &mut [f32]) -> Result<(), NnError> {
        self.pairs.view.fill(rows, out).map_err(|error| NnError::Data(Box::new(error)))
    }

    fn targets(&self, rows: &[usize], out: &mut Targets) {
        match self.aim {
            Aim::Labels => {
                let labels = self.pairs.images.labels();
                out.labels().extend(rows.iter().map(|&row| u32::from(labels[row])));
            }
            Aim::Images(loss) => {
                let images = match loss {
                    ImageLoss::SquaredError => out.images(),
                    ImageLoss::LogSquaredError => out.log_images(),
                    ImageLoss::Perceptual => out.perceptual_images(self.pairs.images.side()),
                };
                for &row in rows {
                    images.extend(self.pairs.images.image(row).iter().map(|&b| f32::from(b) / 255.0));
                }
            }
        }
    }
}

/// One design's data on one device.
pub(super) struct Bench<'a> {
    pub(super) training: Pairs<'a>,
    pub(super) validation: Pairs<'a>,
    pub(super) scored: Pairs<'a>,
    pub(super) device: Device,
    pub(super) design: String,
}

impl Bench<'_> {
    /// Shape of one image's features.
    pub(super) fn input(&self) -> Shape {
        let view = &self.training.view;
        Shape::new(view.side(), view.side(), view.depth())
    }

    /// What happens to the features before a net sees them.
    pub(super) fn standardisation(&self) -> &Standardisation {
        self.training.view.standardisation()
    }

    /// A net with seeded initial weights.
    pub(super) fn build(&self, spec: &NetSpec, seed: u64) -> Result<Box<dyn Network>, NnError> {
        let options = BuildOptions { device: self.device, dropout_seed: seed, ..BuildOptions::default() };
        nn::build(spec, &nn::initialise(spec, seed), &options)
    }

    /// Trains `net` for `training.epochs`; a validated training keeps the weights that are best on the validation part.
    pub(super) fn train(
        &self,
        net: &mut dyn Network,
        aim: Aim,
        training: Training,
        seed: u64,
        progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Result<(), EstimateError> {
        let options = FitOptions {
            epochs: training.epochs as u32,
            batch: training.batch,
            schedule: Schedule::OneCycle { peak: training.peak_rate },
            seed,
            average: None,
            flips: false,
            patience: None,
        };
        let data = Aimed { pairs: &self.training, aim };
        let validation = Aimed { pairs: &self.validation, aim };
        let validation: Option<&dyn Dataset> = training.validated.then_some(&validation as _);
        let report =
            nn::fit(net, &data, validation, &options, &mut |p| progress(p.step as f64 / p.steps.max(1) as f64))
                .map_err(|source| EstimateError::Training {
                    what: match aim {
                        Aim::Labels => "the cloud net",
                        Aim::Images(_) => "the decoder",
                    },
                    design: self.design.clone(),
                    source,
                })?;
        if report.stop == Stop::Interrupted {
            return Err(EstimateError::Interrupted);
        }
        Ok(())
    }

    /// The net's output on the scored images.
    pub(super) fn predict(&self, net: &mut dyn Network) -> Result<Vec<f32>, EstimateError> {
        self.predict_on(&self.scored, net)
    }

    /// The net's output on the validation images.
    pub(super) fn predict_validation(&self, net: &mut dyn Network) -> Result<Vec<f32>, EstimateError> {
        self.predict_on(&self.validation, net)
    }

    fn predict_on(&self, pairs: &Pairs<'_>, net: &mut dyn Network) -> Result<Vec<f32>, EstimateError> {
        let image = self.input().len();
        let mut all = Vec::new();
        let mut output = Vec::new();
        pairs.each(pairs.count, BATCH, |_, features| -> Result<(), EstimateError> {
            net.predict(features, features.len() / image, &mut output).map_err(|error| self.failed("a net", error))?;
            all.extend_from_slice(&output);
            Ok(())
        })?;
        Ok(all)
    }

    /// The moments of the linear attack over at most `pairs` pairs of a position and its pixels.
    pub(super) fn ridge_moments(
        &self,
        pairs: usize,
        tell: &dyn Fn(f64) -> Result<(), EstimateError>,
    ) -> Result<RidgeMoments, EstimateError> {
        let Shape { height: side, channels: depth, .. } = self.input();
        let images = self.training.images;
        let mut moments = RidgeMoments::new(Geometry { side, depth, image_side: images.side() });
        let count = pairs.div_ceil(side * side).clamp(1, self.training.count);
        self.training.each(count, moments.batch(), |first, features| -> Result<(), EstimateError> {
            let n = features.len() / self.input().len();
            let size = images.side() * images.side() * 3;
            moments.add(features, &to_unit(&images.pixels()[first * size..(first + n) * size]));
            tell((first + n) as f64 / count as f64)
        })?;
        Ok(moments)
    }

    /// What a linear map makes of the features of the scored images.
    pub(super) fn map_scored(&self, map: &LinearMap) -> Result<Vec<f32>, EstimateError> {
        Self::map_on(&self.scored, map)
    }

    /// What a linear map makes of the features of the validation images.
    pub(super) fn map_validation(&self, map: &LinearMap) -> Result<Vec<f32>, EstimateError> {
        Self::map_on(&self.validation, map)
    }

    fn map_on(pairs: &Pairs<'_>, map: &LinearMap) -> Result<Vec<f32>, EstimateError> {
        let mut all = Vec::new();
        pairs.each(pairs.count, BATCH, |_, features| -> Result<(), EstimateError> {
            all.extend(map.apply(features));
            Ok(())
        })?;
        Ok(all)
    }

    fn failed(&self, what: &'static str, source: NnError) -> EstimateError {
        EstimateError::Training { what, design: self.design.clone(), source }
    }

    /// Labels of the scored images.
    pub(super) fn scored_labels(&self) -> &[u16] {
        &self.scored.images.labels()[..self.scored.count]
    }

    /// The scored images, `[n, side, side, 3]` in [0, 1].
    pub(super) fn scored_images(&self) -> Vec<f32> {
        self.scored.images()
    }

    /// The validation images, `[n, side, side, 3]` in [0, 1].
    pub(super) fn validation_images(&self) -> Vec<f32> {
        self.validation.images()
    }
}
