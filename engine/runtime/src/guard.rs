//! What a document's guard says of an event: apply it, leave it out, or call it late.
//!
//! Pure decisions; the lanes read, fold and write by them. Correctness rests on them and on the condition of each write
//! alone: whoever was delayed, woke up late or asks twice finds its events covered and does nothing.

mod places;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use foldstream_model::{
    DocumentKey, Epoch, Error, EventType, Fed, Guard, Mark, MarkNumber, OrderKey, Ordering, Place, Reach,
    Result, Sequence, ShardNumber, ShardPlaces, StreamId, Timestamp,
};

use crate::planted::{self, Bug};

pub use places::{advance, close, covers, is_closed, shrink};

/// Where an event comes from, as guards see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub shard: ShardNumber,
    /// Where it was released.
    pub place: Place,
    pub stream: StreamId,
    pub sequence: Sequence,
    pub event_type: EventType,
    /// When it was recorded, raised to that of the stream's previous event. Only `global` projections look at it.
    pub recorded_at: Timestamp,
}

impl Origin {
    pub fn order_key(&self) -> OrderKey {
        OrderKey { recorded_at: self.recorded_at, stream: self.stream.clone(), sequence: self.sequence }
    }

    /// What [`Origin::order_key`] compares by, borrowed.
    pub fn order(&self) -> (Timestamp, &StreamId, Sequence) {
        (self.recorded_at, &self.stream, self.sequence)
    }
}

/// What is to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Apply,
    /// The document has it, or it was recorded as late.
    Duplicate,
    /// The document was moved past it without it, and it is still to be recorded that it is discarded.
    Unrecorded,
    /// `global` only: the document is beyond it, and no merge had read it when that was written.
    Late,
}

/// A document's guard in the hands of one fold: judges events, moves with each one that is applied, and becomes the
/// guard to be written.
#[derive(Debug, Clone)]
pub struct Judge<'a> {
    key: &'a DocumentKey,
    epoch: Epoch,
    standing: Standing,
    mark: Option<Mark>,
    unrecorded: BTreeSet<(ShardNumber, Place)>,
    moved: bool,
}

#[derive(Debug, Clone)]
enum Standing {
    Stream(Option<(StreamId, Sequence)>),
    Shards {
        revision: u64,
        places: ShardPlaces,
    },
    /// What the document has, and what is parked behind that.
    Ordered {
        revision: u64,
        applied: Reach,
        parked: Option<Reach>,
    },
}

/// Whether an event is ordered up to the key of this reach; and whether it is there, then, or late.
fn reached(reach: &Reach, origin: &Origin) -> Option<bool> {
    let is_up_to = |key: &OrderKey| origin.order() <= (key.recorded_at, &key.stream, key.sequence);
    let is_reached = reach.key.as_ref().is_some_and(is_up_to);
    is_reached.then(|| covers(&reach.read, origin.shard, &origin.place))
}

impl<'a> Judge<'a> {
    /// Starts from what is stored. A guard of a lower epoch counts as none. `Fenced`: it is of a higher epoch.
    /// `Internal`: it was written under another ordering.
    pub fn new(
        key: &'a DocumentKey,
        ordering: Ordering,
        epoch: Epoch,
        stored: Option<&Guard>,
    ) -> Result<Self> {
        let stored = match stored {
            Some(guard) if guard.epoch > epoch && !planted::is(Bug::EpochIgnored) => {
                return Err(Error::fenced(format!(
                    "the document was rebuilt meanwhile: document={key} epoch={} stored_epoch={}",
                    epoch.0, guard.epoch.0
                )));
            }
            Some(guard) if guard.epoch == epoch => Some(guard),
            _ => None,
        };
        let standing = match (ordering, stored.map(|guard| &guard.fed)) {
            (Ordering::PerStream, None | Some(Fed::Nothing)) => Standing::Stream(None),
            (Ordering::PerStream, Some(Fed::Stream { stream, sequence })) => {
                Standing::Stream(Some((stream.clone(), *sequence)))
            }
            (Ordering::Commutative, None) => Standing::Shards { revision: 0, places: ShardPlaces::default() },
            (Ordering::Commutative, Some(Fed::Shards { revision, places })) => {
                Standing::Shards { revision: *revision, places: ShardPlaces::clone(places) }
            }
            (Ordering::Global, None) => {
                Standing::Ordered { revision: 0, applied: Reach::default(), parked: None }
            }
            (Ordering::Global, Some(Fed::Ordered { revision, key, read, parked })) => {
                let applied = Reach { key: key.as_deref().cloned(), read: ShardPlaces::clone(read) };
                Standing::Ordered { revision: *revision, applied, parked: parked.as_deref().cloned() }
            }
            (_, Some(_)) => {
                return Err(Error::internal(format!(
                    "the document was written under another ordering: document={key} ordering={ordering:?}; \
                     give the projection a new version"
                )));
            }
        };
        let mark = stored.and_then(|guard| guard.mark);
        let unrecorded = stored.map(|guard| guard.unrecorded.clone()).unwrap_or_default();
        Ok(Self { key, epoch, standing, mark, unrecorded, moved: false })
    }

