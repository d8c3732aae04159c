//! From a polled Kinesis stream into DynamoDB.

use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};
use serde_json::{Value, json};

use crate::{
    aws::Aws,
    orders::{self, STREAM},
};

const ORDERS: usize = 30;
const EVENTS: usize = 8;

/// Puts every event of every order, those of one order in turn.
async fn put_all(aws: &Aws) {
    let kinesis = aws.kinesis();
    kinesis.create_stream().stream_name(STREAM).shard_count(4).send().await.unwrap();
    for sequence in 1..=EVENTS {
        let entries = (0..ORDERS).map(|order| {
            let data = Blob::new(orders::inserted(order, sequence).to_string());
            PutRecordsRequestEntry::builder().partition_key(format!("o-{order}")).data(data).build().unwrap()
        });
        let put = kinesis.put_records().stream_name(STREAM).set_records(Some(entries.collect()));
        assert_eq!(put.send().await.unwrap().failed_record_count(), Some(0));
    }
}

/// All documents of a projection, by key.
fn documents(aws: &Aws, projection: &str) -> Vec<Value> {
    let listed = aws.run(&["documents", "list", projection, "--limit", "0", "-o", "json"]);
    let mut documents: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    documents.sort_by_key(|document| document["key"].as_str().unwrap().to_owned());
    documents
}

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
    let aws = Aws::new(&orders::config(store));
    put_all(&aws).await;
    let said = aws.run(&["run", "--until-caught-up"]);
    assert!(said.contains("caught up"), "{said}");
    let orders = documents(&aws, "orders");
    assert_eq!(orders.len(), ORDERS);
    let items = EVENTS - 1;
    let first = json!({"key": "o-0", "document": {"customer": "c-0", "total": 1.5 * items as f64}});
    assert_eq!(orders[0], first);
    let sold: u64 = documents(&aws, "skus").iter().map(|sku| sku["document"]["sold"].as_u64().unwrap()).sum();
    assert_eq!(sold, (ORDERS * items) as u64);
    let said = aws.run(&["run", "--until-caught-up"]);
    assert!(said.contains("caught up"), "a second run finds nothing to do: {said}");
    assert_eq!(documents(&aws, "orders"), orders);
    aws
}
