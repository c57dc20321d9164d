//! Mean and spread of every channel over training images, and the standardisation that they give.

use rayon::prelude::*;

use super::{FeatureError, FeatureView, LayerFeatures};

/// Images whose sums one thread forms; fixed, so that sums do not depend on the number of threads.
const BLOCK: usize = 16;
/// Blocks that stand in memory at a time.
const LOADED: usize = 8;
/// A channel's standard deviation counts as at least this share of that of all kept features.
const RELATIVE_FLOOR: f64 = 1e-3;
/// The standard deviation of all kept features counts as at least this.
const ABSOLUTE_FLOOR: f64 = 1e-6;

/// Mean and sum of squared deviations of every channel of a layer, over images and positions.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelMoments {
    /// Values per channel: images times positions.
    count: u64,
    mean: Vec<f64>,
    /// Sum of squared deviations from the mean.
    deviation: Vec<f64>,
}

impl ChannelMoments {
    /// Those of the first `n` images: give the training images that are used, and no others.
    ///
    /// # Errors
    /// [`FeatureError::Rows`] unless `n` is from 1 to the number of images.
    pub fn of(features: &LayerFeatures, n: usize) -> Result<Self, FeatureError> {
        features.check_rows(n)?;
        let positions = features.side() * features.side();
        Self::accumulate(n, positions, features.channels(), |rows, values| features.activations(rows, values))
    }

    /// Those of the features that a design keeps, as [`ChannelMoments::of`].
    ///
    /// # Errors
    /// As [`ChannelMoments::of`].
    pub fn of_view(view: &FeatureView, n: usize) -> Result<Self, FeatureError> {
        view.check_rows(n)?;
        let positions = view.side() * view.side();
        Self::accumulate(n, positions, view.depth(), |rows, values| {
            values.resize(rows.len() * positions * view.depth(), 0.0);
            view.fill(rows, values)
        })
    }

    /// The moments of `n` images whose values `read` gives.
    fn accumulate(
        n: usize,
        positions: usize,
        channels: usize,
        mut read: impl FnMut(&[usize], &mut Vec<f32>) -> Result<(), FeatureError>,
    ) -> Result<Self, FeatureError> {
        let rows: Vec<usize> = (0..n).collect();
        let mut values = Vec::new();
        let [mut mean, mut deviation] = [vec![0.0; channels], vec![0.0; channels]];
        for rows in rows.chunks(LOADED * BLOCK) {
            read(rows, &mut values)?;
            let blocks: Vec<[Vec<f64>; 2]> =
                values.par_chunks(BLOCK * positions * channels).map(|values| sums(values, channels)).collect();
            for [sum, square] in blocks {
                add(&mut mean, &sum);
                add(&mut deviation, &square);
            }
        }
        let count = (n * positions) as u64;
        for (mean, deviation) in mean.iter_mut().zip(&mut deviation) {
            *mean /= count as f64;
            *deviation = (*deviation - count as f64 * *mean * *mean).max(0.0);
        }
        Ok(ChannelMoments { count, mean, deviation })
    }

    /// Mean of each channel.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Unbiased standard deviation of each channel.
    pub fn standard_deviation(&self) -> Vec<f64> {
        self.deviation.iter().map(|deviation| unbiased(*deviation, self.count)).collect()
    }

    /// The standardisation of all channels: see [`standardise`](Self::standardise).
    ///
    /// # Errors
    /// As [`standardise`](Self::standardise).
    pub fn standardise_all(&self) -> Result<Standardisation, FeatureError> {
        self.standardise(&(0..self.mean.len()).map(|c| c as u16).collect::<Vec<_>>())
    }

    /// The standardisation of the kept channels, in their order: mean 0 and standard deviation 1 each, but for
    /// channels with less than a thousandth of the standard deviation of all kept features taken together.
    ///
    /// # Errors
    /// [`FeatureError::Channels`] for a channel that the layer does not have, or none.
    pub fn standardise(&self, channels: &[u16]) -> Result<Standardisation, FeatureError> {
        let found = self.mean.len();
        if channels.is_empty() || channels.iter().any(|&channel| usize::from(channel) >= found) {
            return Err(FeatureError::Channels { channels: channels.to_vec(), found });
        }
        let kept = || channels.iter().map(|&channel| usize::from(channel));
        let overall_mean = kept().map(|channel| self.mean[channel]).sum::<f64>() / channels.len() as f64;
        let overall_deviation: f64 = kept()
            .map(|channel| {
                let offset = self.mean[channel] - overall_mean;
                self.deviation[channel] + self.count as f64 * offset * offset
            })
            .sum();
        let overall = unbiased(overall_deviation, self.count * channels.len() as u64);
        let floor = RELATIVE_FLOOR * overall.max(ABSOLUTE_FLOOR);
        Ok(Standardisation {
            mean: kept().map(|channel| self.mean[channel] as f32).collect(),
            inverse_sd: kept()
                .map(|channel| (1.0 / unbiased(self.deviation[channel], self.count).max(floor)) as f32)
                .collect(),
        })
    }
}

