//! DynamoDB's JSON, `{"name": {"S": "tea"}}`, as plain JSON, `{"name": "tea"}`.
//!
//! What need not be understood is copied as it stands: texts with their escapes, digits without their quotes. Sets become
//! lists, and binary values stay the base64 that they are.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// An item, or a map within one. An error: it is none.
pub(super) fn json(image: &RawValue) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(image.get().len());
    Fields(&mut out).deserialize(&mut serde_json::Deserializer::from_str(image.get()))?;
    Ok(out)
}

/// Named values: an item, or the inside of `M`.
struct Fields<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("named values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut separator = b'{';
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            self.0.push(separator);
            separator = b',';
            serde_json::to_writer(&mut *self.0, &name).map_err(A::Error::custom)?;
            self.0.push(b':');
            map.next_value_seed(Typed(self.0))?;
        }
        if separator == b'{' {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        Ok(())
    }
}

/// The inside of `L`.
struct Elements<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of values")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        let begin = self.0.len();
        loop {
            let end = self.0.len();
            if end > begin {
                self.0.push(b',');
            }
            if list.next_element_seed(Typed(self.0))?.is_none() {
                self.0.truncate(end);
                break;
            }
        }
        self.0.push(b']');
        Ok(())
    }
}

/// A value beside the name of its type: `{"N": "1.50"}`.
struct Typed<'o>(&'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Typed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Typed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its type, such as {\"S\": \"text\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some(kind) = map.next_key::<Cow<'de, str>>()? else {
            return Err(A::Error::custom("a value without a type"));
        };
        let out = self.0;
        match &*kind {
            "M" => map.next_value_seed(Fields(out))?,
            "L" => map.next_value_seed(Elements(out))?,
            "NULL" => {
                map.next_value::<bool>()?;
                out.extend_from_slice(b"null");
            }
            "S" | "B" => copy(out, map.next_value()?, b'"')?,
            "SS" | "BS" => {
                let texts: Vec<&RawValue> = map.next_value()?;
                list(out, &texts, |out, text| copy(out, text, b'"'))?;
            }
            "BOOL" => {
                let value: bool = map.next_value()?;
                out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            "N" => number(out, map.next_value()?)?,
            "NS" => {
                let numbers: Vec<&RawValue> = map.next_value()?;
                list(out, &numbers, number)?;
            }
            other => return Err(A::Error::custom(format_args!("a value of the unknown type {other:?}"))),
        }
        match map.next_key::<Cow<'de, str>>()? {
            None => Ok(()),
            Some(second) => {
                Err(A::Error::custom(format_args!("a value of two types, {kind:?} and {second:?}")))
            }
        }
    }
}

fn list<E: Error>(
    out: &mut Vec<u8>,
    values: &[&RawValue],
    mut write: impl FnMut(&mut Vec<u8>, &RawValue) -> Result<(), E>,
) -> Result<(), E> {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, value)?;
    }
    out.push(b']');
    Ok(())
}

fn copy<E: Error>(out: &mut Vec<u8>, value: &RawValue, first: u8) -> Result<(), E> {
    let json = value.get().as_bytes();
    if json.first() != Some(&first) {
        return Err(E::custom(format_args!("expected a text, found {value}")));
    }
    out.extend_from_slice(json);
    Ok(())
}

/// The digits of a text that is a number in JSON's form, too.
fn number<E: Error>(out: &mut Vec<u8>, value: &RawValue) -> Result<(), E> {
    let digits = value.get().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match digits {
        Some(digits)
            if serde_json::from_str::<serde_json::Number>(digits).is_ok() && !digits.contains(' ') =>
        {
            out.extend_from_slice(digits.as_bytes());
            Ok(())
        }
        _ => Err(E::custom(format_args!("not a number: {value}"))),
    }
}
