//! An event that is discarded: what is on record of it is never at odds with the document.

use foldstream_models::{
    checking::{breaks, holds},
    discarding::{Discarding, Wrong},
};

fn model(events: [u8; 2], wins: u8, wrong: &'static [Wrong]) -> Discarding {
    Discarding { events, refused: (0, 1), wins, wrong }
}

#[test]
fn an_event_that_is_discarded_is_in_nobodys_write() {
    holds("discarding, two shards", model([2, 1], 1, &[]));
}

#[test]
fn a_worker_that_begins_anew_records_what_the_one_before_has_discarded() {
    holds("discarding, shards handed over", model([2, 0], 2, &[]));
}

#[test]
fn an_event_that_is_recorded_before_it_is_decided_is_written_by_another() {
    breaks("discarding, recorded undecided", model([2, 0], 0, &[Wrong::RecordedUndecided]));
}

#[test]
fn an_event_that_settles_unrecorded_is_missing_and_nothing_says_so() {
    breaks("discarding, settled unrecorded", model([2, 0], 1, &[Wrong::SettledUnrecorded]));
}

#[test]
fn what_goes_out_of_the_guard_before_it_is_on_record_is_forgotten() {
    breaks("discarding, taken out unrecorded", model([2, 0], 1, &[Wrong::TakenOutUnrecorded]));
}
