//! The worker: runs the line of every source and projection it was given, until it is told to stop or is caught up.
//!
//! It runs in sessions. A session knows its projections' generations and epochs; when an operator changes one of them,
//! everything is drained, and a new session begins from the checkpoints.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use foldstream_model::{
    Clock, Control, Error, Ordering, ProjectionId, Result, ShardId, Timestamp,
    ports::{EventStore, Table},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    assembly::{ProjectionSpec, Services, SourceSpec},
    budget::Budget,
    control::{Controls, Registration},
    decode::Intake,
    lanes::{Lane, LaneOptions},
    merge::Merge,
    merging::{self, MergeTask},
    patient::Patient,
    report::{Registry, StopReport, WorkerReport},
    retry::{self, Backoff},
    rows::{self, Rows},
    settings::Settings,
    source::{Registered, SourceEnd, SourceTask},
    subscription::Active,
    tasks::Tasks,
    write::{self, LaneTask, Lanes, Outlet},
};

/// How often it is asked whether everything is caught up.
const CAUGHT_UP_INTERVAL: Duration = Duration::from_millis(20);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Everything a worker runs.
#[derive(Clone)]
pub struct Assembly {
    pub services: Services,
    pub sources: Vec<SourceSpec>,
    pub projections: Vec<ProjectionSpec>,
    pub settings: Settings,
    /// The process, for its report.
    pub process: u32,
}

/// Until when a worker runs.
#[derive(Clone)]
pub enum Until {
    /// Until it is told to stop.
    Stopped,
    /// Until every projection is level with the end of its source, as it is once this says true: whoever fills the
    /// sources says so when everything is in them.
    CaughtUp(watch::Receiver<bool>),
}

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Every projection that was not stopped is level with its source.
    pub caught_up: bool,
    pub stops: Vec<StopReport>,
    /// Gaps that wait for a missing event, by shard.
    pub gaps: BTreeMap<ShardId, usize>,
    pub paused: Vec<ProjectionId>,
}

pub struct Worker {
    assembly: Assembly,
    rows: Rows,
    name: String,
    started_at: Timestamp,
    ready: watch::Sender<bool>,
}

enum SessionEnd {
    Over(Outcome),
    /// An operator has changed something.
    Changed,
    Fenced(Error),
}

/// Why a session drains.
enum Reason {
    Stopped,
    CaughtUp,
    Changed,
    Fenced(Error),
}

impl Worker {
    pub fn new(assembly: Assembly) -> Self {
        let assembly = patient(assembly);
        let rows = Rows::new(assembly.services.checkpoints.clone());
        let name = assembly.services.ids.unique();
        let started_at = assembly.services.clock.now();
        Self { assembly, rows, name, started_at, ready: watch::Sender::new(false) }
    }

