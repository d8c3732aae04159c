//! What the line costs. `cargo bench -p foldstream-tests --bench line -- throughput|durable|latency|memory|hot`.
//!
//! Throughput is printed as a ratio to a fold by hand in the same run, and latency beside that of a loop that only reads the
//! same. The other figures are absolute; times depend on the machine.
#![expect(clippy::disallowed_methods, reason = "a bench looks at the clock")]
#![expect(clippy::float_arithmetic, reason = "figures for people")]

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering as Atomic},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use foldstream_config::Config;
use foldstream_local::{LocalStore, LogOptions, NewRecord, NullDocuments, OpenOptions};
use foldstream_model::{
    Clock, Event, EventId, EventType, Fingerprint, Ids, OnFailure, Ordering, Payload, Position, ProjectionId,
    Record, Result, SchemaVersion, Sequence, SourceName, StreamId, Timestamp,
    ports::{CheckpointStore, DocumentStore, Projector, Source},
};
use foldstream_runtime::{
    assembly::{ProjectionSpec, Services, SourceSpec, Start},
    order::Gaps,
    settings::Settings,
    upcast::OnNewerSchema,
    worker::{Assembly, Until, Worker},
};
use foldstream_tests::{
    around::{Around, Aspect, Call},
    bed::{Envelopes, alone},
    memory::{MemoryCheckpoints, MemoryHandle, MemorySource, parking::MemoryParking},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod latency;

const EVENTS_PER_DOCUMENT: usize = 10;

/// The allocator of the binary `foldstream`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = arguments.get(1).and_then(|number| number.parse().ok());
    match arguments.first().map(String::as_str) {
        Some("throughput") | None => throughput(number.unwrap_or(1_000_000)),
        Some("durable") => durable(number.unwrap_or(500_000)),
        Some("latency") => {
            let at_once = arguments.get(2).and_then(|number| number.parse().ok());
            latency::latency(number.unwrap_or(50_000), at_once.unwrap_or(1));
        }
        Some("memory") => memory(number.unwrap_or(1_000_000)),
        Some("hot") => hot(number.unwrap_or(20_000)),
        Some("make") => drop(records(number.unwrap_or(20_000))),
        Some("fold") => drop(fold(&records(number.unwrap_or(1_000_000)))),
        Some(other) => println!("no such bench: {other}"),
    }
}

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Timestamp::from_micros(i64::try_from(since.as_micros()).expect("before the year 9999"))
    }
}

#[derive(Default)]
struct CountedIds(AtomicU64);

impl Ids for CountedIds {
    fn unique(&self) -> String {
        self.0.fetch_add(1, Atomic::Relaxed).to_string()
    }
}

const CONFIG: &str = r#"
config_version: 1
sources:
  bench: { kind: local, stream: bench }
projections:
  accounts:
    version: 1
    source: bench
    ordering: per_stream
    handlers:
      - event: Deposited
        key: =event.stream_id
        set: { owner: =payload.owner, last: =payload.amount }
        add: { balance: =payload.amount, deposits: 1 }
"#;

fn projector() -> Arc<dyn Projector> {
    let config = Config::read("bench.yaml", CONFIG, &|_| None).expect("a configuration");
    let compiled = foldstream_declarative::compile(&config).expect("a projector");
    compiled.projectors.values().next().expect("one").clone()
}

/// An event of about 600 bytes, of which a handler reads two small fields.
fn event(index: usize, streams: usize, now: Timestamp) -> Event {
    let stream = format!("account-{:08}", index % streams);
    let sequence = index / streams + 1;
    let payload = format!(
        r#"{{"owner":"owner-{}","amount":{}.25,"currency":"EUR","reference":"{:032}","text":"{}","tags":["a","b","c"],"address":{{"street":"Long Street 12","city":"Somewhere","zip":"12345"}}}}"#,
        index % 1_000,
        index % 10_000,
        index,
        "x".repeat(180),
    );
    Event {
        id: EventId::new(format!("{stream}-{sequence}")),
        stream_id: StreamId::new(stream),
        sequence: Sequence(sequence as u64),
        event_type: EventType::new("Deposited"),
        schema_version: SchemaVersion(1),
        recorded_at: now,
        effective_at: now,
        payload: Payload::new(Bytes::from(payload)),
        metadata: Payload::default(),
    }
}

