//! Records that cannot be decoded are set aside, once for all who read their source; what they hold comes back as if it had
//! only been late.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldstream_model::{
    Epoch, ErrorKind, Event, OnFailure, Ordering, PayloadReads, ProjectionId, Record, Result, ShardId,
    Timestamp,
    ports::{Decoder, Source},
};
use foldstream_runtime::{
    assembly::{ProjectionSpec, Services, SourceSpec},
    deciding::Decider,
    order::Gaps,
    report::Phase,
    rows::{
        Rows,
        records::{Decided, RecordAside},
    },
    worker::Outcome,
};
use foldstream_tests::{
    bed::{Bed, Envelopes, alone},
    projectors::Kind,
};
use tokio_util::sync::CancellationToken;

/// Knows that some envelopes have a mark in front.
struct Mended;

impl Decoder for Mended {
    fn decode(&self, record: &Record, reads: &dyn PayloadReads) -> Result<Option<Event>> {
        let data = match record.data.strip_prefix(b"!") {
            Some(data) => record.data.slice_ref(data),
            None => record.data.clone(),
        };
        Envelopes.decode(&Record { data, ..record.clone() }, reads)
    }
}

/// Without an event store, where nothing else is said.
fn strict(bed: &Bed) -> SourceSpec {
    SourceSpec { events: None, ..bed.source() }
}

fn mended(bed: &Bed) -> SourceSpec {
    SourceSpec { decoder: Arc::new(Mended), ..strict(bed) }
}

