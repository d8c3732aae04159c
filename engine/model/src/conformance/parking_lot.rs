//! What a [`ParkingLot`] promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use proptest::prelude::{Strategy, any, prop_oneof};

use super::{HOSTILE, cases, together};
use crate::{
    DocumentKey, Epoch, ErrorKind, Lot, Map, MarkNumber, OrderKey, ParkedEvent, ParkedOrder, Place, Position,
    ProjectionId, Result, Sequence, ShardNumber, StreamId, Timestamp, Value,
    ports::{Parked, ParkedPage, Parking, ParkingLot},
};

/// Checks a parking lot. It fills and clears lots of projections whose names begin with `conformance`, and calls again
/// where it is told that something may pass.
pub async fn run(parking: &dyn ParkingLot) {
    let parking: &dyn ParkingLot = &Again(parking);
    nothing_is_found_where_nothing_was_parked(parking).await;
    what_is_parked_is_read_back(parking).await;
    events_of_a_document_are_in_order(parking).await;
    an_event_is_put_once(parking).await;
    many_events_of_one_parking_are_put(parking).await;
    events_of_any_size_are_kept(parking).await;
    long_names_are_told_apart_and_orders_with_them_kept(parking).await;
    lists_are_sorted_and_paged(parking).await;
    a_mark_is_closed_only_when_nothing_waits(parking).await;
    nothing_is_put_under_a_closed_mark(parking).await;
    parkings_of_a_call_are_judged_one_by_one(parking).await;
    hostile_keys_are_keys(parking).await;
    lots_do_not_touch_each_other(parking).await;
    of_a_racing_append_and_close_one_wins(parking).await;
    any_history_ends_as_in_a_map(parking).await;
}

/// Calls again and again, as the port says is right.
struct Again<'p>(&'p dyn ParkingLot);

/// More often than chance lets two get into each other's way.
const TRIES: usize = 100;

async fn again<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> Result<T> {
    for _ in 1..TRIES {
        match call().await {
            Err(error) if matches!(error.kind(), ErrorKind::Transient | ErrorKind::Throttled) => {}
            answer => return answer,
        }
    }
    call().await
}

#[async_trait]
impl ParkingLot for Again<'_> {
    async fn append(&self, lot: &Lot, parkings: Vec<Parking>) -> Result<Vec<Parked>> {
        again(|| self.0.append(lot, parkings.clone())).await
    }

    async fn list(
        &self,
        lot: &Lot,
        document: Option<&DocumentKey>,
        after: Option<(&DocumentKey, &ParkedOrder)>,
        limit: usize,
    ) -> Result<ParkedPage> {
        again(|| self.0.list(lot, document, after, limit)).await
    }

    async fn remove(&self, lot: &Lot, document: &DocumentKey, orders: &[ParkedOrder]) -> Result<()> {
        again(|| self.0.remove(lot, document, orders)).await
    }

    async fn close(&self, lot: &Lot, document: &DocumentKey, mark: MarkNumber) -> Result<bool> {
        again(|| self.0.close(lot, document, mark)).await
    }

    async fn clear(&self, lot: &Lot) -> Result<()> {
        again(|| self.0.clear(lot)).await
    }
}

async fn fresh(parking: &dyn ParkingLot, name: &str) -> Lot {
    let lot = Lot::of_documents(&ProjectionId::new(&format!("conformance_{name}"), 1), Epoch::default());
    parking.clear(&lot).await.expect("a lot can be cleared, even one that holds nothing");
    lot
}

fn order(shard: u32, position: u64) -> ParkedOrder {
    let place = Place::new(Position::new(position.into()), 0, 0);
    ParkedOrder { key: None, shard: ShardNumber(shard), place }
}

fn event(document: &str, order: ParkedOrder) -> ParkedEvent {
    ParkedEvent {
        document: DocumentKey::new(document),
        event: format!("{{\"place\":\"{}\"}}", order.place),
        order,
        before: Value::Null,
        state: Value::Null,
        error: None,
        raised_at: None,
        parked_at: Timestamp::EPOCH,
    }
}

async fn append(
    parking: &dyn ParkingLot,
    lot: &Lot,
    document: &str,
    mark: u32,
    orders: &[ParkedOrder],
) -> Parked {
    let events = orders.iter().map(|order| event(document, order.clone())).collect();
    let parkings = vec![Parking { document: DocumentKey::new(document), mark: MarkNumber(mark), events }];
    let parked = parking.append(lot, parkings).await.expect("an append is answered");
    assert_eq!(parked.len(), 1, "one answer a parking");
    parked[0]
}

