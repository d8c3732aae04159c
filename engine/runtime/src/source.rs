//! A source's owner: which shards there are, and which projections may read which of them now. Projections come and go
//! one by one.

mod discovering;
mod entering;
mod claims;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    Checkpoint, Control, CutId, Error, Ordering, ProjectionId, Result, Shard, ShardId, ShardNumber, Stop,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

use crate::{
    assembly::{Services, SourceSpec},
    board::Board,
    budget::Budget,
    checkpoint::CheckpointHandle,
    decode::Intake,
    leasing::{Claims, Holdings},
    line::Left,
    lineage::Lineage,
    merging::MergeInput,
    metrics,
    report::{Busy, Registry},
    rows::Rows,
    settings::Settings,
    shard::{Entrants, Role, ShardEvent},
    subscription::Active,
    tasks::Tasks,
    trimming::Trimming,
    trying::Trials,
    write::Outlet,
};

const QUEUE: usize = 64;
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// A projection, and what is registered of it.
#[derive(Clone)]
pub struct Registered {
    pub active: Arc<Active>,
    pub control: Control,
}

/// What a projection tells its source.
pub enum Message {
    /// Let it in wherever it may read. Those that come together begin together.
    Start(Registered, Busy),
    /// It was told to leave; `left` is told once no line has it any more. It may come again afterwards.
    Stop { projection: ProjectionId, left: oneshot::Sender<()> },
}

pub struct SourceTask {
    pub spec: SourceSpec,
    /// Says which shards this worker's lanes read.
    pub claims: Claims,
    pub messages: mpsc::Receiver<Message>,
    /// Told when a projection is to leave, or to hurry.
    pub departures: Board<()>,
    /// Reads what any of the source's projections read, whether they run now or not.
    pub intake: Arc<Intake>,
    pub services: Services,
    pub settings: Arc<Settings>,
    pub budget: Arc<Budget>,
    pub trials: Arc<Trials>,
    pub registry: Arc<Registry>,
    pub drain: CancellationToken,
    /// The drain has lasted.
    pub hurry: CancellationToken,
}

struct Running {
    task: SourceTask,
    rows: Rows,
    projections: Vec<Registered>,
    /// Those that are to leave, and who waits for that.
    stopping: Vec<(ProjectionId, oneshot::Sender<()>)>,
    lineage: Lineage,
    listed: BTreeMap<ShardId, Shard>,
    places: BTreeMap<(ProjectionId, ShardId), Whereabouts>,
    shards: BTreeMap<(ShardId, Role), Door>,
    /// What is held, as it was last looked up.
    held: Holdings,
    /// Shards whose lanes are told to leave.
    left: BTreeSet<ShardId>,
    tasks: Tasks,
    events: (mpsc::Sender<ShardEvent>, mpsc::Receiver<ShardEvent>),
}

/// How the task of a shard is reached.
struct Door {
    entrants: mpsc::Sender<Entrants>,
    drain: CancellationToken,
}

/// Where one projection is in one shard.
struct Whereabouts {
    handle: Arc<CheckpointHandle>,
    checkpoint: Checkpoint,
    stay: Stay,
    /// The final cut: of a shard settled to its end, or read to its end by a merge.
    last_cut: Option<CutId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// It was not there yet.
    Outside,
    /// It was handed to the shard's task.
    Inside,
    /// It does not come again before its next start.
    Gone,
}

impl SourceTask {
    /// Runs until drained. A source is asked for nothing before somebody reads it.
    pub async fn run(mut self) -> Result<()> {
        let mut messages = Vec::new();
        while messages.is_empty() {
            self.hold_idle().await;
            tokio::select! {
                biased;
                () = self.drain.cancelled() => return Ok(()),
                () = receive(&mut self.messages, &mut messages) => {}
                () = self.claims.held.changed() => {}
            }
        }
        let rows = Rows::new(self.services.checkpoints.clone());
        let Some((lineage, listed)) = discovering::first(&self, &rows).await? else { return Ok(()) };
        let mut tasks = Tasks::new();
        let trimming = Trimming::new(self.spec.name.clone(), self.spec.source.clone(), rows.clone());
        tasks.start("trimming", trimming.run(self.settings.trim_interval, self.drain.clone()));
        let mut running = Running {
            rows,
            projections: Vec::new(),
            stopping: Vec::new(),
            lineage,
            listed,
            places: BTreeMap::new(),
            shards: BTreeMap::new(),
            held: Holdings::default(),
            left: BTreeSet::new(),
            tasks,
            events: mpsc::channel(QUEUE),
            task: self,
        };
        let busy = running.take(messages);
        running.run(busy).await
    }
}

