//! Which images of a source make up a part: so many of each class, or a class-balanced draw.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::listing::Listing;
use super::spec::Split;
use super::{DataError, Part};

/// Of each class `take` images after the first `skip`, in the order of the source.
pub(super) fn per_class(
    listing: &Listing,
    class_names: &[String],
    skip: usize,
    take: Option<usize>,
) -> Result<Vec<usize>, DataError> {
    let mut counts = vec![0_usize; class_names.len()];
    let end = take.map_or(usize::MAX, |take| skip.saturating_add(take));
    let mut chosen = Vec::new();
    for (index, &label) in listing.labels.iter().enumerate() {
        let position = &mut counts[usize::from(label)];
        if (skip..end).contains(position) {
            chosen.push(index);
        }
        *position += 1;
    }
    for (class, &found) in class_names.iter().zip(&counts) {
        // Without a number to take, at least one must be left; a class without any image is named as such elsewhere.
        let wanted = take.unwrap_or(usize::from(found > 0 || skip > 0));
        if found < skip.saturating_add(wanted) {
            let (root, class) = (listing.root.clone(), class.clone());
            return Err(DataError::TooFewInClass { root, class, found, skip, take: wanted });
        }
    }
    Ok(chosen)
}

/// Three disjoint class-balanced parts: positions in the source, in the order in which they were drawn.
pub(super) fn draw(listing: &Listing, class_names: &[String], split: Split) -> Result<[Vec<usize>; 3], DataError> {
    let sizes = [split.training, split.validation, split.evaluation];
    let classes = class_names.len();
    for (part, wanted) in [Part::Training, Part::Validation, Part::Evaluation].into_iter().zip(sizes) {
        if wanted < classes {
            return Err(DataError::SplitTooSmall { part, wanted, classes });
        }
    }
    let mut members = vec![Vec::new(); classes];
    for (index, &label) in listing.labels.iter().enumerate() {
        members[usize::from(label)].push(index);
    }
    let mut parts = sizes.map(|size| Vec::with_capacity(size.min(listing.labels.len())));
    for (class, mut members) in members.into_iter().enumerate() {
        let shares = shares(sizes, classes, class);
        let (found, wanted) = (members.len(), shares.iter().fold(0_usize, |sum, &share| sum.saturating_add(share)));
        if found < wanted {
            let (root, class) = (listing.root.clone(), class_names[class].clone());
            return Err(DataError::SplitTooLarge { root, class, found, shares });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(split.seed);
        rng.set_stream(class as u64);
        shuffle(&mut members, &mut rng);
        let mut drawn = members.into_iter();
        for (part, share) in parts.iter_mut().zip(shares) {
            part.extend(drawn.by_ref().take(share));
        }
    }
    Ok(parts)
}

/// How many images of a class each part gets. What doesn't divide evenly goes to one class after the other, from part to part,
/// so that the classes' totals differ by one at most, too.
fn shares(sizes: [usize; 3], classes: usize, class: usize) -> [usize; 3] {
    let mut start = 0;
    sizes.map(|size| {
        let rest = size % classes;
        let place = (class + classes - start) % classes;
        start = (start + rest) % classes;
        size / classes + usize::from(place < rest)
    })
}

/// Fisher and Yates's, with numbers below the length by Lemire's multiplication.
fn shuffle(items: &mut [usize], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        let below = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        items.swap(last, below as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::{Order, Pixels, Store};
    use super::*;

    /// Images of one pixel with the given labels.
    fn listing(labels: Vec<u16>) -> Listing {
        let files = vec![(std::path::Path::new("images").into(), labels.len())];
        let bytes = vec![0; labels.len()];
        let store = Store::Memory(Pixels { side: 1, order: Order::Grey, bytes, files });
        Listing { root: "images".into(), labels, class_names: None, label_file: None, store }
    }

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("c{class}")).collect()
    }

    fn split(training: usize, validation: usize, evaluation: usize) -> Split {
        Split { training, validation, evaluation, seed: 7 }
    }

    /// Images of each class in a part.
    fn counts(listing: &Listing, part: &[usize], classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        part.iter().for_each(|&index| counts[usize::from(listing.labels[index])] += 1);
        counts
    }

    #[test]
    fn drawn_parts_are_balanced_to_one_and_disjoint() {
        for (classes, sizes) in [(3, [10, 5, 4]), (7, [30, 8, 13]), (1, [5, 1, 1]), (10, [100, 10, 19])] {
            let total = sizes.iter().sum::<usize>().div_ceil(classes);
            let listing = listing((0..total * classes).map(|index| (index % classes) as u16).collect());
            let parts = draw(&listing, &names(classes), split(sizes[0], sizes[1], sizes[2])).unwrap();
            for (part, size) in parts.iter().zip(sizes) {
                assert_eq!(part.len(), size);
                let counts = counts(&listing, part, classes);
                assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
            }
            let mut all = parts.concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), sizes.iter().sum::<usize>());
        }
    }

    /// The draw must never change: studies name their data by it. The stream itself is ChaCha8's, of RFC 8439's layout.
    #[test]
    fn a_draw_is_that_of_its_seed() {
        let labels: Vec<u16> = (0..24).map(|index| index % 2).collect();
        let [training, validation, evaluation] = draw(&listing(labels.clone()), &names(2), split(8, 4, 4)).unwrap();
        assert_eq!(
            [&training[..], &validation, &evaluation],
            [&GOLDEN_TRAINING[..], &GOLDEN_VALIDATION, &GOLDEN_EVALUATION]
        );
        let other = draw(&listing(labels.clone()), &names(2), Split { seed: 8, ..split(8, 4, 4) }).unwrap();
        assert_ne!(other[0], training);
        // One class's draw does not depend on what another holds.
        let more: Vec<u16> = labels.into_iter().chain([1; 5]).collect();
        let [again, ..] = draw(&listing(more), &names(2), split(8, 4, 4)).unwrap();
        assert_eq!(again[..4], training[..4]);
    }

    const GOLDEN_TRAINING: [usize; 8] = [6, 10, 16, 20, 3, 19, 5, 13];
    const GOLDEN_VALIDATION: [usize; 4] = [18, 0, 11, 7];
    const GOLDEN_EVALUATION: [usize; 4] = [4, 8, 17, 21];

    #[test]
    fn too_few_images_are_said_with_their_class() {
        let message = |labels: Vec<u16>, sizes: [usize; 3]| {
            draw(&listing(labels), &names(2), split(sizes[0], sizes[1], sizes[2])).unwrap_err().to_string()
        };
        let found = message(vec![0, 0, 0, 1], [2, 2, 2]);
        assert_eq!(
            found,
            "`images`: class `c1` has one image, which cannot be in three disjoint parts: `split` asks for 1 + 1 + 1 of it; \
             add images of it, or remove the class"
        );
        let found = message(vec![0, 0, 0, 0, 1, 1, 1], [4, 2, 2]);
        assert_eq!(
            found,
            "`images`: class `c1` has 3 images, `split` asks for 2 + 1 + 1 of it: lower `training`, `validation` or \
             `evaluation`, or add images"
        );
        let found = message(vec![0, 0, 0, 0, 1, 1, 1], [4, 2, 1]);
        assert_eq!(
            found,
            "`split`: `evaluation: 1` is less than the 2 classes: every class needs an image in every part; ask for at \
             least 2"
        );
        assert!(message(vec![0, 1], [usize::MAX; 3]).contains("has one image"));
    }

    #[test]
    fn per_class_takes_in_the_order_of_the_source() {
        let listing = listing(vec![1, 0, 0, 1, 0, 1, 1]);
        assert_eq!(per_class(&listing, &names(2), 0, None).unwrap(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(per_class(&listing, &names(2), 1, Some(2)).unwrap(), [2, 3, 4, 5]);
        let found = per_class(&listing, &names(2), 2, Some(2)).unwrap_err().to_string();
        assert_eq!(
            found,
            "`images` holds 3 images of class `c0`, 4 are needed (2 to skip, 2 to take): lower `skip_per_class` or \
             `per_class`"
        );
        assert!(per_class(&listing, &names(2), 3, None).is_err());
        assert!(per_class(&listing, &names(3), 0, None).is_ok(), "named later as an empty class");
    }
}
