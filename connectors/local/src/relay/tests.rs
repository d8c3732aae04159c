use std::time::Duration;

use bytes::Bytes;
use foldstream_model::{
    Event, EventId, EventType, SchemaVersion, StreamId, Timestamp,
    ports::{Append, EventStore, ExpectedSequence, From, NewEvent, ReadLimit, Source},
};
use tokio::time::timeout;

use crate::{
    LocalLog, LocalStore, LogOptions,
    testing::{Fixture, PATIENCE},
};

const NOW: ReadLimit = ReadLimit { records: 10_000, bytes: 1 << 30, wait: Duration::ZERO };

fn options(recorded_in_order: bool) -> LogOptions {
    LogOptions { shards: 1, retention: None, recorded_in_order }
}

/// One append of events to several streams, at the given seconds.
async fn append(store: &LocalStore, events: &[(&str, i64)]) {
    let append = |(stream, seconds): &(&str, i64)| Append {
        stream: StreamId::new(*stream),
        expected: ExpectedSequence::Any,
        events: vec![NewEvent {
            id: EventId::new("e"),
            event_type: EventType::new("Happened"),
            schema_version: SchemaVersion(1),
            recorded_at: Timestamp::from_seconds(*seconds),
            effective_at: Timestamp::from_seconds(*seconds),
            payload: Bytes::from_static(b"{\"price\":4.50}"),
            metadata: Bytes::new(),
        }],
    };
    store.events().append(events.iter().map(append).collect()).await.unwrap();
}

async fn relayed(log: &LocalLog) -> Vec<Event> {
    let mut events = Vec::new();
    for shard in log.source().shards().await.unwrap() {
        let mut reader = log.source().open(&shard.id, From::TrimHorizon).await.unwrap();
        let records = reader.read(NOW).await.unwrap().records;
        for record in records {
            let event = Event::from_envelope(&record.data).unwrap();
            assert_eq!(*record.partition_key, *event.stream_id.as_str());
            events.push(event);
        }
    }
    events
}

async fn low_watermark(log: &LocalLog) -> Option<i64> {
    let shard = log.source().shards().await.unwrap().remove(0).id;
    let mut reader = log.source().open(&shard, From::TrimHorizon).await.unwrap();
    reader.read(NOW).await.unwrap().low_watermark.map(|stated| stated.micros() / 1_000_000)
}

#[tokio::test]
async fn every_event_is_moved_once_in_commit_order() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(false)).await.unwrap();
    let relay = fixture.store.relay(&log);
    assert_eq!(relay.run_once(10).await.unwrap(), 0);
    for number in 0..25 {
        append(&fixture.store, &[("a", number), ("b", number)]).await;
    }
    let mut moved = Vec::new();
    while let count @ 1.. = relay.run_once(7).await.unwrap() {
        moved.push(count);
    }
    assert_eq!(moved, [7, 7, 7, 7, 7, 7, 7, 1]);
    let all = fixture.store.events().read_behind(0, 100).await.unwrap();
    let all: Vec<String> = all.into_iter().map(|(_, event)| format!("{event:?}")).collect();
    let relayed: Vec<String> = relayed(&log).await.iter().map(|event| format!("{event:?}")).collect();
    assert_eq!(relayed, all);
}

#[tokio::test]
async fn relays_at_once_neither_double_nor_lose() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", LogOptions { shards: 4, ..options(false) }).await.unwrap();
    let other = fixture.another();
    let others_log = other.log("log", options(false)).await.unwrap();
    for number in 0..200 {
        append(&fixture.store, &[(&format!("s-{}", number % 10), number)]).await;
    }
    let run = async |relay: crate::Relay| while relay.run_once(3).await.unwrap() > 0 {};
    tokio::join!(
        run(fixture.store.relay(&log)),
        run(fixture.store.relay(&log)),
        run(other.relay(&others_log))
    );
    let mut seen: Vec<_> =
        relayed(&log).await.iter().map(|event| (event.stream_id.clone(), event.sequence)).collect();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), relayed(&log).await.len()), (200, 200));
}

#[tokio::test]
async fn each_log_has_a_relay_of_its_own() {
    let fixture = Fixture::new();
    let one = fixture.store.log("one", options(false)).await.unwrap();
    append(&fixture.store, &[("a", 1)]).await;
    fixture.store.relay(&one).run_once(10).await.unwrap();
    let other = fixture.store.log("other", options(false)).await.unwrap();
    assert_eq!(fixture.store.relay(&other).run_once(10).await.unwrap(), 1);
    assert_eq!(fixture.store.relay(&one).run_once(10).await.unwrap(), 0);
}

#[tokio::test]
async fn a_watermark_is_stated_only_when_an_append_is_relayed_whole() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(true)).await.unwrap();
    let relay = fixture.store.relay(&log);
    append(&fixture.store, &[("a", 10), ("b", 10), ("c", 9)]).await;
    append(&fixture.store, &[("a", 20)]).await;
    let mut stated = vec![low_watermark(&log).await];
    for _ in 0..4 {
        relay.run_once(1).await.unwrap();
        stated.push(low_watermark(&log).await);
    }
    let nothing = Some(Timestamp::MIN.micros() / 1_000_000);
    assert_eq!(stated, [nothing, nothing, nothing, Some(10), Some(20)]);
}

#[tokio::test]
async fn no_watermark_is_stated_where_order_was_not_promised() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(false)).await.unwrap();
    append(&fixture.store, &[("a", 10)]).await;
    fixture.store.relay(&log).run_once(10).await.unwrap();
    assert_eq!(low_watermark(&log).await, None);
}

#[tokio::test]
async fn an_event_that_breaks_the_order_ends_all_statements() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(true)).await.unwrap();
    let relay = fixture.store.relay(&log);
    append(&fixture.store, &[("a", 10)]).await;
    relay.run_once(10).await.unwrap();
    assert_eq!(low_watermark(&log).await, Some(10));
    append(&fixture.store, &[("b", 10)]).await;
    append(&fixture.store, &[("a", 30)]).await;
    assert_eq!(relay.run_once(10).await.unwrap(), 2, "the events are moved all the same");
    assert_eq!(low_watermark(&log).await, None);
    assert!(!log.describe().await.unwrap().recorded_in_order, "and it is said");
    append(&fixture.store, &[("a", 40)]).await;
    relay.run_once(10).await.unwrap();
    assert_eq!(low_watermark(&log).await, None, "a broken promise is not mended");
}

#[tokio::test]
async fn a_relay_waits_for_events_of_other_processes() {
    let fixture = Fixture::new();
    let log = fixture.store.log("log", options(false)).await.unwrap();
    let (relay, other) = (fixture.store.relay(&log), fixture.another());
    let waiting = async { tokio::join!(relay.wait_for_events(), append(&other, &[("a", 1)])) };
    timeout(PATIENCE, waiting).await.expect("the append is noticed").0.unwrap();
    relay.run_once(10).await.unwrap();
    let idle = timeout(Duration::from_millis(100), relay.wait_for_events()).await;
    assert!(idle.is_err(), "there is nothing more to wait for");
}
