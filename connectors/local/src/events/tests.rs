use bytes::Bytes;
use foldstream_model::{
    ErrorKind, EventId, EventType, SchemaVersion, Sequence, StreamId, Timestamp, conformance,
    ports::{Append, Appended, EventStore, ExpectedSequence, NewEvent},
};
use tokio::time::timeout;

use crate::{
    LocalStore,
    testing::{Fixture, PATIENCE},
};

fn new_event(payload: &'static str) -> NewEvent {
    NewEvent {
        id: EventId::new("e"),
        event_type: EventType::new("Happened"),
        schema_version: SchemaVersion(1),
        recorded_at: Timestamp::from_micros(-1_500_000),
        effective_at: Timestamp::from_micros(1_500_000),
        payload: Bytes::from_static(payload.as_bytes()),
        metadata: Bytes::new(),
    }
}

async fn append(
    store: &LocalStore,
    stream: &str,
    payload: &'static str,
) -> foldstream_model::Result<Appended> {
    let events = vec![new_event(payload)];
    let append = Append { stream: StreamId::new(stream), expected: ExpectedSequence::Any, events };
    store.events().append(vec![append]).await
}

#[tokio::test]
async fn it_passes_the_suite() {
    let fixture = Fixture::new();
    conformance::event_store::run(&*fixture.store.events(), "first run").await;
    conformance::event_store::run(&*fixture.store.events(), "second run").await;
}

#[tokio::test]
async fn what_is_no_json_is_refused_and_named() {
    let fixture = Fixture::new();
    for payload in ["{", "{} {}", "nope", "\u{feff}{}"] {
        let error = append(&fixture.store, "o-1", payload).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("stream=o-1 event=e"), "{error}");
    }
    let invalid = Bytes::from_static(b"\"\xff\"");
    let events = vec![NewEvent { payload: invalid, ..new_event("") }];
    let append = Append { stream: StreamId::new("o-1"), expected: ExpectedSequence::Any, events };
    let error = fixture.store.events().append(vec![append]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(fixture.store.events().last_offset().await.unwrap(), 0);
}

#[tokio::test]
async fn white_space_around_a_payload_is_no_part_of_it() {
    let fixture = Fixture::new();
    append(&fixture.store, "o-1", " \n{ \"a\": 1 }\t").await.unwrap();
    let read = fixture.store.events().read_stream(&StreamId::new("o-1"), Sequence(1), 1).await.unwrap();
    assert_eq!(read[0].payload.raw, "{ \"a\": 1 }");
}

#[tokio::test]
async fn a_stream_begun_anywhere_begins_at_one() {
    let fixture = Fixture::new();
    append(&fixture.store, "o-1", "1").await.unwrap();
    let last = fixture.store.events().last_sequences(&[StreamId::new("o-1")]).await.unwrap();
    assert_eq!(last, [Some(Sequence(1))]);
}

#[tokio::test]
async fn sequences_that_cannot_be_stored_are_refused() {
    let fixture = Fixture::new();
    let expected = ExpectedSequence::Empty { first: Sequence(i64::MAX as u64) };
    let append = |events| vec![Append { stream: StreamId::new("o-1"), expected, events }];
    let error = fixture.store.events().append(append(vec![new_event("1"); 2])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    fixture.store.events().append(append(vec![new_event("1")])).await.unwrap();
    let read = fixture.store.events().read_stream(&StreamId::new("o-1"), Sequence(0), 9).await.unwrap();
    assert_eq!(read[0].sequence, Sequence(i64::MAX as u64));
}

#[tokio::test]
async fn streams_are_listed_in_pages() {
    let fixture = Fixture::new();
    for stream in ["b", "a", "b", "c"] {
        append(&fixture.store, stream, "1").await.unwrap();
    }
    let events = fixture.store.events();
    let listed = events.streams(None, 2).await.unwrap();
    let shown: Vec<_> = listed.iter().map(|summary| (summary.stream.as_str(), summary.last.0)).collect();
    assert_eq!(shown, [("a", 1), ("b", 2)]);
    let rest = events.streams(Some(&listed[1].stream), 9).await.unwrap();
    assert_eq!(rest.iter().map(|summary| summary.stream.as_str()).collect::<Vec<_>>(), ["c"]);
}

#[tokio::test]
async fn who_waits_is_woken_by_this_process_and_by_another() {
    let fixture = Fixture::new();
    let (events, other) = (fixture.store.events(), fixture.another());
    for (store, offset) in [(&fixture.store, 0), (&other, 1)] {
        let waiting = async {
            tokio::join!(events.wait_beyond(offset), async {
                append(store, "o-1", "1").await.unwrap();
            })
        };
        timeout(PATIENCE, waiting).await.expect("the append is noticed").0.unwrap();
    }
    timeout(PATIENCE, events.wait_beyond(1)).await.expect("what is there needs no wait").unwrap();
}

#[tokio::test]
async fn a_users_tool_sees_events_in_plain_words() {
    let fixture = Fixture::new();
    append(&fixture.store, "o-1", "{\"price\":4.50}").await.unwrap();
    let query =
        "SELECT stream_id, sequence, type, recorded_at, effective_at, payload ->> 'price' FROM events";
    let row: (String, i64, String, String, String, String) = fixture
        .tool()
        .query_row(query, (), |row| {
            let price: f64 = row.get(5)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, price.to_string()))
        })
        .unwrap();
    let (stream, kind, price) = ("o-1".to_owned(), "Happened".to_owned(), "4.5".to_owned());
    let (recorded, effective) =
        ("1969-12-31T23:59:58.500Z".to_owned(), "1970-01-01T00:00:01.500Z".to_owned());
    assert_eq!(row, (stream, 1, kind, recorded, effective, price));
}
