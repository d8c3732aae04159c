//! The worker: runs the line of every source and projection it was given, until it is told to stop or is caught up.
//!
//! Sources and projections have a task each. What operators decide about a projection is looked up now and then, and
//! followed by its task alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    Clock, Control, Error, ProjectionId, Result, ShardId, SourceName, Timestamp, WorkerId,
    ports::{EventStore, Table},
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    assembly::{ProjectionSpec, Services, SourceSpec},
    board::Board,
    budget::Budget,
    control::{Controls, Registration},
    decode::Intake,
    keeping::Keeping,
    leasing::{Claims, Leasing},
    parking,
    patient::Patient,
    projection::{KnownControls, ProjectionTask, SourceDoor, Surroundings},
    report::{Registry, StopReport, WorkerReport},
    retry,
    rows::{self, Rows},
    settings::Settings,
    source::SourceTask,
    tasks::Tasks,
    trying::{TrialRow, Trials},
};

/// How often it is asked whether everything is caught up.
const CAUGHT_UP_INTERVAL: Duration = Duration::from_millis(20);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
const OLD_REPORT_MICROS: u64 = 3_600_000_000;

/// Everything a worker runs.
#[derive(Clone)]
pub struct Assembly {
    pub services: Services,
    pub sources: Vec<SourceSpec>,
    pub projections: Vec<ProjectionSpec>,
    pub settings: Settings,
    /// Workers that have ended without leaving, and left no lease by which that could be seen.
    pub dead: BTreeSet<WorkerId>,
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
    /// Those whose definition was changed meanwhile; this worker has the older one.
    pub outdated: Vec<ProjectionId>,
    /// How many events are parked, of those projections that have any; known of a run that is caught up.
    pub parked: BTreeMap<ProjectionId, u64>,
    /// How many records that could not be decoded wait, of those sources that have any; known of a run that is caught up.
    pub records: BTreeMap<SourceName, u64>,
}

pub struct Worker {
    assembly: Assembly,
    rows: Rows,
    name: String,
    started_at: Timestamp,
    trials: Arc<Trials>,
    ready: watch::Sender<bool>,
}

impl Worker {
    pub fn new(assembly: Assembly) -> Self {
        let assembly = patient(assembly);
        let rows = Rows::new(assembly.services.checkpoints.clone());
        let name = assembly.services.ids.unique();
        let clock = assembly.services.clock.clone();
        let (started_at, me) = (clock.now(), WorkerId::new(name.as_str()));
        let trials = Arc::new(Trials::new(rows.clone(), clock, me, assembly.settings.trial));
        Self { assembly, rows, name, started_at, trials, ready: watch::Sender::new(false) }
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
        let registry = Arc::default();
        let ended = self.work(until, &stop, &registry).await;
        self.report(&registry, true).await;
        self.in_time(self.trials.leave()).await;
        ended
    }

