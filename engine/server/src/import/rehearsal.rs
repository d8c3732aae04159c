use std::sync::Arc;

use async_trait::async_trait;
use foldstream_local::{LocalEventStore, LocalStore, OpenOptions};
use foldstream_model::{
    Clock, Error, Event, Ids, Result, Sequence, StreamId,
    ports::{Append, Appended, EventStore, ExpectedSequence, Offset},
};
use tempfile::TempDir;

use crate::stores::TableEvents;

/// An event store for a dry run: it begins as another one is, or empty, and what is appended to it is forgotten with it.
pub struct Rehearsal {
    stored: Option<Arc<dyn EventStore>>,
    /// The table that it would be appended to, which says what it cannot hold.
    table: Option<Arc<TableEvents>>,
    /// What was appended, on disk: it may be more than memory holds.
    appended: Arc<LocalEventStore>,
    _folder: TempDir,
}

impl Rehearsal {
    /// Invalid when there is no room for temporary files.
    pub fn new(
        stored: Option<Arc<dyn EventStore>>,
        table: Option<Arc<TableEvents>>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| {
            Error::invalid(format!(
                "a dry run needs a folder for temporary files: {error}; name one in TMPDIR"
            ))
        })?;
        let options = OpenOptions { create: true, read_only: false };
        let appended = LocalStore::open(folder.path(), clock, ids, options)?.events();
        Ok(Self { stored, table, appended, _folder: folder })
    }

    async fn last_stored(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        match &self.stored {
            Some(stored) => stored.last_sequences(streams).await,
            None => Ok(vec![None; streams.len()]),
        }
    }
}

#[async_trait]
impl EventStore for Rehearsal {
    async fn append(&self, mut appends: Vec<Append>) -> Result<Appended> {
        if let Some(table) = &self.table {
            table.rehearse(&appends).await?;
        }
        for append in &mut appends {
            let stream = std::slice::from_ref(&append.stream);
            let stored = self.last_stored(stream).await?.into_iter().next().flatten();
            let is_begun = self.appended.last_sequences(stream).await? != [None];
            match (stored, append.expected) {
                // What follows the stored events is the first that is appended here.
                (Some(last), ExpectedSequence::Last(expected)) if last == expected && !is_begun => {
                    let first = last.next().ok_or_else(|| Error::invalid("a stream is full"))?;
                    append.expected = ExpectedSequence::Empty { first };
                }
                (Some(_), _) if !is_begun => {
                    return Ok(Appended::Conflict { stream: append.stream.clone(), last: stored });
                }
                _ => {}
            }
        }
        self.appended.append(appends).await
    }

    async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        let mut events = match &self.stored {
            Some(stored) => stored.read_stream(stream, from, limit).await?,
            None => Vec::new(),
        };
        if events.len() < limit {
            events.extend(self.appended.read_stream(stream, from, limit - events.len()).await?);
        }
        Ok(events)
    }

    async fn read_all(&self, _: &Offset, _: usize) -> Result<Vec<(Offset, Event)>> {
        Err(Error::internal("what a dry run appends is in no order with what is stored"))
    }

    async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        let (stored, appended) =
            (self.last_stored(streams).await?, self.appended.last_sequences(streams).await?);
        Ok(appended.into_iter().zip(stored).map(|(appended, stored)| appended.or(stored)).collect())
    }
}
