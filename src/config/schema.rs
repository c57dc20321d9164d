//! What the files hold, as JSON Schema (draft 2020-12): for editors, which complete and check YAML by it.
//!
//! It is derived from the structs that are parsed, so that the two can't differ in a key; what is parsed by hand has its schema
//! beside it. A file that a schema accepts may still be refused: that layers and images exist, and that numbers go together, is
//! for `privynet check` to say.

use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::{SpaceFile, budget_file, replay_file};
use crate::backbone::Architecture;

/// The files that users write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A search space: `space.yaml`
    Space,
    /// A budget: `budget.yaml`
    Budget,
    /// The budget of a `replay`
    Replay,
}

/// The schema of a file.
pub fn schema(kind: FileKind) -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    // Editors differ in what they make of keywords beside a `$ref`.
    settings.inline_subschemas = true;
    let generator = settings.with_transform(plain as fn(&mut Schema)).into_generator();
    let schema = match kind {
        FileKind::Space => generator.into_root_schema_for::<SpaceFile>(),
        FileKind::Budget => generator.into_root_schema_for::<budget_file::Raw>(),
        FileKind::Replay => generator.into_root_schema_for::<replay_file::Raw>(),
    };
    schema.to_value()
}

/// Takes out what is of Rust and not of the file: number formats, and `null` where a key may be left out. The parser reads a key
/// without a value as if it were not there; in an editor it is more likely forgotten.
fn plain(schema: &mut Schema) {
    transform_subschemas(&mut (plain as fn(&mut Schema)), schema);
    schema.remove("format");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (keyword, value) in only {
                // The field's own description goes before its type's.
                schema.ensure_object().entry(keyword).or_insert(value);
            }
        }
    }
    if let Some(Value::Object(members)) = schema.get_mut("default") {
        members.retain(|_, value| !value.is_null());
    }
    if schema.get("default").is_some_and(|default| [json!(null), json!({}), json!("")].contains(default)) {
        schema.remove("default");
    }
}

/// `architecture` of a backbone: those known are proposed, and any other is an error.
pub(super) fn architecture(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": Architecture::names()})
}

/// `weights` of a backbone; not the empty path that it has in memory before it is fetched.
pub(super) fn weights(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1})
}

/// `splits`: channel counts by layer, whose names the net has.
pub(super) fn splits(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 1}},
        "examples": [{"conv3_3": [16, 64]}],
    })
}

/// `confidence`: a number, or a percentage as [`crate::units::share`] reads it.
pub(super) fn confidence(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            {"type": "number", "minimum": 0.5, "exclusiveMaximum": 1},
            {
                "type": "string",
                "pattern": r"^\s*([5-9][0-9](\.[0-9]*)?)\s*%\s*$",
                "patternErrorMessage": "a share of at least a half, for example `95 %`",
            },
        ],
        "examples": [0.95, "95 %"],
    })
}

#[cfg(test)]
mod tests;
