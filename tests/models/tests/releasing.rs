//! The journal and the order stage: two readers release the same events at the same places.

use foldstream_model::HashKeyRange;
use foldstream_models::{
    checking::{breaks, holds},
    releasing::{Releasing, Wrong},
    shards::{LOWER, Shard, UPPER},
};

/// An early event, and a fill that races with the late arrival.
fn race() -> Vec<Shard> {
    vec![Shard { parents: &[], range: HashKeyRange::ALL, records: &[("s", 2), ("t", 1), ("s", 1)] }]
}

/// An early event waits at the end of the parent; what is missing comes in the child whose range holds it.
fn split() -> Vec<Shard> {
    vec![
        Shard { parents: &[], range: HashKeyRange::ALL, records: &[("s", 2)] },
        Shard { parents: &[0], range: LOWER, records: &[("s", 1)] },
        Shard { parents: &[0], range: UPPER, records: &[] },
    ]
}

/// One parent is ahead of the other; the child brings an event again.
fn merge() -> Vec<Shard> {
    vec![
        Shard { parents: &[], range: LOWER, records: &[("s", 1)] },
        Shard { parents: &[], range: UPPER, records: &[] },
        Shard { parents: &[0, 1], range: HashKeyRange::ALL, records: &[("s", 1)] },
    ]
}

/// An early event waits in a shard that is split; what is missing comes when it is whole again.
fn split_and_merge() -> Vec<Shard> {
    vec![
        Shard { parents: &[], range: HashKeyRange::ALL, records: &[("s", 2)] },
        Shard { parents: &[0], range: LOWER, records: &[] },
        Shard { parents: &[0], range: UPPER, records: &[] },
        Shard { parents: &[1, 2], range: HashKeyRange::ALL, records: &[("s", 1)] },
    ]
}

#[test]
fn a_fill_that_races_with_the_late_arrival_and_a_zombie_is_at_one_place() {
    holds("journal", Releasing::new(race(), None));
}

#[test]
fn an_early_event_goes_to_the_child_whose_range_holds_it() {
    holds("split", Releasing::new(split(), None).without_faults());
}

#[test]
fn a_merge_takes_the_higher_head() {
    holds("merge", Releasing::new(merge(), None));
}

#[test]
fn an_early_event_waits_on_in_a_merge_of_the_children() {
    holds("split and merge", Releasing::new(split_and_merge(), None).without_faults());
}

#[test]
fn what_is_given_up_is_so_for_everybody_whether_it_comes_late_or_is_filled() {
    holds("journal, given up", Releasing::new(race(), None).without_faults().giving_up(("s", 1)));
}

#[test]
fn what_is_given_up_in_a_child_is_released_nowhere() {
    holds("split, given up", Releasing::new(split(), None).without_faults().giving_up(("s", 1)));
}

#[test]
fn a_journal_put_without_a_condition_forgets_what_was_agreed() {
    breaks("journal, no compare-and-set", Releasing::new(race(), Some(Wrong::NoCompareAndSet)));
}

#[test]
fn what_is_released_beyond_the_horizon_is_released_elsewhere_by_others() {
    breaks(
        "journal, released beyond the horizon",
        Releasing::new(race(), Some(Wrong::ReleasedBeyondTheHorizon)),
    );
}

#[test]
fn an_entry_before_the_horizon_is_passed_by_others_already() {
    breaks("journal, entry before the horizon", Releasing::new(race(), Some(Wrong::EntryBeforeTheHorizon)));
}

#[test]
fn an_early_event_at_its_own_place_is_behind_what_came_between() {
    breaks("journal, own place", Releasing::new(race(), Some(Wrong::OwnPlace)));
}

#[test]
fn an_early_event_in_both_children_is_released_twice() {
    breaks("split, early to both children", Releasing::new(split(), Some(Wrong::EarlyToBothChildren)));
}

#[test]
fn a_merge_that_takes_the_last_parents_head_releases_again_or_never() {
    breaks("merge, last parent's head", Releasing::new(merge(), Some(Wrong::LastParentsHead)));
}

#[test]
fn an_early_event_in_neither_child_is_lost() {
    breaks("split, early to no child", Releasing::new(split(), Some(Wrong::EarlyToNoChild)).without_faults());
}

#[test]
fn a_merge_that_takes_what_waits_in_one_parent_loses_the_other() {
    let model = Releasing::new(split_and_merge(), Some(Wrong::EarlyOfTheLastParent)).without_faults();
    breaks("split and merge, early of the last parent", model);
}

#[test]
fn what_is_given_up_in_another_child_is_released_in_its_own() {
    let mut shards = split();
    // It is open for a while.
    shards[2].records = &[("t", 1)];
    let model = Releasing::new(shards, Some(Wrong::GivenUpAnywhere)).without_faults();
    breaks("split, given up anywhere", model.giving_up(("s", 1)));
}
