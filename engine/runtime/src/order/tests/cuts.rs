use foldstream_model::{CutId, ErrorKind};
use proptest::prelude::*;

use super::{
    properties::{Act, Reader, acts, arrivals, inputs},
    *,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn a_cut_and_those_it_adds_to_are_the_state_that_a_replay_has_at_its_place(inputs in inputs(), acts in acts()) {
        let (arrivals, ..) = arrivals(&inputs);
        let mut replay = Stage::new(options());
        let mut states = BTreeMap::from([(Place::BEGINNING, whole(&replay.order))]);
        let mut reader = Reader::new(Order::new(options(), as_it_is()));
        let mut acts = acts.into_iter();
        for arrival in &arrivals {
            replay.arrive(arrival);
            states.insert(arrival.end(), whole(&replay.order));
            reader.stage.arrive(arrival);
            match acts.next().unwrap_or(Act::EndBatch) {
                Act::EndBatch => reader.end_batch(arrival.end()),
                Act::Forget(at) => reader.forget(&at),
                Act::Cut(at, is_saved) => {
                    let Some((place, cut)) = reader.cut(&at, is_saved) else { continue };
                    let mut chain = cut.since.as_ref().map_or(Vec::new(), |since| reader.chain_to(since));
                    chain.push(cut);
                    let restored = Order::restore(options(), as_it_is(), &chain).unwrap();
                    prop_assert_eq!(&whole(&restored), &states[&place], "at {}", place);
                }
                Act::Nothing | Act::Crash(_) => {}
            }
        }
    }
}

/// Saves a cut at the end of what was read, as a reader does whose documents keep up.
fn save(log: &mut CutLog, order: &mut Order, position: u128) -> Cut {
    log.released(end(position), order.take_changes()).unwrap();
    let cut = log.cut(&end(position), &[], order).unwrap();
    log.saved(&end(position), &cut);
    log.forget(&end(position));
    cut
}

#[test]
fn cuts_hold_what_changed_until_all_of_them_would_outweigh_a_whole_one() {
    let mut stage = Stage::new(options());
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    for stream in 0..5_000 {
        stage.record(1 + stream, event(&format!("s{stream}"), 1));
    }
    let cut = save(&mut log, &mut stage.order, 5_000);
    assert_eq!((cut.since.is_some(), cut.heads.len()), (false, 5_000));
    let mut kinds = Vec::new();
    for position in 5_001..5_010 {
        stage.record(position, event("s7", position as u64 - 4_999));
        let cut = save(&mut log, &mut stage.order, position);
        assert_eq!(cut.heads.len(), if cut.since.is_some() { 1 } else { 5_000 });
        kinds.push(if cut.since.is_some() { 'd' } else { 'w' });
    }
    assert_eq!(kinds.into_iter().collect::<String>(), "dddddwddd");
    assert!(log.cut(&end(5_008), &[], &stage.order).is_err(), "what no cut needs any more is forgotten");
}

#[test]
fn a_slower_projection_cuts_behind_a_faster_one_in_the_same_chain() {
    let mut stage = Stage::new(options());
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    for position in 1..=3 {
        stage.record(position, event("s", position as u64));
        log.released(end(position), stage.order.take_changes()).unwrap();
    }
    for position in [3, 1, 2] {
        let cut = log.cut(&end(position), &[], &stage.order).unwrap();
        assert_eq!(cut.heads[0].1.sequence, Sequence(position as u64));
        log.saved(&end(position), &cut);
    }
    assert_eq!(log.saved_at(&end(2)), Some(log.id(&end(2))));
    log.forget(&end(2));
    assert_eq!(log.cut(&end(1), &[], &stage.order).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn a_cut_is_asked_for_at_the_end_of_a_batch_only() {
    let mut stage = Stage::new(options());
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    stage.record(3, event("s", 1));
    log.released(end(3), stage.order.take_changes()).unwrap();
    assert_eq!(log.cut(&end(2), &[], &stage.order).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(log.released(end(3), Changes::default()).unwrap_err().kind(), ErrorKind::Internal);
}

#[test]
fn cuts_that_are_no_chain_are_refused() {
    let whole = Cut::default();
    let added =
        Cut { since: Some(CutLog::new("chain".into(), Place::BEGINNING).id(&end(1))), ..Cut::default() };
    let restore =
        |cuts: &[Cut]| Order::restore(options(), as_it_is(), cuts).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(restore(&[whole.clone(), added.clone()]), Ok(()));
    assert_eq!(restore(&[added]), Err(ErrorKind::Internal));
    assert_eq!(restore(&[whole.clone(), whole]), Err(ErrorKind::Internal));
}

#[test]
fn a_cut_adds_to_none_on_which_those_may_not_stand_that_it_is_written_for() {
    let mut stage = Stage::new(options());
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    for position in 1..=3 {
        stage.record(position, event("s", position as u64));
        log.released(end(position), stage.order.take_changes()).unwrap();
    }
    let cut = log.cut(&end(1), &[], &stage.order).unwrap();
    log.saved(&end(1), &cut);
    assert_eq!(log.cut(&end(3), &[log.id(&end(1))], &stage.order).unwrap().since, Some(log.id(&end(1))));
    assert_eq!(log.cut(&end(3), &[log.id(&end(2))], &stage.order).unwrap().since, None);
    let of_others = |at| CutId { chain: "others".into(), place: at };
    let mut since = |at| log.cut(&end(3), &[of_others(at)], &stage.order).unwrap().since;
    assert!(since(Place::BEGINNING).is_some(), "it comes behind where they stand");
    assert_eq!(since(end(1)), None, "another one of the same place");
    assert_eq!(log.whole(&end(3), &stage.order).unwrap().since, None);
}

#[test]
fn a_new_chain_begins_with_a_whole_cut_at_a_place_that_was_cut_before_too() {
    let mut stage = Stage::new(options());
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    for position in 1..=3 {
        stage.record(position, event("s", position as u64));
        log.released(end(position), stage.order.take_changes()).unwrap();
        let cut = log.cut(&end(position), &[], &stage.order).unwrap();
        log.saved(&end(position), &cut);
    }
    log.begin_chain("next".into());
    assert_eq!(log.saved_at(&end(3)), None);
    let whole = log.cut(&end(3), &[], &stage.order).unwrap();
    assert_eq!((whole.since.as_ref(), whole.heads.len()), (None, 1));
    log.saved(&end(3), &whole);
    stage.record(4, event("t", 1));
    log.released(end(4), stage.order.take_changes()).unwrap();
    let next = log.cut(&end(4), &[log.id(&end(3))], &stage.order).unwrap();
    assert_eq!((next.since.unwrap().chain.as_str(), next.heads.len()), ("next", 1));
}

#[test]
fn what_nobody_will_ask_for_is_forgotten_though_no_cut_was_saved() {
    let mut stage = Stage::new(options());
    let mut log = CutLog::new("chain".into(), Place::BEGINNING);
    for position in 1..=3 {
        stage.record(position, event("s", position as u64));
        log.released(end(position), stage.order.take_changes()).unwrap();
    }
    log.forget(&end(2));
    assert!(log.cut(&end(1), &[], &stage.order).is_err());
    for position in [2, 3] {
        let cut = log.cut(&end(position), &[], &stage.order).unwrap();
        assert_eq!(cut.heads[0].1.sequence, Sequence(position as u64));
    }
}
