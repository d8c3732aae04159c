//! Kinesis in memory, over the log that every run has, as far as the connectors call it.
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_Operations.html>

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use foldstream_aws::memory::Reply;
use foldstream_model::{Record, ShardId, Timestamp};
use foldstream_tests::memory::log::{Extent, MemoryLog};
use serde_json::{Value, json};
use tokio::time::Instant;

const ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/events";
/// A shard answers five calls a second.
const CALLS: usize = 5;
/// An iterator can be used for so long.
const ITERATOR: Duration = Duration::from_secs(300);
/// Another subscription of a consumer to a shard is refused for so long.
const TAKEN: Duration = Duration::from_secs(5);
/// A consumer that was registered can be used after this.
const REGISTERED: Duration = Duration::from_secs(1);

type Answer = Result<Value, Reply>;

pub struct Streams {
    log: MemoryLog,
    began: Instant,
    /// Whether calls that are too many are refused.
    is_busy: bool,
    calls: BTreeMap<ShardId, VecDeque<Instant>>,
    consumers: BTreeMap<String, Instant>,
    /// When the newest subscription to a shard began, and its number.
    subscribed: BTreeMap<ShardId, (Instant, u64)>,
}

/// How one call is answered.
#[derive(Clone, Copy)]
pub struct Manner {
    /// As many entries as are answered at once.
    pub most: usize,
    /// The iterator is as good as expired.
    pub expired: bool,
}

/// A subscription that was made.
pub struct Subscribed {
    pub shard: ShardId,
    pub after: u64,
    pub number: u64,
}

fn refused(code: &'static str) -> Reply {
    Reply::Refused(code)
}

fn shard_of(input: &Value) -> ShardId {
    ShardId::new(input["ShardId"].as_str().expect("a shard"))
}

/// Milliseconds, the finest that Kinesis tells, as its JSON has them.
fn seconds(at: Timestamp) -> Value {
    let millis = at.micros().div_euclid(1_000);
    format!("{}.{:03}", millis.div_euclid(1_000), millis.rem_euclid(1_000)).parse().expect("a number")
}

pub fn record(position: u64, record: &Record) -> Value {
    json!({
        "SequenceNumber": position.to_string(),
        "ApproximateArrivalTimestamp": seconds(record.arrived_at),
        "Data": BASE64_STANDARD.encode(&record.data),
        "PartitionKey": &*record.partition_key,
    })
}

impl Streams {
    pub fn new(log: MemoryLog, began: Instant, is_busy: bool) -> Self {
        Self {
            log,
            began,
            is_busy,
            calls: BTreeMap::new(),
            consumers: BTreeMap::new(),
            subscribed: BTreeMap::new(),
        }
    }

