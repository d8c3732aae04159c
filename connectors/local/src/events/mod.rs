//! The event store.

mod append;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use foldstream_model::{
    Event, Result, Sequence, StreamId,
    ports::{Append, Appended, EventStore, Offset},
};
use rusqlite::{Connection, params};

use crate::{
    database::{Answer, Database, first_behind, number, sql_integer},
    errors::Failure,
};
use append::Prepared;
pub(crate) use rows::{EVENT_COLUMNS, event};

/// The sequence of the first event of a stream that is appended to wherever it stands.
const FIRST: Sequence = Sequence(1);

/// Streams with contiguous sequences and one commit order, in the embedded database. A stream begun by an append that
/// expects nothing begins at 1.
pub struct LocalEventStore {
    database: Arc<Database>,
}

/// An append on its way; dropped, it still happens.
pub struct QueuedAppend(Answer<Appended>);

impl QueuedAppend {
    /// Waits until it is synced to disk; answers and fails as [`EventStore::append`] does.
    pub async fn appended(self) -> Result<Appended> {
        self.0.wait().await
    }
}

/// A stream as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    pub stream: StreamId,
    pub last: Sequence,
}

impl LocalEventStore {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Streams with ids behind `after`, sorted by the ids' bytes, at most `limit`.
    pub async fn streams(&self, after: Option<&StreamId>, limit: usize) -> Result<Vec<StreamSummary>> {
        let after = after.cloned();
        self.database.read(move |snapshot| list(snapshot, after.as_ref().map(StreamId::as_str), limit)).await
    }

    /// The place of the newest event in the commit order; zero when there is none.
    pub async fn last_offset(&self) -> Result<u64> {
        self.database.read(last_offset).await
    }

    /// Queues an append behind all that this caller has queued before it, without waiting for its sync to disk: those on
    /// their way together share one. Each is all or nothing by itself.
    pub async fn queue(&self, appends: Vec<Append>) -> Result<QueuedAppend> {
        let prepared = Prepared::new(appends)?;
        let answer = self.database.queue_and_tell(move |transaction| prepared.append(transaction)).await?;
        Ok(QueuedAppend(answer))
    }

    /// The events behind a place in the commit order, at most `limit`, each with its own.
    pub async fn read_behind(&self, after: u64, limit: usize) -> Result<Vec<(u64, Event)>> {
        self.database.read(move |snapshot| read_behind(snapshot, after, limit)).await
    }

    /// Waits until there are events behind a place, appended by this process or by another.
    pub async fn wait_beyond(&self, offset: u64) -> Result<()> {
        wait_beyond(&self.database, offset).await
    }
}

#[async_trait]
impl EventStore for LocalEventStore {
    async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        self.queue(appends).await?.appended().await
    }

    async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        let stream = stream.clone();
        self.database.read(move |snapshot| read_stream(snapshot, &stream, from, limit)).await
    }

    async fn read_all(&self, after: &Offset, limit: usize) -> Result<Vec<(Offset, Event)>> {
        let numbered = self.read_behind(after.number()?, limit).await?;
        Ok(numbered.into_iter().map(|(number, event)| (Offset::numbered(number), event)).collect())
    }

    async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        let streams = streams.to_vec();
        self.database
            .read(move |snapshot| {
                let last = |stream| Ok(append::known(snapshot, stream)?.map(|known| known.last));
                streams.iter().map(last).collect()
            })
            .await
    }
}

pub(crate) async fn wait_beyond(database: &Database, offset: u64) -> Result<()> {
    let mut changes = database.changes();
    while database.read(last_offset).await? <= offset {
        // The sender lives as long as the database.
        let _ = changes.changed().await;
    }
    Ok(())
}

fn last_offset(snapshot: &Connection) -> Result<u64, Failure> {
    let last = snapshot
        .prepare_cached("SELECT max(offset) FROM stored_events")?
        .query_row((), |row| row.get::<_, Option<i64>>(0))?;
    Ok(last.map_or(0, number))
}

fn read_stream(
    snapshot: &Connection,
    stream: &StreamId,
    from: Sequence,
    limit: usize,
) -> Result<Vec<Event>, Failure> {
    let mut statement = snapshot.prepare_cached(&format!(
        "SELECT {EVENT_COLUMNS} FROM stored_events e
         WHERE stream = (SELECT stream FROM streams WHERE id = ?1) AND sequence >= ?2 ORDER BY sequence LIMIT ?3"
    ))?;
    let values = params![stream.as_str(), sql_integer(from.0), sql_integer(limit as u64)];
    let rows = statement.query_map(values, |row| event(row, stream.clone()))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn read_behind(snapshot: &Connection, after: u64, limit: usize) -> Result<Vec<(u64, Event)>, Failure> {
    let mut statement = snapshot.prepare_cached(&format!(
        "SELECT {EVENT_COLUMNS}, e.offset, s.id AS stream_id FROM stored_events e CROSS JOIN streams s USING (stream)
         WHERE e.offset > ?1 ORDER BY e.offset LIMIT ?2"
    ))?;
    let rows = statement.query_map(params![sql_integer(after), sql_integer(limit as u64)], |row| {
        let stream = StreamId::new(row.get::<_, Arc<str>>("stream_id")?);
        Ok((number(row.get("offset")?), event(row, stream)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn list(snapshot: &Connection, after: Option<&str>, limit: usize) -> Result<Vec<StreamSummary>, Failure> {
    let mut statement =
        snapshot.prepare_cached("SELECT id, last FROM streams WHERE id >= ?1 ORDER BY id LIMIT ?2")?;
    let rows = statement.query_map(params![first_behind(after), sql_integer(limit as u64)], |row| {
        let stream = StreamId::new(row.get::<_, Arc<str>>(0)?);
        Ok(StreamSummary { stream, last: Sequence(number(row.get(1)?)) })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
