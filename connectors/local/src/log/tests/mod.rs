mod history;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_model::{
    ErrorKind, Position, ShardId, Timestamp,
    conformance::{
        self,
        source::{SourceFixture, StreamFixture},
    },
    ports::{From, ReadLimit, Source},
};
use tokio::time::timeout;

use super::{LocalLog, LocalSource, LogOptions, NewRecord, hash_key};
use crate::testing::{Fixture, PATIENCE, TestClock};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NOW: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20, wait: Duration::ZERO };

fn options(shards: u32) -> LogOptions {
    LogOptions { shards, retention: Some(DAY), recorded_in_order: false }
}

fn record(partition_key: &str, data: &str) -> NewRecord {
    let data = Bytes::copy_from_slice(data.as_bytes());
    NewRecord { partition_key: partition_key.into(), explicit_hash_key: None, data }
}

struct Logs {
    fixture: Fixture,
    made: AtomicU64,
}

#[async_trait]
impl SourceFixture for Logs {
    async fn make(&self, shards: u32) -> Box<dyn StreamFixture> {
        let name = format!("log-{}", self.made.fetch_add(1, Ordering::SeqCst));
        let log = self.fixture.store.log(&name, options(shards)).await.unwrap();
        Box::new(Stream { source: log.source(), log, clock: Arc::clone(&self.fixture.clock) })
    }
}

struct Stream {
    source: Arc<LocalSource>,
    log: LocalLog,
    clock: Arc<TestClock>,
}

#[async_trait]
impl StreamFixture for Stream {
    fn source(&self) -> &dyn Source {
        &*self.source
    }

    async fn put(&self, partition_key: &str, data: &str) -> (ShardId, Position) {
        self.clock.advance(1_000);
        self.log.put(vec![record(partition_key, data)]).await.unwrap().remove(0)
    }

    async fn split(&self, shard: &ShardId) -> [ShardId; 2] {
        let described = self.log.describe().await.unwrap();
        let range = described.shards.iter().find(|known| known.id == *shard).unwrap().range;
        self.log.split(shard, range.first.midpoint(range.last)).await.unwrap()
    }

    async fn merge(&self, shard: &ShardId, adjacent: &ShardId) -> ShardId {
        self.log.merge(shard, adjacent).await.unwrap()
    }

    async fn trim_all(&self) -> bool {
        let later = self.instant().await.plus_micros(super::create::micros(DAY));
        self.log.trim(later).await.unwrap();
        true
    }

    async fn instant(&self) -> Timestamp {
        self.clock.advance(1_000);
        foldstream_model::Clock::now(&*self.clock)
    }
}

#[tokio::test]
async fn it_passes_the_suite() {
    let logs = Logs { fixture: Fixture::new(), made: AtomicU64::new(0) };
    conformance::source::run(&logs).await;
}

async fn texts(log: &LocalLog, shard: &ShardId) -> Vec<String> {
    let mut reader = log.source().open(shard, From::TrimHorizon).await.unwrap();
    let records = reader.read(NOW).await.unwrap().records;
    records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
}

#[tokio::test]
async fn a_record_goes_where_its_hash_key_falls_and_an_explicit_one_wins() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(3)).await.unwrap();
    let shards = log.describe().await.unwrap().shards;
    for number in 0..50 {
        let key = format!("key-{number}");
        let (shard, _) = log.put(vec![record(&key, "")]).await.unwrap().remove(0);
        let home = shards.iter().find(|known| known.range.contains(hash_key(&key))).unwrap();
        assert_eq!(shard, home.id);
    }
    for known in &shards {
        for explicit in [known.range.first, known.range.last] {
            let put = NewRecord { explicit_hash_key: Some(explicit), ..record("key", "") };
            assert_eq!(log.put(vec![put]).await.unwrap()[0].0, known.id);
        }
    }
}

