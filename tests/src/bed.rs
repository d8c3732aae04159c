//! A test bed: an embedded database in a temporary folder, events in it, and a worker over it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering as Atomic},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use foldstream_local::{LocalLog, LocalStore, LogOptions, NewRecord, OpenOptions};
use foldstream_model::{
    Clock, Event, EventId, EventType, Fingerprint, Ids, OnFailure, Ordering, PayloadReads, Position,
    ProjectionId, Record, Result, SchemaVersion, Sequence, Shard, ShardId, SourceName, StreamId, Timestamp,
    ports::{
        Append, Appended, Batch, Decoder, DocumentStore, EventStore, ExpectedSequence, From, LeaseStore,
        NewEvent, ReadLimit, ShardReader, Source, SourceDescription, Table,
    },
};
use foldstream_runtime::{
    assembly::{NamedReducer, ProjectionSpec, Services, SourceSpec, Start},
    control::{Actor, Controls, RewindPlan, RewindTo},
    order::Gaps,
    report::{Phase, WorkerReport},
    rows::{REPORTS, Rows},
    settings::Settings,
    upcast::OnNewerSchema,
    worker::{Assembly, Outcome, Until, Worker},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::around::{Around, Aspect};
use crate::memory::leases::MemoryLeases;
use crate::projectors::{Kind, TYPE, Totals, Toy};

/// A clock that moves a millisecond with each look.
#[derive(Default)]
pub struct StepClock(AtomicU64);

impl StepClock {
    pub fn passes(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Atomic::Relaxed);
    }
}

impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        let millis = self.0.fetch_add(1, Atomic::Relaxed);
        Timestamp::from_millis(1_700_000_000_000 + i64::try_from(millis).unwrap_or(0))
    }
}

/// Ids that count.
#[derive(Default)]
pub struct CountedIds(AtomicU64);

impl Ids for CountedIds {
    fn unique(&self) -> String {
        format!("id-{}", self.0.fetch_add(1, Atomic::Relaxed))
    }
}

/// Reads the embedded log's records, which are envelopes.
pub struct Envelopes;

impl Decoder for Envelopes {
    fn decode(&self, record: &Record, reads: &dyn PayloadReads) -> Result<Option<Event>> {
        Event::read_envelope(&record.data, reads).map(Some)
    }
}

pub struct Bed {
    pub folder: tempfile::TempDir,
    pub store: LocalStore,
    pub log: LocalLog,
    pub clock: Arc<StepClock>,
    pub ids: Arc<CountedIds>,
    pub settings: Settings,
    pub counted: Arc<Counted>,
}

impl Bed {
    /// A bed whose log is filled by the relay alone.
    pub async fn new(shards: u32) -> Self {
        Self::open(shards, true).await
    }

    /// A bed whose log takes records past the event store, as from a transport: clocks move its merges.
    pub async fn with_transport(shards: u32) -> Self {
        Self::open(shards, false).await
    }

    /// A bed over the data of another one, for another process.
    pub async fn beside(data: &Path) -> Self {
        let own = tempfile::tempdir().expect("a temporary folder");
        Self::over(data, own, 1, true).await
    }

    async fn open(shards: u32, recorded_in_order: bool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().to_owned();
        Self::over(&data, folder, shards, recorded_in_order).await
    }

    async fn over(data: &Path, folder: tempfile::TempDir, shards: u32, recorded_in_order: bool) -> Self {
        let clock = Arc::new(StepClock::default());
        let ids = Arc::<CountedIds>::default();
        let store = open_store(data, &clock, &ids);
        let options = LogOptions { shards, retention: None, recorded_in_order };
        let log = store.log("events", options).await.expect("a log");
        let settings = Settings {
            flush_interval: Duration::from_millis(1),
            checkpoint_interval: Duration::from_millis(20),
            poll_interval: Duration::from_millis(20),
            control_interval: Duration::from_millis(30),
            gap_patience: Duration::from_millis(50),
            trim_interval: Duration::from_millis(20),
            ..Settings::default()
        };
        Self { folder, store, log, clock, ids, settings, counted: Arc::default() }
    }

    /// Appends events `{"n": n}` to a stream.
    pub async fn append(&self, stream: &str, numbers: &[i64]) {
        let events = numbers.iter().map(|n| self.event(*n)).collect();
        let append = Append { stream: StreamId::new(stream), expected: ExpectedSequence::Any, events };
        let appended = self.store.events().append(vec![append]).await.expect("an append");
        assert!(matches!(appended, Appended::Done(_)));
    }

