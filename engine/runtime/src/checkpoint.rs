//! checkpoint: commits the prefix that is settled.
//!
//! A checkpoint stands on a cut that was written before it, never goes back within a generation, and never replaces one
//! of a higher generation.

use std::sync::{Arc, Mutex as Latest, PoisonError};

use foldstream_model::{
    Checkpoint, CutId, Error, Generation, Place, Position, ProjectionId, Result, ShardId, SourceName, Stop,
    Timestamp,
    ports::{Revision, RowKey},
};
use tokio::sync::Mutex;

use crate::{
    invariants, metrics,
    planted::{self, Bug},
    rows::{self, Rows},
};

/// One projection's checkpoint in one shard. The shared reading and the private one hand it to each other, so that both
/// write under one view of the row.
pub struct CheckpointHandle {
    key: RowKey,
    rows: Rows,
    generation: Generation,
    /// Held while a claim is on its way.
    seen: Mutex<Seen>,
    latest: Latest<Checkpoint>,
}

#[derive(Debug, Clone)]
struct Seen {
    revision: Option<Revision>,
    checkpoint: Checkpoint,
}

/// What a checkpoint is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The cut at the settled place; none where that has not moved.
    pub cut: Option<CutId>,
    /// The first record that brought an event which waits at that place.
    pub waits_from: Option<Position>,
    pub ended: bool,
    pub settled_until: Option<Timestamp>,
    pub stop: Option<Stop>,
    pub at: Timestamp,
}

impl Claim {
    /// Up to where it says that all is settled; the beginning where it says nothing of that.
    pub fn place(&self) -> Place {
        self.cut.as_ref().map_or(Place::BEGINNING, |cut| cut.place.clone())
    }
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The claim is stored, or says nothing that was not known to be.
    Stands,
    /// Others have moved the checkpoint, as far as the claim or not, and it was not put: what its cut adds to may be gone, as
    /// nobody stood on that any more, so that cut is nobody's to stand on. What a new chain of cuts begins with may be claimed.
    Overtaken,
}

impl CheckpointHandle {
    /// Reads where a projection of this generation begins in a shard: its checkpoint, or where its generation starts.
    /// `Fenced` when a higher generation is stored.
    pub async fn read(
        rows: &Rows,
        projection: &ProjectionId,
        source: &SourceName,
        shard: &ShardId,
        control: &foldstream_model::Control,
    ) -> Result<Arc<Self>> {
        let key = rows::checkpoint_key(projection, source, shard);
        let stored = rows.get::<Checkpoint>(&key).await?;
        if stored.as_ref().is_some_and(|stored| stored.body.generation > control.generation) {
            return Err(Error::fenced(format!("the projection was rewound: row={key}")));
        }
        let revision = stored.as_ref().map(|stored| stored.revision);
        let checkpoint = effective(stored.map(|stored| stored.body), control, shard);
        let latest = Latest::new(checkpoint.clone());
        let seen = Mutex::new(Seen { revision, checkpoint });
        Ok(Arc::new(Self { key, rows: rows.clone(), generation: control.generation, seen, latest }))
    }

    /// The last one that is known to be stored, whatever is on its way.
    pub fn checkpoint(&self) -> Checkpoint {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Commits a claim. Nothing happens when it is behind what is stored; `Fenced` when a higher generation is stored.
    pub async fn commit(&self, claim: Claim) -> Result<Committed> {
        let mut seen = self.seen.lock().await;
        loop {
            if !advances(&seen.checkpoint, &claim) {
                return Ok(Committed::Stands);
            }
            let checkpoint = self.body(&claim, &seen.checkpoint);
            let moves_on = invariants::checkpoint_moves_on(&seen.checkpoint, &checkpoint);
            metrics::watch("checkpoint_moves_on", moves_on);
            if let Some(revision) = self.rows.put(&self.key, seen.revision, &checkpoint).await? {
                *seen = Seen { revision: Some(revision), checkpoint };
                self.tell(&seen);
                return Ok(Committed::Stands);
            }
            let stored = self.rows.get::<Checkpoint>(&self.key).await?;
            let before = seen.checkpoint.place();
            *seen = self.adopt(stored, &seen.checkpoint)?;
            self.tell(&seen);
            let was_moved = seen.checkpoint.place() > before;
            // It was the claim itself that moved it if that was put without an answer: no two readers share a chain.
            let is_overtaken = was_moved && claim.cut.is_some() && seen.checkpoint.cut != claim.cut;
            if is_overtaken && !planted::is(Bug::OvertakenGoesOn) {
                return Ok(Committed::Overtaken);
            }
        }
    }

    fn tell(&self, seen: &Seen) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = seen.checkpoint.clone();
    }

    /// A checkpoint that does not move keeps the cut on which it stands: another of the same place may be removed.
    fn body(&self, claim: &Claim, stored: &Checkpoint) -> Checkpoint {
        let moves = |cut: &&CutId| stored.cut.as_ref().is_none_or(|stored| cut.place > stored.place);
        let moved = claim.cut.as_ref().filter(moves);
        let waits_from = if moved.is_some() { &claim.waits_from } else { &stored.waits_from };
        Checkpoint {
            generation: self.generation,
            cut: moved.or(stored.cut.as_ref()).cloned(),
            waits_from: waits_from.clone(),
            ended: claim.ended,
            settled_until: claim.settled_until.max(stored.settled_until),
            stop: claim.stop.clone(),
            written_at: claim.at,
        }
    }

    /// Another was faster: its checkpoint counts if it is of our generation, and fences us if it is of a higher one.
    fn adopt(&self, stored: Option<rows::Versioned<Checkpoint>>, ours: &Checkpoint) -> Result<Seen> {
        let Some(stored) = stored else { return Ok(Seen { revision: None, checkpoint: ours.clone() }) };
        if stored.body.generation > self.generation && !planted::is(Bug::GenerationIgnored) {
            return Err(Error::fenced(format!("the projection was rewound: row={}", self.key)));
        }
        let same = stored.body.generation == self.generation;
        let checkpoint = if same { stored.body } else { ours.clone() };
        Ok(Seen { revision: Some(stored.revision), checkpoint })
    }
}

/// The checkpoint that counts: the stored one, unless the projection was rewound since.
pub fn effective(
    stored: Option<Checkpoint>,
    control: &foldstream_model::Control,
    shard: &ShardId,
) -> Checkpoint {
    match stored {
        Some(stored) if stored.generation >= control.generation => stored,
        _ => Checkpoint {
            generation: control.generation,
            cut: control.starts.get(shard).cloned(),
            waits_from: None,
            ended: control.ended.contains(shard),
            settled_until: None,
            stop: None,
            written_at: control.registered_at,
        },
    }
}

/// Whether a claim says more than a checkpoint: never backwards, and not the same again. What has stopped a worker where
/// another has got beyond it stops nobody.
fn advances(stored: &Checkpoint, claim: &Claim) -> bool {
    let stands = stored.place();
    let claimed = claim.cut.as_ref().map_or_else(|| stands.clone(), |cut| cut.place.clone());
    let is_past = claim.stop.as_ref().is_some_and(|stop| stop.place < stands);
    if claimed < stands || is_past || (stored.ended && !claim.ended) {
        return false;
    }
    claimed > stands || claim.ended != stored.ended || claim.stop != stored.stop
}
