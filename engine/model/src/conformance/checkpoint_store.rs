//! What a [`CheckpointStore`] promises.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::{Just, Strategy, prop_oneof};

use super::{HOSTILE, cases, together};
use crate::ports::{CheckpointStore, Put, Revision, Row, RowKey, Table};

/// Checks a store. It deletes and puts rows in partitions whose names begin with `conformance`.
pub async fn run(store: &dyn CheckpointStore) {
    a_row_is_put_on_condition_of_its_revision(store).await;
    a_row_is_put_on_condition_of_another(store).await;
    revisions_never_come_back(store).await;
    a_delete_asks_for_no_revision(store).await;
    tables_and_partitions_do_not_touch_each_other(store).await;
    lists_are_sorted_and_paged(store).await;
    hostile_names_and_large_bodies_are_kept(store).await;
    of_racing_puts_one_is_done(store).await;
    any_history_ends_as_in_a_map(store).await;
}

const TABLE: Table = Table::Checkpoints;

async fn fresh(store: &dyn CheckpointStore, name: &str) -> String {
    let partition = format!("conformance {name}");
    for table in Table::ALL {
        for row in list(store, table, &partition, None, 10_000).await {
            store.delete(&row.key).await.expect("a row can be deleted");
        }
    }
    partition
}

fn key(partition: &str, sort: &str) -> RowKey {
    RowKey::new(TABLE, partition, sort)
}

fn body(number: u64) -> Bytes {
    Bytes::from(format!("{{\"number\":{number}}}"))
}

async fn put(store: &dyn CheckpointStore, key: &RowKey, expected: Option<Revision>, body: Bytes) -> Put {
    store.put(key, expected, body, None).await.expect("a put is answered")
}

async fn put_done(
    store: &dyn CheckpointStore,
    key: &RowKey,
    expected: Option<Revision>,
    number: u64,
) -> Revision {
    match put(store, key, expected, body(number)).await {
        Put::Done(revision) => revision,
        Put::Conflict(row) => panic!("the condition holds: row={key} stored={row:?}"),
    }
}

async fn get(store: &dyn CheckpointStore, key: &RowKey) -> Option<Row> {
    store.get(key).await.expect("a get is answered")
}

async fn list(
    store: &dyn CheckpointStore,
    table: Table,
    partition: &str,
    after: Option<&str>,
    limit: usize,
) -> Vec<Row> {
    store.list(table, partition, after, limit).await.expect("a list is answered")
}

async fn a_row_is_put_on_condition_of_another(store: &dyn CheckpointStore) {
    let partition = fresh(store, "beside").await;
    let (key, beside) = (key(&partition, "row"), RowKey::new(Table::Controls, &*partition, "beside"));
    let put = async |expected, number, beside: (&RowKey, Revision)| {
        let beside = (beside.0.clone(), beside.1);
        store.put(&key, expected, body(number), Some(&beside)).await.expect("a put is answered")
    };
    assert_eq!(put(None, 1, (&beside, Revision(1))).await, Put::Conflict(None), "there is no row beside it");
    let first = put_done(store, &beside, None, 1).await;
    let Put::Done(revision) = put(None, 2, (&beside, first)).await else { panic!("both conditions hold") };
    let second = put_done(store, &beside, Some(first), 2).await;
    let stored = get(store, &key).await;
    assert_eq!(put(Some(revision), 3, (&beside, first)).await, Put::Conflict(stored.clone()), "it has moved");
    assert_eq!(put(None, 3, (&beside, second)).await, Put::Conflict(stored), "there is a row");
    store.delete(&beside).await.expect("a row can be deleted");
    assert!(matches!(put(Some(revision), 3, (&beside, second)).await, Put::Conflict(_)), "it is gone");
    assert_eq!(get(store, &key).await.map(|row| row.body), Some(body(2)));
}

