//! What the embedded database does in a second, everything synced to disk: the figures of the decision for its store.
//!
//! `cargo run --release -p foldstream-local --example throughput [FOLDER]`

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use foldstream_local::{LocalStore, LogOptions, OpenOptions};
use foldstream_model::{
    Clock, Document, DocumentKey, Epoch, EventId, EventType, Fed, Guard, Ids, Map, ReadModel, SchemaVersion,
    Sequence, StreamId, Timestamp, Value,
    ports::{
        Append, CheckpointStore, Condition, DocumentStore, DocumentWrite, EventStore, ExpectedSequence, From,
        NewEvent, ReadLimit, RowKey, Source, StoredDocument, Table, Written,
    },
};
use futures::future::{join_all, try_join_all};
use tokio::time::Instant;

const DOCUMENTS: u64 = 100_000;
const EVENTS: u64 = 200_000;
const LANES: u64 = 8;
const TEXT_BYTES: usize = 470;

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }
}

impl Ids for Fixed {
    fn unique(&self) -> String {
        "throughput".to_owned()
    }
}

#[tokio::main]
async fn main() -> foldstream_model::Result<()> {
    let temporary =
        tempfile::tempdir().map_err(|error| foldstream_model::Error::invalid(error.to_string()))?;
    let folder = std::env::args().nth(1).unwrap_or_else(|| temporary.path().display().to_string());
    let options = OpenOptions { create: true, read_only: false };
    let store = LocalStore::open(Path::new(&folder), Arc::new(Fixed), Arc::new(Fixed), options)?;
    println!("| what | a second |\n|---|---|");
    for batch in [1_000, 100, 10] {
        one_after_the_other(&store, batch).await?;
    }
    for batch in [1_000, 100, 10] {
        lanes(&store, batch).await?;
    }
    reads(&store).await?;
    append(&store).await?;
    stream(&store).await?;
    Ok(())
}

fn report(what: &str, count: u64, began: Instant) {
    let rate = u128::from(count) * 1_000_000 / began.elapsed().as_micros().max(1);
    println!("| {what} | {rate} |");
}

/// Spreads numbers over the keys without order, each key once.
fn scattered(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn write(stream: u64, sequence: u64) -> DocumentWrite {
    let key = format!("{:016x}", scattered(stream));
    let guard = |sequence| {
        let fed = Fed::Stream { stream: StreamId::new(key.as_str()), sequence: Sequence(sequence) };
        Guard::new(Epoch(0), fed)
    };
    let text = Value::from("x".repeat(TEXT_BYTES));
    let fields = Map::from_iter([("text".into(), text), ("sequence".into(), Value::from(sequence))]);
    DocumentWrite {
        key: DocumentKey::new(key.as_str()),
        condition: if sequence == 1 { Condition::Absent } else { Condition::GuardIs(guard(sequence - 1)) },
        put: StoredDocument {
            guard: guard(sequence),
            document: Some(Document { fields: Arc::new(fields), ..Document::default() }),
        },
    }
}

async fn flush(
    store: &LocalStore,
    model: &ReadModel,
    documents: std::ops::Range<u64>,
    sequence: u64,
) -> foldstream_model::Result<()> {
    let writes = documents.map(|document| write(document, sequence)).collect();
    let outcomes = store.documents().write(model, writes).await?;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Written::Done)), "a write was not done");
    Ok(())
}

async fn one_after_the_other(store: &LocalStore, batch: u64) -> foldstream_model::Result<()> {
    let model = ReadModel::new(&format!("single{batch}"), 1);
    let documents = DOCUMENTS.min(batch * 1_000);
    for (sequence, what) in [(1, "new"), (2, "changed")] {
        let began = Instant::now();
        for first in (0..documents).step_by(batch as usize) {
            flush(store, &model, first..first + batch, sequence).await?;
        }
        report(&format!("documents {what}, {batch} a flush, one flush after the other"), documents, began);
    }
    Ok(())
}

