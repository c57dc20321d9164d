//! What can be wrong with the images a space names.

use std::path::PathBuf;

use super::Part;
use super::place::Place;

mod packed;

pub use packed::{ArrayProblem, ParquetProblem};

/// An image file, folder or part that cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder is missing or may not be read.
    #[error("cannot read `{}`: check that it exists and may be read", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The first bytes are not those of the IDX kind that is expected there.
    #[error(
        "`{}` is not an IDX file of {kind}: it starts with {found:#010x}, expected {expected:#010x} (plain or gzip)",
        path.display()
    )]
    IdxMagic {
        /// The file.
        path: PathBuf,
        /// `images` or `labels`.
        kind: &'static str,
        /// The magic number of that kind.
        expected: u32,
        /// The number found.
        found: u32,
    },
    /// The file ends before the data that its header announces.
    #[error(
        "`{}` is truncated: expected {expected} bytes{}, found {found}; fetch it again",
        path.display(), if *gzip { " when unpacked" } else { "" }
    )]
    IdxTruncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the header announces, itself included.
        expected: u64,
        /// Bytes there are.
        found: u64,
        /// Whether the figures are those of the unpacked file.
        gzip: bool,
    },
    /// The file goes on after the data that its header announces.
    #[error(
        "`{}` holds more than the {expected} bytes that its header announces: not the file it claims \
         to be",
        path.display()
    )]
    IdxTrailing {
        /// The file.
        path: PathBuf,
        /// Bytes that the header announces, itself included.
        expected: u64,
    },
    /// A header that announces nothing.
    #[error("`{}` holds {count} images of {width}×{height}: nothing to learn from", path.display())]
    IdxEmpty {
        /// The file.
        path: PathBuf,
        /// Number of images.
        count: usize,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// Unpacking failed for another reason than a missing end.
    #[error("`{}` is a damaged gzip file; fetch it again", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: std::io::Error,
    },
    /// Images and labels do not belong together.
    #[error(
        "`{}` holds {image_count} images but `{}` holds {label_count} labels: they must be as many",
        images.display(), labels.display()
    )]
    CountMismatch {
        /// The image file.
        images: PathBuf,
        /// Its images.
        image_count: usize,
        /// The label file.
        labels: PathBuf,
        /// Its labels.
        label_count: usize,
    },
    /// A label beyond the last class.
    #[error(
        "`{}`: label {label} of image {index} (counted from 0) is not one of the {classes} classes 0 \
         to {}",
        path.display(), classes.saturating_sub(1)
    )]
    Label {
        /// The label file.
        path: PathBuf,
        /// Position of the image, from 0.
        index: usize,
        /// The label found.
        label: i64,
        /// The number of classes.
        classes: usize,
    },
    /// Height and width differ.
    #[error(
        "{place}: images must be square, found {width}×{height}; in image folders and Parquet files `resize: {{to: SIDE}}` under \
         `data` in the space makes them so"
    )]
    NotSquare {
        /// The image.
        place: Place,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// An image through which one sees: what would be behind it?
    #[error("{place} is transparent in places: save it on a background")]
    Transparent {
        /// The image.
        place: Place,
    },
    /// An image of another size than the first one.
    #[error(
        "{place} is {width}×{height}, but the images before it are {side}×{side}: all must have the same size, or the space \
         says `resize: {{to: {side}}}` under `data`"
    )]
    SizeDiffers {
        /// The image.
        place: Place,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Side of the images before it.
        side: usize,
    },
    /// More pixels than one image may have.
    #[error("{place} is {width}×{height}: an image may have {most} pixels; scale it down first")]
    TooManyPixels {
        /// The image.
        place: Place,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit.
        most: u64,
    },
    /// So long and thin that scaling it takes too much memory.
    #[error("{place} is {width}×{height}, too long to be scaled to {side}: crop it first")]
    Elongated {
        /// The image.
        place: Place,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Side of the square that it was to become.
        side: usize,
    },
    /// A packed file that is next to nothing, and says that it unpacks to very much.
    #[error("`{}` would unpack {packed} bytes to {unpacked}: no images are packed so well; check where it comes from", path.display())]
    Bomb {
        /// The file.
        path: PathBuf,
        /// Bytes of it.
        packed: u64,
        /// Bytes that it would unpack to.
        unpacked: u64,
    },
    /// More pixels than this program holds in memory.
    #[error(
        "`{}`: {count} images of {width}×{height} need more than the {limit_gib} GiB that one part may take: use fewer or smaller images",
        path.display()
    )]
    TooLarge {
        /// The file or folder.
        path: PathBuf,
        /// Number of images.
        count: usize,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// The limit.
        limit_gib: usize,
    },
    /// A file of a kind that is not read.
    #[error(
        "`{}` is no file of images that is known here: name a folder of class folders, of CIFAR's `.bin` or of `.parquet` files, or an \
         `.npz`, `.parquet` or `.bin` file (packed archives are to be unpacked first)",
        path.display()
    )]
    NoImages {
        /// The file.
        path: PathBuf,
    },
    /// A folder of images without a folder per class.
    #[error("`{}` holds no class folders: expected CLASS/IMAGE.jpg or .png in it", root.display())]
    NoClasses {
        /// The folder.
        root: PathBuf,
    },
    /// A class with fewer images than asked for.
    #[error(
        "`{}` holds {found} images of class `{class}`, {} are needed ({skip} to skip, {take} to take): lower \
         `skip_per_class` or `per_class`",
        root.display(), skip.saturating_add(*take)
    )]
    TooFewInClass {
        /// The file or folder of the images.
        root: PathBuf,
        /// The class.
        class: String,
        /// Images of it.
        found: usize,
        /// Images to skip.
        skip: usize,
        /// Images to take.
        take: usize,
    },
    /// A class with fewer images than a split asks for.
    #[error(
        "`{}`: class `{class}` has {}, {}`split` asks for {} + {} + {} of it{}",
        root.display(),
        match found { 0 => "no image".to_owned(), 1 => "one image".to_owned(), n => format!("{n} images") },
        if *found < 3 { "which cannot be in three disjoint parts: " } else { "" },
        shares[0], shares[1], shares[2],
        match found {
            0..3 => "; add images of it, or remove the class",
            _ => ": lower `training`, `validation` or `evaluation`, or add images",
        }
    )]
    SplitTooLarge {
        /// The file or folder of the images.
        root: PathBuf,
        /// The class.
        class: String,
        /// Images of it.
        found: usize,
        /// Images of it asked for in training, validation and evaluation.
        shares: [usize; 3],
    },
    /// A part that can't hold every class.
    #[error(
        "`split`: `{part}: {wanted}` is less than the {classes} classes: every class needs an image in every part; ask for at \
         least {classes}"
    )]
    SplitTooSmall {
        /// The part.
        part: Part,
        /// Images asked for.
        wanted: usize,
        /// The number of classes.
        classes: usize,
    },
    /// A file that is no readable JPEG, PNG or WebP image.
    #[error("cannot decode {place} as a JPEG, PNG or WebP image; replace or remove it")]
    Decode {
        /// The image.
        place: Place,
        /// What the decoder said.
        source: image::ImageError,
    },
    /// An image of no bytes.
    #[error("{place} is empty (0 bytes); replace or remove it")]
    EmptyFile {
        /// The image.
        place: Place,
    },
    /// A JPEG file whose end is missing.
    #[error("{place} is truncated: the JPEG's end is missing; fetch it again, or remove it")]
    Unfinished {
        /// The image.
        place: Place,
    },
    /// A packed archive in place of the files in it.
    #[error("`{}` is a packed archive: unpack it (`tar xzf`) and name the folder or the files in it", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
    },
    /// A folder without the files that are expected in it.
    #[error("`{}` holds no `.{ending}` files: name the folder of these, or the files themselves", root.display())]
    NoFiles {
        /// The folder.
        root: PathBuf,
        /// How their names end.
        ending: &'static str,
    },
    /// A CIFAR file of another length.
    #[error(
        "`{}` has {len} bytes, which are no whole rows of {row} as {expected}'s binary version has them: it is truncated or \
         another file; fetch it again",
        path.display()
    )]
    CifarLength {
        /// The file.
        path: PathBuf,
        /// The data set.
        expected: &'static str,
        /// Bytes of a row.
        row: usize,
        /// Bytes of the file.
        len: u64,
    },
    /// A file of class names that names too few or too many.
    #[error("`{}` names {found} classes, expected {classes}, one a line: fetch it again, or remove it", path.display())]
    NameCount {
        /// The file of names.
        path: PathBuf,
        /// Names in it.
        found: usize,
        /// The number of classes.
        classes: usize,
    },
    /// An archive of arrays that isn't one.
    #[error("`{}` can't be read as a zip archive, which `.npz` files are: it is truncated or damaged; save it again", path.display())]
    Zip {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: zip::result::ZipError,
    },
    /// An archive without the arrays that are wanted.
    #[error(
        "`{}` has no array {wanted}; its arrays are {found}: name them by `arrays: {{images: NAME, labels: NAME}}` in the space",
        path.display()
    )]
    NoArray {
        /// The archive.
        path: PathBuf,
        /// The array or pairs of arrays looked for.
        wanted: String,
        /// The arrays there are.
        found: String,
    },
    /// An array that does not hold images or labels.
    #[error("`{}`{} {problem}", path.display(), array.as_ref().map(|name| format!(": array `{name}`")).unwrap_or_default())]
    Array {
        /// The file.
        path: PathBuf,
        /// The array's name where the file holds several.
        array: Option<String>,
        /// What is wrong with it.
        problem: ArrayProblem,
    },
    /// A Parquet file that does not hold encoded images and labels.
    #[error("`{}` {problem}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: ParquetProblem,
    },
    /// A name that would not be shown as it is.
    #[error(
        "the class {class:?} has characters in its name that are no text: rename it, or give `classes` in the space"
    )]
    ClassName {
        /// The name.
        class: String,
    },
    /// A class without any image.
    #[error("the {part} part has no image of class `{class}`: every class needs images in every part")]
    EmptyClass {
        /// The part.
        part: Part,
        /// The class.
        class: String,
    },
    /// Class names that are not the same in two places.
    #[error("the classes of the {part} part are {found:?}, expected {expected:?}: every part needs the same classes")]
    ClassesDiffer {
        /// The part.
        part: Part,
        /// Its classes.
        found: Vec<String>,
        /// The classes named in the space, or those of the training part.
        expected: Vec<String>,
    },
    /// Images of one part are larger or smaller than those of the training part.
    #[error(
        "the {part} images are {found}×{found}, the training images {expected}×{expected}: all must have the same size"
    )]
    PartSizeDiffers {
        /// The part.
        part: Part,
        /// Its side in pixels.
        found: usize,
        /// The side of the training images.
        expected: usize,
    },
    /// A side that the nets cannot halve often enough.
    #[error(
        "images of {side}×{side} cannot be split over the nets: the side must be a multiple of {}; set `pad_to: {}`",
        super::SIDE_MULTIPLE, side.next_multiple_of(super::SIDE_MULTIPLE)
    )]
    Side {
        /// The side in pixels.
        side: usize,
    },
    /// Padding that is smaller than the image, or no multiple of 16.
    #[error(
        "`pad_to: {pad_to}` does not fit images of {side}×{side}: expected a multiple of {} of at least {side}",
        super::SIDE_MULTIPLE
    )]
    PadTo {
        /// The side asked for.
        pad_to: usize,
        /// The side of the images.
        side: usize,
    },
    /// The same image in two parts.
    #[error(
        "{count} images of the {kept} part are also in the {searched} part (first: {kept_image} is {searched_image}), \
         which would flatter every figure: use disjoint parts, or set `duplicates: drop` to remove them from {searched}"
    )]
    Overlap {
        /// The part that the figures come from.
        kept: Part,
        /// The part that must not hold the same images.
        searched: Part,
        /// How many images of `kept` are in both.
        count: usize,
        /// The first of them in `kept`.
        kept_image: String,
        /// The same image in `searched`.
        searched_image: String,
    },
    /// A part is smaller than the number of images asked for.
    #[error("the {part} part has {found} images, {wanted} were asked for: ask for at most {found}")]
    TooFewImages {
        /// The part.
        part: Part,
        /// Its images.
        found: usize,
        /// Images asked for.
        wanted: usize,
    },
    /// Pixels, labels and side do not belong together.
    #[error("{labels} labels and {bytes} bytes do not make RGB images of {side}×{side}")]
    Shape {
        /// Number of labels.
        labels: usize,
        /// Number of pixel bytes.
        bytes: usize,
        /// The side in pixels.
        side: usize,
    },
}
