//! Orders as items of an event table, and what they come to.

use std::collections::BTreeMap;

use aws_sdk_kinesis::{Client, primitives::Blob, types::PutRecordsRequestEntry};
use serde_json::{Value, json};

use crate::aws::Aws;

pub const STREAM: &str = "shop-events";

/// `store` and `source` are further settings of the whole and of the source.
pub fn config(store: &str, source: &str) -> String {
    format!(
        "config_version: 1
{store}
sources:
  shop:
    kind: kinesis
    stream: {STREAM}
    {source}
    include: =item.pk.startsWith(\"ORDER#\")
    event:
      stream_id: {{ from: pk, strip_prefix: \"ORDER#\" }}
      sequence: {{ from: sk, strip_prefix: \"EVENT#\" }}
      type: eventType
      recorded_at: createdAt
      payload: data
sinks:
  tables: {{ kind: dynamodb, table: \"shop-{{projection}}-v{{version}}\" }}
projections:
  orders:
    version: 1
    source: shop
    ordering: per_stream
    sink: tables
    handlers:
      - {{ event: Placed, key: =event.stream_id, set: {{ customer: =payload.customer }}, add: {{ total: 0 }} }}
      - {{ event: ItemAdded, key: =event.stream_id, add: {{ total: =payload.price }} }}
  skus:
    version: 1
    source: shop
    ordering: commutative
    sink: tables
    handlers:
      - {{ event: ItemAdded, key: =payload.sku, add: {{ sold: 1, revenue: =payload.price }} }}
"
    )
}

/// The record that DynamoDB writes into its stream when an event's item is inserted.
pub fn inserted(order: usize, sequence: usize) -> Value {
    let (kind, data) = match sequence {
        1 => ("Placed", json!({"customer": {"S": format!("c-{}", order % 3)}})),
        _ => ("ItemAdded", json!({"sku": {"S": sku(order, sequence)}, "price": {"N": "1.50"}})),
    };
    json!({
        "eventName": "INSERT",
        "tableName": "shop",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_795_271_722_739u64,
            "NewImage": {
                "pk": {"S": format!("ORDER#o-{order}")},
                "sk": {"S": format!("EVENT#{sequence:06}")},
                "eventType": {"S": kind},
                "createdAt": {"S": format!("2026-11-21T17:{:02}:{:02}Z", sequence / 60, sequence % 60)},
                "data": {"M": data},
            },
        },
    })
}

pub fn sku(order: usize, sequence: usize) -> String {
    format!("sku-{}", (order + sequence) % 5)
}

/// Puts the next event of each of these orders: order and sequence.
pub async fn put(kinesis: &Client, events: &[(usize, usize)]) {
    let entries = events.iter().map(|(order, sequence)| {
        let data = Blob::new(inserted(*order, *sequence).to_string());
        PutRecordsRequestEntry::builder().partition_key(format!("o-{order}")).data(data).build().unwrap()
    });
    let put = kinesis.put_records().stream_name(STREAM).set_records(Some(entries.collect()));
    assert_eq!(put.send().await.unwrap().failed_record_count(), Some(0));
}

/// Of each order, how many events it has.
pub type Orders = BTreeMap<usize, usize>;

/// What the documents must be, by projection and key.
pub fn expected(orders: &Orders) -> BTreeMap<&'static str, BTreeMap<String, Value>> {
    let mut documents = BTreeMap::from([("orders", BTreeMap::new()), ("skus", BTreeMap::new())]);
    let mut sold: BTreeMap<String, u64> = BTreeMap::new();
    for (order, events) in orders {
        let items = *events as u64 - 1;
        let document = json!({"customer": format!("c-{}", order % 3), "total": price(items)});
        documents.get_mut("orders").unwrap().insert(format!("o-{order}"), document);
        for sequence in 2..=*events {
            *sold.entry(sku(*order, sequence)).or_default() += 1;
        }
    }
    let skus = documents.get_mut("skus").unwrap();
    skus.extend(sold.into_iter().map(|(sku, sold)| (sku, json!({"sold": sold, "revenue": price(sold)}))));
    documents
}

/// So many items of 1.50.
pub fn price(items: u64) -> Value {
    let cents = items * 150;
    let text = if cents.is_multiple_of(100) {
        (cents / 100).to_string()
    } else {
        format!("{}.{}", cents / 100, cents % 100 / 10)
    };
    serde_json::from_str(&text).unwrap()
}

/// All documents of both projections.
pub fn found(aws: &Aws) -> BTreeMap<&'static str, BTreeMap<String, Value>> {
    ["orders", "skus"].map(|projection| (projection, aws.documents(projection, &[]))).into()
}
