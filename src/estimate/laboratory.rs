//! The images and features that every estimator shares, and one design's view of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use crate::backbone::Backbone;
use crate::data::{ImageSet, Part, Parts, Region};
use crate::estimate::bench::{Bench, Pairs, to_unit};
use crate::estimate::{EstimateError, Request};
use crate::features::{
    ChannelMoments, Extraction, FeatureCache, FeatureError, FeatureView, LayerFeatures, Origin, Standardisation,
    channel_scores,
};
use crate::identify::Signatures;
use crate::metrics::{Floor, Images, MetricsError, mean_squared_errors, psnr_from_mse};
use crate::mixing::MixingMoments;
use crate::nn::Device;
use crate::protocol::ScoredPart;
use crate::proxy::{LayerMoments, MomentsBuilder};
use crate::space::{ChannelChoice, Design, LayerInsight, MixInsight, Selection};

/// Images for second moments of channels and pixels: enough for 256 channels over thousands of positions.
const PIXEL_IMAGES: usize = 1_000;

/// Images for moments by class and of pools, of which an image has few.
const CLASS_IMAGES: usize = 4_000;

/// Images that are held in double precision at a time.
const CHUNK: usize = 8;

/// Images, the backbone with its cached features, and the device that trains.
#[derive(Debug)]
pub struct Laboratory {
    parts: Parts,
    backbone: Backbone,
    cache: FeatureCache,
    device: Device,
    /// Layers whose features are computed whenever they are read.
    computed: RwLock<BTreeSet<String>>,
    /// Features that some design is measured on.
    open: Mutex<HashMap<(String, Part), Weak<LayerFeatures>>>,
    /// Moments of the first n training images at a layer, or of a design's mixes.
    moments: Mutex<HashMap<(String, usize), Arc<ChannelMoments>>>,
}

/// PSNR that an attacker reaches without any features, mean over the evaluation images, dB.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Floors {
    /// One image for all: the mean of the evaluation images.
    pub best_constant: f64,
    /// Each image's mean colour.
    pub mean_colour: f64,
    /// Each image's 8×8 thumbnail.
    pub thumbnail: f64,
}

impl Floors {
    /// Those on `set`'s images.
    ///
    /// # Errors
    /// [`MetricsError`] where there are no images.
    pub fn of(set: &ImageSet) -> Result<Self, MetricsError> {
        let (side, content) = (set.side(), set.content());
        let pixels = to_unit(set.pixels());
        let images = Images::new(&pixels, [set.len(), side, side, 3])?
            .crop(content.top..content.top + content.height, content.left..content.left + content.width)?;
        let score = |floor: Floor| -> Result<f64, MetricsError> {
            let guess = floor.reconstruct(&images)?;
            let errors = mean_squared_errors(&Images::new(&guess, images.shape())?, &images)?;
            let sum: f64 = errors.iter().map(|&e| psnr_from_mse(e)).sum();
            Ok(sum / errors.len() as f64)
        };
        Ok(Floors {
            best_constant: score(Floor::BestConstant)?,
            mean_colour: score(Floor::MeanColour)?,
            thumbnail: score(Floor::Thumbnail)?,
        })
    }
}

impl Laboratory {
    /// A laboratory on `parts`; [`Laboratory::prepare`] fills `cache` before anything is measured.
    pub fn new(parts: Parts, backbone: Backbone, cache: FeatureCache, device: Device) -> Self {
        Self {
            parts,
            backbone,
            cache,
            device,
            computed: RwLock::default(),
            open: Mutex::default(),
            moments: Mutex::default(),
        }
    }

    /// Computes the features of `layers` that the cache lacks and should keep; `progress` is told a fraction.
    ///
    /// # Errors
    /// [`FeatureError`], also where `interrupt` is set.
    pub fn prepare(
        &self,
        layers: &[&str],
        interrupt: &AtomicBool,
        progress: &mut dyn FnMut(f64),
    ) -> Result<(), FeatureError> {
        let sets = [&self.parts.training, &self.parts.validation, &self.parts.evaluation];
        let total: usize = sets.iter().map(|set| set.len()).sum();
        let origins = self.cache.origins(&self.backbone, layers, self.image_side(), total)?;
        let of = |origin| {
            let all = layers.iter().zip(&origins);
            all.filter(move |&(_, &o)| o == origin).map(|(&layer, _)| layer).collect::<Vec<&str>>()
        };
        let kept = of(Origin::Kept);
        self.cache.make_room(&self.backbone, &kept, &sets)?;
        self.computed
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(of(Origin::Computed).into_iter().map(str::to_owned));
        let mut before = 0;
        for images in sets {
            self.cache.ensure(&mut Extraction {
                backbone: &self.backbone,
                images,
                layers: &kept,
                device: self.device,
                interrupt,
                progress: &mut |done, _| progress((before + done) as f64 / total.max(1) as f64),
            })?;
            before += images.len();
        }
        Ok(())
    }

