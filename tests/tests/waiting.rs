//! What waits does so without spinning, and is found again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use foldstream_local::NullDocuments;
use foldstream_model::{
    Document, DocumentKey, Epoch, Error, EventType, Lot, OnFailure, Ordering, Place, Position, Result,
    Sequence, Shard, ShardId, ShardNumber, ShardPlaces, StreamId, Timestamp, WorkerId,
    ports::{From, ShardReader, Source, SourceDescription, Touch},
};
use foldstream_runtime::{
    guard::Origin,
    lanes::{Bounds, Delivery, Lane, LaneMode, LaneOptions, LineId},
    progress::BatchId,
    rows::Rows,
    trying::Trials,
    worker::Until,
    write::{Aside, LaneInput, LaneTask},
};
use foldstream_tests::{
    around::{Around, Aspect, Call},
    bed::Bed,
    projectors::Kind,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// An event at this place, in a merge whose watermark has not come to it.
fn early(place: Place) -> LaneInput {
    let shard = ShardNumber(0);
    let origin = Origin {
        shard,
        place: place.clone(),
        stream: StreamId::new("s"),
        sequence: Sequence(1),
        event_type: EventType::new("Made"),
        recorded_at: Timestamp::from_seconds(1),
    };
    let touch = Touch { key: DocumentKey::new("feed"), change: Box::new(|_: &mut Option<Document>| Ok(())) };
    let delivery = Delivery { line: LineId(1), batch: BatchId(0), origin, touch, carried: None, bytes: 1 };
    let read = ShardPlaces { places: [(shard, place)].into(), ..ShardPlaces::default() };
    let bounds = Bounds { watermark: Timestamp::MIN, read: Arc::new(read) };
    LaneInput::Merged { subscription: None, deliveries: vec![delivery], bounds }
}

#[tokio::test]
async fn a_lane_rests_while_its_documents_wait_for_the_merge() {
    let mut bed = Bed::new(1).await;
    bed.settings.flush_interval = Duration::ZERO;
    let options = LaneOptions {
        ordering: Ordering::Global,
        epoch: Epoch::default(),
        mode: LaneMode::Live(OnFailure::Stop),
        cache_bytes: 1 << 20,
    };
    let (sender, inputs) = mpsc::channel(4);
    let mut projection = bed.projection("feed", Ordering::Global, Kind::Feed);
    projection.documents = Arc::new(NullDocuments);
    let aside = Aside {
        parking: bed.store.parking(),
        lot: Lot::of_documents(&projection.id, Epoch::default()),
        ordering: Ordering::Global,
        limit: 1,
    };
    let rows = Rows::new(bed.store.checkpoints());
    let trials = Trials::new(rows.clone(), bed.clock.clone(), WorkerId::new("lane"), Duration::ZERO);
    let task = LaneTask {
        lane: Lane::new(options),
        aside,
        projection,
        inputs,
        settings: Arc::new(bed.settings.clone()),
        rows,
        clock: bed.clock.clone(),
        trials: Arc::new(trials),
    };
    sender.send(early(Place::end(Position::new(1), 0))).await.unwrap();
    tokio::time::pause();
    let mut running = std::pin::pin!(task.run(CancellationToken::new()));
    let mut polls = 0;
    let counted = std::future::poll_fn(|context| {
        polls += 1;
        running.as_mut().poll(context)
    });
    tokio::time::timeout(Duration::from_secs(60), counted).await.expect_err("the lane ended");
    assert!(polls < 20, "woke up {polls} times in a minute");
}

/// Documents that another has taken over.
struct Fenced;

impl Aspect for Fenced {
    async fn around<T: Send>(&self, call: Call, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match call {
            Call::Write(_) => Err(Error::fenced("another worker has raised the epoch")),
            _ => answer.await,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_fenced_again_and_again_pauses_longer_and_longer() {
    let bed = Bed::new(1).await;
    bed.append("s", &[1]).await;
    bed.relay().await;
    let mut projection = bed.projection("collect", Ordering::PerStream, Kind::Collect);
    projection.documents = Arc::new(Around { inner: projection.documents, aspect: Fenced });
    let worker = bed.worker(vec![bed.source()], vec![projection]);
    let stop = CancellationToken::new();
    let began = Instant::now();
    let see = async {
        while bed.counted.most().0 < 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(worker.run(Until::Stopped, stop.clone()), see);
    outcome.unwrap();
    let paused: u64 = [20, 40, 80, 160, 320].iter().sum();
    assert!(began.elapsed() >= Duration::from_millis(paused), "begun six times in {:?}", began.elapsed());
}

/// A source that lists its second shard only once that was added.
struct Growing {
    inner: Arc<dyn Source>,
    has_grown: watch::Receiver<bool>,
}

#[async_trait]
impl Source for Growing {
    async fn describe(&self) -> Result<SourceDescription> {
        self.inner.describe().await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        let listed = if *self.has_grown.borrow() { usize::MAX } else { 1 };
        Ok(self.inner.shards().await?.into_iter().take(listed).collect())
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        self.inner.open(shard, from).await
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.inner.hash_key(partition_key)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_added_while_the_others_are_open_is_found() {
    let mut bed = Bed::new(2).await;
    bed.settings.discovery_interval = Duration::from_millis(10);
    for stream in 0..20 {
        bed.append(&format!("s-{stream}"), &[1]).await;
    }
    bed.relay().await;
    let (grow, has_grown) = watch::channel(false);
    let mut source = bed.source();
    source.source = Arc::new(Growing { inner: source.source, has_grown });
    let collect = bed.projection("collect", Ordering::PerStream, Kind::Collect);
    let worker = bed.worker(vec![source], vec![collect]);
    let stop = CancellationToken::new();
    let see = async {
        while bed.documents("collect").await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(bed.documents("collect").await.len() < 20);
        grow.send_replace(true);
        while bed.documents("collect").await.len() < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    };
    let both = async { tokio::join!(worker.run(Until::Stopped, stop.clone()), see) };
    let (outcome, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("in time");
    outcome.unwrap();
}