    /// True as soon as the shards are being read.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Runs until `stop` is cancelled, which drains, saves and returns, or until `until` says so. `Invalid`: what is
    /// stored and what was configured do not fit.
    pub async fn run(&self, until: Until, stop: CancellationToken) -> Result<Outcome> {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Outcome::default()),
            begun = self.begin() => begun?,
        }
        let mut registry = Arc::default();
        let ended = self.sessions(until, &stop, &mut registry).await;
        self.report(&registry, true).await;
        ended
    }

    /// One session after the other; `registry` is that of the last one.
    async fn sessions(
        &self,
        until: Until,
        stop: &CancellationToken,
        registry: &mut Arc<Registry>,
    ) -> Result<Outcome> {
        let mut backoff = Backoff::new();
        loop {
            let began = Instant::now();
            *registry = Arc::default();
            match self.session(until.clone(), stop, registry).await? {
                SessionEnd::Over(outcome) => return Ok(outcome),
                SessionEnd::Changed => tracing::info!("starting again from the checkpoints"),
                SessionEnd::Fenced(error) => {
                    if began.elapsed() > retry::LONGEST_PAUSE {
                        backoff = Backoff::new();
                    }
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return Ok(Outcome::default()),
                        () = backoff.pause(&error, "a session") => {}
                    }
                }
            }
        }
    }

    async fn begin(&self) -> Result<()> {
        self.check_definitions().await?;
        // One worker runs at a time; what those before it said of themselves is over.
        self.rows.clear(Table::Reports, rows::REPORTS).await
    }

    async fn check_definitions(&self) -> Result<()> {
        let controls = Controls::new(self.rows.clone());
        for spec in &self.assembly.projections {
            let at = self.assembly.services.clock.now();
            if let Registration::Differs(_) = controls.register(spec, at).await? {
                return Err(Error::invalid(format!(
                    "projection={}: its definition was changed under the same version; raise the version, and a new read model is built beside the old one",
                    spec.id
                )));
            }
        }
        Ok(())
    }

    async fn controls(&self) -> Result<BTreeMap<ProjectionId, Control>> {
        let controls = Controls::new(self.rows.clone()).list().await?;
        let ours = |id: &ProjectionId| self.assembly.projections.iter().any(|spec| spec.id == *id);
        Ok(controls.into_iter().filter(|(id, _)| ours(id)).collect())
    }

    async fn session(
        &self,
        until: Until,
        stop: &CancellationToken,
        registry: &Arc<Registry>,
    ) -> Result<SessionEnd> {
        let controls = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(SessionEnd::Over(Outcome::default())),
            controls = self.controls() => controls?,
        };
        let cancel = CancellationToken::new();
        let mut session = Session {
            lanes: Tasks::new(),
            sources: Tasks::new(),
            ends: Arc::default(),
            registry: registry.clone(),
            drain: CancellationToken::new(),
            hurry: CancellationToken::new(),
            cancel: cancel.clone(),
        };
        let registered = self.start_projections(&controls, &mut session);
        self.start_sources(&registered, &mut session);
        self.ready.send_replace(true);
        let ended = self.watch(&mut session, until, stop, &controls).await;
        let gaps = registry.gaps();
        session.drain.cancel();
        let ended = match ended {
            Err(error) => Err(error),
            Ok(reason) => session.drained(self.assembly.settings.patience).await.map(|()| reason),
        };
        cancel.cancel();
        let lanes = session.lanes.finish().await;
        let reason = ended?;
        lanes?;
        let caught_up = match reason {
            Reason::Changed => return Ok(SessionEnd::Changed),
            Reason::Fenced(error) => return Ok(SessionEnd::Fenced(error)),
            Reason::CaughtUp => true,
            Reason::Stopped => false,
        };
        let paused =
            controls.iter().filter(|(_, control)| control.paused).map(|(id, _)| id.clone()).collect();
        Ok(SessionEnd::Over(Outcome { caught_up, stops: registry.stops(), gaps, paused }))
    }

    fn start_projections(
        &self,
        controls: &BTreeMap<ProjectionId, Control>,
        session: &mut Session,
    ) -> Vec<Registered> {
        let mut registered = Vec::new();
        for spec in &self.assembly.projections {
            let Some(control) = controls.get(&spec.id).filter(|control| !control.paused) else { continue };
            if let Some(active) = self.start_projection(spec, control, session) {
                registered.push(Registered { active, control: control.clone() });
            }
        }
        registered
    }

    /// The projection's lanes, and its merge if it has one.
    fn start_projection(
        &self,
        spec: &ProjectionSpec,
        control: &Control,
        session: &mut Session,
    ) -> Option<Arc<Active>> {
        let settings = Arc::new(self.assembly.settings.clone());
        let number = settings.lanes.max(1);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..number).map(|_| mpsc::channel(write::LANE_QUEUE)).unzip();
        let lanes = Lanes::new(senders)?;
        let outlet = match spec.ordering {
            Ordering::PerStream | Ordering::Commutative => Outlet::Lanes(lanes),
            Ordering::Global => {
                let (inputs, receiver) = mpsc::channel(merging::MERGE_QUEUE);
                let count = lanes.number();
                let merge = Merge::new(spec.allowed_lateness);
                let task = MergeTask { merge, lanes, inputs: receiver, exemptions: BTreeMap::new() };
                session.lanes.start(format!("merge of {}", spec.id), task.run(session.cancel.clone()));
                Outlet::Merge { inputs, lanes: count }
            }
        };
        let (generation, epoch) = (control.generation, control.epoch);
        let active = Arc::new(Active {
            spec: spec.clone(),
            generation,
            epoch,
            outlet,
            drain: session.drain.child_token(),
        });
        let options =
            LaneOptions { ordering: spec.ordering, epoch, cache_bytes: settings.cache_bytes / number };
        for (index, inputs) in receivers.into_iter().enumerate() {
            let task = LaneTask {
                lane: Lane::new(options),
                projection: active.spec.clone(),
                inputs,
                settings: settings.clone(),
                rows: self.rows.clone(),
                clock: self.assembly.services.clock.clone(),
            };
            session.lanes.start(format!("lane {index} of {}", spec.id), task.run(session.cancel.clone()));
        }
        Some(active)
    }

    fn start_sources(&self, registered: &[Registered], session: &mut Session) {
        let budget = Budget::new(self.assembly.settings.bytes_in_flight);
        for spec in &self.assembly.sources {
            let reads = |known: &&Registered| known.active.spec.source == spec.name;
            let projections: Vec<Registered> = registered.iter().filter(reads).cloned().collect();
            if projections.is_empty() {
                continue;
            }
            let specs: Vec<ProjectionSpec> =
                projections.iter().map(|known| known.active.spec.clone()).collect();
            let task = SourceTask {
                spec: spec.clone(),
                intake: Arc::new(Intake::new(spec, &specs)),
                projections,
                services: self.assembly.services.clone(),
                settings: Arc::new(self.assembly.settings.clone()),
                budget: budget.clone(),
                registry: session.registry.clone(),
                drain: session.drain.clone(),
                hurry: session.hurry.clone(),
            };
            let (ends, busy) = (session.ends.clone(), session.registry.busy());
            session.sources.start(format!("source {}", spec.name), async move {
                let end = task.run(busy).await?;
                ends.lock().unwrap_or_else(PoisonError::into_inner).push(end);
                Ok(())
            });
        }
    }

    /// Waits for a reason to drain.
    async fn watch(
        &self,
        session: &mut Session,
        until: Until,
        stop: &CancellationToken,
        controls: &BTreeMap<ProjectionId, Control>,
    ) -> Result<Reason> {
        let mut control =
            tokio::time::interval(self.assembly.settings.control_interval.max(CAUGHT_UP_INTERVAL));
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        let mut caught_up =
            std::pin::pin!(caught_up(until, session.registry.clone(), self.assembly.services.clock.clone()));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Reason::Stopped),
                Some((name, ended)) = session.lanes.next(), if !session.lanes.is_empty() => {
                    ended.map_err(|error| error.context(name))?;
                }
                Some((name, ended)) = session.sources.next(), if !session.sources.is_empty() => {
                    ended.map_err(|error| error.context(name))?;
                    if let Some(error) = session.fenced() {
                        return Ok(Reason::Fenced(error));
                    }
                }
                () = &mut caught_up => return Ok(Reason::CaughtUp),
                _ = control.tick() => {
                    let found = tokio::select! {
                        biased;
                        () = stop.cancelled() => return Ok(Reason::Stopped),
                        found = self.controls() => found?,
                    };
                    if found != *controls {
                        return Ok(Reason::Changed);
                    }
                }
                _ = report.tick() => self.report(&session.registry, false).await,
            }
        }
    }

    /// A report that cannot be written is not worth stopping for, nor waiting for.
    async fn report(&self, registry: &Registry, ended: bool) {
        if tokio::time::timeout(REPORT_INTERVAL, self.write_report(registry, ended)).await.is_err() {
            tracing::warn!("what `status` shows could not be written in time");
        }
    }

    async fn write_report(&self, registry: &Registry, ended: bool) {
        let now = self.assembly.services.clock.now();
        let (shards, projections) = registry.report(now);
        let report = WorkerReport {
            worker: self.name.clone(),
            process: self.assembly.process,
            started_at: self.started_at,
            written_at: now,
            ended,
            shards,
            projections,
        };
        let key = rows::report_key(&self.name);
        let written = async {
            let stored = self.rows.store().get(&key).await?;
            self.rows.put(&key, stored.map(|row| row.revision), &report).await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, "what `status` shows could not be written");
        }
    }
}