#[tokio::test]
async fn shards_are_split_inside_their_range_and_merged_with_neighbours_only() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(3)).await.unwrap();
    let shards = log.describe().await.unwrap().shards;
    let range = shards[1].range;
    for outside in [range.first, range.last + 1, 0] {
        let error = log.split(&shards[1].id, outside).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
    let error = log.merge(&shards[0].id, &shards[2].id).await.unwrap_err();
    assert!(error.message().contains("adjacent"), "{error}");
    let error = log.merge(&shards[0].id, &shards[0].id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    log.split(&shards[1].id, range.last).await.unwrap();
    let error = log.split(&shards[1].id, range.last).await.unwrap_err();
    assert!(error.message().contains("only open shards"), "{error}");
    let child = log.merge(&shards[0].id, &ShardId::new("shardId-000000000003")).await.unwrap();
    let merged = log.describe().await.unwrap().shards.into_iter().find(|known| known.id == child).unwrap();
    assert_eq!((merged.range.first, merged.range.last), (0, range.last - 1));
}

#[tokio::test]
async fn records_are_trimmed_by_age_and_a_closed_shard_is_forgotten_with_its_last_one() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(1)).await.unwrap();
    let day = super::create::micros(DAY);
    log.put(vec![record("key", "0"), record("key", "1")]).await.unwrap();
    fixture.clock.set(Timestamp::from_micros(day / 2));
    log.put(vec![record("key", "2")]).await.unwrap();
    let parent = ShardId::new("shardId-000000000000");
    assert_eq!(
        log.trim(Timestamp::from_micros(day)).await.unwrap(),
        0,
        "as old as the retention time is kept"
    );
    assert_eq!(log.trim(Timestamp::from_micros(day + 1)).await.unwrap(), 2);
    assert_eq!(texts(&log, &parent).await, ["2"]);
    log.split(&parent, 1 << 127).await.unwrap();
    assert_eq!(log.trim(Timestamp::from_micros(day + day / 2)).await.unwrap(), 0);
    assert_eq!(log.describe().await.unwrap().shards.len(), 3);
    assert_eq!(log.trim(Timestamp::from_micros(day + day / 2 + 1)).await.unwrap(), 1);
    let left = log.describe().await.unwrap().shards;
    assert_eq!(
        left.iter().map(|known| known.id.as_str()).collect::<Vec<_>>(),
        ["shardId-000000000001", "shardId-000000000002"]
    );
    assert!(left.iter().all(|known| known.parents.is_empty()), "a forgotten parent is not named");
    let [_, grandchild] = log.split(&left[0].id, 1 << 126).await.unwrap();
    assert_eq!(grandchild.as_str(), "shardId-000000000004", "a number never comes back");
}

#[tokio::test]
async fn a_log_without_retention_keeps_everything() {
    let fixture = Fixture::new();
    let forever = LogOptions { retention: None, ..options(1) };
    let log = fixture.store.log("log", forever).await.unwrap();
    log.put(vec![record("key", "0")]).await.unwrap();
    assert_eq!(log.trim(Timestamp::MAX).await.unwrap(), 0);
}

#[tokio::test]
async fn instants_of_arrival_never_go_back() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(1)).await.unwrap();
    fixture.clock.set(Timestamp::from_seconds(100));
    log.put(vec![record("key", "0")]).await.unwrap();
    fixture.clock.set(Timestamp::from_seconds(50));
    log.put(vec![record("key", "1")]).await.unwrap();
    let shard = ShardId::new("shardId-000000000000");
    let source = log.source();
    let mut reader = source.open(&shard, From::AtTimestamp(Timestamp::from_seconds(50))).await.unwrap();
    let arrived: Vec<_> =
        reader.read(NOW).await.unwrap().records.iter().map(|record| record.arrived_at).collect();
    assert_eq!(arrived, [Timestamp::from_seconds(100); 2]);
}

#[tokio::test]
async fn a_start_in_the_future_or_behind_the_end_is_refused() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(1)).await.unwrap();
    let shard = ShardId::new("shardId-000000000000");
    let beyond_words = "340282366920938463463374607431768211456".parse().unwrap();
    for from in [
        From::AtTimestamp(Timestamp::from_micros(1)),
        From::After(Position::new(1)),
        From::After(beyond_words),
    ] {
        let error = log.source().open(&shard, from).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[tokio::test]
async fn a_log_is_opened_again_as_it_was_but_for_its_retention() {
    let fixture = Fixture::new();
    assert!(fixture.store.existing_log("log").await.unwrap().is_none());
    let made = fixture.store.log("log", options(2)).await.unwrap().describe().await.unwrap();
    let changed = LogOptions { shards: 9, retention: None, recorded_in_order: true };
    let again = fixture.another().log("log", changed).await.unwrap().describe().await.unwrap();
    assert_eq!((again.incarnation, again.shards, again.retention), (made.incarnation, made.shards, None));
    assert!(fixture.store.existing_log("log").await.unwrap().is_some());
    let error = fixture.store.log("none", options(0)).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_read_waits_for_records_of_other_processes_too() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(1)).await.unwrap();
    let other = fixture.another().log("log", options(1)).await.unwrap();
    let shard = ShardId::new("shardId-000000000000");
    let mut reader = log.source().open(&shard, From::TrimHorizon).await.unwrap();
    let long = ReadLimit { wait: PATIENCE * 2, ..NOW };
    let (batch, put) =
        tokio::join!(timeout(PATIENCE, reader.read(long)), other.put(vec![record("key", "0")]));
    put.unwrap();
    assert_eq!(batch.expect("the record is noticed").unwrap().records.len(), 1);
}

#[tokio::test]
async fn a_record_without_a_partition_key_is_refused() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(1)).await.unwrap();
    let error = log.put(vec![record("a", ""), record("", "")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(texts(&log, &ShardId::new("shardId-000000000000")).await.is_empty(), "nothing was put");
}