    /// The features of a part at a layer that was [`prepare`](Self::prepare)d; those in use are shared, so that their pages
    /// count once however many designs are measured.
    fn features(&self, layer: &str, images: &ImageSet) -> Result<Arc<LayerFeatures>, FeatureError> {
        self.shared(layer, images, || {
            let compute = || LayerFeatures::compute(&self.backbone, layer, images, self.device);
            match self.computed.read().unwrap_or_else(PoisonError::into_inner).contains(layer) {
                true => compute(),
                // Somebody may have removed them since, for room or by hand: no reason for a measurement to fail.
                false => self.cache.open(&self.backbone, layer, images).or_else(|error| match error {
                    FeatureError::NotCached { .. } | FeatureError::Io { .. } => compute(),
                    error => Err(error),
                }),
            }
        })
    }

    /// The features known as `name` of a part: those that somebody holds, or new ones.
    fn shared(
        &self,
        name: &str,
        images: &ImageSet,
        make: impl FnOnce() -> Result<LayerFeatures, FeatureError>,
    ) -> Result<Arc<LayerFeatures>, FeatureError> {
        // Held while they are made: designs that begin together want the same ones. What is computed in parallel meanwhile
        // never comes back here.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), images.part());
        if let Some(features) = open.get(&key).and_then(Weak::upgrade) {
            return Ok(features);
        }
        let features = Arc::new(make()?);
        open.insert(key, Arc::downgrade(&features));
        Ok(features)
    }

    /// What the device uploads of a part's images; shared as [`features`](Self::features) are.
    fn uploaded(&self, design: &Design, images: &ImageSet) -> Result<Arc<LayerFeatures>, FeatureError> {
        self.shared(design.id().as_str(), images, || {
            LayerFeatures::of_local_net(&self.backbone, &design.split, &design.channels, images, self.device)
        })
    }

    /// What is known in closed form of `layer`'s channels, from training images alone; of those of `selections` that mix
    /// them, the mixes up to `depth`.
    ///
    /// # Errors
    /// [`FeatureError`] where the features were not prepared.
    pub fn insight(&self, layer: &str, selections: &[Selection], depth: usize) -> Result<LayerInsight, FeatureError> {
        let set = &self.parts.training;
        let features = self.features(layer, set)?;
        let scores = channel_scores(&features, set.labels(), self.classes())?;
        let all = ChannelChoice::Set((0..features.channels()).map(|c| c as u16).collect());
        let moments = self.layer_moments(FeatureView::new(Arc::clone(&features), &all)?)?;
        let mixing: Vec<(Selection, f64, bool)> = (selections.iter())
            .filter_map(|&selection| selection.mixing().map(|(weight, relu)| (selection, weight, relu)))
            .collect();
        let mut mixes = Vec::new();
        if !mixing.is_empty() && self.backbone.layer(layer)?.mixable {
            let known = self.mixing_moments(&features)?;
            for (selection, weight, relu) in mixing {
                // A layer whose values are no numbers has no mixes; its other designs will say what is wrong.
                let Some(mix) = known.solve(weight, depth.min(features.channels()), relu) else {
                    continue;
                };
                let view = FeatureView::new(Arc::clone(&features), &ChannelChoice::Mix(mix.clone()))?;
                mixes.push(MixInsight { selection, mix, moments: self.layer_moments(view)? });
            }
        }
        Ok(LayerInsight { scores, moments, mixes })
    }

