//! A design's features: some channels of a layer, or mixes of them, standardised.

use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::layer::decode;
use super::{FeatureError, LayerFeatures, Standardisation};
use crate::nn::Activation;
use crate::space::ChannelChoice;

/// What a design keeps of a layer's channels for the images of one part, standardised.
#[derive(Debug, Clone)]
pub struct FeatureView {
    features: Arc<LayerFeatures>,
    choice: ChannelChoice,
    standardisation: Standardisation,
}

impl FeatureView {
    /// The features that `choice` keeps, in its order, as they are.
    ///
    /// # Errors
    /// [`FeatureError::Channels`] for channels that the layer does not have, or none.
    pub fn new(features: Arc<LayerFeatures>, choice: &ChannelChoice) -> Result<Self, FeatureError> {
        let found = features.channels();
        if !choice.fits(found) {
            return Err(FeatureError::Channels { channels: choice.channels().unwrap_or(&[]).to_vec(), found });
        }
        Ok(FeatureView { features, choice: choice.clone(), standardisation: Standardisation::none(choice.depth()) })
    }

    /// The same standardised: by statistics of training images, whatever part this is of.
    pub fn standardised(self, standardisation: Standardisation) -> Self {
        Self { standardisation, ..self }
    }

    pub(super) fn check_rows(&self, wanted: usize) -> Result<(), FeatureError> {
        self.features.check_rows(wanted)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// Height and width of the maps.
    pub fn side(&self) -> usize {
        self.features.side()
    }

    /// Number of channels kept, or of mixes: D′.
    pub fn depth(&self) -> usize {
        self.choice.depth()
    }

    /// Mean and spread that the features are standardised by.
    pub fn standardisation(&self) -> &Standardisation {
        &self.standardisation
    }

    /// Writes the features of some images to `out`, `[rows, side, side, depth]`.
    ///
    /// # Errors
    /// [`FeatureError::Net`] or [`FeatureError::Overflow`], where features are computed.
    ///
    /// # Panics
    /// If `out` has another length, or a row is not below [`len`](Self::len).
    pub fn fill(&self, rows: &[usize], out: &mut [f32]) -> Result<(), FeatureError> {
        let size = self.side() * self.side() * self.depth();
        assert_eq!(out.len(), rows.len() * size, "a place for every feature");
        match &self.choice {
            ChannelChoice::Set(channels) => {
                let order = ChannelOrder::of(channels, self.features.channels());
                self.features.read(rows, out, |stored, out| {
                    let mut halves = Vec::with_capacity(size);
                    self.gather(stored, channels, &order, &mut halves);
                    halves.convert_to_f32_slice(out);
                    let scale = self.features.scale();
                    match self.features.activation() {
                        None => self.standardise(out, |value| value * scale),
                        // The scale is positive.
                        Some(Activation::Relu) => self.standardise(out, |value| value.max(0.0) * scale),
                        Some(activation) => self.standardise(out, |value| activation.at(value * scale)),
                    }
                })
            }
            ChannelChoice::Mix(mix) => self.features.read(rows, out, |stored, out| {
                let mut values = vec![0.0; stored.len() / size_of::<f16>()];
                self.features.values(stored, &mut values);
                mix.apply(&values, out);
                self.standardise(out, |value| value);
            }),
        }
    }

    /// The kept channels, `[side, side, depth]`, of an image's stored halves.
    fn gather(&self, stored: &[u8], channels: &[u16], order: &ChannelOrder, halves: &mut Vec<f16>) {
        let width = self.features.channels() * size_of::<f16>();
        match order {
            ChannelOrder::All => decode(stored, halves),
            ChannelOrder::Run { start } => {
                let run = start * size_of::<f16>()..(start + self.depth()) * size_of::<f16>();
                for position in stored.chunks_exact(width) {
                    let run = position[run.clone()].chunks_exact(2);
                    halves.extend(run.map(|pair| f16::from_le_bytes([pair[0], pair[1]])));
                }
            }
            ChannelOrder::Scattered => {
                for position in stored.chunks_exact(width) {
                    halves.extend(channels.iter().map(|&channel| {
                        let at = usize::from(channel) * size_of::<f16>();
                        f16::from_le_bytes([position[at], position[at + 1]])
                    }));
                }
            }
        }
    }

    /// Standardises what `activation` makes of each value.
    fn standardise(&self, out: &mut [f32], activation: impl Fn(f32) -> f32) {
        let Standardisation { mean, inverse_sd } = &self.standardisation;
        for position in out.chunks_exact_mut(self.depth()) {
            for ((value, mean), inverse_sd) in position.iter_mut().zip(mean).zip(inverse_sd) {
                *value = (activation(*value) - mean) * inverse_sd;
            }
        }
    }
}

/// How the kept channels lie in the layer: neighbours are copied faster.
#[derive(Debug, PartialEq, Eq)]
enum ChannelOrder {
    All,
    Run { start: usize },
    Scattered,
}

impl ChannelOrder {
    fn of(channels: &[u16], of: usize) -> Self {
        let neighbours = channels.windows(2).all(|pair| usize::from(pair[0]) + 1 == usize::from(pair[1]));
        match channels.first() {
            Some(0) if neighbours && channels.len() == of => ChannelOrder::All,
            Some(&start) if neighbours => ChannelOrder::Run { start: usize::from(start) },
            _ => ChannelOrder::Scattered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ChannelMoments;
    use super::super::fixtures::{layer_features, six};
    use super::*;
    use crate::space::Mix;

    #[test]
    fn fill_gives_the_channels_in_order_standardised_by_training_alone() {
        let (features, values) = six();
        let training = ChannelMoments::of(&features, 4).unwrap(); // images 4 and 5 play evaluation
        for channels in [vec![0, 1, 2], vec![1, 2], vec![1], vec![2, 0], vec![0, 2], vec![1, 0, 2]] {
            let by = training.standardise(&channels).unwrap();
            let Standardisation { mean, inverse_sd } = by.clone();
            let choice = ChannelChoice::Set(channels.clone());
            let view = FeatureView::new(features.clone(), &choice).unwrap().standardised(by);
            let rows = [5, 0, 5];
            let mut found = vec![f32::NAN; rows.len() * 4 * channels.len()];
            view.fill(&rows, &mut found).unwrap();
            let mut expected = Vec::new();
            for row in rows {
                for position in 0..4 {
                    for (d, &channel) in channels.iter().enumerate() {
                        let value = values[(row * 4 + position) * 3 + usize::from(channel)];
                        expected.push((value - mean[d]) * inverse_sd[d]);
                    }
                }
            }
            assert_eq!(found, expected, "{channels:?}");
        }
    }

    #[test]
    fn mixes_are_taken_before_the_relu_and_sets_after_it() {
        let values: Vec<f32> = (0..2 * 4 * 3).map(|i| i as f32 - 12.0).collect();
        let features = Arc::new(layer_features(2, 2, 3, &values));
        let mut found = vec![f32::NAN; 8];
        let mix = |relu| ChannelChoice::Mix(Mix::new(vec![1.0, -2.0, 0.5], vec![3.0], relu).unwrap());
        for (choice, expected) in [
            (mix(false), (|z: &[f32]| z[0] - 2.0 * z[1] + 0.5 * z[2] + 3.0) as fn(&[f32]) -> f32),
            (mix(true), |z| (z[0] - 2.0 * z[1] + 0.5 * z[2] + 3.0).max(0.0)),
            (ChannelChoice::Set(vec![1]), |z| z[1].max(0.0)),
        ] {
            let view = FeatureView::new(features.clone(), &choice).unwrap();
            view.fill(&[1, 0], &mut found).unwrap();
            let order = [&values[12..], &values[..12]].concat();
            assert_eq!(found, order.chunks_exact(3).map(expected).collect::<Vec<_>>(), "{choice:?}");
            // Its own moments are those of these values.
            let moments = ChannelMoments::of_view(&view, 2).unwrap();
            let mean = f64::from(found.iter().sum::<f32>()) / 8.0;
            assert!((moments.mean()[0] - mean).abs() < 1e-6);
        }
    }

    #[test]
    fn channels_that_do_not_exist_are_refused() {
        let (features, _) = six();
        let mix = |inputs| ChannelChoice::Mix(Mix::new(vec![1.0; inputs], vec![0.0], true).unwrap());
        for refused in [ChannelChoice::Set(vec![3]), ChannelChoice::Set(vec![]), mix(2), mix(4)] {
            assert!(FeatureView::new(features.clone(), &refused).is_err(), "{refused:?}");
        }
        assert!(FeatureView::new(features, &mix(3)).is_ok());
    }

    #[test]
    fn neighbours_are_recognised() {
        assert_eq!(ChannelOrder::of(&[0, 1, 2], 3), ChannelOrder::All);
        assert_eq!(ChannelOrder::of(&[0, 1, 2], 4), ChannelOrder::Run { start: 0 });
        assert_eq!(ChannelOrder::of(&[1, 2], 3), ChannelOrder::Run { start: 1 });
        assert_eq!(ChannelOrder::of(&[2, 1], 3), ChannelOrder::Scattered);
    }
}
