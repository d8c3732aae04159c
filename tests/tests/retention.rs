//! Records that were trimmed before somebody had read them.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering as Atomic},
    },
    time::Duration,
};

use async_trait::async_trait;
use foldstream_local::LogOptions;
use foldstream_model::{
    Clock, Error, Lease, LeaseKey, Ordering, ProjectionId, Result, Shard, ShardId, SourceName, Timestamp,
    WorkerId,
    ports::{From, LeaseStore, ShardReader, Source, SourceDescription},
};
use foldstream_runtime::{
    assembly::{ProjectionSpec, Services, SourceSpec},
    control::Controls,
    rows::{self, Rows},
    worker::{Assembly, Until, Worker},
};
use foldstream_tests::{bed::Bed, crashing::gated, memory::leases::MemoryLeases, projectors::Kind};
use tokio_util::sync::CancellationToken;

fn collect(bed: &Bed, name: &str) -> ProjectionSpec {
    bed.projection(name, Ordering::PerStream, Kind::Collect)
}

async fn append(bed: &Bed, events: usize) {
    bed.append("s", &vec![1; events]).await;
    bed.relay().await;
}

/// Trims what had arrived by then.
async fn trim(bed: &Bed, by: Timestamp) {
    let retention = Duration::from_secs(1);
    let options = LogOptions { shards: 1, retention: Some(retention), recorded_in_order: true };
    let log = bed.store.log("events", options).await.unwrap();
    let retention = i64::try_from(retention.as_micros()).unwrap();
    while log.trim(by.plus_micros(retention)).await.unwrap() > 0 {}
}

