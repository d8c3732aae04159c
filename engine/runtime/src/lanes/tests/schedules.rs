//! Schedules that broke other designs, and what each rule is for.

use foldstream_model::{
    DocumentKey, Epoch, Fed, OnFailure, Ordering, Place, Position, ShardNumber, ShardPlaces,
    ports::{Condition, Written},
};

use super::toy::{Deed, Store, delivery, guard_of, lane, names, one_write, origin, place, run};
use crate::{
    guard::Origin,
    lanes::{Lane, LaneMode, LaneOptions, LineId, lane_of},
    progress::BatchId,
};

fn at(number: u64, stream: &str, sequence: u64) -> Origin {
    origin(0, place(number), stream, sequence)
}

fn places(guard: &foldstream_model::Guard) -> &ShardPlaces {
    let Fed::Shards { places, .. } = &guard.fed else { panic!("no commutative guard") };
    places
}

#[test]
fn an_early_event_enters_at_the_place_that_released_it_and_not_at_its_own() {
    let released_at = |ordinal| Place::new(Position::new(110), 0, ordinal);
    let (mut lane, mut store) = (lane(Ordering::Commutative), Store::default());
    lane.deliver(delivery(1, at(105, "t", 3), "k", Deed::Name));
    run(&mut lane, &mut store);
    lane.deliver(delivery(1, origin(0, released_at(0), "s", 5), "k", Deed::Name));
    lane.deliver(delivery(1, origin(0, released_at(1), "s", 6), "k", Deed::Name));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["t/3", "s/5", "s/6"]));
    lane.deliver(delivery(1, at(100, "s", 6), "k", Deed::Name));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k").len(), 3, "its own place would have been taken for a duplicate");
}

#[test]
fn nothing_settles_before_its_document_is_written_and_a_crash_applies_it_anew() {
    let mut store = Store::default();
    let mut crashed = lane(Ordering::PerStream);
    crashed.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    let _lost = one_write(&mut crashed, &store);
    assert!(crashed.take_settled().is_empty());
    assert_eq!(crashed.undone(), 1);
    let mut next = lane(Ordering::PerStream);
    next.deliver(delivery(2, at(1, "a", 1), "k", Deed::Name));
    run(&mut next, &mut store);
    assert_eq!(next.take_settled(), [(LineId(2), BatchId(1), 1)]);
    assert_eq!(store.names("k"), names(&["a/1"]));
}

#[test]
fn a_cached_older_base_never_overwrites_what_another_worker_has_added() {
    let mut store = Store::default();
    let (mut first, mut other) = (lane(Ordering::PerStream), lane(Ordering::PerStream));
    first.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    run(&mut first, &mut store);
    for sequence in 2..=3 {
        other.deliver(delivery(2, at(sequence, "a", sequence), "k", Deed::Name));
    }
    run(&mut other, &mut store);
    for sequence in 4..=5 {
        first.deliver(delivery(1, at(sequence, "a", sequence), "k", Deed::Name));
    }
    assert_eq!(first.to_read(10), [], "it believes in its cache");
    run(&mut first, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "a/2", "a/3", "a/4", "a/5"]));
}

#[test]
fn a_conflict_is_not_taken_for_success() {
    let mut store = Store::default();
    let (mut first, mut other) = (lane(Ordering::Commutative), lane(Ordering::Commutative));
    first.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    other.deliver(delivery(2, origin(1, place(1), "b", 1), "k", Deed::Name));
    let write = one_write(&mut first, &store);
    run(&mut other, &mut store);
    let conflict = store.write(&write);
    assert!(matches!(conflict, Written::Conflict(Some(_))));
    first.written(&write.key, conflict);
    assert!(first.take_settled().is_empty());
    assert_eq!(run(&mut first, &mut store), 1);
    assert_eq!(store.names("k"), names(&["b/1", "a/1"]));
    assert_eq!(first.take_settled(), [(LineId(1), BatchId(1), 1)]);
}

#[test]
fn a_conflict_with_ones_own_earlier_write_is_found_to_be_covered() {
    let mut store = Store::default();
    let mut lane = lane(Ordering::PerStream);
    lane.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    let write = one_write(&mut lane, &store);
    assert!(matches!(store.write(&write), Written::Done));
    lane.written(&write.key, store.write(&write));
    assert_eq!(run(&mut lane, &mut store), 0);
    assert_eq!(lane.take_settled(), [(LineId(1), BatchId(1), 1)]);
    assert_eq!(store.names("k"), names(&["a/1"]));
}

