//! One shard's lines: the shared one for the projections that are level, and one catch-up line for all that are behind;
//! or the one of a `global` projection.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use foldstream_model::{CutId, Ordering, Place, ProjectionId, Result, ShardId, Timestamp};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    board::Reader,
    checkpoint::CheckpointHandle,
    lanes::LineId,
    line::{
        Apart, Beginning, Left, Line, LineEvent, LineKind, Opening, ShardContext, SharedLine, Subscriber,
    },
    merging::MergeInput,
    report::{Busy, Registry, Waits},
    subscription::{Active, Subscription},
    tasks::Tasks,
    write::Outlet,
};

/// Messages between the lines of a shard, and to its owner.
const QUEUE: usize = 16;
/// How often a patience is doubled at most.
const MOST_DOUBLED: u32 = 6;

/// A projection that may read the shard now.
#[derive(Clone)]
pub struct Entrant {
    pub projection: Arc<Active>,
    pub handle: Arc<CheckpointHandle>,
    /// The final cuts of the shard's parents; what its order state begins with when there is no checkpoint.
    pub parents: Vec<(ShardId, CutId)>,
    /// The checkpoints of parents that a merge has read to their ends and not settled yet: until they say that they
    /// have ended, this shard's checkpoint waits, since after it nobody would read them again.
    pub unsettled: Vec<Arc<CheckpointHandle>>,
}

/// What happened to a projection in a shard.
pub struct ShardEvent {
    pub shard: ShardId,
    pub projection: ProjectionId,
    pub left: Left,
    pub busy: Busy,
}

/// Projections that may read a shard now.
pub struct Entrants {
    pub entrants: Vec<Entrant>,
    pub busy: Busy,
}

/// What a shard is read for. Each begins and ends by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The lanes of all projections that have no merge.
    Lanes,
    MergeOf(ProjectionId),
}

impl Role {
    pub fn of(projection: &Active) -> Self {
        match projection.spec.ordering {
            Ordering::Global => Self::MergeOf(projection.spec.id.clone()),
            Ordering::PerStream | Ordering::Commutative => Self::Lanes,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lanes => to.write_str("lanes"),
            Self::MergeOf(projection) => write!(to, "merge of {projection}"),
        }
    }
}

/// The lines of one role of a shard.
pub struct ShardTask {
    pub context: Arc<ShardContext>,
    pub entrants: mpsc::Receiver<Entrants>,
    pub events: mpsc::Sender<ShardEvent>,
    pub registry: Arc<Registry>,
    /// Ends these lines, whatever others of the shard do.
    pub drain: CancellationToken,
}

struct Running {
    task: ShardTask,
    lines: Tasks,
    line_events: (mpsc::Sender<LineEvent>, mpsc::Receiver<LineEvent>),
    known: BTreeMap<ProjectionId, Entrant>,
    /// Those that held others up: each waits until its lanes are free.
    resting: FuturesUnordered<BoxFuture<'static, Waiting>>,
    waiting: Vec<Waiting>,
    shared: Option<SharedLine>,
    catching_up: bool,
    /// Where each has last begun to catch up, and how often in succession it began there before.
    turns: BTreeMap<ProjectionId, (Place, u32)>,
    /// Told to the shared and the catch-up line: somebody waits for them.
    wanted: (watch::Sender<bool>, watch::Sender<bool>),
    departures: Reader<()>,
}

/// A projection without a line.
struct Waiting {
    entrant: Entrant,
    waits: Waits,
}

/// A projection, and where it stands.
struct Standing {
    entrant: Entrant,
    waits: Waits,
    place: Place,
    cut: Option<CutId>,
    settled_until: Option<Timestamp>,
}

impl ShardTask {
    /// Runs until every projection that ever entered has left, and no more can enter.
    pub async fn run(self) -> Result<()> {
        let running = Running {
            departures: self.context.departures.reader(),
            task: self,
            lines: Tasks::new(),
            line_events: mpsc::channel(QUEUE),
            known: BTreeMap::new(),
            resting: FuturesUnordered::new(),
            waiting: Vec::new(),
            shared: None,
            catching_up: false,
            turns: BTreeMap::new(),
            wanted: (watch::Sender::new(false), watch::Sender::new(false)),
        };
        running.run().await
    }
}