fn marked(stream: &str, sequence: u64) -> Vec<u8> {
    let at = "2023-11-14T22:13:20Z";
    format!(r#"!{{"stream_id":"{stream}","sequence":{sequence},"id":"m","type":"Added","recorded_at":"{at}","payload":{{"n":1}}}}"#)
        .into_bytes()
}

fn named(bed: &Bed, name: &str, ordering: Ordering, on_failure: OnFailure) -> ProjectionSpec {
    let kind = match ordering {
        Ordering::PerStream => Kind::Collect,
        Ordering::Commutative => Kind::Sum,
        Ordering::Global => Kind::Feed,
    };
    ProjectionSpec { on_failure, ..bed.projection(name, ordering, kind) }
}

fn parks(bed: &Bed) -> ProjectionSpec {
    named(bed, "parks", Ordering::PerStream, OnFailure::Park)
}

/// Of `a` the second record cannot be decoded, and others stand behind it.
async fn read_by(bed: &Bed, projections: Vec<ProjectionSpec>) -> Outcome {
    bed.put("a", 1, 1).await;
    bed.put_raw("a", &marked("a", 2)).await;
    for (stream, sequence) in [("a", 3), ("b", 1), ("a", 4), ("b", 2)] {
        bed.put(stream, sequence, 1).await;
    }
    bed.catch_up_from(strict(bed), projections).await.unwrap()
}

fn rows(bed: &Bed) -> Rows {
    Rows::new(bed.store.checkpoints())
}

async fn records(bed: &Bed) -> Vec<RecordAside> {
    let mut records = rows(bed).records_aside(&bed.source().name).await.unwrap();
    records.retain(|record| !record.fate.is_decided());
    records
}

fn decider(bed: &Bed, source: SourceSpec) -> Decider {
    let services = Services {
        checkpoints: bed.store.checkpoints(),
        parking: bed.store.parking(),
        leases: alone(),
        clock: bed.clock.clone(),
        ids: bed.ids.clone(),
    };
    Decider::new(source, services)
}

fn decided() -> Decided {
    Decided { who: "me".to_owned(), reason: Some("seen".to_owned()), at: Timestamp::EPOCH }
}

async fn redrive(bed: &Bed, records: &[RecordAside]) {
    for record in records {
        decider(bed, mended(bed)).read_anew(record, decided()).await.unwrap();
    }
}

fn of(documents: &BTreeMap<String, String>, key: &str) -> String {
    documents.get(key).cloned().unwrap_or_default()
}

async fn is_whole(bed: &Bed, name: &str, streams: &[(&str, &str)]) {
    let documents = bed.documents(name).await;
    for (stream, sequences) in streams {
        assert_eq!(of(&documents, stream), format!("{{\"sequences\":[{sequences}]}}"), "{name} {stream}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_waits_with_what_follows_in_its_stream_and_all_else_goes_on() {
    let bed = Bed::with_transport(1).await;
    let sum = || named(&bed, "sum", Ordering::Commutative, OnFailure::Park);
    let all = || vec![parks(&bed), sum(), named(&bed, "feed", Ordering::Global, OnFailure::Park)];
    let outcome = read_by(&bed, all()).await;
    assert!(outcome.caught_up && outcome.stops.is_empty(), "{outcome:?}");
    assert_eq!(outcome.records.into_values().collect::<Vec<_>>(), [1]);
    assert_eq!(outcome.gaps.into_values().collect::<Vec<_>>(), [1]);
    is_whole(&bed, "parks", &[("a", "1"), ("b", "1,2")]).await;
    let found = records(&bed).await;
    assert_eq!((found.len(), &*found[0].partition_key, found[0].position.to_string()), (1, "a", "2".into()));
    assert!(found[0].error.contains("not an event"), "{found:?}");
    let read = rows(&bed).record_as_read(&bed.source().name, &found[0]).await.unwrap();
    assert_eq!(read.data, marked("a", 2));

    let error = decider(&bed, strict(&bed)).read_anew(&found[0], decided()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poison, "nothing is different yet");
    assert_eq!(records(&bed).await, found);

    redrive(&bed, &found).await;
    // One that was cut short before it was said to be done is done again.
    redrive(&bed, &found).await;
    let outcome = bed.catch_up_from(mended(&bed), all()).await.unwrap();
    assert!(outcome.stops.is_empty() && outcome.records.is_empty() && outcome.gaps.is_empty(), "{outcome:?}");
    is_whole(&bed, "parks", &[("a", "1,2,3,4"), ("b", "1,2")]).await;
    let sums = bed.documents("sum").await;
    assert_eq!(sums.values().collect::<Vec<_>>(), [r#"{"events":4,"sum":4}"#, r#"{"events":2,"sum":2}"#]);
    let fed = bed.documents("feed").await["feed"].matches('#').count();
    let late = rows(&bed).late(&ProjectionId::new("feed", 1), Epoch::default()).await.unwrap();
    assert_eq!(fed + late, 6, "each is in its order, or late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_park_stops_there_until_it_is_decided_what_becomes_of_the_record() {
    for discards in [false, true] {
        let mut bed = Bed::with_transport(1).await;
        bed.settings.patience = Duration::from_millis(200);
        let three = || {
            vec![
                parks(&bed),
                named(&bed, "stops", Ordering::PerStream, OnFailure::Stop),
                named(&bed, "feed", Ordering::Global, OnFailure::Stop),
            ]
        };
        let outcome = read_by(&bed, three()).await;
        let stopped: Vec<_> = outcome.stops.iter().map(|stop| stop.projection.name.to_string()).collect();
        assert_eq!((stopped.len(), stopped.contains(&"parks".to_owned())), (2, false), "{outcome:?}");
        assert_eq!(outcome.stops[0].stop.place.position.to_string(), "2");
        is_whole(&bed, "parks", &[("a", "1"), ("b", "1,2")]).await;
        is_whole(&bed, "stops", &[("a", "1")]).await;
        assert_eq!(bed.catch_up_from(mended(&bed), three()).await.unwrap().stops.len(), 2, "not decided yet");

        let found = records(&bed).await;
        match discards {
            true => assert!(decider(&bed, strict(&bed)).discard_record(&found[0], decided()).await.unwrap()),
            false => redrive(&bed, &found).await,
        }
        let outcome = bed.catch_up_from(strict(&bed), three()).await.unwrap();
        assert!(outcome.stops.is_empty(), "{outcome:?}");
        let a = if discards { "1" } else { "1,2,3,4" };
        for name in ["parks", "stops"] {
            is_whole(&bed, name, &[("a", a), ("b", "1,2")]).await;
        }
    }
}

/// Whoever read the record first has decided what it is, for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_the_same_for_all_by_whatever_mapping_they_read_it() {
    let bed = Bed::with_transport(1).await;
    read_by(&bed, vec![parks(&bed)]).await;
    let new = || named(&bed, "new", Ordering::PerStream, OnFailure::Park);
    bed.catch_up_from(mended(&bed), vec![parks(&bed), new()]).await.unwrap();
    for name in ["parks", "new"] {
        is_whole(&bed, name, &[("a", "1"), ("b", "1,2")]).await;
    }
    redrive(&bed, &records(&bed).await).await;
    bed.catch_up_from(mended(&bed), vec![parks(&bed), new()]).await.unwrap();
    for name in ["parks", "new"] {
        is_whole(&bed, name, &[("a", "1,2,3,4"), ("b", "1,2")]).await;
    }

    let bed = Bed::with_transport(1).await;
    bed.put("a", 1, 1).await;
    bed.put_raw("a", &marked("a", 2)).await;
    bed.put("a", 3, 1).await;
    bed.catch_up_from(mended(&bed), vec![parks(&bed)]).await.unwrap();
    is_whole(&bed, "parks", &[("a", "1,2,3")]).await;
    let new = || named(&bed, "new", Ordering::PerStream, OnFailure::Park);
    let outcome = bed.catch_up_from(strict(&bed), vec![parks(&bed), new()]).await.unwrap();
    assert_eq!(outcome.stops.len(), 1, "{outcome:?}");
    assert!(outcome.stops[0].stop.reason.contains("others have read as an event"), "{outcome:?}");
    assert_eq!(records(&bed).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_event_store_has_is_filled_and_what_comes_back_then_changes_nothing() {
    let bed = Bed::with_transport(1).await;
    bed.append("a", &[1, 1, 1, 1]).await;
    let with_store = |source: SourceSpec| SourceSpec { events: bed.source().events, ..source };
    for (sequence, is_marked) in [(1, false), (2, true), (3, false), (4, false)] {
        match is_marked {
            true => bed.put_raw("a", &marked("a", sequence)).await,
            false => bed.put("a", sequence, 1).await,
        }
    }
    let outcome = bed.catch_up_from(with_store(strict(&bed)), vec![parks(&bed)]).await.unwrap();
    assert!(outcome.stops.is_empty() && outcome.gaps.is_empty(), "{outcome:?}");
    is_whole(&bed, "parks", &[("a", "1,2,3,4")]).await;
    redrive(&bed, &records(&bed).await).await;
    bed.put("a", 5, 1).await;
    let outcome = bed.catch_up_from(with_store(mended(&bed)), vec![parks(&bed)]).await.unwrap();
    assert!(outcome.stops.is_empty() && outcome.records.is_empty(), "{outcome:?}");
    is_whole(&bed, "parks", &[("a", "1,2,3,4,5")]).await;

    // Another event has that sequence in the store.
    bed.append("f", &[7]).await;
    bed.put_raw("f", &marked("f", 1)).await;
    bed.catch_up_from(with_store(strict(&bed)), vec![parks(&bed)]).await.unwrap();
    let found = records(&bed).await;
    let error = decider(&bed, with_store(mended(&bed))).read_anew(&found[0], decided()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Poison && error.message().contains("fork"), "{error}");
    assert_eq!(records(&bed).await, found);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_a_shard_that_was_split_comes_back_in_one_child_and_once() {
    let bed = Bed::with_transport(1).await;
    for stream in ["a", "b", "c", "d"] {
        bed.put(stream, 1, 1).await;
        bed.put_raw(stream, &marked(stream, 2)).await;
        bed.put(stream, 3, 1).await;
    }
    bed.catch_up_from(strict(&bed), vec![parks(&bed)]).await.unwrap();
    let found = records(&bed).await;
    assert_eq!(found.len(), 4);
    redrive(&bed, &found[..1]).await;
    let shard: ShardId = bed.log.source().shards().await.unwrap()[0].id.clone();
    bed.log.split(&shard, 1 << 127).await.unwrap();
    for stream in ["a", "b", "c", "d"] {
        bed.put(stream, 4, 1).await;
    }
    let outcome = bed.catch_up_from(strict(&bed), vec![parks(&bed)]).await.unwrap();
    assert_eq!(outcome.gaps.values().sum::<usize>(), 3, "{outcome:?}");
    redrive(&bed, &found).await;
    redrive(&bed, &found).await;
    let new = named(&bed, "new", Ordering::PerStream, OnFailure::Stop);
    let outcome = bed.catch_up_from(strict(&bed), vec![parks(&bed), new]).await.unwrap();
    assert!(outcome.stops.is_empty() && outcome.gaps.is_empty(), "{outcome:?}");
    for name in ["parks", "new"] {
        is_whole(&bed, name, &[("a", "1,2,3,4"), ("b", "1,2,3,4"), ("c", "1,2,3,4"), ("d", "1,2,3,4")]).await;
    }
}

/// Who discards goes on without a record's bytes being lost; who parks wants them kept until it is decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_discarded_by_configuration_waits_as_soon_as_somebody_parks() {
    let bed = Bed::with_transport(1).await;
    let discards = || named(&bed, "discards", Ordering::PerStream, OnFailure::Discard);
    let outcome = read_by(&bed, vec![discards()]).await;
    assert!(outcome.stops.is_empty() && outcome.records.is_empty(), "{outcome:?}");
    is_whole(&bed, "discards", &[("a", "1"), ("b", "1,2")]).await;
    let outcome = bed.catch_up_from(strict(&bed), vec![discards(), parks(&bed)]).await.unwrap();
    assert_eq!(outcome.records.len(), 1, "{outcome:?}");
    redrive(&bed, &records(&bed).await).await;
    bed.catch_up_from(strict(&bed), vec![discards(), parks(&bed)]).await.unwrap();
    for name in ["discards", "parks"] {
        is_whole(&bed, name, &[("a", "1,2,3,4"), ("b", "1,2")]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_records_wait_than_may_be_parked() {
    let mut bed = Bed::with_transport(1).await;
    bed.settings.parked_events = 1;
    let outcome = read_by(&bed, vec![parks(&bed)]).await;
    assert!(outcome.stops.is_empty(), "{outcome:?}");
    bed.put_raw("c", b"no event at all").await;
    let outcome = bed.catch_up_from(strict(&bed), vec![parks(&bed)]).await.unwrap();
    assert_eq!(outcome.stops.len(), 1, "{outcome:?}");
    assert!(outcome.stops[0].stop.reason.contains("limit=1"), "{outcome:?}");
    redrive(&bed, &records(&bed).await).await;
    let outcome = bed.catch_up_from(strict(&bed), vec![parks(&bed)]).await.unwrap();
    assert!(outcome.stops.is_empty(), "{outcome:?}");
}

/// Nothing would wait for what the record holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_gaps_are_allowed_nobody_goes_on_behind_a_record() {
    let bed = Bed::with_transport(1).await;
    bed.put_raw("a", &marked("a", 1)).await;
    bed.put("a", 2, 1).await;
    let source = SourceSpec { gaps: Gaps::Allow, ..strict(&bed) };
    let outcome = bed.catch_up_from(source, vec![parks(&bed)]).await.unwrap();
    assert_eq!(outcome.stops.len(), 1, "{outcome:?}");
    assert!(outcome.stops[0].stop.reason.contains("gaps: allow"), "{outcome:?}");
    let source = SourceSpec { gaps: Gaps::Allow, ..mended(&bed) };
    let outcome = bed.catch_up_from(source, vec![parks(&bed)]).await.unwrap();
    assert!(outcome.stops.is_empty(), "{outcome:?}");
    is_whole(&bed, "parks", &[("a", "1,2")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_any_bytes_is_kept_whole() {
    let bed = Bed::with_transport(1).await;
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    bed.put_raw("a", &bytes).await;
    bed.put_raw("a", b"").await;
    bed.catch_up_from(strict(&bed), vec![parks(&bed)]).await.unwrap();
    let found = records(&bed).await;
    let mut kept = Vec::new();
    for record in &found {
        kept.push(rows(&bed).record_as_read(&bed.source().name, record).await.unwrap().data.to_vec());
    }
    assert_eq!(kept, [bytes, Vec::new()]);
}

/// Two readers of a shard, of whom one knows the mapping that can read the record: they agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_run_at_once_take_a_record_for_the_same() {
    for round in 0..6 {
        let bed = Bed::with_transport(1).await;
        for sequence in 1..=20 {
            match sequence % 5 {
                0 => bed.put_raw("a", &marked("a", sequence)).await,
                _ => bed.put("a", sequence, 1).await,
            }
        }
        let other = || named(&bed, "other", Ordering::PerStream, OnFailure::Park);
        let (first, second) = match round % 2 {
            0 => (strict(&bed), mended(&bed)),
            _ => (mended(&bed), strict(&bed)),
        };
        let both = async {
            tokio::join!(
                bed.catch_up_from(first, vec![parks(&bed)]),
                bed.catch_up_from(second, vec![other()])
            )
        };
        both.await.0.unwrap();
        redrive(&bed, &records(&bed).await).await;
        let outcome = bed.catch_up_from(mended(&bed), vec![parks(&bed), other()]).await.unwrap();
        assert!(outcome.stops.is_empty() && outcome.gaps.is_empty(), "{outcome:?}");
        let all = (1..=20).map(|sequence| sequence.to_string()).collect::<Vec<_>>().join(",");
        for name in ["parks", "other"] {
            is_whole(&bed, name, &[("a", &all)]).await;
        }
    }
}

/// The record was the last of its stream, so nothing waits that would make a worker look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_at_rest_hears_of_a_record_that_comes_back() {
    let bed = Bed::with_transport(1).await;
    bed.put_raw("a", &marked("a", 1)).await;
    let worker = bed.worker(vec![strict(&bed)], vec![parks(&bed)]);
    let stop = CancellationToken::new();
    let decide = async {
        bed.is_said_to_be("parks", Phase::Live).await;
        redrive(&bed, &records(&bed).await).await;
        while bed.documents("parks").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let until = foldstream_runtime::worker::Until::Stopped;
    let both = async { tokio::join!(worker.run(until, stop.clone()), decide) };
    tokio::time::timeout(Duration::from_secs(60), both).await.unwrap().0.unwrap();
    is_whole(&bed, "parks", &[("a", "1")]).await;
}
