//! What a [`LeaseStore`] promises.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::{HOSTILE, cases, together};
use crate::{
    Lease, LeaseKey, Position, ProjectionId, ShardId, SourceName, WorkerId,
    ports::{LeaseStore, PutLease},
};

/// Checks a store. It deletes and puts leases of sources whose names begin with `conformance`.
pub async fn run(store: &dyn LeaseStore) {
    a_lease_is_put_on_condition_of_what_is_stored(store).await;
    a_delete_has_the_same_condition(store).await;
    sources_do_not_touch_each_other(store).await;
    every_kind_and_name_is_kept(store).await;
    of_racing_takes_one_is_done(store).await;
    any_history_ends_as_in_a_map(store).await;
}

async fn fresh(store: &dyn LeaseStore, name: &str) -> SourceName {
    let source = SourceName::new(format!("conformance {name}"));
    for lease in list(store, &source).await {
        let deleted = store.delete(&source, &lease).await.expect("a lease can be deleted");
        assert_eq!(deleted, PutLease::Done);
    }
    source
}

fn shard(name: &str) -> LeaseKey {
    LeaseKey::Shard(ShardId::new(name))
}

fn worker(name: &str) -> Option<WorkerId> {
    Some(WorkerId::new(name))
}

fn lease(key: LeaseKey, owner: &str, counter: u64) -> Lease {
    Lease { key, owner: worker(owner), from: None, counter, checkpoint: None }
}

async fn list(store: &dyn LeaseStore, source: &SourceName) -> Vec<Lease> {
    let mut leases = store.list(source).await.expect("a list is answered");
    leases.sort_by(|a, b| a.key.cmp(&b.key));
    leases
}

async fn get(store: &dyn LeaseStore, source: &SourceName, key: &LeaseKey) -> Option<Lease> {
    store.get(source, key).await.expect("a get is answered")
}

async fn put(
    store: &dyn LeaseStore,
    source: &SourceName,
    expected: Option<&Lease>,
    lease: &Lease,
) -> PutLease {
    store.put(source, expected, lease).await.expect("a put is answered")
}

async fn a_lease_is_put_on_condition_of_what_is_stored(store: &dyn LeaseStore) {
    let source = fresh(store, "conditions").await;
    let key = shard("s");
    assert_eq!(get(store, &source, &key).await, None);
    let first = lease(key.clone(), "a", 1);
    assert_eq!(put(store, &source, Some(&first), &first).await, PutLease::Conflict(None));
    assert_eq!(get(store, &source, &key).await, None, "a conflict writes nothing");
    assert_eq!(put(store, &source, None, &first).await, PutLease::Done);
    assert_eq!(put(store, &source, None, &first).await, PutLease::Conflict(Some(first.clone())));

    let offered = Lease { owner: worker("b"), from: worker("a"), counter: 2, ..first.clone() };
    for other in [
        Lease { counter: 0, ..first.clone() },
        Lease { owner: worker("b"), ..first.clone() },
        Lease { owner: None, ..first.clone() },
        Lease { from: worker("a"), ..first.clone() },
    ] {
        let answer = put(store, &source, Some(&other), &offered).await;
        assert_eq!(answer, PutLease::Conflict(Some(first.clone())), "expected={other:?}");
    }
    let shown = Lease { checkpoint: Some(Position::new(7)), ..first.clone() };
    assert_eq!(put(store, &source, Some(&shown), &offered).await, PutLease::Done, "a checkpoint is for show");
    assert_eq!(get(store, &source, &key).await, Some(offered));
}

async fn a_delete_has_the_same_condition(store: &dyn LeaseStore) {
    let source = fresh(store, "deletes").await;
    let (old, new) = (lease(shard("s"), "a", 1), lease(shard("s"), "a", 2));
    assert_eq!(store.delete(&source, &old).await.expect("an answer"), PutLease::Conflict(None));
    put(store, &source, None, &new).await;
    assert_eq!(store.delete(&source, &old).await.expect("an answer"), PutLease::Conflict(Some(new.clone())));
    assert_eq!(store.delete(&source, &new).await.expect("an answer"), PutLease::Done);
    assert_eq!(list(store, &source).await, []);
}

