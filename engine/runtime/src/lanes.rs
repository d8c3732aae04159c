//! Lanes: the one place in a process where a document is changed.
//!
//! A lane buffers the touches of its documents, says which documents it must read and what it would write, is told
//! how that went, and tells what has settled. It folds all that waits for a document into one write. Between a document's
//! write and its outcome nothing else is done to it; a conflict replaces the base, judges all events anew and folds
//! again; a write of unknown outcome is read back before anything is believed.

mod words;
mod documents;
mod outbox;
mod fold;
mod aside;
mod trial;
mod buffer;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    num::NonZeroUsize,
};

use foldstream_model::{
    DocumentKey, ShardNumber, ShardPlaces, Timestamp,
    ports::{DocumentWrite, StoredDocument, Written},
};
use xxhash_rust::xxh3::xxh3_64;

use self::{
    buffer::{Buffer, Flight, Phase, Turn},
    documents::{Documents, Slot},
    fold::Rules,
    outbox::Outbox,
};
use crate::{
    guard,
    planted::{self, Bug},
    progress::BatchId,
};

pub use words::{
    Bounds, Delivery, Discard, LaneMode, LaneOptions, LanePoison, LateEvent, LineId, ParkAnswer, ParkRequest,
    SetAside,
};

/// The lane that a document belongs to.
pub fn lane_of(key: &DocumentKey, lanes: NonZeroUsize) -> usize {
    let lanes = u64::try_from(lanes.get()).unwrap_or(u64::MAX);
    usize::try_from(xxh3_64(key.as_str().as_bytes()) % lanes).unwrap_or(0)
}

/// A sequential buffer of documents of one projection.
///
/// Its driver delivers, then asks [`Lane::to_read`] and [`Lane::to_write`] and answers each document with
/// [`Lane::loaded`], [`Lane::written`] or [`Lane::unknown`], and takes what the lane has to tell. Reads and writes of
/// different documents may be under way at once.
pub struct Lane {
    rules: Rules,
    documents: Documents,
    unread: VecDeque<Slot>,
    ready: VecDeque<Slot>,
    /// By the watermark that they wait for.
    early: BTreeSet<(Timestamp, Slot)>,
    /// How many writes have no known outcome.
    writing: usize,
    out: Outbox,
}

impl Lane {
    pub fn new(options: LaneOptions) -> Self {
        let LaneOptions { ordering, epoch, mode, cache_bytes } = options;
        Self {
            rules: Rules { ordering, epoch, mode, closed: ShardPlaces::default(), bounds: None },
            documents: Documents::new(cache_bytes),
            unread: VecDeque::new(),
            ready: VecDeque::new(),
            early: BTreeSet::new(),
            writing: 0,
            out: Outbox::default(),
        }
    }

    /// Takes a touch. Those of one shard come in the order of their places within a line; no two lines deliver of one
    /// shard at once.
    pub fn deliver(&mut self, delivery: Delivery) {
        self.out.undone += 1;
        self.out.bytes += delivery.bytes;
        let (slot, buffer, was_at_rest) = self.documents.wake(&delivery.touch.key);
        if buffer.is_blocked(self.rules.ordering, &delivery.origin) {
            self.out.hold(&delivery);
            buffer.held.push(delivery);
            return;
        }
        match buffer.phase {
            Phase::Held => enqueue(buffer, Phase::Unread, &mut self.unread, slot),
            Phase::Early => enqueue(buffer, Phase::Ready, &mut self.ready, slot),
            Phase::Unread if was_at_rest => self.unread.push_back(slot),
            Phase::Ready if was_at_rest => self.ready.push_back(slot),
            _ => {}
        }
        if buffer.pending.is_empty() {
            // Most documents get one event at a time.
            buffer.pending.reserve_exact(1);
        }
        buffer.pending.push(delivery);
    }

    /// `global` only, instead of [`Lane::deliver`]: takes all that the merge has read for this lane up to the bounds.
    /// Every lane of the projection is told all bounds, in order.
    pub fn merged(&mut self, deliveries: impl IntoIterator<Item = Delivery>, bounds: Bounds) {
        for delivery in deliveries {
            let Delivery { origin, .. } = &delivery;
            debug_assert!(
                guard::covers(&bounds.read, origin.shard, &origin.place),
                "delivered beyond the bounds"
            );
            self.deliver(delivery);
        }
        while let Some((due, _)) = self.early.first()
            && *due <= bounds.watermark
            && let Some((_, slot)) = self.early.pop_first()
        {
            if let Some(buffer) = self.documents.get_mut(slot)
                && buffer.phase == Phase::Early
            {
                enqueue(buffer, Phase::Ready, &mut self.ready, slot);
            }
        }
        self.rules.bounds = Some(bounds);
    }

