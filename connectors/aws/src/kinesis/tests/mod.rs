//! Against servers.

mod fake;
mod pushing;
mod trimming;

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
    Clock, ErrorKind, Position, Record, ShardId, Timestamp,
    conformance::{
        self,
        source::{SourceFixture, StreamFixture},
    },
    ports::{From, ReadLimit, ShardReader, Source},
};
use foldstream_test_servers::Server;

use super::{KinesisOptions, KinesisSource, Reading, aggregate};
use crate::{Connection, testing::WallClock};

/// As fast as a server answers.
const CALLS_PER_SECOND: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(10);

/// A server, and how finely it tells when records arrive.
pub(super) struct Streams {
    connection: Connection,
    tick: Duration,
    reading: Reading,
    made: AtomicU64,
    _server: Server,
}

impl Streams {
    fn on(server: Server, tick: Duration) -> Self {
        let (connection, reading) = (Connection::to(&server), Reading::Polling);
        Self { connection, tick, reading, made: AtomicU64::new(0), _server: server }
    }

    fn pushed(self) -> Self {
        Self { reading: Reading::FanOut { consumer: "foldstream".to_owned() }, ..self }
    }

    async fn stream(&self, shards: u32) -> Stream {
        let name = format!("stream-{}", self.made.fetch_add(1, Ordering::Relaxed));
        let client = self.connection.kinesis();
        let shards = i32::try_from(shards).unwrap();
        client.create_stream().stream_name(&name).shard_count(shards).send().await.unwrap();
        let reading = self.reading.clone();
        let options = KinesisOptions { stream: name.clone(), calls_per_second: CALLS_PER_SECOND, reading };
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

#[tokio::test]
async fn it_passes_the_suite_where_lag_and_children_are_told() {
    conformance::source::run(&Streams::on(Server::kinesis_local(), Duration::from_millis(1))).await;
}

#[tokio::test]
async fn it_passes_the_suite_when_records_are_pushed() {
    conformance::source::run(&Streams::on(Server::kinesis(), Duration::from_secs(1)).pushed()).await;
}

fn texts(records: &[Record]) -> Vec<(String, String)> {
    let text = |record: &Record| {
        (record.partition_key.to_string(), String::from_utf8_lossy(&record.data).into_owned())
    };
    records.iter().map(text).collect()
}

async fn all(source: &KinesisSource, shard: &ShardId, from: From, records: usize) -> Vec<Record> {
    let mut reader = source.open(shard, from).await.unwrap();
    let mut read = Vec::new();
    loop {
        let batch = reader.read(ReadLimit { records, bytes: 1 << 20, wait: Duration::ZERO }).await.unwrap();
        assert!(batch.records.len() <= records);
        read.extend(batch.records);
        if batch.tip {
            return read;
        }
    }
}

#[tokio::test]
async fn reading_goes_on_inside_an_aggregate() {
    let streams = Streams::on(Server::kinesis(), Duration::from_secs(1));
    let stream = streams.stream(1).await;
    stream.put("alone", "1").await;
    let parts = [("a", "2"), ("b", "3"), ("a", "4")];
    let put = stream.client.put_record().stream_name(&stream.name).partition_key("a");
    put.data(Blob::new(aggregate::tests::aggregate(&parts))).send().await.unwrap();
    let shard = stream.put("alone", "5").await.0;
    let records = all(&stream.source, &shard, From::TrimHorizon, 2).await;
    let put = [("alone", "1"), parts[0], parts[1], parts[2], ("alone", "5")];
    let put = put.map(|(key, data)| (key.to_owned(), data.to_owned()));
    assert_eq!(texts(&records), put);
    assert!(records.is_sorted_by(|a, b| a.position < b.position));
    for (read, record) in (1..).zip(&records) {
        let rest = all(&stream.source, &shard, From::After(record.position.clone()), 1).await;
        assert_eq!(texts(&rest), put[read..]);
    }
}

#[tokio::test]
async fn a_position_of_another_stream_is_refused() {
    let streams = Streams::on(Server::kinesis(), Duration::from_secs(1));
    let (one, other) = (streams.stream(1).await, streams.stream(2).await);
    let (_, position) = one.put("key", "1").await;
    let shard = other.shard_ids().await.remove(1);
    let refused = other.source.open(&shard, From::After(position)).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains("another stream"), "{refused}");
}

#[tokio::test]
async fn an_iterator_that_has_expired_is_asked_for_anew() {
    let server = Server::kinesis_with_short_iterators(1);
    let streams = Streams::on(server, Duration::from_secs(1));
    let stream = streams.stream(1).await;
    let shard = stream.put("key", "0").await.0;
    let mut reader = stream.source.open(&shard, From::TrimHorizon).await.unwrap();
    let limit = ReadLimit { records: 10, bytes: 1 << 20, wait: Duration::ZERO };
    for number in 0..2 {
        assert_eq!(texts(&reader.read(limit).await.unwrap().records)[0].1, number.to_string());
        stream.put("key", &(number + 1).to_string()).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
    }
}

const LONG: ReadLimit = ReadLimit { records: 10, bytes: 1 << 20, wait: Duration::from_secs(10) };

/// Reads until so many records have come, or the end.
async fn until(reader: &mut Box<dyn ShardReader>, records: usize) -> (Vec<String>, bool) {
    let mut read = Vec::new();
    loop {
        let batch = reader.read(LONG).await.unwrap();
        read.extend(texts(&batch.records).into_iter().map(|(_, data)| data));
        if read.len() >= records || batch.end {
            return (read, batch.end);
        }
    }
}

#[tokio::test]
async fn records_are_pushed_until_the_shard_ends() {
    let streams = Streams::on(Server::kinesis(), Duration::from_secs(1)).pushed();
    let stream = streams.stream(1).await;
    let shard = stream.shard_ids().await.remove(0);
    let mut reader = stream.source.open(&shard, From::TrimHorizon).await.unwrap();
    let mut other = stream.source.open(&shard, From::TrimHorizon).await.unwrap();
    let subscribed = ReadLimit { wait: Duration::from_secs(1), ..LONG };
    assert!(reader.read(subscribed).await.unwrap().records.is_empty());
    let polled = || format!("{:?}", stream.source.pace(&shard).lock().unwrap());
    let (before, mut put) = (polled(), Vec::new());
    for number in 0..5 {
        put.push(number.to_string());
        stream.put("key", &number.to_string()).await;
        assert_eq!(until(&mut reader, 1).await.0, put[number..]);
    }
    assert_eq!(polled(), before, "nothing is asked for");
    assert_eq!(until(&mut other, 5).await.0, put, "another reader of the shard polls");
    stream.put("key", "last").await;
    stream.split(&shard).await;
    for reader in [&mut reader, &mut other] {
        assert_eq!(until(reader, 2).await, (vec!["last".to_owned()], true));
    }
}
