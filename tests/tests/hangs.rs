//! Sinks and stores that hang or are away, and what they hold up: themselves, and nobody else for long.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::time::Duration;

use foldstream_model::{Error, Ordering, ProjectionId, Result, SourceName, ports::Source as _};
use foldstream_runtime::{
    assembly::ProjectionSpec,
    report::Phase,
    rows::Rows,
    settings::Settings,
    worker::{Outcome, Until, Worker},
};
use foldstream_tests::{
    around::{Aspect, Call},
    bed::Bed,
    crashing,
    projectors::Kind,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

/// A bed of one shard in which a lane is soon full.
async fn narrow() -> Bed {
    let mut bed = Bed::new(1).await;
    bed.settings.patience = Duration::from_millis(500);
    bed.settings.lanes = 1;
    bed.settings.flush_documents = 1;
    bed.settings.batch_records = 20;
    bed
}

async fn append(bed: &Bed, streams: std::ops::Range<usize>, events: usize) {
    for stream in streams {
        bed.append(&format!("s-{stream}"), &vec![1; events]).await;
    }
    bed.relay().await;
}

/// A projection whose writes hang until the gate is opened.
fn gated(bed: &Bed, name: &str, ordering: Ordering, kind: Kind) -> (ProjectionSpec, watch::Sender<bool>) {
    let (gate, spec) = crashing::gated(bed.projection(name, ordering, kind));
    (spec, gate)
}

fn collect(bed: &Bed, name: &str) -> ProjectionSpec {
    bed.projection(name, Ordering::PerStream, Kind::Collect)
}

/// Until all events of these streams are in its documents.
async fn has(bed: &Bed, name: &str, streams: usize, events: usize) {
    let is_whole = |document: &String| document.matches(',').count() + 1 >= events;
    loop {
        let documents = bed.documents(name).await;
        if documents.len() == streams && documents.values().all(is_whole) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a worker, and stops it once something is so. How long it took to stop.
async fn stop_when(worker: &Worker, so: impl Future<Output = ()>) -> (Outcome, Duration) {
    let stop = CancellationToken::new();
    let see = async {
        so.await;
        stop.cancel();
        Instant::now()
    };
    let both = async { tokio::join!(worker.run(Until::Stopped, stop.clone()), see) };
    let (outcome, stopped) = tokio::time::timeout(Duration::from_secs(30), both).await.expect("in time");
    (outcome.unwrap(), stopped.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_takes_one_patience_while_sinks_hang_and_saves_what_is_settled() {
    let bed = narrow().await;
    append(&bed, 0..3, 5).await;
    let (slow, _gate) = gated(&bed, "slow", Ordering::PerStream, Kind::Collect);
    let (feed, _feed_gate) = gated(&bed, "feed", Ordering::Global, Kind::Feed);
    let worker = bed.worker(vec![bed.source()], vec![slow, feed, collect(&bed, "quick")]);
    let (_, took) = stop_when(&worker, has(&bed, "quick", 3, 5)).await;
    assert!(took < 2 * bed.settings.patience, "{took:?}");
    bed.counted.forget();
    bed.catch_up(vec![collect(&bed, "quick")]).await.unwrap();
    assert_eq!(bed.counted.most().1, 0, "something is read again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_heard_while_the_lanes_of_the_only_projection_are_full() {
    for (ordering, kind) in [(Ordering::PerStream, Kind::Collect), (Ordering::Global, Kind::Feed)] {
        let mut bed = narrow().await;
        bed.settings.read_ahead_bytes = 1 << 30;
        append(&bed, 0..10, 50).await;
        let (slow, gate) = gated(&bed, "slow", ordering, kind);
        let worker = bed.worker(vec![bed.source()], vec![slow]);
        // A lane takes a few batches, and its queue a few more.
        let full = async {
            while bed.counted.most().1 < 160 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let (_, took) = stop_when(&worker, full).await;
        assert!(took < 2 * bed.settings.patience, "{took:?}");
        drop(gate);
    }
}

/// A store that cannot be reached while true is sent.
struct Away(watch::Receiver<bool>);

impl Aspect for Away {
    async fn around<T: Send>(&self, _: Call, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let is_away = *self.0.borrow();
        if is_away { Err(Error::transient("the store is away")) } else { answer.await }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_takes_one_patience_while_the_store_of_checkpoints_is_away() {
    let mut bed = narrow().await;
    bed.settings.checkpoint_interval = Duration::from_secs(3_600);
    append(&bed, 0..3, 5).await;
    let (leave, away) = watch::channel(false);
    let worker = bed.worker_around(Away(away), bed.source(), vec![collect(&bed, "quick")]);
    let so = async {
        has(&bed, "quick", 3, 5).await;
        leave.send_replace(true);
    };
    let (_, took) = stop_when(&worker, so).await;
    // The last report is given a second of its own.
    assert!(took < 2 * bed.settings.patience + Duration::from_secs(1), "{took:?}");
    let rows = Rows::new(bed.store.checkpoints());
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    let (id, source) = (ProjectionId::new("quick", 1), SourceName::new("events"));
    assert!(rows.checkpoint(&id, &source, &shard).await.unwrap().is_none());
    bed.catch_up(vec![collect(&bed, "quick")]).await.unwrap();
    has(&bed, "quick", 3, 5).await;
}

/// A store that takes its time.
struct Slow(Duration);

impl Aspect for Slow {
    async fn around<T: Send>(&self, _: Call, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        tokio::time::sleep(self.0).await;
        answer.await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_beside_a_gap_though_the_journal_is_read_more_slowly_than_it_is_looked_at() {
    let mut bed = narrow().await;
    bed.settings.checkpoint_interval = Duration::from_millis(1);
    // Nobody has its first event.
    bed.put("lost", 2, 1).await;
    append(&bed, 0..10, 10).await;
    let worker =
        bed.worker_around(Slow(Duration::from_millis(10)), bed.source(), vec![collect(&bed, "quick")]);
    stop_when(&worker, has(&bed, "quick", 10, 10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_meets_poison_while_it_is_handed_over_is_not_waited_for() {
    let bed = Bed::new(1).await;
    append(&bed, 0..3, 5).await;
    bed.catch_up(vec![collect(&bed, "early")]).await.unwrap();
    bed.append("s-3", &[1, -1]).await;
    bed.relay().await;
    bed.catch_up(vec![collect(&bed, "early")]).await.unwrap();
    let late = bed.projection("late", Ordering::PerStream, Kind::CollectPositive);
    let (complete, watched) = watch::channel(false);
    let worker = bed.worker(vec![bed.source()], vec![collect(&bed, "early"), late]);
    let run = worker.run(Until::CaughtUp(watched), CancellationToken::new());
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    let end = async {
        let rows = Rows::new(bed.store.checkpoints());
        let (id, source) = (ProjectionId::new("late", 1), SourceName::new("events"));
        loop {
            let checkpoint = rows.checkpoint(&id, &source, &shard).await.unwrap();
            if checkpoint.is_some_and(|checkpoint| checkpoint.body.stop.is_some()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bed.log.split(&shard, u128::MAX / 2).await.unwrap();
        append(&bed, 0..4, 1).await;
        complete.send_replace(true);
    };
    let both = async { tokio::join!(run, end) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("in time");
    assert_eq!(outcome.unwrap().stops.len(), 1);
    has(&bed, "early", 4, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_in_the_catch_up_line_holds_nobody_up_and_ends_well() {
    let mut bed = narrow().await;
    bed.settings.patience = Duration::from_millis(50);
    append(&bed, 0..10, 50).await;
    bed.catch_up(vec![collect(&bed, "live")]).await.unwrap();
    append(&bed, 0..10, 1).await;
    let (slow, gate) = gated(&bed, "slow", Ordering::PerStream, Kind::Collect);
    let specs = vec![collect(&bed, "live"), slow, collect(&bed, "quick")];
    let worker = bed.worker(vec![bed.source()], specs);
    let see = async {
        has(&bed, "quick", 10, 51).await;
        bed.is_said_to_be("quick", Phase::Live).await;
        bed.is_said_to_be("slow", Phase::CatchingUp).await;
        append(&bed, 0..10, 1).await;
        has(&bed, "quick", 10, 52).await;
        has(&bed, "live", 10, 52).await;
        gate.send_replace(true);
        has(&bed, "slow", 10, 52).await;
        bed.is_said_to_be("slow", Phase::Live).await;
    };
    stop_when(&worker, see).await;
    assert_eq!(bed.documents("slow").await, bed.documents("live").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_of_the_furthest_lets_those_behind_take_its_place() {
    let mut bed = narrow().await;
    bed.settings.patience = Duration::from_millis(50);
    append(&bed, 0..10, 50).await;
    bed.catch_up(vec![collect(&bed, "slow")]).await.unwrap();
    append(&bed, 10..20, 50).await;
    let (slow, gate) = gated(&bed, "slow", Ordering::PerStream, Kind::Collect);
    let worker = bed.worker(vec![bed.source()], vec![slow, collect(&bed, "one"), collect(&bed, "two")]);
    let see = async {
        for name in ["one", "two"] {
            bed.is_said_to_be(name, Phase::Live).await;
            has(&bed, name, 20, 50).await;
        }
        gate.send_replace(true);
        bed.is_said_to_be("slow", Phase::Live).await;
    };
    stop_when(&worker, see).await;
    assert_eq!(bed.documents("slow").await, bed.documents("one").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hangs_of_several_projections_hold_nobody_up() {
    let mut bed = narrow().await;
    bed.settings.patience = Duration::from_millis(50);
    append(&bed, 0..10, 50).await;
    let (first, first_gate) = gated(&bed, "first", Ordering::PerStream, Kind::Collect);
    let (second, second_gate) = gated(&bed, "second", Ordering::PerStream, Kind::Collect);
    let worker = bed.worker(vec![bed.source()], vec![first, second, collect(&bed, "quick")]);
    let see = async {
        has(&bed, "quick", 10, 50).await;
        bed.is_said_to_be("quick", Phase::Live).await;
        first_gate.send_replace(true);
        has(&bed, "first", 10, 50).await;
        bed.is_said_to_be("first", Phase::Live).await;
        second_gate.send_replace(true);
        has(&bed, "second", 10, 50).await;
        bed.is_said_to_be("second", Phase::Live).await;
    };
    stop_when(&worker, see).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_in_one_shard_keeps_nobody_from_the_children_of_another() {
    let mut bed = Bed::new(2).await;
    bed.settings = Settings { patience: Duration::from_millis(50), ..narrow().await.settings };
    let ending = bed.log.describe().await.unwrap().shards[0].clone();
    let source = bed.log.source();
    let is_there = |stream: &String| source.hash_key(stream) <= ending.range.last;
    let (here, there): (Vec<_>, Vec<_>) = (0..40).map(|n| format!("s-{n}")).partition(is_there);
    for stream in &here {
        bed.append(stream, &[1]).await;
    }
    bed.relay().await;
    let (slow, gate) = gated(&bed, "slow", Ordering::PerStream, Kind::Collect);
    gate.send_replace(true);
    let worker = bed.worker(vec![bed.source()], vec![slow, collect(&bed, "quick")]);
    let see = async {
        has(&bed, "slow", here.len(), 1).await;
        gate.send_replace(false);
        for stream in &there {
            bed.append(stream, &[1; 50]).await;
        }
        bed.relay().await;
        let all = here.len() + there.len();
        has(&bed, "quick", all, 1).await;
        bed.log.split(&ending.id, ending.range.last / 2).await.unwrap();
        for stream in &here {
            bed.append(stream, &[1; 49]).await;
        }
        bed.relay().await;
        has(&bed, "quick", all, 50).await;
        gate.send_replace(true);
        has(&bed, "slow", all, 50).await;
    };
    stop_when(&worker, see).await;
}
