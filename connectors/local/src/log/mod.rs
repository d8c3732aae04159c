//! Sharded logs under the rules of Kinesis data streams: the embedded stand-in for one.
//!
//! A record goes to the open shard whose range holds the MD5 of its partition key, read as a big-endian number of 128
//! bits, or its explicit hash key. Shards are split at a hash key and merged with a neighbour; the parents are closed
//! then and their children take what comes. Records are kept for the retention time.
//! Rules: <https://docs.aws.amazon.com/streams/latest/dev/key-concepts.html>

mod hash_key;
mod shards;
mod create;
mod put;
mod reshard;
mod trim;
mod source;
mod reader;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use foldstream_model::{
    Clock, Error, HashKeyRange, Incarnation, Position, Record, Result, ShardId, Timestamp,
};

use crate::database::Database;
pub(crate) use create::LogRow;
pub(crate) use hash_key::hash_key;
pub(crate) use put::{Routed, put};
pub use source::LocalSource;

/// How a log is made. Shards and order count only when it is made; retention also later.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// How many shards share the hash keys evenly, at least one.
    pub shards: u32,
    /// How long records are kept at least; for ever if none.
    pub retention: Option<Duration>,
    /// Every append to the event store is recorded later than all before it, and nothing but the relay puts records: the
    /// relay can then state a low watermark. It watches, and stops stating one when an event breaks this.
    pub recorded_in_order: bool,
}

/// A record to be put.
#[derive(Debug, Clone)]
pub struct NewRecord {
    pub partition_key: Arc<str>,
    /// Instead of the hash of the partition key.
    pub explicit_hash_key: Option<u128>,
    pub data: Bytes,
}

/// What a log is and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDescription {
    pub incarnation: Incarnation,
    pub retention: Option<Duration>,
    /// The newest event of the event store that the relay has moved here.
    pub relayed: u64,
    /// The relay may state a low watermark.
    pub recorded_in_order: bool,
    /// All shards that the log still knows, in the order in which they were made.
    pub shards: Vec<ShardDescription>,
}

/// A shard, open or closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardDescription {
    pub id: ShardId,
    pub parents: Vec<ShardId>,
    pub range: HashKeyRange,
    /// Records up to here were trimmed.
    pub trimmed: Position,
    /// The newest record.
    pub last: Position,
    pub closed_at: Option<Timestamp>,
}

/// A log of the embedded database.
#[derive(Clone)]
pub struct LocalLog {
    database: Arc<Database>,
    clock: Arc<dyn Clock>,
    name: Arc<str>,
    id: i64,
}

impl LocalLog {
    pub(crate) async fn open(
        database: Arc<Database>,
        clock: Arc<dyn Clock>,
        name: &str,
    ) -> Result<Option<Self>> {
        let name: Arc<str> = name.into();
        let wanted = Arc::clone(&name);
        let id = database.read(move |snapshot| create::find(snapshot, &wanted)).await?;
        Ok(id.map(|id| Self { database, clock, name, id }))
    }

    pub(crate) async fn open_or_create(
        database: Arc<Database>,
        clock: Arc<dyn Clock>,
        incarnation: String,
        name: &str,
        options: LogOptions,
    ) -> Result<Self> {
        if options.shards == 0 {
            return Err(Error::invalid(format!("a stream needs at least one shard: stream={name} shards=0")));
        }
        let name: Arc<str> = name.into();
        let (wanted, now) = (Arc::clone(&name), clock.now());
        let id = database
            .write(move |transaction| {
                create::find_or_create(transaction, &wanted, &incarnation, now, options)
            })
            .await?;
        Ok(Self { database, clock, name, id })
    }

    pub(crate) fn id(&self) -> i64 {
        self.id
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub async fn describe(&self) -> Result<LogDescription> {
        let id = self.id;
        self.database.read(move |snapshot| create::describe(snapshot, id)).await
    }

    /// The oldest record behind a position of a shard that is still kept. `Invalid`: there is no such shard.
    pub async fn next_record(&self, shard: &ShardId, after: &Position) -> Result<Option<Record>> {
        let (id, shard, after) = (self.id, shard.clone(), after.as_u64().unwrap_or(u64::MAX));
        self.database.read(move |snapshot| reader::next_record(snapshot, id, &shard, after)).await
    }

    /// Puts records, all or nothing; where each went, in the order given. `Invalid`: an empty partition key.
    pub async fn put(&self, records: Vec<NewRecord>) -> Result<Vec<(ShardId, Position)>> {
        if records.iter().any(|record| record.partition_key.is_empty()) {
            return Err(Error::invalid(format!("a record without a partition key: stream={}", self.name)));
        }
        let (id, now) = (self.id, self.clock.now());
        let routed: Vec<Routed> = records.into_iter().map(Routed::from).collect();
        self.database.write_and_tell(move |transaction| put(transaction, id, now, &routed)).await
    }

    /// Closes a shard and opens two that share its hash keys, the second from `new_starting_hash_key` on. `Invalid`: the
    /// shard is not open, or the key is not inside its range.
    pub async fn split(&self, shard: &ShardId, new_starting_hash_key: u128) -> Result<[ShardId; 2]> {
        let (id, now, shard) = (self.id, self.clock.now(), shard.clone());
        self.database
            .write_and_tell(move |transaction| {
                reshard::split(transaction, id, now, &shard, new_starting_hash_key)
            })
            .await
    }

    /// Closes two neighbours and opens one with the hash keys of both. `Invalid`: they are not open, or not adjacent.
    pub async fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> Result<ShardId> {
        let (id, now, shard, adjacent) = (self.id, self.clock.now(), shard.clone(), adjacent.clone());
        self.database
            .write_and_tell(move |transaction| reshard::merge(transaction, id, now, &shard, &adjacent))
            .await
    }

    /// Removes records, and closed shards, that are older than the retention time; how many records. Call it now and
    /// then; a call removes at most some thousands of each shard, so that writers need not wait.
    pub async fn trim(&self, now: Timestamp) -> Result<u64> {
        let id = self.id;
        self.database.write(move |transaction| trim::trim(transaction, id, now)).await
    }

    pub fn source(&self) -> Arc<LocalSource> {
        Arc::new(LocalSource::new(Arc::clone(&self.database), Arc::clone(&self.clock), self.clone()))
    }
}
