//! What a [`DocumentStore`] promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::{HOSTILE, cases, together};
use crate::{
    Document, DocumentKey, Epoch, ErrorKind, Fed, Guard, Map, Mark, MarkNumber, OrderKey, Place, Position,
    Reach, ReadModel, Sequence, ShardNumber, ShardPlaces, StreamId, Timestamp, Value,
    ports::{Condition, DocumentStore, DocumentWrite, StoredDocument, Written},
};

/// Checks a store. It removes and makes read models whose names begin with `conformance`.
pub async fn run(store: &dyn DocumentStore) {
    the_identity_stays(store).await;
    nothing_is_found_where_nothing_was_written(store).await;
    what_is_written_is_read_back(store).await;
    a_field_without_a_name_is_kept_or_refused(store).await;
    every_kind_of_guard_is_kept(store).await;
    absent_means_not_even_a_tombstone(store).await;
    a_guard_must_be_equal(store).await;
    a_tombstone_keeps_its_guard(store).await;
    writes_of_a_call_are_independent_and_answered_in_order(store).await;
    reads_are_answered_in_the_order_asked(store).await;
    hostile_keys_are_keys(store).await;
    lists_are_paged(store).await;
    of_racing_writes_one_is_done(store).await;
    read_models_do_not_touch_each_other(store).await;
    a_document_that_cannot_be_held_is_rejected_alone(store).await;
    any_history_ends_as_in_a_map(store).await;
}

async fn fresh(store: &dyn DocumentStore, name: &str) -> ReadModel {
    let model = ReadModel::new(&format!("conformance_{name}"), 1);
    anew(store, &model).await;
    model
}

async fn anew(store: &dyn DocumentStore, model: &ReadModel) {
    store.remove(model).await.expect("a read model can be removed, even one that is not there");
    store.open(model).await.expect("a read model can be opened");
}

fn guard(sequence: u64) -> Guard {
    let fed = Fed::Stream { stream: StreamId::new("s"), sequence: Sequence(sequence) };
    Guard::new(Epoch(1), fed)
}

fn document(number: u64) -> Document {
    let fields = Map::from_iter([("number".into(), Value::from(number))]);
    Document { fields: Arc::new(fields), hidden: Arc::default() }
}

fn live(sequence: u64) -> StoredDocument {
    StoredDocument { guard: guard(sequence), document: Some(document(sequence)) }
}

fn tombstone(sequence: u64) -> StoredDocument {
    StoredDocument { guard: guard(sequence), document: None }
}

fn put(key: &str, condition: Condition, put: StoredDocument) -> DocumentWrite {
    DocumentWrite { key: DocumentKey::new(key), condition, put }
}

async fn write(store: &dyn DocumentStore, model: &ReadModel, write: DocumentWrite) -> Written {
    let mut outcomes = store.write(model, vec![write]).await.expect("a write is answered");
    assert_eq!(outcomes.len(), 1, "one outcome a write");
    outcomes.remove(0)
}

async fn write_done(store: &dyn DocumentStore, model: &ReadModel, key: &str, stored: StoredDocument) {
    let outcome = write(store, model, put(key, Condition::Absent, stored)).await;
    assert!(matches!(outcome, Written::Done), "a new document is taken: key={key:?} outcome={outcome:?}");
}

async fn read(store: &dyn DocumentStore, model: &ReadModel, key: &str) -> Option<StoredDocument> {
    let mut found = store.read(model, &[DocumentKey::new(key)]).await.expect("a read is answered");
    assert_eq!(found.len(), 1, "one answer a key");
    found.remove(0)
}

async fn keys(
    store: &dyn DocumentStore,
    model: &ReadModel,
    after: Option<&str>,
    limit: usize,
) -> Vec<String> {
    let after = after.map(DocumentKey::new);
    let listed = store.list(model, after.as_ref(), limit).await.expect("a list is answered");
    listed.iter().map(|(key, _)| key.to_string()).collect()
}

fn assert_conflict(outcome: &Written, stored: Option<&StoredDocument>) {
    match outcome {
        Written::Conflict(found) => assert_eq!(found.as_deref(), stored, "a conflict says what is stored"),
        _ => panic!("the condition does not hold: outcome={outcome:?}"),
    }
}

