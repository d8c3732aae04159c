//! The one canonical JSON text of a value: names in the order of their bytes, no spaces, one form of a number.

use std::io::Write;

use crate::value::{Map, Value};

impl Value {
    pub fn to_canonical_json(&self) -> String {
        let mut json = Vec::new();
        self.write_canonical_json(&mut json);
        String::from_utf8(json).expect("JSON made of strings is UTF-8")
    }

    /// Appends the canonical JSON text.
    pub fn write_canonical_json(&self, json: &mut Vec<u8>) {
        match self {
            Value::Null => json.extend_from_slice(b"null"),
            Value::Bool(true) => json.extend_from_slice(b"true"),
            Value::Bool(false) => json.extend_from_slice(b"false"),
            Value::Number(number) => write!(json, "{number}").expect("a vector takes every byte"),
            Value::Text(text) => write_text(json, text),
            Value::List(items) => {
                json.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    separate(json, index);
                    item.write_canonical_json(json);
                }
                json.push(b']');
            }
            Value::Map(map) => write_canonical_map(map, json),
        }
    }
}

/// Appends the canonical JSON text of an object.
pub fn write_canonical_map(map: &Map, json: &mut Vec<u8>) {
    json.push(b'{');
    for (index, (name, value)) in map.iter().enumerate() {
        separate(json, index);
        write_text(json, name);
        json.push(b':');
        value.write_canonical_json(json);
    }
    json.push(b'}');
}

fn separate(json: &mut Vec<u8>, index: usize) {
    if index > 0 {
        json.push(b',');
    }
}

fn write_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a string is JSON and a vector takes every byte");
}