async fn a_row_is_put_on_condition_of_its_revision(store: &dyn CheckpointStore) {
    let key = key(&fresh(store, "conditions").await, "row");
    assert_eq!(get(store, &key).await, None);
    assert_eq!(put(store, &key, Some(Revision(1)), body(0)).await, Put::Conflict(None));
    assert_eq!(get(store, &key).await, None, "a conflict writes nothing");
    let first = put_done(store, &key, None, 1).await;
    let stored = Row { key: key.clone(), revision: first, body: body(1) };
    assert_eq!(get(store, &key).await, Some(stored.clone()));
    assert_eq!(put(store, &key, None, body(2)).await, Put::Conflict(Some(stored)));
    let second = put_done(store, &key, Some(first), 3).await;
    assert_ne!(first, second, "every put changes the revision");
    let stored = Row { key: key.clone(), revision: second, body: body(3) };
    assert_eq!(put(store, &key, Some(first), body(4)).await, Put::Conflict(Some(stored.clone())));
    assert_eq!(get(store, &key).await, Some(stored), "a conflict writes nothing");
    let same = put_done(store, &key, Some(second), 3).await;
    assert_ne!(second, same, "a put of the same body changes the revision too");
}

async fn revisions_never_come_back(store: &dyn CheckpointStore) {
    let key = key(&fresh(store, "revisions").await, "row");
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        let mut revision = None;
        for number in 0..3 {
            let next = put_done(store, &key, revision, number).await;
            assert!(seen.insert(next), "a revision came back: revision={next:?} round={round}");
            revision = Some(next);
        }
        store.delete(&key).await.expect("a row can be deleted");
    }
}

async fn a_delete_asks_for_no_revision(store: &dyn CheckpointStore) {
    let key = key(&fresh(store, "deletes").await, "row");
    store.delete(&key).await.expect("a row that is not there can be deleted");
    let revision = put_done(store, &key, None, 1).await;
    store.delete(&key).await.expect("a row can be deleted");
    assert_eq!(get(store, &key).await, None);
    assert_eq!(put(store, &key, Some(revision), body(2)).await, Put::Conflict(None));
    put_done(store, &key, None, 3).await;
}

async fn tables_and_partitions_do_not_touch_each_other(store: &dyn CheckpointStore) {
    let one = fresh(store, "tables").await;
    let other = fresh(store, "tables too").await;
    let keys: Vec<RowKey> = Table::ALL
        .iter()
        .flat_map(|table| [RowKey::new(*table, &*one, "row"), RowKey::new(*table, &*other, "row")])
        .collect();
    for (key, number) in keys.iter().zip(1..) {
        put_done(store, key, None, number).await;
    }
    for (key, number) in keys.iter().zip(1..) {
        assert_eq!(get(store, key).await.map(|row| row.body), Some(body(number)), "row={key}");
        let listed = list(store, key.table, &key.partition, None, 10).await;
        assert_eq!(listed.iter().map(|row| &row.key).collect::<Vec<_>>(), [key]);
    }
}

async fn lists_are_sorted_and_paged(store: &dyn CheckpointStore) {
    let partition = fresh(store, "pages").await;
    for number in (0..25).rev() {
        put_done(store, &key(&partition, &format!("k{number:02}")), None, number).await;
    }
    let mut paged: Vec<Row> = Vec::new();
    loop {
        let after = paged.last().map(|row| row.key.sort.clone());
        let page = list(store, TABLE, &partition, after.as_deref(), 4).await;
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 4, "at most as many as asked for");
        paged.extend(page);
    }
    let sorts: Vec<&str> = paged.iter().map(|row| row.key.sort.as_str()).collect();
    let expected: Vec<String> = (0..25).map(|number| format!("k{number:02}")).collect();
    assert_eq!(sorts, expected, "pages hold every row once");
    let behind = list(store, TABLE, &partition, Some("k0"), 1).await;
    assert_eq!(
        behind.first(),
        paged.first(),
        "a page may begin behind a key that is not there, and shows whole rows"
    );
    assert!(list(store, TABLE, &partition, Some("k24"), 1).await.is_empty());
}