async fn the_identity_stays(store: &dyn DocumentStore) {
    let model = fresh(store, "identity").await;
    let identity = store.open(&model).await.expect("a read model can be opened again");
    assert!(!identity.is_empty(), "an identity is not empty");
    write_done(store, &model, "a", live(1)).await;
    assert_eq!(store.open(&model).await.expect("a read model can be opened again"), identity);
    assert_eq!(read(store, &model, "a").await, Some(live(1)), "opening changes nothing");
}

async fn nothing_is_found_where_nothing_was_written(store: &dyn DocumentStore) {
    let model = fresh(store, "nothing").await;
    assert_eq!(read(store, &model, "a").await, None);
    assert!(store.read(&model, &[]).await.expect("a read of no keys").is_empty());
    assert!(store.write(&model, Vec::new()).await.expect("a write of nothing").is_empty());
    assert!(keys(store, &model, None, 10).await.is_empty());
    let outcome = write(store, &model, put("a", Condition::GuardIs(guard(1)), live(2))).await;
    assert_conflict(&outcome, None);
}

async fn what_is_written_is_read_back(store: &dyn DocumentStore) {
    let model = fresh(store, "values").await;
    let json = r#"{"amount":12345678901234567890.123456789012345678,"empty":{},"list":[1,[],null,true,"x"],
                   "nested":{"a":{"b":{"c":"\u0000\n\"é🦀"}}},"tiny":-1e-130}"#;
    let hidden = br#"{"latest":{"at":"2026-11-21T17:00:00Z","id":"e-1"}}"#;
    let document = Document::from_json(json.as_bytes(), Some(hidden)).expect("an object");
    let stored = StoredDocument { guard: guard(1), document: Some(document) };
    write_done(store, &model, "a", stored.clone()).await;
    assert_eq!(read(store, &model, "a").await, Some(stored.clone()));
    let listed = store.list(&model, None, 10).await.expect("a list is answered");
    assert_eq!(listed, [(DocumentKey::new("a"), stored)], "a list shows what a read shows");
}

