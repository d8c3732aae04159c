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
    Epoch, Event, Lot, OnFailure, Ordering, ParkedStream, ProjectionId, Result, Sequence, StreamId,
    Timestamp,
    ports::{Append, Appended, EventStore, Offset, Source},
};
use foldstream_runtime::{
    assembly::{ProjectionSpec, Services, SourceSpec},
    deciding::Decider,
    rows::{
        Rows,
        records::{Decided, RecordAside},
    },
};
use foldstream_tests::{
    bed::{Bed, alone},
    projectors::Kind,
};

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

    async fn read_all(&self, after: &Offset, limit: usize) -> Result<Vec<(Offset, Event)>> {
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

fn parks(bed: &Bed, on_failure: OnFailure) -> ProjectionSpec {
    ProjectionSpec { on_failure, ..bed.projection("parks", Ordering::PerStream, Kind::Collect) }
}

fn lot() -> Lot {
    Lot::of_streams(&ProjectionId::new("parks", 1), Epoch::default())
}

async fn parked(bed: &Bed) -> Vec<ParkedStream> {
    let mut parked = Rows::new(bed.store.checkpoints()).parked_streams(&lot()).await.unwrap();
    parked.retain(|parked| parked.until.is_none());
    parked
}

async fn refused(bed: &Bed) -> Vec<RecordAside> {
    let mut records = Rows::new(bed.store.checkpoints()).records_aside(&bed.source().name).await.unwrap();
    records.retain(|record| !record.fate.is_decided());
    records
}

fn decider(bed: &Bed) -> Decider {
    let services = Services {
        checkpoints: bed.store.checkpoints(),
        parking: bed.store.parking(),
        leases: alone(),
        clock: bed.clock.clone(),
        ids: bed.ids.clone(),
    };
    Decider::new(bed.source(), services)
}

async fn let_back(bed: &Bed) {
    for parked in parked(bed).await {
        decider(bed).let_back(&lot(), &parked, None).await.unwrap();
    }
}

async fn leave_out(bed: &Bed) {
    let decided = Decided { who: "me".to_owned(), reason: None, at: Timestamp::EPOCH };
    for record in refused(bed).await {
        assert!(decider(bed).discard_record(&record, decided.clone()).await.unwrap());
    }
}

fn up_to(last: u64) -> String {
    let sequences: Vec<_> = (1..=last).map(|sequence| sequence.to_string()).collect();
    format!("{{\"sequences\":[{}]}}", sequences.join(","))
}

/// A fork of `a` among what the event store has of it, and more of it behind that, in parts.
async fn forked(bed: &Bed) {
    bed.put("a", 7, 99).await;
    for stream in ["a", "b"] {
        bed.append(stream, &[1]).await;
    }
    bed.relay().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_of_a_fork_waits_behind_it_and_comes_back_with_the_event_that_came_first() {
    let bed = settled().await;
    bed.catch_up(vec![parks(&bed, OnFailure::Park)]).await.unwrap();
    forked(&bed).await;
    // Two that begin before it notice it both.
    let other = || ProjectionSpec {
        on_failure: OnFailure::Park,
        ..bed.projection("other", Ordering::PerStream, Kind::Collect)
    };
    let outcome = bed.catch_up(vec![parks(&bed, OnFailure::Park), other()]).await.unwrap();
    assert!(outcome.stops.is_empty() && outcome.records.len() == 1, "{outcome:?}");
    let documents = bed.documents("parks").await;
    assert_eq!((&documents["a"], &documents["b"]), (&up_to(80), &up_to(81)));
    let found = parked(&bed).await;
    assert_eq!((found.len(), found[0].sequence, found[0].stream.as_str()), (1, Sequence(7), "a"));
    assert!(found[0].error.contains("fork"), "{found:?}");
    let kept = refused(&bed).await;
    assert_eq!(kept.len(), 1);
    let record = Rows::new(bed.store.checkpoints()).record_as_read(&bed.source().name, &kept[0]).await;
    assert!(String::from_utf8_lossy(&record.unwrap().data).contains("99"));

    // A split between, and the fork once more.
    let shard = bed.log.source().shards().await.unwrap()[0].id.clone();
    bed.log.split(&shard, 1 << 127).await.unwrap();
    forked(&bed).await;
    bed.catch_up(vec![parks(&bed, OnFailure::Park)]).await.unwrap();
    assert_eq!((parked(&bed).await.len(), refused(&bed).await.len()), (1, 2));
    let_back(&bed).await;
    let_back(&bed).await;
    let outcome = bed.catch_up(vec![parks(&bed, OnFailure::Park)]).await.unwrap();
    assert!(outcome.parked.is_empty(), "{outcome:?}");
    assert_eq!(bed.documents("parks").await["a"], up_to(82));
    leave_out(&bed).await;
    let outcome = bed.catch_up(vec![parks(&bed, OnFailure::Park)]).await.unwrap();
    assert!(outcome.records.is_empty() && outcome.stops.is_empty(), "{outcome:?}");

    // Whoever reads all of it anew finds it parked where it was, and back where it came back.
    let new = || ProjectionSpec {
        on_failure: OnFailure::Stop,
        ..bed.projection("new", Ordering::PerStream, Kind::Collect)
    };
    let outcome = bed.catch_up(vec![new()]).await.unwrap();
    assert!(outcome.stops.is_empty(), "left out for all: {outcome:?}");
    assert_eq!(bed.documents("new").await["a"], up_to(82));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_discards_goes_on_behind_a_fork_and_who_stops_waits_for_a_decision() {
    let bed = settled().await;
    forked(&bed).await;
    let both = || {
        let stops = bed.projection("stops", Ordering::PerStream, Kind::Collect);
        vec![parks(&bed, OnFailure::Discard), stops]
    };
    let outcome = bed.catch_up(both()).await.unwrap();
    let stopped: Vec<_> = outcome.stops.iter().map(|stop| stop.projection.name.as_str()).collect();
    assert_eq!(stopped, ["stops"], "{outcome:?}");
    assert_eq!(bed.documents("parks").await["a"], up_to(81));
    leave_out(&bed).await;
    assert!(bed.catch_up(both()).await.unwrap().stops.is_empty());
    assert_eq!(bed.documents("stops").await["a"], up_to(81));
}

/// Both wait for what is missing; by the time it comes, the stream is parked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_among_events_that_wait_parks_their_stream() {
    for with_store in [false, true] {
        let bed = Bed::with_transport(1).await;
        for (sequence, n) in [(1, 1), (3, 1), (3, 99), (4, 1)] {
            bed.put("a", sequence, n).await;
        }
        bed.put("b", 1, 1).await;
        let source = SourceSpec { events: None, ..bed.source() };
        let run = || bed.catch_up_from(source.clone(), vec![parks(&bed, OnFailure::Park)]);
        let outcome = run().await.unwrap();
        assert!(outcome.stops.is_empty(), "{outcome:?}");
        assert_eq!((parked(&bed).await.len(), refused(&bed).await.len()), (1, 1));
        match with_store {
            false => bed.put("a", 2, 1).await,
            true => {
                bed.append("a", &[1, 1]).await;
                bed.catch_up(vec![parks(&bed, OnFailure::Park)]).await.unwrap();
            }
        }
        run().await.unwrap();
        assert_eq!(bed.documents("parks").await["a"], up_to(1));
        let_back(&bed).await;
        run().await.unwrap();
        assert_eq!(bed.documents("parks").await["a"], up_to(4));
        assert_eq!(bed.documents("parks").await["b"], up_to(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forks_beyond_what_may_be_parked_stop() {
    let mut bed = settled().await;
    bed.settings.parked_events = 1;
    bed.put("a", 7, 99).await;
    bed.put("b", 9, 99).await;
    let outcome = bed.catch_up(vec![parks(&bed, OnFailure::Park)]).await.unwrap();
    assert!(outcome.stops.len() == 1 && outcome.stops[0].stop.reason.contains("limit=1"), "{outcome:?}");
    assert_eq!(outcome.stops[0].stop.place.position.to_string(), "162");
}
