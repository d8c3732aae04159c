//! What a document can hold.

use foldstream_model::Value;
use foldstream_model::value::MAX_DEPTH;

use crate::expression::Fault;

/// The most that one operation may write: shared parts count as often as they are written, so that a few events cannot
/// make a value that no memory holds.
const MAX_BYTES: usize = 16 << 20;

/// Numbers must fit a document, lists and objects must not be nested deeper than can be read back, `above` levels being
/// around the value, and the whole must not be too large.
pub(super) fn check(value: &Value, above: usize) -> Result<(), Fault> {
    check_within(value, above, &mut 0)
}

fn check_within(value: &Value, above: usize, bytes: &mut usize) -> Result<(), Fault> {
    *bytes += 8;
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Text(text) => *bytes += text.len(),
        Value::Number(number) => number.fits_document()?,
        Value::List(_) | Value::Map(_) if above >= MAX_DEPTH => {
            return Err(Fault::new(format!("lists and objects nested more than {MAX_DEPTH} deep")));
        }
        Value::List(items) => items.iter().try_for_each(|item| check_within(item, above + 1, bytes))?,
        Value::Map(map) => map.iter().try_for_each(|(name, value)| {
            *bytes += name.len();
            check_within(value, above + 1, bytes)
        })?,
    }
    if *bytes > MAX_BYTES {
        return Err(Fault::new(format!("the value is larger than {MAX_BYTES} bytes")));
    }
    Ok(())
}