impl Running {
    async fn run(mut self) -> Result<()> {
        let mut open = true;
        loop {
            self.plan().await?;
            if !open && self.lines.is_empty() && self.line_events.1.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                Some(event) = self.line_events.1.recv() => self.line_event(event).await,
                () = self.departures.changed() => self.let_go().await,
                () = self.task.drain.cancelled(), if !self.waiting.is_empty() => self.let_go().await,
                Some(rested) = self.resting.next(), if !self.resting.is_empty() => self.place(rested).await?,
                entrants = self.task.entrants.recv(), if open => match entrants {
                    Some(Entrants { entrants, busy }) => self.enter(entrants, busy).await?,
                    None => open = false,
                },
                Some((name, ended)) = self.lines.next(), if !self.lines.is_empty() => {
                    ended.map_err(|error| error.context(name.clone()))?;
                    self.line_ended(&name);
                }
            }
        }
    }

    async fn enter(&mut self, entrants: Vec<Entrant>, busy: Busy) -> Result<()> {
        for entrant in entrants {
            self.known.insert(entrant.projection.spec.id.clone(), entrant.clone());
            let waiting = self.wait(entrant);
            self.place(waiting).await?;
        }
        self.plan().await?;
        drop(busy);
        Ok(())
    }

    fn wait(&self, entrant: Entrant) -> Waiting {
        let context = &self.task.context;
        let id = &entrant.projection.spec.id;
        let waits = self.task.registry.waits(id, &context.source.name, &context.shard.id);
        Waiting { entrant, waits }
    }

    async fn place(&mut self, waiting: Waiting) -> Result<()> {
        if self.is_leaving(&waiting) {
            self.leave(waiting).await;
            return Ok(());
        }
        if waiting.entrant.projection.spec.ordering == Ordering::Global {
            return self.start_merge_line(waiting).await;
        }
        self.waiting.push(waiting);
        Ok(())
    }

    fn is_leaving(&self, waiting: &Waiting) -> bool {
        waiting.is_leaving() || self.task.drain.is_cancelled()
    }

    /// Those that wait for a line and are told to leave do.
    async fn let_go(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            match self.is_leaving(&waiting) {
                true => self.leave(waiting).await,
                false => self.waiting.push(waiting),
            }
        }
    }

    async fn leave(&mut self, waiting: Waiting) {
        let busy = self.task.registry.busy();
        let id = waiting.entrant.projection.spec.id.clone();
        drop(waiting);
        self.tell(id, Left::Drained, busy).await;
    }

    async fn tell(&mut self, projection: ProjectionId, left: Left, busy: Busy) {
        if !matches!(left, Left::ReadToEnd { .. }) {
            self.known.remove(&projection);
        }
        let shard = self.task.context.shard.id.clone();
        // The owner of the source is gone only when the whole worker stops.
        let _ = self.task.events.send(ShardEvent { shard, projection, left, busy }).await;
    }

    async fn line_event(&mut self, event: LineEvent) {
        match event.left {
            Left::Rejoined => {}
            Left::Behind => {
                tracing::info!(projection = %event.projection, shard = %self.task.context.shard.id, "the projection has left a reading of this shard; it goes on by itself as soon as its lanes are free");
                if let Some(entrant) = self.known.get(&event.projection).cloned() {
                    let waiting = self.wait(entrant);
                    self.resting.push(rest(waiting, self.task.drain.clone()).boxed());
                }
            }
            left => self.tell(event.projection, left, event.busy).await,
        }
    }

    fn line_ended(&mut self, name: &str) {
        if name.starts_with(LineKind::CatchUp.as_str()) {
            self.catching_up = false;
        }
    }

    async fn plan(&mut self) -> Result<()> {
        self.start_lines().await?;
        let is_somebody_waiting = !self.waiting.is_empty();
        self.wanted.0.send_replace(is_somebody_waiting || self.catching_up);
        self.wanted.1.send_replace(is_somebody_waiting);
        Ok(())
    }

    /// Starts the lines that are needed and not there: the furthest projections share one, the others catch up.
    async fn start_lines(&mut self) -> Result<()> {
        if self.waiting.is_empty() || self.task.drain.is_cancelled() {
            return Ok(());
        }
        let shared_is_open = self.shared.as_ref().is_some_and(|shared| !shared.commands.is_closed());
        if shared_is_open && self.catching_up {
            return Ok(());
        }
        let mut standings = Vec::with_capacity(self.waiting.len());
        for waiting in std::mem::take(&mut self.waiting) {
            standings.push(stand(waiting).await);
        }
        if !shared_is_open {
            let furthest = standings.iter().map(|standing| standing.place.clone()).max();
            let (level, behind): (Vec<_>, Vec<_>) =
                standings.into_iter().partition(|standing| Some(&standing.place) == furthest.as_ref());
            self.start_shared(level).await?;
            standings = behind;
        }
        match standings.is_empty() || self.catching_up {
            true => self.waiting.extend(standings.into_iter().map(Standing::wait_on)),
            false => self.start_catch_up(standings).await?,
        }
        Ok(())
    }

    async fn start_shared(&mut self, standings: Vec<Standing>) -> Result<()> {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let beginning = beginning(&self.task.context, &standings).await?;
        let at = beginning_place(&beginning);
        let (position, watched) = watch::channel(at);
        self.shared = Some(SharedLine { commands, position: watched });
        let line = self.open(LineKind::Shared, standings, beginning, receiver, None, Some(position)).await?;
        self.start(LineKind::Shared, line);
        Ok(())
    }

    async fn start_catch_up(&mut self, standings: Vec<Standing>) -> Result<()> {
        let (_, receiver) = mpsc::channel(1);
        let beginning = beginning(&self.task.context, &standings).await?;
        let shared = self.shared.clone();
        let line = self.open(LineKind::CatchUp, standings, beginning, receiver, shared, None).await?;
        self.catching_up = true;
        self.start(LineKind::CatchUp, line);
        Ok(())
    }

    /// Who takes turns with others and comes back from where it began had too little time to settle anything and save it, and is
    /// given twice as much; else nobody might ever come on. So is one by itself on the line that is shared: it is there for as
    /// long as nobody is further.
    fn patience(&mut self, kind: LineKind, standings: &[Standing]) -> Duration {
        let mut longest = 0;
        let takes_turns = kind == LineKind::CatchUp || (kind == LineKind::Shared && standings.len() == 1);
        for standing in standings.iter().filter(|_| takes_turns) {
            let id = standing.entrant.projection.spec.id.clone();
            let turns = match self.turns.get(&id) {
                Some((from, turns)) if *from == standing.place => turns + 1,
                _ => 0,
            };
            self.turns.insert(id, (standing.place.clone(), turns));
            longest = longest.max(turns);
        }
        self.task.context.settings.patience * (1 << longest.min(MOST_DOUBLED))
    }

    async fn start_merge_line(&mut self, waiting: Waiting) -> Result<()> {
        let (_, receiver) = mpsc::channel(1);
        let projection = waiting.entrant.projection.clone();
        let standing = stand(waiting).await;
        let (place, settled_until) = (standing.place.clone(), standing.settled_until);
        let standings = vec![standing];
        let beginning = beginning(&self.task.context, &standings).await?;
        let line = self.open(LineKind::Merge, standings, beginning, receiver, None, None).await?;
        if let Outlet::Merge { inputs, .. } = &projection.outlet {
            let (begun, has_begun) = oneshot::channel();
            let (shard, exemption) = (self.task.context.known.number, line.exemption());
            let begin = MergeInput::Begin { shard, from: place, settled_until, exemption, begun };
            // A merge that has ended takes nothing more either way.
            let begun = async {
                if inputs.send(begin).await.is_ok() {
                    let _ = has_begun.await;
                }
            };
            projection.while_it_stays(begun).await;
        }
        self.start(LineKind::Merge, line);
        Ok(())
    }

    async fn open(
        &mut self,
        kind: LineKind,
        standings: Vec<Standing>,
        beginning: Beginning,
        commands: mpsc::Receiver<crate::line::Command>,
        shared: Option<SharedLine>,
        position: Option<watch::Sender<Place>>,
    ) -> Result<Line> {
        let context = self.task.context.clone();
        let id = self.task.registry.next_line();
        let gauge = self.task.registry.line(id, &context.source.name, &context.shard.id, kind);
        let patience = self.patience(kind, &standings);
        let subscribers = standings.into_iter().map(|standing| subscribe(id, &context, standing)).collect();
        let events = self.line_events.0.clone();
        let wanted = match kind {
            LineKind::Shared => self.wanted.0.subscribe(),
            LineKind::CatchUp => self.wanted.1.subscribe(),
            LineKind::Merge => watch::channel(false).1,
        };
        let opening = Opening {
            id,
            kind,
            subscribers,
            beginning,
            patience,
            gauge,
            events,
            commands,
            shared,
            position,
            wanted,
        };
        Line::open(context, opening).await
    }

    fn start(&mut self, kind: LineKind, line: Line) {
        let name = format!("{} line", kind.as_str());
        self.lines.start(name, line.run(self.task.drain.clone()));
    }
}

