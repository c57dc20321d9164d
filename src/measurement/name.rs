//! Enums whose variants have stable names.

/// A text that names no variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no {kind}; accepted are {}", accepted.join(", "))]
pub struct UnknownName {
    /// What was to be named: `metric` or `fidelity`.
    pub kind: &'static str,
    /// The text.
    pub found: String,
    /// All names there are.
    pub accepted: Vec<&'static str>,
}

/// Defines an enum whose variants have one stable name each, in text, JSON and Parquet alike.
macro_rules! named_enum {
    (
        $(#[$attribute:meta])*
        pub enum $type:ident ($kind:literal) {
            $($(#[$variant_attribute:meta])* $variant:ident = $name:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $type {
            $($(#[$variant_attribute])* #[serde(rename = $name)] $variant,)+
        }

        impl $type {
            /// All variants, in the order in which they are shown.
            pub const ALL: &[$type] = &[$($type::$variant),+];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::measurement::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|variant| variant.name() == text).ok_or_else(|| {
                    $crate::measurement::UnknownName {
                        kind: $kind,
                        found: text.chars().take(80).collect(),
                        accepted: Self::ALL.iter().map(|variant| variant.name()).collect(),
                    }
                })
            }
        }
    };
}

pub(super) use named_enum;
