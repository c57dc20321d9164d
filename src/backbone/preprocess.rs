//! From image bytes to a net's input.

/// `255·x − mean` for x in [0, 1], per colour: bytes less the mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preprocess {
    /// Mean of red, green and blue in the units of bytes.
    pub mean: [f32; 3],
}

impl Preprocess {
    /// Fills `out` from RGB bytes; both are `[n, height, width, 3]`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn apply(&self, rgb: &[u8], out: &mut [f32]) {
        assert_eq!(rgb.len(), out.len(), "as many values as bytes");
        for (values, bytes) in out.chunks_exact_mut(3).zip(rgb.chunks_exact(3)) {
            for ((value, &byte), mean) in values.iter_mut().zip(bytes).zip(self.mean) {
                *value = f32::from(byte) - mean;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::backbone::Architecture;

    #[test]
    fn centres_each_colour() {
        let mut out = [0.0; 6];
        Architecture::Vgg16.preprocess().apply(&[0, 0, 0, 255, 128, 1], &mut out);
        let expected = [-123.68, -116.779, -103.939, 255.0 - 123.68, 128.0 - 116.779, 1.0 - 103.939];
        assert_eq!(out, expected);
    }
}
