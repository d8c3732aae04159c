//! What is parked of a `global` document by merges that have not read the same.

use foldstream_model::{DocumentKey, Epoch, OnFailure, Ordering, ShardNumber, Timestamp};

use crate::{
    guard::Origin,
    lanes::{
        Bounds, Delivery, Lane, LaneMode, LaneOptions,
        tests::{
            lot::Lot,
            toy::{Deed, Store, carrying, delivery, name_of, names, one_write, origin, place, run, touch},
        },
    },
    parking::{Redrive, Step, Waiting},
};

/// An event for document `k`, which it cannot take before the code is mended.
fn event(shard: u32, at: u64, stream: &str, recorded: i64) -> Delivery {
    let recorded_at = Timestamp::from_seconds(recorded);
    let origin = Origin { recorded_at, ..origin(shard, place(at), stream, 1) };
    carrying(delivery(u64::from(shard), origin, "k", Deed::Fail))
}

/// Up to a watermark, with each shard read to a place.
fn bounds(watermark: i64, read: [u64; 2]) -> Bounds {
    let mut places = foldstream_model::ShardPlaces::default();
    places.places.extend((0..).map(ShardNumber).zip(read.map(place)));
    Bounds { watermark: Timestamp::from_seconds(watermark), read: places.into() }
}

fn k() -> DocumentKey {
    DocumentKey::new("k")
}

fn merge() -> Lane {
    let mode = LaneMode::Live(OnFailure::Park);
    Lane::new(LaneOptions { ordering: Ordering::Global, epoch: Epoch(1), mode, cache_bytes: 0 })
}

/// Puts what is to be parked into the lot; none if nothing is.
fn park(lane: &mut Lane, lot: &mut Lot) -> Option<()> {
    let request = lane.take_parking().pop()?;
    let answer = lot.append(Ordering::Global, &request, usize::MAX);
    lane.parked(&request.key, answer);
    Some(())
}

/// Writes and parks until nothing moves; the names of the events that were late.
fn finish(lane: &mut Lane, store: &mut Store, lot: &mut Lot) -> Vec<String> {
    let mut late = Vec::new();
    loop {
        run(lane, store);
        let recorded = lane.take_late();
        recorded.iter().for_each(|event| lane.late_recorded(&event.key));
        late.extend(recorded.iter().map(|event| name_of(&event.origin)));
        if recorded.is_empty() && park(lane, lot).is_none() {
            return late;
        }
    }
}

/// By mended code; the names of the events that were late.
fn redrive(store: &mut Store, lot: &mut Lot) -> Vec<String> {
    let (mut redrive, mut late) = (Redrive::new(k(), Ordering::Global, Epoch(1), false), Vec::new());
    loop {
        match redrive.step() {
            Step::Read => redrive.read(store.read(&k())),
            Step::List => {
                let document = k();
                let waiting = lot.of(&document).map(|(order, origin)| Waiting {
                    order: order.clone(),
                    origin: origin.clone(),
                    touch: touch("k", name_of(origin), Deed::Name),
                    is_discarded: false,
                    is_late: false,
                });
                redrive.listed(waiting.collect(), Vec::new());
            }
            Step::Write(write) => redrive.written(store.write(&write)),
            Step::RecordLate(recorded) => {
                late.extend(recorded.iter().map(|event| name_of(&event.origin)));
                redrive.late_recorded();
            }
            Step::Remove(orders) => {
                lot.remove(&k(), &orders);
                redrive.removed();
            }
            Step::Close(mark) => redrive.closed(lot.close(&k(), mark)),
            Step::Decide(_) => unreachable!("no discard is asked for"),
            Step::Ended(_) => return late,
        }
    }
}

#[test]
fn what_comes_behind_what_is_parked_and_was_not_read_is_late() {
    let (mut store, mut lot) = (Store::default(), Lot::default());
    let mut first = merge();
    first.merged([event(0, 1, "e", 98)], bounds(98, [1, 0]));
    assert_eq!(finish(&mut first, &mut store, &mut lot), names(&[]));
    let mut second = merge();
    second.merged([event(1, 2, "a", 61), event(1, 1, "f", 80)], bounds(61, [1, 2]));
    assert_eq!(finish(&mut second, &mut store, &mut lot), names(&["a/1", "f/1"]));
    assert_eq!(redrive(&mut store, &mut lot), names(&[]));
    assert_eq!(store.names("k"), names(&["e/1"]));
}

#[test]
fn a_merge_that_has_read_less_than_the_one_that_parked_reads_on_before_it_parks() {
    let (mut store, mut lot) = (Store::default(), Lot::default());
    let mut ahead = merge();
    ahead.merged([event(1, 2, "a", 61), event(1, 1, "f", 80)], bounds(61, [0, 2]));
    assert_eq!(finish(&mut ahead, &mut store, &mut lot), names(&[]));
    let mut behind = merge();
    behind.merged([event(0, 1, "e", 98)], bounds(98, [1, 0]));
    finish(&mut behind, &mut store, &mut lot);
    assert_eq!(lot.events.len(), 1, "with e/1 what was read of f/1 would be taken for parked");
    behind.merged([event(1, 2, "a", 61), event(1, 1, "f", 80)], bounds(98, [1, 2]));
    assert_eq!(finish(&mut behind, &mut store, &mut lot), names(&[]));
    assert_eq!(redrive(&mut store, &mut lot), names(&[]));
    assert_eq!(store.names("k"), names(&["a/1", "f/1", "e/1"]));
}

#[test]
fn whoever_is_overtaken_between_the_lot_and_the_guard_has_parked_nothing() {
    let (mut store, mut lot) = (Store::default(), Lot::default());
    let mut fast = merge();
    fast.merged([event(1, 1, "b", 10)], bounds(10, [0, 1]));
    finish(&mut fast, &mut store, &mut lot);
    let mut slow = merge();
    slow.merged([event(0, 1, "a", 61)], bounds(61, [1, 1]));
    run(&mut slow, &mut store);
    park(&mut slow, &mut lot);
    let moved = one_write(&mut slow, &store);
    assert!(slow.take_settled().is_empty(), "it is in the lot, and the guard does not say so yet");

    assert_eq!(redrive(&mut store, &mut lot), names(&[]));
    assert_eq!(store.names("k"), names(&["b/1"]), "nor does a redrive take it");
    fast.merged([event(1, 2, "e", 98)], bounds(98, [0, 2]));
    finish(&mut fast, &mut store, &mut lot);
    assert_eq!(lot.events.len(), 2);
    assert_eq!(redrive(&mut store, &mut lot), names(&["a/1"]));
    assert_eq!(store.names("k"), names(&["b/1", "e/1"]));

    slow.written(&k(), store.write(&moved));
    assert_eq!(finish(&mut slow, &mut store, &mut lot), names(&["a/1"]));
    assert_eq!(slow.take_settled().len(), 1);
}
