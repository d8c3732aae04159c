//! Parsing under a mask: what is skipped is scanned once by `serde_json`, what is kept is a slice that is parsed alone.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::FieldMask;
use super::parse::{ParseError, parse_slice};
use crate::value::{Decimal, Map, Value};

/// Parses the part of `text`, a slice of `json`, that the mask keeps; `depth` lists and objects are around it.
pub(super) fn parse(json: &str, text: &str, mask: &FieldMask, depth: usize) -> Result<Value, ParseError> {
    if mask.is_all() || !text.trim_ascii_start().starts_with('{') {
        return parse_leaf(json, text, depth);
    }
    let mut input = serde_json::Deserializer::from_str(text);
    let mut fields = Fields { json, mask, depth, map: Map::new(), error: None };
    let parsed = input.deserialize_map(&mut fields).and_then(|()| input.end());
    if let Some(error) = fields.error {
        return Err(error);
    }
    match parsed {
        Ok(()) => Ok(Value::Map(Arc::new(fields.map))),
        Err(error) => Err(ParseError::of_serde(json, text, &error)),
    }
}

/// Numbers and texts without escapes need no parser.
fn parse_leaf(json: &str, text: &str, depth: usize) -> Result<Value, ParseError> {
    match text.as_bytes() {
        [b'"', inner @ .., b'"'] if depth > 0 && !inner.contains(&b'\\') => {
            Ok(Value::from(text.get(1..text.len() - 1).unwrap_or_default()))
        }
        [b'0'..=b'9' | b'-', ..] if depth > 0 => match Decimal::parse(text.as_bytes()) {
            Ok(number) => Ok(Value::Number(number)),
            Err(error) => Err(ParseError::at(json, text, 0, &error.to_string())),
        },
        _ => parse_slice(json, text, depth),
    }
}

/// The kept fields of one object. An error of ours is put aside, since it knows its place better than serde's.
struct Fields<'m> {
    json: &'m str,
    mask: &'m FieldMask,
    depth: usize,
    map: Map,
    error: Option<ParseError>,
}

impl<'de> Visitor<'de> for &mut Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<(), A::Error> {
        while let Some(kept) = input.next_key_seed(Name(self.mask))? {
            let Some((name, mask)) = kept else {
                input.next_value::<IgnoredAny>()?;
                continue;
            };
            let raw: &'de RawValue = input.next_value()?;
            let value = match parse(self.json, raw.get(), mask, self.depth + 1) {
                Ok(value) => value,
                Err(error) => return Err(self.fail(error)),
            };
            if self.map.insert(Arc::clone(name), value).is_some() {
                let message = format!("the name {name:?} twice in one object");
                return Err(self.fail(ParseError::at(self.json, raw.get(), 0, &message)));
            }
        }
        Ok(())
    }
}

impl Fields<'_> {
    fn fail<E: serde::de::Error>(&mut self, error: ParseError) -> E {
        self.error = Some(error);
        E::custom("")
    }
}

/// A field's name, as the mask knows it.
struct Name<'m>(&'m FieldMask);

impl<'de, 'm> DeserializeSeed<'de> for Name<'m> {
    type Value = Option<(&'m Arc<str>, &'m FieldMask)>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl<'m> Visitor<'_> for Name<'m> {
    type Value = Option<(&'m Arc<str>, &'m FieldMask)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name))
    }
}
