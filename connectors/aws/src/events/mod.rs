//! Events in a table of DynamoDB.

mod settings;
mod table;
mod pages;
mod plain;
mod reading;
#[cfg(test)]
mod tests;

pub use settings::{EventTable, PartitionKey, SortHolds, SortKey};

use std::sync::Arc;

use foldstream_model::{Event, Result, Sequence, StreamId, ports::Decoder};
use futures::future::try_join_all;

use crate::Connection;
use reading::Reading;
use table::Table;

/// The events of a table that its owner has made, read as they are.
pub struct DynamoEvents {
    reading: Reading,
}

impl DynamoEvents {
    /// Opens the table. `decoder` reads an item in plain JSON: which of them are events, and where their parts are.
    /// `Invalid`: there is no such table, or it is none that was described.
    pub async fn open(
        connection: &Connection,
        settings: EventTable,
        decoder: Arc<dyn Decoder>,
    ) -> Result<Self> {
        let (table, _) = Table::open(connection.dynamodb(), settings).await?;
        Ok(Self { reading: Reading { table, decoder } })
    }

    pub async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        self.reading.stream(stream, from, limit).await
    }

    pub async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        let last = async |stream| Ok(self.reading.last(stream).await?.map(|found| found.event.sequence));
        try_join_all(streams.iter().map(last)).await
    }
}
