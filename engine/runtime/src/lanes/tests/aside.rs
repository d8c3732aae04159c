//! Events that are set aside: each step of it, and what would go wrong without it.

use std::{collections::BTreeSet, sync::Arc};

use foldstream_model::{
    DocumentKey, Epoch, Error, Fed, Guard, Mark, MarkNumber, OnFailure, Ordering, ShardNumber, ShardPlaces,
    Timestamp,
    ports::{Condition, Written},
};

use super::toy::{Deed, Store, carrying, delivery, guard_of, names, one_write, origin, place, run};
use crate::{
    guard::Origin,
    lanes::{Bounds, Delivery, Lane, LaneMode, LaneOptions, LineId, ParkAnswer},
};

fn at(shard: u32, number: u64, stream: &str, sequence: u64) -> Origin {
    origin(shard, place(number), stream, sequence)
}

fn event(number: u64, deed: Deed) -> Delivery {
    carrying(delivery(1, at(0, number, "a", number), "k", deed))
}

fn lane(ordering: Ordering, on_failure: OnFailure) -> Lane {
    let mode = LaneMode::Live(on_failure);
    Lane::new(LaneOptions { ordering, epoch: Epoch(1), mode, cache_bytes: 1_000_000 })
}

fn parks(ordering: Ordering) -> Lane {
    lane(ordering, OnFailure::Park)
}

fn k() -> DocumentKey {
    DocumentKey::new("k")
}

fn settled(lane: &mut Lane) -> Vec<u64> {
    lane.take_settled().into_iter().map(|(_, batch, _)| batch.0).collect()
}

const SET: Option<Mark> = Some(Mark::Set(MarkNumber(1)));
const CLEARED: Option<Mark> = Some(Mark::Cleared(MarkNumber(1)));

#[test]
fn a_document_is_marked_before_anything_of_it_is_parked_and_nothing_is_settled_before_that_is_durable() {
    let (mut lane, mut store) = (parks(Ordering::PerStream), Store::default());
    for (number, deed) in [(1, Deed::Name), (2, Deed::Fail), (3, Deed::Name)] {
        lane.deliver(event(number, deed));
    }
    run(&mut lane, &mut store);
    assert_eq!((store.names("k"), guard_of(&store, "k").mark), (names(&["a/1"]), SET));
    assert_eq!(settled(&mut lane), [1]);
    let requests = lane.take_parking();
    let found: Vec<_> = requests[0].events.iter().map(|event| event.origin.sequence.0).collect();
    assert_eq!((requests.len(), requests[0].mark, found), (1, MarkNumber(1), vec![2, 3]));
    let errors: Vec<_> = requests[0].events.iter().map(|event| event.error.is_some()).collect();
    assert_eq!(errors, [true, false], "only one could not be taken");
    lane.deliver(event(4, Deed::Name));
    assert_eq!(run(&mut lane, &mut store), 0, "what comes meanwhile waits");
    lane.parked(&k(), ParkAnswer::Parked(2));
    assert_eq!(settled(&mut lane), [2, 3]);
    run(&mut lane, &mut store);
    assert_eq!(lane.take_parking()[0].events.len(), 1, "and is parked, too");
    lane.parked(&k(), ParkAnswer::Parked(1));
    assert!(lane.is_idle() && lane.take_poison().is_empty());
    assert_eq!((lane.bytes(), store.names("k")), (0, names(&["a/1"])));
}

/// What is not read yet and is ordered before it would be late if this were redriven first.
#[test]
fn of_a_global_document_only_what_is_due_is_parked() {
    let (mut lane, mut store) = (parks(Ordering::Global), Store::default());
    let micros = Timestamp::from_micros;
    let events = [(1, Deed::Fail, 10), (2, Deed::Name, 20)].map(|(number, deed, recorded_at)| {
        let origin = Origin { recorded_at: micros(recorded_at), ..at(0, number, "a", number) };
        carrying(delivery(1, origin, "k", deed))
    });
    let mut read = ShardPlaces::default();
    read.places.insert(ShardNumber(0), place(2));
    let read = Arc::new(read);
    lane.merged(events, Bounds { watermark: micros(15), read: read.clone() });
    run(&mut lane, &mut store);
    let parked = |lane: &mut Lane| -> Vec<u64> {
        let requests = lane.take_parking();
        requests.iter().flat_map(|request| &request.events).map(|event| event.origin.sequence.0).collect()
    };
    assert_eq!(parked(&mut lane), [1]);
    lane.parked(&k(), ParkAnswer::Parked(1));
    assert_eq!(settled(&mut lane), [0; 0], "the guard does not say so yet");
    run(&mut lane, &mut store);
    assert_eq!((settled(&mut lane), parked(&mut lane)), (vec![1], vec![]));
    lane.merged([], Bounds { watermark: micros(20), read });
    run(&mut lane, &mut store);
    assert_eq!(parked(&mut lane), [2]);
}

