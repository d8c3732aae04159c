//! A source is begun where another application has left it, and shows others how far it is itself.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering as Atomic},
    },
    time::Duration,
};

use async_trait::async_trait;
use foldstream_model::{
    ErrorKind, ForeignLease, Lease, LeaseKey, LeftAt, Ordering, Position, Result, ShardId, SourceName,
    WorkerId,
    ports::{LeaseStore, PutLease},
};
use foldstream_runtime::{
    assembly::{Services, Start},
    worker::{Assembly, Outcome, Until, Worker},
};
use foldstream_tests::{bed::Bed, memory::leases::MemoryLeases, projectors::Kind};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Leases of ours beside those that an application has left, which was alive for so many looks.
#[derive(Default)]
struct Shared {
    ours: MemoryLeases,
    left: BTreeMap<ShardId, LeftAt>,
    alive: u64,
    looks: AtomicU64,
}

#[async_trait]
impl LeaseStore for Shared {
    async fn list(&self, source: &SourceName) -> Result<Vec<Lease>> {
        self.ours.list(source).await
    }

    async fn get(&self, source: &SourceName, key: &LeaseKey) -> Result<Option<Lease>> {
        self.ours.get(source, key).await
    }

    async fn put(&self, source: &SourceName, expected: Option<&Lease>, lease: &Lease) -> Result<PutLease> {
        self.ours.put(source, expected, lease).await
    }

    async fn delete(&self, source: &SourceName, expected: &Lease) -> Result<PutLease> {
        self.ours.delete(source, expected).await
    }

    async fn foreign(&self, _: &SourceName) -> Result<Vec<ForeignLease>> {
        let look = self.looks.fetch_add(1, Atomic::SeqCst);
        let left = self.left.iter().map(|(shard, left_at)| ForeignLease {
            shard: shard.clone(),
            owner: Some(WorkerId::new("other")),
            counter: look.min(self.alive),
            left_at: left_at.clone(),
            is_ours: false,
        });
        Ok(left.collect())
    }
}

fn worker(bed: &Bed, leases: &Arc<Shared>, start: Start) -> Worker {
    let mut source = bed.source();
    source.start = start;
    let mut settings = bed.settings.clone();
    settings.takeover_patience = Duration::from_millis(20);
    Worker::new(Assembly {
        services: Services { leases: leases.clone(), ..bed.services() },
        sources: vec![source],
        projections: vec![bed.projection("met", Ordering::PerStream, Kind::Collect)],
        settings,
        dead: BTreeSet::new(),
        process: 0,
    })
}

async fn catch_up(bed: &Bed, leases: &Arc<Shared>, start: Start) -> Result<Outcome> {
    let (_complete, complete) = watch::channel(true);
    let worker = worker(bed, leases, start);
    let run = worker.run(Until::CaughtUp(complete), CancellationToken::new());
    tokio::time::timeout(Duration::from_secs(120), run).await.expect("it catches up")
}

/// Where each record of the log is, in the order in which they were put.
async fn put(bed: &Bed, streams: &[&str], sequences: u64) {
    for sequence in 1..=sequences {
        for stream in streams {
            bed.put(stream, sequence, 1).await;
        }
    }
}

/// The shards, each with the positions of its records.
async fn records(bed: &Bed) -> Vec<(ShardId, Vec<Position>)> {
    let mut all = Vec::new();
    for shard in bed.log.describe().await.unwrap().shards {
        let (mut positions, mut after) = (Vec::new(), Position::BEGINNING);
        while let Some(record) = bed.log.next_record(&shard.id, &after).await.unwrap() {
            after = record.position.clone();
            positions.push(record.position);
        }
        all.push((shard.id, positions));
    }
    all
}

const STREAMS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

