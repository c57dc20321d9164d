//! Which channels are these? What keeping the channel set secret is worth against an attacker who knows the backbone.
//!
//! The set is one of C(C, D′), which looks like many bits. But the cloud sees the features, and the attacker runs images of his
//! own through the whole layer: a channel's activations have statistics (where in the map it fires, how strongly, how often, how
//! smoothly) that hardly depend on the images and differ from channel to channel. Each channel that was uploaded is matched with
//! the channel of the layer whose statistics are nearest, in units of their sampling error.

/// Cells of a map's side that statistics are taken over.
const CELLS: usize = 4;

/// Statistics of a cell: mean, mean square, share of positive values, mean product with the right and with the lower neighbour.
const PER_CELL: usize = 5;

/// Squared differences of statistics below this share of their squares are rounding.
const CONSTANT: f64 = 1e-7;

/// Statistics of each channel's activations over images.
#[derive(Debug, Clone)]
pub struct Signatures {
    side: usize,
    channels: usize,
    cells: usize,
    images: usize,
    /// Sums and sums of squares over images of each image's statistics, `[channels, cells², PER_CELL]`.
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl Signatures {
    /// For maps of `side` and `channels`.
    pub fn new(side: usize, channels: usize) -> Self {
        let cells = if side.is_multiple_of(CELLS) { CELLS } else { 1 };
        let size = channels * cells * cells * PER_CELL;
        Self { side, channels, cells, images: 0, sums: vec![0.0; size], squares: vec![0.0; size] }
    }

    /// Adds images' activations, `[n, side, side, channels]`, as the device uploads them.
    pub fn add(&mut self, activations: &[f32]) {
        let &mut Self { side, channels, cells, .. } = self;
        let cell = side / cells;
        let share = 1.0 / (cell * cell) as f64;
        let mut found = vec![0.0; self.sums.len()];
        for image in activations.chunks_exact(side * side * channels) {
            found.fill(0.0);
            for position in 0..side * side {
                let (y, x) = (position / side, position % side);
                let at = y / cell * cells + x / cell;
                // A border's neighbour is itself.
                let right = if x + 1 < side { position + 1 } else { position };
                let below = if y + 1 < side { position + side } else { position };
                for channel in 0..channels {
                    let value = |position: usize| f64::from(image[position * channels + channel]);
                    let v = value(position);
                    let statistics = [v, v * v, f64::from(u8::from(v > 0.0)), v * value(right), v * value(below)];
                    let cell = &mut found[(channel * cells * cells + at) * PER_CELL..][..PER_CELL];
                    cell.iter_mut().zip(statistics).for_each(|(sum, statistic)| *sum += share * statistic);
                }
            }
            for ((sum, square), value) in self.sums.iter_mut().zip(&mut self.squares).zip(&found) {
                *sum += value;
                *square += value * value;
            }
            self.images += 1;
        }
    }

    /// Mean and squared standard error of one channel's statistics.
    fn of(&self, channel: usize) -> impl Iterator<Item = (f64, f64)> + '_ {
        let n = self.images.max(2) as f64;
        let size = self.sums.len() / self.channels;
        let range = channel * size..(channel + 1) * size;
        self.sums[range.clone()].iter().zip(&self.squares[range]).map(move |(sum, square)| {
            let mean = sum / n;
            (mean, ((square / n - mean * mean).max(0.0)) / (n - 1.0))
        })
    }

    /// How unlike a channel of these and one of `other` are: the mean over statistics of their squared difference in units of
    /// its sampling variance; about 1 for the same channel seen on other images.
    fn distance(&self, channel: usize, other: &Self, candidate: usize) -> f64 {
        let pairs = self.of(channel).zip(other.of(candidate));
        let (sum, count) = pairs.fold((0.0, 0usize), |(sum, count), ((a, va), (b, vb))| {
            // What never varies has no sampling variance, but constants differ: what rounding leaves of them is the yardstick.
            let variance = va + vb + CONSTANT * (a * a + b * b);
            let term = if variance > 0.0 { (a - b).powi(2) / variance } else { 0.0 };
            (sum + term, count + 1)
        });
        sum / count.max(1) as f64
    }

