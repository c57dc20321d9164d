//! What is known in closed form of each output channel of a layer: utility against leakage, without any training.

use serde::{Deserialize, Serialize};

use crate::space::LayerInsight;

/// The channels of one split layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChannelMap {
    /// The layer.
    pub split: String,
    /// One a channel, in the layer's own numbering.
    pub channels: Vec<ChannelFigures>,
}

/// One channel's figures: stand-ins for choosing, never results.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChannelFigures {
    /// Fisher's criterion of the channel's map.
    pub fisher_map: f64,
    /// Fisher's criterion of the map's mean.
    pub fisher_pooled: f64,
    /// Class separation of the channel's mean over each quarter of the map.
    pub class_separation: f64,
    /// PSNR of what a linear map makes of this channel alone, single positions only, dB.
    pub linear_attack_psnr: f64,
    /// Whether it is the same on all training images.
    pub dead: bool,
}

impl ChannelMap {
    /// The channels of the layer `split`, by what is known of it.
    pub fn new(split: &str, insight: &LayerInsight) -> Self {
        let of = |channel: usize| ChannelFigures {
            fisher_map: insight.scores.fisher_map[channel],
            fisher_pooled: insight.scores.fisher_pooled[channel],
            class_separation: insight.moments.class_separation(&[channel as u16]),
            linear_attack_psnr: insight.moments.linear_attack_psnr(&[channel as u16]),
            dead: insight.scores.dead[channel],
        };
        Self { split: split.to_owned(), channels: (0..insight.scores.dead.len()).map(of).collect() }
    }

    /// Whether every figure can be stored: JSON knows no NaN.
    pub fn is_finite(&self) -> bool {
        self.channels.iter().all(|c| {
            [c.fisher_map, c.fisher_pooled, c.class_separation, c.linear_attack_psnr].iter().all(|f| f.is_finite())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn map(leakage: f64) -> ChannelMap {
        let channel = ChannelFigures {
            fisher_map: 0.2,
            fisher_pooled: 0.1,
            class_separation: 1.0,
            linear_attack_psnr: leakage,
            dead: false,
        };
        ChannelMap { split: "conv3_1".to_owned(), channels: vec![channel; 2] }
    }

    /// Conclusions that were written before there was a channel map are read as before.
    #[test]
    fn a_conclusion_is_read_with_and_without_its_channels() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/results/example/blobs/conclusion.json");
        let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let object = json.as_object_mut().unwrap();
        object.remove("channels");
        object["provenance"].as_object_mut().unwrap().remove("cores");
        let old: Record = serde_json::from_value(json).unwrap();
        assert_eq!((&old.channels, old.provenance.cores), (&None, None));
        assert!(!serde_json::to_string(&old).unwrap().contains("\"channels\":null"));
        let new = Record { channels: Some(map(12.5)), ..old };
        let read: Record = serde_json::from_str(&serde_json::to_string(&new).unwrap()).unwrap();
        assert_eq!(read.channels, Some(map(12.5)));
    }

    #[test]
    fn what_json_cannot_hold_is_noticed() {
        assert!(map(12.5).is_finite() && !map(f64::NAN).is_finite());
    }
}