    async fn work(
        &self,
        until: Until,
        stop: &CancellationToken,
        registry: &Arc<Registry>,
    ) -> Result<Outcome> {
        let controls = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Outcome::default()),
            controls = self.controls() => controls?,
        };
        let mut running = self.start(controls, registry).await?;
        self.ready.send_replace(true);
        let watched = self.watch(&mut running, until, stop).await;
        let gaps = running.registry.gaps();
        let ended = match watched {
            Err(error) => {
                running.drain.cancel();
                Err(error)
            }
            Ok(caught_up) => running.drained(self.assembly.settings.patience).await.map(|()| caught_up),
        };
        running.cancel.cancel();
        let projections = running.projections.finish().await;
        let caught_up = ended?;
        projections?;
        let controls = running.controls.look().clone();
        let (parked, records) = match caught_up {
            true => (self.parked(&controls).await?, self.records().await?),
            false => (BTreeMap::new(), BTreeMap::new()),
        };
        let those = |of: &dyn Fn(&ProjectionId, &Control) -> bool| {
            controls.iter().filter(|(id, control)| of(id, control)).map(|(id, _)| id.clone()).collect()
        };
        let paused = those(&|_, control| control.paused);
        let outdated = those(&|id, control| {
            let ours = self.assembly.projections.iter().find(|spec| spec.id == *id);
            ours.is_some_and(|spec| spec.fingerprint != control.fingerprint)
        });
        Ok(Outcome { caught_up, stops: running.registry.stops(), gaps, paused, outdated, parked, records })
    }

    async fn parked(&self, controls: &KnownControls) -> Result<BTreeMap<ProjectionId, u64>> {
        let mut parked = BTreeMap::new();
        for (id, control) in controls {
            let lots = self.assembly.services.parking.as_ref();
            let total = parking::total(lots, id, control.epoch).await?;
            if total > 0 {
                parked.insert(id.clone(), total);
            }
        }
        Ok(parked)
    }

    async fn records(&self) -> Result<BTreeMap<SourceName, u64>> {
        let mut records = BTreeMap::new();
        for SourceSpec { name, .. } in &self.assembly.sources {
            let waiting = self.rows.records_that_wait(name).await?;
            if waiting > 0 {
                records.insert(name.clone(), waiting);
            }
        }
        Ok(records)
    }

    async fn begin(&self) -> Result<()> {
        self.check_definitions().await?;
        for worker in &self.assembly.dead {
            self.trials.inherit(worker).await?;
        }
        self.forget_old_reports().await
    }

    /// Workers that crashed do not take back what they last said of themselves.
    async fn forget_old_reports(&self) -> Result<()> {
        let now = self.assembly.services.clock.now();
        for (worker, report) in self.rows.all::<WorkerReport>(Table::Reports, rows::REPORTS).await? {
            if report.body.ended || now.micros_since(report.body.written_at) > OLD_REPORT_MICROS {
                self.rows.delete(&rows::report_key(&worker)).await?;
            }
        }
        for (worker, trial) in self.rows.all::<TrialRow>(Table::Reports, rows::TRIALS).await? {
            if now.micros_since(trial.body.at) > OLD_REPORT_MICROS {
                self.rows.delete(&rows::trial_key(&WorkerId::new(worker))).await?;
            }
        }
        Ok(())
    }

    async fn check_definitions(&self) -> Result<()> {
        let controls = Controls::new(self.rows.clone());
        for spec in &self.assembly.projections {
            let at = self.assembly.services.clock.now();
            let register = || controls.register(spec, at);
            let registered = retry::until_done("registering a projection", register).await?;
            if let Registration::Differs(_) = registered {
                return Err(Error::invalid(format!(
                    "projection={}: its definition was changed under the same version; raise the version, and a new read model is built beside the old one",
                    spec.id
                )));
            }
        }
        Ok(())
    }

    async fn controls(&self) -> Result<KnownControls> {
        let controls = Controls::new(self.rows.clone()).list().await?;
        let ours = |id: &ProjectionId| self.assembly.projections.iter().any(|spec| spec.id == *id);
        Ok(controls.into_iter().filter(|(id, _)| ours(id)).collect())
    }

    /// Every projection that is not paused has told its source to let it in before any source begins: those that stand
    /// level share one reading from the start.
    async fn start(&self, controls: KnownControls, registry: &Arc<Registry>) -> Result<Running> {
        let mut running = Running {
            leasings: Tasks::new(),
            projections: Tasks::new(),
            sources: Tasks::new(),
            registry: registry.clone(),
            leave: CancellationToken::new(),
            controls: Board::new(controls),
            drain: CancellationToken::new(),
            hurry: CancellationToken::new(),
            cancel: CancellationToken::new(),
        };
        let settings = Arc::new(self.assembly.settings.clone());
        let budget = Budget::new(settings.bytes_in_flight);
        let around = Surroundings {
            settings: settings.clone(),
            rows: self.rows.clone(),
            parking: self.assembly.services.parking.clone(),
            clock: self.assembly.services.clock.clone(),
            trials: self.trials.clone(),
            registry: running.registry.clone(),
            controls: running.controls.reader(),
            drain: running.drain.clone(),
            hurry: running.hurry.clone(),
            cancel: running.cancel.clone(),
        };
        for spec in &self.assembly.sources {
            let reads = |known: &&ProjectionSpec| known.source == spec.name;
            let projections: Vec<_> = self.assembly.projections.iter().filter(reads).cloned().collect();
            // Each has one message on its way at most.
            let (sender, messages) = mpsc::channel(projections.len().max(1));
            let departures = Board::new(());
            let intake = Arc::new(Intake::new(spec, &projections));
            let mut leasing = self.leasing(spec, registry);
            let claims = leasing.claims();
            for known in projections {
                let (messages, departures, claims) = (sender.clone(), departures.clone(), leasing.claims());
                let (name, door) = (known.id.to_string(), SourceDoor { messages, departures, claims });
                let mut task = ProjectionTask::new(known, door, around.clone());
                task.follow().await?;
                running.projections.start(format!("projection {name}"), task.run());
            }
            running.leasings.start(format!("leases of {}", spec.name), leasing.run(running.leave.clone()));
            self.start_keeping(&mut running, spec, &claims);
            let task = SourceTask {
                spec: spec.clone(),
                claims,
                messages,
                departures,
                intake,
                services: self.assembly.services.clone(),
                settings: settings.clone(),
                budget: budget.clone(),
                trials: self.trials.clone(),
                registry: running.registry.clone(),
                drain: running.drain.clone(),
                hurry: running.hurry.clone(),
            };
            running.sources.start(format!("source {}", spec.name), task.run());
        }
        Ok(running)
    }

    fn leasing(&self, spec: &SourceSpec, registry: &Arc<Registry>) -> Leasing {
        Leasing::new(
            WorkerId::new(self.name.as_str()),
            spec.name.clone(),
            self.assembly.services.leases.clone(),
            self.rows.clone(),
            &self.assembly.settings,
            self.trials.clone(),
            registry.clone(),
        )
    }

    fn start_keeping(&self, running: &mut Running, spec: &SourceSpec, claims: &Claims) {
        let keeping = Keeping::new(
            spec.name.clone(),
            spec.source.clone(),
            self.rows.clone(),
            self.assembly.services.clock.clone(),
            running.registry.clone(),
            claims.held.clone(),
        );
        let interval = self.assembly.settings.keeping_interval;
        let task = keeping.run(interval, running.drain.clone());
        running.sources.start(format!("retention of {}", spec.name), task);
    }

    /// Waits for a reason to drain: true if everything is caught up, false if it was told to stop.
    async fn watch(&self, running: &mut Running, until: Until, stop: &CancellationToken) -> Result<bool> {
        let mut control =
            tokio::time::interval(self.assembly.settings.control_interval.max(CAUGHT_UP_INTERVAL));
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        let mut caught_up =
            std::pin::pin!(caught_up(until, running.registry.clone(), self.assembly.services.clock.clone()));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(false),
                Some((name, ended)) = running.projections.next(), if !running.projections.is_empty() => {
                    ended.map_err(|error| error.context(name))?;
                }
                Some((name, ended)) = running.leasings.next(), if !running.leasings.is_empty() => {
                    ended.map_err(|error| error.context(name))?;
                }
                Some((name, ended)) = running.sources.next(), if !running.sources.is_empty() => {
                    ended.map_err(|error| error.context(name))?;
                }
                () = &mut caught_up => return Ok(true),
                _ = control.tick() => {
                    let found = tokio::select! {
                        biased;
                        () = stop.cancelled() => return Ok(false),
                        found = self.controls() => found?,
                    };
                    running.controls.put(found);
                }
                _ = report.tick() => {
                    self.report(&running.registry, false).await;
                    self.in_time(self.trials.look()).await;
                }
            }
        }
    }

    /// A report that cannot be written is not worth stopping for, nor waiting for.
    async fn report(&self, registry: &Registry, ended: bool) {
        if tokio::time::timeout(REPORT_INTERVAL, self.write_report(registry, ended)).await.is_err() {
            tracing::warn!("what `status` shows could not be written in time");
        }
    }

    /// Nor is a trial that cannot be ended: whoever finds it tries in vain.
    async fn in_time(&self, ended: impl Future<Output = Result<()>>) {
        match tokio::time::timeout(REPORT_INTERVAL, ended).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a trial could not be ended"),
            Err(_) => tracing::warn!("a trial could not be ended in time"),
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
            kept: registry.kept(),
            complete_until: registry.complete_until(),
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
    assembly.services.parking = Arc::new(Patient(assembly.services.parking));
    for source in &mut assembly.sources {
        source.source = Arc::new(Patient(source.source.clone()));
        source.events = source.events.take().map(|events| Arc::new(Patient(events)) as Arc<dyn EventStore>);
    }
    assembly
}

