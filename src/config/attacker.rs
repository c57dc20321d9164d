//! Whom the privacy bounds of a budget must hold against.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pairs that an attacker must hold for an attack by training to be worth its name.
const LEAST_PAIRS: usize = 16;

/// What the attacker has, beside images of his own. The default is the strongest: all training images as pairs, and the local
/// net with its channels.
///
/// Whoever knows the local net makes pairs by running it on his images, so that a number of pairs limits only one who doesn't. Not
/// knowing its channels helps against him only where he has none: one pair betrays them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, expecting = "keys and values such as {knows_local_net: true}")]
pub struct Attacker {
    /// (feature, image) pairs that he holds; as many as there are training images where absent.
    pub pairs: Option<usize>,
    /// Whether he knows the local net's weights, so that he can invert it.
    pub knows_local_net: bool,
    /// Whether he knows which of the layer's output channels the features are.
    pub knows_channels: bool,
}

impl Default for Attacker {
    fn default() -> Self {
        Self { pairs: None, knows_local_net: true, knows_channels: true }
    }
}

impl Attacker {
    /// The pairs that limit his trainings; without any he makes as many as he has images.
    pub fn limit(self) -> Option<usize> {
        self.pairs.filter(|&pairs| pairs > 0)
    }

    /// Who he is, in sentences, where he has `images` images.
    pub fn describe(self, images: usize) -> String {
        let pairs = match self.limit() {
            Some(pairs) => format!("holds {} (feature, image) pairs", pairs.min(images)),
            None if self.pairs.is_none() => format!("holds {images} (feature, image) pairs"),
            None => format!(
                "holds no (feature, image) pair, but makes {images} by running the local net on images of his own"
            ),
        };
        let channels = match self.knows_channels {
            true => "knows which channels the features are",
            false => "must find out by the features' statistics which channels they are",
        };
        let net = match self.knows_local_net {
            true => "He knows the local net's weights, so that he can invert it.",
            false => "He does not know the local net's weights; one who does may recover more.",
        };
        format!("The attacker sees the uploaded features, {pairs}, and {channels}. {net}")
    }

    /// What makes no sense of an attacker: the field, its value, and what is accepted.
    pub(super) fn problem(self) -> Option<(&'static str, String, String)> {
        match self {
            Self { pairs: Some(0), knows_local_net: false, .. } => Some((
                "pairs",
                "0".to_owned(),
                "an attacker with neither pairs nor the local net is no basis for a promise; give him either (how far he gets: \
                 `privynet audit --attacks shadow`)"
                    .to_owned(),
            )),
            Self { pairs: Some(pairs @ 1..LEAST_PAIRS), .. } => Some((
                "pairs",
                pairs.to_string(),
                format!(
                    "must be at least {LEAST_PAIRS}, with fewer no decoder learns anything; or 0: he makes pairs with the local net"
                ),
            )),
            Self { pairs: Some(pairs @ 1..), knows_local_net: true, .. } => Some((
                "pairs",
                pairs.to_string(),
                "an attacker who knows the local net makes as many pairs as he has images, however few he was given: leave `pairs` \
                 out, or write `knows_local_net: false` beside it"
                    .to_owned(),
            )),
            Self { pairs, knows_channels: false, .. } if pairs != Some(0) => Some((
                "knows_channels",
                "false".to_owned(),
                "an attacker who holds pairs reads the channels off them: write `pairs: 0` beside it".to_owned(),
            )),
            _ => None,
        }
    }
}
