//! JPEG, PNG and WebP files as RGB bytes, upright, of the size that is wanted.

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use image::error::{LimitError, LimitErrorKind};
use image::imageops::FilterType;
use image::{DynamicImage, GenericImageView, ImageDecoder, ImageError, ImageReader};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DataError;
use super::place::Place;

/// Longest image file.
const MOST_FILE_BYTES: u64 = 512 << 20;

/// Most pixels of an image, 8192 × 8192: a decoder may hold twelve bytes of each, and their colours take three more.
const MOST_PIXELS: u64 = 1 << 26;

/// Most pixels that an image has on its way to another size. One of 16384 × 1, scaled so that its shorter side is 1024, would have
/// seventeen thousand million.
const MOST_SCALED: u64 = 1 << 25;

/// How images of any size become squares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "keys and values such as {to: 64, fit: crop}")]
pub struct Resize {
    /// Side of the square, pixels.
    #[schemars(range(min = 1, max = 1024))]
    pub to: usize,
    /// What happens to images that are none.
    #[serde(default)]
    pub fit: Fit,
}

/// How an image of another shape fills a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The shorter side is scaled to the square's and the middle of the longer one is taken, as torchvision's `Resize` and
    /// `CenterCrop` do.
    #[default]
    Crop,
    /// Both sides are scaled to the square's.
    Stretch,
}

impl Resize {
    /// The square, by bilinear interpolation with antialiasing, as PIL's and torchvision's; `None` where what lies between takes too much
    /// memory.
    fn apply(self, image: DynamicImage) -> Option<image::RgbImage> {
        let side = u32::try_from(self.to).unwrap_or(u32::MAX);
        let rgb = image.into_rgb8();
        let (width, height) = rgb.dimensions();
        let scaled = |length: u32| {
            let length = u64::from(side) * u64::from(length) / u64::from(width.min(height).max(1));
            u32::try_from(length).unwrap_or(u32::MAX)
        };
        let (width, height) = match self.fit {
            Fit::Crop => (scaled(width), scaled(height)),
            Fit::Stretch => (side, side),
        };
        let columns = u64::from(width.max(rgb.width()));
        if columns.saturating_mul(height.into()) > MOST_SCALED {
            return None;
        }
        let resized = match rgb.dimensions() == (width, height) {
            true => rgb,
            false => image::imageops::resize(&rgb, width, height, FilterType::Triangle),
        };
        let [left, top] = [width, height].map(|length| round_half_to_even(length - side));
        Some(image::imageops::crop_imm(&resized, left, top, side, side).to_image())
    }
}

/// Half of a length; a half pixel goes to the even side, as in Python's `round`.
fn round_half_to_even(length: u32) -> u32 {
    let half = length / 2;
    half + (length % 2) * (half % 2)
}

/// An image of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// RGB bytes, row by row.
    pub pixels: Vec<u8>,
}

/// Decodes one image, resized where that is asked for.
///
/// # Errors
/// [`DataError::Read`], [`DataError::EmptyFile`], [`DataError::Decode`], [`DataError::Unfinished`] or
/// [`DataError::Transparent`].
pub fn read_rgb(path: &Path, resize: Option<Resize>) -> Result<RgbImage, DataError> {
    let bytes = bytes(path)?;
    let place = || path.into();
    let decoded = upright(decoder(&bytes, &place)?, &bytes, &place)?;
    let rgb = resized(decoded, resize, &place)?;
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    Ok(RgbImage { width, height, pixels: rgb.into_raw() })
}

/// Decodes an image file into the RGB bytes of a square of the given side.
pub(super) fn square(path: &Path, side: usize, resize: Option<Resize>, out: &mut [u8]) -> Result<(), DataError> {
    square_of(&bytes(path)?, &|| path.into(), side, resize, out)
}

/// Decodes the bytes of an image file into the RGB bytes of a square of the given side. Without a rule to resize by it must have
/// that size, which is checked before its pixels are read.
pub(super) fn square_of(
    bytes: &[u8],
    place: &dyn Fn() -> Place,
    side: usize,
    resize: Option<Resize>,
    out: &mut [u8],
) -> Result<(), DataError> {
    let decoder = decoder(bytes, place)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    if resize.is_none() && (width, height) != (side, side) {
        return Err(DataError::SizeDiffers { place: place(), width, height, side });
    }
    let decoded = upright(decoder, bytes, place)?;
    let rgb = resized(decoded, resize, place)?;
    out.copy_from_slice(&rgb);
    Ok(())
}

/// The colours, resized where that is asked for.
fn resized(
    decoded: DynamicImage,
    resize: Option<Resize>,
    place: &dyn Fn() -> Place,
) -> Result<image::RgbImage, DataError> {
    let Some(resize) = resize else { return Ok(decoded.into_rgb8()) };
    let (width, height) = decoded.dimensions();
    let side = resize.to;
    resize.apply(decoded).ok_or_else(|| DataError::Elongated { place: place(), width, height, side })
}