#[test]
fn a_document_that_is_not_there_is_made_empty_to_carry_the_mark() {
    for (ordering, fed) in [(Ordering::PerStream, true), (Ordering::Commutative, false)] {
        let (mut lane, mut store) = (parks(ordering), Store::default());
        lane.deliver(event(1, Deed::Fail));
        run(&mut lane, &mut store);
        let stored = store.read(&k()).unwrap();
        assert_eq!((stored.guard.mark, stored.document), (SET, None));
        assert_eq!(stored.guard.fed == Fed::Nothing, fed, "{ordering:?}");
        assert_eq!(lane.take_parking()[0].events.len(), 1);
    }
}

#[test]
fn whoever_holds_an_older_base_finds_the_mark_by_its_conflict_and_parks() {
    let mut store = Store::default();
    let (mut sleeper, mut other) = (parks(Ordering::Commutative), parks(Ordering::Commutative));
    sleeper.deliver(carrying(delivery(1, at(0, 1, "a", 1), "k", Deed::Name)));
    run(&mut sleeper, &mut store);
    other.deliver(carrying(delivery(2, at(1, 1, "b", 1), "k", Deed::Fail)));
    run(&mut other, &mut store);
    sleeper.deliver(carrying(delivery(1, at(0, 2, "a", 2), "k", Deed::Name)));
    run(&mut sleeper, &mut store);
    assert_eq!(store.names("k"), names(&["a/1"]));
    assert_eq!(sleeper.take_parking()[0].events[0].origin.sequence.0, 2);
}

#[test]
fn a_mark_that_is_closed_is_taken_off_and_what_was_to_be_parked_is_applied() {
    let (mut lane, mut store) = (parks(Ordering::PerStream), Store::default());
    lane.deliver(event(1, Deed::Fail));
    run(&mut lane, &mut store);
    lane.take_parking();
    lane.parked(&k(), ParkAnswer::Parked(1));
    // A redrive applies it, and closes the mark.
    let mut mended = Lane::new(LaneOptions {
        ordering: Ordering::PerStream,
        epoch: Epoch(1),
        mode: LaneMode::Redrive,
        cache_bytes: 0,
    });
    mended.deliver(event(1, Deed::Name));
    run(&mut mended, &mut store);
    assert_eq!((store.names("k"), guard_of(&store, "k").mark), (names(&["a/1"]), SET));
    lane.deliver(event(2, Deed::Name));
    run(&mut lane, &mut store);
    assert_eq!(lane.take_parking().len(), 1);
    lane.parked(&k(), ParkAnswer::Closed);
    run(&mut lane, &mut store);
    assert_eq!((store.names("k"), guard_of(&store, "k").mark), (names(&["a/1", "a/2"]), CLEARED));
    lane.deliver(event(3, Deed::Fail));
    run(&mut lane, &mut store);
    assert_eq!(guard_of(&store, "k").mark, Some(Mark::Set(MarkNumber(2))), "the next mark is another");
}

#[test]
fn what_the_store_will_not_take_is_parked_at_the_event_that_made_it_so() {
    let (mut lane, mut store) = (parks(Ordering::PerStream), Store::default());
    store.refused.push("a/3".to_owned());
    (1..=5).for_each(|number| lane.deliver(event(number, Deed::Name)));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "a/2"]));
    let requests = lane.take_parking();
    let found: Vec<_> = requests[0].events.iter().map(|event| event.origin.sequence.0).collect();
    assert_eq!(found, [3, 4, 5]);
}

#[test]
fn a_document_that_the_store_does_not_even_mark_stops_the_projection() {
    let (mut lane, mut store) = (parks(Ordering::PerStream), Store::default());
    lane.deliver(event(1, Deed::Name));
    run(&mut lane, &mut store);
    lane.deliver(event(2, Deed::Fail));
    store.refused.push("a/1".to_owned());
    run(&mut lane, &mut store);
    assert_eq!(lane.take_poison().len(), 1);
}

#[test]
fn a_full_lot_stops_the_projection_at_the_first_event_that_has_no_room() {
    let (mut lane, mut store) = (parks(Ordering::PerStream), Store::default());
    lane.deliver(event(1, Deed::Fail));
    lane.deliver(event(2, Deed::Name));
    run(&mut lane, &mut store);
    lane.take_parking();
    lane.parked(&k(), ParkAnswer::Full(Error::poison("full")));
    run(&mut lane, &mut store);
    let poison = lane.take_poison();
    assert_eq!((poison.len(), poison[0].origin.sequence.0, poison[0].error.message()), (1, 1, "full"));
    assert!(lane.is_idle() && settled(&mut lane).is_empty());
    lane.abandon(LineId(1));
    assert_eq!(lane.bytes(), 0);
}

