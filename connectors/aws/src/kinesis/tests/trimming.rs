//! A shard in memory that does what Kinesis does and no server for tests does: it trims, and goes on at the trim horizon
//! without a word; it throttles; its answers are lost.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use foldstream_model::{
    Clock, Error, ErrorKind, Position, Result, ShardId, Timestamp,
    ports::{Batch, From, ReadLimit, ShardReader, Source},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{KinesisOptions, KinesisSource};
use crate::{
    Connection,
    testing::memory::{Reply, Service},
};

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;
/// Of the shard. Records have other numbers, far from each other.
const FIRST_NUMBER: u64 = 1_000;
const STEP: u64 = 1_000;
const LIMIT: ReadLimit = ReadLimit { records: 100, bytes: 1 << 20, wait: Duration::ZERO };

/// Instants are seconds since the stream was made.
#[derive(Default)]
struct Shard {
    now: i64,
    /// When each record arrived; the nth has number FIRST_NUMBER + STEP × n, from one on.
    arrived: Vec<i64>,
    trimmed: usize,
    is_closed: bool,
    was_open_at_horizon: bool,
    /// What is answered next to calls for records.
    failures: VecDeque<Reply>,
    calls: Vec<Instant>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Shard>>);

impl Fake {
    fn source(&self) -> KinesisSource {
        let connection = Connection::in_memory(Arc::new(self.clone()));
        KinesisSource::new(&connection, KinesisOptions::new("events"), Arc::new(self.clone()))
    }

    fn put(&self) -> Position {
        let mut shard = self.0.lock().unwrap();
        let now = shard.now;
        shard.arrived.push(now);
        Position::new(number(shard.arrived.len()).into())
    }

    fn passes(&self, seconds: i64) {
        let mut shard = self.0.lock().unwrap();
        shard.now += seconds;
        let oldest = shard.now - DAY;
        shard.trimmed = shard.arrived.iter().filter(|arrived| **arrived < oldest).count();
        shard.was_open_at_horizon |= oldest > 0;
    }

    fn fails(&self, with: Reply) {
        self.0.lock().unwrap().failures.push_back(with);
    }

    fn calls(&self) -> Vec<Instant> {
        self.0.lock().unwrap().calls.clone()
    }

    fn records(&self, input: &Value) -> Reply {
        let mut shard = self.0.lock().unwrap();
        shard.calls.push(Instant::now());
        if let Some(failure) = shard.failures.pop_front() {
            return failure;
        }
        let from: usize = input["ShardIterator"].as_str().unwrap().parse().unwrap();
        let from = from.max(shard.trimmed + 1);
        let limit = usize::try_from(input["Limit"].as_u64().unwrap()).unwrap();
        let last = shard.arrived.len().min(from - 1 + limit);
        let records: Vec<Value> = (from..=last).map(|nth| record(nth, shard.arrived[nth - 1])).collect();
        let is_tip = last >= shard.arrived.len();
        let next = (!(is_tip && shard.is_closed)).then(|| from.max(last + 1).to_string());
        let lag = if is_tip { 0 } else { (shard.now - shard.arrived[last]) * 1_000 };
        Reply::Done(json!({ "Records": records, "NextShardIterator": next, "MillisBehindLatest": lag }))
    }

    /// An iterator is the next record that it leads to.
    fn iterator(&self, input: &Value) -> Reply {
        let shard = self.0.lock().unwrap();
        let named = |text: &Value| {
            let number: u64 = text.as_str().unwrap().parse().unwrap();
            let nth = (number - FIRST_NUMBER) / STEP;
            (number.is_multiple_of(STEP)).then(|| usize::try_from(nth).unwrap())
        };
        let from = match input["ShardIteratorType"].as_str().unwrap() {
            "TRIM_HORIZON" => Some(1),
            "AT_SEQUENCE_NUMBER" => named(&input["StartingSequenceNumber"]),
            "AFTER_SEQUENCE_NUMBER" => named(&input["StartingSequenceNumber"]).map(|nth| nth + 1),
            _ => {
                let instant = input["Timestamp"].as_f64().unwrap();
                let is_before = |arrived: &&i64| f64::from(i32::try_from(**arrived).unwrap()) < instant;
                Some(shard.arrived.iter().filter(is_before).count() + 1)
            }
        };
        match from {
            Some(from) => Reply::Done(json!({ "ShardIterator": from.to_string() })),
            None => Reply::Refused("InvalidArgumentException"),
        }
    }

