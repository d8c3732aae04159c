//! From the event table through its stream, two relays and Kinesis into documents.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use aws_sdk_kinesis::primitives::Blob;
use serde_json::Value;

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
    let dynamodb = aws.dynamodb();
    aws.create_stream(STREAM, 2).await;
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

/// The values of a metric of a process that serves some, one for each set of labels.
fn values(address: &str, name: &str) -> Vec<f64> {
    let answer = get(address, "/metrics").unwrap_or_default();
    let lines = answer.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok());
    values.filter(|value: &f64| value.is_finite()).collect()
}

fn metric(address: &str, name: &str) -> Option<f64> {
    values(address, name).first().copied()
}

fn lowest(address: &str, name: &str) -> Option<f64> {
    values(address, name).into_iter().min_by(f64::total_cmp)
}

fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[tokio::test]
async fn a_relay_that_is_gone_is_seen_by_who_reads_its_stream() {
    let config =
        orders::config("store: { kind: dynamodb, table: state }", "event_table: { table: shop, width: 6 }");
    let aws = Aws::with_streams(&config);
    aws.create_stream(STREAM, 2).await;
    event_table::make(&aws.dynamodb()).await;
    event_table::store(&aws.dynamodb(), 1, 1).await;
    let mut relay = Process::of(&aws, &["relay", "--listen", "127.0.0.1:0"], 0);
    let at = relay.wait("it serves", Process::address);
    relay.wait("it is ready", |_| get(&at, "/readyz")?.starts_with("HTTP/1.1 200").then_some(()));
    aws.run(&["healthcheck", "--listen", &at]);
    relay.wait("its change has arrived", |_| {
        let lag = metric(&at, "foldstream_relay_lag_seconds{")?;
        let is_there = metric(&at, "foldstream_relay_records_total{")? >= 1.0;
        (is_there && lag < 60.0 && metric(&at, "foldstream_relay_shards{") == Some(1.0)).then_some(())
    });
    let mut worker = Process::of(&aws, &["run", "--listen", "127.0.0.1:0", "--emf", "Foldstream/test"], 1);
    let at = worker.wait("it serves", Process::address);
    let age = || metric(&at, "foldstream_heartbeat_age_seconds{source=\"shop\"}");
    worker.wait("a heartbeat is read", |_| age().filter(|age| *age < 30.0));
    worker.wait("nothing is unread", |_| {
        let left = metric(&at, "foldstream_retention_left_seconds{")?;
        (left == 24.0 * 3_600.0 && metric(&at, "foldstream_projection_lag_seconds{") == Some(0.0))
            .then_some(())
    });
    let status: Value = serde_json::from_str(&aws.run(&["status", "-o", "json"])).unwrap();
    assert_eq!(status["retention"][0]["seconds_left"], 24 * 3_600, "{status}");
    assert!(status["complete_until"]["shop"].is_string(), "{status}");
    drop(relay);
    worker.wait("it grows old", |_| age().filter(|age| *age > 30.0));
    assert_eq!(metric(&at, "foldstream_projection_lag_seconds{"), Some(0.0), "of the stream all is read");

    let mut poison = orders::inserted(1, 2);
    poison["dynamodb"]["NewImage"]["data"]["M"]["price"] = serde_json::json!({"S": "much"});
    let put = aws.kinesis().put_record().stream_name(STREAM).partition_key("o-1");
    put.data(Blob::new(poison.to_string())).send().await.unwrap();
    worker.wait("who has stopped lags, and its records will be trimmed", |_| {
        let lag = metric(&at, "foldstream_projection_lag_seconds{projection=\"orders\"")?;
        let left = lowest(&at, "foldstream_retention_left_seconds{")?;
        (lag > 60.0 && left < 24.0 * 3_600.0).then_some(())
    });
    worker.wait("alarms are told", |worker| {
        let told = worker.printed();
        let line: Value = serde_json::from_str(told.lines().last()?).unwrap();
        let value = |name: &str| line[format!("foldstream_{name}")].as_f64();
        let is_stopped = value("projection_stopped")? > 0.0 && value("projection_lag_seconds")? > 60.0;
        let is_told =
            value("heartbeat_age_seconds")? > 30.0 && value("retention_left_seconds")? < 24.0 * 3_600.0;
        let is_here = line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Foldstream/test";
        (is_here && is_stopped && is_told).then_some(())
    });
    worker.stop();
}
