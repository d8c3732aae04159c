//! Documents as items: each field an attribute, and what belongs to us under one reserved name.

use std::{collections::HashMap, sync::Arc};

use aws_sdk_dynamodb::types::AttributeValue;
use foldstream_model::{
    Decimal, Document, DocumentKey, Error, Guard, Map, Result, Value, ports::StoredDocument,
};

use super::{
    keys::{self, KeyAttributes, SecondaryIndex},
    provision::EXPIRES,
    state::Item,
};

/// The attribute that is ours: a map of the next three.
pub(super) const RESERVED: &str = "_foldstream";
/// The guard, in its JSON form: what conditions compare.
pub(super) const GUARD: &str = "guard";
/// There, and true, in a tombstone alone.
pub(super) const DELETED: &str = "deleted";
const HIDDEN: &str = "hidden";

/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
pub(crate) const MAX_ITEM_BYTES: usize = 400 * 1024;
const MAX_DEPTH: usize = 32;

/// A document, or what is left of one, as an item. Poison: DynamoDB cannot hold it.
pub(super) fn encode(
    keys: &KeyAttributes,
    indexes: &[SecondaryIndex],
    key: &DocumentKey,
    stored: &StoredDocument,
) -> Result<Item> {
    let mut item = keys.of(key)?;
    let mut own = HashMap::from([(GUARD.to_owned(), AttributeValue::S(stored.guard.to_json()?))]);
    match &stored.document {
        None => {
            own.insert(DELETED.to_owned(), AttributeValue::Bool(true));
        }
        Some(document) => {
            for (name, value) in document.fields.iter() {
                if keys.has(name) || **name == *RESERVED || **name == *EXPIRES {
                    return Err(Error::poison(format!(
                        "a field has the name of an attribute that is taken: key={key} field={name}; give the field \
                         another name, or the table another key"
                    )));
                }
                let value =
                    attribute(value, 1).map_err(|error| error.context(format!("key={key} field={name}")))?;
                item.insert(name.to_string(), value);
            }
            keys::check_indexes(indexes, key, &item)?;
            if let Some(hidden) = document.hidden_json() {
                own.insert(HIDDEN.to_owned(), AttributeValue::S(hidden));
            }
        }
    }
    item.insert(RESERVED.to_owned(), AttributeValue::M(own));
    let bytes = size(&item);
    if bytes > MAX_ITEM_BYTES {
        return Err(Error::poison(format!(
            "the document is too large for DynamoDB; split it over several keys: key={key} bytes={bytes} limit={MAX_ITEM_BYTES}"
        )));
    }
    Ok(item)
}

/// What an item holds. `Invalid`: it is none of ours.
pub(super) fn decode(keys: &KeyAttributes, mut item: Item) -> Result<StoredDocument> {
    let key = keys.read(&item)?;
    let foreign = || {
        Error::invalid(format!(
            "an item was not written by foldstream: key={key}; it lacks `{RESERVED}`. Give the projection a table of its own"
        ))
    };
    let Some(AttributeValue::M(own)) = item.remove(RESERVED) else { return Err(foreign()) };
    let Some(AttributeValue::S(guard)) = own.get(GUARD) else { return Err(foreign()) };
    let guard = Guard::from_json(guard)?;
    if own.contains_key(DELETED) {
        return Ok(StoredDocument { guard, document: None });
    }
    let mut fields: Vec<(Arc<str>, Value)> = Vec::with_capacity(item.len());
    for (name, value) in item.into_iter().filter(|(name, _)| !keys.has(name)) {
        let value = value_of(value).map_err(|error| error.context(format!("key={key} attribute={name}")))?;
        fields.push((name.into(), value));
    }
    let hidden = match own.get(HIDDEN) {
        Some(AttributeValue::S(json)) => Document::from_json(b"{}", Some(json.as_bytes()))?.hidden,
        _ => Arc::default(),
    };
    let document = Document { fields: Arc::new(Map::from_iter(fields)), hidden };
    Ok(StoredDocument { guard, document: Some(document) })
}

/// A value that is nested so deep in its item. Poison: DynamoDB cannot hold it.
pub(crate) fn attribute(value: &Value, depth: usize) -> Result<AttributeValue> {
    if depth > MAX_DEPTH {
        return Err(Error::poison(format!("it is nested deeper than DynamoDB takes: levels={MAX_DEPTH}")));
    }
    Ok(match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::Text(text) => AttributeValue::S(text.to_string()),
        Value::List(list) => {
            AttributeValue::L(list.iter().map(|value| attribute(value, depth + 1)).collect::<Result<_>>()?)
        }
        Value::Map(map) => {
            let named = map.iter().map(|(name, value)| match name.is_empty() {
                true => Err(Error::poison("a field without a name, which DynamoDB does not take")),
                false => Ok((name.to_string(), attribute(value, depth + 1)?)),
            });
            AttributeValue::M(named.collect::<Result<_>>()?)
        }
    })
}

fn value_of(value: AttributeValue) -> Result<Value> {
    Ok(match value {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(value) => Value::Bool(value),
        AttributeValue::N(digits) => match digits.parse::<Decimal>() {
            Ok(number) => Value::Number(number),
            Err(error) => {
                return Err(Error::internal(format!("a stored number cannot be read: {digits} ({error})")));
            }
        },
        AttributeValue::S(text) => Value::Text(text.into()),
        AttributeValue::L(list) => {
            Value::List(Arc::new(list.into_iter().map(value_of).collect::<Result<_>>()?))
        }
        AttributeValue::M(map) => {
            let named = map.into_iter().map(|(name, value)| Ok((Arc::from(name), value_of(value)?)));
            Value::Map(Arc::new(Map::from_iter(named.collect::<Result<Vec<_>>>()?)))
        }
        other => {
            return Err(Error::invalid(format!(
                "an attribute of a kind that foldstream does not write: {other:?}; somebody else writes into this table"
            )));
        }
    })
}

/// The bytes that DynamoDB counts for an item.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
pub(crate) fn size(item: &Item) -> usize {
    #[expect(clippy::iter_over_hash_type, reason = "a sum has no order")]
    fn of_map(map: &HashMap<String, AttributeValue>) -> usize {
        let mut bytes = 0;
        for (name, value) in map {
            bytes += name.len() + of(value);
        }
        bytes
    }
    fn of(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len() / 2 + 2,
            AttributeValue::B(blob) => blob.as_ref().len(),
            AttributeValue::L(list) => 3 + list.len() + list.iter().map(of).sum::<usize>(),
            AttributeValue::M(map) => 3 + map.len() + of_map(map),
            _ => 1,
        }
    }
    of_map(item)
}