    /// `Poison`: the document belongs to another stream.
    pub fn judge(&self, origin: &Origin) -> Result<Judgement> {
        Ok(match &self.standing {
            _ if self.is_unrecorded(origin) => Judgement::Unrecorded,
            Standing::Stream(None) => Judgement::Apply,
            Standing::Stream(Some((stream, _))) if *stream != origin.stream => {
                return Err(Error::poison(format!(
                    "two streams write one document of a per_stream projection: document={} stream={} other={stream}; \
                     make the key contain the stream id, or the projection commutative",
                    self.key, origin.stream
                )));
            }
            Standing::Stream(Some((_, sequence))) if origin.sequence <= *sequence => Judgement::Duplicate,
            Standing::Stream(Some(_)) => Judgement::Apply,
            Standing::Shards { places, .. } if covers(places, origin.shard, &origin.place) => {
                Judgement::Duplicate
            }
            Standing::Shards { .. } => Judgement::Apply,
            Standing::Ordered { applied, parked, .. } => {
                let parked = parked.as_ref().filter(|_| !planted::is(Bug::ReachIgnored));
                match reached(parked.unwrap_or(applied), origin) {
                    None => Judgement::Apply,
                    Some(false) if !planted::is(Bug::LateTakenForDuplicate) => Judgement::Late,
                    Some(_) => Judgement::Duplicate,
                }
            }
        })
    }

    /// What a redrive is to do with an event that waits in the lot. Late: whoever put it there was overtaken by a merge that
    /// had not read it.
    pub fn judge_parked(&self, origin: &Origin) -> Result<Judgement> {
        let judgement = self.judge(origin)?;
        let Standing::Ordered { applied, .. } = &self.standing else { return Ok(judgement) };
        Ok(match judgement {
            Judgement::Duplicate if reached(applied, origin).is_none() => Judgement::Apply,
            Judgement::Late if planted::is(Bug::OvertakenRedriven) => Judgement::Apply,
            judgement => judgement,
        })
    }

    /// Whether a redrive may take the event out of the lot. Of a `global` document what is ordered behind all that is
    /// known to be parked is on its way there only: what is ordered before it may come yet.
    pub fn is_parked(&self, origin: &Origin) -> bool {
        match &self.standing {
            Standing::Stream(_) | Standing::Shards { .. } => true,
            Standing::Ordered { parked, .. } => {
                let is_reached = parked.as_ref().is_some_and(|parked| reached(parked, origin).is_some());
                is_reached || planted::is(Bug::RedrivenUnderWay)
            }
        }
    }

    /// The event was applied.
    pub fn advance(&mut self, origin: &Origin) {
        self.moved = true;
        match &mut self.standing {
            Standing::Stream(Some((_, sequence))) => *sequence = origin.sequence,
            Standing::Stream(standing) => *standing = Some((origin.stream.clone(), origin.sequence)),
            Standing::Shards { places, .. } => advance(places, origin.shard, &origin.place),
            Standing::Ordered { applied, .. } => applied.key = Some(origin.order_key()),
        }
    }

    /// `global` only: the event is in the lot, with all that is ordered before it.
    pub fn park(&mut self, origin: &Origin) {
        if let Standing::Ordered { applied, parked, .. } = &mut self.standing {
            parked.get_or_insert_with(|| applied.clone()).key = Some(origin.order_key());
            self.moved = true;
        }
    }