async fn orders(parking: &dyn ParkingLot, lot: &Lot, document: &str) -> Vec<ParkedOrder> {
    let page = parking.list(lot, Some(&DocumentKey::new(document)), None, 1_000).await;
    page.expect("a list is answered").events.into_iter().map(|event| event.order).collect()
}

async fn close(parking: &dyn ParkingLot, lot: &Lot, document: &str, mark: u32) -> bool {
    parking.close(lot, &DocumentKey::new(document), MarkNumber(mark)).await.expect("a close is answered")
}

async fn remove(parking: &dyn ParkingLot, lot: &Lot, document: &str, orders: &[ParkedOrder]) {
    parking.remove(lot, &DocumentKey::new(document), orders).await.expect("a removal is answered");
}

async fn total(parking: &dyn ParkingLot, lot: &Lot) -> u64 {
    parking.list(lot, None, None, 0).await.expect("a list is answered").total
}

async fn nothing_is_found_where_nothing_was_parked(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "nothing").await;
    let page = parking.list(&lot, None, None, 10).await.expect("a list is answered");
    assert!(page.events.is_empty() && page.total == 0, "{page:?}");
    assert!(parking.append(&lot, Vec::new()).await.expect("an append of nothing").is_empty());
    remove(parking, &lot, "a", &[order(0, 1)]).await;
}

async fn what_is_parked_is_read_back(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "values").await;
    let long: Position =
        "49590338271490256608559692538361571095921575989136588898".parse().expect("a number");
    let total = ("total".into(), Value::from("1\u{0}\"🦀"));
    let state = Value::Map(Arc::new(Map::from_iter([total])));
    let parked = ParkedEvent {
        document: DocumentKey::new("a"),
        order: ParkedOrder {
            key: Some(OrderKey {
                recorded_at: Timestamp::from_micros(-1),
                stream: StreamId::new("s/\"1\"\u{0}"),
                sequence: Sequence(9),
            }),
            shard: ShardNumber(7),
            place: Place::new(long.with_index(4), 2, 1),
        },
        event: "{\"payload\":{\"price\":4.50}}".to_owned(),
        before: Value::Null,
        state,
        error: Some("a reason\nof two lines".to_owned()),
        raised_at: Some(Timestamp::from_micros(-2)),
        parked_at: Timestamp::from_micros(1),
    };
    let parkings =
        vec![Parking { document: DocumentKey::new("a"), mark: MarkNumber(1), events: vec![parked.clone()] }];
    assert_eq!(parking.append(&lot, parkings).await.expect("an append is answered"), [Parked::Done]);
    let page = parking.list(&lot, None, None, 10).await.expect("a list is answered");
    assert_eq!((page.events, page.total), (vec![parked], 1));
}

async fn events_of_a_document_are_in_order(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "order").await;
    let expected = [order(0, 9), order(0, 10), order(0, 1 << 40), order(2, 1), order(10, 1)];
    for order in expected.iter().rev() {
        assert_eq!(append(parking, &lot, "a", 1, std::slice::from_ref(order)).await, Parked::Done);
    }
    assert_eq!(orders(parking, &lot, "a").await, expected, "whatever the order of the appends");
}

async fn an_event_is_put_once(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "once").await;
    let first = ParkedEvent { error: Some("the first".to_owned()), ..event("a", order(0, 1)) };
    for events in [vec![first.clone()], vec![event("a", order(0, 1)), event("a", order(0, 2))]] {
        let parkings = vec![Parking { document: DocumentKey::new("a"), mark: MarkNumber(1), events }];
        assert_eq!(parking.append(&lot, parkings).await.expect("an append is answered"), [Parked::Done]);
    }
    let page = parking.list(&lot, None, None, 10).await.expect("a list is answered");
    assert_eq!((page.events.len(), page.total), (2, 2));
    assert_eq!(page.events[0], first, "what is there is left as it is");
}