    /// For each channel of these, the channel of `layer` that it is taken for; no two for the same one.
    ///
    /// # Panics
    /// Where the maps differ in side, or `layer` has fewer channels.
    pub fn identify(&self, layer: &Self) -> Vec<u16> {
        assert_eq!(self.side, layer.side, "maps of one layer");
        assert!(self.channels <= layer.channels, "a set of the layer's channels");
        let mut pairs: Vec<(f64, usize, usize)> = (0..self.channels)
            .flat_map(|channel| (0..layer.channels).map(move |candidate| (channel, candidate)))
            .map(|(channel, candidate)| (self.distance(channel, layer, candidate), channel, candidate))
            .collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut found = vec![None; self.channels];
        let mut taken = vec![false; layer.channels];
        for (_, channel, candidate) in pairs {
            if found[channel].is_none() && !taken[candidate] {
                (found[channel], taken[candidate]) = (Some(candidate as u16), true);
            }
        }
        found.into_iter().flatten().collect()
    }
}

/// How many bits it takes to name a set of `depth` among `width` channels: log₂ C(`width`, `depth`).
pub fn secrecy_bits(width: usize, depth: usize) -> f64 {
    (1..=depth.min(width)).map(|k| ((width - depth.min(width) + k) as f64 / k as f64).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Activations of `channels` on `n` random images: each fires along a direction of its own; `noise` is shared by nothing.
    fn activations(channels: &[usize], n: usize, seed: f32) -> Vec<f32> {
        let side = 4;
        let mut values = Vec::new();
        for image in 0..n {
            for position in 0..side * side {
                for &channel in channels {
                    let c = channel as f32;
                    let wave = (seed + image as f32 * 7.7 + position as f32 * (0.3 + 0.1 * c)).sin();
                    values.push((wave * (1.0 + 0.2 * c) - 0.1 * c).max(0.0));
                }
            }
        }
        values
    }

    #[test]
    fn channels_are_recognised_on_other_images() {
        let mut layer = Signatures::new(4, 8);
        layer.add(&activations(&[0, 1, 2, 3, 4, 5, 6, 7], 200, 0.0));
        let mut seen = Signatures::new(4, 3);
        seen.add(&activations(&[6, 1, 4], 150, 0.5));
        assert_eq!(seen.identify(&layer), [6, 1, 4]);
    }

    #[test]
    fn what_cannot_be_told_apart_is_still_assigned_once() {
        let mut layer = Signatures::new(4, 3);
        layer.add(&activations(&[2, 2, 2], 20, 0.0));
        let mut seen = Signatures::new(4, 3);
        seen.add(&activations(&[2, 2, 2], 20, 0.3));
        let mut found = seen.identify(&layer);
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2]);
    }

    #[test]
    fn bits_are_those_of_the_binomial_coefficient() {
        assert!((secrecy_bits(256, 16) - 10_078_751_602_022_313_874_633_200.0_f64.log2()).abs() < 1e-9);
        assert_eq!(secrecy_bits(8, 8), 0.0);
        assert_eq!(secrecy_bits(8, 1), 3.0);
    }

    /// Nets with normalisations have channels that are constant, and not zero.
    #[test]
    fn constants_are_told_apart() {
        let images = |channels: &[usize], phase: f32| {
            let value = |i: usize| match channels[i % channels.len()] {
                0 => 0.7,
                1 => -0.3,
                _ => (i as f32 * 0.37 + phase).sin(),
            };
            let mut found = Signatures::new(2, channels.len());
            found.add(&(0..40 * 4 * channels.len()).map(value).collect::<Vec<f32>>());
            found
        };
        let layer = images(&[0, 1, 2], 0.4);
        assert_eq!(images(&[1, 2], 0.1).identify(&layer), [1, 2]);
        assert_eq!(images(&[0, 2], 0.1).identify(&layer), [0, 2]);
    }
}