    pub fn event(&self, n: i64) -> NewEvent {
        let now = self.clock.now();
        NewEvent {
            id: EventId::new(self.ids.unique()),
            event_type: EventType::new(TYPE),
            schema_version: SchemaVersion(1),
            recorded_at: now,
            effective_at: now,
            payload: Bytes::from(format!("{{\"n\":{n}}}")),
            metadata: Bytes::new(),
        }
    }

    /// Moves everything from the event store into the log.
    pub async fn relay(&self) {
        let relay = self.store.relay(&self.log);
        while relay.run_once(1_000).await.expect("a relay") > 0 {}
    }

    /// Puts one event into the log as a transport would, past the event store.
    pub async fn put(&self, stream: &str, sequence: u64, n: i64) {
        let event = Event {
            stream_id: StreamId::new(stream),
            sequence: Sequence(sequence),
            id: EventId::new(format!("{stream}-{sequence}-{n}")),
            event_type: EventType::new(TYPE),
            schema_version: SchemaVersion(1),
            recorded_at: self.clock.now(),
            effective_at: self.clock.now(),
            payload: foldstream_model::Payload::new(Bytes::from(format!("{{\"n\":{n}}}"))),
            metadata: foldstream_model::Payload::default(),
        };
        self.put_raw(stream, &event.to_envelope().expect("an envelope")).await;
    }

    pub async fn put_raw(&self, key: &str, data: &[u8]) {
        let record = NewRecord {
            partition_key: key.into(),
            explicit_hash_key: None,
            data: Bytes::copy_from_slice(data),
        };
        self.log.put(vec![record]).await.expect("a put");
    }

    /// The log keeps nothing any more that arrived before an instant.
    pub async fn trim_before(&self, instant: Timestamp) {
        const DAY: Duration = Duration::from_secs(86_400);
        let options = LogOptions { shards: 1, retention: Some(DAY), recorded_in_order: false };
        let log = self.store.log("events", options).await.expect("the log, kept for a day");
        log.trim(instant.plus_micros(86_400_000_000)).await.expect("a trim");
    }

    /// Rewinds a projection of version 1, and says what was planned.
    pub async fn rewind(&self, name: &str, to: &RewindTo, rebuild: bool) -> Result<RewindPlan> {
        let (controls, id) = (Controls::new(Rows::new(self.store.checkpoints())), ProjectionId::new(name, 1));
        let plan = controls.plan_rewind(&id, &*self.log.source(), to).await?;
        let actor = Actor { who: "tester".into(), reason: None, at: Timestamp::from_seconds(1) };
        controls.rewind(&id, &plan, rebuild, &actor).await?;
        Ok(plan)
    }

    pub fn source(&self) -> SourceSpec {
        SourceSpec {
            name: SourceName::new("events"),
            source: Arc::new(CountedSource { source: self.log.source(), counted: self.counted.clone() }),
            decoder: Arc::new(Envelopes),
            upcasters: Vec::new(),
            events: Some(self.store.events()),
            first: Sequence(1),
            gaps: Gaps::Refuse,
            start: Start::TrimHorizon,
            redacts: false,
            on_newer_schema: OnNewerSchema::Wait,
            types: None,
        }
    }

    pub fn projection(&self, name: &str, ordering: Ordering, kind: Kind) -> ProjectionSpec {
        let reducer = (kind == Kind::SumOfStates)
            .then(|| NamedReducer { name: "totals".into(), reducer: Totals::new() });
        ProjectionSpec {
            id: ProjectionId::new(name, 1),
            source: SourceName::new("events"),
            ordering,
            projector: Toy::new(kind),
            reducer,
            known_types: None,
            on_failure: OnFailure::Stop,
            documents: self.store.documents(),
            definition: format!("{kind:?}"),
            fingerprint: Fingerprint(format!("{kind:?}")),
            allowed_lateness: Duration::ZERO,
        }
    }

