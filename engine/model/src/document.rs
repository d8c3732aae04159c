//! Documents: the entries of read models.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    event::name,
    projection::ProjectionId,
    value::{Map, Value},
};

name!(
    /// What a document is found by in its read model.
    DocumentKey
);

/// The documents of one projection in one sink.
pub type ReadModel = ProjectionId;

/// An entry of a read model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// What readers see.
    pub fields: Arc<Map>,
    /// What operations must remember beside the fields, such as which event a `latest_by` field was set by. Stored
    /// beside the fields, never shown as part of them; empty for most documents.
    pub hidden: Arc<Map>,
}

impl Document {
    /// The one canonical form of the fields: JSON with sorted keys and one form of each number.
    pub fn to_canonical_json(&self) -> String {
        Value::Map(self.fields.clone()).to_canonical_json()
    }

    pub fn hidden_json(&self) -> Option<String> {
        (!self.hidden.is_empty()).then(|| Value::Map(self.hidden.clone()).to_canonical_json())
    }

    /// Reads what [`Document::to_canonical_json`] and [`Document::hidden_json`] wrote. Internal when a store gives back
    /// what is no JSON object.
    pub fn from_json(fields: &[u8], hidden: Option<&[u8]>) -> Result<Self> {
        let hidden = hidden.map(map).transpose()?.unwrap_or_default();
        Ok(Self { fields: map(fields)?, hidden })
    }

    pub fn size_in_bytes(&self) -> usize {
        Value::Map(self.fields.clone()).size_in_bytes() + Value::Map(self.hidden.clone()).size_in_bytes()
    }
}

fn map(json: &[u8]) -> Result<Arc<Map>> {
    match Value::parse(json) {
        Ok(Value::Map(map)) => Ok(map),
        Ok(_) => Err(Error::internal("a stored document is no JSON object")),
        Err(error) => Err(Error::internal(format!("a stored document cannot be read: {error}"))),
    }
}
