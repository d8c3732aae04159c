use bytes::Bytes;
use foldstream_model::{CutId, Early, EarlyEvent, ErrorKind, ports::MAX_ROW_BYTES};
use proptest::prelude::*;

use super::{early::LARGEST_IN_A_CUT, *};

fn id(place: Place) -> CutId {
    CutId { chain: "chain".into(), place }
}

fn cut(heads: u64, early: usize, weight: usize) -> Cut {
    let head = |stream: u64| {
        let recorded_at = Timestamp::from_micros(-(stream.cast_signed()));
        (StreamHash::of(&stream.to_string()), Head { sequence: Sequence(u64::MAX - stream), recorded_at })
    };
    let spilled = |index| SpilledEvent {
        shard: ShardId::new("shard"),
        stream: StreamId::new("\""),
        sequence: Sequence(index as u64),
    };
    let early = (0..early).map(|index| Early {
        at: end(index as u128),
        partition_key: "\"".into(),
        since: Timestamp::EPOCH,
        event: match weight {
            0 => EarlyEvent::Spilled(spilled(index)),
            _ => EarlyEvent::Envelope("x".repeat(weight)),
        },
    });
    let given_up = GivenUp { stream: StreamHash::of("s"), first: Sequence(1), last: Sequence(2) };
    Cut {
        since: Some(id(end(1))),
        heads: (0..heads).map(head).collect(),
        early: early.collect(),
        given_up: vec![given_up],
    }
}

fn rows(cut: &Cut) -> Vec<(String, Bytes)> {
    cut_rows::encode(&id(end(2)), cut).unwrap().map(Result::unwrap).collect()
}

fn pages(cut: &Cut) -> Vec<cut_rows::Page> {
    let rows = rows(cut);
    assert!(rows.is_sorted_by_key(|(key, _)| key.clone()));
    rows.iter().map(|(_, body)| cut_rows::decode(body).unwrap()).collect()
}

#[test]
fn cuts_are_read_back_from_pages_that_fit_a_row_of_any_store() {
    for (cut, rows) in [
        (cut(0, 0, 0), 1),
        (cut(3, 2, 100), 1),
        (cut(30_000, 0, 0), 5),
        (cut(10, 10, 100_000), 5),
        (cut(10, 2, 2_000_000), 3),
        (cut(10, 5_000, 0), 6),
    ] {
        assert_eq!(cut_rows::join(pages(&cut)).unwrap(), cut);
        assert_eq!(pages(&cut).len(), rows);
    }
    let rows = rows(&cut(30_000, 50, 2_000));
    assert!(rows.iter().all(|(_, body)| body.len() < 270_000));
}

#[test]
fn early_events_as_large_as_cuts_hold_make_pages_that_fit_a_row_though_every_byte_of_them_is_a_quote() {
    let mut cut = cut(10, 20, 1);
    for (early, size) in cut.early.iter_mut().zip([LARGEST_IN_A_CUT, 1_000].into_iter().cycle()) {
        early.event = EarlyEvent::Envelope("\"".repeat(size));
    }
    assert_eq!(cut_rows::join(pages(&cut)).unwrap(), cut);
    assert!(rows(&cut).iter().all(|(_, body)| body.len() <= MAX_ROW_BYTES));
}

#[test]
fn a_cut_without_changes_is_a_row() {
    assert_eq!(cut_rows::join(pages(&Cut::default())).unwrap(), Cut::default());
}

#[test]
fn a_cut_that_lacks_a_page_is_refused() {
    let pages = pages(&cut(30_000, 0, 0));
    for missing in 0..pages.len() {
        let mut left = pages.clone();
        left.remove(missing);
        assert_eq!(cut_rows::join(left).unwrap_err().kind(), ErrorKind::Internal);
    }
    assert_eq!(cut_rows::join([]).unwrap_err().kind(), ErrorKind::Internal);
    assert_eq!(
        cut_rows::decode(b"{\"page\":0,\"of\":1,\"heads\":\"AAAA\"}").unwrap_err().kind(),
        ErrorKind::Internal
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn rows_of_a_chain_are_in_the_order_of_places_then_pages(
        a in ("[1-9][0-9]{0,60}", 0u32..20, 0u32..20, 0u32..20),
        b in ("[1-9][0-9]{0,60}", 0u32..20, 0u32..20, 0u32..20),
    ) {
        let place = |(number, index, entry, _): &(String, u32, u32, u32)| {
            Place::end(number.parse::<Position>().unwrap().with_index(*index), *entry)
        };
        let key = |text: &(String, u32, u32, u32)| cut_rows::sort_key(&id(place(text)), text.3);
        prop_assert_eq!(key(&a).cmp(&key(&b)), (place(&a), a.3).cmp(&(place(&b), b.3)));
    }
}
