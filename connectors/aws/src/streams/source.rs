//! The source.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use foldstream_model::{
    Clock, Error, Incarnation, Position, Result, Shard, ShardId, Timestamp,
    ports::{From, ShardReader, Source, SourceDescription},
};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_128;

use super::{
    opening::{Opening, RETENTION},
    shards::{KnownShard, Listing},
    stream::TableStream,
};
use crate::{Connection, polled::pace::Pace};

/// A call brings 1 MB at most, and there is no other bound of bytes.
const BYTES_PER_SECOND: u64 = u64::MAX;

/// Which table's changes are read, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsOptions {
    /// Its name, or its ARN, by which tables of other accounts are reached.
    pub table: String,
    /// How often a shard is asked. Fewer leave more to another reader, of which there may be one, and see changes later.
    pub calls_per_second: u32,
}

impl StreamsOptions {
    /// As often as Lambda asks.
    /// <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into(), calls_per_second: 4 }
    }
}

/// Reads the changes of a DynamoDB table, in the JSON that DynamoDB itself writes into Kinesis, by the text of the table's
/// partition key. Keeps them for 24 hours; shards have one parent, no hash keys, and end after some four hours.
///
/// To begin at an instant or at the newest record reads all that a shard keeps.
pub struct StreamsSource {
    stream: TableStream,
    clock: Arc<dyn Clock>,
    calls_per_second: u32,
    known: Mutex<Known>,
}

/// What was said of the stream when it was last asked.
#[derive(Debug, Default)]
struct Known {
    arn: Option<String>,
    listing: Arc<Listing>,
    paces: BTreeMap<ShardId, Arc<Mutex<Pace>>>,
}

/// A shard, and the one that it goes on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descent {
    pub shard: ShardId,
    /// It may be gone.
    pub parent: Option<ShardId>,
}

impl StreamsSource {
    /// Nothing is sent before something is asked for. The clock is compared with when changes were made, to see which of
    /// them are about to be trimmed.
    pub fn new(connection: &Connection, options: StreamsOptions, clock: Arc<dyn Clock>) -> Self {
        let StreamsOptions { table, calls_per_second } = options;
        Self { stream: TableStream::of(connection, table), clock, calls_per_second, known: Mutex::default() }
    }

    /// The table as it was named.
    pub(crate) fn table(&self) -> &str {
        &self.stream.table
    }

    /// Every shard that is listed, parents before children.
    pub(crate) async fn descents(&self) -> Result<Vec<Descent>> {
        let listing = self.list().await?;
        let parent = |shard: &ShardId| listing.shards.get(shard).and_then(|known| known.parent.clone());
        let descent = |shard: Shard| Descent { parent: parent(&shard.id), shard: shard.id };
        Ok(listing.in_order().into_iter().map(descent).collect())
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask(&self) -> Result<String> {
        let arn = self.stream.arn().await?;
        self.known(|known| {
            if known.arn.as_ref() != Some(&arn) {
                *known = Known { arn: Some(arn.clone()), ..Known::default() };
            }
        });
        Ok(arn)
    }

    async fn arn(&self) -> Result<String> {
        match self.known(|known| known.arn.clone()) {
            Some(arn) => Ok(arn),
            None => self.ask().await,
        }
    }

    async fn list(&self) -> Result<Arc<Listing>> {
        let listing = Arc::new(self.stream.list_shards(&self.arn().await?).await?);
        self.known(|known| {
            known.listing = listing.clone();
            known.paces.retain(|shard, _| known.listing.shards.contains_key(shard));
        });
        Ok(listing)
    }

    async fn known_shard(&self, shard: &ShardId) -> Result<(Arc<Listing>, KnownShard)> {
        // A list has pages, and may be asked for ten times in a second.
        let before = self.known(|known| known.listing.clone());
        let listing = if before.shards.contains_key(shard) { before } else { self.list().await? };
        let known = listing.shards.get(shard).cloned().ok_or_else(|| {
            Error::invalid(format!(
                "there is no such shard: table={} shard={shard}; its 24 hours are over, or the table's stream was \
                 switched off and on again",
                self.stream.table
            ))
        })?;
        Ok((listing, known))
    }

    fn pace(&self, shard: &ShardId) -> Arc<Mutex<Pace>> {
        let new = || Arc::new(Mutex::new(Pace::new(self.calls_per_second, BYTES_PER_SECOND, Instant::now())));
        self.known(|known| known.paces.entry(shard.clone()).or_insert_with(new).clone())
    }
}

#[async_trait]
impl Source for StreamsSource {
    async fn describe(&self) -> Result<SourceDescription> {
        Ok(SourceDescription { incarnation: Incarnation::new(self.ask().await?), retention: Some(RETENTION) })
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        Ok(self.list().await?.in_order())
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        let arn = self.arn().await?;
        let (listing, shard) = self.known_shard(shard).await?;
        let pace = self.pace(&shard.id);
        let now = self.clock.now();
        let opening =
            Opening { stream: &self.stream, arn: &arn, listing: &listing, shard: &shard, pace, now };
        Ok(Box::new(opening.open(from).await?))
    }

    async fn oldest_behind(&self, shard: &ShardId, position: &Position) -> Result<Option<Timestamp>> {
        let arn = self.arn().await?;
        let (listing, shard) = self.known_shard(shard).await?;
        let (pace, now) = (self.pace(&shard.id), self.clock.now());
        let opening =
            Opening { stream: &self.stream, arn: &arn, listing: &listing, shard: &shard, pace, now };
        opening.oldest_behind(position).await
    }

    /// Shards have no hash keys: it spreads evenly, and says nothing about them.
    fn hash_key(&self, partition_key: &str) -> u128 {
        xxh3_128(partition_key.as_bytes())
    }
}