/// Width and height, from the file's header.
pub(super) fn dimensions(path: &Path) -> Result<[usize; 2], DataError> {
    let fail = |source| DataError::Read { path: path.to_path_buf(), source };
    let file = fs::File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.len() == 0 {
        return Err(DataError::EmptyFile { place: path.into() });
    }
    let reader = ImageReader::new(std::io::BufReader::new(file)).with_guessed_format().map_err(fail)?;
    let (width, height) =
        reader.into_dimensions().map_err(|source| DataError::Decode { place: path.into(), source })?;
    Ok([width as usize, height as usize])
}

/// Width and height of the image in the bytes of a file.
pub(super) fn dimensions_of(bytes: &[u8], place: &dyn Fn() -> Place) -> Result<[usize; 2], DataError> {
    let (width, height) = decoder(bytes, place)?.dimensions();
    Ok([width as usize, height as usize])
}

/// A file's bytes.
fn bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    let fail = |source| DataError::Read { path: path.to_path_buf(), source };
    let file = fs::File::open(path).map_err(fail)?;
    let mut bytes = Vec::with_capacity(file.metadata().map_err(fail)?.len().min(MOST_FILE_BYTES) as usize);
    file.take(MOST_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MOST_FILE_BYTES {
        let source = LimitError::from_kind(LimitErrorKind::InsufficientMemory);
        return Err(DataError::Decode { place: path.into(), source: ImageError::Limits(source) });
    }
    Ok(bytes)
}

/// A decoder by the first bytes, whatever the file is called.
fn decoder<'a>(bytes: &'a [u8], place: &dyn Fn() -> Place) -> Result<impl ImageDecoder + 'a, DataError> {
    if bytes.is_empty() {
        return Err(DataError::EmptyFile { place: place() });
    }
    let fail = |source| DataError::Decode { place: place(), source };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let decoder = reader.map_err(|source| fail(ImageError::IoError(source)))?.into_decoder().map_err(fail)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(DataError::TooManyPixels { place: place(), width, height, most: MOST_PIXELS });
    }
    Ok(decoder)
}

/// The pixels, turned as the camera says; the decoder's limit of 512 MiB refuses files that unpack to more.
fn upright(mut decoder: impl ImageDecoder, bytes: &[u8], place: &dyn Fn() -> Place) -> Result<DynamicImage, DataError> {
    let fail = |source| DataError::Decode { place: place(), source };
    let orientation = decoder.orientation().map_err(fail)?;
    let mut decoded = DynamicImage::from_decoder(decoder).map_err(fail)?;
    if !is_finished(bytes) {
        return Err(DataError::Unfinished { place: place() });
    }
    decoded.apply_orientation(orientation);
    // Pixel by pixel: a copy with alpha would be as large as the image.
    if decoded.color().has_alpha() && decoded.pixels().any(|(.., pixel)| pixel.0[3] < u8::MAX) {
        return Err(DataError::Transparent { place: place() });
    }
    Ok(decoded)
}

