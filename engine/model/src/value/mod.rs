//! The one value of the data path: payloads, states and documents.
//!
//! Numbers are exact decimals, sub-trees are shared and copied on the first write, and every value has one
//! canonical JSON form.

mod decimal;
mod json;
mod path;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use decimal::{Decimal, NumberError};
pub use json::{FieldMask, MAX_DEPTH, ParseError, write_canonical_map};
pub(crate) use json::{Strict, masked_value};
pub use path::{Path, PathError};

/// Text that is cheap to copy: up to 23 bytes inside itself, more of it shared.
pub type Text = smol_str::SmolStr;

/// The fields of an object, in the order of their names' bytes. Most have few: flat, they take a third of a tree's memory.
pub type Map = litemap::LiteMap<Arc<str>, Value>;

/// A JSON value with exact numbers. Cloning shares; [`Arc::make_mut`] copies what is shared when it is changed.
///
/// The order is total: null, booleans, numbers, texts, lists, objects; inside a kind the natural one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Decimal),
    Text(Text),
    List(Arc<Vec<Value>>),
    Map(Arc<Map>),
}

impl Value {
    /// The kind of value in the words of JSON, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "an object",
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self { Some(*value) } else { None }
    }

    pub fn as_number(&self) -> Option<&Decimal> {
        if let Value::Number(value) = self { Some(value) } else { None }
    }

    pub fn as_text(&self) -> Option<&str> {
        if let Value::Text(value) = self { Some(value) } else { None }
    }

    pub fn as_list(&self) -> Option<&[Value]> {
        if let Value::List(value) = self { Some(value) } else { None }
    }

    pub fn as_map(&self) -> Option<&Map> {
        if let Value::Map(value) = self { Some(value) } else { None }
    }

    /// The field of an object; `None` for every other kind.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.as_map()?.get(field)
    }

    /// An estimate of the memory behind this value, shared parts counted in full.
    pub fn size_in_bytes(&self) -> usize {
        const NODE: usize = size_of::<Value>();
        const ENTRY: usize = size_of::<Arc<str>>() + 16;
        NODE + match self {
            Value::Null | Value::Bool(_) => 0,
            Value::Number(number) => number.heap_bytes(),
            Value::Text(text) => text.len() + 16,
            Value::List(items) => items.iter().map(Value::size_in_bytes).sum(),
            Value::Map(map) => {
                map.iter().map(|(name, value)| ENTRY + name.len() + value.size_in_bytes()).sum()
            }
        }
    }

    /// Whether lists and objects are nested at most `limit` deep; looks no deeper than that.
    pub fn is_within_depth(&self, limit: usize) -> bool {
        match self {
            Value::List(items) => {
                limit > 0 && items.iter().all(|item| item.is_within_depth(limit.saturating_sub(1)))
            }
            Value::Map(map) => {
                limit > 0 && map.values().all(|value| value.is_within_depth(limit.saturating_sub(1)))
            }
            _ => true,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Number(Decimal::from(value))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Number(Decimal::from(value))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::Number(Decimal::from(value))
    }
}

impl From<Decimal> for Value {
    fn from(value: Decimal) -> Self {
        Value::Number(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(Text::from(value))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(Text::from(value))
    }
}

impl From<Text> for Value {
    fn from(value: Text) -> Self {
        Value::Text(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Self {
        Value::List(Arc::new(value))
    }
}

impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Value::Map(Arc::new(value))
    }
}
