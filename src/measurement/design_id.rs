//! How a design is called.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Stable name of a design: 1 to 64 characters of `a-z`, `0-9`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DesignId(Arc<str>);

/// A text that is no [`DesignId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no design id: 1 to {max} characters of a-z, 0-9, '_' and '-' are accepted", max = DesignId::MAX_LENGTH)]
pub struct InvalidDesignId(
    /// The text, cut to a few characters more than an id may have.
    pub String,
);

impl DesignId {
    /// Most characters that an id may have.
    pub const MAX_LENGTH: usize = 64;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DesignId {
    type Error = InvalidDesignId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(DesignId(text.into()))
        } else {
            Err(InvalidDesignId(text.chars().take(Self::MAX_LENGTH + 16).collect()))
        }
    }
}

impl FromStr for DesignId {
    type Err = InvalidDesignId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<DesignId> for String {
    fn from(id: DesignId) -> Self {
        id.as_str().to_owned()
    }
}

impl AsRef<str> for DesignId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DesignId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
