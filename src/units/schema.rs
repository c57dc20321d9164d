//! Quantities as JSON Schema sees them: texts of a number and one of the quantity's units.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{BYTES, Bytes, DECIBEL, Decibel, Duration, LATENCY, Latency, MACS, MINUTES, Macs, Notation};

/// What [`Notation::parse`] takes for a number, as a regular expression.
const NUMBER: &str = r"\+?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE]-?[0-9]+)?";

impl Notation {
    fn schema(&self) -> Schema {
        let units: Vec<String> = self.units.iter().map(|(unit, _)| in_any_case(unit)).collect();
        json_schema!({
            "type": "string",
            "pattern": format!(r"^\s*{NUMBER}\s*({})\s*$", units.join("|")),
            "patternErrorMessage": format!("a number and its unit, for example `{}`", self.example),
            "examples": [self.example],
        })
    }
}

/// `MB` as `[mM][bB]`: units are read in any case, and JSON Schema's patterns have no flag for it.
fn in_any_case(unit: &str) -> String {
    unit.chars().map(|c| format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase())).collect()
}

macro_rules! quantity_schema {
    ($($quantity:ident: $notation:ident),*) => {$(
        impl JsonSchema for $quantity {
            fn schema_name() -> Cow<'static, str> {
                stringify!($quantity).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $notation.schema()
            }
        }
    )*};
}
quantity_schema!(Macs: MACS, Bytes: BYTES, Decibel: DECIBEL, Latency: LATENCY, Duration: MINUTES);
