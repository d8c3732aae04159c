//! What is decided about one projection is followed by that one alone.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering as Atomic},
    },
    time::Duration,
};

use async_trait::async_trait;
use foldstream_model::{
    DocumentKey, Epoch, Error, ErrorKind, EventType, Ordering, Place, Position, ProjectionId, ReadModel,
    Result, Sequence, Shard, ShardId, ShardNumber, StreamId, Timestamp,
    ports::{
        DocumentStore, DocumentWrite, From, ShardReader, Source, SourceDescription, StoredDocument, Table,
        Written,
    },
};
use foldstream_runtime::{
    assembly::{ProjectionSpec, SourceSpec},
    checkpoint::CheckpointHandle,
    control::{Actor, Controls, RewindTo},
    guard::Origin,
    report::WorkerReport,
    rows::{REPORTS, Rows, late_key},
    worker::Until,
};
use foldstream_tests::{bed::Bed, crashing, projectors::Kind};
use tokio_util::sync::CancellationToken;

const SHARDS: usize = 2;
const STREAMS: usize = 6;

/// Documents whose reads are counted, and of which so many writes are fenced.
struct Watched {
    inner: Arc<dyn DocumentStore>,
    reads: AtomicUsize,
    fences: AtomicUsize,
}

#[async_trait]
impl DocumentStore for Watched {
    async fn open(&self, model: &ReadModel) -> Result<String> {
        self.inner.open(model).await
    }

    async fn read(&self, model: &ReadModel, keys: &[DocumentKey]) -> Result<Vec<Option<StoredDocument>>> {
        self.reads.fetch_add(1, Atomic::SeqCst);
        self.inner.read(model, keys).await
    }

    async fn write(&self, model: &ReadModel, writes: Vec<DocumentWrite>) -> Result<Vec<Written>> {
        let left = |left: usize| left.checked_sub(1);
        match self.fences.fetch_update(Atomic::SeqCst, Atomic::SeqCst, left) {
            Ok(_) => Err(Error::fenced("another worker has raised the epoch")),
            Err(_) => self.inner.write(model, writes).await,
        }
    }

    async fn list(
        &self,
        model: &ReadModel,
        after: Option<&DocumentKey>,
        limit: usize,
    ) -> Result<Vec<(DocumentKey, StoredDocument)>> {
        self.inner.list(model, after, limit).await
    }

    async fn remove(&self, model: &ReadModel) -> Result<()> {
        self.inner.remove(model).await
    }
}

fn watched(mut spec: ProjectionSpec) -> (ProjectionSpec, Arc<Watched>) {
    let (reads, fences) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let documents = Arc::new(Watched { inner: spec.documents, reads, fences });
    spec.documents = documents.clone();
    (spec, documents)
}

/// A source that counts how often a shard is opened behind some record: whenever a reading begins that is not the first.
struct Opens {
    inner: Arc<dyn Source>,
    count: AtomicUsize,
}

#[async_trait]
impl Source for Opens {
    async fn describe(&self) -> Result<SourceDescription> {
        self.inner.describe().await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        self.inner.shards().await
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        // Trimming looks at the horizon all the time.
        if matches!(from, From::After(_)) {
            self.count.fetch_add(1, Atomic::SeqCst);
        }
        self.inner.open(shard, from).await
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.inner.hash_key(partition_key)
    }
}

fn opens(bed: &Bed) -> (SourceSpec, Arc<Opens>) {
    let mut source = bed.source();
    let opens = Arc::new(Opens { inner: source.source, count: AtomicUsize::new(0) });
    source.source = opens.clone();
    (source, opens)
}

async fn append(bed: &Bed, events: usize) {
    for stream in 0..STREAMS {
        bed.append(&format!("s-{stream}"), &vec![1; events]).await;
    }
    bed.relay().await;
}

