//! Keys of documents and of entries.

use std::collections::BTreeSet;

use foldstream_model::{Text, Value};

use crate::expression::Fault;

/// The text of a key: a string as it is, a number or boolean in its one form, a list of these as JSON, so that no two
/// lists have the same text.
pub(crate) fn key(value: &Value) -> Result<Text, Fault> {
    match value {
        Value::Text(text) if text.is_empty() => Err(Fault::new("the key is an empty string")),
        Value::Text(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(Text::from(value.to_canonical_json())),
        Value::List(parts) if parts.iter().all(is_part) && !parts.is_empty() => {
            Ok(Text::from(value.to_canonical_json()))
        }
        Value::List(_) => {
            Err(Fault::new("a key that is a list holds strings, numbers or booleans, and at least one"))
        }
        other => Err(Fault::new(format!("the key is {}", other.kind()))),
    }
}

fn is_part(part: &Value) -> bool {
    matches!(part, Value::Text(_) | Value::Number(_) | Value::Bool(_))
}

/// The keys of a list, each once; null and the empty list have none.
pub(crate) fn keys(value: &Value) -> Result<BTreeSet<Text>, Fault> {
    match value {
        Value::Null => Ok(BTreeSet::new()),
        Value::List(keys) => keys.iter().map(key).collect(),
        other => Err(Fault::new(format!("`keys` needs a list, not {}", other.kind()))),
    }
}