/// What a worker runs.
struct Running {
    leasings: Tasks,
    projections: Tasks,
    sources: Tasks,
    registry: Arc<Registry>,
    /// What operators decide, as it was last looked up.
    controls: Board<KnownControls>,
    /// Passes all work on to others; what was delivered settles.
    leave: CancellationToken,
    /// Stops reading; what was delivered settles.
    drain: CancellationToken,
    /// The drain has lasted: what has settled is saved, and nothing else is waited for.
    hurry: CancellationToken,
    /// Ends lanes and merges.
    cancel: CancellationToken,
}

impl Running {
    /// Waits until everything that was delivered is settled, saved and passed on. One half of the patience is for
    /// settling, the other for saving; what then still hangs is left, and done again by the next start.
    async fn drained(&mut self, patience: Duration) -> Result<()> {
        self.leave.cancel();
        let left = tokio::time::timeout(patience / 2, self.leasings.finish()).await;
        self.drain.cancel();
        let mut finished = std::pin::pin!(self.sources.finish());
        match left {
            Ok(ended) => ended?,
            Err(_) => self.hurry.cancel(),
        }
        if let Ok(ended) = tokio::time::timeout(patience / 2, &mut finished).await {
            return ended;
        }
        tracing::warn!("something still hangs; what is not saved will be done again");
        Ok(())
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
