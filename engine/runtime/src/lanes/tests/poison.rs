//! Events that cannot be taken: what stands before them is written, what waits behind them is not, the rest goes on.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use foldstream_model::{Epoch, ErrorKind, OnFailure, Ordering, ShardNumber};
use proptest::prelude::*;

use super::toy::{Chance, Deed, Store, delivery, lane, name_of, names, origin, place, run};
use crate::{
    guard::Origin,
    lanes::{Lane, LaneMode, LaneOptions, LineId},
};

fn at(shard: u32, number: u64, stream: &str, sequence: u64) -> Origin {
    origin(shard, place(number), stream, sequence)
}

#[test]
fn what_stands_before_a_poison_event_is_written_and_nothing_behind_it() {
    let (mut lane, mut store) = (lane(Ordering::PerStream), Store::default());
    for (sequence, deed) in [(1, Deed::Name), (2, Deed::Name), (3, Deed::Fail), (4, Deed::Name)] {
        lane.deliver(delivery(1, at(0, sequence, "a", sequence), "k", deed));
    }
    run(&mut lane, &mut store);
    lane.deliver(delivery(1, at(0, 5, "a", 5), "k", Deed::Name));
    lane.deliver(delivery(1, at(0, 6, "b", 1), "l", Deed::Name));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "a/2"]));
    assert_eq!(store.names("l"), names(&["b/1"]));
    let poison = lane.take_poison();
    assert_eq!(poison.len(), 1);
    assert_eq!((poison[0].key.as_str(), poison[0].origin.sequence.0, poison[0].line), ("k", 3, LineId(1)));
    assert_eq!((poison[0].error.kind(), poison[0].error.message()), (ErrorKind::Poison, "cannot apply a/3"));
    let settled: Vec<_> = lane.take_settled().into_iter().map(|(_, batch, _)| batch.0).collect();
    assert_eq!(settled, [1, 2, 6]);
    let held_up: Vec<_> = lane.take_held_up().into_iter().map(|(_, batch, count)| (batch.0, count)).collect();
    assert_eq!(held_up, [(3, 1), (4, 1), (5, 1)]);
    assert!(lane.is_idle());
}

#[test]
fn another_shards_events_on_the_document_go_on() {
    let (mut lane, mut store) = (lane(Ordering::Commutative), Store::default());
    lane.deliver(delivery(1, at(0, 1, "a", 1), "k", Deed::Fail));
    lane.deliver(delivery(1, at(0, 2, "a", 2), "k", Deed::Name));
    lane.deliver(delivery(2, at(1, 1, "b", 1), "k", Deed::Name));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["b/1"]));
}

#[test]
fn an_event_that_only_an_old_cached_base_cannot_take_is_not_poison() {
    let mut store = Store::default();
    let (mut sleeper, mut other) = (lane(Ordering::PerStream), lane(Ordering::PerStream));
    sleeper.deliver(delivery(1, at(0, 1, "a", 1), "k", Deed::Name));
    run(&mut sleeper, &mut store);
    other.deliver(delivery(2, at(0, 2, "a", 2), "k", Deed::Name));
    run(&mut other, &mut store);
    sleeper.deliver(delivery(1, at(0, 2, "a", 2), "k", Deed::Fail));
    run(&mut sleeper, &mut store);
    assert!(sleeper.take_poison().is_empty(), "the event is in the document by now");
    assert!(sleeper.is_idle());
}

#[test]
fn a_document_that_the_store_refuses_is_poison_at_the_event_that_made_it_so() {
    let (mut lane, mut store) = (lane(Ordering::PerStream), Store::default());
    store.refused = names(&["a/6"]);
    for sequence in 1..=9 {
        lane.deliver(delivery(1, at(0, sequence, "a", sequence), "k", Deed::Name));
    }
    run(&mut lane, &mut store);
    assert_eq!(store.sequence("k"), Some(5));
    assert_eq!(lane.take_poison().iter().map(|poison| poison.origin.sequence.0).collect::<Vec<_>>(), [6]);
}

#[test]
fn a_document_of_another_stream_names_both_and_lets_its_own_stream_go_on() {
    let (mut lane, mut store) = (lane(Ordering::PerStream), Store::default());
    lane.deliver(delivery(1, at(0, 1, "a", 1), "k", Deed::Name));
    lane.deliver(delivery(2, at(1, 1, "b", 1), "k", Deed::Name));
    lane.deliver(delivery(1, at(0, 2, "a", 2), "k", Deed::Name));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "a/2"]));
    let poison = lane.take_poison();
    assert_eq!(poison.len(), 1);
    for part in ["document=k", "stream=b", "other=a"] {
        assert!(poison[0].error.message().contains(part), "{}", poison[0].error);
    }
}

#[test]
fn a_writer_of_an_older_build_is_told_that_it_is_fenced() {
    let mut store = Store::default();
    let mut rebuilt = Lane::new(LaneOptions {
        ordering: Ordering::PerStream,
        epoch: Epoch(2),
        mode: LaneMode::Live(OnFailure::Stop),
        cache_bytes: 0,
    });
    rebuilt.deliver(delivery(1, at(0, 1, "a", 1), "k", Deed::Name));
    run(&mut rebuilt, &mut store);
    let mut old = lane(Ordering::PerStream);
    old.deliver(delivery(2, at(0, 2, "a", 2), "k", Deed::Name));
    run(&mut old, &mut store);
    assert_eq!(store.names("k"), names(&["a/1"]));
    assert_eq!(old.take_poison()[0].error.kind(), ErrorKind::Fenced);
    assert!(old.take_settled().is_empty());
}

