//! Duplicates that are compared with the event store, as they may be forks.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering as Atomic},
    },
    time::Duration,
};

use async_trait::async_trait;
use foldstream_model::{
    Event, Ordering, Result, Sequence, StreamId,
    ports::{Append, Appended, EventStore, Offset},
};
use foldstream_runtime::assembly::{ProjectionSpec, SourceSpec};
use foldstream_tests::{bed::Bed, projectors::Kind};

/// An event store that counts how often a stream is read.
struct CountedEvents {
    events: Arc<dyn EventStore>,
    reads: Arc<AtomicUsize>,
}

#[async_trait]
impl EventStore for CountedEvents {
    async fn append(&self, appends: Vec<Append>) -> Result<Appended> {
        self.events.append(appends).await
    }

    async fn read_stream(&self, stream: &StreamId, from: Sequence, limit: usize) -> Result<Vec<Event>> {
        self.reads.fetch_add(1, Atomic::Relaxed);
        self.events.read_stream(stream, from, limit).await
    }

    async fn read_all(&self, after: Offset, limit: usize) -> Result<Vec<(Offset, Event)>> {
        self.events.read_all(after, limit).await
    }

    async fn last_sequences(&self, streams: &[StreamId]) -> Result<Vec<Option<Sequence>>> {
        self.events.last_sequences(streams).await
    }
}

fn counted(bed: &Bed) -> (SourceSpec, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let events = CountedEvents { events: bed.store.events(), reads: reads.clone() };
    (SourceSpec { events: Some(Arc::new(events)), ..bed.source() }, reads)
}

fn collect(bed: &Bed) -> Vec<ProjectionSpec> {
    vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)]
}

/// A bed whose log holds two streams of 80 events, all of them settled.
async fn settled() -> Bed {
    let bed = Bed::new(1).await;
    for stream in ["a", "b"] {
        bed.append(stream, &[1; 80]).await;
    }
    bed.relay().await;
    bed.catch_up(collect(&bed)).await.unwrap();
    bed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_duplicates_of_a_stream_are_compared_by_one_read_for_each_batch() {
    let bed = settled().await;
    for sequence in (1..=80).rev().chain(20..40) {
        bed.put("a", sequence, 1).await;
        bed.put("b", sequence, 1).await;
    }
    let (source, reads) = counted(&bed);
    let outcome = bed.catch_up_from(source, collect(&bed)).await.unwrap();
    assert!(outcome.stops.is_empty());
    assert_eq!(reads.load(Atomic::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_several_forks_in_a_batch_is_told_whatever_its_stream_and_sequence() {
    for streams in [["a", "b"], ["b", "a"]] {
        let bed = settled().await;
        bed.put(streams[0], 7, 1).await;
        bed.put(streams[1], 60, 99).await;
        bed.put(streams[0], 5, 99).await;
        bed.put(streams[1], 2, 99).await;
        let (source, _) = counted(&bed);
        let outcome = bed.catch_up_from(source, collect(&bed)).await.unwrap();
        let reason = &outcome.stops[0].stop.reason;
        assert!(reason.contains(&format!("fork: stream={} sequence=60", streams[1])), "{reason}");
        assert_eq!(outcome.stops[0].stop.place.position.to_string(), "162");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_before_a_fork_in_its_batch_is_written_and_nothing_behind_it() {
    let mut bed = settled().await;
    // The stop comes before the first write, and each document is a write.
    bed.settings.flush_interval = Duration::from_millis(200);
    bed.settings.flush_documents = 1;
    bed.settings.lanes = 1;
    bed.put("new", 1, 1).await;
    bed.put("other", 1, 1).await;
    bed.put("a", 7, 99).await;
    bed.put("new", 2, 1).await;
    for _ in 0..2 {
        let outcome = bed.catch_up(collect(&bed)).await.unwrap();
        assert_eq!(outcome.stops.len(), 1);
        assert_eq!(outcome.stops[0].stop.place.position.to_string(), "163");
        let documents = bed.documents("collect").await;
        assert_eq!(documents["new"], r#"{"sequences":[1]}"#);
        assert_eq!(documents["other"], r#"{"sequences":[1]}"#);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_settled_a_fork_goes_on_and_who_has_not_stops_there() {
    let bed = settled().await;
    bed.put("a", 7, 99).await;
    let ahead = || bed.projection("ahead", Ordering::PerStream, Kind::Collect);
    let source = SourceSpec { events: None, ..bed.source() };
    let outcome = bed.catch_up_from(source, vec![ahead()]).await.unwrap();
    assert!(outcome.stops.is_empty());
    bed.put("new", 1, 1).await;
    let outcome = bed.catch_up([collect(&bed), vec![ahead()]].concat()).await.unwrap();
    let stopped: Vec<_> = outcome.stops.iter().map(|stop| stop.projection.name.as_str()).collect();
    assert_eq!(stopped, ["collect"]);
    assert_eq!(bed.documents("ahead").await["new"], r#"{"sequences":[1]}"#);
    assert!(!bed.documents("collect").await.contains_key("new"));
}
