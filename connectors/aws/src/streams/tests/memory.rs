//! A table's stream in memory that does what AWS does and no server for tests does: several shards, which split, and are
//! trimmed; stretches without records; iterators that expire; failures.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use foldstream_model::{
    Clock, Position, ShardId, Timestamp,
    conformance::{
        self,
        source::{SourceFixture, StreamFixture},
    },
    ports::Source,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::{super::StreamsOptions, Data, StreamsSource};
use crate::{
    Connection,
    memory::{Reply, Service},
};

const STEP: u128 = 1_000;
/// DynamoDB's have 21 digits at least.
const FIRST_NUMBER: u128 = 100_000_000_000_000_000_000;
/// Far less than the 100 of AWS.
const PAGE: usize = 2;
const ITERATOR_SECONDS: i64 = 15 * 60;

/// Instants are seconds since the stream was made.
#[derive(Default)]
pub(crate) struct Stream {
    pub now: i64,
    pub label: u32,
    pub view_type: &'static str,
    pub shards: Vec<Shard>,
    numbers: u128,
    /// So many calls for records of a shard are answered with none before there are some.
    pub stretch: usize,
    /// What is answered next to calls for records.
    pub failures: VecDeque<Reply>,
    pub calls: Vec<Instant>,
}

#[derive(Default)]
pub(crate) struct Shard {
    pub id: String,
    parent: Option<String>,
    first: u128,
    pub last: Option<u128>,
    /// Number, arrival, key, data.
    pub records: Vec<(u128, i64, String, String)>,
    pub trimmed: usize,
    in_stretch: usize,
}

#[derive(Clone, Default)]
pub(crate) struct Fake(pub Arc<Mutex<Stream>>);

impl Stream {
    fn number(&mut self) -> u128 {
        self.numbers += 1;
        FIRST_NUMBER + STEP * self.numbers
    }

    pub fn add_shard(&mut self, parent: Option<&str>) -> ShardId {
        let id = format!("shardId-{:020}-{:08x}", self.shards.len(), self.label);
        let first = self.number();
        let parent = parent.map(str::to_owned);
        self.shards.push(Shard { id: id.clone(), parent, first, ..Shard::default() });
        ShardId::new(id)
    }

    pub fn close(&mut self, shard: &str) {
        let last = self.number();
        self.shard(shard).last = Some(last);
    }

    fn shard(&mut self, id: &str) -> &mut Shard {
        self.shards.iter_mut().find(|shard| shard.id == id).unwrap()
    }

    /// From a shard without parents down to an open one.
    fn home(&self, key: &str) -> String {
        let mut hash = usize::try_from(xxh3_64(key.as_bytes()) >> 8).unwrap();
        let mut candidates: Vec<&Shard> = self.shards.iter().filter(|shard| shard.parent.is_none()).collect();
        loop {
            let chosen = candidates[hash % candidates.len()];
            hash /= candidates.len();
            if chosen.last.is_none() {
                return chosen.id.clone();
            }
            let is_child = |shard: &&Shard| shard.parent.as_ref() == Some(&chosen.id);
            candidates = self.shards.iter().filter(is_child).collect();
        }
    }
}

impl Fake {
    pub fn with_shards(shards: u32, label: u32) -> Self {
        let fake = Self::default();
        fake.change(|stream| {
            (stream.label, stream.view_type) = (label, "NEW_AND_OLD_IMAGES");
            (0..shards).for_each(|_| drop(stream.add_shard(None)));
        });
        fake
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Stream) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub fn source(&self) -> StreamsSource {
        self.source_with(StreamsOptions::new("shop"))
    }

    pub fn source_with(&self, options: StreamsOptions) -> StreamsSource {
        let connection = Connection::in_memory(Arc::new(self.clone()));
        StreamsSource::new(&connection, options, Arc::new(self.clone()))
    }

    pub fn split(&self, shard: &ShardId) -> [ShardId; 2] {
        self.change(|stream| {
            stream.close(shard.as_str());
            [(); 2].map(|()| stream.add_shard(Some(shard.as_str())))
        })
    }

    pub fn put_now(&self, key: &str, data: &str) -> (ShardId, Position) {
        self.change(|stream| {
            let (number, now, home) = (stream.number(), stream.now, stream.home(key));
            stream.shard(&home).records.push((number, now, key.to_owned(), data.to_owned()));
            (ShardId::new(home), Position::new(number))
        })
    }

    /// Time passes, and what is older than a day is trimmed.
    pub fn passes(&self, seconds: i64) {
        self.change(|stream| {
            stream.now += seconds;
            let oldest = stream.now - 24 * 60 * 60;
            for shard in &mut stream.shards {
                shard.trimmed = shard.records.iter().filter(|record| record.1 < oldest).count();
            }
        });
    }

    fn describe(&self, input: &Value) -> Reply {
        self.change(|stream| {
            let after = input["ExclusiveStartShardId"].as_str();
            let from = after.map_or(0, |id| stream.shards.iter().position(|of| of.id == id).unwrap() + 1);
            let page = &stream.shards[from..(from + PAGE).min(stream.shards.len())];
            let is_last = from + PAGE >= stream.shards.len();
            let shards = page.iter().map(|shard| {
                json!({
                    "ShardId": shard.id,
                    "ParentShardId": shard.parent,
                    "SequenceNumberRange": {
                        "StartingSequenceNumber": shard.first.to_string(),
                        "EndingSequenceNumber": shard.last.map(|last| last.to_string()),
                    },
                })
            });
            Reply::Done(json!({ "StreamDescription": {
                "TableName": "shop",
                "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
                "Shards": shards.collect::<Vec<_>>(),
                "LastEvaluatedShardId": page.last().filter(|_| !is_last).map(|shard| &shard.id),
            } }))
        })
    }

