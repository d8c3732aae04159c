//! All events in one order.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_dynamodb::types::{ProjectionType, ScalarAttributeType as Type};
use foldstream_model::{ErrorKind, Timestamp, ports::ExpectedSequence};
use xxhash_rust::xxh3::xxh3_64;

use super::{super::*, bed::*};

const NOW: i64 = 1_795_000_000;
const WINDOW: Duration = Duration::from_secs(10);

async fn bed() -> Bed {
    let bed = Bed::new();
    bed.make_with_index("shop", Type::S, Some((Type::S, ProjectionType::All))).await;
    bed.clock.set(Timestamp::from_seconds(NOW));
    bed
}

async fn open(bed: &Bed) -> DynamoEvents {
    bed.open(ordered("EVENT#", Some(4), WINDOW), Mapping::default()).await.unwrap()
}

fn names(all: &[(Offset, Event)]) -> Vec<String> {
    all.iter().map(|(_, event)| format!("{}/{}", event.stream_id, event.sequence)).collect()
}

async fn any(events: &DynamoEvents, stream: &str, count: usize) -> Offset {
    match events.append(vec![append(stream, ExpectedSequence::Any, count)]).await.unwrap() {
        Appended::Done(offset) => offset,
        conflict => panic!("{conflict:?}"),
    }
}

#[tokio::test]
async fn shards_are_merged_whatever_the_page() {
    let bed = bed().await;
    let writers = [open(&bed).await, open(&bed).await];
    let mut last = Offset::default();
    for round in 0..40_i64 {
        bed.clock.set(Timestamp::from_seconds(NOW + round));
        let events = &writers[usize::try_from(round % 2).unwrap()];
        last = any(events, &format!("o-{}", round % 7), 1 + usize::try_from(round % 3).unwrap()).await;
    }
    bed.clock.set(Timestamp::from_seconds(NOW + 60));
    let all = writers[0].read_all(&Offset::default(), 1_000).await.unwrap();
    assert_eq!(all.len(), 79);
    assert_eq!(all.last().map(|(offset, _)| offset), Some(&last));
    let mut heads = BTreeMap::new();
    for (_, event) in &all {
        let head = heads.entry(event.stream_id.clone()).or_insert(0);
        assert_eq!(event.sequence.0, *head + 1, "{}", event.stream_id);
        *head += 1;
    }
    for page in [1, 2, 5, 78, 79, 80] {
        let (mut read, mut after) = (Vec::new(), Offset::default());
        loop {
            let some = writers[1].read_all(&after, page).await.unwrap();
            let Some((offset, _)) = some.last() else { break };
            assert!(some.len() <= page);
            after = offset.clone();
            read.extend(some);
        }
        assert_eq!(names(&read), names(&all), "page={page}");
    }
    for count in [0, 1, 5, 78, 79, 80] {
        let newest = writers[0].newest(count).await.unwrap();
        assert_eq!(names(&newest), names(&all[all.len().saturating_sub(count)..]), "count={count}");
    }
}

#[tokio::test]
async fn the_newest_events_are_as_old_as_the_window() {
    let bed = bed().await;
    let events = open(&bed).await;
    any(&events, "o-1", 1).await;
    bed.clock.set(Timestamp::from_seconds(NOW + 9));
    any(&events, "o-1", 1).await;
    assert_eq!(names(&events.newest(10).await.unwrap()), [""; 0]);
    bed.clock.set(Timestamp::from_seconds(NOW + 11));
    assert_eq!(names(&events.newest(10).await.unwrap()), ["o-1/1"]);
}

#[tokio::test]
async fn an_event_with_an_earlier_id_that_comes_within_the_window_is_not_missed() {
    let bed = bed().await;
    let (fast, slow) = (open(&bed).await, open(&bed).await);
    bed.clock.set(Timestamp::from_seconds(NOW));
    any(&fast, "o-1", 1).await;
    bed.clock.set(Timestamp::from_seconds(NOW + 6));
    any(&fast, "o-2", 1).await;
    bed.clock.set(Timestamp::from_seconds(NOW + 11));
    let first = fast.read_all(&Offset::default(), 10).await.unwrap();
    assert_eq!(names(&first), ["o-1/1"], "the other one is too young");
    // Its id was made five seconds ago, before that of o-2, or its maker's clock is so much behind.
    bed.clock.set(Timestamp::from_seconds(NOW + 5));
    any(&slow, "o-3", 1).await;
    bed.clock.set(Timestamp::from_seconds(NOW + 16));
    let after = first[0].0.clone();
    assert_eq!(names(&fast.read_all(&after, 10).await.unwrap()), ["o-3/1", "o-2/1"]);
}