#[test]
fn a_lost_response_is_read_back_and_the_write_not_repeated() {
    let mut store = Store::default();
    let mut lane = lane(Ordering::Commutative);
    lane.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    let write = one_write(&mut lane, &store);
    store.write(&write);
    lane.unknown([&write.key]);
    assert!(lane.take_settled().is_empty() && !lane.is_idle());
    assert!(lane.to_write(10).is_empty(), "nothing is done to the document before it is read");
    let keys = lane.to_read(10);
    assert_eq!(keys, [DocumentKey::new("k")]);
    lane.loaded(&keys[0], store.read(&keys[0]));
    assert_eq!(run(&mut lane, &mut store), 0);
    assert_eq!(lane.take_settled(), [(LineId(1), BatchId(1), 1)]);
    assert!(lane.is_idle());
}

#[test]
fn a_guard_equal_to_that_of_a_lost_write_does_not_prove_that_the_write_was_done() {
    let mut store = Store::default();
    let (mut sleeper, mut other) = (lane(Ordering::PerStream), lane(Ordering::PerStream));
    sleeper.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    run(&mut sleeper, &mut store);
    (2..=3).for_each(|number| other.deliver(delivery(2, at(number, "a", number), "k", Deed::Name)));
    run(&mut other, &mut store);
    sleeper.abandon(LineId(1));
    sleeper.deliver(delivery(3, at(3, "a", 3), "k", Deed::Name));
    let lost = one_write(&mut sleeper, &store);
    assert_eq!(
        lost.put.guard,
        guard_of(&store, "k"),
        "it knows nothing of a/2, and its guard does not show it"
    );
    sleeper.unknown([&lost.key]);
    run(&mut sleeper, &mut store);
    sleeper.deliver(delivery(3, at(4, "a", 4), "k", Deed::Name));
    run(&mut sleeper, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "a/2", "a/3", "a/4"]));
}

#[test]
fn a_lost_write_is_read_back_and_made_again_and_its_late_arrival_does_nothing() {
    let mut store = Store::default();
    let mut lane = lane(Ordering::PerStream);
    lane.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    let delayed = one_write(&mut lane, &store);
    lane.unknown([&delayed.key]);
    lane.deliver(delivery(1, at(2, "a", 2), "k", Deed::Name));
    assert_eq!(run(&mut lane, &mut store), 1);
    assert!(matches!(store.write(&delayed), Written::Conflict(_)));
    assert_eq!(store.names("k"), names(&["a/1", "a/2"]));
    assert_eq!(lane.take_settled().len(), 2);
}

#[test]
fn what_a_private_reading_still_holds_is_not_settled_until_it_is_stored() {
    let mut store = Store::default();
    let mut lane = lane(Ordering::PerStream);
    lane.deliver(delivery(1, at(600, "a", 600), "k", Deed::Name));
    let write = one_write(&mut lane, &store);
    assert!(lane.take_settled().is_empty(), "so the shared reading may not deliver 601 yet");
    lane.written(&write.key, store.write(&write));
    assert_eq!(lane.take_settled(), [(LineId(1), BatchId(600), 1)]);
    lane.clear_cache();
    lane.deliver(delivery(2, at(601, "a", 601), "k", Deed::Name));
    assert_eq!(run(&mut lane, &mut store), 1);
    assert_eq!(store.names("k"), names(&["a/600", "a/601"]));
}

#[test]
fn a_reading_that_is_abandoned_with_a_write_under_way_neither_loses_nor_repeats() {
    let mut store = Store::default();
    let mut lane = lane(Ordering::PerStream);
    lane.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    let write = one_write(&mut lane, &store);
    lane.deliver(delivery(1, at(2, "a", 2), "k", Deed::Name));
    lane.abandon(LineId(1));
    assert_eq!(lane.undone(), 0);
    assert!(!lane.is_idle(), "the write has no outcome yet");
    for sequence in 1..=2 {
        lane.deliver(delivery(2, at(sequence, "a", sequence), "k", Deed::Name));
    }
    assert!(
        lane.take_settled().is_empty(),
        "a duplicate settles by a guard that is stored, not by one under way"
    );
    lane.written(&write.key, store.write(&write));
    run(&mut lane, &mut store);
    assert_eq!(lane.take_settled(), [(LineId(2), BatchId(1), 1), (LineId(2), BatchId(2), 1)]);
    assert_eq!(store.names("k"), names(&["a/1", "a/2"]));
}

#[test]
fn ten_events_of_a_document_make_one_write() {
    let (mut lane, mut store) = (lane(Ordering::Commutative), Store::default());
    (1..=10).for_each(|number| lane.deliver(delivery(1, at(number, "a", number), "k", Deed::Name)));
    assert_eq!(run(&mut lane, &mut store), 1);
    assert_eq!(lane.take_settled().len(), 10);
}

