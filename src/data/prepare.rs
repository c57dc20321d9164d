//! From what a reader found to a part that can be used: same classes, same side, disjoint, ordered, padded.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use super::{DataError, Dropped, Duplicates, ImageSet, Part, Region, SIDE_MULTIPLE};

/// The images of one part in the order in which a reader found them.
#[derive(Debug)]
pub(super) struct Raw {
    pub part: Part,
    pub side: usize,
    /// `[n, side, side, 3]`, RGB.
    pub pixels: Vec<u8>,
    pub labels: Vec<u16>,
    /// Names in the order of the labels, where the format has names.
    pub class_names: Option<Vec<String>>,
    pub origin: Origin,
}

/// Where images come from, for messages.
#[derive(Debug)]
pub(super) enum Origin {
    /// Two files: of all images, and of their labels.
    Idx { images: PathBuf, labels: PathBuf },
    /// A file per image.
    Files(Vec<PathBuf>),
}

impl Raw {
    fn size(&self) -> usize {
        self.side * self.side * 3
    }

    fn describe(&self, index: usize) -> String {
        match &self.origin {
            Origin::Idx { images, .. } => format!("image {index} of `{}`", images.display()),
            Origin::Files(files) => format!("`{}`", files[index].display()),
        }
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
        if let Origin::Files(files) = &mut self.origin {
            *files = kept.iter().map(|&index| std::mem::take(&mut files[index])).collect();
        }
    }
}

fn gather(pixels: &[u8], size: usize, order: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(order.len() * size);
    for &index in order {
        out.extend_from_slice(&pixels[index * size..(index + 1) * size]);
    }
    out
}

/// The names of the classes, once all parts agree on them.
pub(super) fn class_names(given: Option<&[String]>, parts: [&Raw; 3]) -> Result<Vec<String>, DataError> {
    let names = match (given, &parts[0].class_names) {
        (Some(given), _) => given.to_vec(),
        (None, Some(folders)) => folders.clone(),
        (None, None) => {
            let classes = parts[0].labels.iter().max().map_or(0, |&label| usize::from(label) + 1);
            (0..classes).map(|class| class.to_string()).collect()
        }
    };
    for raw in parts {
        match &raw.class_names {
            Some(found) if *found != names => {
                return Err(DataError::ClassesDiffer { part: raw.part, found: found.clone(), expected: names });
            }
            Some(_) => {}
            None => require_known_labels(raw, names.len())?,
        }
    }
    Ok(names)
}

fn require_known_labels(raw: &Raw, classes: usize) -> Result<(), DataError> {
    let unknown = raw.labels.iter().position(|&label| usize::from(label) >= classes);
    match (unknown, &raw.origin) {
        (Some(index), Origin::Idx { labels, .. }) => {
            Err(DataError::Label { path: labels.clone(), index, label: usize::from(raw.labels[index]), classes })
        }
        _ => Ok(()),
    }
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
                    kept_image: kept.describe(position),
                    searched_image: searched.describe(index),
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
pub(super) fn require_every_class(raw: &Raw, class_names: &[String]) -> Result<(), DataError> {
    let present: BTreeSet<usize> = raw.labels.iter().map(|&label| usize::from(label)).collect();
    match class_names.iter().enumerate().find(|(label, _)| !present.contains(label)) {
        Some((_, class)) => Err(DataError::EmptyClass { part: raw.part, class: class.clone() }),
        None if class_names.is_empty() => Err(DataError::TooFewImages { part: raw.part, found: 0, wanted: 1 }),
        None => Ok(()),
    }
}

/// Orders and pads.
pub(super) fn finish(raw: Raw, frame: Frame, classes: usize) -> Result<ImageSet, DataError> {
    let order = balanced_order(&raw.labels, classes);
    let labels = order.iter().map(|&index| raw.labels[index]).collect();
    let (size, Region { top, left, .. }) = (raw.size(), frame.content);
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
/// fixed seed). Within a class the order stays.
fn balanced_order(labels: &[u16], classes: usize) -> Vec<usize> {
    let mut counts = vec![0_u64; classes];
    for &label in labels {
        counts[usize::from(label)] += 1;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut seen = vec![0_u64; classes];
    // (numerator, denominator, tie-break, index)
    let mut places: Vec<(u64, u64, u64, usize)> = Vec::with_capacity(labels.len());
    for (index, &label) in labels.iter().enumerate() {
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
    fn unequal_classes_keep_their_share_and_their_order() {
        let labels: Vec<u16> = [vec![0; 90], vec![1; 30]].concat();
        let order = balanced_order(&labels, 2);
        for n in 1..=order.len() {
            let rare = order[..n].iter().filter(|&&index| labels[index] == 1).count() as f64;
            assert!((rare - n as f64 / 4.0).abs() <= 1.0, "{rare} of {n}");
        }
        let common: Vec<usize> = order.iter().copied().filter(|&index| labels[index] == 0).collect();
        assert!(common.is_sorted());
    }
}
