//! Gaps in streams: what the event store has is filled, what it has not waits.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::time::Duration;

use foldstream_model::{
    Ordering, Position, Sequence, SourceName, StreamHash, StreamId,
    ports::{Append, CheckpointStore, EventStore, ExpectedSequence, MAX_ROW_BYTES, NewEvent, Table},
};
use foldstream_runtime::{assembly::ProjectionSpec, rows::Rows, worker::Until};
use foldstream_tests::{bed::Bed, projectors::Kind};
use tokio_util::sync::CancellationToken;

fn collect(bed: &Bed) -> Vec<ProjectionSpec> {
    vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)]
}

/// Many streams whose first event is nowhere, and whose turn comes before that of stream `z`, which lacks what the
/// event store has.
async fn many_unfillable_gaps_and_one_other(bed: &Bed) {
    let before = |name: &String| StreamHash::of(name) < StreamHash::of("z");
    for stream in (0..).map(|number| format!("lost-{number}")).filter(before).take(40) {
        bed.put(&stream, 2, 1).await;
    }
    bed.append("z", &[1, 1, 1]).await;
    bed.put("z", 1, 1).await;
    bed.put("z", 3, 1).await;
}

async fn run_until(bed: &Bed, stream: &str, document: &str) {
    let worker = bed.worker(vec![bed.source()], collect(bed));
    let stop = CancellationToken::new();
    let run = worker.run(Until::Stopped, stop.clone());
    let see = async {
        while bed.documents("collect").await.get(stream).map(String::as_str) != Some(document) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let both = tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(run, see) });
    both.await.expect("the document in time").0.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_filled_however_many_others_cannot_be() {
    let bed = Bed::new(1).await;
    many_unfillable_gaps_and_one_other(&bed).await;
    bed.catch_up(collect(&bed)).await.unwrap();
    assert_eq!(bed.documents("collect").await["z"], r#"{"sequences":[1,2,3]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_filled_at_the_end_of_its_shard_however_many_others_cannot_be() {
    let mut bed = Bed::new(1).await;
    bed.settings.gap_patience = Duration::from_secs(3_600);
    many_unfillable_gaps_and_one_other(&bed).await;
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&shard, u128::MAX / 2).await.unwrap();
    run_until(&bed, "z", r#"{"sequences":[1,2,3]}"#).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_of_more_events_than_one_entry_carries_is_filled_before_the_line_is_at_its_tip() {
    let bed = Bed::new(1).await;
    bed.append("a", &[1; 252]).await;
    bed.put("a", 1, 1).await;
    bed.put("a", 252, 1).await;
    let outcome = bed.catch_up(collect(&bed)).await.unwrap();
    assert!(outcome.gaps.is_empty());
    assert_eq!(bed.documents("collect").await["a"].matches(',').count(), 251);
}

/// An event that is larger than any row, and several that fill one.
async fn large_events_missing(bed: &Bed) {
    let large = |bytes: usize| NewEvent {
        payload: format!("{{\"n\":1,\"text\":\"{}\"}}", "\\\"é".repeat(bytes / 4)).into(),
        ..bed.event(1)
    };
    for (stream, bytes) in [("huge", 900_000), ("a", 60_000), ("b", 60_000), ("c", 60_000)] {
        let events = vec![bed.event(1), large(bytes), large(bytes), large(bytes), bed.event(1), bed.event(1)];
        let append = Append { stream: StreamId::new(stream), expected: ExpectedSequence::Any, events };
        bed.store.events().append(vec![append]).await.unwrap();
        let stored = bed.store.events().read_stream(&StreamId::new(stream), Sequence(1), 6).await.unwrap();
        for sequence in [0, 3, 5] {
            bed.put_raw(stream, &stored[sequence].to_envelope().unwrap()).await;
        }
    }
}

async fn largest_row(bed: &Bed) -> usize {
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    let mut largest = 0;
    for (table, partition) in [
        (Table::Journals, "events".to_owned()),
        (Table::Journals, format!("events/{shard}")),
        (Table::Cuts, format!("events/{shard}")),
        (Table::Cuts, format!("events/{shard}/early")),
    ] {
        let rows = bed.store.checkpoints().list(table, &partition, None, 1_000).await.unwrap();
        assert!(!rows.is_empty(), "{table:?} {partition}");
        largest = rows.iter().map(|row| row.body.len()).max().unwrap_or(0).max(largest);
    }
    largest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_of_large_events_are_filled_and_no_row_is_larger_than_stores_allow() {
    let bed = Bed::new(1).await;
    large_events_missing(&bed).await;
    for _ in 0..2 {
        let outcome = bed.catch_up(collect(&bed)).await.unwrap();
        assert!(outcome.gaps.is_empty() && outcome.stops.is_empty());
        let documents = bed.documents("collect").await;
        assert_eq!(documents.len(), 4);
        assert!(documents.values().all(|document| document == r#"{"sequences":[1,2,3,4,5,6]}"#));
    }
    assert!(largest_row(&bed).await <= MAX_ROW_BYTES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_behind_the_horizon_fills_no_gap_that_a_record_fills_before_it() {
    let mut bed = Bed::new(1).await;
    bed.settings.gap_patience = Duration::from_secs(3_600);
    bed.append("a", &[1, 1, 1]).await;
    bed.put("a", 1, 1).await;
    bed.put("a", 3, 1).await;
    for sequence in 1..=400 {
        bed.put("b", sequence, 1).await;
    }
    bed.put("a", 2, 1).await;
    bed.catch_up(vec![bed.projection("further", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    bed.settings.gap_patience = Duration::from_millis(1);
    bed.settings.checkpoint_interval = Duration::from_millis(2);
    bed.settings.batch_records = 1;
    bed.catch_up(collect(&bed)).await.unwrap();
    assert_eq!(bed.documents("collect").await["a"], r#"{"sequences":[1,2,3]}"#);
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    let rows = Rows::new(bed.store.checkpoints());
    let (source, from) = (SourceName::new("events"), Position::BEGINNING);
    let journal = rows.journal(&source, &shard, None, &from).await.unwrap();
    assert_eq!(journal.unwrap().1.entries, []);
}
