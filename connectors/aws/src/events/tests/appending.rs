//! What is appended, and what is not.

use std::{io::Read, time::Duration};

use aws_sdk_dynamodb::{
    primitives::Blob,
    types::{AttributeValue, ProjectionType, ScalarAttributeType as Type},
};
use bytes::Bytes;
use flate2::read::GzDecoder;
use foldstream_model::{
    ErrorKind, EventId, Path, SchemaVersion, Timestamp, Value,
    ports::{ExpectedSequence, NewEvent},
};
use futures::future::join_all;

use super::{super::*, bed::*};
use crate::dynamodb::Item;

async fn item_of(bed: &Bed, sk: &str) -> Option<Item> {
    let request = bed.client.get_item().table_name("shop").key("pk", string("ORDER#o-1"));
    request.key("sk", string(sk)).consistent_read(true).send().await.unwrap().item
}

async fn refused(events: &DynamoEvents, append: Append) -> String {
    let error = events.append(vec![append]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.message().to_owned()
}

#[tokio::test]
async fn an_item_has_the_names_of_the_mapping() {
    let bed = Bed::new();
    bed.make_with_index("shop", Type::S, Some((Type::N, ProjectionType::All))).await;
    let events = bed.open(ordered("EVENT#", Some(4), Duration::ZERO), Mapping::default()).await.unwrap();
    events.append(vec![append("o-1", ExpectedSequence::Any, 1)]).await.unwrap();
    let mut item = item_of(&bed, "EVENT#0001").await.unwrap();
    let Some(AttributeValue::S(ksuid)) = item.remove("ksuid") else { panic!("{item:?}") };
    assert_eq!(ksuid.len(), 27);
    let Some(AttributeValue::N(shard)) = item.remove("shard") else { panic!("{item:?}") };
    assert!(["0", "1", "2"].contains(&shard.as_str()));
    let expected = [
        ("at", string("2026-11-18T11:06:40.000000Z")),
        ("data", string("{\"number\":0}")),
        ("effective", string("2026-11-18T11:06:40.000000Z")),
        ("id", string("e")),
        ("kind", string("event")),
        ("pk", string("ORDER#o-1")),
        ("sk", string("EVENT#0001")),
        ("type", string("Happened")),
        ("version", number(1)),
    ];
    assert_eq!(item, expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Item>());
}

#[tokio::test]
async fn a_payload_may_be_a_map_or_bytes_and_parts_may_lie_in_maps() {
    let bed = Bed::new();
    bed.make("shop", Type::S).await;
    let path = |text: &str| text.parse::<Path>().unwrap();
    let mut settings = written("EVENT#", Some(4));
    let parts = settings.written.as_mut().unwrap();
    parts.payload = Some(WrittenPayload { path: path("data"), encoding: WrittenEncoding::Map });
    parts.constants.push((path("about.kind"), Value::from("event")));
    let events = bed.open(settings.clone(), Mapping::default()).await.unwrap();
    let payload =
        r#"{ "price" : 4.50, "of": [1, {"x": null}], "big": 12345678901234567890123456789012345678 }"#;
    let new = Append { events: vec![new_event(payload)], ..append("o-1", ExpectedSequence::Any, 1) };
    events.append(vec![new]).await.unwrap();
    let read = events.read_stream(&StreamId::new("o-1"), Sequence(1), 1).await.unwrap();
    assert_eq!(Value::parse(&read[0].payload.raw).unwrap(), Value::parse(payload.as_bytes()).unwrap());
    let item = item_of(&bed, "EVENT#0001").await.unwrap();
    assert!(
        matches!(&item["data"], AttributeValue::M(map) if map["price"] == AttributeValue::N("4.5".to_owned()))
    );
    assert!(matches!(&item["about"], AttributeValue::M(map) if map["kind"] == string("event")));

    let scalar = Append { events: vec![new_event("[]")], ..append("o-1", ExpectedSequence::Any, 1) };
    events.append(vec![scalar]).await.expect("this decoder takes a list");

    settings.written.as_mut().unwrap().payload =
        Some(WrittenPayload { path: path("data"), encoding: WrittenEncoding::Binary });
    let binary = bed.open(settings, Mapping::default()).await.unwrap();
    let error = refused(&binary, append("o-1", ExpectedSequence::Any, 1)).await;
    assert!(error.contains("part=payload"), "the decoder of this test reads no bytes: {error}");
    let event = writing::event(&StreamId::new("o-1"), Sequence(1), new_event("{}"));
    let parts = binary.reading.table.settings.written.as_ref().unwrap();
    assert_eq!(writing::parts(parts, &event).unwrap()["data"], AttributeValue::B(Blob::new("{}")));

    let mut parts = parts.clone();
    parts.payload = Some(WrittenPayload { path: path("data"), encoding: WrittenEncoding::Gzip });
    let packed = writing::parts(&parts, &event).unwrap();
    let AttributeValue::B(packed) = &packed["data"] else { panic!("{packed:?}") };
    let mut unpacked = String::new();
    GzDecoder::new(packed.as_ref()).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, "{}");
}

