//! What a running worker says of itself: for `status`, and to know when everything is caught up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldstream_model::{Place, ProjectionId, ShardId, SourceName, Stop, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{dispatch::Released, lanes::LineId, line::LineKind, subscription::Subscription};

/// The parts of a line that one can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Source,
    Project,
    Sink,
}

/// What one line is doing.
#[derive(Default)]
pub struct LineGauge {
    state: Mutex<LineState>,
    waiting_micros: AtomicU64,
    projecting_micros: AtomicU64,
    sinking_micros: AtomicU64,
    events: AtomicU64,
    busy: Arc<AtomicUsize>,
}

/// Something on its way between the owners of lines, shards and sources.
#[derive(Debug)]
pub struct Busy(Arc<AtomicUsize>);

impl Busy {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A projection waits for a line of a shard; dropped when it has one.
pub struct Waits {
    registry: Arc<Registry>,
    key: (ProjectionId, SourceName, ShardId),
}

impl Drop for Waits {
    fn drop(&mut self) {
        lock(&self.registry.waiting).remove(&self.key);
    }
}

#[derive(Clone, Default)]
struct LineState {
    place: Option<Place>,
    at_tip: bool,
    /// When the source was asked for that tip.
    asked_at: Option<Timestamp>,
    /// When it was last asked for one.
    tip_at: Option<Timestamp>,
    behind: Option<u64>,
    gaps: usize,
    complete_until: Option<Timestamp>,
    ended: bool,
    closed: bool,
    serves: Vec<Arc<Subscription>>,
}

impl LineGauge {
    /// Which projections the line serves from now on.
    pub fn serve(&self, subscriptions: Vec<Arc<Subscription>>) {
        self.lock().serves = subscriptions;
    }

    pub fn busy(&self) -> Busy {
        Busy::new(&self.busy)
    }

    /// The line is no more.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.serves.clear();
    }

    /// `tip`: when the source was asked, if this is the tip of its shard.
    pub fn at(&self, place: &Place, tip: Option<Timestamp>, behind: Option<u64>, gaps: usize) {
        let mut state = self.lock();
        state.place = Some(place.clone());
        state.at_tip = tip.is_some();
        state.asked_at = tip;
        state.tip_at = tip.or(state.tip_at);
        state.behind = behind;
        state.gaps = gaps;
    }

    /// A heartbeat has come: all that was stored up to then is in the source.
    pub fn complete_until(&self, until: Timestamp) {
        let mut state = self.lock();
        state.complete_until = state.complete_until.max(Some(until));
    }

    /// Something has come that is not put in order yet.
    pub fn not_at_tip(&self) {
        self.lock().at_tip = false;
    }

    pub fn ended(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.at_tip = false;
    }

    pub fn spent(&self, stage: Stage, time: Duration) {
        let counter = match stage {
            Stage::Source => &self.waiting_micros,
            Stage::Project => &self.projecting_micros,
            Stage::Sink => &self.sinking_micros,
        };
        counter.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn delivered(&self, released: &Released) {
        self.events.fetch_add(released.placed.len() as u64, Ordering::Relaxed);
    }

    /// At the tip of its shard, for which the source was asked after `since`, with everything settled that it has
    /// delivered.
    fn is_level(&self, since: Timestamp) -> bool {
        let state = self.lock();
        state.at_tip
            && state.asked_at.is_some_and(|asked| asked > since)
            && state.serves.iter().all(|subscription| subscription.is_level())
    }

    fn report(&self, reader: &str) -> LineReport {
        let state = self.lock().clone();
        LineReport {
            reader: reader.to_owned(),
            position: state.place.map(|place| place.position.to_string()),
            at_tip: state.at_tip,
            behind: state.behind,
            gaps: state.gaps,
            events: self.events.load(Ordering::Relaxed),
            waiting_for_source_ms: self.waiting_micros.load(Ordering::Relaxed) / 1_000,
            projecting_ms: self.projecting_micros.load(Ordering::Relaxed) / 1_000,
            waiting_for_sink_ms: self.sinking_micros.load(Ordering::Relaxed) / 1_000,
        }
    }

    fn lock(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The row that a worker writes about itself, about once a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    pub worker: String,
    pub process: u32,
    pub started_at: Timestamp,
    pub written_at: Timestamp,
    /// It has ended and said so.
    #[serde(default)]
    pub ended: bool,
    pub shards: Vec<ShardReport>,
    pub projections: Vec<ProjectionReport>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptReport>,
    /// By source: up to when all that was stored is in it, as its newest heartbeat says. Only those that have heartbeats.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub complete_until: BTreeMap<SourceName, Timestamp>,
}

/// How long a source still keeps what has not settled in one of its shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptReport {
    pub source: SourceName,
    pub shard: ShardId,
    /// The one that has settled least, whether any worker runs it or not.
    pub projection: ProjectionId,
    /// Until the oldest record is trimmed that this one has not settled; all of the retention where it has settled everything.
    pub seconds_left: u64,
    pub retention_seconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardReport {
    pub source: SourceName,
    pub shard: ShardId,
    pub lines: Vec<LineReport>,
}

/// One reading of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineReport {
    /// `shared`, `catch_up` or `merge`.
    pub reader: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    pub at_tip: bool,
    /// Records that were not read yet, where the source knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    pub gaps: usize,
    pub events: u64,
    pub waiting_for_source_ms: u64,
    pub projecting_ms: u64,
    pub waiting_for_sink_ms: u64,
}

/// One projection in one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionReport {
    pub projection: ProjectionId,
    pub source: SourceName,
    pub shard: ShardId,
    pub phase: Phase,
    /// Recorded-at of the newest event whose documents are readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_until: Option<Timestamp>,
    /// Recorded-at of the oldest event that is not in the documents, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_since: Option<Timestamp>,
    /// Since when it has been behind the newest record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
}

