//! What can be wrong with the images a space names.

use std::path::PathBuf;

use super::Part;

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
        label: usize,
        /// The number of classes.
        classes: usize,
    },
    /// Height and width differ.
    #[error(
        "`{}`: images must be square, found {width}×{height}; in image folders `resize: {{to: SIDE}}` under `data` in the space \
         makes them so",
        path.display()
    )]
    NotSquare {
        /// The file.
        path: PathBuf,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// An image through which one sees: what would be behind it?
    #[error("`{}` is transparent in places: save it on a background", path.display())]
    Transparent {
        /// The file.
        path: PathBuf,
    },
    /// An image of another size than the first one.
    #[error(
        "`{}` is {width}×{height}, but the images before it are {side}×{side}: all must have the same size, or the space \
         says `resize: {{to: {side}}}` under `data`",
        path.display()
    )]
    SizeDiffers {
        /// The file.
        path: PathBuf,
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Side of the images before it.
        side: usize,
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
    /// A folder of images without a folder per class.
    #[error("`{}` holds no class folders: expected CLASS/IMAGE.jpg or .png in it", root.display())]
    NoClasses {
        /// The folder.
        root: PathBuf,
    },
    /// A class folder with fewer images than asked for.
    #[error(
        "`{}` holds {found} images, {} are needed ({skip} to skip, {take} to take): lower `skip_per_class` or `per_class`",
        folder.display(), skip + take
    )]
    TooFewInClass {
        /// The class folder.
        folder: PathBuf,
        /// Images in it.
        found: usize,
        /// Images to skip.
        skip: usize,
        /// Images to take.
        take: usize,
    },
    /// A file that is no readable JPEG or PNG image.
    #[error("cannot decode `{}` as a JPEG or PNG image; replace or remove it", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        source: image::ImageError,
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
        /// Its class folders.
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