/// Sum and sum of squares of each channel.
fn sums(values: &[f32], channels: usize) -> [Vec<f64>; 2] {
    let [mut sum, mut square] = [vec![0.0; channels], vec![0.0; channels]];
    for position in values.chunks_exact(channels) {
        for ((sum, square), &value) in sum.iter_mut().zip(&mut square).zip(position) {
            let value = f64::from(value);
            *sum += value;
            *square += value * value;
        }
    }
    [sum, square]
}

/// Standard deviation of `count` values from their sum of squared deviations.
fn unbiased(deviation: f64, count: u64) -> f64 {
    (deviation / count.saturating_sub(1).max(1) as f64).sqrt()
}

fn add(sum: &mut [f64], other: &[f64]) {
    for (sum, other) in sum.iter_mut().zip(other) {
        *sum += other;
    }
}

/// `(value − mean) · inverse_sd` per kept channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Standardisation {
    /// Mean of each kept channel.
    pub mean: Vec<f32>,
    /// One over the standard deviation of each kept channel.
    pub inverse_sd: Vec<f32>,
}

impl Standardisation {
    /// One that changes nothing, of so many channels.
    pub fn none(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], inverse_sd: vec![1.0; channels] }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{layer_features, six};
    use super::*;

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    fn close_f32(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (&found, expected) in found.iter().zip(expected) {
            assert!((f64::from(found) / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        }
    }

    const MEAN6: [f64; 3] = [8.625, 8.958333333333334, 5.0];
    const SD6: [f64; 3] = [6.882949948968102, 6.636389580688183, 0.0];

    // i = np.arange(72); x = ((i*i*7 + i) % 23).reshape(6, 4, 3).astype(float); x[:, :, 2] = 5
    // x.mean((0, 1)), x.std((0, 1), ddof=1), and the same of x[:4]
    #[test]
    fn moments_are_numpys() {
        let (features, _) = six();
        let moments = ChannelMoments::of(&features, 6).unwrap();
        close(moments.mean(), &MEAN6);
        close(&moments.standard_deviation(), &SD6);
        let moments = ChannelMoments::of(&features, 4).unwrap();
        close(moments.mean(), &[7.4375, 9.875, 5.0]);
        close(&moments.standard_deviation(), &[6.742588523705121, 6.955812916786458, 0.0]);
        assert!(ChannelMoments::of(&features, 7).is_err() && ChannelMoments::of(&features, 0).is_err());
    }

    // x[:, :, [1, 0, 2]].std(ddof=1)
    #[test]
    fn a_constant_channel_is_divided_by_a_thousandth_of_the_overall_spread() {
        let moments = ChannelMoments::of(&six().0, 6).unwrap();
        let found = moments.standardise(&[1, 0, 2]).unwrap();
        close_f32(&found.inverse_sd, &[1.0 / SD6[1], 1.0 / SD6[0], 1e3 / 5.733450703023987]);
        close_f32(&found.mean, &[MEAN6[1], MEAN6[0], 5.0]);
        let alone = moments.standardise(&[2]).unwrap();
        close_f32(&alone.inverse_sd, &[1e9]);
    }

    #[test]
    fn channels_that_do_not_exist_are_refused() {
        let moments = ChannelMoments::of(&six().0, 6).unwrap();
        let found = moments.standardise(&[0, 3]).unwrap_err().to_string();
        assert!(found.contains("channels [0, 3] cannot be kept of a layer with 3"), "{found}");
        assert!(moments.standardise(&[]).is_err());
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let values: Vec<f32> = (0..100 * 16 * 5).map(|i| (i as f32).sin().abs() * 900.0).collect();
        let features = layer_features(100, 4, 5, &values);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| ChannelMoments::of(&features, 99).unwrap())
        };
        assert_eq!(with(1), with(5));
    }
}
