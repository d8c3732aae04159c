//! Documents with their guards, a table for each read model.

mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use foldstream_model::{
    Document, DocumentKey, Error, Guard, ReadModel, Result,
    ports::{Condition, DocumentStore, DocumentWrite, StoredDocument, Written},
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    database::{Database, first_behind, sql_integer},
    errors::Failure,
};
use model::Model;

/// The largest document, hidden fields included, in bytes of JSON. Larger ones would be written anew with every event
/// that touches them.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// Documents by read model and key, in the embedded database.
pub struct LocalDocuments {
    database: Arc<Database>,
}

impl LocalDocuments {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl DocumentStore for LocalDocuments {
    async fn open(&self, _: &ReadModel) -> Result<String> {
        let select = "SELECT identity FROM store";
        self.database.read(move |snapshot| Ok(snapshot.query_row(select, (), |row| row.get(0))?)).await
    }

    async fn read(&self, model: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        let (model, keys) = (model.clone(), keys.to_vec());
        self.database.read(move |snapshot| read(snapshot, &model, &keys)).await
    }

    async fn write(&self, model: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        let model = model.clone();
        let encoded = writes.iter().map(Encoded::new).collect::<Result<Vec<_>>>()?;
        self.database.write(move |transaction| write(transaction, &model, &encoded)).await
    }

    async fn list(
        &self,
        model: &ReadModel,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        let (model, after) = (model.clone(), after.cloned());
        self.database.read(move |snapshot| list(snapshot, &model, after.as_ref(), limit)).await
    }

    async fn remove(&self, model: &ReadModel) -> Result<()> {
        let model = model.clone();
        self.database.write(move |transaction| Model::remove(transaction, &model)).await
    }
}

/// A write in the form of a row, made on the caller's task: the one writer has enough to do.
struct Encoded {
    key: DocumentKey,
    /// The guard that must be stored; none if nothing must be.
    expected: Option<String>,
    guard: String,
    /// None of a tombstone.
    fields: Option<String>,
    hidden: Option<String>,
}

impl Encoded {
    fn new(write: &DocumentWrite) -> Result<Self> {
        let expected = match &write.condition {
            Condition::Absent => None,
            Condition::GuardIs(guard) => Some(guard.to_json()?),
        };
        let document = write.put.document.as_ref();
        Ok(Self {
            key: write.key.clone(),
            expected,
            guard: write.put.guard.to_json()?,
            fields: document.map(Document::to_canonical_json),
            hidden: document.and_then(Document::hidden_json),
        })
    }

    fn rejected(&self) -> Option<Error> {
        let length = |json: &Option<String>| json.as_ref().map_or(0, String::len);
        let bytes = length(&self.fields) + length(&self.hidden);
        (bytes > MAX_DOCUMENT_BYTES).then(|| {
            Error::poison(format!(
                "the document is too large; split it over several keys: key={} bytes={bytes} limit={MAX_DOCUMENT_BYTES}",
                self.key
            ))
        })
    }
}

fn read(
    snapshot: &Connection,
    model: &ReadModel,
    keys: &[DocumentKey],
) -> Result<Vec<Option<StoredDocument>>, Failure> {
    let Some(model) = Model::find(snapshot, model)? else {
        return Ok(vec![None; keys.len()]);
    };
    keys.iter().map(|key| get(snapshot, &model, key)).collect()
}

fn get(snapshot: &Connection, model: &Model, key: &DocumentKey) -> Result<Option<StoredDocument>, Failure> {
    let mut statement = snapshot.prepare_cached(&model.select)?;
    let row = statement.query_row([key.as_str()], |row| Ok(stored(row))).optional()?;
    row.transpose()
}

fn write(transaction: &Connection, model: &ReadModel, writes: &[Encoded]) -> Result<Vec<Written>, Failure> {
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    let model = Model::find_or_create(transaction, model)?;
    let mut insert = transaction.prepare_cached(&model.insert)?;
    let mut update = transaction.prepare_cached(&model.update)?;
    let mut outcomes = Vec::with_capacity(writes.len());
    for write in writes {
        if let Some(error) = write.rejected() {
            outcomes.push(Written::Rejected(error));
            continue;
        }
        let (key, guard) = (write.key.as_str(), &write.guard);
        let changed = match &write.expected {
            None => insert.execute(params![key, guard, write.fields, write.hidden])?,
            Some(expected) => update.execute(params![key, guard, write.fields, write.hidden, expected])?,
        };
        outcomes.push(match changed {
            0 => Written::Conflict(get(transaction, &model, &write.key)?.map(Box::new)),
            _ => Written::Done,
        });
    }
    Ok(outcomes)
}

fn list(
    snapshot: &Connection,
    model: &ReadModel,
    after: Option<&DocumentKey>,
    limit: usize,
) -> Result<Vec<(DocumentKey, StoredDocument)>, Failure> {
    let Some(model) = Model::find(snapshot, model)? else {
        return Ok(Vec::new());
    };
    let mut statement = snapshot.prepare_cached(&model.list)?;
    let after = first_behind(after.map(DocumentKey::as_str));
    let rows = statement.query_map(params![after, sql_integer(limit as u64)], |row| {
        Ok((DocumentKey::new(row.get::<_, Arc<str>>("key")?), stored(row)))
    })?;
    let mut documents = Vec::new();
    for row in rows {
        let (key, document) = row?;
        documents.push((key, document?));
    }
    Ok(documents)
}

/// A document from a row that begins with guard, fields and hidden fields.
fn stored(row: &Row<'_>) -> Result<StoredDocument, Failure> {
    let guard = Guard::from_json(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
    let fields = row.get_ref(1)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    let hidden = row.get_ref(2)?.as_str_or_null().map_err(rusqlite::Error::from)?;
    let document = match fields {
        Some(fields) => Some(Document::from_json(fields.as_bytes(), hidden.map(str::as_bytes))?),
        None => None,
    };
    Ok(StoredDocument { guard, document })
}