    /// At most `limit` documents that must be read; each is answered by [`Lane::loaded`].
    pub fn to_read(&mut self, limit: usize) -> Vec<DocumentKey> {
        let mut keys = Vec::new();
        while keys.len() < limit
            && let Some(slot) = self.unread.pop_front()
        {
            let Some(buffer) = self.documents.get_mut(slot) else { continue };
            if buffer.phase != Phase::Unread {
                continue;
            }
            if buffer.pending.is_empty() && buffer.flight.is_none() {
                self.documents.rest(slot);
                continue;
            }
            buffer.phase = Phase::Reading;
            keys.push(buffer.key.clone());
        }
        keys
    }

    /// What is stored of a document that [`Lane::to_read`] named.
    pub fn loaded(&mut self, key: &DocumentKey, stored: Option<StoredDocument>) {
        let Some((slot, buffer)) = self.documents.find(key) else { return };
        if buffer.phase != Phase::Reading {
            return;
        }
        match buffer.flight.take() {
            Some(flight) => self.land(slot, flight, stored),
            None => {
                buffer.rebase(stored);
                self.ready.push_back(slot);
            }
        }
    }

    /// At most `limit` writes, each of another document; each is answered by [`Lane::written`] or [`Lane::unknown`].
    pub fn to_write(&mut self, limit: usize) -> Vec<DocumentWrite> {
        let mut writes = Vec::new();
        while writes.len() < limit
            && let Some(slot) = self.ready.pop_front()
        {
            let Some(buffer) = self.documents.get_mut(slot) else { continue };
            if buffer.phase != Phase::Ready {
                continue;
            }
            let turn = buffer.turn(&self.rules, &mut self.out);
            writes.extend(self.follow(slot, turn));
        }
        writes
    }

    /// How a write ended.
    pub fn written(&mut self, key: &DocumentKey, written: Written) {
        let Some((slot, buffer)) = self.documents.find(key) else { return };
        let Some(flight) = buffer.flight.take() else { return };
        match written {
            Written::Done => self.finish(slot, flight),
            Written::Conflict(_) if planted::is(Bug::ConflictTakenForSuccess) => self.finish(slot, flight),
            Written::Conflict(stored) => self.land(slot, flight, stored.map(|stored| *stored)),
            Written::Rejected(error) => {
                self.writing -= 1;
                let at_most = flight.applied / 2;
                buffer.land(flight);
                let turn = buffer.fail(at_most, error, &self.rules, &mut self.out);
                self.follow(slot, turn);
            }
        }
    }

