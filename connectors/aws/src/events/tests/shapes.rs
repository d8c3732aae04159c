//! Tables as people make them.

use aws_sdk_dynamodb::types::ScalarAttributeType;
use foldstream_model::ErrorKind;

use super::{super::*, bed::*};

async fn read(events: &DynamoEvents, stream: &str, from: u64, limit: usize) -> Vec<u64> {
    let stream = StreamId::new(stream);
    sequences(&events.read_stream(&stream, Sequence(from), limit).await.expect("the stream can be read"))
}

async fn last(events: &DynamoEvents, stream: &str) -> Option<u64> {
    let last = events.last_sequences(&[StreamId::new(stream)]).await.expect("the stream can be read");
    last[0].map(|sequence| sequence.0)
}

#[tokio::test]
async fn other_kinds_of_items_in_the_partition_are_no_events() {
    let bed = Bed::new();
    bed.make("shop", ScalarAttributeType::S).await;
    for sequence in 1..=12 {
        bed.put("shop", item("ORDER#o-1", string(&format!("EVENT#{sequence:06}")))).await;
    }
    bed.put("shop", item("ORDER#o-10", string("EVENT#000001"))).await;
    for other in ["CUSTOMER#c-7", "EVENT", "EVENTS", "META", "SNAPSHOT#000012"] {
        bed.put("shop", item("ORDER#o-1", string(other))).await;
    }
    let events = bed.open(settings("EVENT#", Some(6)), Mapping::default()).await.unwrap();
    assert_eq!(read(&events, "o-1", 0, 100).await, (1..=12).collect::<Vec<u64>>());
    assert_eq!(read(&events, "o-1", 4, 3).await, [4, 5, 6]);
    assert_eq!(read(&events, "o-1", 11, 3).await, [11, 12]);
    assert_eq!(read(&events, "o-1", 13, 3).await, [0u64; 0]);
    assert_eq!(read(&events, "o-1", 10_000_000, 3).await, [0u64; 0], "no key has so many digits");
    assert_eq!(read(&events, "o-1", 1, 0).await, [0u64; 0]);
    let asked = ["o-10", "nobody", "o-1"].map(StreamId::new);
    let known = events.last_sequences(&asked).await.unwrap();
    assert_eq!(known, [Some(Sequence(1)), None, Some(Sequence(12))]);
}

#[tokio::test]
async fn snapshots_between_the_events_are_left_out() {
    let bed = Bed::new();
    bed.make("shop", ScalarAttributeType::S).await;
    for sequence in 0..40 {
        bed.put("shop", item("ORDER#o-1", string(&format!("{sequence:04}")))).await;
        if sequence >= 10 {
            let mut snapshot = item("ORDER#o-1", string(&format!("{sequence:04}#SNAPSHOT")));
            snapshot.insert("type".to_owned(), string("_"));
            bed.put("shop", snapshot).await;
        }
    }
    let mapping = Mapping { sequence: ("sk", ""), include: Some(("type", "H")), ..Mapping::default() };
    let events = bed.open(settings("", Some(4)), mapping.clone()).await.unwrap();
    assert_eq!(read(&events, "o-1", 0, 1_000).await, (0..40).collect::<Vec<u64>>(), "from zero");
    assert_eq!(read(&events, "o-1", 15, 5).await, [15, 16, 17, 18, 19], "a page is read on until it is full");
    assert_eq!(last(&events, "o-1").await, Some(39));

    for sequence in 0..20 {
        bed.put("shop", item("ORDER#o-1", string(&format!("1{sequence:03}")))).await;
        let mut snapshot = item("ORDER#o-1", string(&format!("9{sequence:03}")));
        snapshot.insert("type".to_owned(), string("_"));
        bed.put("shop", snapshot).await;
    }
    assert_eq!(last(&events, "o-1").await, Some(1_019), "behind more snapshots than are looked at first");
}

#[tokio::test]
async fn events_that_are_sorted_by_date_are_read_by_their_sequences() {
    let bed = Bed::new();
    bed.make("shop", ScalarAttributeType::S).await;
    for (sequence, day) in [(0, 5), (1, 3), (2, 4), (3, 9)] {
        let mut event = item("ORDER#o-1", string(&format!("2026-01-0{day}")));
        event.insert("number".to_owned(), number(sequence));
        bed.put("shop", event).await;
    }
    bed.put("shop", item("ORDER#o-1", string("2026-01-06"))).await;
    let by_date = EventTable {
        sort: SortKey { attribute: "sk".to_owned(), holds: SortHolds::SomethingElse },
        ..settings("", None)
    };
    let mapping = Mapping { sequence: ("number", ""), include: Some(("number", "")), ..Mapping::default() };
    let events = bed.open(by_date, mapping).await.unwrap();
    assert_eq!(read(&events, "o-1", 0, 100).await, [0, 1, 2, 3]);
    assert_eq!(read(&events, "o-1", 1, 2).await, [1, 2]);
    assert_eq!(last(&events, "o-1").await, Some(3));

    let mut again = item("ORDER#o-1", string("2026-01-10"));
    again.insert("number".to_owned(), number(2));
    bed.put("shop", again).await;
    let error = events.read_stream(&StreamId::new("o-1"), Sequence(3), 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poison);
    for part in ["stream=o-1 sequence=2", "sk=2026-01-04", "sk=2026-01-10"] {
        assert!(error.message().contains(part), "{error}");
    }
}

