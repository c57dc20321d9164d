//! The seeded random streams of training: initial weights, batch order, dropout.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One purpose of randomness. Streams of different purposes are independent under the same seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Initial weights.
    Weights,
    /// Order of the images and flips, in this epoch.
    Epoch(u32),
    /// Dropped activations, in this training step.
    Dropout(u64),
}

/// The ChaCha stream of `seed` for a purpose.
pub(super) fn stream(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(match purpose {
        Purpose::Weights => 0,
        Purpose::Epoch(epoch) => (1 << 62) + u64::from(epoch),
        Purpose::Dropout(step) => (1 << 63) + step,
    });
    rng
}

/// Uniform in [0, 1) with 24 bits.
pub(super) fn uniform(rng: &mut ChaCha8Rng) -> f32 {
    (rng.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Puts `items` in a uniformly random order (Fisher–Yates).
pub(super) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        // Multiply-shift maps 64 random bits to 0..=last; the bias is below 2⁻³² for any list that fits in memory.
        let pick = ((u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64) as usize;
        items.swap(last, pick);
    }
}

/// Puts row numbers in the random order of an epoch, whatever order they are in.
pub fn shuffle_rows(rows: &mut [usize], seed: u64, epoch: u32) {
    rows.sort_unstable();
    shuffle(rows, &mut stream(seed, Purpose::Epoch(epoch)));
}

/// Fills `scale` with the dropout factors (0 or `1 / (1 − probability)`) of the values `start..start + scale.len()` of
/// a batch, numbered over the images and over all dropout layers of an image. A factor depends on the seed, the
/// step and the value's number only, so any part of a batch can be drawn on its own.
pub(super) fn dropout(seed: u64, step: u64, start: usize, probability: f32, scale: &mut [f32]) {
    let mut rng = stream(seed, Purpose::Dropout(step));
    rng.set_word_pos(start as u128);
    let kept = 1.0 / (1.0 - probability);
    for value in scale {
        *value = if uniform(&mut rng) < probability { 0.0 } else { kept };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_can_be_drawn_in_parts() {
        let mut whole = [0.0; 100];
        dropout(7, 3, 0, 0.3, &mut whole);
        let mut part = [0.0; 31];
        dropout(7, 3, 37, 0.3, &mut part);
        assert_eq!(whole[37..68], part);
        assert!(whole.contains(&0.0) && whole.contains(&(1.0 / 0.7)));
        let mut next = [0.0; 100];
        dropout(7, 4, 0, 0.3, &mut next);
        assert_ne!(whole, next);
    }

    #[test]
    fn shuffle_is_a_permutation_and_depends_on_the_seed() {
        let order = |seed| {
            let mut items: Vec<usize> = (0..50).collect();
            shuffle(&mut items, &mut stream(seed, Purpose::Epoch(0)));
            items
        };
        assert_ne!(order(1), order(2));
        let mut sorted = order(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
