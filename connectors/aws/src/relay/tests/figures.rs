//! What a relay brings, beside a loop that only puts the same records.

#![expect(clippy::float_arithmetic, reason = "figures for people")]

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use aws_sdk_kinesis::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::FinalizerInterceptorContextMut},
    error::BoxError,
    operation::put_records::PutRecordsOutput,
    primitives::Blob,
    types::PutRecordsRequestEntry,
};
use tokio::time::Instant;

use super::*;

const SHARDS: u32 = 32;
const AGGREGATES: usize = 20_000;
const EVENTS: usize = 10;
const RECORD_BYTES: usize = 300;
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
const RECORDS_OF_A_CALL: usize = 500;

/// Counts what Kinesis says that it has.
#[derive(Debug, Default)]
struct Arrivals {
    records: AtomicUsize,
    /// The first and the last.
    times: Mutex<Option<(Instant, Instant)>>,
}

impl Arrivals {
    fn per_second(&self) -> f64 {
        let (first, last) = self.times.lock().unwrap().unwrap();
        self.records.load(Ordering::Relaxed) as f64 / (last - first).as_secs_f64()
    }
}

#[derive(Debug, Clone, Default)]
struct Counting(Arc<Arrivals>);

impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "counting of puts"
    }

    fn modify_before_attempt_completion(
        &self,
        context: &mut FinalizerInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Ok(output)) = context.output_or_error_mut() else { return Ok(()) };
        let Some(put) = output.downcast_mut::<PutRecordsOutput>() else { return Ok(()) };
        let (now, arrived) =
            (Instant::now(), put.records.iter().filter(|record| record.error_code.is_none()));
        self.0.records.fetch_add(arrived.count(), Ordering::Relaxed);
        let mut times = self.0.times.lock().unwrap();
        *times = Some((times.map_or(now, |times| times.0), now));
        Ok(())
    }
}

fn counted(connection: &Connection) -> (aws_sdk_kinesis::Client, Arc<Arrivals>) {
    let counting = Counting::default();
    let config = aws_sdk_kinesis::config::Builder::from(&connection.sdk).interceptor(counting.clone());
    (aws_sdk_kinesis::Client::from_conf(config.build()), counting.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn figures_of_a_relay_beside_a_loop_that_puts() {
    let dynamodb = Server::dynamodb();
    // Nobody reads while several calls put.
    let target = Target::over(&Connection::to(&dynamodb), Server::kinesis()).await;
    let fake = Fake::with_shards(SHARDS, 1);
    let data = "x".repeat(RECORD_BYTES);
    for _ in 0..EVENTS {
        (0..AGGREGATES).for_each(|key| drop(fake.put_now(&format!("order-{key}"), &data)));
    }
    let (by_relay, by_loop) = (relayed(&target, &fake).await, put_bare(&target, &fake).await);
    println!("relay {by_relay:.0} records/s, loop {by_loop:.0}, ratio {:.2}", by_relay / by_loop);
}

async fn relayed(target: &Target, fake: &Fake) -> f64 {
    let mut relay = target.relay(fake.source_with(fast()));
    let (client, arrivals) = counted(&target.connection);
    relay.target.client = client;
    let run = Run::start(relay);
    let arriving = async {
        while arrivals.records.load(Ordering::Relaxed) < AGGREGATES * EVENTS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arriving).await.expect("everything arrives");
    run.stop().await;
    arrivals.per_second()
}

/// Full calls, one behind the other, of records as the relay writes them.
async fn put_bare(target: &Target, fake: &Fake) -> f64 {
    let mut records = Vec::new();
    let source = fake.source_with(fast());
    for shard in source.shards().await.unwrap() {
        let mut reader = source.open(&shard.id, From::TrimHorizon).await.unwrap();
        loop {
            let limit = ReadLimit { records: 1_000, bytes: 1 << 20, wait: Duration::ZERO };
            let batch = reader.read(limit).await.unwrap();
            records.extend(batch.records);
            if batch.tip {
                break;
            }
        }
    }
    let entry = |record: &Record| {
        let entry = PutRecordsRequestEntry::builder().partition_key(&*record.partition_key);
        entry.data(Blob::new(record.data.to_vec())).build().unwrap()
    };
    let calls: Vec<Vec<PutRecordsRequestEntry>> =
        records.chunks(RECORDS_OF_A_CALL).map(|records| records.iter().map(entry).collect()).collect();
    let (client, arrivals) = counted(&target.connection);
    for entries in calls {
        client.put_records().stream_name("changes").set_records(Some(entries)).send().await.unwrap();
    }
    arrivals.per_second()
}
