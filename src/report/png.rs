//! Pixels to PNG files and data URIs, and scaling by whole factors.

use super::{ReportError, view::Picture};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

/// Encodes a picture losslessly.
pub(super) fn encode(picture: &Picture) -> Result<Vec<u8>, ReportError> {
    let mut file = Vec::new();
    PngEncoder::new_with_quality(&mut file, CompressionType::Default, FilterType::Adaptive)
        .write_image(&picture.rgb, picture.width, picture.height, ExtendedColorType::Rgb8)
        .map_err(|e| ReportError::Encode { message: e.to_string() })?;
    Ok(file)
}

/// A picture as a `data:` URI of a PNG.
pub(super) fn data_uri(picture: &Picture) -> Result<String, ReportError> {
    Ok(format!("data:image/png;base64,{}", base64(&encode(picture)?)))
}

/// Repeats every pixel `factor` times in both directions (nearest neighbour).
pub(super) fn enlarge(picture: &Picture, factor: u32) -> Picture {
    let (width, height) = (picture.width * factor, picture.height * factor);
    let mut rgb = Vec::with_capacity(3 * width as usize * height as usize);
    for row in picture.rgb.chunks_exact(3 * picture.width as usize) {
        let start = rgb.len();
        for pixel in row.chunks_exact(3) {
            for _ in 0..factor {
                rgb.extend_from_slice(pixel);
            }
        }
        let end = rgb.len();
        for _ in 1..factor {
            rgb.extend_from_within(start..end);
        }
    }
    Picture { width, height, rgb }
}

/// Averages squares of `factor` × `factor` pixels; what is left over at the right and below is cut off.
pub(super) fn shrink(picture: &Picture, factor: u32) -> Picture {
    let (width, height) = (picture.width / factor, picture.height / factor);
    let (factor, stride) = (factor as usize, 3 * picture.width as usize);
    let area = (factor * factor) as u32;
    let mut rgb = Vec::with_capacity(3 * width as usize * height as usize);
    for y in 0..height as usize {
        for x in 0..width as usize {
            for channel in 0..3 {
                let mut sum = area / 2;
                for dy in 0..factor {
                    let row = (y * factor + dy) * stride + 3 * x * factor + channel;
                    sum += (0..factor).map(|dx| u32::from(picture.rgb[row + 3 * dx])).sum::<u32>();
                }
                rgb.push((sum / area) as u8);
            }
        }
    }
    Picture { width, height, rgb }
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, &b| group << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_vectors_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn enlarging_then_shrinking_gives_the_picture_back() {
        let picture = Picture { width: 2, height: 2, rgb: (0..12).map(|i| i * 20).collect() };
        let large = enlarge(&picture, 3);
        assert_eq!((large.width, large.height, large.rgb.len()), (6, 6, 108));
        assert_eq!(large.rgb[..9], [0, 20, 40, 0, 20, 40, 0, 20, 40]);
        assert_eq!(shrink(&large, 3).rgb, picture.rgb);
    }

    #[test]
    fn an_encoded_picture_decodes_to_itself() {
        let picture = Picture { width: 3, height: 2, rgb: (0..18).map(|i| i * 14).collect() };
        let decoded = image::load_from_memory(&encode(&picture).unwrap()).unwrap().to_rgb8();
        assert_eq!((decoded.dimensions(), decoded.into_raw()), ((3, 2), picture.rgb));
    }
}
