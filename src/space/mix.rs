//! Mixed channels: linear combinations of a layer's filters.

use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// D′ linear combinations of the C outputs of a convolution, `M z + o` of its outputs z before the ReLU, with a ReLU of
/// their own or without.
///
/// A convolution is linear: the combinations are folded into its weights and biases, `M W` and `M b + o`, so that a local net
/// that ends with them costs exactly what one costs that keeps D′ of the layer's channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// `[D′, C]`.
    weights: Arc<[f32]>,
    /// `[D′]`.
    offset: Arc<[f32]>,
    relu: bool,
}

impl Mix {
    /// Combinations by their weights `[D′, C]` and offsets `[D′]`; `None` unless these fit and are finite.
    pub fn new(weights: Vec<f32>, offset: Vec<f32>, relu: bool) -> Option<Self> {
        let fits = !offset.is_empty() && !weights.is_empty() && weights.len().is_multiple_of(offset.len());
        let finite = weights.iter().chain(&offset).all(|value| value.is_finite());
        (fits && finite).then(|| Self { weights: weights.into(), offset: offset.into(), relu })
    }

    /// The first `depth` combinations; `None` where there are fewer.
    pub fn first(&self, depth: usize) -> Option<Self> {
        let weights = self.weights.get(..depth * self.inputs())?;
        Self::new(weights.to_vec(), self.offset[..depth].to_vec(), self.relu)
    }

    /// Number of combinations D′.
    pub fn depth(&self) -> usize {
        self.offset.len()
    }

    /// Channels C of the layer.
    pub fn inputs(&self) -> usize {
        self.weights.len() / self.offset.len()
    }

    /// Whether a ReLU follows.
    pub fn relu(&self) -> bool {
        self.relu
    }

    /// Each combination's weights and offset.
    fn rows(&self) -> impl Iterator<Item = (&[f32], f32)> {
        self.weights.chunks_exact(self.inputs()).zip(self.offset.iter().copied())
    }

    /// Whether an attacker who holds this one's features can compute those of `part`: each of its combinations is one of
    /// these, and they have not lost their negative values.
    pub fn contains(&self, part: &Self) -> bool {
        (part.relu || !self.relu) && part.rows().all(|row| self.rows().any(|own| own == row))
    }

    /// The combinations of the outputs of all channels before the ReLU, `[positions, C]`, to `out`, `[positions, D′]`.
    pub fn apply(&self, values: &[f32], out: &mut [f32]) {
        let (inputs, depth) = (self.inputs(), self.depth());
        // By columns, so that one value of the layer is added to all combinations at once.
        let columns: Vec<f32> = (0..inputs * depth).map(|i| self.weights[i % depth * inputs + i / depth]).collect();
        for (values, out) in values.chunks_exact(inputs).zip(out.chunks_exact_mut(depth)) {
            out.copy_from_slice(&self.offset);
            for (value, column) in values.iter().zip(columns.chunks_exact(depth)) {
                for (out, weight) in out.iter_mut().zip(column) {
                    *out += value * weight;
                }
            }
            if self.relu {
                out.iter_mut().for_each(|value| *value = value.max(0.0));
            }
        }
    }

    /// Weights `[D′, …]` and biases of the convolution whose outputs are the combinations, from those of the layer.
    pub fn fold(&self, weight: &[f32], bias: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let size = weight.len() / bias.len();
        let combine = |row: &[f32], of: &dyn Fn(usize) -> f32| -> f64 {
            row.iter().enumerate().map(|(c, &m)| f64::from(m) * f64::from(of(c))).sum()
        };
        let weights = self.rows().flat_map(|(row, _)| {
            (0..size).map(move |i| combine(row, &|c| weight[c * size + i]) as f32).collect::<Vec<_>>()
        });
        let biases = self.rows().map(|(row, offset)| (combine(row, &|c| bias[c]) + f64::from(offset)) as f32);
        (weights.collect(), biases.collect())
    }

