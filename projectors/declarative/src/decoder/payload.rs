//! Payload and metadata, which stay as they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use foldstream_config::settings::{Encoding, EventMapping, PayloadPart};
use foldstream_model::{Path, Result, Value};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::part::parts;
use super::{poison, unpack};

/// The field that holds the payload as a text, or as bytes in base64, where it does.
pub(super) fn text_field(part: &PayloadPart) -> Option<&Path> {
    part.from.as_ref().filter(|_| part.encoding != Encoding::Map)
}

pub(super) fn read(
    record: &Bytes,
    item: &Value,
    mapping: &EventMapping,
    name: &str,
    part: &PayloadPart,
) -> Result<Bytes> {
    let Some(from) = &part.from else { return rest(record, mapping, name, part) };
    if part.encoding == Encoding::Map {
        return raw(record, from, name);
    }
    let decoded = match item.as_map().and_then(|fields| from.get(fields)) {
        None | Some(Value::Null) => return Ok(Bytes::new()),
        Some(Value::Text(text)) => decoded(text, part.encoding),
        Some(other) => {
            Err(format!("is {}, not {}; is its encoding `map`?", other.kind(), kind(part.encoding)))
        }
    };
    decoded.map_err(|what| poison(name, &format!("the field {from} {what}")))
}

/// JSON as it was encoded; what is wrong with the field, if it cannot be read.
fn decoded(text: &str, encoding: Encoding) -> Result<Bytes, String> {
    let json = match encoding {
        Encoding::Map | Encoding::Json => Bytes::copy_from_slice(text.as_bytes()),
        Encoding::Binary => unpack::base64(text)?,
        Encoding::Gzip => unpack::gunzip(&unpack::base64(text)?)?,
    };
    match serde_json::from_slice::<IgnoredAny>(&json) {
        Ok(_) => Ok(json),
        Err(error) => Err(format!("holds no JSON: {error}")),
    }
}

fn kind(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Map | Encoding::Json => "a string",
        Encoding::Binary | Encoding::Gzip => "bytes in base64",
    }
}

/// The object at a path, as a slice of the record.
fn raw(record: &Bytes, from: &Path, name: &str) -> Result<Bytes> {
    let mut json: &[u8] = record;
    for field in from.names() {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let found = Field(field).deserialize(&mut deserializer);
        match found.map_err(|error| poison(name, &format!("the field {from}: {error}")))? {
            Some(raw) => json = raw.get().as_bytes(),
            None => return Ok(Bytes::new()),
        }
    }
    match json.first() {
        Some(b'{') => Ok(record.slice_ref(json)),
        Some(b'n') => Ok(Bytes::new()),
        _ => Err(poison(name, &format!("the field {from} is no object; is its encoding `json`?"))),
    }
}

/// All top-level fields of which no other part takes anything.
fn rest(record: &Bytes, mapping: &EventMapping, name: &str, own: &PayloadPart) -> Result<Bytes> {
    let payloads = [Some(&mapping.payload), mapping.metadata.as_ref()].into_iter().flatten();
    let others = payloads.filter(|part| *part != own).filter_map(|part| part.from.as_ref());
    let taken: BTreeSet<&str> = parts(mapping)
        .into_iter()
        .map(|part| &part.from)
        .chain(others)
        .filter_map(|path| path.names().first().map(|name| &**name))
        .collect();
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_slice(record).map_err(|error| poison(name, &error.to_string()))?;
    let kept: BTreeMap<&String, &&RawValue> =
        fields.iter().filter(|(field, _)| !taken.contains(field.as_str())).collect();
    serde_json::to_vec(&kept).map(Bytes::from).map_err(|error| poison(name, &error.to_string()))
}

/// The raw value of one field of an object; none of anything else.
struct Field<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if name != self.0 {
                map.next_value::<IgnoredAny>()?;
            } else if found.replace(map.next_value()?).is_some() {
                return Err(serde::de::Error::custom(format_args!("the name {name:?} twice in one object")));
            }
        }
        Ok(found)
    }
}
