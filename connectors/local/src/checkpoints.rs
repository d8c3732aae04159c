//! The small rows: journals, cuts, checkpoints and what is registered beside them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    Error, Result,
    ports::{CheckpointStore, Put, Revision, Row, RowKey, Table},
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    database::{Database, first_behind, number, sql_integer},
    errors::Failure,
};

/// Rows by table, partition and sort key, in the embedded database.
pub struct LocalCheckpoints {
    database: Arc<Database>,
}

impl LocalCheckpoints {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

#[async_trait]
impl CheckpointStore for LocalCheckpoints {
    async fn get(&self, key: &RowKey) -> Result<Option<Row>> {
        let key = key.clone();
        self.database.read(move |snapshot| get(snapshot, &key)).await
    }

    async fn list(
        &self,
        table: Table,
        partition: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        let (partition, after) = (partition.to_owned(), after.map(str::to_owned));
        self.database.read(move |snapshot| list(snapshot, table, &partition, after.as_deref(), limit)).await
    }

    async fn put(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: Bytes,
        beside: Option<&(RowKey, Revision)>,
    ) -> Result<Put> {
        let (key, beside) = (key.clone(), beside.cloned());
        let Ok(body) = String::from_utf8(body.into()) else {
            return Err(Error::internal(format!("the body of a row is no text: row={key}")));
        };
        self.database.write(move |transaction| put(transaction, &key, expected, &body, beside.as_ref())).await
    }

    async fn delete(&self, key: &RowKey) -> Result<()> {
        let key = key.clone();
        self.database.write(move |transaction| delete(transaction, &key)).await
    }
}

fn get(snapshot: &Connection, key: &RowKey) -> Result<Option<Row>, Failure> {
    let mut statement = snapshot
        .prepare_cached("SELECT revision, body FROM rows WHERE kind = ?1 AND partition = ?2 AND sort = ?3")?;
    let row = statement.query_row([key.table.as_str(), &key.partition, &key.sort], |row| {
        Ok(Row { key: key.clone(), revision: revision(row.get(0)?), body: body(row.get(1)?) })
    });
    Ok(row.optional()?)
}

fn list(
    snapshot: &Connection,
    table: Table,
    partition: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>, Failure> {
    let mut statement = snapshot.prepare_cached(
        "SELECT sort, revision, body FROM rows WHERE kind = ?1 AND partition = ?2 AND sort >= ?3
         ORDER BY sort LIMIT ?4",
    )?;
    let values = params![table.as_str(), partition, first_behind(after), sql_integer(limit as u64)];
    let rows = statement.query_map(values, |row| {
        let key = RowKey::new(table, partition, row.get::<_, String>(0)?);
        Ok(Row { key, revision: revision(row.get(1)?), body: body(row.get(2)?) })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn put(
    transaction: &Connection,
    key: &RowKey,
    expected: Option<Revision>,
    body: &str,
    beside: Option<&(RowKey, Revision)>,
) -> Result<Put, Failure> {
    let stored = get(transaction, key)?;
    let is_moved = match beside {
        Some((key, revision)) => get(transaction, key)?.is_none_or(|row| row.revision != *revision),
        None => false,
    };
    if is_moved || stored.as_ref().map(|row| row.revision) != expected {
        return Ok(Put::Conflict(stored));
    }
    let revision: i64 = transaction
        .prepare_cached("UPDATE store SET last_revision = last_revision + 1 RETURNING last_revision")?
        .query_row((), |row| row.get(0))?;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO rows (kind, partition, sort, revision, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![key.table.as_str(), key.partition, key.sort, revision, body])?;
    Ok(Put::Done(Revision(number(revision))))
}

fn delete(transaction: &Connection, key: &RowKey) -> Result<(), Failure> {
    transaction
        .prepare_cached("DELETE FROM rows WHERE kind = ?1 AND partition = ?2 AND sort = ?3")?
        .execute([key.table.as_str(), &key.partition, &key.sort])?;
    Ok(())
}

fn revision(stored: i64) -> Revision {
    Revision(number(stored))
}

fn body(stored: String) -> Bytes {
    stored.into_bytes().into()
}
