use foldstream_model::{Early, ErrorKind};

use super::*;

/// Every early event is spilled.
fn nothing_in_memory() -> OrderOptions {
    OrderOptions { max_early_bytes: 0, ..options() }
}

#[test]
fn what_is_beyond_the_bound_waits_in_rows_until_its_turn_comes() {
    let mut stage = Stage::new(nothing_in_memory());
    for sequence in [3, 5, 2, 6] {
        stage.record(sequence.into(), event("s", sequence));
    }
    assert_eq!((stage.order.early_bytes(), stage.rows.borrow().len()), (0, 4));
    assert_eq!(stage.order.gaps()[0].waiting, 4);
    stage.record(7, event("s", 1));
    assert_eq!(stage.shown(), "s1@7/0/0 s2@7/0/1 s3@7/0/2");
    stage.entry(7, 1, &give_up("s", 4));
    assert!(stage.shown().ends_with("s5@7/1/0 s6@7/1/1"), "{}", stage.shown());
    assert_eq!(stage.out[4].event.payload.raw, event("s", 6).payload.raw);
}

#[test]
fn an_event_that_is_too_large_for_a_cut_is_spilled_whatever_room_there_is() {
    let mut stage = Stage::new(options());
    let payload = format!("\"{}\"", "x".repeat(early::LARGEST_IN_A_CUT));
    stage.record(1, event("s", 3));
    stage.record(2, Event { payload: Payload::new(payload.into()), ..event("s", 2) });
    stage.record(3, event("s", 4));
    assert_eq!(stage.rows.borrow().len(), 1);
    let cut = whole(&stage.order);
    let spilled = cut.early.iter().map(|early| matches!(early.event, EarlyEvent::Spilled(_)));
    assert_eq!(spilled.collect::<Vec<_>>(), [true, false, false]);
    stage.record(4, event("s", 1));
    assert_eq!(stage.out[1].event.sequence, Sequence(2));
}

#[test]
fn a_spilled_event_and_the_same_one_or_another_are_told_apart() {
    let mut stage = Stage::new(nothing_in_memory());
    stage.record(1, event("s", 3));
    assert!(matches!(stage.record(2, event("s", 3)), Outcome::Duplicate(_)));
    let other = Event { payload: Payload::new(Bytes::from_static(b"{}")), ..event("s", 3) };
    assert!(matches!(stage.record(3, other.clone()), Outcome::Fork(_)));
    let events = [event("s", 1), event("s", 2), other].iter().map(envelope).collect();
    let forks = stage.entry(3, 1, &Entry::Fill { stream: StreamId::new("s"), events });
    assert_eq!(forks.len(), 1);
    assert_eq!(stage.out[2].event.payload.raw, event("s", 3).payload.raw);
}

#[test]
fn a_stage_that_begins_under_a_lower_bound_spills_what_it_inherits() {
    let mut stage = Stage::new(options());
    stage.record(1, event("s", 2));
    let order = Order::restore(nothing_in_memory(), as_it_is(), &[whole(&stage.order)]).unwrap();
    let mut stage = Stage::of(order);
    stage.spill();
    assert_eq!(stage.order.early_bytes(), 0);
    let cut = whole(&stage.order);
    assert!(matches!(&cut.early[..], [Early { event: EarlyEvent::Spilled(_), .. }]));
    stage.record(2, event("s", 1));
    assert_eq!(stage.shown(), "s1@2/0/0 s2@2/0/1");
}

#[test]
fn a_cut_at_an_earlier_place_names_the_row_of_what_was_let_go_since() {
    let mut stage = Stage::new(nothing_in_memory());
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    for (position, sequence) in [(1, 2), (2, 1)] {
        stage.record(position, event("s", sequence));
        log.released(end(position), stage.order.take_changes()).unwrap();
    }
    let cut = log.cut(&end(1), &[], &stage.order).unwrap();
    let order = Order::restore(nothing_in_memory(), as_it_is(), &[cut]).unwrap();
    let mut again = Stage::beside(order, &stage.rows);
    again.record(2, event("s", 1));
    assert_eq!(again.releases(), stage.releases());
}

/// A reader stops at any event of a run, and another begins on the cut at that place.
#[test]
fn a_run_is_released_in_pieces_and_another_reader_goes_on_behind_any_of_them() {
    let run = || {
        let mut stage = Stage::new(nothing_in_memory());
        for (position, sequence) in (1..).zip(2..10) {
            stage.record(position, event("s", sequence));
            stage.record(position + 20, event("t", sequence));
        }
        stage
    };
    let mut whole = run();
    whole.record(50, event("s", 1));
    whole.entry(50, 1, &give_up("t", 3));
    for released in 1..9 {
        let mut stage = run();
        let mut log = CutLog::new("chain".into(), end(40));
        stage.order.take_changes();
        let (key, out) = (Arc::from("s"), &mut stage.out);
        stage.order.record(event("s", 1).into(), &Position::new(50), &key, Timestamp::EPOCH, out).unwrap();
        while stage.out.len() < released {
            stage.go_on_once();
        }
        if stage.order.unfinished().is_some() {
            let (t, at) = (event("t", 1).into(), Position::new(51));
            stage.order.record(t, &at, &key, Timestamp::EPOCH, &mut stage.out).unwrap_err();
        }
        let place = stage.out.last().unwrap().place.clone();
        log.released(place.clone(), stage.order.take_changes()).unwrap();
        let cut = log.cut(&place, &[], &stage.order).unwrap();
        let order = Order::restore(nothing_in_memory(), as_it_is(), &[cut]).unwrap();
        let mut again = Stage::beside(order, &stage.rows);
        again.begin_at(&place);
        again.entry(50, 1, &give_up("t", 3));
        assert_eq!([stage.releases(), again.releases()].concat(), whole.releases());
    }
}

#[test]
fn nothing_changes_where_a_spilled_event_was_not_brought() {
    let mut stage = Stage::new(nothing_in_memory());
    stage.record(1, event("s", 2));
    let key = Arc::from("s");
    let other = Event { payload: Payload::new(Bytes::from_static(b"{}")), ..event("s", 2) };
    let error = stage
        .order
        .record(other.into(), &Position::new(2), &key, Timestamp::EPOCH, &mut stage.out)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let error = stage.order.entry(&give_up("s", 2), &Position::new(1), 1, &mut stage.out).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!((stage.releases(), stage.head("s")), (Releases::new(), None));
    stage.record(2, event("s", 1));
    assert_eq!(stage.shown(), "s1@2/0/0 s2@2/0/1");
}
