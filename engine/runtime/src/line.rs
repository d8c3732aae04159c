//! A line is one reading of one shard: it takes decoded records, puts them in order under the shard's journal, folds
//! them, and dispatches them to the projections that subscribe to it.
//!
//! There are three kinds. The *shared* line serves every projection that is level with it; the *catch-up* line is the
//! one private reading for all that are behind, and hands them over to the shared one; a *merge* line feeds one `global`
//! projection.

pub mod apart;
mod opening;
pub(crate) mod journaling;
pub(crate) mod gaps;
mod undecodable;
mod spilling;
mod delivering;
mod rejoin;
mod saving;
mod ending;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    CutId, Error, ErrorKind, Place, Position, ProjectionId, Result, Shard, ShardId, Stop, Timestamp,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    assembly::{Services, SourceSpec},
    board::{Board, Reader},
    budget::{Budget, Share},
    checkpoint::CheckpointHandle,
    decode::Intake,
    fold::Fold,
    journal::JournalView,
    lanes::LineId,
    lineage::KnownShard,
    metrics,
    order::{CutLog, Fork, Order, Outcome, Placed},
    planted::{self, Bug},
    read::{Decoded, DecodedRecord},
    report::{Busy, LineGauge, Stage},
    retry::{self, Verdict},
    rows::Rows,
    settings::Settings,
    subscription::Subscription,
    trying::Trials,
};

pub use apart::Apart;
pub use opening::{Beginning, Opening};
pub use rejoin::{Command, SharedLine};

/// What the lines of a shard have in common.
pub struct ShardContext {
    pub source: SourceSpec,
    pub shard: Shard,
    /// As it was when it was discovered.
    pub known: KnownShard,
    pub intake: Arc<Intake>,
    pub services: Services,
    pub rows: Rows,
    pub settings: Arc<Settings>,
    pub budget: Arc<Budget>,
    pub trials: Arc<Trials>,
    /// Cancelled when a drain has lasted: what has settled is saved now, and nothing else is waited for.
    pub hurry: CancellationToken,
    /// Told when a projection is to leave, or to hurry.
    pub departures: Board<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LineKind {
    Shared,
    CatchUp,
    Merge,
}

impl LineKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::CatchUp => "catch_up",
            Self::Merge => "merge",
        }
    }
}

/// One projection as a line serves it.
pub struct Subscriber {
    pub subscription: Arc<Subscription>,
    pub handle: Arc<CheckpointHandle>,
    /// Nothing is saved for it until these have ended.
    pub unsettled: Vec<Arc<CheckpointHandle>>,
    /// What is at or before it was settled before this line began.
    pub from: Place,
    pub joining: Option<rejoin::Joining>,
    /// Known once the line delivers to it.
    pub apart: Apart,
}

/// How a projection left a line.
#[derive(Debug, Clone)]
pub enum Left {
    /// It has settled the shard to its sealed end.
    Ended,
    /// It met poison.
    Stopped(Stop),
    /// It held the others up; it goes on in a catch-up line as soon as its lanes are free.
    Behind,
    /// It was handed over to the shared line.
    Rejoined,
    /// It was told to leave, or its line to stop, and everything it was delivered is settled or abandoned.
    Drained,
    /// Another generation or epoch has taken over.
    Fenced(Error),
    /// A merge line has read its shard to the end; it stays until all of that is settled.
    ReadToEnd { cut: CutId, children: Vec<ShardId> },
}

/// What a line tells the owner of its shard.
pub struct LineEvent {
    pub kind: LineKind,
    pub projection: ProjectionId,
    pub left: Left,
    pub busy: Busy,
}