#[test]
fn what_there_is_room_for_is_parked_and_the_projection_stops_behind_it() {
    for ordering in [Ordering::Commutative, Ordering::Global] {
        let (mut lane, mut store) = (parks(ordering), Store::default());
        let deliveries = (1..=4).map(|number| {
            let line = if number == 1 { 1 } else { 2 };
            carrying(delivery(line, at(line as u32, number, "a", number), "k", Deed::Fail))
        });
        let mut read = ShardPlaces::default();
        read.places.extend([(ShardNumber(1), place(1)), (ShardNumber(2), place(4))]);
        let read = Arc::new(read);
        match ordering {
            Ordering::Global => {
                lane.merged(deliveries, Bounds { watermark: Timestamp::EPOCH, read: read.clone() })
            }
            _ => deliveries.for_each(|delivery| lane.deliver(delivery)),
        }
        run(&mut lane, &mut store);
        assert_eq!(lane.take_parking()[0].events.len(), 4);
        lane.abandon(LineId(1));
        lane.merged([], Bounds { watermark: Timestamp::EPOCH, read });
        lane.parked(&k(), ParkAnswer::Parked(2));
        run(&mut lane, &mut store);
        assert_eq!(settled(&mut lane), [2], "the first that is in the lot was forgotten with its line");
        assert_eq!(lane.take_parking()[0].events.len(), 2);
        lane.parked(&k(), ParkAnswer::Full(Error::poison("full")));
        run(&mut lane, &mut store);
        assert_eq!(lane.take_poison()[0].origin.sequence.0, 3);
    }
}

#[test]
fn a_projection_that_is_told_to_stop_does_not_pass_a_mark() {
    let mut store = Store::default();
    let mut before = parks(Ordering::PerStream);
    before.deliver(event(1, Deed::Fail));
    run(&mut before, &mut store);
    for on_failure in [OnFailure::Stop, OnFailure::Discard] {
        let mut lane = lane(Ordering::PerStream, on_failure);
        lane.deliver(event(1, Deed::Name));
        run(&mut lane, &mut store);
        assert!(lane.take_poison()[0].error.message().contains("redrive or discard them"));
        assert_eq!(store.names("k"), names(&[]));
    }
}

/// Records what is to be recorded as discarded; false if nothing is.
fn record(lane: &mut Lane, recorded: &mut BTreeSet<u64>) -> bool {
    let discards = lane.take_discards();
    recorded.extend(discards.iter().map(|discard| discard.event.origin.sequence.0));
    discards.iter().for_each(|discard| lane.discarded(&discard.key));
    !discards.is_empty()
}

fn run_and_record(lane: &mut Lane, store: &mut Store, recorded: &mut BTreeSet<u64>) {
    run(lane, store);
    while record(lane, recorded) {
        run(lane, store);
    }
}

#[test]
fn a_document_is_moved_past_what_is_discarded_and_that_is_on_record_before_it_settles() {
    let (mut lane, mut store) = (lane(Ordering::PerStream, OnFailure::Discard), Store::default());
    for (number, deed) in [(1, Deed::Fail), (2, Deed::Name), (3, Deed::Fail), (4, Deed::Name)] {
        lane.deliver(event(number, deed));
    }
    for (number, before, is_settled) in [(1, &[][..], &[][..]), (3, &["a/2"], &[1, 2])] {
        run(&mut lane, &mut store);
        assert_eq!((store.names("k"), store.sequence("k")), (names(before), Some(number)));
        assert_eq!(guard_of(&store, "k").unrecorded, BTreeSet::from([(ShardNumber(0), place(number))]));
        assert_eq!(settled(&mut lane), is_settled);
        let discards = lane.take_discards();
        assert_eq!((discards.len(), discards[0].event.origin.sequence.0), (1, number));
        assert!(discards[0].event.error.is_some());
        lane.discarded(&k());
    }
    assert_eq!(run(&mut lane, &mut store), 1, "what follows goes with it");
    assert_eq!(store.names("k"), names(&["a/2", "a/4"]));
    assert_eq!(settled(&mut lane), [3, 4]);
    let guard = guard_of(&store, "k");
    assert!(guard.mark.is_none() && guard.unrecorded.is_empty());
}

