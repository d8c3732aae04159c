use std::collections::BTreeMap;

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
    /// Global secondary indexes, by name. Their keys are fields of documents that hold texts.
    pub indexes: BTreeMap<Name, IndexKey>,
    /// Whether a table that is not there is made.
    pub create: bool,
    /// Write units a second of each projection.
    pub max_write_units: Option<u32>,
}

/// Where the key of a document stands in an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableKey {
    pub partition: String,
    /// Of a table with a sort key: its attribute, and the text at whose first place in a document's key this is cut in two.
    pub sort: Option<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexKey {
    pub partition: String,
    pub sort: Option<String>,
}