#[tokio::test]
async fn sort_keys_without_zeros_in_front_are_sorted_as_numbers() {
    let bed = Bed::new();
    bed.make("shop", ScalarAttributeType::S).await;
    for sequence in [9, 10, 100, 8] {
        bed.put("shop", item("ORDER#o-1", string(&format!("EVENT#{sequence}")))).await;
    }
    bed.put("shop", item("ORDER#o-1", string("META"))).await;
    let events = bed.open(settings("EVENT#", None), Mapping::default()).await.unwrap();
    assert_eq!(read(&events, "o-1", 0, 100).await, [8, 9, 10, 100]);
    assert_eq!(read(&events, "o-1", 9, 2).await, [9, 10]);
    assert_eq!(last(&events, "o-1").await, Some(100));
}

#[tokio::test]
async fn a_sort_key_may_be_a_number() {
    let bed = Bed::new();
    bed.make("shop", ScalarAttributeType::N).await;
    for sequence in [0, 9, 10, u64::MAX] {
        bed.put("shop", item("ORDER#o-1", number(sequence))).await;
    }
    let mapping = Mapping { sequence: ("sk", ""), include: None, ..Mapping::default() };
    let events = bed.open(settings("", None), mapping.clone()).await.unwrap();
    assert_eq!(read(&events, "o-1", 0, 100).await, [0, 9, 10, u64::MAX]);
    assert_eq!(read(&events, "o-1", 1, 2).await, [9, 10]);
    assert_eq!(last(&events, "o-1").await, Some(u64::MAX));
    let refused = bed.open(settings("EVENT#", None), mapping).await.err().expect("a number has no prefix");
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
}

#[tokio::test]
async fn a_stream_of_more_than_a_megabyte_is_read_on() {
    let bed = Bed::new();
    bed.make("shop", ScalarAttributeType::S).await;
    for sequence in 1..=10 {
        let mut event = item("ORDER#o-1", string(&format!("EVENT#{sequence:02}")));
        event.insert("data".to_owned(), string(&format!("\"{}\"", "x".repeat(300_000))));
        bed.put("shop", event).await;
    }
    for width in [Some(2), None] {
        let events = bed.open(settings("EVENT#", width), Mapping::default()).await.unwrap();
        assert_eq!(read(&events, "o-1", 1, 100).await, (1..=10).collect::<Vec<u64>>());
        assert_eq!(last(&events, "o-1").await, Some(10));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_with_the_key() {
    let bed = Bed::new();
    bed.make("shop", ScalarAttributeType::S).await;
    bed.put("shop", item("ORDER#o-1", string("EVENT#00x"))).await;
    let mut untold = item("ORDER#o-2", string("EVENT#001"));
    untold.remove("at");
    bed.put("shop", untold).await;
    let unpadded = bed.open(settings("EVENT#", None), Mapping::default()).await.unwrap();
    let read = async |stream: &str| unpadded.read_stream(&StreamId::new(stream), Sequence(0), 9).await;
    let error = read("o-1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poison);
    assert!(error.message().contains("table=shop pk=ORDER#o-1 sk=EVENT#00x"), "{error}");
    let error = read("o-2").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("map `recorded_at`"), "{error}");

    let everything = Mapping { stream_id: ("type", ""), ..Mapping::default() };
    let elsewhere = bed.open(settings("EVENT#", Some(3)), everything).await.unwrap();
    bed.put("shop", item("ORDER#o-3", string("EVENT#001"))).await;
    let error = elsewhere.read_stream(&StreamId::new("o-3"), Sequence(0), 9).await.unwrap_err();
    assert!(error.message().contains("an event of another one"), "{error}");
}

#[tokio::test]
async fn a_table_that_is_another_one_is_refused() {
    let bed = Bed::new();
    bed.make("shop", ScalarAttributeType::S).await;
    let absent = EventTable { name: "nothing".to_owned(), ..settings("EVENT#", None) };
    let mut other_key = settings("EVENT#", None);
    other_key.sort.attribute = "number".to_owned();
    let too_wide = settings("EVENT#", Some(21));
    for (settings, reason) in [
        (absent, "there is no such table: table=nothing"),
        (other_key, "the table has another key"),
        (too_wide, "width=21"),
    ] {
        let error = bed.open(settings, Mapping::default()).await.err().expect("it is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(reason), "{error}");
    }
}
