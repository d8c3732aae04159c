//! What the store is told of shards. A lease does not say which hash keys its shard takes, nor which its parents are; KCL
//! wants to find that in its table.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use foldstream_model::{
    Position, Result, Shard, ShardId, SourceName, Timestamp,
    ports::{From, ShardReader, Source, SourceDescription},
};

use super::DynamoLeases;

/// The shards of sources as they were last listed.
#[derive(Default)]
pub(super) struct ToldShards {
    by_source: Mutex<BTreeMap<SourceName, BTreeMap<ShardId, Shard>>>,
}

impl ToldShards {
    pub(super) fn tell(&self, source: &SourceName, shards: &[Shard]) {
        let shards = shards.iter().map(|shard| (shard.id.clone(), shard.clone())).collect();
        self.with(|by_source| by_source.insert(source.clone(), shards));
    }

    pub(super) fn get(&self, source: &SourceName, shard: &ShardId) -> Option<Shard> {
        self.with(|by_source| by_source.get(source)?.get(shard).cloned())
    }

    /// One that panicked with it has changed nothing by halves.
    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<SourceName, BTreeMap<ShardId, Shard>>) -> T) -> T {
        look(&mut self.by_source.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A source that tells the leases which shards it lists. They go without as long as it has listed none: what is missing in
/// a row is written with the next renewal.
pub struct TellsShards {
    name: SourceName,
    source: Arc<dyn Source>,
    leases: Arc<DynamoLeases>,
}

impl TellsShards {
    pub fn new(name: SourceName, source: Arc<dyn Source>, leases: Arc<DynamoLeases>) -> Self {
        Self { name, source, leases }
    }
}

#[async_trait]
impl Source for TellsShards {
    async fn describe(&self) -> Result<SourceDescription> {
        self.source.describe().await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        let shards = self.source.shards().await?;
        self.leases.shards.tell(&self.name, &shards);
        Ok(shards)
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        self.source.open(shard, from).await
    }

    async fn oldest_behind(&self, shard: &ShardId, position: &Position) -> Result<Option<Timestamp>> {
        self.source.oldest_behind(shard, position).await
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.source.hash_key(partition_key)
    }
}
