//! A document that cannot take an event: nothing passes what it stands behind, nothing is lost, nothing is done twice.

use foldstream_models::{
    checking::{Found, breaks, holds},
    parking::{Parking, Wrong},
};

fn model(events: [u8; 2], poison: (usize, u8), redrives: usize, wrong: &'static [Wrong]) -> Parking {
    Parking {
        events,
        poison,
        wins: 0,
        workers: 2,
        faults: 0,
        redrives,
        discards: false,
        marks: 2,
        wrong,
        found: Found::default(),
    }
}

#[test]
fn what_waits_is_redriven_while_two_workers_meet_the_mark() {
    holds("parking, three events", Parking { marks: 1, ..model([2, 1], (0, 1), 1, &[]) });
}

#[test]
fn two_redrives_do_no_harm() {
    holds("parking, two redrives", Parking { marks: 1, ..model([2, 0], (0, 1), 2, &[]) });
}

#[test]
fn a_shard_that_is_won_again_brings_back_what_was_redriven() {
    holds("parking, shards handed over", Parking { wins: 1, ..model([2, 0], (0, 1), 1, &[]) });
}

#[test]
fn an_append_that_was_given_up_finds_its_mark_open_or_does_nothing() {
    holds("parking, faults", Parking { faults: 1, ..model([2, 0], (0, 1), 1, &[]) });
}

#[test]
fn a_discard_and_two_redrives_agree_whether_it_came_in_time() {
    holds("parking, a discard", Parking { discards: true, workers: 1, ..model([2, 0], (0, 1), 2, &[]) });
}

#[test]
fn an_event_that_is_left_out_before_it_is_decided_is_taken_for_applied() {
    let wrong = &[Wrong::LeftOutBeforeItIsDecided];
    let model = Parking { discards: true, ..model([2, 0], (0, 1), 2, wrong) };
    breaks("parking, left out before it is decided", model);
}

#[test]
fn a_discard_that_is_decided_by_an_old_guard_comes_after_the_redrive() {
    let wrong = &[Wrong::DecidedByAnOldGuard];
    breaks("parking, decided by an old guard", Parking { discards: true, ..model([2, 0], (0, 1), 2, wrong) });
}

#[test]
fn a_mark_that_is_closed_while_events_wait_lets_others_pass_them() {
    breaks("parking, closed while events wait", model([2, 0], (0, 1), 1, &[Wrong::ClosedWhileEventsWait]));
}

#[test]
fn an_append_under_a_closed_mark_is_passed() {
    let wrong = &[Wrong::AppendedUnderAClosedMark];
    breaks(
        "parking, appended under a closed mark",
        Parking { wins: 1, faults: 1, ..model([2, 0], (0, 1), 1, wrong) },
    );
}

#[test]
fn an_event_that_is_settled_before_it_is_parked_is_lost() {
    let wrong = &[Wrong::SettledBeforeItIsParked];
    breaks("parking, settled before parked", Parking { faults: 1, ..model([1, 0], (0, 1), 1, wrong) });
}

#[test]
fn the_newest_first_hides_the_older() {
    breaks("parking, newest first", model([2, 0], (0, 1), 1, &[Wrong::NewestFirst]));
}

#[test]
fn a_shard_that_shrinks_under_a_mark_hides_what_waits_from_it() {
    breaks("parking, shrunk under a mark", model([2, 0], (0, 1), 1, &[Wrong::ShrunkUnderAMark]));
}