/// Does one thing: reads, writes or records.
fn step(lane: &mut Lane, store: &mut Store, recorded: &mut BTreeSet<u64>) {
    let reads = lane.to_read(1);
    reads.iter().for_each(|key| lane.loaded(key, store.read(key)));
    if reads.is_empty() && !record(lane, recorded) {
        lane.to_write(1).iter().for_each(|write| lane.written(&write.key, store.write(write)));
    }
}

/// The store refuses a document that ends with the event, and takes one that goes on behind it.
#[test]
fn an_event_that_another_has_written_together_with_the_next_one_is_not_discarded() {
    for ordering in [Ordering::PerStream, Ordering::Commutative] {
        let mut outcomes = BTreeSet::new();
        for arrival in 0..20 {
            let mut store = Store { refused_last: names(&["a/2"]), ..Store::default() };
            let discards = || lane(ordering, OnFailure::Discard);
            let (mut ours, mut other) = (discards(), discards());
            ours.deliver(event(1, Deed::Name));
            run(&mut ours, &mut store);
            for number in [2, 3] {
                other.deliver(carrying(delivery(2, at(0, number, "a", number), "k", Deed::Name)));
            }
            let on_its_way = one_write(&mut other, &store);
            ours.deliver(event(2, Deed::Name));
            let mut recorded = BTreeSet::new();
            for number in 0..20 {
                if number == arrival {
                    other.written(&k(), store.write(&on_its_way));
                }
                step(&mut ours, &mut store, &mut recorded);
            }
            run_and_record(&mut other, &mut store, &mut recorded);
            let kept = [1, 2, 3].into_iter().filter(|number| !recorded.contains(number));
            let kept: Vec<_> = kept.map(|number| format!("a/{number}")).collect();
            assert_eq!(store.names("k"), kept, "{ordering:?} arrival={arrival}");
            assert!(guard_of(&store, "k").unrecorded.is_empty());
            assert_eq!((settled(&mut ours), settled(&mut other)), (vec![1, 2], vec![2, 3]));
            outcomes.insert(recorded);
        }
        assert_eq!(outcomes, BTreeSet::from([BTreeSet::new(), BTreeSet::from([2])]), "{ordering:?}");
    }
}

/// A document that was moved past its second event by a worker that has ended before it could record that.
fn passed_over(ordering: Ordering) -> Store {
    let mut store = Store::default();
    let mut ended = lane(ordering, OnFailure::Discard);
    ended.deliver(event(1, Deed::Name));
    ended.deliver(event(2, Deed::Fail));
    run(&mut ended, &mut store);
    assert_eq!(guard_of(&store, "k").unrecorded.len(), 1);
    store
}

#[test]
fn whoever_meets_a_discarded_event_next_records_it_and_no_code_takes_it_any_more() {
    for on_failure in [OnFailure::Discard, OnFailure::Park] {
        let (mut lane, mut store) = (lane(Ordering::PerStream, on_failure), passed_over(Ordering::PerStream));
        let mut recorded = BTreeSet::new();
        (2..=3).for_each(|number| lane.deliver(event(number, Deed::Name)));
        run_and_record(&mut lane, &mut store, &mut recorded);
        assert_eq!((store.names("k"), recorded), (names(&["a/1", "a/3"]), BTreeSet::from([2])));
        assert!(guard_of(&store, "k").unrecorded.is_empty() && lane.is_idle());
        assert_eq!(settled(&mut lane), [2, 3]);
    }
}

#[test]
fn who_carries_nothing_to_record_stops_at_a_discarded_event() {
    let (mut lane, mut store) =
        (lane(Ordering::PerStream, OnFailure::Stop), passed_over(Ordering::PerStream));
    lane.deliver(delivery(2, at(0, 2, "a", 2), "k", Deed::Name));
    run(&mut lane, &mut store);
    assert!(lane.take_poison()[0].error.message().contains("on_failure: discard"));
    assert_eq!((settled(&mut lane), store.names("k")), (vec![], names(&["a/1"])));
}

#[test]
fn a_discarded_event_is_recorded_although_its_document_is_parked_meanwhile() {
    let (mut lane, mut store) = (parks(Ordering::Commutative), passed_over(Ordering::Commutative));
    lane.deliver(carrying(delivery(2, at(1, 1, "b", 1), "k", Deed::Fail)));
    run(&mut lane, &mut store);
    assert_eq!(lane.take_parking().len(), 1);
    lane.parked(&k(), ParkAnswer::Parked(1));
    let mut recorded = BTreeSet::new();
    (2..=3).for_each(|number| lane.deliver(event(number, Deed::Name)));
    run_and_record(&mut lane, &mut store, &mut recorded);
    assert_eq!(recorded, BTreeSet::from([2]));
    let requests = lane.take_parking();
    let parked: Vec<_> = requests[0].events.iter().map(|event| event.origin.sequence.0).collect();
    assert_eq!(parked, [3]);
    let guard = guard_of(&store, "k");
    assert_eq!((guard.mark, guard.unrecorded.len()), (SET, 0));
}

