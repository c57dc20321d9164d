//! Exact cost of a pruned local net on the device.

use serde::Serialize;

use crate::backbone::{Architecture, BackboneError, Layer};
use crate::config::{PrecisionEntry, WeightsPrecision};
use crate::units::{Bytes, Latency, Macs};

/// Bytes of one activation while the local net runs (f32).
const ACTIVATION_BYTES: u64 = 4;

/// Red, green and blue.
const IMAGE_CHANNELS: u64 = 3;

/// What one image costs the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Multiply-accumulates of the convolutions.
    pub macs: Macs,
    /// Weights and biases.
    pub parameters: u64,
    /// The parameters' size at the precision of the stored weights.
    pub bytes: Bytes,
    /// Largest sum of all f32 values that stand in memory at once, when operations run one after the other and activations in place,
    /// the preparation of the image included.
    pub peak_memory: Bytes,
    /// The features' size at the precision of the upload.
    pub upload_bytes: Bytes,
    /// What an image takes on the profiled device; none where no profile is at hand.
    #[serde(rename = "latency_ns", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Side of the uploaded feature map.
    #[serde(skip)]
    pub side: usize,
}

impl Cost {
    /// Cost of the local net on square images of `image_side`, where the split `layer` keeps `depth` output channels.
    ///
    /// # Errors
    /// [`BackboneError::Side`] for images that the layer can't take.
    pub fn new(
        architecture: Architecture,
        layer: &Layer,
        image_side: usize,
        depth: usize,
        precision: PrecisionEntry,
    ) -> Result<Self, BackboneError> {
        let cost = architecture.cost(layer, image_side, depth)?;
        Ok(Self {
            macs: Macs(cost.macs),
            parameters: cost.parameters,
            bytes: Bytes(match precision.weights {
                WeightsPrecision::F16 => 2 * cost.parameters,
                WeightsPrecision::F32 => 4 * cost.parameters,
                // A byte each, a scale and a zero point for each filter, and everything else as it is.
                WeightsPrecision::Int8 => cost.weights + 5 * cost.filters + 4 * (cost.parameters - cost.weights),
            }),
            // Before the first operation the image is scaled and padded, from one map into another.
            peak_memory: Bytes(
                cost.peak_values.max(2 * IMAGE_CHANNELS * (image_side * image_side) as u64) * ACTIVATION_BYTES,
            ),
            upload_bytes: Bytes(cost.output.len() as u64 * precision.features.bytes()),
            latency: None,
            side: cost.output.height,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(name: &str, side: usize, depth: usize) -> Cost {
        let net = Architecture::vgg16();
        Cost::new(net, net.layer(name).unwrap(), side, depth, PrecisionEntry::default()).unwrap()
    }

    #[test]
    fn vgg16_costs_by_hand() {
        // conv1_1: 32·32·27·64 MACs, 28·64 parameters; conv1_2 with 16 of 64 channels: 32·32·576·16, 577·16.
        let cost = at("conv1_2", 32, 16);
        assert_eq!(cost.macs, Macs(1_769_472 + 9_437_184));
        assert_eq!(cost.parameters, 1_792 + 9_232);
        assert_eq!(cost.bytes, Bytes(2 * 11_024));
        assert_eq!(cost.peak_memory, Bytes(32 * 32 * (64 + 16) * 4));
        assert_eq!(cost.upload_bytes, Bytes(32 * 32 * 16 * 2));
        // conv2_1 runs on 16×16; the peak is the max-pool's 32×32×64 in and 16×16×64 out, or conv1_2's in and out.
        let deeper = at("conv2_1", 32, 128);
        assert_eq!(deeper.macs, Macs(1_769_472 + 37_748_736 + 18_874_368));
        assert_eq!(deeper.peak_memory, Bytes(32 * 32 * 128 * 4));
        assert_eq!(deeper.side, 16);
    }

    #[test]
    fn eight_bits_need_a_byte_a_weight_and_nine_a_filter() {
        let net = Architecture::vgg16();
        let precision = PrecisionEntry { weights: WeightsPrecision::Int8, ..PrecisionEntry::default() };
        let cost = Cost::new(net, net.layer("conv1_2").unwrap(), 32, 16, precision).unwrap();
        assert_eq!(cost.bytes, Bytes(27 * 64 + 576 * 16 + 9 * (64 + 16)));
    }

    #[test]
    fn cost_rises_with_depth() {
        let at = |depth| at("conv4_3", 32, depth);
        for depth in 1..64 {
            assert!(at(depth).macs < at(depth + 1).macs && at(depth).bytes < at(depth + 1).bytes);
        }
    }
}
