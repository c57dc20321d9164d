//! What can go wrong when features are computed, kept or read.

use std::path::PathBuf;

use crate::backbone::BackboneError;
use crate::nn::NnError;

/// Why there are no features, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// A file or folder of the cache cannot be read or written.
    #[error("cannot {action} `{}`: check the folder's permissions and the space on its disk", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A cache file that [`FeatureCache::open`](super::FeatureCache::open) should map is not there or not whole.
    #[error("`{}` is not a whole feature file: compute the features first", path.display())]
    NotCached {
        /// The file.
        path: PathBuf,
    },
    /// The layer does not exist, has no weights, or cannot take images of this side.
    #[error(transparent)]
    Backbone(#[from] BackboneError),
    /// The net failed.
    #[error("the local net failed")]
    Net(#[source] NnError),
    /// An activation that is no number, or so much larger than those of the first images that f16 cannot hold it.
    #[error(
        "an activation of `{layer}` is {value}, beyond the {limit} that the first images left room for: \
         check weights and images"
    )]
    Overflow {
        /// The layer.
        layer: &'static str,
        /// The activation.
        value: f32,
        /// The largest that fits.
        limit: f32,
    },
    /// The interrupt flag was set.
    #[error("interrupted while the local net was running")]
    Interrupted,
    /// More images or labels are asked for than there are.
    #[error("{wanted} images or labels were asked for, there are {found}: use from 1 to {found}")]
    Rows {
        /// Number asked for.
        wanted: usize,
        /// Number there are.
        found: usize,
    },
    /// A channel that the layer does not have, or none at all.
    #[error("channels {channels:?} cannot be kept of a layer with {found}: name at least one, each below {found}")]
    Channels {
        /// The channels asked for.
        channels: Vec<u16>,
        /// Channels of the layer.
        found: usize,
    },
    /// A label beyond the last class.
    #[error("label {label} is not one of {classes} classes")]
    Label {
        /// The label.
        label: u16,
        /// The number of classes.
        classes: usize,
    },
}
