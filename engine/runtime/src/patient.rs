//! Stores and sources whose reads are tried again until they succeed or fail for good, so that nothing behind them has
//! to. Conditional writes are handed through: what became of one is for its caller to find out; but for those of
//! a parking lot, which may be asked for any number of times.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    DocumentKey, Event, Lot, MarkNumber, ParkedOrder, Position, Result, Sequence, Shard, ShardId, StreamId,
    Timestamp,
    ports::{
        Append, Appended, CheckpointStore, EventStore, From, Offset, Parked, ParkedPage, Parking, ParkingLot,
        Put, Revision, Row, RowKey, ShardReader, Source, SourceDescription, Table,
    },
};

use crate::retry::until_done;

/// Another one, asked again.
pub struct Patient<T: ?Sized>(pub Arc<T>);

#[async_trait]
impl CheckpointStore for Patient<dyn CheckpointStore> {
    async fn get(&self, key: &RowKey) -> Result<Option<Row>> {
        until_done("reading the checkpoint store", || self.0.get(key)).await
    }

    async fn list(
        &self,
        table: Table,
        partition: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>> {
        until_done("listing what is in the checkpoint store", || self.0.list(table, partition, after, limit))
            .await
    }

    async fn put(
        &self,
        key: &RowKey,
        expected: Option<Revision>,
        body: Bytes,
        beside: Option<&(RowKey, Revision)>,
    ) -> Result<Put> {
        self.0.put(key, expected, body, beside).await
    }

    async fn delete(&self, key: &RowKey) -> Result<()> {
        until_done("removing from the checkpoint store", || self.0.delete(key)).await
    }
}

#[async_trait]
impl EventStore for Patient<dyn EventStore> {
    async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        self.0.append(appends).await
    }

    async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        until_done("reading a stream", || self.0.read_stream(stream, from, limit)).await
    }

    async fn read_all(&self, after: &Offset, limit: usize) -> Result<Vec<(Offset, Event)>> {
        until_done("reading all events", || self.0.read_all(after, limit)).await
    }

    async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        until_done("reading last sequences", || self.0.last_sequences(streams)).await
    }
}

#[async_trait]
impl Source for Patient<dyn Source> {
    async fn describe(&self) -> Result<SourceDescription> {
        until_done("describing a source", || self.0.describe()).await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        until_done("listing shards", || self.0.shards()).await
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        until_done("opening a shard", || self.0.open(shard, from.clone())).await
    }

    async fn oldest_behind(&self, shard: &ShardId, position: &Position) -> Result<Option<Timestamp>> {
        until_done("looking for the oldest record", || self.0.oldest_behind(shard, position)).await
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.0.hash_key(partition_key)
    }
}

#[async_trait]
impl ParkingLot for Patient<dyn ParkingLot> {
    async fn append(&self, lot: &Lot, parkings: Vec<Parking>) -> Result<Vec<Parked>> {
        until_done("parking events", || self.0.append(lot, parkings.clone())).await
    }

    async fn list(
        &self,
        lot: &Lot,
        document: Option<&DocumentKey>,
        after: Option<(&DocumentKey, &ParkedOrder)>,
        limit: usize,
    ) -> Result<ParkedPage> {
        until_done("listing parked events", || self.0.list(lot, document, after, limit)).await
    }

    async fn remove(&self, lot: &Lot, document: &DocumentKey, orders: &[ParkedOrder]) -> Result<()> {
        until_done("removing parked events", || self.0.remove(lot, document, orders)).await
    }

    async fn close(&self, lot: &Lot, document: &DocumentKey, mark: MarkNumber) -> Result<bool> {
        until_done("closing a mark", || self.0.close(lot, document, mark)).await
    }

    async fn clear(&self, lot: &Lot) -> Result<()> {
        until_done("clearing a lot", || self.0.clear(lot)).await
    }
}