#[tokio::test]
async fn what_would_not_be_read_back_is_not_appended() {
    let bed = Bed::new();
    bed.make("shop", Type::S).await;
    let one = |event: NewEvent| Append { events: vec![event], ..append("o-1", ExpectedSequence::Any, 1) };
    let open = async |mapping: Mapping, change: fn(&mut WrittenParts)| {
        let mut settings = written("EVENT#", Some(4));
        change(settings.written.as_mut().unwrap());
        bed.open(settings, mapping).await.unwrap()
    };
    let unmarked = Mapping { include: Some(("mark", "")), ..Mapping::default() };
    let later = NewEvent { schema_version: SchemaVersion(2), ..new_event("{}") };
    let before = NewEvent { effective_at: Timestamp::from_seconds(1), ..new_event("{}") };
    let told = NewEvent { metadata: Bytes::from_static(b"{}"), ..new_event("{}") };
    let cases = [
        (open(unmarked, |_| {}).await, new_event("{}"), "part=include"),
        (open(Mapping::default(), |parts| parts.schema_version = None).await, later, "part=schema_version"),
        (open(Mapping::default(), |parts| parts.effective_at = None).await, before, "part=effective_at"),
        (open(Mapping::default(), |parts| parts.metadata = None).await, told, "part=metadata"),
        (
            open(Mapping::default(), |parts| parts.event_type.prefix = "T#".to_owned()).await,
            new_event("{}"),
            "part=type",
        ),
        (open(Mapping::default(), |_| {}).await, new_event("{"), "payload of an event is no JSON"),
    ];
    for (events, event, reason) in cases {
        let error = refused(&events, one(event)).await;
        assert!(error.contains(reason), "{error}");
    }
    let nobodys = NewEvent { id: EventId::new("other"), ..new_event("{}") };
    let events = open(Mapping::default(), |parts| parts.id = None).await;
    events.append(vec![one(nobodys)]).await.expect("ids are made of stream and sequence, and no others");
    assert!(item_of(&bed, "EVENT#0002").await.is_none());
}

#[tokio::test]
async fn what_a_table_cannot_hold_is_refused_with_its_limit() {
    let bed = Bed::new();
    bed.make("shop", Type::S).await;
    let events = bed.open(written("EVENT#", Some(2)), Mapping::default()).await.unwrap();
    let error = refused(&events, append("o-1", ExpectedSequence::Any, 101)).await;
    assert!(error.contains("events=101 limit=100"), "{error}");
    let large = |bytes| new_event(&format!("\"{}\"", "x".repeat(bytes)));
    let many = Append { events: vec![large(390_000); 11], ..append("o-1", ExpectedSequence::Any, 1) };
    let error = refused(&events, many).await;
    assert!(error.contains("limit=4194304"), "{error}");
    let one = Append { events: vec![large(410_000)], ..append("o-1", ExpectedSequence::Any, 1) };
    let error = refused(&events, one).await;
    assert!(error.contains("too large for DynamoDB") && error.contains("limit=409600"), "{error}");
    events.append(vec![append("o-1", ExpectedSequence::Empty { first: Sequence(0) }, 100)]).await.unwrap();
    let error = refused(&events, append("o-1", ExpectedSequence::Last(Sequence(99)), 1)).await;
    assert!(error.contains("no room for a sequence of so many digits"), "{error}");
    let long = append(&"x".repeat(2_050), ExpectedSequence::Any, 1);
    let error = refused(&events, long).await;
    assert!(error.contains("the partition key cannot hold"), "{error}");

    let read_only = bed.open(settings("EVENT#", Some(2)), Mapping::default()).await.unwrap();
    let error = refused(&read_only, append("o-1", ExpectedSequence::Any, 1)).await;
    assert!(error.contains("nothing can be appended to this table"), "{error}");
    let mut by_date = written("", None);
    by_date.sort.holds = SortHolds::SomethingElse;
    let by_date = bed.open(by_date, Mapping::default()).await.unwrap();
    let error = refused(&by_date, append("o-2", ExpectedSequence::Any, 1)).await;
    assert!(error.contains("the sort key does not hold the sequence"), "{error}");
}

