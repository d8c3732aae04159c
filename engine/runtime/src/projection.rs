//! One projection of a worker: its lanes and its merge, from each start to the next stop. It follows what operators
//! decide about it, whatever becomes of the others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use foldstream_model::{
    Clock, Control, Error, LeaseKey, Lot, Ordering, ProjectionId, Result, ports::ParkingLot,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    assembly::ProjectionSpec,
    board::{Board, Reader},
    lanes::{Lane, LaneMode, LaneOptions},
    leases::Holding,
    leasing::{Claims, Told},
    merge::Merge,
    merging::{self, MergeTask},
    report::{Busy, Registry},
    retry::{self, Backoff},
    rows::Rows,
    settings::Settings,
    source::{Message, Registered},
    subscription::Active,
    tasks::Tasks,
    trying::Trials,
    write::{self, Aside, LaneTask, Lanes, Outlet},
};

/// What is registered of the projections that a worker runs.
pub type KnownControls = BTreeMap<ProjectionId, Control>;

/// How a projection reaches the owner of its source.
pub struct SourceDoor {
    /// Says whether this worker has the projection's merge.
    pub claims: Claims,
    pub messages: mpsc::Sender<Message>,
    pub departures: Board<()>,
}

/// What all projections of a worker share.
#[derive(Clone)]
pub struct Surroundings {
    pub settings: Arc<Settings>,
    pub rows: Rows,
    pub parking: Arc<dyn ParkingLot>,
    pub clock: Arc<dyn Clock>,
    pub trials: Arc<Trials>,
    pub registry: Arc<Registry>,
    /// As it was last looked up.
    pub controls: Reader<KnownControls>,
    /// Stops reading; what was delivered settles.
    pub drain: CancellationToken,
    /// The drain has lasted: what has settled is saved, and nothing else is waited for.
    pub hurry: CancellationToken,
    /// Ends lanes and merges.
    pub cancel: CancellationToken,
}

pub struct ProjectionTask {
    spec: ProjectionSpec,
    source: SourceDoor,
    around: Surroundings,
    running: Option<Running>,
    backoff: Backoff,
}

/// From a start to the next stop.
struct Running {
    control: Control,
    active: Arc<Active>,
    /// Its lanes, and its merge if it has one.
    tasks: Tasks,
    cancel: CancellationToken,
    fenced: mpsc::Receiver<(Error, Busy)>,
    began: Instant,
}

impl ProjectionTask {
    pub fn new(spec: ProjectionSpec, source: SourceDoor, around: Surroundings) -> Self {
        Self { spec, source, around, running: None, backoff: Backoff::new() }
    }

    /// Runs until cancelled; once the worker drains, nothing begins any more. An error is the worker's.
    pub async fn run(mut self) -> Result<()> {
        loop {
            tokio::select! {
                biased;
                () = self.around.cancel.cancelled() => return self.end().await,
                fenced = fenced(&mut self.running) => {
                    let (error, busy) = fenced?;
                    self.start_again(&error, busy).await?;
                }
                () = self.around.controls.changed() => self.follow().await?,
                () = self.source.claims.held.changed() => self.follow().await?,
            }
        }
    }

    /// Starts, stops, or starts again, when what is registered says so, or its merge comes or goes.
    pub async fn follow(&mut self) -> Result<()> {
        let held = self.source.claims.look();
        let runs = self.running.as_ref().map(|running| &running.control);
        if !self.around.drain.is_cancelled() && runs != self.wanted().as_ref() {
            let busy = self.around.registry.busy();
            self.stop().await?;
            self.begin(busy).await?;
        }
        let merge = LeaseKey::Merge(self.spec.id.clone());
        if let Some(Holding::PassOn(offer)) = held.get(&merge)
            && self.running.is_none()
        {
            self.source.claims.tell(Told::Drained(merge, offer)).await;
        }
        self.source.claims.follows(&held).await;
        Ok(())
    }

    /// Another generation or epoch has taken over; which one is seen by the next look.
    async fn start_again(&mut self, error: &Error, busy: Busy) -> Result<()> {
        let began = self.running.as_ref().map(|running| running.began);
        if began.is_some_and(|began| began.elapsed() > retry::LONGEST_PAUSE) {
            self.backoff = Backoff::new();
        }
        drop(self.around.controls.see());
        self.stop().await?;
        let look = async {
            self.backoff.pause(error, self.spec.id.name.as_str()).await;
            self.around.controls.changed().await;
        };
        tokio::select! {
            biased;
            () = self.around.drain.cancelled() => {}
            () = self.around.cancel.cancelled() => {}
            () = look => self.begin(busy).await?,
        }
        Ok(())
    }

    fn wanted(&self) -> Option<Control> {
        let known = self.around.controls.look();
        let is_ours = |control: &&Control| !control.paused && control.fingerprint == self.spec.fingerprint;
        let control = known.get(&self.spec.id).filter(is_ours)?;
        let merge = LeaseKey::Merge(self.spec.id.clone());
        let held = || self.source.claims.held.look().get(&merge) == Some(Holding::Work);
        (self.spec.ordering != Ordering::Global || held()).then(|| control.clone())
    }

