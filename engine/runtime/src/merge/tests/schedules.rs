//! Schedules that broke other designs, and what each rule is for.

use std::time::Duration;

use foldstream_model::{DocumentKey, Fed, Ordering, Place, ShardNumber, Timestamp, ports::Written};

use crate::{
    guard::Origin,
    lanes::{
        Bounds, Delivery, Lane, LineId,
        tests::toy::{Deed, Store, delivery, guard_of, lane, names, one_write, origin, place, run},
    },
    merge::{Merge, MergeRead},
};

fn seconds(time: i64) -> Timestamp {
    Timestamp::from_seconds(time)
}

/// An event for document `k`; the line has the number of the shard.
fn event(shard: u32, at: u64, stream: &str, sequence: u64, recorded: i64) -> Delivery {
    let origin = Origin { recorded_at: seconds(recorded), ..origin(shard, place(at), stream, sequence) };
    delivery(u64::from(shard), origin, "k", Deed::Name)
}

/// Up to a watermark, with each shard read to a place.
fn bounds(watermark: i64, read: &[u64]) -> Bounds {
    let mut places = foldstream_model::ShardPlaces::default();
    places.places.extend((0..).map(ShardNumber).zip(read.iter().map(|at| place(*at))));
    Bounds { watermark: seconds(watermark), read: places.into() }
}

fn global() -> (Lane, Store) {
    (lane(Ordering::Global), Store::default())
}

#[test]
fn events_are_written_in_the_order_of_their_keys_up_to_the_watermark() {
    let (mut lane, mut store) = global();
    lane.merged(
        [event(0, 1, "a", 1, 30), event(0, 2, "b", 1, 10), event(1, 1, "c", 1, 20)],
        bounds(20, &[2, 1]),
    );
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["b/1", "c/1"]));
    assert!(!lane.is_idle());
    lane.merged([], bounds(30, &[2, 1]));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["b/1", "c/1", "a/1"]));
    assert!(lane.is_idle());
}

#[test]
fn an_event_that_waits_while_a_later_place_is_written_is_not_skipped_after_a_crash() {
    let (mut crashed, mut store) = global();
    let deliveries = || [event(0, 1, "a", 1, 5), event(0, 2, "b", 1, 3)];
    crashed.merged(deliveries(), bounds(4, &[2]));
    run(&mut crashed, &mut store);
    assert_eq!(store.names("k"), names(&["b/1"]), "place 2 is written and place 1 is not");
    let mut next = lane(Ordering::Global);
    next.merged(deliveries(), bounds(5, &[2]));
    run(&mut next, &mut store);
    assert_eq!(store.names("k"), names(&["b/1", "a/1"]));
    assert!(next.is_idle());
}

#[test]
fn events_of_one_instant_are_in_the_order_of_stream_and_sequence() {
    let (mut lane, mut store) = global();
    lane.merged([event(1, 1, "a", 1, 7), event(1, 2, "a", 2, 7)], bounds(6, &[0, 2]));
    lane.merged([event(0, 1, "B", 1, 7), event(0, 2, "b", 1, 7)], bounds(7, &[2, 2]));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["B/1", "a/1", "a/2", "b/1"]));
}

#[test]
fn an_event_that_waits_in_the_lane_is_sorted_anew_with_what_is_read_meanwhile() {
    let (mut lane, mut store) = global();
    lane.merged([event(0, 5, "a", 1, 5)], bounds(5, &[5, 0]));
    let reads = lane.to_read(10);
    lane.merged([event(1, 4, "b", 1, 4)], bounds(5, &[5, 4]));
    reads.iter().for_each(|key| lane.loaded(key, store.read(key)));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["b/1", "a/1"]));
    assert_eq!(lane.take_settled().len(), 2);
}

#[test]
fn an_event_that_is_read_while_a_later_one_is_being_written_is_late_and_not_a_duplicate() {
    let (mut lane, mut store) = global();
    lane.merged([event(0, 5, "a", 1, 5)], bounds(5, &[5, 0]));
    let write = one_write(&mut lane, &store);
    lane.merged([event(1, 4, "b", 1, 4), event(0, 6, "a", 2, 6)], bounds(6, &[6, 4]));
    lane.written(&write.key, store.write(&write));
    assert!(lane.to_write(10).is_empty(), "the document does not move on before the late event is recorded");
    let late = lane.take_late();
    assert_eq!(late.len(), 1);
    assert_eq!((late[0].origin.stream.as_str(), late[0].behind.stream.as_str()), ("b", "a"));
    assert_eq!(lane.take_settled().len(), 1, "nor does the late event settle");
    lane.late_recorded(&late[0].key);
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "a/2"]));
    assert_eq!(lane.take_settled().len(), 2);
}