async fn many_events_of_one_parking_are_put(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "many").await;
    let all: Vec<_> = (0..250).map(|position| order(0, position)).collect();
    let some: Vec<_> = all.iter().step_by(7).rev().cloned().collect();
    assert_eq!(append(parking, &lot, "a", 1, &some).await, Parked::Done);
    for _ in 0..2 {
        assert_eq!(append(parking, &lot, "a", 1, &all).await, Parked::Done);
        assert_eq!((orders(parking, &lot, "a").await, total(parking, &lot).await), (all.clone(), 250));
    }
    for _ in 0..2 {
        remove(parking, &lot, "a", &some).await;
        assert_eq!(total(parking, &lot).await, 250 - some.len() as u64);
    }
    assert!(!close(parking, &lot, "a", 1).await);
    remove(parking, &lot, "a", &all).await;
    assert!(close(parking, &lot, "a", 1).await);
}

async fn events_of_any_size_are_kept(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "sizes").await;
    let parked: Vec<_> = [300_000, 400_000, 1_000_000, 1, 5_000_000]
        .into_iter()
        .zip(1..)
        .map(|(size, position)| {
            let text = "é1\"".chars().cycle().take(size / 2).collect::<String>();
            ParkedEvent { state: Value::from(text.as_str()), ..event("a", order(0, position)) }
        })
        .collect();
    for _ in 0..2 {
        let events = parked.clone();
        let parkings = vec![Parking { document: DocumentKey::new("a"), mark: MarkNumber(1), events }];
        assert_eq!(parking.append(&lot, parkings).await.expect("an append is answered"), [Parked::Done]);
    }
    for document in [None, Some(&DocumentKey::new("a"))] {
        let mut found: Vec<ParkedEvent> = Vec::new();
        loop {
            let after = found.last().map(|event| (&event.document, &event.order));
            let page = parking.list(&lot, document, after, 100).await.expect("a list is answered");
            if page.events.is_empty() {
                break;
            }
            found.extend(page.events);
        }
        assert!(found == parked, "what is large is read back");
    }
    let parked: Vec<_> = parked.into_iter().map(|event| event.order).collect();
    remove(parking, &lot, "a", &parked).await;
    assert!(close(parking, &lot, "a", 1).await);
}

async fn long_names_are_told_apart_and_orders_with_them_kept(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "long").await;
    let long = |end: u64| format!("{}{end}", "é".repeat(1_000));
    let ordered = |stream: u64, at: i64, sequence: u64| ParkedOrder {
        key: Some(OrderKey {
            recorded_at: Timestamp::from_micros(at),
            stream: StreamId::new(long(stream)),
            sequence: Sequence(sequence),
        }),
        ..order(0, 1)
    };
    let mut expected = vec![ordered(0, 0, 1), ordered(0, 2, 1)];
    expected.extend((10..40).flat_map(|stream| [ordered(stream, 1, 1), ordered(stream, 1, 2)]));
    expected.sort();
    for document in [long(1), long(2), "short".to_owned()] {
        assert_eq!(append(parking, &lot, &document, 1, &expected).await, Parked::Done);
        let key = DocumentKey::new(document.as_str());
        for limit in [1, 7, 100] {
            let mut found: Vec<ParkedOrder> = Vec::new();
            loop {
                let after = found.last().map(|order| (&key, order));
                let page = parking.list(&lot, Some(&key), after, limit).await.expect("a list is answered");
                assert!(page.events.len() <= limit, "a limit is kept");
                if page.events.is_empty() {
                    break;
                }
                found.extend(page.events.into_iter().map(|event| event.order));
            }
            assert!(found == expected, "by order, whatever a store's keys hold of it: limit={limit}");
        }
    }
    let page = parking.list(&lot, None, None, 1_000).await.expect("a list is answered");
    assert_eq!((page.events.len(), page.total), (3 * expected.len(), 3 * expected.len() as u64));
    remove(parking, &lot, &long(1), &expected).await;
    assert!(close(parking, &lot, &long(1), 1).await && !close(parking, &lot, &long(2), 1).await);
}

