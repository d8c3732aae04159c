//! A stream of which events cannot be taken waits, and comes back once, whoever reads there.

use foldstream_model::HashKeyRange;
use foldstream_models::{
    checking::{breaks, holds},
    parked_streams::{Bounds, ParkedStreams, Wrong},
    shards::{LOWER, Shard, UPPER},
};

/// The other stream goes on in the same document.
fn one_shard() -> Vec<Shard> {
    vec![Shard { parents: &[], range: HashKeyRange::ALL, records: &[("s", 1), ("t", 1), ("s", 2)] }]
}

/// The stream goes to the first child; the second one has nothing of it.
fn split() -> Vec<Shard> {
    vec![
        Shard { parents: &[], range: HashKeyRange::ALL, records: &[("s", 1)] },
        Shard { parents: &[0], range: LOWER, records: &[("s", 2)] },
        Shard { parents: &[0], range: UPPER, records: &[] },
    ]
}

const BOUNDS: Bounds = Bounds { begins: 2, lets: 1, without: None, faults: 0, poison: &[1], discards: false };

fn of_one_shard(wrong: Wrong) -> ParkedStreams {
    ParkedStreams::new(one_shard(), BOUNDS, Some(wrong))
}

#[test]
fn whoever_reads_there_parks_the_stream_and_lets_it_come_back() {
    holds("parked streams, one shard", ParkedStreams::new(one_shard(), BOUNDS, None));
}

#[test]
fn two_entries_do_no_harm() {
    let shards = vec![Shard { records: &[("s", 1), ("t", 1)], ..one_shard()[0].clone() }];
    holds("parked streams, let back twice", ParkedStreams::new(shards, Bounds { lets: 2, ..BOUNDS }, None));
}

#[test]
fn a_parked_stream_goes_to_the_child_that_takes_its_keys() {
    holds("parked streams, split", ParkedStreams::new(split(), Bounds { begins: 3, ..BOUNDS }, None));
}

#[test]
fn an_event_may_be_left_out_when_its_stream_comes_back() {
    holds(
        "parked streams, left out",
        ParkedStreams::new(one_shard(), Bounds { without: Some(1), ..BOUNDS }, None),
    );
}

#[test]
fn a_discarded_event_is_left_out_by_whatever_definition_its_stream_is_read() {
    let bounds = Bounds { begins: 3, lets: 0, discards: true, ..BOUNDS };
    holds("parked streams, discarded", ParkedStreams::new(one_shard(), bounds, None));
}

#[test]
fn an_append_that_was_given_up_finds_its_stream_parked_or_means_nothing() {
    let shards = vec![Shard { records: &[("s", 1), ("s", 2)], ..one_shard()[0].clone() }];
    holds("parked streams, faults", ParkedStreams::new(shards, Bounds { faults: 1, ..BOUNDS }, None));
}

#[test]
fn an_event_that_counts_as_settled_before_it_waits_is_lost() {
    breaks("parked streams, settled before it is durable", of_one_shard(Wrong::SettledBeforeItIsDurable));
}

#[test]
fn what_waits_before_its_stream_is_parked_is_never_removed() {
    breaks("parked streams, lot before the row", of_one_shard(Wrong::LotBeforeTheRow));
}

#[test]
fn live_events_that_are_taken_before_those_that_wait_are_out_of_order() {
    breaks("parked streams, live before waiting", of_one_shard(Wrong::LiveBeforeWaiting));
}

#[test]
fn what_comes_back_at_its_old_place_is_taken_for_applied() {
    breaks("parked streams, old place", of_one_shard(Wrong::OldPlace));
}

#[test]
fn a_stream_that_each_child_takes_over_comes_back_twice() {
    let model =
        ParkedStreams::new(split(), Bounds { begins: 3, lets: 2, ..BOUNDS }, Some(Wrong::TakenByEveryChild));
    breaks("parked streams, taken by every child", model);
}

#[test]
fn a_stream_that_no_child_takes_over_is_forgotten() {
    breaks(
        "parked streams, taken by no child",
        ParkedStreams::new(split(), BOUNDS, Some(Wrong::TakenByNoChild)),
    );
}

#[test]
fn a_lot_that_counts_whatever_is_parked_comes_back_twice() {
    let model = ParkedStreams::new(one_shard(), Bounds { lets: 2, ..BOUNDS }, Some(Wrong::LotAlone));
    breaks("parked streams, the lot alone", model);
}

#[test]
fn who_begins_before_a_stream_was_parked_must_not_take_it() {
    breaks("parked streams, parked where saved", of_one_shard(Wrong::ParkedWhereSaved));
}

#[test]
fn what_leaves_the_lot_before_the_checkpoint_is_missed_by_who_begins_there() {
    breaks("parked streams, removed before the checkpoint", of_one_shard(Wrong::RemovedBeforeTheCheckpoint));
}

#[test]
fn who_does_not_learn_what_was_parked_anew_passes_it() {
    breaks("parked streams, not learnt", of_one_shard(Wrong::NotLearnt));
}

#[test]
fn a_return_that_is_no_row_is_forgotten() {
    breaks("parked streams, return not durable", of_one_shard(Wrong::ReturnNotDurable));
}

#[test]
fn a_definition_that_is_no_longer_registered_parks_what_was_applied() {
    let wrong = Some(Wrong::JudgedByTheOlderDefinition);
    breaks("parked streams, judged by the older definition", ParkedStreams::new(one_shard(), BOUNDS, wrong));
}

#[test]
fn a_definition_that_is_no_longer_registered_discards_what_was_applied() {
    let bounds = Bounds { discards: true, ..BOUNDS };
    let wrong = Some(Wrong::JudgedByTheOlderDefinition);
    breaks(
        "parked streams, discarded by the older definition",
        ParkedStreams::new(one_shard(), bounds, wrong),
    );
}