#[test]
fn a_merge_that_has_read_less_than_a_document_knows_reads_on_before_it_writes() {
    let (mut ahead, mut store) = global();
    ahead.merged([event(0, 1, "a", 1, 1), event(1, 1, "b", 1, 8)], bounds(5, &[1, 1]));
    run(&mut ahead, &mut store);
    let mut behind = lane(Ordering::Global);
    behind.merged([event(0, 2, "a", 2, 9)], bounds(9, &[2, 0]));
    run(&mut behind, &mut store);
    assert_eq!(store.names("k"), names(&["a/1"]), "b/1 would be taken for a duplicate behind a/2");
    behind.merged([event(1, 1, "b", 1, 8)], bounds(9, &[2, 1]));
    run(&mut behind, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "b/1", "a/2"]));
    assert!(behind.is_idle() && behind.take_late().is_empty());
}

#[test]
fn a_shard_that_the_projection_has_settled_needs_no_reading_and_shrinks() {
    let (mut first, mut store) = global();
    first.merged([event(0, 1, "a", 1, 1)], bounds(1, &[1]));
    run(&mut first, &mut store);
    let mut next = lane(Ordering::Global);
    next.closed(ShardNumber(0));
    let mut after = bounds(9, &[]);
    std::sync::Arc::make_mut(&mut after.read).places.insert(ShardNumber(1), place(3));
    next.merged([event(1, 3, "a", 2, 2)], after);
    run(&mut next, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "a/2"]));
    let Fed::Ordered { read, .. } = guard_of(&store, "k").fed else { panic!("no global guard") };
    assert_eq!((read.closed_below, read.places.len()), (1, 1));
}

#[test]
fn behind_a_poison_event_the_document_takes_nothing_of_any_shard() {
    let (mut lane, mut store) = global();
    let mut poison = event(0, 2, "a", 2, 3);
    poison.touch = delivery(0, poison.origin.clone(), "k", Deed::Fail).touch;
    lane.merged(
        [event(0, 1, "a", 1, 1), poison, event(1, 1, "b", 1, 2), event(1, 2, "b", 2, 4)],
        bounds(9, &[2, 2]),
    );
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "b/1"]));
    assert_eq!(lane.take_poison().len(), 1);
    assert_eq!(lane.take_settled().len(), 2);
    lane.abandon(LineId(0));
    lane.merged([event(0, 1, "a", 1, 1), event(0, 2, "a", 2, 3)], bounds(9, &[2, 2]));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "b/1", "a/2", "b/2"]), "mended, all follows in order");
    assert!(lane.is_idle());
}

#[test]
fn after_a_reading_was_abandoned_nothing_is_written_until_there_are_new_bounds() {
    let (mut lane, mut store) = global();
    lane.merged([event(0, 1, "a", 1, 1), event(1, 1, "b", 1, 2)], bounds(9, &[1, 1]));
    lane.abandon(LineId(0));
    run(&mut lane, &mut store);
    assert!(store.names("k").is_empty(), "a guard would say that shard 0 was read");
    lane.merged([], bounds(0, &[0, 1]));
    lane.merged([event(0, 1, "a", 1, 1)], bounds(9, &[1, 1]));
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "b/1"]));
}

#[test]
fn while_a_shard_is_expected_again_no_guard_says_that_it_was_read() {
    let (mut lane, mut store) = global();
    let mut merge = merge_of(2);
    merge.read(ShardNumber(0), batch(1, Some(11), Some(90), None));
    lane.merged([event(0, 1, "a", 1, 11)], merge.bounds());
    merge.expect(ShardNumber(0));
    lane.abandon(LineId(0));
    merge.read(ShardNumber(1), batch(1, Some(12), Some(90), None));
    lane.merged([event(1, 1, "b", 1, 12)], merge.bounds());
    run(&mut lane, &mut store);
    assert!(store.names("k").is_empty());
    merge.begin(ShardNumber(0), Place::BEGINNING, None);
    merge.read(ShardNumber(0), batch(1, Some(11), Some(90), None));
    lane.merged([event(0, 1, "a", 1, 11)], merge.bounds());
    run(&mut lane, &mut store);
    assert_eq!(store.names("k"), names(&["a/1", "b/1"]));
}

#[test]
fn a_late_event_that_is_met_again_is_recorded_again_and_never_applied() {
    let (mut lane_of_first, mut store) = global();
    lane_of_first.merged([event(0, 1, "a", 1, 5)], bounds(5, &[1, 0]));
    run(&mut lane_of_first, &mut store);
    for _ in 0..2 {
        let mut next = lane(Ordering::Global);
        next.merged([event(1, 1, "b", 1, 4)], bounds(5, &[1, 1]));
        run(&mut next, &mut store);
        assert_eq!(next.take_late().len(), 1);
        next.late_recorded(&DocumentKey::new("k"));
        run(&mut next, &mut store);
        assert!(next.is_idle());
    }
    assert_eq!(store.names("k"), names(&["a/1"]));
}

#[test]
fn a_lost_response_of_a_merge_is_read_back_too() {
    let (mut lane, mut store) = global();
    lane.merged([event(0, 1, "a", 1, 5)], bounds(5, &[1]));
    let write = one_write(&mut lane, &store);
    assert!(matches!(store.write(&write), Written::Done));
    lane.unknown([&write.key]);
    assert_eq!(run(&mut lane, &mut store), 0);
    assert_eq!(lane.take_settled().len(), 1);
}

