//! Schedules that broke earlier versions of the line.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering as Atomic},
    },
    time::Duration,
};

use async_trait::async_trait;

use foldstream_local::NewRecord;
use foldstream_model::{
    Event, EventId, EventType, Ordering, Payload, ProjectionId, Result, SchemaVersion, Sequence, Shard,
    ShardId, SourceName, StreamId,
    ports::{CheckpointStore, From, ShardReader, Source, SourceDescription, Table},
};
use foldstream_runtime::{
    report::WorkerReport,
    rows::{REPORTS, Rows, journal_key},
    worker::Until,
};
use foldstream_tests::{bed::Bed, crashing::gated, projectors::Kind};
use tokio_util::sync::CancellationToken;

/// A child of a merge checkpoints while its parent's last events still wait for the watermark.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_that_restarts_reads_the_unsettled_end_of_a_parent_again() {
    let bed = Bed::with_transport(1).await;
    bed.put("a", 1, 1).await;
    let parent = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&parent, u128::MAX / 2).await.unwrap();
    for key in 0..20u32 {
        let event = Event {
            stream_id: StreamId::new(format!("o-{key}")),
            sequence: Sequence(1),
            id: EventId::new(format!("o-{key}")),
            event_type: EventType::new("Other"),
            schema_version: SchemaVersion(1),
            recorded_at: foldstream_model::Timestamp::from_millis(1_700_000_000_000),
            effective_at: foldstream_model::Timestamp::from_millis(1_700_000_000_000),
            payload: Payload::new(bytes::Bytes::from_static(b"{}")),
            metadata: Payload::default(),
        };
        bed.put_raw(&format!("o-{key}"), &event.to_envelope().unwrap()).await;
    }
    let mut feed = bed.projection("feed", Ordering::Global, Kind::Feed);
    feed.allowed_lateness = Duration::from_secs(100_000);
    let worker = bed.worker(vec![bed.source()], vec![feed]);
    let stop = CancellationToken::new();
    let run = worker.run(Until::Stopped, stop.clone());
    let rows = Rows::new(bed.store.checkpoints());
    let (id, source) = (ProjectionId::new("feed", 1), SourceName::new("events"));
    let see = async {
        let children: Vec<_> = bed.log.describe().await.unwrap().shards.into_iter().skip(1).collect();
        // Both children are being read once their journals are there; then they have many chances to save.
        for child in &children {
            while bed.store.checkpoints().get(&journal_key(&source, &child.id)).await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::sleep(10 * bed.settings.checkpoint_interval).await;
        for child in &children {
            assert!(rows.checkpoint(&id, &source, &child.id).await.unwrap().is_none());
        }
        stop.cancel();
    };
    let both = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(run, see) });
    both.await.expect("in time").0.unwrap();
    bed.catch_up(vec![bed.projection("feed", Ordering::Global, Kind::Feed)]).await.unwrap();
    assert_eq!(bed.documents("feed").await.get("feed").map(String::as_str), Some(r#"{"feed":["a#1"]}"#));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disorder_in_a_sealed_shard_is_only_read_again() {
    let mut bed = Bed::new(1).await;
    bed.settings.gap_patience = Duration::from_secs(3_600);
    bed.append("a", &[1, 1, 1]).await;
    bed.put("a", 1, 1).await;
    bed.put("a", 3, 1).await;
    for sequence in 1..=400 {
        bed.put("b", sequence, 1).await;
    }
    bed.put("a", 2, 1).await;
    let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
    bed.log.split(&shard, u128::MAX / 2).await.unwrap();
    bed.put("c", 1, 1).await;
    let collect = |name: &str| bed.projection(name, Ordering::PerStream, Kind::Collect);
    bed.catch_up(vec![collect("live")]).await.unwrap();
    let (live, new) = (collect("live"), collect("new"));
    bed.settings.gap_patience = Duration::from_millis(1);
    bed.settings.checkpoint_interval = Duration::from_millis(2);
    bed.settings.batch_records = 1;
    bed.catch_up(vec![live, new]).await.unwrap();
    assert_eq!(bed.documents("new").await["a"], r#"{"sequences":[1,2,3]}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_is_detached_while_its_lane_is_full_takes_nobody_along() {
    let mut bed = Bed::new(1).await;
    bed.settings.patience = Duration::from_millis(50);
    bed.settings.lanes = 1;
    bed.settings.flush_documents = 1;
    bed.settings.batch_records = 20;
    for stream in 0..10 {
        bed.append(&format!("s-{stream}"), &[1; 50]).await;
    }
    bed.relay().await;
    let (gate, slow) = gated(bed.projection("slow", Ordering::PerStream, Kind::Collect));
    let quick = bed.projection("quick", Ordering::PerStream, Kind::Collect);
    let (_complete, complete) = tokio::sync::watch::channel(true);
    let worker = bed.worker(vec![bed.source()], vec![slow, quick]);
    let run = worker.run(Until::CaughtUp(complete), CancellationToken::new());
    let open = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        gate.send_replace(true);
    };
    let both = async { tokio::join!(run, open) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("in time");
    outcome.unwrap();
    assert_eq!(bed.documents("slow").await, bed.documents("quick").await);
    assert_eq!(bed.documents("quick").await.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_heard_while_a_sink_hangs() {
    let mut bed = Bed::new(1).await;
    bed.settings.patience = Duration::from_millis(50);
    bed.append("s", &[1; 5]).await;
    bed.relay().await;
    let (_gate, slow) = gated(bed.projection("slow", Ordering::PerStream, Kind::Collect));
    let quick = bed.projection("quick", Ordering::PerStream, Kind::Collect);
    let worker = bed.worker(vec![bed.source()], vec![slow, quick]);
    let stop = CancellationToken::new();
    let run = worker.run(Until::Stopped, stop.clone());
    let see = async {
        while bed.documents("quick").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(run, see) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("in time");
    outcome.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_of_the_furthest_projection_does_not_hold_up_those_behind() {
    let mut bed = Bed::new(1).await;
    bed.settings.patience = Duration::from_millis(50);
    bed.settings.lanes = 1;
    bed.settings.flush_documents = 1;
    bed.settings.batch_records = 20;
    bed.append("s-0", &[1; 5]).await;
    bed.relay().await;
    bed.catch_up(vec![bed.projection("slow", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    for stream in 0..10 {
        bed.append(&format!("s-{stream}"), &[1; 50]).await;
    }
    bed.relay().await;
    let (_gate, slow) = gated(bed.projection("slow", Ordering::PerStream, Kind::Collect));
    let quick = bed.projection("quick", Ordering::PerStream, Kind::Collect);
    let worker = bed.worker(vec![bed.source()], vec![slow, quick]);
    let run = worker.run(Until::Stopped, CancellationToken::new());
    let see = async {
        loop {
            let documents = bed.documents("quick").await;
            if documents.len() == 10
                && documents.values().all(|document| document.ends_with("50]}") || document.ends_with("55]}"))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let first = async {
        tokio::select! {
            _ = run => panic!("the worker ended"),
            () = see => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(20), first).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_one_parent_for_an_event_of_the_other_is_released_when_they_are_merged() {
    let bed = Bed::new(2).await;
    let shards = bed.log.describe().await.unwrap().shards;
    let [low, high] = [&shards[0].id, &shards[1].id];
    for (sequence, hash_key) in [(1, 0), (2, u128::MAX), (3, 0)] {
        let event = format!(
            r#"{{"stream_id":"a","sequence":{sequence},"id":"{sequence}","type":"Added","recorded_at":"2026-01-01T00:00:00Z","payload":{{"n":1}}}}"#
        );
        let data = bytes::Bytes::from(event);
        let record = NewRecord { partition_key: "a".into(), explicit_hash_key: Some(hash_key), data };
        bed.log.put(vec![record]).await.unwrap();
    }
    bed.log.merge(low, high).await.unwrap();
    let mut source = bed.source();
    source.events = None;
    let projections = || {
        vec![
            bed.projection("collect", Ordering::PerStream, Kind::Collect),
            bed.projection("sum", Ordering::Commutative, Kind::Sum),
        ]
    };
    // Once as they are merged, once after a restart.
    for _ in 0..2 {
        let outcome = bed.catch_up_from(source.clone(), projections()).await.unwrap();
        assert!(outcome.gaps.is_empty() && outcome.stops.is_empty());
        assert_eq!(bed.documents("collect").await["a"], r#"{"sequences":[1,2,3]}"#);
        let sums: Vec<_> = bed.documents("sum").await.into_values().collect();
        assert_eq!(sums, [r#"{"events":3,"sum":3}"#]);
    }
}

/// A source that holds one of its lists of shards back, before it is made or when it is.
struct HeldList {
    source: Arc<dyn Source>,
    calls: AtomicUsize,
    held: usize,
    is_old: bool,
    /// The list is held back.
    made: tokio::sync::Notify,
    let_go: tokio::sync::Notify,
}

impl HeldList {
    fn new(source: Arc<dyn Source>, held: usize, is_old: bool) -> Arc<Self> {
        let (made, let_go) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        Arc::new(Self { source, calls: AtomicUsize::new(0), held, is_old, made, let_go })
    }
}

#[async_trait]
impl Source for HeldList {
    async fn describe(&self) -> Result<SourceDescription> {
        self.source.describe().await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        let old = self.source.shards().await?;
        if self.calls.fetch_add(1, Atomic::SeqCst) != self.held {
            return Ok(old);
        }
        self.made.notify_one();
        self.let_go.notified().await;
        if self.is_old { Ok(old) } else { self.source.shards().await }
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        self.source.open(shard, from).await
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.source.hash_key(partition_key)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_shards_that_another_worker_has_overtaken_makes_no_shard_gone() {
    let bed = Bed::with_transport(1).await;
    let collect = || vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)];
    bed.put("a", 1, 1).await;
    let mut slow = bed.source();
    let old = HeldList::new(slow.source.clone(), 0, true);
    slow.source = old.clone();
    let late = bed.catch_up_from(slow, collect());
    let meanwhile = async {
        old.made.notified().await;
        let shard = bed.log.describe().await.unwrap().shards[0].id.clone();
        bed.log.split(&shard, u128::MAX / 2).await.unwrap();
        bed.catch_up(collect()).await.unwrap();
        bed.put("a", 2, 1).await;
        old.let_go.notify_one();
    };
    let (outcome, ()) = tokio::join!(late, meanwhile);
    assert!(outcome.unwrap().stops.is_empty());
    assert_eq!(bed.documents("collect").await["a"], r#"{"sequences":[1,2]}"#);
}

/// Another worker ends a parent and begins a grandchild, so that the parent counts as ended for the other child too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_begins_with_what_another_worker_has_read_in_its_parent() {
    let mut bed = Bed::with_transport(1).await;
    bed.settings.discovery_interval = Duration::from_millis(20);
    bed.settings.gap_patience = Duration::from_millis(1);
    bed.settings.patience = Duration::from_millis(50);
    let streams: Vec<String> = (0..10).map(|number| format!("s-{number}")).collect();
    let put = async |sequence: u64| {
        for stream in &streams {
            bed.put(stream, sequence, 1).await;
        }
    };
    for stream in &streams {
        bed.append(stream, &[1; 4]).await;
    }
    put(1).await;
    put(2).await;
    let parent = bed.log.describe().await.unwrap().shards[0].id.clone();
    let [low, high] = bed.log.split(&parent, u128::MAX / 2).await.unwrap();
    put(3).await;
    let sums = || bed.projection("sums", Ordering::Commutative, Kind::Sum);
    let (gate, held) = gated(sums());
    let mut source = bed.source();
    let list = HeldList::new(source.source.clone(), 1, false);
    source.source = list.clone();
    let slow = bed.worker(vec![source], vec![held]);
    let stop = CancellationToken::new();
    let run = slow.run(Until::Stopped, stop.clone());
    let rows = bed.store.checkpoints();
    let others = async {
        list.made.notified().await;
        bed.catch_up(vec![sums()]).await.unwrap();
        bed.log.split(&low, u128::MAX / 4).await.unwrap();
        put(4).await;
        bed.catch_up(vec![sums()]).await.unwrap();
        list.let_go.notify_one();
        let reads = |report: &WorkerReport| report.shards.iter().any(|shard| shard.shard == high);
        loop {
            let reports = Rows::new(rows.clone()).all::<WorkerReport>(Table::Reports, REPORTS).await.unwrap();
            if reports.iter().any(|(_, report)| !report.body.ended && reads(&report.body)) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gate.send_replace(true);
        tokio::time::sleep(10 * bed.settings.checkpoint_interval).await;
        stop.cancel();
    };
    let both = async { tokio::join!(run, others) };
    tokio::time::timeout(Duration::from_secs(60), both).await.expect("in time").0.unwrap();
    bed.catch_up(vec![sums()]).await.unwrap();
    let counted = bed
        .documents("sums")
        .await
        .into_values()
        .map(|document| document.split(['{', ':', ',']).nth(2).unwrap().parse::<usize>().unwrap());
    assert_eq!(counted.sum::<usize>(), 40);
}

/// A source whose shards take a while to open when they have parents.
struct SlowChildren(Arc<dyn Source>);

#[async_trait]
impl Source for SlowChildren {
    async fn describe(&self) -> Result<SourceDescription> {
        self.0.describe().await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        self.0.shards().await
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        if self.shards().await?.iter().any(|known| known.id == *shard && !known.parents.is_empty()) {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        self.0.open(shard, from).await
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.0.hash_key(partition_key)
    }
}

/// What a source states when the last record of a shard is read holds for what has come since in its children, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_waits_where_a_shard_ended_for_its_children_whatever_the_source_states_meanwhile() {
    let bed = Bed::new(2).await;
    let streams: Vec<String> = (0..8).map(|number| format!("s-{number}")).collect();
    for stream in &streams {
        bed.append(stream, &[1]).await;
    }
    bed.relay().await;
    let parent = bed.log.describe().await.unwrap().shards[0].clone();
    bed.log.split(&parent.id, parent.range.last / 2).await.unwrap();
    for stream in &streams {
        bed.append(stream, &[1]).await;
    }
    bed.relay().await;
    let mut source = bed.source();
    source.source = Arc::new(SlowChildren(source.source));
    bed.catch_up_from(source, vec![bed.projection("feed", Ordering::Global, Kind::Feed)]).await.unwrap();
    let fed = [1, 2].map(|sequence| streams.iter().map(move |stream| format!("\"{stream}#{sequence}\"")));
    let fed: Vec<String> = fed.into_iter().flatten().collect();
    let expected = format!("{{\"feed\":[{}]}}", fed.join(","));
    assert_eq!(bed.documents("feed").await.get("feed"), Some(&expected));
}
