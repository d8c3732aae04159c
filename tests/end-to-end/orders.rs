//! Orders as items of an event table, and what they come to.

use serde_json::{Value, json};

pub const STREAM: &str = "shop-events";

pub fn config(store: &str) -> String {
    format!(
        "config_version: 1
{store}
sources:
  shop:
    kind: kinesis
    stream: {STREAM}
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