fn batch(at: u64, newest: Option<i64>, tip: Option<i64>, low_watermark: Option<i64>) -> MergeRead {
    let (newest, tip, low_watermark) = (newest.map(seconds), tip.map(seconds), low_watermark.map(seconds));
    MergeRead { up_to: place(at), newest, tip, low_watermark }
}

/// All that was recorded before this time, and what was at it is still to come.
fn before(time: i64) -> Timestamp {
    seconds(time).plus_micros(-1)
}

fn merge_of(shards: u32) -> Merge {
    let mut merge = Merge::new(Duration::from_secs(10));
    assert_eq!(merge.watermark(), Timestamp::MIN);
    (0..shards).for_each(|shard| merge.begin(ShardNumber(shard), Place::BEGINNING, None));
    merge
}

#[test]
fn the_watermark_waits_for_the_slowest_shard_less_the_lateness() {
    let mut merge = merge_of(2);
    merge.read(ShardNumber(0), batch(4, Some(100), None, None));
    assert_eq!((merge.watermark(), merge.held_by()), (Timestamp::MIN, Some(ShardNumber(1))));
    merge.read(ShardNumber(1), batch(4, Some(70), None, None));
    assert_eq!(merge.watermark(), before(60));
    merge.read(ShardNumber(1), batch(9, Some(50), None, None));
    assert_eq!(merge.watermark(), before(60), "it does not go back");
    let read: Vec<_> = merge.bounds().read.places.values().cloned().collect();
    assert_eq!(read, [place(4), place(9)]);
}

#[test]
fn a_shard_at_its_tip_holds_at_the_time_of_the_read_that_found_it() {
    let mut merge = merge_of(1);
    merge.read(ShardNumber(0), batch(4, Some(100), Some(150), None));
    assert_eq!(merge.watermark(), before(140));
}

#[test]
fn a_stated_low_watermark_counts_at_the_tip_and_no_clock_does() {
    let mut merge = merge_of(1);
    merge.read(ShardNumber(0), batch(4, None, None, Some(30)));
    assert_eq!(merge.watermark(), Timestamp::MIN, "what it speaks of may not be read yet");
    merge.read(ShardNumber(0), batch(4, None, Some(9_000), Some(30)));
    assert_eq!(merge.watermark(), seconds(30), "there is no lateness in a promise");
}

#[test]
fn a_shard_that_is_expected_holds_before_it_begins() {
    let mut merge = merge_of(1);
    merge.expect(ShardNumber(1));
    merge.read(ShardNumber(0), batch(4, Some(100), Some(150), None));
    assert_eq!((merge.watermark(), merge.held_by()), (Timestamp::MIN, Some(ShardNumber(1))));
    merge.begin(ShardNumber(1), place(7), Some(seconds(120)));
    assert_eq!(merge.watermark(), before(110));
}

#[test]
fn an_ended_parent_holds_until_its_children_have_begun_where_it_stopped() {
    let mut merge = merge_of(2);
    merge.read(ShardNumber(0), batch(4, Some(100), None, None));
    merge.ended(ShardNumber(0), &[ShardNumber(2), ShardNumber(3)]);
    merge.read(ShardNumber(1), batch(4, None, Some(500), None));
    merge.begin(ShardNumber(2), Place::BEGINNING, None);
    merge.read(ShardNumber(2), batch(1, None, Some(500), None));
    assert_eq!(merge.watermark(), before(90));
    merge.begin(ShardNumber(3), Place::BEGINNING, None);
    assert_eq!((merge.watermark(), merge.held_by()), (before(90), Some(ShardNumber(3))));
    merge.read(ShardNumber(3), batch(1, None, Some(500), None));
    assert_eq!(merge.watermark(), before(490));
}

#[test]
fn an_ended_parent_is_held_by_the_other_parent_of_its_child() {
    let mut merge = merge_of(2);
    merge.read(ShardNumber(0), batch(4, Some(100), None, None));
    merge.ended(ShardNumber(0), &[ShardNumber(2)]);
    merge.read(ShardNumber(1), batch(4, Some(120), None, None));
    assert_eq!((merge.watermark(), merge.held_by()), (before(90), Some(ShardNumber(1))));
}

#[test]
fn when_all_shards_have_ended_for_good_nothing_holds() {
    let mut merge = merge_of(2);
    (0..2).for_each(|shard| merge.ended(ShardNumber(shard), &[]));
    assert_eq!((merge.watermark(), merge.held_by()), (Timestamp::MAX, None));
}

#[test]
fn a_reading_that_begins_again_goes_back_to_its_place_and_holds() {
    let mut merge = merge_of(1);
    merge.read(ShardNumber(0), batch(9, Some(100), None, None));
    merge.begin(ShardNumber(0), place(3), Some(seconds(40)));
    assert_eq!(merge.watermark(), before(30));
    assert_eq!(merge.bounds().read.places[&ShardNumber(0)], place(3));
}
