use std::collections::BTreeMap;

use foldstream_model::{Checkpoint, Control, Position, ProjectionId, ShardId, SourceName, Stop, Timestamp};
use foldstream_runtime::{
    checkpoint::effective,
    report::{Phase, ProjectionReport},
};
use serde::Serialize;

use super::Facts;

/// What a projection is doing, the worst of its shards first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Stopped,
    Paused,
    /// No worker runs it.
    NotRunning,
    CatchingUp,
    Live,
    /// Configured, and never run.
    NotRunYet,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::NotRunning => "not running",
            Self::CatchingUp => "catching up",
            Self::Live => "live",
            Self::NotRunYet => "not run yet",
        }
    }
}

/// How far a projection is.
#[derive(Debug, Clone, Serialize)]
pub struct ProjectionStanding {
    #[serde(serialize_with = "row_name")]
    pub projection: ProjectionId,
    pub state: State,
    /// Microseconds from the recorded-at of the oldest event that is not in its documents until now; 0 if all are.
    pub lag_micros: Option<u64>,
    /// Events that are not in its documents yet, where that is known.
    pub behind: Option<u64>,
    /// Since when it has not been level with the end, as far as a worker says so or the streams tell.
    pub behind_since: Option<Timestamp>,
    pub shards: Vec<ShardStanding>,
}

fn row_name<S: serde::Serializer>(projection: &ProjectionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&projection.row_name())
}

/// How far a projection is in one shard.
#[derive(Debug, Clone, Serialize)]
pub struct ShardStanding {
    pub source: SourceName,
    pub shard: ShardId,
    /// Up to here everything is in the documents, as far as was saved.
    pub position: Position,
    pub phase: Option<Phase>,
    pub behind: Option<u64>,
    /// Recorded-at of the oldest event that is not in the documents.
    pub unread_since: Option<Timestamp>,
    /// Recorded-at of the newest event that is in the documents.
    #[serde(rename = "recorded_until")]
    pub settled_until: Option<Timestamp>,
    pub behind_since: Option<Timestamp>,
    pub stop: Option<Stop>,
}

impl ProjectionStanding {
    /// All projections that are registered or configured, by name and version.
    pub fn all(facts: &Facts) -> Vec<Self> {
        let registered =
            facts.controls.iter().map(|(projection, control)| Self::of(facts, projection, control));
        let mut standings: BTreeMap<ProjectionId, Self> =
            registered.map(|standing| (standing.projection.clone(), standing)).collect();
        for projection in facts.configured.keys() {
            standings.entry(projection.clone()).or_insert_with(|| Self {
                projection: projection.clone(),
                state: State::NotRunYet,
                lag_micros: None,
                behind: None,
                behind_since: None,
                shards: Vec::new(),
            });
        }
        standings.into_values().collect()
    }

    /// Those that are configured, or run by a worker; all when nothing is configured.
    pub fn current(facts: &Facts) -> Vec<Self> {
        let mut standings = Self::all(facts);
        standings.retain(|standing| {
            let projection = &standing.projection;
            facts.configured.is_empty() || facts.configured.contains_key(projection) || facts.runs(projection)
        });
        standings
    }

    /// Whether it waits for an event's handler to be mended.
    pub fn is_stopped_at_event(&self) -> bool {
        self.shards.iter().filter_map(|shard| shard.stop.as_ref()).any(|stop| stop.event.is_some())
    }

    fn of(facts: &Facts, projection: &ProjectionId, control: &Control) -> Self {
        let shards = shards(facts, projection, control);
        let behind = shards.iter().map(|shard| shard.behind).sum::<Option<u64>>();
        let behind = behind.filter(|_| facts.configured.contains_key(projection));
        let source = facts.configured.get(projection);
        let lag_micros = source.filter(|source| tells(facts, source, &shards)).map(|source| {
            let unread = shards.iter().filter_map(|shard| shard.unread_since);
            let oldest = unread.chain(facts.not_relayed_since.get(source).copied()).min();
            oldest.map_or(0, |oldest| facts.now.micros_since(oldest))
        });
        Self {
            projection: projection.clone(),
            state: state(facts, projection, control, &shards),
            lag_micros,
            behind,
            behind_since: shards.iter().filter_map(|shard| shard.behind_since).min(),
            shards,
        }
    }
}