async fn sources_do_not_touch_each_other(store: &dyn LeaseStore) {
    let (one, other) = (fresh(store, "one").await, fresh(store, "other").await);
    let (a, b) = (lease(shard("s"), "a", 1), lease(shard("s"), "b", 1));
    put(store, &one, None, &a).await;
    assert_eq!(put(store, &other, None, &b).await, PutLease::Done);
    assert_eq!(list(store, &one).await, [a]);
    assert_eq!(list(store, &other).await, [b]);
}

async fn every_kind_and_name_is_kept(store: &dyn LeaseStore) {
    let source = fresh(store, "names").await;
    let mut expected = Vec::new();
    for name in HOSTILE {
        for key in
            [LeaseKey::Worker(WorkerId::new(name)), shard(name), LeaseKey::Merge(ProjectionId::new(name, 3))]
        {
            let checkpoint =
                Some("49680431658821077325005341326145231425986336706965536770".parse().expect("a position"));
            let lease =
                Lease { owner: None, counter: u64::from(u32::MAX), checkpoint, ..lease(key, name, 0) };
            assert_eq!(put(store, &source, None, &lease).await, PutLease::Done);
            assert_eq!(get(store, &source, &lease.key).await.as_ref(), Some(&lease));
            expected.push(lease);
        }
    }
    expected.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(list(store, &source).await, expected);
}

async fn of_racing_takes_one_is_done(store: &dyn LeaseStore) {
    let source = fresh(store, "races").await;
    let free = Lease { owner: None, ..lease(shard("s"), "", 1) };
    put(store, &source, None, &free).await;
    let takes: Vec<Lease> = (0..8).map(|number| lease(shard("s"), &format!("w{number}"), 2)).collect();
    let answers = together(takes.iter().map(|take| put(store, &source, Some(&free), take))).await;
    let done: Vec<_> = answers.iter().zip(&takes).filter(|(answer, _)| **answer == PutLease::Done).collect();
    assert_eq!(done.len(), 1, "{answers:?}");
    assert_eq!(list(store, &source).await, [done[0].1.clone()]);
}

#[derive(Debug, Clone)]
enum Step {
    Put { expected: Option<u64>, owner: bool, from: bool },
    Delete { expected: u64 },
}

async fn any_history_ends_as_in_a_map(store: &dyn LeaseStore) {
    let step = prop_oneof![
        3 => (proptest::option::of(0..6_u64), any::<bool>(), any::<bool>())
            .prop_map(|(expected, owner, from)| Step::Put { expected, owner, from }),
        1 => (0..6_u64).prop_map(|expected| Step::Delete { expected }),
        1 => Just(Step::Put { expected: None, owner: true, from: false }),
    ];
    let histories = proptest::collection::vec((0..2_usize, step), 1..20);
    for (number, history) in cases(histories, 20).enumerate() {
        let source = fresh(store, &format!("history {number}")).await;
        let mut map: BTreeMap<LeaseKey, Lease> = BTreeMap::new();
        for (at, step) in history {
            let key = shard(&format!("s{at}"));
            let stored = map.get(&key).cloned();
            // One counter in three is what is stored.
            let expects = |counter: u64| match &stored {
                Some(stored) if counter.is_multiple_of(3) => stored.clone(),
                _ => lease(key.clone(), "w", counter),
            };
            let same = |expected: Option<&Lease>| {
                let state = |lease: &Lease| (lease.owner.clone(), lease.from.clone(), lease.counter);
                expected.map(state) == stored.as_ref().map(state)
            };
            let (answer, done) = match step {
                Step::Put { expected, owner, from } => {
                    let expected = expected.map(expects);
                    let counter = stored.as_ref().map_or(0, |stored| stored.counter) + 1;
                    let (owner, from) = (worker("w").filter(|_| owner), worker("v").filter(|_| from));
                    let new = Lease { owner, from, ..lease(key.clone(), "w", counter) };
                    let done = same(expected.as_ref());
                    if done {
                        map.insert(key.clone(), new.clone());
                    }
                    (put(store, &source, expected.as_ref(), &new).await, done)
                }
                Step::Delete { expected } => {
                    let expected = expects(expected);
                    let done = same(Some(&expected));
                    if done {
                        map.remove(&key);
                    }
                    (store.delete(&source, &expected).await.expect("an answer"), done)
                }
            };
            let right = if done { PutLease::Done } else { PutLease::Conflict(stored) };
            assert_eq!(answer, right);
        }
        assert_eq!(list(store, &source).await, map.into_values().collect::<Vec<_>>());
    }
}
