//! Where a source begins that was never read, and by which way: through the binary, polled and by enhanced fan-out.

use std::{
    thread::sleep,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use foldstream_model::Timestamp;
use serde_json::json;

use crate::{
    aws::Aws,
    fleet::Process,
    orders::{self, Orders, STREAM},
};

const OLD: usize = 5;
const NEW: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

fn config(source: &str) -> String {
    orders::config("store: { kind: dynamodb, table: state }", source)
}

/// One shard, in which an event of each old order is.
async fn with_old(aws: Aws) -> Aws {
    aws.create_stream(STREAM, 1).await;
    orders::put(&aws.kinesis(), &(0..OLD).map(|order| (order, 1)).collect::<Vec<_>>()).await;
    aws
}

/// The numbers of the orders that there are documents of.
fn found(aws: &Aws) -> Vec<usize> {
    let found = orders::found(aws).remove("orders").unwrap();
    let mut numbers: Vec<_> = found.keys().map(|key| key[2..].parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

/// When the shard was opened nobody says: orders are placed until one comes into a document.
async fn reads_what_comes(aws: Aws) {
    let aws = with_old(aws).await;
    let mut process = Process::start(&aws, 0);
    process.wait_until_it_works();
    let mut last = NEW;
    while found(&aws).is_empty() {
        orders::put(&aws.kinesis(), &[(last, 1)]).await;
        process.wait("it goes on", |_| Some(()));
        last += 1;
    }
    orders::put(&aws.kinesis(), &[(last, 1), (0, 2)]).await;
    process.wait("what came last", |_| found(&aws).contains(&0).then_some(()));
    process.stop();
    let numbers = found(&aws);
    let first = numbers[1];
    let expected: Vec<_> = std::iter::once(0).chain(first..=last).collect();
    assert!(first >= NEW);
    assert_eq!(numbers, expected, "all from the first one on");
    let old = orders::found(&aws)["orders"]["o-0"].clone();
    assert_eq!(old, json!({"total": 1.5}), "the first event seen of a stream is what it begins with");
}

#[tokio::test]
async fn at_latest_only_what_comes_is_polled() {
    reads_what_comes(Aws::with_kinesis_local(&config("start: LATEST"))).await;
}

#[tokio::test]
async fn at_latest_only_what_comes_is_sent_by_fan_out() {
    reads_what_comes(Aws::new(&config("start: LATEST\n    read: fan_out"))).await;
}

/// The beginning of the next second, which has come.
fn in_the_next_second() -> Timestamp {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let next = now().as_secs() + 1;
    while now().as_secs() < next {
        sleep(PAUSE);
    }
    Timestamp::from_seconds(next.try_into().unwrap())
}

async fn begins_at_a_time(aws: Aws, read: &str) {
    let aws = with_old(aws).await;
    let at = in_the_next_second();
    let source = format!("start: AT_TIMESTAMP\n    start_timestamp: {at}\n    read: {read}");
    std::fs::write(aws.folder().join("foldstream.yaml"), config(&source)).unwrap();
    let new = [NEW, NEW + 1, NEW + 2];
    orders::put(&aws.kinesis(), &new.map(|order| (order, 1))).await;
    let mut process = Process::start(&aws, 0);
    process.wait_until_it_works();
    process.wait("what came later", |_| (found(&aws).len() >= new.len()).then_some(()));
    process.stop();
    assert_eq!(found(&aws), new);
}

/// Of the servers that know times, one has another error than Kinesis for a number that lies in front of a record.
#[tokio::test]
async fn from_a_time_on_is_polled_what_came_later() {
    begins_at_a_time(Aws::new(&config("read: polling")), "polling").await;
}

#[tokio::test]
async fn from_a_time_on_is_sent_by_fan_out_what_came_later() {
    begins_at_a_time(Aws::new(&config("read: fan_out")), "fan_out").await;
}

#[tokio::test]
async fn by_fan_out_all_comes_into_documents_while_a_shard_is_split() {
    let aws = Aws::new(&config("read: fan_out\n    consumer: read-models"));
    aws.create_stream(STREAM, 2).await;
    let kinesis = aws.kinesis();
    let next = |sequence: usize| (0..NEW).map(|order| (order, sequence)).collect::<Vec<_>>();
    orders::put(&kinesis, &next(1)).await;
    let mut process = Process::start(&aws, 0);
    process.wait_until_it_works();
    process.wait("the first events", |_| (found(&aws).len() == NEW).then_some(()));
    let middle = (u128::MAX / 4).to_string();
    let shards = kinesis.list_shards().stream_name(STREAM).send().await.unwrap();
    let first = shards.shards()[0].shard_id();
    kinesis
        .split_shard()
        .stream_name(STREAM)
        .shard_to_split(first)
        .new_starting_hash_key(middle)
        .send()
        .await
        .unwrap();
    for sequence in [2, 3] {
        orders::put(&kinesis, &next(sequence)).await;
    }
    let all: Orders = (0..NEW).map(|order| (order, 3)).collect();
    process.wait("all events", |_| (orders::found(&aws) == orders::expected(&all)).then_some(()));
    process.stop();
    let arn = kinesis.describe_stream_summary().stream_name(STREAM).send().await.unwrap();
    let arn = arn.stream_description_summary.unwrap().stream_arn;
    let consumers = kinesis.list_stream_consumers().stream_arn(arn).send().await.unwrap();
    let names: Vec<_> = consumers.consumers().iter().map(|consumer| consumer.consumer_name()).collect();
    assert_eq!(names, ["read-models"]);
}
