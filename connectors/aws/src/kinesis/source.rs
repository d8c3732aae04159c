//! The source.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use foldstream_model::{
    Clock, Error, Position, Result, Shard, ShardId, Timestamp,
    ports::{From, ShardReader, Source, SourceDescription},
};
use tokio::time::Instant;

use super::{
    consumer::Consumer,
    fan_out::FanOutReader,
    hash_key::hash_key,
    opening::Opening,
    shards::KnownShard,
    stream::{Described, Stream},
};
use crate::{Connection, polled::pace::Pace};

/// What a shard gives to all its readers together, beside five calls.
/// <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const BYTES_PER_SECOND: u64 = 2_000_000;

/// Which stream is read, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisOptions {
    /// Its name, or its ARN, by which streams of other accounts are reached.
    pub stream: String,
    /// Of the five that a shard answers in a second, whoever asks. Fewer leave more to other readers, and see new records
    /// later.
    pub calls_per_second: u32,
    pub reading: Reading,
}

/// How records come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// They are asked for, and share what a shard gives to all its readers. New ones are seen after about the time between
    /// two polls.
    Polling,
    /// They are pushed, by enhanced fan-out: within some 70 ms, and without taking anything from other readers, at a price
    /// per shard, hour and byte. `consumer` is the ARN of a registered consumer, or a name: one of this name is used, or
    /// registered, and stays so. No other application may use it. One reader of each shard and process is pushed to, any
    /// others poll.
    FanOut { consumer: String },
}

impl KinesisOptions {
    pub fn new(stream: impl Into<String>) -> Self {
        Self { stream: stream.into(), calls_per_second: 5, reading: Reading::Polling }
    }
}

/// Reads a Kinesis data stream.
pub struct KinesisSource {
    pub(super) stream: Stream,
    pub(super) clock: Arc<dyn Clock>,
    calls_per_second: u32,
    consumer: Option<Arc<Consumer>>,
    known: Mutex<Known>,
}

/// What was said of the stream when it was last asked.
#[derive(Debug, Default)]
struct Known {
    described: Option<Described>,
    shards: BTreeMap<ShardId, KnownShard>,
    paces: BTreeMap<ShardId, Arc<Mutex<Pace>>>,
}

impl KinesisSource {
    /// Nothing is sent before something is asked for. The clock is compared with when records arrived, to see which of
    /// them are about to be trimmed.
    pub fn new(connection: &Connection, options: KinesisOptions, clock: Arc<dyn Clock>) -> Self {
        let stream = Stream { client: connection.kinesis(), named: options.stream };
        let consumer = match options.reading {
            Reading::Polling => None,
            Reading::FanOut { consumer } => Some(Arc::new(Consumer::new(stream.clone(), consumer))),
        };
        let calls_per_second = options.calls_per_second;
        Self { stream, clock, calls_per_second, consumer, known: Mutex::default() }
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn ask(&self) -> Result<Described> {
        let described = self.stream.describe().await?;
        self.known(|known| {
            if known.described.as_ref().map(|before| &before.incarnation) != Some(&described.incarnation) {
                known.shards.clear();
            }
            known.described = Some(described.clone());
        });
        Ok(described)
    }

    async fn described(&self) -> Result<Described> {
        match self.known(|known| known.described.clone()) {
            Some(described) => Ok(described),
            None => self.ask().await,
        }
    }

    async fn known_shard(&self, shard: &ShardId) -> Result<KnownShard> {
        if self.find(shard).is_none() {
            self.shards().await?;
        }
        self.find(shard).ok_or_else(|| {
            Error::invalid(format!(
                "there is no such shard: stream={} shard={shard}; its retention time is over, or the stream is another \
                 one of the same name",
                self.stream.named
            ))
        })
    }

    fn find(&self, shard: &ShardId) -> Option<KnownShard> {
        self.known(|known| known.shards.get(shard).cloned())
    }

    /// What all readers of a shard share.
    pub(super) fn pace(&self, shard: &ShardId) -> Arc<Mutex<Pace>> {
        let new = || Arc::new(Mutex::new(Pace::new(self.calls_per_second, BYTES_PER_SECOND, Instant::now())));
        self.known(|known| known.paces.entry(shard.clone()).or_insert_with(new).clone())
    }
}

#[async_trait]
impl Source for KinesisSource {
    async fn describe(&self) -> Result<SourceDescription> {
        let Described { incarnation, retention, .. } = self.ask().await?;
        Ok(SourceDescription { incarnation, retention: Some(retention) })
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        let listed = self.stream.list_shards().await?;
        let shards = listed.iter().map(|shard| self.stream.known(shard)).collect::<Result<Vec<_>>>()?;
        self.known(|known| {
            known.shards = shards.into_iter().map(|shard| (shard.id.clone(), shard)).collect();
            known.paces.retain(|shard, _| known.shards.contains_key(shard));
        });
        self.stream.in_order(&listed)
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        let described = self.described().await?;
        let shard = self.known_shard(shard).await?;
        let opening = Opening { source: self, shard: &shard, described: &described, now: self.clock.now() };
        let polling = opening.open(from).await?;
        Ok(match &self.consumer {
            None => Box::new(polling),
            Some(consumer) => Box::new(FanOutReader::new(polling, self.clock.clone(), consumer.clone())),
        })
    }

    /// Never through a subscription, which would take the shard from whoever reads it.
    async fn oldest_behind(&self, shard: &ShardId, position: &Position) -> Result<Option<Timestamp>> {
        let described = self.described().await?;
        let shard = self.known_shard(shard).await?;
        let opening = Opening { source: self, shard: &shard, described: &described, now: self.clock.now() };
        opening.oldest_behind(position).await
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        hash_key(partition_key)
    }
}