/// Whether a JPEG file has an end: its decoder paints what is missing grey and says nothing. The end's marker can't stand in an
/// image's data, but may in a preview before it: what counts is one after the last scan's start.
fn is_finished(bytes: &[u8]) -> bool {
    let is_jpeg = bytes.starts_with(&[0xff, 0xd8]);
    let marker = bytes.windows(2).rev().find(|pair| pair[0] == 0xff && matches!(pair[1], 0xd9 | 0xda));
    !is_jpeg || marker.is_some_and(|marker| marker[1] == 0xd9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ExtendedColorType, ImageEncoder, Rgb, Rgba, RgbaImage};

    fn saved(image: &DynamicImage, name: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        image.save(&path).unwrap();
        (folder, path)
    }

    /// `7x + 3y` and the like, modulo 256: every pixel another.
    fn ramp(width: u32, height: u32) -> DynamicImage {
        image::RgbImage::from_fn(width, height, |x, y| Rgb([(7 * x + 3 * y) as u8, (5 * y + 11) as u8, (x * y) as u8]))
            .into()
    }

    /// The bytes of
    ///
    /// ```python
    /// import numpy as np; from PIL import Image
    /// x, y = np.meshgrid(np.arange(37), np.arange(24))
    /// a = np.stack([(7*x+3*y) % 256, (5*y+11) % 256, (x*y) % 256], -1).astype(np.uint8)
    /// im = Image.fromarray(a).resize((24, 16), Image.BILINEAR)   # torchvision: Resize(16) makes 24×16 of 37×24
    /// print(list(np.asarray(im.crop((4, 0, 20, 16)))[5, ::3].flatten()))   # CenterCrop(16)
    /// print(list(np.asarray(Image.fromarray(a).resize((16, 16), Image.BILINEAR))[5, ::3].flatten()))
    /// ```
    #[test]
    fn crop_and_stretch_equal_pil_and_torchvision() {
        let image = ramp(37, 24);
        for (fit, golden) in [(Fit::Crop, CROPPED), (Fit::Stretch, STRETCHED)] {
            let found = Resize { to: 16, fit }.apply(image.clone()).unwrap();
            let row: Vec<u8> = (0..16).step_by(3).flat_map(|x| found.get_pixel(x, 5).0).collect();
            let apart = row.iter().zip(golden).map(|(&a, b)| a.abs_diff(b)).max().unwrap();
            assert!(found.dimensions() == (16, 16) && apart <= 1, "{fit:?}: {row:?}");
        }
    }

    const CROPPED: [u8; 18] = [68, 50, 50, 100, 50, 86, 133, 50, 122, 165, 50, 158, 198, 50, 194, 230, 50, 202];
    const STRETCHED: [u8; 18] = [29, 50, 7, 76, 50, 59, 125, 50, 113, 173, 50, 167, 222, 50, 208, 13, 50, 103];

    #[test]
    fn an_image_that_would_grow_beyond_measure_is_refused_before_it_does() {
        let (_folder, path) = saved(&ramp(1, 16_000), "thin.png");
        let message = |fit| read_rgb(&path, Some(Resize { to: 1024, fit })).map(drop).unwrap_err().to_string();
        let found = message(Fit::Crop);
        assert!(found.ends_with("thin.png` is 1×16000, too long to be scaled to 1024: crop it first"), "{found}");
        let squeezed = read_rgb(&path, Some(Resize { to: 64, fit: Fit::Stretch })).unwrap();
        assert_eq!((squeezed.width, squeezed.height), (64, 64));
        assert_eq!(read_rgb(&path, Some(Resize { to: 16, fit: Fit::Crop })).unwrap().width, 16);
    }

    #[test]
    fn a_header_that_announces_too_many_pixels_is_refused_before_they_are_decoded() {
        let (_folder, path) = saved(&ramp(16, 16), "a.png");
        let mut bytes = fs::read(&path).unwrap();
        // IHDR: length, kind, width, height, five more bytes, CRC-32 of all but the length.
        bytes[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        fs::write(&path, &bytes).unwrap();
        let found = read_rgb(&path, None).unwrap_err().to_string();
        assert!(found.contains("a.png` is 16384×16384") && found.contains("67108864 pixels"), "{found}");
    }

    #[test]
    fn a_square_of_the_size_is_left_as_it_is() {
        let image = ramp(16, 16);
        for fit in [Fit::Crop, Fit::Stretch] {
            assert_eq!(Resize { to: 16, fit }.apply(image.clone()), Some(image.to_rgb8()));
        }
    }

    #[test]
    fn webp_is_read_and_transparency_refused() {
        let (_folder, path) = saved(&ramp(16, 20), "a.webp");
        let found = read_rgb(&path, None).unwrap();
        assert_eq!((found.width, found.height, &found.pixels), (16, 20, ramp(16, 20).to_rgb8().as_raw()));
        let opaque = RgbaImage::from_pixel(16, 16, Rgba([1, 2, 3, 255]));
        let (_folder, path) = saved(&opaque.clone().into(), "opaque.png");
        assert_eq!(read_rgb(&path, None).unwrap().pixels[..3], [1, 2, 3]);
        let mut hole = opaque;
        hole.put_pixel(3, 3, Rgba([1, 2, 3, 0]));
        let (_folder, path) = saved(&hole.into(), "hole.png");
        let error = read_rgb(&path, None).unwrap_err().to_string();
        assert!(error.contains("hole.png") && error.contains("transparent"), "{error}");
    }

    #[test]
    fn a_camera_that_was_turned_gives_an_upright_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turned.png");
        let image = ramp(16, 20).to_rgb8();
        // Exif with one entry: orientation (0x0112) 6, "the camera was turned left": rotate by 90 degrees clockwise.
        let exif = [&b"II*\0\x08\0\0\0\x01\0"[..], &[0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0], &[0; 4]].concat();
        let mut encoder = image::codecs::png::PngEncoder::new(fs::File::create(&path).unwrap());
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(&image, 16, 20, ExtendedColorType::Rgb8).unwrap();
        let found = read_rgb(&path, None).unwrap();
        assert_eq!((found.width, found.height), (20, 16));
        // The lower left corner comes to the upper left.
        assert_eq!(found.pixels[..3], image.get_pixel(0, 19).0);
    }

    #[test]
    fn a_jpeg_cut_anywhere_is_refused() {
        let (_folder, path) = saved(&ramp(48, 48), "a.jpg");
        let whole = fs::read(&path).unwrap();
        read_rgb(&path, None).unwrap();
        let mut out = vec![0; 48 * 48 * 3];
        let mut unfinished = 0;
        for len in 1..whole.len() - 1 {
            let found =
                square_of(&whole[..len], &|| path.as_path().into(), 48, None, &mut out).unwrap_err().to_string();
            let is_named =
                found.contains("a.jpg` is truncated: the JPEG's end is missing") || found.contains("cannot decode");
            assert!(is_named, "{len}: {found}");
            unfinished += usize::from(found.contains("truncated"));
        }
        assert!(unfinished > whole.len() / 4, "the decoder alone refuses few: {unfinished} of {}", whole.len());
        // What stands after the end is no reason to refuse.
        let padded = [&whole[..], &[0; 7]].concat();
        square_of(&padded, &|| path.as_path().into(), 48, None, &mut out).unwrap();
    }
}
