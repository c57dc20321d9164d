//! How well single channels tell the classes apart: Fisher's linear discriminant.

use std::ops::Range;

use rayon::prelude::*;

use super::{FeatureError, LayerFeatures};

/// Bytes of sums that one thread works on, so that they stay in its cache.
const BLOCK_BYTES: usize = 1 << 18;
/// Bytes of sums that stand in memory.
const SLAB_BYTES: usize = 1 << 27;
/// Images that are read at a time.
const LOADED: usize = 64;

/// Scores of every channel of a layer, from training images and their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelScores {
    /// trace(between-class scatter) / trace(within-class scatter) over the channel's flattened map.
    pub fisher_map: Vec<f64>,
    /// The same of the channel's mean over positions.
    pub fisher_pooled: Vec<f64>,
    /// Channels that every image gives the same map, zero as a rule: never worth selecting.
    pub dead: Vec<bool>,
}

/// Traces of the scatter matrices of some features taken together.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scatter {
    /// Σ over classes of (images of the class) · (class mean − mean)².
    pub between: f64,
    /// Σ over images of (value − class mean)².
    pub within: f64,
}

impl Scatter {
    /// Fisher's criterion: between / within. 0 for a feature that never changes; infinite for one that differs between
    /// classes alone.
    pub fn fisher(self) -> f64 {
        if self.between > 0.0 { self.between / self.within } else { 0.0 }
    }

    fn add(&mut self, other: Scatter) {
        self.between += other.between;
        self.within += other.within;
    }
}

/// The scatter of one feature.
///
/// `class_sums` are its sums over the images of each class, `class_counts` the numbers of those images (classes without
/// images are passed over), `square_sum` the sum of its squares over all images.
pub fn scatter(class_sums: impl IntoIterator<Item = f64>, class_counts: &[u64], square_sum: f64) -> Scatter {
    let (mut sum, mut count, mut of_means) = (0.0, 0.0, 0.0);
    for (class_sum, &class_count) in class_sums.into_iter().zip(class_counts) {
        if class_count > 0 {
            sum += class_sum;
            count += class_count as f64;
            of_means += class_sum * class_sum / class_count as f64;
        }
    }
    let of_mean = if count > 0.0 { sum * sum / count } else { 0.0 };
    // Differences that are smaller than rounding leaves are none.
    let noise = 1e-12 * square_sum;
    let remove_noise = |value: f64| if value > noise { value } else { 0.0 };
    Scatter { between: remove_noise(of_means - of_mean), within: remove_noise(square_sum - of_means) }
}

/// Scores the channels by the first `labels.len()` images: those of the training part that are used.
///
/// # Errors
/// [`FeatureError::Rows`] for no labels or more than images; [`FeatureError::Label`].
pub fn channel_scores(features: &LayerFeatures, labels: &[u16], classes: usize) -> Result<ChannelScores, FeatureError> {
    features.check_rows(labels.len())?;
    let mut counts = vec![0_u64; classes];
    for &label in labels {
        *counts.get_mut(usize::from(label)).ok_or(FeatureError::Label { label, classes })? += 1;
    }
    let channels = features.channels();
    let positions = features.side() * features.side();
    // Threads take positions, not images, so that every sum is formed in the same order whatever the number of threads;
    // and all images are read once for as many positions as have their class sums in memory.
    let block = (BLOCK_BYTES / (classes * channels * size_of::<f64>())).clamp(1, positions);
    let slab = (SLAB_BYTES / BLOCK_BYTES).max(1) * block;
    let mut map = vec![Scatter::default(); channels];
    let mut dead = vec![true; channels];
    let mut means = vec![0.0; labels.len() * channels];
    for start in (0..positions).step_by(slab) {
        let mut blocks: Vec<Block> = (start..positions.min(start + slab))
            .step_by(block)
            .map(|start| Block::new(start..positions.min(start + block), classes, channels))
            .collect();
        let rows: Vec<usize> = (0..labels.len()).collect();
        let mut values = Vec::new();
        for rows in rows.chunks(LOADED) {
            features.activations(rows, &mut values)?;
            let labels = &labels[rows[0]..rows[0] + rows.len()];
            blocks.par_iter_mut().for_each(|block| block.add(&values, labels, channels, positions));
            if start == 0 {
                let means = &mut means[rows[0] * channels..][..rows.len() * channels];
                add_means(&values, channels, positions, means);
            }
        }
        for block in blocks {
            block.finish(&counts, &mut map, &mut dead);
        }
    }
    let pooled = pooled_scatter(&means, channels, labels, &counts);
    Ok(ChannelScores {
        fisher_map: map.into_iter().map(Scatter::fisher).collect(),
        fisher_pooled: pooled.into_iter().map(Scatter::fisher).collect(),
        dead,
    })
}

/// The sums of some positions.
struct Block {
    positions: Range<usize>,
    /// `[classes, positions, channels]`.
    class_sums: Vec<f64>,
    /// `[positions, channels]`.
    squares: Vec<f64>,
}

impl Block {
    fn new(positions: Range<usize>, classes: usize, channels: usize) -> Self {
        let size = positions.len() * channels;
        Block { positions, class_sums: vec![0.0; classes * size], squares: vec![0.0; size] }
    }