async fn a_field_without_a_name_is_kept_or_refused(store: &dyn DocumentStore) {
    let model = fresh(store, "nameless").await;
    let document = Document::from_json(br#"{"":0,"a":{"":[]}}"#, None).expect("an object");
    let stored = StoredDocument { guard: guard(1), document: Some(document) };
    match write(store, &model, put("a", Condition::Absent, stored.clone())).await {
        Written::Done => assert_eq!(read(store, &model, "a").await, Some(stored)),
        Written::Rejected(error) => assert_eq!(error.kind(), ErrorKind::Poison),
        outcome => panic!("{outcome:?}"),
    }
}

async fn every_kind_of_guard_is_kept(store: &dyn DocumentStore) {
    let model = fresh(store, "guards").await;
    let long: Position =
        "49590338271490256608559692538361571095921575989136588898".parse().expect("a number");
    let place = Place::new(long.with_index(4), 2, 1);
    let unrecorded = BTreeSet::from([(ShardNumber(7), place.clone())]);
    let places = ShardPlaces {
        closed_below: 3,
        except: [ShardNumber(1)].into(),
        places: [(ShardNumber(7), place)].into(),
    };
    let stream = StreamId::new("s/\"1\"");
    let key = OrderKey { recorded_at: Timestamp::from_micros(-1), stream, sequence: Sequence(9) };
    let guards = [
        Fed::Nothing,
        Fed::Shards { revision: 1, places: Box::new(places.clone()) },
        Fed::Ordered {
            revision: u64::MAX,
            key: Some(Box::new(key.clone())),
            read: Box::new(places.clone()),
            parked: Some(Box::new(Reach { key: Some(key), read: places })),
        },
        Fed::Ordered { revision: 0, key: None, read: Box::default(), parked: None },
    ];
    for (index, fed) in guards.into_iter().enumerate() {
        let mark = [None, Some(Mark::Set(MarkNumber(1))), Some(Mark::Cleared(MarkNumber(2)))][index % 3];
        let guard = Guard { mark, ..Guard::new(Epoch(2), fed) };
        let guard = if index % 2 == 1 { Guard { unrecorded: unrecorded.clone(), ..guard } } else { guard };
        let stored = StoredDocument { guard, document: Some(document(1)) };
        let key = format!("guard-{index}");
        write_done(store, &model, &key, stored.clone()).await;
        assert_eq!(read(store, &model, &key).await, Some(stored.clone()));
        let next = tombstone(1);
        let outcome = write(store, &model, put(&key, Condition::GuardIs(stored.guard), next)).await;
        assert!(matches!(outcome, Written::Done), "an equal guard is found equal: {outcome:?}");
    }
}

async fn absent_means_not_even_a_tombstone(store: &dyn DocumentStore) {
    let model = fresh(store, "absent").await;
    for stored in [live(1), tombstone(1)] {
        let key = if stored.document.is_some() { "live" } else { "tombstone" };
        write_done(store, &model, key, stored.clone()).await;
        let outcome = write(store, &model, put(key, Condition::Absent, live(2))).await;
        assert_conflict(&outcome, Some(&stored));
        assert_eq!(read(store, &model, key).await, Some(stored), "a conflict writes nothing");
    }
}

async fn a_guard_must_be_equal(store: &dyn DocumentStore) {
    let model = fresh(store, "equal").await;
    write_done(store, &model, "a", live(2)).await;
    let other_epoch = Guard { epoch: Epoch(2), ..guard(2) };
    let marked = Guard { mark: Some(Mark::Set(MarkNumber(1))), ..guard(2) };
    let unrecorded = BTreeSet::from([(ShardNumber(0), Place::BEGINNING)]);
    let unrecorded = Guard { unrecorded, ..guard(2) };
    for wrong in [guard(1), guard(3), other_epoch, marked, unrecorded] {
        let outcome = write(store, &model, put("a", Condition::GuardIs(wrong), live(9))).await;
        assert_conflict(&outcome, Some(&live(2)));
    }
    assert_eq!(read(store, &model, "a").await, Some(live(2)), "a conflict writes nothing");
    let outcome = write(store, &model, put("a", Condition::GuardIs(guard(2)), live(3))).await;
    assert!(matches!(outcome, Written::Done), "an equal guard is enough: {outcome:?}");
    assert_eq!(read(store, &model, "a").await, Some(live(3)));
}

async fn a_tombstone_keeps_its_guard(store: &dyn DocumentStore) {
    let model = fresh(store, "tombstones").await;
    write_done(store, &model, "a", live(1)).await;
    let outcome = write(store, &model, put("a", Condition::GuardIs(guard(1)), tombstone(2))).await;
    assert!(matches!(outcome, Written::Done), "a document can be deleted: {outcome:?}");
    assert_eq!(read(store, &model, "a").await, Some(tombstone(2)), "reads show tombstones");
    assert!(keys(store, &model, None, 10).await.is_empty(), "lists show no tombstones");
    let outcome = write(store, &model, put("a", Condition::GuardIs(guard(2)), live(3))).await;
    assert!(matches!(outcome, Written::Done), "a deleted document can be made again: {outcome:?}");
    assert_eq!(keys(store, &model, None, 10).await, ["a"]);
}

async fn writes_of_a_call_are_independent_and_answered_in_order(store: &dyn DocumentStore) {
    let model = fresh(store, "independent").await;
    write_done(store, &model, "b", live(1)).await;
    let writes = vec![
        put("c", Condition::Absent, live(2)),
        put("b", Condition::Absent, live(2)),
        put("a", Condition::Absent, live(2)),
        put("d", Condition::GuardIs(guard(1)), live(2)),
    ];
    let outcomes = store.write(&model, writes).await.expect("a write is answered");
    assert_eq!(outcomes.len(), 4, "one outcome a write");
    assert!(matches!(outcomes[0], Written::Done) && matches!(outcomes[2], Written::Done), "{outcomes:?}");
    assert_conflict(&outcomes[1], Some(&live(1)));
    assert_conflict(&outcomes[3], None);
    assert_eq!(keys(store, &model, None, 10).await, ["a", "b", "c"]);
}

async fn reads_are_answered_in_the_order_asked(store: &dyn DocumentStore) {
    let model = fresh(store, "order").await;
    let all: Vec<String> = (0..250).map(|number| format!("key-{number}")).collect();
    let writes = all.iter().zip(1..).map(|(key, number)| put(key, Condition::Absent, live(number))).collect();
    store.write(&model, writes).await.expect("many writes in a call are answered");
    let asked: Vec<DocumentKey> = all
        .iter()
        .rev()
        .map(|key| DocumentKey::new(key.as_str()))
        .chain([DocumentKey::new("none")])
        .collect();
    let found = store.read(&model, &asked).await.expect("many reads in a call are answered");
    let expected: Vec<_> = (1..=250).rev().map(|number| Some(live(number))).chain([None]).collect();
    assert_eq!(found, expected);
}

async fn hostile_keys_are_keys(store: &dyn DocumentStore) {
    let model = fresh(store, "hostile").await;
    for (key, number) in HOSTILE.iter().zip(1..) {
        write_done(store, &model, key, live(number)).await;
    }
    for (key, number) in HOSTILE.iter().zip(1..) {
        assert_eq!(read(store, &model, key).await, Some(live(number)), "key={key:?}");
    }
    let listed = keys(store, &model, None, 100).await;
    let (mut sorted, mut expected) = (listed.clone(), HOSTILE.to_vec());
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    for (at, key) in listed.iter().enumerate() {
        let behind: Vec<&String> = listed.iter().skip(at + 1).take(2).collect();
        assert_eq!(keys(store, &model, Some(key), 2).await.iter().collect::<Vec<_>>(), behind, "key={key:?}");
    }
}

async fn lists_are_paged(store: &dyn DocumentStore) {
    let model = fresh(store, "pages").await;
    let writes = (0..25).map(|number| put(&format!("k{number:02}"), Condition::Absent, live(number + 1)));
    store.write(&model, writes.collect()).await.expect("a write is answered");
    let outcome = write(store, &model, put("k07", Condition::GuardIs(guard(8)), tombstone(99))).await;
    assert!(matches!(outcome, Written::Done), "{outcome:?}");
    let mut paged: Vec<String> = Vec::new();
    loop {
        let page = keys(store, &model, paged.last().map(String::as_str), 4).await;
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 4, "at most as many as asked for");
        paged.extend(page);
    }
    assert_eq!(keys(store, &model, None, 100).await, paged, "the order stays");
    paged.sort_unstable();
    let expected: Vec<String> =
        (0..25).filter(|number| *number != 7).map(|number| format!("k{number:02}")).collect();
    assert_eq!(paged, expected, "pages hold every live document once");
}

