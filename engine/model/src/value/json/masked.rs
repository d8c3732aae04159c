//! Parsing under a mask: kept values are parsed, everything between them is checked and passed over.

use std::sync::Arc;

use super::parse::{MAX_DEPTH, ParseError, parse_slice, text};
use super::{FieldMask, Strict};
use crate::value::{Decimal, Map, Value};

/// Parses the part of the text that the mask keeps.
pub(super) fn parse(json: &[u8], mask: &FieldMask) -> Result<Value, ParseError> {
    let whole = text(json, json)?;
    let mut passing = Strict::new(whole);
    passing.blanks();
    if let Some(value) = value(&mut passing, mask, 0) {
        passing.blanks();
        if passing.is_at_end() {
            return Ok(value);
        }
    }
    // This way is slower, and knows what is wrong.
    parse_slice(json, whole, 0).map(|value| mask.pruned(&value))
}

/// The value that comes next, below `depth` lists and objects: of an object the fields that the mask keeps, anything else
/// whole. None where something is wrong with it.
pub(crate) fn value(passing: &mut Strict<'_>, mask: &FieldMask, depth: usize) -> Option<Value> {
    match passing.next()? {
        b'{' if !mask.is_all() => object(passing, mask, depth),
        b'"' => match passing.plain_text()? {
            Ok(plain) => Some(Value::Text(plain.into())),
            Err(escaped) => whole(escaped, depth),
        },
        b'0'..=b'9' | b'-' => {
            let number = passing.passed(Strict::number)?;
            Decimal::parse(number.as_bytes()).ok().map(Value::Number)
        }
        _ => whole(passing.passed(Strict::value)?, depth),
    }
}

fn object(passing: &mut Strict<'_>, mask: &FieldMask, depth: usize) -> Option<Value> {
    if depth >= MAX_DEPTH {
        return None;
    }
    let mut map = Map::new_vec();
    passing.step(b'{')?;
    passing.blanks();
    if !passing.closes(true) {
        field(passing, mask, depth, &mut map)?;
        while !passing.closes(true) {
            passing.step(b',')?;
            passing.blanks();
            field(passing, mask, depth, &mut map)?;
        }
    }
    Some(Value::Map(Arc::new(map)))
}

/// A field, and the blanks behind it.
fn field(passing: &mut Strict<'_>, mask: &FieldMask, depth: usize, map: &mut Map) -> Option<()> {
    let kept = match passing.plain_text()? {
        Ok(name) => mask.field(name.as_bytes()),
        Err(escaped) => mask.field(serde_json::from_str::<String>(escaped).ok()?.as_bytes()),
    };
    passing.colon()?;
    match kept {
        None => passing.value()?,
        Some((name, mask)) => {
            let value = value(passing, mask, depth + 1)?;
            map.try_insert(Arc::clone(name), value).is_none().then_some(())?;
        }
    }
    passing.blanks();
    Some(())
}

fn whole(text: &str, depth: usize) -> Option<Value> {
    parse_slice(text.as_bytes(), text, depth).ok()
}