    fn shards(&self, input: &Value) -> Reply {
        let asks_for_horizon = input["ShardFilter"]["Type"] == json!("AT_TRIM_HORIZON");
        if asks_for_horizon && !self.0.lock().unwrap().was_open_at_horizon {
            return Reply::Done(json!({ "Shards": [] }));
        }
        let keys = json!({ "StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string() });
        let numbers = json!({ "StartingSequenceNumber": FIRST_NUMBER.to_string() });
        let shard = json!({ "ShardId": "shard", "HashKeyRange": keys, "SequenceNumberRange": numbers });
        Reply::Done(json!({ "Shards": [shard] }))
    }
}

fn number(nth: usize) -> u64 {
    FIRST_NUMBER + STEP * u64::try_from(nth).unwrap()
}

fn record(nth: usize, arrived_at: i64) -> Value {
    json!({
        "SequenceNumber": number(nth).to_string(),
        "ApproximateArrivalTimestamp": arrived_at,
        "Data": "",
        "PartitionKey": nth.to_string(),
    })
}

impl Clock for Fake {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.0.lock().unwrap().now)
    }
}

impl Service for Fake {
    fn answer(&self, operation: &str, input: Value) -> Reply {
        match operation {
            "GetRecords" => self.records(&input),
            "GetShardIterator" => self.iterator(&input),
            "ListShards" => self.shards(&input),
            _ => Reply::Done(json!({ "StreamDescriptionSummary": {
                "StreamName": "events",
                "StreamARN": "arn:aws:kinesis:us-east-1:1:stream/events",
                "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": 0,
                "EnhancedMonitoring": [],
                "OpenShardCount": 1,
            } })),
        }
    }
}

async fn open(source: &KinesisSource, from: From) -> Result<Box<dyn ShardReader>> {
    source.open(&ShardId::new("shard"), from).await
}

async fn read(reader: &mut Box<dyn ShardReader>) -> Result<Batch> {
    reader.read(LIMIT).await
}

/// The records' ranks.
async fn found(reader: &mut Box<dyn ShardReader>) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let batch = read(reader).await.unwrap();
        found.extend(batch.records.iter().map(|record| record.partition_key.to_string()));
        if batch.tip {
            return found;
        }
    }
}

