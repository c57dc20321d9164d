//! Closed-form stand-ins for leakage and utility of *any* channel subset of a layer, without training.
//!
//! One pass over a layer's features accumulates second moments for all its channels; each subset is then a
//! sub-matrix solve. The numbers are inputs of the predictive models, never results: what a user reads is
//! always measured or predicted from measurements.
//!
//! - Leakage: ridge regression from the D′ features at a position to the block of pixels under it, weights
//!   shared over positions (the linear attack with a 1×1 neighbourhood), as PSNR of its pooled error in dB.
//! - Utility: the trace of between-class scatter in the metric of total scatter, `tr(Mᵀ T⁻¹ M)`, of features
//!   pooled over the four quarters of the map (the multivariate form of Fisher's linear discriminant): a cloud net sees
//!   where something is, not only that it is there.

mod explained;

use faer::Mat;

use explained::explained;

pub use explained::Workspace;

/// Ridge added to the features' correlation matrix: features are standardised, so this is a share of their variance.
const RIDGE: f64 = 1e-3;

/// Ridge added to the scatter of pooled features, as a share of their variance. There is one of them per image and quarter,
/// not one per position, so that noise must be kept from being explained.
const POOLED_RIDGE: f64 = 3e-2;

/// Parts of a map's side that features are pooled over.
const POOLS: usize = 2;

/// The closed-form stand-ins of one set of channels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proxies {
    /// PSNR of a linear map from single positions, dB: a stand-in for leakage.
    pub linear_attack: f64,
    /// Class separation of the pooled channels: a stand-in for utility.
    pub class_separation: f64,
}

/// Second moments of one layer's standardised features, of the pixels under them and of the classes.
#[derive(Debug, Clone)]
pub struct LayerMoments {
    channels: usize,
    /// E[f fᵀ] over images and positions, `[C, C]`.
    feature_feature: Mat<f64>,
    /// E[f pᵀ], `[C, B]`, of mean-free pixel blocks p.
    feature_pixel: Mat<f64>,
    /// E[p²], `[B]`.
    pixel_square: Vec<f64>,
    /// Share of the pixels that are the image's own, not padding.
    content_share: f64,
    /// Pools per channel.
    pools: usize,
    /// Total scatter of pooled features, `[C·pools, C·pools]`: a channel's pools are neighbours.
    pooled_total: Mat<f64>,
    /// Square-root-weighted class means of pooled features, `[C·pools, K]`.
    class_means: Mat<f64>,
}

/// Accumulates [`LayerMoments`] image by image.
#[derive(Debug)]
pub struct MomentsBuilder {
    channels: usize,
    side: usize,
    block: usize,
    classes: usize,
    images: usize,
    positions: usize,
    feature_feature: Mat<f64>,
    feature_pixel: Mat<f64>,
    pixel_sum: Vec<f64>,
    pixel_square: Vec<f64>,
    feature_sum: Vec<f64>,
    pools: usize,
    pooled: Mat<f64>,
    pooled_sum: Vec<f64>,
    class_sum: Mat<f64>,
    class_count: Vec<usize>,
}

impl MomentsBuilder {
    /// For features `[side, side, channels]` of RGB images of `image_side`, a multiple of `side`.
    pub fn new(side: usize, channels: usize, image_side: usize, classes: usize) -> Self {
        let block = image_side / side;
        let pixels = block * block * 3;
        let pools = if side.is_multiple_of(POOLS) { POOLS * POOLS } else { 1 };
        Self {
            channels,
            side,
            block,
            classes,
            images: 0,
            positions: 0,
            feature_feature: Mat::zeros(channels, channels),
            feature_pixel: Mat::zeros(channels, pixels),
            pixel_sum: vec![0.0; pixels],
            pixel_square: vec![0.0; pixels],
            feature_sum: vec![0.0; channels],
            pools,
            pooled: Mat::zeros(channels * pools, channels * pools),
            pooled_sum: vec![0.0; channels * pools],
            class_sum: Mat::zeros(channels * pools, classes),
            class_count: vec![0; classes],
        }
    }

