//! From a table's stream into a Kinesis stream.

mod figures;
mod mishaps;

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use aws_sdk_kinesis::types::StreamStatus;
use foldstream_model::{
    ErrorKind, Event, PayloadReads,
    ports::{Decoder, From, ReadLimit, ShardReader, Source},
};
use foldstream_test_servers::Server;
use tokio::sync::oneshot;

use self::mishaps::Mishaps;
use super::*;
use crate::{
    change::{ChangeDecoder, HEARTBEAT, HEARTBEAT_KEY, OnChange},
    dynamodb::{DynamoLeases, DynamoRows, StateTable},
    kinesis::{KinesisOptions, KinesisSource},
    streams::{
        StreamsOptions,
        tests::{data, make_table, memory::Fake, put_item},
    },
    testing::{TestIds, WallClock},
};

const PATIENCE: Duration = Duration::from_secs(180);
const LEASE: Duration = Duration::from_secs(2);

/// A Kinesis stream of two shards, and what relays keep beside it.
struct Target {
    connection: Connection,
    parts: RelayParts,
    _kinesis: Server,
}

impl Target {
    /// Rows and leases are kept where `dynamodb` leads.
    async fn new(dynamodb: &Connection) -> Self {
        // It is read while several calls put: the other server gives numbers before it stores records.
        Self::over(dynamodb, Server::kinesis_local()).await
    }

