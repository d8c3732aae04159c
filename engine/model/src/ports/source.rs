//! Where records come from.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    error::Result,
    position::Position,
    shard::{Incarnation, Record, Shard, ShardId},
    time::Timestamp,
};

/// A stream of records, cut into shards.
///
/// The worker asks for the description and the shards at start, whenever a shard has ended, and every half a minute or
/// so; it opens one reader for each shard's shared read and at most one more for the projections that are behind.
#[async_trait]
pub trait Source: Send + Sync {
    /// Which incarnation this is. `Invalid`: there is no such stream.
    async fn describe(&self) -> Result<SourceDescription>;

    /// Every shard that still holds records or may get some, parents before children.
    async fn shards(&self) -> Result<Vec<Shard>>;

    /// A reader of one shard. `Invalid`: there is no such shard, or what `from` asks for was trimmed: the message says
    /// what is left. Never begins silently elsewhere than asked. Where the source keeps neither the record at a position
    /// nor any behind it, it cannot tell a loss from a shard that was quiet for as long as it keeps records: it says so to
    /// the log, and begins.
    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>>;

    /// When the oldest record behind a position arrived, of those that are kept; none: there is none. Asked about once a minute,
    /// of what nobody reads now, too. `Invalid`: records behind it were trimmed.
    async fn oldest_behind(&self, shard: &ShardId, position: &Position) -> Result<Option<Timestamp>> {
        let mut reader = self.open(shard, From::After(position.clone())).await?;
        loop {
            let batch = reader.read(ReadLimit { records: 1, bytes: 1, wait: Duration::ZERO }).await?;
            if let Some(oldest) = batch.records.first() {
                return Ok(Some(oldest.arrived_at));
            }
            if batch.tip || batch.end {
                return Ok(None);
            }
        }
    }

    /// The hash key that decides which shard's range a partition key falls into. Pure; asked when a shard has ended and
    /// what waits in it goes to its children.
    fn hash_key(&self, partition_key: &str) -> u128;
}

/// What a source says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDescription {
    pub incarnation: Incarnation,
    /// How long records are kept; none: for ever, or it cannot tell.
    pub retention: Option<Duration>,
}

/// Where in a shard a reader begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// At the oldest record that is kept, and still will be for a while: one that is trimmed in a moment may be left out.
    TrimHorizon,
    /// Behind this position; zero is before the first record that the shard ever had.
    After(Position),
    /// At the first record that arrived at or after this instant, of those that the trim horizon has.
    AtTimestamp(Timestamp),
    /// Behind the newest record.
    Latest,
}

/// Reads one shard forwards. Owned by one task, which calls `read` again as soon as it has room for another batch.
#[async_trait]
pub trait ShardReader: Send {
    /// The next records, in order. Waits up to `limit.wait` for the first one, or where the source pushes them, some seconds
    /// for the next push; then returns what there is, perhaps nothing. Dropping the future while it waits loses nothing.
    /// `Transient`, `Throttled`: call again, nothing was skipped. `Invalid`: records that were asked for were trimmed
    /// meanwhile.
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch>;

    /// The position behind which the next read continues, before anything was read: what `from` came to, and can be come
    /// back to. At the trim horizon no record at or before it is kept for long; zero where the source cannot tell, and then
    /// nothing that was saved of a shard is ever removed.
    fn position(&self) -> Position;
}

/// How much one read may return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    pub records: usize,
    /// A read stops behind the record that reaches this; it returns at least one record where there is one.
    pub bytes: usize,
    pub wait: Duration,
}

/// What one read returned.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub records: Vec<Record>,
    /// The shard is closed and these were its last records.
    pub end: bool,
    /// These were the newest records when the source was asked, which it was after `read` was called.
    pub tip: bool,
    /// How many records of the shard were not read yet, where the source knows.
    pub behind: Option<u64>,
    /// Every event with a recorded-at at or below this is in the stream by now, where the source knows. Events of this
    /// shard that it speaks of are in this batch or before it if `tip` is set.
    pub low_watermark: Option<Timestamp>,
}