#[test]
fn duplicates_settle_without_a_write() {
    let (mut first, mut store) = (lane(Ordering::Commutative), Store::default());
    first.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    run(&mut first, &mut store);
    let mut again = lane(Ordering::Commutative);
    again.deliver(delivery(2, at(1, "a", 1), "k", Deed::Name));
    assert_eq!(run(&mut again, &mut store), 0);
    assert_eq!(again.take_settled(), [(LineId(2), BatchId(1), 1)]);
}

#[test]
fn an_event_that_changes_nothing_still_moves_the_guard() {
    let (mut lane, mut store) = (lane(Ordering::PerStream), Store::default());
    lane.deliver(delivery(1, at(1, "a", 4), "k", Deed::Nothing));
    assert_eq!(run(&mut lane, &mut store), 1);
    assert_eq!(store.sequence("k"), Some(4));
}

#[test]
fn a_deleted_document_leaves_its_guard() {
    let (mut lane, mut store) = (lane(Ordering::PerStream), Store::default());
    lane.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    lane.deliver(delivery(1, at(2, "a", 2), "k", Deed::Delete));
    run(&mut lane, &mut store);
    assert_eq!(store.documents[&DocumentKey::new("k")].document, None);
    lane.deliver(delivery(2, at(1, "a", 1), "k", Deed::Name));
    lane.deliver(delivery(2, at(3, "a", 3), "k", Deed::Name));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/3"]));
}

#[test]
fn a_rebuild_takes_the_older_document_as_absent_and_replaces_it() {
    let mut store = Store::default();
    let mut old = lane(Ordering::PerStream);
    (1..=2).for_each(|number| old.deliver(delivery(1, at(number, "a", number), "k", Deed::Name)));
    run(&mut old, &mut store);
    let before = guard_of(&store, "k");
    let mut rebuilt = Lane::new(LaneOptions {
        ordering: Ordering::PerStream,
        epoch: Epoch(2),
        mode: LaneMode::Live(OnFailure::Stop),
        cache_bytes: 0,
    });
    rebuilt.deliver(delivery(2, at(1, "a", 1), "k", Deed::Name));
    let write = one_write(&mut rebuilt, &store);
    assert_eq!(write.condition, Condition::GuardIs(before));
    rebuilt.written(&write.key, store.write(&write));
    assert_eq!(store.names("k"), names(&["a/1"]));
    assert_eq!(guard_of(&store, "k").epoch, Epoch(2));
}

#[test]
fn a_closed_shard_shrinks_in_the_next_write_and_its_sleeper_finds_it_covered() {
    let mut store = Store::default();
    let mut sleeper = lane(Ordering::Commutative);
    sleeper.deliver(delivery(1, at(1, "a", 1), "k", Deed::Name));
    let asleep = one_write(&mut sleeper, &store);
    let mut lane = lane(Ordering::Commutative);
    lane.deliver(delivery(2, at(1, "a", 1), "k", Deed::Name));
    run(&mut lane, &mut store);
    lane.closed(ShardNumber(0));
    lane.deliver(delivery(3, origin(1, place(1), "a", 2), "k", Deed::Name));
    run(&mut lane, &mut store);
    let guard = guard_of(&store, "k");
    assert_eq!(places(&guard).closed_below, 1);
    assert_eq!(places(&guard).places.len(), 1);
    sleeper.written(&asleep.key, store.write(&asleep));
    assert_eq!(run(&mut sleeper, &mut store), 0);
    assert_eq!(store.names("k"), names(&["a/1", "a/2"]));
    assert_eq!(sleeper.take_settled(), [(LineId(1), BatchId(1), 1)]);
}

#[test]
fn a_small_cache_forgets_the_longest_untouched() {
    let mut store = Store::default();
    let options = LaneOptions {
        ordering: Ordering::PerStream,
        epoch: Epoch(1),
        mode: LaneMode::Live(OnFailure::Stop),
        cache_bytes: 2_000,
    };
    let mut lane = Lane::new(options);
    for number in 1..=20 {
        let stream = format!("s{number}");
        lane.deliver(delivery(1, at(number, &stream, 1), &stream, Deed::Name));
        run(&mut lane, &mut store);
    }
    for (stream, is_known) in [("s1", false), ("s20", true)] {
        lane.deliver(delivery(1, at(30, stream, 2), stream, Deed::Name));
        assert_eq!(lane.to_read(10).is_empty(), is_known, "{stream}");
    }
}

#[test]
fn a_documents_lane_is_always_the_same_and_documents_spread() {
    let lanes = std::num::NonZeroUsize::new(4).unwrap();
    let mut counts = [0; 4];
    (0..1_000).for_each(|number| counts[lane_of(&DocumentKey::new(format!("order-{number}")), lanes)] += 1);
    assert!(counts.iter().all(|count| (200..300).contains(count)), "{counts:?}");
    assert_eq!(lane_of(&DocumentKey::new("order-1"), lanes), lane_of(&DocumentKey::new("order-1"), lanes));
}