/// What a projection is doing in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Live,
    CatchingUp,
    Stopped,
    Ended,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::CatchingUp => "catching up",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
        }
    }
}

/// All lines of a worker, and what keeps it from being caught up.
#[derive(Default)]
pub struct Registry {
    lines: Mutex<BTreeMap<LineId, KnownLine>>,
    next: AtomicU64,
    /// How much is on its way between owners, so that nobody sees it.
    busy: Arc<AtomicUsize>,
    stops: Mutex<Vec<StopReport>>,
    /// Projections that wait for a line of a shard.
    waiting: Mutex<BTreeSet<(ProjectionId, SourceName, ShardId)>>,
    /// Since when a projection has been behind in a shard.
    behind: Mutex<BTreeMap<(ProjectionId, ShardId), Timestamp>>,
    kept: Mutex<BTreeMap<SourceName, Vec<KeptReport>>>,
}

struct KnownLine {
    source: SourceName,
    shard: ShardId,
    kind: LineKind,
    gauge: Arc<LineGauge>,
}

/// A projection that has stopped in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopReport {
    pub projection: ProjectionId,
    pub source: SourceName,
    pub shard: ShardId,
    pub stop: Stop,
}

impl Registry {
    pub fn next_line(&self) -> LineId {
        LineId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub fn line(&self, id: LineId, source: &SourceName, shard: &ShardId, kind: LineKind) -> Arc<LineGauge> {
        let gauge = Arc::new(LineGauge { busy: self.busy.clone(), ..LineGauge::default() });
        let line = KnownLine { source: source.clone(), shard: shard.clone(), kind, gauge: gauge.clone() };
        let mut lines = lock(&self.lines);
        lines.retain(|_, line| !line.gauge.lock().closed);
        lines.insert(id, line);
        gauge
    }

    /// Marks something as on its way: nothing is caught up until the mark is dropped.
    pub fn busy(&self) -> Busy {
        Busy::new(&self.busy)
    }

    /// A projection waits for a line of a shard, until what is returned is dropped: it is behind.
    pub fn waits(self: &Arc<Self>, projection: &ProjectionId, source: &SourceName, shard: &ShardId) -> Waits {
        let key = (projection.clone(), source.clone(), shard.clone());
        lock(&self.waiting).insert(key.clone());
        Waits { registry: self.clone(), key }
    }

    pub fn stopped(&self, projection: &ProjectionId, source: &SourceName, shard: &ShardId, stop: Stop) {
        let (projection, source, shard) = (projection.clone(), source.clone(), shard.clone());
        let mut stops = lock(&self.stops);
        stops.retain(|known| known.projection != projection || known.shard != shard);
        stops.push(StopReport { projection, source, shard, stop });
    }

    /// The projection begins anew; what it met before counts no more. Says in which shards it had stopped.
    pub fn forget(&self, projection: &ProjectionId) -> Vec<ShardId> {
        lock(&self.behind).retain(|(of, _), _| of != projection);
        let mut stops = lock(&self.stops);
        let (forgotten, others) =
            std::mem::take(&mut *stops).into_iter().partition(|stopped| stopped.projection == *projection);
        *stops = others;
        let forgotten: Vec<StopReport> = forgotten;
        forgotten.into_iter().map(|stopped| stopped.shard).collect()
    }

    /// How long what has not settled is still kept, in the shards of a source that this worker looks after now. Says which it
    /// does not look after any more.
    pub fn keeps(&self, source: &SourceName, kept: Vec<KeptReport>) -> Vec<ShardId> {
        let is_left = |before: &KeptReport| !kept.iter().any(|now| now.shard == before.shard);
        let mut known = lock(&self.kept);
        let before = known.remove(source).unwrap_or_default();
        let left = before.into_iter().filter(is_left).map(|before| before.shard).collect();
        known.insert(source.clone(), kept);
        left
    }

    /// Up to when all that was stored is in each source that has heartbeats.
    pub fn complete_until(&self) -> BTreeMap<SourceName, Timestamp> {
        let mut newest = BTreeMap::new();
        for line in lock(&self.lines).values() {
            if let Some(until) = line.gauge.lock().complete_until {
                let known = newest.entry(line.source.clone()).or_insert(until);
                *known = until.max(*known);
            }
        }
        newest
    }

    pub fn kept(&self) -> Vec<KeptReport> {
        lock(&self.kept).values().flatten().cloned().collect()
    }

    /// The lanes have left a shard to others. Where the projection has stopped, it has.
    pub fn forget_shard(&self, projection: &ProjectionId, shard: &ShardId) {
        lock(&self.behind).remove(&(projection.clone(), shard.clone()));
    }

    pub fn stops(&self) -> Vec<StopReport> {
        lock(&self.stops).clone()
    }

    /// Gaps that wait, by shard.
    pub fn gaps(&self) -> BTreeMap<ShardId, usize> {
        let lines = lock(&self.lines);
        let mut gaps = BTreeMap::new();
        for line in lines.values() {
            let state = line.gauge.lock();
            let waiting = if state.closed { 0 } else { state.gaps };
            drop(state);
            if waiting > 0 {
                let known: &mut usize = gaps.entry(line.shard.clone()).or_default();
                *known = waiting.max(*known);
            }
        }
        gaps
    }

    /// Every line has found a tip that its source was asked for after `since`, nothing is on its way, and everything
    /// delivered is settled.
    pub fn is_caught_up(&self, since: Timestamp) -> bool {
        self.busy.load(Ordering::Acquire) == 0
            && lock(&self.waiting).is_empty()
            && lock(&self.lines)
                .values()
                .filter(|line| !line.gauge.lock().closed)
                .all(|line| line.kind != LineKind::CatchUp && line.gauge.is_level(since))
    }

    /// What the shards' lines and their projections are doing.
    pub fn report(&self, now: Timestamp) -> (Vec<ShardReport>, Vec<ProjectionReport>) {
        let (mut shards, mut projections) = (BTreeMap::new(), Vec::new());
        for line in lock(&self.lines).values().filter(|line| !line.gauge.lock().closed) {
            let key = (line.source.clone(), line.shard.clone());
            let report = line.gauge.report(line.kind.as_str());
            shards.entry(key).or_insert_with(Vec::new).push(report);
            projections.extend(self.projections(line, now));
        }
        for (projection, source, shard) in lock(&self.waiting).iter() {
            let since = *lock(&self.behind).entry((projection.clone(), shard.clone())).or_insert(now);
            projections.push(ProjectionReport {
                projection: projection.clone(),
                source: source.clone(),
                shard: shard.clone(),
                phase: Phase::CatchingUp,
                settled_until: None,
                unread_since: None,
                behind_since: Some(since),
                stop: None,
            });
        }
        projections.extend(self.stops().into_iter().map(|stopped| ProjectionReport {
            projection: stopped.projection,
            source: stopped.source,
            shard: stopped.shard,
            phase: Phase::Stopped,
            settled_until: None,
            unread_since: None,
            behind_since: Some(stopped.stop.at),
            stop: Some(stopped.stop),
        }));
        let shards = shards.into_iter().map(|((source, shard), lines)| ShardReport { source, shard, lines });
        (shards.collect(), projections)
    }

    fn projections(&self, line: &KnownLine, now: Timestamp) -> Vec<ProjectionReport> {
        let state = line.gauge.lock().clone();
        let mut behind = lock(&self.behind);
        let mut reports = Vec::with_capacity(state.serves.len());
        for subscription in &state.serves {
            let projection = subscription.projection.spec.id.clone();
            let key = (projection.clone(), line.shard.clone());
            let is_level = (state.at_tip || state.ended) && subscription.is_level();
            let behind_since = match is_level {
                true => {
                    behind.remove(&key);
                    None
                }
                false => Some(*behind.entry(key).or_insert(now)),
            };
            let phase = match line.kind {
                _ if state.ended => Phase::Ended,
                LineKind::CatchUp => Phase::CatchingUp,
                LineKind::Shared | LineKind::Merge => Phase::Live,
            };
            let settled_until = subscription.settled().recorded_until;
            // Where nothing waits that was delivered, all was there when the tip was last seen.
            let unread_since = || subscription.unsettled_since().or_else(|| settled_until.max(state.tip_at));
            reports.push(ProjectionReport {
                projection,
                source: line.source.clone(),
                shard: line.shard.clone(),
                phase,
                settled_until,
                unread_since: behind_since.and_then(|_| unread_since()),
                behind_since,
                stop: None,
            });
        }
        reports
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
