//! Duplicates that are compared with the event store, as they may be forks.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering as Atomic},
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