fn record(index: usize, streams: usize, now: Timestamp) -> Record {
    let event = event(index, streams, now);
    Record {
        position: Position::new(index as u128 + 1),
        partition_key: event.stream_id.as_str().into(),
        arrived_at: now,
        data: Bytes::from(event.to_envelope().expect("an envelope")),
    }
}

fn records(events: usize) -> Vec<Record> {
    let streams = (events / EVENTS_PER_DOCUMENT).max(1);
    let now = SystemClock.now();
    (0..events).map(|index| record(index, streams, now)).collect()
}

fn assembly(
    source: Arc<dyn Source>,
    documents: Arc<dyn DocumentStore>,
    checkpoints: Arc<dyn CheckpointStore>,
    settings: Settings,
) -> Assembly {
    let source = SourceSpec {
        name: SourceName::new("bench"),
        source,
        decoder: Arc::new(Envelopes),
        upcasters: Vec::new(),
        events: None,
        first: Sequence(1),
        gaps: Gaps::Refuse,
        start: Start::TrimHorizon,
        redacts: false,
        on_newer_schema: OnNewerSchema::Wait,
        types: None,
    };
    let projection = ProjectionSpec {
        id: ProjectionId::new("accounts", 1),
        source: SourceName::new("bench"),
        ordering: Ordering::PerStream,
        projector: projector(),
        reducer: None,
        known_types: None,
        on_failure: OnFailure::Stop,
        documents,
        definition: String::new(),
        fingerprint: Fingerprint(String::new()),
        allowed_lateness: Duration::ZERO,
    };
    let services = Services {
        checkpoints,
        leases: alone(),
        parking: Arc::<MemoryParking>::default(),
        clock: Arc::new(SystemClock),
        ids: Arc::<CountedIds>::default(),
    };
    Assembly {
        services,
        sources: vec![source],
        projections: vec![projection],
        settings,
        dead: BTreeSet::new(),
        process: 0,
    }
}

fn one_core() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn catch_up(runtime: &tokio::runtime::Runtime, assembly: Assembly) -> Duration {
    let started = Instant::now();
    let (_complete, complete) = watch::channel(true);
    let worker = Worker::new(assembly);
    let outcome = runtime.block_on(worker.run(Until::CaughtUp(complete), CancellationToken::new()));
    let outcome = outcome.expect("an outcome");
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    started.elapsed()
}

fn settings() -> Settings {
    Settings { lanes: 1, flush_interval: Duration::from_millis(20), ..Settings::default() }
}

fn line(records: &[Record]) -> Duration {
    let source = Arc::new(MemoryHandle(MemorySource::new(records.to_vec())));
    // All documents stay in memory, as those of the fold by hand do.
    let settings = Settings { cache_bytes: 256 << 20, ..settings() };
    let assembly =
        assembly(source, Arc::new(NullDocuments), Arc::new(MemoryCheckpoints::without_cuts()), settings);
    catch_up(&one_core(), assembly)
}

/// The same fold, written by hand: a borrowed envelope, only the payload's fields that are read, a hash map.
fn fold(records: &[Record]) -> Duration {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        stream_id: &'a str,
        sequence: u64,
        #[serde(borrow)]
        payload: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Deposited<'a> {
        owner: &'a str,
        #[serde(borrow)]
        amount: &'a RawValue,
    }
    #[derive(Default)]
    struct Account {
        sequence: u64,
        owner: String,
        last: i64,
        balance: i64,
        deposits: u64,
    }
    let started = Instant::now();
    let mut accounts: HashMap<String, Account> = HashMap::new();
    for record in records {
        let envelope: Envelope<'_> = serde_json::from_slice(&record.data).expect("an envelope");
        let deposited: Deposited<'_> = serde_json::from_str(envelope.payload.get()).expect("a payload");
        let (whole, cents) = deposited.amount.get().split_once('.').expect("an amount");
        let amount: i64 =
            whole.parse::<i64>().expect("a number") * 100 + cents.parse::<i64>().expect("cents");
        let account = match accounts.get_mut(envelope.stream_id) {
            Some(account) => account,
            None => accounts.entry(envelope.stream_id.to_owned()).or_default(),
        };
        if envelope.sequence != account.sequence + 1 {
            continue;
        }
        account.sequence = envelope.sequence;
        account.owner.clear();
        account.owner.push_str(deposited.owner);
        account.last = amount;
        account.balance += amount;
        account.deposits += 1;
    }
    let took = started.elapsed();
    assert!(accounts.values().all(|account| account.deposits > 0 && account.balance >= account.last));
    took
}

