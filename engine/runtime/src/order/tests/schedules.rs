//! Courses of events that broke simpler rules.

use super::*;
use crate::progress::{BatchId, Progress};

#[test]
fn an_early_event_enters_at_the_place_of_the_record_that_released_it() {
    let mut stage = Stage::new(options());
    for (position, sequence) in (90..).zip(1..=4) {
        stage.record(position, event("s", sequence));
    }
    stage.record(99, event("t", 1));
    stage.record(100, event("s", 6));
    stage.record(105, event("t", 2));
    stage.record(110, event("s", 5));
    assert!(stage.shown().ends_with("t2@105/0/0 s5@110/0/0 s6@110/0/1"), "{}", stage.shown());
    // A document of both streams that has t2 is at 105: with its own position, s6 would be at 100 and be skipped.
    let (t2, s6) = (&stage.out[5].place, &stage.out[7].place);
    assert!(s6 > t2);
}

#[test]
fn a_relays_duplicate_after_a_restart_or_in_a_child_of_another_owner_is_not_taken_as_a_first_event() {
    let from_the_middle = OrderOptions { base: BasePolicy::Seen, ..options() };
    let mut stage = Stage::new(from_the_middle.clone());
    stage.record(100, event("s", 5));
    let checkpoint = whole(&stage.order);

    let restarted = Order::restore(from_the_middle.clone(), as_it_is(), &[checkpoint]).unwrap();
    let mut restarted = Stage::of(restarted);
    assert!(matches!(restarted.record(140, event("s", 5)), Outcome::Duplicate(_)));

    let child = Order::child(from_the_middle, as_it_is(), &[&restarted.order], None, &|_| 0);
    let mut child = Stage::of(child);
    assert!(matches!(child.record(3, event("s", 5)), Outcome::Duplicate(_)));
    assert!(matches!(child.record(4, event("s", 6)), Outcome::Released));
}

/// A document for each stream, with the sum of its sequences; guarded by place.
#[derive(Default)]
struct Documents(BTreeMap<String, (u64, Place)>);

impl Documents {
    fn apply(&mut self, placed: &Placed) {
        let stream = placed.event.stream_id.to_string();
        let (sum, guard) = self.0.entry(stream).or_insert((0, Place::BEGINNING));
        if placed.place > *guard {
            *sum += placed.event.sequence.0;
            *guard = placed.place.clone();
        }
    }
}

/// Reads all of `records` ahead of the documents, settles some of it, and returns the checkpoint's cut.
fn read_ahead(
    stage: &mut Stage,
    records: &[(u128, Event)],
    settles: &[usize],
    documents: &mut Documents,
) -> (Place, Cut) {
    let mut progress = Progress::new(Place::BEGINNING);
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    let mut batches: Vec<(BatchId, Vec<Placed>)> = Vec::new();
    for (position, event) in records {
        stage.record(*position, event.clone());
        log.released(end(*position), stage.order.take_changes()).unwrap();
        let placed = std::mem::take(&mut stage.out);
        batches.push((progress.open(end(*position), placed.len()).unwrap(), placed));
    }
    for batch in settles {
        let (id, placed) = &batches[*batch];
        placed.iter().for_each(|placed| documents.apply(placed));
        progress.settle(*id, placed.len()).unwrap();
    }
    let place = progress.settled().clone();
    let cut = log.cut(&place, &[], &stage.order).unwrap();
    (place, cut)
}

#[test]
fn a_crash_between_a_head_and_its_documents_loses_nothing() {
    let records: Vec<_> = [("s", 2), ("t", 1), ("s", 1), ("t", 2), ("s", 3)]
        .into_iter()
        .zip(1..)
        .map(|((stream, sequence), position)| (position, event(stream, sequence)))
        .collect();
    let mut undisturbed = Documents::default();
    read_ahead(&mut Stage::new(options()), &records, &[1, 2, 3, 4], &mut undisturbed);

    for settles in [&[] as &[usize], &[1], &[2], &[1, 3], &[2, 1], &[2, 4], &[1, 3, 2], &[2, 4, 1]] {
        let mut documents = Documents::default();
        let (place, cut) = read_ahead(&mut Stage::new(options()), &records, settles, &mut documents);
        let order = Order::restore(options(), as_it_is(), &[cut]).unwrap();
        let rest: Vec<_> = records.iter().filter(|(position, _)| end(*position) > place).cloned().collect();
        let mut stage = Stage::of(order);
        for (position, event) in rest {
            stage.record(position, event);
        }
        stage.out.iter().for_each(|placed| documents.apply(placed));
        assert_eq!(documents.0, undisturbed.0, "settled {settles:?}, checkpoint at {place}");
    }
}

#[test]
fn a_gap_that_was_filled_stays_filled_at_its_place_when_the_event_arrives_after_a_crash() {
    let mut stage = Stage::new(options());
    stage.record(10, event("s", 2));
    let checkpoint = whole(&stage.order);
    let filled = fill("s", [1]);
    stage.entry(10, 1, &filled);
    let before = stage.releases();

    // The crash comes before anything of it is settled; meanwhile the event itself has arrived.
    let mut again = Stage::of(Order::restore(options(), as_it_is(), &[checkpoint]).unwrap());
    again.entry(10, 1, &filled);
    assert!(matches!(again.record(11, event("s", 1)), Outcome::Duplicate(_)));
    assert_eq!(again.releases(), before);

    // Another worker has had it before the fill took effect: the fill then adds nothing.
    let mut other = Stage::new(options());
    other.record(10, event("s", 2));
    other.record(11, event("s", 1));
    other.entry(11, 1, &filled);
    assert_eq!(other.shown(), "s1@11/0/0 s2@11/0/1");
}

#[test]
fn a_cut_holds_the_state_at_its_place_not_that_at_the_read_position() {
    let mut stage = Stage::new(options());
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    for (position, sequence) in [(1, 1), (2, 3), (3, 2), (4, 4)] {
        stage.record(position, event("s", sequence));
        log.released(end(position), stage.order.take_changes()).unwrap();
    }
    let at_2 = log.cut(&end(2), &[], &stage.order).unwrap();
    let mut restored = Stage::of(Order::restore(options(), as_it_is(), &[at_2]).unwrap());
    assert_eq!((restored.head("s"), restored.order.gaps()[0].first_missing), (Some(1), Sequence(2)));
    restored.record(3, event("s", 2));
    restored.record(4, event("s", 4));
    assert_eq!(restored.shown(), "s2@3/0/0 s3@3/0/1 s4@4/0/0");
}

#[test]
fn a_merge_takes_the_higher_head_whichever_parent_is_last() {
    let mut grandparent = Stage::new(options());
    grandparent.record(1, event("s", 1));
    grandparent.record(2, event("s", 3));
    let child = |parents: &[&Order]| Order::child(options(), as_it_is(), parents, None, &|_| 0);
    let mut busy = Stage::of(child(&[&grandparent.order]));
    busy.record(1, event("s", 2));
    let idle = Stage::of(child(&[&grandparent.order]));
    for parents in [[&busy.order, &idle.order], [&idle.order, &busy.order]] {
        let mut merged = Stage::of(child(&parents));
        assert_eq!(merged.head("s"), Some(3));
        assert!(!merged.order.has_gaps(), "what the other parent still holds early is done");
        assert!(matches!(merged.record(1, event("s", 3)), Outcome::Duplicate(_)));
        assert!(matches!(merged.record(2, event("s", 4)), Outcome::Released));
    }
}