    /// Adds images to the moments of features and pixels: `features` `[n, side, side, C]` standardised per channel,
    /// `pixels` `[n, H, W, 3]` in [0, 1].
    pub fn add_pixels(&mut self, features: &[f32], pixels: &[f32]) {
        let (side, block, channels) = (self.side, self.block, self.channels);
        let (positions, image_side) = (side * side, side * block);
        let rows = features.len() / channels;
        // Column-major [C, rows] is the features' own memory order.
        let f = Mat::from_fn(channels, rows, |c, r| f64::from(features[r * channels + c]));
        let mut p = Mat::<f64>::zeros(self.pixel_sum.len(), rows);
        for (r, mut column) in p.col_iter_mut().enumerate() {
            let (image, y, x) = (r / positions, r % positions / side, r % side);
            for dy in 0..block {
                for dx in 0..block {
                    for colour in 0..3 {
                        let at = ((image * image_side + y * block + dy) * image_side + x * block + dx) * 3;
                        column[(dy * block + dx) * 3 + colour] = f64::from(pixels[at + colour]);
                    }
                }
            }
            for (b, &value) in column.iter().enumerate() {
                self.pixel_sum[b] += value;
                self.pixel_square[b] += value * value;
            }
        }
        for (c, sum) in self.feature_sum.iter_mut().enumerate() {
            *sum += (0..rows).map(|r| f[(c, r)]).sum::<f64>();
        }
        self.feature_feature += &f * f.transpose();
        self.feature_pixel += &f * p.transpose();
        self.positions += rows;
    }

    /// Adds `labels.len()` images to the moments of features and classes: `features` as in
    /// [`add_pixels`](Self::add_pixels).
    pub fn add_classes(&mut self, features: &[f32], labels: &[u16]) {
        let (side, channels, pools) = (self.side, self.channels, self.pools);
        let across = pools.isqrt();
        let share = 1.0 / (side * side / pools) as f64;
        let mut pooled = Mat::<f64>::zeros(channels * pools, labels.len());
        for (image, features) in features.chunks_exact(side * side * channels).enumerate() {
            for (position, features) in features.chunks_exact(channels).enumerate() {
                let (row, column) = (position / side, position % side);
                let pool = row * across / side * across + column * across / side;
                for (c, &value) in features.iter().enumerate() {
                    pooled[(c * pools + pool, image)] += f64::from(value) * share;
                }
            }
        }
        for (image, &label) in labels.iter().enumerate() {
            let class = usize::from(label).min(self.classes - 1);
            for i in 0..channels * pools {
                self.pooled_sum[i] += pooled[(i, image)];
                self.class_sum[(i, class)] += pooled[(i, image)];
            }
            self.class_count[class] += 1;
        }
        self.pooled += &pooled * pooled.transpose();
        self.images += labels.len();
    }

    /// The moments of all images added.
    ///
    /// `content_share` is the share of the pixels that are the image's own, not padding.
    pub fn finish(self, content_share: f64) -> LayerMoments {
        let (n, rows) = (self.images.max(1) as f64, self.positions.max(1) as f64);
        let c = self.channels;
        let feature_mean: Vec<f64> = self.feature_sum.iter().map(|s| s / rows).collect();
        let pixel_mean: Vec<f64> = self.pixel_sum.iter().map(|s| s / rows).collect();
        let pooled_mean: Vec<f64> = self.pooled_sum.iter().map(|s| s / n).collect();
        LayerMoments {
            channels: c,
            content_share,
            feature_feature: Mat::from_fn(c, c, |i, j| {
                self.feature_feature[(i, j)] / rows - feature_mean[i] * feature_mean[j]
            }),
            feature_pixel: Mat::from_fn(c, pixel_mean.len(), |i, j| {
                self.feature_pixel[(i, j)] / rows - feature_mean[i] * pixel_mean[j]
            }),
            pixel_square: (self.pixel_square.iter().zip(&pixel_mean))
                .map(|(square, mean)| square / rows - mean * mean)
                .collect(),
            pools: self.pools,
            pooled_total: Mat::from_fn(pooled_mean.len(), pooled_mean.len(), |i, j| {
                self.pooled[(i, j)] / n - pooled_mean[i] * pooled_mean[j]
            }),
            class_means: Mat::from_fn(pooled_mean.len(), self.classes, |i, k| {
                let count = self.class_count[k] as f64;
                let mean = if count > 0.0 { self.class_sum[(i, k)] / count } else { pooled_mean[i] };
                (mean - pooled_mean[i]) * (count / n).sqrt()
            }),
        }
    }
}

/// Covariance of some features, and with their targets, given those that were taken. A channel is a group of `width`
/// neighbouring features.
struct Residual {
    width: usize,
    covariance: Mat<f64>,
    cross: Mat<f64>,
}