fn subscribe(line: LineId, context: &ShardContext, standing: Standing) -> Subscriber {
    let Standing { entrant, place, .. } = standing;
    let subscription = Subscription::new(line, context.known.number, entrant.projection, place.clone());
    let (handle, unsettled) = (entrant.handle, entrant.unsettled);
    Subscriber { subscription, handle, unsettled, from: place, joining: None, apart: Apart::default() }
}

impl Waiting {
    fn is_leaving(&self) -> bool {
        self.entrant.projection.is_leaving()
    }
}

impl Standing {
    fn wait_on(self) -> Waiting {
        Waiting { entrant: self.entrant, waits: self.waits }
    }
}

/// Returns when the lanes have taken what they were given and have heard of what was on its way to the store, or when
/// the projection or all of them are told to leave.
async fn rest(waiting: Waiting, drain: CancellationToken) -> Waiting {
    let projection = &waiting.entrant.projection;
    if let Outlet::Lanes(lanes) = &projection.outlet {
        tokio::select! {
            biased;
            () = drain.cancelled() => {}
            () = projection.while_it_stays(lanes.clear_caches()) => {}
        }
    }
    waiting
}

async fn stand(waiting: Waiting) -> Standing {
    let Waiting { entrant, waits } = waiting;
    let checkpoint = entrant.handle.checkpoint();
    Standing {
        place: checkpoint.place(),
        cut: checkpoint.cut,
        settled_until: checkpoint.settled_until,
        entrant,
        waits,
    }
}