async fn lists_are_sorted_and_paged(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "pages").await;
    for document in ["b", "a", "aé", "a b"] {
        append(parking, &lot, document, 1, &[order(0, 2), order(1, 1), order(0, 1)]).await;
    }
    let mut expected = Vec::new();
    for document in ["a", "a b", "aé", "b"] {
        expected.extend([order(0, 1), order(0, 2), order(1, 1)].map(|order| (document.to_owned(), order)));
    }
    let mut found: Vec<(String, ParkedOrder)> = Vec::new();
    loop {
        let last = found.last().map(|(document, order)| (DocumentKey::new(document.as_str()), order.clone()));
        let after = last.as_ref().map(|(document, order)| (document, order));
        let page = parking.list(&lot, None, after, 5).await.expect("a list is answered");
        assert_eq!(page.total, 12, "of all pages");
        assert!(page.events.len() <= 5, "a limit is kept");
        if page.events.is_empty() {
            break;
        }
        found.extend(page.events.into_iter().map(|event| (event.document.to_string(), event.order)));
    }
    assert_eq!(found, expected);
    let after = (&DocumentKey::new("a"), &order(0, 1));
    let page = parking.list(&lot, Some(&DocumentKey::new("a")), Some(after), 10).await;
    let page = page.expect("a list is answered");
    assert!(page.events.iter().all(|event| event.document.as_str() == "a"), "{page:?}");
    assert_eq!((page.events.len(), page.total), (2, 12));
}

async fn a_mark_is_closed_only_when_nothing_waits(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "close").await;
    append(parking, &lot, "a", 1, &[order(0, 1), order(0, 2)]).await;
    append(parking, &lot, "b", 1, &[order(0, 1)]).await;
    assert!(!close(parking, &lot, "a", 1).await, "two wait");
    remove(parking, &lot, "a", &[order(0, 1)]).await;
    assert!(!close(parking, &lot, "a", 1).await, "one waits");
    remove(parking, &lot, "a", &[order(0, 1), order(0, 2), order(0, 3)]).await;
    assert!(close(parking, &lot, "a", 1).await, "nothing of this document waits");
    assert!(close(parking, &lot, "a", 1).await, "it is closed");
    assert_eq!(total(parking, &lot).await, 1);
}

async fn nothing_is_put_under_a_closed_mark(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "closed").await;
    assert!(close(parking, &lot, "a", 2).await, "nothing was ever there");
    for mark in [1, 2] {
        assert_eq!(append(parking, &lot, "a", mark, &[order(0, 1)]).await, Parked::Closed);
    }
    assert!(orders(parking, &lot, "a").await.is_empty());
    assert_eq!(append(parking, &lot, "a", 3, &[order(0, 1)]).await, Parked::Done, "a later one is open");
    assert!(
        close(parking, &lot, "a", 2).await,
        "an earlier one stays closed, whatever waits under a later one"
    );
    assert!(!close(parking, &lot, "a", 3).await);
    assert_eq!(append(parking, &lot, "a", 2, &[order(0, 2)]).await, Parked::Closed);
    remove(parking, &lot, "a", &[order(0, 1)]).await;
    assert!(close(parking, &lot, "a", 1).await, "closing an earlier one opens no later one");
    assert_eq!(append(parking, &lot, "a", 2, &[order(0, 2)]).await, Parked::Closed);
    assert_eq!(append(parking, &lot, "a", 3, &[order(0, 2)]).await, Parked::Done);
}

async fn parkings_of_a_call_are_judged_one_by_one(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "each").await;
    close(parking, &lot, "closed", 1).await;
    let one = |document: &str| Parking {
        document: DocumentKey::new(document),
        mark: MarkNumber(1),
        events: vec![event(document, order(0, 1))],
    };
    let parked = parking.append(&lot, vec![one("a"), one("closed"), one("b")]).await;
    assert_eq!(
        parked.expect("an append is answered"),
        [Parked::Done, Parked::Closed, Parked::Done],
        "in the order asked"
    );
    assert_eq!(total(parking, &lot).await, 2);
}

async fn hostile_keys_are_keys(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "hostile").await;
    for key in HOSTILE {
        assert_eq!(append(parking, &lot, key, 1, &[order(0, 1)]).await, Parked::Done, "{key:?}");
    }
    let mut sorted = HOSTILE.to_vec();
    sorted.sort_unstable();
    let page = parking.list(&lot, None, None, 100).await.expect("a list is answered");
    let found: Vec<_> = page.events.iter().map(|event| event.document.as_str()).collect();
    assert_eq!(found, sorted);
    for key in HOSTILE {
        remove(parking, &lot, key, &[order(0, 1)]).await;
        assert!(close(parking, &lot, key, 1).await, "{key:?}");
    }
}