/// All messages that are there, once there is one; never, once nobody is left to send any.
async fn receive(from: &mut mpsc::Receiver<Message>, messages: &mut Vec<Message>) {
    let at_once = from.max_capacity();
    if from.recv_many(messages, at_once).await == 0 {
        std::future::pending().await
    }
}

impl Running {
    /// `busy` is dropped once every shard that may be read has its lines.
    async fn run(mut self, mut busy: Vec<Busy>) -> Result<()> {
        let mut messages = Vec::new();
        let mut discovery =
            tokio::time::interval(self.task.settings.discovery_interval.max(SHORTEST_INTERVAL));
        discovery.set_missed_tick_behavior(MissedTickBehavior::Delay);
        discovery.reset();
        let mut look = tokio::time::interval(self.task.settings.control_interval.max(SHORTEST_INTERVAL));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.tell_of_change().await;
        loop {
            self.follow_claims().await?;
            self.let_in().await?;
            busy.clear();
            self.task.claims.follows(&self.held).await;
            tokio::select! {
                biased;
                Some(event) = self.events.1.recv() => busy.extend(self.event(event).await?),
                Some((name, ended)) = self.tasks.next(), if !self.tasks.is_empty() => {
                    ended.map_err(|error| error.context(name))?;
                }
                () = self.task.drain.cancelled() => return self.drain().await,
                () = receive(&mut self.task.messages, &mut messages) => {
                    busy = self.take(std::mem::take(&mut messages));
                    if !busy.is_empty() {
                        self.discover_again().await?;
                    }
                }
                () = self.task.claims.held.changed() => {}
                _ = discovery.tick() => self.discover_again().await?,
                _ = look.tick() => self.look_at_others().await?,
            }
        }
    }