/// Lanes write at once; each puts a checkpoint row after each flush.
async fn lanes(store: &LocalStore, batch: u64) -> foldstream_model::Result<()> {
    let model = ReadModel::new(&format!("lanes{batch}"), 1);
    let a_lane = DOCUMENTS.min(batch * 1_000) / LANES / batch * batch;
    for (sequence, what) in [(1, "new"), (2, "changed")] {
        let began = Instant::now();
        let lane = async |lane: u64| -> foldstream_model::Result<()> {
            let key = RowKey::new(Table::Checkpoints, format!("lanes{batch}"), format!("{lane}-{sequence}"));
            let mut revision = None;
            for first in (lane * a_lane..(lane + 1) * a_lane).step_by(batch as usize) {
                flush(store, &model, first..first + batch, sequence).await?;
                let body = Bytes::from(format!("{{\"place\":{first}}}"));
                match store.checkpoints().put(&key, revision, body, None).await? {
                    foldstream_model::ports::Put::Done(next) => revision = Some(next),
                    foldstream_model::ports::Put::Conflict(row) => {
                        panic!("a row was changed by others: {row:?}")
                    }
                }
            }
            Ok(())
        };
        try_join_all((0..LANES).map(lane)).await?;
        report(&format!("documents {what}, {batch} a flush, {LANES} lanes"), a_lane * LANES, began);
    }
    Ok(())
}

async fn reads(store: &LocalStore) -> foldstream_model::Result<()> {
    let model = ReadModel::new("single1000", 1);
    let began = Instant::now();
    for first in (0..DOCUMENTS).step_by(500) {
        let keys: Vec<DocumentKey> = (first..first + 500)
            .map(|document| DocumentKey::new(format!("{:016x}", scattered(document))))
            .collect();
        let read = store.documents().read(&model, &keys).await?;
        assert!(read.iter().all(Option::is_some), "a document is missing");
    }
    report("documents read, 500 keys a call", DOCUMENTS, began);
    Ok(())
}

fn event(number: u64) -> NewEvent {
    NewEvent {
        id: EventId::new(format!("event-{number}")),
        event_type: EventType::new("ItemAdded"),
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::from_micros(number as i64),
        effective_at: Timestamp::from_micros(number as i64),
        payload: Bytes::from(format!("{{\"sku\":\"{}\",\"quantity\":{number}}}", "x".repeat(TEXT_BYTES))),
        metadata: Bytes::new(),
    }
}

async fn append(store: &LocalStore) -> foldstream_model::Result<()> {
    for (a_call, what) in
        [(1, "1 event an append"), (10, "10 events an append"), (500, "500 events an append")]
    {
        let events = if a_call == 1 { EVENTS / 20 } else { EVENTS };
        let began = Instant::now();
        let writer = async |writer: u64| -> foldstream_model::Result<()> {
            for first in (0..events / LANES / a_call).map(|call| call * a_call) {
                let append = Append {
                    stream: StreamId::new(format!("{a_call}-{writer}-{}", first / 10)),
                    expected: ExpectedSequence::Any,
                    events: (first..first + a_call).map(event).collect(),
                };
                store.events().append(vec![append]).await?;
            }
            Ok(())
        };
        try_join_all((0..LANES).map(writer)).await?;
        report(&format!("events appended, {what}, {LANES} writers"), events, began);
    }
    Ok(())
}

async fn stream(store: &LocalStore) -> foldstream_model::Result<()> {
    let options = LogOptions { shards: 4, retention: None, recorded_in_order: false };
    let log = store.log("events", options).await?;
    let (relay, began, mut moved) = (store.relay(&log), Instant::now(), 0);
    while let events @ 1.. = relay.run_once(1_000).await? {
        moved += events as u64;
    }
    report("events relayed, 1000 a transaction", moved, began);
    let (source, began) = (log.source(), Instant::now());
    let shards = source.shards().await?;
    let read = join_all(shards.iter().map(async |shard| {
        let mut reader = source.open(&shard.id, From::TrimHorizon).await?;
        let limit = ReadLimit { records: 1_000, bytes: 1 << 20, wait: Duration::ZERO };
        let mut read = 0;
        loop {
            let batch = reader.read(limit).await?;
            read += batch.records.len() as u64;
            if batch.tip {
                return foldstream_model::Result::Ok(read);
            }
        }
    }))
    .await;
    let read = read.into_iter().sum::<foldstream_model::Result<u64>>()?;
    assert_eq!(read, moved, "records are missing");
    report("records read, 4 shards", read, began);
    Ok(())
}
