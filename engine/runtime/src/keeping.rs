//! The task that says how long the source still keeps what has not settled.
//!
//! About once a minute the source is asked, of each shard that this worker looks after, for the oldest record behind the
//! hindmost checkpoint of all registered projections: those that are paused, have stopped or run nowhere lose records, too.
//! A shard in which nothing is unread has all of its retention left, however quiet it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use foldstream_model::{
    Clock, ErrorKind, Journal, Position, ProjectionId, Result, ShardId, SourceName, Timestamp, ports::Source,
};
use tokio_util::sync::CancellationToken;

use crate::{
    board::Reader,
    leasing::Holdings,
    lineage::Lineage,
    metrics,
    report::{KeptReport, Registry},
    retention::{self, Remaining},
    rows::{self, Rows},
    trimming,
};

/// A source that takes longer is asked again in the next round.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first round comes after this part of the time between two.
const SOON: u32 = 10;

pub struct Keeping {
    name: SourceName,
    source: Arc<dyn Source>,
    rows: Rows,
    clock: Arc<dyn Clock>,
    registry: Arc<Registry>,
    held: Reader<Holdings>,
    known: BTreeMap<ShardId, Known>,
}

/// What was found of a shard.
struct Known {
    /// The hindmost projection stands here.
    from: Position,
    oldest: Option<Timestamp>,
    /// What was left when that was last warned of.
    warned_of: Option<Duration>,
}

impl Keeping {
    pub fn new(
        name: SourceName,
        source: Arc<dyn Source>,
        rows: Rows,
        clock: Arc<dyn Clock>,
        registry: Arc<Registry>,
        held: Reader<Holdings>,
    ) -> Self {
        Self { name, source, rows, clock, registry, held, known: BTreeMap::new() }
    }

    /// A round now and then, until drained. A round that fails is not worth stopping for.
    pub async fn run(mut self, interval: Duration, drain: CancellationToken) -> Result<()> {
        let rounds = async {
            tokio::time::sleep(interval / SOON).await;
            loop {
                if let Err(error) = self.round().await {
                    tracing::warn!(source = %self.name, %error, "how long unread records are still kept is not known");
                }
                tokio::time::sleep(interval).await;
            }
        };
        tokio::select! {
            biased;
            () = drain.cancelled() => Ok(()),
            () = rounds => Ok(()),
        }
    }

    async fn round(&mut self) -> Result<()> {
        let Some(retention) = self.source.describe().await?.retention else {
            self.publish(Vec::new());
            return Ok(());
        };
        let Some(lineage) = self.rows.source(&self.name).await? else { return Ok(()) };
        let projections = trimming::stands(&self.rows, &self.name, &lineage.body).await?;
        let mut kept = Vec::new();
        for (shard, is_initial) in self.looked_after(&lineage.body) {
            let Some((projection, place)) = retention::hindmost(&shard, &projections) else { continue };
            let Some(from) = self.begins_at(&shard, is_initial, place).await? else { continue };
            if let Some(left) = self.left(&shard, from, retention).await {
                self.warn(&shard, projection, left, retention);
                kept.push(KeptReport {
                    source: self.name.clone(),
                    shard,
                    projection: projection.clone(),
                    seconds_left: left.as_secs(),
                    retention_seconds: retention.as_secs(),
                });
            }
        }
        self.known.retain(|shard, _| kept.iter().any(|kept| kept.shard == *shard));
        self.publish(kept);
        Ok(())
    }

    /// Whoever merges reads all shards.
    fn looked_after(&self, lineage: &Lineage) -> Vec<(ShardId, bool)> {
        let held = self.held.look().clone();
        let shards: BTreeSet<&ShardId> = held.to_work_on().collect();
        let merges = held.has_merge();
        let listed = lineage.shards().filter(|(_, known)| known.gone_at.is_none());
        let ours = listed.filter(|(shard, _)| merges || shards.contains(shard));
        ours.map(|(shard, known)| (shard.clone(), known.initial)).collect()
    }

    /// Records before the journal's start count for nobody; none: nobody has begun the shard, so it is not known yet where it
    /// begins.
    async fn begins_at(
        &self,
        shard: &ShardId,
        is_initial: bool,
        place: Position,
    ) -> Result<Option<Position>> {
        let journal = self.rows.get::<Journal>(&rows::journal_key(&self.name, shard)).await?;
        Ok(match journal {
            Some(journal) => Some(place.max(journal.body.start)),
            None if is_initial => None,
            None => Some(place),
        })
    }

    /// None: the source does not say, and did not before.
    async fn left(&mut self, shard: &ShardId, from: Position, retention: Duration) -> Option<Duration> {
        let known = self.known.get(shard);
        let warned_of = known.and_then(|known| known.warned_of);
        let is_so = known.filter(|known| known.from == from).and_then(|known| known.oldest);
        let oldest = match is_so {
            Some(oldest) => Some(oldest),
            None => match self.ask(shard, &from).await {
                Ok(oldest) => oldest,
                Err(Asked::Trimmed) => Some(Timestamp::MIN),
                // What is unread is at most as old as what was.
                Err(Asked::NotKnown) => Some(known?.oldest?),
            },
        };
        self.known.insert(shard.clone(), Known { from, oldest, warned_of });
        Some(retention::left(oldest, retention, self.clock.now()))
    }

    async fn ask(&self, shard: &ShardId, from: &Position) -> Result<Option<Timestamp>, Asked> {
        match tokio::time::timeout(PATIENCE, self.source.oldest_behind(shard, from)).await {
            Ok(Ok(oldest)) => Ok(oldest),
            Ok(Err(error)) if error.kind() == ErrorKind::Invalid => Err(Asked::Trimmed),
            Ok(Err(error)) => {
                tracing::warn!(source = %self.name, %shard, %error, "the oldest unread record could not be found");
                Err(Asked::NotKnown)
            }
            Err(_) => Err(Asked::NotKnown),
        }
    }

    fn warn(&mut self, shard: &ShardId, projection: &ProjectionId, left: Duration, retention: Duration) {
        let Some(known) = self.known.get_mut(shard) else { return };
        let (remaining, warned_of) = retention::remaining(left, retention, known.warned_of);
        known.warned_of = warned_of;
        let (hours_left, retention_hours) = (left.as_secs() / 3_600, retention.as_secs() / 3_600);
        let (source, position) = (&self.name, &known.from);
        match remaining {
            Remaining::Fine => {}
            Remaining::Little => tracing::warn!(
                %source, %shard, %projection, %position, hours_left, retention_hours,
                "records that the projection has not settled are trimmed soon, and are lost to it then: let it go on \
                 (`foldstream status` says what holds it up), delete it if nobody needs it, or raise the retention time",
            ),
            Remaining::Nothing => tracing::error!(
                %source, %shard, %projection, %position, retention_hours,
                "records that the projection has not settled are being trimmed: raise the retention time at once, and let \
                 it go on",
            ),
        }
    }

    fn publish(&self, kept: Vec<KeptReport>) {
        for of_shard in &kept {
            let left = Some(Duration::from_secs(of_shard.seconds_left));
            metrics::retention_left(self.name.as_str(), of_shard.shard.as_str(), left);
        }
        for shard in self.registry.keeps(&self.name, kept) {
            metrics::retention_left(self.name.as_str(), shard.as_str(), None);
        }
    }
}

/// Why it is not told when the oldest record arrived.
enum Asked {
    Trimmed,
    NotKnown,
}
