//! From the event table through its stream, two relays and Kinesis into documents.

use crate::{
    aws::Aws,
    event_table,
    fleet::Process,
    orders::{self, Orders, STREAM},
};

const ORDERS: usize = 20;
const EVENTS: usize = 6;

#[tokio::test]
async fn what_is_stored_in_a_table_comes_into_documents() {
    let config =
        orders::config("store: { kind: dynamodb, table: state }", "event_table: { table: shop, width: 6 }");
    let aws = Aws::with_streams(&config);
    let (kinesis, dynamodb) = (aws.kinesis(), aws.dynamodb());
    kinesis.create_stream().stream_name(STREAM).shard_count(2).send().await.unwrap();
    event_table::make(&dynamodb).await;
    let relays = [Process::of(&aws, &["relay"], 0), Process::of(&aws, &["relay", "--source", "shop"], 1)];
    let mut worker = Process::start(&aws, 2);
    for sequence in 1..=EVENTS {
        for order in 0..ORDERS {
            event_table::store(&dynamodb, order, sequence).await;
        }
    }
    let all: Orders = (0..ORDERS).map(|order| (order, EVENTS)).collect();
    let expected = orders::expected(&all);
    worker.wait("everything is in the documents", |_| {
        let found =
            aws.command(&["documents", "list", "orders", "--limit", "0", "-o", "json"]).output().unwrap();
        let count = String::from_utf8_lossy(&found.stdout).lines().count();
        (count == ORDERS && orders::found(&aws) == expected).then_some(())
    });
    relays.into_iter().for_each(Process::stop);
    worker.stop();
    assert_eq!(orders::found(&aws), expected);

    // All of it once more, and something new.
    let said = aws.run(&["relay", "--forget"]);
    assert!(said.contains("the oldest changes"), "{said}");
    for order in 0..ORDERS {
        event_table::store(&dynamodb, order, EVENTS + 1).await;
    }
    let relay = Process::of(&aws, &["relay"], 3);
    let mut worker = Process::start(&aws, 4);
    let all: Orders = (0..ORDERS).map(|order| (order, EVENTS + 1)).collect();
    let expected = orders::expected(&all);
    worker.wait("the documents have what is new", |_| (orders::found(&aws) == expected).then_some(()));
    relay.stop();
    worker.stop();
    assert_eq!(orders::found(&aws), expected);
}

#[tokio::test]
async fn the_stream_of_a_table_is_a_source_by_itself() {
    let config = orders::config("store: { kind: dynamodb, table: state }", "read: polling");
    let config = config
        .replace("kind: kinesis", "kind: dynamodb_streams")
        .replace("stream: shop-events", "table: shop");
    let aws = Aws::with_streams(&config.replace("    read: polling\n", ""));
    let dynamodb = aws.dynamodb();
    event_table::make(&dynamodb).await;
    for sequence in 1..=EVENTS {
        for order in 0..ORDERS {
            event_table::store(&dynamodb, order, sequence).await;
        }
    }
    let said = aws.run(&["run", "--until-caught-up"]);
    assert!(said.contains("caught up"), "{said}");
    let all: Orders = (0..ORDERS).map(|order| (order, EVENTS)).collect();
    assert_eq!(orders::found(&aws), orders::expected(&all));
}
