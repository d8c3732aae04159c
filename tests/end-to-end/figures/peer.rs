//! What a million events take of a machine, beside a KCL worker that writes an item for each record.

use std::{
    fs,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use foldstream_test_servers::KclWorker;
use serde_json::Value;

use super::{EVENTS_OF_AN_ORDER, OPEN, put_all, wait_for};
use crate::{
    aws::Aws,
    fleet::Process,
    orders::{self, STREAM},
};

const ORDERS: usize = 20_000;
const SHARDS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(400);
/// `sysconf(_SC_CLK_TCK)` of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::test]
#[ignore = "it measures"]
async fn figures_beside_a_kcl_worker() {
    let aws = Aws::new(&config());
    aws.create_stream(STREAM, SHARDS).await;
    put_all(&aws, ORDERS).await;

    let process = Process::start(&aws, 0);
    let last: Vec<usize> = (ORDERS - OPEN..ORDERS).collect();
    wait_for(&aws, &last, EVENTS_OF_AN_ORDER).await;
    print("foldstream, start included", cpu_seconds(process.id()), process.id());
    process.stop();

    make_items(&aws).await;
    let (kinesis, dynamodb) = aws.urls();
    let given = ["--application", "peer", "--stream", STREAM, "--worker", "peer", "--items", "items"];
    let given =
        [&given[..], &["--kinesis", &kinesis, "--dynamodb", &dynamodb, "--tuned", "--quiet"]].concat();
    let worker = KclWorker::start(&given);
    let deadline = Instant::now() + PATIENCE;
    let mut before = None;
    loop {
        assert!(Instant::now() < deadline, "not all is processed");
        let Some(line) = worker.line(PATIENCE) else { continue };
        let processed = serde_json::from_str::<Value>(&line).ok().and_then(|said| said["processed"].as_u64());
        match processed {
            // Java has started, and leases are taken.
            Some(0) => before = Some(cpu_seconds(worker.id())),
            Some(processed) if processed >= (ORDERS * EVENTS_OF_AN_ORDER) as u64 => break,
            _ => {}
        }
    }
    let all = cpu_seconds(worker.id());
    print("KCL, start included", all, worker.id());
    print("KCL, without its start", all - before.unwrap_or_default(), worker.id());
}

/// One read model, as the worker has one table.
fn config() -> String {
    let config = orders::config("store: { kind: dynamodb, table: state }", "read: polling");
    config.split_once("  skus:").unwrap().0.to_owned()
}

fn print(what: &str, cpu_seconds: f64, process: u32) {
    let events = (ORDERS * EVENTS_OF_AN_ORDER) as f64;
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default().trim();
    let of_a_million = cpu_seconds * 1_000_000.0 / events;
    println!(
        "{what}: {cpu_seconds:.2} CPU seconds, {of_a_million:.1} a million events, memory at most {most}"
    );
}

/// Of a process and its threads, in user and kernel mode.
fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let behind_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    // `utime` and `stime` are the 14th and 15th of all, and the name is the second.
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / TICKS_PER_SECOND
}

async fn make_items(aws: &Aws) {
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let table = aws.dynamodb().create_table().table_name("items").billing_mode(BillingMode::PayPerRequest);
    let table = table.key_schema(key).attribute_definitions(id.build().unwrap());
    table.send().await.unwrap();
}
