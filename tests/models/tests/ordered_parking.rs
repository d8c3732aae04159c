//! A `global` document that cannot take an event: whatever its merges have read, each event is applied once, in the
//! order of the keys, or is on record as late.

use foldstream_models::{
    checking::{Found, breaks, holds},
    ordered_parking::{Event, Events, OrderedParking, Wrong},
};

/// An event in each shard.
const APART: Events = [&[1], &[2]];
/// What comes second is ordered before what came first.
const BEHIND: Events = [&[2, 1], &[]];
/// What comes first in the second shard is ordered behind what comes then.
const CROSSED: Events = [&[3], &[2, 1]];

fn model(events: Events, poison: Event, wrong: &'static [Wrong]) -> OrderedParking {
    OrderedParking {
        events,
        poison,
        workers: 2,
        mended: false,
        caches: false,
        redrives: 1,
        page: 3,
        crashes: 0,
        begins: 0,
        faults: 0,
        marks: 1,
        wrong,
        found: Found::default(),
    }
}

#[test]
fn two_merges_park_what_they_have_read_of_two_shards() {
    holds("ordered parking, three events", model(CROSSED, 3, &[]));
}

#[test]
fn a_merge_that_begins_again_brings_back_what_was_redriven() {
    holds("ordered parking, begun again", OrderedParking { crashes: 1, ..model(BEHIND, 2, &[]) });
}

#[test]
fn a_shard_that_is_read_again_beside_the_other_one_does_no_harm() {
    holds("ordered parking, one shard begun again", OrderedParking { begins: 1, ..model(APART, 1, &[]) });
}

#[test]
fn what_arrives_after_its_sender_gave_it_up_does_no_harm() {
    holds("ordered parking, faults", OrderedParking { faults: 1, ..model(BEHIND, 2, &[]) });
}

#[test]
fn two_redrives_do_no_harm() {
    let model = OrderedParking { redrives: 2, workers: 1, crashes: 1, ..model(APART, 1, &[]) };
    holds("ordered parking, two redrives", model);
}

#[test]
fn a_worker_that_can_take_the_event_goes_on_beside_one_that_cannot() {
    holds("ordered parking, mended", OrderedParking { mended: true, marks: 2, ..model(APART, 1, &[]) });
}

#[test]
fn an_event_that_is_settled_before_the_reach_is_moved_is_never_redriven() {
    let wrong = &[Wrong::SettledBeforeTheReach];
    breaks("ordered parking, settled before the reach", model(APART, 1, wrong));
}

#[test]
fn a_row_that_is_taken_behind_the_reach_comes_again_and_is_late() {
    breaks("ordered parking, taken behind the reach", model(APART, 2, &[Wrong::TakenBehindTheReach]));
}

#[test]
fn a_row_that_was_overtaken_and_is_applied_is_recorded_as_late() {
    breaks("ordered parking, overtaken applied", model(APART, 2, &[Wrong::OvertakenApplied]));
}

#[test]
fn what_was_late_and_read_since_looks_like_parked() {
    let wrong = &[Wrong::RecordNotAsked];
    breaks("ordered parking, the record not asked", model([&[1, 3], &[2]], 2, wrong));
}

#[test]
fn what_is_recorded_as_late_after_that_was_asked_and_before_the_document_is_read_is_applied() {
    let wrong = &[Wrong::RecordAskedFirst];
    breaks("ordered parking, the record asked first", model([&[1, 3], &[2]], 2, wrong));
}

#[test]
fn what_was_parked_comes_again_and_is_late_where_the_reach_is_forgotten() {
    breaks("ordered parking, the reach forgotten", model(APART, 1, &[Wrong::ReachForgotten]));
}

#[test]
fn live_events_that_are_judged_by_the_document_pass_what_is_parked() {
    breaks("ordered parking, judged by the document", model(APART, 2, &[Wrong::JudgedByTheDocument]));
}

#[test]
fn a_merge_that_has_read_less_than_the_guard_says_takes_for_parked_what_is_not() {
    breaks("ordered parking, written behind the guard", model(APART, 1, &[Wrong::WrittenBehindTheGuard]));
}

#[test]
fn a_reach_that_is_moved_without_condition_undoes_what_others_have_parked() {
    let wrong = &[Wrong::ReachMovedWithoutCondition];
    breaks("ordered parking, moved without condition", model(APART, 1, wrong));
}