    /// Nobody knows how these writes ended: they are read back.
    pub fn unknown<'a>(&mut self, keys: impl IntoIterator<Item = &'a DocumentKey>) {
        for key in keys {
            if planted::is(Bug::LostAnswerIgnored) {
                self.written(key, Written::Done);
            } else if let Some((slot, buffer)) = self.documents.find(key)
                && buffer.phase == Phase::Writing
            {
                enqueue(buffer, Phase::Unread, &mut self.unread, slot);
            }
        }
    }

    /// The late events of this document that [`Lane::take_late`] gave are durable: it may move on.
    pub fn late_recorded(&mut self, key: &DocumentKey) {
        if let Some((slot, buffer)) = self.documents.find(key)
            && buffer.phase == Phase::Recording
        {
            self.out.settle(&mem::take(&mut buffer.late));
            enqueue(buffer, Phase::Ready, &mut self.ready, slot);
        }
    }

    /// How many events of each batch have settled since the last call: applied by a write that was acknowledged,
    /// covered by a guard that was stored, parked, or recorded as late.
    pub fn take_settled(&mut self) -> Vec<(LineId, BatchId, usize)> {
        mem::take(&mut self.out.settled)
            .into_iter()
            .map(|((line, batch), count)| (line, batch, count))
            .collect()
    }

    /// Events that could not be taken, since the last call. They and what has to wait behind them never settle; they
    /// are forgotten with their line.
    pub fn take_poison(&mut self) -> Vec<LanePoison> {
        mem::take(&mut self.out.poison)
    }

    /// By how many events more, or fewer, poison holds up since the last call: itself, and those behind it.
    pub fn take_held_up(&mut self) -> Vec<(LineId, BatchId, isize)> {
        let held_up = mem::take(&mut self.out.held_up).into_iter();
        held_up.map(|((line, batch), change)| (line, batch, change)).collect()
    }

    /// Late events, since the last call. Each of their documents rests until [`Lane::late_recorded`] names it.
    pub fn take_late(&mut self) -> Vec<LateEvent> {
        mem::take(&mut self.out.late)
    }

    /// The projection has settled all of this shard, which is sealed: guards shrink by it from now on.
    pub fn closed(&mut self, shard: ShardNumber) {
        guard::close(&mut self.rules.closed, shard);
    }

    /// Forgets all events of a reading that have not settled, as it was rewound, detached or stopped. A `global` lane
    /// writes nothing more until it is told new bounds, which must not reach beyond what is then delivered again.
    pub fn abandon(&mut self, line: LineId) {
        self.rules.bounds = None;
        self.out.settled.retain(|(of, _), _| *of != line);
        self.out.held_up.retain(|(of, _), _| *of != line);
        self.out.poison.retain(|poison| poison.line != line);
        for slot in self.documents.awake() {
            let Some(buffer) = self.documents.get_mut(slot) else { continue };
            buffer.abandon(line, self.rules.ordering, &mut self.out);
            match buffer.phase {
                Phase::Early => enqueue(buffer, Phase::Ready, &mut self.ready, slot),
                Phase::Held => enqueue(buffer, Phase::Unread, &mut self.unread, slot),
                _ => {}
            }
        }
    }

    /// Forgets what documents were known to hold, as others may have written them: a shard was won, or a projection has
    /// rejoined the shared read.
    pub fn clear_cache(&mut self) {
        self.documents.forget_resting();
        for slot in self.documents.awake() {
            if let Some(buffer) = self.documents.get_mut(slot)
                && matches!(buffer.phase, Phase::Ready | Phase::Early)
            {
                buffer.base = None;
                enqueue(buffer, Phase::Unread, &mut self.unread, slot);
            }
        }
    }

    /// Nothing is under way, and nothing waits but what is held up by poison.
    pub fn is_idle(&self) -> bool {
        self.out.undone == 0 && self.writing == 0
    }

    /// There is something to read or to write now. All else waits for an answer, or for the merge to come further.
    pub fn has_work(&self) -> bool {
        !self.unread.is_empty() || !self.ready.is_empty()
    }

    /// How many documents wait to be written.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many events may yet settle.
    pub fn undone(&self) -> usize {
        self.out.undone
    }

    /// What the events in the lane weigh.
    pub fn bytes(&self) -> usize {
        self.out.bytes
    }

    fn follow(&mut self, slot: Slot, turn: Turn) -> Option<DocumentWrite> {
        let buffer = self.documents.get_mut(slot)?;
        match turn {
            Turn::Write(write) => {
                self.writing += 1;
                buffer.phase = Phase::Writing;
                return Some(write);
            }
            Turn::Read => enqueue(buffer, Phase::Unread, &mut self.unread, slot),
            Turn::Ready => enqueue(buffer, Phase::Ready, &mut self.ready, slot),
            Turn::Record => buffer.phase = Phase::Recording,
            Turn::Park => buffer.phase = Phase::Parking,
            Turn::Wait(due) => {
                buffer.phase = Phase::Early;
                self.early.insert((due, slot));
            }
            Turn::Rest => self.documents.rest(slot),
        }
        None
    }

    /// The write is done: its events are settled, and what it has put is the base.
    fn finish(&mut self, slot: Slot, flight: Flight) {
        self.writing -= 1;
        self.out.settle(&flight.deliveries);
        let Some(buffer) = self.documents.get_mut(slot) else { return };
        buffer.at_most = buffer.at_most.saturating_mul(2);
        buffer.phase = Phase::Ready;
        buffer.fresh = true;
        if buffer.pending.is_empty() { self.documents.rest(slot) } else { self.ready.push_back(slot) }
    }

    /// The write was not done, or nobody knows. Its events are judged anew by what is stored: if it was done, they are
    /// covered. Its guard proves nothing: another writer, on another base, may have put the same.
    fn land(&mut self, slot: Slot, flight: Flight, stored: Option<StoredDocument>) {
        self.writing -= 1;
        let Some(buffer) = self.documents.get_mut(slot) else { return };
        buffer.land(flight);
        buffer.rebase(stored);
        self.ready.push_back(slot);
    }
}

fn enqueue(buffer: &mut Buffer, phase: Phase, queue: &mut VecDeque<Slot>, slot: Slot) {
    buffer.phase = phase;
    queue.push_back(slot);
}