async fn of_racing_writes_one_is_done(store: &dyn DocumentStore) {
    let model = fresh(store, "races").await;
    let mut condition = Condition::Absent;
    for round in 0..5u64 {
        let racers = (1..=8u64).map(|racer| put("a", condition.clone(), live(round * 10 + racer)));
        let outcomes = together(racers.map(|racer| write(store, &model, racer))).await;
        let winners: Vec<usize> = (0..8).filter(|index| matches!(outcomes[*index], Written::Done)).collect();
        assert_eq!(winners.len(), 1, "exactly one of eight writes under one condition is done: {outcomes:?}");
        let winner = live(round * 10 + winners[0] as u64 + 1);
        assert_eq!(read(store, &model, "a").await.as_ref(), Some(&winner));
        for outcome in outcomes.iter().filter(|outcome| !matches!(outcome, Written::Done)) {
            assert_conflict(outcome, Some(&winner));
        }
        condition = Condition::GuardIs(winner.guard);
    }
}

async fn read_models_do_not_touch_each_other(store: &dyn DocumentStore) {
    let model = fresh(store, "models").await;
    let version = ReadModel::new("conformance_models", 2);
    anew(store, &version).await;
    let other = fresh(store, "models_too").await;
    for (model, number) in [&model, &version, &other].into_iter().zip(1..) {
        write_done(store, model, "a", live(number)).await;
    }
    assert_eq!(read(store, &version, "a").await, Some(live(2)));
    store.remove(&model).await.expect("a read model can be removed");
    assert_eq!(read(store, &model, "a").await, None);
    assert_eq!(read(store, &version, "a").await, Some(live(2)), "another version stays");
    assert_eq!(read(store, &other, "a").await, Some(live(3)), "another read model stays");
    store.open(&model).await.expect("a read model can be opened again");
    write_done(store, &model, "a", live(4)).await;
}

