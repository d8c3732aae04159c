//! The latency that the line adds.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering as Atomic},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use foldstream_model::{
    Clock, DocumentKey, Fed, ReadModel, Result,
    ports::{DocumentStore, DocumentWrite, From, Source, StoredDocument, Written},
};
use foldstream_runtime::{
    read::Reading,
    settings::Settings,
    worker::{Until, Worker},
};
use foldstream_tests::memory::{MemoryCheckpoints, MemoryHandle, MemorySource};
use tokio_util::sync::CancellationToken;

use crate::{SystemClock, assembly, one_core, record};

const STREAMS: usize = 1_000;

/// Notes when each event became readable, by its stream and sequence.
struct Stamping {
    started: Instant,
    written: Mutex<Vec<u64>>,
    events: AtomicU64,
}

impl Stamping {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).expect("a short bench")
    }
}

#[async_trait]
impl DocumentStore for Stamping {
    async fn open(&self, _: &ReadModel) -> Result<String> {
        Ok("stamping".to_owned())
    }

    async fn read(&self, _: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        Ok(vec![None; keys.len()])
    }

    async fn write(&self, _: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        let now = self.now();
        let mut written = self.written.lock().expect("stamps");
        let mut stamped = 0;
        for write in &writes {
            let Fed::Stream { stream, sequence } = &write.put.guard.fed else { continue };
            let stream: usize = stream.as_str()["account-".len()..].parse().expect("a number");
            // A write shows all events of its stream that are not shown yet.
            let shown = (0..sequence.0 as usize).rev().map(|earlier| earlier * STREAMS + stream);
            for index in shown.take_while(|index| written[*index] == 0).collect::<Vec<_>>() {
                written[index] = now;
                stamped += 1;
            }
        }
        drop(written);
        self.events.fetch_add(stamped, Atomic::Relaxed);
        Ok(writes.iter().map(|_| Written::Done).collect())
    }

    async fn list(
        &self,
        _: &ReadModel,
        _: Option<&DocumentKey>,
        _: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: &ReadModel) -> Result<()> {
        Ok(())
    }
}

/// The latency of the line, and that of a loop which does nothing but read what it reads. Events come one by one, or so many
/// at once as sources hand them over.
pub fn latency(per_second: usize, at_once: usize) {
    println!("offered {per_second} events/s, {at_once} at once");
    for _ in 0..2 {
        offer("the line", per_second, at_once, the_line);
        offer("a loop that only reads", per_second, at_once, a_loop);
    }
    let mut waits = pauses(per_second, Duration::from_secs(5));
    show("what two idle loops would add on this machine", &mut waits);
}

async fn the_line(source: Arc<MemorySource>, stamps: Arc<Stamping>, events: usize) {
    let settings = Settings { lanes: 1, flush_interval: Duration::ZERO, ..Settings::default() };
    let checkpoints = Arc::new(MemoryCheckpoints::without_cuts());
    let worker = Worker::new(assembly(Arc::new(MemoryHandle(source)), stamps.clone(), checkpoints, settings));
    let stop = CancellationToken::new();
    let all_written = async {
        while stamps.events.load(Atomic::Relaxed) < events as u64 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(worker.run(Until::Stopped, stop.clone()), all_written);
    outcome.expect("an outcome");
}

/// Reads each record as the line does, and is done with it.
async fn a_loop(source: Arc<MemorySource>, stamps: Arc<Stamping>, events: usize) {
    let source = MemoryHandle(source);
    let shard = source.shards().await.expect("a shard")[0].id.clone();
    let mut reader = source.open(&shard, From::TrimHorizon).await.expect("a reader");
    let limit = Reading::limit(&Settings::default());
    let mut read = 0;
    while read < events {
        let batch = reader.read(limit).await.expect("a batch");
        let now = stamps.now();
        let mut written = stamps.written.lock().expect("stamps");
        written[read..][..batch.records.len()].fill(now);
        read += batch.records.len();
    }
}

/// Open loop: events come at a fixed rate whatever reads them.
fn offer<F: Future<Output = ()>>(
    name: &str,
    per_second: usize,
    at_once: usize,
    consumer: impl FnOnce(Arc<MemorySource>, Arc<Stamping>, usize) -> F + Send + 'static,
) {
    let seconds = 10;
    let events = per_second * seconds;
    let made_at = SystemClock.now();
    let source = MemorySource::hidden((0..events).map(|index| record(index, STREAMS, made_at)).collect());
    let started = Instant::now();
    let stamps =
        Arc::new(Stamping { started, written: Mutex::new(touched(events)), events: AtomicU64::new(0) });
    let read = source.clone();
    let worker = std::thread::spawn(move || {
        one_core().block_on(consumer(read, stamps.clone(), events));
        (stamps, waited_for_a_core())
    });
    let begin = started.elapsed() + Duration::from_millis(200);
    let (mut due, mut late) = (touched(events), touched(events));
    for index in 0..events {
        let first = (index - index % at_once) as u64;
        let at = begin + Duration::from_nanos(first * 1_000_000_000 / per_second as u64);
        while started.elapsed() < at {
            std::thread::yield_now();
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).expect("a short bench");
        due[index] = nanos(at);
        late[index] = nanos(started.elapsed()) - due[index];
        source.show();
    }
    let (stamps, waited) = worker.join().expect("the worker");
    let written = stamps.written.lock().expect("stamps");
    let mut delays: Vec<u64> =
        written.iter().zip(&due).map(|(written, due)| written.saturating_sub(*due)).collect();
    let warm = events / 10;
    show(name, &mut delays[warm..]);
    show("  of which the generator's own lateness", &mut late[warm..]);
    if let Some(waited) = waited {
        println!("  it was ready and had no core for {} ms a second", waited.as_millis() / seconds as u128);
    }
}

/// For how long this thread was ready to run while others had the cores; none where the system does not tell.
fn waited_for_a_core() -> Option<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

/// How long each event would wait for a loop that does nothing else, beside another one: the machine's own pauses.
fn pauses(per_second: usize, time: Duration) -> Vec<u64> {
    let spin = move || {
        let (begun, mut gaps) = (Instant::now(), Vec::new());
        let mut last = begun;
        while last - begun < time {
            let now = Instant::now();
            let gap = u64::try_from((now - last).as_nanos()).expect("a short bench");
            gaps.extend((gap > 5_000).then_some(gap));
            last = now;
        }
        gaps
    };
    let other = std::thread::spawn(spin);
    let gaps = spin();
    other.join().expect("a loop");
    let events = per_second * time.as_secs() as usize;
    let between = 1_000_000_000 / per_second as u64;
    let mut waits: Vec<u64> =
        gaps.iter().flat_map(|gap| (0..gap / between).map(move |event| gap - event * between)).collect();
    waits.resize(events.max(waits.len()), 0);
    waits
}

/// Memory that the system has given out already, for that takes its time.
fn touched(events: usize) -> Vec<u64> {
    let mut touched = vec![u64::MAX; events];
    touched.fill(0);
    touched
}

fn show(name: &str, nanos: &mut [u64]) {
    nanos.sort_unstable();
    let at = |share: f64| nanos[((nanos.len() - 1) as f64 * share) as usize] as f64 / 1e6;
    println!("{name}: p50 {:.3} ms  p99 {:.3} ms  p99.9 {:.3} ms", at(0.5), at(0.99), at(0.999));
}
