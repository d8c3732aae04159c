use std::sync::Arc;

use foldstream_model::{
    DocumentKey, Epoch, ErrorKind, Lot, MarkNumber, ParkedEvent, ParkedOrder, Place, Position, ProjectionId,
    ShardNumber, Timestamp, Value, conformance,
    ports::{Parked, Parking, ParkingLot},
};

use super::{
    super::{
        partition::{Pages, Range},
        state::StateTable,
    },
    DynamoParking,
    document::Document,
    keys,
};
use crate::testing::{Fixture, Mishap};

fn lot() -> Lot {
    Lot::of_documents(&ProjectionId::new("orders", 3), Epoch(0))
}

fn order(position: u64) -> ParkedOrder {
    let place = Place::new(Position::new(position.into()), 0, 0);
    ParkedOrder { key: None, shard: ShardNumber(0), place }
}

fn event(order: ParkedOrder, size: usize) -> ParkedEvent {
    ParkedEvent {
        document: DocumentKey::new("a"),
        event: "{}".to_owned(),
        order,
        before: Value::Null,
        state: Value::from("s".repeat(size).as_str()),
        error: None,
        raised_at: None,
        parked_at: Timestamp::EPOCH,
    }
}

fn parking(mark: u32, orders: impl IntoIterator<Item = u64>, size: usize) -> Vec<Parking> {
    let events = orders.into_iter().map(|position| event(order(position), size)).collect();
    vec![Parking { document: DocumentKey::new("a"), mark: MarkNumber(mark), events }]
}

fn document(table: &StateTable) -> Document<'_> {
    Document::new(table, &lot(), keys::document(&DocumentKey::new("a")))
}

#[tokio::test]
async fn it_passes_the_suite() {
    let fixture = Fixture::new().await;
    conformance::parking_lot::run(&DynamoParking::new(fixture.state.clone())).await;
}

#[tokio::test]
async fn it_passes_the_suite_where_answers_are_lost_and_transactions_conflict() {
    let fixture = Fixture::new().await;
    for mishap in [Mishap::Lost, Mishap::Conflict] {
        let client = fixture.connection.dynamodb_with(mishap, 20);
        let table = StateTable { client, name: fixture.state.name.clone(), ids: fixture.ids.clone() };
        conformance::parking_lot::run(&DynamoParking::new(Arc::new(table))).await;
    }
}

#[tokio::test]
async fn a_transaction_that_conflicts_with_another_is_transient() {
    let fixture = Fixture::new().await;
    let client = fixture.connection.dynamodb_with(Mishap::Conflict, 1);
    let table = StateTable { client, name: fixture.state.name.clone(), ids: fixture.ids.clone() };
    let error = DynamoParking::new(Arc::new(table)).append(&lot(), parking(1, [1], 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.message().contains("TransactionConflict"), "{error}");
}

#[tokio::test]
async fn racing_appends_and_removals_count_each_event_once() {
    let fixture = Fixture::new().await;
    let parking_lot = DynamoParking::new(fixture.state.clone());
    for round in 0..10 {
        let lot = Lot { epoch: Epoch(round), ..lot() };
        let appends = (0..4).map(|from| parking_lot.append(&lot, parking(1, from..from + 150, 1)));
        assert!(
            futures::future::join_all(appends)
                .await
                .into_iter()
                .all(|parked| parked.unwrap() == [Parked::Done])
        );
        assert_eq!(parking_lot.list(&lot, None, None, 0).await.unwrap().total, 153);
        let orders: Vec<_> = (0..153).map(order).collect();
        let key = DocumentKey::new("a");
        let removals = (0..4).map(|_| parking_lot.remove(&lot, &key, &orders));
        assert!(futures::future::join_all(removals).await.into_iter().all(|removed| removed.is_ok()));
        assert_eq!(parking_lot.list(&lot, None, None, 0).await.unwrap().total, 0);
        assert!(parking_lot.close(&lot, &key, MarkNumber(1)).await.unwrap());
    }
}

#[tokio::test]
async fn an_event_that_is_seen_without_one_that_was_put_with_it_is_not_listed() {
    let fixture = Fixture::new().await;
    let parking_lot = DynamoParking::new(fixture.state.clone());
    parking_lot.append(&lot(), parking(1, 1..=3, 1)).await.unwrap();
    let document = document(&fixture.state);
    for (missing, is_torn) in [(0, true), (1, true), (2, false)] {
        let mut listed = document.listed(None, 10).await.unwrap();
        listed.items.remove(missing);
        assert_eq!(
            document.is_torn(&listed).await.unwrap(),
            is_torn,
            "the last one may come later: {missing}"
        );
    }
    let listed = document.listed(Some(&order(1)), 10).await.unwrap();
    assert!(!document.is_torn(&listed).await.unwrap(), "what was not asked for is not missed");
    parking_lot.remove(&lot(), &DocumentKey::new("a"), &[order(2)]).await.unwrap();
    let listed = document.list(None, 10).await.unwrap();
    assert_eq!(listed.into_iter().map(|event| event.order).collect::<Vec<_>>(), [order(1), order(3)]);
}

#[tokio::test]
async fn nothing_is_left_of_events_that_were_too_large_for_a_row() {
    let fixture = Fixture::new().await;
    let parking_lot = DynamoParking::new(fixture.state.clone());
    parking_lot.append(&lot(), parking(1, [1, 2], 900_000)).await.unwrap();
    assert_eq!(in_partition(&fixture.state, &keys::pieces(&lot())).await, 6);
    parking_lot.remove(&lot(), &DocumentKey::new("a"), &[order(1)]).await.unwrap();
    assert_eq!(in_partition(&fixture.state, &keys::pieces(&lot())).await, 3);
    parking_lot.clear(&lot()).await.unwrap();
    let partitions =
        [keys::pieces(&lot()), keys::documents(&lot()), keys::totals(&lot()), keys::events(&lot(), "a")];
    for partition in partitions {
        assert_eq!(in_partition(&fixture.state, &partition).await, 0, "{partition}");
    }
}

async fn in_partition(table: &StateTable, partition: &str) -> usize {
    Pages::new(table, partition.to_owned(), Range::All).all().await.unwrap().len()
}
