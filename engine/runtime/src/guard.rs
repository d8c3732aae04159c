//! What a document's guard says of an event: apply it, leave it out, or call it late.
//!
//! Pure decisions; the lanes read, fold and write by them. Correctness rests on them and on the condition of each write
//! alone: whoever was delayed, woke up late or asks twice finds its events covered and does nothing.

mod places;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use foldstream_model::{
    DocumentKey, Epoch, Error, EventType, Fed, Guard, Mark, MarkNumber, OrderKey, Ordering, Place, Result,
    Sequence, ShardNumber, ShardPlaces, StreamId, Timestamp,
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
    Shards { revision: u64, places: ShardPlaces },
    Ordered { revision: u64, key: Option<OrderKey>, read: ShardPlaces },
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
                Standing::Ordered { revision: 0, key: None, read: ShardPlaces::default() }
            }
            (Ordering::Global, Some(Fed::Ordered { revision, key, read })) => {
                let (key, read) = (key.as_deref().cloned(), ShardPlaces::clone(read));
                Standing::Ordered { revision: *revision, key, read }
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
            Standing::Ordered { key, read, .. } => match key {
                Some(key) if origin.order() <= (key.recorded_at, &key.stream, key.sequence) => {
                    if covers(read, origin.shard, &origin.place) || planted::is(Bug::LateTakenForDuplicate) {
                        Judgement::Duplicate
                    } else {
                        Judgement::Late
                    }
                }
                _ => Judgement::Apply,
            },
        })
    }

    /// The event was applied.
    pub fn advance(&mut self, origin: &Origin) {
        self.moved = true;
        match &mut self.standing {
            Standing::Stream(Some((_, sequence))) => *sequence = origin.sequence,
            Standing::Stream(standing) => *standing = Some((origin.stream.clone(), origin.sequence)),
            Standing::Shards { places, .. } => advance(places, origin.shard, &origin.place),
            Standing::Ordered { key, .. } => *key = Some(origin.order_key()),
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

    /// Takes the mark off, as it is closed.
    pub fn clear_mark(&mut self) {
        if let Some(Mark::Set(number)) = self.mark {
            self.mark = Some(Mark::Cleared(number));
            self.moved = true;
        }
    }

    /// Whether the writer of this guard had read further than `read`, in a shard that is not `closed`: then events may
    /// be missing here that the guard would call duplicates, and this reader must read on before it writes.
    pub fn is_ahead_of(&self, read: &ShardPlaces, closed: &ShardPlaces) -> bool {
        let Standing::Ordered { read: stored, .. } = &self.standing else { return false };
        stored.places.iter().any(|(shard, place)| !covers(read, *shard, place) && !is_closed(closed, *shard))
    }

    /// The order key that the document stands at; `global` only.
    pub fn order_key(&self) -> Option<&OrderKey> {
        let Standing::Ordered { key, .. } = &self.standing else { return None };
        key.as_ref()
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
            Standing::Ordered { revision, key, mut read } => {
                for (shard, place) in &merge_read.places {
                    advance(&mut read, *shard, place);
                }
                shrink(&mut read, closed);
                let (key, read) = (key.map(Box::new), Box::new(read));
                Fed::Ordered { revision: revision.saturating_add(1), key, read }
            }
        };
        Some(Guard { epoch: self.epoch, fed, mark: self.mark, unrecorded: self.unrecorded })
    }
}
