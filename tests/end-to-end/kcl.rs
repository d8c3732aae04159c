//! A KCL application is taken over in the middle of aggregated records, and goes on where it is handed back.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_kinesis::types::Shard;
use foldstream_test_servers::KclWorker;
use serde_json::{Value, json};

use crate::{
    aggregates,
    aws::Aws,
    fleet::{self, Process},
    orders::{self, STREAM},
};

const APPLICATION: &str = "shop-application";
const ORDERS: usize = 20;
/// In the middle of the second aggregate of each shard.
const PER_SHARD: usize = 13;
const PATIENCE: Duration = Duration::from_secs(180);

/// Order and sequence.
type Events = BTreeSet<(usize, usize)>;

struct Shop {
    aws: Aws,
    /// The next sequence of all orders.
    next: usize,
}

impl Shop {
    async fn new() -> Self {
        let aws = Aws::with_kinesis_local(&config("start: LEASE_TABLE"));
        aws.create_stream(STREAM, 2).await;
        Self { aws, next: 1 }
    }

    async fn open_shards(&self) -> Vec<Shard> {
        let listed = self.aws.kinesis().list_shards().stream_name(STREAM).send().await.unwrap();
        let is_open = |shard: &Shard| {
            shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
        };
        listed.shards.unwrap_or_default().into_iter().filter(is_open).collect()
    }

    /// The next so many events of all orders, an aggregate for each shard and sequence.
    async fn put(&mut self, sequences: usize) {
        let (kinesis, shards) = (self.aws.kinesis(), self.open_shards().await);
        for sequence in self.next..self.next + sequences {
            for (first, last) in shards.iter().map(fleet::range) {
                let is_here = |order: &usize| (first..=last).contains(&aggregates::hash_key(*order));
                let events: Vec<_> = (0..ORDERS).filter(is_here).map(|order| (order, sequence)).collect();
                aggregates::put(&kinesis, &events, first).await;
            }
        }
        self.next += sequences;
    }

    async fn split(&self) -> String {
        let shard = self.open_shards().await.remove(0);
        let (first, last) = fleet::range(&shard);
        let split = self.aws.kinesis().split_shard().stream_name(STREAM).shard_to_split(shard.shard_id());
        split.new_starting_hash_key((first + (last - first) / 2 + 1).to_string()).send().await.unwrap();
        shard.shard_id().to_owned()
    }

    fn worker(&self, name: &str, further: &[&str]) -> KclWorker {
        let (kinesis, dynamodb) = self.aws.urls();
        let named = ["--application", APPLICATION, "--stream", STREAM, "--worker", name, "--tuned"];
        let at = ["--kinesis", &kinesis, "--dynamodb", &dynamodb];
        KclWorker::start(&[&named[..], &at, further].concat())
    }

    /// KCL's rows of shards, by their names.
    async fn leases(&self) -> BTreeMap<String, BTreeMap<String, AttributeValue>> {
        let found = self.aws.dynamodb().scan().table_name(APPLICATION).send().await.unwrap();
        let leases = found.items.unwrap_or_default().into_iter();
        let leases = leases.filter(|item| item["entityType"].as_s().is_ok_and(|of| of == "LEASE"));
        leases.map(|item| (item["leaseKey"].as_s().unwrap().clone(), item.into_iter().collect())).collect()
    }

    fn all(&self) -> Events {
        (0..ORDERS).flat_map(|order| (1..self.next).map(move |sequence| (order, sequence))).collect()
    }
}

fn config(start: &str) -> String {
    let source = format!("lease_table: {APPLICATION}\n    {start}");
    orders::config("store: { kind: dynamodb, table: state }", &source)
}

/// What a worker says that it has processed.
#[derive(Default)]
struct Processed {
    events: Events,
    /// Shards of which something is behind the checkpoint.
    unsettled: BTreeSet<String>,
}

impl Processed {
    fn read(&mut self, line: &str) {
        let said: Value = serde_json::from_str(line).unwrap();
        let shard = said["shard"].as_str().unwrap_or_default();
        if let Some(record) = said["record"].as_str() {
            let record: Value = serde_json::from_str(record).unwrap();
            let number = |key: &str, prefix: &str| {
                let text = record["dynamodb"]["NewImage"][key]["S"].as_str().unwrap();
                text.strip_prefix(prefix).unwrap().parse().unwrap()
            };
            let event = (number("pk", "ORDER#o-"), number("sk", "EVENT#"));
            assert!(self.events.insert(event), "twice: {line}");
            self.unsettled.insert(shard.to_owned());
        } else if said["checkpoint"] == true {
            self.unsettled.remove(shard);
        }
    }
}

/// What a worker processes until it has processed so much, and settled it.
fn processed(worker: &mut KclWorker, count: usize) -> Events {
    let mut processed = Processed::default();
    while processed.events.len() < count || !processed.unsettled.is_empty() {
        let line = worker.line(PATIENCE).unwrap_or_else(|| panic!("only {:?}", processed.events));
        processed.read(&line);
    }
    processed.events
}

/// It stops, and has processed nothing more.
fn stop(mut worker: KclWorker) {
    worker.stop();
    let mut further = Processed::default();
    while let Some(line) = worker.line(PATIENCE).filter(|line| !line.contains("stopped")) {
        further.read(&line);
    }
    assert_eq!(further.events, Events::new());
}

