//! The `splits:` of a space: channel counts by layer.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The channel counts of one layer.
struct Depths(Vec<usize>);

impl<'de> Deserialize<'de> for Depths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Depths;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of channel counts, such as [16, 64]")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Depths, A::Error> {
                std::iter::from_fn(|| list.next_element().transpose()).collect::<Result<_, _>>().map(Depths)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Reads the map; a layer that is named twice is refused, where serde's own map would forget the first.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<usize>>, D::Error> {
    struct Splits;
    impl<'de> Visitor<'de> for Splits {
        type Value = BTreeMap<String, Vec<usize>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("layers with the channel counts to try there, such as {conv3_3: [16, 64]}")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut splits = BTreeMap::new();
            while let Some((layer, Depths(depths))) = map.next_entry::<String, _>()? {
                if splits.contains_key(&layer) {
                    let problem = format!("`{layer}` is named twice: write all its channel counts in one list");
                    return Err(A::Error::custom(problem));
                }
                splits.insert(layer, depths);
            }
            Ok(splits)
        }
    }
    deserializer.deserialize_map(Splits)
}
