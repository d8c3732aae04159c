//! Leases: claimed, renewed and passed on while clocks run as they like and answers are lost.

use foldstream_models::{
    checking::{breaks, holds},
    sharing::{Sharing, Wrong},
};

/// A worker that holds a shard, and another that may come to believe that it is gone.
fn pair() -> Sharing {
    Sharing { shards: 1, joined: 2, looks: 2, leaves: false, faults: 1, wrong: None }
}

/// The one that holds the shard may leave.
fn leaving() -> Sharing {
    Sharing { leaves: true, faults: 0, ..pair() }
}

/// A worker that holds two shards, and one that joins it.
fn joining() -> Sharing {
    Sharing { shards: 2, joined: 1, looks: 1, ..pair() }
}

/// Two workers that begin at once.
fn beginning() -> Sharing {
    Sharing { joined: 0, looks: 1, ..pair() }
}

fn wrong(wrong: Wrong, of: Sharing) -> Sharing {
    Sharing { wrong: Some(wrong), ..of }
}

#[test]
fn a_lease_that_may_run_out_at_any_moment_is_held_by_whom_the_store_names_and_never_lost() {
    holds("leases, two workers", pair());
}

#[test]
fn a_worker_that_leaves_passes_on_what_has_drained() {
    holds("leases, one leaves", leaving());
}

#[test]
fn and_so_it_does_where_answers_and_writes_get_lost() {
    holds("leases, one leaves, faults", Sharing { looks: 1, faults: 1, ..leaving() });
}

#[test]
fn a_worker_that_joins_is_passed_its_share() {
    holds("leases, one joins", joining());
}

#[test]
fn of_two_that_begin_at_once_one_gets_the_lease() {
    holds("leases, two begin", beginning());
}

#[test]
fn without_a_condition_a_late_write_undoes_what_came_between() {
    breaks("leases, no condition", wrong(Wrong::NoCondition, pair()));
}

#[test]
fn a_condition_without_the_counter_takes_a_late_write_for_a_new_one() {
    breaks("leases, counter not compared", wrong(Wrong::CounterNotCompared, pair()));
}

#[test]
fn a_take_of_unknown_outcome_that_is_not_read_back_is_a_lease_held_by_nobody() {
    breaks("leases, no read-back", wrong(Wrong::NoReadBack, pair()));
}

#[test]
fn an_answer_that_is_waited_for_for_ever_loses_a_lease() {
    breaks("leases, waits for ever", wrong(Wrong::WaitsForEver, pair()));
}

#[test]
fn what_is_passed_on_before_it_has_drained_is_worked_on_by_two() {
    breaks("leases, passed on before drained", wrong(Wrong::PassedOnBeforeDrained, joining()));
}

#[test]
fn work_that_begins_when_it_is_offered_is_done_by_two() {
    breaks("leases, begun when offered", wrong(Wrong::BegunWhenOffered, joining()));
}
