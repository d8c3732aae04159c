//! A source's owner: which shards there are, and which projections may read which of them now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    Checkpoint, Control, CutId, Error, ErrorKind, Ordering, ProjectionId, Result, Shard, ShardId,
    ShardNumber, Stop,
};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    assembly::{Services, SourceSpec},
    budget::Budget,
    checkpoint::{CheckpointHandle, Claim},
    decode::Intake,
    line::{Left, ShardContext},
    lineage::{self, Lineage},
    merging::MergeInput,
    metrics,
    report::{Busy, Registry},
    rows::{self, Rows},
    settings::Settings,
    shard::{Entrant, Entrants, ShardEvent, ShardTask},
    subscription::Active,
    tasks::Tasks,
    trimming::Trimming,
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

pub struct SourceTask {
    pub spec: SourceSpec,
    pub projections: Vec<Registered>,
    pub intake: Arc<Intake>,
    pub services: Services,
    pub settings: Arc<Settings>,
    pub budget: Arc<Budget>,
    pub registry: Arc<Registry>,
    pub drain: CancellationToken,
    /// The drain has lasted.
    pub hurry: CancellationToken,
}

/// Why a source's task ended by itself.
#[derive(Debug, Clone)]
pub enum SourceEnd {
    /// It was told to stop, or every shard is settled to its end.
    Done,
    /// Another generation or epoch has taken over: look anew.
    Fenced(Error),
}

struct Running {
    task: SourceTask,
    rows: Rows,
    lineage: Lineage,
    initial: BTreeSet<ShardId>,
    listed: BTreeMap<ShardId, Shard>,
    places: BTreeMap<(ProjectionId, ShardId), Whereabouts>,
    shards: BTreeMap<ShardId, mpsc::Sender<Entrants>>,
    tasks: Tasks,
    events: (mpsc::Sender<ShardEvent>, mpsc::Receiver<ShardEvent>),
}

/// Where one projection is in one shard.
struct Whereabouts {
    handle: Arc<CheckpointHandle>,
    checkpoint: Checkpoint,
    /// It was handed to the shard's task.
    entered: bool,
    /// The final cut: of a shard settled to its end, or read to its end by a merge.
    last_cut: Option<CutId>,
    gone: bool,
}

impl SourceTask {
    /// `busy` is dropped once every shard that may be read has its lines.
    pub async fn run(self, busy: Busy) -> Result<SourceEnd> {
        let rows = Rows::new(self.services.checkpoints.clone());
        let (lineage, listed, initial) = discover(&self, &rows).await?;
        let mut tasks = Tasks::new();
        let trimming = Trimming::new(self.spec.name.clone(), self.spec.source.clone(), rows.clone());
        tasks.start("trimming", trimming.run(self.settings.trim_interval, self.drain.clone()));
        let running = Running {
            rows,
            lineage,
            initial,
            listed,
            places: BTreeMap::new(),
            shards: BTreeMap::new(),
            tasks,
            events: mpsc::channel(QUEUE),
            task: self,
        };
        running.run(busy).await
    }
}

/// Lists the shards, and makes what is new about them durable before anything is read. The source is asked after the
/// row was read: a shard that another worker has added since an older list was made is not gone.
async fn discover(
    task: &SourceTask,
    rows: &Rows,
) -> Result<(Lineage, BTreeMap<ShardId, Shard>, BTreeSet<ShardId>)> {
    let description = task.spec.source.describe().await?;
    loop {
        let stored = rows.source(&task.spec.name).await?;
        let listed = task.spec.source.shards().await?;
        let revision = stored.as_ref().map(|stored| stored.revision);
        let mut lineage = match stored {
            Some(stored) => stored.body,
            None => Lineage::new(description.incarnation.clone()),
        };
        let changed = lineage.discover(&description.incarnation, &listed, task.services.clock.now())?;
        let key = rows::source_key(&task.spec.name);
        if !changed || rows.put(&key, revision, &lineage).await?.is_some() {
            let initial = lineage.initial().cloned().collect();
            let listed = listed.into_iter().map(|shard| (shard.id.clone(), shard)).collect();
            return Ok((lineage, listed, initial));
        }
    }
}