#[track_caller]
fn is_loss(error: Option<Error>) {
    let error = error.expect("records were trimmed before they were read");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("trimmed before they were read"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_behind_a_position_is_missed() {
    let (fake, source) = both();
    let first = fake.put();
    fake.passes(HOUR);
    fake.put();
    fake.passes(DAY - HOUR);
    fake.put();
    let mut reader = open(&source, From::After(first.clone())).await.unwrap();
    assert_eq!(found(&mut reader).await, ["2", "3"]);
    fake.passes(HOUR / 2);
    is_loss(open(&source, From::After(first)).await.err());
    is_loss(open(&source, From::After(Position::BEGINNING)).await.err());
}

fn both() -> (Fake, KinesisSource) {
    let fake = Fake::default();
    let source = fake.source();
    (fake, source)
}

#[tokio::test(start_paused = true)]
async fn a_quiet_shard_is_no_loss() {
    let (fake, source) = both();
    let last = fake.put();
    let mut reader = open(&source, From::After(last.clone())).await.unwrap();
    for _ in 0..40 {
        fake.passes(HOUR);
        assert!(found(&mut reader).await.is_empty());
    }
    fake.put();
    assert_eq!(found(&mut reader).await, ["2"], "it has looked all the while");
    let mut reader = open(&source, From::After(last.clone())).await;
    is_loss(reader.err());
    fake.passes(2 * DAY);
    reader = open(&source, From::After(last)).await;
    assert!(found(&mut reader.unwrap()).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_falls_behind_the_trim_horizon_says_so_and_never_jumps() {
    let (fake, source) = both();
    for _ in 0..10 {
        fake.put();
        fake.passes(HOUR);
    }
    let mut reader = open(&source, From::TrimHorizon).await.unwrap();
    let two = ReadLimit { records: 2, ..LIMIT };
    let mut last = Position::BEGINNING;
    while last.number() != number(3).to_string() {
        last = reader.read(two).await.unwrap().records.pop().unwrap().position;
    }
    fake.passes(DAY - 8 * HOUR);
    let mut late = open(&source, From::After(last.clone())).await.unwrap();
    assert_eq!(late.read(two).await.unwrap().records.len(), 2, "the last one that was read is kept still");
    fake.passes(DAY);
    for _ in 0..2 {
        is_loss(late.read(two).await.err());
        is_loss(reader.read(two).await.err());
    }
}

#[tokio::test(start_paused = true)]
async fn the_trim_horizon_is_a_place_that_can_be_come_back_to() {
    let (fake, source) = both();
    for _ in 0..100 {
        fake.put();
        fake.passes(HOUR / 60);
    }
    assert_eq!(
        open(&source, From::TrimHorizon).await.unwrap().position().number(),
        (number(1) - 1).to_string()
    );
    fake.passes(DAY - HOUR);
    let position = open(&source, From::TrimHorizon).await.unwrap().position();
    fake.passes(4 * 60);
    let mut reader = open(&source, From::After(position)).await.unwrap();
    let kept = found(&mut reader).await;
    assert!((50..60).contains(&kept.len()), "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn the_newest_record_is_found_however_old() {
    for age in [0, 1, 59, HOUR, 5 * HOUR, 23 * HOUR] {
        let (fake, source) = both();
        let mut newest = Position::BEGINNING;
        for _ in 0..30 {
            fake.passes(7);
            newest = fake.put();
        }
        fake.passes(age);
        let mut reader = open(&source, From::Latest).await.unwrap();
        assert_eq!(reader.position(), newest, "age={age}");
        fake.passes(1);
        fake.put();
        assert_eq!(found(&mut reader).await, ["31"]);
        let from = From::AtTimestamp(fake.now());
        assert_eq!(found(&mut open(&source, from).await.unwrap()).await, ["31"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_shard_of_which_nothing_is_left_is_not_taken_for_one_that_was_read() {
    let (fake, source) = both();
    let read = fake.put();
    fake.put();
    fake.0.lock().unwrap().is_closed = true;
    assert!(read_to_end(&mut open(&source, From::After(read.clone())).await.unwrap()).await);
    fake.passes(2 * DAY);
    is_loss(open(&source, From::After(read)).await.err());
}

async fn read_to_end(reader: &mut Box<dyn ShardReader>) -> bool {
    while !read(reader).await.unwrap().tip {}
    read(reader).await.unwrap().end
}

#[tokio::test(start_paused = true)]
async fn failures_skip_nothing_and_a_throttle_slows_down() {
    let (fake, source) = both();
    for _ in 0..3 {
        fake.put();
    }
    let mut reader = open(&source, From::TrimHorizon).await.unwrap();
    assert_eq!(read(&mut reader).await.unwrap().records.len(), 1);
    for reply in [
        Reply::Refused("ProvisionedThroughputExceededException"),
        Reply::Refused("LimitExceededException"),
        Reply::Reset,
        Reply::Refused("InternalFailure"),
    ] {
        fake.fails(reply);
    }
    let mut kinds = Vec::new();
    for _ in 0..4 {
        kinds.push(read(&mut reader).await.unwrap_err().kind());
    }
    assert_eq!(
        kinds,
        [ErrorKind::Throttled, ErrorKind::Throttled, ErrorKind::Transient, ErrorKind::Transient]
    );
    assert_eq!(found(&mut reader).await, ["2", "3"]);
    let calls = fake.calls();
    let last = calls[calls.len() - 1] - calls[calls.len() - 2];
    assert_eq!(last, Duration::from_millis(800), "each throttle doubles the time between two calls");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_waits_asks_as_often_as_it_was_told_to() {
    let (fake, source) = both();
    let mut reader = open(&source, From::TrimHorizon).await.unwrap();
    let (before, begun) = (fake.calls().len(), Instant::now());
    let limit = ReadLimit { wait: Duration::from_millis(500), ..LIMIT };
    for _ in 0..20 {
        assert!(reader.read(limit).await.unwrap().records.is_empty());
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert_eq!(fake.calls().len() - before, 20);
}