    /// Second moments of training features that are not standardised yet, of pixels and classes.
    fn layer_moments(&self, view: FeatureView) -> Result<LayerMoments, FeatureError> {
        let set = &self.parts.training;
        let moments = ChannelMoments::of_view(&view, set.len().min(PIXEL_IMAGES))?;
        let view = view.standardised(moments.standardise_all()?);
        let size = view.side() * view.side() * view.depth();
        let mut builder = MomentsBuilder::new(view.side(), view.depth(), set.side(), self.classes());
        let mut values = Vec::new();
        self.each_training_chunk(|rows, labels, pixels| {
            values.resize(rows.len() * size, 0.0);
            view.fill(rows, &mut values)?;
            if let Some(pixels) = pixels {
                builder.add_pixels(&values, pixels);
            }
            builder.add_classes(&values, labels);
            Ok(())
        })?;
        let content = self.content();
        Ok(builder.finish((content.height * content.width) as f64 / (set.side() * set.side()) as f64))
    }

    /// Second moments of training features before the ReLU.
    fn mixing_moments(&self, features: &LayerFeatures) -> Result<MixingMoments, FeatureError> {
        let side = self.parts.training.side();
        let mut moments = MixingMoments::new(features.side(), features.channels(), side, self.classes());
        let mut values = Vec::new();
        self.each_training_chunk(|rows, labels, pixels| {
            features.preactivations(rows, &mut values)?;
            if let Some(pixels) = pixels {
                moments.add_pixels(&values, pixels);
            }
            moments.add_classes(&values, labels);
            Ok(())
        })?;
        Ok(moments)
    }

    /// Calls `visit` with rows of a few training images at a time, their labels, and, for the first of all, their pixels.
    fn each_training_chunk(
        &self,
        mut visit: impl FnMut(&[usize], &[u16], Option<&[f32]>) -> Result<(), FeatureError>,
    ) -> Result<(), FeatureError> {
        let set = &self.parts.training;
        let rows: Vec<usize> = (0..set.len().min(CLASS_IMAGES)).collect();
        for rows in rows.chunks(CHUNK) {
            let wanted = rows[0] < PIXEL_IMAGES;
            let pixels = wanted.then(|| rows.iter().flat_map(|&row| to_unit(set.image(row))).collect::<Vec<f32>>());
            visit(rows, &set.labels()[rows[0]..rows[0] + rows.len()], pixels.as_deref())?;
        }
        Ok(())
    }

    /// The channels that an attacker takes a design's features for, who has them for the evaluation images and runs training
    /// images through the whole layer; `None` for mixes, which are taken as known: they follow from public images.
    ///
    /// # Errors
    /// [`FeatureError`] where the features were not prepared.
    pub fn guess_channels(&self, design: &Design) -> Result<Option<ChannelChoice>, FeatureError> {
        if design.channels.channels().is_none() {
            return Ok(None);
        }
        let signatures = |images: &ImageSet, channels: Option<&ChannelChoice>| -> Result<Signatures, FeatureError> {
            let features = self.features(&design.split, images)?;
            let all = ChannelChoice::Set((0..features.channels() as u16).collect());
            let view = FeatureView::new(features, channels.unwrap_or(&all))?;
            let mut found = Signatures::new(view.side(), view.depth());
            let rows: Vec<usize> = (0..images.len().min(PIXEL_IMAGES)).collect();
            let mut values = Vec::new();
            for rows in rows.chunks(CHUNK) {
                values.resize(rows.len() * view.side() * view.side() * view.depth(), 0.0);
                view.fill(rows, &mut values)?;
                found.add(&values);
            }
            Ok(found)
        };
        let seen = signatures(&self.parts.evaluation, Some(&design.channels))?;
        Ok(Some(ChannelChoice::Set(seen.identify(&signatures(&self.parts.training, None)?))))
    }

    /// How a design's features are standardised: by the first `n` training images.
    fn standardisation(&self, design: &Design, n: usize) -> Result<Standardisation, FeatureError> {
        let features = || self.features(&design.split, &self.parts.training);
        match design.channels.channels() {
            // All designs at a layer share its moments.
            Some(channels) => {
                self.training_moments(&design.split, n, || ChannelMoments::of(&*features()?, n))?.standardise(channels)
            }
            None => {
                let of_mixes = || ChannelMoments::of_view(&FeatureView::new(features()?, &design.channels)?, n);
                self.training_moments(design.id().as_str(), n, of_mixes)?.standardise_all()
            }
        }
    }