/// The same assembly, with reads that are tried again.
fn patient(mut assembly: Assembly) -> Assembly {
    assembly.services.checkpoints = Arc::new(Patient(assembly.services.checkpoints));
    for source in &mut assembly.sources {
        source.source = Arc::new(Patient(source.source.clone()));
        source.events = source.events.take().map(|events| Arc::new(Patient(events)) as Arc<dyn EventStore>);
    }
    assembly
}

/// The tasks of one session.
struct Session {
    lanes: Tasks,
    sources: Tasks,
    ends: Arc<Mutex<Vec<SourceEnd>>>,
    registry: Arc<Registry>,
    /// Stops reading; what was delivered settles.
    drain: CancellationToken,
    /// The drain has lasted: what has settled is saved, and nothing else is waited for.
    hurry: CancellationToken,
    /// Ends lanes and merges.
    cancel: CancellationToken,
}

impl Session {
    /// Waits until everything that was delivered is settled and saved. One half of the patience is for settling, the
    /// other for saving; what then still hangs is left, and done again by the next start.
    async fn drained(&mut self, patience: Duration) -> Result<()> {
        let mut finished = std::pin::pin!(self.sources.finish());
        if let Ok(ended) = tokio::time::timeout(patience / 2, &mut finished).await {
            return ended;
        }
        self.hurry.cancel();
        if let Ok(ended) = tokio::time::timeout(patience / 2, &mut finished).await {
            return ended;
        }
        tracing::warn!("something still hangs; what is not saved will be done again");
        Ok(())
    }

    fn fenced(&self) -> Option<Error> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().find_map(|end| match end {
            SourceEnd::Fenced(error) => Some(error.clone()),
            SourceEnd::Done => None,
        })
    }
}

/// Returns once everything that was in the sources when they were complete is settled; never under [`Until::Stopped`].
async fn caught_up(until: Until, registry: Arc<Registry>, clock: Arc<dyn Clock>) {
    let Until::CaughtUp(mut complete) = until else { return std::future::pending().await };
    if complete.wait_for(|complete| *complete).await.is_err() {
        // Whoever fills the sources has failed, and says so itself.
        return std::future::pending().await;
    }
    let since = clock.now();
    let mut interval = tokio::time::interval(CAUGHT_UP_INTERVAL);
    loop {
        interval.tick().await;
        if registry.is_caught_up(since) {
            return;
        }
    }
}
