//! What a fleet on AWS costs and how long it takes: figures, by commands that the list of figures names.

#![expect(clippy::float_arithmetic, reason = "figures for people")]

mod calls;
mod passing;
mod peer;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};

use crate::{
    aws::Aws,
    orders::{self, STREAM},
};

/// Between two looks at a document.
const PAUSE: Duration = Duration::from_millis(2);
const PATIENCE: Duration = Duration::from_secs(60);
/// Enough that each shard has one.
const CANDIDATES: usize = 100;
const EVENTS_OF_AN_ORDER: usize = 10;
/// Orders that are open at the same time.
const OPEN: usize = 500;

/// The first events of some orders; one order of each shard.
async fn one_order_of_each_shard(aws: &Aws) -> BTreeMap<String, usize> {
    let entries = (0..CANDIDATES).map(|order| {
        let data = Blob::new(orders::inserted(order, 1).to_string());
        PutRecordsRequestEntry::builder().partition_key(format!("o-{order}")).data(data).build().unwrap()
    });
    let put = aws.kinesis().put_records().stream_name(STREAM).set_records(Some(entries.collect()));
    let answer = put.send().await.unwrap();
    let shards = answer.records().iter().map(|record| record.shard_id().unwrap().to_owned());
    shards.zip(0..).collect()
}

/// What the document of an order comes to.
async fn cents_of(aws: &Aws, order: usize) -> Option<u64> {
    let key = AttributeValue::S(format!("o-{order}"));
    let asked = aws.dynamodb().get_item().table_name("shop-orders-v1").key("key", key).consistent_read(true);
    let item = asked.send().await.ok()?.item?;
    let total: f64 = item.get("total")?.as_n().ok()?.parse().ok()?;
    Some((total * 100.0).round() as u64)
}

/// Puts the events of this number, one of each order.
async fn add(aws: &Aws, orders: &[usize], sequence: usize) {
    let events: Vec<(usize, usize)> = orders.iter().map(|order| (*order, sequence)).collect();
    orders::put(&aws.kinesis(), &events).await;
}

/// Waits until orders have so many events, and says when each had.
async fn wait_for(aws: &Aws, orders: &[usize], events: usize) -> Vec<Instant> {
    let cents = (events as u64 - 1) * 150;
    let deadline = Instant::now() + PATIENCE;
    let (mut waiting, mut times) = (orders.to_vec(), Vec::new());
    while !waiting.is_empty() {
        for order in std::mem::take(&mut waiting) {
            match cents_of(aws, order).await == Some(cents) {
                true => times.push(Instant::now()),
                false => waiting.push(order),
            }
        }
        assert!(Instant::now() < deadline, "orders {waiting:?} have not {events} events yet");
        tokio::time::sleep(PAUSE).await;
    }
    times
}

/// Ten events of each order; those of one order have those of many others between them.
async fn put_all(aws: &Aws, orders: usize) {
    let kinesis = aws.kinesis();
    for first in (0..orders).step_by(OPEN) {
        for sequence in 1..=EVENTS_OF_AN_ORDER {
            let open = first..orders.min(first + OPEN);
            orders::put(&kinesis, &open.map(|order| (order, sequence)).collect::<Vec<_>>()).await;
        }
    }
}