/// What is unread of a stream that is not embedded is known by those who read it alone.
fn tells(facts: &Facts, source: &SourceName, shards: &[ShardStanding]) -> bool {
    let is_embedded = facts.logs.contains_key(source);
    is_embedded || shards.iter().any(|shard| shard.phase.is_some() || shard.stop.is_some())
}

fn state(facts: &Facts, projection: &ProjectionId, control: &Control, shards: &[ShardStanding]) -> State {
    if shards.iter().any(|shard| shard.stop.is_some()) {
        State::Stopped
    } else if control.paused {
        State::Paused
    } else if !facts.runs(projection) {
        State::NotRunning
    } else if shards.iter().any(|shard| shard.phase == Some(Phase::CatchingUp)) {
        State::CatchingUp
    } else {
        State::Live
    }
}

fn shards(facts: &Facts, projection: &ProjectionId, control: &Control) -> Vec<ShardStanding> {
    let checkpoints = facts.checkpoints.get(projection);
    let mut shards: BTreeMap<(SourceName, ShardId), ShardStanding> = BTreeMap::new();
    for ((source, shard), checkpoint) in checkpoints.into_iter().flatten() {
        shards.insert((source.clone(), shard.clone()), stored(source, shard, checkpoint));
    }
    let log = facts.configured.get(projection).and_then(|source| Some((source, facts.logs.get(source)?)));
    for (source, described) in
        log.iter().flat_map(|(source, log)| log.shards.iter().map(move |shard| (*source, shard)))
    {
        let key = (source.clone(), described.id.clone());
        let standing = shards
            .entry(key)
            .or_insert_with(|| stored(source, &described.id, &effective(None, control, &described.id)));
        let done = standing.position.clone().max(described.trimmed.clone());
        let numbers = described.last.as_u64().zip(done.as_u64());
        standing.behind = numbers.map(|(last, done)| last.saturating_sub(done));
        let unread = facts.unread.get(&(projection.clone(), described.id.clone()));
        standing.unread_since = unread.map(|unread| unread.recorded_at);
        // A stop is told anew by each worker that comes to it.
        let since = [standing.behind_since, unread.map(|unread| unread.arrived_at)];
        standing.behind_since = since.into_iter().flatten().min();
    }
    for said in facts.worker().iter().flat_map(|worker| &worker.projections) {
        let key = (said.source.clone(), said.shard.clone());
        if said.projection == *projection
            && let Some(standing) = shards.get_mut(&key)
        {
            standing.hear(said, log.is_some());
        }
    }
    shards.into_values().collect()
}

fn stored(source: &SourceName, shard: &ShardId, checkpoint: &Checkpoint) -> ShardStanding {
    ShardStanding {
        source: source.clone(),
        shard: shard.clone(),
        position: checkpoint.place().position,
        phase: None,
        behind: None,
        unread_since: None,
        settled_until: checkpoint.settled_until,
        behind_since: checkpoint.stop.as_ref().map(|stop| stop.at),
        stop: checkpoint.stop.clone(),
    }
}

impl ShardStanding {
    /// Takes what a running worker says, which is newer than what it has saved.
    fn hear(&mut self, said: &ProjectionReport, is_embedded: bool) {
        self.phase = Some(said.phase);
        self.settled_until = self.settled_until.max(said.settled_until);
        self.behind_since = said.behind_since;
        self.stop = self.stop.take().or_else(|| said.stop.clone());
        if said.behind_since.is_none() && said.stop.is_none() {
            self.behind = Some(0);
            self.unread_since = None;
        } else if !is_embedded {
            self.unread_since = said.unread_since.or(self.settled_until).or(said.behind_since);
        } else {
            // Whatever was recorded before what is in the documents is there too.
            self.unread_since = self.unread_since.max(self.unread_since.and(said.settled_until));
        }
    }
}
