//! A shard in memory that does what Kinesis does and no server for tests does: it trims, and goes on at the trim horizon
//! without a word; it throttles; its answers are lost.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use foldstream_model::{Clock, Position, Timestamp};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{KinesisOptions, KinesisSource, Reading};
use crate::{
    Connection,
    memory::{Reply, Service},
};

pub(super) const HOUR: i64 = 60 * 60;
pub(super) const DAY: i64 = 24 * HOUR;
/// Of the shard. Records have other numbers, far from each other.
const FIRST_NUMBER: u64 = 1_000;
const HORIZON: &str = "horizon";
const STEP: u64 = 1_000;

/// Instants are seconds since the stream was made.
#[derive(Default)]
pub(super) struct Shard {
    now: i64,
    /// How far the reader's clock is ahead.
    pub ahead: i64,
    /// When each record arrived; the nth has number FIRST_NUMBER + STEP × n, from one on.
    arrived: Vec<i64>,
    trimmed: usize,
    pub is_closed: bool,
    was_open_at_horizon: bool,
    /// What is answered next to calls for records.
    failures: VecDeque<Reply>,
    stuck: Option<Reply>,
    calls: Vec<Instant>,
    /// Newer records are pushed, and not found by polls.
    pub polls_see: Option<usize>,
    /// What is answered next to subscriptions; refused is one that is not expected.
    pub subscriptions: VecDeque<Reply>,
    /// Where each began.
    pub subscribed: Vec<Value>,
}

#[derive(Clone, Default)]
pub(super) struct Fake(pub Arc<Mutex<Shard>>);

impl Fake {
    pub(super) fn source(&self, reading: Reading) -> KinesisSource {
        let connection = Connection::in_memory(Arc::new(self.clone()));
        let options = KinesisOptions { reading, ..KinesisOptions::new("events") };
        KinesisSource::new(&connection, options, Arc::new(self.clone()))
    }

    pub(super) fn put(&self) -> Position {
        let mut shard = self.0.lock().unwrap();
        let now = shard.now;
        shard.arrived.push(now);
        Position::new(number(shard.arrived.len()).into())
    }

    pub(super) fn passes(&self, seconds: i64) {
        let mut shard = self.0.lock().unwrap();
        shard.now += seconds;
        let oldest = shard.now - DAY;
        shard.trimmed = shard.arrived.iter().filter(|arrived| **arrived < oldest).count();
        shard.was_open_at_horizon |= oldest > 0;
    }

    pub(super) fn fails(&self, with: Reply) {
        self.0.lock().unwrap().failures.push_back(with);
    }

    /// Calls from an iterator that is not at the trim horizon.
    pub(super) fn fails_for_ever(&self, with: Reply) {
        self.0.lock().unwrap().stuck = Some(with);
    }

    pub(super) fn calls(&self) -> Vec<Instant> {
        self.0.lock().unwrap().calls.clone()
    }

    fn records(&self, input: &Value) -> Reply {
        let mut shard = self.0.lock().unwrap();
        shard.calls.push(Instant::now());
        if let Some(failure) = shard.failures.pop_front() {
            return failure;
        }
        let iterator = input["ShardIterator"].as_str().unwrap();
        if let Some(stuck) = shard.stuck.clone().filter(|_| iterator != HORIZON) {
            return stuck;
        }
        let from: usize = if iterator == HORIZON { 1 } else { iterator.parse().unwrap() };
        let from = from.max(shard.trimmed + 1);
        let limit = usize::try_from(input["Limit"].as_u64().unwrap()).unwrap();
        let newest = shard.polls_see.unwrap_or(shard.arrived.len());
        let last = newest.min(from - 1 + limit);
        let records: Vec<Value> = (from..=last).map(|nth| record(nth, shard.arrived[nth - 1])).collect();
        let is_tip = last >= newest;
        let is_end = shard.is_closed && last == shard.arrived.len();
        let next = (!is_end).then(|| from.max(last + 1).to_string());
        let lag = if is_tip { 0 } else { (shard.now - shard.arrived[last]) * 1_000 };
        Reply::Done(json!({ "Records": records, "NextShardIterator": next, "MillisBehindLatest": lag }))
    }

    /// Records that are pushed together; the last ones of the shard come with its children.
    pub(super) fn event(&self, first: usize, last: usize) -> Value {
        let shard = self.0.lock().unwrap();
        let records: Vec<Value> = (first..=last).map(|nth| record(nth, shard.arrived[nth - 1])).collect();
        let is_end = shard.is_closed && last == shard.arrived.len();
        let children = is_end.then(|| {
            let keys = json!({ "StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string() });
            json!([{ "ShardId": "child", "ParentShards": ["shard"], "HashKeyRange": keys }])
        });
        json!({
            "Records": records,
            "ContinuationSequenceNumber": (!is_end).then(|| number(last).to_string()),
            "MillisBehindLatest": 0,
            "ChildShards": children,
        })
    }

    fn subscribe(&self, input: &Value) -> Reply {
        let mut shard = self.0.lock().unwrap();
        shard.subscribed.push(input["StartingPosition"].clone());
        shard.subscriptions.pop_front().unwrap_or(Reply::Refused("ResourceInUseException"))
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
            "TRIM_HORIZON" => return Reply::Done(json!({ "ShardIterator": HORIZON })),
            "AT_SEQUENCE_NUMBER" => named(&input["StartingSequenceNumber"]),
            "AFTER_SEQUENCE_NUMBER" => named(&input["StartingSequenceNumber"]).map(|nth| nth + 1),
            _ => {
                let instant = input["Timestamp"].as_f64().unwrap();
                if instant > f64::from(i32::try_from(shard.now).unwrap()) {
                    return Reply::Refused("InvalidArgumentException");
                }
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

pub(super) fn number(nth: usize) -> u64 {
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
        let shard = self.0.lock().unwrap();
        Timestamp::from_seconds(shard.now + shard.ahead)
    }
}

impl Service for Fake {
    fn answer(&self, operation: &str, input: Value) -> Reply {
        match operation {
            "GetRecords" => self.records(&input),
            "GetShardIterator" => self.iterator(&input),
            "ListShards" => self.shards(&input),
            "SubscribeToShard" => self.subscribe(&input),
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
