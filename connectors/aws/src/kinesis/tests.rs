//! Against servers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_kinesis::{Client, primitives::Blob, types::StreamStatus};
use foldstream_model::{
    Clock, Position, ShardId, Timestamp,
    conformance::{
        self,
        source::{SourceFixture, StreamFixture},
    },
    ports::Source,
};
use foldstream_test_servers::Server;

use super::{KinesisOptions, KinesisSource};
use crate::{Connection, testing::WallClock};

/// As fast as a server answers.
const CALLS_PER_SECOND: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(10);

/// A server, and how finely it tells when records arrive.
pub(super) struct Streams {
    connection: Connection,
    tick: Duration,
    made: AtomicU64,
    _server: Server,
}

impl Streams {
    fn on(server: Server, tick: Duration) -> Self {
        Self { connection: Connection::to(&server), tick, made: AtomicU64::new(0), _server: server }
    }

    async fn stream(&self, shards: u32) -> Stream {
        let name = format!("stream-{}", self.made.fetch_add(1, Ordering::Relaxed));
        let client = self.connection.kinesis();
        let shards = i32::try_from(shards).unwrap();
        client.create_stream().stream_name(&name).shard_count(shards).send().await.unwrap();
        let options = KinesisOptions { calls_per_second: CALLS_PER_SECOND, ..KinesisOptions::new(&name) };
        let source = KinesisSource::new(&self.connection, options, Arc::new(WallClock));
        let stream = Stream { client, name, source, tick: self.tick };
        stream.is_active().await;
        stream
    }
}

#[async_trait]
impl SourceFixture for Streams {
    async fn make(&self, shards: u32) -> Box<dyn StreamFixture> {
        Box::new(self.stream(shards).await)
    }
}

struct Stream {
    client: Client,
    name: String,
    source: KinesisSource,
    tick: Duration,
}

impl Stream {
    async fn is_active(&self) {
        loop {
            let answer = self.client.describe_stream_summary().stream_name(&self.name).send().await.unwrap();
            if *answer.stream_description_summary().unwrap().stream_status() == StreamStatus::Active {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn shard_ids(&self) -> Vec<ShardId> {
        self.source.shards().await.unwrap().into_iter().map(|shard| shard.id).collect()
    }

    async fn children_since(&self, before: &[ShardId]) -> Vec<ShardId> {
        self.is_active().await;
        let mut shards = self.shard_ids().await;
        shards.retain(|shard| !before.contains(shard));
        shards
    }
}

#[async_trait]
impl StreamFixture for Stream {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    async fn put(&self, partition_key: &str, data: &str) -> (ShardId, Position) {
        let request = self.client.put_record().stream_name(&self.name).partition_key(partition_key);
        let put = request.data(Blob::new(data)).send().await.unwrap();
        (ShardId::new(put.shard_id()), put.sequence_number().parse().unwrap())
    }

    async fn split(&self, shard: &ShardId) -> [ShardId; 2] {
        let listed = self.source.shards().await.unwrap();
        let range = listed.iter().find(|known| known.id == *shard).unwrap().range.unwrap();
        let before: Vec<ShardId> = listed.into_iter().map(|shard| shard.id).collect();
        let middle = range.first.midpoint(range.last) + 1;
        let request = self.client.split_shard().stream_name(&self.name).shard_to_split(shard.as_str());
        request.new_starting_hash_key(middle.to_string()).send().await.unwrap();
        self.children_since(&before).await.try_into().unwrap()
    }

    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> ShardId {
        let before = self.shard_ids().await;
        let request = self.client.merge_shards().stream_name(&self.name);
        let request = request.shard_to_merge(shard.as_str()).adjacent_shard_to_merge(adjacent.as_str());
        request.send().await.unwrap();
        self.children_since(&before).await.remove(0)
    }

    /// Retention is a day at least.
    async fn trim_all(&self) -> bool {
        false
    }

    async fn instant(&self) -> Timestamp {
        let tick = i64::try_from(self.tick.as_micros()).unwrap();
        let next = (WallClock.now().micros() / tick + 1) * tick;
        while WallClock.now().micros() <= next {
            tokio::time::sleep(PAUSE).await;
        }
        Timestamp::from_micros(next)
    }
}

#[tokio::test]
async fn it_passes_the_suite() {
    conformance::source::run(&Streams::on(Server::kinesis(), Duration::from_secs(1))).await;
}
