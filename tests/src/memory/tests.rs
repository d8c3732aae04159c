use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    Position, ShardId, Timestamp,
    conformance::{
        self,
        source::{SourceFixture, StreamFixture},
    },
    ports::Source,
};

use super::{
    MemoryCheckpoints, Ordering, documents::MemoryDocuments, events::MemoryEvents, leases::MemoryLeases,
    log::MemoryLog, parking::MemoryParking,
};

#[tokio::test]
async fn checkpoints_pass_the_suite() {
    let store = MemoryCheckpoints::default();
    conformance::checkpoint_store::run(&store).await;
    conformance::checkpoint_store::run(&store).await;
}

#[tokio::test]
async fn leases_pass_the_suite() {
    let store = MemoryLeases::default();
    conformance::lease_store::run(&store).await;
    conformance::lease_store::run(&store).await;
}

#[tokio::test]
async fn documents_pass_the_suite() {
    let store = MemoryDocuments::default();
    conformance::document_store::run(&store).await;
    conformance::document_store::run(&store).await;
}

#[tokio::test]
async fn parking_passes_the_suite() {
    let parking = MemoryParking::default();
    conformance::parking_lot::run(&parking).await;
    conformance::parking_lot::run(&parking).await;
}

#[tokio::test]
async fn events_pass_the_suite() {
    let store = MemoryEvents::default();
    conformance::event_store::run(&store, "first run").await;
    conformance::event_store::run(&store, "second run").await;
}

#[derive(Default)]
struct Logs(AtomicU64);

#[async_trait]
impl SourceFixture for Logs {
    async fn make(&self, shards: u32) -> Box<dyn StreamFixture> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Box::new(Stream { log: MemoryLog::new(&format!("log-{number}"), shards), millis: AtomicU64::new(1) })
    }
}

struct Stream {
    log: MemoryLog,
    millis: AtomicU64,
}

#[async_trait]
impl StreamFixture for Stream {
    fn source(&self) -> &dyn Source {
        &self.log
    }

    async fn put(&self, partition_key: &str, data: &str) -> (ShardId, Position) {
        let at = self.instant().await;
        self.log.put(partition_key, Bytes::copy_from_slice(data.as_bytes()), at)
    }

    async fn split(&self, shard: &ShardId) -> [ShardId; 2] {
        self.log.split(shard)
    }

    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> ShardId {
        self.log.merge(shard, adjacent)
    }

    async fn trim_all(&self) -> bool {
        self.log.trim_all();
        true
    }

    async fn instant(&self) -> Timestamp {
        let millis = self.millis.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(0))
    }
}

#[tokio::test]
async fn logs_pass_the_suite() {
    conformance::source::run(&Logs::default()).await;
}
