//! A design's features: some channels of a layer, standardised.

use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::layer::decode;
use super::{ChannelMoments, FeatureError, LayerFeatures, Standardisation};

/// Kept channels of a layer for the images of one part, standardised by statistics of training images.
#[derive(Debug, Clone)]
pub struct FeatureView {
    features: Arc<LayerFeatures>,
    channels: Vec<u16>,
    standardisation: Standardisation,
}

impl FeatureView {
    /// The given channels, in this order. `training` are the moments of the training images at this layer, whatever
    /// part `features` are of.
    ///
    /// # Errors
    /// [`FeatureError::Channels`] for a channel that the layer does not have, or none.
    pub fn standardised_by(
        training: &ChannelMoments,
        features: Arc<LayerFeatures>,
        channels: &[u16],
    ) -> Result<Self, FeatureError> {
        let found = features.channels();
        if channels.iter().any(|&channel| usize::from(channel) >= found) {
            return Err(FeatureError::Channels { channels: channels.to_vec(), found });
        }
        let standardisation = training.standardise(channels)?;
        Ok(FeatureView { features, channels: channels.to_vec(), standardisation })
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

    /// Number of channels kept: D′.
    pub fn depth(&self) -> usize {
        self.channels.len()
    }

    /// The channels kept.
    pub fn channels(&self) -> &[u16] {
        &self.channels
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
        let order = ChannelOrder::of(&self.channels, self.features.channels());
        self.features.read(rows, out, |stored, out| {
            let mut halves = Vec::with_capacity(size);
            self.gather(stored, &order, &mut halves);
            halves.convert_to_f32_slice(out);
            self.standardise(out);
        })
    }

    /// The kept channels, `[side, side, depth]`, of an image's stored halves.
    fn gather(&self, stored: &[u8], order: &ChannelOrder, halves: &mut Vec<f16>) {
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
                    halves.extend(self.channels.iter().map(|&channel| {
                        let at = usize::from(channel) * size_of::<f16>();
                        f16::from_le_bytes([position[at], position[at + 1]])
                    }));
                }
            }
        }
    }

    fn standardise(&self, out: &mut [f32]) {
        let scale = self.features.scale();
        let Standardisation { mean, inverse_sd } = &self.standardisation;
        for position in out.chunks_exact_mut(self.depth()) {
            for ((value, mean), inverse_sd) in position.iter_mut().zip(mean).zip(inverse_sd) {
                *value = (*value * scale - mean) * inverse_sd;
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
    use super::super::fixtures::six;
    use super::*;

    #[test]
    fn fill_gives_the_channels_in_order_standardised_by_training_alone() {
        let (features, values) = six();
        let training = ChannelMoments::of(&features, 4).unwrap(); // images 4 and 5 play evaluation
        for channels in [vec![0, 1, 2], vec![1, 2], vec![1], vec![2, 0], vec![0, 2], vec![1, 0, 2]] {
            let view = FeatureView::standardised_by(&training, features.clone(), &channels).unwrap();
            let Standardisation { mean, inverse_sd } = training.standardise(&channels).unwrap();
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
    fn channels_that_do_not_exist_are_refused() {
        let (features, _) = six();
        let training = ChannelMoments::of(&features, 6).unwrap();
        assert!(FeatureView::standardised_by(&training, features.clone(), &[3]).is_err());
        assert!(FeatureView::standardised_by(&training, features, &[]).is_err());
    }

    #[test]
    fn neighbours_are_recognised() {
        assert_eq!(ChannelOrder::of(&[0, 1, 2], 3), ChannelOrder::All);
        assert_eq!(ChannelOrder::of(&[0, 1, 2], 4), ChannelOrder::Run { start: 0 });
        assert_eq!(ChannelOrder::of(&[1, 2], 3), ChannelOrder::Run { start: 1 });
        assert_eq!(ChannelOrder::of(&[2, 1], 3), ChannelOrder::Scattered);
    }
}