/// What documents must be that are made of these events alone.
fn folded(events: &Events) -> BTreeMap<&'static str, BTreeMap<String, Value>> {
    let mut documents = BTreeMap::from([("orders", BTreeMap::new()), ("skus", BTreeMap::new())]);
    let (mut items, mut sold) = (BTreeMap::<usize, u64>::new(), BTreeMap::<String, u64>::new());
    for (order, sequence) in events {
        let count = items.entry(*order).or_default();
        if *sequence > 1 {
            *count += 1;
            *sold.entry(orders::sku(*order, *sequence)).or_default() += 1;
        }
    }
    for (order, count) in items {
        let mut document = json!({"total": orders::price(count)});
        if events.contains(&(order, 1)) {
            document["customer"] = json!(format!("c-{}", order % 3));
        }
        documents.get_mut("orders").unwrap().insert(format!("o-{order}"), document);
    }
    for (sku, sold) in sold {
        let document = json!({"sold": sold, "revenue": orders::price(sold)});
        documents.get_mut("skus").unwrap().insert(sku, document);
    }
    documents
}

fn wait_for_documents(process: &mut Process, aws: &Aws, events: &Events) {
    let expected = folded(events);
    process
        .wait("the documents have all that KCL has not", |_| (orders::found(aws) == expected).then_some(()));
    assert_eq!(orders::found(aws), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kcl_application_is_taken_over_in_the_middle_of_aggregates_and_handed_back_behind_a_split() {
    let mut shop = Shop::new().await;
    shop.put(4).await;
    let mut before = shop.worker("before", &["--per-shard", &PER_SHARD.to_string()]);
    let of_kcl = processed(&mut before, 2 * PER_SHARD);
    let leases = shop.leases().await;
    let sub = |lease: &BTreeMap<String, AttributeValue>| lease["checkpointSubSequenceNumber"].clone();
    let none = AttributeValue::N("0".to_owned());
    assert!(leases.len() == 2 && leases.values().any(|lease| sub(lease) != none), "{leases:?}");

    // Not unsaid, and not while it is alive.
    fs::write(shop.aws.folder().join("foldstream.yaml"), config("start: TRIM_HORIZON")).unwrap();
    let refused = shop.aws.command(&["run"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("start: LEASE_TABLE"), "{said}");
    fs::write(shop.aws.folder().join("foldstream.yaml"), config("start: LEASE_TABLE")).unwrap();
    let mut ours = Process::start(&shop.aws, 0);
    ours.wait("it waits", |process| process.said().contains("still works under the leases").then_some(()));
    stop(before);

    let rest: Events = shop.all().difference(&of_kcl).copied().collect();
    wait_for_documents(&mut ours, &shop.aws, &rest);
    shop.put(2).await;
    let parent = shop.split().await;
    shop.put(2).await;
    let rest: Events = shop.all().difference(&of_kcl).copied().collect();
    wait_for_documents(&mut ours, &shop.aws, &rest);
    for _ in 0..1_000 {
        if shop.leases().await[&parent]["checkpoint"] == AttributeValue::S("SHARD_END".to_owned()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ours.stop();

    let leases = shop.leases().await;
    assert!(leases.values().all(|lease| !lease.contains_key("leaseOwner")), "{leases:?}");
    let AttributeValue::Ss(mut children) = leases[&parent]["childShardIds"].clone() else {
        panic!("{leases:?}")
    };
    children.sort();
    assert_eq!((leases.len(), children.len()), (4, 2), "{leases:?}");
    assert!(
        children
            .iter()
            .all(|child| leases[child]["parentShardId"].as_ss().unwrap() == std::slice::from_ref(&parent))
    );

    shop.put(1).await;
    let mut after = shop.worker("after", &[]);
    let again = processed(&mut after, ORDERS);
    stop(after);
    let new: Events = (0..ORDERS).map(|order| (order, shop.next - 1)).collect();
    assert_eq!(again, new, "nothing that we have settled comes again, and nothing is missing");
    assert_eq!(orders::found(&shop.aws), folded(&rest), "what comes after us is KCL's");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_workers_of_either_kind_are_killed_some_events_come_again_and_none_is_missing() {
    let mut shop = Shop::new().await;
    shop.put(3).await;
    let mut before = shop.worker("before", &["--per-shard", &PER_SHARD.to_string()]);
    let of_kcl = processed(&mut before, 2 * PER_SHARD);
    before.kill();
    let mut ours = Process::start(&shop.aws, 0);
    ours.wait("it takes over", |process| process.said().contains("taking the shard over").then_some(()));
    for _ in 0..2 {
        let rest: Events = shop.all().difference(&of_kcl).copied().collect();
        wait_for_documents(&mut ours, &shop.aws, &rest);
        shop.put(1).await;
    }
    drop(ours);

    shop.put(1).await;
    let after = shop.worker("after", &[]);
    let expected: Events = (0..ORDERS).map(|order| (order, shop.next - 1)).collect();
    let mut again = Processed::default();
    while !again.events.is_superset(&expected) {
        let line = after.line(PATIENCE).unwrap_or_else(|| panic!("only {:?}", again.events));
        again.read(&line);
    }
    let again = again.events;
    assert!(again.is_disjoint(&of_kcl), "what KCL had settled does not come again: {again:?}");
    let found = orders::found(&shop.aws);
    for order in 0..ORDERS {
        let is_left = |event: &&(usize, usize)| event.0 == order && !of_kcl.contains(event);
        let left: Vec<_> = shop.all().iter().filter(is_left).copied().collect();
        let least = left.iter().position(|event| again.contains(event)).unwrap();
        let is_found = |count| {
            let folded = folded(&left[..count].iter().copied().collect());
            folded["orders"].get(&format!("o-{order}")) == found["orders"].get(&format!("o-{order}"))
        };
        let is_anywhere = (least..=left.len()).any(is_found);
        assert!(is_anywhere, "neither in the document nor come again: {left:?} {again:?} {found:?}");
    }
    println!("{} of {} events came again", again.difference(&expected).count(), shop.all().len());
}