    /// Moments of the first `n` training images that are known as `name`; computed once.
    fn training_moments(
        &self,
        name: &str,
        n: usize,
        compute: impl FnOnce() -> Result<ChannelMoments, FeatureError>,
    ) -> Result<Arc<ChannelMoments>, FeatureError> {
        // Held while they are computed: designs at one layer that begin together want the same ones. What is computed in
        // parallel meanwhile never comes back here.
        let mut known = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), n);
        if let Some(found) = known.get(&key) {
            return Ok(Arc::clone(found));
        }
        let moments = Arc::new(compute()?);
        known.insert(key, Arc::clone(&moments));
        Ok(moments)
    }

    /// The backbone.
    pub fn backbone(&self) -> &Backbone {
        &self.backbone
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.parts.class_names.len()
    }

    /// Side of the images, padding included.
    pub fn image_side(&self) -> usize {
        self.parts.evaluation.side()
    }

    /// The true pixels inside the padding.
    pub fn content(&self) -> Region {
        self.parts.evaluation.content()
    }

    /// The images.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What an attacker reaches on the evaluation images without any features.
    ///
    /// # Errors
    /// [`MetricsError`] where there are no images.
    pub fn floors(&self) -> Result<Floors, MetricsError> {
        Floors::of(&self.parts.evaluation)
    }

    /// The images and features of one measurement.
    pub(super) fn bench(&self, request: &Request<'_>) -> Result<Bench<'_>, EstimateError> {
        let split = &request.design.split;
        let limit = |set: &ImageSet, wanted: Option<usize>| wanted.map_or(set.len(), |n| n.min(set.len()));
        let n_training = limit(&self.parts.training, request.protocol.training_images);
        let attacked = Design { split: split.clone(), channels: request.attacked().clone() };
        let standardisation = self.standardisation(&attacked, n_training)?;
        // A claim is about what the device uploads: filters into which a mix was folded are rounded, and rounded otherwise than the
        // mix of the layer's own features is, which the search makes do with.
        let shipped = request.protocol.scored_part == ScoredPart::Evaluation;
        let pairs = |images, channels: &ChannelChoice, count| -> Result<Pairs<'_>, EstimateError> {
            let view = match channels {
                ChannelChoice::Mix(_) if shipped => {
                    let all = ChannelChoice::Set((0..channels.depth() as u16).collect());
                    FeatureView::new(self.uploaded(request.design, images)?, &all)?
                }
                _ => FeatureView::new(self.features(split, images)?, channels)?,
            };
            Ok(Pairs { view: view.standardised(standardisation.clone()), images, count })
        };
        let scored = match request.protocol.scored_part {
            ScoredPart::Validation => &self.parts.validation,
            ScoredPart::Evaluation => &self.parts.evaluation,
        };
        Ok(Bench {
            training: pairs(&self.parts.training, &attacked.channels, n_training)?,
            validation: pairs(&self.parts.validation, &attacked.channels, self.parts.validation.len())?,
            scored: pairs(scored, &request.design.channels, limit(scored, request.protocol.scored_images))?,
            device: self.device,
            design: request.design.id().to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Part, Region};

    fn images(part: Part, n: usize) -> ImageSet {
        let pixel = |i: usize| (i * i * 31 + i * 17 + part.name().len()) as u8;
        let labels = (0..n).map(|i| (i % 2) as u16).collect();
        ImageSet::new(part, 16, Region::full(16), (0..n * 16 * 16 * 3).map(pixel).collect(), labels).unwrap()
    }

    #[test]
    fn features_that_somebody_removed_are_computed_again() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::new(
            images(Part::Training, 20),
            images(Part::Validation, 4),
            images(Part::Evaluation, 4),
            vec!["a".to_owned(), "b".to_owned()],
        );
        let backbone =
            crate::backbone::vgg16_with(2, |_, at, bias| if bias { 0.1 } else { ((at % 13) as f32 - 6.0) / 99.0 });
        let laboratory = Laboratory::new(parts, backbone, FeatureCache::new(folder.path()), Device::Cpu);
        laboratory.prepare(&["conv1_2"], &AtomicBool::new(false), &mut |_| {}).unwrap();
        let scores = || format!("{:?}", laboratory.insight("conv1_2", &[Selection::First], 4).unwrap().scores);
        let before = scores();
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let features: Vec<_> = files.filter(|file| file.extension().is_some_and(|ending| ending == "f16")).collect();
        assert_eq!(features.len(), 3);
        features.iter().for_each(|file| std::fs::remove_file(file).unwrap());
        assert_eq!(scores(), before);
    }
}