impl Running {
    async fn run(mut self, busy: Busy) -> Result<SourceEnd> {
        let mut busy = Some(busy);
        let mut discovery =
            tokio::time::interval(self.task.settings.discovery_interval.max(SHORTEST_INTERVAL));
        discovery.set_missed_tick_behavior(MissedTickBehavior::Delay);
        discovery.reset();
        loop {
            self.let_in().await?;
            drop(busy.take());
            tokio::select! {
                biased;
                Some(event) = self.events.1.recv() => {
                    let (end, on_its_way) = self.event(event).await?;
                    if let Some(end) = end {
                        return Ok(end);
                    }
                    busy = Some(on_its_way);
                }
                Some((name, ended)) = self.tasks.next(), if !self.tasks.is_empty() => {
                    ended.map_err(|error| error.context(name))?;
                }
                () = self.task.drain.cancelled() => return self.drain().await,
                _ = discovery.tick() => self.discover_again().await?,
            }
        }
    }

    /// Closes the doors and waits for the shards to settle and save what they were given.
    async fn drain(mut self) -> Result<SourceEnd> {
        self.shards.clear();
        let mut end = SourceEnd::Done;
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.1.recv() => {
                    let (found, _) = self.event(event).await?;
                    end = found.unwrap_or(end);
                }
                ended = self.tasks.next() => match ended {
                    None => return Ok(end),
                    Some((name, ended)) => ended.map_err(|error| error.context(name))?,
                }
            }
        }
    }

    async fn event(&mut self, event: ShardEvent) -> Result<(Option<SourceEnd>, Busy)> {
        let ShardEvent { shard, projection, left, busy } = event;
        match left {
            Left::Ended => self.ended(&projection, &shard).await?,
            Left::Stopped(stop) => self.stopped(&projection, &shard, stop),
            Left::ReadToEnd { cut, children } => self.read_to_end(&projection, &shard, cut, children).await?,
            Left::Fenced(error) => {
                tracing::warn!(%projection, %shard, %error, "another worker has taken over; starting again from the checkpoints");
                return Ok((Some(SourceEnd::Fenced(error)), busy));
            }
            Left::Behind | Left::Rejoined | Left::Drained => {}
        }
        Ok((None, busy))
    }

    async fn ended(&mut self, projection: &ProjectionId, shard: &ShardId) -> Result<()> {
        tracing::info!(%projection, %shard, "the projection has finished this shard, which is closed");
        if let Some(place) = self.places.get_mut(&(projection.clone(), shard.clone())) {
            place.checkpoint = place.handle.checkpoint();
            place.last_cut = place.checkpoint.cut.clone();
        }
        self.discover_again().await
    }

    fn stopped(&mut self, projection: &ProjectionId, shard: &ShardId, stop: Stop) {
        tracing::error!(%projection, source = %self.task.spec.name, %shard, position = %stop.place.position, "the projection has stopped in this shard, and others go on: {stop}");
        metrics::stopped(projection.name.as_str(), shard.as_str());
        self.task.registry.stopped(projection, &self.task.spec.name, shard, stop);
        if let Some(place) = self.places.get_mut(&(projection.clone(), shard.clone())) {
            place.gone = true;
        }
        let known = self.task.projections.iter().map(|known| &known.active);
        let is_global = |known: &&Arc<Active>| known.spec.ordering == Ordering::Global;
        // Its merge would wait for this shard for ever.
        known
            .filter(is_global)
            .filter(|known| known.spec.id == *projection)
            .for_each(|known| known.drain.cancel());
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
        let found = self.task.projections.iter().find(|known| known.active.spec.id == *projection);
        if let Some(Outlet::Merge { inputs, .. }) = found.map(|known| &known.active.outlet) {
            // A merge that has ended has failed, and the worker is stopping.
            let _ = inputs.send(MergeInput::Ended { shard: number, children }).await;
        }
        Ok(())
    }

    async fn discover_again(&mut self) -> Result<()> {
        let (lineage, listed, initial) = discover(&self.task, &self.rows).await?;
        self.lineage = lineage;
        self.listed = listed;
        self.initial = initial;
        Ok(())
    }

    fn number(&self, shard: &ShardId) -> Result<ShardNumber> {
        match self.lineage.get(shard) {
            Some(known) => Ok(known.number),
            None => Err(Error::internal(format!("shard={shard} was never listed"))),
        }
    }

    /// Hands each projection to the shards that it may read now.
    async fn let_in(&mut self) -> Result<()> {
        if self.task.drain.is_cancelled() {
            return Ok(());
        }
        self.look_up_checkpoints().await?;
        let mut entering: BTreeMap<ShardId, Vec<Entrant>> = BTreeMap::new();
        for registered in self.task.projections.clone() {
            if registered.active.drain.is_cancelled() {
                continue;
            }
            let id = registered.active.spec.id.clone();
            let outlook =
                self.lineage.outlook(registered.control.registered_at, |shard| self.standing(&id, shard));
            for shard in &outlook.lost {
                self.lost(&id, shard).await?;
            }
            self.expect(&registered, &outlook.ready).await?;
            for shard in outlook.ready {
                self.look_up_ends(&registered, &shard).await?;
                if let Some(entrant) = self.entrant(&registered, &shard) {
                    entering.entry(shard).or_default().push(entrant);
                }
            }
        }
        for (shard, entrants) in entering {
            self.send(&shard, entrants).await?;
        }
        Ok(())
    }

    /// A merge writes nothing before all shards have begun that are there when it starts.
    async fn expect(&self, registered: &Registered, ready: &[ShardId]) -> Result<()> {
        let Outlet::Merge { inputs, .. } = &registered.active.outlet else { return Ok(()) };
        let id = &registered.active.spec.id;
        let is_new = |shard: &&ShardId| {
            let place = self.places.get(&(id.clone(), (*shard).clone()));
            place.is_some_and(|place| !place.entered && !place.gone)
        };
        let shards =
            ready.iter().filter(is_new).map(|shard| self.number(shard)).collect::<Result<Vec<_>>>()?;
        if !shards.is_empty() {
            // A merge that has ended has failed, and the worker is stopping.
            let _ = inputs.send(MergeInput::Expect { shards }).await;
        }
        Ok(())
    }

    async fn look_up_checkpoints(&mut self) -> Result<()> {
        for Registered { active, control } in self.task.projections.clone() {
            for shard in self.lineage.shards().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                let key = (active.spec.id.clone(), shard.clone());
                if self.places.contains_key(&key) {
                    continue;
                }
                let (rows, source) = (&self.rows, &self.task.spec.name);
                let handle = CheckpointHandle::read(rows, &active.spec.id, source, &shard, &control).await?;
                let checkpoint = handle.checkpoint();
                let last_cut = checkpoint.cut.clone().filter(|_| checkpoint.ended);
                if checkpoint.ended {
                    self.tell_closed(&active, &shard).await?;
                }
                let whereabouts = Whereabouts { handle, checkpoint, entered: false, last_cut, gone: false };
                self.places.insert(key, whereabouts);
            }
        }
        Ok(())
    }

    /// A parent that others have ended since it was looked up counts as ended as soon as something descends from it. A
    /// child begins with the order state at its end, which is looked up now.
    async fn look_up_ends(&mut self, registered: &Registered, shard: &ShardId) -> Result<()> {
        let id = &registered.active.spec.id;
        let parents = self.lineage.get(shard).map(|known| known.parents.clone()).unwrap_or_default();
        let is_new = |place: &Whereabouts| !place.entered && !place.gone;
        if !self.places.get(&(id.clone(), shard.clone())).is_some_and(is_new) {
            return Ok(());
        }
        for parent in parents {
            let key = (id.clone(), parent);
            let Some(place) = self.places.get_mut(&key).filter(|place| place.last_cut.is_none()) else {
                continue;
            };
            let (rows, source) = (&self.rows, &self.task.spec.name);
            let read = CheckpointHandle::read(rows, id, source, &key.1, &registered.control).await?;
            let checkpoint = read.checkpoint();
            if checkpoint.ended {
                place.last_cut = checkpoint.cut.clone();
                place.checkpoint = checkpoint;
            }
        }
        Ok(())
    }

    /// Guards need not name a shard any more that this projection has settled to its end.
    async fn tell_closed(&self, active: &Active, shard: &ShardId) -> Result<()> {
        let shard = self.number(shard)?;
        match &active.outlet {
            Outlet::Lanes(lanes) => lanes.closed(shard).await,
            Outlet::Merge { inputs, .. } => {
                // A merge that has ended has failed, and the worker is stopping.
                let _ = inputs.send(MergeInput::Closed { shard }).await;
            }
        }
        Ok(())
    }

    fn standing(&self, projection: &ProjectionId, shard: &ShardId) -> lineage::Standing {
        match self.places.get(&(projection.clone(), shard.clone())) {
            Some(place) if place.checkpoint.ended || place.last_cut.is_some() => lineage::Standing::Ended,
            Some(place) if place.checkpoint.cut.is_some() => lineage::Standing::Begun,
            _ => lineage::Standing::NotBegun,
        }
    }

    fn entrant(&mut self, registered: &Registered, shard: &ShardId) -> Option<Entrant> {
        let id = &registered.active.spec.id;
        let parents = self.lineage.get(shard).map(|known| known.parents.clone()).unwrap_or_default();
        let known = |parent: &ShardId| self.places.get(&(id.clone(), parent.clone()));
        let unsettled = parents.iter().filter_map(known).filter(|parent| !parent.checkpoint.ended);
        let unsettled = unsettled.map(|parent| parent.handle.clone()).collect();
        let parents =
            parents.iter().filter_map(|parent| Some((parent.clone(), known(parent)?.last_cut.clone()?)));
        let parents = parents.collect();
        let place = self.places.get_mut(&(id.clone(), shard.clone()))?;
        if place.entered || place.gone {
            return None;
        }
        place.entered = true;
        Some(Entrant {
            projection: registered.active.clone(),
            handle: place.handle.clone(),
            parents,
            unsettled,
        })
    }

    /// The shard was trimmed before the projection had settled it: it stops there, and what descends from it is not
    /// ready for it.
    async fn lost(&mut self, projection: &ProjectionId, shard: &ShardId) -> Result<()> {
        // Who reads the shard already may have read all of it, and finds out if not.
        let is_new = |place: &&Whereabouts| !place.gone && !place.entered;
        let Some(place) = self.places.get(&(projection.clone(), shard.clone())).filter(is_new) else {
            return Ok(());
        };
        let reason = format!(
            "the retention time of shard={shard} was over before the projection had read all of it; its events are lost to this projection. Give the projection a new version, or delete it and let it begin anew"
        );
        let at = self.task.services.clock.now();
        let stop = Stop { place: place.checkpoint.place(), event: None, reason, at };
        let claim = Claim { cut: None, ended: false, settled_until: None, stop: Some(stop.clone()), at };
        match place.handle.commit(claim).await {
            // It was rewound meanwhile, which is looked into soon.
            Err(error) if error.kind() == ErrorKind::Fenced => return Ok(()),
            committed => committed?,
        }
        self.stopped(projection, shard, stop);
        Ok(())
    }

    async fn send(&mut self, shard: &ShardId, entrants: Vec<Entrant>) -> Result<()> {
        if !self.shards.contains_key(shard) {
            let sender = self.start(shard)?;
            self.shards.insert(shard.clone(), sender);
        }
        let Some(sender) = self.shards.get(shard) else { return Ok(()) };
        // The shard's task ends only with an error, which comes through the tasks.
        let _ = sender.send(Entrants { entrants, busy: self.task.registry.busy() }).await;
        Ok(())
    }

    fn start(&mut self, shard: &ShardId) -> Result<mpsc::Sender<Entrants>> {
        let number = self.number(shard)?;
        let Some(listed) = self.listed.get(shard).cloned() else {
            return Err(Error::internal(format!("shard={shard} is not listed")));
        };
        let context = Arc::new(ShardContext {
            source: self.task.spec.clone(),
            shard: listed,
            number,
            initial: self.initial.contains(shard),
            intake: self.task.intake.clone(),
            services: self.task.services.clone(),
            rows: self.rows.clone(),
            settings: self.task.settings.clone(),
            budget: self.task.budget.clone(),
            hurry: self.task.hurry.clone(),
        });
        let (sender, entrants) = mpsc::channel(QUEUE);
        let task = ShardTask {
            context,
            entrants,
            events: self.events.0.clone(),
            registry: self.task.registry.clone(),
            drain: self.task.drain.clone(),
        };
        self.tasks.start(format!("shard {shard}"), task.run());
        Ok(sender)
    }
}