async fn lots_do_not_touch_each_other(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "lots").await;
    let others = [
        Lot { epoch: Epoch(1), ..lot.clone() },
        Lot { projection: ProjectionId::new("conformance_lots", 2), ..lot.clone() },
        fresh(parking, "lots_2").await,
    ];
    for other in &others {
        parking.clear(other).await.expect("a lot can be cleared");
        append(parking, other, "a", 1, &[order(0, 1)]).await;
        close(parking, other, "b", 1).await;
    }
    assert_eq!(total(parking, &lot).await, 0);
    assert_eq!(append(parking, &lot, "b", 1, &[order(0, 1)]).await, Parked::Done);
    assert!(close(parking, &lot, "a", 5).await);
    parking.clear(&lot).await.expect("a lot can be cleared");
    assert_eq!(append(parking, &lot, "a", 1, &[order(0, 1)]).await, Parked::Done, "marks are forgotten too");
    for other in &others {
        assert_eq!(total(parking, other).await, 1);
        assert_eq!(append(parking, other, "b", 1, &[order(0, 1)]).await, Parked::Closed);
    }
}

async fn of_a_racing_append_and_close_one_wins(parking: &dyn ParkingLot) {
    let lot = fresh(parking, "race").await;
    for round in 0..20 {
        let document = format!("d-{round}");
        let racers: Vec<std::pin::Pin<Box<dyn Future<Output = bool> + Send + '_>>> = vec![
            Box::pin(async { append(parking, &lot, &document, 1, &[order(0, 1)]).await == Parked::Done }),
            Box::pin(async { close(parking, &lot, &document, 1).await }),
        ];
        let won = together(racers).await;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "either it is parked or the mark is closed");
        assert_eq!(orders(parking, &lot, &document).await.len(), usize::from(won[0]));
    }
}

#[derive(Debug, Clone)]
enum Act {
    Append { document: usize, mark: u32, positions: Vec<u64> },
    Remove { document: usize, positions: Vec<u64> },
    Close { document: usize, mark: u32 },
}

fn act() -> impl Strategy<Value = Act> {
    let positions = || proptest::collection::vec(0u64..6, 0..4);
    prop_oneof![
        (any::<usize>(), 1u32..5, positions()).prop_map(|(document, mark, positions)| Act::Append {
            document,
            mark,
            positions
        }),
        (any::<usize>(), positions()).prop_map(|(document, positions)| Act::Remove { document, positions }),
        (any::<usize>(), 1u32..5).prop_map(|(document, mark)| Act::Close { document, mark }),
    ]
}

async fn any_history_ends_as_in_a_map(parking: &dyn ParkingLot) {
    const DOCUMENTS: [&str; 3] = ["a", "b", "c"];
    let lot = fresh(parking, "history").await;
    let mut parked: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    let mut closed: BTreeMap<&str, u32> = BTreeMap::new();
    let name = |document: usize| DOCUMENTS[document % DOCUMENTS.len()];
    let all = |positions: &[u64]| positions.iter().map(|position| order(0, *position)).collect::<Vec<_>>();
    for act in cases(act(), 300) {
        match act {
            Act::Append { document, mark, positions } => {
                let document = name(document);
                let is_open = closed.get(document).is_none_or(|closed| mark > *closed);
                let expected = if is_open { Parked::Done } else { Parked::Closed };
                let found = append(parking, &lot, document, mark, &all(&positions)).await;
                assert_eq!(found, expected, "mark={mark} closed={closed:?}");
                if is_open {
                    parked.entry(document).or_default().extend(positions);
                }
            }
            Act::Remove { document, positions } => {
                let document = name(document);
                remove(parking, &lot, document, &all(&positions)).await;
                let waiting = parked.entry(document).or_default();
                waiting.retain(|position| !positions.contains(position));
            }
            Act::Close { document, mark } => {
                let document = name(document);
                let before = closed.get(document).copied().unwrap_or(0);
                let is_empty = parked.get(document).is_none_or(BTreeSet::is_empty);
                let expected = mark <= before || is_empty;
                assert_eq!(close(parking, &lot, document, mark).await, expected, "{parked:?} {closed:?}");
                if expected {
                    closed.insert(document, before.max(mark));
                }
            }
        }
    }
    for document in DOCUMENTS {
        let expected: Vec<u64> = parked.get(document).into_iter().flatten().copied().collect();
        assert_eq!(orders(parking, &lot, document).await, all(&expected));
    }
    let expected: usize = parked.values().map(BTreeSet::len).sum();
    assert_eq!(total(parking, &lot).await, expected as u64);
    parking.clear(&lot).await.expect("a lot can be cleared");
}
