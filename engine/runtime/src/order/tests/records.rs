use foldstream_model::ErrorKind;

use super::*;

#[test]
fn the_first_event_of_an_unknown_stream_waits_for_those_before_it_or_is_its_base() {
    let mut from_the_first = Stage::new(options());
    assert!(matches!(from_the_first.record(1, event("s", 3)), Outcome::Early));
    let mut from_the_middle = Stage::new(OrderOptions { base: BasePolicy::Seen, ..options() });
    assert!(matches!(from_the_middle.record(1, event("s", 3)), Outcome::Released));
    assert!(matches!(from_the_middle.record(2, event("s", 5)), Outcome::Early));
    assert!(matches!(from_the_middle.record(3, event("s", 2)), Outcome::Duplicate(_)));
}

#[test]
fn streams_may_begin_at_zero() {
    let mut stage = Stage::new(OrderOptions { first: Sequence(0), ..options() });
    assert!(matches!(stage.record(1, event("s", 1)), Outcome::Early));
    assert!(matches!(stage.record(2, event("s", 0)), Outcome::Released));
    assert_eq!(stage.shown(), "s0@2/0/0 s1@2/0/1");
}

#[test]
fn a_second_event_under_the_sequence_of_one_that_waits_is_a_duplicate_or_a_fork() {
    let mut stage = Stage::new(options());
    stage.record(1, event("s", 2));
    assert!(matches!(stage.record(2, event("s", 2)), Outcome::Duplicate(_)));

    let mut spaced = event("s", 2);
    spaced.payload = Payload::new(Bytes::from_static(b" { \"n\" : 2 } "));
    assert!(matches!(stage.record(3, spaced), Outcome::Duplicate(_)));

    let mut other_type = event("s", 2);
    other_type.event_type = EventType::new("Other");
    assert!(matches!(stage.record(4, other_type), Outcome::Fork(_)));

    let mut other_payload = event("s", 2);
    other_payload.payload = Payload::new(Bytes::from_static(b"{\"n\":3}"));
    let Outcome::Fork(fork) = stage.record(5, other_payload) else { panic!("no fork") };
    assert_eq!(fork.kept.payload.raw, "{\"n\":2}");
    assert_eq!(fork.refused.payload.raw, "{\"n\":3}");

    stage.record(6, event("s", 1));
    assert_eq!(stage.shown(), "s1@6/0/0 s2@6/0/1");
    assert_eq!(stage.out[1].event.payload.raw, "{\"n\":2}");
}

#[test]
fn a_fill_that_differs_from_an_event_that_waits_is_a_fork_and_the_one_that_waits_stays() {
    let mut stage = Stage::new(options());
    stage.record(1, event("s", 2));
    let mut other = event("s", 2);
    other.payload = Payload::new(Bytes::from_static(b"{\"n\":3}"));
    let entry =
        Entry::Fill { stream: StreamId::new("s"), events: vec![envelope(&event("s", 1)), envelope(&other)] };
    let forks = stage.entry(1, 1, &entry);
    let refused_at: Vec<_> = forks.iter().map(|fork| fork.place.to_string()).collect();
    assert_eq!(refused_at, ["1/1/1"], "where the one that waited is released");
    assert_eq!(stage.shown(), "s1@1/1/0 s2@1/1/1");
    assert_eq!(stage.out[1].event.payload.raw, "{\"n\":2}");
}

#[test]
fn a_fill_that_does_not_reach_the_head_or_is_of_another_stream_is_refused_whole() {
    let mut stage = Stage::new(options());
    let of_another = Entry::Fill { stream: StreamId::new("t"), events: vec![envelope(&event("s", 1))] };
    for entry in [fill("s", [2]), fill("s", [1, 3]), of_another] {
        let error = stage.order.entry(&entry, &Position::new(1), 1, &mut stage.out).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("1/1/0"), "{error}");
    }
    assert_eq!((stage.shown().as_str(), stage.head("s")), ("", None));
}

#[test]
fn giving_up_gives_up_what_is_missing_at_that_place_and_releases_what_is_there() {
    let mut stage = Stage::new(options());
    for sequence in [3, 5, 7, 8] {
        stage.record(sequence.into(), event("s", sequence));
    }
    stage.entry(9, 1, &give_up("s", 6));
    assert_eq!(stage.shown(), "s3@9/1/0 s5@9/1/1 s7@9/1/2 s8@9/1/3");
    let ranges: Vec<_> = stage.order.given_up().map(|range| (range.first.0, range.last.0)).collect();
    assert_eq!(ranges, [(1, 2), (4, 4), (6, 6)]);
    assert!(
        matches!(stage.record(10, event("s", 4)), Outcome::Duplicate(_)),
        "what was given up never comes back"
    );
}

#[test]
fn recorded_at_is_raised_to_that_of_the_streams_events_before() {
    let mut stage = Stage::new(options());
    for (sequence, seconds) in [(1, 50), (2, 40), (3, 60)] {
        let recorded_at = Timestamp::from_seconds(seconds);
        stage.record(sequence.into(), Event { recorded_at, ..event("s", sequence) });
    }
    stage.order = Order::restore(options(), as_it_is(), &[whole(&stage.order)]).unwrap();
    stage.record(4, Event { recorded_at: Timestamp::from_seconds(-5), ..event("s", 4) });
    stage.record(5, Event { recorded_at: Timestamp::from_seconds(-5), ..event("t", 1) });
    let raised: Vec<_> = stage.out.iter().map(|placed| placed.raised_at.micros() / 1_000_000).collect();
    assert_eq!(raised, [50, 50, 60, 60, -5]);
}

#[test]
fn events_out_of_cuts_and_fills_are_prepared_as_those_of_records() {
    let prepare: Prepare = Arc::new(|event| {
        event.event_type = EventType::new("Prepared");
        Ok(())
    });
    let mut stage = Stage::new(options());
    stage.record(1, event("s", 2));
    let order = Order::restore(options(), prepare, &[whole(&stage.order)]).unwrap();
    let mut stage = Stage::of(order);
    stage.entry(1, 1, &fill("s", [1]));
    assert_eq!(stage.out.len(), 2);
    assert!(stage.out.iter().all(|placed| placed.event.event_type.as_str() == "Prepared"));
}

#[test]
fn gaps_cannot_be_allowed_while_events_wait() {
    let mut stage = Stage::new(options());
    stage.record(1, event("s", 2));
    let allowing = OrderOptions { gaps: Gaps::Allow, ..options() };
    let error = Order::restore(allowing, as_it_is(), &[whole(&stage.order)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
