//! What is asked of the services, and what that costs at list prices.

use std::{collections::BTreeMap, time::Duration};

use super::{EVENTS_OF_AN_ORDER, one_order_of_each_shard, put_all};
use crate::{
    aws::Aws,
    fleet::Process,
    orders::{self, STREAM},
};

/// US East (N. Virginia), on demand: <https://aws.amazon.com/dynamodb/pricing/on-demand/>
const DOLLARS_PER_MILLION_WRITE_UNITS: f64 = 0.625;
const DOLLARS_PER_MILLION_READ_UNITS: f64 = 0.125;
const SHARDS: i32 = 4;
const ORDERS: usize = 5_000;

#[tokio::test]
#[ignore = "it measures"]
async fn figures_of_reads_by_number_of_projections() {
    for projections in [1, 4, 16] {
        let mut aws = Aws::new(&config(projections));
        aws.create_stream(STREAM, SHARDS).await;
        one_order_of_each_shard(&aws).await;
        aws.run(&["run", "--until-caught-up"]);
        aws.record();
        let worker = Process::start(&aws, 0);
        tokio::time::sleep(Duration::from_secs(30)).await;
        worker.stop();
        let calls = aws.recorded();
        let reads = calls.iter().filter(|call| call.target.ends_with(".GetRecords")).count();
        println!("{projections} projections: {reads} GetRecords in 30 s at rest, of {SHARDS} shards");
    }
}

/// The same read model under many names.
fn config(projections: usize) -> String {
    let config = orders::config("store: { kind: dynamodb, table: state }", "read: polling");
    let (head, definitions) = config.split_once("projections:\n").unwrap();
    let (first, _) = definitions.split_once("  skus:").unwrap();
    let all = (0..projections).map(|number| first.replacen("orders", &format!("orders{number}"), 1));
    format!("{head}projections:\n{}", all.collect::<String>())
}

#[tokio::test]
#[ignore = "it measures"]
async fn figures_of_what_a_million_events_cost() {
    let mut aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }", "read: polling"));
    aws.create_stream(STREAM, SHARDS).await;
    put_all(&aws, ORDERS).await;
    aws.run(&["validate", "--online"]);
    aws.record();
    aws.run(&["run", "--until-caught-up"]);
    let mut asked: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for call in aws.recorded() {
        let (requests, units) = asked.entry(call.target).or_default();
        (*requests, *units) = (*requests + 1.0, *units + call.units);
    }
    let millions = (ORDERS * EVENTS_OF_AN_ORDER) as f64 / 1_000_000.0;
    let mut dollars = 0.0;
    for (operation, (requests, units)) in &asked {
        let is_read =
            ["GetItem", "Query", "Scan", "BatchGetItem"].iter().any(|read| operation.ends_with(read));
        let price = if is_read { DOLLARS_PER_MILLION_READ_UNITS } else { DOLLARS_PER_MILLION_WRITE_UNITS };
        dollars += units / 1_000_000.0 * price;
        let per_million = |count: f64| (count / millions).round();
        println!(
            "{operation}: {} requests, {} units a million events",
            per_million(*requests),
            per_million(*units)
        );
    }
    println!("DynamoDB: {:.2} dollars a million events, two projections", dollars / millions);
}
