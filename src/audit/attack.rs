//! The attacks of an audit: what each needs, and who can mount it.

use serde::{Deserialize, Serialize};

use crate::config::Attacker;

/// An attack of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attack {
    /// Convolutional ridge regression.
    Linear,
    /// Kernel ridge regression.
    Kernel,
    /// The reference protocol's small decoder.
    ReferenceDecoder,
    /// A deep decoder for squared error and its logarithm.
    StrongDecoder,
    /// A deep decoder for absolute error and structural similarity.
    PerceptualDecoder,
    /// A weighted sum of what all these reconstruct.
    Ensemble,
    /// Gradient descent on the image.
    Inversion,
    /// The reference decoder by an attacker who must find out the channels.
    SecretChannels,
    /// A decoder of a shadow of the local net.
    Shadow,
}

impl Attack {
    /// From the simplest to the strongest, then those of attackers who lack pairs.
    pub const ALL: [Attack; 9] = [
        Self::Linear,
        Self::Kernel,
        Self::ReferenceDecoder,
        Self::StrongDecoder,
        Self::PerceptualDecoder,
        Self::Ensemble,
        Self::Inversion,
        Self::SecretChannels,
        Self::Shadow,
    ];

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Linear => "local linear map (3×3 ridge)",
            Self::Kernel => "kernel ridge regression",
            Self::ReferenceDecoder => "reference decoder",
            Self::StrongDecoder => "deep decoder, squared error",
            Self::PerceptualDecoder => "deep decoder, absolute error and SSIM",
            Self::Ensemble => "ensemble of these",
            Self::Inversion => "white-box inversion",
            Self::SecretChannels => "decoder, channels to be found out",
            Self::Shadow => "shadow of the local net, no pairs",
        }
    }

    /// Whether an ensemble counts it in.
    pub fn is_member(self) -> bool {
        !matches!(self, Self::Ensemble | Self::Inversion) && !self.lacks_pairs()
    }

    /// Whether it starts with less than the pairs: then it says nothing of how well an attack was trained that has them.
    pub fn lacks_pairs(self) -> bool {
        matches!(self, Self::SecretChannels | Self::Shadow)
    }

    /// Whether `attacker` can mount it.
    pub fn is_within(self, attacker: Attacker) -> bool {
        let makes_pairs = attacker.knows_local_net && attacker.knows_channels;
        match self {
            Self::Linear
            | Self::Kernel
            | Self::ReferenceDecoder
            | Self::StrongDecoder
            | Self::PerceptualDecoder
            | Self::Ensemble => attacker.limit().is_some() || attacker.pairs.is_none() || makes_pairs,
            // Pairs betray the channels.
            Self::Inversion => attacker.knows_local_net && (attacker.knows_channels || attacker.pairs != Some(0)),
            Self::SecretChannels => attacker.knows_local_net,
            Self::Shadow => true,
        }
    }

    /// What the attacker must have.
    pub fn needs(self) -> &'static str {
        match self {
            Self::Linear
            | Self::Kernel
            | Self::ReferenceDecoder
            | Self::StrongDecoder
            | Self::PerceptualDecoder
            | Self::Ensemble => "(feature, image) pairs; not the local net",
            Self::Inversion => "the local net's weights and its channels; pairs for its start and its prior's weight",
            Self::SecretChannels => {
                "the local net's weights but not which channels it keeps, users' features and images of his own; no pairs"
            }
            Self::Shadow => {
                "the trained cloud net, users' features and labelled images of his own; neither pairs nor the local net"
            }
        }
    }
}