#[test]
fn once_its_line_is_abandoned_poison_may_be_tried_again() {
    let (mut lane, mut store) = (lane(Ordering::Commutative), Store::default());
    lane.deliver(delivery(1, at(0, 1, "a", 1), "k", Deed::Fail));
    lane.deliver(delivery(1, at(0, 2, "a", 2), "k", Deed::Name));
    run(&mut lane, &mut store);
    assert_eq!(lane.bytes(), 100, "what waits is held");
    lane.abandon(LineId(1));
    assert_eq!((lane.bytes(), lane.undone()), (0, 0));
    assert!(lane.take_poison().is_empty(), "nobody waits for it any more");
    lane.deliver(delivery(2, at(0, 1, "a", 1), "k", Deed::Name));
    lane.deliver(delivery(2, at(0, 2, "a", 2), "k", Deed::Name));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "a/2"]));
}

/// Takes one step: delivers, reads, or writes with now and then a lost answer.
fn step(lane: &mut Lane, store: &mut Store, chance: &mut Chance) {
    for key in lane.to_read(chance.below(3)) {
        lane.loaded(&key, store.read(&key));
    }
    for write in lane.to_write(chance.below(3)) {
        let written = store.write(&write);
        if chance.percent(20) { lane.unknown([&write.key]) } else { lane.written(&write.key, written) }
    }
    if chance.percent(10) {
        lane.clear_cache();
    }
}

type Cell = (String, u32);

/// What must have been applied and what must have been found, by document and shard.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    applied: BTreeMap<Cell, Vec<String>>,
    poison: BTreeMap<Cell, String>,
}

fn poisoned(ordering: Ordering, seed: u64) {
    let chance = &mut Chance::new(seed);
    let (mut lane, mut store) = (lane(ordering), Store::default());
    let mut expected = Outcome::default();
    let mut events = Vec::new();
    for number in 1..=(1 + chance.below(16) as u64) {
        let shard = chance.below(3) as u32;
        let stream = ["a", "b", "c"][shard as usize];
        let key =
            if ordering == Ordering::PerStream { stream } else { ["x", "y"][chance.below(2)] }.to_owned();
        let origin = at(shard, number, stream, number);
        let refused = chance.percent(10);
        let deed = if chance.percent(10) { Deed::Fail } else { Deed::Name };
        let name = name_of(&origin);
        if refused {
            store.refused.push(name.clone());
        }
        let cell = (key.clone(), shard);
        let is_poison = refused || deed == Deed::Fail;
        match expected.poison.entry(cell.clone()) {
            Entry::Occupied(_) => {}
            Entry::Vacant(first) if is_poison => {
                first.insert(name);
            }
            Entry::Vacant(_) => expected.applied.entry(cell).or_default().push(name),
        }
        events.push((origin, key, deed));
    }
    for (origin, key, deed) in &events {
        lane.deliver(delivery(u64::from(origin.shard.0), origin.clone(), key, *deed));
        (0..chance.below(3)).for_each(|_| step(&mut lane, &mut store, chance));
    }
    run(&mut lane, &mut store);
    assert!(lane.is_idle());

    let mut found = Outcome::default();
    for poison in lane.take_poison() {
        let cell = (poison.key.to_string(), poison.origin.shard.0);
        assert_eq!(
            found.poison.insert(cell, name_of(&poison.origin)),
            None,
            "once for each shard and document"
        );
    }
    for (shard, stream) in [(0, "a"), (1, "b"), (2, "c")] {
        for key in ["a", "b", "c", "x", "y"] {
            let of_shard: Vec<_> =
                store.names(key).into_iter().filter(|name| name.starts_with(stream)).collect();
            if !of_shard.is_empty() {
                found.applied.insert((key.to_owned(), shard), of_shard);
            }
        }
    }
    assert_eq!(found, expected);
    let applied: BTreeSet<String> = expected.applied.into_values().flatten().collect();
    let settled: BTreeSet<u64> = lane.take_settled().into_iter().map(|(_, batch, _)| batch.0).collect();
    let names_of_settled = events.iter().map(|(origin, ..)| origin);
    let names_of_settled =
        names_of_settled.filter(|origin| settled.contains(&origin.sequence.0)).map(name_of);
    assert_eq!(
        names_of_settled.collect::<BTreeSet<_>>(),
        applied,
        "what is applied has settled, and nothing else"
    );

    store.refused.clear();
    (0..3).for_each(|line| lane.abandon(LineId(line)));
    lane.closed(ShardNumber(7));
    for (origin, key, _) in &events {
        lane.deliver(delivery(10, origin.clone(), key, Deed::Name));
    }
    run(&mut lane, &mut store);
    let all: BTreeSet<_> = events.iter().map(|(origin, ..)| name_of(origin)).collect();
    let kept: Vec<_> = ["a", "b", "c", "x", "y"].iter().flat_map(|key| store.names(key)).collect();
    assert_eq!((kept.len(), kept.into_iter().collect()), (all.len(), all), "mended, each is applied once");
    assert_eq!(lane.bytes(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn poison_stops_its_shard_on_its_document_and_nothing_else(seed: u64) {
        poisoned(Ordering::Commutative, seed);
        poisoned(Ordering::PerStream, seed);
    }
}