/// What is ordered before it and was read is in the document; what was not read comes too late.
#[test]
fn a_global_document_that_was_moved_past_an_event_is_as_far_as_the_merge() {
    let (mut lane, mut store) = (lane(Ordering::Global, OnFailure::Discard), Store::default());
    let of = |shard, number, stream, micros, deed| {
        let recorded_at = Timestamp::from_micros(micros);
        let origin = Origin { recorded_at, ..at(shard, number, stream, number) };
        carrying(delivery(u64::from(shard) + 1, origin, "k", deed))
    };
    let bounds = |shards: &[(u32, u64)]| {
        let mut read = ShardPlaces::default();
        read.places.extend(shards.iter().map(|(shard, number)| (ShardNumber(*shard), place(*number))));
        Bounds { watermark: Timestamp::from_micros(50), read: Arc::new(read) }
    };
    let mut recorded = BTreeSet::new();
    lane.merged([of(0, 1, "a", 10, Deed::Name), of(0, 2, "a", 20, Deed::Fail)], bounds(&[(0, 2)]));
    run_and_record(&mut lane, &mut store, &mut recorded);
    assert_eq!((store.names("k"), recorded), (names(&["a/1"]), BTreeSet::from([2])));
    lane.merged([of(1, 1, "b", 15, Deed::Name), of(1, 2, "b", 30, Deed::Name)], bounds(&[(0, 2), (1, 2)]));
    run(&mut lane, &mut store);
    assert_eq!(lane.take_late().len(), 1);
    lane.late_recorded(&k());
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "b/2"]));
}

#[test]
fn an_event_of_another_stream_is_not_discarded_as_no_guard_can_say_so() {
    let (mut lane, mut store) = (lane(Ordering::PerStream, OnFailure::Discard), Store::default());
    lane.deliver(event(1, Deed::Name));
    lane.deliver(carrying(delivery(1, at(0, 2, "b", 7), "k", Deed::Name)));
    run(&mut lane, &mut store);
    assert!(lane.take_poison()[0].error.message().contains("two streams"));
    assert_eq!((store.sequence("k"), lane.take_discards().len()), (Some(1), 0));
}

#[test]
fn an_abandoned_reading_takes_its_events_out_of_what_is_being_parked() {
    let (mut lane, mut store) = (parks(Ordering::PerStream), Store::default());
    lane.deliver(event(1, Deed::Fail));
    run(&mut lane, &mut store);
    lane.take_parking();
    lane.abandon(LineId(1));
    assert!(lane.is_idle());
    lane.parked(&k(), ParkAnswer::Closed);
    run(&mut lane, &mut store);
    assert!(settled(&mut lane).is_empty() && lane.bytes() == 0);
    lane.deliver(carrying(delivery(2, at(0, 1, "a", 1), "k", Deed::Name)));
    run(&mut lane, &mut store);
    assert_eq!(lane.take_parking().len(), 1, "what comes again is parked again");
}

#[test]
fn a_shard_that_ends_while_events_of_it_wait_shrinks_only_when_the_mark_is_off() {
    let (mut lane, mut store) = (parks(Ordering::Commutative), Store::default());
    for (number, deed) in [(1, Deed::Name), (2, Deed::Fail)] {
        lane.deliver(carrying(delivery(1, at(0, number, "a", number), "k", deed)));
    }
    run(&mut lane, &mut store);
    lane.take_parking();
    lane.parked(&k(), ParkAnswer::Parked(1));
    lane.closed(ShardNumber(0));
    let places = |guard: &Guard| match &guard.fed {
        Fed::Shards { places, .. } => places.closed_below,
        _ => panic!("no commutative guard"),
    };
    lane.deliver(carrying(delivery(2, at(1, 1, "b", 1), "k", Deed::Name)));
    run(&mut lane, &mut store);
    assert_eq!(places(&guard_of(&store, "k")), 0);
    lane.take_parking();
    lane.parked(&k(), ParkAnswer::Closed);
    let write = one_write(&mut lane, &store);
    assert!(matches!(write.condition, Condition::GuardIs(_)));
    assert_eq!((write.put.guard.mark, places(&write.put.guard)), (CLEARED, 1));
    assert!(matches!(store.write(&write), Written::Done));
}