impl Residual {
    fn new(covariance: &Mat<f64>, cross: &Mat<f64>, width: usize, channels: &[u16], ridge: f64) -> Self {
        let at = |i: usize| usize::from(channels[i / width]) * width + i % width;
        let n = channels.len() * width;
        let scale = (0..n).map(|i| covariance[(at(i), at(i))]).sum::<f64>() / n.max(1) as f64;
        let ridge = (ridge * scale).max(1e-12);
        Self {
            width,
            covariance: Mat::from_fn(n, n, |i, j| covariance[(at(i), at(j))] + if i == j { ridge } else { 0.0 }),
            cross: Mat::from_fn(n, cross.ncols(), |i, j| cross[(at(i), j)]),
        }
    }

    /// What a channel would explain of the targets beyond those taken.
    fn gain(&self, channel: usize, workspace: &mut Workspace) -> f64 {
        let group: Vec<usize> = (channel * self.width..(channel + 1) * self.width).collect();
        explained(&self.covariance, &self.cross, &group, 0.0, workspace)
    }

    /// Conditions everything on a channel.
    fn take(&mut self, channel: usize) {
        (channel * self.width..(channel + 1) * self.width).for_each(|feature| self.condition(feature));
    }

    fn condition(&mut self, feature: usize) {
        let pivot = self.covariance[(feature, feature)];
        let column: Vec<f64> = (0..self.covariance.nrows()).map(|i| self.covariance[(i, feature)]).collect();
        for (j, from) in column.iter().enumerate() {
            for (i, value) in column.iter().enumerate() {
                self.covariance[(i, j)] -= value * from / pivot;
            }
        }
        // A taken feature keeps a variance, so that no division is by zero.
        self.covariance[(feature, feature)] = pivot;
        for j in 0..self.cross.ncols() {
            let factor = self.cross[(feature, j)] / pivot;
            for (i, value) in column.iter().enumerate() {
                self.cross[(i, j)] -= value * factor;
            }
        }
    }
}

impl LayerMoments {
    /// PSNR in dB of the pooled error of the linear attack on the channels `subset`, or less: errors on the padding are
    /// counted as if they were on the image.
    pub fn linear_attack_psnr(&self, subset: &[u16]) -> f64 {
        self.linear_attack(subset, &mut Workspace::default())
    }

    /// Class separation of the spatially pooled channels `subset`, between 0 and the number of classes − 1.
    pub fn class_separation(&self, subset: &[u16]) -> f64 {
        self.separation(subset, &mut Workspace::default())
    }

    /// [`linear_attack_psnr`](Self::linear_attack_psnr) and [`class_separation`](Self::class_separation), for one subset after
    /// another in the same memory.
    pub fn proxies(&self, subset: &[u16], workspace: &mut Workspace) -> Proxies {
        Proxies {
            linear_attack: self.linear_attack(subset, workspace),
            class_separation: self.separation(subset, workspace),
        }
    }

    fn linear_attack(&self, subset: &[u16], workspace: &mut Workspace) -> f64 {
        let total: f64 = self.pixel_square.iter().sum();
        let left = total - self.explained_pixels(subset, workspace);
        let mse = left.max(total * 1e-6) / (self.pixel_square.len().max(1) as f64 * self.content_share);
        -10.0 * mse.max(1e-10).log10()
    }

    /// The part of the pixels' variance that a linear map explains.
    fn explained_pixels(&self, subset: &[u16], workspace: &mut Workspace) -> f64 {
        explained(&self.feature_feature, &self.feature_pixel, &self.indices(subset, 1), RIDGE, workspace)
    }

    fn separation(&self, subset: &[u16], workspace: &mut Workspace) -> f64 {
        let features = self.indices(subset, self.pools);
        explained(&self.pooled_total, &self.class_means, &features, POOLED_RIDGE, workspace)
    }

    /// `count` channels of `live`, each the one that adds most to
    ///
    /// ```text
    /// separation(S) / separation(all) − weight · leakage(S) / leakage(all)
    /// ```
    ///
    /// where leakage is the share of the pixels' variance that the set explains linearly. What a channel adds is counted
    /// given those before it, so that redundant channels add nothing; sets of one weight are nested. Forward selection of
    /// least squares (Chen, Billings and Luo, 1989), with a second target that counts against.
    pub fn balanced(&self, live: &[u16], weight: f64, count: usize) -> Vec<u16> {
        let mut classes = Residual::new(&self.pooled_total, &self.class_means, self.pools, live, POOLED_RIDGE);
        let mut pixels = Residual::new(&self.feature_feature, &self.feature_pixel, 1, live, RIDGE);
        let utility = self.class_separation(live).max(f64::MIN_POSITIVE);
        let mut workspace = Workspace::default();
        let leakage = self.explained_pixels(live, &mut workspace).max(f64::MIN_POSITIVE);
        let mut left: Vec<usize> = (0..live.len()).collect();
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count && !left.is_empty() {
            let mut gain = |&i: &usize| {
                classes.gain(i, &mut workspace) / utility - weight * pixels.gain(i, &mut workspace) / leakage
            };
            let values: Vec<f64> = left.iter().map(&mut gain).collect();
            // The first of equals, so that the order is the layer's own.
            let mut best = 0;
            for (at, value) in values.iter().enumerate() {
                if *value > values[best] {
                    best = at;
                }
            }
            let channel = left.remove(best);
            classes.take(channel);
            pixels.take(channel);
            chosen.push(live[channel]);
        }
        chosen
    }

