//! Exact cost of a pruned local net on the device.

use serde::Serialize;

use crate::backbone::Layer;
use crate::config::PrecisionEntry;
use crate::units::{Bytes, Macs};

/// Bytes of one activation while the local net runs (f32).
const ACTIVATION_BYTES: u64 = 4;

/// What one image costs the device. Exact for 3×3 convolutions with bias, padding 1, stride 1, and 2×2 max-pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Multiply-accumulates of the convolutions.
    pub macs: Macs,
    /// Weights and biases.
    pub parameters: u64,
    /// The parameters' size at the precision of the stored weights.
    pub bytes: Bytes,
    /// Largest sum of an operation's f32 input and output, when layers run one after the other.
    pub peak_memory: Bytes,
    /// The features' size at the precision of the upload.
    pub upload_bytes: Bytes,
    /// Side of the uploaded feature map.
    #[serde(skip)]
    pub side: usize,
}

impl Cost {
    /// Cost of `layers` (the last one is the split layer) on square images of `image_side`, where the split
    /// layer keeps `depth` output channels.
    pub fn new(layers: &[Layer], image_side: usize, depth: usize, precision: PrecisionEntry) -> Self {
        let (mut macs, mut parameters, mut peak) = (0u64, 0u64, 0u64);
        let mut side = image_side;
        for (i, layer) in layers.iter().enumerate() {
            let output = if i + 1 == layers.len() { depth } else { layer.out_channels };
            if layer.pool_before {
                let before = side * side * layer.in_channels;
                peak = peak.max((before + before / 4) as u64 * ACTIVATION_BYTES);
                side /= 2;
            }
            let pixels = side * side;
            macs += pixels as u64 * layer.weights(output);
            parameters += layer.weights(output) + layer.biases(output);
            peak = peak.max((pixels * (layer.in_channels + output)) as u64 * ACTIVATION_BYTES);
        }
        Self {
            macs: Macs(macs),
            parameters,
            bytes: Bytes(parameters * precision.weights.bytes()),
            peak_memory: Bytes(peak),
            upload_bytes: Bytes((side * side * depth) as u64 * precision.features.bytes()),
            side,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::Architecture;

    #[test]
    fn vgg16_costs_by_hand() {
        // conv1_1: 32·32·27·64 MACs, 28·64 parameters; conv1_2 with 16 of 64 channels: 32·32·576·16, 577·16.
        let cost = Cost::new(&Architecture::Vgg16.layers()[..2], 32, 16, PrecisionEntry::default());
        assert_eq!(cost.macs, Macs(1_769_472 + 9_437_184));
        assert_eq!(cost.parameters, 1_792 + 9_232);
        assert_eq!(cost.bytes, Bytes(2 * 11_024));
        assert_eq!(cost.peak_memory, Bytes(32 * 32 * (64 + 16) * 4));
        assert_eq!(cost.upload_bytes, Bytes(32 * 32 * 16 * 2));
        // conv2_1 runs on 16×16; the peak is the max-pool's 32×32×64 in and 16×16×64 out, or conv1_2's in and out.
        let deeper = Cost::new(&Architecture::Vgg16.layers()[..3], 32, 128, PrecisionEntry::default());
        assert_eq!(deeper.macs, Macs(1_769_472 + 37_748_736 + 18_874_368));
        assert_eq!(deeper.peak_memory, Bytes(32 * 32 * 128 * 4));
        assert_eq!(deeper.side, 16);
    }

    #[test]
    fn cost_rises_with_depth() {
        let at = |depth| Cost::new(Architecture::Vgg16.layers(), 32, depth, PrecisionEntry::default());
        for depth in 1..64 {
            assert!(at(depth).macs < at(depth + 1).macs && at(depth).bytes < at(depth + 1).bytes);
        }
    }
}
