//! What a lane holds of one document.

use std::{mem, ops::ControlFlow};

use foldstream_model::{
    DocumentKey, Error, Ordering, Timestamp,
    ports::{Condition, DocumentWrite, StoredDocument},
};

use super::{
    aside::Aside,
    fold::{Folded, Rules},
    outbox::Outbox,
    words::{Delivery, LaneMode, LineId},
};
use crate::guard::Origin;

/// Where a document stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is to be done; since which rest, and what it weighs.
    Resting { since: u64, bytes: usize },
    /// It must be read; so must one whose write has an unknown outcome.
    Unread,
    /// It is being read.
    Reading,
    /// Its base is known, and its events wait for their turn.
    Ready,
    /// `global`: nothing of it is due before the merge has come further.
    Early,
    /// Late events of it, or one that is discarded, are being recorded.
    Recording,
    /// Events of it are on their way into the lot.
    Parking,
    /// A write of it is under way.
    Writing,
    /// Nothing is left but what an event that could not be taken holds up.
    Held,
}

/// What a turn has come to.
pub(super) enum Turn {
    Write(DocumentWrite),
    Read,
    Ready,
    Record,
    Park,
    Wait(Timestamp),
    Rest,
}

pub(super) struct Buffer {
    pub key: DocumentKey,
    pub phase: Phase,
    /// What is stored, as far as known; while a write is under way, what that puts.
    pub base: Option<StoredDocument>,
    /// The base was read or written since the last rest: what it cannot take is poison.
    pub fresh: bool,
    /// The rest by which it stands among the oldest of those that have rested, if it does.
    pub stands_at: Option<u64>,
    pub pending: Vec<Delivery>,
    /// Events that are being recorded as late.
    pub late: Vec<Delivery>,
    /// The write under way, or of unknown outcome.
    pub flight: Option<Flight>,
    /// How many events the next write may apply; lowered to find the one that cannot be taken.
    pub at_most: usize,
    /// What is being set aside of it.
    pub aside: Option<Box<Aside>>,
    /// Events that could not be taken.
    pub stops: Vec<Stop>,
    /// What waits behind them, unsettled.
    pub held: Vec<Delivery>,
}

/// The events that settle with a write. The first one is applied by it; none is by one that only sets a mark or takes
/// it off.
pub(super) struct Flight {
    pub deliveries: Vec<Delivery>,
    pub applied: usize,
}

/// An event that the document could not take.
pub(super) struct Stop {
    pub line: LineId,
    pub origin: Origin,
}

impl Stop {
    /// Whether an event must wait behind this one: all of its shard; in a `global` projection all that is ordered
    /// after it, whatever the shard.
    fn blocks(&self, ordering: Ordering, origin: &Origin) -> bool {
        match ordering {
            Ordering::Global => origin.order() > self.origin.order(),
            Ordering::PerStream | Ordering::Commutative => origin.shard == self.origin.shard,
        }
    }
}

impl Buffer {
    /// Nothing is known of it.
    pub fn new(key: DocumentKey) -> Self {
        Self {
            key,
            phase: Phase::Unread,
            base: None,
            fresh: false,
            stands_at: None,
            pending: Vec::new(),
            late: Vec::new(),
            flight: None,
            at_most: usize::MAX,
            aside: None,
            stops: Vec::new(),
            held: Vec::new(),
        }
    }

    /// The memory that it takes when nothing is left to be done, roughly.
    pub fn size_at_rest(&self) -> usize {
        /// Maps, allocations and the entries that lead here.
        const OVERHEAD: usize = 200;
        let document = self.base.as_ref().and_then(|base| base.document.as_ref());
        let document = document.map_or(0, |document| document.size_in_bytes());
        size_of::<Self>() + OVERHEAD + self.key.as_str().len() + document
    }

    /// Whether this event comes first, and is still to be applied.
    pub fn begins_with(&self, origin: &Origin) -> bool {
        let at = (origin.shard, origin.place.clone());
        let is_first = |first: &Delivery| (first.origin.shard, &first.origin.place) == (at.0, &at.1);
        let is_past = self.base.as_ref().is_some_and(|base| base.guard.unrecorded.contains(&at));
        self.pending.first().is_some_and(is_first) && !is_past && !self.refuses_first()
    }

    pub fn is_blocked(&self, ordering: Ordering, origin: &Origin) -> bool {
        self.stops.iter().any(|stop| stop.blocks(ordering, origin))
    }

    /// What the store has just said of the document is its base.
    pub fn rebase(&mut self, stored: Option<StoredDocument>) {
        self.phase = Phase::Ready;
        self.base = stored;
        self.fresh = true;
    }

    /// Settles what the base covers and folds what is due.
    pub fn turn(&mut self, rules: &Rules, out: &mut Outbox) -> Turn {
        match self.prepare(rules, out) {
            ControlFlow::Continue(due) => self.fold(due, rules, out),
            ControlFlow::Break(turn) => turn,
        }
    }