    pub fn answer(&mut self, operation: &str, input: &Value, manner: Manner) -> Reply {
        let answer = match operation {
            "DescribeStreamSummary" => Ok(describe()),
            "ListShards" => Ok(self.list(input, manner.most)),
            "DescribeStreamConsumer" => self.consumer(input),
            "RegisterStreamConsumer" => self.register(input),
            "GetShardIterator" => self.iterator(input),
            "GetRecords" => self.records(input, manner),
            _ => panic!("Kinesis in memory does not know {operation}"),
        };
        answer.map_or_else(|refused| refused, Reply::Done)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    fn list(&self, input: &Value, most: usize) -> Value {
        let mut extents = self.log.extents();
        // Where something was trimmed, a shard was there when the oldest record came that is kept.
        if input["ShardFilter"]["Type"] == "AT_TRIM_HORIZON" {
            extents.retain(|extent| extent.trimmed > 0);
        }
        let from = input["NextToken"].as_str().map_or(0, |token| token.parse().expect("a token"));
        let page: Vec<Value> = extents.iter().skip(from).take(most).map(listed).collect();
        let next = from + page.len();
        let mut answer = json!({ "Shards": page });
        if next < extents.len() {
            answer["NextToken"] = next.to_string().into();
        }
        answer
    }

    fn consumer(&self, input: &Value) -> Answer {
        let name = input["ConsumerName"].as_str().expect("a name");
        let since = self.consumers.get(name).ok_or_else(|| refused("ResourceNotFoundException"))?;
        let status = if since.elapsed() < REGISTERED { "CREATING" } else { "ACTIVE" };
        Ok(json!({ "ConsumerDescription": {
            "ConsumerName": name,
            "ConsumerARN": format!("{ARN}/consumer/{name}:0"),
            "ConsumerStatus": status,
            "ConsumerCreationTimestamp": 0,
            "StreamARN": ARN,
        } }))
    }

    fn register(&mut self, input: &Value) -> Answer {
        let name = input["ConsumerName"].as_str().expect("a name");
        if self.consumers.contains_key(name) {
            return Err(refused("ResourceInUseException"));
        }
        self.consumers.insert(name.to_owned(), Instant::now());
        let mut answer = self.consumer(input)?;
        Ok(json!({ "Consumer": answer["ConsumerDescription"].take() }))
    }

    fn extent(&self, shard: &ShardId) -> Result<Extent, Reply> {
        let found = self.log.extents().into_iter().find(|extent| extent.shard.id == *shard);
        found.ok_or_else(|| refused("ResourceNotFoundException"))
    }

    /// Behind which position a kind of iterator begins.
    fn after(&self, extent: &Extent, kind: &str, number: &Value, at: &Value) -> Result<u64, Reply> {
        let unknown = || refused("InvalidArgumentException");
        let number = || {
            let number: u64 = number.as_str().and_then(|text| text.parse().ok()).ok_or_else(unknown)?;
            // A shard has a number of its own, in front of its records.
            let is_known = self.log.has_had(&extent.shard.id, number) || number == extent.born + 1;
            is_known.then_some(number).ok_or_else(unknown)
        };
        Ok(match kind {
            "TRIM_HORIZON" => 0,
            "LATEST" => extent.last,
            "AT_SEQUENCE_NUMBER" => number()? - 1,
            "AFTER_SEQUENCE_NUMBER" => number()?,
            "AT_TIMESTAMP" => {
                let at = at.to_string();
                let (seconds, fraction) = at.split_once('.').unwrap_or((&at, "0"));
                let millis: i64 = format!("{fraction:0<3.3}").parse().map_err(|_| unknown())?;
                let at = seconds.parse::<i64>().map_err(|_| unknown())? * 1_000 + millis;
                if at > self.now().micros().div_euclid(1_000) {
                    return Err(unknown());
                }
                let (records, _) = self.log.records(&extent.shard.id, 0, usize::MAX);
                let first =
                    records.iter().find(|(_, record)| record.arrived_at.micros().div_euclid(1_000) >= at);
                first.map_or(extent.last, |(position, _)| position - 1)
            }
            _ => panic!("Kinesis in memory does not know {kind}"),
        })
    }

    fn iterator(&self, input: &Value) -> Answer {
        let extent = self.extent(&shard_of(input))?;
        let kind = input["ShardIteratorType"].as_str().expect("a type");
        let after = self.after(&extent, kind, &input["StartingSequenceNumber"], &input["Timestamp"])?;
        Ok(json!({ "ShardIterator": self.named(&extent.shard.id, after) }))
    }

    fn named(&self, shard: &ShardId, after: u64) -> String {
        format!("{shard} {after} {}", self.began.elapsed().as_millis())
    }

    fn records(&mut self, input: &Value, manner: Manner) -> Answer {
        let iterator = input["ShardIterator"].as_str().expect("an iterator").to_owned();
        let parts: Vec<&str> = iterator.split(' ').collect();
        let [shard, after, made] = parts[..] else { panic!("no iterator: {iterator}") };
        let extent = self.extent(&ShardId::new(shard))?;
        let made = Duration::from_millis(made.parse().expect("an instant"));
        if manner.expired || self.began.elapsed() > made + ITERATOR {
            return Err(refused("ExpiredIteratorException"));
        }
        if self.is_one_too_many(&extent.shard.id) {
            return Err(refused("ProvisionedThroughputExceededException"));
        }
        let limit =
            input["Limit"].as_u64().map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let after: u64 = after.parse().expect("a position");
        let (records, next) = self.log.records(&extent.shard.id, after, limit.min(manner.most));
        let last = records.last().map_or(after, |(position, _)| *position);
        let mut answer = json!({
            "Records": records.iter().map(|(position, one)| record(*position, one)).collect::<Vec<_>>(),
            "MillisBehindLatest": self.lag(next),
        });
        match extent.closed && next.is_none() {
            true => answer["ChildShards"] = self.children(&extent.shard.id),
            false => answer["NextShardIterator"] = self.named(&extent.shard.id, last).into(),
        }
        Ok(answer)
    }

    fn is_one_too_many(&mut self, shard: &ShardId) -> bool {
        let calls = self.calls.entry(shard.clone()).or_default();
        calls.retain(|call| call.elapsed() < Duration::from_secs(1));
        let is_one_too_many = self.is_busy && calls.len() >= CALLS;
        if !is_one_too_many {
            calls.push_back(Instant::now());
        }
        is_one_too_many
    }

    /// By how many milliseconds an answer is behind, whose next record arrived then.
    fn lag(&self, next: Option<Timestamp>) -> u64 {
        next.map_or(0, |at| (self.now().micros_since(at) / 1_000).max(1))
    }

    fn children(&self, parent: &ShardId) -> Value {
        let children = self.log.extents().into_iter().filter(|extent| extent.shard.parents.contains(parent));
        let child = |extent: Extent| {
            let parents: Vec<_> = extent.shard.parents.iter().map(ShardId::as_str).collect();
            json!({ "ShardId": extent.shard.id.as_str(), "ParentShards": parents, "HashKeyRange": range(&extent) })
        };
        children.map(child).collect()
    }

    /// Begins a subscription, which ends the one before.
    pub fn subscribe(&mut self, input: &Value) -> Result<Subscribed, Reply> {
        let extent = self.extent(&shard_of(input))?;
        let name = input["ConsumerARN"].as_str().expect("a consumer");
        let name = name.rsplit('/').next().and_then(|name| name.split(':').next()).unwrap_or_default();
        self.consumer(&json!({ "ConsumerName": name }))?;
        let shard = extent.shard.id.clone();
        let before = self.subscribed.get(&shard).copied();
        if before.is_some_and(|(since, _)| since.elapsed() < TAKEN) {
            return Err(refused("ResourceInUseException"));
        }
        let start = &input["StartingPosition"];
        let kind = start["Type"].as_str().expect("a type");
        let after = self.after(&extent, kind, &start["SequenceNumber"], &start["Timestamp"])?;
        let number = before.map_or(1, |(_, number)| number + 1);
        self.subscribed.insert(shard.clone(), (Instant::now(), number));
        Ok(Subscribed { shard, after, number })
    }

    /// The next event of a subscription, and behind which position it goes on; none: another one has taken its place.
    pub fn event(&self, of: &Subscribed, most: usize) -> Option<(Value, u64, bool)> {
        let is_newest = self.subscribed.get(&of.shard).is_some_and(|(_, number)| *number == of.number);
        let extent = self.extent(&of.shard).ok().filter(|_| is_newest)?;
        let (records, next) = self.log.records(&of.shard, of.after, most);
        let last = records.last().map_or(of.after, |(position, _)| *position);
        let is_end = extent.closed && next.is_none();
        let mut event = json!({
            "Records": records.iter().map(|(position, one)| record(*position, one)).collect::<Vec<_>>(),
            "MillisBehindLatest": self.lag(next),
        });
        match is_end {
            true => event["ChildShards"] = self.children(&of.shard),
            false => event["ContinuationSequenceNumber"] = last.max(extent.born + 1).to_string().into(),
        }
        Some((event, last, is_end))
    }
}

fn range(extent: &Extent) -> Value {
    let range = extent.shard.range.expect("a range");
    json!({ "StartingHashKey": range.first.to_string(), "EndingHashKey": range.last.to_string() })
}

fn listed(extent: &Extent) -> Value {
    let mut numbers = json!({ "StartingSequenceNumber": (extent.born + 1).to_string() });
    if extent.closed {
        numbers["EndingSequenceNumber"] = (extent.last.max(extent.born + 1)).to_string().into();
    }
    let mut shard = json!({
        "ShardId": extent.shard.id.as_str(),
        "HashKeyRange": range(extent),
        "SequenceNumberRange": numbers,
    });
    let parents = ["ParentShardId", "AdjacentParentShardId"].iter().zip(&extent.shard.parents);
    for (name, parent) in parents {
        shard[*name] = parent.as_str().into();
    }
    shard
}

fn describe() -> Value {
    json!({ "StreamDescriptionSummary": {
        "StreamName": "events",
        "StreamARN": ARN,
        "StreamStatus": "ACTIVE",
        "RetentionPeriodHours": 24,
        "StreamCreationTimestamp": 0,
        "EnhancedMonitoring": [],
        "OpenShardCount": 1,
    } })
}