#[tokio::test]
async fn who_reads_along_sees_each_event_once_while_clocks_differ_by_less_than_the_window() {
    let bed = bed().await;
    let writers = [open(&bed).await, open(&bed).await, open(&bed).await];
    let reader = open(&bed).await;
    let drawn = |step: u64, of: u64| i64::try_from(xxh3_64(&step.to_be_bytes()) % of).unwrap();
    let (mut now, mut seen, mut after) = (NOW, Vec::new(), Offset::default());
    let mut appended = 0;
    for step in 0..300 {
        now += drawn(step, 3);
        let writer = usize::try_from(drawn(1_000 + step, 3)).unwrap();
        // One is right, one is behind, one is ahead; and each by another second each time. They share no stream, as what
        // is behind another's event would get a later id.
        let skew = [0, -4, 4][writer] + drawn(2_000 + step, 9) - 4;
        bed.clock.set(Timestamp::from_seconds(now + skew));
        let count = 1 + step as usize % 2;
        any(&writers[writer], &format!("o-{writer}-{}", drawn(3_000 + step, 5)), count).await;
        appended += count;
        bed.clock.set(Timestamp::from_seconds(if step == 299 { now + 60 } else { now }));
        let read = reader.read_all(&after, 1_000).await.unwrap();
        after = read.last().map_or(after, |(offset, _)| offset.clone());
        seen.extend(read);
    }
    assert_eq!(seen.len(), appended);
    assert_eq!(names(&seen), names(&reader.read_all(&Offset::default(), 1_000).await.unwrap()));
}

#[tokio::test]
async fn the_events_of_a_stream_come_by_their_sequences_whatever_the_clocks() {
    let bed = bed().await;
    let (one, other) = (open(&bed).await, open(&bed).await);
    any(&one, "o-1", 2).await;
    bed.clock.set(Timestamp::from_seconds(NOW - 3_600));
    any(&other, "o-1", 1).await;
    let done = other
        .append(vec![append("o-2", ExpectedSequence::Any, 1), append("o-1", ExpectedSequence::Any, 1)])
        .await
        .unwrap();
    bed.clock.set(Timestamp::from_seconds(NOW + 60));
    let all = one.read_all(&Offset::default(), 10).await.unwrap();
    assert_eq!(names(&all), ["o-1/1", "o-1/2", "o-1/3", "o-2/1", "o-1/4"]);
    assert_eq!(done, Appended::Done(all[4].0.clone()));
}

#[tokio::test]
async fn where_the_order_is_by_event_ids_events_get_theirs_from_it() {
    let bed = bed().await;
    let mut settings = ordered("EVENT#", Some(4), WINDOW);
    let written = settings.written.as_mut().unwrap();
    written.id = Some(WrittenPart { path: "ksuid".parse().unwrap(), prefix: String::new() });
    let mapping = Mapping { id: "ksuid", ..Mapping::default() };
    let events = bed.open(settings, mapping).await.unwrap();
    let done = any(&events, "o-1", 2).await;
    let read = events.read_stream(&StreamId::new("o-1"), Sequence(2), 1).await.unwrap();
    assert_eq!(done.as_str(), read[0].id.as_str());
}

#[tokio::test]
async fn without_the_index_it_is_said_what_to_add() {
    let bed = Bed::new();
    bed.make("shop", Type::S).await;
    let unnamed = bed.open(written("EVENT#", Some(4)), Mapping::default()).await.unwrap();
    let absent = open(&bed).await;
    for events in [unnamed, absent] {
        let error = events.read_all(&Offset::default(), 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("add a global secondary index"), "{error}");
    }
    let mut settings = ordered("EVENT#", Some(4), WINDOW);
    settings.name = "keys".to_owned();
    bed.make_with_index("keys", Type::S, Some((Type::S, ProjectionType::KeysOnly))).await;
    let keys = bed.open(settings.clone(), Mapping::default()).await.unwrap();
    let error = keys.append(vec![append("o-1", ExpectedSequence::Any, 1)]).await.unwrap_err();
    assert!(error.message().contains("it does not hold whole items"), "{error}");
    settings.order.as_mut().unwrap().shard = "part".to_owned();
    let other_key = bed.open(settings, Mapping::default()).await.unwrap();
    let error = other_key.read_all(&Offset::default(), 1).await.unwrap_err();
    assert!(error.message().contains("its key is shard + ksuid"), "{error}");
}

#[tokio::test]
async fn what_is_no_offset_of_this_store_is_refused() {
    let bed = bed().await;
    let events = open(&bed).await;
    for offset in [Offset::numbered(7), Offset::new("?")] {
        let error = events.read_all(&offset, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains("of another event store"), "{error}");
    }
}

#[tokio::test]
async fn an_event_whose_id_is_no_ksuid_is_named() {
    let bed = bed().await;
    let mut foreign = item("ORDER#o-1", string("EVENT#0001"));
    foreign.insert("shard".to_owned(), string("1"));
    foreign.insert("ksuid".to_owned(), string("01J"));
    bed.put("shop", foreign).await;
    let error = open(&bed).await.read_all(&Offset::default(), 1).await.unwrap_err();
    assert!(error.message().contains("pk=ORDER#o-1 sk=EVENT#0001"), "{error}");
}