fn sequences(n: usize) -> String {
    let sequences: Vec<_> = (1..=n).map(|n| n.to_string()).collect();
    format!("{{\"sequences\":[{}]}}", sequences.join(","))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_lost_to_retention_stop_only_the_projections_that_need_them() {
    for ordering in [Ordering::PerStream, Ordering::Global] {
        let kind = if ordering == Ordering::Global { Kind::Feed } else { Kind::Collect };
        let bed = Bed::new(1).await;
        let behind = || bed.projection("behind", ordering, kind);
        append(&bed, 5).await;
        bed.catch_up(vec![behind(), collect(&bed, "middle"), collect(&bed, "ahead")]).await.unwrap();
        append(&bed, 5).await;
        bed.catch_up(vec![collect(&bed, "middle"), collect(&bed, "ahead")]).await.unwrap();
        let by = bed.clock.now();
        append(&bed, 2).await;
        bed.catch_up(vec![collect(&bed, "ahead")]).await.unwrap();
        append(&bed, 2).await;
        trim(&bed, by).await;
        let specs = || vec![behind(), collect(&bed, "middle"), collect(&bed, "ahead")];
        for _ in 0..2 {
            let outcome = bed.catch_up(specs()).await.unwrap();
            assert!(outcome.caught_up);
            let stops: Vec<_> = outcome.stops.iter().map(|stop| stop.projection.name.as_str()).collect();
            assert_eq!(stops, ["behind"]);
            let reason = &outcome.stops[0].stop.reason;
            assert!(reason.contains("behind position=5 were trimmed"), "{reason}");
            assert!(reason.contains("trimmed=10"), "{reason}");
            assert_eq!(bed.documents("middle").await["s"], sequences(14));
            assert_eq!(bed.documents("ahead").await["s"], sequences(14));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_lost_to_retention_stops_only_its_projection() {
    let bed = Bed::new(1).await;
    append(&bed, 5).await;
    bed.catch_up(vec![collect(&bed, "behind"), collect(&bed, "ahead")]).await.unwrap();
    append(&bed, 5).await;
    let parent = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&parent, u128::MAX / 2).await.unwrap();
    append(&bed, 2).await;
    bed.catch_up(vec![collect(&bed, "ahead")]).await.unwrap();
    let by = bed.clock.now();
    append(&bed, 2).await;
    trim(&bed, by).await;
    assert!(bed.log.describe().await.unwrap().shards.iter().all(|shard| shard.id != parent));
    for _ in 0..2 {
        let outcome = bed.catch_up(vec![collect(&bed, "behind"), collect(&bed, "ahead")]).await.unwrap();
        assert!(outcome.caught_up);
        let stops: Vec<_> = outcome.stops.iter().map(|stop| stop.projection.name.as_str()).collect();
        assert_eq!(stops, ["behind"]);
        assert_eq!(outcome.stops[0].shard, parent);
        assert!(outcome.stops[0].stop.reason.contains("retention"), "{}", outcome.stops[0].stop.reason);
        let (id, source) = (ProjectionId::new("behind", 1), SourceName::new("events"));
        let rows = Rows::new(bed.store.checkpoints());
        let checkpoint = rows.checkpoint(&id, &source, &parent).await.unwrap().unwrap().body;
        assert_eq!(checkpoint.stop.as_ref(), Some(&outcome.stops[0].stop), "status says it without a worker");
        assert_eq!(bed.documents("behind").await["s"], sequences(5));
        assert_eq!(bed.documents("ahead").await["s"], sequences(14));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_read_and_is_trimmed_before_all_of_it_is_settled_is_not_lost() {
    let mut bed = Bed::new(1).await;
    bed.settings.discovery_interval = Duration::from_millis(10);
    append(&bed, 5).await;
    let parent = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&parent, u128::MAX / 2).await.unwrap();
    let (gate, slow) = gated(collect(&bed, "slow"));
    let worker = bed.worker(vec![bed.source()], vec![slow]);
    let stop = CancellationToken::new();
    let see = async {
        while bed.counted.most().1 < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        trim(&bed, bed.clock.now()).await;
        let rows = Rows::new(bed.store.checkpoints());
        loop {
            let lineage = rows.source(&SourceName::new("events")).await.unwrap().unwrap().body;
            if lineage.get(&parent).unwrap().gone_at.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gate.send_replace(true);
        append(&bed, 2).await;
        while bed.documents("slow").await.get("s") != Some(&sequences(7)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(worker.run(Until::Stopped, stop.clone()), see) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("in time");
    assert!(outcome.unwrap().stops.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_others_have_overtaken_and_finds_records_trimmed_goes_on_where_they_are() {
    let mut bed = Bed::new(1).await;
    (bed.settings.batch_records, bed.settings.bytes_in_flight, bed.settings.read_ahead_bytes) = (1, 1, 1);
    append(&bed, 20).await;
    let (gate, slow) = gated(collect(&bed, "slow"));
    let worker = bed.worker(vec![bed.source()], vec![slow]);
    let stop = CancellationToken::new();
    let see = async {
        while bed.counted.most().1 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bed.catch_up(vec![collect(&bed, "slow")]).await.unwrap();
        trim(&bed, bed.clock.now()).await;
        gate.send_replace(true);
        append(&bed, 2).await;
        while bed.documents("slow").await.get("s") != Some(&sequences(22)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(worker.run(Until::Stopped, stop.clone()), see) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("in time");
    assert!(outcome.unwrap().stops.is_empty());
}

/// It has looked up where it stands in a shard that another one holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_others_have_read_before_it_was_gone_is_lost_to_nobody() {
    let mut bed = Bed::new(1).await;
    let hour = Duration::from_secs(3_600);
    (bed.settings.control_interval, bed.settings.lease_duration) = (hour, hour);
    bed.settings.discovery_interval = Duration::from_millis(10);
    append(&bed, 5).await;
    let parent = bed.log.describe().await.unwrap().shards[0].id.clone();
    let (source, leases) = (SourceName::new("events"), Arc::<MemoryLeases>::default());
    let other = Some(WorkerId::new("other"));
    let key = LeaseKey::Shard(parent.clone());
    leases
        .put(&source, None, &Lease { key, owner: other, from: None, counter: 1, checkpoint: None })
        .await
        .unwrap();
    let services = Services {
        checkpoints: bed.store.checkpoints(),
        leases: leases.clone(),
        parking: bed.store.parking(),
        clock: bed.clock.clone(),
        ids: bed.ids.clone(),
    };
    let (sources, projections) = (vec![bed.source()], vec![collect(&bed, "idle")]);
    let settings = bed.settings.clone();
    let worker =
        Worker::new(Assembly { services, sources, projections, settings, dead: BTreeSet::new(), process: 0 });
    let (rows, stop) = (Rows::new(bed.store.checkpoints()), CancellationToken::new());
    let see = async {
        while rows.source(&source).await.unwrap().is_none() || leases.list(&source).await.unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bed.log.split(&parent, u128::MAX / 2).await.unwrap();
        bed.catch_up(vec![collect(&bed, "idle")]).await.unwrap();
        trim(&bed, bed.clock.now()).await;
        while rows.source(&source).await.unwrap().unwrap().body.get(&parent).unwrap().gone_at.is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        append(&bed, 2).await;
        while bed.documents("idle").await.get("s") != Some(&sequences(7)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(worker.run(Until::Stopped, stop.clone()), see) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("in time");
    assert!(outcome.unwrap().stops.is_empty());
}

/// A shard is split and trimmed, all of it read by a projection named "first".
async fn trimmed_parent(bed: &Bed) -> ShardId {
    append(bed, 5).await;
    let parent = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&parent, u128::MAX / 2).await.unwrap();
    bed.catch_up(vec![collect(bed, "first")]).await.unwrap();
    trim(bed, bed.clock.now()).await;
    bed.catch_up(vec![collect(bed, "first")]).await.unwrap();
    parent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_begins_after_a_shard_was_gone_is_saved_in_what_descends_from_it() {
    for ordering in [Ordering::PerStream, Ordering::Global] {
        let bed = Bed::new(1).await;
        trimmed_parent(&bed).await;
        append(&bed, 2).await;
        let outcome = bed.catch_up(vec![bed.projection("late", ordering, Kind::Feed)]).await.unwrap();
        assert!(outcome.caught_up && outcome.stops.is_empty(), "{ordering:?} {outcome:?}");
        let rows = Rows::new(bed.store.checkpoints());
        let (id, source) = (ProjectionId::new("late", 1), SourceName::new("events"));
        let mut saved = 0;
        for shard in bed.log.describe().await.unwrap().shards {
            let checkpoint = rows.checkpoint(&id, &source, &shard.id).await.unwrap();
            saved += usize::from(checkpoint.is_some_and(|checkpoint| checkpoint.body.cut.is_some()));
        }
        assert_eq!(saved, 1, "{ordering:?}: of the child that has the stream");
    }
}

/// Its clock is wrong: by that, the shard was gone before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_there_when_a_projection_was_registered_is_lost_whatever_the_clocks_say() {
    let bed = Bed::new(1).await;
    let late = collect(&bed, "late");
    let tomorrow = bed.clock.now().plus_micros(86_400_000_000);
    Controls::new(Rows::new(bed.store.checkpoints())).register(&late, tomorrow).await.unwrap();
    let parent = trimmed_parent(&bed).await;
    let outcome = bed.catch_up(vec![late]).await.unwrap();
    let stops: Vec<_> = outcome.stops.iter().map(|stop| &stop.shard).collect();
    assert_eq!(stops, [&parent]);
}

/// Whoever ended its parent died before it had opened the child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_trimmed_of_a_child_before_anybody_opened_it_is_lost_and_said() {
    let bed = Bed::new(1).await;
    append(&bed, 5).await;
    bed.catch_up(vec![collect(&bed, "late")]).await.unwrap();
    let parent = bed.log.describe().await.unwrap().shards[0].id.clone();
    let children = bed.log.split(&parent, u128::MAX / 2).await.unwrap();
    bed.catch_up(vec![collect(&bed, "late")]).await.unwrap();
    let (rows, source) = (Rows::new(bed.store.checkpoints()), SourceName::new("events"));
    for child in &children {
        rows.delete(&rows::journal_key(&source, child)).await.unwrap();
    }
    append(&bed, 3).await;
    trim(&bed, bed.clock.now()).await;
    let outcome = bed.catch_up(vec![collect(&bed, "late")]).await.unwrap();
    assert_eq!(outcome.stops.len(), 1, "{outcome:?}");
    assert!(children.contains(&outcome.stops[0].shard));
    assert!(outcome.stops[0].stop.reason.contains("were trimmed"), "{}", outcome.stops[0].stop.reason);
}

/// A source of which one shard is gone as soon as somebody opens it.
struct Vanishing {
    source: Arc<dyn Source>,
    shard: ShardId,
    gone: AtomicBool,
}

#[async_trait]
impl Source for Vanishing {
    async fn describe(&self) -> Result<SourceDescription> {
        self.source.describe().await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        let mut shards = self.source.shards().await?;
        shards.retain(|shard| shard.id != self.shard || !self.gone.load(Atomic::SeqCst));
        Ok(shards)
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        if *shard != self.shard {
            return self.source.open(shard, from).await;
        }
        self.gone.store(true, Atomic::SeqCst);
        Err(Error::invalid("there is no such shard"))
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.source.hash_key(partition_key)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_was_never_read_and_is_gone_when_it_is_opened_is_lost_and_others_go_on() {
    let mut bed = Bed::new(2).await;
    // Nobody but its lines opens the shard.
    bed.settings.trim_interval = Duration::from_secs(3_600);
    for stream in 0..20 {
        bed.append(&format!("s-{stream}"), &[1]).await;
    }
    bed.relay().await;
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    let source = bed.source();
    let gone = AtomicBool::new(false);
    let vanishing = Vanishing { source: source.source.clone(), shard: shard.clone(), gone };
    let source = SourceSpec { source: Arc::new(vanishing), ..source };
    for _ in 0..2 {
        let outcome = bed.catch_up_from(source.clone(), vec![collect(&bed, "collect")]).await.unwrap();
        assert!(outcome.caught_up);
        assert_eq!(outcome.stops.len(), 1);
        assert_eq!(outcome.stops[0].shard, shard);
        let documents = bed.documents("collect").await;
        assert!(!documents.is_empty() && documents.len() < 20);
    }
}
