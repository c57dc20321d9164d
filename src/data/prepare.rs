//! From what a reader found to a part that can be used: same classes, same side, disjoint, ordered, padded.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use super::listing::Listing;
use super::place::Place;
use super::{DataError, Dropped, Duplicates, ImageSet, MAX_PART_BYTES, Part, Region, SIDE_MULTIPLE};
use crate::plain;

/// The images of one part in the order in which a reader found them.
#[derive(Debug)]
pub(super) struct Raw {
    pub part: Part,
    pub side: usize,
    /// `[n, side, side, 3]`, RGB.
    pub pixels: Vec<u8>,
    pub labels: Vec<u16>,
    /// Where each image is, for messages.
    pub places: Vec<Place>,
}

impl Raw {
    fn size(&self) -> usize {
        self.side * self.side * 3
    }

    fn hashes(&self) -> Vec<blake3::Hash> {
        self.pixels.par_chunks_exact(self.size()).map(blake3::hash).collect()
    }

    /// Leaves out the images at the given positions.
    fn remove(&mut self, gone: &BTreeSet<usize>) {
        let size = self.size();
        let kept: Vec<usize> = (0..self.labels.len()).filter(|index| !gone.contains(index)).collect();
        self.pixels = gather(&self.pixels, size, &kept);
        self.labels = kept.iter().map(|&index| self.labels[index]).collect();
        self.places = kept.iter().map(|&index| self.places[index].clone()).collect();
    }
}

fn gather(pixels: &[u8], size: usize, order: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(order.len() * size);
    for &index in order {
        out.extend_from_slice(&pixels[index * size..(index + 1) * size]);
    }
    out
}

/// The names of the classes, once all sources agree on them: those that are given, that a source has, or the labels' numbers.
///
/// A source belongs to the part that messages are about.
pub(super) fn class_names(given: Option<&[String]>, sources: &[(Part, &Listing)]) -> Result<Vec<String>, DataError> {
    let known = sources.iter().find_map(|(_, listing)| listing.class_names.as_deref());
    let names = given.or(known).map_or_else(
        || {
            let classes = sources.first().and_then(|(_, listing)| listing.labels.iter().max());
            (0..classes.map_or(0, |&label| usize::from(label) + 1)).map(|class| class.to_string()).collect()
        },
        <[String]>::to_vec,
    );
    if let Some(class) = names.iter().find(|name| name.contains(plain::is_command)) {
        return Err(DataError::ClassName { class: class.clone() });
    }
    for (part, listing) in sources {
        match &listing.class_names {
            Some(found) if *found != names => {
                return Err(DataError::ClassesDiffer { part: *part, found: found.clone(), expected: names });
            }
            _ => listing.require_known_labels(names.len())?,
        }
    }
    Ok(names)
}

/// The side that every image gets, and where its true pixels lie in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    side: usize,
    content: Region,
}

/// The common frame of all parts.
pub(super) fn frame(parts: [&Raw; 3], pad_to: Option<usize>) -> Result<Frame, DataError> {
    let inner = parts[0].side;
    for raw in parts {
        if raw.side != inner {
            return Err(DataError::PartSizeDiffers { part: raw.part, found: raw.side, expected: inner });
        }
    }
    let side = pad_to.unwrap_or(inner);
    let fits = side >= inner && side > 0 && side.is_multiple_of(SIDE_MULTIPLE);
    match pad_to {
        Some(pad_to) if !fits => Err(DataError::PadTo { pad_to, side: inner }),
        None if !fits => Err(DataError::Side { side }),
        _ => {
            let margin = (side - inner) / 2;
            let content = Region { top: margin, left: margin, height: inner, width: inner };
            Ok(Frame { side, content })
        }
    }
}

/// Makes the parts disjoint, or says that they are not.
pub(super) fn separate(
    training: &mut Raw,
    validation: &mut Raw,
    evaluation: &Raw,
    duplicates: Duplicates,
) -> Result<Dropped, DataError> {
    Ok(Dropped {
        validation: take_out(validation, &[evaluation], duplicates)?,
        training: take_out(training, &[evaluation, validation], duplicates)?,
    })
}

/// Removes from `searched` every image that one of `kept` has too. Returns how many.
fn take_out(searched: &mut Raw, kept: &[&Raw], duplicates: Duplicates) -> Result<usize, DataError> {
    let hashes = searched.hashes();
    let mut gone = BTreeSet::new();
    for kept in kept {
        let mut positions: HashMap<blake3::Hash, usize> = HashMap::new();
        for (index, hash) in kept.hashes().into_iter().enumerate() {
            positions.entry(hash).or_insert(index);
        }
        let shared: Vec<(usize, usize)> = hashes
            .iter()
            .enumerate()
            .filter_map(|(index, hash)| positions.get(hash).map(|&position| (position, index)))
            .collect();
        let distinct: BTreeSet<usize> = shared.iter().map(|&(position, _)| position).collect();
        match (duplicates, shared.iter().min()) {
            (Duplicates::Error, Some(&(position, index))) => {
                return Err(DataError::Overlap {
                    kept: kept.part,
                    searched: searched.part,
                    count: distinct.len(),
                    kept_image: kept.places[position].to_string(),
                    searched_image: searched.places[index].to_string(),
                });
            }
            _ => gone.extend(shared.into_iter().map(|(_, index)| index)),
        }
    }
    if !gone.is_empty() {
        searched.remove(&gone);
    }
    Ok(gone.len())
}