    async fn over(dynamodb: &Connection, server: Server) -> Self {
        let connection = Connection::to(&server);
        let client = connection.kinesis();
        client.create_stream().stream_name("changes").shard_count(2).send().await.unwrap();
        loop {
            let answer = client.describe_stream_summary().stream_name("changes").send().await.unwrap();
            if *answer.stream_description_summary().unwrap().stream_status() == StreamStatus::Active {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let ids = Arc::new(TestIds::default());
        let state = StateTable::open(dynamodb, "foldstream", ids.clone(), true).await.unwrap();
        let leases = DynamoLeases::open(dynamodb, state.clone(), BTreeMap::new(), true).await.unwrap();
        let rows = Arc::new(DynamoRows::new(state));
        let parts = RelayParts { rows, leases: Arc::new(leases), clock: Arc::new(WallClock), ids };
        Self { connection, parts, _kinesis: server }
    }

    fn relay(&self, source: StreamsSource) -> Relay {
        let options = RelayOptions {
            rest: Duration::from_millis(20),
            lease: LEASE,
            heartbeat: Duration::from_secs(3_600),
            ..RelayOptions::new("shop", "changes")
        };
        let route: Router = Arc::new(Route::by_partition_key);
        Relay::new(&self.connection, options, Arc::new(source), route, self.parts.clone())
    }

    /// Until it is saved that everything in the only shard of a table has arrived.
    async fn is_saved(&self, source: &StreamsSource) {
        let shard = source.shards().await.unwrap().remove(0).id;
        let newest = source.open(&shard, From::Latest).await.unwrap().position();
        let rows = Rows { store: self.parts.rows.clone(), relay: "shop".to_owned() };
        let saving = async {
            while rows.shard(&shard).await.unwrap().position.as_ref() != Some(&newest) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, saving).await.expect("what has arrived is saved");
    }

    async fn reader(&self) -> Reader {
        let options = KinesisOptions { calls_per_second: 1_000, ..KinesisOptions::new("changes") };
        let source = KinesisSource::new(&self.connection, options, Arc::new(WallClock));
        let mut readers = Vec::new();
        for shard in source.shards().await.unwrap() {
            readers.push(source.open(&shard.id, From::TrimHorizon).await.unwrap());
        }
        Reader { readers, read: Vec::new() }
    }
}

/// All that has arrived, in the order of its shards.
struct Reader {
    readers: Vec<Box<dyn ShardReader>>,
    read: Vec<Record>,
}

impl Reader {
    /// True: that was all.
    async fn read(&mut self) -> bool {
        let mut is_tip = true;
        for reader in &mut self.readers {
            let limit = ReadLimit { records: 1_000, bytes: 1 << 20, wait: Duration::from_millis(20) };
            let batch = reader.read(limit).await.unwrap();
            is_tip &= batch.tip;
            self.read.extend(batch.records);
        }
        is_tip
    }

    /// Reads all that there is; how much that is by now.
    async fn drain(&mut self) -> usize {
        while !self.read().await {}
        self.read.len()
    }

    /// Reads until everything has come that was put. What comes first of each key is in order.
    async fn until(&mut self, keys: usize, of_each: u64) {
        let reading = async {
            while self.first_arrivals().values().map(Vec::len).sum::<usize>() < keys * of_each as usize {
                self.read().await;
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("everything arrives");
        let expected: Vec<u64> = (1..=of_each).collect();
        for (key, sequences) in self.first_arrivals() {
            assert_eq!(sequences, expected, "key={key}");
        }
    }

    fn first_arrivals(&self) -> BTreeMap<String, Vec<u64>> {
        let mut arrived: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for record in self.read.iter().filter(|record| &*record.partition_key != HEARTBEAT_KEY) {
            let sequences = arrived.entry(record.partition_key.to_string()).or_default();
            let sequence = data(record).parse().unwrap();
            if !sequences.contains(&sequence) {
                sequences.push(sequence);
            }
        }
        arrived
    }
}

/// A relay that runs beside a test.
struct Run {
    task: tokio::task::JoinHandle<Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Run {
    #[expect(clippy::disallowed_methods, reason = "the test owns it, and ends it")]
    fn start(relay: Relay) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move { relay.run(async { drop(stopped.await) }).await });
        Self { task, stop }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// As a process that is killed.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

const TABLE: &str = "shop";

fn fast() -> StreamsOptions {
    StreamsOptions { calls_per_second: 1_000, ..StreamsOptions::new(TABLE) }
}

#[tokio::test]
async fn items_of_a_table_arrive_in_order_whatever_befalls_the_puts() {
    let server = Server::ministack();
    let table = Connection::to(&server);
    let client = table.dynamodb();
    make_table(&client, TABLE).await;
    let target = Target::new(&table).await;
    let mishaps = Mishaps::default();
    let source = || StreamsSource::new(&table, fast(), Arc::new(WallClock));
    let mut relay = target.relay(source());
    relay.target.client = mishaps.client(&target.connection);
    let run = Run::start(relay);
    let mut reader = target.reader().await;
    for sequence in 1..=15 {
        for key in 0..20 {
            put_item(&client, TABLE, (&format!("order-{key}"), sequence), &sequence.to_string()).await;
        }
    }
    reader.until(20, 15).await;
    target.is_saved(&source()).await;
    run.stop().await;
    let before = reader.drain().await;
    assert!(mishaps.happened.load(Ordering::Relaxed) > 20 && before > 300, "some came twice: {before}");

    for key in 0..20 {
        put_item(&client, TABLE, (&format!("order-{key}"), 16), "16").await;
    }
    let run = Run::start(target.relay(source()));
    reader.until(20, 16).await;
    run.stop().await;
    reader.drain().await;
    let again: Vec<String> = reader.read[before..].iter().map(data).filter(|data| data != "16").collect();
    assert!(again.is_empty(), "it goes on where it was: {again:?}");
}

/// Each key's next sequence, on a stream in memory.
fn put_round(fake: &Fake, sequence: u64) {
    (0..30).for_each(|key| drop(fake.put_now(&format!("order-{key}"), &sequence.to_string())));
}

#[tokio::test]
async fn relays_share_shards_that_split_and_take_over_from_one_that_is_gone() {
    let server = Server::dynamodb();
    let target = Target::new(&Connection::to(&server)).await;
    let fake = Fake::with_shards(3, 1);
    let relay = || target.relay(fake.source_with(fast()));
    put_round(&fake, 1);
    let runs = [Run::start(relay()), Run::start(relay())];
    let mut reader = target.reader().await;
    let mut open: Vec<ShardId> =
        fake.source().shards().await.unwrap().into_iter().map(|shard| shard.id).collect();
    for sequence in 2..=4 {
        put_round(&fake, sequence);
        let split = open.remove(0);
        open.extend(fake.split(&split));
        put_round(&fake, sequence + 3);
        if sequence == 2 {
            fake.change(|stream| stream.stretch = 1);
        }
    }
    let put_in_order = [1, 2, 5, 3, 6, 4, 7];
    let reading = async {
        while reader.first_arrivals().values().map(Vec::len).sum::<usize>() < 30 * put_in_order.len() {
            reader.read().await;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("everything arrives");
    assert!(reader.first_arrivals().values().all(|sequences| *sequences == put_in_order));

    let [gone, stays] = runs;
    gone.kill().await;
    put_round(&fake, 8);
    let reading = async {
        while reader.first_arrivals().values().any(|sequences| sequences.len() < 8) {
            reader.read().await;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the other one takes over");
    stays.stop().await;
}

/// Takes nothing for an event.
struct Nothing;

impl Decoder for Nothing {
    fn decode(&self, record: &Record, _: &dyn PayloadReads) -> Result<Option<Event>> {
        Err(Error::poison(format!("no item: {}", record.partition_key)))
    }
}

#[tokio::test]
async fn a_relay_says_that_it_lives_and_up_to_when_everything_has_arrived() {
    let server = Server::dynamodb();
    let target = Target::new(&Connection::to(&server)).await;
    let mut relay = target.relay(Fake::with_shards(1, 1).source_with(fast()));
    relay.options.heartbeat = Duration::from_millis(200);
    let run = Run::start(relay);
    let mut reader = target.reader().await;
    let reading = async {
        while reader.read.len() < 3 {
            reader.read().await;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("heartbeats come");
    run.stop().await;
    let decoder = ChangeDecoder::new(Arc::new(Nothing), OnChange::Park, OnChange::Park);
    let mut written = Vec::new();
    for record in &reader.read {
        let beat: serde_json::Value = serde_json::from_slice(&record.data).unwrap();
        assert_eq!((beat["eventName"].as_str(), beat["relay"].as_str()), (Some(HEARTBEAT), Some("shop")));
        written.push(beat["dynamodb"]["ApproximateCreationDateTime"].as_i64().unwrap());
        assert!(decoder.decode(record, &()).unwrap().is_none(), "it is no event");
        let behind = record.arrived_at.micros_since(decoder.heartbeat(record).unwrap());
        assert!(behind < 60_000_000, "all that was stored until then is there: {behind}");
    }
    assert!(written.windows(2).all(|pair| pair[1] > pair[0]), "{written:?}");
}

/// Runs until it ends by itself.
async fn fails(relay: &Relay) -> Error {
    let running = relay.run(std::future::pending());
    let ended = tokio::time::timeout(PATIENCE, running).await.expect("it cannot go on");
    let error = ended.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error
}

async fn relays_one(target: &Target, fake: &Fake, key: &str) {
    let run = Run::start(target.relay(fake.source_with(fast())));
    let mut reader = target.reader().await;
    let reading = async {
        while !reader.first_arrivals().contains_key(key) {
            reader.read().await;
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("it arrives");
    run.stop().await;
}

#[tokio::test]
async fn what_was_lost_is_said_and_a_relay_that_is_begun_anew_goes_on() {
    let server = Server::dynamodb();
    let target = Target::new(&Connection::to(&server)).await;
    let fake = Fake::with_shards(1, 1);
    let relay = || target.relay(fake.source_with(fast()));
    fake.put_now("a", "1");
    relays_one(&target, &fake, "a").await;

    fake.put_now("b", "1");
    fake.passes(25 * 60 * 60);
    fake.put_now("c", "1");
    let error = fails(&relay()).await;
    assert!(error.message().contains("trimmed before they were read"), "{error}");
    relay().forget().await.unwrap();
    relays_one(&target, &fake, "c").await;

    let other = Fake::with_shards(1, 2);
    let error = fails(&target.relay(other.source_with(fast()))).await;
    assert!(error.message().contains("switched off and on again"), "{error}");
}

#[tokio::test]
async fn what_the_stream_does_not_take_is_said_before_it_is_put() {
    let server = Server::dynamodb();
    let target = Target::new(&Connection::to(&server)).await;
    let fake = Fake::with_shards(1, 1);
    fake.put_now("order-1", &"x".repeat(2_000));
    let mut relay = target.relay(fake.source_with(fast()));
    relay.options.record_bytes = 2_000;
    let error = fails(&relay).await;
    assert!(error.message().contains("larger than the stream takes"), "{error}");
    let mut relay = target.relay(fake.source_with(fast()));
    relay.route = Arc::new(|_| Route { partition_key: String::new(), explicit_hash_key: None });
    let error = fails(&relay).await;
    assert!(error.message().contains("partition_key=\"\""), "{error}");
}