    /// Adds images, `[images, positions, channels]` of all `positions`.
    fn add(&mut self, values: &[f32], labels: &[u16], channels: usize, positions: usize) {
        let size = self.squares.len();
        for (image, &label) in values.chunks_exact(positions * channels).zip(labels) {
            let values = &image[self.positions.start * channels..][..size];
            let class_sums = &mut self.class_sums[usize::from(label) * size..][..size];
            for ((&value, sum), square) in values.iter().zip(class_sums).zip(&mut self.squares) {
                let value = f64::from(value);
                *sum += value;
                *square += value * value;
            }
        }
    }

    /// Adds the scatter of its features to their channels'; a channel that differs between images anywhere is not dead.
    fn finish(self, counts: &[u64], map: &mut [Scatter], dead: &mut [bool]) {
        let (size, channels) = (self.squares.len(), map.len());
        for (feature, &square) in self.squares.iter().enumerate() {
            let class_sums = self.class_sums.iter().skip(feature).step_by(size).copied();
            let scatter = scatter(class_sums, counts, square);
            map[feature % channels].add(scatter);
            dead[feature % channels] &= scatter == Scatter::default();
        }
    }
}

/// Adds the mean of each channel over the positions of each image to `means`, `[images, channels]`.
fn add_means(values: &[f32], channels: usize, positions: usize, means: &mut [f64]) {
    let images = values.par_chunks_exact(positions * channels);
    means.par_chunks_exact_mut(channels).zip(images).for_each(|(means, image)| {
        for position in image.chunks_exact(channels) {
            for (mean, &value) in means.iter_mut().zip(position) {
                *mean += f64::from(value) / positions as f64;
            }
        }
    });
}

/// The scatter of each channel's mean over positions; `means` is `[images, channels]`.
fn pooled_scatter(means: &[f64], channels: usize, labels: &[u16], counts: &[u64]) -> Vec<Scatter> {
    let mut class_sums = vec![0.0; counts.len() * channels];
    let mut squares = vec![0.0; channels];
    for (means, &label) in means.chunks_exact(channels).zip(labels) {
        let class_sums = &mut class_sums[usize::from(label) * channels..][..channels];
        for ((mean, sum), square) in means.iter().zip(class_sums).zip(&mut squares) {
            *sum += mean;
            *square += mean * mean;
        }
    }
    squares
        .iter()
        .enumerate()
        .map(|(channel, &square)| {
            let class_sums = class_sums.iter().skip(channel).step_by(channels).copied();
            scatter(class_sums, counts, square)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{layer_features, six};
    use super::*;

    // Values 1, 3 of one class and 5, 9 of another: means 2 and 7, overall 4.5.
    #[test]
    fn scatter_by_hand() {
        let found = scatter([4.0, 0.0, 14.0], &[2, 0, 2], 1.0 + 9.0 + 25.0 + 81.0);
        assert_eq!(found, Scatter { between: 2.0 * 2.5 * 2.5 * 2.0, within: 2.0 + 8.0 });
        assert_eq!(found.fisher(), 2.5);
    }

    #[test]
    fn features_that_do_not_vary_score_nothing() {
        let constant = 3.3_f64;
        let found = scatter([constant * 7.0, constant * 5.0], &[7, 5], constant * constant * 12.0);
        assert_eq!((found, found.fisher()), (Scatter::default(), 0.0));
        assert_eq!(scatter([2.0, 0.0], &[2, 2], 2.0).fisher(), f64::INFINITY);
        assert_eq!(scatter([], &[], 0.0), Scatter::default());
    }

    // y = np.array([0, 1, 0, 1, 2, 2]); x as in standardise.rs
    // def fisher(f):
    //     sb = sw = 0
    //     for c in range(3):
    //         k = f[y == c]; m = k.mean(0); sb = sb + ((m - f.mean(0))**2) * len(k); sw = sw + ((k - m)**2).sum(0)
    //     return sb, sw
    // sb, sw = fisher(x[:, :, :2]); sb.sum(0) / sw.sum(0)
    // sb, sw = fisher(x[:, :, :2].mean(1)); sb / sw
    #[test]
    fn scores_are_numpys() {
        let found = channel_scores(&six().0, &[0, 1, 0, 1, 2, 2], 3).unwrap();
        for (found, expected) in [
            (&found.fisher_map, [0.5235100329439952, 0.8032128514056225]),
            (&found.fisher_pooled, [1.1083844580777096, 0.9453183520599251]),
        ] {
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-9, "{found} {expected}");
            }
            assert_eq!(found[2], 0.0);
        }
        assert_eq!(found.dead, [false, false, true], "a constant tells nothing");
    }

    #[test]
    fn dead_channels_are_told() {
        let values: Vec<f32> = (0..2 * 4 * 3).map(|i| if i % 3 == 1 { 0.0 } else { i as f32 }).collect();
        let features = layer_features(2, 2, 3, &values);
        let found = channel_scores(&features, &[0, 1], 2).unwrap();
        assert_eq!(found.dead, [false, true, false]);
        assert_eq!(found.fisher_map[1], 0.0);
    }

    #[test]
    fn labels_must_fit_images_and_classes() {
        let (features, _) = six();
        assert!(matches!(channel_scores(&features, &[0; 7], 1), Err(FeatureError::Rows { .. })));
        let found = channel_scores(&features, &[0, 3], 3).unwrap_err().to_string();
        assert_eq!(found, "label 3 is not one of 3 classes");
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let values: Vec<f32> = (0..50 * 64 * 300).map(|i| (i as f32).sin().abs()).collect();
        let features = layer_features(50, 8, 300, &values);
        let labels: Vec<u16> = (0..50).map(|i| i % 10).collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| channel_scores(&features, &labels, 10).unwrap())
        };
        assert_eq!(with(1), with(5));
    }
}
