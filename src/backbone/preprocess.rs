//! From image bytes to a net's input.

use serde::{Deserialize, Serialize};

/// `scale·byte + shift`, per colour: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocess {
    /// Factors of the bytes.
    pub scale: [f32; 3],
    /// Added to them.
    pub shift: [f32; 3],
}

impl Preprocess {
    /// Bytes less ImageNet's mean colour: what VGG's authors trained on, and Caffe's nets.
    pub const CAFFE: Self = Self { scale: [1.0; 3], shift: [-123.68, -116.779, -103.939] };
    /// ImageNet's mean and spread of pixels in [0, 1]: torchvision's nets.
    pub const IMAGENET: Self = Self::standardising([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    /// Pixels in [0, 1].
    pub const UNIT: Self = Self { scale: [1.0 / 255.0; 3], shift: [0.0; 3] };
    /// Pixels in [−1, 1]: most of TensorFlow's nets.
    pub const SYMMETRIC: Self = Self::standardising([0.5; 3], [0.5; 3]);
    /// The bytes themselves: the net does the rest.
    pub const BYTES: Self = Self { scale: [1.0; 3], shift: [0.0; 3] };

    /// `(x − mean) / std` of pixels x in [0, 1].
    pub const fn standardising(mean: [f32; 3], std: [f32; 3]) -> Self {
        let (mut scale, mut shift) = ([0.0; 3], [0.0; 3]);
        let mut colour = 0;
        while colour < 3 {
            scale[colour] = 1.0 / (255.0 * std[colour]);
            shift[colour] = -mean[colour] / std[colour];
            colour += 1;
        }
        Self { scale, shift }
    }

    /// Fills `out` from RGB bytes; both are `[n, height, width, 3]`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn apply(&self, rgb: &[u8], out: &mut [f32]) {
        assert_eq!(rgb.len(), out.len(), "as many values as bytes");
        for (values, bytes) in out.chunks_exact_mut(3).zip(rgb.chunks_exact(3)) {
            for (colour, (value, &byte)) in values.iter_mut().zip(bytes).enumerate() {
                *value = f32::from(byte) * self.scale[colour] + self.shift[colour];
            }
        }
    }

    /// The net's input for pixels in [0, 1], `[n, height, width, 3]`.
    pub fn of_unit(&self, pixels: &[f32]) -> Vec<f32> {
        let value = |(at, x): (usize, &f32)| x * 255.0 * self.scale[at % 3] + self.shift[at % 3];
        pixels.iter().enumerate().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_and_shifts_each_colour() {
        let mut out = [0.0; 6];
        Preprocess::CAFFE.apply(&[0, 0, 0, 255, 128, 1], &mut out);
        let expected = [-123.68, -116.779, -103.939, 255.0 - 123.68, 128.0 - 116.779, 1.0 - 103.939];
        assert_eq!(out, expected);
        Preprocess::IMAGENET.apply(&[0, 0, 0, 255, 255, 255], &mut out);
        // (1 − mean) / std, as torchvision prints it.
        let expected = [-2.117_9, -2.035_7, -1.804_4, 2.248_9, 2.428_6, 2.64];
        assert!(out.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-4), "{out:?}");
        let unit = Preprocess::IMAGENET.of_unit(&[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        assert!(out.iter().zip(unit).all(|(found, expected)| (found - expected).abs() < 1e-5), "{out:?}");
    }
}
