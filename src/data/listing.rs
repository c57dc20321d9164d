//! The images of one source once their labels are known: what a part is chosen from before its pixels are read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::decode::{Resize, dimensions, square};
use super::place::Place;
use super::prepare::Raw;
use super::{DataError, MAX_PART_BYTES, Part, parquet};

/// What a reader found.
#[derive(Debug)]
pub(super) struct Listing {
    /// The file or folder, for messages.
    pub root: PathBuf,
    /// The class of each image.
    pub labels: Vec<u16>,
    /// Names in the order of the labels, where the format has names.
    pub class_names: Option<Vec<String>>,
    /// The file of labels where that is not the images'.
    pub label_file: Option<PathBuf>,
    /// The images.
    pub store: Store,
}

/// Where pixels are.
#[derive(Debug)]
pub(super) enum Store {
    /// In memory, as the file had them.
    Memory(Pixels),
    /// In a file each.
    Files(Vec<PathBuf>),
    /// Encoded, in rows of Parquet files.
    Parquet(parquet::Images),
}

/// Square images of one size in memory.
#[derive(Debug)]
pub(super) struct Pixels {
    /// Rows and columns.
    pub side: usize,
    /// The order of an image's bytes.
    pub order: Order,
    /// All images.
    pub bytes: Vec<u8>,
    /// The files they came from in turn, each with its number of images.
    pub files: Vec<(Arc<Path>, usize)>,
}

/// The order of an image's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// `[height, width]`.
    Grey,
    /// `[height, width, 3]`.
    Interleaved,
    /// `[3, height, width]`.
    Planar,
}

impl Order {
    pub(super) fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Interleaved | Self::Planar => 3,
        }
    }

    /// One image as RGB, `[height, width, 3]`; grey is repeated.
    fn to_rgb(self, image: &[u8], out: &mut [u8]) {
        match self {
            Self::Interleaved => out.copy_from_slice(image),
            Self::Grey => out.chunks_exact_mut(3).zip(image).for_each(|(pixel, &value)| pixel.fill(value)),
            Self::Planar => {
                for (channel, plane) in image.chunks_exact(image.len() / 3).enumerate() {
                    out[channel..].iter_mut().step_by(3).zip(plane).for_each(|(out, &value)| *out = value);
                }
            }
        }
    }
}

impl Listing {
    /// Where an image is.
    pub(super) fn place(&self, index: usize) -> Place {
        match &self.store {
            Store::Memory(pixels) => within(&pixels.files, index),
            Store::Files(files) => Place::File(files[index].clone()),
            Store::Parquet(images) => within(&images.files, index),
        }
    }

    /// Refuses a label beyond the last class.
    pub(super) fn require_known_labels(&self, classes: usize) -> Result<(), DataError> {
        let Some(index) = self.labels.iter().position(|&label| usize::from(label) >= classes) else {
            return Ok(());
        };
        let (path, index) = match (&self.label_file, self.place(index)) {
            (Some(path), _) => (path.clone(), index),
            (None, Place::Item { file, index }) => (file.to_path_buf(), index),
            (None, Place::File(path)) => (path, index),
        };
        Err(DataError::Label { path, index, label: self.labels[index].into(), classes })
    }

    /// Width and height of the first `most` images of each class.
    pub(super) fn sizes(&self, most: usize) -> Result<Vec<[usize; 2]>, DataError> {
        let mut seen = vec![0; self.labels.iter().max().map_or(0, |&label| usize::from(label) + 1)];
        let mut looked_at = Vec::new();
        for (index, &label) in self.labels.iter().enumerate() {
            let seen = &mut seen[usize::from(label)];
            *seen += 1;
            if *seen <= most {
                looked_at.push(index);
            }
        }
        match &self.store {
            Store::Memory(pixels) => Ok(vec![[pixels.side; 2]]),
            Store::Files(files) => looked_at.into_iter().map(|index| dimensions(&files[index])).collect(),
            Store::Parquet(images) => images.sizes(&looked_at),
        }
    }

    /// Reads the images at the positions `chosen`, in that order, as RGB squares of one size.
    pub(super) fn read(&self, part: Part, chosen: &[usize], resize: Option<Resize>) -> Result<Raw, DataError> {
        let Some(&first) = chosen.first() else {
            return Err(DataError::TooFewImages { part, found: 0, wanted: 1 });
        };
        let [width, height] = match (&self.store, resize) {
            (Store::Memory(pixels), _) => [pixels.side; 2],
            (_, Some(resize)) => [resize.to; 2],
            (Store::Files(files), None) => dimensions(&files[first])?,
            (Store::Parquet(images), None) => images.sizes(&[first])?[0],
        };
        if width != height {
            return Err(DataError::NotSquare { place: self.place(first), width, height });
        }
        let size = width.saturating_mul(width).saturating_mul(3);
        let Some(bytes) = size.checked_mul(chosen.len()).filter(|&bytes| bytes <= MAX_PART_BYTES) else {
            let (path, count) = (self.root.clone(), chosen.len());
            return Err(DataError::TooLarge { path, count, width, height, limit_gib: MAX_PART_BYTES >> 30 });
        };
        let mut pixels = vec![0; bytes];
        match &self.store {
            Store::Memory(stored) => {
                let stored_size = width * width * stored.order.channels();
                pixels.par_chunks_exact_mut(size).zip(chosen).for_each(|(out, &index)| {
                    stored.order.to_rgb(&stored.bytes[index * stored_size..(index + 1) * stored_size], out);
                });
            }
            Store::Files(files) => {
                // Which of several bad files is named must not depend on the threads: keep the first in order.
                let failures: Vec<DataError> = pixels
                    .par_chunks_exact_mut(size)
                    .zip(chosen)
                    .filter_map(|(out, &index)| square(&files[index], width, resize, out).err())
                    .collect();
                if let Some(error) = failures.into_iter().next() {
                    return Err(error);
                }
            }
            Store::Parquet(images) => images.decode(chosen, width, resize, &mut pixels)?,
        }
        Ok(Raw {
            part,
            side: width,
            pixels,
            labels: chosen.iter().map(|&index| self.labels[index]).collect(),
            places: chosen.iter().map(|&index| self.place(index)).collect(),
        })
    }
}

/// The place of an image of which only its position in all files together is known.
pub(super) fn within(files: &[(Arc<Path>, usize)], mut index: usize) -> Place {
    for (file, count) in files {
        if index < *count {
            return Place::item(file, index);
        }
        index -= count;
    }
    unreachable!("a listing has as many images as its files")
}

/// Refuses more pixels than one part may take, counted as RGB, before memory is asked for.
pub(super) fn require_room(path: &Path, count: usize, width: usize, height: usize) -> Result<(), DataError> {
    let bytes = count.checked_mul(height).and_then(|n| n.checked_mul(width)).and_then(|n| n.checked_mul(3));
    if bytes.is_none_or(|bytes| bytes > MAX_PART_BYTES) {
        let limit_gib = MAX_PART_BYTES >> 30;
        return Err(DataError::TooLarge { path: path.to_path_buf(), count, width, height, limit_gib });
    }
    Ok(())
}
