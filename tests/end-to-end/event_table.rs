//! A table of events that its owner has made: what never came is found there, and what was redacted is no fork.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        StreamSpecification, StreamViewType,
    },
};
use serde_json::Value;

use crate::{
    aws::Aws,
    orders::{self, Orders, STREAM},
};

const TABLE: &str = "shop";
const ORDERS: usize = 12;
const EVENTS: usize = 6;

pub async fn make(client: &Client) {
    let (mut schema, mut attributes) = (Vec::new(), Vec::new());
    for (name, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        schema.push(KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap());
        let attribute = AttributeDefinition::builder().attribute_name(name);
        attributes.push(attribute.attribute_type(ScalarAttributeType::S).build().unwrap());
    }
    let table = client.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
    let stream = StreamSpecification::builder().stream_enabled(true);
    let stream = stream.stream_view_type(StreamViewType::NewImage).build().unwrap();
    let table = table.set_key_schema(Some(schema)).set_attribute_definitions(Some(attributes));
    table.stream_specification(stream).send().await.unwrap();
}

/// Stores an event as its record has it.
pub async fn store(client: &Client, order: usize, sequence: usize) {
    client.put_item().table_name(TABLE).set_item(Some(item(order, sequence))).send().await.unwrap();
}

pub async fn store_all(client: &Client, events: &[(usize, usize)]) {
    for (order, sequence) in events {
        store(client, *order, *sequence).await;
    }
}

fn item(order: usize, sequence: usize) -> HashMap<String, AttributeValue> {
    let record = orders::inserted(order, sequence);
    let image = record["dynamodb"]["NewImage"].as_object().unwrap();
    image.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn attribute(typed: &Value) -> AttributeValue {
    let (kind, value) = typed.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => AttributeValue::S(value.as_str().unwrap().to_owned()),
        "N" => AttributeValue::N(value.as_str().unwrap().to_owned()),
        "M" => {
            let fields = value.as_object().unwrap().iter();
            AttributeValue::M(fields.map(|(name, value)| (name.clone(), attribute(value))).collect())
        }
        other => panic!("{other}"),
    }
}

async fn filled(source: &str) -> Aws {
    let aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }", source));
    let dynamodb = aws.dynamodb();
    aws.create_stream(STREAM, 2).await;
    make(&dynamodb).await;
    for order in 0..ORDERS {
        for sequence in 1..=EVENTS {
            store(&dynamodb, order, sequence).await;
        }
    }
    aws
}

fn all() -> Orders {
    (0..ORDERS).map(|order| (order, EVENTS)).collect()
}

#[tokio::test]
async fn what_never_came_is_found_in_the_table() {
    let aws = filled("event_table: { table: shop, width: 6 }").await;
    // As what brings them may lose some, and the order of the others.
    for sequence in [1, 5, 3, 6] {
        orders::put(&aws.kinesis(), &(0..ORDERS).map(|order| (order, sequence)).collect::<Vec<_>>()).await;
    }
    let said = aws.run(&["run", "--until-caught-up"]);
    assert!(said.contains("caught up"), "{said}");
    assert_eq!(orders::found(&aws), orders::expected(&all()));
}

#[tokio::test]
async fn an_event_that_was_redacted_is_no_fork_when_its_record_comes_again() {
    let aws = filled("event_table: shop\n    on_modify: redact").await;
    for sequence in 1..=EVENTS {
        orders::put(&aws.kinesis(), &(0..ORDERS).map(|order| (order, sequence)).collect::<Vec<_>>()).await;
    }
    let empty = AttributeValue::M(Default::default());
    let redacted = aws.dynamodb().update_item().table_name(TABLE);
    let redacted = redacted.key("pk", AttributeValue::S("ORDER#o-1".to_owned()));
    let redacted = redacted.key("sk", AttributeValue::S("EVENT#000001".to_owned()));
    redacted
        .update_expression("SET #data = :empty")
        .expression_attribute_names("#data", "data")
        .expression_attribute_values(":empty", empty)
        .send()
        .await
        .unwrap();
    orders::put(&aws.kinesis(), &[(1, 1)]).await;
    let said = aws.run(&["run", "--until-caught-up"]);
    assert!(said.contains("caught up") && !said.contains("except"), "{said}");
    assert_eq!(orders::found(&aws), orders::expected(&all()));
}

#[tokio::test]
async fn events_are_appended_to_the_table_and_read_from_it() {
    let aws = filled("event_table: { table: shop, width: 6 }").await;
    let said = aws.run(&[
        "events",
        "append",
        "o-1",
        "ItemAdded",
        r#"{"sku":"tea","price":2.50}"#,
        "--expected",
        "6",
    ]);
    assert!(said.contains("appended 1 event: o-1 #7"), "{said}");
    let refused =
        aws.command(&["events", "append", "o-1", "ItemAdded", "{}", "--expected", "6"]).output().unwrap();
    assert!(!refused.status.success(), "it stands elsewhere by now");
    let read = aws.run(&["events", "read", "o-1", "--from", "7", "-o", "json"]);
    let event: Value = serde_json::from_str(read.trim()).unwrap();
    assert_eq!((&event["sequence"], &event["payload"]["sku"]), (&7.into(), &"tea".into()));
    let item =
        aws.dynamodb().get_item().table_name(TABLE).key("pk", AttributeValue::S("ORDER#o-1".to_owned()));
    let item =
        item.key("sk", AttributeValue::S("EVENT#000007".to_owned())).send().await.unwrap().item.unwrap();
    assert_eq!(
        item["eventType"],
        AttributeValue::S("ItemAdded".to_owned()),
        "as the table's owner writes it"
    );
}

/// What DynamoDB itself puts into Kinesis may come in any order, twice, or never.
#[tokio::test]
async fn what_dynamodb_puts_into_kinesis_itself_is_put_in_order_and_what_is_missing_is_found_in_the_table() {
    let config =
        orders::config("store: { kind: dynamodb, table: state }", "event_table: { table: shop, width: 6 }");
    let aws = Aws::with_destination(&config);
    let dynamodb = aws.dynamodb();
    aws.create_stream(STREAM, 1).await;
    make(&dynamodb).await;
    for order in 0..ORDERS {
        store(&dynamodb, order, 2).await;
    }
    let described = aws.kinesis().describe_stream_summary().stream_name(STREAM).send().await.unwrap();
    let stream = described.stream_description_summary().unwrap().stream_arn().to_owned();
    let destination = dynamodb.enable_kinesis_streaming_destination().table_name(TABLE);
    destination.stream_arn(stream).send().await.unwrap();
    for sequence in [4, 1, 3, 6, 5] {
        for order in 0..ORDERS {
            store(&dynamodb, order, sequence).await;
        }
    }
    orders::put(&aws.kinesis(), &[(1, 1), (2, 6), (3, 4)]).await;
    let came = aws.kinesis_records(STREAM).await;
    assert_eq!(came, ORDERS * (EVENTS - 1) + 3, "what was stored before never comes");
    let said = aws.run(&["run", "--until-caught-up"]);
    assert!(said.contains("caught up") && !said.contains("except"), "{said}");
    assert_eq!(orders::found(&aws), orders::expected(&all()));
}
