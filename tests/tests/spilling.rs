//! Early events beyond the bound on memory wait in the checkpoint store.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::{collections::BTreeSet, time::Duration};

use foldstream_model::{
    Clock, EventType, Ordering, Place, Position, Result, SchemaVersion, Sequence, ShardId, SpilledEvent,
    StreamId, Value,
    ports::{CheckpointStore, Table, Upcaster},
};
use foldstream_runtime::{
    assembly::{ProjectionSpec, SourceSpec},
    rows::Rows,
    trimming::Trimming,
};
use foldstream_tests::{
    bed::Bed,
    projectors::{Kind, TYPE},
};

const STREAMS: [&str; 3] = ["a", "b", "c"];

async fn bed() -> (Bed, SourceSpec) {
    let mut bed = Bed::with_transport(1).await;
    bed.settings.early_bytes = 1_500;
    let source = SourceSpec { events: None, ..bed.source() };
    (bed, source)
}

fn projections(bed: &Bed) -> Vec<ProjectionSpec> {
    vec![
        bed.projection("collect", Ordering::PerStream, Kind::Collect),
        bed.projection("sum", Ordering::Commutative, Kind::Sum),
        bed.projection("feed", Ordering::Global, Kind::Feed),
    ]
}

/// Puts the events of all streams but the first of each.
async fn put_early(bed: &Bed, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        for stream in STREAMS {
            bed.put(stream, sequence, 1).await;
        }
    }
}

async fn spilled_rows(bed: &Bed) -> usize {
    let shard = bed.log.describe().await.expect("a log").shards[0].id.clone();
    spilled_rows_of(bed, &shard).await
}

async fn spilled_rows_of(bed: &Bed, shard: &ShardId) -> usize {
    let partition = format!("events/{shard}/early");
    bed.store.checkpoints().list(Table::Cuts, &partition, None, 1_000).await.expect("rows").len()
}

async fn all_came_in_order(bed: &Bed, last: u64) {
    let sequences: Vec<String> = (1..=last).map(|sequence| sequence.to_string()).collect();
    let expected = format!("{{\"sequences\":[{}]}}", sequences.join(","));
    let documents = bed.documents("collect").await;
    assert_eq!(documents.len(), STREAMS.len());
    assert_eq!(documents.into_values().collect::<BTreeSet<_>>(), BTreeSet::from([expected]));
}

