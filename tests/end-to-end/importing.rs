//! Events go into a table that its owner has made, from a file and by commands, and are shown as they come.

use std::{
    fs::{self, File},
    io::Write,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType as Type,
};
use serde_json::{Value, json};

use crate::{aws::Aws, orders};

const TABLE: &str = "event_table: { table: shop, width: 6, order: { index: all, shard: shard, shards: 3, id: ksuid, safe_window: 2s } }";
/// More than two transactions hold.
const ORDERS: usize = 50;
const EVENTS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

async fn with_table(source: &str) -> Aws {
    let aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }", source));
    let element =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let keys = |partition, sort| vec![element(partition, KeyType::Hash), element(sort, KeyType::Range)];
    let attributes = [("pk", Type::S), ("sk", Type::S), ("shard", Type::N), ("ksuid", Type::S)];
    let attributes = attributes.map(|(name, kind)| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    });
    let projection = Projection::builder().projection_type(ProjectionType::All).build();
    let index = GlobalSecondaryIndex::builder().index_name("all").projection(projection);
    let index = index.set_key_schema(Some(keys("shard", "ksuid"))).build().unwrap();
    let table = aws.dynamodb().create_table().table_name("shop").billing_mode(BillingMode::PayPerRequest);
    let table =
        table.set_key_schema(Some(keys("pk", "sk"))).set_attribute_definitions(Some(attributes.into()));
    table.global_secondary_indexes(index).send().await.unwrap();
    aws
}

/// An item as its table's owner exports it.
fn line(order: usize, sequence: usize) -> Value {
    json!({
        "pk": format!("ORDER#o-{order}"),
        "sk": format!("EVENT#{sequence:06}"),
        "eventType": if sequence == 1 { "Placed" } else { "ItemAdded" },
        "createdAt": format!("2026-11-21T17:00:{sequence:02}Z"),
        "data": {"customer": format!("c-{order}"), "price": 1.5},
    })
}

/// Writes the lines of all orders, up to so many events of each.
fn write(aws: &Aws, name: &str, events: usize) {
    let mut file = File::create(aws.folder().join(name)).unwrap();
    for sequence in 1..=events {
        for order in 0..ORDERS {
            writeln!(file, "{}", line(order, sequence)).unwrap();
        }
    }
}

fn import(aws: &Aws, arguments: &[&str]) -> Value {
    let said = aws.run(&[&["events", "import", "-o", "json"], arguments].concat());
    serde_json::from_str(said.trim()).unwrap()
}

fn tail(aws: &Aws, newest: &str) -> Vec<Value> {
    let said = aws.run(&["events", "tail", "-n", newest, "-o", "json"]);
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn until<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(held) = holds() {
            return held;
        }
        assert!(Instant::now() < deadline, "{what}");
        sleep(PAUSE);
    }
}

