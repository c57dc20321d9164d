//! Quantities with units: parsing, display and the errors that teach the notation.
//!
//! A budget file never holds a bare number where a unit matters: `30` could be MACs or MMACs, and the
//! difference is a product that does not fit its device. Every quantity here is a newtype that parses
//! `NUMBER UNIT`, refuses what is negative or not finite, and prints itself the way it is written.
//!
//! ```
//! use privynet::units::{Bytes, Macs};
//!
//! assert_eq!("30 MMAC".parse(), Ok(Macs(30_000_000)));
//! assert_eq!(Bytes(307_200).to_string(), "300 KiB");
//! let refused = "30".parse::<Macs>().unwrap_err().to_string();
//! assert_eq!(refused, "`30` has no unit: write for example `30 MMAC`");
//! ```

mod schema;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// A number without a unit.
    #[error("`{text}` has no unit: write for example `{example}`")]
    MissingUnit {
        /// What was written.
        text: String,
        /// A well-formed quantity.
        example: &'static str,
    },
    /// The unit is not one of this quantity's.
    #[error("`{unit}` is not a unit of {quantity}: accepted are {accepted}, for example `{example}`")]
    UnknownUnit {
        /// The unit that was written.
        unit: String,
        /// What is measured.
        quantity: &'static str,
        /// The accepted units.
        accepted: String,
        /// A well-formed quantity.
        example: &'static str,
    },
    /// What stands before the unit is not a number.
    #[error("`{text}` does not start with a number: write for example `{example}`")]
    NotANumber {
        /// What was written.
        text: String,
        /// A well-formed quantity.
        example: &'static str,
    },
    /// Negative, infinite or NaN.
    #[error("`{text}` is not a finite number of at least 0, as {quantity} must be")]
    OutOfRange {
        /// What was written.
        text: String,
        /// What is measured.
        quantity: &'static str,
    },
}

/// One kind of quantity: its name, an example and its units in ascending order.
struct Notation {
    quantity: &'static str,
    example: &'static str,
    units: &'static [(&'static str, f64)],
}

impl Notation {
    /// Parses `NUMBER UNIT` into the base unit.
    fn parse(&self, text: &str) -> Result<f64, QuantityError> {
        let text = text.trim();
        let end = text
            .char_indices()
            .take_while(|&(i, c)| {
                c.is_ascii_digit()
                    || c == '.'
                    || c == '_'
                    || ((c == '-' || c == '+') && (i == 0 || text[..i].ends_with(['e', 'E'])))
                    || (matches!(c, 'e' | 'E')
                        && i > 0
                        && text[i + 1..].starts_with(|d: char| d.is_ascii_digit() || d == '-'))
            })
            .map(|(i, c)| i + c.len_utf8())
            .last()
            .unwrap_or(0);
        let (number, unit) = text.split_at(end);
        let unit = unit.trim();
        let out_of_range = || QuantityError::OutOfRange { text: text.to_owned(), quantity: self.quantity };
        let named = |name: &str| text.to_ascii_lowercase().starts_with(name);
        if ["nan", ".nan", "inf", ".inf", "-inf", "-.inf"].iter().any(|n| named(n)) {
            return Err(out_of_range());
        }
        let number: f64 = number
            .replace('_', "")
            .parse()
            .map_err(|_| QuantityError::NotANumber { text: text.to_owned(), example: self.example })?;
        if !number.is_finite() || number < 0.0 {
            return Err(out_of_range());
        }
        if unit.is_empty() {
            return Err(QuantityError::MissingUnit { text: text.to_owned(), example: self.example });
        }
        let factor =
            self.units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|&(_, factor)| factor).ok_or_else(
                || QuantityError::UnknownUnit {
                    unit: unit.to_owned(),
                    quantity: self.quantity,
                    accepted: self.units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
                    example: self.example,
                },
            )?;
        Ok(number * factor)
    }
}

