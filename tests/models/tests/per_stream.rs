//! Documents fed by one stream: a write is taken iff the stored guard equals the one that its fold started from.

use foldstream_model::Ordering;
use foldstream_models::{
    checking::{breaks, holds},
    writing::{Writing, Wrong},
};

fn model(wrong: &'static [Wrong]) -> Writing {
    Writing { ordering: Ordering::PerStream, events: [3, 0], wins: 1, faults: 1, wrong }
}

#[test]
fn a_document_is_the_fold_of_its_stream_whatever_happens_to_workers_and_writes() {
    holds("per_stream, three events", model(&[]));
}

#[test]
fn and_so_it_is_where_shards_go_to_and_fro_and_more_goes_wrong() {
    holds("per_stream, two events", Writing { events: [2, 0], wins: 2, faults: 2, ..model(&[]) });
}

#[test]
fn without_a_condition_a_document_goes_back() {
    breaks("per_stream, no condition", model(&[Wrong::NoCondition]));
}

#[test]
fn a_write_of_unknown_outcome_that_is_not_read_back_is_lost() {
    breaks("per_stream, no read-back", model(&[Wrong::NoReadBack]));
}

#[test]
fn a_conflict_taken_for_success_is_an_event_lost() {
    breaks("per_stream, conflict taken for success", model(&[Wrong::ConflictTakenForSuccess]));
}

#[test]
fn a_checkpoint_on_what_was_only_read_is_ahead_of_the_document() {
    breaks("per_stream, checkpoint on read", model(&[Wrong::CheckpointOnRead]));
}

#[test]
fn a_greater_guard_on_a_cache_kept_over_a_regained_shard_writes_over_what_others_added() {
    breaks(
        "per_stream, greater instead of equal, cache kept",
        model(&[Wrong::GreaterInsteadOfEqual, Wrong::CacheKept]),
    );
}

#[test]
fn equality_alone_bears_a_cache_that_was_kept() {
    holds("per_stream, cache kept", model(&[Wrong::CacheKept]));
}

#[test]
fn caches_that_are_dropped_alone_bear_a_greater_guard() {
    holds("per_stream, greater instead of equal", model(&[Wrong::GreaterInsteadOfEqual]));
}
