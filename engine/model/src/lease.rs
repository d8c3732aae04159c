//! Leases: a worker's claims, by which a fleet shares its work. No safety rests on them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{event::name, position::Position, projection::ProjectionId, shard::ShardId};

name!(
    /// A worker of a fleet. Part of it is drawn by chance, so that no two lives of a process share one.
    WorkerId
);

/// What a worker can claim within a source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseKey {
    /// Its own place in the fleet: as long as it renews this it takes part.
    Worker(WorkerId),
    /// To read a shard for all projections that are served by lanes.
    Shard(ShardId),
    /// To read all shards for one `global` projection.
    Merge(ProjectionId),
}

/// `worker/…`, `shard/…` or `merge/orders@3`, the form that names rows.
impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker(worker) => write!(f, "worker/{worker}"),
            Self::Shard(shard) => write!(f, "shard/{shard}"),
            Self::Merge(projection) => write!(f, "merge/{}", projection.row_name()),
        }
    }
}

/// A claim as it is stored. Every change of it raises the counter, so that owner and counter tell two states apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    pub key: LeaseKey,
    /// Who has it, or gets it as soon as `from` has passed it on; none: it is free.
    pub owner: Option<WorkerId>,
    /// Who still works under it and will pass it on to the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<WorkerId>,
    pub counter: u64,
    /// A shard's: up to here nothing is needed any more of whoever goes on with it, as far as the holder knew when it was last
    /// written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Position>,
}

/// A lease as any application has left it, in a table that it shares with us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignLease {
    pub shard: ShardId,
    /// Who works under it, or did: the name stays when a worker has stopped.
    pub owner: Option<WorkerId>,
    /// Who is alive raises it every few seconds.
    pub counter: u64,
    pub left_at: LeftAt,
    /// We have made it, though others may have gone on with it since.
    pub is_ours: bool,
}

/// How far an application is in a shard, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftAt {
    /// It has settled nothing, and begins at the oldest record that is kept.
    TrimHorizon,
    /// It has settled nothing, and begins behind the newest record.
    Latest,
    /// It has settled nothing, and begins at an instant that it alone knows.
    AtTimestamp,
    /// Everything up to here is settled; of an aggregated record, what stands up to the index.
    Behind(Position),
    /// The shard is settled to its end.
    End,
}

impl Lease {
    /// Who works under it now: the one that passes it on, until that is done.
    pub fn holder(&self) -> Option<&WorkerId> {
        self.from.as_ref().or(self.owner.as_ref())
    }

    /// The same claim, taken away from whoever works under it, who passes it on to nobody; none if it is free.
    pub fn released(&self) -> Option<Self> {
        let holder = self.holder()?.clone();
        Some(Self { owner: None, from: Some(holder), counter: self.counter + 1, ..self.clone() })
    }

    /// What tells two states of a lease apart, and what every change is conditional on.
    pub fn state(&self) -> (Option<&WorkerId>, Option<&WorkerId>, u64) {
        (self.owner.as_ref(), self.from.as_ref(), self.counter)
    }
}