/// A line begins where the hindmost of its projections stands. Retention may have removed that cut before the
/// checkpoint stood on it: then at the newest one before it, and what is between is read again.
async fn beginning(context: &ShardContext, standings: &[Standing]) -> Result<Beginning> {
    let hindmost = standings.iter().min_by(|a, b| a.place.cmp(&b.place));
    let Some(hindmost) = hindmost else { return Ok(Beginning::Parents(Vec::new())) };
    let Some(cut) = &hindmost.cut else {
        return Ok(Beginning::Parents(hindmost.entrant.parents.clone()));
    };
    let (source, shard) = (&context.source.name, &context.shard.id);
    if let Some(cuts) = context.rows.cuts(source, shard, cut).await? {
        return Ok(Beginning::Cut(cut.place.clone(), cuts));
    }
    let before = context.rows.newest_cut(source, shard, &cut.place).await?;
    tracing::warn!(source = %source, shard = %shard, place = %cut.place, "what was saved where a checkpoint stands was removed; reading begins before it");
    let parents = || Beginning::Parents(hindmost.entrant.parents.clone());
    Ok(before.map_or_else(parents, |(cut, cuts)| Beginning::Cut(cut.place, cuts)))
}

fn beginning_place(beginning: &Beginning) -> Place {
    match beginning {
        Beginning::Cut(place, _) => place.clone(),
        Beginning::Parents(_) => Place::BEGINNING,
    }
}
