//! The folder of feature files, named by what they were made from.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::extract::{self, Extraction};
use super::file::{self, Contents};
use super::{FeatureError, LayerFeatures};
use crate::backbone::{Backbone, Layer};
use crate::bounded;
use crate::data::ImageSet;

/// Ending of files that are being written.
pub(super) const TEMPORARY: &str = "tmp";
const LOCK_FILE: &str = "lock";

/// A folder of feature files.
///
/// A file's name is a hash of the weights up to its layer, the layer, the pixels and the part: whatever changes one of
/// them makes another file, and nothing is ever changed in place. Several processes may use a folder at once; one of
/// them computes, the others wait.
#[derive(Debug, Clone)]
pub struct FeatureCache {
    folder: PathBuf,
    /// Bytes that its files may take.
    limit: Option<u64>,
}

/// Where a layer's features come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A file, written once.
    Kept,
    /// The local net, run whenever they are read.
    Computed,
}

/// One file that is wanted.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub layer: Layer,
    pub contents: Contents,
    pub path: PathBuf,
}

impl FeatureCache {
    /// The cache in a folder, which is created when something is written to it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        FeatureCache { folder: folder.into(), limit: None }
    }

    /// The cache with a limit in bytes on what [`make_room`](Self::make_room) leaves in the folder.
    #[must_use]
    pub fn limited(self, limit: Option<u64>) -> Self {
        FeatureCache { limit, ..self }
    }

    /// Where the features of each layer, of `images` images of `side` in all, come from: computed where that is as fast
    /// as reading them, and from files otherwise, those first that save the most work per byte, up to the limit.
    ///
    /// # Errors
    /// [`FeatureError::Backbone`].
    pub fn origins(
        &self,
        backbone: &Backbone,
        layers: &[&str],
        side: usize,
        images: usize,
    ) -> Result<Vec<Origin>, FeatureError> {
        /// A layer with fewer multiply-accumulates per byte is computed as fast as read: about 50 GMAC/s and 1 GB/s, which
        /// is a disk and not the system's cache. Of VGG-16 that is conv1_1 alone (14; conv1_2 has 300, conv3_3 7,600).
        const WORTH_KEEPING: u64 = 50;
        let mut order = Vec::new();
        for (place, name) in layers.iter().enumerate() {
            let bytes = Self::disk_bytes(backbone, &[name], side, images)?;
            let macs = backbone.architecture().macs_through(backbone.layer(name)?, side)?;
            order.push((place, bytes, macs * images as u64 / bytes.max(1)));
        }
        order.sort_by_key(|&(_, _, gain)| std::cmp::Reverse(gain));
        let mut origins = vec![Origin::Computed; layers.len()];
        let mut total = 0;
        for (place, bytes, gain) in order {
            if gain >= WORTH_KEEPING && self.limit.is_none_or(|limit| total + bytes <= limit) {
                total += bytes;
                origins[place] = Origin::Kept;
            }
        }
        Ok(origins)
    }

    /// Removes files that nobody used for the longest time, until the folder is within its limit together with the files
    /// of `layers` for the given sets of images, which stay (or are still to be written).
    ///
    /// # Errors
    /// [`FeatureError::Backbone`]; [`FeatureError::Io`].
    pub fn make_room(&self, backbone: &Backbone, layers: &[&str], sets: &[&ImageSet]) -> Result<(), FeatureError> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let mut wanted = Vec::new();
        for layer in layers {
            for images in sets {
                wanted.push(self.wanted(backbone, layer, images)?);
            }
        }
        let mut total: u64 = wanted.iter().map(|file| file.contents.file_len() as u64).sum();
        let io = |action, path: &Path| {
            let path = path.to_path_buf();
            move |source| FeatureError::Io { action, path, source }
        };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(io("read", &self.folder))?,
        };
        let mut others = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|ending| ending != file::ENDING)
                || wanted.iter().any(|file| file.path == path)
            {
                continue;
            }
            // One that another process removed just now takes no room.
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            others.push((metadata.modified().map_err(io("read", &path))?, metadata.len(), path));
        }
        others.sort_unstable_by_key(|other| std::cmp::Reverse(other.0));
        for (_, bytes, path) in others {
            total += bytes;
            if total > limit {
                // A study that has it mapped keeps it until it ends.
                fs::remove_file(&path).map_err(io("remove", &path))?;
                total -= bytes;
            }
        }
        Ok(())
    }

    /// Makes sure that the features of every layer are in the folder, and computes those that are not.
    ///
    /// What is there is read once and compared with its checksum; a damaged file is computed again. On an interrupt
    /// or error no partial file stays behind.
    ///
    /// # Errors
    /// [`FeatureError::Backbone`] for a layer that the backbone has no weights for; [`FeatureError::Io`];
    /// [`FeatureError::Net`]; [`FeatureError::Overflow`]; [`FeatureError::Interrupted`].
    pub fn ensure(&self, extraction: &mut Extraction<'_>) -> Result<(), FeatureError> {
        let total = extraction.images.len();
        let wanted = extraction
            .layers
            .iter()
            .map(|layer| self.wanted(extraction.backbone, layer, extraction.images))
            .collect::<Result<Vec<_>, _>>()?;
        let mut missing = missing(wanted, extraction)?;
        if !missing.is_empty() {
            let lock = self.lock(extraction)?;
            missing = self::missing(missing, extraction)?; // someone else may have computed them
            if lock.is_some() {
                self.remove_temporaries();
            }
            extract::run(&missing, extraction)?;
        }
        (extraction.progress)(total, total);
        Ok(())
    }

    /// Maps the features of a layer, which must have been [`ensure`](Self::ensure)d. Header and length are checked;
    /// the checksum was.
    ///
    /// # Errors
    /// [`FeatureError::NotCached`]; [`FeatureError::Backbone`]; [`FeatureError::Io`].
    pub fn open(&self, backbone: &Backbone, layer: &str, images: &ImageSet) -> Result<LayerFeatures, FeatureError> {
        let Wanted { path, contents, layer } = self.wanted(backbone, layer, images)?;
        LayerFeatures::map(&path, &contents, layer.activation)
    }

    /// Bytes that the features of these layers take on disk for the given number of images.
    ///
    /// # Errors
    /// [`FeatureError::Backbone`].
    pub fn disk_bytes(
        backbone: &Backbone,
        layers: &[&str],
        image_side: usize,
        images: usize,
    ) -> Result<u64, FeatureError> {
        let mut bytes = 0;
        for name in layers {
            let layer = backbone.layer(name)?;
            let shape = backbone.architecture().shape(layer, image_side)?;
            let values = shape.output_len(layer.out_channels) * images as u64;
            bytes += file::HEADER_LEN as u64 + values * size_of::<half::f16>() as u64;
        }
        Ok(bytes)
    }

    fn wanted(&self, backbone: &Backbone, layer: &str, images: &ImageSet) -> Result<Wanted, FeatureError> {
        let layer = *backbone.layer(layer)?;
        let shape = backbone.architecture().shape(&layer, images.side())?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"privynet features 2");
        hasher.update(backbone.hash_through(&layer).as_bytes());
        hasher.update(images.hash().as_bytes());
        hasher.update(images.part().name().as_bytes());
        let key = hasher.finalize();
        let (n, side, channels) = (images.len(), shape.side, layer.out_channels);
        let short = &key.to_hex()[..16];
        let path = self.folder.join(format!("{}-{}-{short}.{}", layer.name, images.part(), file::ENDING));
        Ok(Wanted { layer, contents: Contents { key, n, side, channels }, path })
    }

    /// Waits until no other process computes features in this folder; `None` on a file system without locks, where two may then do the
    /// same work, each into files of its own.
    fn lock(&self, extraction: &Extraction<'_>) -> Result<Option<File>, FeatureError> {
        let path = self.folder.join(LOCK_FILE);
        let fail = |path: &Path, action| {
            let path = path.to_path_buf();
            move |source| FeatureError::Io { action, path, source }
        };
        fs::create_dir_all(&self.folder).map_err(fail(&self.folder, "create"))?;
        bounded::refuse_irregular(&path).map_err(fail(&path, "use"))?;
        let file =
            File::options().write(true).create(true).truncate(false).open(&path).map_err(fail(&path, "create"))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => {
                    if extraction.interrupt.load(Ordering::Relaxed) {
                        return Err(FeatureError::Interrupted);
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(fail(&path, "lock")(error)),
            }
        }
    }

    /// Removes what a killed process left: nobody writes while the lock is held.
    fn remove_temporaries(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == TEMPORARY) {
                // One that stays costs space alone.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// Those of the files that are absent or damaged.
fn missing(wanted: Vec<Wanted>, extraction: &Extraction<'_>) -> Result<Vec<Wanted>, FeatureError> {
    let mut missing = Vec::new();
    for file in wanted {
        if extraction.interrupt.load(Ordering::Relaxed) {
            return Err(FeatureError::Interrupted);
        }
        let whole = file::is_whole(&file.path, &file.contents).map_err(|source| FeatureError::Io {
            action: "read",
            path: file.path.clone(),
            source,
        })?;
        match whole {
            // The time of its last use tells what may go. Where it can't be set, files go in the order of their writing.
            true => drop(File::options().append(true).open(&file.path).and_then(|f| f.set_modified(SystemTime::now()))),
            false => missing.push(file),
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::fixtures::{backbone, ensure, images};
    use super::*;

    static GO_ON: AtomicBool = AtomicBool::new(false);
    const LAYERS: [&str; 2] = ["conv1_1", "conv1_2"];

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some());
        paths.sort();
        paths
    }

    #[test]
    fn what_is_there_is_not_computed_again() {
        let folder = tempfile::tempdir().unwrap();
        let (net, images) = (backbone(1), images(70));
        assert_eq!(ensure(folder.path(), &net, &images, &LAYERS[1..], &GO_ON).unwrap(), 3);
        assert_eq!(ensure(folder.path(), &net, &images, &LAYERS[1..], &GO_ON).unwrap(), 1);
        // A file that is written again takes the old one's place.
        let before = File::open(&files(folder.path())[0]).unwrap();
        assert_eq!(ensure(folder.path(), &net, &images, &LAYERS, &GO_ON).unwrap(), 3);
        assert_eq!(files(folder.path()).len(), 2);
        let after = File::options().append(true).open(&files(folder.path())[1]).unwrap();
        let mark = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        after.set_modified(mark).unwrap();
        assert_eq!(before.metadata().unwrap().modified().unwrap(), mark, "they are one file");
        let size: u64 = files(folder.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert_eq!(FeatureCache::disk_bytes(&net, &LAYERS, 16, 70).unwrap(), size);
    }

    #[test]
    fn other_weights_or_images_make_other_files() {
        let folder = tempfile::tempdir().unwrap();
        for (seed, n) in [(1, 2), (2, 2), (1, 3)] {
            ensure(folder.path(), &backbone(seed), &images(n), &LAYERS[..1], &GO_ON).unwrap();
        }
        assert_eq!(files(folder.path()).len(), 3);
    }

    #[test]
    fn damaged_files_are_computed_again() {
        let folder = tempfile::tempdir().unwrap();
        let (net, images) = (backbone(1), images(3));
        ensure(folder.path(), &net, &images, &LAYERS, &GO_ON).unwrap();
        let originals: Vec<Vec<u8>> = files(folder.path()).iter().map(|path| fs::read(path).unwrap()).collect();
        let mut flipped = originals[0].clone();
        flipped[5000] ^= 0x10;
        fs::write(&files(folder.path())[0], flipped).unwrap();
        fs::write(&files(folder.path())[1], &originals[1][..9000]).unwrap();
        assert_eq!(ensure(folder.path(), &net, &images, &LAYERS, &GO_ON).unwrap(), 2);
        let again: Vec<Vec<u8>> = files(folder.path()).iter().map(|path| fs::read(path).unwrap()).collect();
        assert!(again == originals);
    }

    #[test]
    fn what_saves_the_most_work_per_byte_is_kept_first() {
        let net = backbone(1);
        let origins =
            |limit| FeatureCache::new("nowhere").limited(limit).origins(&net, &["conv1_2", "conv1_1"], 16, 70).unwrap();
        let bytes = FeatureCache::disk_bytes(&net, &["conv1_2"], 16, 70).unwrap();
        assert_eq!(origins(None), [Origin::Kept, Origin::Computed]);
        assert_eq!(origins(Some(bytes)), [Origin::Kept, Origin::Computed]);
        assert_eq!(origins(Some(bytes - 1)), [Origin::Computed; 2]);
    }

    #[test]
    fn room_is_made_by_what_was_used_least_recently() {
        let folder = tempfile::tempdir().unwrap();
        let net = backbone(1);
        let sets: Vec<ImageSet> = (2..=4).map(images).collect();
        for set in &sets {
            ensure(folder.path(), &net, set, &LAYERS[1..], &GO_ON).unwrap();
        }
        let age = |set: &ImageSet, seconds| {
            let path = FeatureCache::new(folder.path()).wanted(&net, "conv1_2", set).unwrap().path;
            let file = File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        for (set, seconds) in sets.iter().zip([10, 30, 20]) {
            age(set, seconds);
        }
        // Used again: now the youngest.
        ensure(folder.path(), &net, &sets[1], &LAYERS[1..], &GO_ON).unwrap();
        let left = |limit| {
            let cache = FeatureCache::new(folder.path()).limited(Some(limit));
            cache.make_room(&net, &LAYERS[1..], &[&sets[0]]).unwrap();
            let there = |set: &ImageSet| cache.wanted(&net, "conv1_2", set).unwrap().path.exists();
            [there(&sets[0]), there(&sets[1]), there(&sets[2])]
        };
        let all = 9 * 16 * 16 * 64 * 2 + 3 * file::HEADER_LEN as u64;
        assert_eq!(left(all), [true; 3]);
        assert_eq!(left(all - 1), [true, true, false]);
        assert_eq!(left(0), [true, false, false], "what is wanted stays");
    }

    #[test]
    fn an_interrupt_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let interrupt = AtomicBool::new(false);
        let found = FeatureCache::new(folder.path()).ensure(&mut Extraction {
            backbone: &backbone(1),
            images: &images(70),
            layers: &LAYERS,
            device: crate::nn::Device::Cpu,
            interrupt: &interrupt,
            progress: &mut |_, _| interrupt.store(true, Ordering::Relaxed),
        });
        assert!(matches!(found, Err(FeatureError::Interrupted)), "{found:?}");
        assert!(files(folder.path()).is_empty());
    }

    #[test]
    fn leftovers_of_a_killed_process_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("conv1_1-training-0.tmp"), [0; 100]).unwrap();
        ensure(folder.path(), &backbone(1), &images(2), &LAYERS, &GO_ON).unwrap();
        assert!(files(folder.path()).iter().all(|path| path.extension().unwrap() == "f16"));
    }

    #[test]
    fn two_at_once_compute_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let (net, images) = (backbone(1), images(70));
        let mut calls: Vec<usize> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| ensure(folder.path(), &net, &images, &LAYERS, &GO_ON).unwrap());
            [start(), start()].map(|thread| thread.join().unwrap()).to_vec()
        });
        calls.sort_unstable();
        assert_eq!(calls, [1, 3]);
    }

    #[test]
    fn folders_and_files_that_cannot_be_used_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "a file").unwrap();
        let (net, images) = (backbone(1), images(2));
        let found = ensure(&taken, &net, &images, &LAYERS, &GO_ON).unwrap_err().to_string();
        assert!(found.starts_with("cannot ") && found.contains("taken"), "{found}");
        let cache = FeatureCache::new(folder.path());
        let found = cache.open(&net, "conv1_2", &images).unwrap_err().to_string();
        assert!(found.contains("is not a whole feature file: compute the features first"), "{found}");
        let found = ensure(folder.path(), &net, &images, &["conv2_1"], &GO_ON).unwrap_err().to_string();
        assert!(found.contains("`conv2_1` were not read"), "{found}");
    }
}