const MACS: Notation = Notation {
    quantity: "compute",
    example: "30 MMAC",
    units: &[("MAC", 1.0), ("kMAC", 1e3), ("MMAC", 1e6), ("GMAC", 1e9)],
};
const BYTES: Notation = Notation {
    quantity: "a size",
    example: "300 KiB",
    units: &[
        ("B", 1.0),
        ("kB", 1e3),
        ("KiB", 1024.0),
        ("MB", 1e6),
        ("MiB", 1_048_576.0),
        ("GB", 1e9),
        ("GiB", 1_073_741_824.0),
    ],
};
const DECIBEL: Notation = Notation { quantity: "a PSNR", example: "18 dB", units: &[("dB", 1.0)] };
const LATENCY: Notation = Notation {
    quantity: "a latency",
    example: "5 ms",
    units: &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)],
};
const MINUTES: Notation =
    Notation { quantity: "a duration", example: "20 min", units: &[("s", 1.0), ("min", 60.0), ("h", 3600.0)] };

/// Writes `value` with at most `digits` decimals and no trailing zeros.
fn trimmed(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Multiply-accumulate operations for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Macs(pub u64);

impl fmt::Display for Macs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0 as f64;
        let text = match self.0 {
            0..1_000 => format!("{} MAC", self.0),
            1_000..1_000_000 => format!("{} kMAC", trimmed(n / 1e3, 1)),
            1_000_000..1_000_000_000 => format!("{} MMAC", trimmed(n / 1e6, 1)),
            _ => format!("{} GMAC", trimmed(n / 1e9, 2)),
        };
        f.pad(&text)
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0 as f64;
        let text = match self.0 {
            0..1_024 => format!("{} B", self.0),
            1_024..1_048_576 => format!("{} KiB", trimmed(n / 1024.0, 1)),
            1_048_576..1_073_741_824 => format!("{} MiB", trimmed(n / 1_048_576.0, 2)),
            _ => format!("{} GiB", trimmed(n / 1_073_741_824.0, 2)),
        };
        f.pad(&text)
    }
}

/// A peak signal-to-noise ratio in decibels.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Decibel(pub f64);

impl fmt::Display for Decibel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} dB", trimmed(self.0, 2)))
    }
}

/// What one image takes, in nanoseconds, written `5 ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Latency(pub u64);

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0 as f64;
        let text = match self.0 {
            0..1_000 => format!("{} ns", self.0),
            1_000..1_000_000 => format!("{} us", trimmed(n / 1e3, 1)),
            1_000_000..1_000_000_000 => format!("{} ms", trimmed(n / 1e6, 3)),
            _ => format!("{} s", trimmed(n / 1e9, 3)),
        };
        f.pad(&text)
    }
}

/// A duration in seconds, written `20 min`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Duration(pub f64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            s if s < 90.0 => format!("{} s", trimmed(s, 0)),
            s if s < 5400.0 => format!("{} min", trimmed(s / 60.0, 1)),
            s => format!("{} h", trimmed(s / 3600.0, 1)),
        };
        f.pad(&text)
    }
}

impl FromStr for Macs {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        MACS.parse(text).map(|n| Self(n.round() as u64))
    }
}

impl FromStr for Bytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        BYTES.parse(text).map(|n| Self(n.round() as u64))
    }
}

impl FromStr for Decibel {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        DECIBEL.parse(text).map(Self)
    }
}

impl FromStr for Latency {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        LATENCY.parse(text).map(|n| Self(n.round() as u64))
    }
}

impl FromStr for Duration {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        MINUTES.parse(text).map(Self)
    }
}

/// Reads a YAML scalar (text or bare number) as a quantity, so that a bare number gets the message about
/// its missing unit and not one about types.
fn deserialize_quantity<'de, D, Q>(deserializer: D) -> Result<Q, D::Error>
where
    D: Deserializer<'de>,
    Q: FromStr<Err = QuantityError>,
{
    struct Scalar<Q>(std::marker::PhantomData<Q>);
    impl<Q: FromStr<Err = QuantityError>> serde::de::Visitor<'_> for Scalar<Q> {
        type Value = Q;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a quantity with its unit, such as `30 MMAC`, `300 KiB` or `18 dB`")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Q, E> {
            text.parse().map_err(E::custom)
        }
        fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Q, E> {
            self.visit_str(&n.to_string())
        }
        fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Q, E> {
            self.visit_str(&n.to_string())
        }
        fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Q, E> {
            self.visit_str(&n.to_string())
        }
    }
    deserializer.deserialize_any(Scalar(std::marker::PhantomData))
}

