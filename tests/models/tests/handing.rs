//! A shard handed over: events take effect once whatever happens, and where nothing happens none is read again.

use foldstream_model::Ordering;
use foldstream_models::{
    checking::{breaks, holds},
    handing::{Handing, Wrong},
    writing::{self, Writing},
};

fn model(ordering: Ordering, wrong: Option<Wrong>) -> Handing {
    let writing = Writing { ordering, events: [2, 0], wins: 0, faults: 0, wrong: &[] };
    Handing { writing, offers: 2, troubles: 2, wrong }
}

fn without_rule(wrong: &'static [writing::Wrong]) -> Handing {
    let model = model(Ordering::PerStream, None);
    Handing { writing: Writing { wrong, ..model.writing }, ..model }
}

#[test]
fn a_shard_handed_over_loses_and_repeats_nothing() {
    holds("hand-over, per_stream", model(Ordering::PerStream, None));
}

#[test]
fn and_so_it_does_where_documents_are_fed_by_many_streams() {
    holds("hand-over, commutative", model(Ordering::Commutative, None));
}

#[test]
fn and_so_it_does_where_answers_and_writes_get_lost() {
    let model = model(Ordering::PerStream, None);
    let writing = Writing { faults: 1, ..model.writing };
    holds("hand-over, faults", Handing { writing, troubles: 1, ..model });
}

#[test]
fn what_is_passed_on_before_it_is_settled_is_done_again() {
    let wrong = Some(Wrong::PassedOnBeforeSettled);
    breaks("hand-over, passed on before settled", model(Ordering::PerStream, wrong));
}

#[test]
fn what_is_passed_on_before_its_checkpoint_is_read_again() {
    let wrong = Some(Wrong::PassedOnBeforeCheckpoint);
    breaks("hand-over, passed on before checkpoint", model(Ordering::PerStream, wrong));
}

#[test]
fn who_begins_when_it_is_offered_reads_what_the_other_still_settles() {
    breaks("hand-over, begun when offered", model(Ordering::PerStream, Some(Wrong::BegunWhenOffered)));
}

#[test]
fn a_checkpoint_on_what_was_only_read_loses_what_a_crash_interrupts() {
    breaks("hand-over, checkpoint on read", without_rule(&[writing::Wrong::CheckpointOnRead]));
}

#[test]
fn a_lease_alone_keeps_no_late_write_away() {
    breaks("hand-over, no condition", without_rule(&[writing::Wrong::NoCondition]));
}