pub struct Line {
    id: LineId,
    kind: LineKind,
    context: Arc<ShardContext>,
    order: Order,
    cuts: CutLog,
    journal: JournalView,
    folds: BTreeMap<Arc<str>, Fold>,
    subscribers: Vec<Subscriber>,
    /// The end of what was put in order.
    at: Place,
    /// Where the hindmost of its projections stood when it began; it may have begun before that.
    hindmost: Place,
    /// What is known of streams where it begins was removed: it cannot begin.
    knows_nothing: bool,
    /// It has met what nobody in it gets beyond, and goes no further: nobody may join it any more.
    is_over: bool,
    /// Records that were read and not yet put in order.
    backlog: VecDeque<DecodedRecord>,
    backlog_bytes: usize,
    /// The last record was read.
    end: bool,
    /// When the source was asked for the batch in hand, if that ended at the shard's tip.
    tip: Option<Timestamp>,
    /// What the source stated with it.
    low_watermark: Option<Timestamp>,
    /// The end of what was delivered.
    delivered: Place,
    chain: String,
    share: Share,
    /// How long one of its projections may hold up the others.
    patience: Duration,
    gauge: Arc<LineGauge>,
    events: mpsc::Sender<LineEvent>,
    commands: mpsc::Receiver<Command>,
    /// Where a catch-up line hands its projections over.
    shared: Option<SharedLine>,
    position: Option<watch::Sender<Place>>,
    /// Another projection waits for this line to come on, or to end.
    wanted: watch::Receiver<bool>,
    departures: Reader<()>,
    saving: Option<saving::Saving>,
    search: gaps::Search,
    /// Records were set aside that may come back.
    has_set_aside: bool,
    /// Duplicates whose payload is still to be compared with the event store's.
    suspects: Vec<gaps::Suspect>,
    /// Forks that were met, and not told to anybody yet.
    forks: Vec<Fork>,
}

impl Line {
    /// Runs until every subscriber has left. Cancelling `drain` stops reading, settles what was delivered and saves it;
    /// an error is the worker's.
    pub async fn run(mut self, drain: CancellationToken) -> Result<()> {
        let mut ended = self.read_on(&drain).await;
        if let Err(error) = &ended
            && retry::verdict(error.kind()) == Verdict::LookAnew
        {
            ended = self.fence_all(&error.clone()).await;
        }
        self.gauge.close();
        ended
    }