macro_rules! quantity_serde {
    ($($quantity:ty),*) => {$(
        impl<'de> Deserialize<'de> for $quantity {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_quantity(deserializer)
            }
        }
        impl Serialize for $quantity {
            /// The number in base units (MACs, bytes, decibels, nanoseconds, seconds).
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }
    )*};
}
quantity_serde!(Macs, Bytes, Decibel, Latency, Duration);

/// A share of the whole, as `0.95` or `95 %`; for `deserialize_with`.
///
/// # Errors
/// The deserializer's, for anything else.
pub fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(f64),
        Text(String),
    }
    let wrong =
        |text: &str| serde::de::Error::custom(format!("`{text}` is no share: write for example `0.95` or `95 %`"));
    match Written::deserialize(deserializer)? {
        Written::Number(share) => Ok(share),
        Written::Text(text) => {
            let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            percent.map(|percent| percent / 100.0).ok_or_else(|| wrong(&text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_or_a_percentage() {
        #[derive(Deserialize)]
        struct Holder(#[serde(deserialize_with = "share")] f64);
        let read = |json: &str| serde_json::from_str::<Holder>(json).map(|holder| holder.0);
        for (json, expected) in [("0.95", 0.95), ("\"95 %\"", 0.95), ("\"97.5%\"", 0.975), ("1", 1.0)] {
            assert!((read(json).unwrap() - expected).abs() < 1e-12, "{json}");
        }
        let error = read("\"sure\"").unwrap_err().to_string();
        assert!(error.contains("`sure`") && error.contains("95 %"), "{error}");
    }

    #[test]
    fn quantities_parse_with_their_units() {
        assert_eq!("30 MMAC".parse(), Ok(Macs(30_000_000)));
        assert_eq!("1.5GMAC".parse(), Ok(Macs(1_500_000_000)));
        assert_eq!("300 KiB".parse(), Ok(Bytes(307_200)));
        assert_eq!("2e3 B".parse(), Ok(Bytes(2_000)));
        assert_eq!("18 dB".parse(), Ok(Decibel(18.0)));
        assert_eq!("20 min".parse(), Ok(Duration(1200.0)));
        assert_eq!("5 ms".parse(), Ok(Latency(5_000_000)));
        assert_eq!("800us".parse(), Ok(Latency(800_000)));
        assert_eq!("0.2 s".parse(), Ok(Latency(200_000_000)));
    }

    #[test]
    fn what_is_shown_parses_back() {
        for macs in [0, 999, 30_000_000, 1_500_000_000] {
            assert_eq!(Macs(macs).to_string().parse(), Ok(Macs(macs)));
        }
        for bytes in [17, 307_200, 1_048_576, 3 << 30] {
            assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }
        for nanoseconds in [640, 999_900, 1_234_000, 5_000_000, 1_500_000_000] {
            assert_eq!(Latency(nanoseconds).to_string().parse(), Ok(Latency(nanoseconds)));
        }
    }

    #[test]
    fn errors_say_what_is_accepted() {
        let message = |text: &str| text.parse::<Bytes>().unwrap_err().to_string();
        assert_eq!(message("300"), "`300` has no unit: write for example `300 KiB`");
        assert!(message("300 KB2").contains("accepted are B, kB, KiB, MB, MiB, GB, GiB"));
        assert!(message("-3 KiB").contains("at least 0"));
        assert!(message(".nan").contains("finite"));
        assert!(message("NaN KiB").contains("finite"));
        assert!(message("lots").contains("does not start with a number"));
        assert!(message("1e999 KiB").contains("finite"));
    }
}
