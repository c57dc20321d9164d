//! The channels of one layer, each by what it is worth and what it gives away.

use serde::Serialize;

/// The channels of the chosen design's split layer.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelsView {
    /// The layer.
    pub split: String,
    /// One a channel, in the layer's own numbering.
    pub channels: Vec<Channel>,
}

/// One channel, in closed form: stand-ins for choosing, never results.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Channel {
    /// Class separation of the channel's means over the quarters of its map.
    pub utility: f64,
    /// PSNR of what a linear map makes of this channel alone, in dB.
    pub leakage: f64,
    /// Fisher's criterion of its map, and of the map's mean.
    pub fisher: [f64; 2],
    /// Whether it is the same on all training images.
    pub dead: bool,
    /// Whether the chosen design keeps it.
    pub chosen: bool,
}
