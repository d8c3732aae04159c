//! Leases, among the small rows.

use std::sync::Arc;

use async_trait::async_trait;
use foldstream_model::{
    Error, Lease, LeaseKey, Result, SourceName,
    ports::{LeaseStore, PutLease},
};
use rusqlite::{Connection, OptionalExtension, Rows, params};

use crate::{
    database::{Database, sql_integer},
    errors::Failure,
};

/// The leases of an embedded database, for all processes that open it.
pub struct LocalLeases {
    database: Arc<Database>,
}

impl LocalLeases {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Removes all leases, of all sources: for a process that knows that no other lives. Gives what there was.
    pub async fn clear(&self) -> Result<Vec<Lease>> {
        let clear = |transaction: &Connection| {
            let mut statement =
                transaction.prepare_cached("DELETE FROM rows WHERE kind = 'leases' RETURNING body")?;
            decode_all(statement.query(())?)
        };
        self.database.write(clear).await
    }

    /// Puts or removes a lease if what is stored is as expected.
    async fn change(
        &self,
        source: &SourceName,
        key: &LeaseKey,
        expected: Option<&Lease>,
        lease: Option<&Lease>,
    ) -> Result<PutLease> {
        let place = Place { source: source.to_string(), sort: key.to_string() };
        let (expected, lease) = (expected.cloned(), lease.cloned());
        let change =
            move |transaction: &Connection| place.change(transaction, expected.as_ref(), lease.as_ref());
        self.database.write(change).await
    }
}

#[async_trait]
impl LeaseStore for LocalLeases {
    async fn list(&self, source: &SourceName) -> Result<Vec<Lease>> {
        let source = source.to_string();
        self.database.read(move |snapshot| list(snapshot, &source)).await
    }

    async fn get(&self, source: &SourceName, key: &LeaseKey) -> Result<Option<Lease>> {
        let place = Place { source: source.to_string(), sort: key.to_string() };
        self.database.read(move |snapshot| place.get(snapshot)).await
    }

    async fn put(&self, source: &SourceName, expected: Option<&Lease>, lease: &Lease) -> Result<PutLease> {
        self.change(source, &lease.key, expected, Some(lease)).await
    }

    async fn delete(&self, source: &SourceName, expected: &Lease) -> Result<PutLease> {
        self.change(source, &expected.key, Some(expected), None).await
    }
}

fn list(snapshot: &Connection, source: &str) -> Result<Vec<Lease>, Failure> {
    let mut statement =
        snapshot.prepare_cached("SELECT body FROM rows WHERE kind = 'leases' AND partition = ?1")?;
    decode_all(statement.query([source])?)
}

fn decode_all(mut rows: Rows<'_>) -> Result<Vec<Lease>, Failure> {
    let mut leases = Vec::new();
    while let Some(row) = rows.next()? {
        leases.push(decode(&row.get::<_, String>(0)?)?);
    }
    Ok(leases)
}

/// Where a lease is kept.
struct Place {
    source: String,
    sort: String,
}

impl Place {
    fn get(&self, snapshot: &Connection) -> Result<Option<Lease>, Failure> {
        let mut statement = snapshot
            .prepare_cached("SELECT body FROM rows WHERE kind = 'leases' AND partition = ?1 AND sort = ?2")?;
        let body =
            statement.query_row([&self.source, &self.sort], |row| row.get::<_, String>(0)).optional()?;
        Ok(body.map(|body| decode(&body)).transpose()?)
    }

    fn change(
        &self,
        transaction: &Connection,
        expected: Option<&Lease>,
        lease: Option<&Lease>,
    ) -> Result<PutLease, Failure> {
        let stored = self.get(transaction)?;
        if stored.as_ref().map(Lease::state) != expected.map(Lease::state) {
            return Ok(PutLease::Conflict(stored));
        }
        let Some(lease) = lease else {
            transaction
                .prepare_cached("DELETE FROM rows WHERE kind = 'leases' AND partition = ?1 AND sort = ?2")?
                .execute([&self.source, &self.sort])?;
            return Ok(PutLease::Done);
        };
        let body = serde_json::to_string(lease).map_err(|error| {
            Error::internal(format!("a lease cannot be written: lease={} ({error})", lease.key))
        })?;
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO rows (kind, partition, sort, revision, body) VALUES ('leases', ?1, ?2, ?3, ?4)",
            )?
            .execute(params![self.source, self.sort, sql_integer(lease.counter), body])?;
        Ok(PutLease::Done)
    }
}

fn decode(body: &str) -> Result<Lease, Error> {
    serde_json::from_str(body).map_err(|error| {
        Error::invalid(format!(
            "a stored lease cannot be read: lease={body} ({error}); it was written by another version of foldstream, or changed by hand"
        ))
    })
}
