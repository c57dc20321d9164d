//! Loops over the pixels of two maps, of which one may be repeated over the other.

use crate::nn::engine::map::Map;

/// Calls `visit(offset in the large map, offset in the small one)` for every pixel of `images` images of `large`; a map of one
/// pixel is met at each.
fn pixels(images: usize, large: Map, small: Map, mut visit: impl FnMut(usize, usize)) {
    let whole = |size: usize, step: usize| if size == 1 { 0 } else { step };
    let (row, pixel) = (whole(small.shape.height, small.row()), whole(small.shape.width, small.pixel()));
    for image in 0..images {
        let (large_image, small_image) =
            (large.origin() + image * large.image(), small.origin() + image * small.image());
        for y in 0..large.shape.height {
            for x in 0..large.shape.width {
                visit(large_image + y * large.row() + x * large.pixel(), small_image + y * row + x * pixel);
            }
        }
    }
}

/// `combine(value, other)` for every value of `values`, with what stands at its place in `others`, whose map may be of one pixel
/// or one channel.
pub(super) fn combine(
    images: usize,
    (values, map): (&mut [f32], Map),
    (others, other_map): (&[f32], Map),
    combine: impl Fn(&mut f32, f32),
) {
    let channels = map.shape.channels;
    if map.shape == other_map.shape {
        for (row, other) in map.rows(images).zip(other_map.rows(images)) {
            values[row].iter_mut().zip(&others[other]).for_each(|(value, &other)| combine(value, other));
        }
    } else if other_map.shape.channels == channels {
        pixels(images, map, other_map, |at, other| {
            let pixel = values[at..at + channels].iter_mut();
            pixel.zip(&others[other..other + channels]).for_each(|(value, &other)| combine(value, other));
        });
    } else {
        pixels(images, map, other_map, |at, other| {
            values[at..at + channels].iter_mut().for_each(|value| combine(value, others[other]));
        });
    }
}

/// Adds `values` to `sums`, whose map may be of one pixel or one channel and then gets the sum over what it was repeated over.
pub(super) fn gather(images: usize, (sums, sum_map): (&mut [f32], Map), (values, map): (&[f32], Map)) {
    let channels = map.shape.channels;
    if map.shape == sum_map.shape {
        combine(images, (sums, sum_map), (values, map), |sum, value| *sum += value);
    } else if sum_map.shape.channels == channels {
        pixels(images, map, sum_map, |at, to| {
            let pixel = sums[to..to + channels].iter_mut();
            pixel.zip(&values[at..at + channels]).for_each(|(sum, value)| *sum += value);
        });
    } else {
        pixels(images, map, sum_map, |at, to| sums[to] += values[at..at + channels].iter().sum::<f32>());
    }
}