async fn a_document_that_cannot_be_held_is_rejected_alone(store: &dyn DocumentStore) {
    let model = fresh(store, "large").await;
    let fields = Map::from_iter([("text".into(), Value::from("x".repeat(16 * 1024 * 1024)))]);
    let large = Document { fields: Arc::new(fields), ..Document::default() };
    let large = StoredDocument { guard: guard(1), document: Some(large) };
    let writes = vec![put("large", Condition::Absent, large), put("small", Condition::Absent, live(1))];
    let outcomes = store.write(&model, writes).await.expect("a large document is no error of the call");
    match &outcomes[0] {
        Written::Rejected(error) => {
            assert_eq!(error.kind(), ErrorKind::Poison, "trying again would not help")
        }
        outcome => assert!(matches!(outcome, Written::Done), "{outcome:?}"),
    }
    assert!(matches!(outcomes[1], Written::Done), "a rejected write leaves the others alone: {outcomes:?}");
}

/// A write as the property makes it, before it knows what is stored.
#[derive(Debug, Clone)]
struct Try {
    key: u8,
    /// The guard to be expected; none expects absence.
    expected: Expected,
    sequence: u64,
    deletes: bool,
}

#[derive(Debug, Clone)]
enum Expected {
    Absence,
    WhatIsStored,
    Sequence(u64),
}

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let expected = prop_oneof![
        Just(Expected::Absence),
        Just(Expected::WhatIsStored),
        Just(Expected::WhatIsStored),
        (0u64..6).prop_map(Expected::Sequence)
    ];
    let one = (0u8..6, expected, 0u64..6, any::<bool>());
    let one = one.prop_map(|(key, expected, sequence, deletes)| Try { key, expected, sequence, deletes });
    proptest::collection::vec(one, 1..5)
}

async fn any_history_ends_as_in_a_map(store: &dyn DocumentStore) {
    let model = fresh(store, "history").await;
    let mut map: BTreeMap<String, StoredDocument> = BTreeMap::new();
    for tries in cases(tries(), 1_000) {
        let (mut writes, mut expected) = (BTreeMap::new(), BTreeMap::new());
        for one in &tries {
            let key = format!("key-{}", one.key);
            let stored = map.get(&key).cloned();
            let condition = match (&one.expected, &stored) {
                (Expected::Absence, _) | (Expected::WhatIsStored, None) => Condition::Absent,
                (Expected::WhatIsStored, Some(stored)) => Condition::GuardIs(stored.guard.clone()),
                (Expected::Sequence(sequence), _) => Condition::GuardIs(guard(*sequence)),
            };
            let new = if one.deletes { tombstone(one.sequence) } else { live(one.sequence) };
            writes.insert(key.clone(), put(&key, condition, new));
            expected.insert(key, stored);
        }
        let called: Vec<DocumentWrite> = writes.into_values().collect();
        let outcomes = store.write(&model, called.clone()).await.expect("a write is answered");
        for ((write, outcome), (key, stored)) in called.into_iter().zip(outcomes).zip(expected) {
            let holds = match (&write.condition, &stored) {
                (Condition::Absent, stored) => stored.is_none(),
                (Condition::GuardIs(guard), stored) => {
                    stored.as_ref().is_some_and(|stored| stored.guard == *guard)
                }
            };
            if holds {
                assert!(matches!(outcome, Written::Done), "{outcome:?} of {write:?} on {stored:?}");
                map.insert(key, write.put);
            } else {
                assert_conflict(&outcome, stored.as_ref());
            }
        }
    }
    let live: Vec<_> = map.iter().filter(|(_, stored)| stored.document.is_some()).collect();
    let listed = store.list(&model, None, 100).await.expect("a list is answered");
    assert_eq!(
        listed.iter().map(|(key, stored)| (key.as_str(), stored)).collect::<Vec<_>>().len(),
        live.len()
    );
    for ((key, stored), (expected_key, expected)) in listed.iter().zip(live) {
        assert_eq!((key.as_str(), stored), (expected_key.as_str(), expected));
    }
}