    /// An iterator is a shard, the rank of the record that it leads to, and when it was given.
    fn iterator(&self, input: &Value) -> Reply {
        let id = input["ShardId"].as_str().unwrap();
        self.change(|stream| {
            let now = stream.now;
            let Some(shard) = stream.shards.iter().find(|shard| shard.id == id) else {
                return Reply::Refused("ResourceNotFoundException");
            };
            let rank = match input["ShardIteratorType"].as_str().unwrap() {
                "TRIM_HORIZON" => Some(shard.trimmed),
                _ => {
                    let number: u128 = input["SequenceNumber"].as_str().unwrap().parse().unwrap();
                    let found = shard.records.iter().position(|record| record.0 == number);
                    found.or((number == shard.first).then_some(0))
                }
            };
            match rank {
                Some(rank) if rank < shard.trimmed => Reply::Refused("TrimmedDataAccessException"),
                Some(rank) => Reply::Done(json!({ "ShardIterator": format!("{id}/{rank}/{now}") })),
                None => Reply::Refused("ValidationException"),
            }
        })
    }

    fn records(&self, input: &Value) -> Reply {
        self.change(|stream| {
            stream.calls.push(Instant::now());
            if let Some(failure) = stream.failures.pop_front() {
                return failure;
            }
            let parts: Vec<&str> = input["ShardIterator"].as_str().unwrap().split('/').collect();
            let (rank, given): (usize, i64) = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
            let now = stream.now;
            if now - given >= ITERATOR_SECONDS {
                return Reply::Refused("ExpiredIteratorException");
            }
            let limit = usize::try_from(input["Limit"].as_u64().unwrap()).unwrap();
            let stretch = stream.stretch;
            let shard = stream.shard(parts[0]);
            shard.in_stretch = (shard.in_stretch + 1) % (stretch + 1);
            let limit = if shard.in_stretch > 0 { 0 } else { limit };
            if rank < shard.trimmed {
                return Reply::Refused("TrimmedDataAccessException");
            }
            let end = shard.records.len().min(rank + limit);
            let records: Vec<Value> = shard.records[rank..end].iter().map(record).collect();
            let is_end = shard.last.is_some() && end == shard.records.len();
            let next = (!is_end).then(|| format!("{}/{end}/{now}", parts[0]));
            Reply::Done(json!({ "Records": records, "NextShardIterator": next }))
        })
    }
}

fn record((number, at, key, data): &(u128, i64, String, String)) -> Value {
    json!({
        "eventID": format!("event-{number}"),
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": at,
            "Keys": { "pk": { "S": key } },
            "NewImage": { "pk": { "S": key }, "data": { "S": data } },
            "SequenceNumber": number.to_string(),
            "SizeBytes": 10,
        },
    })
}

impl Clock for Fake {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(self.change(|stream| stream.now))
    }
}

impl Service for Fake {
    fn answer(&self, operation: &str, input: Value) -> Reply {
        match operation {
            "DescribeStream" => self.describe(&input),
            "GetShardIterator" => self.iterator(&input),
            "GetRecords" => self.records(&input),
            _ => self.change(|stream| {
                let arn = format!("arn:aws:dynamodb:us-east-1:1:table/shop/stream/{}", stream.label);
                Reply::Done(json!({ "Table": {
                    "LatestStreamArn": arn,
                    "StreamSpecification": { "StreamEnabled": true, "StreamViewType": stream.view_type },
                } }))
            }),
        }
    }
}

struct Fakes(Mutex<u32>);

#[async_trait]
impl SourceFixture for Fakes {
    async fn make(&self, shards: u32) -> Box<dyn StreamFixture> {
        let mut made = self.0.lock().unwrap();
        *made += 1;
        let fake = Fake::with_shards(shards, *made);
        let source = Data(fake.source());
        Box::new(FakeStream { fake, source })
    }
}

struct FakeStream {
    fake: Fake,
    source: Data,
}

#[async_trait]
impl StreamFixture for FakeStream {
    fn source(&self) -> &dyn Source {
        &self.source
    }

    async fn put(&self, partition_key: &str, data: &str) -> (ShardId, Position) {
        self.fake.put_now(partition_key, data)
    }

    async fn split(&self, shard: &ShardId) -> [ShardId; 2] {
        self.fake.split(shard)
    }

    async fn merge(&self, _: &ShardId, _: &ShardId) -> ShardId {
        unreachable!("there are no merges")
    }

    fn has_merges(&self) -> bool {
        false
    }

    async fn trim_all(&self) -> bool {
        self.fake.change(|stream| stream.shards.iter_mut().for_each(|of| of.trimmed = of.records.len()));
        true
    }

    async fn instant(&self) -> Timestamp {
        self.fake.passes(1);
        self.fake.now()
    }
}

#[tokio::test(start_paused = true)]
async fn it_passes_the_suite_on_shards_that_split() {
    conformance::source::run(&Fakes(Mutex::new(0))).await;
}