async fn until(so: impl AsyncFn() -> bool) {
    while !so().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// So many entries are in the lists of its documents.
async fn has(bed: &Bed, name: &str, entries: usize) {
    until(async || entries_of(bed, name).await == entries).await;
}

async fn entries_of(bed: &Bed, name: &str) -> usize {
    let documents = bed.documents(name).await;
    documents.values().map(|document| document.matches(',').count() + 1).sum()
}

/// The worker says nothing of it any more.
async fn is_not_there(bed: &Bed, name: &str) {
    let rows = Rows::new(bed.store.checkpoints());
    until(async || {
        let reports = rows.all::<WorkerReport>(Table::Reports, REPORTS).await.unwrap();
        let mut said = reports.iter().flat_map(|(_, report)| &report.body.projections);
        said.clone().next().is_some() && said.all(|said| said.projection.name.as_str() != name)
    })
    .await;
}

fn actor() -> Actor {
    Actor { who: "tester".into(), reason: None, at: Timestamp::from_seconds(1) }
}

fn steady(bed: &Bed) -> (ProjectionSpec, Arc<Watched>) {
    watched(bed.projection("steady", Ordering::PerStream, Kind::Collect))
}

/// Runs a worker while something is done.
async fn meanwhile(
    bed: &Bed,
    source: SourceSpec,
    projections: Vec<ProjectionSpec>,
    done: impl Future<Output = ()>,
) {
    let worker = bed.worker(vec![source], projections);
    let stop = CancellationToken::new();
    let operate = async {
        done.await;
        stop.cancel();
    };
    let both = async { tokio::join!(worker.run(Until::Stopped, stop.clone()), operate) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(60), both).await.expect("in time");
    assert!(outcome.unwrap().stops.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_a_resume_and_a_rewind_of_one_projection_interrupt_no_other() {
    for (ordering, kind) in [(Ordering::PerStream, Kind::Collect), (Ordering::Global, Kind::Feed)] {
        let bed = Bed::new(SHARDS as u32).await;
        append(&bed, 2).await;
        let (steady, documents) = steady(&bed);
        let other = bed.projection("other", ordering, kind);
        let (source, opens) = opens(&bed);
        let controls = Controls::new(Rows::new(bed.store.checkpoints()));
        let id = ProjectionId::new("other", 1);
        let operate = async {
            has(&bed, "steady", 2 * STREAMS).await;
            has(&bed, "other", 2 * STREAMS).await;
            let (reads, opened) = (documents.reads.load(Atomic::SeqCst), opens.count.load(Atomic::SeqCst));
            bed.counted.forget();

            controls.set_paused(&id, true, &actor()).await.unwrap();
            is_not_there(&bed, "other").await;
            append(&bed, 1).await;
            has(&bed, "steady", 3 * STREAMS).await;
            assert_eq!(entries_of(&bed, "other").await, 2 * STREAMS);
            assert_eq!(bed.counted.most(), (1, STREAMS));

            controls.set_paused(&id, false, &actor()).await.unwrap();
            has(&bed, "other", 3 * STREAMS).await;
            assert_eq!(opens.count.load(Atomic::SeqCst), opened + SHARDS);

            bed.rewind("other", &RewindTo::Beginning, true).await.unwrap();
            until(async || opens.count.load(Atomic::SeqCst) == opened + 2 * SHARDS).await;
            append(&bed, 1).await;
            has(&bed, "steady", 4 * STREAMS).await;
            has(&bed, "other", 4 * STREAMS).await;
            assert_eq!(opens.count.load(Atomic::SeqCst), opened + 2 * SHARDS);
            // Its documents are still known: it has the lanes that it had.
            assert_eq!(documents.reads.load(Atomic::SeqCst), reads);
        };
        meanwhile(&bed, source, vec![steady, other], operate).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_is_fenced_starts_again_alone() {
    let bed = Bed::new(SHARDS as u32).await;
    append(&bed, 2).await;
    let (steady, documents) = steady(&bed);
    let (other, fenced) = watched(bed.projection("other", Ordering::PerStream, Kind::Collect));
    let (source, opens) = opens(&bed);
    let operate = async {
        has(&bed, "steady", 2 * STREAMS).await;
        has(&bed, "other", 2 * STREAMS).await;
        let (reads, opened) = (documents.reads.load(Atomic::SeqCst), opens.count.load(Atomic::SeqCst));
        fenced.fences.store(3, Atomic::SeqCst);
        append(&bed, 1).await;
        has(&bed, "steady", 3 * STREAMS).await;
        has(&bed, "other", 3 * STREAMS).await;
        assert_eq!(fenced.fences.load(Atomic::SeqCst), 0);
        assert!(opens.count.load(Atomic::SeqCst) > opened, "it did not start again");
        append(&bed, 1).await;
        has(&bed, "steady", 4 * STREAMS).await;
        assert_eq!(documents.reads.load(Atomic::SeqCst), reads);
    };
    meanwhile(&bed, source, vec![steady, other], operate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_whose_sink_hangs_can_be_paused_and_resumed() {
    for (ordering, kind) in [(Ordering::PerStream, Kind::Collect), (Ordering::Global, Kind::Feed)] {
        let mut bed = Bed::new(SHARDS as u32).await;
        bed.settings.patience = Duration::from_millis(200);
        append(&bed, 20).await;
        let (gate, other) = crashing::gated(bed.projection("other", ordering, kind));
        let (steady, documents) = steady(&bed);
        let controls = Controls::new(Rows::new(bed.store.checkpoints()));
        let id = ProjectionId::new("other", 1);
        let operate = async {
            has(&bed, "steady", 20 * STREAMS).await;
            let reads = documents.reads.load(Atomic::SeqCst);
            controls.set_paused(&id, true, &actor()).await.unwrap();
            is_not_there(&bed, "other").await;
            append(&bed, 1).await;
            has(&bed, "steady", 21 * STREAMS).await;
            gate.send_replace(true);
            controls.set_paused(&id, false, &actor()).await.unwrap();
            has(&bed, "other", 21 * STREAMS).await;
            assert_eq!(documents.reads.load(Atomic::SeqCst), reads);
        };
        meanwhile(&bed, bed.source(), vec![steady, other], operate).await;
    }
}

#[tokio::test]
async fn a_checkpoint_of_a_higher_generation_is_no_beginning_for_a_lower_one() {
    let bed = Bed::new(1).await;
    let (rows, id) = (Rows::new(bed.store.checkpoints()), ProjectionId::new("other", 1));
    append(&bed, 1).await;
    bed.catch_up(vec![bed.projection("other", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    let controls = Controls::new(rows.clone());
    let before = controls.get(&id).await.unwrap();
    bed.rewind("other", &RewindTo::Beginning, false).await.unwrap();
    bed.catch_up(vec![bed.projection("other", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    let (source, lineage) = (bed.source().name, rows.source(&bed.source().name).await.unwrap().unwrap());
    let (shard, _) = lineage.body.shards().next().unwrap();
    let read = CheckpointHandle::read(&rows, &id, &source, shard, &before).await;
    assert_eq!(read.err().map(|error| error.kind()), Some(ErrorKind::Fenced));
}

#[tokio::test]
async fn what_came_too_late_before_a_rebuild_counts_no_more_after_it() {
    let bed = Bed::new(1).await;
    let (rows, id) = (Rows::new(bed.store.checkpoints()), ProjectionId::new("feed", 1));
    for (epoch, sequence) in [(0, 1), (0, 2), (1, 1)] {
        let origin = Origin {
            shard: ShardNumber(0),
            place: Place::end(Position::new(u128::from(sequence)), 0),
            stream: StreamId::new("s"),
            sequence: Sequence(sequence),
            event_type: EventType::new("Made"),
            recorded_at: Timestamp::from_seconds(1),
        };
        let key = late_key(&id, Epoch(epoch), &DocumentKey::new("feed"), &origin);
        assert!(rows.put(&key, None, &()).await.unwrap().is_some());
    }
    assert_eq!(rows.late(&id, Epoch(0)).await.unwrap(), 2);
    assert_eq!(rows.late(&id, Epoch(1)).await.unwrap(), 1);
}
