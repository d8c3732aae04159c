//! Documents fed by many shards: the guard says up to where each is in the document, and never forgets one that closed.

use foldstream_model::Ordering;
use foldstream_models::{
    checking::{breaks, holds},
    writing::{Writing, Wrong},
};

fn model(events: [u8; 2], wins: u8, faults: u8, wrong: &'static [Wrong]) -> Writing {
    Writing { ordering: Ordering::Commutative, events, wins, faults, wrong }
}

#[test]
fn a_document_holds_each_event_of_each_shard_once_where_shards_go_to_and_fro() {
    holds("commutative, shards handed over", model([1, 1], 1, 0, &[]));
}

#[test]
fn a_document_holds_each_event_of_each_shard_once_where_writes_and_answers_get_lost() {
    holds("commutative, faults", model([1, 1], 0, 1, &[]));
}

#[test]
fn a_document_holds_each_event_of_each_shard_once_where_both_workers_read_all() {
    holds("commutative, three events", model([2, 1], 0, 0, &[]));
}

#[test]
fn without_a_condition_what_another_shard_added_is_written_over() {
    breaks("commutative, no condition", model([1, 1], 1, 0, &[Wrong::NoCondition]));
}

#[test]
fn a_zombie_applies_again_what_a_dropped_entry_of_a_closed_shard_covered() {
    breaks("commutative, closed entry dropped", model([1, 1], 0, 0, &[Wrong::ClosedEntryDropped]));
}

#[test]
fn a_shard_that_counts_as_closed_before_it_is_settled_loses_events() {
    breaks("commutative, closed when read", model([1, 1], 1, 0, &[Wrong::ClosedWhenRead]));
}

#[test]
fn a_shard_that_counts_as_closed_with_the_one_above_it_loses_events() {
    breaks("commutative, all below closed", model([2, 1], 0, 0, &[Wrong::AllBelowClosed]));
}

#[test]
fn a_write_of_unknown_outcome_that_is_not_read_back_is_lost() {
    breaks("commutative, no read-back", model([1, 1], 1, 1, &[Wrong::NoReadBack]));
}