    fn is_unrecorded(&self, origin: &Origin) -> bool {
        self.unrecorded.iter().any(|(shard, place)| *shard == origin.shard && *place == origin.place)
    }

    /// The event is discarded: from here on it is covered, and nobody applies it any more. That is still to be recorded.
    /// `Poison`: the document belongs to another stream, of which its guard can say nothing.
    pub fn pass_over(&mut self, origin: &Origin) -> Result<()> {
        self.judge(origin)?;
        self.advance(origin);
        self.unrecorded.insert((origin.shard, origin.place.clone()));
        Ok(())
    }

    /// It is on record that the event is discarded.
    pub fn recorded(&mut self, origin: &Origin) {
        self.moved |= self.unrecorded.remove(&(origin.shard, origin.place.clone()));
    }

    /// The mark that the document carries: its events are in the lot, and nothing is applied but by a redrive.
    pub fn mark(&self) -> Option<MarkNumber> {
        match self.mark {
            Some(Mark::Set(number)) => Some(number),
            Some(Mark::Cleared(_)) | None => None,
        }
    }

    /// Parks the document from here on. No mark is set twice: the number of the last one stays when it is taken off.
    pub fn set_mark(&mut self) {
        let last = match self.mark {
            Some(Mark::Set(number) | Mark::Cleared(number)) => number.0,
            None => 0,
        };
        self.mark = Some(Mark::Set(MarkNumber(last.saturating_add(1))));
        self.moved = true;
    }

    /// Takes the mark off, as it is closed: what was parked is in the document.
    pub fn clear_mark(&mut self) {
        if let Some(Mark::Set(number)) = self.mark {
            self.mark = Some(Mark::Cleared(number));
            self.moved = true;
        }
        if let Standing::Ordered { applied, parked, .. } = &mut self.standing
            && let Some(parked) = parked.take()
        {
            *applied = parked;
        }
    }

    /// Whether the writer of this guard had read further than `read`, in a shard that is not `closed`: then events may
    /// be missing here that the guard would call duplicates, and this reader must read on before it writes.
    pub fn is_ahead_of(&self, read: &ShardPlaces, closed: &ShardPlaces) -> bool {
        let Some(stored) = self.reach() else { return false };
        let is_behind = |shard, place| !covers(read, shard, place) && !is_closed(closed, shard);
        stored.read.places.iter().any(|(shard, place)| is_behind(*shard, place))
    }

    /// The order key behind which events are late; `global` only.
    pub fn order_key(&self) -> Option<&OrderKey> {
        self.reach()?.key.as_ref()
    }

    /// By what live events are judged; `global` only.
    fn reach(&self) -> Option<&Reach> {
        let Standing::Ordered { applied, parked, .. } = &self.standing else { return None };
        Some(parked.as_ref().unwrap_or(applied))
    }

    /// The guard to be written, with the places of closed shards shrunk and, for `global`, how far the merge has read.
    /// None when nothing was changed.
    ///
    /// Nothing shrinks while the mark stands: events of a shard that has ended since may wait in the lot, and a shard
    /// that is covered to its end would cover them.
    pub fn into_guard(self, closed: &ShardPlaces, merge_read: &ShardPlaces) -> Option<Guard> {
        if !self.moved {
            return None;
        }
        let open = ShardPlaces::default();
        let is_kept = self.mark().is_some() && !planted::is(Bug::ShrunkUnderMark);
        let closed = if is_kept { &open } else { closed };
        let fed = match self.standing {
            Standing::Stream(None) => Fed::Nothing,
            Standing::Stream(Some((stream, sequence))) => Fed::Stream { stream, sequence },
            Standing::Shards { revision, mut places } => {
                shrink(&mut places, closed);
                Fed::Shards { revision: revision.saturating_add(1), places: Box::new(places) }
            }
            Standing::Ordered { revision, mut applied, mut parked } => {
                let read = &mut parked.as_mut().unwrap_or(&mut applied).read;
                for (shard, place) in &merge_read.places {
                    advance(read, *shard, place);
                }
                shrink(read, closed);
                let (revision, key) = (revision.saturating_add(1), applied.key.map(Box::new));
                Fed::Ordered { revision, key, read: Box::new(applied.read), parked: parked.map(Box::new) }
            }
        };
        Some(Guard { epoch: self.epoch, fed, mark: self.mark, unrecorded: self.unrecorded })
    }
}
