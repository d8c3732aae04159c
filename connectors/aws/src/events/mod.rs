//! Events in a table of DynamoDB.

mod settings;
mod table;
mod pages;
mod plain;
mod reading;
mod ksuid;
mod order;
mod writing;
mod sending;
mod appending;
mod inspection;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use foldstream_model::{
    Clock, Error, Event, Ids, Result, Sequence, StreamId,
    ports::{Append, Appended, Decoder, EventStore, Offset},
};
use tokio::sync::OnceCell;

use crate::{Connection, dynamodb::table as tables};
use appending::Appending;
pub use inspection::inspect;
use ksuid::Ksuids;
use order::CommitIndex;
use reading::Reading;
pub use settings::{
    CommitOrder, EventTable, PartitionKey, SortHolds, SortKey, WrittenEncoding, WrittenPart, WrittenParts,
    WrittenPayload,
};
use table::Table;

/// How many requests of one call are under way at once.
const AT_ONCE: usize = 16;

/// The events of a table that its owner has made.
///
/// Streams are read strongly consistent. An append of one event is a conditional put; of several it is a transaction, of at
/// most 100 events and 4 MB. All events are read from an index, behind its safe window, in an order in which the events of
/// one stream come by their sequences.
///
/// The last event of a stream is never to be removed from the table, by its time to live for instance: what is appended
/// next would get the sequence of an earlier event.
pub struct DynamoEvents {
    reading: Reading,
    ksuids: Ksuids,
    index: OnceCell<CommitIndex>,
}

impl DynamoEvents {
    /// Opens the table. `decoder` reads an item in plain JSON: which of them are events, and where their parts are.
    /// `Invalid`: there is no such table, or it is none that was described.
    pub async fn open(
        connection: &Connection,
        settings: EventTable,
        decoder: Arc<dyn Decoder>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self> {
        Self::open_through(connection.dynamodb(), settings, decoder, clock, ids).await
    }

    async fn open_through(
        client: Client,
        settings: EventTable,
        decoder: Arc<dyn Decoder>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self> {
        let table = Table::open(client, settings).await?;
        let reading = Reading { table, decoder };
        Ok(Self { reading, ksuids: Ksuids::new(clock, ids), index: OnceCell::new() })
    }

    /// The newest events of all that are as old as the safe window, the oldest of them first, at most `limit`. `Invalid`: no index
    /// holds them in one order.
    pub async fn newest(&self, limit: usize) -> Result<Vec<(Offset, Event)>> {
        let now = self.ksuids.clock().now();
        match self.index().await? {
            Some(index) => index.newest(&self.reading, now, limit).await,
            None => Err(self.unordered()),
        }
    }

    /// Whether an append could be written, without doing it. `Invalid`: why not.
    pub async fn rehearse(&self, appends: &[Append]) -> Result<()> {
        let (written, index) = (self.written()?, self.index().await?);
        Appending { reading: &self.reading, written, index, ksuids: &self.ksuids }.rehearse(appends)
    }

    fn written(&self) -> Result<&WrittenParts> {
        let settings = &self.reading.table.settings;
        settings.written.as_ref().ok_or_else(|| {
            Error::invalid(format!(
                "nothing can be appended to this table, as it is not said how its items are written: table={}",
                settings.name
            ))
        })
    }

    fn unordered(&self) -> Error {
        Error::invalid(format!(
            "events can be read by stream alone, as no index is named that holds them in one order: table={}; add a global secondary index with a sharded partition key, a KSUID as sort key and projection ALL, and name it",
            self.reading.table.settings.name
        ))
    }

    /// Looked for when it is first needed, and anew as long as it cannot be used.
    async fn index(&self) -> Result<Option<&CommitIndex>> {
        let table = &self.reading.table;
        let Some(order) = &table.settings.order else { return Ok(None) };
        let found = self.index.get_or_try_init(async || {
            let name = &table.settings.name;
            let description = tables::describe(&table.client, name).await?;
            let gone = || Error::invalid(format!("the table is gone: table={name}"));
            CommitIndex::of(order, &description.ok_or_else(gone)?)
        });
        found.await.map(Some)
    }
}

#[async_trait]
impl EventStore for DynamoEvents {
    async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        let (written, index) = (self.written()?, self.index().await?);
        let appending = Appending { reading: &self.reading, written, index, ksuids: &self.ksuids };
        appending.append(&appends).await
    }

    async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        self.reading.stream(stream, from, limit).await
    }

    async fn read_all(&self, after: &Offset, limit: usize) -> Result<Vec<(Offset, Event)>> {
        // Before anything is asked: what comes meanwhile is younger.
        let now = self.ksuids.clock().now();
        match self.index().await? {
            Some(index) => index.read(&self.reading, now, after, limit).await,
            None => Err(self.unordered()),
        }
    }

    async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        let streams: Vec<&StreamId> = streams.iter().collect();
        let found = self.reading.last_of(&streams).await?;
        Ok(found.into_iter().map(|found| Some(found?.event.sequence)).collect())
    }
}
