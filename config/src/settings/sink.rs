use std::{collections::BTreeMap, time::Duration};

use super::{Name, Spanned};
use crate::diagnostic::Place;

/// Where documents are written. A projection without a sink writes into the embedded document store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    pub place: Place,
    pub kind: Spanned<SinkKind>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// The embedded document store.
    Local,
    /// A DynamoDB table for each projection and version.
    Dynamodb(Box<Tables>),
}

/// What the tables of a sink are like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The name, in which `{projection}` and `{version}` stand for those of a projection.
    pub table: Spanned<String>,
    pub key: TableKey,
    /// Global secondary indexes, by name. Their keys are fields of documents.
    pub indexes: BTreeMap<Name, IndexKey>,
    /// Whether a table that is not there is made.
    pub create: bool,
    /// Write units a second of each projection.
    pub max_write_units: Option<u32>,
    /// By their keys.
    pub tags: BTreeMap<String, String>,
    pub point_in_time_recovery: bool,
    pub deletion_protection: bool,
    /// After this DynamoDB removes what is left of deleted documents, of `per_stream` projections; none: never.
    pub purge_deleted_after: Option<Duration>,
}

/// Where the key of a document stands in an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableKey {
    pub partition: KeyAttribute,
    /// Of a table with a sort key: its attribute, and the text at whose first place in a document's key this is cut in two.
    pub sort: Option<(KeyAttribute, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexKey {
    pub partition: KeyAttribute,
    pub sort: Option<KeyAttribute>,
}

/// An attribute of a key. In the file a plain text is shorthand for one that holds strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAttribute {
    pub name: String,
    pub holds: KeyType,
}

/// What DynamoDB keeps in an attribute of a key, and sorts it by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    #[default]
    String,
    /// Of 38 digits at most.
    Number,
}

impl TableKey {
    /// All attributes.
    pub fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition).chain(self.sort.as_ref().map(|(attribute, _)| attribute))
    }
}

impl IndexKey {
    /// All attributes.
    pub fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.partition).chain(&self.sort)
    }
}