    /// Starts what is registered now, unless it is paused, or this process has an older definition of it. `busy` is dropped once it has its lines.
    async fn begin(&mut self, busy: Busy) -> Result<()> {
        let Some(control) = self.wanted() else {
            self.say_outdated();
            return Ok(());
        };
        let running = self.started(control.clone())?;
        tracing::info!(projection = %self.spec.id, generation = control.generation.0, "starting from the checkpoints");
        let registered = Registered { active: running.active.clone(), control };
        self.running = Some(running);
        // A source that is gone has failed, and the worker is stopping.
        let _ = self.source.messages.send(Message::Start(registered, busy)).await;
        Ok(())
    }

    fn say_outdated(&self) {
        let known = self.around.controls.look();
        if known.get(&self.spec.id).is_some_and(|control| control.fingerprint != self.spec.fingerprint) {
            tracing::warn!(projection = %self.spec.id, "its definition was changed: this process has the older one, and leaves it to processes that have the new one");
        }
    }

    /// The projection's lanes, and its merge if it has one.
    fn started(&self, control: Control) -> Result<Running> {
        let number = self.around.settings.lanes.max(1);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..number).map(|_| mpsc::channel(write::LANE_QUEUE)).unzip();
        let Some(lanes) = Lanes::new(senders) else { return Err(Error::internal("no lanes")) };
        let (cancel, mut tasks) = (CancellationToken::new(), Tasks::new());
        let outlet = match self.spec.ordering {
            Ordering::PerStream | Ordering::Commutative => Outlet::Lanes(lanes),
            Ordering::Global => {
                let (inputs, receiver) = mpsc::channel(merging::MERGE_QUEUE);
                let count = lanes.number();
                let merge = Merge::new(self.spec.allowed_lateness);
                let task = MergeTask { merge, lanes, inputs: receiver, exemptions: BTreeMap::new() };
                tasks.start("merge", task.run(cancel.clone()));
                Outlet::Merge { inputs, lanes: count }
            }
        };
        let cache_bytes = self.around.settings.cache_bytes / number;
        let (ordering, epoch) = (self.spec.ordering, control.epoch);
        let options =
            LaneOptions { ordering, epoch, mode: LaneMode::Live(self.spec.on_failure), cache_bytes };
        let aside = Aside {
            parking: self.around.parking.clone(),
            lot: Lot::of_documents(&self.spec.id, epoch),
            ordering,
            limit: self.around.settings.parked_events,
        };
        for (index, inputs) in receivers.into_iter().enumerate() {
            let task = LaneTask {
                lane: Lane::new(options),
                projection: self.spec.clone(),
                inputs,
                settings: self.around.settings.clone(),
                aside: aside.clone(),
                rows: self.around.rows.clone(),
                clock: self.around.clock.clone(),
                trials: self.around.trials.clone(),
            };
            tasks.start(format!("lane {index}"), task.run(cancel.clone()));
        }
        let (told, fenced) = mpsc::channel(1);
        let active = Arc::new(Active {
            spec: self.spec.clone(),
            streams_lot: Lot::of_streams(&self.spec.id, epoch),
            outlet,
            drain: self.around.drain.child_token(),
            hurry: self.around.hurry.child_token(),
            departures: self.source.departures.clone(),
            fenced: told,
        });
        Ok(Running { control, active, tasks, cancel, fenced, began: Instant::now() })
    }

    /// Leaves every shard, settled and saved, then ends the lanes and the merge.
    async fn stop(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        tracing::info!(projection = %self.spec.id, "leaving all shards");
        running.active.leave();
        let (left, has_left) = oneshot::channel();
        let stop = Message::Stop { projection: self.spec.id.clone(), left };
        // A source that is gone holds nothing of it.
        let _ = self.source.messages.send(stop).await;
        let patience = self.around.settings.patience;
        tokio::select! {
            biased;
            () = self.around.cancel.cancelled() => {}
            failed = failure(&mut running.tasks) => return Err(failed),
            () = settled(&running.active, has_left, patience / 2) => {}
        }
        running.end().await
    }

    async fn end(&mut self) -> Result<()> {
        match self.running.take() {
            Some(running) => running.end().await,
            None => Ok(()),
        }
    }
}

/// Returns when it has left everywhere. In a hurry only what has settled is saved; a line that hangs even so is waited
/// for, as it could hand something to lanes that are no more.
async fn settled(active: &Active, mut left: oneshot::Receiver<()>, patience: Duration) {
    if tokio::time::timeout(patience, &mut left).await.is_err() {
        active.hurry_up();
        // A source that is gone holds nothing of it.
        let _ = left.await;
    }
}

/// That the projection was fenced, or how one of its tasks failed.
async fn fenced(running: &mut Option<Running>) -> Result<(Error, Busy)> {
    let Some(running) = running else { return std::future::pending().await };
    tokio::select! {
        biased;
        failed = failure(&mut running.tasks) => Err(failed),
        Some(fenced) = running.fenced.recv() => Ok(fenced),
        else => std::future::pending().await,
    }
}

/// How the first of these fails, if one does.
async fn failure(tasks: &mut Tasks) -> Error {
    while let Some((name, ended)) = tasks.next().await {
        if let Err(error) = ended {
            return error.context(name);
        }
    }
    std::future::pending().await
}

impl Running {
    async fn end(mut self) -> Result<()> {
        self.cancel.cancel();
        self.tasks.finish().await
    }
}