    /// Settles what the base covers; how many events are due then, if the document's code is to be called with them.
    pub fn prepare(&mut self, rules: &Rules, out: &mut Outbox) -> ControlFlow<Turn, usize> {
        let sorted = match rules.sort_out(&self.key, self.base.as_ref(), &mut self.pending) {
            Ok(sorted) => sorted,
            Err(error) => return ControlFlow::Break(self.fail(0, error, rules, out)),
        };
        out.settle(&sorted.duplicates);
        if !sorted.late.is_empty() {
            self.late = sorted.late;
            out.late.extend(sorted.late_events);
            return ControlFlow::Break(Turn::Record);
        }
        if self.pending.is_empty() {
            return ControlFlow::Break(Turn::Rest);
        }
        if sorted.is_behind {
            return ControlFlow::Break(Turn::Wait(Timestamp::MIN));
        }
        let due = rules.due(&self.pending);
        if due == 0 {
            return ControlFlow::Break(Turn::Wait(Rules::first_due(&self.pending)));
        }
        let aside = match sorted.unrecorded {
            0 => self.set_aside(rules, sorted.mark, due, out),
            _ => self.record_first(rules, out),
        };
        if let Some(turn) = aside {
            return ControlFlow::Break(turn);
        }
        // What is still to be recorded ends the fold, and nothing passes a mark.
        let is_alone = sorted.unrecorded > 1 || (sorted.unrecorded == 1 && sorted.mark.is_some());
        ControlFlow::Continue(if is_alone { 1 } else { due })
    }

    pub fn fold(&mut self, due: usize, rules: &Rules, out: &mut Outbox) -> Turn {
        let due = self.pending.get(..due).unwrap_or(&self.pending);
        match rules.fold(&self.key, self.base.take(), due, self.at_most) {
            Ok(folded) => Turn::Write(self.take_off(folded)),
            Err(failed) => self.fail(failed.applied, failed.error, rules, out),
        }
    }

    /// Makes a fold the write under way.
    pub fn take_off(&mut self, folded: Folded) -> DocumentWrite {
        let Folded { base_guard, put, taken, applied } = folded;
        let rest = self.pending.split_off(taken);
        let deliveries = mem::replace(&mut self.pending, rest);
        self.flight = Some(Flight { deliveries, applied });
        self.base = Some(put.clone());
        let condition = base_guard.map_or(Condition::Absent, Condition::GuardIs);
        DocumentWrite { key: self.key.clone(), condition, put }
    }

    /// The write was not done: its events stand again before those that came after them.
    pub fn land(&mut self, mut flight: Flight) {
        flight.deliveries.append(&mut self.pending);
        self.pending = flight.deliveries;
    }

    /// A write of more than `at_most` events cannot be. If it cannot be of any, on a base that is not an old one, then
    /// the first event is poison: it is set aside, or the projection stops at it.
    pub fn fail(&mut self, at_most: usize, error: Error, rules: &Rules, out: &mut Outbox) -> Turn {
        self.at_most = at_most.max(1);
        self.base = None;
        if at_most > 0 || !self.fresh || self.pending.is_empty() {
            return if self.pending.is_empty() { Turn::Rest } else { Turn::Read };
        }
        self.at_most = usize::MAX;
        if self.sets_first_aside(&error, rules) {
            return Turn::Read;
        }
        self.stop_at_first(error, rules, out)
    }

    /// The projection stops at the first event in its shard.
    pub fn stop_at_first(&mut self, error: Error, rules: &Rules, out: &mut Outbox) -> Turn {
        self.base = None;
        if !self.pending.is_empty() {
            let first = self.pending.remove(0);
            self.stops.push(Stop { line: first.line, origin: first.origin.clone() });
            out.refuse(&self.key, first, error);
            match rules.mode {
                LaneMode::Live(_) => self.hold(rules.ordering, out),
                // Nothing of a parked document passes what it stands behind.
                LaneMode::Redrive => self.pending.drain(..).for_each(|delivery| out.forget(&delivery)),
            }
        }
        if self.pending.is_empty() { Turn::Rest } else { Turn::Read }
    }

    /// Keeps back what has to wait behind events that could not be taken.
    fn hold(&mut self, ordering: Ordering, out: &mut Outbox) {
        let (held, pending): (Vec<_>, _) = mem::take(&mut self.pending)
            .into_iter()
            .partition(|delivery| self.is_blocked(ordering, &delivery.origin));
        self.pending = pending;
        held.iter().for_each(|delivery| out.hold(delivery));
        self.held.extend(held);
    }

    /// Forgets the events of a reading, and what only they held up is pending again.
    pub fn abandon(&mut self, line: LineId, ordering: Ordering, out: &mut Outbox) {
        // What was written is then more than what is left of it: no event may be blamed for the outcome.
        self.fresh &= self.flight.is_none();
        let flying = self.flight.iter_mut().map(|flight| &mut flight.deliveries);
        let parking = self.aside.iter_mut().map(|aside| &mut aside.parking);
        for deliveries in [&mut self.pending, &mut self.late].into_iter().chain(flying).chain(parking) {
            deliveries
                .extract_if(.., |delivery| delivery.line == line)
                .for_each(|delivery| out.forget(&delivery));
        }
        self.stops.retain(|stop| stop.line != line);
        for delivery in mem::take(&mut self.held) {
            out.unhold(&delivery);
            if delivery.line == line { out.forget(&delivery) } else { self.pending.push(delivery) }
        }
        self.hold(ordering, out);
    }
}