    /// The features of these channels, `width` each.
    fn indices(&self, subset: &[u16], width: usize) -> Vec<usize> {
        let channels = subset.iter().map(|&c| usize::from(c)).filter(|&c| c < self.channels);
        channels.flat_map(|c| c * width..(c + 1) * width).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2×2 features on 4×4 images: channel 0 is the block's mean red, channel 1 noise, channel 2 the class.
    fn moments() -> LayerMoments {
        let n = 400;
        let mut state = 1u64;
        let mut random = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let pixels: Vec<f32> = (0..n * 48).map(|_| random()).collect();
        let labels: Vec<u16> = (0..n).map(|i| (i % 3) as u16).collect();
        let mut features = Vec::new();
        for image in 0..n {
            for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let red = |dy: usize, dx: usize| pixels[((image * 4 + 2 * y + dy) * 4 + 2 * x + dx) * 3];
                let mean = (red(0, 0) + red(0, 1) + red(1, 0) + red(1, 1)) / 4.0;
                features.extend([(mean - 0.5) * 6.9, random() * 3.4 - 1.7, f32::from(labels[image]) - 1.0]);
            }
        }
        let mut builder = MomentsBuilder::new(2, 3, 4, 3);
        for start in (0..n).step_by(100) {
            let features = &features[start * 12..(start + 100) * 12];
            builder.add_pixels(features, &pixels[start * 48..(start + 100) * 48]);
            builder.add_classes(features, &labels[start..start + 100]);
        }
        builder.finish(1.0)
    }

    #[test]
    fn linear_attack_recovers_exactly_what_is_linear() {
        let moments = moments();
        // Uniform pixels have variance 1/12; a block's mean red explains a quarter of red's, a twelfth of all.
        let nothing = -10.0 * (1.0f64 / 12.0).log10();
        let red = -10.0 * (11.0f64 / 144.0).log10();
        assert!((moments.linear_attack_psnr(&[1]) - nothing).abs() < 0.1);
        assert!((moments.linear_attack_psnr(&[0]) - red).abs() < 0.1);
    }

    #[test]
    fn more_channels_never_recover_less() {
        let moments = moments();
        let one = moments.linear_attack_psnr(&[0]);
        assert!(moments.linear_attack_psnr(&[0, 1]) >= one - 1e-3);
        assert!(moments.linear_attack_psnr(&[0, 1, 2]) >= one - 1e-3);
    }

    #[test]
    fn balanced_sets_take_what_helps_and_avoid_what_leaks_or_repeats() {
        let moments = moments();
        // Channel 2 is the class, channel 0 leaks, channel 1 is noise.
        assert_eq!(moments.balanced(&[0, 1, 2], 1.0, 3), [2, 1, 0]);
        assert_eq!(moments.balanced(&[0, 1, 2], -3.0, 1), [0], "a negative weight looks for leakage");
        assert_eq!(moments.balanced(&[0, 1], 1.0, 5).len(), 2, "no more than there are");
    }

    #[test]
    fn what_is_gained_step_by_step_is_what_the_set_explains() {
        let moments = moments();
        let pixels = Residual::new(&moments.feature_feature, &moments.feature_pixel, 1, &[0, 1, 2], RIDGE);
        let classes = Residual::new(&moments.pooled_total, &moments.class_means, 4, &[0, 1, 2], POOLED_RIDGE);
        let mut workspace = Workspace::default();
        let all = moments.explained_pixels(&[0, 1, 2], &mut workspace);
        for (mut residual, all) in [(pixels, all), (classes, moments.class_separation(&[0, 1, 2]))] {
            let mut sum = 0.0;
            for channel in [1, 0, 2] {
                sum += residual.gain(channel, &mut workspace);
                residual.take(channel);
            }
            assert!((sum / all - 1.0).abs() < 1e-9, "{sum} {all}");
        }
    }

    #[test]
    fn class_separation_sees_the_class_channel() {
        let moments = moments();
        assert!(moments.class_separation(&[2]) > 0.9);
        assert!(moments.class_separation(&[1]) < 0.05);
    }
}