async fn fed(bed: &Bed) -> usize {
    bed.documents("feed").await["feed"].matches('#').count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_early_events_than_memory_may_hold_stop_nobody_and_come_when_the_gap_is_closed() {
    let (bed, source) = bed().await;
    put_early(&bed, 2..40).await;
    for _ in 0..2 {
        let outcome = bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
        assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
        assert_eq!(outcome.gaps.values().sum::<usize>(), 3);
    }
    assert!(spilled_rows(&bed).await > 100);
    put_early(&bed, 40..45).await;
    put_early(&bed, 1..2).await;
    let outcome = bed.catch_up_from(source, projections(&bed)).await.unwrap();
    assert!(outcome.gaps.is_empty() && outcome.stops.is_empty());
    all_came_in_order(&bed, 44).await;
    assert_eq!(fed(&bed).await, 3 * 44);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_ends_with_spilled_events_and_its_children_read_them_back() {
    let (bed, source) = bed().await;
    put_early(&bed, 2..40).await;
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    let [low, high] = bed.log.split(&shard, u128::MAX / 2).await.unwrap();
    put_early(&bed, 40..50).await;
    bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
    bed.log.merge(&low, &high).await.unwrap();
    put_early(&bed, 1..2).await;
    let outcome = bed.catch_up_from(source, projections(&bed)).await.unwrap();
    assert!(outcome.gaps.is_empty() && outcome.stops.is_empty());
    all_came_in_order(&bed, 49).await;
    assert_eq!(fed(&bed).await, 3 * 49);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_store_fills_what_spilled_events_wait_for() {
    let (mut bed, _) = bed().await;
    bed.settings.early_bytes = 0;
    for stream in STREAMS {
        bed.append(stream, &[1; 120]).await;
    }
    put_early(&bed, 110..121).await;
    // Not the feed: what is filled may be late for it.
    let mut projections = projections(&bed);
    projections.truncate(2);
    let outcome = bed.catch_up(projections).await.unwrap();
    assert!(outcome.gaps.is_empty() && outcome.stops.is_empty());
    all_came_in_order(&bed, 120).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_early_events_go_with_the_cuts_that_name_them() {
    let (mut bed, source) = bed().await;
    bed.settings.early_bytes = 0;
    put_early(&bed, 2..10).await;
    bed.put("waits", 2, 1).await;
    bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
    put_early(&bed, 1..2).await;
    bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
    // Whoever reads now begins with whole cuts, when nothing else waits any more.
    bed.put("another", 1, 1).await;
    bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
    assert_eq!(spilled_rows(&bed).await, 25);
    let mut trimming =
        Trimming::new(source.name.clone(), bed.log.source(), Rows::new(bed.store.checkpoints()));
    trimming.round().await.unwrap();
    assert_eq!(spilled_rows(&bed).await, 25, "the source keeps everything");
    bed.trim_before(bed.clock.now()).await;
    trimming.round().await.unwrap();
    assert_eq!(spilled_rows(&bed).await, 1, "what still waits");
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    let rows = Rows::new(bed.store.checkpoints());
    let (stream, at) = (StreamId::new("fresh"), Place::end(Position::new(1_000), 0));
    let fresh = SpilledEvent { shard: shard.clone(), stream, sequence: Sequence(2) };
    rows.spill(&source.name, &fresh, &at, "{}").await.unwrap();
    trimming = Trimming::new(source.name.clone(), bed.log.source(), rows);
    trimming.round().await.unwrap();
    assert_eq!(spilled_rows(&bed).await, 2, "no cut names yet what has just come");
    bed.log.split(&shard, u128::MAX / 2).await.unwrap();
    bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
    bed.put("waits", 3, 1).await;
    for stream in 0..20 {
        bed.put(&format!("s-{stream}"), 1, 1).await;
    }
    bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
    bed.trim_before(bed.clock.now()).await;
    bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
    trimming.round().await.unwrap();
    assert_eq!(spilled_rows_of(&bed, &shard).await, 1, "a child waits for it");
    bed.put("waits", 1, 1).await;
    let outcome = bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
    assert!(outcome.gaps.is_empty() && outcome.stops.is_empty(), "{outcome:?}");
    assert_eq!(bed.documents("collect").await["waits"], r#"{"sequences":[1,2,3]}"#);
    bed.put("waits", 4, 1).await;
    bed.catch_up_from(source, projections(&bed)).await.unwrap();
    bed.trim_before(bed.clock.now()).await;
    trimming.round().await.unwrap();
    assert_eq!(spilled_rows_of(&bed, &shard).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_early_events_than_a_shard_keeps_stop_its_projections_unless_the_event_store_has_what_is_missing()
 {
    let (mut bed, source) = bed().await;
    bed.settings.early_bytes = 0;
    bed.settings.early_events = 20;
    bed.settings.gap_patience = Duration::from_secs(3_600);
    bed.append("a", &[1; 40]).await;
    for sequence in 2..41 {
        bed.put("a", sequence, 1).await;
    }
    for _ in 0..2 {
        let outcome = bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
        assert_eq!(outcome.stops.len(), 3);
        let reason = &outcome.stops[0].stop.reason;
        assert!(reason.contains("39 events wait") && reason.contains("stream=a from=1 to=1"), "{reason}");
    }
    let mut projections = projections(&bed);
    projections.truncate(1);
    let outcome = bed.catch_up(projections).await.unwrap();
    assert!(outcome.gaps.is_empty() && outcome.stops.is_empty(), "{outcome:?}");
    assert!(bed.documents("collect").await["a"].ends_with(",39,40]}"));
    // Who comes after, in smaller steps, holds too many before it comes to where the gap was filled.
    bed.settings.batch_records = 1;
    let outcome =
        bed.catch_up(vec![bed.projection("later", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    assert!(outcome.gaps.is_empty() && outcome.stops.is_empty(), "{outcome:?}");
    assert_eq!(bed.documents("later").await, bed.documents("collect").await);
}

/// Refuses everything.
struct Refusing(EventType);

impl Upcaster for Refusing {
    fn lifts(&self) -> (&EventType, SchemaVersion) {
        (&self.0, SchemaVersion(1))
    }

    fn upcast(&self, _: Value) -> Result<Value> {
        panic!("it lifts nothing any more")
    }
}

/// A refused event waits for one that comes then: by what it is kept depends on the bound on memory.
async fn refused_when_released(early_bytes: usize) {
    let (mut bed, source) = bed().await;
    bed.settings.early_bytes = early_bytes;
    bed.put("a", 2, 1).await;
    bed.catch_up_from(source.clone(), projections(&bed)).await.unwrap();
    let refusing = Refusing(EventType::new(TYPE));
    let refusing = SourceSpec { upcasters: vec![std::sync::Arc::new(refusing)], ..source.clone() };
    let other = |stream: &str, sequence: u64| {
        format!(
            r#"{{"stream_id":"{stream}","sequence":{sequence},"id":"{stream}-{sequence}","type":"Added","schema_version":2,"recorded_at":"1970-01-01T00:00:00Z","payload":{{"n":1}}}}"#
        )
    };
    bed.put_raw("b", other("b", 1).as_bytes()).await;
    let outcome = bed.catch_up_from(refusing.clone(), projections(&bed)).await.unwrap();
    assert!(outcome.stops.is_empty(), "{:?}", outcome.stops);
    assert_eq!(outcome.gaps.values().sum::<usize>(), 1);
    bed.put_raw("a", other("a", 1).as_bytes()).await;
    for _ in 0..2 {
        let outcome = bed.catch_up_from(refusing.clone(), projections(&bed)).await.unwrap();
        assert_eq!(outcome.stops.len(), 3);
        assert_eq!(outcome.stops[0].stop.place.position.to_string(), "3");
    }
    let outcome = bed.catch_up_from(source, projections(&bed)).await.unwrap();
    assert!(outcome.stops.is_empty() && outcome.gaps.is_empty());
    assert_eq!(bed.documents("collect").await["a"], r#"{"sequences":[1,2]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spilled_event_that_cannot_be_read_any_more_is_poison_of_the_record_that_releases_it() {
    refused_when_released(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_in_a_cut_that_cannot_be_read_any_more_is_poison_of_the_record_that_releases_it() {
    refused_when_released(1_000_000).await;
}