    async fn read_on(&mut self, drain: &CancellationToken) -> Result<()> {
        self.tell_gauge();
        if self.knows_nothing {
            return self.lost(&Error::invalid("what was saved of its streams there was removed")).await;
        }
        let (mut batches, _reading) = match self.start_reading(drain).await {
            Err(error) if error.kind() == ErrorKind::Invalid => return self.lost(&error).await,
            started => started?,
        };
        let mut tick =
            tokio::time::interval(self.context.settings.checkpoint_interval.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tracing::debug!(shard = %self.context.shard.id, reader = self.kind.as_str(), after = %self.hindmost.position, "a reading begins");
        self.begin().await?;
        self.put_in_order(None).await?;
        let mut no_room_since = None;
        loop {
            self.drop_left().await?;
            if self.subscribers.is_empty() && (self.is_over || self.commands.is_empty()) {
                return Ok(());
            }
            if self.end && self.backlog.is_empty() {
                return self.finish(drain).await;
            }
            let waited = Instant::now();
            no_room_since = (!self.share.has_room()).then(|| no_room_since.unwrap_or(waited));
            let give_up = no_room_since.unwrap_or(waited) + self.patience;
            let leaving = self.leaving();
            tokio::select! {
                biased;
                () = drain.cancelled() => break,
                () = self.departures.changed() => {}
                () = ending::any_level(leaving) => {}
                Some(command) = self.commands.recv() => self.command(command).await?,
                _ = tick.tick() => {
                    self.save()?;
                    self.look_for_decisions().await?;
                    self.fill_old_gaps().await?;
                    // A store that answers more slowly than that leaves time to read, too.
                    tick.reset();
                }
                saved = saving::poll(&mut self.saving) => self.saved(saved)?,
                batch = next(&self.share, &mut batches, give_up) => {
                    self.gauge.spent(Stage::Source, waited.elapsed());
                    match batch {
                        Next::Batch(Err(error)) if error.kind() == ErrorKind::Invalid => {
                            return self.lost(&error).await;
                        }
                        Next::Batch(batch) => {
                            self.batch(batch?).await?;
                            self.bound_waiting(drain).await?;
                        }
                        Next::NoRoom => {
                            no_room_since = None;
                            self.shed().await?;
                        }
                        Next::Cancelled if drain.is_cancelled() => break,
                        Next::Cancelled => return Err(Error::internal("a shard's reading ended before the shard")),
                    }
                }
                () = std::future::ready(()), if self.search.is_under_way() => self.fill_some_gaps().await?,
            }
        }
        self.drain().await
    }

    /// Delivers what a union of parents releases before the shard's first record, or the rest of what a record released
    /// when a reader before this one ended.
    async fn begin(&mut self) -> Result<()> {
        let mut placed = Vec::new();
        self.order.begin(&self.at, &mut placed);
        let poison = self.go_on(&mut placed).await?;
        if let Some(last) = placed.last() {
            self.at = Place::end(last.place.position.clone(), last.place.entry);
            self.deliver(placed).await?;
        }
        match poison {
            Some((place, error)) => self.stop_all(&place, &error).await,
            None => Ok(()),
        }
    }

    async fn batch(&mut self, batch: Decoded) -> Result<()> {
        if !batch.records.is_empty() {
            self.gauge.not_at_tip();
        }
        self.backlog_bytes += batch.bytes;
        self.backlog.extend(batch.records);
        self.end = batch.end;
        self.tip = batch.tip.then_some(batch.asked_at);
        self.low_watermark = batch.low_watermark;
        let before = self.delivered.clone();
        if self.kind != LineKind::CatchUp || !self.hand_over().await? {
            self.put_in_order(None).await?;
        }
        if self.delivered == before && self.kind == LineKind::Merge {
            self.tell_tip().await?;
        }
        if let Some(until) = batch.complete_until {
            self.gauge.complete_until(until);
        }
        self.tell_where(batch.behind);
        Ok(())
    }

    /// Puts the backlog in order, up to a place if one is given, and delivers what that releases.
    async fn put_in_order(&mut self, until: Option<&Place>) -> Result<()> {
        let last = match until {
            None => self.backlog.back().map(|record| record.position.clone()),
            Some(until) => {
                let within = |record: &&DecodedRecord| record.position <= until.position;
                self.backlog.iter().rev().find(within).map(|record| record.position.clone())
            }
        };
        let mut placed = Vec::new();
        let mut poison = self.order_backlog(last.as_ref(), &mut placed).await?;
        if poison.is_none() {
            poison = self.order_entries(None, &mut placed).await?;
        }
        self.deliver(placed).await?;
        // Before anything is saved, of which a cut holds no large event.
        self.spill().await?;
        match poison {
            Some((place, error)) => self.stop_all(&place, &error).await,
            None => Ok(()),
        }
    }

    /// Feeds the order stage up to a position; a poisonous record ends it, and is returned with its place.
    async fn order_backlog(
        &mut self,
        last: Option<&Position>,
        placed: &mut Vec<Placed>,
    ) -> Result<Option<(Place, Error)>> {
        let Some(last) = last else { return Ok(None) };
        let (mut early, mut duplicates) = (0, 0);
        let now = self.context.services.clock.now();
        while self.backlog.front().is_some_and(|record| record.position <= *last) {
            let refused = self.admit(last).await?;
            let Some(record) = self.backlog.pop_front() else { break };
            if let Some(poison) = self.order_entries(Some(&record.position), placed).await? {
                return Ok(Some(poison));
            }
            let place = Place::new(record.position.clone(), 0, 0);
            let (position, key) = (record.position, record.partition_key);
            let is_aside = self.journal.sets_aside(&position)
                && (record.event.is_err() || !planted::is(Bug::SetAsideRead));
            let outcome = match record.event {
                _ if is_aside => None,
                Err(undecodable) => {
                    let error = refused.unwrap_or_else(|| undecodable::decoded_by_others(undecodable.error));
                    return Ok(Some((place, error)));
                }
                Ok(None) => None,
                Ok(Some(event)) => match self.bring(self.order.lacking_for_record(&event)?).await {
                    Err(error) if error.kind() == ErrorKind::Poison => return Ok(Some((place, error))),
                    brought => {
                        brought?;
                        Some(self.order.record(event, &position, &key, now, placed)?)
                    }
                },
            };
            match outcome {
                None | Some(Outcome::Released) => {}
                Some(Outcome::Early) => {
                    early += 1;
                    self.search.met_gap();
                }
                Some(Outcome::Duplicate(event)) => {
                    duplicates += 1;
                    self.suspects.push(gaps::Suspect { place, event, partition_key: key });
                }
                Some(Outcome::Fork(fork)) => self.forks.push(fork),
            }
            if let Some(poison) = self.go_on(placed).await? {
                return Ok(Some(poison));
            }
            self.at = Place::end(position, 0);
        }
        metrics::ordered(self.context.source.name.as_str(), placed.len(), early, duplicates);
        Ok(None)
    }
}

enum Next {
    Batch(Result<Decoded>),
    /// What is held was not settled in time.
    NoRoom,
    /// The reading was cancelled.
    Cancelled,
}

/// The next batch, once there is room for it.
async fn next(share: &Share, batches: &mut mpsc::Receiver<Result<Decoded>>, give_up: Instant) -> Next {
    if tokio::time::timeout_at(give_up, share.room()).await.is_err() {
        return Next::NoRoom;
    }
    match batches.recv().await {
        Some(batch) => Next::Batch(batch),
        None => Next::Cancelled,
    }
}