async fn hostile_names_and_large_bodies_are_kept(store: &dyn CheckpointStore) {
    let large = Bytes::from(format!("\"{}\"", "x".repeat(300 * 1024)));
    let partition = fresh(store, "hostile").await;
    for name in HOSTILE {
        let (sort, partition) = (key(&partition, name), key(&fresh(store, name).await, name));
        let Put::Done(revision) = put(store, &sort, None, large.clone()).await else { panic!("row={sort}") };
        assert_eq!(get(store, &sort).await, Some(Row { key: sort, revision, body: large.clone() }));
        put_done(store, &partition, None, 1).await;
        assert_eq!(list(store, TABLE, &partition.partition, None, 10).await.len(), 1, "row={partition}");
    }
    for name in ["", "\u{0}", "\u{0}a"] {
        put_done(store, &key(&partition, name), None, 1).await;
    }
    let mut sorted = HOSTILE.to_vec();
    sorted.extend(["", "\u{0}", "\u{0}a"]);
    sorted.sort_unstable();
    let listed = list(store, TABLE, &partition, None, 100).await;
    let sorts: Vec<&str> = listed.iter().map(|row| row.key.sort.as_str()).collect();
    assert_eq!(sorts, sorted, "lists are sorted by the sort keys' bytes");
}

async fn of_racing_puts_one_is_done(store: &dyn CheckpointStore) {
    let key = key(&fresh(store, "races").await, "row");
    let mut expected = None;
    for round in 0..5 {
        let racers = (0..8).map(|racer| put(store, &key, expected, body(round * 10 + racer)));
        let outcomes = together(racers).await;
        let won = |(outcome, racer): (&Put, u64)| match outcome {
            Put::Done(revision) => Some((*revision, racer)),
            Put::Conflict(_) => None,
        };
        let winners: Vec<(Revision, u64)> = outcomes.iter().zip(0..).filter_map(won).collect();
        let [(revision, racer)] = winners[..] else {
            panic!("exactly one of eight puts under one condition is done: {outcomes:?}")
        };
        let stored = Row { key: key.clone(), revision, body: body(round * 10 + racer) };
        assert_eq!(get(store, &key).await.as_ref(), Some(&stored));
        let losers = outcomes.iter().filter(|outcome| !matches!(outcome, Put::Done(_)));
        for outcome in losers {
            assert_eq!(*outcome, Put::Conflict(Some(stored.clone())), "a conflict says what is stored");
        }
        expected = Some(revision);
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    PutNew,
    PutOverStored,
    PutOver(u64),
    Delete,
}

async fn any_history_ends_as_in_a_map(store: &dyn CheckpointStore) {
    let partition = fresh(store, "history").await;
    let step = prop_oneof![
        Just(Step::PutNew),
        Just(Step::PutOverStored),
        Just(Step::PutOverStored),
        (0u64..20).prop_map(Step::PutOver),
        Just(Step::Delete)
    ];
    let mut map: BTreeMap<String, Row> = BTreeMap::new();
    for ((row, step), number) in cases((0u8..4, step), 1_000).zip(0..) {
        let key = key(&partition, &format!("row-{row}"));
        let stored = map.get(&key.sort).cloned();
        let revision = stored.as_ref().map(|row| row.revision);
        let expected = match step {
            Step::PutNew => None,
            Step::PutOverStored => revision,
            Step::PutOver(back) => revision.map(|revision| Revision(revision.0.saturating_sub(back))),
            Step::Delete => {
                store.delete(&key).await.expect("a row can be deleted");
                map.remove(&key.sort);
                continue;
            }
        };
        match put(store, &key, expected, body(number)).await {
            Put::Done(done) => {
                assert_eq!(expected, revision, "{step:?} on {stored:?}");
                map.insert(key.sort.clone(), Row { key, revision: done, body: body(number) });
            }
            Put::Conflict(found) => {
                assert_ne!(expected, revision, "{step:?} on {stored:?}");
                assert_eq!(found, stored, "a conflict says what is stored");
            }
        }
    }
    let expected: Vec<Row> = map.into_values().collect();
    assert_eq!(list(store, TABLE, &partition, None, 100).await, expected);
}