#[tokio::test]
async fn each_shard_begins_where_an_application_has_left_it_and_nothing_is_missed_there() {
    let bed = Bed::with_transport(3).await;
    put(&bed, &STREAMS, 4).await;
    let shards = records(&bed).await;
    assert!(shards.iter().all(|(_, records)| records.len() > 3), "{shards:?}");
    let left = [LeftAt::Behind(shards[0].1[1].clone()), LeftAt::End, LeftAt::AtTimestamp];
    let left = shards.iter().map(|(shard, _)| shard.clone()).zip(left).collect();
    let leases = Arc::new(Shared { left, ..Shared::default() });
    for run in ["taken over", "a second start, which finds nothing to do"] {
        catch_up(&bed, &leases, Start::LeaseTable).await.unwrap();
        let met: usize =
            bed.documents("met").await.values().map(|json| json.matches(&[',', '['][..]).count()).sum();
        assert_eq!(met, shards[0].1.len() - 2 + shards[2].1.len(), "{run}");
        let begun = leases.ours.list(&SourceName::new("events")).await.unwrap();
        let ended = LeaseKey::Shard(shards[1].0.clone());
        assert!(begun.iter().all(|lease| lease.key != ended), "nobody reads what was settled to its end");
    }
}

#[tokio::test]
async fn what_an_application_has_left_is_neither_passed_over_nor_made_up() {
    let bed = Bed::with_transport(1).await;
    put(&bed, &STREAMS, 1).await;
    let (shard, _) = records(&bed).await.remove(0);
    let left = Shared { left: BTreeMap::from([(shard, LeftAt::TrimHorizon)]), ..Shared::default() };
    for (leases, start, says) in [
        (left, Start::TrimHorizon, "holds the checkpoints of another application"),
        (Shared::default(), Start::LeaseTable, "finds no leases of another application"),
    ] {
        let refused = catch_up(&bed, &Arc::new(leases), start).await.unwrap_err();
        assert!(refused.kind() == ErrorKind::Invalid && refused.message().contains(says), "{refused}");
        assert!(bed.documents("met").await.is_empty());
    }
}

#[tokio::test]
async fn an_application_that_is_alive_is_waited_for() {
    let bed = Bed::with_transport(1).await;
    put(&bed, &STREAMS, 1).await;
    let (shard, _) = records(&bed).await.remove(0);
    let left = BTreeMap::from([(shard, LeftAt::TrimHorizon)]);
    let leases = Arc::new(Shared { left, alive: 5, ..Shared::default() });
    catch_up(&bed, &leases, Start::LeaseTable).await.unwrap();
    assert!(leases.looks.load(Atomic::SeqCst) > 6);
    assert_eq!(bed.documents("met").await.len(), STREAMS.len());
}

/// The checkpoint that a lease shows, once it is as wanted.
async fn shown(leases: &Shared, is_wanted: impl Fn(&Position) -> bool) -> Position {
    loop {
        let found = leases.list(&SourceName::new("events")).await.unwrap();
        let checkpoint = found.into_iter().find_map(|lease| lease.checkpoint);
        if let Some(checkpoint) = checkpoint.filter(&is_wanted) {
            return checkpoint;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_waits_for_a_missing_event_holds_back_how_far_others_are_told_that_all_is_settled() {
    let bed = Bed::with_transport(1).await;
    let leases = Arc::<Shared>::default();
    let worker = worker(&bed, &leases, Start::TrimHorizon);
    let stop = CancellationToken::new();
    let course = async {
        put(&bed, &["a"], 1).await;
        let first = records(&bed).await[0].1[0].clone();
        assert_eq!(shown(&leases, |at| *at != Position::BEGINNING).await, first);
        bed.put("a", 3, 1).await;
        put(&bed, &["b"], 3).await;
        while bed.documents("met").await.get("b").is_none_or(|json| !json.contains("[1,2,3]")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A renewal comes every second, and what it could say is there long before.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(shown(&leases, |_| true).await, first);
        bed.put("a", 2, 1).await;
        let last = records(&bed).await[0].1.last().unwrap().clone();
        shown(&leases, |at| *at == last).await;
        stop.cancel();
    };
    let run = worker.run(Until::Stopped, stop.clone());
    let both = async { tokio::join!(run, course) };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(120), both).await.expect("it comes so far");
    ended.unwrap();
}
