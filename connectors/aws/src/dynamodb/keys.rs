//! How the key of a document stands in the key of an item, and its fields in the keys of indexes.

use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType};
use foldstream_model::{Decimal, DocumentKey, Error, Result};

use super::state::Item;

/// DynamoDB's limits of key attributes, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>
const MAX_PARTITION_BYTES: usize = 2048;
const MAX_SORT_BYTES: usize = 1024;

/// An attribute of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttribute {
    pub name: String,
    pub holds: KeyType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    String,
    Number,
}

/// How the key of a document stands in an item's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttributes {
    pub partition: KeyAttribute,
    /// The sort key's attribute; a document's key is then cut in two at the first separator.
    pub sort: Option<SortKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    pub attribute: KeyAttribute,
    pub separator: String,
}

/// A global secondary index, of whole items. Its keys are fields of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecondaryIndex {
    pub name: String,
    pub partition: KeyAttribute,
    pub sort: Option<KeyAttribute>,
}

impl KeyAttribute {
    pub fn of_strings(name: impl Into<String>) -> Self {
        Self { name: name.into(), holds: KeyType::String }
    }

    pub fn of_numbers(name: impl Into<String>) -> Self {
        Self { name: name.into(), holds: KeyType::Number }
    }

    /// A text as what the attribute holds; why that cannot be. A number has one form, so that no two keys are one item.
    fn value(&self, text: &str, most_bytes: usize) -> Result<AttributeValue, String> {
        match self.holds {
            _ if text.is_empty() => Err("it, or a part of it, is empty".to_owned()),
            KeyType::String if text.len() > most_bytes => Err(format!(
                "it is longer than {MAX_PARTITION_BYTES} bytes, or its sort key than {MAX_SORT_BYTES}"
            )),
            KeyType::String => Ok(AttributeValue::S(text.to_owned())),
            KeyType::Number => {
                let number = text.parse::<Decimal>().ok().filter(|number| number.fits_document().is_ok());
                match number.filter(|number| number.to_string() == text) {
                    Some(_) => Ok(AttributeValue::N(text.to_owned())),
                    None => Err(format!(
                        "{text:?} is no number of at most 38 digits in its shortest form, and the attribute {} holds \
                         numbers; make the key of a number, or let the attribute hold strings",
                        self.name
                    )),
                }
            }
        }
    }
}

impl KeyType {
    pub(super) fn scalar(self) -> ScalarAttributeType {
        match self {
            Self::String => ScalarAttributeType::S,
            Self::Number => ScalarAttributeType::N,
        }
    }
}

impl KeyAttributes {
    /// The item's key. Poison: DynamoDB takes no such key.
    pub(super) fn of(&self, key: &DocumentKey) -> Result<Item> {
        let refuse = |why: String| Error::poison(format!("DynamoDB takes no such key: key={key} {why}"));
        let (partition, sort) = match &self.sort {
            None => (key.as_str(), None),
            Some(sort) => {
                let cut = key.as_str().split_once(&sort.separator);
                let (partition, rest) = cut.ok_or_else(|| {
                    refuse(format!(
                        "it has no {:?} in it, which divides partition and sort key",
                        sort.separator
                    ))
                })?;
                (partition, Some((&sort.attribute, rest)))
            }
        };
        let mut item = Item::new();
        let partition = self.partition.value(partition, MAX_PARTITION_BYTES).map_err(refuse)?;
        item.insert(self.partition.name.clone(), partition);
        if let Some((attribute, text)) = sort {
            item.insert(attribute.name.clone(), attribute.value(text, MAX_SORT_BYTES).map_err(refuse)?);
        }
        Ok(item)
    }

    /// The key of the document that an item is.
    pub(super) fn read(&self, item: &Item) -> Result<DocumentKey> {
        let text = |attribute: &KeyAttribute| {
            let text = match (item.get(&attribute.name), attribute.holds) {
                (Some(AttributeValue::S(text)), KeyType::String) => Some(text.clone()),
                // The service writes large numbers out.
                (Some(AttributeValue::N(digits)), KeyType::Number) => {
                    digits.parse::<Decimal>().ok().map(|number| number.to_string())
                }
                _ => None,
            };
            let lost = || format!("an item has another key than its table: attribute={}", attribute.name);
            text.ok_or_else(|| Error::internal(lost()))
        };
        let partition = text(&self.partition)?;
        Ok(match &self.sort {
            None => DocumentKey::new(partition),
            Some(sort) => {
                DocumentKey::new(format!("{partition}{}{}", sort.separator, text(&sort.attribute)?))
            }
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.attributes().any(|attribute| attribute.name == name)
    }

    pub(super) fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition).chain(self.sort.as_ref().map(|sort| &sort.attribute))
    }
}

impl SecondaryIndex {
    pub(super) fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition).chain(&self.sort)
    }
}

/// Poison where a field of a document cannot be in the key of an index. A document that lacks the field is not in the index.
pub(super) fn check_indexes(indexes: &[SecondaryIndex], key: &DocumentKey, item: &Item) -> Result<()> {
    for index in indexes {
        let limits = [MAX_PARTITION_BYTES, MAX_SORT_BYTES];
        for (attribute, most_bytes) in index.attributes().zip(limits) {
            let Some(value) = item.get(&attribute.name) else { continue };
            let wrong = match (value, attribute.holds) {
                (AttributeValue::S(text), KeyType::String) if text.is_empty() => "an empty string".to_owned(),
                (AttributeValue::S(text), KeyType::String) if text.len() > most_bytes => {
                    format!("longer than {most_bytes} bytes")
                }
                (AttributeValue::S(_), KeyType::String) | (AttributeValue::N(_), KeyType::Number) => continue,
                (_, KeyType::String) => "no string".to_owned(),
                (_, KeyType::Number) => "no number".to_owned(),
            };
            return Err(Error::poison(format!(
                "DynamoDB takes no such key of an index: key={key} index={} field={} is {wrong}; write another value, or unset \
                 the field, and the document is not in the index",
                index.name, attribute.name
            )));
        }
    }
    Ok(())
}