/// Refuses a part that lacks a class.
pub(super) fn require_every_class(part: Part, labels: &[u16], class_names: &[String]) -> Result<(), DataError> {
    let present: BTreeSet<usize> = labels.iter().map(|&label| usize::from(label)).collect();
    match class_names.iter().enumerate().find(|(label, _)| !present.contains(label)) {
        Some((_, class)) => Err(DataError::EmptyClass { part, class: class.clone() }),
        None if class_names.is_empty() => Err(DataError::TooFewImages { part, found: 0, wanted: 1 }),
        None => Ok(()),
    }
}

/// Orders and pads.
pub(super) fn finish(raw: Raw, frame: Frame, classes: usize) -> Result<ImageSet, DataError> {
    let order = balanced_order(&raw.labels, classes);
    let labels = order.iter().map(|&index| raw.labels[index]).collect();
    let (size, Region { top, left, .. }) = (raw.size(), frame.content);
    let padded = frame.side.saturating_mul(frame.side).saturating_mul(3).saturating_mul(order.len());
    if padded > MAX_PART_BYTES {
        let (path, count) =
            (raw.places.first().map_or_else(PathBuf::new, |place| place.path().to_path_buf()), order.len());
        let (width, height) = (frame.side, frame.side);
        return Err(DataError::TooLarge { path, count, width, height, limit_gib: MAX_PART_BYTES >> 30 });
    }
    let pixels = if frame.side == raw.side {
        gather(&raw.pixels, size, &order)
    } else {
        let (row, padded_row) = (raw.side * 3, frame.side * 3);
        let mut padded = vec![0; order.len() * frame.side * padded_row];
        for (image, &index) in padded.chunks_exact_mut(frame.side * padded_row).zip(&order) {
            let source = raw.pixels[index * size..(index + 1) * size].chunks_exact(row);
            for (out, line) in image.chunks_exact_mut(padded_row).skip(top).zip(source) {
                out[left * 3..left * 3 + row].copy_from_slice(line);
            }
        }
        padded
    };
    ImageSet::new(raw.part, frame.side, frame.content, pixels, labels)
}

/// An order in which every prefix holds each class in its share of the whole, to within one image.
///
/// The i-th of a class's n images stands at (2i + 1) / 2n of the way; equal places are put in random order (of a
/// fixed seed). Within a class the order is random, too: files that follow each other by name may be of one moment, and the first
/// images stand for all where an attack takes too long for more.
fn balanced_order(labels: &[u16], classes: usize) -> Vec<usize> {
    let mut counts = vec![0_u64; classes];
    for &label in labels {
        counts[usize::from(label)] += 1;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut shuffled: Vec<(u64, usize)> = (0..labels.len()).map(|index| (rng.next_u64(), index)).collect();
    shuffled.sort_unstable();
    let mut seen = vec![0_u64; classes];
    // (numerator, denominator, tie-break, index)
    let mut places: Vec<(u64, u64, u64, usize)> = Vec::with_capacity(labels.len());
    for (_, index) in shuffled {
        let label = labels[index];
        let class = usize::from(label);
        places.push((2 * seen[class] + 1, counts[class], rng.next_u64(), index));
        seen[class] += 1;
    }
    places.sort_unstable_by(|a, b| {
        let [left, right] = [(a, b), (b, a)].map(|(x, y)| u128::from(x.0) * u128::from(y.1));
        left.cmp(&right).then((a.2, a.3).cmp(&(b.2, b.3)))
    });
    places.into_iter().map(|(_, _, _, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_equal_classes_is_balanced_to_one() {
        let labels: Vec<u16> = (0..5).flat_map(|class| [class; 40]).collect();
        let order = balanced_order(&labels, 5);
        let mut counts = [0_usize; 5];
        for index in &order {
            counts[usize::from(labels[*index])] += 1;
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{counts:?}");
        }
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..200).collect::<Vec<_>>());
        // The classes do not simply take turns.
        let first: Vec<u16> = order[..5].iter().map(|&index| labels[index]).collect();
        assert!((1..40).any(|block| {
            order[5 * block..5 * block + 5].iter().map(|&index| labels[index]).ne(first.iter().copied())
        }));
    }

    #[test]
    fn unequal_classes_keep_their_share_and_their_images_no_order() {
        let labels: Vec<u16> = [vec![0; 90], vec![1; 30]].concat();
        let order = balanced_order(&labels, 2);
        for n in 1..=order.len() {
            let rare = order[..n].iter().filter(|&&index| labels[index] == 1).count() as f64;
            assert!((rare - n as f64 / 4.0).abs() <= 1.0, "{rare} of {n}");
        }
        let common: Vec<usize> = order.iter().copied().filter(|&index| labels[index] == 0).collect();
        assert!(!common.is_sorted());
    }
}