fn rate(events: usize, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64()
}

/// decode → project → null sink on one core, against the hand-written fold, in turn.
fn throughput(events: usize) {
    let records = records(events);
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let (by_hand, by_line) = (rate(events, fold(&records)), rate(events, line(&records)));
        println!(
            "by hand {by_hand:>10.0} events/s   line {by_line:>10.0} events/s   ratio {:.3}",
            by_line / by_hand
        );
        ratios.push(by_line / by_hand);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[1]);
}

/// From a filled stream of the embedded database into its documents, every write synced.
fn durable(events: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(SystemClock);
    let options = OpenOptions { create: true, read_only: false };
    let store =
        LocalStore::open(folder.path(), clock, Arc::<CountedIds>::default(), options).expect("a store");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let options = LogOptions { shards: 4, retention: None, recorded_in_order: false };
    let log = runtime.block_on(store.log("bench", options)).expect("a log");
    for chunk in records(events).chunks(5_000) {
        let record = |record: &Record| NewRecord {
            partition_key: record.partition_key.clone(),
            explicit_hash_key: None,
            data: record.data.clone(),
        };
        runtime.block_on(log.put(chunk.iter().map(record).collect())).expect("a put");
    }
    let settings = Settings { lanes: 4, ..Settings::default() };
    let assembly = assembly(log.source(), store.documents(), store.checkpoints(), settings);
    let counted = Arc::new(Around { inner: store.documents(), aspect: Counting::default() });
    let mut assembly = assembly;
    assembly.projections[0].documents = counted.clone();
    let took = catch_up(&runtime, assembly);
    let counted = &counted.aspect;
    let (writes, calls) = (counted.writes.load(Atomic::Relaxed), counted.calls.load(Atomic::Relaxed));
    let documents = events / EVENTS_PER_DOCUMENT;
    println!(
        "{:.0} events/s durable; {writes} writes of {documents} documents in {calls} flushes; {:.2} writes a document",
        rate(events, took),
        writes as f64 / documents as f64
    );
}

#[derive(Default)]
struct Counting {
    writes: AtomicU64,
    calls: AtomicU64,
}

impl Aspect for Counting {
    async fn around<T: Send>(&self, call: Call, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if let Call::Write(documents) = call {
            self.writes.fetch_add(documents as u64, Atomic::Relaxed);
            self.calls.fetch_add(1, Atomic::Relaxed);
        }
        answer.await
    }
}

/// Resident bytes before and after this many streams went through the order stage.
fn memory(streams: usize) {
    let runtime = one_core();
    let stop = CancellationToken::new();
    let source = MemorySource::new(Vec::new());
    let handle = Arc::new(MemoryHandle(source.clone()));
    let settings = Settings { cache_bytes: 0, ..settings() };
    let documents = Arc::new(Around { inner: Arc::new(NullDocuments), aspect: Counting::default() });
    let assembly = assembly(handle, documents.clone(), Arc::new(MemoryCheckpoints::without_cuts()), settings);
    let worker = Worker::new(assembly);
    runtime.block_on(async {
        let feed = async {
            let rest = resident();
            println!("at rest {:.1} MB", rest as f64 / 1e6);
            let now = SystemClock.now();
            for chunk in 0..streams.div_ceil(1_000) {
                for index in 0..1_000 {
                    source.add(record(chunk * 1_000 + index, streams, now));
                }
                while documents.aspect.writes.load(Atomic::Relaxed) < ((chunk + 1) * 1_000) as u64 {
                    tokio::task::yield_now().await;
                }
                source.forget_read();
            }
            tokio::time::sleep(Duration::from_secs(3)).await;
            println!("after {streams} streams {:.1} MB more", resident().saturating_sub(rest) as f64 / 1e6);
            stop.cancel();
        };
        let (outcome, ()) = tokio::join!(worker.run(Until::Stopped, stop.clone()), feed);
        outcome.expect("an outcome");
    });
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("kB") * 1_024
}

/// A small run for counting instructions.
fn hot(events: usize) {
    let records = records(events);
    let took = line(&records);
    assert!(took > Duration::ZERO);
}