    /// Closes the doors and waits for the shards to settle and save what they were given.
    async fn drain(mut self) -> Result<()> {
        self.shards.clear();
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.1.recv() => drop(self.event(event).await?),
                ended = self.tasks.next() => match ended {
                    None => return Ok(()),
                    Some((name, ended)) => ended.map_err(|error| error.context(name))?,
                }
            }
        }
    }

    /// Who starts is let in next; what is returned is to be dropped after that.
    fn take(&mut self, messages: Vec<Message>) -> Vec<Busy> {
        let mut starting = Vec::new();
        for message in messages {
            match message {
                Message::Start(registered, busy) => {
                    let id = &registered.active.spec.id;
                    for shard in self.task.registry.forget(id) {
                        metrics::stopped(id.name.as_str(), shard.as_str(), false);
                    }
                    self.projections.push(registered);
                    starting.push(busy);
                }
                Message::Stop { projection, left } => self.stopping.push((projection, left)),
            }
        }
        self.let_out();
        starting
    }

    /// Forgets those that are to leave and have left every shard: where they stand is read anew when they come again.
    fn let_out(&mut self) {
        for (id, left) in std::mem::take(&mut self.stopping) {
            let is_inside = |((of, _), place): (&(ProjectionId, ShardId), &Whereabouts)| {
                *of == id && place.stay == Stay::Inside
            };
            if self.places.iter().any(is_inside) {
                self.stopping.push((id, left));
                continue;
            }
            self.projections.retain(|known| known.active.spec.id != id);
            self.places.retain(|(of, _), _| *of != id);
            self.shards.retain(|(_, role), _| *role != Role::MergeOf(id.clone()));
            // Whoever waited for it may have been cancelled.
            let _ = left.send(());
        }
    }

    async fn event(&mut self, event: ShardEvent) -> Result<Option<Busy>> {
        let ShardEvent { shard, projection, left, busy } = event;
        match left {
            Left::ReadToEnd { cut, children } => {
                self.read_to_end(&projection, &shard, cut, children).await?;
                return Ok(Some(busy));
            }
            Left::Behind | Left::Rejoined => return Ok(Some(busy)),
            Left::Ended => self.ended(&projection, &shard).await?,
            Left::Stopped(stop) => self.stopped(&projection, &shard, stop),
            Left::Drained => {}
            Left::Fenced(error) => {
                self.gone(&projection, &shard);
                self.fenced(&projection, error, busy);
                return Ok(None);
            }
        }
        self.gone(&projection, &shard);
        Ok(Some(busy))
    }

    fn gone(&mut self, projection: &ProjectionId, shard: &ShardId) {
        if let Some(place) = self.places.get_mut(&(projection.clone(), shard.clone())) {
            place.stay = Stay::Gone;
        }
        self.let_out();
    }

    fn fenced(&self, projection: &ProjectionId, error: Error, busy: Busy) {
        if let Some(active) = self.active(projection) {
            active.is_fenced(error, busy);
        }
    }

    fn active(&self, projection: &ProjectionId) -> Option<&Arc<Active>> {
        let known = self.projections.iter().find(|known| known.active.spec.id == *projection);
        known.map(|known| &known.active)
    }

    async fn ended(&mut self, projection: &ProjectionId, shard: &ShardId) -> Result<()> {
        tracing::info!(%projection, %shard, "the projection has finished this shard, which is closed");
        if let Some(place) = self.places.get_mut(&(projection.clone(), shard.clone())) {
            place.checkpoint = place.handle.checkpoint();
            place.last_cut = place.checkpoint.cut.clone();
        }
        self.tell_of_change().await;
        self.discover_again().await
    }

    fn stopped(&mut self, projection: &ProjectionId, shard: &ShardId, stop: Stop) {
        tracing::error!(%projection, source = %self.task.spec.name, %shard, position = %stop.place.position, "the projection has stopped in this shard, and others go on: {stop}");
        metrics::stopped(projection.name.as_str(), shard.as_str(), true);
        self.task.registry.stopped(projection, &self.task.spec.name, shard, stop);
        let active = self.active(projection);
        // Its merge would wait for this shard for ever.
        if let Some(active) = active.filter(|active| active.spec.ordering == Ordering::Global) {
            active.leave();
        }
    }

    /// A merge goes on in the children, which hold its watermark until they have begun.
    async fn read_to_end(
        &mut self,
        projection: &ProjectionId,
        shard: &ShardId,
        cut: CutId,
        children: Vec<ShardId>,
    ) -> Result<()> {
        self.discover_again().await?;
        if let Some(place) = self.places.get_mut(&(projection.clone(), shard.clone())) {
            place.last_cut = Some(cut);
        }
        let number = self.number(shard)?;
        let children = children.iter().map(|child| self.number(child)).collect::<Result<Vec<_>>>()?;
        if let Some(active) = self.active(projection) {
            tell_merge(active, MergeInput::Ended { shard: number, children }).await;
        }
        Ok(())
    }

    async fn discover_again(&mut self) -> Result<()> {
        let (lineage, listed) = discovering::discover(&self.task, &self.rows).await?;
        if lineage != self.lineage {
            self.tell_of_change().await;
        }
        self.lineage = lineage;
        self.listed = listed;
        Ok(())
    }

    fn number(&self, shard: &ShardId) -> Result<ShardNumber> {
        match self.lineage.get(shard) {
            Some(known) => Ok(known.number),
            None => Err(Error::internal(format!("shard={shard} was never listed"))),
        }
    }
}

/// A merge that has ended has failed, and the worker is stopping.
async fn tell_merge(active: &Active, input: MergeInput) {
    if let Outlet::Merge { inputs, .. } = &active.outlet {
        active.while_it_stays(async { drop(inputs.send(input).await) }).await;
    }
}