#[tokio::test]
async fn a_place_that_another_kind_of_item_has_taken_is_named() {
    let bed = Bed::new();
    bed.make("shop", Type::S).await;
    let events = bed
        .open(written("EVENT#", Some(2)), Mapping { include: Some(("kind", "event")), ..Mapping::default() })
        .await
        .unwrap();
    bed.put("shop", item("ORDER#o-1", string("EVENT#01"))).await;
    for count in [1, 2] {
        let error = refused(&events, append("o-1", ExpectedSequence::Any, count)).await;
        assert!(
            error.contains("is taken by an item that is no event") && error.contains("stream=o-1 sequence=1"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn of_racers_with_the_very_same_event_one_is_done() {
    let bed = Bed::new();
    bed.make("shop", Type::S).await;
    let events = bed.open(written("EVENT#", Some(2)), Mapping::default()).await.unwrap();
    let empty = ExpectedSequence::Empty { first: Sequence(1) };
    for (stream, count) in [("o-1", 1), ("o-2", 2)] {
        let racers = (0..8).map(|_| events.append(vec![append(stream, empty, count)]));
        let outcomes = join_all(racers).await.into_iter().map(|outcome| outcome.unwrap());
        let done = outcomes.filter(|outcome| *outcome == Appended::Done(Offset::default())).count();
        assert_eq!(
            done, 1,
            "without an index there is no place in an order, and nothing but the place in the stream"
        );
    }
}

#[tokio::test]
async fn writers_of_several_processes_leave_no_gap_and_lose_nothing() {
    let bed = Bed::new();
    bed.make_with_index("shop", Type::S, Some((Type::S, ProjectionType::All))).await;
    let open = || bed.open(ordered("EVENT#", Some(4), Duration::ZERO), Mapping::default());
    let writers = [open().await.unwrap(), open().await.unwrap(), open().await.unwrap()];
    let work = writers.iter().enumerate().map(async |(number, events)| {
        let mut done = Vec::new();
        for round in 0..10 {
            let mut appends = vec![append("o-1", ExpectedSequence::Any, 1 + round % 2)];
            if round % 3 == number {
                appends.push(append(&format!("o-{}", 2 + round % 2), ExpectedSequence::Any, 2));
            }
            match events.append(appends).await.unwrap() {
                Appended::Done(offset) => done.push(offset),
                conflict => panic!("{conflict:?}"),
            }
        }
        done
    });
    let done: Vec<Offset> = join_all(work).await.into_iter().flatten().collect();
    let read = async |stream: &str| {
        sequences(&writers[0].read_stream(&StreamId::new(stream), Sequence(0), 1_000).await.unwrap())
    };
    assert_eq!(read("o-1").await, (1..=45).collect::<Vec<u64>>());
    let (two, three) = (read("o-2").await, read("o-3").await);
    assert_eq!(two, (1..=two.len() as u64).collect::<Vec<u64>>());
    assert_eq!(three, (1..=three.len() as u64).collect::<Vec<u64>>());
    let all = writers[1].read_all(&Offset::default(), 1_000).await.unwrap();
    assert_eq!(all.len(), 45 + two.len() + three.len());
    for offset in done {
        assert!(all.iter().any(|(known, _)| *known == offset), "{offset:?}");
    }
}