#[tokio::test]
async fn a_file_goes_into_the_table_once_and_goes_on_where_it_stopped() {
    let aws = with_table(TABLE).await;
    write(&aws, "some.ndjson", 2);
    write(&aws, "all.ndjson", EVENTS);
    let dry = import(&aws, &["some.ndjson", "--dry-run"]);
    assert_eq!((&dry["taken"], &dry["refused"]), (&json!(2 * ORDERS), &json!(0)));
    let scanned = aws.dynamodb().scan().table_name("shop").send().await.unwrap();
    assert_eq!(scanned.count(), 0, "a dry run writes nothing");
    assert_eq!(import(&aws, &["some.ndjson"])["taken"], json!(2 * ORDERS));
    // The rest, whatever of it was there.
    let all = import(&aws, &["all.ndjson"]);
    assert_eq!((&all["taken"], &all["skipped"]), (&json!((EVENTS - 2) * ORDERS), &json!(2 * ORDERS)));
    let again = import(&aws, &["all.ndjson"]);
    assert_eq!(
        (&again["taken"], &again["skipped"], &again["refused"]),
        (&json!(0), &json!(EVENTS * ORDERS), &json!(0))
    );
    let read = aws.run(&["events", "read", "o-7", "-o", "json"]);
    let sequences = read.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["sequence"].clone());
    assert_eq!(
        sequences.collect::<Vec<_>>(),
        (1..=EVENTS).map(|sequence| json!(sequence)).collect::<Vec<_>>()
    );

    let mut other = line(7, 2);
    other["data"]["price"] = json!(2);
    fs::write(aws.folder().join("other.ndjson"), format!("{other}\n{}\n", line(7, 9))).unwrap();
    let refused = aws.command(&["events", "import", "other.ndjson"]).output().unwrap();
    let said = String::from_utf8(refused.stdout).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("stored already, with another payload") && said.contains("6 is missing"), "{said}");
    let mut large = line(7, 6);
    large["data"]["text"] = json!("x".repeat(420_000));
    fs::write(aws.folder().join("large.ndjson"), large.to_string()).unwrap();
    let refused = aws.command(&["events", "import", "large.ndjson", "--dry-run"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("nothing of lines 1 to 1") && said.contains("too large for DynamoDB"), "{said}");
}

#[tokio::test]
async fn the_newest_events_of_a_table_are_shown_in_their_order_and_those_that_come() {
    let aws = with_table(TABLE).await;
    write(&aws, "some.ndjson", 2);
    import(&aws, &["some.ndjson"]);
    let all = until("all are behind the safe window", || {
        Some(tail(&aws, "1000")).filter(|shown| shown.len() == 2 * ORDERS)
    });
    let newest = tail(&aws, "7");
    assert_eq!(newest[..], all[all.len() - 7..]);
    let of_one =
        all.iter().filter(|event| event["stream_id"] == "o-3").map(|event| event["sequence"].clone());
    assert_eq!(of_one.collect::<Vec<_>>(), [json!(1), json!(2)]);

    let log = aws.folder().join("followed");
    let follow = ["events", "tail", "-n", "0", "--follow", "-o", "json"];
    let mut following =
        aws.command(&follow).stdin(Stdio::null()).stdout(File::create(&log).unwrap()).spawn().unwrap();
    aws.run(&["events", "append", "o-3", "ItemAdded", r#"{"price":2}"#]);
    let shown = until("what was appended is shown", || {
        fs::read_to_string(&log).unwrap().lines().next().map(str::to_owned)
    });
    following.kill().unwrap();
    following.wait().unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["stream_id"], &shown["sequence"]), (&json!("o-3"), &json!(3)));
}

#[tokio::test]
async fn a_table_without_an_order_and_two_tables_are_told_with_what_to_do() {
    let aws = with_table("event_table: { table: shop, width: 6 }").await;
    let refused = |arguments: &[&str]| {
        let output = aws.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(&["events", "tail"]);
    assert!(said.contains("add a global secondary index"), "{said}");
    let config = aws.folder().join("foldstream.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let (head, rest) = text.split_once("  shop:\n").unwrap();
    let (shop, tail) = rest.split_once("sinks:").unwrap();
    let other = shop.replace("table: shop", "table: others");
    fs::write(
        &config,
        format!("{head}  shop:\n{shop}  other:\n{other}  bare: {{ kind: kinesis, stream: s }}\nsinks:{tail}"),
    )
    .unwrap();
    let (read, import) = (["events", "read", "o-1"], ["events", "import", "x"]);
    for arguments in [&read[..], &["events", "append", "o-1", "Placed"], &import] {
        let said = refused(arguments);
        assert!(said.contains("--source"), "{arguments:?}: {said}");
    }
    let said = refused(&["events", "tail", "--source", "bare"]);
    assert!(said.contains("the source bare has no event table"), "{said}");
    let appended = aws.run(&["events", "append", "o-1", "Placed", "{}", "--source", "shop"]);
    assert!(appended.contains("o-1 #1"), "{appended}");
}