    /// What a name of the design is made from.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let values = self.weights.iter().chain(self.offset.iter()).flat_map(|value| value.to_le_bytes());
        std::iter::once(u8::from(self.relu)).chain(values).collect()
    }
}

/// Written as text: eight hexadecimal digits a number, the bits of an IEEE single.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    depth: usize,
    relu: bool,
    weights: String,
    offset: String,
}

fn to_hex(values: &[f32]) -> String {
    values.iter().map(|value| format!("{:08x}", value.to_bits())).collect()
}

fn from_hex(text: &str) -> Option<Vec<f32>> {
    if !text.is_ascii() || !text.len().is_multiple_of(8) {
        return None;
    }
    let value = |i: usize| u32::from_str_radix(&text[i..i + 8], 16).ok().map(f32::from_bits);
    (0..text.len()).step_by(8).map(value).collect()
}

impl Serialize for Mix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (weights, offset) = (to_hex(&self.weights), to_hex(&self.offset));
        Written { depth: self.depth(), relu: self.relu, weights, offset }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { depth, relu, weights, offset } = Written::deserialize(deserializer)?;
        from_hex(&weights)
            .zip(from_hex(&offset))
            .filter(|(_, offset)| offset.len() == depth)
            .and_then(|(weights, offset)| Self::new(weights, offset, relu))
            .ok_or_else(|| {
                D::Error::custom("a mix of channels whose weights and offsets are not `depth` rows of numbers")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(relu: bool) -> Mix {
        Mix::new(vec![1.0, -2.0, 0.5, 0.25, 0.0, -1.0], vec![0.5, -1.0], relu).unwrap()
    }

    #[test]
    fn combinations_by_hand() {
        let mut out = [0.0; 4];
        mix(false).apply(&[1.0, 2.0, 4.0, 0.0, 0.0, 1.0], &mut out);
        assert_eq!(out, [-0.5, -4.75, 1.0, -2.0]);
        mix(true).apply(&[1.0, 2.0, 4.0, 0.0, 0.0, 1.0], &mut out);
        assert_eq!(out, [0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn folded_weights_give_the_combinations() {
        // A 1×1 layer of three channels on two inputs.
        let (weight, bias) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.1, 0.2, 0.3]);
        let x = [0.7, -0.3];
        let run = |weight: &[f32], bias: &[f32]| -> Vec<f32> {
            weight.chunks_exact(2).zip(bias).map(|(w, b)| w[0] * x[0] + w[1] * x[1] + b).collect()
        };
        let mut expected = [0.0; 2];
        mix(false).apply(&run(&weight, &bias), &mut expected);
        let (weight, bias) = mix(false).fold(&weight, &bias);
        for (found, expected) in run(&weight, &bias).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn what_holds_more_contains_what_holds_less() {
        let (whole, cut) = (mix(false), mix(true));
        let first = whole.first(1).unwrap();
        assert!(whole.contains(&first) && !first.contains(&whole));
        assert!(whole.contains(&cut) && !cut.contains(&whole), "a ReLU loses the negative values");
        assert_eq!(whole.first(3), None);
    }

    #[test]
    fn written_and_read_to_the_bit() {
        let mix = Mix::new(vec![0.1, f32::MIN_POSITIVE, -1e30, 3.0], vec![1.0 / 3.0, -0.0], true).unwrap();
        let text = serde_json::to_string(&mix).unwrap();
        assert_eq!(serde_json::from_str::<Mix>(&text).unwrap().bytes(), mix.bytes());
        for (from, to) in [("\"depth\":2", "\"depth\":3"), ("3eaaaaab", "3eaaaaaZ"), ("3eaaaaab", "7f800000")] {
            assert!(text.contains(from));
            assert!(serde_json::from_str::<Mix>(&text.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() {
        assert!(Mix::new(vec![1.0; 5], vec![0.0; 2], true).is_none());
        assert!(Mix::new(vec![], vec![], true).is_none());
        assert!(Mix::new(vec![f32::NAN, 1.0], vec![0.0; 2], true).is_none());
    }
}
