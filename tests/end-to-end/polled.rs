//! From a polled Kinesis stream into DynamoDB.

use crate::{
    aws::Aws,
    orders::{self, Orders, STREAM},
};

const ORDERS: usize = 30;
const EVENTS: usize = 8;

#[tokio::test]
async fn events_of_a_table_become_documents_in_tables() {
    become_documents("store: { kind: local }").await;
}

#[tokio::test]
async fn nothing_is_kept_on_the_machine_where_the_store_is_in_dynamodb() {
    let aws = become_documents("store: { kind: dynamodb, table: state }").await;
    assert!(!aws.folder().join("foldstream-data").exists());
    let leases = aws.dynamodb().scan().table_name("state-shop").send().await.unwrap();
    let keys = leases.items().iter().filter(|item| item["entityType"].as_s().unwrap() == "LEASE");
    let mut keys: Vec<_> = keys.map(|item| item["leaseKey"].as_s().unwrap().as_str()).collect();
    keys.sort_unstable();
    assert_eq!(keys.len(), 4, "a lease for each shard, as KCL has them: {keys:?}");
    let status = aws.run(&["status"]);
    assert!(status.contains("orders") && status.contains("skus"), "{status}");
}

async fn become_documents(store: &str) -> Aws {
    let aws = Aws::new(&orders::config(store, "read: polling"));
    let kinesis = aws.kinesis();
    aws.create_stream(STREAM, 4).await;
    for sequence in 1..=EVENTS {
        orders::put(&kinesis, &(0..ORDERS).map(|order| (order, sequence)).collect::<Vec<_>>()).await;
    }
    let all: Orders = (0..ORDERS).map(|order| (order, EVENTS)).collect();
    for run in ["the first run", "a second run, which finds nothing to do"] {
        let said = aws.run(&["run", "--until-caught-up"]);
        assert!(said.contains("caught up"), "{run}: {said}");
        assert_eq!(orders::found(&aws), orders::expected(&all), "{run}");
    }
    aws
}
