//! What the local net makes of the images: its layers' outputs, computed once and kept in files.
//!
//! The net is frozen, so an image's features at a layer never change. [`FeatureCache::ensure`] runs the net once for
//! all layers that are asked for and writes every channel of each layer to a file that is named by what it was made
//! from; where a file costs more than it saves, or more room than there is, [`LayerFeatures::compute`] runs the net again
//! for each image that is read. A design's features are a [`FeatureView`] of one layer: its channels, standardised by statistics of training
//! images alone. [`ChannelScores`] rank the channels of a layer by how well they tell classes apart.

mod cache;
mod computed;
mod error;
mod extract;
mod file;
mod layer;
mod scores;
mod standardise;
mod view;

pub use cache::{FeatureCache, Origin};
pub use error::FeatureError;
pub use extract::Extraction;
pub use layer::LayerFeatures;
pub use scores::{ChannelScores, Scatter, channel_scores, scatter};
pub use standardise::{ChannelMoments, Standardisation};
pub use view::FeatureView;

#[cfg(test)]
mod fixtures;