    pub fn services(&self) -> Services {
        Services {
            checkpoints: self.store.checkpoints(),
            leases: alone(),
            parking: self.store.parking(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        }
    }

    pub fn worker(&self, sources: Vec<SourceSpec>, projections: Vec<ProjectionSpec>) -> Worker {
        self.worker_with(self.services(), sources, projections)
    }

    /// A worker whose checkpoint store has something around it.
    pub fn worker_around(
        &self,
        aspect: impl Aspect,
        source: SourceSpec,
        projections: Vec<ProjectionSpec>,
    ) -> Worker {
        let checkpoints = Arc::new(Around { inner: self.store.checkpoints(), aspect });
        let services = Services { checkpoints, ..self.services() };
        self.worker_with(services, vec![source], projections)
    }

    fn worker_with(
        &self,
        services: Services,
        sources: Vec<SourceSpec>,
        projections: Vec<ProjectionSpec>,
    ) -> Worker {
        let settings = self.settings.clone();
        Worker::new(Assembly { services, sources, projections, settings, dead: BTreeSet::new(), process: 0 })
    }

    pub async fn catch_up(&self, projections: Vec<ProjectionSpec>) -> Result<Outcome> {
        self.catch_up_from(self.source(), projections).await
    }

    pub async fn catch_up_from(
        &self,
        source: SourceSpec,
        projections: Vec<ProjectionSpec>,
    ) -> Result<Outcome> {
        let (_complete, complete) = watch::channel(true);
        let worker = self.worker(vec![source], projections);
        let run = worker.run(Until::CaughtUp(complete), CancellationToken::new());
        match tokio::time::timeout(Duration::from_secs(120), run).await {
            Ok(outcome) => outcome,
            Err(_) => panic!("not caught up after two minutes"),
        }
    }

    /// Until the worker says that a projection is in this phase in every shard.
    pub async fn is_said_to_be(&self, name: &str, phase: Phase) {
        let rows = Rows::new(self.store.checkpoints());
        loop {
            let reports = rows.all::<WorkerReport>(Table::Reports, REPORTS).await.expect("reports");
            let said = reports.iter().flat_map(|(_, report)| &report.body.projections);
            let of_it: Vec<_> = said.filter(|said| said.projection.name.as_str() == name).collect();
            if !of_it.is_empty() && of_it.iter().all(|said| said.phase == phase) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All documents of a projection, as canonical JSON.
    pub async fn documents(&self, name: &str) -> BTreeMap<String, String> {
        let model = ProjectionId::new(name, 1);
        let documents = self.store.documents();
        let mut all = BTreeMap::new();
        let mut after = None;
        loop {
            let page = documents.list(&model, after.as_ref(), 500).await.expect("documents");
            let Some((last, _)) = page.last() else { return all };
            after = Some(last.clone());
            for (key, stored) in page {
                let document = stored.document.expect("a live document");
                all.insert(key.to_string(), document.to_canonical_json());
            }
        }
    }
}

/// Leases of a fleet of one: nobody else's are in its way.
pub fn alone() -> Arc<dyn LeaseStore> {
    Arc::<MemoryLeases>::default()
}

pub fn open_store(folder: &Path, clock: &Arc<StepClock>, ids: &Arc<CountedIds>) -> LocalStore {
    let options = OpenOptions { create: true, read_only: false };
    LocalStore::open(folder, clock.clone(), ids.clone(), options).expect("a store")
}

/// How often each record was read.
#[derive(Default)]
pub struct Counted(Mutex<BTreeMap<(ShardId, Position), usize>>);

impl Counted {
    /// The most often that one record was read, and how many reads of records there were.
    pub fn most(&self) -> (usize, usize) {
        let counts = self.0.lock().expect("counts");
        (counts.values().copied().max().unwrap_or(0), counts.values().sum())
    }

    pub fn forget(&self) {
        self.0.lock().expect("counts").clear();
    }
}

struct CountedSource {
    source: Arc<dyn Source>,
    counted: Arc<Counted>,
}

struct CountedReader {
    shard: ShardId,
    reader: Box<dyn ShardReader>,
    counted: Arc<Counted>,
}

#[async_trait]
impl Source for CountedSource {
    async fn describe(&self) -> Result<SourceDescription> {
        self.source.describe().await
    }

    async fn shards(&self) -> Result<Vec<Shard>> {
        self.source.shards().await
    }

    async fn open(&self, shard: &ShardId, from: From) -> Result<Box<dyn ShardReader>> {
        let reader = self.source.open(shard, from).await?;
        Ok(Box::new(CountedReader { shard: shard.clone(), reader, counted: self.counted.clone() }))
    }

    fn hash_key(&self, partition_key: &str) -> u128 {
        self.source.hash_key(partition_key)
    }
}

#[async_trait]
impl ShardReader for CountedReader {
    async fn read(&mut self, limit: ReadLimit) -> Result<Batch> {
        let batch = self.reader.read(limit).await?;
        let mut counts = self.counted.0.lock().expect("counts");
        for record in &batch.records {
            *counts.entry((self.shard.clone(), record.position.clone())).or_default() += 1;
        }
        drop(counts);
        Ok(batch)
    }

    fn position(&self) -> Position {
        self.reader.position()
    }
}
