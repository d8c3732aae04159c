//! What a document can hold.

use foldstream_model::Value;
use foldstream_model::value::MAX_DEPTH;

use crate::expression::Fault;

/// Numbers must fit a document, and lists and objects must not be nested deeper than can be read back, `above` levels
/// being around the value.
pub(super) fn check(value: &Value, above: usize) -> Result<(), Fault> {
    match value {
        Value::Null | Value::Bool(_) | Value::Text(_) => Ok(()),
        Value::Number(number) => number.fits_document().map_err(Fault::from),
        Value::List(items) => {
            deeper(above)?;
            items.iter().try_for_each(|item| check(item, above + 1))
        }
        Value::Map(map) => {
            deeper(above)?;
            map.values().try_for_each(|value| check(value, above + 1))
        }
    }
}

fn deeper(above: usize) -> Result<(), Fault> {
    if above < MAX_DEPTH {
        Ok(())
    } else {
        Err(Fault::new(format!("lists and objects nested more than {MAX_DEPTH} deep")))
    }
}
